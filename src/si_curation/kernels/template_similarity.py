"""Similarity of templates at their best lag, and of units that are made of several templates.

The cosine of two templates that are shifted against each other is a cross-correlation, summed over
channels: for all lags at once it is a product of spectra. Templates are local, so they are sorted
by where they are and taken in blocks; each block is multiplied on its own channels alone, with the
templates that have signal there.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from si_curation.errors import ParameterError
from si_curation.kernels.parallel import blocks, njit, run_blocks

# channels that hold less than this share of a template's energy together are taken as silent:
# no cosine changes by more than 2e-6, about the rounding of float32
NEGLIGIBLE_ENERGY = 1e-12
_TINY = 1e-15
_TEMPLATES_PER_BLOCK = 32
_ROWS_PER_BLOCK = 1 << 12
_ROWS_OF_UNITS = 1 << 10
_UNITS_OF_PART = 32


@njit
def _largest_bits(bits: NDArray[np.uint32], out: NDArray[np.uint32]) -> None:
    # bits (n, n_values) of floats: without the sign they have the order of the sizes, NaN on top
    for i in range(bits.shape[0]):
        largest = np.uint32(0)
        for j in range(bits.shape[1]):
            largest = max(largest, np.uint32(bits[i, j] & np.uint32(0x7FFFFFFF)))
        out[i] = largest


@njit
def _drop_less(
    rows: NDArray[np.float32], least: NDArray[np.float32], out: NDArray[np.float32]
) -> None:  # rows and out (n, n_values), least (n,)
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            value = rows[i, j]
            out[i, j] = np.float32(0) if abs(value) < least[i] else value


def without_tiny_values(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows with 0 for what is less than 1e-15 of the largest value of a row.

    Products of tiny numbers are denormal, and a matrix product of those takes fifty times as long.

    Parameters
    ----------
    rows : array (n, n_values) float32

    Returns
    -------
    array (n, n_values) float32

    Examples
    --------
    >>> without_tiny_values(np.array([[4.0, 1e-20], [1e-20, 0.0]], dtype=np.float32))
    array([[4.e+00, 0.e+00],
           [1.e-20, 0.e+00]], dtype=float32)
    """
    rows = np.ascontiguousarray(rows)
    largest, out = np.zeros(len(rows), dtype=np.uint32), np.empty_like(rows)
    bits, pieces = rows.view(np.uint32), blocks(len(rows), 16)
    run_blocks(lambda b: _largest_bits(bits[b], largest[b]), pieces)
    least = np.float32(1e-15) * largest.view(np.float32)
    run_blocks(lambda b: _drop_less(rows[b], least[b], out[b]), pieces)
    return out


def lagged_cosine_similarity(
    templates: NDArray[np.floating], max_lag: int | None = None
) -> NDArray[np.float32]:
    """Return the cosine similarity of all pairs of templates at the lag at which it is largest.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels) floating
        NaN counts as 0.
    max_lag : int, optional
        Largest shift in samples, in both directions; all shifts with an overlap by default.

    Returns
    -------
    array (n_templates, n_templates) float32
        Symmetric, -1 to 1; 1 on the diagonal. Templates without signal have 0 with all, and with
        themselves.

    Raises
    ------
    ParameterError
        `max_lag` is negative.

    Notes
    -----
    ``max over l of sum over t, c of a[t, c] b[t + l, c] / (|a| |b|)``, the norms being those of the
    whole templates, so that a shift out of the window lowers the similarity. This is how Kilosort
    makes ``similar_templates.npy`` (``CCG.similarity`` of Kilosort 4, over all lags, of whitened
    templates). The sum over all channels is that over the union of the channels of both, since a
    template is zero on the others. SpikeInterface's ``template_similarity`` with ``max_lag_ms``
    takes the norms of the parts that overlap instead.

    Examples
    --------
    >>> early, late = np.zeros((2, 5, 1))
    >>> early[1], late[3] = 2.0, 1.0
    >>> lagged_cosine_similarity(np.stack([early, late]), max_lag=2)[0, 1]
    np.float32(1.0)
    >>> lagged_cosine_similarity(np.stack([early, late]), max_lag=1)[0, 1]
    np.float32(0.0)
    """
    from scipy import fft  # here: few need it, and it takes as long to import as scipy.sparse

    num_templates, num_samples, _ = templates.shape
    longest = max(num_samples - 1, 0)
    if max_lag is not None and max_lag < 0:
        raise ParameterError(f"max_lag is {max_lag}, expected 0 or more samples")
    lag = longest if max_lag is None else min(int(max_lag), longest)
    unit = _normalized(templates)
    energy = np.einsum("ktc,ktc->kc", unit, unit, dtype=np.float64)
    has_signal = energy.any(axis=1)
    out = np.zeros((num_templates, num_templates), dtype=np.float32)
    order = np.flatnonzero(has_signal)
    if order.size == 0:
        return out
    channels = np.arange(energy.shape[1])
    order = order[np.argsort(energy[order] @ channels, kind="stable")]
    support = _support(energy)
    size = fft.next_fast_len(num_samples + lag, real=True)
    # axes: (frequencies, templates, channels)
    spectra = np.ascontiguousarray(fft.rfft(unit[order], size, axis=1).transpose(1, 0, 2))
    support = support[order]

    # one block after the other: the products run on the threads of the linear algebra library
    for piece in blocks(order.size, _TEMPLATES_PER_BLOCK):
        used = np.flatnonzero(support[piece].any(axis=0))
        others = piece.start + np.flatnonzero(support[piece.start :][:, used].any(axis=1))
        mine = spectra[:, piece][:, :, used]
        theirs = spectra[:, others[:, None], used[None, :]]
        # axes: (frequencies, block, others)
        product = np.matmul(mine.conj(), theirs.transpose(0, 2, 1))
        cosine = fft.irfft(product, size, axis=0, workers=numba.get_num_threads())
        best = cosine[: lag + 1].max(axis=0)
        if lag > 0:
            np.maximum(best, cosine[size - lag :].max(axis=0), out=best)
        rows = order[piece.start : piece.stop]
        out[rows[:, None], order[others][None, :]] = best
        out[order[others][:, None], rows[None, :]] = best.T
    # pairs within a block are multiplied in both orders, which may differ in the last bit
    out = np.clip(np.maximum(out, out.T), -1.0, 1.0)
    out[order, order] = 1.0
    return out


def _normalized(templates: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return templates of norm 1, or 0; what is not finite is 0."""
    finite = np.nan_to_num(templates, nan=0.0, posinf=0.0, neginf=0.0)
    # the largest value first, so that squares neither overflow nor vanish
    peak = np.abs(finite).max(axis=(1, 2), initial=0.0).astype(np.float64)
    scaled = finite / np.where(peak > 0, peak, 1.0)[:, None, None]
    norm = np.sqrt(np.einsum("ktc,ktc->k", scaled, scaled, dtype=np.float64))
    unit = (scaled / np.where(norm > 0, norm, 1.0)[:, None, None]).astype(np.float32)
    # products of two smaller numbers are not normal numbers of float32, which are very slow
    unit[np.abs(unit) < _TINY] = 0.0
    return unit


def _support(energy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the channels that matter: energy is (n_templates, n_channels), 1 in all."""
    order = np.argsort(energy, axis=1)
    cumulative = np.cumsum(np.take_along_axis(energy, order, axis=1), axis=1)
    support = np.zeros(energy.shape, dtype=bool)
    np.put_along_axis(support, order, cumulative > NEGLIGIBLE_ENERGY, axis=1)
    return support


def similarity_of_groups(
    similarity: NDArray[np.floating], counts: sparse.csr_array
) -> NDArray[np.float32]:
    """Return the similarity of groups of templates: that of the two most similar templates of both.

    Parameters
    ----------
    similarity : array (n_templates, n_templates) floating
        NaN counts only where all values are.
    counts : CSR array (n_units, n_templates)
        Spikes of each unit by template, without explicit zeros.

    Returns
    -------
    array (n_units, n_units) float32
        ``max of similarity[i, j]`` over the templates i of the row's and j of the column's unit;
        NaN for a unit without spikes.

    Notes
    -----
    Source: phy 2.1.0, ``TemplateController.template_similarity``.

    Examples
    --------
    >>> similarity = np.array([[1.0, 0.2, 0.3], [0.2, 1.0, 0.9], [0.3, 0.9, 1.0]])
    >>> counts = sparse.csr_array(np.array([[5, 2, 0], [0, 0, 4]]))
    >>> similarity_of_groups(similarity, counts)
    array([[1. , 0.9],
           [0.9, 1. ]], dtype=float32)
    """
    num_units = counts.shape[0]
    out = np.full((num_units, num_units), np.nan, dtype=np.float32)
    used = np.flatnonzero(np.diff(counts.indptr))
    if used.size == 0:
        return out
    starts = counts.indptr[:-1][used].astype(np.int64)
    ends = counts.indptr[1:][used].astype(np.int64)
    templates = counts.indices
    # as many units at a time as have so many templates in all
    pieces = np.flatnonzero(np.diff(ends // _ROWS_PER_BLOCK)) + 1
    for some in np.split(np.arange(used.size), pieces):
        first, last = starts[some[0]], ends[some[-1]]
        rows = np.asarray(similarity[templates[first:last]], dtype=np.float32)
        by_unit = np.fmax.reduceat(rows, starts[some] - first, axis=0)  # (units, templates)
        out[np.ix_(used[some], used)] = np.fmax.reduceat(by_unit[:, templates], starts, axis=1)
    return out


def most_similar(
    similarity: NDArray[np.floating], units: NDArray[np.integer], num_others: int
) -> tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.int64]]:
    """Return for each of some units the units that are most similar to it, the best first.

    Parameters
    ----------
    similarity : array (n_units, n_units)
        Where it is not finite a unit is no other one's.
    units : array (n,) integer
        Rows of it.
    num_others : int
        At most so many for each.

    Returns
    -------
    others : array (n_found,) int64
        Those of one unit after those of the other. Of equal ones the first units are first.
    values : array (n_found,)
    start : array (n + 1,) int64
        Where those of each unit begin.

    Examples
    --------
    >>> table = np.array([[1, 0.5, 0.9], [0.5, 1, np.nan], [0.9, np.nan, 1]])
    >>> most_similar(table, np.array([0, 1]), 2)
    (array([2, 1, 0]), array([0.9, 0.5, 0.5]), array([0, 2, 3]))
    """
    num_units = similarity.shape[1]
    most = min(num_others, num_units)
    # the largest of each part of a row: the most similar units are not below the least of the best
    starts = np.arange(0, num_units, _UNITS_OF_PART if num_units > most * _UNITS_OF_PART else 1)
    last = starts.size - max(most, 1)
    others, values, counts = [], [], [np.zeros(1, dtype=np.int64)]
    for piece in blocks(len(units), _ROWS_OF_UNITS):
        rows = similarity[units[piece]]  # a copy
        rows[np.arange(len(rows)), units[piece]] = np.nan
        rows[~np.isfinite(rows)] = -np.inf
        # as many parts have a unit at least as similar as this
        largest = np.maximum.reduceat(rows, starts, axis=1)
        least = np.partition(largest, last, axis=1)[:, last]
        row, other = np.nonzero((rows >= least[:, None]) & (rows > -np.inf))
        value = rows[row, other]
        order = np.lexsort((other, -value, row))
        row, other, value = row[order], other[order], value[order]
        count = np.bincount(row, minlength=len(rows))
        rank = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
        keep = rank < most
        others.append(other[keep])
        values.append(value[keep])
        counts.append(np.minimum(count, most))
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=similarity.dtype)
    return (
        np.concatenate([nothing[0], *others]),
        np.concatenate([nothing[1], *values]),
        np.cumsum(np.concatenate(counts)),
    )
