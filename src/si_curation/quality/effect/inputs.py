"""The inputs of `effect_vs_quality`: aligned by unit and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.checks import short_repr
from si_curation.errors import ParameterError
from si_curation.quality.effect.directions import Direction, resolve_directions

FEW_GROUPS = 6


@dataclass(eq=False)
class EffectInputs:
    """Everything by unit, in the order of `index`.

    Attributes
    ----------
    index : pandas.Index
        Unit ids, or (session, unit).
    values : array (n,) float64, or None
        Effect of each unit; None where the effect is a function.
    function : callable, or None
    metrics : pandas.DataFrame
    metric_names, covariates : list of str
        Columns to test, and columns to hold constant.
    directions : dict
    group_of_unit : array (n,) int64, or None
    notes : list of str
    """

    index: pd.Index
    values: NDArray[np.float64] | None
    function: Callable[[NDArray], float] | None
    metrics: pd.DataFrame
    metric_names: list[str]
    covariates: list[str]
    directions: dict[str, Direction]
    group_of_unit: NDArray[np.int64] | None
    notes: list[str] = field(default_factory=list)

    @property
    def num_groups(self) -> int:
        """Number of groups; 0 without."""
        return 0 if self.group_of_unit is None else int(self.group_of_unit.max()) + 1

    def groups_of(self, units: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the groups of some units, from 0 without gaps."""
        if self.group_of_unit is None:
            return None
        return np.unique(self.group_of_unit[units], return_inverse=True)[1].reshape(-1)

    def covariates_for(self, metric: str) -> list[str]:
        """Covariates of a metric: not itself."""
        return [name for name in self.covariates if name != metric]

    def covariate(self, name: str) -> NDArray[np.float64]:
        """Values of a covariate; absolute ones where these count."""
        return self.directions.get(name, Direction("higher")).values(self.metrics[name])


def gather_inputs(
    effect: Any,
    metrics: Any,
    metric_names: Sequence[str] | None,
    covariates: Sequence[str],
    groups: Any,
    directions: Mapping[str, str | Direction] | None,
) -> EffectInputs:
    """Line up effect, metrics and groups by unit.

    Raises
    ------
    ParameterError
        All problems at once.
    """
    table = resolve_directions(directions)
    problems = _problems(effect, metrics)
    if isinstance(metric_names, str) or isinstance(covariates, str):
        problems.append("metric_names and covariates are lists of names, not one name")
    if problems:
        raise ParameterError("; ".join(problems))
    notes: list[str] = []
    codes = _group_codes(groups, metrics, notes)
    names = _choose_metrics(metrics, metric_names, table, notes)
    held = _choose_covariates(metrics, covariates, notes)
    kept = np.ones(len(metrics), dtype=bool)
    values = None
    if not callable(effect):
        lined_up = effect.reindex(metrics.index)
        values = lined_up.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(values).any():
            raise ParameterError(f"the effect of {int(np.isinf(values).sum())} units is infinite")
        _note_missing(effect, metrics, values, notes)
        kept = ~np.isnan(values)
        values = values[kept]
    if codes is not None:
        codes = np.unique(codes[kept], return_inverse=True)[1].reshape(-1)
        count = int(codes.max(initial=-1)) + 1
        if count < FEW_GROUPS:
            notes.append(f"there are {count} groups: intervals of so few are too narrow")
    function = effect if callable(effect) else None
    chosen = metrics[kept]
    if len(chosen) == 0:
        raise ParameterError("no unit has both an effect and metrics; are the unit ids the same?")
    return EffectInputs(chosen.index, values, function, chosen, names, held, table, codes, notes)


def _problems(effect: Any, metrics: Any) -> list[str]:
    problems = []
    if not isinstance(metrics, pd.DataFrame):
        problems.append(f"metrics are {type(metrics).__name__}, expected a DataFrame")
    elif metrics.index.has_duplicates:
        problems.append(
            "metrics: a unit has two rows; with several sessions index by (session, unit)"
        )
    elif metrics.columns.has_duplicates:
        problems.append("metrics: a column is there twice")
    if isinstance(effect, pd.Series):
        if effect.index.has_duplicates:
            problems.append("effect: a unit has two values")
        if not pd.api.types.is_numeric_dtype(effect.dtype):
            problems.append(f"the effect holds {effect.dtype}, expected numbers")
    elif not callable(effect):
        problems.append(f"the effect is {type(effect).__name__}, expected a Series or a function")
    return problems


def _note_missing(
    effect: pd.Series, metrics: pd.DataFrame, values: NDArray, notes: list[str]
) -> None:
    elsewhere = int((~effect.index.isin(metrics.index)).sum())
    if elsewhere:
        notes.append(f"{elsewhere} units have an effect and no metrics; left out")
    missing = int(np.isnan(values).sum())
    if missing:
        notes.append(f"{missing} units have metrics and no effect; left out")


def _choose_metrics(
    metrics: pd.DataFrame,
    asked: Sequence[str] | None,
    table: Mapping[str, Direction],
    notes: list[str],
) -> list[str]:
    if asked is not None:
        names = list(dict.fromkeys(asked))
        problems = [f"{n!r} is no column" for n in names if n not in metrics.columns]
        for name in (n for n in names if n in metrics.columns):
            if not pd.api.types.is_numeric_dtype(metrics[name].dtype):
                problems.append(f"{name!r} holds {metrics[name].dtype}, expected numbers")
            elif name not in table:
                problems.append(
                    f"{name!r} has no direction; give directions={{{name!r}: 'higher'}}"
                )
        if problems or not names:
            problems = problems or ["no metrics are asked"]
            raise ParameterError("metrics: " + "; ".join(problems))
        return names
    numeric = [n for n in metrics.columns if pd.api.types.is_numeric_dtype(metrics[n].dtype)]
    unknown = [n for n in numeric if n not in table]
    if unknown:
        notes.append(f"not tested, because they have no direction: {', '.join(map(str, unknown))}")
    names = [n for n in numeric if n in table]
    if not names:
        raise ParameterError(
            f"metrics: no column of {list(metrics.columns)} has a direction; give directions="
        )
    return names


def _choose_covariates(metrics: pd.DataFrame, asked: Sequence[str], notes: list[str]) -> list[str]:
    there = [
        name
        for name in dict.fromkeys(asked)
        if name in metrics.columns
        and pd.api.types.is_numeric_dtype(metrics[name].dtype)
        and metrics[name].notna().any()
    ]
    missing = [name for name in asked if name not in there]
    if missing:
        notes.append(f"covariates that are missing and not held constant: {', '.join(missing)}")
    return there


def _group_codes(groups: Any, metrics: pd.DataFrame, notes: list[str]) -> NDArray[np.int64] | None:
    if groups is None:
        if isinstance(metrics.index, pd.MultiIndex):
            notes.append(
                f"units of several sessions are taken for independent; groups="
                f"{metrics.index.names[0] or 'level 0 of the index'!r} would draw sessions first"
            )
        return None
    if isinstance(groups, str):
        if groups in metrics.index.names:
            values = metrics.index.get_level_values(groups)
        elif groups in metrics.columns:
            values = pd.Index(metrics[groups])
        else:
            raise ParameterError(
                f"groups is {short_repr(groups)}, which is neither an index level nor a column"
            )
    elif isinstance(groups, pd.Series):
        values = pd.Index(groups.reindex(metrics.index))
    else:
        values = pd.Index(list(groups))
    if len(values) != len(metrics):
        raise ParameterError(f"groups: {len(values)} values for {len(metrics)} units")
    codes = pd.factorize(values)[0]
    if (codes < 0).any():
        raise ParameterError(f"groups: {int((codes < 0).sum())} units have none")
    if codes.max(initial=0) == 0:
        notes.append("there is one group; units are drawn by themselves")
        return None
    return codes.astype(np.int64)
