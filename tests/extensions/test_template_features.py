"""`template_features` from the sorter's files: `template_features.npy` and `pc_features.npy`."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from phylib.io.model import load_model

import si_curation as sic
from oracles import features as naive
from si_curation.phy.feature_files import own_projections
from si_curation.simulation import simulate as simulator
from si_curation.simulation.dialects import DIALECTS
from si_curation.simulation.templates import waveform_basis

NAME = "template_features"
WITH_FILE = ["kilosort1", "kilosort1_all_channels", "kilosort2", "kilosort2.5"]


@pytest.fixture(scope="module")
def make(simulate):
    """Simulate a small curated folder with more templates than are stored for a spike."""

    def simulated(dialect, **kwargs):
        options = {"num_templates": 20, "num_channels": 24, "num_spikes": 1200, "curation": 10}
        return simulate(dialect, **{**options, "num_empty_templates": 1, "seed": 3, **kwargs})

    return simulated


@pytest.fixture(scope="module")
def kilosort4(make):
    """A Kilosort 4 folder that nobody writes to."""
    return make("kilosort4")


@pytest.fixture(scope="module")
def kilosort2(make):
    """A Kilosort 2 folder, with ``template_features.npy``, that nobody writes to."""
    return make("kilosort2", num_nan_templates=1)


def read(truth, **kwargs):
    return sic.read_kilosort_as_analyzer(truth.folder, **kwargs)


def computed(truth, reading=None, **kwargs):
    analyzer = read(truth, **(reading or {}))
    return analyzer, analyzer.compute(NAME, **kwargs)


def rows_of(analyzer):
    return analyzer.get_extension("template_assignment").get_spike_rows()


def values_of(extension):
    return np.asarray(extension.get_data()[0])


def spikes_of(analyzer, unit_id):
    """Positions of the spikes of a unit in the spike vector."""
    index = analyzer.sorting.id_to_index(unit_id)
    return np.flatnonzero(analyzer.sorting.to_spike_vector()["unit_index"] == index)


def copied(truth, folder):
    """Copy a folder; phylib overwrites NaN templates."""
    shutil.copytree(truth.folder, folder)
    return folder


def resave(folder, name, change):
    path = folder / f"{name}.npy"
    np.save(path, change(np.load(path)))


def check_as_phy(analyzer, extension, dense, spike_templates, spike_clusters, units=None):
    """All pairs of units against the oracle, whose rows are those of the folder's files."""
    rows = rows_of(analyzer)
    clusters, templates = spike_clusters[rows], spike_templates[rows]
    dense = dense[rows]
    for a in analyzer.unit_ids if units is None else units:
        for b in analyzer.unit_ids:
            found = extension.get_unit_projections(a, onto=b)
            expected = naive.projections_onto(dense, templates, clusters, a, b)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected.astype(np.float32))
            pair = extension.get_pair_projections(a, b)
            for one, other in zip(
                pair, naive.pair_projections(dense, templates, clusters, a, b), strict=True
            ):
                np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


# ----------------------------------------------------------------------------------- the file


def test_phys_own_answers(shared_data):
    analyzer = sic.read_kilosort_as_analyzer(shared_data / "ks1_phy_curated")
    extension = analyzer.compute(NAME)
    assert extension.source == "file"
    oracle = np.load(shared_data / "ks1_phy_curated" / "phy_template_features_oracle.npz")
    assert len(oracle.files) > 50
    for key in oracle.files:
        kind, a, b, *axis = key.split("_")
        if kind == "onto":
            found = extension.get_unit_projections(int(a), onto=int(b))
        else:
            pair = extension.get_pair_projections(int(a), int(b))
            found = pair[int(axis[0][1])][:, "xy".index(axis[0][0])]
        np.testing.assert_allclose(found, oracle[key], rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("dialect", WITH_FILE)
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.slow
def test_file_as_phy(make, tmp_path, dialect, shuffled):
    truth = make(dialect, shuffled=shuffled)
    analyzer, extension = computed(truth)
    assert extension.source == extension.info["source"] == "file"
    dense = naive.template_features(truth.folder, 20)
    assert (dense == 0).any(), "every template is stored for every spike"
    check_as_phy(analyzer, extension, dense, truth.spike_templates, truth.spike_clusters)
    if not shuffled:  # phylib reads such folders too, but warns
        model = load_model(copied(truth, tmp_path / "phylib") / "params.py")
        everything = model.get_template_features(np.arange(model.n_spikes))
        np.testing.assert_array_equal(everything, dense.astype(everything.dtype))
    values, index = extension.get_data()
    assert (values.dtype, index.dtype) == (np.float32, np.int32)
    assert extension.template_index.shape == (20, 16)
    whitened = np.linalg.norm(truth.templates_whitened, axis=(1, 2))
    np.testing.assert_allclose(extension.template_norms, whitened, rtol=1e-5)


def test_rows_subset(make, tmp_path):
    truth = make("kilosort2", feature_rows=700)
    analyzer, extension = computed(truth)
    dense = naive.template_features(truth.folder, 20)
    assert np.isnan(dense).all(axis=1).sum() == 500
    check_as_phy(analyzer, extension, dense, truth.spike_templates, truth.spike_clusters)
    model = load_model(copied(truth, tmp_path / "phylib") / "params.py")
    stored = np.load(truth.folder / "template_feature_spike_ids.npy")
    np.testing.assert_array_equal(
        model.get_template_features(stored), dense[stored].astype(np.float32)
    )
    # what is not in the file stays NaN, whatever stands for what is not stored
    unit = analyzer.unit_ids[-1]
    for missing in (0.0, np.nan, -5.0):
        found = extension.get_unit_projections(unit, onto=analyzer.unit_ids[0], missing=missing)
        lost = ~np.isin(rows_of(analyzer)[spikes_of(analyzer, unit)], stored)
        assert lost.any()
        assert np.isnan(found[lost]).all()


def repeat_first(index):
    index[:, 5] = index[:, 0]
    return index


CHANGES = {
    "float index": ("template_feature_ind", lambda x: x.astype(np.float64)),
    "C order": (NAME, np.ascontiguousarray),
    "float64": (NAME, lambda x: x.astype(np.float64) * (1 + 1e-9)),
    "one column": (NAME, lambda x: x[:, :1]),
    "repeated": ("template_feature_ind", repeat_first),
    "padded": ("template_feature_ind", lambda x: np.where(x % 3 == 0, -1, x.astype(np.int64))),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_other_ways_to_write_the_file(kilosort2, tmp_path, change):
    folder = copied(kilosort2, tmp_path / "folder")
    resave(folder, *CHANGES[change])
    if change == "one column":
        resave(folder, "template_feature_ind", lambda x: x[:, :1])
    analyzer = sic.read_kilosort_as_analyzer(folder)
    extension = analyzer.compute(NAME)
    dense = naive.template_features(folder, 20) if change != "one column" else None
    if dense is None:
        dense = np.zeros((1200, 20))
        index = np.load(folder / "template_feature_ind.npy")[kilosort2.spike_templates, 0]
        dense[np.arange(1200), index] = np.load(folder / f"{NAME}.npy")[:, 0]
    truth = kilosort2
    units = analyzer.unit_ids[::3]
    check_as_phy(analyzer, extension, dense, truth.spike_templates, truth.spike_clusters, units)


@pytest.mark.parametrize("width", [16, 20, 23])
def test_file_without_index(kilosort2, tmp_path, width):
    """Columns are then templates in order (phylib), also more of them than there are."""
    folder = copied(kilosort2, tmp_path / "folder")
    (folder / "template_feature_ind.npy").unlink()
    resave(folder, NAME, lambda x: np.hstack([x, x])[:, :width])
    analyzer = sic.read_kilosort_as_analyzer(folder)
    extension = analyzer.compute(NAME)
    dense = naive.template_features(folder, 20)
    truth, units = kilosort2, analyzer.unit_ids[::5]
    check_as_phy(analyzer, extension, dense, truth.spike_templates, truth.spike_clusters, units)


def test_missing_projections(kilosort2):
    analyzer, extension = computed(kilosort2)
    rows = rows_of(analyzer)
    templates, clusters = kilosort2.spike_templates[rows], kilosort2.spike_clusters[rows]
    dense = naive.template_features(kilosort2.folder, 20)[rows]
    index = np.load(kilosort2.folder / "template_feature_ind.npy").astype(int)[templates]
    is_stored = (index[:, :, None] == np.arange(20)).any(axis=1)
    seen = 0
    for missing in (np.nan, 7.0):
        filled = np.where(is_stored, dense, missing)
        for a in analyzer.unit_ids:
            for b in analyzer.unit_ids[::4]:
                expected = naive.projections_onto(filled, templates, clusters, a, b)
                found = extension.get_unit_projections(a, onto=b, missing=missing)
                np.testing.assert_array_equal(found, expected.astype(np.float32))
                seen += np.isnan(found).sum()
                # a template that the unit has no spikes of does not make the mean unknown
                pair = extension.get_pair_projections(a, b, missing=missing)
                for values, cluster in zip(pair, (a, b), strict=True):
                    spikes = clusters == cluster
                    for column, onto in enumerate((a, b)):
                        counts = naive.counts_of_cluster(templates, clusters, onto, 20)
                        used = counts > 0
                        mean = np.average(filled[spikes][:, used], weights=counts[used], axis=1)
                        np.testing.assert_allclose(values[:, column], mean, rtol=1e-5, atol=1e-5)
    assert seen


def test_what_is_given_can_be_changed_without_harm(kilosort2):
    analyzer, extension = computed(kilosort2)
    unit = analyzer.unit_ids[0]
    before = extension.get_unit_projections(unit)
    extension.get_unit_projections(unit)[:] = 0
    extension.get_pair_projections(unit, analyzer.unit_ids[1])[0][:] = 0
    extension.info["source"] = "mine"
    np.testing.assert_array_equal(extension.get_unit_projections(unit), before)
    assert extension.source == "file"
    by_unit = extension.get_data(outputs="by_unit")
    by_unit = by_unit[0] if isinstance(by_unit, list) else by_unit
    for unit_id in analyzer.unit_ids:
        own = values_of(extension)[spikes_of(analyzer, unit_id)]
        np.testing.assert_array_equal(by_unit[0][unit_id], own)


# --------------------------------------------------------------------------------- pc_features


def known_basis(truth, seed):
    """The waveforms that the simulated features were taken in, zeros in front where padded."""
    spec = DIALECTS[truth.dialect]
    names = list(simulator._SEEDS)
    seeds = dict(zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True))
    basis = waveform_basis(spec, seeds["basis"])
    return np.pad(basis.astype(np.float64), ((0, 0), (spec.num_leading_zeros, 0)))


def naive_index(folder, templates, num_templates):
    signal = np.nan_to_num(templates).any(axis=(1, 2))
    return naive.neighbours(np.load(folder / "similar_templates.npy"), signal, num_templates)


def assert_close(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("kwargs", [{}, {"num_templates": 1}, {"num_templates": 99}])
def test_kilosort4(kilosort4, kwargs):
    truth = kilosort4
    analyzer, extension = computed(truth, **kwargs)
    assert extension.source == "pc_features"
    basis = np.load(truth.folder / "ops.npy", allow_pickle=True).item()["wPCA"]
    np.testing.assert_allclose(basis, known_basis(truth, 3))
    index = naive_index(truth.folder, truth.templates_whitened, kwargs.get("num_templates", 16))
    np.testing.assert_array_equal(extension.template_index, index)
    expected = naive.project_from_features(truth.folder, truth.templates_whitened, basis, index)
    assert_close(values_of(extension), expected[rows_of(analyzer)])
    assert extension.info["basis"] == "ops.npy (wPCA)"
    assert extension.info["basis_condition_number"] == pytest.approx(1, abs=1e-5)
    assert extension.info["feature_channels"] == "file"
    dense = np.zeros((1200, 20))
    np.put_along_axis(dense, index[truth.spike_templates], expected, axis=1)
    rows = rows_of(analyzer)
    templates, clusters = truth.spike_templates[rows], truth.spike_clusters[rows]
    a, b = analyzer.unit_ids[[-1, 0]]
    for one, other in zip(
        extension.get_pair_projections(a, b),
        naive.pair_projections(dense[rows], templates, clusters, a, b),
        strict=True,
    ):
        assert_close(one, other)


def hostile(truth, folder):
    """The same with unsorted columns, other dtypes, memory orders and spikes out of range."""
    resave(folder, "pc_features", lambda x: np.asfortranarray(x.astype(np.float64)))
    resave(folder, "pc_feature_ind", lambda x: x.astype(np.float64))
    for name in ("spike_times", "spike_templates", "spike_clusters", "amplitudes"):
        resave(folder, name, lambda x: x.reshape(-1, 1))
    resave(folder, "pc_feature_ind", lambda x: np.where(x % 5 == 0, -1, x))
    resave(folder, "spike_times", lambda x: np.where(np.arange(len(x))[:, None] % 50 == 7, -3, x))


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["kilosort4", "kilosort3", "kilosort1"])
def test_hostile_folders(make, tmp_path, dialect):
    dtypes = {"spike_times": "int64"}
    groups = {0: "noise", 8: "good"}
    truth = make(dialect, shuffled=True, feature_rows=1000, dtypes=dtypes, labels=groups)
    folder = copied(truth, tmp_path / "folder")
    hostile(truth, folder)
    with pytest.warns(sic.SiCurationWarning, match="2[34] of 1200"):
        analyzer = sic.read_kilosort_as_analyzer(folder, exclude_groups="noise")
    extension = analyzer.compute(NAME, source="pc_features")
    templates = np.nan_to_num(truth.templates_whitened)
    basis = recovered(folder, truth) if dialect != "kilosort4" else known_basis(truth, 3)
    index = naive_index(folder, templates, 16)
    expected = naive.project_from_features(folder, templates, basis, index)
    rows = rows_of(analyzer)
    assert len(rows) < 1200 - 24
    assert not np.array_equal(rows, np.sort(rows))
    assert np.isnan(expected[rows]).any()
    assert_close(values_of(extension), expected[rows], 1e-4)


def recovered(folder, truth):
    """Recover the basis equation by equation; all spikes are looked at, as they are few."""
    channels = naive.integers(folder, "pc_feature_ind")
    features, counts = naive.mean_features_of_templates(folder, 20)
    assert counts.max() < 300
    features = features * (channels >= 0)[:, None]
    local = naive.templates_on(truth.templates_whitened, channels)
    return naive.recover_basis(features, local, counts)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort2", "kilosort3", "kilosort4"])
def test_recovered_basis(make, tmp_path, dialect):
    truth = make(dialect, num_nan_templates=1)
    folder = copied(truth, tmp_path / "folder")
    if dialect == "kilosort4":  # as if from a version that does not write it
        ops = np.load(folder / "ops.npy", allow_pickle=True).item()
        del ops["wPCA"]
        np.save(folder / "ops.npy", np.array(ops), allow_pickle=True)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    extension = analyzer.compute(NAME, source="pc_features", num_templates=5)
    assert extension.info["basis"] == "recovered"
    assert 1 <= extension.info["basis_condition_number"] < 1e4
    assert 0.9 < extension.info["basis_explained"] <= 1
    basis, rows = recovered(folder, truth), rows_of(analyzer)
    index = naive_index(folder, truth.templates_whitened, 5)
    expected = naive.project_from_features(folder, truth.templates_whitened, basis, index)
    assert_close(values_of(extension), expected[rows], 1e-4)
    # and it is the basis that the features were taken in
    known = known_basis(truth, 3)
    true = naive.project_from_features(folder, truth.templates_whitened, known, index)[rows]
    error = values_of(extension) - true
    assert np.sqrt(np.mean(error**2)) < 0.03 * np.sqrt(np.mean(true**2))


def keep_one_shape(templates):
    """Templates that are all one waveform."""
    shape = np.nan_to_num(templates[3][:, [int(np.abs(templates[3]).max(axis=0).argmax())]])
    return (shape * np.abs(templates).max(axis=1, keepdims=True)).astype(np.float32)


def random_features(features):
    return np.random.default_rng(0).standard_normal(features.shape).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("templates", keep_one_shape, ["too few independent waveforms", "3 components"]),
        ("pc_features", random_features, ["explains", "exchanged"]),
        ("pc_features", lambda x: x * np.array([[[1], [1], [0]]], "f4"), ["3 components"]),
    ],
    ids=["degenerate", "not the templates", "empty component"],
)
def test_a_basis_that_cannot_be_recovered(make, tmp_path, name, change, words):
    truth = make("kilosort3")
    folder = copied(truth, tmp_path / "folder")
    analyzer = sic.read_kilosort_as_analyzer(folder)
    before = set(analyzer.extensions)
    resave(folder, name, change)
    with pytest.raises(sic.MissingDataError) as caught:
        analyzer.compute(NAME)
    for word in [*words, "pc_features.npy", str(folder), "recording", "ondition number"]:
        assert word in str(caught.value)
    assert set(analyzer.extensions) == before


def test_too_few_templates_for_a_basis(simulate):
    kwargs = {"num_channels": 1, "num_templates": 2, "num_spikes": 100}
    truth = simulate("kilosort3", **kwargs)
    with pytest.raises(sic.MissingDataError, match=r"2 templates .*at least 3"):
        computed(truth)


# --------------------------------------------------------------- a file that says next to nothing


def same_templates_for_all(folder, truth):
    """Write what a real folder of Kilosort 2 has: the first templates for all, and NaN."""
    index = np.load(folder / "template_feature_ind.npy")
    index[:] = np.arange(index.shape[1])
    np.save(folder / "template_feature_ind.npy", index)
    values = np.load(folder / "template_features.npy")
    values[:] = np.where(np.arange(values.shape[1]) == 1, np.nan, values)
    np.save(folder / "template_features.npy", values)


def nan_for_all(folder, truth):
    resave(folder, "template_features", lambda values: np.full_like(values, np.nan))


@pytest.fixture(scope="module")
def many_templates(simulate):
    return simulate("kilosort2", num_templates=200, num_channels=12, num_spikes=6000, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [same_templates_for_all, nan_for_all])
def test_a_file_without_the_own_templates_is_passed_over(many_templates, tmp_path, spoil):
    folder = copied(many_templates, tmp_path / "folder")
    before = sic.read_kilosort_as_analyzer(folder)
    assert before.compute(NAME).source == "file"
    expected = before.compute(NAME, source="pc_features")
    spoil(folder, many_templates)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    with pytest.warns(sic.SiCurationWarning, match=r"own template.* from pc_features\.npy"):
        found = analyzer.compute(NAME)
    assert found.source == "pc_features"
    np.testing.assert_array_equal(values_of(found), values_of(expected))
    # phy's zeros where they are asked for
    zeros = analyzer.compute(NAME, source="file")
    assert zeros.source == "file"
    if spoil is same_templates_for_all:
        unit = analyzer.unit_ids[-1]
        assert not zeros.get_unit_projections(unit).any()
    (told,) = [f for f in sic.check_phy_folder(folder) if f.check == "own_template_features"]
    assert told.severity == "warning"
    assert told.where == "template_features.npy"


def test_without_another_source_the_error_says_why(many_templates, tmp_path):
    folder = copied(many_templates, tmp_path / "folder")
    same_templates_for_all(folder, many_templates)
    (folder / "pc_features.npy").unlink()
    analyzer = sic.read_kilosort_as_analyzer(folder)
    with pytest.raises(sic.MissingDataError, match=r"own template.*source='file'"):
        analyzer.compute(NAME)
    assert analyzer.compute(NAME, source="file").source == "file"


def test_own_projections_are_counted_as_they_are():
    rng = np.random.default_rng(1)
    for _ in range(50):
        num_templates, width, num_spikes = rng.integers(1, 7, 3)
        index = rng.integers(-1, num_templates, (num_templates, width))
        values = rng.choice([1.0, np.nan], (num_spikes, width))
        templates = rng.integers(0, num_templates, num_spikes)
        rows = rng.permutation(num_spikes) if rng.random() < 0.5 else None
        absent = broken = 0
        for row in range(num_spikes):
            template = templates[row if rows is None else rows[row]]
            columns = np.flatnonzero(index[template] == template)
            absent += columns.size == 0
            broken += columns.size > 0 and bool(np.isnan(values[row, columns[0]]))
        found = own_projections(values, index, rows, templates)
        assert tuple(found) == (num_spikes, absent, broken)


def test_a_real_file_of_which_a_part_is_usable_is_used(shared_data):
    """Each row of its index is 0 to 15: 28 % of the spikes have their own template."""
    findings = sic.check_phy_folder(shared_data / "ks1_phy_curated")
    (told,) = [f for f in findings if f.check == "own_template_features"]
    assert told.severity == "info"
    assert told.evidence["num_own_template_absent"] == 225


# ------------------------------------------------------------------- channels listed wrongly


@pytest.fixture(scope="module")
def unsorted_features(simulate):
    """A Kilosort 4 folder whose features were sorted again and again, as Kilosort 4 does it.

    Spikes of all templates share few detection templates; ``iCC`` and ``iU`` of ``ops.npy`` tell
    the channels that their features were taken on.
    """
    truth = simulate(num_templates=6, num_channels=10, num_spikes=600, seed=4)
    folder, rng = truth.folder, np.random.default_rng(0)
    listed = np.array([rng.permutation(10) for _ in range(6)])
    near = np.array([rng.permutation(10) for _ in range(10)]).T  # (n_loc, n_channels)
    main = np.array([7, 2, 4])
    detections = rng.integers(0, 3, 600)
    ops = np.load(folder / "ops.npy", allow_pickle=True).item()
    templates = truth.templates_whitened[truth.spike_templates]
    taken = np.einsum("ps,nsc->npc", ops["wPCA"], templates)  # on all channels
    taken += 0.1 * rng.standard_normal(taken.shape)
    first = near[:, main].T
    labels = naive.sort_features(
        first[detections], truth.spike_templates, detections, listed, first
    )
    np.save(
        folder / "pc_features.npy", taken[np.arange(600)[:, None], :, labels].transpose(0, 2, 1)
    )
    np.save(folder / "pc_feature_ind.npy", listed)
    np.save(folder / "spike_detection_templates.npy", detections)
    np.save(folder / "ops.npy", np.array({**ops, "iCC": near, "iU": main}), allow_pickle=True)
    return truth, taken


def test_repaired_channels(unsorted_features):
    truth, taken = unsorted_features
    analyzer, extension = computed(truth)
    rows = rows_of(analyzer)
    everywhere = sic.get_spike_features(analyzer, np.arange(600), np.arange(10), "repaired")
    np.testing.assert_allclose(everywhere, taken[rows].transpose(0, 2, 1), rtol=1e-5, atol=1e-5)
    assert extension.info["feature_channels"] == "repaired"
    basis = np.load(truth.folder / "ops.npy", allow_pickle=True).item()["wPCA"]
    waveforms = np.einsum("ps,npc->nsc", basis, taken)
    everything = np.einsum("nsc,tsc->nt", waveforms, truth.templates_whitened)
    own = extension.template_index[truth.spike_templates]
    expected = np.take_along_axis(everything, own, axis=1)
    assert_close(values_of(extension), expected[rows], 1e-4)
    # as phy, which believes the file
    extension = analyzer.compute(NAME, feature_channels="file")
    assert extension.info["feature_channels"] == "file"
    expected = naive.project_from_features(
        truth.folder, truth.templates_whitened, basis, extension.template_index
    )
    assert_close(values_of(extension), expected[rows])
    listed = sic.get_spike_features(analyzer, np.arange(600), np.arange(10))
    expected = naive.features(truth.folder, rows, np.arange(10))
    np.testing.assert_allclose(listed, expected, rtol=1e-6)
    assert not np.allclose(listed, everywhere)
