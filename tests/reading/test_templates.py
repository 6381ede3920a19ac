"""What the units of templates are: those of the raw data or µV only where the folder tells how."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from spikeinterface.core import generate_recording

import si_curation as sic
from si_curation.reading.templates import describe_unwhitening

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


def test_without_a_whitening_matrix_templates_of_kilosort4_stay_whitened(folder, caplog):
    for name in ("whitening_mat.npy", "whitening_mat_inv.npy"):
        (folder / name).unlink()
    found = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.195)
    assert found.get_extension("template_assignment").info["units"] == "whitened"
    assert "puts nothing into µV" in caplog.text


# ------------------------------------------------------------ whitening that is not in the folder


@pytest.mark.parametrize(
    "dialect", ["kilosort2.5", pytest.param("kilosort3", marks=pytest.mark.slow)]
)
def test_a_scale_in_place_of_the_whitening_is_no_unwhitening(simulate, dialect):
    truth = simulate(dialect, **PLAIN)
    plain = sic.read_kilosort_as_analyzer(truth.folder)
    with pytest.warns(sic.SiCurationWarning, match="puts nothing into µV"):
        found = sic.read_kilosort_as_analyzer(truth.folder, gain_to_uV=0.195)
    info = found.get_extension("template_assignment").info
    assert (info["units"], info["unwhitening"]) == ("whitened", "right")
    assert not found.return_in_uV
    # the scale is taken out, as phy does, and nothing else
    np.testing.assert_allclose(
        _templates(found), 200 * np.load(truth.folder / "templates.npy"), rtol=1e-6
    )
    for name in ("templates", "spike_amplitudes"):
        np.testing.assert_array_equal(
            found.get_extension(name).get_data(), plain.get_extension(name).get_data()
        )
    as_phy = sic.read_kilosort_as_analyzer(truth.folder, unwhiten="phy")
    assert as_phy.get_extension("template_assignment").info["units"] == "whitened"
    assert not sic.read_phy_folder(truth.folder).can_be_unwhitened


@pytest.mark.slow
def test_a_recording_with_gains_puts_whitened_templates_into_no_uv(simulate):
    truth = simulate("kilosort2.5", **PLAIN)
    recording = generate_recording(num_channels=12, durations=[4.0], sampling_frequency=30_000.0)
    recording.set_channel_gains(0.195)
    recording.set_channel_offsets(0.0)
    recording.set_dummy_probe_from_locations(truth.channel_positions)
    found = sic.read_kilosort_as_analyzer(truth.folder, recording)
    assert not found.return_in_uV
    assert found.get_extension("template_assignment").info["units"] == "whitened"


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort2"])
def test_without_whitening_files_templates_of_kilosort_are_whitened(
    simulate, tmp_path, caplog, dialect
):
    folder = shutil.copytree(simulate(dialect, **PLAIN).folder, tmp_path / "copy")
    for name in ("whitening_mat.npy", "whitening_mat_inv.npy"):
        (folder / name).unlink()
    found = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.195)
    assert "puts nothing into µV" in caplog.text
    info = found.get_extension("template_assignment").info
    assert (info["units"], info["unwhitening"]) == ("whitened", "none")


@pytest.mark.slow
def test_a_real_folder_of_kilosort25(shared_data, tmp_path):
    folder = shared_data / "ks25_example"
    with pytest.warns(sic.SiCurationWarning, match=r"kilosort2\.5 is not in the folder"):
        analyzer = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.195)
    assert not analyzer.return_in_uV
    analyzer.compute(["template_best_channels", "curation_metrics"])
    labels = sic.label_units(
        analyzer, [("amplitude_median", "<=", 50, "mua", False, "undecided", "uV")]
    )
    assert not labels.table["decided"].any()
    assert labels.table["reason"].str.contains("not in µV").all()
    html = sic.export_report(analyzer, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "the folder has a scale in place of the whitening" in html
    assert "unwhitened" not in html


@pytest.mark.parametrize(
    ("unwhitening", "units", "word"),
    [
        ("right", "whitened", "whitened:"),
        ("phy", "whitened", "whitened, scaled as phy does"),
        ("none", "whitened", "whitened, as"),
        ("none", "raw", "as the sorter"),
        ("right", "uV", "unwhitened"),
    ],
)
def test_what_is_said_of_templates(unwhitening, units, word):
    assert describe_unwhitening(unwhitening, units).startswith(word)
