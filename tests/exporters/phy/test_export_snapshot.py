"""Columns that only phy's snapshot has are kept: they get files of their own."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner

import si_curation as sic
from si_curation.cli.cluster_info import cluster_info

SORTERS = ("Amplitude", "ContamPct", "KSLabel")


@pytest.fixture
def folder(simulate, tmp_path):
    """A folder whose tables of the sorter are only in cluster_info.tsv."""
    truth = simulate(
        "kilosort2",
        num_templates=6,
        num_channels=8,
        num_spikes=600,
        seed=4,
        curation=[("merge", [0, 1]), ("label", [6], "good")],
    )
    path = shutil.copytree(truth.folder, tmp_path / "folder")
    for name in SORTERS:
        (path / f"cluster_{name}.tsv").unlink()
    return path


def columns_of(folder):
    columns = sic.read_phy_folder(folder).columns
    return {name: (dict(column.values), column.file) for name, column in columns.items()}


def check_kept(folder, before, gone=(), changed=()):
    """Check that each value of a cluster that is as it was has not changed."""
    after = columns_of(folder)
    for name in SORTERS:
        values, file = after[name]
        assert file == f"cluster_{name}.tsv"
        expected = {i: value for i, value in before[name][0].items() if i not in gone}
        kept = {i: value for i, value in values.items() if i not in changed}
        assert kept == pytest.approx(expected) if name != "KSLabel" else kept == expected


def test_the_sorters_columns_are_in_the_snapshot(folder):
    assert {columns_of(folder)[name][1] for name in SORTERS} == {"cluster_info.tsv"}


@pytest.mark.parametrize("in_place", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_after_one_label(folder, tmp_path, in_place):
    before = columns_of(folder)
    analyzer = sic.read_kilosort_as_analyzer(folder)
    session = sic.CurationSession(analyzer)
    session.label([3], "mua")
    labelled = session.apply()
    if in_place:
        sic.update_phy_folder(folder, labelled)
        target = folder
    else:
        target = sic.export_to_phy(labelled, tmp_path / "exported")
    check_kept(target, before)
    assert not (target / "cluster_info.tsv").exists()
    assert sic.read_phy_folder(target).groups[3] == "mua"
    if in_place:
        sic.restore_phy_folder(folder)
        assert columns_of(folder) == before


def test_after_a_merge(folder, tmp_path):
    before = columns_of(folder)
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    new = session.merge([2, 3])
    exported = sic.export_to_phy(session.apply(), tmp_path / "exported")
    check_kept(exported, before, gone=[2, 3], changed=[new])


@pytest.mark.slow
def test_an_export_without_changes_copies_the_snapshot(folder, tmp_path):
    exported = sic.export_to_phy(sic.read_kilosort_as_analyzer(folder), tmp_path / "exported")
    theirs = {path.name: path.read_bytes() for path in folder.glob("*.tsv")}
    assert {path.name: path.read_bytes() for path in exported.glob("*.tsv")} == theirs


def test_a_column_that_is_written_keeps_its_other_values(folder):
    before = columns_of(folder)
    with pytest.raises(sic.OutputExistsError, match="KSLabel"):
        sic.write_phy_columns(folder, {"KSLabel": {3: "other"}}, overwrite=False)
    sic.write_phy_columns(folder, {"KSLabel": {3: "other"}}, overwrite=True)
    values, file = columns_of(folder)["KSLabel"]
    assert file == "cluster_KSLabel.tsv"
    assert values == {**before["KSLabel"][0], 3: "other"}


def test_the_snapshot_written_anew(folder):
    before = columns_of(folder)
    done = CliRunner().invoke(cluster_info, [str(folder), "--overwrite"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    check_kept(folder, before)
    header = (folder / "cluster_info.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    assert set(SORTERS) <= set(header)


@pytest.mark.slow
def test_a_stale_snapshot_gives_no_rows_of_clusters_that_are_gone(folder, tmp_path):
    text = (folder / "cluster_info.tsv").read_text(encoding="utf-8")
    lines = text.splitlines()
    stale = lines[1].split("\t")
    stale[0] = "77"
    (folder / "cluster_info.tsv").write_text("\n".join([*lines, "\t".join(stale)]) + "\n")
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    session.label([3], "mua")
    exported = sic.export_to_phy(session.apply(), tmp_path / "exported")
    assert 77 not in columns_of(exported)["Amplitude"][0]


@pytest.mark.slow
def test_groups_that_only_the_snapshot_has(folder, tmp_path):
    (folder / "cluster_group.tsv").unlink()
    assert sic.read_phy_folder(folder).groups[6] == "good"
    session = sic.CurationSession(sic.read_kilosort_as_analyzer(folder))
    session.merge([2, 3])
    exported = sic.export_to_phy(session.apply(), tmp_path / "exported")
    assert sic.read_phy_folder(exported).groups[6] == "good"
    assert columns_of(exported)["group"][0] == {6: "good"}
