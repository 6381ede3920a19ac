"""SpikeInterface's spike vector straight from the sorter's per-spike files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.kernels.parallel import blocks, njit, read_only, run_blocks
from si_curation.variables import FileRows, TemplateIds

#: Makes an array of any content: `numpy.empty`, or another place for what is large.
Empty = Callable[[Any, Any], NDArray]

SPIKE_DTYPE = np.dtype(
    [("sample_index", "int64"), ("unit_index", "int64"), ("segment_index", "int64")]
)


@njit
def _fill(
    samples: NDArray[np.integer],
    ids: NDArray[np.integer],
    unit_of_id: NDArray[np.int32],
    out: NDArray[np.int64],
) -> None:  # out (n, 3): sample, unit, segment
    for i in range(samples.size):
        out[i, 0] = samples[i]
        out[i, 1] = unit_of_id[ids[i]]
        out[i, 2] = 0


@njit
def _fill_rows(
    samples: NDArray[np.integer],
    ids: NDArray[np.integer],
    unit_of_id: NDArray[np.int32],
    rows: NDArray[np.integer],
    out: NDArray[np.int64],
) -> None:  # out (n_rows, 3)
    for i in range(rows.size):
        row = rows[i]
        out[i, 0] = samples[row]
        out[i, 1] = unit_of_id[ids[row]]
        out[i, 2] = 0


def make_spike_vector(
    samples: NDArray[np.integer],
    ids: NDArray[np.integer],
    unit_of_id: NDArray[np.int32],
    rows: FileRows | None = None,
    empty: Empty = np.empty,
) -> NDArray[np.void]:
    """Make the one-segment spike vector of the given rows.

    Parameters
    ----------
    samples : array (n,) integer
        Sample index of each spike.
    ids : array (n,) integer
        Cluster id of each spike.
    unit_of_id : array (max id + 1,) int32
        Unit index of each cluster id.
    rows : array (n_rows,) integer, optional
        Rows to take, in this order; all rows by default.
    empty : callable
        Makes the array.

    Returns
    -------
    array (n_rows,), `SPIKE_DTYPE`

    Examples
    --------
    >>> make_spike_vector(np.array([10, 30]), np.array([1, 0]), np.array([0, 1], dtype="int32"))
    array([(10, 1, 0), (30, 0, 0)],
          dtype=[('sample_index', '<i8'), ('unit_index', '<i8'), ('segment_index', '<i8')])
    """
    num_spikes = samples.size if rows is None else rows.size
    spikes = empty(num_spikes, SPIKE_DTYPE)
    table = spikes.view(np.int64).reshape(num_spikes, 3)
    if rows is None:
        run_blocks(lambda b: _fill(samples[b], ids[b], unit_of_id, table[b]), blocks(num_spikes))
    else:
        run_blocks(
            lambda b: _fill_rows(samples, ids, unit_of_id, rows[b], table[b]), blocks(num_spikes)
        )
    return spikes


def take_rows(
    values: NDArray,
    rows: NDArray[np.integer] | None,
    dtype: np.typing.DTypeLike | None = None,
    empty: Empty = np.empty,
) -> NDArray:
    """Copy a per-spike file into memory, permuted like the spikes.

    Parameters
    ----------
    values : array (n,) or (n, k)
        May be memory-mapped.
    rows : array (n_rows,) integer, optional
        Rows to take; all by default.
    dtype : dtype, optional
        dtype of the copy; that of `values` by default.
    empty : callable
        Makes the array.

    Returns
    -------
    array (n_rows,) or (n_rows, k), a copy

    Examples
    --------
    >>> take_rows(np.array([1.0, 2.0, 3.0]), np.array([2, 0]), "float32")
    array([3., 1.], dtype=float32)
    """
    num_rows = len(values) if rows is None else rows.size
    out = empty((num_rows, *values.shape[1:]), dtype or values.dtype)

    def copy(piece: slice) -> None:
        out[piece] = values[piece] if rows is None else values[rows[piece]]

    run_blocks(copy, blocks(num_rows))
    return out


def every_row(num_rows: int, dtype: np.typing.DTypeLike) -> NDArray[np.integer]:
    """Return ``np.arange`` of a long file, block by block.

    Examples
    --------
    >>> every_row(3, "int32")
    array([0, 1, 2], dtype=int32)
    """
    out = np.empty(num_rows, dtype=dtype)

    def count(piece: slice) -> None:
        out[piece] = np.arange(piece.start, piece.stop, dtype=dtype)

    run_blocks(count, blocks(num_rows))
    return out


def is_every_row(rows: NDArray[np.integer], num_rows: int) -> bool:
    """Return whether rows are those of `every_row`: they need not be taken one by one.

    Examples
    --------
    >>> is_every_row(np.array([0, 1]), 2), is_every_row(np.array([1, 0]), 2)
    (True, False)
    """

    def are_as_counted(piece: slice) -> bool:
        return np.array_equal(rows[piece], np.arange(piece.start, piece.stop, dtype=rows.dtype))

    if rows.size != num_rows or not rows.size or rows[-1] != num_rows - 1:
        return rows.size == num_rows == 0
    return all(run_blocks(are_as_counted, blocks(num_rows)))


def evenly_spaced(count: int, limit: int | None) -> NDArray[np.int64]:
    """Return positions of at most `limit` of `count` things, evenly spaced; all without a limit.

    Examples
    --------
    >>> evenly_spaced(10, 4).tolist(), evenly_spaced(3, 4).tolist()
    ([0, 2, 5, 7], [0, 1, 2])
    """
    if limit is None or count <= max(limit, 1):
        return np.arange(count, dtype=np.int64)
    limit = max(int(limit), 1)
    return np.arange(limit, dtype=np.int64) * count // limit


def count_units(unit_index: NDArray[np.integer], num_units: int) -> NDArray[np.int64]:
    """Count the spikes of each unit, block by block: ``np.bincount`` copies what it counts.

    Examples
    --------
    >>> count_units(np.array([1, 1, 0]), 3)
    array([1, 2, 0])
    """
    parts = run_blocks(
        lambda piece: np.bincount(unit_index[piece], minlength=num_units), blocks(unit_index.size)
    )
    return sum(parts, start=np.zeros(num_units, dtype=np.int64))


def look_up(table: NDArray, index: NDArray[np.integer]) -> NDArray:
    """Return ``table[index]`` of a long index, block by block: numpy makes a copy in int64 of it.

    Examples
    --------
    >>> look_up(np.array([5, 7]), np.array([1, 0, -1], dtype="int32"))
    array([7, 5, 7])
    """
    out = np.empty(index.size, dtype=table.dtype)

    def fill(piece: slice) -> None:
        out[piece] = table[index[piece]]

    run_blocks(fill, blocks(index.size))
    return out


def with_other_units(
    spikes: NDArray[np.void],
    unit_index: NDArray[np.integer],
    rows: NDArray[np.integer] | None,
    empty: Empty = np.empty,
) -> NDArray[np.void]:
    """Make a spike vector of the same spikes, or of some of them, that are of other units.

    Parameters
    ----------
    spikes : array (n,) structured
        A spike vector.
    unit_index : array (n,) integer
        Their units in the new one.
    rows : array (n_rows,) integer, optional
        Which of them are in the new one, ascending; all by default.
    empty : callable
        Makes the array.

    Returns
    -------
    array (n_rows,), `SPIKE_DTYPE`

    Examples
    --------
    >>> spikes = make_spike_vector(np.array([10, 30]), np.array([1, 0]), np.array([0, 1], "int32"))
    >>> with_other_units(spikes, np.array([-1, 3]), np.array([1])).tolist()
    [(30, 3, 0)]
    """
    out = empty(spikes.size if rows is None else rows.size, SPIKE_DTYPE)

    def fill(piece: slice) -> None:
        taken = piece if rows is None else rows[piece]
        if rows is not None and spikes.dtype == SPIKE_DTYPE:  # fields lie side by side
            np.take(spikes, rows[piece], out=out[piece], mode="clip")
        else:
            for name in ("sample_index", "segment_index"):
                out[name][piece] = spikes[name][taken]
        out["unit_index"][piece] = unit_index[taken]

    run_blocks(fill, blocks(out.size))
    return out


@njit
def _insert(
    spikes: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    further: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]],
    out: NDArray[np.int64],  # (n + m, 3)
) -> None:
    # samples, units and segments of each; in the order of segments, and of time within each
    j = 0
    for i in range(spikes[0].size + 1):
        while j < further[0].size and (
            i == spikes[0].size
            or further[2][j] < spikes[2][i]
            or (further[2][j] == spikes[2][i] and further[0][j] < spikes[0][i])
        ):
            for k in range(3):
                out[i + j, k] = further[k][j]
            j += 1
        if i < spikes[0].size:
            for k in range(3):
                out[i + j, k] = spikes[k][i]


def _columns(
    spikes: NDArray[np.void],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    samples, units, segments = spikes["sample_index"], spikes["unit_index"], spikes["segment_index"]
    return read_only(samples), read_only(units), read_only(segments)


def insert_spikes(spikes: NDArray[np.void], further: NDArray[np.void]) -> NDArray[np.void]:
    """Return two spike vectors as one in the order of time; of the same sample the second's last.

    Parameters
    ----------
    spikes, further : array (n,), (m,) structured
        In the order of segments, and of time within each.

    Returns
    -------
    array (n + m,), `SPIKE_DTYPE`

    Examples
    --------
    >>> samples, units, ids = np.array([10, 30]), np.array([0, 0]), np.array([1], "int32")
    >>> spikes = make_spike_vector(samples, units, ids)
    >>> insert_spikes(spikes, make_spike_vector(samples, units, ids + 1)[1:]).tolist()
    [(10, 1, 0), (30, 1, 0), (30, 2, 0)]
    """
    out = np.empty(spikes.size + further.size, dtype=SPIKE_DTYPE)
    _insert(_columns(spikes), _columns(further), out.view(np.int64).reshape(-1, 3))
    return out


@njit
def _select_by_gaps(
    unit_index: NDArray[np.integer],
    gaps: NDArray[np.int64],
    next_gap: NDArray[np.int64],
    countdown: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    # gaps: of all units, one after the other, spikes to skip before the next chosen one and a
    # huge one at the end; next_gap[u]: position of unit u's next gap; countdown[u]: the one now
    count = 0
    for i in range(unit_index.size):
        unit = unit_index[i]
        left = countdown[unit]
        if left == 0:
            out[count] = i
            count += 1
            left = gaps[next_gap[unit]] + 1
            next_gap[unit] += 1
        countdown[unit] = left - 1


def choose_random_spikes(
    unit_index: NDArray[np.integer],
    num_spikes_per_unit: NDArray[np.int64],
    max_spikes_per_unit: int = 500,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Choose at most so many spikes of each unit, uniformly at random, in one pass.

    Parameters
    ----------
    unit_index : array (n,) integer
        Unit (or any small id) of each spike.
    num_spikes_per_unit : array (n_units,) int64
    max_spikes_per_unit : int
    seed : int

    Returns
    -------
    array (n_chosen,) int64
        Increasing positions in the spike vector.

    Examples
    --------
    >>> choose_random_spikes(np.array([0, 1, 0]), np.array([2, 1]), max_spikes_per_unit=5)
    array([0, 1, 2])
    """
    rng = np.random.default_rng(seed)
    most = min(max_spikes_per_unit, int(num_spikes_per_unit.max(initial=0)))
    no_gaps = np.zeros(most, dtype=np.int64)
    never = np.iinfo(np.int64).max // 2
    gaps, starts, total = [], [], 0
    for count in num_spikes_per_unit:
        if count > max_spikes_per_unit:
            chosen = np.sort(rng.choice(count, max_spikes_per_unit, replace=False, shuffle=False))
            skipped = chosen.copy()
            skipped[1:] -= chosen[:-1] + 1
            gaps.append(skipped)
        else:
            gaps.append(no_gaps[:count])
        gaps.append(np.array([never]))
        starts.append(total)
        total += gaps[-2].size + 1
    if not starts:
        return np.zeros(0, dtype=np.int64)
    all_gaps = np.concatenate(gaps).astype(np.int64)
    first = np.array(starts, dtype=np.int64)
    out = np.empty(total - len(starts), dtype=np.int64)
    _select_by_gaps(read_only(unit_index), all_gaps, first + 1, all_gaps[first].copy(), out)
    return out


@njit
def _scale_by_template(
    values: NDArray[np.floating],
    template_ids: NDArray[np.integer],
    scale: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    for i in range(values.size):
        out[i] = values[i] * scale[template_ids[i]]


@njit
def _scale_rows_by_template(
    values: NDArray[np.floating],
    rows: NDArray[np.integer],
    template_ids: NDArray[np.integer],
    scale: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    for i in range(rows.size):
        out[i] = values[rows[i]] * scale[template_ids[i]]


def scale_by_template(
    values: NDArray[np.floating],
    rows: FileRows | None,
    template_ids: TemplateIds,
    scale: NDArray[np.floating],
    empty: Empty = np.empty,
) -> NDArray[np.float32]:
    """Multiply one value per spike by a number of its template.

    Parameters
    ----------
    values : array (n,) floating
        In the order of the files; may be memory-mapped.
    rows : array (n_spikes,) integer, optional
        Row of each spike; all rows as they are by default.
    template_ids : array (n_spikes,) integer
    scale : array (n_templates,) floating
    empty : callable
        Makes the array.

    Returns
    -------
    array (n_spikes,) float32

    Examples
    --------
    >>> scale_by_template(np.array([1.0, 2.0]), None, np.array([1, 0]), np.array([10.0, 100.0]))
    array([100.,  20.], dtype=float32)
    """
    out = empty(template_ids.size, np.float32)
    weights = np.asarray(scale, dtype=np.float64)

    def fill(b: slice) -> None:
        if rows is None:
            _scale_by_template(values[b], template_ids[b], weights, out[b])
        else:
            _scale_rows_by_template(values, rows[b], template_ids[b], weights, out[b])

    run_blocks(fill, blocks(out.size))
    return out
