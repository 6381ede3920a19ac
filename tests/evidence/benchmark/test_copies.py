"""Copies of an analyzer with changed units: what suggestions use is as a session makes it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import si_curation as sic
from si_curation._spikeinterface import loaded_extensions, spike_vector_of
from si_curation.evidence.benchmark import copies
from si_curation.evidence.benchmark.copies import merge_units, mix_units, neighbourhood
from si_curation.evidence.unit_locations import unit_distances
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.extensions.unit_similarity import get_unit_similarity
from si_curation.spikes.features import feature_source


@pytest.fixture(scope="module")
def whole():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_assignment", "unit_similarity"])
    return analyzer


@pytest.fixture(scope="module")
def analyzer(whole):
    return neighbourhood(whole, np.arange(len(whole.unit_ids) - 1))


@pytest.mark.parametrize("follows", [True, False])
def test_what_suggestions_use_is_as_in_a_session(analyzer, monkeypatch, follows):
    """Where all follows from the templates of spikes, and where extensions are carried over."""
    if not follows:
        monkeypatch.setattr(copies, "_follows_from_spikes", lambda analyzer: False)
    first, second = analyzer.unit_ids[:2].tolist()
    copy = mix_units(analyzer, [(0, 1)], ["at random"], np.random.default_rng(0)).analyzer
    session = sic.CurationSession(analyzer)
    now = spike_vector_of(copy.sorting)["unit_index"]
    mixed = now[spikes_of_unit(analyzer, first)[0]]
    is_moved = now[spikes_of_unit(analyzer, second)] == mixed
    parts = session.split(second, is_moved.astype(int))
    session.merge([first, parts[1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = session.apply()
    assert copy.unit_ids.tolist() == expected.unit_ids.tolist()
    np.testing.assert_array_equal(
        spike_vector_of(copy.sorting), spike_vector_of(expected.sorting), strict=True
    )
    np.testing.assert_array_equal(get_unit_similarity(copy), get_unit_similarity(expected))
    np.testing.assert_array_equal(unit_distances(copy), unit_distances(expected))
    counts = [
        one.get_extension("template_assignment").get_template_counts().toarray()
        for one in (copy, expected)
    ]
    np.testing.assert_array_equal(*counts)
    assert feature_source(copy).name == feature_source(expected).name
    assert sic.suggest_merges(copy).table.equals(sic.suggest_merges(expected).table)


def test_nothing_is_copied_where_nothing_changes(whole, analyzer):
    assert merge_units(analyzer, []).analyzer is analyzer
    assert len(analyzer.unit_ids) <= len(whole.unit_ids)


def test_copies_share_what_is_of_single_spikes(analyzer):
    copy = merge_units(analyzer, [(0, 1)]).analyzer
    for name in ("spike_amplitudes", "template_assignment"):
        one, other = (loaded_extensions(a)[name].data for a in (analyzer, copy))
        for key, value in one.items():
            if isinstance(value, np.ndarray) and value.size:
                assert np.shares_memory(value, other[key]), (name, key)


def test_copies_open_no_files_again(analyzer):
    copy = merge_units(analyzer, [(0, 1)]).analyzer
    one, other = (a.get_extension("template_assignment") for a in (analyzer, copy))
    assert other.get_feature_files() is one.get_feature_files()


def test_spikes_of_copies_that_are_gone_are_used_again(analyzer):
    whole = spike_vector_of(analyzer.sorting).copy()
    first = merge_units(analyzer, [(0, 1)]).analyzer
    second = merge_units(analyzer, [(2, 3)]).analyzer
    vectors = [spike_vector_of(copy.sorting) for copy in (first, second)]
    assert not np.shares_memory(*vectors)
    for vector in vectors:
        for name in ("sample_index", "segment_index"):
            np.testing.assert_array_equal(vector[name], whole[name])
    made = copies._SpikeVectors(whole)
    units = whole["unit_index"].astype(np.int32)
    kept = made.with_units(units, None)[3:]
    other = made.with_units(units + 1, None)
    assert not np.shares_memory(kept, other)
    np.testing.assert_array_equal(kept["unit_index"], units[3:])
    place = kept.__array_interface__["data"][0] - kept.strides[0] * 3
    del kept
    again = made.with_units(units + 2, None)
    assert again.__array_interface__["data"][0] == place
    for vector, step in ((other, 1), (again, 2)):
        np.testing.assert_array_equal(vector["unit_index"], units + step)
        np.testing.assert_array_equal(vector["sample_index"], whole["sample_index"])
    np.testing.assert_array_equal(spike_vector_of(analyzer.sorting), whole)
