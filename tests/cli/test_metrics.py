"""The commands `metrics` and `cluster-info`."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.cli.cluster_info import cluster_info
from si_curation.cli.metrics import metrics
from si_curation.errors import OutputExistsError, ParameterError, SiCurationError
from si_curation.quality.metrics.cluster_info import make_cluster_info
from si_curation.quality.metrics.extension import compute_curation_metrics


def run(command, *arguments):
    from click.testing import CliRunner

    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(sic.example_folder(), tmp_path / "folder")


@pytest.fixture(scope="module")
def table():
    return compute_curation_metrics(sic.read_kilosort_as_analyzer(sic.example_folder()))


def test_print(table):
    out = run(metrics, sic.example_folder())
    assert len(out.splitlines()) == 1 + len(table)
    assert "presence_ratio" in out


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json"])
def test_output(tmp_path, table, suffix):
    output = tmp_path / f"table{suffix}"
    run(metrics, sic.example_folder(), "--output", output)
    if suffix == ".json":
        written = pd.DataFrame(json.loads(output.read_text())).set_index("unit_id")
    else:
        separator = "\t" if suffix == ".tsv" else ","
        written = pd.read_csv(output, sep=separator, index_col="unit_id")
    assert written.columns.tolist() == table.columns.tolist()
    numbers = [c for c in table if c != "KSLabel"]
    np.testing.assert_allclose(
        written[numbers].astype(float), table[numbers].astype(float), rtol=1e-12, atol=1e-14
    )
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    with pytest.raises(OutputExistsError, match="exists"):
        run(metrics, sic.example_folder(), "--output", output)


def test_windows_of_an_analyzer(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    saved = analyzer.save_as(format="binary_folder", folder=tmp_path / "analyzer")
    output = tmp_path / "long.csv"
    run(metrics, saved.folder, *("--window-s", 40, "--metric", "num_spikes", "--output", output))
    written = pd.read_csv(output)
    assert written.groupby("unit_id")["num_spikes"].sum().loc[13] == 1330
    assert not (saved.folder / "extensions" / "curation_metrics").exists()


def test_write_phy(folder, table, hash_files):
    before = hash_files(folder)
    out = run(metrics, folder, "--write-phy")
    assert "columns into" in out
    after = hash_files(folder)
    assert all(after[name] == digest for name, digest in before.items())
    columns = sic.read_phy_folder(folder).columns
    for name in ("presence_ratio", "isi_violations_ratio", "nn_hit_rate", "template_purity"):
        told = table[name].dropna()
        assert columns[name].values == pytest.approx(told.to_dict()), name
    assert not {"num_spikes", "drift_ptp"} & set(columns)
    assert columns["KSLabel"].file == "cluster_KSLabel.tsv"
    sic.restore_phy_folder(folder)
    assert {n: d for n, d in hash_files(folder).items() if not n.startswith(".si")} == before


def test_write_phy_of_some(folder):
    run(metrics, folder, "--write-phy", "--metric", "presence_ratio")
    columns = sic.read_phy_folder(folder).columns
    assert {"presence_ratio", "nn_hit_rate"} & set(columns) == {"presence_ratio"}


def test_errors(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match=r"--write-phy needs.*--output is"):
        run(metrics, tmp_path / "empty", "--write-phy", "--output", tmp_path / "a.xls")
    with pytest.raises(ParameterError, match="leave out --window-s"):
        run(metrics, folder, "--write-phy", "--window-s", 10)
    with pytest.raises(ParameterError, match="no metric 'snr'"):
        run(metrics, folder, "--metric", "snr")
    with pytest.raises(ParameterError, match="phy shows them already"):
        run(metrics, folder, "--write-phy", "--metric", "amp")
    for command in (metrics, cluster_info):
        with pytest.raises(SiCurationError, match="does not exist"):
            run(command, tmp_path / "nothing")


@pytest.mark.parametrize("name", ["ks4_phy_curated", "ks1_phy_curated"])
def test_cluster_info_is_phys_byte_for_byte(shared_data, name):
    expected = (shared_data / name / "cluster_info.tsv").read_bytes()
    assert make_cluster_info(shared_data / name) == expected


def test_cluster_info_command(folder, tmp_path):
    (folder / "cluster_info.tsv").unlink(missing_ok=True)
    run(cluster_info, folder)
    written = (folder / "cluster_info.tsv").read_bytes()
    assert written == make_cluster_info(sic.example_folder())
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(cluster_info, folder)
    (folder / "cluster_info.tsv").write_text("cluster_id\told\n")
    run(cluster_info, folder, "--overwrite")
    assert (folder / "cluster_info.tsv").read_bytes() == written
    assert list((folder / ".si_curation_backup").glob("*/files/cluster_info.tsv"))
    run(cluster_info, folder, "--output", tmp_path / "elsewhere.tsv")
    assert (tmp_path / "elsewhere.tsv").read_bytes() == written
    with pytest.raises(ParameterError, match="leave out --output"):
        run(cluster_info, folder, "--output", tmp_path / "b.tsv", "--overwrite")


def test_cluster_info_of_any_folder(curated_folder):
    rows = list(
        csv.DictReader(
            make_cluster_info(curated_folder.folder).decode().splitlines(), delimiter="\t"
        )
    )
    with sic.read_phy_folder(curated_folder.folder) as phy:
        assert [int(row["cluster_id"]) for row in rows] == phy.cluster_ids.tolist()
        groups = {i: label for i, label in phy.groups.items() if label != "unsorted"}
        assert sum(int(row["n_spikes"]) for row in rows) == phy.num_spikes
    assert {int(row["cluster_id"]): row["group"] for row in rows if row["group"]} == groups
