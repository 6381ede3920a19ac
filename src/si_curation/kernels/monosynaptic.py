"""The synaptic window of every pair of spike trains against its slow baseline, all pairs at once.

Correlograms have an odd number of bins centred on multiples of the bin; the lag is that of the
postsynaptic spike after the presynaptic one. Sources: Stark & Abeles, J. Neurosci. Methods 179, 90
(2009); English et al., Neuron 96, 505 (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import ParameterError
from si_curation.kernels.correlogram_bins import (
    BinCells,
    LagCells,
    bins_of_convention,
    linear_cells,
)
from si_curation.kernels.correlograms import assemble_pairs, count_pairs, prepare_spikes
from si_curation.kernels.hollow_gaussian import (
    expected_counts,
    hollow_gaussian,
    predictor_matrix,
)
from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.poisson import poisson_deficit_p, poisson_excess_p

MAX_BYTES = 1 << 28  # of the correlograms that are held at a time
EXCESS, DEFICIT = 0, 1  # last axis of the arrays of PairTests


class SynapticBins(NamedTuple):
    """The bins of a correlogram that are tested, and what predicts their counts.

    Attributes
    ----------
    cells : LagCells
    bins : BinCells
    causal : array (n_causal,) int64
        Bins of the synaptic window.
    anticausal : array (n_anticausal,) int64
        Bins of lags of the other sign.
    predictor, predictor_without_centre : array (2 n_causal + 1, n_bins) float64
        Expected counts of the synaptic window, of its mirror image (outwards as well) and of the
        centre bin; the second is not made from the centre bin.
    """

    cells: LagCells
    bins: BinCells
    causal: NDArray[np.int64]
    anticausal: NDArray[np.int64]
    predictor: NDArray[np.float64]
    predictor_without_centre: NDArray[np.float64]


class PairTests(NamedTuple):
    """Test results of each ordered pair; arrays of length n_pairs.

    Arrays with two columns have the bin of largest excess in the first and that of largest deficit
    in the second.

    Attributes
    ----------
    pre, post : array (n_pairs,) int64
        Unit indices.
    lag_bins, observed : array (n_pairs, 2) int64
        Lag of the bin in bins, and its count.
    expected : array (n_pairs, 2) float64
        By the hollow Gaussian.
    p_fast, p_causal : array (n_pairs, 2) float64
        Against `expected`, and against the largest (smallest, centre aside) anticausal count.
    p_fast_reverse : array (n_pairs, 2) float64
        `p_fast` of the pair (post, pre).
    window_observed : array (n_pairs,) int64
    window_expected : array (n_pairs,) float64
        Sums over the synaptic window.
    p_zero_lag : array (n_pairs,) float64
        Of the excess in the centre bin.
    """

    pre: NDArray[np.int64]
    post: NDArray[np.int64]
    lag_bins: NDArray[np.int64]
    observed: NDArray[np.int64]
    expected: NDArray[np.float64]
    p_fast: NDArray[np.float64]
    p_causal: NDArray[np.float64]
    p_fast_reverse: NDArray[np.float64]
    window_observed: NDArray[np.int64]
    window_expected: NDArray[np.float64]
    p_zero_lag: NDArray[np.float64]


def synaptic_bins(
    bin_samples: int,
    num_half_bins: int,
    sigma_bins: float,
    hollow_fraction: float,
    causal_bins: tuple[float, float],
    anticausal_bins: tuple[float, float],
) -> SynapticBins:
    """Prepare the test of pairs.

    Parameters
    ----------
    bin_samples, num_half_bins : int
        Width of a bin, and bins on each side of the centre bin.
    sigma_bins, hollow_fraction : float
        As of `hollow_gaussian`.
    causal_bins, anticausal_bins : tuple of float
        First and last lag, in bins, both positive or 0; bins are taken whose centre is within.

    Returns
    -------
    SynapticBins

    Raises
    ------
    ParameterError
        No bin has its centre in a window, or a window or the kernel reaches beyond the correlogram.

    Examples
    --------
    >>> found = synaptic_bins(12, 60, 20.0, 0.6, (2.0, 7.0), (0.0, 3.0))
    >>> found.causal - 60, found.anticausal - 60
    (array([2, 3, 4, 5, 6, 7]), array([-3, -2, -1,  0]))
    """
    cells = linear_cells(num_half_bins * bin_samples, bin_samples, ("centered",))
    bins = bins_of_convention(cells, "centered")
    lags = np.arange(-num_half_bins, num_half_bins + 1)
    problems = []
    chosen = []
    for name, (first, last) in (("synaptic", causal_bins), ("anticausal", anticausal_bins)):
        inside = np.flatnonzero((lags >= first - 1e-6) & (lags <= last + 1e-6))
        if inside.size == 0:
            problems.append(
                f"no bin has its centre in the {name} window, {first:g} to {last:g} bins; take a "
                "wider one or smaller bins"
            )
        if last > num_half_bins + 1e-6:
            problems.append(
                f"the {name} window ends at {last:g} bins, the correlogram at {num_half_bins}"
            )
        chosen.append(inside)
    if problems:
        raise ParameterError("; ".join(problems))
    causal = chosen[0]
    rows = np.concatenate([causal, bins.num_bins - 1 - causal, [num_half_bins]])
    kernel = hollow_gaussian(sigma_bins, hollow_fraction)
    return SynapticBins(
        cells,
        bins,
        causal,
        (bins.num_bins - 1 - chosen[1])[::-1],
        predictor_matrix(bins.num_bins, kernel, rows, widths=bins.widths_samples),
        predictor_matrix(bins.num_bins, kernel, rows, [num_half_bins], bins.widths_samples),
    )


def examine_pairs(
    sample_index: NDArray[np.integer],
    unit_index: NDArray[np.integer],
    segment_index: NDArray[np.integer] | None,
    num_units: int,
    setup: SynapticBins,
    ignores_centre: NDArray[np.bool_],
    select: Callable[[PairTests], NDArray[np.bool_]],
    max_bytes: int = MAX_BYTES,
) -> PairTests:
    """Test every ordered pair of different units; keep those that are selected.

    Parameters
    ----------
    sample_index : array (n_spikes,) integer
        Ascending within each segment.
    unit_index : array (n_spikes,) integer, values in [0, num_units)
    segment_index : array (n_spikes,) integer or None
        Ascending. Counts of segments are added up.
    num_units : int
    setup : SynapticBins
    ignores_centre : array (num_units, num_units) bool
        Pairs whose expected counts are not made from the centre bin. Symmetric.
    select : callable
        Returns which rows to keep, array (n_pairs,) bool; called with some pairs at a time.
    max_bytes : int
        About the memory of the correlograms that are held at a time; units are taken in blocks
        where all of them need more.

    Returns
    -------
    PairTests
        Ordered by `pre`, then `post`.

    Raises
    ------
    ParameterError
        Spikes are not in time order, or a unit is out of range.

    Examples
    --------
    >>> setup = synaptic_bins(10, 12, 4.0, 0.6, (1.0, 3.0), (0.0, 2.0))
    >>> pre = np.arange(50) * 1000
    >>> samples, units = np.sort(np.concatenate([pre, pre + 20])), np.tile([0, 1], 50)
    >>> none = np.zeros((2, 2), dtype=bool)
    >>> found = examine_pairs(
    ...     samples, units, None, 2, setup, none, lambda tests: tests.p_fast[:, 0] < 0.001
    ... )
    >>> found.pre, found.post, found.lag_bins[:, 0], found.observed[:, 0]
    (array([0]), array([1]), array([2]), array([50]))
    """
    found = [_no_pairs()]
    for units, rows in _blocks_of_units(num_units, setup.cells.num_cells, max_bytes):
        local = np.full(num_units, -1, dtype=np.int64)
        local[units] = np.arange(units.size)
        kept = slice(None) if units.size == num_units else np.isin(unit_index, units)
        spikes = prepare_spikes(
            sample_index[kept],
            local[unit_index[kept]],
            None if segment_index is None else segment_index[kept],
            units.size,
            setup.cells.max_lag,
        )
        counts = count_pairs(spikes, units.size, setup.cells)

        def test(
            row: tuple[int, NDArray[np.int64]],
            units: NDArray[np.int64] = units,
            local: NDArray[np.int64] = local,
            counts: NDArray[np.integer] = counts,
        ) -> PairTests:
            a, others = row
            ab, ba = counts[local[a], local[others]], counts[local[others], local[a]]
            # in this order the lag is that of the others after a
            both = assemble_pairs(ba, ab, setup.bins)
            tests = _test_row(a, others, both, setup, ignores_centre[a, others])
            return _take(tests, np.flatnonzero(select(tests)))

        found += run_blocks(test, rows)
    together = PairTests(*(np.concatenate(values) for values in zip(*found, strict=True)))
    return _take(together, np.lexsort((together.post, together.pre)))


def _blocks_of_units(
    num_units: int, num_cells: int, max_bytes: int
) -> Iterator[tuple[NDArray[np.int64], list[tuple[int, NDArray[np.int64]]]]]:
    """Cut the units into blocks; yield the units of two blocks and the pairs to test in them.

    A row is a unit and those that it is paired with. Every pair of units comes once.
    """
    most = max(2, int(np.sqrt(max_bytes / (4 * num_cells))))
    if num_units <= most:
        num_blocks = 2  # both at once
    else:
        num_blocks = -(-num_units // (most // 2))
    blocks = np.array_split(np.arange(num_units), num_blocks)
    for i in range(num_blocks):
        for j in range(i + 1, num_blocks):
            rows = [(int(a), blocks[j]) for a in blocks[i]]
            if j == i + 1:
                rows = [(a, np.concatenate([blocks[i][blocks[i] > a], b])) for a, b in rows]
                if j == num_blocks - 1:
                    rows += [(int(a), blocks[j][blocks[j] > a]) for a in blocks[j]]
            yield np.concatenate([blocks[i], blocks[j]]), [row for row in rows if row[1].size]


def _test_row(
    a: int,
    others: NDArray[np.int64],
    counts: NDArray[np.int64],
    setup: SynapticBins,
    ignores_centre: NDArray[np.bool_],
) -> PairTests:
    # others (n,); counts (n, n_bins): lag of the others after a; ignores_centre (n,)
    expected = expected_counts(counts, setup.predictor)
    if ignores_centre.any():
        expected[ignores_centre] = expected_counts(
            counts[ignores_centre], setup.predictor_without_centre
        )
    size = setup.causal.size
    p_zero_lag = poisson_excess_p(counts[:, counts.shape[1] // 2], expected[:, -1])
    same = np.full(others.size, a)
    forward = _test_direction(counts, expected[:, :size], setup)
    backward = _test_direction(counts[:, ::-1], expected[:, size:-1], setup)
    rows = [
        PairTests(pre=pre, post=post, p_fast_reverse=other["p_fast"], p_zero_lag=p_zero_lag, **one)
        for pre, post, one, other in (
            (same, others, forward, backward),
            (others, same, backward, forward),
        )
    ]
    return PairTests(*(np.concatenate(values) for values in zip(*rows, strict=True)))


def _test_direction(
    counts: NDArray[np.int64], expected: NDArray[np.float64], setup: SynapticBins
) -> dict[str, Any]:
    """Return the fields of `PairTests` that differ between the two directions."""
    # counts (n, n_bins); expected (n, n_causal)
    causal = counts[:, setup.causal]
    excess = causal - expected
    best = np.stack([excess.argmax(axis=1), excess.argmin(axis=1)], axis=1)
    observed = np.take_along_axis(causal, best, axis=1)
    at_best = np.take_along_axis(expected, best, axis=1)
    centre = counts.shape[1] // 2
    beside_centre = setup.anticausal[setup.anticausal != centre]
    most = counts[:, setup.anticausal].max(axis=1)
    # a sorter that misses the second of two spikes at once makes a trough in the centre
    least = counts[:, beside_centre if beside_centre.size else setup.anticausal].min(axis=1)
    return {
        "lag_bins": setup.causal[best] - centre,
        "observed": observed,
        "expected": at_best,
        "p_fast": _two_tails(observed, at_best),
        "p_causal": _two_tails(observed, np.stack([most, least], axis=1)),
        "window_observed": causal.sum(axis=1),
        "window_expected": expected.sum(axis=1),
    }


def _two_tails(observed: NDArray[np.int64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(
        [
            poisson_excess_p(observed[:, EXCESS], expected[:, EXCESS]),
            poisson_deficit_p(observed[:, DEFICIT], expected[:, DEFICIT]),
        ],
        axis=1,
    )


def _take(tests: PairTests, rows: NDArray[np.integer]) -> PairTests:
    return PairTests(*(values[rows] for values in tests))


def _no_pairs() -> PairTests:
    """Return the results of no pairs."""
    whole, number = np.zeros(0, dtype=np.int64), np.zeros(0)
    two = np.zeros((0, 2))
    return PairTests(
        pre=whole,
        post=whole,
        lag_bins=two.astype(np.int64),
        observed=two.astype(np.int64),
        expected=two,
        p_fast=two,
        p_causal=two,
        p_fast_reverse=two,
        window_observed=whole,
        window_expected=number,
        p_zero_lag=number,
    )
