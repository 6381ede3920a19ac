"""Cluster tables: one model for reading them, changing them and writing them again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import si_curation as sic
from si_curation.phy.arrays import Findings
from si_curation.phy.tables import ClusterTable, ClusterTables, read_table, read_tables

CELLS = st.one_of(
    st.just(""),
    st.integers(-5, 10**6).map(str),
    st.floats(allow_nan=False, width=32).map(repr),
    st.text("abc äµ,\"'\t", min_size=1, max_size=6).map(str.strip),
)


def read(path):
    findings = Findings()
    return read_table(path, findings), findings


@settings(max_examples=settings.default.max_examples * 3 // 2)
@given(data=st.data())
def test_what_is_written_is_read_again(tmp_path_factory, data):
    header = data.draw(st.lists(st.sampled_from(["group", "n", "a b"]), min_size=1, unique=True))
    row = st.lists(CELLS, min_size=len(header), max_size=len(header))
    table = ClusterTable(header, data.draw(st.dictionaries(st.integers(0, 99), row, max_size=5)))
    path = tmp_path_factory.mktemp("table") / "cluster_x.tsv"
    path.write_bytes(table.to_bytes())
    again, findings = read(path)
    assert not list(findings)
    assert again == ClusterTable(header, dict(sorted(table.rows.items())))
    assert again.to_bytes() == path.read_bytes()
    for name in header:
        assert set(again.values(name)) == set(again.cells(name)) == set(table.cells(name))


def test_cells_and_values(tmp_path):
    path = tmp_path / "cluster_x.csv"
    path.write_bytes(b"\xef\xbb\xbf\r\n id , n,,n\r\n 3.0, 7 ,x,\r\n\r\n1,2.50,y,good\r\n2\r\n")
    table, findings = read(path)
    assert not list(findings)
    assert (table.id_name, table.delimiter, table.header) == ("id", ",", ["n", "n"])
    assert table.ids == (3, 1, 2)
    assert table.column_names == ["n"]
    assert table.cells("n") == {3: "7", 1: "good"}  # of two columns the last one with text
    assert table.values("n") == {3: 7, 1: "good"}
    assert table.cells("other") == {}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"cluster_id\tn\n1\t\xff\n", "is not UTF-8: byte 0xff in line 2"),
        (b'cluster_id\tn\n1\t"2\n', "cannot be read as a table"),
    ],
)
def test_table_that_is_broken_is_left_alone(tmp_path, content, fault):
    for name in ("cluster_n.tsv", "n.tsv"):
        path = tmp_path / name
        path.write_bytes(content)
        table, findings = read(path)
        assert table is None
        (finding,) = findings
        assert (finding.severity, finding.where) == ("warning", name)
        assert fault in finding.what
    tables = ClusterTables(tmp_path)
    tables.set_column("other", {1: "x"})
    tables.drop_clusters([1])
    assert set(tables.changed_files()) == {"cluster_other.tsv"}
    tables.set_column("n", {1: None})  # nothing to write
    with pytest.raises(sic.PhyFolderError, match=r"cluster_n\.tsv.*would be replaced"):
        tables.set_column("n", {1: "x"})
    assert set(tables.changed_files()) == {"cluster_other.tsv"}


@pytest.mark.parametrize(
    ("content", "fault", "cells"),
    [
        (b"cluster_id\tn\n1\t2\t3\n", "line 2 has 3 fields, expected 2", {1: "2"}),
        (b"cluster_id\tn\n\n1.5\t2\n3\t4\n", "line 3 has cluster id '1.5'", {3: "4"}),
        (b"cluster_id\tn\n1\t2\n01\t3\n", "cluster id 1 is in lines 2 and 3", {1: "3"}),
        (b"cluster_id\tn\n1\t2\n1\t\n", "cluster id 1 is in lines 2 and 3", {1: "2"}),
        (b"cluster_id\tn\n\t2\n\t3\n4\t5\n", "(and 1 more such lines)", {4: "5"}),
    ],
)
def test_lines_that_cannot_be_used_are_left_out(tmp_path, content, fault, cells):
    path = tmp_path / "cluster_n.tsv"
    path.write_bytes(content)
    table, findings = read(path)
    assert table.cells("n") == cells
    (finding,) = findings
    assert finding.severity == "warning"
    assert fault in finding.what
    tables = ClusterTables(tmp_path)
    tables.set_column("n", {9: "x"})
    path.write_bytes(tables.changed_files()["cluster_n.tsv"])
    assert read(path)[0].cells("n") == {**cells, 9: "x"}
    assert not read(path)[1]


def test_tables_change_as_the_reader_sees_them(tmp_path):
    (tmp_path / "cluster_group.tsv").write_bytes(b"cluster_id\tgroup\tn\r\n1\tgood\t5\r\n")
    (tmp_path / "cluster_other.csv").write_bytes(b"cluster_id,group\r\n1,mua\r\n2,noise\r\n")
    (tmp_path / "cluster_info.tsv").write_bytes(b"cluster_id\tgroup\r\n1\tgood\r\n")
    tables = ClusterTables(tmp_path)
    assert tables.snapshots == ["cluster_info.tsv"]
    assert tables.files_with("group") == ["cluster_group.tsv", "cluster_other.csv"]
    assert tables.cells("group") == {1: "good"}
    tables.set_column("group", {2: "mua"})
    files = tables.changed_files()
    assert files == {
        "cluster_group.tsv": b"cluster_id\tgroup\r\n1\tgood\r\n2\tmua\r\n",
        "cluster_n.tsv": b"cluster_id\tn\r\n1\t5\r\n",
        "cluster_other.csv": None,
    }
    for name, content in files.items():
        (tmp_path / name).unlink(missing_ok=True)
        if content is not None:
            (tmp_path / name).write_bytes(content)
    findings = Findings()
    columns = read_tables(tmp_path, findings)
    assert {name: dict(c.values) for name, c in columns.items()} == {
        "group": {1: "good", 2: "mua"},
        "n": {1: 5},
    }
    (tmp_path / "cluster_group.tsv").rename(tmp_path / "cluster_Group.tsv")
    with pytest.raises(sic.ParameterError, match="the same file on many systems"):
        ClusterTables(tmp_path).set_column("group", {1: "mua"})
    tables = ClusterTables(tmp_path)
    tables.set_column("snr", {1: "2"})
    with pytest.raises(sic.ParameterError, match="the same file on many systems"):
        tables.set_column("SNR", {1: "2"})
