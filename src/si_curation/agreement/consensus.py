"""A session in which all that curations agree on is done, and the rest is left for a decision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from spikeinterface.core import SortingAnalyzer

from si_curation.agreement.alignment import Place, place_spikes
from si_curation.agreement.compared import Compared
from si_curation.agreement.parts import Parts
from si_curation.agreement.sources import Reading, Source, read_source
from si_curation.curation.session import GROUP, CurationSession, whole_session
from si_curation.errors import ParameterError, SiCurationWarning
from si_curation.phy.tables import GROUPS, UNSORTED


class Target(NamedTuple):
    """A unit of the consensus.

    Attributes
    ----------
    label : str
        That all give its spikes; "unsorted" where they do not.
    is_removed : bool
        All removed it.
    kind : str
        What is disputed; "" where all agree.
    """

    label: str
    is_removed: bool
    kind: str


def make_consensus(
    compared: Compared,
    units: pd.DataFrame,
    analyzer: SortingAnalyzer | None,
    *,
    journal: str | Path | None,
    decided_by: str | None,
    mark: str | None,
) -> CurationSession:
    """Make the session of `CurationComparison.consensus`."""
    base, place = _base(compared, analyzer)
    target_of_part, targets = agreed_units(compared.parts, _kinds_of_families(compared, units))
    target = target_of_part[compared.part_of_spikes()]
    if place.rows is not None:
        target = target[place.rows]
    decided_by = decided_by or f"consensus of {', '.join(compared.names)}"
    with whole_session(base.open(), journal, decided_by) as session:
        made = _make_units(session, target, len(compared.names))
        _label(session, made, targets, mark)
        return session


def _base(compared: Compared, analyzer: SortingAnalyzer | None) -> tuple[Source, Place]:
    """Return the analyzer that the steps are done on, and where its spikes are."""
    reference = compared.reference
    given = compared.bases() if analyzer is None else [analyzer]
    for one in given:
        opened = one.open() if isinstance(one, Source) else one
        base = read_source(opened, "sorting_analyzer", Reading())
        if base.samples.size == reference.samples.size or analyzer is not None:
            return base, place_spikes(base, reference)
    raise ParameterError(
        "no curation has all spikes: give sorting_analyzer=, one of the spikes before any were "
        "removed"
    )


def agreed_units(
    parts: Parts, kind_of_family: NDArray[np.str_]
) -> tuple[NDArray[np.int64], list[Target]]:
    """Return the unit of the consensus that each part is in, and what is known of these units.

    A unit of the start is cut between spikes that every curation has apart, and nowhere else. These
    pieces are merged where each curation has them in one unit, whole.

    Parameters
    ----------
    parts : Parts
    kind_of_family : array (n_families,) str
        What is disputed; "" where all agree.

    Returns
    -------
    array (n_parts,) int64
    list of Target
    """
    num_parts, num_curations = parts.units.shape
    pairs = [
        np.unique(np.stack([parts.start, units]), axis=1, return_inverse=True)[1].reshape(-1)
        for units in parts.units.T
    ]
    first = np.cumsum([num_parts, *(pair.max(initial=-1) + 1 for pair in pairs)])
    node = np.concatenate([pair + start for pair, start in zip(pairs, first, strict=False)])
    part = np.tile(np.arange(num_parts), num_curations)
    graph = sparse.coo_array((np.ones(part.size), (part, node)), shape=(first[-1], first[-1]))
    _, piece = connected_components(graph, directed=False)
    _, piece = np.unique(piece[:num_parts], return_inverse=True)
    # a key for each piece: its unit in each curation, or one of its own where it has no single one
    keys = np.full((piece.max(initial=-1) + 1, num_curations), -1, dtype=np.int64)
    single = np.ones(keys.shape, dtype=bool)
    keys[piece] = parts.units
    np.logical_and.at(single, piece, parts.units == keys[piece])
    single &= keys >= 0
    own = -1 - np.arange(len(keys))
    keys = np.where(np.all(single, axis=1)[:, None], keys, own[:, None])
    _, target_of_piece = np.unique(keys, axis=0, return_inverse=True)
    target = target_of_piece.reshape(-1)[piece]
    return target, _describe(parts, target, kind_of_family)


def _describe(
    parts: Parts, target: NDArray[np.int64], kind_of_family: NDArray[np.str_]
) -> list[Target]:
    removed = len(parts.label_names) - 1
    out = []
    order = np.argsort(target, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(target[order])) + 1):
        if members.size == 0:
            continue
        labels = np.unique(parts.labels_of_parts[members])
        is_removed = labels.size == 1 and labels[0] == removed
        name = parts.label_names[labels[0]] if labels.size == 1 and not is_removed else UNSORTED
        kinds = [str(kind) for kind in np.unique(kind_of_family[parts.family[members]]) if kind]
        out.append(Target(name, bool(is_removed), kinds[0] if kinds else ""))
    return out


def _kinds_of_families(compared: Compared, units: pd.DataFrame) -> NDArray[np.str_]:
    """Return the kind of the first unit of each decision, by family."""
    parts = compared.parts
    out = np.full(parts.num_families, "", dtype="U32")
    for i, name in enumerate(compared.names):
        kinds = units.loc[units["curation"] == name, "kind"]
        for family, kind in zip(parts.family_of_units(i), kinds, strict=True):
            if kind not in ("same", "empty") and not out[family]:
                out[family] = kind
    return out


def _make_units(
    session: CurationSession, target: NDArray[np.int64], num_curations: int
) -> dict[int, Any]:
    """Split and merge until each target is a unit; return {target: unit id}."""
    pieces: dict[int, list[Any]] = {}
    for unit_id in session.unit_ids:
        its = target[session.get_spikes(unit_id)]
        there = np.unique(its).tolist()
        made = [unit_id]
        if len(there) > 1:
            reason = f"so that what {num_curations} curations agree on can be done"
            made = session.split(unit_id, its, reason=reason)
        for number, new in zip(there, made, strict=True) if there else ():
            pieces.setdefault(number, []).append(new)
    reason = f"{num_curations} curations agree, or began so"
    return {
        number: ids[0] if len(ids) == 1 else session.merge(ids, reason=reason)
        for number, ids in pieces.items()
    }


def _label(
    session: CurationSession,
    units: Mapping[int, Any],
    targets: list[Target],
    mark: str | None,
) -> None:
    """Label the units as all agree, mark those that are disputed, remove what all removed."""
    now = session.get_labels()
    wanted: dict[tuple[str, str], list[Any]] = {}
    gone, unknown = [], set()
    for number, unit_id in units.items():
        target = targets[number]
        if target.is_removed:
            gone.append(unit_id)
            continue
        label = target.label
        if label not in GROUPS:
            unknown.add(label)
            label = UNSORTED
        if now[unit_id] != label:
            wanted.setdefault((GROUP, label), []).append(unit_id)
        if target.kind and mark is not None:
            wanted.setdefault((mark, target.kind), []).append(unit_id)
    for (field, label), ids in sorted(wanted.items()):
        agreed = "all curations agree" if label != UNSORTED else "the curations do not agree"
        reason = agreed if field == GROUP else "left for a decision"
        session.label(ids, label, field, reason=reason)
    if gone:
        session.remove(gone, reason="all curations removed it")
    if unknown:
        warnings.warn(
            f"labels that phy does not have are not in the consensus: {', '.join(sorted(unknown))}",
            SiCurationWarning,
            stacklevel=4,
        )
