"""Waveforms of other units at the times of two units: what drift makes of one neuron."""

from __future__ import annotations

import numpy as np
import pytest

import si_curation as sic
from si_curation.evidence.border_waveforms import compare_waveforms
from si_curation.evidence.change_of_others import change_of_others


def folder_with_change(simulate, who=None):
    """Features are others after the middle, of all units or one; that of fewest spikes is cut."""
    folder = simulate(num_templates=6, num_spikes=3000, curation=0, seed=1).folder
    times = np.load(folder / "spike_times.npy").ravel()
    templates = np.load(folder / "spike_templates.npy").ravel()
    features = np.load(folder / "pc_features.npy")
    is_late = times >= np.median(times)
    cut = int(np.bincount(templates).argmin())  # the others fire enough at its times
    changed = is_late & ((templates == cut) | (who == "all"))
    features[changed, 0] *= 0.5
    features[changed, 1] += 0.5 * features[changed, 0]
    np.save(folder / "pc_features.npy", features)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    session = sic.CurationSession(analyzer)
    own = session.get_spikes(cut)
    samples = analyzer.sorting.to_spike_vector()["sample_index"][own]
    parts = session.split(cut, (samples >= np.median(times)).astype(int))
    return session.apply(), parts


@pytest.fixture(scope="module")
def moved(simulate):
    """All units changed."""
    return folder_with_change(simulate, "all")


@pytest.fixture(scope="module")
def alone(simulate):
    """One unit changed."""
    return folder_with_change(simulate)


def row_of(analyzer, parts):
    suggestions = sic.suggest_merges(analyzer)
    table = suggestions.table
    index = np.flatnonzero(table["unit_id_a"].isin(parts) & table["unit_id_b"].isin(parts))
    assert index.size == 1
    codes = {one.code for one in suggestions.explanations[index[0]]}
    return table.iloc[index[0]], codes


def test_what_changes_all_units_is_no_evidence_of_two_neurons(moved):
    row, codes = row_of(*moved)
    assert row["waveform_separation"] > 5
    assert row["waveform_separation_of_others"] == pytest.approx(
        row["waveform_separation"], rel=0.3
    )
    assert row["waveform_term"] > 0.8
    assert "merge_waveforms_changed" in codes
    assert "other units" in row["reason"]


def test_what_changes_one_unit_is(alone):
    row, codes = row_of(*alone)
    assert row["waveform_separation"] > 5
    assert row["waveform_separation_of_others"] < 2.6
    assert row["waveform_term"] < 0.2
    assert "merge_waveforms_separate" in codes


def test_only_what_is_wanted_and_known(moved):
    analyzer, parts = moved
    index = {u: i for i, u in enumerate(analyzer.unit_ids.tolist())}
    pair = np.array([[index[u] for u in parts], [0, 1]])
    found = compare_waveforms(analyzer, pair, np.ones(2, dtype=bool))
    assert (found.windows[:, :, 0] < found.windows[:, :, 1]).all()
    assert (found.size > 0).all()
    change = change_of_others(analyzer, pair, np.array([True, False]), found.windows)
    assert change[0] > 0
    assert np.isnan(change[1])
    nowhere = np.full_like(found.windows, np.nan)
    assert np.isnan(change_of_others(analyzer, pair, np.ones(2, dtype=bool), nowhere)).all()
    # no other unit fires in a time of no length
    short = found.windows.copy()
    short[:, :, 1] = short[:, :, 0]
    assert np.isnan(change_of_others(analyzer, pair, np.ones(2, dtype=bool), short)).all()


def test_without_features_nothing_is_known(simulate):
    folder = simulate(num_templates=3, num_spikes=600, write_features=False).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    windows = np.tile([[0.0, 1e5], [1e5, 2e5]], (1, 1, 1))
    change = change_of_others(analyzer, np.array([[0, 1]]), np.array([True]), windows)
    assert np.isnan(change).all()
