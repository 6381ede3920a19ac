"""Everything that writes, where open files can be neither moved nor replaced nor removed."""

import shutil
import sys

import numpy as np
import pytest

import si_curation as sic
from helpers.as_on_windows import as_on_windows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="open files are looked up in /proc"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="pathlib kept os.unlink for itself"),
]
NWB = {"NWBFile": {"session_start_time": "2024-05-01T12:00:00+00:00"}}
RECIPE = {"extensions": {"cross_correlograms": {}}, "exports": {"analyzer": "zarr", "phy": True}}


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(sic.example_folder(), tmp_path / "ks")
    return tmp_path / "ks"


@pytest.fixture
def analyzer(folder):
    return sic.read_kilosort_as_analyzer(folder)


def test_the_guard_refuses_what_is_mapped_or_open(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    kept = np.load(tmp_path / "a.npy", mmap_mode="r")
    with as_on_windows() as refused:
        for move in (
            lambda: (tmp_path / "a.npy").unlink(),
            lambda: (tmp_path / "a.npy").rename(tmp_path / "b.npy"),
            lambda: shutil.rmtree(tmp_path),
        ):
            with pytest.raises(PermissionError):
                move()
        with open(tmp_path / "c", "wb"), pytest.raises(PermissionError):
            (tmp_path / "c").unlink()
        (tmp_path / "c").unlink()
    assert len(refused) == 4
    assert kept.tolist() == [0, 1, 2]


def test_what_is_open_elsewhere_is_one_error_and_nothing_changes(folder, analyzer, hash_files):
    session = sic.CurationSession(analyzer)
    session.merge([4, 10])
    curated = session.apply()
    sic.export_to_phy(curated, folder.parent / "out")
    before = hash_files(folder.parent)
    with as_on_windows() as refused:
        with sic.read_phy_folder(folder) as parts, pytest.raises(sic.InUseError, match="read_phy"):
            sic.update_phy_folder(folder, curated)
        del parts
        with open(folder.parent / "out/params.py", "rb"), pytest.raises(sic.InUseError):
            sic.export_to_phy(curated, folder.parent / "out", overwrite=True)
        assert len(refused) == 2
        assert hash_files(folder.parent) == before
        sic.update_phy_folder(folder, curated)


def test_phy_folders(folder, analyzer, tmp_path):
    analyzer.compute(["template_features", "spike_waveforms"])
    with as_on_windows() as refused:
        session = sic.CurationSession(analyzer, journal=tmp_path / "journal.jsonl")
        session.merge([4, 10])
        session.label([9], "good")
        curated = session.apply()
        sic.update_phy_folder(folder, curated)
        sic.restore_phy_folder(folder)
        sic.write_phy_columns(folder, {"snr": {4: 1.0}})
        sic.write_phy_columns(folder, {"snr": {4: 2.0}})
        for link in (False, True):
            out = tmp_path / f"out{link}"
            sic.export_to_phy(curated, out, link=link)
            again = sic.read_kilosort_as_analyzer(out)
            again.compute(["template_features", "spike_waveforms"])
            del again
            sic.export_to_phy(curated, out, link=link, overwrite=True)
        for threshold in (0.1, 0.2):
            found = sic.suggest_merges(analyzer, score_threshold=threshold)
            sic.write_phy_proposals(folder, found, overwrite=True)
        session.write_journal(tmp_path / "copy.jsonl")
        session.close()
        sic.CurationSession.resume(analyzer, tmp_path / "journal.jsonl").close()
    assert refused == []


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_analyzers_on_disk(folder, tmp_path, format):
    out = tmp_path / ("a.zarr" if format == "zarr" else "a")
    with as_on_windows() as refused:
        analyzer = sic.read_kilosort_as_analyzer(folder, format=format, folder=out)
        names = ["template_features", "spike_waveforms", "cross_correlograms", "curation_metrics"]
        for _ in range(2):
            analyzer.compute(names)
        for window_ms in (20.0, 30.0):
            analyzer.compute("cross_correlograms", window_ms=window_ms)
        session = sic.CurationSession(analyzer)
        session.merge([4, 10])
        session.apply(format=format, folder=tmp_path / f"applied{out.suffix}")
        sic.export_to_phy(analyzer, tmp_path / "phy")
        analyzer.delete_extension("cross_correlograms")
    assert refused == []


def test_files(analyzer, tmp_path):
    analyzer.compute(["template_features", "unit_similarity", "cross_correlograms"])
    with as_on_windows() as refused:
        for _ in range(2):
            sic.export_report(analyzer, tmp_path / "page.html", overwrite=True)
            sic.export_to_nwb(
                analyzer, tmp_path / "a.nwb", metadata=NWB, t_start=0.0, overwrite=True
            )
            sic.suggest_merges(analyzer).to_curation_json(tmp_path / "m.json", overwrite=True)
            compared = sic.compare_curations(analyzer, analyzer)
            compared.export_page(tmp_path / "compared.html", overwrite=True)
            sic.export_to_unitmatch([analyzer], tmp_path / "unitmatch", overwrite=True)
            sic.simulate_kilosort_folder(
                tmp_path / "made", num_templates=5, num_spikes=500, overwrite=True
            )
    assert refused == []


def test_a_batch(folder, tmp_path):
    with as_on_windows() as refused:
        for recipe in (RECIPE, {**RECIPE, "exports": {"phy": True}}):
            results = sic.run_batch(
                {"one": folder}, recipe, tmp_path / "out", num_workers=0, overwrite=True
            )
    assert refused == []
    assert results.table["status"].tolist() == ["done"], results.table["error"].tolist()
