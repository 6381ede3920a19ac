"""Reading JSON, YAML and TOML that come from elsewhere, in bounded time and memory.

A short text can stand for very much: YAML's aliases multiply, brackets nest, whole numbers have any
number of digits. Each of these is refused with one error that names the document.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from si_curation.checks import join_problems, short_repr
from si_curation.errors import FolderNotFoundError, MissingDataError, ParameterError

#: Deeper than any document that a person or a program of the field writes.
MAX_DEPTH = 64
#: Curation files list every spike of a unit that is split.
MAX_BYTES = 500_000_000
#: Written by hand, and slow to parse.
MAX_BYTES_BY_HAND = 2_000_000
_LARGEST = 2**64 - 1
_SMALLEST = -(2**63)
_MAX_SHOWN = 200
_BY_HAND = (".yaml", ".yml", ".toml")


def read_document(path: Path, *, expected: str, suffix: str | None = None) -> Any:
    """Read a JSON, YAML or TOML file, by the ending of its name.

    Parameters
    ----------
    path : Path
    expected : str
        What the file should be, for the error: ``"a recipe"``.
    suffix : str, optional
        Read it as a file that ends so.

    Returns
    -------
    object
        Mappings, lists, texts, numbers, booleans, None; dates of YAML and TOML.

    Raises
    ------
    FolderNotFoundError
        There is no such file.
    ParameterError
        It cannot be read, or is too large, too deep, has aliases, or numbers or texts that no
        other program can hold.
    MissingDataError
        It is TOML, and there is nothing that reads it (Python 3.10 without tomli).
    """
    if not path.is_file():
        raise FolderNotFoundError(f"{path} does not exist, expected {expected}")
    suffix = (path.suffix if suffix is None else suffix).lower()
    limit = MAX_BYTES_BY_HAND if suffix in _BY_HAND else MAX_BYTES
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as fault:
        raise ParameterError(f"{path} cannot be read: {fault}") from None
    if len(content) > limit:
        raise ParameterError(f"{path} has more than {limit:,} bytes, expected {expected}")
    return parse_document(content, str(path), suffix=suffix)


def parse_document(content: bytes | str, name: str, *, suffix: str = ".json") -> Any:
    """Return what a JSON, YAML or TOML text holds.

    Parameters
    ----------
    content : bytes or str
        UTF-8, where bytes.
    name : str
        For the error: the file, and the line if it is one of many.
    suffix : str
        ``".json"``, ``".yaml"``, ``".yml"`` or ``".toml"``.

    Raises
    ------
    ParameterError, MissingDataError
        See `read_document`.

    Examples
    --------
    >>> parse_document('{"a": [1, 2.5]}', "here")
    {'a': [1, 2.5]}
    >>> parse_document('{"a": 1e5, "b": 99999999999999999999}', "here")
    Traceback (most recent call last):
    ...
    si_curation.errors.ParameterError: here cannot be read: it has the number 99999999999999999999,
    which has more than 64 bits
    """
    parse = {".yaml": _parse_yaml, ".yml": _parse_yaml, ".toml": _parse_toml}
    limit = MAX_BYTES_BY_HAND if suffix in _BY_HAND else MAX_BYTES
    try:
        if len(content) > limit:
            raise ValueError(f"it has more than {limit:,} bytes")
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        value = parse.get(suffix, _parse_json)(text)
        _check(value)
    except ImportError as fault:
        package = "pyyaml" if fault.name == "yaml" else fault.name
        raise MissingDataError(
            f"{name}: {package} is needed to read it: pip install {package}, or write it as JSON"
        ) from None
    except RecursionError:
        raise ParameterError(f"{name} cannot be read: it is nested too deep") from None
    except Exception as fault:  # each format has its own error
        text = " ".join(str(fault).split())
        text = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
        raise ParameterError(f"{name} cannot be read: {text}") from None
    return value


def _parse_json(text: str) -> Any:
    return json.loads(text, parse_int=_whole_number)


def _parse_toml(text: str) -> Any:
    try:
        module = importlib.import_module("tomllib")
    except ImportError:  # Python 3.10
        module = importlib.import_module("tomli")
    return module.loads(text)


def _parse_yaml(text: str) -> Any:
    yaml = importlib.import_module("yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.events.AliasEvent):
            raise ValueError(f"it has the alias *{event.anchor}: write the value itself")
        depth += isinstance(event, yaml.events.CollectionStartEvent)
        depth -= isinstance(event, yaml.events.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RecursionError
    return yaml.load(text, Loader=loader)  # a safe loader: data only


def _whole_number(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(_too_large(digits))
    return _in_64_bits(int(digits))


def _in_64_bits(value: int) -> int:
    if not _SMALLEST <= value <= _LARGEST:
        raise ValueError(_too_large(hex(value) if value.bit_length() > 200 else str(value)))
    return value


def _too_large(digits: str) -> str:
    shown = digits if len(digits) <= 40 else f"{digits[:20]}... of {len(digits)} digits"
    return f"it has the number {shown}, which has more than 64 bits"


def _check(value: Any) -> None:
    """Refuse what is nested too deep, and values that cannot be written again."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise RecursionError
        below: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                below += one.keys()
                below += one.values()
            elif isinstance(one, list | tuple | set):
                below += one
            elif isinstance(one, str):
                if not one.isascii():
                    one.encode("utf-8")  # lone surrogates cannot be
            elif type(one) is int:
                _in_64_bits(one)
        level = below


def describe_problems(fault: Any, name: str) -> str:
    """Return all problems that pydantic found in a document, each with its key.

    Parameters
    ----------
    fault : pydantic.ValidationError
    name : str
        What the document is, where the whole of it is wrong.
    """
    problems = []
    for error in fault.errors(include_url=False):
        key = ".".join(str(part) for part in error["loc"]) or name
        text = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            text = "this key is not known"
        elif error["type"] not in ("value_error", "missing"):
            text = f"is {short_repr(error['input'])}; {text[0].lower()}{text[1:]}"
        problems.append(f"{key}: {text}")
    count = len(problems)
    return f"{count} problem{'s' if count != 1 else ''}: " + join_problems(problems)
