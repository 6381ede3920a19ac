"""What curators decided about suggested merges, as outcomes that calibrate scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import check_arguments, plain_id
from si_curation.curation.session import CurationSession
from si_curation.errors import FolderNotFoundError, ParameterError
from si_curation.evidence.merges import MergeSuggestions
from si_curation.evidence.phy_reviews import (
    ACCEPTED,
    CHANGED,
    PROPOSALS,
    REJECTED,
    REVIEWS,
    PhyReviews,
    read_phy_reviews,
)
from si_curation.variables import BENCHMARK_OUTCOMES

REVIEW = "review"
# share of a unit's spikes by which it is the unit that they are in afterwards
MOST = 0.9
_GROUPS_SEEN = ("good", "mua")


def outcomes_of_reviews(
    reviewed: CurationSession | PhyReviews | str | Path, suggestions: MergeSuggestions
) -> pd.DataFrame:
    """Return which suggested merges a curator accepted or rejected.

    Parameters
    ----------
    reviewed : CurationSession, PhyReviews, str or Path
        A session of the analyzer that the suggestions were made of (of a journal:
        `CurationSession.resume`); or a folder in which phy 2.2 wrote ``curation_review.json``
        beside the proposals ``curation.json``, or what `read_phy_reviews` read of it.
    suggestions : MergeSuggestions
        Made before anything was merged or split: they have the scores.

    Returns
    -------
    pandas.DataFrame
        One row for each pair that was decided: the columns of
        `si_curation.variables.BENCHMARK_OUTCOMES`, with "review" as ``change``; ``is_right``:
        accepted.

    Raises
    ------
    FolderNotFoundError
        The folder, or one of the two files, does not exist.
    ParameterError
        A file is not what phy writes, or the session is of other units.

    See Also
    --------
    calibrate_suggestions

    Notes
    -----
    **phy.** All pairs of the units of an accepted proposal were accepted; where phy merged other
    units than the proposed ones, the pairs of those that were merged were accepted, and those of
    one that was merged with one that was not were rejected. The pair of a rejected proposal of two
    units was rejected; of a rejected proposal of more, nobody knows which pair is wrong. Reviews of
    proposals that are not in the file any more, or that are invalid, tell nothing.

    **Sessions.** A pair counts as accepted if nine in ten spikes of each unit are in the same unit
    at the end, and as rejected if it was noted so (`CurationSession.note_review`,
    `PhyReviews.apply_to`), or if they are in two units, both of which are labelled "good" or
    "mua": the curator has seen and kept both. Of other pairs nothing is known.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> session = sic.CurationSession(analyzer)
    >>> session.merge([11, 12])
    14
    >>> outcomes_of_reviews(session, sic.suggest_merges(analyzer))["is_right"].tolist()
    [True]
    """
    check_arguments(outcomes_of_reviews, locals())
    if isinstance(reviewed, CurationSession):
        decided = _decided_in_session(reviewed, suggestions)
    else:
        reviews = reviewed if isinstance(reviewed, PhyReviews) else read_phy_reviews(reviewed)
        decided = _decided_in_phy(reviews, "reviewed" if reviews is reviewed else str(reviewed))
    table = suggestions.table
    rows = [
        {
            "suggestion": "merges",
            "change": REVIEW,
            "score": float(score),
            "is_suggested": bool(score >= suggestions.score_threshold),
            "is_right": decided[frozenset((a, b))],
        }
        for a, b, score in table[["unit_id_a", "unit_id_b", "score"]].itertuples(index=False)
        if frozenset((a, b)) in decided
    ]
    found = pd.DataFrame(rows, columns=list(BENCHMARK_OUTCOMES))
    return found.astype({n: v.dtype for n, v in BENCHMARK_OUTCOMES.items() if v.dtype != "str"})


def _decided_in_session(
    session: CurationSession, suggestions: MergeSuggestions
) -> dict[frozenset[Any], bool]:
    """Return whether each pair was merged, where that is known."""
    analyzer = session.sorting_analyzer
    if analyzer.unit_ids.tolist() != suggestions.unit_ids.tolist():
        raise ParameterError(
            "suggestions are of other units than those that the session began with: make them of "
            "session.sorting_analyzer"
        )
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    total = np.bincount(unit_index, minlength=len(analyzer.unit_ids))
    end: dict[Any, Any] = {}  # where most spikes of a unit are
    for unit_id in session.unit_ids:
        counts = np.bincount(unit_index[session.get_spikes(unit_id)], minlength=total.size)
        for index in np.flatnonzero(counts >= np.maximum(MOST * total, 1)):
            end[plain_id(analyzer.unit_ids[index])] = unit_id
    group = session.table["group"]
    noted = session.history
    noted = noted[noted["in_effect"] & (noted["operation"] == "review")]
    refused = {
        frozenset(ids)
        for ids, value in zip(noted["inputs"], noted["value"], strict=True)
        if value == REJECTED and len(ids) == 2
    }
    decided = {}
    for a, b in _pairs_of(suggestions.table):
        one, other = end.get(a), end.get(b)
        pair = frozenset((a, b))
        if one is not None and one == other:
            decided[pair] = True
        elif pair in refused:
            decided[pair] = False
        elif one is None or other is None:
            continue
        elif group[one] in _GROUPS_SEEN and group[other] in _GROUPS_SEEN:
            decided[pair] = False
    return decided


def _pairs_of(table: pd.DataFrame) -> Iterator[tuple[Any, Any]]:
    return table[["unit_id_a", "unit_id_b"]].itertuples(index=False, name=None)


def _decided_in_phy(reviews: PhyReviews, where: str) -> dict[frozenset[Any], bool]:
    if reviews.curation is None or reviews.review is None:
        name, what = (
            (PROPOSALS, "proposals of merges")
            if reviews.curation is None
            else (REVIEWS, "phy's reviews of proposals")
        )
        raise FolderNotFoundError(f"{where} has no {name}, expected {what}")
    decided: dict[frozenset[Any], bool] = {}
    for one in reviews.reviews:
        if one.status == REJECTED and len(one.unit_ids) == 2:
            decided[frozenset(one.unit_ids)] = False
        elif one.status in (ACCEPTED, CHANGED):
            merged = set(one.applied_unit_ids)
            together = dict.fromkeys([*one.applied_unit_ids, *one.unit_ids])
            for a, b in itertools.combinations(together, 2):
                is_in = (a in merged) + (b in merged)
                if is_in:
                    decided[frozenset((a, b))] = is_in == 2
    return decided
