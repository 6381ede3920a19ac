"""What values a model saw: quantiles of each column, to scale values and to know strange ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_KNOTS = 33
# of the values of a column; what is beyond was seen so rarely that nothing was learnt of it
_RARE = 0.005
# a column that is known of nearly all units, and not of this one, is strange as well
_NEARLY_ALWAYS = 0.995
#: A session is unlike those that were seen where half of its units are among the outer twentieths
#: in more than this share of the columns.
MOST_SHIFTED = 0.25
MIN_UNITS_OF_SESSION = 10


class Scales(NamedTuple):
    """Quantiles of columns.

    Attributes
    ----------
    knots : array (n_columns, NUM_KNOTS) float64
        Quantiles at equal steps from 0 to 1.
    limits : array (n_columns, 4) float64
        The quantiles 0.005, 0.05, 0.95 and 0.995.
    known : array (n_columns,) float64
        Share of the units of which the value is known.
    """

    knots: NDArray[np.float64]
    limits: NDArray[np.float64]
    known: NDArray[np.float64]


def measure_scales(values: NDArray[np.float64]) -> Scales:
    """Measure the quantiles of each column, NaN left out."""
    num_columns = values.shape[1]
    knots, limits = np.zeros((num_columns, NUM_KNOTS)), np.zeros((num_columns, 4))
    for column, of in enumerate(values.T):
        of = of[~np.isnan(of)]
        if len(of):
            knots[column] = np.quantile(of, np.linspace(0, 1, NUM_KNOTS))
            limits[column] = np.quantile(of, [_RARE, 0.05, 0.95, 1 - _RARE])
    return Scales(knots, limits, np.mean(~np.isnan(values), axis=0))


def scaled(scales: Scales, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the place of each value among those that were seen, -1.7 to 1.7; 0 for NaN.

    The variance of each column is about 1.
    """
    out = np.zeros(values.shape)
    places = np.linspace(0, 1, NUM_KNOTS)
    for column, of in enumerate(values.T):
        knots, first = np.unique(scales.knots[column], return_index=True)
        if len(knots) < 2:
            continue
        last = np.append(first[1:], NUM_KNOTS) - 1
        out[:, column] = np.interp(of, knots, (places[first] + places[last]) / 2) * 2 - 1
    out[np.isnan(values)] = 0
    return out * 1.7


def strange_values(scales: Scales, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are outside of what was seen of nearly all units."""
    low, high = scales.limits[:, 0], scales.limits[:, 3]
    missing = np.isnan(values) & (scales.known >= _NEARLY_ALWAYS)
    return (values < low) | (values > high) | missing


def shifted_columns(scales: Scales, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the columns of a session of which half are in the outer twentieths, or not known."""
    if len(values) < MIN_UNITS_OF_SESSION:
        return np.zeros(values.shape[1], dtype=bool)
    low = np.mean(values < scales.limits[:, 1], axis=0)
    high = np.mean(values > scales.limits[:, 2], axis=0)
    missing = np.mean(np.isnan(values), axis=0)
    rarely = (scales.known >= 0.9) & (missing > 0.5)
    return (low > 0.5) | (high > 0.5) | rarely
