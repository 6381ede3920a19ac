"""The validators of the package: numbers, names, units and channels.

A public function makes one `Checks`, asks it for every argument, and calls `finish`, so that the
user sees all problems at once::

    checks = Checks()
    window_ms = checks.number("window_ms", window_ms, above=0)
    pairs = checks.choice("pairs", pairs, ("all", "auto"))
    checks.finish()

Every message names the argument, what was found and what was expected.
"""

from __future__ import annotations

import difflib
import inspect
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from functools import cache, partial
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import ModuleType, UnionType
from typing import (
    Any,
    Literal,
    NamedTuple,
    TypeGuard,
    Union,
    get_args,
    get_origin,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray

from si_curation.errors import MissingDataError, ParameterError, UnknownIdError
from si_curation.variables import ChannelIndex, UnitIndex, UnitIndices

_MAX_SHOWN = 10
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_MAX_TEXT = 80
_MAX_PATH = 1000
_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes
_MAX_PROBLEMS = 20
_SHOWN = (
    str,
    bytes,
    int,
    float,
    complex,
    list,
    tuple,
    set,
    dict,
    slice,
    type(None),
    date,
    PathLike,
)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number of Python or numpy; bool is none.

    Examples
    --------
    >>> is_whole_number(np.int16(3)), is_whole_number(3.0), is_whole_number(True)
    (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a real number of Python or numpy, NaN too; bool is none.

    Examples
    --------
    >>> is_number(3), is_number(np.float32(0.5)), is_number("3"), is_number(True)
    (True, True, False, False)
    """
    real = isinstance(value, int | float | np.integer | np.floating)
    return real and not isinstance(value, bool)


def is_boolean(value: object) -> bool:
    """Return whether a value is True or False, of Python or numpy."""
    return isinstance(value, bool | np.bool_)


def plain_id(unit_id: Any) -> Any:
    """Return an id of a unit or channel as an int or str of Python.

    Examples
    --------
    >>> plain_id(np.int64(3)), plain_id(np.str_("a")), plain_id(7)
    (3, 'a', 7)
    """
    return unit_id.item() if isinstance(unit_id, np.generic) else unit_id


def local_path(path: Any, name: str = "path") -> Path:
    """Return a path on this computer, ``~`` expanded.

    Parameters
    ----------
    path : str or Path
    name : str
        Of the argument, for the error.

    Raises
    ------
    ParameterError
        It is no path, a URL, or has characters that no file name can have. A URL would be taken
        for a folder of that name.

    Examples
    --------
    >>> local_path("data/kilosort4").as_posix()
    'data/kilosort4'
    >>> local_path("s3://bucket/kilosort4", "folder_path")
    Traceback (most recent call last):
    ...
    si_curation.errors.ParameterError: folder_path is 's3://bucket/kilosort4', a URL; expected a
    path on this computer: copy it here first, or mount it
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise ParameterError(f"{name} is {short_repr(path)}, expected a path")
    text = os.fspath(path)
    # Path("s3://bucket") is "s3:/bucket"; a letter and a colon is a drive of Windows
    if _URL.match(text) and not os.path.lexists(text):
        raise ParameterError(
            f"{name} is {short_repr(text, most=_MAX_PATH)}, a URL; expected a path on this "
            "computer: copy it here first, or mount it"
        )
    if not _is_path(text) or _is_too_long(text):
        raise ParameterError(
            f"{name} is {short_repr(text, most=_MAX_PATH)}, which no file can be called"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as fault:  # of an unknown user
        raise ParameterError(f"{name} is {short_repr(text, most=_MAX_PATH)}: {fault}") from None


class Checks:
    """Collects what is wrong with the arguments of one call, and raises it as one error.

    Parameters
    ----------
    subject : str
        Written before the problems, for example ``"metric 'drift'"``.

    Attributes
    ----------
    problems : list of str
        One sentence each.
    wrong_kinds : set of str
        The arguments of a call that are of another kind than their annotation.

    Examples
    --------
    >>> checks = Checks()
    >>> checks.number("bin_ms", -1.0, above=0)
    -1.0
    >>> checks.whole_number("num_channels", 2.5, at_least=1)
    2.5
    >>> checks.finish()
    Traceback (most recent call last):
    ...
    si_curation.errors.ParameterError: bin_ms is -1.0, expected a number above 0; num_channels is
    2.5, expected a whole number from 1
    """

    def __init__(self, subject: str = "") -> None:
        self._subject = subject
        self.wrong_kinds: set[str] = set()
        self.problems: list[str] = []

    @classmethod
    def of_call(cls, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Checks:
        """Return the checks of a call, with the arguments of another kind; see `check_arguments`.

        For functions that check values too: what is of another kind is not checked again, so that
        `finish` raises everything at once.
        """
        checks = cls()
        for name, kinds in _kinds_of_arguments(function).items():
            value = arguments[name]
            for kind in kinds:
                if kind.holds(value):
                    break
            else:
                texts = dict.fromkeys(kind.text for kind in kinds)
                advice = [found for kind in kinds if (found := kind.advice(value))][:1]
                checks.add(
                    f"{name} is {short_repr(value)}, expected {' or '.join(texts)}"
                    + "".join(f": {one}" for one in advice)
                )
                checks.wrong_kinds.add(name)
        return checks

    def add(self, problem: str) -> None:
        """Add a problem that was found elsewhere."""
        self.problems.append(problem)

    def require(self, holds: object, problem: str) -> bool:
        """Add a problem unless something holds; return whether it holds."""
        if not holds:
            self.problems.append(problem)
        return bool(holds)

    def number(
        self,
        name: str,
        value: Any,
        *,
        above: float = -math.inf,
        at_least: float = -math.inf,
        below: float = math.inf,
        at_most: float = math.inf,
        optional: bool = False,
    ) -> Any:
        """Return a finite number as float; what is none is returned as it is, and is a problem.

        Parameters
        ----------
        name : str
            Of the argument.
        value : object
        above, below : float
            Limits that are not reached.
        at_least, at_most : float
            Limits that may be reached.
        optional : bool
            None is fine, and returned.
        """
        if optional and value is None:
            return None
        usable = is_number(value) and math.isfinite(value)
        if usable and above < value < below and at_least <= value <= at_most:
            return float(value)
        self._expect(name, value, "a number", (above, at_least, below, at_most), optional)
        return value

    def whole_number(
        self,
        name: str,
        value: Any,
        *,
        at_least: float = -math.inf,
        at_most: float = math.inf,
        optional: bool = False,
    ) -> Any:
        """Return a whole number as int; see `number`."""
        if optional and value is None:
            return None
        if is_whole_number(value) and at_least <= value <= at_most:
            return int(value)
        limits = (-math.inf, at_least, math.inf, at_most)
        self._expect(name, value, "a whole number", limits, optional)
        return value

    def boolean(self, name: str, value: Any, *, optional: bool = False) -> Any:
        """Return True or False as bool; see `number`."""
        if optional and value is None:
            return None
        if is_boolean(value):
            return bool(value)
        self._expect(name, value, "True or False", optional=optional)
        return value

    def choice(
        self, name: str, value: Any, choices: Collection[Any], *, optional: bool = False
    ) -> Any:
        """Return one of some choices; anything else is a problem that lists them."""
        if optional and value is None:
            return None
        if _is_one_of(tuple(choices), value):
            return value
        expected = _either(choices) + did_you_mean(value, choices)
        self._expect(name, value, expected, optional=optional)
        return value

    def indices(self, name: str, values: Any, count: int) -> NDArray[np.int64]:
        """Return positions from 0 to ``count - 1``; see `indices_of`. None where they are wrong."""
        if name not in self.wrong_kinds:
            try:
                return indices_of(values, count, name)
            except ParameterError as fault:
                self.problems.append(str(fault))
        return np.zeros(0, dtype=np.int64)

    def _expect(
        self,
        name: str,
        value: object,
        kind: str,
        limits: tuple[float, float, float, float] | None = None,
        optional: bool = False,
    ) -> None:
        if name in self.wrong_kinds:
            return
        expected = kind if limits is None else kind + _range_text(*limits)
        none = " or None" if optional else ""
        self.problems.append(f"{name} is {short_repr(value)}, expected {expected}{none}")

    def stop_without(self, *names: str) -> None:
        """Raise what was found where an argument is of another kind that others are checked by."""
        if self.wrong_kinds.intersection(names):
            self.finish()

    def finish(self) -> None:
        """Raise `ParameterError` with all problems, if there are any."""
        if self.problems:
            start = f"{self._subject}: " if self._subject else ""
            raise ParameterError(start + join_problems(self.problems))


def _one_of(choices: Iterable[Any]) -> str:
    return "one of " + ", ".join(map(repr, choices))


def _range_text(above: float, at_least: float, below: float, at_most: float) -> str:
    low = f" above {above:g}" if math.isfinite(above) else ""
    low += f" from {at_least:g}" if math.isfinite(at_least) else ""
    high = f" below {below:g}" if math.isfinite(below) else ""
    high += f" up to {at_most:g}" if math.isfinite(at_most) else ""
    return low + (" and" if low and high and " from" not in low else "") + high


# the arguments of public functions


def check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a public function against its annotations, all at once.

    The first statement of every public function, which then only looks at values: ranges, ids,
    names::

        def plot_isi(sorting_analyzer: SortingAnalyzer, *, bin_ms: float = 0.5):
            check_arguments(plot_isi, locals())

    Parameters
    ----------
    function : callable
        Of which the annotations are read, the first time. What is annotated with ``Any``, or with
        types that are not known here, is not checked.
    arguments : mapping of str to object
        By name; what is not an argument is left alone.

    Raises
    ------
    ParameterError
        With every argument that is of another kind.

    Examples
    --------
    >>> def draw(num_channels: int | None, kind: Literal["a", "b"], names: Sequence[str] = ()):
    ...     check_arguments(draw, locals())
    >>> draw(3, "a")
    >>> draw("three", "c", names="no list")
    Traceback (most recent call last):
    ...
    si_curation.errors.ParameterError: num_channels is 'three', expected a whole number or None;
    kind is 'c', expected 'a' or 'b'; names is 'no list', expected a list of texts
    """
    Checks.of_call(function, arguments).finish()


def analyzer_advice(value: Any) -> str:
    """Return how to get a SortingAnalyzer from what was given in its place; "" if that is unknown.

    Examples
    --------
    >>> analyzer_advice("data/kilosort4")
    'open it with read_kilosort_as_analyzer("data/kilosort4")'
    >>> analyzer_advice("data/analyzer.zarr")
    'open it with spikeinterface.load("data/analyzer.zarr")'
    """
    folder = getattr(value, "folder", getattr(value, "path", value))  # as PhyFolder has one
    if _is_path(folder):
        path = Path(os.fspath(folder))
        is_saved = path.suffix == ".zarr" or any(
            os.path.exists(path / name) for name in _FILES_OF_ANALYZERS
        )
        text = short_repr(os.fspath(folder), most=_MAX_PATH).replace("'", '"')
        how = "spikeinterface.load" if is_saved else "read_kilosort_as_analyzer"
        return f"open it with {how}({text})"
    if hasattr(value, "get_unit_spike_train"):
        return (
            "make one with spikeinterface.create_sorting_analyzer(sorting, recording), or read "
            "the sorter's folder with read_kilosort_as_analyzer(folder)"
        )
    return ""


_FILES_OF_ANALYZERS = ("spikeinterface_info.json", ".zattrs", "zarr.json")


def _no_advice(value: Any) -> str:
    return ""


class _Kind(NamedTuple):
    """What an argument may be: a test, the text of what it tests, and how to get it from others."""

    holds: Callable[[Any], bool]
    text: str
    advice: Callable[[Any], str] = _no_advice


@cache
def _kinds_of_arguments(function: Callable[..., Any]) -> dict[str, list[_Kind]]:
    """Return the kinds of each argument that is checked."""
    function = inspect.unwrap(function)
    names: dict[str, Any] = function.__globals__
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = parameter.annotation
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if annotation is parameter.empty:
            continue
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, names)
            except NameError:  # imported for type checkers only
                continue
        kinds = _kinds(annotation)
        if kinds:
            found[name] = kinds
    return found


def _kinds(annotation: Any) -> list[_Kind]:
    """Return what an annotation allows; nothing where it allows anything, or is not known."""
    if annotation is ArrayLike:
        return [_Kind(is_array_like, "an array of numbers or texts")]
    origin, of = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        # text beside a path is the text of a path
        each = [_kinds(one) for one in of if not (one is str and Path in of)]
        return [kind for kinds in each for kind in kinds] if all(each) else []
    if origin is Literal:
        return [_Kind(partial(_is_one_of, of), _either(of))]
    if annotation in _PLAIN_KINDS:
        return [_PLAIN_KINDS[annotation]]
    if origin in (Sequence, Iterable, Collection, list, tuple):
        return [_list_kind(origin, of)]
    if origin in (Mapping, dict) or annotation in (Mapping, dict):
        return [_Kind(lambda value: isinstance(value, Mapping), "a dict")]
    if origin is Callable:
        return [_Kind(callable, "a function")]
    if origin is np.ndarray:
        return [_Kind(is_array_like, "an array of numbers or texts")]
    if isinstance(annotation, type) and annotation not in (object, Any):
        if annotation.__name__ == "SortingAnalyzer":  # or what stands in for one
            return [_ANALYZER]
        article = "an" if annotation.__name__[0] in "AEIOUaeiou" else "a"
        return [_Kind(lambda v: isinstance(v, annotation), f"{article} {annotation.__name__}")]
    return []


_ANALYZER = _Kind(lambda value: hasattr(value, "sorting"), "a SortingAnalyzer", analyzer_advice)
_PLAIN_KINDS: dict[Any, _Kind] = {
    type(None): _Kind(lambda value: value is None, "None"),
    bool: _Kind(is_boolean, "True or False"),
    int: _Kind(is_whole_number, "a whole number"),
    float: _Kind(is_number, "a number"),
    str: _Kind(lambda value: isinstance(value, str), "text"),
    Path: _Kind(lambda value: _is_path(value), "a path"),
}
_TEXTS_OF_MANY = {str: " of texts", int: " of whole numbers", float: " of numbers"}


def _list_kind(origin: Any, of: tuple[Any, ...]) -> _Kind:
    """Return what a list is: of some length where it is a tuple of fixed length."""
    length = len(of) if origin is tuple and Ellipsis not in of else None
    kinds = _kinds(of[0]) if of else []
    text = "a list" if length is None else f"{length} values"
    text += _TEXTS_OF_MANY.get(of[0], "") if of else ""
    sets = (set, frozenset) if origin is Collection else ()
    return _Kind(partial(_is_list, kinds=kinds, length=length, also=sets), text)


def _is_list(
    value: Any, kinds: list[_Kind], length: int | None, also: tuple[type, ...] = ()
) -> bool:
    named = isinstance(value, (list, tuple, range, *also)) or (
        hasattr(value, "__array__") and np.ndim(value) >= 1 and not hasattr(value, "columns")
    )
    if not named or (length is not None and len(value) != length):
        return False
    return not kinds or all(any(kind.holds(one) for kind in kinds) for one in value)


def _is_path(value: Any) -> bool:
    """Return whether a value is a path, of characters that the name of a file can have."""
    if not isinstance(value, str | PathLike) or isinstance(os.fspath(value), bytes):
        return False
    try:
        text = os.fsencode(value)
    except UnicodeError:  # half of a character
        return False
    return b"\0" not in text


def _is_too_long(path: str) -> bool:
    """Return whether no file system has such a path."""
    names = re.split(rb"[/\\]", os.fsencode(path))
    return max(map(len, names)) > _LONGEST_NAME or sum(map(len, names)) > _LONGEST_PATH


def is_array_like(value: Any) -> bool:
    """Return whether a value makes an array of numbers, booleans or texts."""
    if isinstance(value, str | bytes | Mapping | set):
        return False
    try:
        found = np.asarray(value)
    except ValueError:  # lists of unequal length
        return False
    return found.dtype.kind in ("biufUS" if found.ndim else "iuf")


def is_hashable(value: Any) -> bool:
    """Return whether a value can be an id."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _is_one_of(choices: tuple[Any, ...], value: Any) -> bool:
    return any(value is one or (type(value) is type(one) and value == one) for one in choices)


def _either(choices: Collection[Any]) -> str:
    return " or ".join(map(repr, choices)) if len(choices) < 3 else _one_of(choices)


def short_repr(value: Any, most: int = _MAX_TEXT) -> str:
    """Return a value as an error shows it: its first characters, or of what type it is.

    Examples
    --------
    >>> short_repr(np.float64(0.5)), short_repr([1, "a"]), short_repr(np.zeros(3))
    ('0.5', "[1, 'a']", 'of type ndarray')
    >>> short_repr("x" * 1000) == "'" + "x" * 79 + "..."
    True
    """
    value = plain_id(value)
    if isinstance(value, str | bytes):
        value = value[: most + 1]
    if not isinstance(value, _SHOWN):
        return f"of type {type(value).__name__}"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested, or a number of very many digits
        return f"of type {type(value).__name__}"
    return text if len(text) <= most else text[:most] + "..."


def did_you_mean(value: Any, choices: Iterable[Any]) -> str:
    """Return a question with the choice that was misspelt; empty where none is near.

    Examples
    --------
    >>> did_you_mean("nosie", ["good", "noise"]), did_you_mean("x", ["good", "noise"])
    (" (did you mean 'noise'?)", '')
    """
    near = difflib.get_close_matches(str(value)[:_MAX_TEXT], [str(one) for one in choices], 1, 0.7)
    return f" (did you mean {near[0]!r}?)" if near and near[0] != value else ""


def join_problems(problems: Sequence[str]) -> str:
    """Return problems as one text; of very many, the first and the number of the others.

    Examples
    --------
    >>> join_problems(["a is 1, expected 2", "b is 3, expected 4"])
    'a is 1, expected 2; b is 3, expected 4'
    >>> join_problems([f"rule {n}: ..." for n in range(500)])[-24:]
    'rule 19: ...; 480 others'
    """
    others = len(problems) - _MAX_PROBLEMS
    more = [f"{others} others"] if others > 0 else []
    return "; ".join([*problems[:_MAX_PROBLEMS], *more])


# units and channels of an analyzer


def unit_index_of(sorting_analyzer: Any, unit_id: Any) -> UnitIndex:
    """Return the index of a unit.

    Raises
    ------
    UnknownIdError
        There is no such unit.
    """
    return UnitIndex(_index_of("unit", sorting_analyzer.unit_ids, unit_id))


def unit_indices_of(
    sorting_analyzer: Any, unit_ids: Iterable[Any] | None, *, may_repeat: bool = False
) -> UnitIndices:
    """Return the indices of some units, in the order given; of all units for None.

    Raises
    ------
    UnknownIdError
        Some do not exist; all of them are named.
    ParameterError
        `unit_ids` is no list of ids, or has a unit twice, unless units may repeat.
    """
    all_ids = sorting_analyzer.unit_ids
    if unit_ids is None:
        return UnitIndices(np.arange(len(all_ids), dtype=np.int64))
    if isinstance(unit_ids, str | bytes) or not isinstance(unit_ids, Iterable):
        raise ParameterError(f"unit_ids is {short_repr(unit_ids)}, expected a list of unit ids")
    index_of = {unit_id: i for i, unit_id in enumerate(np.asarray(all_ids).tolist())}
    if isinstance(unit_ids, np.ndarray) and unit_ids.ndim == 1 and unit_ids.dtype != object:
        wanted = unit_ids.tolist()
    else:
        wanted = [plain_id(one) for one in unit_ids]
    try:
        unknown = [one for one in wanted if one not in index_of]
    except TypeError:
        raise ParameterError(
            f"unit_ids is {short_repr(wanted)}, expected a list of unit ids"
        ) from None
    if unknown:
        raise UnknownIdError(
            f"there are no units {short_repr(unknown)}; units are {_shown(all_ids)}"
        )
    if not may_repeat and len(set(wanted)) < len(wanted):
        shown = short_repr(wanted)
        raise ParameterError(f"unit_ids has units more than once: {shown}; give each once")
    return UnitIndices(np.array([index_of[one] for one in wanted], dtype=np.int64))


def channel_index_of(sorting_analyzer: Any, channel_id: Any) -> ChannelIndex:
    """Return the index of a channel.

    Raises
    ------
    UnknownIdError
        There is no such channel.
    """
    return ChannelIndex(_index_of("channel", sorting_analyzer.channel_ids, channel_id))


def import_optional(package: str, extra: str, purpose: str) -> ModuleType:
    """Return a package that comes with an extra of this one.

    Parameters
    ----------
    package : str
        As it is imported.
    extra : str
        The one that installs it.
    purpose : str
        What needs it, for the error: ``"learning labels"``.

    Raises
    ------
    MissingDataError
        It, or a package that it needs itself, is not installed.

    Examples
    --------
    >>> import_optional("no_such_package", "nwb", "this")
    Traceback (most recent call last):
    ...
    si_curation.errors.MissingDataError: this needs no_such_package: pip install "si_curation[nwb]"
    (No module named 'no_such_package')
    """
    try:
        return import_module(package)
    except ImportError as fault:
        why = " ".join(str(fault).split())
        raise MissingDataError(
            f'{purpose} needs {package}: pip install "si_curation[{extra}]" ({why})'
        ) from None


def indices_of(values: Any, count: int, name: str) -> NDArray[np.int64]:
    """Return positions from 0 to ``count - 1`` as a list of whole numbers, in the order given.

    Raises
    ------
    ParameterError
        They are no such list.
    """
    try:
        indices = np.atleast_1d(np.asarray(values))
    except ValueError:  # lists of different lengths
        indices = np.array([values], dtype=object)
    if indices.size == 0:
        return np.zeros(0, dtype=np.int64)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ParameterError(f"{name} is {short_repr(values)}, expected a list of whole numbers")
    lowest, highest = np.minimum.reduce(indices), np.maximum.reduce(indices)
    if lowest < 0 or highest >= count:
        raise ParameterError(f"{name} goes from {lowest} to {highest}, expected 0 to {count - 1}")
    return indices.astype(np.int64)


def _index_of(kind: str, ids: NDArray, one: Any) -> int:
    # a tuple would be compared as an array
    found = np.asarray(ids) == one if is_hashable(one) and np.ndim(one) == 0 else ()
    index = np.flatnonzero(found)
    if index.size != 1:
        raise UnknownIdError(
            f"there is no {kind} {short_repr(one)}; {kind}s are {_shown(ids)}"
            f"{did_you_mean(one, ids) if isinstance(one, str) else ''}"
        )
    return int(index[0])


def _shown(ids: NDArray) -> str:
    text = ", ".join(str(one) for one in ids[:_MAX_SHOWN])
    return text + (f", ... ({len(ids)})" if len(ids) > _MAX_SHOWN else "")
