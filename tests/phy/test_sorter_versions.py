"""What each version of Kilosort wrote otherwise is read as it is meant."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import si_curation as sic
from si_curation.simulation.simulate import VERSION_DIALECT_NAMES

SMALL = dict(num_templates=8, num_channels=16, num_spikes=1600, duration_s=10.0, seed=4)
WITH_SCALE = ("kilosort4.0.0", "kilosort4.0.2", "kilosort4.0.6")
KILOSORT4 = tuple(name for name in VERSION_DIALECT_NAMES if name.startswith("kilosort4"))


QUICK = ("kilosort1.0", "kilosort3.0.2", "kilosort4.0.2")


def slow_but(names, quick):
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.fixture(scope="module", params=slow_but(VERSION_DIALECT_NAMES, QUICK))
def version(request, simulate):
    return simulate(request.param, **SMALL)


def assignment_of(folder, **kwargs):
    return sic.read_kilosort_as_analyzer(folder, **kwargs).get_extension("template_assignment")


def test_sorters_are_known(version):
    folder = sic.read_phy_folder(version.folder)
    expected = {"kilosort1.0": "kilosort2", "kilosort2.0_beta": "kilosort2"}  # cannot be told apart
    name = expected.get(version.dialect, version.dialect.partition(".0")[0])
    assert folder.sorter.name == name
    assert ("4.0.0 to 4.0.6" in folder.sorter.evidence) == (version.dialect in WITH_SCALE)


def test_files_are_those_of_the_version(version):
    files = {path.name for path in version.folder.iterdir()}
    dialect = version.dialect
    features = {"pc_features.npy", "pc_feature_ind.npy"}
    without = {"kilosort3.0.2", "kilosort4.0.0", "kilosort4.0.2"}
    assert (features <= files) == (dialect not in without)
    assert ("template_features.npy" in files) == (dialect in ("kilosort1.0", "kilosort2.0_beta"))
    assert ("channel_shanks.npy" in files) == (dialect == "kilosort4.0.32")
    is_kilosort4 = dialect in KILOSORT4
    assert ("whitening_mat_dat.npy" in files) == is_kilosort4
    has_detection = is_kilosort4 and dialect != "kilosort4.0.0"
    assert ("spike_detection_templates.npy" in files) == has_detection
    assert ("cluster_group.tsv" in files) == (is_kilosort4 or dialect == "kilosort3.0.2")
    assert ("cluster_KSLabel.tsv" in files) == (dialect != "kilosort1.0")


def test_templates_and_amplitudes_are_the_truth(version):
    """Of Kilosort 4.0.0 to 4.0.6 by the matrix that whitening_mat.npy does not have."""
    analyzer = sic.read_kilosort_as_analyzer(version.folder)
    assignment = analyzer.get_extension("template_assignment")
    scale = np.abs(version.templates_unwhitened).max()
    np.testing.assert_allclose(
        assignment.get_templates(), version.templates_unwhitened, atol=1e-3 * scale
    )
    np.testing.assert_array_equal(assignment.get_spike_template_ids(), version.spike_templates)
    units = "whitened" if version.dialect == "kilosort3.0.2" else "sorter"
    assert assignment.info["units"] == ("raw" if version.dialect in KILOSORT4 else units)
    # the amplitude of a spike is its factor times its template: of the order of that
    best = analyzer.compute("template_best_channels").get_data(outputs="indices")
    for unit_id in analyzer.unit_ids:
        peak_to_peak = np.ptp(version.templates_unwhitened[unit_id], axis=0)
        assert best[unit_id][0] == peak_to_peak.argmax()
    factors = np.load(version.folder / "amplitudes.npy").ravel()
    norms = np.linalg.norm(version.templates_whitened, axis=(1, 2))
    trough = np.abs(version.templates_unwhitened).max(axis=(1, 2))
    is_norm = version.dialect in (*KILOSORT4, "kilosort3.0.2")
    expected = trough[version.spike_templates] * factors
    if is_norm:
        expected = expected / norms[version.spike_templates]
    found = np.abs(analyzer.get_extension("spike_amplitudes").get_data())
    assert np.median(found / expected) == pytest.approx(1, abs=0.05)


def test_the_doctor_finds_nothing_wrong(version):
    findings = sic.check_phy_folder(version.folder)
    assert [str(f) for f in findings if f.severity != "info"] == []


@pytest.mark.parametrize("dialect", slow_but(WITH_SCALE, QUICK))
def test_what_phy_shows_of_a_scale_is_there_too(simulate, dialect):
    truth = simulate(dialect, **SMALL)
    found = assignment_of(truth.folder, unwhiten="phy")
    stored = np.load(truth.folder / "whitening_mat_inv.npy")
    expected = (truth.templates_whitened @ stored).astype(np.float32)
    np.testing.assert_allclose(found.get_templates(), expected, rtol=1e-5, atol=1e-5)
    assert found.info["units"] == "whitened"
    with pytest.warns(sic.SiCurationWarning, match="puts nothing into µV"):
        analyzer = sic.read_kilosort_as_analyzer(truth.folder, unwhiten="phy", gain_to_uV=2.0)
    assert not analyzer.return_in_uV
    assert sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=2.0).return_in_uV


def test_the_doctor_says_which_matrix_is_used(simulate, tmp_path):
    truth = simulate("kilosort4.0.2", **SMALL)
    (found,) = [f for f in sic.check_phy_folder(truth.folder) if f.check == "whitening_shape"]
    assert found.severity == "info"
    assert "whitening_mat_dat.npy" in found.what
    shown, right = truth.templates_whitened, truth.templates_unwhitened
    moved = [i for i in range(8) if np.ptp(shown[i], 0).argmax() != np.ptp(right[i], 0).argmax()]
    assert found.evidence["units_with_other_channel"] == moved
    # without the matrix nothing is raw
    folder = shutil.copytree(truth.folder, tmp_path / "copy")
    (folder / "whitening_mat_dat.npy").unlink()
    assert assignment_of(folder).info["units"] == "whitened"
    (found,) = [f for f in sic.check_phy_folder(folder) if f.check == "whitening_shape"]
    assert found.severity == "warning"
    assert "put whitening_mat_dat.npy back" in found.advice


@pytest.mark.parametrize(
    "fault", slow_but(["truncated", "identity", "other shape"], ("truncated",))
)
def test_a_matrix_that_cannot_be_used_is_left_out(simulate, tmp_path, fault):
    folder = shutil.copytree(simulate("kilosort4.0.2", **SMALL).folder, tmp_path / "copy")
    path = folder / "whitening_mat_dat.npy"
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-8])
    else:
        np.save(path, np.eye(16) / 3 if fault == "identity" else np.eye(4))
    read = sic.read_phy_folder(folder)
    assert read.whitening_applied is None
    assert not read.can_be_unwhitened
    warned = [f.where for f in read.findings if f.severity == "warning"]
    assert warned == ([] if fault == "identity" else ["whitening_mat_dat.npy"])


# ------------------------------------------------------- Kilosort 4.0.0: templates of the detection


@pytest.fixture
def first_version(simulate, tmp_path):
    truth = simulate("kilosort4.0.0", **SMALL)
    return truth, shutil.copytree(truth.folder, tmp_path / "copy")


def test_the_clusters_are_the_templates(first_version):
    truth, folder = first_version
    read = sic.read_phy_folder(folder)
    np.testing.assert_array_equal(read.spike_templates, truth.spike_templates)
    told = [f for f in read.findings if f.where == "spike_templates.npy"]
    assert [f.severity for f in told] == ["info"]


def test_after_merges_in_phy_the_templates_are_gone(first_version):
    truth, folder = first_version
    clusters = truth.spike_clusters.copy()
    clusters[np.isin(clusters, [1, 3])] = 8
    np.save(folder / "spike_clusters.npy", clusters)
    with pytest.raises(sic.PhyFolderError, match=r"spike_templates\.npy: holds the templates of"):
        sic.read_phy_folder(folder)
    (found,) = [f for f in sic.check_phy_folder(folder) if f.severity == "error"]
    assert f"{np.count_nonzero(clusters == 8)} spikes" in found.what


def test_merges_of_this_package_keep_the_templates(first_version, tmp_path):
    truth, folder = first_version
    analyzer = sic.read_kilosort_as_analyzer(folder)
    session = sic.CurationSession(analyzer)
    session.merge([1, 3])
    merged = session.apply()
    exported = sic.export_to_phy(merged, tmp_path / "exported", link=True)
    sic.update_phy_folder(folder, merged)
    for path in (exported, folder):
        read = sic.read_phy_folder(path)
        np.testing.assert_array_equal(read.spike_templates, truth.spike_templates)
        assert np.unique(read.spike_clusters).tolist() == [0, 2, 4, 5, 6, 7, 8]
        detection = np.load(path / "spike_detection_templates.npy")
        np.testing.assert_array_equal(detection, np.load(truth.folder / "spike_templates.npy"))
    sic.restore_phy_folder(folder)
    assert not (folder / "spike_detection_templates.npy").exists()
    np.testing.assert_array_equal(
        sic.read_phy_folder(folder).spike_templates, truth.spike_templates
    )


@pytest.mark.slow
def test_a_later_version_that_lost_a_file_is_not_taken_for_it(simulate, tmp_path):
    truth = simulate("kilosort4", **SMALL, curation=[("merge", [1, 3])])
    folder = shutil.copytree(truth.folder, tmp_path / "copy")
    (folder / "spike_detection_templates.npy").unlink()
    read = sic.read_phy_folder(folder)
    np.testing.assert_array_equal(read.spike_templates, truth.spike_templates)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", [n for n in VERSION_DIALECT_NAMES if n != "kilosort4.0.0"])
def test_curated_folders_of_each_version(simulate, dialect):
    truth = simulate(dialect, **SMALL, curation=5, labels={2: "good"})
    read = sic.read_phy_folder(truth.folder)
    np.testing.assert_array_equal(read.spike_templates, truth.spike_templates)
    np.testing.assert_array_equal(read.spike_clusters, truth.spike_clusters)
    found = assignment_of(truth.folder).get_templates()
    scale = np.abs(truth.templates_unwhitened).max()
    np.testing.assert_allclose(found, truth.templates_unwhitened, atol=1e-3 * scale)
