"""Large columns of a table: compressed on all cores, written as chunks, and read back so.

HDF5 compresses on one core. What is written here is what its own filters (shuffle and deflate)
would have to read, so that every reader of HDF5 reads it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import num_threads, run_blocks


def _library() -> Any:
    """Return zlib-ng, of the extra "nwb": the same format, faster; without it, what Python has."""
    try:
        return import_module("zlib_ng.zlib_ng")
    except ImportError:
        return import_module("zlib")


zlib = _library()
_LARGE_FROM = 2048  # elements
_CHUNK_BYTES = 2**20
_AHEAD = 64  # chunks: as many as are compressed while pynwb writes all but the large columns
_SAMPLE_BYTES = 2**13
_LEVEL = 4  # that the file names; what HDF5 itself would use to write more
_LEVEL_HERE = 1 if zlib.__name__ == "zlib" else 2  # the lowest that finds most of what repeats
_HEADER = b"\x78\x5e"  # deflate, window of 32 KiB


class LargeColumn(NamedTuple):
    """A column that is written chunk by chunk.

    Attributes
    ----------
    name : str
    values : array (n, ...)
    rows : int
        Of a chunk.
    shuffle : bool
        Whether its bytes are in the order of their place.
    target : hdmf.backends.hdf5.H5DataIO
        Its `dataset` is there once the table is written, empty.
    """

    name: str
    values: NDArray
    rows: int
    shuffle: bool
    target: Any


class Chunk(NamedTuple):
    """What is written of a column from a row on, compressed."""

    column: LargeColumn
    start: int
    content: bytes


def set_large_columns_aside(table: Any) -> list[LargeColumn]:
    """Let the large columns of a table be written as empty, and return what is to fill them.

    Numbers from 2,048 elements on; gzip in chunks of 1 MiB, with shuffle where that is smaller.
    """
    from hdmf.backends.hdf5 import H5DataIO

    found = []
    for column in table.columns:
        data = column.data
        if not isinstance(data, np.ndarray) or data.size < _LARGE_FROM:
            continue
        if data.dtype.kind not in "iuf":
            continue
        values = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))
        row_bytes = values.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
        rows = max(1, min(len(values), _CHUNK_BYTES // max(row_bytes, 1)))
        shuffle = _shuffle_helps(values)
        target = H5DataIO(
            shape=values.shape,
            dtype=values.dtype,
            chunks=(rows, *values.shape[1:]),
            compression="gzip",
            compression_opts=_LEVEL,
            shuffle=shuffle,
        )
        column.transform(lambda _, target=target: target)
        found.append(LargeColumn(column.name, values, rows, shuffle, target))
    return found


@contextmanager
def packed(columns: Sequence[LargeColumn]) -> Iterator[Iterator[Chunk]]:
    """Compress the chunks of columns, on all cores, while the table is written.

    Yields
    ------
    iterator of Chunk
        In order; at most `_AHEAD` are in memory at a time. For `fill`.
    """
    left = ((c, start) for c in columns for start in range(0, len(c.values), c.rows))
    waiting: deque[tuple[LargeColumn, int, Future[bytes]]] = deque()
    with ThreadPoolExecutor(num_threads()) as pool:

        def chunks() -> Iterator[Chunk]:
            while waiting:
                column, start, content = waiting.popleft()
                waiting.extend((c, s, pool.submit(_pack, c, s)) for c, s in islice(left, 1))
                yield Chunk(column, start, content.result())

        waiting.extend((c, s, pool.submit(_pack, c, s)) for c, s in islice(left, _AHEAD))
        try:
            yield chunks()
        finally:
            pool.shutdown(cancel_futures=True)


def _pack(column: LargeColumn, start: int) -> bytes:
    part = column.values[start : start + column.rows]
    if len(part) < column.rows:  # the last chunk is stored whole
        whole = np.zeros((column.rows, *part.shape[1:]), dtype=part.dtype)
        whole[: len(part)] = part
        part = whole
    return deflate(part, column.shuffle)


def fill(chunks: Iterator[Chunk]) -> None:
    """Write the chunks of columns, once their datasets are there."""
    for column, start, content in chunks:
        rest = (0,) * (column.values.ndim - 1)
        column.target.dataset.id.write_direct_chunk((start, *rest), content)


def is_stored(dataset: Any, values: NDArray) -> bool:
    """Return whether a dataset of an open file has these values, bit for bit.

    The chunks are decompressed here, on all cores. HDF5 reads the first and the last one, too.
    """
    if dataset.shape != values.shape or dataset.dtype != values.dtype:
        return False
    if not values.size:
        return True
    rows = (dataset.chunks or values.shape)[0]
    last = (len(values) - 1) // rows * rows
    for start in {0, last}:
        if not _same(np.asarray(dataset[start : start + rows]), values[start : start + rows]):
            return False
    if dataset.chunks is None or dataset.chunks[1:] != values.shape[1:]:
        return _same(np.asarray(dataset[()]), values)
    rest = (0,) * (values.ndim - 1)
    shuffle = bool(dataset.shuffle)

    def same(content: bytes, start: int) -> bool:
        found = inflate(content, values.dtype, rows * int(np.prod(values.shape[1:])), shuffle)
        part = values[start : start + rows]
        return found is not None and _same(found[: part.size], part)

    starts = list(range(0, len(values), rows))
    at_once = 4 * num_threads()
    for i in range(0, len(starts), at_once):
        chunks = []
        for start in starts[i : i + at_once]:
            mask, content = dataset.id.read_direct_chunk((start, *rest))
            if mask:
                return False
            chunks.append((content, start))
        if not all(run_blocks(lambda piece: same(*piece), chunks)):
            return False
    return True


def _same(found: NDArray, values: NDArray) -> bool:
    """Return whether two arrays have the same bits; NaN is like NaN."""
    word = f"u{values.itemsize}"
    flat = np.ascontiguousarray(values).reshape(-1).view(word)
    return np.array_equal(np.ascontiguousarray(found).reshape(-1).view(word), flat)


def deflate(values: NDArray, shuffle: bool) -> bytes:
    r"""Return values as HDF5's filters store them: deflate, of bytes in the order of their place.

    Examples
    --------
    >>> import zlib
    >>> stored = deflate(np.arange(4, dtype="<u2"), shuffle=True)
    >>> zlib.decompress(stored)
    b'\x00\x01\x02\x03\x00\x00\x00\x00'
    """
    if not shuffle:
        return zlib.compress(values, _LEVEL_HERE)
    planes = _planes(values)
    parts = [_HEADER]
    for i, plane in enumerate(planes):
        one = zlib.compressobj(_level_of(plane), zlib.DEFLATED, -15)
        parts.append(one.compress(plane))
        parts.append(one.flush(zlib.Z_FINISH if i == len(planes) - 1 else zlib.Z_SYNC_FLUSH))
    parts.append(zlib.adler32(planes).to_bytes(4, "big"))
    return b"".join(parts)


def inflate(content: bytes, dtype: np.dtype, size: int, shuffle: bool) -> NDArray | None:
    """Return the values that `deflate` stored; None where they are not so many, or broken.

    Examples
    --------
    >>> values = np.arange(4, dtype="<u2")
    >>> inflate(deflate(values, shuffle=True), values.dtype, 4, shuffle=True)
    array([0, 1, 2, 3], dtype=uint16)
    """
    try:
        plain = zlib.decompress(content, bufsize=size * dtype.itemsize)
    except zlib.error:
        return None
    if len(plain) != size * dtype.itemsize:
        return None
    if not shuffle:
        return np.frombuffer(plain, dtype=dtype)
    planes = np.frombuffer(plain, dtype=np.uint8).reshape(dtype.itemsize, size)
    return np.ascontiguousarray(planes.T).view(dtype)[:, 0]


def _planes(values: NDArray) -> NDArray[np.uint8]:
    """Return the first bytes of all values, the second ones, and so on: (itemsize, n)."""
    flat = np.ascontiguousarray(values).reshape(-1, 1).view(np.uint8)
    return np.ascontiguousarray(flat.T)


def _level_of(plane: NDArray[np.uint8]) -> int:
    """Return 0, stored as they are, for bytes of which a sample does not get smaller."""
    start = max(0, plane.size // 2 - _SAMPLE_BYTES // 2)
    sample = plane[start : start + _SAMPLE_BYTES]
    return 0 if len(zlib.compress(sample, _LEVEL_HERE)) > 0.99 * sample.size else _LEVEL_HERE


def _shuffle_helps(values: NDArray) -> bool:
    """Return whether a chunk from the middle gets smaller with its bytes in order of place."""
    if values.itemsize == 1:
        return False
    flat = values.reshape(-1)
    size = _CHUNK_BYTES // values.itemsize
    start = max(0, (flat.size - size) // 2)
    sample = flat[start : start + size]
    return len(deflate(sample, True)) < len(deflate(sample, False))
