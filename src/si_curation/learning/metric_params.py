"""Parameters with which the metrics of a table were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from spikeinterface.core import SortingAnalyzer

from si_curation.checks import plain_id, short_repr
from si_curation.documents import read_document
from si_curation.errors import MissingDataError, ParameterError
from si_curation.quality.metrics.registry import METRICS, complete_params

#: What `metric_params` of a table can be.
MetricParams: TypeAlias = Mapping[str, Mapping[str, Any]] | SortingAnalyzer | Literal["default"]


def params_of_table(
    given: MetricParams | None, columns: Sequence[str]
) -> dict[str, dict[str, Any]] | None:
    """Return {metric: {parameter: value}} of the metrics that a table has; None where not known.

    Parameters
    ----------
    given : mapping, SortingAnalyzer, "default" or None
        Parameters that a mapping does not have are the defaults.
    columns : sequence of str
        Of the table.

    Raises
    ------
    ParameterError
        There is no such metric or parameter, or nothing is said of a metric of the table.
    MissingDataError
        The analyzer has no "curation_metrics", or not all of these metrics.
    """
    if given is None:
        return None
    names = [name for name, one in METRICS.items() if set(one.columns) & set(columns)]
    if isinstance(given, SortingAnalyzer):
        return _of_analyzer(given, names)
    if isinstance(given, str):
        given = {name: {} for name in names}
    complete_params(list(given), given)
    unknown = [name for name in names if name not in given]
    if unknown:
        raise ParameterError(
            f"metric_params say nothing of {', '.join(unknown)}, whose columns the table has: give "
            'them, leave these columns out (columns=), or give metric_params="default" where the '
            "metrics were made with the defaults"
        )
    return {name: plain_params(of) for name, of in complete_params(names, given).items()}


def _of_analyzer(analyzer: SortingAnalyzer, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the parameters of an analyzer's "curation_metrics"."""
    extension = analyzer.get_extension("curation_metrics")
    there = {} if extension is None else extension.params["metric_params"]
    missing = [name for name in names if name not in there]
    if extension is None or missing:
        raise MissingDataError(
            f"metric_params is an analyzer without curation_metrics of {', '.join(missing)}; "
            "compute them as those of the table were"
        )
    found = {name: plain_params(there[name]) for name in names}
    return found | ({"periods": {"given": True}} if extension.params.get("periods") else {})


def read_metric_params(text: str | None) -> MetricParams | None:
    """Read what the command line gives: "default", or a JSON or YAML file."""
    if text is None or text == "default":
        return text
    found = read_document(Path(text), expected='"default", or a file of parameters')
    is_right = isinstance(found, Mapping) and all(isinstance(of, Mapping) for of in found.values())
    if not is_right:
        raise ParameterError(
            f"{text} holds {short_repr(found)}, expected {{metric: {{parameter: value}}}}"
        )
    return found


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON has them: lists for tuples, plain numbers."""
    return {
        key: list(map(plain_id, value)) if isinstance(value, list | tuple) else plain_id(value)
        for key, value in params.items()
    }
