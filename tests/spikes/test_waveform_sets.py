"""`get_waveform_sets` and `spikes_in_windows` against `get_spike_waveforms` and plain numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.mark.parametrize("operator", ["average", "std", "median"])
def test_of_named_sets(analyzer, operator):
    function = {"average": np.mean, "std": np.std, "median": np.median}[operator]
    spikes = sic.get_spike_waveforms(analyzer, unit_id=13).spike_indices
    sets = {"even": spikes[::2], "odd": spikes[1::2], "twice": spikes[:10], "none": []}
    found = sic.get_waveform_sets(analyzer, sets, operator)
    assert found.names == tuple(sets)
    assert found.num_spikes.tolist() == [len(one) for one in sets.values()]
    for name, waveform in zip(found.names[:3], found.waveforms, strict=False):
        one = sic.get_spike_waveforms(analyzer, sets[name], channel_ids=found.channel_ids)
        wanted = function(one.waveforms.astype("float64"), axis=0)
        np.testing.assert_allclose(waveform, wanted, atol=1e-3 * np.abs(wanted).max())
    assert np.isnan(found.waveforms[3]).all()


def test_percentiles_and_limits(analyzer):
    spikes = sic.get_spike_waveforms(analyzer, unit_id=4, channel_ids=[3, 4])
    found = sic.get_waveform_sets(
        analyzer, [spikes.spike_indices], "percentile", percentile=10, channel_ids=[3, 4]
    )
    wanted = np.percentile(spikes.waveforms, 10, axis=0)
    np.testing.assert_allclose(found.waveforms[0], wanted, atol=1e-3)
    some = sic.get_waveform_sets(analyzer, [spikes.spike_indices], max_spikes=10)
    assert some.num_spikes.tolist() == [10]


@given(
    st.lists(st.floats(-5, 100), min_size=2, max_size=6, unique=True).map(sorted),
    st.sampled_from([4, 13]),
)
def test_windows(analyzer, edges, unit_id):
    samples = analyzer.sorting.get_unit_spike_train(unit_id)
    found = sic.spikes_in_windows(analyzer, unit_id, edges_s=edges)
    rate = analyzer.sampling_frequency
    counts = [
        np.count_nonzero((samples >= low * rate) & (samples < high * rate))
        for low, high in itertools.pairwise(edges)
    ]
    assert [spikes.size for spikes in found.values()] == counts


@pytest.mark.parametrize(
    "arguments", [{}, {"num_windows": 1}, {"num_windows": 7}, {"window_s": 11}]
)
def test_every_spike_is_in_one_window(analyzer, arguments):
    windows = sic.spikes_in_windows(analyzer, 13, **arguments)
    spikes = np.concatenate(list(windows.values()))
    np.testing.assert_array_equal(
        spikes, sic.get_spike_waveforms(analyzer, unit_id=13, channel_ids=[0]).spike_indices
    )
    vector = analyzer.sorting.to_spike_vector()
    for (start, end), own in windows.items():
        times = vector["sample_index"][own] / analyzer.sampling_frequency
        assert ((times >= start - 1e-5) & (times < end + 1e-5)).all()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_windows": 0}, "num_windows"),
        ({"window_s": -1}, "window_s"),
        ({"window_s": 1e-9}, "too many windows"),
        ({"num_windows": 3, "window_s": 2}, "give one of"),
        ({"edges_s": [3, 1]}, "ascending"),
        ({"edges_s": [0, float("nan")]}, "ascending"),
        ({"edges_s": [[0], [1]]}, "edges_s"),
    ],
)
def test_windows_that_are_refused(analyzer, arguments, match):
    with pytest.raises(sic.ParameterError, match=match):
        sic.spikes_in_windows(analyzer, 13, **arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"spike_sets": {}}, "spike_sets"),
        ({"spike_sets": {"a": [10**7]}}, r"spike_sets\['a'\]"),
        ({"spike_sets": [[0]], "operator": "mode"}, "operator"),
        ({"spike_sets": [[0]], "operator": "percentile"}, "percentile"),
        ({"spike_sets": [[0]], "percentile": 3}, "percentile"),
    ],
)
def test_sets_that_are_refused(analyzer, arguments, match):
    with pytest.raises(sic.ParameterError, match=match):
        sic.get_waveform_sets(analyzer, **arguments)
