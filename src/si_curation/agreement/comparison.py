"""`compare_curations`: where curations of the same spikes agree, and how far beyond chance."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.agreement.alignment import align_sources
from si_curation.agreement.compared import Compared, Tables
from si_curation.agreement.consensus import make_consensus
from si_curation.agreement.measures import measure_agreement
from si_curation.agreement.parts import REMOVED, Parts
from si_curation.agreement.sources import Reading, Source, check_kinds, read_source
from si_curation.checks import Checks, check_arguments, short_repr
from si_curation.curation.checks import check_label
from si_curation.curation.session import NOISE, CurationSession
from si_curation.files import check_page_file, write_pieces
from si_curation.kernels.common_refinement import Refinement, common_refinement
from si_curation.phy.tables import UNSORTED
from si_curation.shown import Shown
from si_curation.variables import COMPARED_UNITS, DISPUTED_UNITS

_MAX_COUNTERPARTS = 20
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
#: Kinds of disputes that are of labels alone; the others are of spikes.
LABEL_KINDS = ("noise", "label", "label_missing")
_SPIKE_KINDS = ("regrouped", "merged", "split", "not_merged", "not_split", "not_removed")


@dataclass(frozen=True, eq=False)
class CurationComparison(Shown):
    """What `compare_curations` found.

    Attributes
    ----------
    units : pandas.DataFrame
        One row for each unit of each curation; columns `si_curation.variables.COMPARED_UNITS`.
    agreement : pandas.DataFrame
        One row for each measure of each pair, and of all; columns
        `si_curation.variables.AGREEMENT`.
    disputed : pandas.DataFrame
        The units that not all agree on, hardest first; columns
        `si_curation.variables.DISPUTED_UNITS`. Empty where all agree.
    compared : Compared
        The curations, their spikes and the parts that they have in common.
    """

    units: pd.DataFrame
    agreement: pd.DataFrame
    disputed: pd.DataFrame
    compared: Compared = field(repr=False)

    _table_shown = "disputed"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the curations."""
        return self.compared.names

    @property
    def sources(self) -> dict[str, str]:
        """What each curation was given as, by its name."""
        return {one.name: one.text for one in self.compared.sources}

    @property
    def num_spikes(self) -> int:
        """Number of spikes."""
        return self.compared.num_spikes

    @property
    def num_guessed(self) -> int:
        """Spikes at one sample, of which it could not be told which is which in two curations.

        They were taken in their order.
        """
        return self.compared.num_guessed

    def __repr__(self) -> str:
        num = self.units["kind"].ne("same").groupby(self.units["curation"], sort=False).sum()
        counts = ", ".join(f"{name} {count}" for name, count in num.items())
        decisions = int(self.disputed["decision"].nunique())
        return (
            f"CurationComparison({len(self.names)} curations of {self.num_spikes} spikes, "
            f"{decisions} decisions disputed; units of them: {counts})"
        )

    def consensus(
        self,
        sorting_analyzer: SortingAnalyzer | None = None,
        *,
        journal: str | Path | None = None,
        decided_by: str | None = None,
        mark: str | None = "disputed",
    ) -> CurationSession:
        """Make a session in which all that the curations agree on is done, and the rest is left.

        Units that all have are made, with their label. What is disputed stays as the curations
        started from it, without a label, unless all give the spikes one and the same. Units of the
        start that are together in every curation are merged also where more is disputed.

        Parameters
        ----------
        sorting_analyzer : SortingAnalyzer, optional
            Of the same spikes, that the steps are done on. Default: ``start``, the analyzer of the
            first session, or of the first curation that has all spikes.
        journal : str or Path, optional
            Of the session; must not exist.
        decided_by : str, optional
            Default: "consensus of" and the names.
        mark : str or None, default: "disputed"
            A label of this field, with the kind of the dispute, marks the units that are left for
            a decision: a column in phy.

        Returns
        -------
        CurationSession
            An ordinary one, that goes on: undo, further steps, ``apply``.

        Raises
        ------
        ParameterError
            The analyzer has other spikes, or the mark can be no label ("group" is the label).
        OutputExistsError
            The journal exists.
        """
        check_arguments(CurationComparison.consensus, locals())
        if mark is not None:  # before there is a journal
            check_label(mark, "disputed")
        return make_consensus(
            self.compared,
            self.units,
            sorting_analyzer,
            journal=journal,
            decided_by=decided_by,
            mark=mark,
        )

    def export_page(
        self, path: str | Path, *, overwrite: bool = False, title: str | None = None
    ) -> Path:
        """Write one HTML page with the curations side by side, the hardest decisions first.

        The page is one file, loads nothing from elsewhere and runs no script.

        Parameters
        ----------
        path : str or Path
        overwrite : bool, default: False
        title : str, optional

        Returns
        -------
        Path

        Raises
        ------
        OutputExistsError, ParameterError
            The file exists, or cannot be written.
        """
        from si_curation.agreement.page import render_comparison

        check_arguments(CurationComparison.export_page, locals())
        target = check_page_file(path, overwrite)
        tables = Tables(self.units, self.agreement, self.disputed)
        write_pieces(target, render_comparison(self.compared, tables, title), overwrite)
        return target


def compare_curations(
    a: Any,
    b: Any,
    *more: Any,
    start: Any = None,
    names: Sequence[str] | None = None,
    num_bootstraps: int = 500,
    seed: int = 0,
    sampling_frequency: float | None = None,
    trust_analyzers: bool = False,
) -> CurationComparison:
    """Compare curations of the same spikes, spike by spike: by two or more curators or programs.

    Parameters
    ----------
    a, b, *more : str, Path, SortingAnalyzer, CurationSession, dict or model
        A folder of phy; a saved analyzer; a journal of a session; a curation file of
        SpikeInterface (``.json``); an analyzer; a session; a curation of SpikeInterface.
    start : str, Path or SortingAnalyzer, optional
        What the curations started from. Journals and curation files need it. Default: what
        sessions of one analyzer began with, else the sorter's templates. Where neither is known,
        what one has in one unit and another in several is called merged.
    names : sequence of str, optional
        Of the curations; "a", "b", ... by default.
    num_bootstraps : int, default: 500
        Resamples of the units, for the intervals (2.5 to 97.5 %).
    seed : int, default: 0
    sampling_frequency : float, optional
        In Hz; for folders without ``params.py``.
    trust_analyzers : bool, default: False
        Load also what can run code of a saved analyzer.

    Returns
    -------
    CurationComparison

    Raises
    ------
    ParameterError
        The curations are of other spikes, or a journal or file has no start.
    FolderNotFoundError, PhyFolderError, MissingDataError
        A folder or file does not exist, or cannot be read.

    See Also
    --------
    CurationComparison.consensus : what all agree on, as a session.

    Notes
    -----
    Agreement has chance taken off: 1 is full agreement, 0 what chance gives. ``units``: adjusted
    mutual information of the units that spikes are in (Vinh et al. 2010; of several curations the
    mean over pairs). ``labels``: Cohen's kappa of the labels of the spikes, of several Fleiss'
    kappa; no label ("unsorted") and "removed" are labels. ``decided_labels``: the same without
    spikes that one has not labelled; of several Krippendorff's alpha. ``labels_of_same_units``:
    each unit that is the same in all counts once. Where nothing but agreement is possible, as of
    units none of which has a label, it is 1.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> one, other = sic.CurationSession(analyzer), sic.CurationSession(analyzer)
    >>> one.merge([11, 12])
    14
    >>> other.label([4], "noise")
    >>> found = sic.compare_curations(one, other)
    >>> found.disputed[["curation", "unit_id", "kind", "num_spikes"]].values.tolist()
    [['a', 4, 'label_missing', 909], ['b', 4, 'label_missing', 909], ['a', 14, 'merged', 383],
    ['b', 11, 'not_merged', 191], ['b', 12, 'not_merged', 192]]
    >>> found.consensus().unit_ids
    [4, 7, 8, 9, 10, 11, 12, 13]
    """
    checks = Checks.of_call(compare_curations, locals())
    given = [a, b, *more]
    check_kinds(checks, given, ["a", "b", *["a curation"] * len(more)], start)
    checks.whole_number("num_bootstraps", num_bootstraps, at_least=0, at_most=100_000)
    checks.whole_number("seed", seed, at_least=0)
    checks.number("sampling_frequency", sampling_frequency, above=0, optional=True)
    called = _checked_names(checks, names, len(given))
    checks.finish()
    reading = Reading(start, sampling_frequency, trust_analyzers)
    sources = [read_source(one, name, reading) for one, name in zip(given, called, strict=True)]
    its_start = None if start is None else read_source(start, "start", reading)
    aligned = align_sources(sources, its_start)
    partitions = [aligned.start, *aligned.units]
    sizes = [1 + int(aligned.start.max(initial=-1)), *(len(one.unit_ids) for one in sources)]
    refined = common_refinement(partitions, sizes)
    parts = _parts_of(refined, sources)
    units = _units_table(parts, sources)
    disputed = units[~units["kind"].isin(("same", "empty"))]
    disputed = disputed.sort_values("decision", kind="stable")[list(DISPUTED_UNITS)]
    compared = Compared(
        sources,
        its_start,
        aligned.start_text,
        aligned.start_ids,
        partitions,
        parts,
        aligned.num_guessed,
    )
    return CurationComparison(
        units=units,
        agreement=measure_agreement(parts, called, num_bootstraps, seed, UNSORTED),
        disputed=disputed.astype({"decision": "int64"}).reset_index(drop=True),
        compared=compared,
    )


def _checked_names(checks: Checks, names: Any, count: int) -> list[str]:
    """Return the names of the curations; note what is wrong with them."""
    if names is None:
        return [_letters(number) for number in range(count)]
    if "names" in checks.wrong_kinds:
        return []
    called = [str(name) for name in names]
    checks.require(
        len(set(called)) == count == len(called) and all(name.strip() for name in called),
        f"names are {short_repr(called)}, expected {count} names that differ",
    )
    return called


def _letters(number: int) -> str:
    letter = _LETTERS[number % len(_LETTERS)]
    return letter if number < len(_LETTERS) else _letters(number // len(_LETTERS) - 1) + letter


def _parts_of(refined: Refinement, sources: Sequence[Source]) -> Parts:
    known = {label for one in sources for label in one.labels} - {REMOVED}
    names = [*sorted(known), REMOVED]
    number = {name: i for i, name in enumerate(names)}
    labels = [np.array([number[i] for i in one.labels], dtype=np.int64) for one in sources]
    return Parts(
        start=refined.members[:, 0],
        units=refined.members[:, 1:],
        counts=refined.counts,
        num_units=tuple(len(one.unit_ids) for one in sources),
        labels=tuple(labels),
        label_names=tuple(names),
    )


# -------------------------------------------------------------------------------- tables of units


def _units_table(parts: Parts, sources: Sequence[Source]) -> pd.DataFrame:
    disputed_spikes = parts.disputed_spikes()
    kinds = [_kinds(parts, i) for i in range(len(sources))]
    in_family = np.zeros(parts.num_families, dtype=bool)
    for i, (kind, _) in enumerate(kinds):
        family = parts.family_of_units(i)
        in_family[family[(kind != "same") & (kind != "empty")]] = True
    decision, votes = _decisions(parts, in_family, disputed_spikes)
    frames = []
    for i, source in enumerate(sources):
        kind, num_same = kinds[i]
        family = parts.family_of_units(i)
        there = parts.units[:, i] >= 0
        its = np.bincount(
            parts.units[there, i], disputed_spikes[there], minlength=len(source.unit_ids)
        )
        number = np.where(family >= 0, decision[family], 0) if len(decision) else family * 0
        is_disputed = number > 0
        frames.append(
            pd.DataFrame(
                {
                    "curation": source.name,
                    "unit_id": pd.Series(source.unit_ids, dtype=object),
                    "kind": kind,
                    "group": source.labels,
                    "num_spikes": parts.num_spikes(i),
                    "num_disputed_spikes": its.astype(np.int64),
                    "num_same": num_same,
                    "num_votes": np.where(is_disputed, votes[i][family], len(sources)),
                    "decision": pd.array(np.where(is_disputed, number, 1), dtype="Int64"),
                    "counterparts": _counterparts(parts, i, sources),
                }
            ).astype({"num_votes": "int64"})
        )
        frames[-1].loc[~is_disputed, "decision"] = pd.NA
    table = pd.concat(frames, ignore_index=True)
    return table[list(COMPARED_UNITS)]


def _kinds(parts: Parts, curation: int) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the kind of each unit, and in how many other curations it is the same."""
    size = parts.num_units[curation]
    empty = parts.num_spikes(curation) == 0
    rank = np.zeros(size, dtype=np.int64)  # 0: the same; then by how much is disputed
    num_same = np.zeros(size, dtype=np.int64)
    kinds = ("same", *reversed(LABEL_KINDS), *reversed(_SPIKE_KINDS))
    number = {kind: i for i, kind in enumerate(kinds)}
    for other in range(parts.num_curations):
        if other == curation:
            continue
        relation = parts.relation(curation, other)
        found = np.full(size, number["regrouped"])
        for kind in ("merged", "not_split", "not_merged", "split"):
            found[getattr(relation, kind)] = number[kind]
        found[relation.removed] = number["not_removed"]
        of_label = [number[kind] for kind in _label_kinds(parts, curation, other)]
        found = np.where(relation.same, np.array(of_label, dtype=np.int64), found)
        num_same += (found == 0) & ~empty
        rank = np.maximum(rank, found)
    return np.where(empty, "empty", np.array(kinds)[rank]), num_same


def _label_kinds(parts: Parts, curation: int, other: int) -> list[str]:
    """Return how the label of each unit differs from that of its spikes in another curation."""
    there = parts.units[:, curation] >= 0
    theirs = np.zeros(parts.num_units[curation], dtype=np.int64)
    theirs[parts.units[there, curation]] = parts.labels_of_parts[there, other]
    out = []
    for mine, one in zip(parts.labels[curation], theirs, strict=True):
        pair = {parts.label_names[mine], parts.label_names[one]}
        if len(pair) == 1:
            out.append("same")
        elif UNSORTED in pair:
            out.append("label_missing")
        else:
            out.append("noise" if NOISE in pair else "label")
    return out


def _decisions(
    parts: Parts, in_family: NDArray[np.bool_], disputed_spikes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return the number of each family's decision, hardest 1, and the votes for each version.

    The harder, the fewer curations have the version that most have; of equal ones, that of more
    disputed spikes.
    """
    votes = [np.zeros(parts.num_families, dtype=np.int64) for _ in range(parts.num_curations)]
    largest = np.zeros(parts.num_families, dtype=np.int64)
    order = np.argsort(parts.family, kind="stable")
    starts = np.searchsorted(parts.family[order], np.arange(parts.num_families + 1))
    for family in np.flatnonzero(in_family):
        members = order[starts[family] : starts[family + 1]]
        versions = [_version(parts, members, i) for i in range(parts.num_curations)]
        count = Counter(versions)
        for i, version in enumerate(versions):
            votes[i][family] = count[version]
        largest[family] = max(count.values())
    spikes = np.bincount(parts.family, disputed_spikes, minlength=parts.num_families)
    ranked = np.lexsort((-spikes, largest))
    ranked = ranked[in_family[ranked]]
    decision = np.zeros(parts.num_families, dtype=np.int64)
    decision[ranked] = np.arange(1, ranked.size + 1)
    return decision, votes


def _version(parts: Parts, members: NDArray[np.int64], curation: int) -> bytes:
    """Return how a curation has the spikes of a family: which are together, with which labels."""
    units = parts.units[members, curation]
    _, first, number = np.unique(units, return_index=True, return_inverse=True)
    return first[number].tobytes() + parts.labels_of_parts[members, curation].tobytes()


def _counterparts(
    parts: Parts, curation: int, sources: Sequence[Source]
) -> list[tuple[tuple[str, Any, int], ...]]:
    """Return (curation, unit, spikes in common) of each unit, most spikes first."""
    found: list[list[tuple[str, Any, int]]] = [[] for _ in range(parts.num_units[curation])]
    for other, source in enumerate(sources):
        both = (parts.units[:, curation] >= 0) & (parts.units[:, other] >= 0)
        if other == curation or not both.any():
            continue
        key = parts.units[both, curation] * len(source.unit_ids) + parts.units[both, other]
        pairs, which = np.unique(key, return_inverse=True)
        counts = np.bincount(which, parts.counts[both]).astype(np.int64)
        own, its = np.divmod(pairs, len(source.unit_ids))
        order = np.lexsort((-counts, own))
        for unit, rows in itertools.groupby(order.tolist(), key=own.__getitem__):
            some = itertools.islice(rows, _MAX_COUNTERPARTS)
            found[unit] += [(source.name, source.unit_ids[its[r]], int(counts[r])) for r in some]
    return [tuple(one) for one in found]
