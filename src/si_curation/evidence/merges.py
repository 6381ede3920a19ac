"""`suggest_merges`: pairs of units that may be one neuron, with the evidence of each pair.

`suggest_merges` chooses the candidate pairs, `evidence_of_pairs` gathers their evidence, and
`MergeSuggestions` turns the table into pairs and groups to merge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.checks import Checks, is_number, unit_indices_of
from si_curation.evidence.border_waveforms import compare_waveforms
from si_curation.evidence.calibration import Calibration, read_calibration, with_probability
from si_curation.evidence.change_of_others import change_of_others
from si_curation.evidence.common_spikes import may_share_spikes
from si_curation.evidence.continuity import (
    NUM_TIME_BINS,
    Continuity,
    continuity_of_pairs,
    time_overlap,
)
from si_curation.evidence.cross_refractoriness import (
    CrossRefractoriness,
    LagCounts,
    check_periods,
    choose_refractory_periods,
    count_lags_of_trains,
    cross_refractoriness,
)
from si_curation.evidence.explain import explain_merges
from si_curation.evidence.merge_score import (
    APART_OVERLAP,
    DUPLICATE_SHARE,
    burst_asymmetry,
    continuity_term,
    duplicate_term,
    merge_score,
    probability_of_one_neuron,
    similarity_term,
)
from si_curation.evidence.suggestions import ScoredSuggestions, with_groups
from si_curation.evidence.unit_locations import unit_distances
from si_curation.evidence.unit_spikes import UnitSpikes
from si_curation.extensions.unit_similarity import get_unit_similarity
from si_curation.kernels.amplitude_cut import CUT_SEPARATION, probabilities_of_cut
from si_curation.kernels.coincidences import count_coincident_spikes
from si_curation.kernels.contamination import (
    contamination_by_many_neurons,
    estimate_contamination,
    expected_pairs,
)
from si_curation.kernels.parallel import one_thread_for_matrices
from si_curation.kernels.refractory import MAX_CANDIDATE_MS
from si_curation.reading.observed import observed_periods
from si_curation.variables import MERGES, Explanation, explanations_text

if TYPE_CHECKING:
    from spikeinterface.curation.curation_model import Curation

DEFAULT_MIN_SIMILARITY = 0.5
DEFAULT_MAX_DISTANCE_UM = 150.0
# above 0.5, the largest score of a pair of which only the similarity is known
DEFAULT_SCORE_THRESHOLD = 0.55
DEFAULT_DUPLICATE_WINDOW_MS = 0.4
# smallest standard deviations of amplitudes (share of the mean amplitude) and of depths
AMPLITUDE_RESOLUTION, DEPTH_RESOLUTION_UM = 0.05, 3.0
# similarity from which two units can be one that was cut at an amplitude
CUT_MIN_SIMILARITY = 0.9
# smallest score for which waveforms of single spikes are read
WORTH_COMPARING = 0.1
TERMS = (
    "similarity_term",
    "one_neuron_probability",
    "waveform_term",
    "amplitude_term",
    "depth_term",
)
# share of the threshold that every pair within a group must reach
ACCEPTABLE_SHARE = 0.5
# a pair that fires together less than this, and is no less likely one neuron than two, is joined by
# the units between them
APART_IN_TIME, NOT_AGAINST = 0.25, 0.5


@one_thread_for_matrices()
def suggest_merges(
    sorting_analyzer: SortingAnalyzer,
    *,
    min_similarity: float = DEFAULT_MIN_SIMILARITY,
    max_distance_um: float = DEFAULT_MAX_DISTANCE_UM,
    max_pairs: int | None = None,
    refractory_period_ms: float | None = None,
    duplicate_window_ms: float = DEFAULT_DUPLICATE_WINDOW_MS,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    unit_ids: Sequence[Any] | None = None,
    calibration: Calibration | str | Path | None = None,
) -> MergeSuggestions:
    """Rank pairs of units that may be one neuron, with the evidence of each pair.

    A curator does the same with phy's SimilarityView and CorrelogramView: take the most similar
    units and look whether the cross-correlogram has a dip, whether amplitude and depth of one unit
    continue those of the other, and whether the same spikes were found twice. No recording is
    needed.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With templates (the extension "templates" or "template_assignment"). These extensions are
        used where they are computed: "unit_similarity" (else computed now), "unit_locations" (else
        the centre of mass of the templates' amplitudes), "spike_amplitudes", "spike_locations". So
        are the sorter's features (``pc_features.npy``), or the extension "principal_components".
    min_similarity : float
        Smallest similarity of a candidate pair (`unit_similarity`; the larger of both orders).
        Units of which one has most of its spikes in common with the other are candidates whatever
        their similarity and distance.
    max_distance_um : float
        Largest distance of the two units of a candidate pair.
    max_pairs : int, optional
        Largest number of candidates; those with common spikes and then the most similar ones are
        kept. All by default.
    refractory_period_ms : float, optional
        Refractory period of all pairs. By default that of each pair is estimated from the
        autocorrelograms of both units together; 1.5 ms where the spikes are too few to estimate it.
    duplicate_window_ms : float
        Largest distance in time of two spikes, one of each unit, that count as the same spike found
        twice. They do not count as coincidences within the refractory period.
    score_threshold : float
        Default threshold of the methods of the result. A pair of which only the similarity is known
        has a score of at most 0.5.
    unit_ids : sequence of unit ids, optional
        Only pairs of these units; all units by default.
    calibration : Calibration, str or Path, optional
        Of merges, or its JSON file (`calibrate_suggestions`). The table then has the columns
        ``probability``, ``probability_low`` and ``probability_high``, NaN where the score is not
        calibrated.

    Returns
    -------
    MergeSuggestions
        ``.table`` has a row for each candidate, best first; its columns are described in
        `si_curation.variables.MERGES`. ``.groups()`` returns merge groups
        for SpikeInterface.

    Raises
    ------
    MissingDataError
        The analyzer has no templates.
    ParameterError
        A parameter is out of range; all problems at once.
    UnknownIdError
        A unit id does not exist.

    Notes
    -----
    **Score** = ``similarity_term x one_neuron_probability x waveform_term x amplitude_term x
    depth_term``. Each term is a column, from 0 to 1. A term that is NaN (not enough data to
    estimate it) is left out of the product. ``duplicate_term`` is the score where it is larger.

    - ``similarity_term``: the similarity; its square root where ``waveform_term`` is known.
    - ``one_neuron_probability`` compares two models of the coincidences in the cross-correlogram by
      Bayes' rule at even prior odds: one neuron (as few as in the two autocorrelograms) and two
      independent neurons (as many as at lags of 10 to 50 ms); see
      `si_curation.evidence.cross_refractoriness.cross_refractoriness`. It is 0.5 where the spikes
      are too few, or the units too contaminated, to distinguish the two. Units that fire at
      different times cannot have coincidences: where ``time_overlap`` is below 0.5 the prior odds
      rise, up to 20 to 1 where the two are never active together.
    - ``waveform_term``: the features of at most 100 spikes of each unit, those closest in time to
      the other unit's, are projected on Fisher's axis. Units of one neuron join there, whatever the
      sorter cut it at: amplitude, shape, or depth in drift. The halves of one normal population are
      2.6 standard deviations apart. A separation ``s`` beyond that counts as ``exp(-(s - 2.6)**2 /
      8)``: 0.79 for ``s`` = 4, 0.50 for 5, 0.24 for 6. Found on half of the spikes and measured on
      the other half. Units of one neuron that fire at different times (``time_overlap`` below 0.5)
      may also be as far apart as other units change between these times, at the size of the pair
      (``waveform_separation_of_others``): where the tissue moved, or amplitudes changed. It takes
      the place of 2.6 where it is larger.
    - ``amplitude_term``, ``depth_term``: ``exp(-d**2 / 8)``, where ``d`` is the difference of the
      two units where they are closest in time, in excess of the sampling error, in standard
      deviations of the spikes: 0.88 for ``d`` = 1, 0.61 for 2, 0.32 for 3. Where waveforms were
      compared, ``d`` counts beyond 2.6 only. Later spikes of a burst are smaller. Where the smaller
      unit follows the larger one within 15 ms more often than the other way round
      (``burst_asymmetry``), the difference of amplitudes counts less. Similar units (0.9 or more)
      whose amplitudes are the pieces of one distribution (``amplitude_cut_probability``) were cut
      at an amplitude, which is no difference: see
      `si_curation.kernels.amplitude_cut.probability_of_cut`.
    - ``duplicate_term``: where more than half of the spikes of one unit are spikes of the other,
      the same spikes were found twice, however different the templates are.

    **Duplicates**: lags up to `duplicate_window_ms` are counted apart. A peak there with a dip
    beyond it means that spikes of one neuron were found twice; remove the duplicates when merging.
    A hole there is no evidence: sorters miss one of two overlapping spikes.

    **Contamination** is estimated with the formula of Llobet et al. (2022) for many contaminating
    neurons and the refractory period of the pair: of each unit, and of both together from the sum
    of their violations.

    See Also
    --------
    find_bad_merges : merges that the refractory period contradicts

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> suggestions = suggest_merges(analyzer)
    >>> suggestions.table[["unit_id_a", "unit_id_b"]].head(1).values.tolist()
    [[12, 11]]
    >>> suggestions.groups()
    [[11, 12]]
    """
    checks = Checks.of_call(suggest_merges, locals())
    checks.number("min_similarity", min_similarity, at_least=-1, at_most=1)
    if not (is_number(max_distance_um) and max_distance_um == math.inf):
        checks.number("max_distance_um", max_distance_um, at_least=0)
    checks.number("score_threshold", score_threshold, at_least=0, at_most=1)
    checks.whole_number("max_pairs", max_pairs, at_least=0, optional=True)
    check_periods(checks, sorting_analyzer, refractory_period_ms, duplicate_window_ms)
    checks.finish()
    known = read_calibration(calibration, "merges")
    analyzer = sorting_analyzer
    fs = analyzer.sampling_frequency
    allowed = np.zeros(len(analyzer.unit_ids), dtype=bool)
    allowed[unit_indices_of(analyzer, unit_ids, may_repeat=True)] = True
    duplicate = round(duplicate_window_ms * fs * 1e-3)
    spikes = UnitSpikes(analyzer)
    candidates = _find_candidates(
        spikes, allowed[:, None] & allowed, (min_similarity, max_distance_um, duplicate), max_pairs
    )
    given = None if refractory_period_ms is None else round(refractory_period_ms * fs * 1e-3)
    table = _table(evidence_of_pairs(spikes, candidates, given, duplicate), None, known)
    found = MergeSuggestions(table, analyzer.unit_ids, float(score_threshold))
    return with_groups(found, analyzer)


@one_thread_for_matrices()
def best_merges(
    spikes: UnitSpikes,
    unit_indices: NDArray[np.integer],
    max_pairs: int,
    calibration: Calibration | None = None,
) -> tuple[pd.DataFrame, int]:
    """Return the first rows of the table of `suggest_merges` with its defaults.

    Parameters
    ----------
    spikes : UnitSpikes
        Of an analyzer.
    unit_indices : array (n,) integer
        Only pairs of these units.
    max_pairs : int
        So many rows at most; no others are explained.
    calibration : Calibration, optional
        Of merges.

    Returns
    -------
    table : pandas.DataFrame
    num_pairs : int
        Rows of the whole table.
    """
    is_asked = np.zeros(spikes.num_units, dtype=bool)
    is_asked[unit_indices] = True
    candidates, duplicate = _default_candidates(spikes, is_asked[:, None] & is_asked)
    columns = evidence_of_pairs(spikes, candidates, None, duplicate)
    return _table(columns, max_pairs, calibration), len(candidates.pairs)


def _table(
    columns: dict[str, NDArray[Any]], max_pairs: int | None, calibration: Calibration | None
) -> pd.DataFrame:
    """Return the evidence of the best pairs as a table, with reasons and probabilities."""
    best = _best_first(columns)[:max_pairs]
    table = pd.DataFrame({name: columns[name][best] if name in columns else "" for name in MERGES})
    table["reason"] = list(map(explanations_text, explain_merges(table)))
    return with_probability(table, calibration)


def scores_of_merges(
    spikes: UnitSpikes, unit_ids: Sequence[Any], least_score: float
) -> pd.DataFrame:
    """Return the pairs with one of some units that `suggest_merges` gives at least a score.

    Parameters
    ----------
    spikes : UnitSpikes
        Of an analyzer.
    unit_ids : sequence of unit ids
        The other unit of a pair may be any.
    least_score : float
        What is worked out of pairs that cannot reach it is no more than tells that.

    Returns
    -------
    pandas.DataFrame
        Best first, as in the table of `suggest_merges` with its defaults: ``unit_id_a``,
        ``unit_id_b``, ``score``.
    """
    candidates, duplicate = _candidates_with(spikes, unit_ids)
    found = evidence_of_pairs(spikes, candidates, None, duplicate, least_score)
    order = _best_first(found)
    order = order[found["score"][order] >= least_score]
    return pd.DataFrame({name: found[name][order] for name in ("unit_id_a", "unit_id_b", "score")})


def one_neuron_probabilities(
    spikes: UnitSpikes, unit_ids: Sequence[Any]
) -> dict[frozenset[Any], float]:
    """Return ``one_neuron_probability`` of the candidates of `suggest_merges` with some units.

    Returns
    -------
    dict
        {both units: probability}.
    """
    candidates, duplicate = _candidates_with(spikes, unit_ids)
    known, _, _ = _spike_time_columns(spikes, candidates, None, duplicate)
    both = zip(known["unit_id_a"].tolist(), known["unit_id_b"].tolist(), strict=True)
    probabilities = known["one_neuron_probability"].tolist()
    return {frozenset(pair): one for pair, one in zip(both, probabilities, strict=True)}


def _candidates_with(spikes: UnitSpikes, unit_ids: Sequence[Any]) -> tuple[_Candidates, int]:
    """Return the candidates of which one is of some units, and the duplicate window."""
    is_asked = np.zeros(spikes.num_units, dtype=bool)
    is_asked[unit_indices_of(spikes.analyzer, unit_ids, may_repeat=True)] = True
    return _default_candidates(spikes, is_asked[:, None] | is_asked)


def _default_candidates(spikes: UnitSpikes, allowed: NDArray[np.bool_]) -> tuple[_Candidates, int]:
    """Return the candidates with the default limits, and the duplicate window."""
    duplicate = round(DEFAULT_DUPLICATE_WINDOW_MS * spikes.analyzer.sampling_frequency * 1e-3)
    limits = DEFAULT_MIN_SIMILARITY, DEFAULT_MAX_DISTANCE_UM, duplicate
    return _find_candidates(spikes, allowed, limits), duplicate


def _best_first(columns: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return the order of the table; of equal ones the order in which they are."""
    score, similarity = columns["score"], columns["similarity"]
    return np.lexsort((np.arange(score.size), -similarity, -score))


class _Candidates(NamedTuple):
    """Pairs of units (n_pairs, 2) int64, the one with more spikes first; similarity, distance."""

    pairs: NDArray[np.int64]
    similarity: NDArray[np.float64]
    distance: NDArray[np.float64]

    def only(self, rows: NDArray[np.int64]) -> _Candidates:
        """Return some of the pairs."""
        return _Candidates(self.pairs[rows], self.similarity[rows], self.distance[rows])


def _find_candidates(
    spikes: UnitSpikes,
    allowed: NDArray[np.bool_],
    limits: tuple[float, float, int],
    max_pairs: int | None = None,
) -> _Candidates:
    """Return the pairs to look at; limits: smallest similarity, largest distance, duplicates."""
    analyzer = spikes.analyzer
    min_similarity, max_distance_um, duplicate = limits
    similarity = get_unit_similarity(analyzer)
    similarity = np.fmax(similarity, similarity.T)
    distance = unit_distances(analyzer)
    is_candidate = _similar_and_near(similarity, distance, min_similarity, max_distance_um)
    num_spikes = spikes.num_spikes
    has_same_spikes = may_share_spikes(analyzer, num_spikes, duplicate, DUPLICATE_SHARE)
    is_candidate |= has_same_spikes
    is_candidate &= allowed
    candidates = np.argwhere(np.triu(is_candidate, 1)).astype(np.int64)
    pairs = _ordered(candidates, num_spikes, analyzer.unit_ids)
    rows, columns = pairs.T
    has_same_spikes |= has_same_spikes.T
    most_similar = np.lexsort(
        (columns, rows, -similarity[rows, columns], ~has_same_spikes[rows, columns])
    )
    pairs = pairs[most_similar[:max_pairs]]
    rows, columns = pairs.T
    return _Candidates(pairs, similarity[rows, columns].astype(np.float64), distance[rows, columns])


def _similar_and_near(
    similarity: NDArray[np.floating],
    distance: NDArray[np.float64],
    min_similarity: float,
    max_distance: float,
) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return (similarity >= min_similarity) & ~(distance > max_distance)


def _ordered(
    pairs: NDArray[np.int64], num_spikes: NDArray[np.int64], unit_ids: NDArray[Any]
) -> NDArray[np.int64]:
    """Put the unit with more spikes first, of equals the smaller id; sort pairs by their ids."""
    rank = np.argsort(np.argsort(unit_ids, kind="stable"), kind="stable")
    a, b = pairs.T
    swap = (num_spikes[b] > num_spikes[a]) | (
        (num_spikes[a] == num_spikes[b]) & (rank[b] < rank[a])
    )
    pairs = np.where(swap[:, None], pairs[:, ::-1], pairs)
    return pairs[np.lexsort((rank[pairs[:, 1]], rank[pairs[:, 0]]))]


class MergeSuggestions(ScoredSuggestions):
    """Pairs of units that may be one neuron, best first; made by `suggest_merges`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per candidate pair; the columns are described in
        `si_curation.variables.MERGES`.
    unit_ids : array
        All units of the analyzer.
    score_threshold : float
        Default threshold of the methods.
    """

    main_columns = (
        "unit_id_a",
        "unit_id_b",
        "score",
        "similarity",
        "one_neuron_probability",
        "waveform_term",
        "amplitude_term",
        "depth_term",
        "duplicate_term",
        "reason",
    )

    def __init__(self, table: pd.DataFrame, unit_ids: NDArray[Any], score_threshold: float) -> None:
        self.table = table
        self.unit_ids = unit_ids
        self.score_threshold = score_threshold

    def __repr__(self) -> str:
        good = len(self._good(None))
        return (
            f"MergeSuggestions: {len(self.table)} candidate pairs of {len(self.unit_ids)} units, "
            f"{good} with a score of {self.score_threshold:g} or more"
        )

    @property
    def explanations(self) -> list[list[Explanation]]:
        """The reasons of each row of the table, as codes with values."""
        return list(explain_merges(self.table))

    def pairs(self, threshold: float | None = None) -> list[tuple[Any, Any]]:
        """Return the pairs of unit ids with a score of at least the threshold, best first."""
        good = self._good(threshold)
        return list(zip(good["unit_id_a"].tolist(), good["unit_id_b"].tolist(), strict=True))

    def groups(self, threshold: float | None = None) -> list[list[Any]]:
        """Return groups of units to merge, as SpikeInterface takes them (``merge_unit_groups``).

        Pairs that reach the threshold are taken best first. Two groups become one only if each pair
        of their units is a candidate with at least half of the threshold, or one that fires at
        different times with no coincidences against it: the pieces of a neuron that drifted do not
        look alike from the first to the last. So a chain of pairs (a with b, b with c) does not
        merge a and c where the evidence is against it.

        Parameters
        ----------
        threshold : float, optional
            Smallest score; `score_threshold` by default.

        Returns
        -------
        list of list of unit ids
            Units in the order of the analyzer, groups in the order of their best pair. No unit is
            in two groups.

        Examples
        --------
        >>> import si_curation as sic
        >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        >>> sic.suggest_merges(analyzer).groups(threshold=1.0)
        []
        """
        pairs = self.pairs(threshold)
        lowest = ACCEPTABLE_SHARE * self._threshold(threshold)
        acceptable = {frozenset(pair) for pair in [*self.pairs(lowest), *self._apart_in_time()]}
        group_of: dict[Any, list[Any]] = {}
        for a, b in pairs:
            one, other = group_of.get(a, [a]), group_of.get(b, [b])
            if one is other:
                continue
            if all(frozenset((i, j)) in acceptable for i in one for j in other):
                both = one + other
                group_of.update(dict.fromkeys(both, both))
        position = {unit_id: i for i, unit_id in enumerate(self.unit_ids.tolist())}
        groups = {id(group): group for group in group_of.values()}
        return [sorted(group, key=position.__getitem__) for group in groups.values()]

    def _apart_in_time(self) -> list[tuple[Any, Any]]:
        """Return the pairs that only units between them can tell anything of."""
        table = self.table
        apart = table["time_overlap"] < APART_IN_TIME
        apart &= table["one_neuron_probability"] >= NOT_AGAINST
        found = table[apart]
        return list(zip(found["unit_id_a"].tolist(), found["unit_id_b"].tolist(), strict=True))

    def to_curation_model(self, threshold: float | None = None) -> Curation:
        """Return the groups as SpikeInterface's curation model (format version 2).

        Returns
        -------
        spikeinterface.curation.curation_model.Curation
            For SpikeInterface's ``apply_curation``, or ``CurationSession``'s
            ``apply_spikeinterface_curation``.
        """
        return self._curation(merges=[{"unit_ids": group} for group in self.groups(threshold)])


def evidence_of_pairs(
    spikes: UnitSpikes,
    candidates: _Candidates,
    given: int | None,
    duplicate: int,
    least_score: float = 0.0,
) -> dict[str, NDArray[Any]]:
    """Return the evidence of pairs of units.

    Parameters
    ----------
    spikes : UnitSpikes
    candidates : _Candidates
    given : int, optional
        Refractory period in samples; estimated by default.
    duplicate : int
        Duplicate window in samples.
    least_score : float
        Pairs whose times of spikes and similarity alone make the score smaller are left out.

    Returns
    -------
    dict
        The columns of `si_curation.variables.MERGES` except ``reason``, in the order of the
        candidates.
    """
    known, counts, period = _spike_time_columns(
        spikes, candidates, given, duplicate, DUPLICATE_SHARE if least_score > 0 else 0.0
    )
    if least_score > 0:
        most = similarity_term(candidates.similarity, np.ones(len(candidates.pairs), dtype=bool))
        most = merge_score(most, known["one_neuron_probability"])
        rows = np.flatnonzero(np.maximum(most, known["duplicate_term"]) >= least_score)
        known = {name: values[rows] for name, values in known.items()}
        candidates, period = candidates.only(rows), period[rows]
        counts = counts._replace(ab=counts.ab[rows], ba=counts.ba[rows])
    known |= _continuity_columns(spikes, candidates.pairs, known, counts, period)
    product = merge_score(*(known[name] for name in TERMS))
    return {**known, "score": np.maximum(product, known["duplicate_term"])}


def _spike_time_columns(
    spikes: UnitSpikes,
    candidates: _Candidates,
    given: int | None,
    duplicate: int,
    least_share: float = 0.0,
) -> tuple[dict[str, NDArray[Any]], LagCounts, NDArray[np.int64]]:
    """Return what the times of the spikes tell, the counts by lag and the refractory periods.

    ``duplicate_fraction`` may be 0 where it is at most `least_share`.
    """
    analyzer, pairs = spikes.analyzer, candidates.pairs
    fs = analyzer.sampling_frequency
    longest = max(MAX_CANDIDATE_MS, 0.0 if given is None else given * 1e3 / fs)
    counts = count_lags_of_trains(spikes.trains, spikes.positions, pairs, fs, longest)
    if given is None:
        period, is_estimated = choose_refractory_periods(counts, pairs, duplicate, fs)
    else:
        period, is_estimated = np.full(len(pairs), given), np.zeros(len(pairs), dtype=bool)
    found = cross_refractoriness(counts, pairs, period, duplicate, fs)
    overlap = time_overlap(spikes.counts(pairs), pairs)
    num_spikes = spikes.num_spikes[pairs]  # (n_pairs, 2)
    columns: dict[str, NDArray[Any]] = {
        "unit_id_a": analyzer.unit_ids[pairs[:, 0]],
        "unit_id_b": analyzer.unit_ids[pairs[:, 1]],
        "similarity": candidates.similarity,
        "one_neuron_probability": probability_of_one_neuron(
            found.log_odds, overlap, num_spikes.min(axis=1, initial=1 << 62)
        ),
        "num_spikes_a": num_spikes[:, 0],
        "num_spikes_b": num_spikes[:, 1],
        "distance_um": candidates.distance,
        **_refractory_columns(found, period * 1e3 / fs, is_estimated, given is not None),
        "time_overlap": overlap,
        "shared_templates": _shared_templates(analyzer, pairs),
        **_duplicate_columns(
            _coincident_spikes(spikes, pairs, counts, duplicate, least_share),
            num_spikes,
            counts.baseline_rate(counts.ab + counts.ba, fs) * (duplicate + 1),
        ),
        **_contamination_columns(
            found, num_spikes, period - duplicate, float(observed_periods(analyzer).num_samples)
        ),
    }
    return columns, counts, period


def _coincident_spikes(
    spikes: UnitSpikes,
    pairs: NDArray[np.int64],
    counts: LagCounts,
    duplicate: int,
    least_share: float,
) -> NDArray[np.int64]:
    """Count the spikes of each unit with one of the other close by (n_pairs, 2).

    0 where there are no more pairs of close spikes than a share of the smaller unit's spikes: no
    spike has a partner without being in such a pair.
    """
    near = slice(0, duplicate + 1)
    num_close = counts.ab[:, near].sum(axis=1) + counts.ba[:, near].sum(axis=1)
    fewest = spikes.num_spikes[pairs].min(axis=1, initial=1 << 62)
    rows = np.flatnonzero(num_close > least_share * fewest)
    found = np.zeros((len(pairs), 2), dtype=np.int64)
    found[rows] = count_coincident_spikes(spikes.trains, pairs[rows], duplicate)
    return found


def _continuity_columns(
    spikes: UnitSpikes,
    pairs: NDArray[np.int64],
    known: dict[str, Any],
    counts: LagCounts,
    period: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Compare amplitudes, depths and waveforms of each pair, and make the terms."""
    analyzer = spikes.analyzer
    amplitudes, mean_amplitude = _compare_amplitudes(spikes, pairs)
    depths = _compare_depths(spikes, pairs)
    fs = analyzer.sampling_frequency
    bursts = _burst_asymmetry(counts, pairs, period, mean_amplitude, fs)
    cut = _amplitude_cut(spikes, pairs, known["similarity"])
    bin_s = observed_periods(analyzer).duration_s / NUM_TIME_BINS
    return {
        "amplitude_difference": amplitudes.difference,
        "amplitude_cut_probability": cut,
        "depth_difference_um": depths.difference,
        "depth_distance": depths.distance,
        "time_gap_s": np.fmax(amplitudes.gap, depths.gap) * bin_s,
        "burst_asymmetry": bursts,
        **_terms(analyzer, pairs, known, (amplitudes.distance, bursts, cut), depths.distance),
    }


def _terms(
    analyzer: SortingAnalyzer,
    pairs: NDArray[np.int64],
    known: dict[str, Any],
    of_amplitudes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    depth_distance: NDArray[np.float64],
) -> dict[str, NDArray[Any]]:
    """Compare the waveforms of the pairs that the rest is not against, and make the terms."""
    amplitude_distance, bursts, cut = of_amplitudes

    def others(
        amplitude_distance: NDArray[np.float64], tolerated: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        of_amplitude = continuity_term(amplitude_distance, bursts, tolerated)
        return np.fmax(of_amplitude, cut), continuity_term(depth_distance, None, tolerated)

    everywhere = np.ones(len(pairs), dtype=bool)
    best = merge_score(
        similarity_term(known["similarity"], everywhere),
        known["one_neuron_probability"],
        *others(amplitude_distance, np.full(len(pairs), CUT_SEPARATION)),
    )
    extension = analyzer.get_extension("spike_amplitudes")
    amplitudes = None if extension is None else as_array(extension.get_data(copy=False))
    waveforms = compare_waveforms(
        analyzer, pairs, best >= WORTH_COMPARING, amplitudes, AMPLITUDE_RESOLUTION
    )
    is_compared = np.isfinite(waveforms.separation)
    of_others = waveforms.size * change_of_others(
        analyzer,
        pairs,
        (waveforms.separation > CUT_SEPARATION) & (known["time_overlap"] < APART_OVERLAP),
        waveforms.windows,
    )
    at_border = np.isfinite(waveforms.amplitude_distance)
    amplitude_distance = np.where(at_border, waveforms.amplitude_distance, amplitude_distance)
    amplitude_term, depth_term = others(
        amplitude_distance, np.where(is_compared, CUT_SEPARATION, 0.0)
    )
    return {
        "similarity_term": similarity_term(known["similarity"], is_compared),
        "waveform_term": continuity_term(
            waveforms.separation, None, np.fmax(CUT_SEPARATION, of_others)
        ),
        "amplitude_term": amplitude_term,
        "depth_term": depth_term,
        "amplitude_distance": amplitude_distance,
        "waveform_separation": waveforms.separation,
        "waveform_separation_of_others": of_others,
        "waveform_evidence": waveforms.state.astype(object),
    }


def _amplitude_cut(
    spikes: UnitSpikes, pairs: NDArray[np.int64], similarity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the probability that two similar units are one that was cut at an amplitude."""
    found = np.full(len(pairs), np.nan)
    amplitudes = spikes.amplitudes_of_units
    rows = np.flatnonzero(similarity >= CUT_MIN_SIMILARITY)
    if amplitudes is None or rows.size == 0:
        return found
    found[rows] = probabilities_of_cut(
        pairs[rows],
        spikes.time_bins,
        spikes.counts(pairs[rows]),
        amplitudes,
        AMPLITUDE_RESOLUTION,
    )
    return found


def _shared_templates(analyzer: SortingAnalyzer, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the sorter's templates that both units of each pair have spikes from."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None or len(pairs) == 0:
        return np.zeros(len(pairs), dtype=np.int64)
    has = (assignment.get_template_counts() > 0).astype(np.int64)
    both = has[pairs[:, 0]].multiply(has[pairs[:, 1]])
    return np.asarray(both.sum(axis=1)).ravel().astype(np.int64)


def _refractory_columns(
    found: CrossRefractoriness,
    period_ms: NDArray[np.float64],
    is_estimated: NDArray[np.bool_],
    is_given: bool,
) -> dict[str, NDArray[Any]]:
    source = np.where(is_estimated, "autocorrelograms", "given" if is_given else "default")
    return {
        "refractory_period_ms": period_ms,
        "refractory_period_source": source.astype(object),
        "refractory_observed": found.observed,
        "refractory_expected": found.expected,
        "refractory_ratio": found.ratio,
        "refractory_ratio_lower": found.lower,
        "refractory_ratio_upper": found.upper,
        "refractory_ratio_if_one": found.ratio_if_one,
        "refractory_chance": found.chance,
        "refractory_power": found.power,
    }


def _compare_amplitudes(
    spikes: UnitSpikes, pairs: NDArray[np.int64]
) -> tuple[Continuity, NDArray[np.float64]]:
    """Compare the amplitudes of the units of each pair; also return each unit's mean amplitude."""
    mean = np.full(spikes.num_units, np.nan)
    profile = spikes.profile_of_amplitudes(pairs)
    if profile is None:
        return _no_continuity(len(pairs)), mean
    total = profile.counts.sum(axis=1)
    np.divide((profile.counts * profile.means).sum(axis=1), total, out=mean, where=total > 0)
    resolution = AMPLITUDE_RESOLUTION * np.nan_to_num(mean[pairs].mean(axis=1)) + 1e-12
    return continuity_of_pairs(profile, pairs, resolution), mean


def _compare_depths(spikes: UnitSpikes, pairs: NDArray[np.int64]) -> Continuity:
    profile = spikes.profile_of_depths(pairs)
    if profile is None:
        return _no_continuity(len(pairs))
    return continuity_of_pairs(profile, pairs, DEPTH_RESOLUTION_UM)


def _no_continuity(num_pairs: int) -> Continuity:
    return Continuity(*np.full((3, num_pairs), np.nan))


def _burst_asymmetry(
    counts: LagCounts,
    pairs: NDArray[np.int64],
    period: NDArray[np.int64],
    mean_amplitude: NDArray[np.float64],
    sampling_frequency: float,
) -> NDArray[np.float64]:
    """How often the smaller unit follows the larger one; NaN where an amplitude is unknown."""
    ab = counts.burst_counts(counts.ab, period, sampling_frequency)
    ba = counts.burst_counts(counts.ba, period, sampling_frequency)
    first, second = mean_amplitude[pairs[:, 0]], mean_amplitude[pairs[:, 1]]
    is_larger = first >= second
    asymmetry = burst_asymmetry(np.where(is_larger, ab, ba), np.where(is_larger, ba, ab))
    return np.where(np.isfinite(first) & np.isfinite(second), asymmetry, np.nan)


def _duplicate_columns(
    coincident: NDArray[np.int64],
    num_spikes: NDArray[np.int64],
    expected_by_chance: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    rows, smaller = np.arange(len(num_spikes)), num_spikes.argmin(axis=1)
    fewest = np.maximum(num_spikes[rows, smaller], 1)
    share = coincident[rows, smaller] / fewest
    by_chance = np.minimum(expected_by_chance / fewest, 1.0)
    return {
        "duplicate_term": duplicate_term(share, by_chance, num_spikes[rows, smaller]),
        "duplicate_fraction": share,
        "duplicate_fraction_by_chance": by_chance,
    }


def _contamination_columns(
    found: CrossRefractoriness,
    num_spikes: NDArray[np.int64],
    window: NDArray[np.int64],
    duration: float,
) -> dict[str, NDArray[np.float64]]:
    def estimate(violations: NDArray[np.int64], spikes: NDArray[np.int64]) -> NDArray[np.float64]:
        expected = expected_pairs(spikes, window, duration)
        return estimate_contamination(violations, expected, contamination_by_many_neurons).value

    together = found.auto_observed.sum(axis=1) + found.observed
    return {
        "contamination_a": estimate(found.auto_observed[:, 0], num_spikes[:, 0]),
        "contamination_b": estimate(found.auto_observed[:, 1], num_spikes[:, 1]),
        "contamination_merged": estimate(together, num_spikes.sum(axis=1)),
    }
