"""The verdict on one metric, by a stated rule, and its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from si_curation.variables import Explanation, explanations_text


class Evidence(NamedTuple):
    """The results at the thresholds of one metric: arrays (J,), the first one of all units.

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


def judge_effect(
    evidence: Evidence, null_value: float, alpha: float
) -> tuple[str, list[Explanation]]:
    """Judge what stricter thresholds do to an effect.

    Parameters
    ----------
    evidence : Evidence
        Of at least two thresholds.
    null_value : float
        The effect where there is none.
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
    reasons : list of Explanation
        The effects first, then how it was judged.
    """
    last = len(evidence.effect) - 1
    largest = int(np.abs(evidence.standardised).argmax())
    p = float(evidence.p_adjusted[1:].min())
    whole = float(evidence.effect[0])
    reasons = [
        Explanation(
            "effect_at_strictest",
            whole=whole,
            num_units=int(evidence.num_units[0]),
            strictest=float(evidence.effect[last]),
            lower=float(evidence.lower[last]),
            upper=float(evidence.upper[last]),
            num_left=int(evidence.num_units[last]),
        )
    ]
    side = np.sign(whole - null_value) or 1.0
    # on an axis where the effect of all units is positive
    ends = sorted(side * (np.array([evidence.lower[last], evidence.upper[last]]) - null_value))
    size = side * (whole - null_value)
    may_be_null = not ends[0] > 0.0
    excludes_whole = ends[1] < size
    if p >= alpha:
        reasons.append(Explanation("effect_no_more_than_random", p=p))
        if evidence.lower[0] <= null_value <= evidence.upper[0]:
            reasons.append(Explanation("effect_unclear_to_begin_with", null_value=null_value))
        elif may_be_null:
            reasons.append(Explanation("effect_too_few_left"))
        return "stable", reasons
    reasons.append(Explanation("effect_beyond_random", p=p))
    if abs(evidence.effect[largest] - null_value) > abs(size):
        return "grows", reasons
    if may_be_null and excludes_whole:
        reasons.append(Explanation("effect_down_to_null", null_value=null_value))
        return "vanishes", reasons
    if may_be_null:
        reasons.append(Explanation("effect_may_vanish", null_value=null_value))
    return "shrinks", reasons


def verdict_text(reasons: Sequence[Explanation]) -> str:
    """Write the reasons of a verdict: the effects, and after a colon the rest."""
    first, *rest = reasons
    return f"{first}: {explanations_text(rest)}" if rest else str(first)
