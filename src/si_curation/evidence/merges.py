"""`suggest_merges`: pairs of units that may be one neuron, with the evidence side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.errors import ParameterError
from si_curation.evidence.merge_groups import MergeSuggestions
from si_curation.evidence.merge_table import (
    check_number,
    check_periods,
    rows_of_units,
    tabulate_pairs,
)
from si_curation.extensions.unit_similarity import get_unit_similarity

DEFAULT_MIN_SIMILARITY = 0.5
DEFAULT_MAX_DISTANCE_UM = 150.0
# a pair of which nothing is known but its similarity reaches 0.5 at most
DEFAULT_SCORE_THRESHOLD = 0.55
DEFAULT_DUPLICATE_WINDOW_MS = 0.4


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
) -> MergeSuggestions:
    """Rank pairs of units that may be one neuron, with all evidence side by side.

    What a curator does with phy's SimilarityView and CorrelogramView: take the most similar units,
    look whether the cross-correlogram has a dip, whether the amplitude and the depth go on where
    the other unit ends, and whether the same spikes were found twice. No recording is needed.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With templates (the extension "templates" or "template_assignment"). Used where they are
        there: "unit_similarity" (else computed now), "unit_locations" (else the centre of the
        templates' amplitudes), "spike_amplitudes", "spike_locations".
    min_similarity : float
        Candidates are pairs that are at least so similar (`unit_similarity`; the larger of both
        orders).
    max_distance_um : float
        Candidates are at most so far apart.
    max_pairs : int, optional
        Take only so many candidates, the most similar ones.
    refractory_period_ms : float, optional
        Of all pairs. By default that of each pair is estimated from the autocorrelograms of both
        units together; 1.5 ms where it cannot be told.
    duplicate_window_ms : float
        Spikes of the two units that are at most so far apart are taken for the same spike found
        twice. They do not count as coincidences within the refractory period.
    score_threshold : float
        Default of the methods of the result. A pair of which nothing is known but its similarity
        reaches 0.5 at most.
    unit_ids : sequence of unit ids, optional
        Only pairs of these units; all by default.

    Returns
    -------
    MergeSuggestions
        ``.table`` has a row for each candidate, best first, with the columns of
        `si_curation.evidence.merge_score.MERGE_DESCRIPTIONS`, which tells what each is;
        ``.groups()`` are merge groups for SpikeInterface.

    Raises
    ------
    MissingDataError
        There are no templates.
    ParameterError, UnknownIdError
        A parameter cannot be used.

    Notes
    -----
    **Score** = ``similarity x one_neuron_probability x amplitude_term x depth_term``: each of them
    is a column, and the score never falls when one of them rises. They are cut to 0 to 1. A term
    that cannot be told is NaN and left out of the product.

    - ``one_neuron_probability``: two models of the coincidences in the cross-correlogram, one
      neuron (as few as in the two autocorrelograms) and two independent ones (as many as at lags of
      10 to 50 ms), are weighed by Bayes' rule at even odds; see
      `si_curation.evidence.merge_evidence.cross_refractoriness`. 0.5 says that the spikes are too
      few, or the units too contaminated, to tell. Units that fire at different times cannot have
      coincidences: where ``time_overlap`` is below 0.5 the odds before rise, up to 20 to 1 where
      the two are never active together.
    - ``amplitude_term``, ``depth_term``: ``exp(-d**2 / 8)``, where ``d`` is the difference in
      standard deviations of the spikes, where the two are closest in time and beyond sampling
      error: 0.88 for ``d`` = 1, 0.61 for 2, 0.32 for 3. Bursts make later spikes smaller: as far as
      the smaller unit follows the larger one within 15 ms and not the other way round
      (``burst_asymmetry``), the difference of amplitudes does not count.

    **Duplicates**: lags up to `duplicate_window_ms` are kept apart everywhere. A peak there and a
    dip beyond is the same neuron found twice; when merging, remove the duplicates. A sorter that
    cannot resolve overlapping spikes makes a hole there, which says nothing.

    **Contamination** is Llobet's (many neurons), with the refractory period of the pair: of each
    unit, and of both together from the sum of their violations.

    See Also
    --------
    find_bad_merges : the reverse

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
    analyzer = sorting_analyzer
    fs = analyzer.sampling_frequency
    _check(
        fs,
        min_similarity,
        max_distance_um,
        max_pairs,
        refractory_period_ms,
        duplicate_window_ms,
        score_threshold,
    )
    allowed = np.zeros(len(analyzer.unit_ids), dtype=bool)
    allowed[rows_of_units(analyzer, unit_ids)] = True
    similarity = get_unit_similarity(analyzer)
    similarity = np.fmax(similarity, similarity.T)
    distance = _distances(analyzer)
    candidates = _candidates(similarity, distance, allowed, min_similarity, max_distance_um)
    num_spikes = np.bincount(
        analyzer.sorting.to_spike_vector()["unit_index"], minlength=len(analyzer.unit_ids)
    )
    pairs = _ordered(candidates, num_spikes, analyzer.unit_ids)
    strongest = np.lexsort((pairs[:, 1], pairs[:, 0], -similarity[pairs[:, 0], pairs[:, 1]]))
    pairs = pairs[strongest[:max_pairs]]
    table = tabulate_pairs(
        analyzer,
        pairs,
        similarity[pairs[:, 0], pairs[:, 1]].astype(np.float64),
        distance[pairs[:, 0], pairs[:, 1]],
        num_spikes,
        None if refractory_period_ms is None else round(refractory_period_ms * fs * 1e-3),
        round(duplicate_window_ms * fs * 1e-3),
    )
    order = np.lexsort((np.arange(len(table)), -table["similarity"], -table["score"]))
    return MergeSuggestions(
        table.iloc[order].reset_index(drop=True), analyzer.unit_ids, float(score_threshold)
    )


def _check(fs, min_similarity, max_distance, max_pairs, period_ms, duplicate_ms, threshold) -> None:
    problems: list[str] = []
    check_number(problems, "min_similarity", min_similarity, -1.0, 1.0, "a number from -1 to 1")
    check_number(problems, "max_distance_um", max_distance, 0.0, np.inf, "0 µm or more")
    check_number(problems, "score_threshold", threshold, 0.0, 1.0, "a number from 0 to 1")
    if max_pairs is not None and (
        isinstance(max_pairs, bool) or not isinstance(max_pairs, int | np.integer) or max_pairs < 0
    ):
        problems.append(f"max_pairs is {max_pairs!r}, expected None or a whole number, 0 or more")
    check_periods(problems, fs, period_ms, duplicate_ms)
    if problems:
        raise ParameterError("; ".join(problems))


def unit_places(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    """Give the place of each unit: extension "unit_locations", else the centre of its templates.

    Returns
    -------
    array (n_units, 2) float64
        x and y in µm; NaN where a unit has no place.
    """
    extension = analyzer.get_extension("unit_locations")
    if extension is not None:
        return np.asarray(extension.get_data(), dtype=np.float64)[:, :2]
    return _centres(analyzer)


def _distances(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    """Distances of all pairs of units in µm; NaN where a unit has no place."""
    places = unit_places(analyzer)
    difference = places[:, None] - places[None]
    return np.sqrt((difference**2).sum(axis=2))


def _centres(analyzer: SortingAnalyzer) -> NDArray[np.float64]:
    """Centre of mass of each unit's peak-to-peak amplitudes."""
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None:
        amplitudes = assignment.get_template_counts() @ as_array(
            assignment.data["template_amplitudes"]
        ).astype(np.float64)
    else:
        extension = analyzer.get_extension("templates")
        if extension is None:
            return np.full((len(analyzer.unit_ids), 2), np.nan)
        amplitudes = np.ptp(np.nan_to_num(as_array(extension.get_data())), axis=1).astype(float)
    weights = amplitudes**2
    total = weights.sum(axis=1, keepdims=True)
    places = np.asarray(analyzer.get_channel_locations(), dtype=np.float64)[:, :2]
    return np.divide(
        weights @ places, total, out=np.full((len(weights), 2), np.nan), where=total > 0
    )


def _candidates(similarity, distance, allowed, min_similarity, max_distance) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        chosen = (similarity >= min_similarity) & ~(distance > max_distance)
    chosen &= allowed[:, None] & allowed[None, :]
    return np.argwhere(np.triu(chosen, 1)).astype(np.int64)


def _ordered(pairs: NDArray[np.int64], num_spikes: NDArray, unit_ids: NDArray) -> NDArray[np.int64]:
    """Put the unit with more spikes first, of equals the smaller id; pairs in the order of ids."""
    rank = np.argsort(np.argsort(unit_ids, kind="stable"), kind="stable")
    a, b = pairs.T
    swap = (num_spikes[b] > num_spikes[a]) | (
        (num_spikes[a] == num_spikes[b]) & (rank[b] < rank[a])
    )
    pairs = np.where(swap[:, None], pairs[:, ::-1], pairs)
    return pairs[np.lexsort((rank[pairs[:, 1]], rank[pairs[:, 0]]))]
