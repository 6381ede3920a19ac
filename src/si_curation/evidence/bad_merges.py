"""`find_bad_merges`: units made of several templates that are not one neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.errors import MissingDataError, ParameterError
from si_curation.evidence.merge_evidence import (
    at_least,
    choose_refractory_periods,
    count_lags,
    cross_refractoriness,
)
from si_curation.evidence.merge_table import check_number, check_periods, rows_of_units

BAD_MERGE_DESCRIPTIONS: dict[str, str] = {
    "unit_id": "the unit",
    "template_id_a": "the template that more of its spikes came from",
    "template_id_b": "the other template",
    "num_spikes_a": "spikes of the unit from template a, count",
    "num_spikes_b": "spikes of the unit from template b, count",
    "refractory_period_ms": "refractory period, ms",
    "observed": (
        "pairs of a spike of each at lags above the duplicate window and up to the refractory "
        "period, count"
    ),
    "expected": "as many as there would be at the rate of lags of 10 to 50 ms, count",
    "ratio": "observed over expected, 1; NaN where none is expected",
    "ratio_lower": "lower end of its confidence interval (Poisson; Garwood 1936)",
    "ratio_upper": "upper end of its confidence interval",
    "ratio_allowed": "largest ratio that contamination explains, 0 to 1",
    "p_value": "probability of so many coincidences if contamination explained them, 0 to 1",
    "power": (
        "probability that independent neurons with these rates would be found so, 0 to 1: where it "
        "is small, a pair that is not bad is not known to be good"
    ),
    "is_bad": "whether ratio_lower exceeds ratio_allowed and p_value is at most the significance",
    "reason": "the verdict in words",
}


def find_bad_merges(
    sorting_analyzer: SortingAnalyzer,
    *,
    max_contamination: float = 0.1,
    significance: float = 1e-3,
    min_spikes: int = 20,
    refractory_period_ms: float | None = None,
    duplicate_window_ms: float = 0.4,
    confidence_level: float = 0.95,
    unit_ids: Sequence[Any] | None = None,
    all_pairs: bool = False,
) -> pd.DataFrame:
    """Find units whose templates fire within each other's refractory period.

    The sorter's templates that a unit came from stay known (`template_assignment`). If the spikes
    of two of them are one neuron's, they have no coincidences within its refractory period, except
    for what contamination explains.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With the extension "template_assignment".
    max_contamination : float
        Contamination that is tolerated in either part, in addition to what its own refractory
        violations show.
    significance : float
        Largest probability, for a bad pair, of so many coincidences by contamination.
    min_spikes : int
        Templates with fewer spikes in the unit are left out.
    refractory_period_ms : float, optional
        By default that of each pair is estimated from the autocorrelograms of both together; 1.5 ms
        where it cannot be told.
    duplicate_window_ms : float
        Lags up to this do not count: the same spike found twice.
    confidence_level : float
        Of the interval of the ratio.
    unit_ids : sequence of unit ids, optional
        All units by default.
    all_pairs : bool, default: False
        Give all pairs of templates of one unit, not the bad ones alone.

    Returns
    -------
    pandas.DataFrame
        A row for each bad pair of templates of one unit, the largest ``ratio_lower`` first, with
        the columns of `BAD_MERGE_DESCRIPTIONS`. Empty where all units came from one template each.

    Raises
    ------
    MissingDataError
        There is no extension "template_assignment".
    ParameterError, UnknownIdError
        A parameter cannot be used.

    Notes
    -----
    If the two parts have contaminations ``C_a`` and ``C_b`` and are one neuron, the ratio of their
    coincidences to the baseline is ``1 - (1 - C_a)(1 - C_b)``. ``ratio_allowed`` is the larger of
    that, with the contaminations that the autocorrelograms of the parts show, and of that for
    `max_contamination`: ``1 - (1 - C)**2`` (Llobet et al. 2022, bioRxiv 2022.02.08.479192).

    See Also
    --------
    suggest_merges : the reverse

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> bad = find_bad_merges(analyzer)
    >>> bad[["unit_id", "template_id_a", "template_id_b"]].values.tolist()
    [[13, 1, 0], [13, 1, 2], [10, 6, 5], [13, 0, 2]]
    """
    analyzer = sorting_analyzer
    fs = analyzer.sampling_frequency
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        raise MissingDataError(
            "find_bad_merges needs the extension 'template_assignment'; compute it first"
        )
    _check(
        fs,
        max_contamination,
        significance,
        min_spikes,
        refractory_period_ms,
        duplicate_window_ms,
        confidence_level,
    )
    parts = _parts(analyzer, assignment, min_spikes, rows_of_units(analyzer, unit_ids))
    pairs = _pairs(parts)
    censored = round(duplicate_window_ms * fs * 1e-3)
    given = None if refractory_period_ms is None else round(refractory_period_ms * fs * 1e-3)
    longest_ms = max(5.0, refractory_period_ms or 0.0)
    num_parts = len(parts.unit)
    counts = count_lags(
        parts.sample_index, parts.part, parts.segment_index, num_parts, pairs, fs, longest_ms
    )
    if given is None:
        period, _ = choose_refractory_periods(counts, pairs, censored, fs)
    else:
        period = np.full(len(pairs), given)
    found = cross_refractoriness(counts, pairs, period, censored, fs, confidence_level)
    tolerated = 1.0 - (1.0 - max_contamination) ** 2
    allowed = np.maximum(found.ratio_if_one, tolerated)
    p_value = at_least(found.observed, found.expected * allowed)
    lower = np.nan_to_num(found.lower)
    a, b = pairs.T
    table = pd.DataFrame(
        {
            "unit_id": analyzer.unit_ids[parts.unit[a]],
            "template_id_a": parts.template[a],
            "template_id_b": parts.template[b],
            "num_spikes_a": parts.num_spikes[a],
            "num_spikes_b": parts.num_spikes[b],
            "refractory_period_ms": period * 1e3 / fs,
            "observed": found.observed,
            "expected": found.expected,
            "ratio": found.ratio,
            "ratio_lower": found.lower,
            "ratio_upper": found.upper,
            "ratio_allowed": allowed,
            "p_value": p_value,
            "power": _power(found.expected, allowed, significance),
            "is_bad": (p_value <= significance) & (lower > allowed),
        }
    )
    table["reason"] = [_reason(row) for row in table.itertuples(index=False)]
    # the strongest first; of equals in the order of units and templates
    order = np.lexsort((b, a, -lower, ~table["is_bad"].to_numpy(dtype=bool)))
    table = table.iloc[order][list(BAD_MERGE_DESCRIPTIONS)]
    return (table if all_pairs else table[table["is_bad"]]).reset_index(drop=True)


class _Parts(NamedTuple):
    """The spikes of units with several templates, by unit and template."""

    unit: NDArray[np.int64]  # (n_parts,)
    template: NDArray[np.int64]  # (n_parts,)
    num_spikes: NDArray[np.int64]  # (n_parts,)
    sample_index: NDArray[np.integer]  # (n_spikes of them,)
    segment_index: NDArray[np.integer]
    part: NDArray[np.int64]


def _check(fs, contamination, significance, min_spikes, period_ms, duplicate_ms, level) -> None:
    problems: list[str] = []
    between = "a number between 0 and 1"
    for name, value in (("significance", significance), ("confidence_level", level)):
        check_number(problems, name, value, np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0), between)
    check_number(
        problems, "max_contamination", contamination, 0.0, np.nextafter(1.0, 0.0), "0 to below 1"
    )
    check_number(problems, "min_spikes", min_spikes, 1, np.inf, "1 or more")
    check_periods(problems, fs, period_ms, duplicate_ms)
    if problems:
        raise ParameterError("; ".join(problems))


def _parts(analyzer, assignment, min_spikes: int, rows: NDArray[np.int64]) -> _Parts:
    counts = assignment.get_template_counts()
    num_templates = counts.shape[1]
    unit = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    keep = (counts.data >= min_spikes) & np.isin(unit, rows)
    keep &= np.bincount(unit[keep], minlength=counts.shape[0])[unit] > 1
    unit, template = unit[keep], counts.indices[keep].astype(np.int64)
    is_used = np.zeros(counts.shape[0], dtype=bool)
    is_used[unit] = True
    spikes = analyzer.sorting.to_spike_vector()
    chosen = np.flatnonzero(is_used[spikes["unit_index"]])
    key = spikes["unit_index"][chosen].astype(np.int64) * num_templates
    key += as_array(assignment.get_spike_template_ids())[chosen]
    known = unit.astype(np.int64) * num_templates + template
    part = np.searchsorted(known, key)
    is_known = known[np.minimum(part, known.size - 1)] == key if known.size else key < 0
    chosen, part = chosen[is_known], part[is_known].astype(np.int64)
    return _Parts(
        unit,
        template,
        counts.data[keep],
        spikes["sample_index"][chosen],
        spikes["segment_index"][chosen],
        part,
    )


def _pairs(parts: _Parts) -> NDArray[np.int64]:
    """Pairs of parts of one unit, the one with more spikes first."""
    found: list[tuple[int, int]] = []
    for unit in np.unique(parts.unit):
        members = np.flatnonzero(parts.unit == unit)
        members = members[np.argsort(-parts.num_spikes[members], kind="stable")]
        found += [(int(a), int(b)) for i, a in enumerate(members) for b in members[i + 1 :]]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _power(expected: NDArray, allowed: NDArray, significance: float) -> NDArray[np.float64]:
    """Probability that a Poisson count of mean `expected` is significantly above the allowed."""
    mean = expected * allowed
    # the smallest count that is rare, by bisection on whole numbers
    low, high = np.zeros(mean.size), np.ceil(mean + 20.0 * np.sqrt(mean) + 30.0)
    while np.any(high - low > 1):
        middle = np.floor(0.5 * (low + high))
        is_rare = at_least(middle, mean) <= significance
        low, high = np.where(is_rare, low, middle), np.where(is_rare, middle, high)
    return at_least(high, expected)


def _reason(row: Any) -> str:
    counts = (
        f"{row.observed} coincidences, {row.expected * row.ratio_allowed:.3g} explained by "
        f"contamination, {row.expected:.3g} if independent"
    )
    if row.is_bad:
        return f"not one neuron: {counts}"
    if row.power < 0.8:
        return f"cannot be told, too few are expected: {counts}"
    return f"refractory: {counts}"
