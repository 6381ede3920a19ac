"""Extension `curation_metrics`: what is known of each unit, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer
from spikeinterface.core.analyzer_extension_core import BaseMetricExtension

from si_curation._spikeinterface import (
    extension_function,
    loaded_extensions,
    register_extension,
    segment_samples_of,
)
from si_curation.checks import Checks, unit_indices_of
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.quality.metrics.registry import (
    METRIC_DESCRIPTIONS,
    METRICS,
    columns_of,
    complete_params,
    compute_metrics,
    spikeinterface_metrics,
    units_with_new_neighbours,
)
from si_curation.quality.metrics.result import MetricDescription, MetricValues
from si_curation.quality.metrics.stability import compute_stability
from si_curation.quality.metrics.table import (
    Windows,
    empty_like,
    join_columns,
    order_columns,
    pack,
    put_units,
    take_units,
    to_frame,
    to_long_frame,
    unpack,
)
from si_curation.quality.metrics.windows import (
    PeriodsByUnit,
    normalise_periods,
    windows_of,
)
from si_curation.reading.sessions import periods_in_span


class CurationMetrics(UnitsExtension, BaseMetricExtension):
    """Quality metrics of units, from what the sorter wrote or the analyzer's extensions.

    Six groups: *identity* (phy's columns, templates, the sorter's own label), *stability*
    (presence, firing range, amplitudes, drift), *isolation* (in the space of principal components),
    *contamination* (refractory violations), *shape* (of the templates: those of SpikeInterface's
    ``template_metrics``) and *noise* (of the main channel, from the sorter's features). Columns
    have SpikeInterface's names, and values (see `compute_stability`, `compute_isolation`,
    `compute_contamination`, `compute_shape` for the few differences), where it has the metric. No
    recording is needed. A value is missing only where it cannot be told;
    ``get_data(reasons=True)`` says why. ``metric_descriptions`` says what each column is.

    After a merge or a split only units whose inputs changed are computed again: the new ones, and
    for isolation those that had or have one of them as a neighbour.

    Parameters
    ----------
    metric_names : list of str, optional
        All by default; `get_available_metric_names` lists them.
    metric_params : dict, optional
        {metric: {parameter: value}}; `get_default_metric_params` lists them.
    delete_existing_metrics : bool, default: False
        Otherwise metrics that are there and not asked for are kept.
    periods : array, optional
        SpikeInterface's periods of units (``unit_period_dtype``, or four columns): counts, rates
        and the metrics of stability are of these parts of the recording alone.
    window_s : float, optional
        Compute those metrics in windows of so many seconds too: ``get_data(windows=True)``. With
        `periods`, on what lies in both.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id. Numbers are float64, NaN where missing; ``num_spikes`` int64; ids of
        templates and channels, shanks and ``num_templates`` pandas' Int64, NA where missing (str
        where channels or shanks have names).
        ``get_data(reasons=True)``: the same table of texts, "" where the value is told.
        ``get_data(windows=True)``: a long table with ``unit_id``, ``segment_index``,
        ``window_start_s``, ``window_stop_s`` and the columns that depend on time.

    Raises
    ------
    ParameterError
        A name or parameter cannot be used.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> metrics = analyzer.compute("curation_metrics", metric_names=["num_spikes", "template"])
    >>> metrics.get_data().loc[13].tolist()
    [1330.0, 1.0, 0.4699248120300752, 3.0]
    >>> metrics.metric_descriptions["template_purity"].unit
    '1'
    """

    extension_name = "curation_metrics"
    outputs = ("dataframe",)
    depend_on: ClassVar[list[str]] = []
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = False
    metric_list = spikeinterface_metrics()

    @classmethod
    def get_optional_dependencies(cls, **params: Any) -> list[str]:
        """Come after what the metrics are computed from."""
        return [
            "templates",
            "template_assignment",
            "spike_amplitudes",
            "amplitude_scalings",
            "spike_locations",
            "principal_components",
            "spike_waveforms",
        ]

    def set_params(self, save: bool = True, **params: Any) -> None:
        """Set the parameters; metrics that are there already can be kept."""
        known = loaded_extensions(self.sorting_analyzer).get(self.extension_name)
        self._known = None
        if isinstance(known, CurationMetrics):
            self._known = known.unpack_all()
        super().set_params(save=save, **params)

    def get_values(self) -> MetricValues:
        """Return the metrics of all units with the reasons of missing values."""
        return unpack(self.data)[0] if self.data else MetricValues({}, {}, {})

    def unpack_all(self) -> tuple[dict[str, Any], MetricValues, Windows | None] | None:
        """Return parameters, metrics and metrics in windows; None before they are computed."""
        return (dict(self.params), *unpack(self.data)) if self.data else None

    def _set_params(
        self,
        metric_names: Sequence[str] | None = None,
        metric_params: Mapping[str, Mapping[str, Any]] | None = None,
        delete_existing_metrics: bool = False,
        periods: Any = None,
        window_s: float | None = None,
    ) -> dict[str, Any]:
        checks = Checks.of_call(CurationMetrics._set_params, locals())
        checks.number("window_s", window_s, above=0, optional=True)
        checks.finish()
        names = list(METRICS) if metric_names is None else list(metric_names)
        analyzer = self.sorting_analyzer
        # parameters of other metrics are checked, too
        given = dict(metric_params or {})
        complete_params([*names, *given], given)
        params = complete_params(names, {n: p for n, p in given.items() if n in names})
        if window_s is not None:
            windows_of(analyzer, window_s)
        known_periods = normalise_periods(analyzer, periods)
        self._wanted = params
        kept = {}
        known = getattr(self, "_known", None)
        if not delete_existing_metrics and known is not None:
            if known[0].get("periods") == known_periods:
                kept = {n: p for n, p in known[0]["metric_params"].items() if n in METRICS}
            else:
                self._known = None
        else:
            self._known = None
        together = {**kept, **params}
        return {
            "metric_names": [name for name in METRICS if name in together],
            "metric_params": {name: together[name] for name in METRICS if name in together},
            "delete_existing_metrics": bool(delete_existing_metrics),
            "periods": known_periods,
            "window_s": None if window_s is None else float(window_s),
        }

    def _run(self, verbose: bool = False) -> None:
        analyzer, periods = self.sorting_analyzer, self.params["periods"]
        found = compute_metrics(analyzer, analyzer.unit_ids, self._wanted, periods)
        if self._known is not None:
            found = join_columns(self._known[1], found)
        found = order_columns(found, columns_of(self.params["metric_names"]))
        windows = self._windows(analyzer, analyzer.unit_ids, periods)
        self.data = pack(found, windows, {"periods": periods})
        self._known = None

    def _windows(
        self, analyzer: Any, unit_ids: NDArray, periods: PeriodsByUnit | None
    ) -> Windows | None:
        window_s = self.params["window_s"]
        params = {
            n: p for n, p in self.params["metric_params"].items() if METRICS[n].group == "stability"
        }
        if window_s is None or not params:
            return None
        edges = windows_of(analyzer, window_s)
        return Windows(
            edges,
            compute_stability(
                analyzer,
                unit_ids,
                columns_of(list(params)),
                metric_params=params,
                periods=periods,
                windows=edges,
            ),
        )

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Keep the rows of units that did not change, and compute those whose inputs did."""
        if change.span is not None:
            return self._data_in_part(change)
        found, windows = unpack(self.data)
        periods = self._periods
        if not change.is_new.any():
            rows = change.same_before
            if windows is not None:
                windows = windows._replace(values=take_units(windows.values, rows))
            return pack(take_units(found, rows), windows, {"periods": periods})
        periods = _periods_after(periods, change)
        whole = _rows_after(found, change)
        for unit_ids, params in self._to_compute(change):
            computed = compute_metrics(change.after, unit_ids, params, periods)
            whole = put_units(
                whole, computed, unit_indices_of(change.after, unit_ids, may_repeat=True)
            )
        if windows is not None:
            inside = _rows_after(windows.values, change)
            again = self._windows(change.after, change.new_unit_ids, periods)
            if again is not None:
                inside = put_units(inside, again.values, np.flatnonzero(change.is_new))
            windows = windows._replace(values=inside)
        return pack(whole, windows, {"periods": periods})

    def _data_in_part(self, change: UnitChange) -> dict[str, Any]:
        """Compute everything for a part of the time: rates and presence are of it alone."""
        after = change.after
        periods = _periods_in_part(self._periods, change)
        params = self.params["metric_params"]
        found = compute_metrics(after, after.unit_ids, params, periods)
        found = order_columns(found, columns_of(self.params["metric_names"]))
        return pack(found, self._windows(after, after.unit_ids, periods), {"periods": periods})

    def params_after(self, change: UnitChange) -> dict[str, Any]:
        """Cut the periods to a part of the time."""
        params = super().params_after(change)
        if change.span is not None:
            params["periods"] = _periods_in_part(params["periods"], change)
        return params

    @property
    def hangs_on_neighbours(self) -> bool:
        """Whether there are metrics of a unit that hang on other units (isolation)."""
        return any(METRICS[name].group == "isolation" for name in self.params["metric_params"])

    def _to_compute(self, change: UnitChange) -> list[tuple[NDArray, dict[str, Any]]]:
        """Return which units need which metrics after a change, with their parameters."""
        params = self.params["metric_params"]
        by_neighbours = {n: p for n, p in params.items() if METRICS[n].group == "isolation"}
        by_unit = {n: p for n, p in params.items() if n not in by_neighbours}
        wanted = [(change.new_unit_ids, by_unit)] if by_unit else []
        if by_neighbours:
            near = units_with_new_neighbours(
                change.before,
                change.after,
                change.before.unit_ids[change.replaced],
                change.new_unit_ids,
                by_neighbours,
            )
            wanted.append((near, by_neighbours))
        return wanted

    def _select_channels_extension_data(self, channel_ids: Any) -> dict[str, Any]:
        return pack(*unpack(self.data), {"periods": self._periods})

    @property
    def _periods(self) -> PeriodsByUnit | None:
        return self.data["table"]["periods"]

    # what users ask for

    def _get_data(
        self,
        reasons: bool = False,
        windows: bool = False,
        outputs: Literal["dataframe"] = "dataframe",
    ) -> pd.DataFrame:
        self.check_outputs(outputs)
        found, inside = unpack(self.data)
        analyzer = self.sorting_analyzer
        if not windows:
            return to_frame(found, analyzer.unit_ids, reasons)
        if inside is None:
            raise MissingDataError(
                "there are no metrics in windows; compute them with window_s=, such as "
                "analyzer.compute('curation_metrics', window_s=600)"
            )
        return to_long_frame(inside, analyzer.unit_ids, analyzer.sampling_frequency, reasons)

    @property
    def metric_descriptions(self) -> dict[str, MetricDescription]:
        """What every column of the table is: description, unit, source."""
        return {c: METRIC_DESCRIPTIONS[c] for c in self.data["table"]["columns"]}

    @property
    def sources(self) -> dict[str, str]:
        """Which extension, file or property the values of each column come from."""
        return dict(self.data["table"]["sources"])

    def get_computed_metric_names(self) -> list[str]:
        """Names of the metrics that are in the table."""
        if not self.data:
            return []
        columns = set(self.data["table"]["columns"])
        return [name for name, metric in METRICS.items() if set(metric.columns) <= columns]


def _rows_after(found: MetricValues, change: UnitChange) -> MetricValues:
    """Return the rows of the units that did not change; those of new units are empty."""
    same = take_units(found, change.same_before)
    return put_units(empty_like(found, len(change.after.unit_ids)), same, change.same_after)


def _periods_after(periods: PeriodsByUnit | None, change: UnitChange) -> PeriodsByUnit | None:
    """Return the periods of all units: a new one has those of all units that it came from."""
    if periods is None:
        return None
    before = change.before.unit_ids
    out = {
        str(unit_id): [row for i in parents for row in periods.get(str(before[i]), [])]
        for unit_id, parents in zip(change.after.unit_ids, change.parents, strict=True)
    }
    return normalise_periods(change.after, out)


def _periods_in_part(periods: PeriodsByUnit | None, change: UnitChange) -> PeriodsByUnit | None:
    """Return the periods of units in a part of the time, from its start."""
    if periods is None or change.span is None:
        return periods
    samples = segment_samples_of(change.before)
    rows = {name: np.array(of, dtype=np.int64).reshape(-1, 3) for name, of in periods.items()}
    cut = {name: periods_in_span(of, samples, change.span).tolist() for name, of in rows.items()}
    names = set(map(str, change.after.unit_ids))
    return normalise_periods(change.after, {n: of for n, of in cut.items() if n in names})


def compute_metrics_in_windows(
    sorting_analyzer: SortingAnalyzer,
    *,
    window_s: float | None = None,
    periods: Any = None,
    metric_names: Sequence[str] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    reasons: bool = False,
) -> pd.DataFrame:
    """Tabulate the metrics that depend on time, in windows of the recording.

    So a unit that was lost after an hour is seen: its ``num_spikes``, ``firing_rate`` and
    ``presence_ratio`` are 0 from there on. Nothing is stored.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    window_s : float
        Length of the windows; the last of a segment is what is left.
    periods : array, optional
        As of the extension `curation_metrics`: what is outside is left out of every window.
    metric_names : sequence of str, optional
        Of the counts and metrics of stability; all by default.
    metric_params : mapping, optional
        {metric: {parameter: value}}
    reasons : bool
        Return why values are missing instead.

    Returns
    -------
    pandas.DataFrame
        A row for each unit and window, units first: ``unit_id``, ``segment_index``,
        ``window_start_s``, ``window_stop_s`` and the columns of the metrics.

    Raises
    ------
    ParameterError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> table = compute_metrics_in_windows(analyzer, window_s=40, metric_names=["num_spikes"])
    >>> table.loc[table["unit_id"] == 13, "num_spikes"].tolist()
    [674, 656]
    """
    checks = Checks.of_call(compute_metrics_in_windows, locals())
    checks.number("window_s", window_s, above=0)
    checks.finish()
    analyzer = sorting_analyzer
    steady = [name for name, metric in METRICS.items() if metric.group == "stability"]
    names = steady if metric_names is None else list(metric_names)
    other = [name for name in names if name not in steady]
    if other:
        raise ParameterError(
            f"metrics {', '.join(other)} cannot be computed in windows, expected some of "
            f"{', '.join(steady)}"
        )
    params = complete_params(names, metric_params)
    edges = windows_of(analyzer, window_s)  # type: ignore[arg-type]
    values: MetricValues = compute_stability(
        analyzer,
        None,
        columns_of(names),
        metric_params=params,
        periods=normalise_periods(analyzer, periods),
        windows=edges,
    )
    windows = Windows(edges, values)
    return to_long_frame(windows, analyzer.unit_ids, analyzer.sampling_frequency, reasons)


register_extension(CurationMetrics)
compute_curation_metrics = extension_function(CurationMetrics)
