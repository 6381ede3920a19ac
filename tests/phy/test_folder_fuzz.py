"""Random damage to any file of a folder, and random content for the readers of each format.

``pytest -n 0 -m "" --fuzz 10 tests/phy/test_folder_fuzz.py`` looks further.
"""

from __future__ import annotations

import csv
import io
import keyword
import math
import pickle
import warnings
from collections import OrderedDict
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import si_curation as sic
from helpers.fuzz_folders import ABSENT, MUTATIONS, NAMES, damaged, digests, small_copy
from helpers.fuzzing import bounded, examples
from oracles import folders as naive
from si_curation.phy.arrays import Findings, as_integers, as_vector, open_array
from si_curation.phy.ops import load_data
from si_curation.phy.params import read_params
from si_curation.phy.tables import read_tables

# ------------------------------------------------------------------------------- whole folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a small copy of the example folder that is broken and mended in turn."""
    return small_copy(tmp_path_factory.mktemp("fuzz") / "ks4")


def check_error(error):
    message = str(error)
    assert len(message.splitlines()) == 1
    assert len(message) < 500 + 600 * len(error.findings)
    assert all(finding.where and finding.advice for finding in error.findings)


def check_content(phy):
    assert str(phy.folder) in repr(phy)
    assert set(phy.groups) == set(np.unique(phy.spike_clusters).tolist())
    assert phy.templates is None or phy.templates.ndim == 3
    assert len(phy.spike_samples) == len(phy.spike_templates) == len(phy.spike_clusters)
    for column in phy.columns.values():
        assert len(column.to_array(phy.cluster_ids)) == len(phy.cluster_ids)


def check_reading(folder, what):
    """Read, or refuse with one clear line; never another error, a warning or a trace."""
    before = digests(folder)
    with bounded(f"reading, {what}"), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", sic.SiCurationWarning)
        try:
            phy = sic.read_phy_folder(folder)
        except sic.SiCurationError as error:
            check_error(error)
        else:
            check_content(phy)
    assert digests(folder) == before


@examples(300)
@given(st.lists(st.tuples(st.sampled_from([*NAMES, *ABSENT]), MUTATIONS), min_size=1, max_size=2))
def test_any_damage_is_read_or_refused(folder, mutations):
    with damaged(folder, mutations):
        check_reading(folder, mutations)


def test_the_undamaged_copy_is_read(folder):
    phy = sic.read_phy_folder(folder)
    assert phy.num_spikes == 300
    assert phy.findings == ()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Give a folder that is used again by each example."""
    return tmp_path_factory.mktemp("scratch")


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()
    return folder


# --------------------------------------------------------------------------------------- arrays


@examples(100)
@given(
    st.sampled_from(["i1", "u1", "<i2", ">u2", "<i4", ">i8", "<u8", "<f4", ">f8", "<f2"]),
    hnp.array_shapes(max_dims=3, min_side=0, max_side=5),
    st.sampled_from("CF"),
    st.data(),
)
def test_open_array_gives_what_numpy_wrote(scratch, dtype, shape, order, data):
    values = data.draw(hnp.arrays(dtype, shape))
    path = emptied(scratch) / "a.npy"
    np.save(path, np.asarray(values, order=order))
    findings = Findings()
    read = open_array(path.parent, path.name, findings)
    assert findings == []
    assert read.dtype.isnative
    assert not read.flags.writeable
    np.testing.assert_array_equal(read, values)


@examples(100)
@given(hnp.arrays(np.int64, st.integers(0, 20)), st.sampled_from([(-1,), (-1, 1), (1, -1)]))
def test_vectors_of_any_shape(values, shape):
    findings = Findings()
    np.testing.assert_array_equal(as_vector(values.reshape(shape), "a.npy", findings), values)
    assert findings == []


@examples(100)
@given(hnp.arrays(st.sampled_from([np.float32, np.float64]), st.integers(0, 20)))
def test_floats_become_integers_where_they_are_whole(values):
    findings = Findings()
    read = as_integers(values, "a.npy", findings)
    whole = all(float(v).is_integer() and -(2**63) <= v < 2**63 for v in values)
    if whole:
        assert findings == []
        assert read.tolist() == [int(v) for v in values]
    else:
        assert read is None
        row = next(i for i, v in enumerate(values) if not (v == np.floor(v) and abs(v) < 2.0**63))
        assert f"row {row}," in str(findings[0])


# --------------------------------------------------------------------------------------- tables

IDS = st.integers(0, 30)
NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["nan", "inf", "-inf", "1e5", "+3", "007", ".5", "2.", "NaN"]),
)
WORDS = st.text("abcdefgh\u00b5 -_'\",;", min_size=1, max_size=8).map(lambda t: f"x{t}x")
COLUMNS = st.dictionaries(IDS, st.one_of(NUMBERS, WORDS), max_size=6)


def csv_text(rows, delimiter, quoting=csv.QUOTE_MINIMAL, end="\n"):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    return file.getvalue()


def same_columns(columns, expected):
    assert set(columns) == set(expected)
    for name, values in expected.items():
        assert set(columns[name].values) == set(values)
        for key, value in values.items():
            read = columns[name].values[key]
            assert type(read) is type(value)
            assert naive.equal_values(read, value)


@examples(80)
@given(
    st.dictionaries(st.text("abcXYZ", min_size=1, max_size=3), COLUMNS, max_size=4),
    st.sampled_from([("\t", "tsv"), (",", "csv"), ("\t", "csv"), (",", "tsv")]),
    st.sampled_from(["cluster_id", "id"]),
    COLUMNS,
)
def test_tables_are_joined_as_the_oracle_does(scratch, columns, style, key, shown):
    folder = emptied(scratch)
    delimiter, suffix = style
    for name, values in columns.items():
        rows = [[key, name], *([str(i), text] for i, text in values.items())]
        path = folder / f"cluster_{name}.{suffix}"
        path.write_text(csv_text(rows, delimiter), encoding="utf-8")
    ones = ["1"] * len(columns)  # never seen: other files have these columns
    rows = [["cluster_id", "shown", *columns], *([i, text, *ones] for i, text in shown.items())]
    (folder / "cluster_info.tsv").write_text(csv_text(rows, "\t"), encoding="utf-8")
    findings = Findings()
    same_columns(read_tables(folder, findings), naive.read_tables(folder))
    assert findings == []


@examples(80)
@given(
    st.dictionaries(
        IDS, st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9)
    ),
    st.sampled_from(["\t", ","]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.lists(st.integers(0, 9)),
)
def test_any_text_comes_back_from_a_table(scratch, texts, delimiter, quoting, end, mark, blanks):
    folder = emptied(scratch)
    rows = [["cluster_id", "note"], *([str(i), f"x{text}x"] for i, text in texts.items())]
    lines = [csv_text([row], delimiter, quoting, end) for row in rows]
    for place in blanks:
        lines.insert(min(place, len(lines)), end)
    (folder / "cluster_note.tsv").write_bytes((mark + "".join(lines)).encode())
    findings = Findings()
    columns = read_tables(folder, findings)
    assert findings == []
    assert dict(columns["note"].values) == {i: f"x{text}x" for i, text in texts.items()}


@examples(80)
@given(COLUMNS, st.lists(IDS, unique=True, max_size=8))
def test_columns_as_arrays(scratch, texts, cluster_ids):
    folder = emptied(scratch)
    rows = [["cluster_id", "mine"], *([str(i), text] for i, text in texts.items())]
    (folder / "cluster_mine.tsv").write_text(csv_text(rows, "\t"), encoding="utf-8")
    column = read_tables(folder, Findings())["mine"]
    array = column.to_array(np.array(cluster_ids, dtype=np.int64))
    assert array.shape == (len(cluster_ids),)
    assert array.dtype.kind in "ifU"
    for cluster_id, value in zip(cluster_ids, array.tolist(), strict=True):
        expected = column.values.get(cluster_id)
        if array.dtype.kind == "U":
            assert value == ("" if expected is None else str(expected))
        else:
            assert naive.equal_values(value, math.nan if expected is None else float(expected)) or (
                value == expected
            )


@examples(150)
@given(st.one_of(st.binary(max_size=80), st.text('\t\n\r",;0123456789.ab ', max_size=60)))
def test_any_bytes_as_a_table(scratch, content):
    folder = emptied(scratch)
    content = content if isinstance(content, bytes) else b"cluster_id\ta\n" + content.encode()
    (folder / "cluster_a.tsv").write_bytes(content)
    findings = Findings()
    with bounded(f"the table {content!r}"):
        columns = read_tables(folder, findings)
    assert columns == {} or not findings.with_severity("error")
    for finding in findings:
        assert finding.where == "cluster_a.tsv"
        assert len(str(finding).splitlines()) == 1


# --------------------------------------------------------------------------------------- params

IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z_0-9]{0,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
KEYS = st.one_of(
    st.integers(), st.text(max_size=3), st.booleans(), st.none(), st.binary(max_size=2)
)
LITERALS = st.recursive(
    st.one_of(
        KEYS,
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


@examples(150)
@given(st.dictionaries(IDENTIFIERS, LITERALS, max_size=5), st.sampled_from(["\n", "\r\n", "; "]))
def test_any_literal_comes_back_from_params(scratch, values, end):
    folder = emptied(scratch)
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    (folder / "params.py").write_text(end.join(lines), encoding="utf-8", newline="")
    findings = Findings()
    read = read_params(folder, findings)
    assert findings == []
    assert repr(read) == repr(values)


TOKENS = [
    *"[](){}'\"\\#:,*-+@;=\n\t",
    *("sample_rate = 30000.", "lambda", "f'{", "import os", "x", "if", "for", "in", "await"),
    *("yield", "class", "def", "...", "not", "0x", "1e9", "j", "None", "    "),
]


@examples(150)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.lists(st.sampled_from(TOKENS), max_size=20).map(lambda words: " ".join(words).encode()),
    )
)
def test_any_bytes_as_params(scratch, content):
    folder = emptied(scratch)
    (folder / "params.py").write_bytes(content)
    findings = Findings()
    with bounded(f"params.py {content!r}"), warnings.catch_warnings():
        warnings.simplefilter("error")
        read_params(folder, findings)
    for finding in findings:
        assert finding.where == "params.py"
        assert finding.advice
        assert len(str(finding).splitlines()) == 1


# ------------------------------------------------------------------------------------------ ops

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.byte_string_dtypes(max_len=4),
    hnp.unicode_string_dtypes(max_len=4, endianness="?"),
)
PLAIN_ARRAYS = hnp.arrays(
    DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
).flatmap(lambda a: st.sampled_from([a, np.asfortranarray(a), a.T, a[..., ::-1] if a.ndim else a]))
PATHS = st.one_of(
    st.sampled_from(["/data/rec.bin", "a", ".", "/", "//server/x", "a/../b"]).map(PurePosixPath),
    st.sampled_from([r"C:\data\rec.bin", "C:", r"\\server\share\x", "a/b"]).map(PureWindowsPath),
)
DATA = st.recursive(
    st.one_of(
        KEYS,
        st.floats(),
        st.complex_numbers(),
        st.text(st.characters(codec="utf-8")),
        st.binary().map(bytearray),
        st.frozensets(st.integers(), max_size=3),
        st.sets(st.text(max_size=2), max_size=3),
        hnp.from_dtype(np.dtype(np.float32)),
        hnp.from_dtype(np.dtype(np.int64)),
        hnp.from_dtype(np.dtype("U4")),
        DTYPES,
        PLAIN_ARRAYS,
        PATHS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict),
        st.lists(inner, max_size=4).map(lambda values: objects_of(values)),
    ),
    max_leaves=15,
)


def objects_of(values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def same(read, written):
    """Check that data came back with their types; paths as text."""
    if isinstance(written, PurePosixPath | PureWindowsPath):
        assert read == str(written)
        return
    assert type(read) is type(written)
    if isinstance(written, np.ndarray):
        assert read.dtype == written.dtype
        assert read.shape == written.shape
        if written.dtype.hasobject:
            for a, b in zip(read.ravel(), written.ravel(), strict=True):
                same(a, b)
        else:
            assert read.flags.writeable
            np.testing.assert_array_equal(read, written)
    elif isinstance(written, dict):
        assert list(read) == list(written)
        for key in written:
            same(read[key], written[key])
    elif isinstance(written, list | tuple):
        for a, b in zip(read, written, strict=True):
            same(a, b)
    elif isinstance(written, float | complex | np.floating):
        np.testing.assert_equal(read, written)
    else:
        assert read == written


@examples(200)
@given(DATA, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_any_data_come_back_from_a_pickle(value, protocol):
    same(load_data(io.BytesIO(pickle.dumps(value, protocol))), value)


def test_shared_and_circular_data_come_back():
    shared = np.arange(3)
    loop = {"a": shared, "b": [shared, (shared,)]}
    loop["self"] = loop
    loop["objects"] = objects_of([loop, shared])
    read = load_data(io.BytesIO(pickle.dumps(loop)))
    assert read["self"] is read
    assert read["objects"][0] is read
    assert read["a"] is read["b"][0] is read["b"][1][0] is read["objects"][1]
    nested = []
    for _ in range(60):  # 2 ** 60 lists if each were copied anew
        nested = [nested, nested]
    assert load_data(io.BytesIO(pickle.dumps(nested)))[0] is not None


def only_data(value, seen=None):
    """Whether there is nothing but data in nested containers."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return True
    seen.add(id(value))
    if isinstance(value, dict):
        return all(only_data(v, seen) for pair in value.items() for v in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(only_data(v, seen) for v in value)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return all(only_data(v, seen) for v in value.ravel())
    plain = (int, float, complex, str, bytes, bytearray, np.generic, np.dtype, np.ndarray)
    return value is None or isinstance(value, plain)


def check_unpickling(content):
    with bounded(f"unpickling {content!r}"), warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            value = load_data(io.BytesIO(content))
        except Exception:
            return
    assert only_data(value)


SEEDS = [
    pickle.dumps(value, protocol)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    for value in (
        {"nt": 61, "wPCA": np.eye(2), "f": np.float32(1), "p": PurePosixPath("/a"), "s": {1}},
        objects_of([np.arange(2), OrderedDict(a=bytearray(b"x")), np.str_("x"), b"\xff", 2j]),
    )
]
PIECES = [
    *(
        bytes([code])
        for code in b"(.012NQRab]}esolutd)\x85\x86\x87\x88\x89\x81\x92\x8f\x90\x91\x93"
    ),
    *(b"c" + name + b"\n" for name in (b"numpy\nndarray", b"numpy\ndtype", b"builtins\nset")),
    *(
        b"c" + name + b"\n"
        for name in (
            b"numpy.core.multiarray\n_reconstruct",
            b"numpy.core.multiarray\nscalar",
            b"numpy._core.numeric\n_frombuffer",
            b"collections\nOrderedDict",
            b"_codecs\nencode",
            b"builtins\nbytearray",
            b"builtins\ncomplex",
            b"pathlib\nPosixPath",
            b"os\nmkdir",
        )
    ),
    *(b"X" + len(t).to_bytes(4, "little") + t for t in (b"f8", b"O8", b"U2", b"C", b"<", b"a")),
    *(b"q" + bytes([i]) for i in range(4)),
    *(b"h" + bytes([i]) for i in range(4)),
    b"C\x08AAAAAAAA",
    b"K\x01",
    b"K\x00",
    b"K\x00\x85",
    b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R",
    b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R",
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R",
]


@examples(300)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damaged_pickles_give_data_or_an_error(content, flips):
    damaged = bytearray(content)
    for place, change in flips:
        damaged[place % len(damaged)] ^= change
    check_unpickling(bytes(damaged))


@examples(300)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_opcodes_give_data_or_an_error(pieces):
    check_unpickling(b"".join(pieces) + b".")
