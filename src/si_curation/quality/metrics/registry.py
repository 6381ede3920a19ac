"""All metrics: their columns, parameters and descriptions, and who computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.analyzer_extension_core import BaseMetric

from si_curation import variables
from si_curation.checks import did_you_mean, unit_indices_of
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.quality.metrics import contamination, identity, isolation, noise, shape, stability
from si_curation.quality.metrics.result import MetricDescription, MetricValues, missing_values
from si_curation.quality.metrics.table import join_columns, order_columns
from si_curation.quality.metrics.trains import TrainsOfUnits
from si_curation.quality.metrics.windows import PeriodsByUnit
from si_curation.variables import Explanation

_FEATURES = {"spikes": "principal_components", "feature_channels": "file"}
_ISOLATION: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "mahalanobis": (("isolation_distance", "l_ratio"), _FEATURES),
    "d_prime": (("d_prime",), _FEATURES),
    "nearest_neighbor": (
        ("nn_hit_rate", "nn_miss_rate"),
        {**_FEATURES, "max_spikes": 10_000, "n_neighbors": 5},
    ),
    "silhouette": (("silhouette",), _FEATURES),
}


class Metric(NamedTuple):
    """One metric: some columns that are computed together.

    Attributes
    ----------
    columns : tuple of str
    params : dict
        Defaults.
    group : {"stability", "identity", "isolation", "contamination", "shape", "noise"}
    """

    columns: tuple[str, ...]
    params: dict[str, Any]
    group: str


def _all_metrics() -> dict[str, Metric]:
    steady = {
        name: Metric(columns, stability.DEFAULT_PARAMS[name], "stability")
        for name, columns in stability.METRICS.items()
    }
    counts = {name: steady.pop(name) for name in ("num_spikes", "firing_rate")}
    place = {name: Metric(its, {}, "identity") for name, its in identity.METRICS.items()}
    apart = {name: Metric(its, p, "isolation") for name, (its, p) in _ISOLATION.items()}
    impure = {
        name: Metric(columns, contamination.DEFAULT_PARAMS[name], "contamination")
        for name, columns in contamination.METRICS.items()
    }
    shapes = {
        name: Metric(columns, shape.DEFAULT_PARAMS[name], "shape")
        for name, columns in shape.METRICS.items()
    }
    noises = {name: Metric(its, {}, "noise") for name, its in noise.METRICS.items()}
    return {**counts, **place, **steady, **apart, **impure, **shapes, **noises}


METRICS: dict[str, Metric] = _all_metrics()
#: What every column is, in which unit, and after whom.
METRIC_DESCRIPTIONS: dict[str, MetricDescription] = {
    name: MetricDescription(one.description, one.unit, one.source)
    for name, one in variables.METRICS.items()
}
_TEXT_COLUMNS = ("KSLabel",)


def spikeinterface_metrics() -> list[type[BaseMetric]]:
    """Return all metrics as SpikeInterface lists them."""
    return [
        type(
            f"_{name}",
            (BaseMetric,),
            {
                "metric_name": name,
                "metric_params": dict(metric.params),
                "metric_columns": {c: str if c in _TEXT_COLUMNS else float for c in metric.columns},
                "metric_descriptions": {c: str(METRIC_DESCRIPTIONS[c]) for c in metric.columns},
                "supports_periods": metric.group == "stability",
            },
        )
        for name, metric in METRICS.items()
    ]


def _nearest(name: Any) -> str:
    """Return which metric was meant by a name that is misspelt, or is that of a column."""
    of_columns = {column: metric for metric, one in METRICS.items() for column in one.columns}
    if name in of_columns:
        return f" (a column of that name is of the metric {of_columns[name]!r})"
    return did_you_mean(name, [*METRICS, *of_columns])


def columns_of(metric_names: Sequence[str]) -> list[str]:
    """Columns of some metrics, in the order of the table."""
    return [c for name, metric in METRICS.items() if name in metric_names for c in metric.columns]


def complete_params(
    metric_names: Sequence[str], given: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, dict[str, Any]]:
    """Check the names and parameters of metrics, and fill up with defaults.

    Raises
    ------
    ParameterError
        All problems at once.
    """
    given = dict(given or {})
    problems = [
        f"there is no metric {name!r}{_nearest(name)}, expected some of {', '.join(METRICS)}"
        for name in dict.fromkeys([*metric_names, *given])
        if name not in METRICS
    ]
    problems += [
        f"{name} has no parameter {key!r}, expected some of {', '.join(METRICS[name].params)}"
        for name, its in given.items()
        if name in METRICS
        for key in its
        if key not in METRICS[name].params
    ]
    if problems:
        raise ParameterError("; ".join(problems))
    stability.complete_params({n: p for n, p in given.items() if METRICS[n].group == "stability"})
    return {name: {**METRICS[name].params, **given.get(name, {})} for name in metric_names}


def compute_metrics(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: NDArray,
    metric_params: Mapping[str, Mapping[str, Any]],
    periods: PeriodsByUnit | None = None,
) -> MetricValues:
    """Compute metrics of some units.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_ids : array (n,)
    metric_params : mapping
        {metric: its parameters}: these metrics are computed.
    periods : dict, optional
        As `normalise_periods` returns them; for the metrics of stability.

    Returns
    -------
    MetricValues
        A group whose data are not there is NaN, and its reason says what is missing.
    """
    parts = []
    # for some units their spikes are looked up
    is_most = 2 * len(unit_ids) >= len(sorting_analyzer.unit_ids)
    trains = TrainsOfUnits(sorting_analyzer) if is_most else None
    for group in dict.fromkeys(METRICS[name].group for name in metric_params):
        params = {n: p for n, p in metric_params.items() if METRICS[n].group == group}
        columns = columns_of(list(params))
        if group == "identity":
            parts.append(identity.compute_identity(sorting_analyzer, unit_ids, columns))
        elif group == "stability":
            parts.append(
                stability.compute_stability(
                    sorting_analyzer,
                    unit_ids,
                    columns,
                    metric_params=params,
                    periods=periods,
                    trains=trains,
                )
            )
        elif group == "shape":
            parts.append(
                shape.compute_shape(sorting_analyzer, unit_ids, columns, metric_params=params)
            )
        elif group == "noise":
            parts.append(noise.compute_noise(sorting_analyzer, unit_ids, columns))
        elif group == "contamination":
            parts.append(
                contamination.compute_contamination(
                    sorting_analyzer, unit_ids, columns, metric_params=params, trains=trains
                )
            )
        else:
            parts.append(_isolation(sorting_analyzer, unit_ids, params))
    return order_columns(join_columns(*parts), columns_of(list(metric_params)))


def _isolation(
    analyzer: SortingAnalyzer,
    unit_ids: NDArray,
    metric_params: Mapping[str, Mapping[str, Any]],
) -> MetricValues:
    """Compute metrics with the same features together: these are gathered once."""
    parts = []
    for features in dict.fromkeys(_features_of(params) for params in metric_params.values()):
        names = [n for n, params in metric_params.items() if _features_of(params) == features]
        params = {key: value for name in names for key, value in metric_params[name].items()}
        columns = columns_of(names)
        try:
            part = isolation.compute_isolation(analyzer, unit_ids, columns, **params)
        except (MissingDataError, FolderNotFoundError, PhyFolderError) as fault:
            reason = Explanation("missing_data", error=str(fault))
            part = missing_values(columns, len(unit_ids), reason)
        else:
            from_file = features != ("principal_components", "file")
            source = "pc_features.npy" if from_file else "principal_components"
            part = part._replace(sources=dict.fromkeys(columns, source))
        parts.append(part)
    return join_columns(*parts)


def _features_of(params: Mapping[str, Any]) -> tuple[Any, Any]:
    return params["spikes"], params["feature_channels"]


def units_with_new_neighbours(
    before: SortingAnalyzer,
    after: SortingAnalyzer,
    gone: NDArray,
    new: NDArray,
    metric_params: Mapping[str, Mapping[str, Any]],
) -> NDArray:
    """Return the units whose isolation changes when other units are merged or split.

    Those that have the main channel of a unit that is gone or new on their channels; all units
    where the analyzer is dense, or features are put on other channels.

    Parameters
    ----------
    before, after : SortingAnalyzer
    gone, new : array
        Ids of units, in `before` and in `after`.
    metric_params : mapping
        Parameters of the metrics.

    Returns
    -------
    array
        Ids of units of `after`, the new ones too.
    """
    own = [p for name, p in metric_params.items() if METRICS[name].group == "isolation"]
    repaired = any(p["feature_channels"] != "file" for p in own)
    if repaired or before.sparsity is None or after.sparsity is None:
        return after.unit_ids
    channels = [
        np.asarray(analyzer.get_main_channels(outputs="index"))[
            unit_indices_of(analyzer, units, may_repeat=True)
        ]
        for analyzer, units in ((before, gone), (after, new))
    ]
    near = after.sparsity.mask[:, np.concatenate(channels).astype(np.int64)].any(axis=1)
    return after.unit_ids[near | np.isin(after.unit_ids, new)]
