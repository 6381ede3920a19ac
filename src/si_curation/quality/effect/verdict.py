"""The verdict on one metric, by a stated rule, and its reason in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VERDICTS = ("stable", "shrinks", "grows", "vanishes", "too few units", "untested")


class Evidence(NamedTuple):
    """What the thresholds of one metric gave: arrays (J,), the first one of all units.

    Attributes
    ----------
    num_units : array of int
    effect, lower, upper : array of float64
        The effect and its interval.
    standardised : array of float64
        Difference to random removal in standard deviations.
    p_adjusted : array of float64
        P values against random removal, adjusted for all thresholds.
    """

    num_units: NDArray[np.int64]
    effect: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    standardised: NDArray[np.float64]
    p_adjusted: NDArray[np.float64]


def give_verdict(evidence: Evidence, null_value: float, alpha: float) -> tuple[str, str]:
    """Tell what stricter thresholds do to an effect.

    Parameters
    ----------
    evidence : Evidence
        Of at least two thresholds.
    null_value : float
        What the effect is where there is none.
    alpha : float

    Returns
    -------
    verdict : str
        - "stable": no threshold changes the effect more than random removal does (smallest
          adjusted P value at least `alpha`);
        - "grows" and "shrinks": one does; at the threshold where the change is largest in standard
          deviations the effect is farther from `null_value` than that of all units, or nearer;
        - "vanishes": it shrinks, and at the strictest threshold the interval excludes the effect of
          all units and reaches `null_value` or beyond.
    reason : str
        In words, with the numbers.
    """
    last = len(evidence.effect) - 1
    largest = int(np.abs(evidence.standardised).argmax())
    p = float(evidence.p_adjusted[1:].min())
    whole = float(evidence.effect[0])
    at_last = (
        f"{whole:.3g} with all {evidence.num_units[0]} units, {evidence.effect[last]:.3g} "
        f"[{evidence.lower[last]:.3g}, {evidence.upper[last]:.3g}] with the best "
        f"{evidence.num_units[last]}"
    )
    side = np.sign(whole - null_value) or 1.0
    # on an axis where the effect of all units is positive
    ends = sorted(side * (np.array([evidence.lower[last], evidence.upper[last]]) - null_value))
    size = side * (whole - null_value)
    may_be_null = not ends[0] > 0.0
    excludes_whole = ends[1] < size
    if p >= alpha:
        verdict, more = "stable", f"no more than random removal (p = {p:.2g})"
        began = evidence.lower[0] <= null_value <= evidence.upper[0]
        if began:
            more += f"; there is no clear effect to begin with, {null_value:g} is in its interval"
        elif may_be_null:
            more += "; the units left at the strictest threshold are too few to exclude that "
            more += "nothing is left"
    else:
        reached = evidence.effect[largest] - null_value
        more = f"beyond random removal (p = {p:.2g})"
        if abs(reached) > abs(size):
            verdict = "grows"
        elif may_be_null and excludes_whole:
            verdict = "vanishes"
            more += f", down to what cannot be told from {null_value:g}"
        else:
            verdict = "shrinks"
            if may_be_null:
                more += f"; whether it vanishes cannot be told, {null_value:g} and the effect of "
                more += "all units are both in the interval"
    return verdict, f"{at_last}: {more}"
