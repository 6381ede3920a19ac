"""`find_bad_merges`: units merged from templates that are not one neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, unit_indices_of
from si_curation.errors import MissingDataError
from si_curation.evidence.cross_refractoriness import (
    check_periods,
    choose_refractory_periods,
    count_lags_of_trains,
    cross_refractoriness,
)
from si_curation.evidence.explain import explain_bad_merges
from si_curation.evidence.unit_spikes import UnitSpikes
from si_curation.extensions.template_assignment import TemplateAssignment
from si_curation.kernels.parallel import run_blocks
from si_curation.kernels.poisson import poisson_at_least
from si_curation.kernels.refractory import MAX_CANDIDATE_MS
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.variables import BAD_MERGES, UnitIndices


class Limits(NamedTuple):
    """What `find_bad_merges` takes beside the units."""

    max_contamination: float = 0.1
    significance: float = 1e-3
    min_spikes: int = 20
    refractory_period_ms: float | None = None
    duplicate_window_ms: float = 0.4
    confidence_level: float = 0.95


_DEFAULTS = Limits()


def find_bad_merges(
    sorting_analyzer: SortingAnalyzer,
    *,
    max_contamination: float = _DEFAULTS.max_contamination,
    significance: float = _DEFAULTS.significance,
    min_spikes: int = _DEFAULTS.min_spikes,
    refractory_period_ms: float | None = _DEFAULTS.refractory_period_ms,
    duplicate_window_ms: float = _DEFAULTS.duplicate_window_ms,
    confidence_level: float = _DEFAULTS.confidence_level,
    unit_ids: Sequence[Any] | None = None,
    all_pairs: bool = False,
) -> pd.DataFrame:
    """Find units merged from templates that fire within each other's refractory period.

    `template_assignment` knows the sorter's templates that the spikes of a unit came from. If the
    spikes of two of them are one neuron's, they have no more coincidences within its refractory
    period than contamination explains.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With the extension "template_assignment".
    max_contamination : float
        Contamination of either part that is tolerated, even where its own refractory violations
        show less.
    significance : float
        A pair is bad if the probability of as many coincidences by contamination is at most this.
    min_spikes : int
        Templates with fewer spikes in the unit are left out.
    refractory_period_ms : float, optional
        Refractory period of all pairs. By default that of each pair is estimated from the
        autocorrelograms of both together; 1.5 ms where the spikes are too few to estimate it.
    duplicate_window_ms : float
        Lags up to this do not count: the same spike found twice.
    confidence_level : float
        Confidence level of the interval of the ratio.
    unit_ids : sequence of unit ids, optional
        Units to look at; all by default.
    all_pairs : bool, default: False
        Return all pairs of templates of one unit, not only the bad ones.

    Returns
    -------
    pandas.DataFrame
        A row for each bad pair of templates of one unit, the largest ``ratio_lower`` first. The
        columns are described in `si_curation.variables.BAD_MERGES`. Empty
        where every unit came from one template.

    Raises
    ------
    MissingDataError
        The analyzer has no extension "template_assignment".
    ParameterError
        A parameter is out of range; all problems at once.
    UnknownIdError
        A unit id does not exist.

    Notes
    -----
    If the two parts have contaminations ``C_a`` and ``C_b`` and are one neuron, the ratio of their
    coincidences to the baseline is ``1 - (1 - C_a)(1 - C_b)`` (Llobet et al. 2022, bioRxiv
    2022.02.08.479192). ``ratio_allowed`` is the larger of two such ratios: that with the
    contaminations estimated from the autocorrelograms of the parts, and that with
    `max_contamination`, ``1 - (1 - C)**2``.

    See Also
    --------
    suggest_merges : pairs of units that may be one neuron

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> bad = find_bad_merges(analyzer)
    >>> bad[["unit_id", "template_id_a", "template_id_b"]].values.tolist()
    [[13, 1, 0], [13, 1, 2], [10, 6, 5], [13, 0, 2]]
    """
    checks = Checks.of_call(find_bad_merges, locals())
    checks.number("significance", significance, above=0, below=1)
    checks.number("confidence_level", confidence_level, above=0, below=1)
    checks.number("max_contamination", max_contamination, at_least=0, below=1)
    checks.number("min_spikes", min_spikes, at_least=1)
    check_periods(checks, sorting_analyzer, refractory_period_ms, duplicate_window_ms)
    checks.finish()
    limits = Limits(
        max_contamination,
        significance,
        min_spikes,
        refractory_period_ms,
        duplicate_window_ms,
        confidence_level,
    )
    _assignment_of(sorting_analyzer)
    units = unit_indices_of(sorting_analyzer, unit_ids, may_repeat=True)
    return bad_merges_of_units(UnitSpikes(sorting_analyzer), units, limits, all_pairs)


def bad_merges_of_units(
    spikes: UnitSpikes,
    unit_indices: UnitIndices,
    limits: Limits = _DEFAULTS,
    all_pairs: bool = False,
) -> pd.DataFrame:
    """Return what `find_bad_merges` does, of some units.

    Parameters
    ----------
    spikes : UnitSpikes
        Of an analyzer.
    unit_indices : array (n,) integer
    limits, all_pairs
        As of `find_bad_merges`, checked.
    """
    analyzer, fs = spikes.analyzer, spikes.analyzer.sampling_frequency
    parts = _parts(spikes, _assignment_of(analyzer), limits.min_spikes, unit_indices)
    pairs = _pairs(parts)
    censored = round(limits.duplicate_window_ms * fs * 1e-3)
    given = limits.refractory_period_ms
    longest_ms = max(MAX_CANDIDATE_MS, given or 0.0)
    counts = count_lags_of_trains(parts.trains, parts.positions, pairs, fs, longest_ms)
    if given is None:
        period, _ = choose_refractory_periods(counts, pairs, censored, fs)
    else:
        period = np.full(len(pairs), round(given * fs * 1e-3))
    found = cross_refractoriness(counts, pairs, period, censored, fs, limits.confidence_level)
    allowed = np.maximum(found.ratio_if_one, 1.0 - (1.0 - limits.max_contamination) ** 2)
    p_value = poisson_at_least(found.observed, found.expected * allowed)
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
            "power": _power(found.expected, allowed, limits.significance),
            "is_bad": (p_value <= limits.significance) & (lower > allowed),
        }
    )
    # bad pairs first, then the largest ratio; ties in the order of units and templates
    is_bad = table["is_bad"].to_numpy(dtype=bool)
    order = np.lexsort((b, a, -lower, ~is_bad))
    table = table.iloc[order if all_pairs else order[is_bad[order]]].reset_index(drop=True)
    table["reason"] = [str(verdict) for verdict in explain_bad_merges(table)]
    return table[list(BAD_MERGES)]


def _assignment_of(analyzer: SortingAnalyzer) -> TemplateAssignment:
    assignment: TemplateAssignment | None = analyzer.get_extension("template_assignment")
    if assignment is None:
        raise MissingDataError(
            "find_bad_merges needs the extension 'template_assignment'; compute it first"
        )
    return assignment


class _Parts(NamedTuple):
    """The spikes of units with several templates; a part is one template's spikes in one unit."""

    unit: NDArray[np.int64]  # (n_parts,)
    template: NDArray[np.int64]  # (n_parts,)
    num_spikes: NDArray[np.int64]  # (n_parts,)
    trains: list[NDArray[np.int64]]  # as of UnitSpikes
    positions: list[NDArray[np.integer]]  # in the spike vector


def _parts(
    spikes: UnitSpikes,
    assignment: TemplateAssignment,
    min_spikes: int,
    unit_indices: UnitIndices,
) -> _Parts:
    counts = assignment.get_template_counts()
    unit = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    keep = (counts.data >= min_spikes) & np.isin(unit, unit_indices)
    keep &= np.bincount(unit[keep], minlength=counts.shape[0])[unit] > 1
    unit, template = unit[keep], counts.indices[keep].astype(np.int64)
    template_ids = assignment.get_spike_template_ids()

    def cut(one: int) -> list[tuple[NDArray[np.int64], NDArray[np.integer]]]:
        its_templates, own = template[unit == one], spikes.positions[one]
        part = np.full(counts.shape[1], its_templates.size, dtype=np.int64)
        part[its_templates] = np.arange(its_templates.size)
        train = spikes.train(one)
        rows = spikes_by_unit(part[template_ids[own]], its_templates.size + 1)[:-1]
        return [(train[its], own[its]) for its in rows]

    found = [one for its in run_blocks(cut, np.unique(unit).tolist()) for one in its]
    trains, positions = [one for one, _ in found], [one for _, one in found]
    return _Parts(unit, template, counts.data[keep], trains, positions)


def _pairs(parts: _Parts) -> NDArray[np.int64]:
    """Return the pairs of parts of one unit, the part with more spikes first."""
    found: list[tuple[int, int]] = []
    for unit in np.unique(parts.unit):
        members = np.flatnonzero(parts.unit == unit)
        members = members[np.argsort(-parts.num_spikes[members], kind="stable")]
        found += [(int(a), int(b)) for i, a in enumerate(members) for b in members[i + 1 :]]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _power(
    expected: NDArray[np.float64], allowed: NDArray[np.float64], significance: float
) -> NDArray[np.float64]:
    """Return the probability that a Poisson count of mean `expected` is significantly too large."""
    mean = expected * allowed
    # the smallest count that is significant, by bisection on whole numbers
    low, high = np.zeros(mean.size), np.ceil(mean + 20.0 * np.sqrt(mean) + 30.0)
    while np.any(high - low > 1):
        middle = np.floor(0.5 * (low + high))
        is_rare = poisson_at_least(middle, mean) <= significance
        low, high = np.where(is_rare, low, middle), np.where(is_rare, middle, high)
    return poisson_at_least(high, expected)
