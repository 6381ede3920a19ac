"""The encoding of numbers in the page: blocks of JSON and arrays, deflated, as base64."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import run_blocks

_DTYPES = {
    np.dtype(name).newbyteorder("<"): name
    for name in ("int16", "float32", "float64", "uint8", "uint16", "uint32")
}
_OF_COUNTS = [np.dtype(name).newbyteorder("<") for name in ("uint8", "uint16", "uint32")]
_LARGEST_COUNTS = np.array([2**8 - 1, 2**16 - 1])
_LARGEST_EXACT = 2**53
_AS_THEY_ARE = frozenset({int, str, bool, type(None)})
_OR_NUMBERS = _AS_THEY_ARE | {float}
#: Of zlib. The default takes a third longer, for pages that are smaller by a hundredth.
_LEVEL = 4
_BLOCKS_AT_ONCE = 64


@dataclass(frozen=True)
class Packed:
    """An array in the type and with the scale in which the page stores it.

    Attributes
    ----------
    stored : array
        Of a type of `pack`. The values are ``start + step * stored``.
    step, start : float
    is_cumulative : bool
        Whether what is stored are differences of successive values, the first as it is.
    """

    stored: NDArray[Any]
    step: float = 1.0
    start: float = 0.0
    is_cumulative: bool = False


def pack(values: NDArray, dtype: str = "float32") -> Packed:
    """Return an array as the page stores it, in one of the types that the page can read.

    Parameters
    ----------
    values : array
    dtype : {"int16", "float32", "float64", "uint8", "uint16", "uint32"}

    Examples
    --------
    >>> pack(np.array([[1, 2]]), "uint8").stored
    array([[1, 2]], dtype=uint8)
    """
    if dtype not in _DTYPES.values():
        raise ValueError(f"{dtype} is not a type that the page can read")
    return Packed(np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<")))


def pack_counts(counts: NDArray[np.integer]) -> Packed:
    """Return whole numbers, 0 or more, in the smallest type that holds them."""
    largest = int(counts.max(initial=0))
    return pack(counts, str(np.min_scalar_type(min(largest, 2**32 - 1))))


def pack_rows(counts: NDArray[np.integer]) -> list[Packed]:
    """Return the rows of an array of whole numbers, 0 or more, each as of `pack_counts`.

    Parameters
    ----------
    counts : array (n, ...) integer

    Examples
    --------
    >>> [one.stored for one in pack_rows(np.array([[7, 8], [1, 300]]))]
    [array([7, 8], dtype=uint8), array([  1, 300], dtype=uint16)]
    """
    types = _smallest_types(_largest_of_rows(counts))
    return [Packed(row.astype(its, order="C")) for row, its in zip(counts, types, strict=True)]


def pack_pieces(counts: NDArray[np.integer], start: NDArray[np.integer]) -> list[Packed]:
    """Return pieces of an array of whole numbers, 0 or more, each as of `pack_counts`.

    Parameters
    ----------
    counts : array (n, ...) integer
    start : array (n_pieces + 1,) integer
        Where along the first axis each piece begins; the last is n.

    Examples
    --------
    >>> [one.stored for one in pack_pieces(np.array([7, 300, 8]), np.array([0, 1, 3]))]
    [array([7], dtype=uint8), array([300,   8], dtype=uint16)]
    """
    largest = np.zeros(len(start) - 1, dtype=np.int64)
    some = np.flatnonzero(np.diff(start))
    if some.size:
        of_rows = counts if counts.ndim == 1 else _largest_of_rows(counts)
        largest[some] = np.maximum.reduceat(of_rows, start[some])
    places = start.tolist()
    return [
        Packed(counts[first:stop].astype(its, order="C"))
        for first, stop, its in zip(places, places[1:], _smallest_types(largest), strict=False)
    ]


def _largest_of_rows(counts: NDArray[np.integer]) -> NDArray[np.integer]:
    return counts.max(axis=tuple(range(1, counts.ndim)), initial=0)


def _smallest_types(largest: NDArray[np.integer]) -> list[np.dtype[Any]]:
    """Return the smallest type of the page that holds each of some whole numbers."""
    return [_OF_COUNTS[at] for at in np.searchsorted(_LARGEST_COUNTS, largest).tolist()]


def pack_numbers(values: list[Any]) -> Packed:
    """Return numbers, exactly, in a type that holds them; NaN where a value is None.

    Examples
    --------
    >>> pack_numbers([1, 300]).stored, pack_numbers([0.5, None]).stored
    (array([  1, 300], dtype=uint16), array([0.5, nan], dtype=float32))
    """
    numbers = np.array(values, dtype=np.float64)  # None is NaN
    if np.all((numbers >= 0) & (numbers < 2**32) & (numbers == np.round(numbers))):
        return pack_counts(numbers.astype(np.int64))
    with np.errstate(over="ignore"):
        is_narrow = np.array_equal(numbers.astype(np.float32), numbers, equal_nan=True)
    return pack(numbers, "float32" if is_narrow else "float64")


def pack_levels(values: NDArray, num_levels: int, low: float, high: float) -> Packed:
    """Return numbers rounded to equal steps of a range.

    Parameters
    ----------
    values : array
        From low to high.
    num_levels : int
        The steps are this number less one; at most 65,536.
    low, high : float

    Examples
    --------
    >>> packed = pack_levels(np.array([0.0, 0.49, 1.0]), 3, 0.0, 1.0)
    >>> (packed.start + packed.step * packed.stored).tolist()
    [0.0, 0.5, 1.0]
    """
    start, low_, high_ = np.array([0, values.size]), np.array([low]), np.array([high])
    return pack_levels_of_pieces(values, start, num_levels, low_, high_)[0]


def pack_levels_of_pieces(
    values: NDArray[np.floating],
    start: NDArray[np.integer],
    num_levels: int,
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    are_differences: bool = False,
) -> list[Packed]:
    """Return pieces of an array of numbers, each rounded to equal steps of its own range.

    Parameters
    ----------
    values : array (n,) floating
        Of each piece from its low to its high.
    start : array (n_pieces + 1,) integer
        Where each piece begins; the last is n.
    num_levels : int
        As of `pack_levels`.
    low, high : array (n_pieces,) floating
    are_differences : bool
        Store the differences of successive values. Those of each piece are in ascending order.

    Examples
    --------
    >>> start, low, high = np.array([0, 2, 3]), np.array([0.0, 5.0]), np.array([1.0, 5.0])
    >>> found = pack_levels_of_pieces(np.array([0.0, 1.0, 5.0]), start, 3, low, high)
    >>> [(one.start + one.step * one.stored).tolist() for one in found]
    [[0.0, 1.0], [5.0]]
    """
    step = (high - low) / (num_levels - 1)
    is_range = step > 0
    step = np.where(is_range, step, 1.0)
    # in the precision of the values
    size, dtype = np.diff(start), values.dtype
    lowest, its_step = np.repeat(low.astype(dtype), size), np.repeat(step.astype(dtype), size)
    levels = np.clip(np.round((values - lowest) / its_step), 0, num_levels - 1).astype(np.int64)
    levels[np.repeat(~is_range, size)] = 0
    if are_differences:
        firsts = start[:-1][size > 0]
        of_firsts = levels[firsts]
        levels = np.diff(levels, prepend=0)
        levels[firsts] = of_firsts
    return [
        Packed(one.stored, *its, are_differences)
        for one, its in zip(
            pack_pieces(levels, start), zip(step.tolist(), low.tolist(), strict=True), strict=True
        )
    ]


def pack_signed(values: NDArray[np.floating], num_levels: int) -> Packed:
    """Return numbers rounded to steps of their largest magnitude, as int16; 0 stays 0.

    Parameters
    ----------
    values : array
    num_levels : int
        Steps from 0 to the largest magnitude; at most 32,767.
    """
    step = float(np.abs(values).max(initial=0.0)) / num_levels or 1.0
    return Packed(pack(np.round(values / step), "int16").stored, step)


def signed_levels_of_pieces(
    values: NDArray[np.floating], start: NDArray[np.integer], num_levels: int
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return pieces of an array of numbers, each rounded as of `pack_signed`, and their steps.

    Parameters
    ----------
    values : array (n, n_samples) floating
    start : array (n_pieces + 1,) integer
        Where along the first axis each piece begins, none of them empty; the last is n.
    num_levels : int

    Returns
    -------
    levels : array (n, n_samples) int16
    steps : array (n_pieces,) float64
    """
    largest = np.abs(values).max(axis=1, initial=0.0)
    steps = np.maximum.reduceat(largest, start[:-1]).astype(np.float64) / num_levels
    steps[steps == 0] = 1.0
    # in the precision of the values
    its_step = np.repeat(steps.astype(values.dtype), np.diff(start))[:, None]
    return pack(np.round(values / its_step), "int16").stored, steps


class Block(NamedTuple):
    """A block of the page.

    Attributes
    ----------
    text : str
        Base64 of the deflated bytes (RFC 1951).
    size : int
        Number of bytes before they were deflated.
    """

    text: str
    size: int


def encode_block(value: Any) -> Block:
    """Return plain values and packed arrays as a block of the page.

    The bytes are the length of a JSON text (uint32, little-endian), the JSON text in UTF-8, and
    the arrays one after another. In the JSON an array is an object with ``dtype``, ``shape``,
    ``at`` (its first byte after the JSON text, or counted from the end where it is negative),
    ``step``, ``start`` and ``cumulative``. Of each array all first bytes come first, then all
    second ones: alike bytes together deflate better. Those of single bytes, mostly counts of an
    image, are last. They are deflated as runs of one value: better so, and in an eighth of the time
    that looking for strings takes.

    Parameters
    ----------
    value : object
        As `plain` takes it; a `Packed` may be anywhere in it.

    Returns
    -------
    Block
    """
    return _deflated(_content(value))


def encode_blocks(values: Iterable[Any]) -> Iterator[Block]:
    """Yield each of some values as of `encode_block`; a few are in memory at a time."""
    left = iter(values)
    while some := [_content(value) for value in islice(left, _BLOCKS_AT_ONCE)]:
        yield from run_blocks(_deflated, some)


def _content(value: Any) -> tuple[bytes, bytes]:
    """Return the bytes of a block: all but the arrays of single bytes, and these."""
    arrays = _Arrays()
    try:
        text = arrays.encode(value)
    except ValueError:  # a number that is not finite
        arrays = _Arrays()
        text = arrays.encode(plain(value))
    head = text.encode("utf-8", "replace")
    wide = b"".join([len(head).to_bytes(4, "little"), head, *arrays.wide])
    return wide, b"".join(arrays.single[::-1])


def _deflated(content: tuple[bytes, bytes]) -> Block:
    wide, single = content
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = [deflate.compress(wide)]
    if single:
        # what follows does not look back
        deflated.append(deflate.flush(zlib.Z_FULL_FLUSH))
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, 8, zlib.Z_RLE)
        deflated.append(deflate.compress(single))
    deflated.append(deflate.flush())
    text = base64.b64encode(b"".join(deflated)).decode("ascii")
    return Block(text, len(wide) + len(single))


class _Arrays:
    """The arrays of a block: those of several bytes a value, and of one byte, the last first."""

    def __init__(self) -> None:
        self.wide: list[bytes] = []
        self.single: list[bytes] = []
        self.sizes = [0, 0]

    def encode(self, value: Any) -> str:
        """Return the JSON text, and keep the arrays that it names."""
        return json.JSONEncoder(
            allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=self._described
        ).encode(value)

    def _described(self, value: Any) -> Any:
        if not isinstance(value, Packed):
            return plain(value)
        stored = value.stored
        if stored.dtype.itemsize == 1:
            content, kept, kind = stored.tobytes(), self.single, 1
        else:
            # of each array all first bytes come first
            content = stored.reshape(-1, 1).view(np.uint8).T.tobytes()
            kept, kind = self.wide, 0
        kept.append(content)
        self.sizes[kind] += len(content)
        at = -self.sizes[1] if kind else self.sizes[0] - len(content)
        found = {"dtype": _DTYPES[stored.dtype], "shape": list(stored.shape), "at": at}
        if (value.step, value.start, value.is_cumulative) != (1.0, 0.0, False):
            found |= {"step": value.step, "start": value.start}
            found["cumulative"] = value.is_cumulative
        return found


def is_exact_number(value: Any) -> bool:
    """Return whether a browser, whose numbers are float64, holds a number exactly."""
    return not isinstance(value, int) or abs(value) <= _LARGEST_EXACT


def plain(value: Any) -> Any:
    """Return a value as a plain Python object; None where it is missing or not finite.

    Examples
    --------
    >>> plain(np.float32(0.5)), plain(float("nan")), plain(np.array([1, 2])), plain(("a", None))
    (0.5, None, [1, 2], ['a', None])
    """
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "f":
        numbers: list[float | None] = value.tolist()
        for place in np.flatnonzero(~np.isfinite(value)).tolist():
            numbers[place] = None
        return numbers
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        kinds = set(map(type, value))
        if kinds <= _AS_THEY_ARE:  # most lists are of counts
            return list(value)
        if kinds <= _OR_NUMBERS:
            return [None if type(v) is float and not math.isfinite(v) else v for v in value]
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str | Packed):
        return value
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)
