"""Counts of pairs of spikes in bytes; for bins of equal width, sixteen pairs at a time.

The cell of a lag is a sum of at most three steps, each of which grows by one at regular lags:
``floor(lag / w + c)``. That is arithmetic without a table, so that a processor does it for sixteen
pairs at once. What is left for each pair is to add one to the byte of its cell; a byte that runs
over adds to a second one, which is hardly ever touched. The sixteen are a vector of LLVM's, which
is as many of the processor's as it takes: 1 with AVX-512, 4 with SSE or NEON.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from si_curation.kernels.correlogram_bins import LagCells
from si_curation.kernels.parallel import njit

LANES = 16
_MAX_LAG = 1 << 20  # lags up to here, and their products, are exact enough in float32
_NUM_STEPS = 3  # as many as there are conventions of bins
_BUFFER_SIZE = 1 << 12  # cells of pairs that wait to be counted: they stay in the first-level cache


class CellSteps(NamedTuple):
    """The cell of a lag: ``min(lag, first) + sum(floor(lag * slopes + offsets))`` in float32.

    Attributes
    ----------
    first : uint32
        1 where a cell begins at lag 1 alone, and not at each lag of a step; 0 otherwise.
    slopes, offsets : tuple of 3 float32
        Zeros where there are fewer steps.
    num_cells : uint32
    max_lag : uint32
    """

    first: np.uint32
    slopes: tuple[np.float32, np.float32, np.float32]
    offsets: tuple[np.float32, np.float32, np.float32]
    num_cells: np.uint32
    max_lag: np.uint32


def cell_steps(cells: LagCells) -> CellSteps | None:
    """Return the steps that make up the cells, or None where no steps give these very cells.

    Parameters
    ----------
    cells : LagCells

    Returns
    -------
    CellSteps or None
        None for log-spaced bins, and for windows of more than a million samples.

    Examples
    --------
    >>> from si_curation.kernels.correlogram_bins import linear_cells
    >>> steps = cell_steps(linear_cells(half_window_samples=8, bin_samples=4, conventions=("phy",)))
    >>> steps.first, steps.slopes[0], steps.offsets[0]
    (np.uint32(1), np.float32(0.25), np.float32(0.125))
    """
    width = cells.bin_samples
    if width == 0 or cells.max_lag > _MAX_LAG:
        return None
    starts = cells.first_lag[:-1]
    rests = np.unique(starts[starts > 1] % width)[:_NUM_STEPS]
    # half a sample away from where the step is: rounding cannot reach it
    slopes, offsets = np.zeros((2, _NUM_STEPS), dtype=np.float32)
    slopes[: rests.size] = 1 / width
    offsets[: rests.size] = (np.where(rests == 0, 0, width - rests) + 0.5) / width
    lag = np.arange(cells.max_lag + 1)
    found = np.floor(np.float32(lag)[:, None] * slopes + offsets).sum(axis=1).astype(np.int64)
    for first in (0, 1):
        if np.array_equal(np.minimum(lag, first) + found, cells.cell_of_lag):
            number, most = np.uint32(cells.num_cells), np.uint32(cells.max_lag)
            return CellSteps(np.uint32(first), tuple(slopes), tuple(offsets), number, most)
    return None


class Counts(NamedTuple):
    """Counts of pairs in bytes, and how often these ran over.

    Attributes
    ----------
    ones, over : array (n,) uint8
        What `over` counts are 256 of `ones`.
    far : array (n_far,) uint32
        Where `over` ran over itself, each time.
    number : array (2,) int64
        How often `ones` and `over` ran over.
    """

    ones: NDArray[np.uint8]
    over: NDArray[np.uint8]
    far: NDArray[np.uint32]
    number: NDArray[np.int64]


def no_counts(size: int, most_pairs: int) -> Counts:
    """Return counts that are all 0, with room for so many pairs in all."""
    return Counts(
        np.zeros(size, dtype=np.uint8),
        np.zeros(size, dtype=np.uint8),
        np.empty(most_pairs >> 16, dtype=np.uint32),
        np.zeros(2, dtype=np.int64),
    )


@njit
def add_one(at: np.uint64, counts: Counts) -> None:
    """Count one pair."""
    ones = np.uint8(counts.ones[at] + np.uint8(1))
    counts.ones[at] = ones
    if ones == 0:
        over = np.uint8(counts.over[at] + np.uint8(1))
        counts.over[at] = over
        counts.number[0] += 1
        if over == 0:
            counts.far[counts.number[1]] = at
            counts.number[1] += 1


@njit
def add_up(counts: Counts, out: NDArray[np.integer]) -> None:
    """Add the counts to others, and make them 0."""
    for i in range(out.size):
        out[i] += counts.ones[i]
    counts.ones[:] = 0
    if counts.number[0] > 0:
        for i in range(out.size):
            out[i] += np.int64(counts.over[i]) << 8
        counts.over[:] = 0
    for i in range(counts.number[1]):
        out[counts.far[i]] += 1 << 16
    counts.number[:] = 0


@intrinsic
def _lanes(
    typing_context: Any,
    spikes: Any,  # times, units
    j: Any,  # uint64: where the later spikes begin
    now: Any,  # uint32: time of the earlier spike
    row: Any,  # uint32: where the row of the earlier spike begins
    steps: Any,
    waiting: Any,  # array (n_waiting,) uint32
    k: Any,  # uint64: where to put the cells of the pairs
) -> tuple[Any, Any]:
    """Put the cells of the pairs with the next 16 spikes into `waiting`; return how many count."""
    signature = types.uint64(spikes, j, now, row, steps, waiting, k)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        spikes, j, now, row, steps, waiting, k = values
        time, unit = (builder.extract_value(spikes, i) for i in range(2))
        first, slopes, offsets, num_cells, limit = (
            builder.extract_value(steps, i) for i in range(5)
        )
        whole = ir.VectorType(ir.IntType(32), LANES)
        real = ir.VectorType(ir.FloatType(), LANES)

        def everywhere(value: Any, vector: Any) -> Any:
            nothing = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(first, nothing, ir.Constant(whole, [0] * LANES))

        def place(array: Any, of_type: Any, at: Any) -> Any:
            data = context.make_array(of_type)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [at]), whole.as_pointer())

        of_time, of_unit = signature.args[0]
        later = builder.load(place(time, of_time, j), align=4)
        lag = builder.sub(later, everywhere(now, whole))
        counts = builder.icmp_unsigned("<=", lag, everywhere(limit, whole))
        # times ascend: those that count come first. The others are lags that can be converted
        lag = builder.select(counts, lag, everywhere(limit, whole))
        first = everywhere(first, whole)
        cell = builder.select(builder.icmp_unsigned("<", lag, first), lag, first)
        lag_real = builder.sitofp(lag, real)
        for step in range(_NUM_STEPS):
            slope = everywhere(builder.extract_value(slopes, step), real)
            start = everywhere(builder.extract_value(offsets, step), real)
            level = builder.fadd(builder.fmul(lag_real, slope), start)
            cell = builder.add(cell, builder.fptosi(level, whole))
        units = builder.load(place(unit, of_unit, j), align=4)
        in_row = builder.add(builder.mul(units, everywhere(num_cells, whole)), cell)
        at = builder.add(everywhere(row, whole), in_row)
        builder.store(at, place(waiting, signature.args[5], k), align=4)
        number = builder.ctpop(builder.bitcast(counts, ir.IntType(LANES)))
        return builder.zext(number, ir.IntType(64))

    return signature, generate


@njit
def _count_waiting(waiting: NDArray[np.uint32], number: np.uint64, counts: Counts) -> None:
    for i in range(number):
        add_one(np.uint64(waiting[i]), counts)


@njit
def count_lanes(
    earlier: NDArray[np.integer],  # (n_earlier,): positions of the earlier spikes
    spikes: tuple[NDArray[np.uint32], NDArray[np.int32]],  # times, units: (n + LANES,) each
    steps: CellSteps,
    first_unit: int,
    width: int,
    counts: Counts,  # a row of `width` for each earlier unit
) -> None:
    """Count the pairs of some earlier spikes and all later ones."""
    time, unit = spikes
    waiting = np.empty(_BUFFER_SIZE, dtype=np.uint32)
    most = np.uint64(_BUFFER_SIZE - LANES)
    lanes = np.uint64(LANES)
    number = np.uint64(0)
    for e in range(earlier.size):
        i = np.uint64(earlier[e])
        now = time[i]
        row = np.uint32(np.int64(unit[i] - first_unit) * width)
        j = i + np.uint64(1)
        found = lanes
        while found == lanes:
            found = _lanes(spikes, j, now, row, steps, waiting, number)  # type: ignore[call-arg]
            number += found
            j += lanes
            if number > most:
                _count_waiting(waiting, number, counts)
                number = np.uint64(0)
    _count_waiting(waiting, number, counts)
