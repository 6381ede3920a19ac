"""`read_phy_reviews`: merges that were proposed to phy 2.2, and what became of each.

phy reads proposals from ``curation.json`` in its folder, in SpikeInterface's format, and writes
what its user decided to ``curation_review.json`` when it saves.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypeGuard

import pandas as pd

from si_curation.checks import check_arguments, local_path, short_repr
from si_curation.curation.session import CurationSession
from si_curation.documents import read_document
from si_curation.errors import FolderNotFoundError, ParameterError, PhyFolderError
from si_curation.evidence.merges import MergeSuggestions
from si_curation.phy.arrays import Findings
from si_curation.phy.content import cluster_sizes
from si_curation.shown import Shown
from si_curation.variables import PHY_REVIEWS, Explanation

PROPOSALS, REVIEWS = "curation.json", "curation_review.json"
ACCEPTED: Literal["accepted"] = "accepted"
REJECTED: Literal["rejected"] = "rejected"
CHANGED = "accepted with changes"
PENDING, STALE, INVALID, ORPHANED = "pending", "stale", "invalid", "orphaned"
_KEY = re.compile(r"merge:[0-9a-f]{16}")
_NAMES = ("merges", "merge_unit_groups", "mergeGroups")
_MAX_SHOWN = 10


@dataclass(frozen=True)
class Review:
    """One proposed merge, or a decision on one that is not in the file any more.

    Attributes
    ----------
    key : str
        phy's; "" of a proposal that is invalid.
    unit_ids : tuple of int
    status : str
        As in `si_curation.variables.PHY_REVIEWS`.
    applied_unit_ids : tuple of int
    result_unit_id : int or None
    score : float
        That the file has; NaN without one.
    problem : Explanation or None
    """

    key: str
    unit_ids: tuple[int, ...]
    status: str
    applied_unit_ids: tuple[int, ...] = ()
    result_unit_id: int | None = None
    score: float = float("nan")
    problem: Explanation | None = None


@dataclass(frozen=True, eq=False)
class PhyReviews(Shown):
    """Merges that were proposed to phy, and what was decided; made by `read_phy_reviews`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each proposal; the columns are described in
        `si_curation.variables.PHY_REVIEWS`.
    reviews : list of Review
        As the rows of the table.
    source_changed : bool or None
        Whether ``curation.json`` is another one than phy had when it saved its decisions; those
        on merges that are proposed again still count. None where phy did not tell.
    saved_at : str or None
        When ``curation_review.json`` was last written (UTC, ISO 8601): decisions are not later.
    curation, review : mapping or None
        Both files as they are, also what is not known of their fields; None where there is none.

    Examples
    --------
    >>> import shutil, tempfile
    >>> import si_curation as sic
    >>> folder = shutil.copytree(sic.example_folder(), tempfile.mkdtemp() + "/copy")
    >>> analyzer = sic.read_kilosort_as_analyzer(folder)
    >>> _ = sic.write_phy_proposals(folder, sic.suggest_merges(analyzer))
    >>> read_phy_reviews(folder)
    PhyReviews: 1 proposed merge (1 pending)
    """

    table: pd.DataFrame
    reviews: list[Review]
    source_changed: bool | None
    saved_at: str | None
    curation: Mapping[str, Any] | None
    review: Mapping[str, Any] | None

    def __repr__(self) -> str:
        counts = self.table["status"].value_counts(sort=False)
        statuses = [f"{counts[s]} {s}" for s in PHY_REVIEWS["status"].codes if s in counts]
        number = sum(one.status != ORPHANED for one in self.reviews)
        many = "s" * (number != 1)
        return f"PhyReviews: {number} proposed merge{many} ({', '.join(statuses) or 'none'})"

    def apply_to(
        self, session: CurationSession, *, decided_by: str = "phy"
    ) -> dict[str, list[Any]]:
        """Bring what was decided in phy into a session, its history and its journal.

        Accepted merges whose units are in the session are steps of it. What phy has merged already,
        and what was rejected, is noted in the history (`CurationSession.note_review`) and changes
        nothing.

        Parameters
        ----------
        session : CurationSession
            Of the units that were proposed, or of the folder that phy has saved since.
        decided_by : str
            Who reviewed in phy, for the history: phy does not tell.

        Returns
        -------
        dict
            {key of the proposal: [the unit of the session that was made]}; an empty list where
            the decision was noted.

        Raises
        ------
        ParameterError
            The units of the session are no whole numbers. Nothing has changed then.

        Examples
        --------
        >>> import si_curation as sic
        >>> session = sic.CurationSession(sic.read_kilosort_as_analyzer(sic.example_folder()))
        >>> accepted = Review(key_of_proposal([3, 7]), (3, 7), "accepted", (11, 12), 20)
        >>> reviews = PhyReviews(pd.DataFrame(), [accepted], None, None, None, None)
        >>> reviews.apply_to(session, decided_by="me")
        {'merge:adc0d2b391a5218d': [20]}
        """
        check_arguments(PhyReviews.apply_to, locals())
        if not all(type(i) is int for i in session.unit_ids):
            raise ParameterError(
                "the units of the session are no whole numbers, as phy's clusters are: begin one "
                "with the analyzer of the folder"
            )
        before = len(session.history)
        try:
            return self._apply(session, decided_by)
        except BaseException:
            for _ in range(len(session.history) - before):
                session.undo()
            raise

    def _apply(self, session: CurationSession, decided_by: str) -> dict[str, list[Any]]:
        made: dict[str, list[Any]] = {}
        renamed: dict[int, Any] = {}
        waiting = [one for one in self.reviews if one.status in (ACCEPTED, CHANGED, ORPHANED)]
        waiting = [one for one in waiting if one.applied_unit_ids]
        while True:  # a merge may be of what another one made
            here = set(session.unit_ids)
            ready = next(
                (r for r in waiting if {renamed.get(i, i) for i in r.applied_unit_ids} <= here),
                None,
            )
            if ready is None:
                break
            waiting.remove(ready)
            wanted = ready.result_unit_id
            is_free = wanted is not None and not session.was_used(wanted)
            new = session.merge(
                [renamed.get(i, i) for i in ready.applied_unit_ids],
                new_unit_id=wanted if is_free else None,
                reason=self._reason(ready),
                decided_by=decided_by,
            )
            if wanted is not None:
                renamed[wanted] = new
            made[ready.key] = [new]
        for one in self.reviews:
            is_accepted = any(one is other for other in waiting)
            if is_accepted or one.status == REJECTED:
                session.note_review(
                    one.applied_unit_ids or one.unit_ids,
                    ACCEPTED if is_accepted else REJECTED,
                    result_unit_id=one.result_unit_id,
                    reason=self._reason(one),
                    decided_by=decided_by,
                )
                made[one.key] = []
        return made

    def _reason(self, one: Review) -> str:
        what = f"proposal {one.key}, {one.status} in phy"
        return what if self.saved_at is None else f"{what}, which saved it at {self.saved_at}"


def read_phy_reviews(folder: str | Path, suggestions: MergeSuggestions | None = None) -> PhyReviews:
    """Read which merges were proposed to phy 2.2 in a folder, and what was decided on each.

    Parameters
    ----------
    folder : str or Path
        With ``curation.json`` (of `write_phy_proposals`, of SpikeInterface, of another pipeline),
        ``curation_review.json`` (of phy), or both.
    suggestions : MergeSuggestions, optional
        Their evidence is put beside the decisions: ``reason``, and ``score`` where the file has
        none.

    Returns
    -------
    PhyReviews
        ``.table`` with a row for each proposal: pending, accepted, accepted with changes (phy
        merged other units than proposed), rejected, stale (a unit is gone), invalid, or orphaned (a
        decision whose proposal is not in the file any more).

    Raises
    ------
    FolderNotFoundError
        There is no such folder, or neither of the two files.
    PhyFolderError
        ``spike_clusters.npy`` cannot be read.
    ParameterError
        One of the files is damaged, or of another format.

    See Also
    --------
    write_phy_proposals, outcomes_of_reviews, calibrate_suggestions

    Notes
    -----
    Read from phy's development branch of 2026-08: the key of a proposal is
    ``"merge:" + sha256("3,7").hexdigest()[:16]`` of its units in their order. What is invalid or
    stale is as phy has it; without ``spike_clusters.npy`` and ``spike_templates.npy`` nothing is
    stale.

    Examples
    --------
    >>> import shutil, tempfile
    >>> import si_curation as sic
    >>> folder = shutil.copytree(sic.example_folder(), tempfile.mkdtemp() + "/copy")
    >>> suggestions = sic.suggest_merges(sic.read_kilosort_as_analyzer(folder))
    >>> _ = sic.write_phy_proposals(folder, suggestions)
    >>> read_phy_reviews(folder, suggestions).table[["unit_ids", "status"]].values.tolist()
    [[(12, 11), 'pending']]
    """
    check_arguments(read_phy_reviews, locals())
    path = local_path(folder, "folder")
    if not path.is_dir():
        raise FolderNotFoundError(f"{path} does not exist, expected a folder of phy")
    curation_file, review_file = path / PROPOSALS, path / REVIEWS
    if not curation_file.exists() and not review_file.exists():
        raise FolderNotFoundError(
            f"{path} has neither {PROPOSALS} nor {REVIEWS}, expected proposals of merges "
            "(write_phy_proposals, si-curation propose) or phy's decisions on them"
        )
    curation = review = None
    if curation_file.exists():
        curation = _read(curation_file, "list of merges", "SpikeInterface's curation")
    if review_file.exists():
        review = _read(review_file, "reviews", "what phy 2.2 writes")
    records = {} if review is None else _records_of(review, review_file)
    live = _live_units(path)
    reviews = [] if curation is None else list(_proposed(curation, curation_file, records, live))
    keys = {one.key for one in reviews}
    reviews += [_orphaned(key, one) for key, one in records.items() if key not in keys]
    digest = None if review is None else _digest_of_source(review)
    now = None if curation is None else hashlib.sha256(curation_file.read_bytes()).hexdigest()
    return PhyReviews(
        _tabulate(reviews, suggestions),
        reviews,
        None if digest is None else digest != now,
        _saved_at(review_file),
        curation,
        review,
    )


def key_of_proposal(unit_ids: Sequence[int]) -> str:
    """Return phy's key of a proposed merge.

    Examples
    --------
    >>> key_of_proposal([3, 7])
    'merge:adc0d2b391a5218d'
    """
    text = ",".join(str(one) for one in unit_ids).encode("ascii")
    return f"merge:{hashlib.sha256(text).hexdigest()[:16]}"


def _read(path: Path, needed: str, expected: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise ParameterError(f"{path} is no file, expected {expected}")
    content = read_document(path, expected=expected)
    if not isinstance(content, Mapping):
        raise ParameterError(f"{path} has no {needed}, expected {expected}")
    return content


def _live_units(folder: Path) -> set[int] | None:
    findings = Findings()
    sizes = cluster_sizes(folder, findings)
    if findings.with_severity("error"):
        raise PhyFolderError(folder, findings.with_severity("error"))
    return None if sizes is None else set(sizes)


def merges_of(content: Mapping[str, Any], path: Path) -> list[Any]:
    """Return the entries of a curation file that are merges, whichever program wrote it; or raise.

    Each is a mapping with ``unit_ids``, or what the file has instead.
    """
    name = next((n for n in _NAMES if content.get(n) is not None), None)
    merges = content.get(name) if name is not None else None
    if isinstance(merges, Mapping):  # {new unit: units}
        return [{"unit_ids": ids, "new_unit_id": new} for new, ids in merges.items()]
    if not isinstance(merges, list):
        raise ParameterError(f"{path} has no list of merges, expected SpikeInterface's curation")
    return [{"unit_ids": one} if isinstance(one, list) else one for one in merges]


def ids_of(given: Any) -> Any:
    """Return ids with whole numbers in place of texts of digits; others as they are."""
    if not isinstance(given, list):
        return given
    return [int(i) if isinstance(i, str) and re.fullmatch(r"[0-9]{1,18}", i) else i for i in given]


def _proposed(
    content: Mapping[str, Any],
    path: Path,
    records: Mapping[str, Mapping[str, Any]],
    live: set[int] | None,
) -> Iterator[Review]:
    """Yield the proposals of a file with what was decided on each."""
    listed = ids_of(content.get("unit_ids"))
    known = set(listed) if _are_ids(listed) else None
    seen: set[str] = set()
    for merge in merges_of(content, path):
        entry = merge if isinstance(merge, Mapping) else {}
        ids = ids_of(entry.get("unit_ids"))
        if not _are_ids(ids) or len(set(ids)) < max(len(ids), 2):
            found = short_repr(merge if not entry else ids)
            yield Review("", (), INVALID, problem=Explanation("review_not_ids", found=found))
            continue
        key, units, score = key_of_proposal(ids), tuple(ids), _score_of(entry)
        not_listed = [] if known is None else [i for i in ids if i not in known]
        if key in seen:
            yield Review("", units, INVALID, score=score, problem=Explanation("review_twice"))
            continue
        seen.add(key)
        if not_listed:
            problem = Explanation("review_not_listed", ids=_some(not_listed))
            yield Review(key, units, INVALID, score=score, problem=problem)
        elif key in records:
            yield _decided(key, units, records[key], score)
        elif gone := [] if live is None else [i for i in ids if i not in live]:
            problem = Explanation("review_stale", ids=_some(gone))
            yield Review(key, units, STALE, score=score, problem=problem)
        else:
            yield Review(key, units, PENDING, score=score)


def _some(ids: list[int]) -> str:
    return ", ".join([*map(str, ids[:_MAX_SHOWN]), *["..."] * (len(ids) > _MAX_SHOWN)])


def _score_of(entry: Mapping[str, Any]) -> float:
    score = entry.get("score")
    is_score = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1
    return float(score) if is_score else float("nan")  # type: ignore[arg-type]


def _decided(
    key: str, unit_ids: tuple[int, ...], record: Mapping[str, Any], score: float
) -> Review:
    if record["decision"] == REJECTED:
        return Review(key, unit_ids, REJECTED, score=score)
    applied = tuple(record.get("applied_unit_ids", unit_ids))
    status = ACCEPTED if applied == unit_ids else CHANGED
    return Review(key, unit_ids, status, applied, record.get("result_unit_id"), score)


def _orphaned(key: str, record: Mapping[str, Any]) -> Review:
    applied = tuple(record.get("applied_unit_ids", ()))
    problem = Explanation("review_orphaned")
    return Review(key, (), ORPHANED, applied, record.get("result_unit_id"), problem=problem)


def _records_of(content: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the decisions by key; or raise."""
    version = content.get("format_version", "1")
    if str(version) != "1":
        raise ParameterError(
            f"{path}: format_version is {short_repr(version)}, expected '1', which phy 2.2 writes"
        )
    reviews = content.get("reviews")
    if not isinstance(reviews, Mapping):
        raise ParameterError(f"{path} has no reviews, expected what phy 2.2 writes")
    for key, record in reviews.items():
        decision = record.get("decision") if isinstance(record, Mapping) else None
        if not _KEY.fullmatch(str(key)) or decision not in (ACCEPTED, REJECTED):
            raise ParameterError(
                f"{path}: the review {short_repr(key)} is {short_repr(record)}, expected a key "
                "'merge:...' and the decision 'accepted' or 'rejected'"
            )
        applied = record.get("applied_unit_ids", [0, 1])
        if not _are_ids(applied) or len(set(applied)) < max(len(applied), 2):
            raise ParameterError(
                f"{path}: applied_unit_ids of {key} is {short_repr(applied)}, expected two "
                "different whole numbers or more"
            )
        result = record.get("result_unit_id")
        if result is not None and not _are_ids([result]):
            raise ParameterError(
                f"{path}: result_unit_id of {key} is {short_repr(result)}, expected a whole number"
            )
    return dict(reviews)


def _digest_of_source(review: Mapping[str, Any]) -> str | None:
    source = review.get("source")
    digest = source.get("sha256") if isinstance(source, Mapping) else None
    return digest if isinstance(digest, str) else None


def _saved_at(path: Path) -> str | None:
    try:
        seconds = path.stat().st_mtime
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):
        return None


def _are_ids(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(one) is int and -1 < one < 2**63 for one in value)


def _within(
    ids: tuple[int, ...], evidence: Mapping[frozenset[Any], tuple[float, str]]
) -> Iterator[tuple[float, str]]:
    """Yield the evidence of the pairs of some units."""
    if len(ids) ** 2 < len(evidence):
        pairs = map(frozenset, itertools.combinations(ids, 2))
        yield from (evidence[pair] for pair in pairs if pair in evidence)
    else:
        own = set(ids)
        yield from (value for pair, value in evidence.items() if pair <= own)


def _tabulate(reviews: list[Review], suggestions: MergeSuggestions | None) -> pd.DataFrame:
    evidence: dict[frozenset[Any], tuple[float, str]] = {}
    if suggestions is not None:
        table = suggestions.table
        texts = table["reason"] if "reason" in table else [""] * len(table)
        pairs = zip(table["unit_id_a"], table["unit_id_b"], table["score"], texts, strict=True)
        evidence = {frozenset((a, b)): (float(score), text) for a, b, score, text in pairs}
    rows = []
    for one in reviews:
        score, reason = max(_within(one.unit_ids, evidence), default=(one.score, ""))
        rows.append(
            {
                "key": one.key,
                "unit_ids": one.unit_ids,
                "status": one.status,
                "applied_unit_ids": one.applied_unit_ids,
                "result_unit_id": one.result_unit_id,
                "score": score if math.isnan(one.score) else one.score,
                "reason": reason,
                "problem": "" if one.problem is None else str(one.problem),
            }
        )
    found = pd.DataFrame(rows, columns=list(PHY_REVIEWS))
    return found.astype({"result_unit_id": "Int64", "score": "float64"})
