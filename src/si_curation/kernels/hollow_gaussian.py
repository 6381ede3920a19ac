"""The slow baseline of a correlogram: what it would be without its fast features.

It is the convolution with a Gaussian whose centre is partly hollowed out, so that a sharp peak adds
little to its own baseline. Sources: Stark & Abeles, J. Neurosci.
Methods 179, 90 (2009); English et al., Neuron 96, 505 (2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from si_curation.errors import ParameterError
from si_curation.kernels.parallel import njit

KERNEL_REACH_SIGMAS = 3.0  # of the kernel on each side, as in the program of Stark & Abeles


def hollow_gaussian(sigma_bins: float, hollow_fraction: float = 0.6) -> NDArray[np.float64]:
    """Gaussian kernel with a partly hollow centre.

    Parameters
    ----------
    sigma_bins : float
        Standard deviation in bins.
    hollow_fraction : float in [0, 1]
        What is taken away from the centre bin: 0 leaves the Gaussian, 1 leaves the bin out.

    Returns
    -------
    array (2 h + 1,) float64
        Sum 1; h is 3 standard deviations, rounded to whole bins, at least 1.

    Raises
    ------
    ParameterError
        The standard deviation is not a positive number, or the fraction not within 0 and 1.

    Notes
    -----
    ``w(d) ~ exp(-d**2 / (2 sigma**2))``, with ``w(0)`` times ``1 - hollow_fraction``. Stark &
    Abeles 2009 found a fraction of 0.6 to be the best for a Gaussian. The program of these authors
    takes the width W of the jitter that the kernel stands for, and sigma is half of it: a W of 10
    ms is a sigma of 5 ms.

    Examples
    --------
    >>> hollow_gaussian(1.0, hollow_fraction=0.6).round(3)
    array([0.006, 0.071, 0.318, 0.21 , 0.318, 0.071, 0.006])
    """
    problems = []
    if not (np.isfinite(sigma_bins) and sigma_bins > 0):
        problems.append(f"sigma_bins is {sigma_bins!r}, expected a number above 0")
    if not 0.0 <= hollow_fraction <= 1.0:
        problems.append(f"hollow_fraction is {hollow_fraction!r}, expected 0 to 1")
    if problems:
        raise ParameterError("; ".join(problems))
    half = max(1, round(KERNEL_REACH_SIGMAS * sigma_bins))
    offsets = np.arange(-half, half + 1)
    kernel = np.exp(-0.5 * (offsets / sigma_bins) ** 2)
    kernel[half] *= 1.0 - hollow_fraction
    return kernel / kernel.sum()


def predictor_matrix(
    num_bins: int,
    kernel: ArrayLike,
    rows: ArrayLike | None = None,
    left_out: ArrayLike = (),
    widths: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Convolution with a kernel as a matrix, for `expected_counts`.

    Parameters
    ----------
    num_bins : int
        Of the correlogram.
    kernel : array (2 h + 1,)
        Weights; the centre is the bin itself. Not longer than the correlogram.
    rows : array (n_rows,) integer, optional
        Bins whose expectation is wanted; all by default.
    left_out : array of integer
        Bins that no expectation is made from, as those in which the sorter cannot see two spikes.
        The weights of the others are scaled up.
    widths : array (num_bins,), optional
        Lags in each bin, where they are not all the same: what is convolved is then the count per
        lag.

    Returns
    -------
    array (n_rows, num_bins) float64
        Rows sum to 1 where the widths are the same. NaN where all bins within reach are left out.

    Raises
    ------
    ParameterError
        The kernel has an even length or is longer than the correlogram.

    Notes
    -----
    Beyond its edges the correlogram goes on as its mirror image, edge bin included, as in the
    program of Stark & Abeles 2009.

    Examples
    --------
    >>> predictor_matrix(3, [0.25, 0.5, 0.25])
    array([[0.75, 0.25, 0.  ],
           [0.25, 0.5 , 0.25],
           [0.  , 0.25, 0.75]])
    """
    weights = np.asarray(kernel, dtype=np.float64)
    if weights.size % 2 == 0 or weights.size > num_bins:
        raise ParameterError(
            f"the kernel has {weights.size} bins, expected an odd number and at most the "
            f"{num_bins} of the correlogram: take a wider window or a smaller sigma"
        )
    half = weights.size // 2
    wanted = np.arange(num_bins) if rows is None else np.asarray(rows, dtype=np.int64)
    source = wanted[:, None] + np.arange(-half, half + 1)
    source = np.where(source < 0, -1 - source, source)
    source = np.where(source >= num_bins, 2 * num_bins - 1 - source, source)
    matrix = np.zeros((wanted.size, num_bins))
    np.add.at(matrix, (np.arange(wanted.size)[:, None], source), weights)
    dropped = np.asarray(left_out, dtype=np.int64)
    if dropped.size:
        matrix[:, dropped] = 0.0
        total = matrix.sum(axis=1, keepdims=True)
        matrix /= np.where(total > 0, total, np.nan)
    if widths is not None:
        lags = np.asarray(widths, dtype=np.float64)
        matrix *= lags[wanted][:, None] / lags
    return matrix


@njit
def _multiply(
    counts: NDArray[np.integer], columns: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    # counts (n, n_bins); columns (n_bins, n_rows); out (n, n_rows), zero
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            count = np.float64(counts[i, j])
            if count != 0.0:
                for row in range(columns.shape[1]):
                    out[i, row] += count * columns[j, row]


def expected_counts(
    counts: NDArray[np.integer], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Convolve correlograms: ``counts @ matrix.T``, in one thread and one order of summation.

    The result is the same to the bit however many correlograms there are and whatever else runs,
    which a product by a library of linear algebra does not promise.

    Parameters
    ----------
    counts : array (n_pairs, num_bins) integer
    matrix : array (n_rows, num_bins) float64
        From `predictor_matrix`.

    Returns
    -------
    array (n_pairs, n_rows) float64

    Examples
    --------
    >>> expected_counts(np.array([[0, 4, 0]]), predictor_matrix(3, [0.25, 0.5, 0.25]))
    array([[1., 2., 1.]])
    """
    out = np.zeros((counts.shape[0], matrix.shape[0]))
    _multiply(counts, np.ascontiguousarray(matrix.T), out)
    return out
