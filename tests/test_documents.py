"""JSON, YAML and TOML from elsewhere are read in bounded time and memory, or refused."""

import json
import time

import pytest

import si_curation as sic
from si_curation.documents import MAX_DEPTH, parse_document, read_document

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
HOSTILE = {
    "aliases": (".yaml", BOMB),
    "alias to itself": (".yaml", "a: &a [*a]"),
    "merge key": (".yaml", "a: &a {x: 1}\nb:\n  <<: *a\n"),
    "deep yaml": (".yaml", "[" * 100_000),
    "deep block yaml": (".yaml", "\n".join(" " * i + "a:" for i in range(1_000))),
    "deep json": (".json", "[" * 100_000 + "]" * 100_000),
    "deep objects": (".json", '{"a":' * 100_000 + "1" + "}" * 100_000),
    "rather deep json": (".json", "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)),
    "deep toml": (".toml", "a = " + "[" * 100_000 + "]" * 100_000),
    "number of 4,000 digits": (".json", "[" + "9" * 4_000 + "]"),
    "number of 10 million digits": (".json", "9" * 10_000_000),
    "number in yaml": (".yaml", "a: " + "9" * 4_000),
    "number in hexadecimal": (".yaml", "a: 0x" + "f" * 100_000),
    "number in toml": (".toml", "a = " + "9" * 4_000),
    "number of 65 bits": (".json", str(2**64)),
    "small number of 65 bits": (".json", str(-(2**63) - 1)),
    "key of 65 bits": (".yaml", f"{2**64}: 1"),
    "surrogate": (".json", '["\\ud800"]'),
    "surrogate as a key": (".json", '{"\\ud800": 1}'),
    "python object": (".yaml", "!!python/object/apply:os.system [ls]"),
    "not UTF-8": (".json", b"\xff\xfe{"),
    "nothing": (".json", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_hang_or_grow_is_one_error(name):
    suffix, content = HOSTILE[name]
    start = time.perf_counter()
    with pytest.raises(sic.ParameterError, match=r"^here cannot be read") as caught:
        parse_document(content, "here", suffix=suffix)
    assert time.perf_counter() - start < 5
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -1, 2.5, True, None, "ä"], "b": {}},
        [2**64 - 1, -(2**63)],
        json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH),
    ],
)
def test_what_is_fine_is_read_as_it_is(value, tmp_path):
    assert parse_document(json.dumps(value), "here") == value
    path = tmp_path / "a.JSON"
    path.write_text(json.dumps(value))
    assert read_document(path, expected="a file") == value
    assert parse_document(json.dumps(value), "here", suffix=".yaml") == value


def test_large_files_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"# " + b"x" * 3_000_000)
    with pytest.raises(sic.ParameterError, match="more than 2,000,000 bytes"):
        read_document(path, expected="a recipe")
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(sic.ParameterError, match="bytes"):
        read_document(path, expected="a recipe")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(sic.FolderNotFoundError, match="expected a recipe"):
        read_document(tmp_path / "a.yaml", expected="a recipe")
