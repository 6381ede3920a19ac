"""Units that are residuals of larger ones: neurons that a sorter found twice."""

import numpy as np
import pytest
from spikeinterface.core import NumpySorting

import si_curation as sic
from si_curation._spikeinterface import rec_attributes_of
from si_curation.quality.residuals import _pairs_nearby, find_residuals

# Kilosort's own clusters that were found twice, with the neuron's cluster, from the truth
TWICE = {"static": {0: 9, 5: 9, 11: 17}, "drifting": {22: 16, 30: 35, 33: 37, 39: 34}, "twins": {}}


@pytest.mark.parametrize("name", TWICE)
def test_neurons_that_kilosort_found_twice(shared_data, name):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks4_truth" / name / "ks")
    found = find_residuals(analyzer)
    ids = analyzer.unit_ids
    flagged = np.flatnonzero(found.is_residual)
    assert {int(ids[i]): int(ids[found.largest_partner[i]]) for i in flagged} == TWICE[name]
    assert np.nanmax(found.share[~found.is_residual]) < 0.2


def with_doubles(shift, share, seed=0):
    """Return an analyzer with a small unit that has spikes of a larger one near it."""
    from si_curation._spikeinterface import inject_extension, make_memory_analyzer

    rng = np.random.default_rng(seed)
    like = sic.read_kilosort_as_analyzer(sic.example_folder())
    num = like.get_num_samples(0)
    large = np.sort(rng.choice(num - 200, 800, replace=False)) + 50
    taken = rng.choice(large, int(400 * share), replace=False) + shift
    small = np.sort(np.concatenate([taken, rng.integers(50, num - 50, 400 - taken.size)]))
    other = np.sort(rng.integers(50, num - 50, 500))
    sorting = NumpySorting.from_unit_dict({"L": large, "s": small, "o": other}, 30000.0)
    main = np.array([10, 11, 12])
    analyzer = make_memory_analyzer(sorting, None, rec_attributes_of(like), None, False, main)
    templates = np.zeros((3, 61, 32), dtype=np.float32)
    templates[np.arange(3), 20, main] = [-500, -80, -200]
    window = {"ms_before": 20 / 30, "ms_after": 41 / 30}
    inject_extension(
        analyzer, "templates", {"average": templates}, {"operators": ["average"], **window}
    )
    return analyzer


@pytest.mark.parametrize("num_units", [0, 1, 40])
def test_pairs_nearby_are_those_of_a_plain_loop(num_units):
    places = np.random.default_rng(0).integers(0, 5, (num_units, 2)) * 40.0
    places[3:4] = np.nan
    units = range(num_units)
    expected = [
        [a, b] for a in units for b in units if a != b and np.hypot(*(places[a] - places[b])) <= 100
    ]
    found = _pairs_nearby(places, 100.0)
    assert found.shape == (len(expected), 2)
    assert found.tolist() == expected


@pytest.mark.parametrize("shift", [-12, 0, 12])
def test_spikes_within_the_window_coincide(shift):
    found = find_residuals(with_doubles(shift, 0.9))
    assert found.is_residual.tolist() == [False, True, False]
    assert found.largest_partner.tolist()[1] == 0
    assert found.share[1] == pytest.approx(0.9, abs=0.03)


def test_spikes_beyond_the_window_do_not():
    assert not find_residuals(with_doubles(13, 0.9)).is_residual.any()


def test_independent_units_are_no_residuals():
    found = find_residuals(with_doubles(0, 0.0))
    assert np.nanmax(found.share) < 0.05


def test_far_units_are_not_compared():
    assert not find_residuals(with_doubles(0, 0.9), near_um=1.0).is_residual.any()


def test_sizes_are_needed():
    analyzer = with_doubles(0, 0.9)
    analyzer.delete_extension("templates")
    with pytest.raises(sic.MissingDataError, match="sizes of units"):
        find_residuals(analyzer)


def test_segments_are_compared_each_by_itself():
    """The trains that are compared: samples, with the segments one after the other."""
    import si_curation.quality.residuals as residuals

    rng = np.random.default_rng(3)
    fields = ("sample_index", "unit_index", "segment_index")
    spikes = np.zeros(300, dtype=[(name, "i8") for name in fields])
    spikes["segment_index"] = np.repeat([0, 1, 2], 100)
    spikes["sample_index"] = np.sort(rng.integers(0, 900, (3, 100)), axis=1).ravel()
    spikes["unit_index"] = rng.integers(0, 4, 300)
    trains = [np.flatnonzero(spikes["unit_index"] == unit) for unit in range(4)]
    for starts in (np.array([0, 1000, 2000]), np.array([0])):
        given = spikes if starts.size > 1 else spikes[:100]
        own = [train[train < given.size] for train in trains]
        whole = given["sample_index"] + starts[given["segment_index"]]
        for train in own:
            one = residuals._times_of(given, starts, train)
            np.testing.assert_array_equal(one, whole[train])
            assert one.dtype == np.int64
