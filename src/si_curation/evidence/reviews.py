"""What curators decided about suggested merges, as outcomes that calibrate scores."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import check_arguments, local_path, plain_id, short_repr
from si_curation.curation.session import CurationSession
from si_curation.documents import read_document
from si_curation.errors import FolderNotFoundError, ParameterError
from si_curation.evidence.merges import MergeSuggestions
from si_curation.variables import BENCHMARK_OUTCOMES

PROPOSALS, REVIEWS = "curation.json", "curation_review.json"
REVIEW = "review"
# share of a unit's spikes by which it is the unit that they are in afterwards
MOST = 0.9
_GROUPS_SEEN = ("good", "mua")
_KEY = re.compile(r"merge:[0-9a-f]{16}")


def outcomes_of_reviews(
    reviewed: CurationSession | str | Path, suggestions: MergeSuggestions
) -> pd.DataFrame:
    """Return which suggested merges a curator accepted or rejected.

    Parameters
    ----------
    reviewed : CurationSession, str or Path
        A session of the analyzer that the suggestions were made of (of a journal:
        `CurationSession.resume`); or a folder in which phy 2.2 wrote ``curation_review.json``
        beside the proposals ``curation.json``.
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
    proposals that are not in the file any more tell nothing.

    **Sessions** do not tell what was rejected. A pair counts as accepted if nine in ten spikes of
    each unit are in the same unit at the end, and as rejected if they are in two units, both of
    which are labelled "good" or "mua": the curator has seen and kept both. Of other pairs nothing
    is known.

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
        decided = _decided_in_phy(local_path(reviewed, "reviewed"))
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
    decided = {}
    for a, b in _pairs_of(suggestions.table):
        one, other = end.get(a), end.get(b)
        if one is None or other is None:
            continue
        if one == other:
            decided[frozenset((a, b))] = True
        elif group[one] in _GROUPS_SEEN and group[other] in _GROUPS_SEEN:
            decided[frozenset((a, b))] = False
    return decided


def _pairs_of(table: pd.DataFrame) -> Iterator[tuple[Any, Any]]:
    return table[["unit_id_a", "unit_id_b"]].itertuples(index=False, name=None)


def key_of_proposal(unit_ids: list[int]) -> str:
    """Return phy's key of a proposed merge.

    Examples
    --------
    >>> key_of_proposal([3, 7])
    'merge:adc0d2b391a5218d'
    """
    text = ",".join(str(one) for one in unit_ids).encode("ascii")
    return f"merge:{hashlib.sha256(text).hexdigest()[:16]}"


def _decided_in_phy(folder: Path) -> dict[frozenset[Any], bool]:
    if not folder.is_dir():
        raise FolderNotFoundError(f"{folder} does not exist, expected a folder of phy")
    proposals = read_document(folder / PROPOSALS, expected="proposals of merges")
    reviews = read_document(folder / REVIEWS, expected="phy's reviews of proposals")
    records = _records_of(reviews, folder / REVIEWS)
    decided: dict[frozenset[Any], bool] = {}
    for proposed in _proposed(proposals, folder / PROPOSALS):
        record = records.get(key_of_proposal(proposed))
        if record is None:
            continue
        if record["decision"] == "rejected":
            if len(proposed) == 2:
                decided[frozenset(proposed)] = False
            continue
        merged = record.get("applied_unit_ids", proposed)
        for a, b in itertools.combinations(dict.fromkeys([*merged, *proposed]), 2):
            is_in = (a in merged) + (b in merged)
            if is_in:
                decided[frozenset((a, b))] = is_in == 2
    return decided


def _proposed(content: Any, path: Path) -> list[list[int]]:
    """Return the proposed merges; or raise."""
    merges = content.get("merges") if isinstance(content, Mapping) else None
    if not isinstance(merges, list):
        raise ParameterError(f"{path} has no list of merges, expected SpikeInterface's curation")
    found = []
    for number, merge in enumerate(merges):
        ids = merge.get("unit_ids") if isinstance(merge, Mapping) else None
        if not _are_ids(ids) or len(set(ids)) < 2:
            raise ParameterError(
                f"{path}: merges[{number}].unit_ids is {short_repr(ids)}, expected two whole "
                "numbers or more"
            )
        found.append(ids)
    return found


def _records_of(content: Any, path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the reviews by key; or raise."""
    reviews = content.get("reviews") if isinstance(content, Mapping) else None
    if not isinstance(reviews, Mapping):
        raise ParameterError(f"{path} has no reviews, expected what phy 2.2 writes")
    for key, record in reviews.items():
        decision = record.get("decision") if isinstance(record, Mapping) else None
        if not _KEY.fullmatch(str(key)) or decision not in ("accepted", "rejected"):
            raise ParameterError(
                f"{path}: the review {short_repr(key)} is {short_repr(record)}, expected a key "
                "'merge:...' and the decision 'accepted' or 'rejected'"
            )
        if "applied_unit_ids" in record and not _are_ids(record["applied_unit_ids"]):
            raise ParameterError(
                f"{path}: applied_unit_ids of {key} is "
                f"{short_repr(record['applied_unit_ids'])}, expected a list of whole numbers"
            )
    return dict(reviews)


def _are_ids(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(one) is int for one in value)
