"""`find_bad_merges`: units merged from templates that are not one neuron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks, unit_indices_of
from si_curation.errors import MissingDataError
from si_curation.evidence.cross_refractoriness import (
    check_periods,
    choose_refractory_periods,
    count_lags,
    cross_refractoriness,
)
from si_curation.evidence.explain import explain_bad_merges
from si_curation.extensions.template_assignment import TemplateAssignment
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.poisson import poisson_at_least
from si_curation.kernels.refractory import MAX_CANDIDATE_MS
from si_curation.variables import BAD_MERGES, UnitIndices

# of the keys of units and templates: 32 MB
_LARGEST_TABLE = 1 << 23


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
    analyzer = sorting_analyzer
    fs = analyzer.sampling_frequency
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None:
        raise MissingDataError(
            "find_bad_merges needs the extension 'template_assignment'; compute it first"
        )
    units = unit_indices_of(analyzer, unit_ids, may_repeat=True)
    parts = _parts(analyzer, assignment, min_spikes, units)
    pairs = _pairs(parts)
    censored = round(duplicate_window_ms * fs * 1e-3)
    longest_ms = max(MAX_CANDIDATE_MS, refractory_period_ms or 0.0)
    num_parts = len(parts.unit)
    counts = count_lags(
        parts.sample_index, parts.part, parts.segment_index, num_parts, pairs, fs, longest_ms
    )
    if refractory_period_ms is None:
        period, _ = choose_refractory_periods(counts, pairs, censored, fs)
    else:
        period = np.full(len(pairs), round(refractory_period_ms * fs * 1e-3))
    found = cross_refractoriness(counts, pairs, period, censored, fs, confidence_level)
    allowed = np.maximum(found.ratio_if_one, 1.0 - (1.0 - max_contamination) ** 2)
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
            "power": _power(found.expected, allowed, significance),
            "is_bad": (p_value <= significance) & (lower > allowed),
        }
    )
    # bad pairs first, then the largest ratio; ties in the order of units and templates
    is_bad = table["is_bad"].to_numpy(dtype=bool)
    order = np.lexsort((b, a, -lower, ~is_bad))
    table = table.iloc[order if all_pairs else order[is_bad[order]]].reset_index(drop=True)
    table["reason"] = [str(verdict) for verdict in explain_bad_merges(table)]
    return table[list(BAD_MERGES)]


class _Parts(NamedTuple):
    """The spikes of units with several templates; a part is one template's spikes in one unit."""

    unit: NDArray[np.int64]  # (n_parts,)
    template: NDArray[np.int64]  # (n_parts,)
    num_spikes: NDArray[np.int64]  # (n_parts,)
    sample_index: NDArray[np.integer]  # (n_spikes of them,)
    segment_index: NDArray[np.integer]
    part: NDArray[np.int64]


def _parts(
    analyzer: SortingAnalyzer,
    assignment: TemplateAssignment,
    min_spikes: int,
    unit_indices: UnitIndices,
) -> _Parts:
    counts = assignment.get_template_counts()
    num_templates = counts.shape[1]
    unit = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    keep = (counts.data >= min_spikes) & np.isin(unit, unit_indices)
    keep &= np.bincount(unit[keep], minlength=counts.shape[0])[unit] > 1
    unit, template = unit[keep], counts.indices[keep].astype(np.int64)
    is_used = np.zeros(counts.shape[0], dtype=bool)
    is_used[unit] = True
    spikes = spike_vector_of(analyzer.sorting)
    templates = assignment.get_spike_template_ids()
    known = unit.astype(np.int64) * num_templates + template

    def look(piece: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        of_piece = spikes["unit_index"][piece]
        chosen = np.flatnonzero(is_used[of_piece])
        keys = of_piece[chosen].astype(np.int64) * num_templates + templates[piece][chosen]
        part, is_known = places(keys)
        return piece.start + chosen[is_known], part[is_known]

    places = _places(known, counts.shape[0] * num_templates)
    found = run_blocks(look, blocks(spikes.size)) or [look(slice(0, 0))]
    chosen, part = (np.concatenate(column) for column in zip(*found, strict=True))
    return _Parts(
        unit,
        template,
        counts.data[keep],
        spikes["sample_index"][chosen],
        spikes["segment_index"][chosen],
        part,
    )


def _places(
    known: NDArray[np.int64], num_keys: int
) -> Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Return what finds the place of keys among ascending known ones, and which are among them."""
    if num_keys <= _LARGEST_TABLE:
        table = np.full(num_keys, -1, dtype=np.int32)
        table[known] = np.arange(known.size)

        def look_up(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
            found = table[keys]
            return found.astype(np.int64), found >= 0

        return look_up

    def search(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        place = np.searchsorted(known, keys)
        is_known = known[np.minimum(place, known.size - 1)] == keys if known.size else keys < 0
        return place.astype(np.int64), is_known

    return search


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
