"""`replay_curation`: a curation carried over to another sorting of the same recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.agreement.alignment import align_sources
from si_curation.agreement.sources import Reading, Source, check_kinds, check_sorting, read_source
from si_curation.checks import Checks
from si_curation.curation.session import GROUP, CurationSession, whole_session
from si_curation.errors import ParameterError
from si_curation.kernels.common_refinement import Refinement, common_refinement
from si_curation.kernels.resorted_spikes import match_resorted_spikes
from si_curation.phy.tables import GROUPS, UNSORTED
from si_curation.shown import Shown
from si_curation.variables import (
    REPLAYED_STEPS,
    REPLAYED_UNITS,
    Explanation,
    explanations_text,
)

#: Lags between sortings that are looked for: other alignments of the templates.
_REACH_MS = 1.0
#: Of two recordings fewer spikes than this are found in both.
_LEAST_IN_COMMON = 0.1
_MAX_CELLS = 1 << 27
#: Share of the spikes of a part that a counterpart has of it.
_LEAST_OF_PART = 0.2
#: Of a part, for a unit to be cut.
_FEWEST_SPIKES = 10
_NOT_NEURONS = ("noise", "mua")


@dataclass(frozen=True, eq=False)
class CurationReplay(Shown):
    """What `replay_curation` found.

    Attributes
    ----------
    session : CurationSession
        Of the new sorting, with the steps that were carried over.
    steps : pandas.DataFrame
        One row for each step of the old curation; columns
        `si_curation.variables.REPLAYED_STEPS`.
    units : pandas.DataFrame
        One row for each unit of the new sorting; columns
        `si_curation.variables.REPLAYED_UNITS`.
    num_matched : int
        Spikes that are in both sortings.
    lag : int
        Samples by which the spikes of the new sorting are later.
    """

    _table_shown = "steps"

    session: CurationSession
    steps: pd.DataFrame
    units: pd.DataFrame
    num_matched: int
    lag: int = field(default=0)

    @property
    def left(self) -> pd.DataFrame:
        """The steps that were not carried over, with the reasons."""
        return self.steps[self.steps["outcome"] == "left"].reset_index(drop=True)

    def __repr__(self) -> str:
        counts = self.steps["outcome"].value_counts()
        text = ", ".join(
            f"{counts.get(outcome, 0)} {outcome.replace('_', ' ')}"
            for outcome in REPLAYED_STEPS["outcome"].codes
        )
        return f"CurationReplay({len(self.steps)} steps: {text}; {self.num_matched} spikes matched)"


def replay_curation(
    old: Any,
    new: Any,
    *,
    start: Any = None,
    window_ms: float = 0.2,
    min_purity: float = 0.8,
    min_matched: float = 0.5,
    journal: str | Path | None = None,
    decided_by: str | None = None,
    sampling_frequency: float | None = None,
    trust_analyzers: bool = False,
) -> CurationReplay:
    """Carry a curation over to another sorting of the same recording, by its spikes.

    For another version or other parameters of a sorter, when the first sorting was curated. What
    the curation did in the end counts: merges, splits and removals, and the labels at its end.

    Parameters
    ----------
    old : str, Path, SortingAnalyzer, CurationSession, dict or model
        The curation: a folder of phy, a saved analyzer, a journal, a curation file of
        SpikeInterface, an analyzer, or a session.
    new : str, Path or SortingAnalyzer
        The other sorting: a folder, or an analyzer, in memory or saved.
    start : str, Path or SortingAnalyzer, optional
        What the old curation started from; as of `compare_curations`.
    window_ms : float, default: 0.2
        Largest distance of two spikes that are one, after a lag between the sortings was taken
        off.
    min_purity : float, default: 0.8
        Of the spikes of a new unit that are in both sortings, the smallest share that is of one
        unit of the curation, for the unit to be its counterpart.
    min_matched : float, default: 0.5
        Smallest share of the spikes of a new unit that are in both sortings.
    journal : str or Path, optional
        Of the session; must not exist.
    decided_by : str, optional
        Default: "replay of" and the old curation.
    sampling_frequency : float, optional
        In Hz; for folders without ``params.py``.
    trust_analyzers : bool, default: False
        Load also what can run code of a saved analyzer.

    Returns
    -------
    CurationReplay

    Raises
    ------
    ParameterError
        The sampling frequencies differ, hardly a spike is in both sortings, or a journal or file
        has no start or is of other spikes.
    FolderNotFoundError, PhyFolderError, MissingDataError
        A folder or file does not exist, or cannot be read.

    Notes
    -----
    A spike of the new sorting is the spike of the old one of which it is the best partner, and the
    reverse: close in time, in units that share more spikes than chance gives. A merge is carried
    where its parts have units of their own, a split where a unit has spikes of several of its
    parts, a label where a unit has no other spikes; each unit of an over-split neuron gets its
    label, and is not merged, as nobody decided that. Nothing is guessed but the part of spikes that
    the old sorting does not have: in a split they stay with most.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> curated = sic.CurationSession(analyzer)
    >>> curated.label([curated.merge([11, 12])], "good")
    >>> found = sic.replay_curation(curated, analyzer)  # another sorting, usually
    >>> found.steps[["kind", "old_units", "outcome", "results"]].iloc[0].tolist()
    ['merge', (11, 12), 'carried', (14,)]
    >>> found.session.table.loc[14, "group"]
    'good'
    """
    checks = Checks.of_call(replay_curation, locals())
    check_kinds(checks, [old], ["old"], start)
    check_sorting(checks, "new", new)
    checks.number("window_ms", window_ms, above=0, at_most=5)
    checks.number("min_purity", min_purity, above=0.5, at_most=1)
    checks.number("min_matched", min_matched, above=0, at_most=1)
    checks.number("sampling_frequency", sampling_frequency, above=0, optional=True)
    checks.finish()
    reading = Reading(start, sampling_frequency, trust_analyzers)
    curated = read_source(old, "old", reading)
    begun = None if start is None else read_source(start, "start", reading)
    analyzer = reading.analyzer_of(new, "new")
    resorted = read_source(analyzer, "new", reading)
    if isinstance(new, str | Path):
        resorted = replace(resorted, text=str(new))
    matches = _match(curated, begun, resorted, window_ms)
    with whole_session(analyzer, journal, decided_by or f"replay of {curated.text}") as session:
        steps = _Replay(matches, session, min_purity, min_matched).do()
        return CurationReplay(
            session, steps, _units_table(matches), int(matches.counts.sum()), matches.lag
        )


# ------------------------------------------------------------------------------- matched spikes


class _Matches(NamedTuple):
    """The spikes of both sortings, in parts of the old curation.

    Attributes
    ----------
    first, final : array (n_parts,) int64
        Unit of each part as the curation began and as it ended, -1 where it was removed.
    first_ids, final_ids, new_ids : list
    labels : list of str
        Of the units at the end.
    sizes : array (n_parts,) int64
        Spikes of each part in the old sorting.
    counts : array (n_parts, n_new) int64
        Spikes of each part that are of each unit of the new sorting.
    new_sizes : array (n_new,) int64
    part_of_spike : array (n_spikes of the new sorting,) int64
        -1 for spikes that the old sorting does not have.
    lag : int
    """

    first: NDArray[np.int64]
    final: NDArray[np.int64]
    first_ids: list[Any]
    final_ids: list[Any]
    new_ids: list[Any]
    labels: list[str]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    new_sizes: NDArray[np.int64]
    part_of_spike: NDArray[np.int64]
    lag: int


def _match(curated: Source, start: Source | None, resorted: Source, window_ms: float) -> _Matches:
    _check_rates(curated, resorted)
    aligned = align_sources([curated], start)
    final = aligned.units[0]
    first, first_ids = aligned.start, aligned.start_ids
    if first_ids is None:  # nothing is known of how it began
        first, first_ids = final, curated.unit_ids
    sizes = [len(first_ids), len(curated.unit_ids)]
    refined = common_refinement([first, final], sizes)
    samples = curated.samples if start is None else _samples(curated, start)
    num_parts, num_new = len(refined.counts), len(resorted.unit_ids)
    if num_parts * num_new > _MAX_CELLS:
        raise ParameterError(
            f"old has {num_parts} units and parts of units, new {num_new} units: too many to be "
            "compared one by one"
        )
    rate = resorted.sampling_frequency
    new_samples = np.ascontiguousarray(resorted.samples, dtype=np.int64)
    new_units = np.ascontiguousarray(resorted.unit_index, dtype=np.int32)
    found = match_resorted_spikes(
        np.ascontiguousarray(samples, dtype=np.int64),
        refined.part_of_spike,
        num_parts,
        new_samples,
        new_units,
        num_new,
        round(window_ms * rate / 1000),
        round(_REACH_MS * rate / 1000),
    )
    matched = found.partner >= 0
    _check_recordings(curated, resorted, int(matched.sum()))
    part = np.full(new_samples.size, -1, dtype=np.int64)
    part[matched] = refined.part_of_spike[found.partner[matched]]
    counts = np.bincount(
        part[matched] * num_new + new_units[matched], minlength=num_parts * num_new
    )
    return _matches_of(refined, curated, first_ids, resorted, part, counts, found.lag)


def _matches_of(
    refined: Refinement,
    curated: Source,
    first_ids: list[Any],
    resorted: Source,
    part: NDArray[np.int64],
    counts: NDArray[np.int64],
    lag: int,
) -> _Matches:
    num_new = len(resorted.unit_ids)
    return _Matches(
        refined.members[:, 0],
        refined.members[:, 1],
        first_ids,
        curated.unit_ids,
        resorted.unit_ids,
        curated.labels,
        refined.counts,
        counts.reshape(len(refined.counts), num_new),
        np.bincount(resorted.unit_index, minlength=num_new).astype(np.int64),
        part,
        lag,
    )


def _samples(curated: Source, start: Source) -> NDArray[np.int64]:
    """Return the samples in the order of the one that has most spikes."""
    return max([curated, start], key=lambda one: one.samples.size).samples


def _check_rates(curated: Source, resorted: Source) -> None:
    if not np.isclose(curated.sampling_frequency, resorted.sampling_frequency, rtol=1e-6, atol=0):
        raise ParameterError(
            f"{curated.called} has {curated.sampling_frequency:g} Hz, {resorted.called} "
            f"{resorted.sampling_frequency:g} Hz; expected sortings of one recording"
        )


def _check_recordings(curated: Source, resorted: Source, num_matched: int) -> None:
    fewest = min(curated.samples.size, resorted.samples.size)
    if fewest and num_matched < _LEAST_IN_COMMON * fewest:
        raise ParameterError(
            f"{num_matched} of the {resorted.samples.size} spikes of {resorted.called} are spikes "
            f"of {curated.called}, which has {curated.samples.size}; expected sortings of one "
            "recording, whose times begin at the same sample"
        )


def _units_table(matches: _Matches) -> pd.DataFrame:
    of_final = _by_final(matches)
    matched = of_final.sum(axis=0)
    best = of_final.argmax(axis=0) if len(of_final) else np.zeros(matched.size, dtype=np.int64)
    sizes = np.bincount(matches.final + 1, matches.sizes, len(matches.final_ids) + 1)
    ids = ["removed" if i == 0 else matches.final_ids[i - 1] for i in best]
    share = of_final[best, np.arange(matched.size)]
    with np.errstate(divide="ignore", invalid="ignore"):
        purity, coverage = share / matched, share / sizes[best]
    known = matched > 0
    table = pd.DataFrame(
        {
            "unit_id": pd.Series(matches.new_ids, dtype=object),
            "num_spikes": matches.new_sizes,
            "num_matched": matched,
            "old_unit": pd.Series([i if k else None for i, k in zip(ids, known, strict=True)]),
            "purity": np.where(known, purity, np.nan),
            "coverage": np.where(known, coverage, np.nan),
        }
    )
    return table.astype({"old_unit": object})[list(REPLAYED_UNITS)]


def _by_final(matches: _Matches) -> NDArray[np.int64]:
    """Return the spikes of each final unit in each new one; the first row are removed ones."""
    out = np.zeros((len(matches.final_ids) + 1, matches.counts.shape[1]), dtype=np.int64)
    np.add.at(out, matches.final + 1, matches.counts)
    return out


# --------------------------------------------------------------------------------------- steps


class _Piece(NamedTuple):
    """A unit of the session after the splits, which is a new unit or a part of one."""

    unit_id: Any  # in the session
    new: int
    parts: NDArray[np.int64]  # that its matched spikes are of
    spikes: NDArray[np.int64]  # of each of these
    num_spikes: int


class _Replay:
    """Does the steps of the old curation on the new sorting, and notes what became of each."""

    def __init__(
        self,
        matches: _Matches,
        session: CurationSession,
        min_purity: float,
        min_matched: float,
    ) -> None:
        self.matches = matches
        self.session = session
        self.min_purity, self.min_matched = min_purity, min_matched
        self.rows: list[dict[str, Any]] = []
        self.matched = matches.counts.sum(axis=0)
        self.by_final = _by_final(matches)

    def do(self) -> pd.DataFrame:
        """Do all steps; return the table of them."""
        pieces = self._splits()
        by_final = self._owners(pieces)
        merged = self._merges(by_final)
        self._labels(merged)
        self._removals(by_final)
        return pd.DataFrame(self.rows, columns=list(REPLAYED_STEPS)).astype({"confidence": float})

    # splits

    def _splits(self) -> list[_Piece]:
        matches = self.matches
        cut: dict[int, list[_Piece]] = {}
        for first in np.unique(matches.first):
            parts = np.flatnonzero(matches.first == first)
            if parts.size > 1 and np.any(matches.final[parts] >= 0):
                self._split(int(first), parts, cut)
        pieces = [piece for some in cut.values() for piece in some]
        for new in np.flatnonzero(self.matched):
            if int(new) not in cut:
                its = np.flatnonzero(matches.counts[:, new])
                pieces.append(self._piece(matches.new_ids[new], int(new), its))
        return pieces

    def _piece(self, unit_id: Any, new: int, parts: NDArray[np.int64]) -> _Piece:
        spikes = self.matches.counts[parts, new]
        return _Piece(unit_id, new, parts, spikes, int(self.matches.new_sizes[new]))

    def _split(self, first: int, parts: NDArray[np.int64], cut: dict[int, list[_Piece]]) -> None:
        """Split the new units that have several parts of one unit of the old sorting."""
        matches = self.matches
        counts = matches.counts[parts]  # (n_parts, n_new)
        its = counts.sum(axis=0)
        inside = self._is_inside(parts)
        several = np.flatnonzero(inside.sum(axis=0) > 1)
        pure = its >= self.min_purity * self.matched
        known = self.matched >= self.min_matched * matches.new_sizes
        usable = [int(new) for new in several if pure[new] and known[new]]
        results: list[Any] = []
        guessed, confidence = 0, 1.0
        for new in usable:
            made, num = self._cut(new, parts[inside[:, new]])
            cut[new] = made
            results += [piece.unit_id for piece in made]
            guessed += num
            confidence = min(confidence, float(its[new] / matches.new_sizes[new]))
        old = (self.matches.first_ids[first],)
        if usable:
            why = [Explanation("replay_carried", share=confidence)]
            why += [Explanation("replay_guessed_spikes", count=guessed)] if guessed else []
            self._note("split", old, "", "carried", self._ids(usable), results, confidence, why)
        elif several.size:
            self._note_mixed("split", old, "", several, its)
        else:
            self._note_apart(old, parts)

    def _is_inside(self, parts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which parts each new unit has enough spikes of to be cut (n_parts, n_new)."""
        counts, sizes = self.matches.counts[parts], self.matches.sizes[parts, None]
        enough = counts >= np.minimum(_FEWEST_SPIKES, np.maximum(3, 0.3 * sizes))
        return enough & ((counts >= 0.3 * sizes) | (counts >= 0.1 * self.matched))

    def _cut(self, new: int, parts: NDArray[np.int64]) -> tuple[list[_Piece], int]:
        """Split a new unit into parts; spikes of none of them go to that of most spikes."""
        unit_id = self.matches.new_ids[new]
        part = self.matches.part_of_spike[self.session.get_spikes(unit_id)]
        largest = parts[self.matches.counts[parts, new].argmax()]
        others = ~np.isin(part, parts)
        label = np.where(others, largest, part)
        made = self.session.split(unit_id, label, reason="split in the old sorting")
        pieces = []
        for one, new_id in zip(np.sort(parts), made, strict=True):
            spikes = self.matches.counts[[one], new]
            size = int(np.count_nonzero(label == one))
            pieces.append(_Piece(new_id, new, np.array([one]), spikes, size))
        return pieces, int(np.count_nonzero(part < 0))

    def _note_apart(self, old: tuple[Any, ...], parts: NDArray[np.int64]) -> None:
        """Note a split of which no new unit has several parts."""
        best = self.matches.counts[parts].argmax(axis=1)
        found = self.matches.counts[parts, best] >= 0.5 * self.matches.sizes[parts]
        if found.all():
            units = self._ids(np.unique(best))
            why = [Explanation("replay_already_apart", units=_listed(units))]
            self._note("split", old, "", "not_needed", units, units, np.nan, why)
        else:
            self._note("split", old, "", "left", (), (), np.nan, [Explanation("replay_not_found")])

    # merges

    def _owners(self, pieces: Sequence[_Piece]) -> dict[int, list[_Piece]]:
        """Return the pieces whose spikes are of each final unit, or of those removed (-1)."""
        owned: dict[int, list[_Piece]] = {}
        for piece in pieces:
            of_final = np.bincount(self.matches.final[piece.parts] + 1, piece.spikes)
            best = int(of_final.argmax())
            matched = float(piece.spikes.sum())
            is_pure = of_final[best] >= self.min_purity * matched
            most = piece.spikes.argmax()  # a sliver of a unit is no counterpart of it
            is_pure &= piece.spikes[most] >= _LEAST_OF_PART * self.matches.sizes[piece.parts[most]]
            if is_pure and matched >= self.min_matched * piece.num_spikes:
                owned.setdefault(best - 1, []).append(piece)
        return owned

    def _merges(self, owned: dict[int, list[_Piece]]) -> dict[int, list[tuple[Any, float]]]:
        """Merge what the curation merged; return the units of each final unit, and their share."""
        out: dict[int, list[tuple[Any, float]]] = {}
        for final in range(len(self.matches.final_ids)):
            pieces = owned.get(final, [])
            shares = [self._share(piece, final) for piece in pieces]
            out[final] = [(p.unit_id, share) for p, share in zip(pieces, shares, strict=True)]
            parts = np.flatnonzero(self.matches.final == final)
            if parts.size > 1:
                out[final] = self._merge(final, parts, pieces, shares)
        return out

    def _merge(
        self, final: int, parts: NDArray[np.int64], pieces: list[_Piece], shares: list[float]
    ) -> list[tuple[Any, float]]:
        units = [(p.unit_id, share) for p, share in zip(pieces, shares, strict=True)]
        old = tuple(self._first_ids(parts))
        ids = tuple(piece.unit_id for piece in pieces)
        here = {int(piece.parts[piece.spikes.argmax()]) for piece in pieces}
        inside = np.zeros(parts.size, dtype=np.int64)
        for piece in pieces:
            inside += self.matches.counts[parts, piece.new] * np.isin(parts, piece.parts)
        found = inside >= 0.5 * self.matches.sizes[parts]
        if len(here) > 1 or (len(pieces) > 1 and found.all()):
            new = self.session.merge(ids, reason="merged in the old sorting")
            share = min(shares)
            why = [Explanation("replay_carried", share=share)]
            self._note("merge", old, "", "carried", self._new_ids(pieces), (new,), share, why)
            return [(new, share)]
        if pieces and found.all():
            why = [Explanation("replay_already_one", units=_listed(ids))]
            self._note("merge", old, "", "not_needed", self._new_ids(pieces), ids, np.nan, why)
        elif not pieces:
            self._note_lost("merge", old, "", final)
        else:
            why = self._of_missing(parts[~found])
            self._note("merge", old, "", "left", self._new_ids(pieces), (), np.nan, why)
        return units

    def _of_missing(self, parts: NDArray[np.int64]) -> list[Explanation]:
        """Return why parts of a merge have no counterpart."""
        why = [Explanation("replay_part_not_found", units=_listed(self._first_ids(parts)))]
        its = self.matches.counts[parts].sum(axis=0)
        one = int(its.argmax())
        if its[one] >= 0.3 * self.matches.sizes[parts].sum():
            share = float(1 - its[one] / max(1, self.matches.new_sizes[one]))
            units = _listed(self._ids([one]))
            why.append(Explanation("replay_with_others", units=units, share=share))
        return why

    # labels and removals

    def _labels(self, units: dict[int, list[tuple[Any, float]]]) -> None:
        wanted: dict[str, list[Any]] = {}
        for final, label in enumerate(self.matches.labels):
            if label == UNSORTED:
                continue
            old = (self.matches.final_ids[final],)
            made = units.get(final, [])
            if made and label in GROUPS:
                ids = tuple(unit_id for unit_id, _ in made)
                share = min(share for _, share in made)
                wanted.setdefault(label, []).extend(ids)
                why = [Explanation("replay_carried", share=share)]
                self._note("label", old, label, "carried", ids, ids, share, why)
            elif not self._label_of_several(old, final, label, wanted):
                self._note_lost("label", old, label, final)
        for label, labelled in wanted.items():
            self.session.label(
                list(dict.fromkeys(labelled)), label, GROUP, reason="labelled in the old sorting"
            )

    def _label_of_several(
        self, old: tuple[Any, ...], final: int, label: str, wanted: dict[str, list[Any]]
    ) -> bool:
        """Label a unit of several old ones that are all noise, or all several neurons."""
        if label not in _NOT_NEURONS:
            return False
        of_final = self.by_final[final + 1]
        new = int(of_final.argmax()) if of_final.size else -1
        if new < 0 or of_final[new] < _FEWEST_SPIKES:
            return False
        unit_id = self.matches.new_ids[new]
        if unit_id not in self.session.unit_ids:
            return False
        counts = self.by_final[:, new]
        same = [False, *(one == label for one in self.matches.labels)]
        share = float(counts[same].sum() / max(1, self.matches.new_sizes[new]))
        is_pure = counts[same].sum() >= self.min_purity * self.matched[new]
        if not is_pure or share < self.min_matched * self.min_purity:
            return False
        wanted.setdefault(label, []).append(unit_id)
        why = [Explanation("replay_carried", share=share)]
        self._note("label", old, label, "carried", (unit_id,), (unit_id,), share, why)
        return True

    def _removals(self, owned: dict[int, list[_Piece]]) -> None:
        gone = np.flatnonzero(self.matches.final < 0)
        removed: list[Any] = []
        for part in gone:
            old = tuple(self._first_ids(np.array([part])))
            its = [piece for piece in owned.get(-1, []) if self._has_most(piece, int(part))]
            if not its:
                self._note_lost("remove", old, "", -1)
                continue
            ids = tuple(piece.unit_id for piece in its)
            share = min(self._share(piece, -1) for piece in its)
            removed += ids
            why = [Explanation("replay_carried", share=share)]
            self._note("remove", old, "", "carried", self._new_ids(its), (), share, why)
        if removed:
            self.session.remove(list(dict.fromkeys(removed)), reason="removed in the old sorting")

    def _has_most(self, piece: _Piece, part: int) -> bool:
        """Return whether most spikes of a piece, or most of the spikes of a part, are in both."""
        its = int(piece.spikes[piece.parts == part].sum())
        return piece.parts[piece.spikes.argmax()] == part or 2 * its >= self.matches.sizes[part]

    # notes

    def _share(self, piece: _Piece, final: int) -> float:
        its = piece.spikes[self.matches.final[piece.parts] == final].sum()
        return float(its / max(1, piece.num_spikes))

    def _note_lost(self, kind: str, old: tuple[Any, ...], label: str, final: int) -> None:
        """Note a step whose unit has no counterpart: nowhere, or among spikes of others."""
        its = self.by_final[final + 1]
        size = self.matches.sizes[self.matches.final == final].sum()
        mixed = np.flatnonzero(its >= max(_FEWEST_SPIKES, 0.3 * size))
        if mixed.size:
            self._note_mixed(kind, old, label, mixed, its)
        else:
            why = [Explanation("replay_not_found")]
            self._note(kind, old, label, "left", (), (), np.nan, why)

    def _note_mixed(
        self,
        kind: str,
        old: tuple[Any, ...],
        label: str,
        new: NDArray[np.int64],
        its: NDArray[np.int64],
    ) -> None:
        one = int(new[its[new].argmax()])
        share = float(1 - its[one] / max(1, self.matches.new_sizes[one]))
        units = self._ids([one])
        why = [Explanation("replay_with_others", units=_listed(units), share=share)]
        self._note(kind, old, label, "left", units, (), 1 - share, why)

    def _note(
        self,
        kind: str,
        old: tuple[Any, ...],
        label: str,
        outcome: str,
        new: Sequence[Any],
        results: Sequence[Any],
        confidence: float,
        why: list[Explanation],
    ) -> None:
        self.rows.append(
            {
                "kind": kind,
                "old_units": old,
                "label": label,
                "outcome": outcome,
                "new_units": tuple(new),
                "results": tuple(results),
                "confidence": confidence,
                "reason": explanations_text(why),
            }
        )

    def _ids(self, new: Sequence[int] | NDArray[np.int64]) -> tuple[Any, ...]:
        return tuple(self.matches.new_ids[int(i)] for i in new)

    def _new_ids(self, pieces: Sequence[_Piece]) -> tuple[Any, ...]:
        return self._ids(list(dict.fromkeys(piece.new for piece in pieces)))

    def _first_ids(self, parts: NDArray[np.int64]) -> list[Any]:
        return [self.matches.first_ids[i] for i in np.unique(self.matches.first[parts])]


def _listed(ids: Sequence[Any]) -> str:
    return ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
