"""The sorter's features as SpikeInterface's principal components."""

from __future__ import annotations

import numpy as np
import pytest
from spikeinterface.core import load_sorting_analyzer
from spikeinterface.metrics import compute_quality_metrics

import si_curation as sic
from oracles import features as naive_features
from oracles import folders as naive
from si_curation.reading import components as sorter_components

PCA = "principal_components"
PCA_METRICS = ["mahalanobis", "d_prime", "nearest_neighbor", "silhouette"]


@pytest.fixture(scope="module")
def make(simulate):
    def simulated(dialect="kilosort4", **kwargs):
        options = {"num_templates": 12, "num_channels": 20, "num_spikes": 900, "curation": 8}
        return simulate(dialect, **{**options, "seed": 7, **kwargs})

    return simulated


def rows_of(analyzer):
    return analyzer.get_extension("template_assignment").get_spike_rows()


def chosen_of(analyzer):
    return analyzer.get_extension("random_spikes").get_data()


def channels_of(truth, index, templates, rows):
    """Channels of a unit's most frequent template on which half of its spikes have features."""
    listed = sorted(set(index[np.bincount(templates).argmax()].tolist()) - {-1})
    values = naive_features.features(truth.folder, rows, listed)
    share = np.mean((values != 0).any(axis=2), axis=0)
    return [channel for channel, part in zip(listed, share, strict=True) if part >= 0.5]


def check(analyzer, truth):
    """Sparsity and every value against the files, unit by unit."""
    extension, chosen = analyzer.get_extension(PCA), chosen_of(analyzer)
    data = extension.data["pca_projection"]
    index = naive_features.integers(truth.folder, "pc_feature_ind")
    rows = rows_of(analyzer)
    templates = truth.spike_templates[rows]
    units = analyzer.sorting.to_spike_vector()["unit_index"]
    assert data.dtype == np.float32
    assert len(data) == chosen.size
    mask = analyzer.sparsity.mask
    assert data.shape[2] == mask.sum(axis=1).max()
    for position, unit_id in enumerate(analyzer.unit_ids):
        of_unit = units[chosen] == position
        own = channels_of(truth, index, templates[units == position], rows[chosen[of_unit]])
        main = int(analyzer.get_main_channels(outputs="index", with_dict=True)[unit_id])
        own = sorted({*own, main})
        assert np.flatnonzero(mask[position]).tolist() == own
        expected = naive_features.features(truth.folder, rows[chosen[of_unit]], own)
        expected = expected.transpose(0, 2, 1)
        np.testing.assert_array_equal(data[of_unit][:, :, : len(own)], expected)
        assert not data[of_unit][:, :, len(own) :].any()
        found, channels = extension.get_projections_one_unit(unit_id, sparse=True)
        np.testing.assert_array_equal(found, expected)
        assert channels.tolist() == own
        dense = extension.get_projections_one_unit(unit_id)
        np.testing.assert_array_equal(dense[:, :, own], expected)
    some, of = extension.get_some_projections(analyzer.channel_ids[[3, 8]], analyzer.unit_ids[:2])
    spikes = chosen[np.isin(units[chosen], [0, 1])]
    expected = naive_features.features(truth.folder, rows[spikes], [3, 8]).transpose(0, 2, 1)
    expected *= mask[units[spikes]][:, None, [3, 8]]
    np.testing.assert_array_equal(some, expected)
    np.testing.assert_array_equal(of, units[spikes])


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort2", "kilosort4"])
@pytest.mark.parametrize("how", ["all", "some", "unsorted", "subset", "excluded"])
@pytest.mark.slow
def test_values(make, dialect, how):
    kwargs = {
        "unsorted": {"shuffled": True},
        "subset": {"feature_rows": 400},
        "excluded": {"labels": {0: "noise", 5: "noise", 9: "noise"}, "curation": 1},
    }
    truth = make(dialect, **kwargs.get(how, {}))
    groups = "noise" if how == "excluded" else None
    limit = {"all": None, "some": 20}.get(how, 500)
    analyzer = sic.read_kilosort_as_analyzer(
        truth.folder, max_spikes_per_unit=limit, exclude_groups=groups
    )
    check(analyzer, truth)
    chosen, counts = chosen_of(analyzer), analyzer.sorting.count_num_spikes_per_unit()
    units = analyzer.sorting.to_spike_vector()["unit_index"]
    per_unit = np.bincount(units[chosen], minlength=len(counts))
    assert np.all(np.diff(chosen) > 0)
    data = analyzer.get_extension(PCA).data["pca_projection"]
    assert np.isfinite(data).all()
    params = analyzer.get_extension("random_spikes").params
    assert params["method"] == ("all" if limit is None else "uniform")
    assert params["max_spikes_per_unit"] == limit
    assert analyzer.get_extension(PCA).params["n_components"] == data.shape[1]
    if how == "subset":
        stored = np.load(truth.folder / "pc_feature_spike_ids.npy")
        np.testing.assert_array_equal(np.sort(rows_of(analyzer)[chosen]), np.sort(stored))
    else:
        expected = [min(limit or 10**9, count) for count in counts.values()]
        assert per_unit.tolist() == expected


@pytest.fixture(scope="module")
def with_few_strangers(simulate):
    """Each unit has a few spikes of a template elsewhere on the probe, as after small merges."""
    truth = simulate(num_channels=16, num_spikes=6000, num_templates=8, seed=7)
    clusters = truth.spike_templates.copy()
    for unit in range(8):
        clusters[np.flatnonzero(truth.spike_templates == (unit + 3) % 8)[:8]] = unit
    np.save(truth.folder / "spike_clusters.npy", clusters)
    return truth


@pytest.mark.parametrize("num_empty", [1, 2, 3])
def test_columns_that_are_mostly_empty(make, num_empty):
    """Kilosort 4 leaves columns empty for spikes of other detection templates."""
    truth = make(curation=None)
    path = truth.folder / "pc_features.npy"
    values = np.load(path)
    is_empty = np.arange(900) % 4 < num_empty  # a quarter, a half or three quarters
    values[is_empty, :, 6] = 0
    np.save(path, values)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    check(analyzer, truth)
    num_channels = analyzer.sparsity.mask.sum(axis=1)
    assert (num_channels == 9).any() == (num_empty > 1)
    assert (num_channels == 10).any() == (num_empty < 3)


@pytest.mark.slow
def test_metrics_of_spikeinterface(with_few_strangers):
    analyzer = sic.read_kilosort_as_analyzer(with_few_strangers.folder)
    check(analyzer, with_few_strangers)
    index = np.load(with_few_strangers.folder / "pc_feature_ind.npy")
    assert (analyzer.sparsity.mask.sum(axis=1) == index.shape[1]).all()
    found = compute_quality_metrics(analyzer, metric_names=PCA_METRICS)
    expected = {"isolation_distance", "l_ratio", "d_prime", "nn_hit_rate", "silhouette"}
    assert expected <= set(found.columns)
    assert np.isfinite(found.to_numpy(dtype=float)).all()
    assert (found["d_prime"] > 0).all()
    assert found["isolation_distance"].max() < 1e5, "a covariance is singular"


def test_curated_in_code(make):
    """A session's units get the components that they would have if read as they are."""
    truth = make(curation=None)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, max_spikes_per_unit=None)
    session = sic.CurationSession(analyzer)
    merged = session.merge(session.unit_ids[:2])
    session.merge(session.unit_ids[3:6])
    applied = session.apply()  # a warning would be an error
    check(applied, truth)
    assert len(applied.get_extension(PCA).get_projections_one_unit(merged)) == sum(
        np.isin(truth.spike_templates, [0, 1])
    )


def test_parameter_and_limit(make, monkeypatch, caplog):
    truth = make()
    whole = sic.read_kilosort_as_analyzer(truth.folder)
    num_bytes = whole.get_extension(PCA).data["pca_projection"].nbytes
    without = sic.read_kilosort_as_analyzer(truth.folder, principal_components=False)
    assert not without.has_extension(PCA)
    # the sparsity is that of the templates then
    signal = np.nan_to_num(truth.templates_whitened).any(axis=1)
    counts = naive.template_counts_matrix(
        truth.spike_templates, truth.spike_clusters, without.unit_ids, 12
    )
    assert without.sparsity.mask[(counts @ signal) > 0].all()
    monkeypatch.setattr(sorter_components, "MAX_COMPONENTS_BYTES", num_bytes)
    assert sic.read_kilosort_as_analyzer(truth.folder).has_extension(PCA)
    monkeypatch.setattr(sorter_components, "MAX_COMPONENTS_BYTES", num_bytes - 1)
    caplog.set_level("INFO", logger="si_curation")
    limited = sic.read_kilosort_as_analyzer(truth.folder)
    assert not limited.has_extension(PCA)
    assert "principal_components" in caplog.text
    np.testing.assert_array_equal(limited.sparsity.mask, without.sparsity.mask)
    forced = sic.read_kilosort_as_analyzer(truth.folder, principal_components=True)
    np.testing.assert_array_equal(
        forced.get_extension(PCA).data["pca_projection"],
        whole.get_extension(PCA).data["pca_projection"],
    )
    fewer = sic.read_kilosort_as_analyzer(truth.folder, max_spikes_per_unit=5)
    assert fewer.has_extension(PCA)


def test_folder_without_features(make):
    folder = make(write_features=False).folder
    assert not sic.read_kilosort_as_analyzer(folder).has_extension(PCA)
    with pytest.raises(sic.MissingDataError, match=r"pc_features\.npy.*principal_components"):
        sic.read_kilosort_as_analyzer(folder, principal_components=True)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"max_spikes_per_unit": 0}, ["max_spikes_per_unit", "0"]),
        ({"max_spikes_per_unit": 2.5}, ["max_spikes_per_unit", "2.5"]),
        ({"max_spikes_per_unit": True}, ["max_spikes_per_unit", "True"]),
        ({"principal_components": "yes"}, ["principal_components", "'yes'"]),
        (
            {"principal_components": 1, "max_spikes_per_unit": "all"},
            ["principal_components", "1", "max_spikes_per_unit", "'all'"],
        ),
    ],
)
def test_wrong_parameters(make, kwargs, words):
    with pytest.raises(sic.ParameterError) as caught:
        sic.read_kilosort_as_analyzer(make().folder, **kwargs)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_on_disk(make, tmp_path, format):
    truth = make()
    path = tmp_path / ("analyzer.zarr" if format == "zarr" else "analyzer")
    sic.read_kilosort_as_analyzer(truth.folder, format=format, folder=path)
    analyzer = load_sorting_analyzer(path)
    memory = sic.read_kilosort_as_analyzer(truth.folder)
    np.testing.assert_array_equal(
        np.asarray(analyzer.get_extension(PCA).data["pca_projection"]),
        memory.get_extension(PCA).data["pca_projection"],
    )
    np.testing.assert_array_equal(analyzer.sparsity.mask, memory.sparsity.mask)


def test_merge_and_split(make):
    truth = make()
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, max_spikes_per_unit=None)
    sizes = analyzer.sorting.count_num_spikes_per_unit()
    mask = analyzer.sparsity.mask
    overlap = (mask[:, None] & mask[None]).sum(axis=2) * ~np.eye(len(mask), dtype=bool)
    pair = np.unravel_index(overlap.argmax(), overlap.shape)
    ids = analyzer.unit_ids[list(pair)]
    merged = analyzer.merge_units(
        [ids.tolist()], new_unit_ids=[99], merging_mode="soft", sparsity_overlap=0.0
    )
    found, channels = merged.get_extension(PCA).get_projections_one_unit(99, sparse=True)
    assert len(found) == sum(sizes[i] for i in ids)
    units = merged.sorting.to_spike_vector()["unit_index"]
    spikes = np.flatnonzero(units == merged.sorting.id_to_index(99))
    expected = naive_features.features(truth.folder, rows_of(merged)[spikes], channels)
    np.testing.assert_array_equal(found, expected.transpose(0, 2, 1))
    assert channels.size == overlap[pair]
    parts = [np.arange(0, len(found), 2), np.arange(1, len(found), 2)]
    split = merged.split_units({99: parts}, new_unit_ids=[[100, 101]])
    one, _ = split.get_extension(PCA).get_projections_one_unit(100, sparse=True)
    np.testing.assert_array_equal(one, found[::2])
    kept = analyzer.select_units(ids)
    one, _ = kept.get_extension(PCA).get_projections_one_unit(ids[0], sparse=True)
    other, _ = analyzer.get_extension(PCA).get_projections_one_unit(ids[0], sparse=True)
    np.testing.assert_array_equal(one, other)
