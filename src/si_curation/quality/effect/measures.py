"""How one number is made of a set of units: a mean, a median, or any function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.errors import ParameterError
from si_curation.kernels.effect_statistics import (
    shuffled_means,
    shuffled_medians,
    weighted_means,
    weighted_medians,
)
from si_curation.quality.effect.inputs import EffectInputs


class ArrayMeasure:
    """Mean or median of one number for each unit.

    `units` are positions (n of the metric,), `members` (J, n) the subsets, `counts` (R, n) and
    `orders` (R, n) as the kernels have them; results are (J,) and (R, J).
    """

    def __init__(self, values: NDArray[np.float64], statistic: str):
        self.values = values
        mean = statistic == "mean"
        self._one = np.mean if mean else np.median
        self._weighted = weighted_means if mean else weighted_medians
        self._shuffled = shuffled_means if mean else shuffled_medians

    def observe(self, units: NDArray, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the effect of each subset."""
        return np.array([self._one(self.values[units[member]]) for member in members])

    def resample(
        self, units: NDArray[np.int64], counts: NDArray[np.float64], members: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the effect of each subset in each resample."""
        return self._weighted(self.values[units], counts, members)

    def remove(
        self, units: NDArray[np.int64], orders: NDArray[np.int64], members: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the effect of as many units drawn at random."""
        return self._shuffled(self.values[units], orders, members)


class FunctionMeasure:
    """Any function of a set of units, called once for each set."""

    def __init__(
        self,
        call: Callable[[NDArray[np.int64]], float],
        values: NDArray[np.float64] | None,
        size: int,
    ):
        self._call = call
        every = np.arange(size)
        if not np.isfinite(self._ask(every)):
            raise ParameterError(
                f"the effect of all units is {self._ask(every)!r}, expected a finite number"
            )
        self.values = self._pseudo_values(every) if values is None else values

    def _ask(self, units: NDArray[np.int64]) -> float:
        result = self._call(units)
        if np.ndim(result) != 0:
            raise ParameterError(f"the effect function gave {result!r}, expected one number")
        try:
            return float(result)
        except (TypeError, ValueError):
            raise ParameterError(
                f"the effect function gave {result!r}, expected one number"
            ) from None

    def _pseudo_values(self, every: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the pseudo-value of each unit: n f(all) - (n - 1) f(all but it).

        For a mean it is the unit's value. Tukey's jackknife; Efron & Tibshirani 1993, chapter 11.
        """
        n = every.size
        whole = self._ask(every)
        without = np.array([self._ask(np.delete(every, i)) for i in range(n)]) if n > 1 else whole
        return n * whole - (n - 1) * np.broadcast_to(without, (n,))

    def observe(self, units: NDArray, members: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the effect of each subset."""
        return np.array([self._finite(units[member]) for member in members])

    def resample(
        self, units: NDArray[np.int64], counts: NDArray[np.float64], members: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the effect of each subset in each resample; NaN where the function gives none."""
        result = np.full((len(counts), len(members)), np.nan)
        for r, count in enumerate(counts.astype(np.int64)):
            for j, member in enumerate(members):
                drawn = np.repeat(units[member], count[member])
                if drawn.size:
                    result[r, j] = self._ask(drawn)
        return result

    def remove(
        self, units: NDArray[np.int64], orders: NDArray[np.int64], members: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the effect of as many units drawn at random."""
        return np.array(
            [[self._finite(units[order[member]]) for member in members] for order in orders]
        )

    def _finite(self, units: NDArray) -> float:
        value = self._ask(units)
        if not np.isfinite(value):
            raise ParameterError(
                f"the effect function gave {value!r} for {units.size} units; it must give a finite "
                "number for any set of min_units units or more, or min_units must be larger"
            )
        return value


def make_measure(inputs: EffectInputs, statistic: Any) -> ArrayMeasure | FunctionMeasure:
    """Return the measure of an effect.

    Raises
    ------
    ParameterError
        The statistic is not known, or a function gives no finite number.
    """
    values, function = inputs.values, inputs.function
    if function is not None:
        ids = np.empty(len(inputs.index), dtype=object)
        ids[:] = list(inputs.index)
        if inputs.index.nlevels == 1:
            ids = inputs.index.to_numpy()
        return FunctionMeasure(lambda units: function(ids[units]), None, ids.size)
    numbers: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if callable(statistic):
        return FunctionMeasure(lambda units: statistic(numbers[units]), numbers, numbers.size)
    return ArrayMeasure(numbers, statistic)
