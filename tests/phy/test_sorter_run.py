"""`read_sorter_run`: settings of the sorter and SpikeInterface's files of the run."""

from __future__ import annotations

import json

import pytest

import si_curation as sic
from si_curation.phy.sorter_run import read_sorter_run


@pytest.fixture
def run_folder(tmp_path):
    """As ``run_sorter`` leaves it, of a sorter without ops.npy."""
    folder = tmp_path / "run" / "sorter_output"
    folder.mkdir(parents=True)
    log = {"sorter_name": "kilosort2_5", "sorter_version": "2.5.1", "run_time": 12.5}
    log["datetime"] = "2026-01-02T03:04:05"
    params = {"sorter_name": "kilosort2_5", "sorter_params": {"detect_threshold": 6, "p": "/a/b"}}
    (folder.parent / "spikeinterface_log.json").write_text(json.dumps(log))
    (folder.parent / "spikeinterface_params.json").write_text(json.dumps(params))
    return folder


def test_of_spikeinterface(run_folder):
    run = read_sorter_run(run_folder)
    assert (run.sorter_name, run.sorter_version, run.runtime_s) == ("kilosort2_5", "2.5.1", 12.5)
    assert run.started == "2026-01-02T03:04:05"
    assert run.source == "spikeinterface_params.json"
    assert run.rows() == [("detect_threshold", "6")]
    assert not run.findings


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '{"sorter_params": 3}', "\x00"])
def test_files_that_cannot_be_read_are_findings(run_folder, text):
    (run_folder.parent / "spikeinterface_params.json").write_text(text)
    run = read_sorter_run(run_folder)
    assert run.settings == {}
    assert run.source == ""
    assert len(run.findings) == (not text.startswith('{"'))


def test_of_kilosort4_and_of_nothing(tmp_path):
    run = read_sorter_run(sic.read_phy_folder(sic.example_folder()).folder)
    assert run.source == "ops.npy"
    assert dict(run.rows())["drift_smoothing"] == "0.5, 0.5, 0.5"
    assert read_sorter_run(tmp_path).rows() == []


def test_files_of_another_folder_are_not_taken(tmp_path):
    (tmp_path / "spikeinterface_log.json").write_text('{"sorter_name": "other"}')
    (tmp_path / "sorted").mkdir()
    assert read_sorter_run(tmp_path / "sorted").sorter_name == ""


def test_the_page_and_nwb_say_it(simulate, tmp_path):
    from si_curation.exporters.nwb.provenance import describe_units

    truth = simulate(
        num_templates=3,
        num_channels=8,
        num_spikes=200,
        duration_s=20.0,
        sorter_settings={"nblocks": 1, "scale": 2.5},
    )
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    page = sic.export_report(analyzer, tmp_path / "page.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="sorting"') : page.index('<section id="lineage"')]
    assert "The raw data were multiplied by: 2.5." in section
    assert "<polyline" in section
    assert "A session begins" not in section
    assert "Th_<wbr>universal" in section
    assert '"scale": 2.5' in describe_units(analyzer)
