"""Kilosort 4 sorts ±(scale·raw + shift): what is read is in the units of the raw data again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import si_curation as sic

SETTINGS = [
    {"scale": 200.0, "shift": 3.0},
    {"invert_sign": True},
    {"scale": 0.25, "invert_sign": True},
    {"scale": -3.0},
]
PLAIN = dict(num_templates=6, num_channels=12, num_spikes=600, duration_s=4.0, seed=3)


@pytest.fixture(scope="module")
def plain(simulate):
    return simulate(**PLAIN)


@pytest.fixture
def folder(plain, tmp_path):
    """A copy that is written to."""
    shutil.copytree(plain.folder, tmp_path / "copy")
    return tmp_path / "copy"


def _templates(analyzer):
    return analyzer.get_extension("template_assignment").get_templates()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("gain", [None, 0.195])
def test_templates_are_those_of_the_raw_data(simulate, plain, settings, gain):
    truth = simulate(**PLAIN, sorter_settings=settings)
    expected = sic.read_kilosort_as_analyzer(plain.folder, gain_to_uV=gain)
    found = sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=gain)
    scale = np.abs(_templates(expected)).max()
    np.testing.assert_allclose(_templates(found), _templates(expected), atol=1e-5 * scale)
    np.testing.assert_allclose(
        _templates(found), truth.templates_raw * (gain or 1), atol=1e-5 * scale
    )
    info = found.get_extension("template_assignment").info
    assert info["units"] == ("raw" if gain is None else "uV")
    assert info["sorted_scale"] == truth.sorted_scale
    before, after = (one.get_extension("spike_amplitudes").get_data() for one in (expected, found))
    np.testing.assert_allclose(after, before, rtol=1e-3)
    tables = [one.get_extension("template_assignment") for one in (expected, found)]
    np.testing.assert_allclose(
        tables[1].get_template_amplitudes(), tables[0].get_template_amplitudes(), atol=1e-5 * scale
    )
    for name in ("templates", "unit_locations"):
        a, b = (one.get_extension(name).get_data() for one in (expected, found))
        np.testing.assert_allclose(b, a, atol=1e-4 * max(scale, 1))


def test_as_phy_does_it_without_a_gain(simulate, plain):
    truth = simulate(**PLAIN, sorter_settings={"scale": 200.0})
    found = sic.read_kilosort_as_analyzer(truth.folder, unwhiten="phy")
    assert found.get_extension("template_assignment").info["units"] == "sorted"
    ratio = np.ptp(_templates(found)) / np.ptp(
        _templates(sic.read_kilosort_as_analyzer(plain.folder, unwhiten="phy"))
    )
    assert ratio == pytest.approx(200, rel=1e-4)
    in_uv = sic.read_kilosort_as_analyzer(truth.folder, unwhiten="phy", gain_to_uV=1.0)
    assert in_uv.get_extension("template_assignment").info["units"] == "uV"
    assert np.ptp(_templates(in_uv)) == pytest.approx(np.ptp(_templates(found)) / 200, rel=1e-4)


def test_whitened_templates_stay_as_they_are(simulate):
    truth = simulate(**PLAIN, sorter_settings={"scale": 200.0})
    found = sic.read_kilosort_as_analyzer(truth.folder, unwhiten=False, gain_to_uV=2.0)
    assert found.get_extension("template_assignment").info["units"] == "whitened"
    np.testing.assert_array_equal(_templates(found), np.load(truth.folder / "templates.npy"))


@pytest.mark.parametrize("scale", ["200", 0, np.nan, np.ones(12)], ids=["text", "0", "nan", "many"])
def test_a_scale_that_is_not_known_is_never_called_raw(folder, scale):
    ops = np.load(folder / "ops.npy", allow_pickle=True).item()
    ops["scale"] = scale
    np.save(folder / "ops.npy", np.array(ops), allow_pickle=True)
    read = sic.read_phy_folder(folder)
    assert [f.where for f in read.findings if "scale" in f.what] == ["ops.npy"]
    found = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.195)
    assert found.get_extension("template_assignment").info["units"] == "sorted"
    assert not found.return_in_uV


def test_without_a_whitening_matrix_templates_of_kilosort4_stay_whitened(folder):
    for name in ("whitening_mat.npy", "whitening_mat_inv.npy"):
        (folder / name).unlink()
    found = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.195)
    assert found.get_extension("template_assignment").info["units"] == "whitened"
