"""Times, rates and numbers of clusters that no recording has: refused, or bounded."""

import re
import shutil
import time

import numpy as np
import pytest

import si_curation as sic
from si_curation.reading import unit_templates


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(sic.example_folder(), tmp_path / "folder")


@pytest.mark.parametrize("sample", [10**12, 10**15, 4 * 10**18, -(10**12)])
def test_one_rogue_time(folder, sample):
    times = np.load(folder / "spike_times.npy").astype(np.int64)
    times[7] = sample
    np.save(folder / "spike_times.npy", times)
    start = time.perf_counter()
    with pytest.raises(sic.PhyFolderError, match=re.escape(f"row 7, sample {sample:,}")):
        sic.read_kilosort_as_analyzer(folder)
    errors = [f for f in sic.check_phy_folder(folder) if f.severity == "error"]
    assert [finding.where for finding in errors] == ["spike_times.npy"]
    assert errors[0].evidence["rows"] == [7]
    assert time.perf_counter() - start < 5


def test_a_time_of_many_days_is_read(folder):
    times = np.load(folder / "spike_times.npy").astype(np.int64)
    times[-1] = 2 * 10**11
    np.save(folder / "spike_times.npy", times)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    metrics = analyzer.compute("curation_metrics", metric_names=["presence_ratio", "firing_rate"])
    assert np.isfinite(metrics.get_data()["firing_rate"]).all()


@pytest.mark.parametrize("rate", ["1e-300", "0.1", "1", "30.0", "999.0", "1e8", "1e300", "1e999"])
def test_rates_that_no_recording_has(folder, rate):
    path = folder / "params.py"
    path.write_text(re.sub(r"sample_rate = .*", f"sample_rate = {rate}", path.read_text()))
    with pytest.raises(sic.PhyFolderError, match=r"sample_rate is .* expected a number from 1,000"):
        sic.read_phy_folder(folder)
    assert "sample_rate is" in sic.check_phy_folder(folder)[0].what
    with pytest.raises(sic.ParameterError, match="expected a number from 1,000"):
        sic.read_phy_folder(folder, sampling_frequency=float(rate))
    assert sic.read_phy_folder(folder, sampling_frequency=30_000).num_spikes == 5299


def many_clusters(folder, num_clusters):
    """As many clusters as spikes."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 2_400_000, num_clusters))
    for name in list(folder.glob("pc_feature*")) + list(folder.glob("*spike_pos*")):
        name.unlink()
    np.save(folder / "spike_detection_templates.npy", np.zeros(num_clusters, dtype=np.int32))
    for name in ("amplitudes", "kept_spikes", "full_st"):
        (folder / f"{name}.npy").unlink(missing_ok=True)
    for name in folder.glob("cluster_*"):
        name.unlink()
    np.save(folder / "spike_times.npy", times)
    np.save(folder / "spike_templates.npy", np.zeros(num_clusters, dtype=np.int32))
    np.save(folder / "spike_clusters.npy", np.arange(num_clusters, dtype=np.int32))


def test_a_hundred_thousand_clusters(folder):
    many_clusters(folder, 100_000)
    start = time.perf_counter()
    with pytest.raises(sic.ParameterError, match="100,000 units, expected at most 20,000"):
        sic.read_kilosort_as_analyzer(folder)
    checks = [finding.check for finding in sic.check_phy_folder(folder)]
    assert "clusters_many" in checks
    assert time.perf_counter() - start < 10


@pytest.mark.slow
def test_similarity_of_many_units_is_made_where_it_is_asked_for(folder, monkeypatch):
    monkeypatch.setattr(unit_templates, "MANY_UNITS", 7)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    assert not analyzer.has_extension("template_similarity")
    few = sic.read_kilosort_as_analyzer(folder, exclude_groups=["noise"])
    assert few.has_extension("template_similarity")
    analyzer.compute("template_similarity")
    assert analyzer.get_extension("template_similarity").get_data().shape == (8, 8)


def test_pairs_of_too_many_units_are_refused(folder, monkeypatch):
    analyzer = sic.read_kilosort_as_analyzer(folder)
    monkeypatch.setattr(unit_templates, "MAX_UNITS", 7)
    with pytest.raises(sic.ParameterError, match="unit_similarity: the analyzer has 8 units"):
        analyzer.compute("unit_similarity")
