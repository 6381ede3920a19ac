"""Which templates went into which unit, beside brute force."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si

import si_curation as sic
from si_curation.errors import FolderNotFoundError, MissingDataError

COLUMNS = ["event", "num_spikes", "template_id", "templates", "shares_templates_with"]


def brute_force(spike_templates, spike_clusters, unit_ids):
    """Tell the lineage one spike at a time."""
    pairs = list(
        zip(np.ravel(spike_templates).tolist(), np.ravel(spike_clusters).tolist(), strict=True)
    )
    rows = []
    for unit in unit_ids:
        own = [t for t, c in pairs if c == unit]
        counts = {t: own.count(t) for t in own}
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        is_split = any(c != unit for t, c in pairs if t in counts)
        event = {
            (False, False): "unchanged",
            (True, False): "merged",
            (False, True): "split",
            (True, True): "merged and split",
        }[len(counts) > 1, is_split]
        rows.append(
            {
                "event": event if own else "empty",
                "num_spikes": len(own),
                "template_id": ranked[0][0] if own else -1,
                "templates": tuple(ranked),
                "shares_templates_with": tuple(
                    other
                    for other in unit_ids
                    if other != unit and any(c == other and t in counts for t, c in pairs)
                ),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS, index=pd.Index(unit_ids, name="unit_id"))


def assert_equal(found, expected):
    pd.testing.assert_frame_equal(found, expected, check_index_type=False, check_dtype=False)


def test_the_example():
    lineage = sic.reconstruct_lineage(sic.example_folder())
    assert list(lineage.columns) == COLUMNS
    assert lineage.index.name == "unit_id"
    assert lineage["event"].to_dict() == {
        4: "unchanged",
        7: "unchanged",
        8: "unchanged",
        9: "unchanged",
        10: "merged",
        11: "split",
        12: "split",
        13: "merged",
    }
    assert lineage.templates[13] == ((1, 625), (0, 410), (2, 295))
    assert lineage.templates[10] == ((6, 595), (5, 548))
    assert lineage.templates[11] == ((3, 191),)
    assert lineage.templates[12] == ((3, 192),)
    assert lineage.shares_templates_with[11] == (12,)
    assert lineage.shares_templates_with[12] == (11,)
    assert lineage.shares_templates_with[13] == ()
    assert lineage["num_spikes"].sum() == 5299


def arrays_of(folder):
    return np.load(folder / "spike_templates.npy"), np.load(folder / "spike_clusters.npy")


def test_the_example_against_brute_force():
    templates, clusters = arrays_of(sic.example_folder())
    found = sic.reconstruct_lineage(sic.example_folder())
    assert_equal(found, brute_force(templates, clusters, np.unique(clusters).tolist()))


def test_curated_folders_against_brute_force(curated_folder):
    found = sic.reconstruct_lineage(curated_folder.folder)
    clusters = curated_folder.spike_clusters
    expected = brute_force(curated_folder.spike_templates, clusters, np.unique(clusters).tolist())
    assert_equal(found, expected)
    assert set(found["event"]) >= {"unchanged", "merged"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer = sic.read_kilosort_as_analyzer(curated_folder.folder)
    assert_equal(sic.reconstruct_lineage(analyzer), expected)
    assert_equal(sic.reconstruct_lineage(str(curated_folder.folder)), expected)


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort4"])
def test_a_fresh_folder(simulate, dialect):
    simulated = simulate(dialect, num_templates=6, num_channels=8, num_spikes=200)
    found = sic.reconstruct_lineage(simulated.folder)
    assert set(found["event"]) == {"unchanged"}
    assert found["template_id"].tolist() == found.index.tolist()
    assert set(found["shares_templates_with"]) == {()}
    num_spikes = np.bincount(simulated.spike_templates)
    for unit_id, row in found.iterrows():
        assert row["templates"] == ((unit_id, num_spikes[unit_id]),)


def test_sampling_frequency_of_a_folder_without_params(simulate):
    folder = simulate(num_templates=4, num_channels=8, num_spikes=100).folder
    expected = sic.reconstruct_lineage(folder)
    (folder / "params.py").unlink()
    found = sic.reconstruct_lineage(folder, sampling_frequency=30_000.0)
    assert_equal(found, expected)


def identity_analyzer(spike_units, unit_ids):
    recording = si.generate_recording(num_channels=4, durations=[1.0], seed=0)
    probe = recording.get_probe()
    probe.set_shank_ids(["0"] * 4)
    recording.set_probe(probe)
    spikes = np.zeros(len(spike_units), dtype=si.base.minimum_spike_dtype)
    spikes["sample_index"] = 200 + 10 * np.arange(len(spike_units))
    spikes["unit_index"] = spike_units
    sorting = si.NumpySorting(spikes, recording.sampling_frequency, np.array(unit_ids))
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute("random_spikes")
    analyzer.compute("templates", operators=["average"])
    return analyzer


def test_empty_units_and_string_ids():
    analyzer = identity_analyzer([0, 0, 2, 0, 3, 2], ["a", "none", "b", "c"])
    with pytest.raises(MissingDataError, match="template_assignment"):
        sic.reconstruct_lineage(analyzer)
    analyzer.compute("template_assignment")
    found = sic.reconstruct_lineage(analyzer)
    assert found["event"].to_dict() == {
        "a": "unchanged",
        "none": "empty",
        "b": "unchanged",
        "c": "unchanged",
    }
    assert found.loc["none"].tolist() == ["empty", 0, -1, (), ()]


def test_what_a_session_does_is_told():
    analyzer = identity_analyzer([0, 0, 0, 1, 1, 2, 2, 2, 2, 3], ["a", "b", "c", "d"])
    session = sic.CurationSession(analyzer)
    c1, c2 = session.split("c", [[0]])
    merged = session.merge(["b", c1])
    found = sic.reconstruct_lineage(session.apply())
    assert found["event"].to_dict() == {
        "a": "unchanged",
        "d": "unchanged",
        c2: "split",
        merged: "merged and split",
    }
    assert found.templates[merged] == ((1, 2), (2, 1))
    assert found.shares_templates_with[merged] == (c2,)
    session.merge([c2, merged])
    found = sic.reconstruct_lineage(session.apply())
    assert found["event"].tolist() == ["unchanged", "unchanged", "merged"]
    session.remove(["a"])
    assert sic.reconstruct_lineage(session.apply())["event"].tolist() == ["unchanged", "merged"]


def test_ties_go_to_the_lowest_template():
    analyzer = identity_analyzer([0, 1, 1, 0, 2], [7, 3, 5])
    session = sic.CurationSession(analyzer)
    merged = session.merge([3, 7, 5])
    found = sic.reconstruct_lineage(session.apply())
    assert found.template_id[merged] == 0
    assert found.templates[merged] == ((0, 2), (1, 2), (2, 1))


@pytest.mark.parametrize("seed", range(5))
def test_random_sessions_against_brute_force(simulate, seed):
    rng = np.random.default_rng(seed)
    folder = simulate(
        num_templates=8, num_channels=8, num_spikes=200, write_features=False, seed=seed
    ).folder
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    for _ in range(6):
        a, b = rng.choice(session.unit_ids, 2, replace=False).tolist()
        if rng.random() < 0.5 or session.get_spikes(a).size < 2:
            session.merge([a, b])
        else:
            session.split(a, [[0]])
    applied = session.apply()
    spikes = applied.sorting.to_spike_vector()
    templates = applied.get_extension("template_assignment").get_spike_template_ids()
    unit_ids = applied.unit_ids.tolist()
    expected = brute_force(templates, applied.unit_ids[spikes["unit_index"]], unit_ids)
    found = sic.reconstruct_lineage(applied)
    found["shares_templates_with"] = found["shares_templates_with"].map(sorted).map(tuple)
    expected["shares_templates_with"] = expected["shares_templates_with"].map(sorted).map(tuple)
    assert_equal(found, expected)


def test_missing_folder(tmp_path):
    with pytest.raises(FolderNotFoundError):
        sic.reconstruct_lineage(tmp_path / "nothing")
