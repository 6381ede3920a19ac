"""Trains that several groups of metrics share: the same as each group's own."""

import numpy as np
import pytest

import si_curation as sic
from si_curation._spikeinterface import spike_vector_of
from si_curation.quality.metrics.contamination import compute_contamination
from si_curation.quality.metrics.stability import compute_stability
from si_curation.quality.metrics.trains import TrainsOfUnits


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def assert_same(found, expected):
    for column, values in expected.values.items():
        np.testing.assert_array_equal(found.values[column], values)
        assert list(found.reasons[column]) == list(expected.reasons[column])


def test_trains_are_the_spikes_of_each_unit(analyzer):
    trains = TrainsOfUnits(analyzer)
    vector = spike_vector_of(analyzer.sorting)
    amplitudes = analyzer.get_extension("spike_amplitudes").get_data()
    ordered = trains.values(amplitudes)
    for unit in range(len(analyzer.unit_ids)):
        rows = slice(trains.start[unit], trains.start[unit + 1])
        own = vector["unit_index"] == unit
        np.testing.assert_array_equal(trains.samples[rows], vector["sample_index"][own])
        np.testing.assert_array_equal(ordered[rows], amplitudes[own])
    times = trains.of_one_segment()
    assert times is not None
    np.testing.assert_array_equal(times.times, trains.samples)
    np.testing.assert_array_equal(times.start, trains.start)


def test_shared_trains_change_nothing(analyzer):
    trains = TrainsOfUnits(analyzer)
    for compute in (compute_stability, compute_contamination):
        assert_same(compute(analyzer, trains=trains), compute(analyzer))


def test_some_units_are_as_all(analyzer):
    some = analyzer.unit_ids[[5, 2]]
    every, few = compute_stability(analyzer), compute_stability(analyzer, some)
    for column, values in few.values.items():
        np.testing.assert_array_equal(values, every.values[column][[5, 2]])
