"""Isolation metrics against brute force and SpikeInterface."""

from __future__ import annotations

import warnings

import numba
import numpy as np
import pytest
import spikeinterface.postprocessing  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording
from spikeinterface.metrics import compute_quality_metrics

import si_curation as sic
from oracles import isolation as naive_isolation
from si_curation.errors import MissingDataError, ParameterError, UnknownIdError
from si_curation.quality.metrics import isolation, isolation_features
from si_curation.quality.metrics.isolation import compute_isolation
from si_curation.variables import ISOLATION

PCA_METRICS = ["mahalanobis", "d_prime", "nearest_neighbor", "silhouette"]
RTOL = {"l_ratio": 1e-4}  # its exponent makes much of the float32 means of SpikeInterface
PCA = "principal_components"


def by_spikeinterface(analyzer, max_spikes=10_000, unit_ids=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compute_quality_metrics(
            analyzer,
            metric_names=PCA_METRICS,
            metric_params={"nearest_neighbor": {"max_spikes": max_spikes, "n_neighbors": 5}},
        )


def check_equal(analyzer, max_spikes=10_000):
    """Every value is SpikeInterface's, or the case is one of those that are documented."""
    theirs = by_spikeinterface(analyzer, max_spikes)
    ours = compute_isolation(analyzer, max_spikes=max_spikes)
    for name, values in ours.values.items():
        expected = theirs[name].to_numpy(dtype=float)
        reasons = ours.reasons[name]
        assert np.array_equal(np.isnan(values), [one is not None for one in reasons]), name
        told = ~np.isnan(values)
        assert 2 * told.sum() > told.size, name
        for i in np.flatnonzero(~told & ~np.isnan(expected)):
            assert reasons[i].code in ("singular_covariance", "none_searched"), (name, reasons[i])
        if name == "l_ratio":
            told &= values > 1e-10  # 1 - cdf has no digits left
        np.testing.assert_allclose(
            values[told], expected[told], rtol=RTOL.get(name, 1e-5), atol=1e-9, err_msg=name
        )


# -------------------------------------------------------------------------------- brute force


def random_clouds(seed, num_units, num_spikes, spread):
    rng = np.random.default_rng(seed)
    num_channels, num_pcs = 5, 2
    mask = rng.random((num_units, num_channels)) < 0.5
    main = rng.integers(num_channels, size=num_units)
    mask[np.arange(num_units), main] = True
    units = rng.integers(num_units, size=num_spikes)
    centers = rng.normal(size=(num_units, num_pcs, num_channels)) * spread
    values = centers[units] + rng.normal(size=(num_spikes, num_pcs, num_channels))
    for unit in range(num_units):
        values[units == unit] *= np.arange(num_channels) < mask[unit].sum()
    return values.astype(np.float32), units, mask, main


def gathered(values, units, mask, main):
    channels = [np.flatnonzero(row) for row in mask]

    def fill(piece, out):
        out[:] = values[piece]

    return isolation_features._sort_by_unit(
        fill, units, values.shape[1:], values.dtype, channels, main, False
    )


@given(
    st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 150), st.sampled_from([0.0, 1.0, 4.0])
)
def test_against_brute_force(seed, num_units, num_spikes, spread):
    values, units, mask, main = random_clouds(seed, num_units, num_spikes, spread)
    features = gathered(values, units, mask, main)
    max_spikes = 60
    for unit in range(num_units):
        x, own = naive_isolation.cloud(values, units, mask, main, unit)
        near = features.neighbours(unit)
        told = isolation.mahalanobis(features, unit, near)
        expected = naive_isolation.mahalanobis(x, own)
        np.testing.assert_allclose([one.value for one in told], expected, rtol=1e-6)
        told = isolation.d_prime(features, unit, near)
        if own.any() and not own.all() and own.size > 2:
            np.testing.assert_allclose(told.value, naive_isolation.d_prime(x, own), rtol=1e-6)
            is_near = np.isin(units, [*near, unit])
            told = isolation.silhouette(features, unit, near)
            expected = naive_isolation.silhouette(x, own, units[is_near])
            np.testing.assert_allclose(told.value, expected, rtol=1e-6, atol=1e-12)
        else:
            assert np.isnan(told.value)
            assert told.reason
        told = isolation.nearest_neighbour(features, unit, near, max_spikes, 3)
        if own.any() and not own.all() and own.size > 4:
            if own.sum() * min(1, max_spikes / own.size) < 1:
                assert told[0].reason.code == "none_searched"
                continue
            expected = naive_isolation.nearest_neighbours(x, own, max_spikes, 3)
            np.testing.assert_allclose([one.value for one in told], expected, rtol=1e-12)


# ------------------------------------------------------------------------------ SpikeInterface


@pytest.fixture(scope="module")
def folder(simulate):
    """A curated folder: merged, split and moved spikes, units without spikes."""
    return simulate(
        "kilosort4", num_templates=14, num_channels=20, num_spikes=4000, curation=8, seed=7
    ).folder


@pytest.fixture(scope="module")
def analyzer(folder):
    return sic.read_kilosort_as_analyzer(folder, max_spikes_per_unit=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dialect", "max_spikes"),
    [("kilosort1", 10_000), ("kilosort2", 300), ("kilosort4", 10_000), ("kilosort4", 300)],
)
def test_equal_to_spikeinterface(simulate, dialect, max_spikes):
    truth = simulate(
        dialect, num_templates=12, num_channels=20, num_spikes=3000, curation=8, seed=7
    )
    read = sic.read_kilosort_as_analyzer(truth.folder, max_spikes_per_unit=200)
    check_equal(read, max_spikes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sparse", "mode"),
    [(True, "by_channel_local"), (False, "by_channel_global"), (False, "concatenated")],
)
def test_equal_for_another_sorter(sparse, mode):
    recording, sorting = generate_ground_truth_recording(
        durations=[10.0], num_channels=8, num_units=6, seed=1
    )
    other = create_sorting_analyzer(sorting, recording, sparse=sparse)
    other.compute(["random_spikes", "waveforms", "templates"])
    other.compute(PCA, n_components=2, mode=mode)
    check_equal(other)


@pytest.mark.slow
def test_a_merge_and_a_split(analyzer):
    session = sic.CurationSession(analyzer)
    counts = analyzer.sorting.count_num_spikes_per_unit()
    largest = sorted(counts, key=counts.get)[-3:]
    session.merge(largest[:2])
    session.split(largest[2], [np.arange(counts[largest[2]] // 2)])
    curated = session.apply()
    assert len(curated.unit_ids) == len(analyzer.unit_ids)
    check_equal(curated)
    from_file = compute_isolation(curated, spikes="all")
    injected = compute_isolation(curated)
    for name in ISOLATION:
        np.testing.assert_array_equal(from_file.values[name], injected.values[name])


# -------------------------------------------------------------------------------- invariances


def test_some_units_and_any_order(analyzer):
    whole = compute_isolation(analyzer)
    picked = analyzer.unit_ids[[5, 0, 3]]
    some = compute_isolation(analyzer, picked, ["silhouette", "l_ratio", "nn_miss_rate"])
    assert list(some.values) == ["silhouette", "l_ratio", "nn_miss_rate"]
    for name, values in some.values.items():
        np.testing.assert_array_equal(values, whole.values[name][[5, 0, 3]])
    one = compute_isolation(analyzer, picked[:1], ["d_prime"])
    assert one.values["d_prime"] == whole.values["d_prime"][5] > 0
    turned = analyzer.select_units(analyzer.unit_ids[::-1])
    for name, values in compute_isolation(turned).values.items():
        np.testing.assert_allclose(values[::-1], whole.values[name], rtol=1e-9)


@pytest.mark.slow
def test_threads_blocks_and_files(analyzer, threads, monkeypatch):
    expected = compute_isolation(analyzer)
    monkeypatch.setattr(isolation_features, "_SPIKES_PER_BLOCK", 37)
    monkeypatch.setattr(isolation_features, "MAX_BYTES_IN_MEMORY", 0)
    for count in {1, min(3, numba.config.NUMBA_NUM_THREADS)}:
        threads(count)
        found = compute_isolation(analyzer)
        for name in ISOLATION:
            np.testing.assert_array_equal(found.values[name], expected.values[name])
            np.testing.assert_array_equal(found.reasons[name], expected.reasons[name])


def test_from_disk(analyzer, tmp_path):
    expected = compute_isolation(analyzer)
    for format in ("binary_folder", "zarr"):
        saved = analyzer.save_as(folder=tmp_path / format, format=format)
        found = compute_isolation(saved)
        for name in ISOLATION:
            np.testing.assert_array_equal(found.values[name], expected.values[name])


# ------------------------------------------------------------------------ spikes of the folder


def test_spikes_of_the_folder(folder, analyzer):
    few = sic.read_kilosort_as_analyzer(folder, max_spikes_per_unit=100)
    all_spikes = isolation_features.folder_features(few, "all", "file")
    assert len(all_spikes.values) == analyzer.sorting.to_spike_vector().size
    some = isolation_features.folder_features(few, 50, "file")
    counts = few.sorting.count_num_spikes_per_unit(outputs="array")
    assert [some.count(unit) for unit in range(counts.size)] == np.minimum(counts, 50).tolist()
    same = isolation_features.folder_features(few, PCA, "file")
    injected = isolation_features.injected_features(few)
    np.testing.assert_array_equal(same.values, injected.values)
    np.testing.assert_array_equal(same.order, injected.order)
    found = compute_isolation(few, spikes="all").values["d_prime"]
    assert not np.array_equal(found, compute_isolation(few).values["d_prime"])


def test_repaired_channels(folder, analyzer):
    repaired = isolation_features.folder_features(analyzer, "all", "repaired")
    listed = isolation_features.folder_features(analyzer, "all", "file")
    for unit in range(repaired.num_units):
        columns, channels = repaired.columns[unit], repaired.channels[unit]
        assert repaired.main_channels[unit] in channels
        assert np.all(np.diff(channels) > 0)
        values = repaired.values[repaired.starts[unit] : repaired.stops[unit]][:, :, columns]
        if len(values) and channels.size > 1:
            share = (values != 0).any(axis=1).mean(axis=0)
            assert np.all(share[channels != repaired.main_channels[unit]] >= 0.5)
    # the values are those of the file, on whichever channels
    assert repaired.values.shape[1] == listed.values.shape[1]
    found = compute_isolation(analyzer, feature_channels="repaired", metric_names=["silhouette"])
    assert np.isfinite(found.values["silhouette"]).any()


def test_only_some_rows_are_stored(simulate):
    truth = simulate(num_templates=8, num_channels=16, num_spikes=2000, feature_rows=700, seed=3)
    read = sic.read_kilosort_as_analyzer(truth.folder)
    assert len(isolation_features.folder_features(read, "all", "file").values) == 700
    found = isolation_features.folder_features(read, 30, "repaired")
    assert np.isfinite(found.values).all()


# -------------------------------------------------------------------------------- NaN and why


def test_reasons():
    rng = np.random.default_rng(0)
    mask = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 0]], dtype=bool)
    main = np.array([0, 1, 2, 0, 0])
    units = np.repeat([0, 1, 2, 3], [40, 30, 20, 3])
    values = rng.normal(size=(units.size, 2, 2)).astype(np.float32)
    values[units == 2, :, 1] = 0
    values[:2] = np.nan  # not stored
    features = gathered(values, units, mask, main)
    assert features.count(0) == 38
    assert features.neighbours(0).tolist() == [1, 3]
    lonely = features.neighbours(2)
    assert lonely.size == 0
    for told in [
        *isolation.mahalanobis(features, 2, lonely),
        isolation.d_prime(features, 2, lonely),
        isolation.silhouette(features, 2, lonely),
    ]:
        assert np.isnan(told.value)
        assert told.reason.code == "no_neighbours"
    told = isolation.nearest_neighbour(features, 2, lonely, None, 5)
    assert [one.value for one in told] == [1.0, 0.0]
    near = features.neighbours(4)
    assert near.tolist() == [0, 1, 3]
    for told in [
        *isolation.mahalanobis(features, 4, near),
        *isolation.nearest_neighbour(features, 4, near, None, 5),
        isolation.d_prime(features, 4, near),
        isolation.silhouette(features, 4, near),
    ]:
        assert np.isnan(told.value)
        assert told.reason.code == "no_spikes_with_features"
    near = features.neighbours(3)
    told = isolation.mahalanobis(features, 3, near)[0]
    assert str(told.reason) == "the covariance of its 3 spikes in 4 features is singular"
    told = isolation.nearest_neighbour(features, 3, near, 10, 5)[0]
    assert str(told.reason) == "none of its 3 spikes is among max_spikes=10"
    told = isolation.nearest_neighbour(features, 3, near, None, 80)[1]
    assert "fewer than n_neighbors" in str(told.reason)


def test_still_features():
    values, units, mask, main = random_clouds(5, 2, 80, 1.0)
    mask[:] = True
    values = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    values[units == 0, 0, 2] = 1.25
    features = gathered(values, units, mask, main)
    told = isolation.mahalanobis(features, 0, features.neighbours(0))[0]
    assert told.reason.code == "singular_covariance"
    values[:] = units[:, None, None]
    told = isolation.d_prime(gathered(values, units, mask, main), 0, np.array([1]))
    assert told.reason.code == "no_variance"
    values[:] = 3  # all on both centers
    features = gathered(values, units, mask, main)
    assert isolation.silhouette(features, 0, np.array([1])).value == 0


def test_small_l_ratios():
    """Where 1 - cdf is 0, the survival function is not."""
    rng = np.random.default_rng(0)
    units = np.repeat([0, 1], 300)
    values = rng.normal(size=(600, 1, 2)) + 14 * units[:, None, None]
    mask, main = np.ones((2, 2), dtype=bool), np.zeros(2, dtype=int)
    x, own = naive_isolation.cloud(values, units, mask, main, 0)
    features = gathered(values, units, mask, main)
    told = isolation.mahalanobis(features, 0, np.array([1]))
    expected = naive_isolation.mahalanobis(x, own)
    assert 0 < expected[1] < 1e-30
    np.testing.assert_allclose([one.value for one in told], expected, rtol=1e-9)


def test_errors(analyzer):
    with pytest.raises(ParameterError, match=r"metric_names.*'drift'.*spikes is 0.*max_spikes is"):
        compute_isolation(analyzer, None, ["drift"], spikes=0, max_spikes=1.5)
    with pytest.raises(ParameterError, match=r"feature_channels is 'phy'.*n_neighbors is True"):
        compute_isolation(analyzer, feature_channels="phy", n_neighbors=True)
    with pytest.raises(UnknownIdError, match="999"):
        compute_isolation(analyzer, [999])
    without = analyzer.copy()
    without.delete_extension(PCA)
    with pytest.raises(MissingDataError, match="principal_components"):
        compute_isolation(without)
    assert np.isfinite(compute_isolation(without, spikes=300).values["silhouette"]).any()


def test_descriptions(analyzer):
    assert list(compute_isolation(analyzer).values) == list(ISOLATION)
    for description in ISOLATION.values():
        assert description.description
        assert description.source
