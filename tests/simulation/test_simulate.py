"""The simulator: every dialect opens with phylib, and the truth that it returns is true."""

from __future__ import annotations

import ast
import filecmp
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import folders as naive
from si_curation.simulation import simulate
from si_curation.simulation.simulate import (
    DIALECT_NAMES,
    PhyCuration,
    SimulatedFolder,
    simulate_kilosort_folder,
)

SPARSE = ("kilosort1", "kilosort1_all_channels")
MATLAB = tuple(name for name in DIALECT_NAMES if name != "kilosort4")
WITH_TEMPLATE_FEATURES = (*SPARSE, "kilosort2", "kilosort2.5")
OPERATIONS = [
    ("merge", [2, 5]),
    ("split", 3, 3),
    ("label", [1, 20], "good"),
    ("label", [4], "noise"),
    ("split", 1, [[0, 2, 5], [1, 7]]),
    ("merge", [4, 20, 6]),
    ("label", [7, 8], "mua"),
    ("label", [9], "looks odd", "comment"),
    ("merge", [7, 8]),
    ("split", 9, [0, 1, 2]),
]


def load(truth, name, **kwargs):
    return np.load(truth.folder / f"{name}.npy", **kwargs)


def some_quick(names):
    """The dialects as parameters; one of MATLAB and one of Python are quick."""
    slow = pytest.mark.slow
    return [n if n in ("kilosort1", "kilosort4") else pytest.param(n, marks=slow) for n in names]


@pytest.fixture(scope="module", params=some_quick(DIALECT_NAMES))
def curated(request, tmp_path_factory) -> SimulatedFolder:
    """A folder of each dialect with everything in it."""
    return simulate_kilosort_folder(
        tmp_path_factory.mktemp("curated") / "folder",
        dialect=request.param,
        num_templates=20,
        num_channels=48,
        num_spikes=3000,
        num_shanks=2,
        num_raw_channels=64,
        curation=12,
        num_empty_templates=1,
        num_zero_templates=1,
        num_nan_templates=1,
        seed=3,
    )


def fresh(folder, dialect="kilosort4", **kwargs) -> SimulatedFolder:
    """A small folder as the sorter wrote it."""
    kwargs = {"num_templates": 20, "num_spikes": 1500, **kwargs}
    return simulate_kilosort_folder(folder, dialect=dialect, **kwargs)


@pytest.fixture
def phylib_model(tmp_path):
    """Open a copy of a folder with phylib, which writes into what it opens."""
    model_module = pytest.importorskip("phylib.io.model")
    opened = []

    def open_copy(truth):
        copy = tmp_path / "opened" / truth.dialect
        shutil.copytree(truth.folder, copy)
        opened.append(model_module.load_model(copy / "params.py"))
        return opened[-1]

    yield open_copy
    for model in opened:
        model.close()


def finite_templates(truth):
    """Templates that are neither zero nor NaN."""
    largest = np.abs(truth.templates_whitened).max(axis=(1, 2))
    return np.flatnonzero(largest > 0)


# ------------------------------------------------------------------------------------- phylib


@pytest.mark.slow
def test_phylib_loads(curated, phylib_model):
    model = phylib_model(curated)
    np.testing.assert_array_equal(model.spike_samples, curated.spike_samples)
    np.testing.assert_array_equal(model.spike_templates, curated.spike_templates)
    np.testing.assert_array_equal(model.spike_clusters, curated.spike_clusters)
    np.testing.assert_array_equal(model.channel_mapping, curated.channel_map)
    np.testing.assert_array_equal(model.channel_positions, curated.channel_positions)
    np.testing.assert_array_equal(model.channel_shanks, curated.channel_shanks)
    assert model.sample_rate == curated.sampling_frequency
    assert model.n_channels_dat == 64
    assert model.metadata["group"] == curated.groups
    assert model.features is not None
    assert (model.template_features is not None) == (curated.dialect in WITH_TEMPLATE_FEATURES)


@pytest.mark.slow
def test_phylib_templates_are_the_truth(curated, phylib_model):
    model = phylib_model(curated)
    scale = np.nanmax(np.abs(curated.templates_unwhitened))
    for i in finite_templates(curated):
        truth = curated.templates_unwhitened[i]
        if curated.dialect in SPARSE:
            theirs = model.get_template(i)
            absent = np.setdiff1d(np.arange(truth.shape[1]), theirs.channel_ids)
            assert not truth[:, absent].any()
            truth = truth[:, theirs.channel_ids]
        else:
            theirs = model.get_template(i, channel_ids=np.arange(truth.shape[1]))
        close = np.allclose(theirs.template, truth, rtol=1e-4, atol=1e-5 * scale)
        # phylib unwhitens on the right, which is wrong for Kilosort 4
        assert close == (curated.dialect != "kilosort4")


@pytest.mark.slow
def test_phylib_ranks_channels_as_the_oracle(curated, phylib_model):
    model = phylib_model(curated)
    for i in finite_templates(curated):
        if curated.dialect in SPARSE:
            ours, _ = naive.rank_channels_sparse(
                model.sparse_templates.data[i], model.sparse_templates.cols[i], model.wmi
            )
        else:
            (template,) = naive.unwhiten_templates(model.sparse_templates.data[[i]], model.wmi)
            ours, _ = naive.rank_channels_dense(
                template, curated.channel_positions, curated.channel_shanks
            )
        assert ours == model.get_template(i).channel_ids.tolist()


@pytest.mark.slow
def test_phylib_mean_waveforms_agree_with_the_oracle(curated, phylib_model):
    if curated.dialect == "kilosort4":
        pytest.skip("phylib unwhitens Kilosort 4 on the wrong side")
    model = phylib_model(curated)
    counts = naive.template_counts(curated.spike_templates, curated.spike_clusters, 20)
    assignment = naive.most_frequent_template(curated.spike_templates, curated.spike_clusters)
    for cluster_id, row in counts.items():
        assert row == model.get_template_counts(cluster_id).tolist()
        assert row[assignment[cluster_id]["template_id"]] == max(row)
        theirs = model.get_cluster_mean_waveforms(cluster_id)
        if curated.dialect in SPARSE or len(np.flatnonzero(row)) == 1:
            ours = naive.weighted_mean_template(row, curated.templates_unwhitened)
            ours = ours[:, theirs.channel_ids]
            np.testing.assert_allclose(theirs.mean_waveforms, ours, rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------------------------- templates


def test_unwhitened_truth_is_the_oracles(curated):
    inverse = load(curated, "whitening_mat_inv")
    stored = load(curated, "templates")
    for i in finite_templates(curated)[:4]:
        if curated.dialect in SPARSE:
            channels, ours = naive.sparse_template(
                stored[i], load(curated, "template_ind")[i], inverse
            )
            expected = np.zeros(curated.templates_unwhitened.shape[1:])
            expected[:, channels] = ours
        else:
            (expected,) = naive.unwhiten_templates(stored[[i]], inverse, curated.orientation)
        np.testing.assert_allclose(
            curated.templates_unwhitened[i], expected, atol=1e-9 * np.abs(expected).max()
        )


def test_templates_peak_in_place_and_whiten(curated):
    for i in finite_templates(curated):
        template = curated.templates_whitened[i]
        sample, _ = np.unravel_index(np.abs(template).argmax(), template.shape)
        assert sample == curated.num_samples_before == (20 if template.shape[0] == 61 else 40)
        if curated.dialect != "kilosort4":
            assert not template[:21].any()
            assert template[21].any()
            assert np.linalg.norm(template) == pytest.approx(1, abs=1e-5)
        support = np.abs(template).max(axis=0) > 0
        assert support.sum() <= 24 < len(support)
        # no ties: the ranking of the channels with signal is unique
        assert len(np.unique(np.ptp(template, axis=0)[support])) == support.sum()


def test_whitening_by_dialect(curated):
    matrix = load(curated, "whitening_mat").astype(np.float64)
    inverse = load(curated, "whitening_mat_inv").astype(np.float64)
    np.testing.assert_allclose(matrix @ inverse, np.eye(len(matrix)), atol=1e-5)
    diagonal = not (matrix - np.diag(np.diag(matrix))).any()
    symmetric = np.array_equal(matrix, matrix.T)
    expected = {
        **dict.fromkeys(SPARSE, (False, True)),
        "kilosort2": (False, False),
        "kilosort2.5": (True, True),
        "kilosort3": (True, True),
        "kilosort4": (False, False),
    }
    assert (diagonal, symmetric) == expected[curated.dialect]
    if curated.dialect == "kilosort4":
        np.testing.assert_array_equal(load(curated, "whitening_mat_dat"), matrix)


def test_orientation_matters(tmp_path):
    truth = fresh(tmp_path / "f")
    wrong = truth.templates_whitened @ load(truth, "whitening_mat_inv").astype(np.float64)
    difference = np.linalg.norm(wrong - truth.templates_unwhitened)
    assert difference > 0.05 * np.linalg.norm(truth.templates_unwhitened)


def test_similarity_is_the_cosine(curated):
    similarity = load(curated, "similar_templates")
    good = finite_templates(curated)
    flat = curated.templates_whitened[good].reshape(len(good), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(similarity[np.ix_(good, good)], flat @ flat.T, atol=1e-5)
    others = np.setdiff1d(np.arange(20), good)
    assert len(others) == 2
    assert not similarity[others].any()
    assert not similarity[:, others].any()


def test_templates_without_spikes(curated):
    with_spikes = np.unique(curated.spike_templates)
    assert len(with_spikes) == 17
    without = np.setdiff1d(np.arange(20), with_spikes)
    stored = load(curated, "templates")[without].reshape(3, -1)
    assert np.isnan(stored).all(axis=1).sum() == 1
    assert (stored == 0).all(axis=1).sum() == 1
    np.testing.assert_array_equal(
        np.isnan(curated.templates_whitened).all(axis=(1, 2)),
        np.isnan(curated.templates_unwhitened).any(axis=(1, 2)),
    )


@pytest.mark.parametrize("kind", ["symmetric", "local", "diagonal"])
@pytest.mark.parametrize("dialect", some_quick(["kilosort1", "kilosort2.5", "kilosort4"]))
def test_other_whitening(tmp_path, dialect, kind):
    truth = fresh(tmp_path / "f", dialect, whitening=kind)
    matrix = load(truth, "whitening_mat").astype(np.float64)
    assert (np.count_nonzero(matrix) == len(matrix)) == (kind == "diagonal")
    assert np.allclose(matrix, matrix.T, rtol=0, atol=1e-8) == (kind != "local")


def test_given_whitening(tmp_path):
    matrix = np.diag(np.linspace(0.1, 0.2, 32))
    truth = fresh(tmp_path / "f", "kilosort2", whitening=matrix)
    np.testing.assert_array_equal(load(truth, "whitening_mat"), matrix)
    np.testing.assert_allclose(
        truth.templates_unwhitened, truth.templates_whitened / np.diag(matrix)
    )


# -------------------------------------------------------------------------- shapes and dtypes


@pytest.mark.parametrize("dialect", some_quick(MATLAB))
def test_matlab_shapes_and_dtypes(tmp_path, dialect):
    truth = fresh(tmp_path / "f", dialect, num_shanks=2)
    index = "float64" if dialect in SPARSE else "uint32"
    n, num_loc, sparse = 1500, 12 if dialect in SPARSE else 32, dialect in SPARSE
    num_columns = load(truth, "templates").shape[2]
    assert num_columns == (16 if dialect == "kilosort1" else 32)
    expected = {
        "spike_times": ((n, 1), "uint64"),
        "spike_templates": ((n, 1), "uint32"),
        "spike_clusters": ((n, 1), "uint32"),
        "amplitudes": ((n, 1), "float64"),
        "templates": ((20, 82, num_columns), "float32"),
        "template_ind" if sparse else "templates_ind": (
            (20, num_columns),
            "int64" if sparse else "float64",
        ),
        "channel_map": ((1, 32) if "." in dialect or "3" in dialect else (32, 1), "int32"),
        "channel_positions": ((32, 2), "float64"),
        "channel_shanks": ((32, 1), "int32"),
        "similar_templates": ((20, 20), "float32"),
        "whitening_mat": ((32, 32), "float64"),
        "whitening_mat_inv": ((32, 32), "float64"),
        "pc_features": ((n, 3, num_loc), "float32"),
        "pc_feature_ind": ((20, num_loc), index),
    }
    if dialect in WITH_TEMPLATE_FEATURES:
        expected["template_features"] = ((n, 16), "float32")
        expected["template_feature_ind"] = ((20, 16), index)
    found = {path.stem: np.load(path) for path in truth.folder.glob("*.npy")}
    assert {k: (v.shape, str(v.dtype)) for k, v in found.items()} == expected
    for name in ("templates", "pc_features", "pc_feature_ind", "similar_templates"):
        assert found[name].flags.f_contiguous, name


def test_kilosort4_looks_like_the_real_one(tmp_path):
    real = Path(simulate.__file__).parent / "ks4_phy_curated"
    if not real.is_dir():
        pytest.skip("the packaged example is not there")
    truth = fresh(tmp_path / "f", curation=5)
    made_by_tests = {"phy_ccg.npy", "phy_oracle.json", "PROVENANCE.md"}
    names = {path.name for path in real.iterdir() if path.is_file()} - made_by_tests
    assert names == {path.name for path in truth.folder.iterdir()}
    for name in names:
        if name.endswith(".npy") and name != "ops.npy":
            theirs, ours = np.load(real / name), np.load(truth.folder / name)
            assert (ours.dtype, ours.ndim) == (theirs.dtype, theirs.ndim), name
            assert ours.flags.c_contiguous == theirs.flags.c_contiguous, name
        elif name.endswith(".tsv"):
            theirs, ours = (path.read_bytes() for path in (real / name, truth.folder / name))
            assert ours.splitlines(True)[0] == theirs.splitlines(True)[0], name
    assert (truth.folder / "params.py").read_bytes() == (real / "params.py").read_bytes()


def test_ops(tmp_path):
    truth = fresh(tmp_path / "f", num_shanks=4, num_raw_channels=40, sampling_frequency=25000)
    ops = load(truth, "ops", allow_pickle=True).item()
    assert (ops["nt"], ops["nt0min"], ops["fs"], ops["n_chan_bin"]) == (61, 20, 25000.0, 40)
    assert ops["wPCA"].shape == (6, 61)
    assert ops["wPCA"].dtype == np.float32
    np.testing.assert_allclose(ops["wPCA"] @ ops["wPCA"].T, np.eye(6), atol=1e-5)
    np.testing.assert_array_equal(ops["chanMap"], truth.channel_map)
    np.testing.assert_array_equal(ops["kcoords"], truth.channel_shanks)
    kept = load(truth, "kept_spikes")
    assert kept.sum() == 1500 < len(kept)
    finer = load(truth, "spike_detection_templates")
    np.testing.assert_array_equal(finer // 2, truth.spike_templates)


@pytest.mark.parametrize("dialect", some_quick(DIALECT_NAMES))
def test_params(tmp_path, dialect):
    truth = fresh(tmp_path / "f", dialect, num_raw_channels=41, sampling_frequency=24414.0625)
    lines = (truth.folder / "params.py").read_text().splitlines()
    params = {k: ast.literal_eval(v) for k, v in (line.split(" = ", 1) for line in lines)}
    paths = params.pop("dat_path")
    assert isinstance(paths, list) == (dialect == "kilosort4")
    assert not (truth.folder / (paths[0] if isinstance(paths, list) else paths)).exists()
    assert params == {
        "n_channels_dat": 41,
        "dtype": "int16",
        "offset": 0,
        "sample_rate": 24414.0625,
        "hp_filtered": dialect in ("kilosort2.5", "kilosort3"),
    }


def test_probe(curated):
    positions, shanks = curated.channel_positions, curated.channel_shanks
    assert len(np.unique(positions, axis=0)) == 48
    assert np.unique(shanks).tolist() == [0, 1]
    assert positions[shanks == 1, 0].min() - positions[shanks == 0, 0].min() == 200
    assert len(set(curated.channel_map.tolist())) == 48
    assert curated.channel_map.min() >= 0
    assert curated.channel_map.max() < 64
    assert (np.diff(curated.channel_map) != 1).any()


def test_shanks_are_written_where_due(tmp_path):
    for dialect in ("kilosort2", "kilosort4"):
        truth = fresh(tmp_path / dialect, dialect, write_features=False)
        written = (truth.folder / "channel_shanks.npy").exists()
        assert written == (dialect == "kilosort4")


@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("dialect", ["kilosort2.5", "kilosort4"])
def test_column_vectors(tmp_path, dialect, column):
    truth = fresh(tmp_path / "f", dialect, column_vectors=column, curation=3)
    for name in ("spike_times", "spike_templates", "spike_clusters", "amplitudes", "channel_map"):
        assert load(truth, name).ndim == 1 + column, name
    np.testing.assert_array_equal(load(truth, "spike_clusters").ravel(), truth.spike_clusters)


def test_dtypes(tmp_path):
    dtypes = {
        "spike_templates": "uint16",
        "spike_clusters": "float64",
        "spike_times": "uint64",
        "templates": "float64",
        "pc_features": "float64",
        "pc_feature_ind": "float32",
    }
    truth = fresh(tmp_path / "f", dtypes=dtypes, curation=2)
    for name, dtype in dtypes.items():
        assert load(truth, name).dtype == np.dtype(dtype), name
    np.testing.assert_array_equal(load(truth, "spike_clusters"), truth.spike_clusters)
    with pytest.raises(ValueError, match="spike_times holds values that do not fit in uint16"):
        fresh(tmp_path / "g", dtypes={"spike_times": "uint16"})


# ------------------------------------------------------------------------------------- spikes


def test_spike_times(curated):
    samples = load(curated, "spike_times").ravel()
    np.testing.assert_array_equal(samples, curated.spike_samples)
    assert curated.spike_samples.dtype == np.int64
    assert (np.diff(curated.spike_samples) >= 0).all()
    assert curated.spike_samples[0] >= 0


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.4])
def test_shared_samples(tmp_path, fraction):
    truth = fresh(tmp_path / "f", num_spikes=5000, shared_fraction=fraction)
    by_sample = {}
    for sample, template in zip(truth.spike_samples, truth.spike_templates, strict=True):
        by_sample.setdefault(sample, []).append(template)
    shared = [templates for templates in by_sample.values() if len(templates) > 1]
    assert sum(map(len, shared)) == round(fraction * 5000)
    assert all(len(set(templates)) == len(templates) for templates in shared)


def test_duration_and_rates(tmp_path):
    truth = fresh(tmp_path / "f", num_spikes=4000, duration_s=20.0, sampling_frequency=10_000)
    assert 190_000 < truth.spike_samples[-1] < 200_000
    # uniform in time
    counts, _ = np.histogram(truth.spike_samples, bins=10, range=(0, 200_000))
    assert abs(counts - 400).max() < 6 * np.sqrt(400)
    assert len(Counter(truth.spike_templates.tolist())) == 20


@pytest.mark.slow
def test_every_active_template_fires(tmp_path):
    truth = fresh(tmp_path / "f", num_templates=300, num_spikes=300, write_features=False)
    assert len(np.unique(truth.spike_templates)) == 300


@pytest.mark.slow
def test_very_dense_spikes(tmp_path):
    truth = fresh(tmp_path / "f", num_spikes=999, duration_s=1, sampling_frequency=1000)
    assert truth.spike_samples.max() < 1000
    with pytest.raises(ValueError, match="more spikes than samples"):
        fresh(tmp_path / "g", num_spikes=1000, duration_s=1, sampling_frequency=1000)


# ----------------------------------------------------------------------------------- features


def test_pc_features_are_scaled_projections(curated):
    features, index = load(curated, "pc_features"), load(curated, "pc_feature_ind").astype(int)
    amplitudes = load(curated, "amplitudes").ravel().astype(np.float64)
    start = 0 if curated.dialect == "kilosort4" else 21
    if curated.dialect == "kilosort4":
        norms = np.linalg.norm(features.reshape(len(features), -1), axis=1)
        np.testing.assert_allclose(norms, amplitudes, rtol=1e-5)
        basis = load(curated, "ops", allow_pickle=True).item()["wPCA"]
        # templates lie in the basis
        good = finite_templates(curated)
        templates = curated.templates_whitened[good]
        projected = np.einsum("ps,pt,ntc->nsc", basis, basis, templates, optimize=True)
        np.testing.assert_allclose(projected, templates, atol=1e-4)
    factors = amplitudes
    for i in np.unique(curated.spike_templates)[:6]:
        mine = curated.spike_templates == i
        template = curated.templates_whitened[i, start:][:, index[i]]
        if curated.dialect == "kilosort4":
            mean = features[mine].mean(axis=0)
            expected = basis @ template
        else:  # the basis is not in the folder: find it from the other templates' features
            mean = (features[mine] / factors[mine][:, None, None]).mean(axis=0)
            basis = np.linalg.lstsq(template.T, mean.T, rcond=None)[0].T
            expected = basis @ template
        correlation = np.corrcoef(mean.ravel(), expected.ravel())[0, 1]
        assert correlation > 0.95


def test_feature_noise(tmp_path):
    truth = fresh(tmp_path / "f", "kilosort2", num_spikes=20_000, num_templates=5)
    features, factors = load(truth, "pc_features"), load(truth, "amplitudes").ravel()
    for i in range(5):
        mine = truth.spike_templates == i
        flat, f = features[mine].reshape(mine.sum(), -1), factors[mine]
        fitted = np.outer(f, f @ flat / (f @ f))
        assert np.std(flat - fitted) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dialect", some_quick(WITH_TEMPLATE_FEATURES))
def test_template_features(tmp_path, dialect):
    truth = fresh(tmp_path / "f", dialect, num_zero_templates=1)
    values, index = load(truth, "template_features"), load(truth, "template_feature_ind")
    index, factors = index.astype(int), load(truth, "amplitudes").ravel()
    similarity = load(truth, "similar_templates")
    for i, row in enumerate(index):
        assert row[0] == i
        assert len(set(row)) == 16
        if similarity[i].any():
            left_out = np.setdiff1d(np.arange(20), row)
            assert similarity[i, left_out].max() <= similarity[i, row].min()
    expected = (
        factors[:, None] * similarity[truth.spike_templates[:, None], index[truth.spike_templates]]
    )
    residual = values - expected
    assert residual.std() == pytest.approx(1, abs=0.03)
    assert abs(residual.mean()) < 0.03


def test_fewer_templates_than_template_features(tmp_path):
    truth = fresh(tmp_path / "f", "kilosort2", num_templates=5)
    assert load(truth, "template_features").shape == (1500, 5)


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort4"])
def test_feature_rows(tmp_path, dialect, phylib_model):
    truth = fresh(
        tmp_path / "f",
        dialect,
        feature_rows=200,
        write_template_features=True,
        shared_fraction=0,
    )
    for name in ("pc_feature", "template_feature"):
        rows = load(truth, f"{name}_spike_ids")
        assert rows.shape == (200,)
        assert (np.diff(rows) > 0).all()
        assert rows[-1] < 1500
        assert len(load(truth, f"{name}s")) == 200
    if dialect == "kilosort4":
        features = load(truth, "pc_features").reshape(200, -1)
        np.testing.assert_allclose(
            np.linalg.norm(features, axis=1), load(truth, "amplitudes")[rows], rtol=1e-5
        )
    model = phylib_model(truth)
    assert model.get_features(rows[:5], np.arange(4)).shape[:2] == (5, 4)


@pytest.mark.slow
def test_without_features_all_else_is_the_same(tmp_path):
    for dialect in ("kilosort2", "kilosort4"):
        kwargs = {"curation": 5, "num_nan_templates": 1}
        full = fresh(tmp_path / dialect / "full", dialect, **kwargs)
        light = fresh(tmp_path / dialect / "light", dialect, write_features=False, **kwargs)
        names = {path.name for path in light.folder.iterdir()}
        missing = {path.name for path in full.folder.iterdir()} - names
        assert missing == {"pc_features.npy", "pc_feature_ind.npy"} | (
            {"template_features.npy", "template_feature_ind.npy"}
            if dialect == "kilosort2"
            else set()
        )
        _, different, errors = filecmp.cmpfiles(full.folder, light.folder, names, shallow=False)
        assert not different
        assert not errors


def test_positions(tmp_path):
    truth = fresh(tmp_path / "f", num_shanks=2)
    positions = load(truth, "spike_positions")
    for i in range(20):
        peak = np.ptp(truth.templates_whitened[i], axis=0).argmax()
        mine = positions[truth.spike_templates == i]
        distance = np.linalg.norm(mine.mean(axis=0) - truth.channel_positions[peak])
        assert distance < 45
    assert not (
        fresh(tmp_path / "g", write_positions=False).folder / "spike_positions.npy"
    ).exists()
    other = fresh(tmp_path / "h", "kilosort2", write_positions=True)
    assert load(other, "spike_positions").shape == (1500, 2)


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort4"])
def test_shuffled_rows_belong_together(tmp_path, dialect):
    kwargs = {"num_spikes": 2000, "shared_fraction": 0.1, "num_templates": 6}
    straight = fresh(tmp_path / "straight", dialect, **kwargs)
    truth = fresh(tmp_path / "f", dialect, shuffled=True, **kwargs)
    assert (np.diff(truth.spike_samples) < 0).any()
    assert sorted(zip(truth.spike_samples, truth.spike_templates, strict=True)) == sorted(
        zip(straight.spike_samples, straight.spike_templates, strict=True)
    )
    np.testing.assert_array_equal(load(truth, "spike_times").ravel(), truth.spike_samples)
    np.testing.assert_array_equal(load(truth, "spike_templates").ravel(), truth.spike_templates)
    # the features of a row are those of the row's template
    features = load(truth, "pc_features").reshape(2000, -1)
    means = np.stack([features[truth.spike_templates == i].mean(axis=0) for i in range(6)])
    distance = ((features[:, None] - means[None]) ** 2).sum(axis=2)
    assert np.mean(distance.argmin(axis=1) == truth.spike_templates) > 0.97


# ----------------------------------------------------------------------------------- curation


def tables_of(truth):
    tables = {}
    for path in truth.folder.glob("cluster_*.tsv"):
        if path.stem != "cluster_info":
            for field, values in naive.read_table(path).items():
                assert path.stem == f"cluster_{field}"
                tables[field] = values
    return tables


@pytest.mark.parametrize("operations", [OPERATIONS, 40], ids=["given", "random"])
@pytest.mark.parametrize("dialect", some_quick(["kilosort1", "kilosort2", "kilosort4"]))
def test_curation_agrees_with_the_oracle(tmp_path, dialect, operations):
    labels = {0: "mua", 2: "good", 5: "noise", 7: "good"}
    kwargs = {"labels": labels, "num_spikes": 3000, "seed": 1, "shuffled": dialect == "kilosort2"}
    before = fresh(tmp_path / "before", dialect, **kwargs)
    truth = fresh(tmp_path / "after", dialect, curation=operations, **kwargs)
    np.testing.assert_array_equal(before.spike_templates, truth.spike_templates)
    np.testing.assert_array_equal(before.spike_clusters, truth.spike_templates)

    oracle = naive.NaiveClustering(before.spike_clusters, tables_of(before))
    oracle.apply(operation.as_tuple() for operation in truth.operations)
    np.testing.assert_array_equal(truth.spike_clusters, oracle.spike_clusters)
    assert truth.groups == oracle.labels("group")
    assert tables_of(truth) == {field: oracle.labels(field) for field in oracle.fields}
    assert set(truth.groups) <= set(oracle.cluster_ids)
    assert "group" in tables_of(truth)

    made = [new for operation in truth.operations for new in operation.new_cluster_ids]
    assert made == list(range(20, 20 + len(made)))
    stored = load(truth, "spike_clusters")
    assert stored.dtype == np.int32
    assert stored.shape == (3000,)
    np.testing.assert_array_equal(stored, truth.spike_clusters)
    np.testing.assert_array_equal(load(truth, "spike_templates").ravel(), truth.spike_templates)
    info = naive.read_table(truth.folder / "cluster_info.tsv")
    assert info["n_spikes"] == dict(Counter(truth.spike_clusters.tolist()))
    assert info["group"] == truth.groups


def test_the_operations_are_replayable(tmp_path):
    first = fresh(tmp_path / "a", curation=15)
    again = fresh(tmp_path / "b", curation=[op.as_tuple() for op in first.operations])
    np.testing.assert_array_equal(first.spike_clusters, again.spike_clusters)
    assert first.groups == again.groups
    assert {op.kind for op in first.operations} == {"merge", "split", "label"}


def test_split_by_mask(tmp_path):
    before = fresh(tmp_path / "a")
    mask = np.arange((before.spike_clusters == 4).sum()) % 3 == 0
    truth = fresh(tmp_path / "b", curation=[("split", 4, mask)])
    mine = truth.spike_clusters[before.spike_clusters == 4]
    np.testing.assert_array_equal(mine, np.where(mask, 20, 21))
    assert truth.operations[0].new_cluster_ids == (20, 21)
    listed = fresh(tmp_path / "c", curation=[("split", 4, mask.tolist())])
    np.testing.assert_array_equal(listed.spike_clusters, truth.spike_clusters)


def test_new_ids_follow_the_clusters_with_spikes(tmp_path):
    for seed in range(50):
        kwargs = {"num_empty_templates": 6, "seed": seed, "write_features": False}
        before = fresh(tmp_path / f"{seed}-before", **kwargs)
        largest, some = before.spike_templates.max(), int(before.spike_templates[0])
        if largest < 19:  # the last template has no spikes: its id is given to a cluster
            truth = fresh(tmp_path / "after", curation=[("split", some, 2)], **kwargs)
            assert truth.operations[0].new_cluster_ids == (largest + 1, largest + 2)
            return
    pytest.fail("no seed leaves the last template without spikes")


def test_both_oracles_do_what_phy_did():
    folder = Path(simulate.__file__).parent / "ks4_phy_curated"
    if not folder.is_dir():
        pytest.skip("the packaged example is not there")
    templates = np.load(folder / "spike_templates.npy")
    amplitudes = np.load(folder / "amplitudes.npy")
    of_3 = amplitudes[templates == 3]
    amplitude = [8.9, 46.6, 15.1, 38.2, 14.2, 9.8, 30.0, 19.3, 41.6, 19.2]
    fields = {
        "Amplitude": dict(enumerate(amplitude)),
        "ContamPct": {**dict.fromkeys(range(10), 0.0), 5: 25.6},
        "KSLabel": {**dict.fromkeys(range(10), "good"), 5: "mua"},
    }
    mask = of_3 > np.median(of_3)
    ours = PhyCuration(templates, fields)
    oracle = naive.NaiveClustering(templates, fields)
    assert ours.merge([5, 6]) == oracle.merge([5, 6]) == 10
    assert list(ours.split(3, [np.flatnonzero(mask)])) == oracle.split(3, mask) == [11, 12]
    assert ours.merge([0, 1, 2]) == oracle.merge([0, 1, 2]) == 13
    for cluster_id, group in ((13, "good"), (8, "noise"), (10, "mua")):
        ours.label([cluster_id], group)
        oracle.label([cluster_id], group)
    np.testing.assert_array_equal(ours.spike_clusters(), np.load(folder / "spike_clusters.npy"))
    np.testing.assert_array_equal(oracle.spike_clusters, ours.spike_clusters())
    for field, values in ours.current_metadata().items():
        assert values == oracle.labels(field)
        assert values == naive.read_table(folder / f"cluster_{field}.tsv")[field]


@given(data=st.data())
def test_any_curation_agrees_with_the_oracle(data):
    clusters = np.array(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=25)))
    value = st.sampled_from(["a", "b", None, 1.5])
    fields = {"f": data.draw(st.dictionaries(st.integers(0, 8), value))}
    ours, oracle = PhyCuration(clusters, fields), naive.NaiveClustering(clusters, fields)
    for _ in range(data.draw(st.integers(0, 6))):
        ids = oracle.cluster_ids
        kind = data.draw(st.sampled_from(["merge", "split", "label"]))
        some = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
        if kind == "merge" and len(some) > 1:
            assert ours.merge(some) == oracle.merge(some)
        elif kind == "split":
            size = len(oracle.spikes(some[0]))
            part_of = data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
            parts = [[i for i, p in enumerate(part_of) if p == k] for k in (0, 1)]
            parts = [part for part in parts if part] or [[0]]
            assert list(ours.split(some[0], list(map(np.array, parts)))) == oracle.split(
                some[0], parts
            )
        else:
            ours.label(some, "x", "g")
            oracle.label(some, "x", "g")
    np.testing.assert_array_equal(ours.spike_clusters(), oracle.spike_clusters)
    for field in ("f", "g", "group"):
        assert ours.current_metadata().get(field, {}) == oracle.labels(field)


def test_tables_of_a_fresh_folder(tmp_path):
    for dialect in DIALECT_NAMES:
        truth = fresh(tmp_path / dialect, dialect, num_empty_templates=2)
        tables = {path.name: path.read_bytes() for path in truth.folder.glob("*.tsv")}
        assert truth.groups == {}
        if dialect in SPARSE:
            assert not tables
            continue
        assert set(tables) == {
            f"cluster_{name}.tsv" for name in ("KSLabel", "ContamPct", "Amplitude", "group")
        }
        assert tables["cluster_group.tsv"] == tables["cluster_KSLabel.tsv"]
        newline = b"\n" if dialect == "kilosort4" else b"\r\n"
        assert tables["cluster_group.tsv"].startswith(b"cluster_id\tKSLabel" + newline)
        assert (b"\r" in tables["cluster_group.tsv"]) == (dialect != "kilosort4")
        labels = naive.read_tables(truth.folder)["KSLabel"]
        assert list(labels) == list(range(20))
        assert set(labels.values()) == {"good", "mua"}


def test_labels(tmp_path):
    truth = fresh(tmp_path / "a", labels={3: "good", 77: "noise"})
    assert truth.groups == {3: "good", 77: "noise"}
    assert naive.read_table(truth.folder / "cluster_group.tsv") == {"group": truth.groups}
    truth = fresh(tmp_path / "b", labels={"group": {3: "mua"}, "quality": {1: 2.5}}, curation=[])
    assert truth.groups == {3: "mua"}
    assert naive.read_table(truth.folder / "cluster_quality.tsv") == {"quality": {1: 2.5}}
    np.testing.assert_array_equal(truth.spike_clusters, truth.spike_templates)


# --------------------------------------------------------------------- determinism, refusals


@pytest.mark.slow
@pytest.mark.parametrize("dialect", some_quick(DIALECT_NAMES))
def test_deterministic(tmp_path, dialect):
    kwargs = {"curation": 5, "shuffled": True, "num_raw_channels": 40, "feature_rows": 100}
    a = fresh(tmp_path / "a", dialect, seed=5, **kwargs)
    b = fresh(tmp_path / "b", dialect, seed=5, **kwargs)
    c = fresh(tmp_path / "c", dialect, seed=6, **kwargs)
    names = {path.name for path in a.folder.iterdir()}
    assert names >= {path.name for path in b.folder.iterdir()}
    _, different, errors = filecmp.cmpfiles(a.folder, b.folder, names, shallow=False)
    assert not different
    assert not errors
    for name in ("spike_times", "spike_templates", "templates", "pc_features", "channel_map"):
        assert not np.array_equal(load(a, name), load(c, name)), name


def test_overwrite(tmp_path):
    truth = fresh(tmp_path / "f", "kilosort2", curation=3)
    (truth.folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        fresh(tmp_path / "f")
    again = fresh(tmp_path / "f", overwrite=True)
    assert not (again.folder / "template_features.npy").exists()
    assert not (again.folder / "cluster_info.tsv").exists()
    assert (again.folder / "notes.txt").read_text() == "mine"


def test_wrong_parameters_leave_a_folder_alone(tmp_path):
    truth = fresh(tmp_path / "f")
    with pytest.raises(ValueError, match="dialect is 'kilosort5'"):
        fresh(tmp_path / "f", "kilosort5", overwrite=True)
    assert (truth.folder / "params.py").exists()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"dialect": "kilosort5"}, "'kilosort1', .*'kilosort4'"),
        ({"whitening": "none"}, "symmetric, local, diagonal"),
        ({"whitening": np.eye(3)}, "square matrix over channels"),
        ({"num_templates": 0}, "num_templates is 0, expected a whole number from 1"),
        ({"num_empty_templates": -1}, "num_empty_templates is -1"),
        ({"num_empty_templates": 10, "num_nan_templates": 10}, "20 of 20 templates"),
        ({"num_raw_channels": 31}, "num_raw_channels"),
        ({"num_shanks": 33}, "num_shanks"),
        ({"shared_fraction": 1.5}, "shared_fraction"),
        ({"feature_rows": 0}, "feature_rows"),
        ({"duration_s": -1.0}, "duration_s is -1.0, expected a number above 0"),
        ({"dtypes": {"spike_time": "int32"}}, "unknown file 'spike_time'"),
        ({"dtypes": {"spike_times": "int23"}}, "unknown dtype"),
        ({"curation": [("merge", [3, 99])]}, r"no such cluster: \[99\]"),
        ({"curation": [("merge", [3])]}, "at least two"),
        ({"curation": [("merge", [3, 4]), ("label", [3], "good")]}, "no such cluster"),
        ({"curation": [("split", 3, [[0, 1], [1]])]}, "in two parts"),
        ({"curation": [("split", 3, [[0, 100_000]])]}, "rows must be between"),
        ({"curation": [("split", 3, [[0], []])]}, "part 1 is empty"),
        ({"curation": [("split", 3, [])]}, "no parts"),
        ({"curation": [("split", 3, [True, False])]}, "mask of"),
        ({"curation": [("split", 3, 0)]}, "into 0 parts"),
        ({"curation": [("move", 3)]}, "not an operation"),
        ({"curation": [("merge", 3, 4)]}, "not an operation"),
    ],
)
def test_refusals(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        fresh(tmp_path / "f", **{"write_features": False, **kwargs})


def test_progress_bar(tmp_path, capsys):
    fresh(tmp_path / "quiet", num_spikes=100)
    assert capsys.readouterr() == ("", "")
    fresh(tmp_path / "loud", num_spikes=100, progress_bar=True)
    assert "pc_features: 100%" in capsys.readouterr().err


def test_few_channels(tmp_path):
    for num_channels in (1, 2, 5):
        truth = fresh(tmp_path / str(num_channels), num_channels=num_channels)
        assert truth.templates_unwhitened.shape == (20, 61, num_channels)
