"""`write_phy_proposals`: suggested merges, and labels by rules, where phy 2.2 reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from si_curation.checks import Checks, local_path, plain_id, short_repr
from si_curation.curation.checks import check_label
from si_curation.curation.labelling import UnitLabels
from si_curation.documents import read_document
from si_curation.errors import (
    FolderNotFoundError,
    OutputExistsError,
    ParameterError,
    PhyFolderError,
    SiCurationError,
)
from si_curation.evidence.duplicates import DuplicateUnits
from si_curation.evidence.merges import MergeSuggestions
from si_curation.evidence.phy_reviews import (
    PROPOSALS,
    REVIEWS,
    ids_of,
    merges_of,
    read_phy_reviews,
)
from si_curation.evidence.plan import CurationPlan
from si_curation.phy.arrays import Findings
from si_curation.phy.backup import only_writer, replace_files
from si_curation.phy.content import cluster_sizes
from si_curation.phy.tables import GROUPS
from si_curation.shown import Shown

Suggestions: TypeAlias = MergeSuggestions | CurationPlan | DuplicateUnits | UnitLabels
_PARTS = ("merges", "manual_labels", "splits", "removed")
#: Fields that are written anew; others of a file that is replaced are kept.
_OWN = ("format_version", "unit_ids", "label_definitions", *_PARTS)
_OTHER_NAMES = ("merge_unit_groups", "merge_new_unit_ids", "removed_units", "mergeGroups")


@dataclass(frozen=True, eq=False)
class PhyProposals(Shown):
    """What `write_phy_proposals` wrote.

    Attributes
    ----------
    path : Path
        The file.
    table : pandas.DataFrame
        The proposals, best first, with decisions that phy has made on them before; the columns are
        described in `si_curation.variables.PHY_REVIEWS`.
    backup : Path or None
        Where the file that was there is kept, for `restore_phy_folder`; None where the same was
        there.
    replaced : dict or None
        What the file held that was there: the number of its ``unit_ids``, ``merges``,
        ``manual_labels``, ``splits`` and ``removed``. None where there was none, {} where it could
        not be read.
    """

    path: Path
    table: pd.DataFrame
    backup: Path | None
    replaced: dict[str, int] | None

    def __repr__(self) -> str:
        number = len(self.table) - int((self.table["status"] == "orphaned").sum())
        text = f"PhyProposals: {number} proposed merge{'s' * (number != 1)} in {self.path}"
        if self.replaced is None:
            return text
        return f"{text}, in place of {_held_text(self.replaced)}"


def write_phy_proposals(
    folder: str | Path,
    suggestions: Suggestions | Sequence[Suggestions],
    *,
    field: str = "group",
    overwrite: bool = False,
) -> PhyProposals:
    """Write suggested merges where phy 2.2 proposes them, best first, and labels beside them.

    The file is ``curation.json`` in the folder, in SpikeInterface's format (version 2). phy reads
    it when it opens the folder, shows one proposal after the other, and writes what its user
    decides to ``curation_review.json`` (`read_phy_reviews`). Clusters and labels of the folder are
    not changed. Write it while phy is closed: phy does not save decisions on a file that was
    replaced meanwhile.

    Parameters
    ----------
    folder : str or Path
        The Kilosort/phy folder that the suggestions were made of.
    suggestions : MergeSuggestions, CurationPlan, DuplicateUnits, UnitLabels, or several of them
        Merges are proposed: groups of `suggest_merges`, merges of `plan_curation`, pairs of
        `find_duplicate_units`. Labels of `label_units` become ``manual_labels``, removals and
        splits of a plan ``removed`` and ``splits``: phy keeps these, programs of SpikeInterface use
        them.
    field : str, default: "group"
        Label field of `UnitLabels`; as of ``UnitLabels.apply_to``.
    overwrite : bool
        True: a ``curation.json`` that exists is replaced. It is backed up before, see
        `restore_phy_folder`, and fields that are not of SpikeInterface's format are kept. Decisions
        that phy made on the same merges still count.

    Returns
    -------
    PhyProposals

    Raises
    ------
    FolderNotFoundError, PhyFolderError
        The folder does not exist, or its clusters cannot be read.
    OutputExistsError
        There is a ``curation.json``, and `overwrite` is False. The error says what it holds.
    ParameterError
        Units are not clusters of the folder, or have another number of spikes there; or a label
        cannot be used. All problems at once.
    InUseError
        Another program writes to the folder at this moment.

    Notes
    -----
    The unit with most spikes is the first of a proposal, phy's reference. The same units are
    proposed once. Proposals of several suggestions can overlap; phy then takes those back
    whose unit is gone. Each has the ``score`` of its suggestion, which phy and SpikeInterface do
    not use.

    Examples
    --------
    >>> import shutil, tempfile
    >>> import si_curation as sic
    >>> folder = shutil.copytree(sic.example_folder(), tempfile.mkdtemp() + "/copy")
    >>> written = write_phy_proposals(
    ...     folder, sic.suggest_merges(sic.read_kilosort_as_analyzer(folder)))
    >>> written.table[["unit_ids", "status"]].values.tolist()
    [[(12, 11), 'pending']]
    """
    checks = Checks.of_call(write_phy_proposals, locals())
    several = isinstance(suggestions, list | tuple)
    given: list[Any] = list(suggestions) if several else [suggestions]  # type: ignore[arg-type]
    checks.require(
        given and all(isinstance(one, Suggestions) for one in given),
        f"suggestions are {short_repr(given)}, expected MergeSuggestions, CurationPlan, "
        "DuplicateUnits, UnitLabels, or several of them",
    )
    checks.finish()
    path = local_path(folder, "folder")
    if not path.is_dir():
        fault = "is a file" if path.exists() else "does not exist"
        raise FolderNotFoundError(f"{path} {fault}, expected a Kilosort/phy folder")
    path = path.resolve()
    sizes = _sizes_of(path)
    _check_units(path, given, sizes, field)
    with only_writer(path) as read:
        if not overwrite:
            check_no_proposals(path)
        there = _read_there(path / PROPOSALS)
        content = _content_of(given, sizes, field, there or {})
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        new = text.encode("utf-8", "replace")
        is_same = there is not None and (path / PROPOSALS).read_bytes() == new
        backup = (
            None if is_same else replace_files(path, {PROPOSALS: new}, "write_phy_proposals", read)
        )
    merges = next((one for one in given if isinstance(one, MergeSuggestions)), None)
    table = read_phy_reviews(path, merges).table
    return PhyProposals(path / PROPOSALS, table, backup, None if there is None else _held(there))


def check_no_proposals(folder: Path) -> None:
    """Raise OutputExistsError, which says what it holds, where there is a ``curation.json``."""
    there = _read_there(folder / PROPOSALS)
    if there is not None:
        raise OutputExistsError(_exists_text(folder, there))


def _sizes_of(folder: Path) -> dict[int, int]:
    findings = Findings()
    sizes = cluster_sizes(folder, findings)
    if sizes is None and not findings.with_severity("error"):
        findings.error("spike_clusters.npy", "is missing", "give the folder that the sorter wrote")
    if findings.with_severity("error"):
        raise PhyFolderError(folder, findings.with_severity("error"))
    assert sizes is not None
    return sizes


# what the suggestions are of


def _check_units(folder: Path, given: Iterable[Any], sizes: Mapping[int, int], field: str) -> None:
    """Raise unless all units are clusters of the folder, with as many spikes; all at once."""
    checks = Checks()
    counts: dict[Any, int] = {}
    for one in given:
        counts |= _counts_of(one)
    ids = dict.fromkeys([*counts, *(i for one in given for i in _units_of(one))])
    unknown = [i for i in ids if i not in sizes or isinstance(i, bool)]
    checks.require(
        not unknown,
        f"units {short_repr(unknown[:20])} are no clusters of {folder}: suggest again for "
        "read_kilosort_as_analyzer(folder)",
    )
    other = [f"{i} ({n}, not {sizes[i]})" for i, n in counts.items() if sizes.get(i, n) != n]
    checks.require(
        not other,
        f"suggestions are of other spikes than those of {folder}: units have another number of "
        f"spikes there: {', '.join(other[:10])}",
    )
    for one in given:
        for label in dict.fromkeys(_labels_of(one).values()):
            try:
                check_label(field, label)
            except ParameterError as fault:
                checks.add(str(fault))
    checks.problems = list(dict.fromkeys(checks.problems))
    checks.finish()


def _units_of(one: Any) -> list[Any]:
    if isinstance(one, UnitLabels):
        return [plain_id(i) for i in one.table.index]
    return [plain_id(i) for i in one.unit_ids]


def _counts_of(one: Any) -> dict[Any, int]:
    """Return the number of spikes of each unit, where suggestions tell."""
    if isinstance(one, CurationPlan):
        return {plain_id(i): int(n) for i, n in one.num_spikes.items()}
    if isinstance(one, MergeSuggestions) and "num_spikes_a" in one.table:
        table = one.table
        ids = [*table["unit_id_a"], *table["unit_id_b"]]
        numbers = [*table["num_spikes_a"], *table["num_spikes_b"]]
        return {plain_id(i): int(n) for i, n in zip(ids, numbers, strict=True)}
    return {}


def _labels_of(one: Any) -> dict[Any, Any]:
    if not isinstance(one, UnitLabels):
        return {}
    decided = one.table[one.table["decided"]]
    return {plain_id(i): label for i, label in decided["label"].items()}


# what is written


def _content_of(
    given: Sequence[Any], sizes: Mapping[int, int], field: str, there: Mapping[str, Any]
) -> dict[str, Any]:
    """Return SpikeInterface's curation of suggestions, with what else a file holds."""
    models = [
        json.loads(one.to_curation_model().model_dump_json())
        for one in given
        if isinstance(one, CurationPlan)
    ]
    definitions, labels = _manual_labels(given, field)
    return {
        "format_version": "2",
        "unit_ids": list(sizes),
        "label_definitions": definitions,
        "manual_labels": labels,
        "merges": _merges(given, sizes, there),
        "splits": [
            {key: value for key, value in split.items() if value is not None}
            for model in models
            for split in model["splits"]
        ],
        "removed": list(dict.fromkeys(i for model in models for i in model["removed"])),
        **{k: v for k, v in there.items() if k not in (*_OWN, *_OTHER_NAMES)},
    }


def _merges(
    given: Sequence[Any], sizes: Mapping[int, int], there: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the proposals, the best first; the same units once."""
    scored: dict[frozenset[int], tuple[float, list[int]]] = {}
    for one in given:
        for ids, score in _scored_groups(one):
            units = frozenset(ids)
            if units not in scored or scored[units][0] < score:
                scored[units] = score, sorted(ids, key=lambda i: (-sizes[i], i))
    before = _entries_there(there)
    found = []
    for units, (score, ordered) in sorted(scored.items(), key=lambda item: -item[1][0]):
        entry = dict(before.get(units, {}))
        # in the order of the file: phy's decision on it has the key of that order
        entry["unit_ids"] = ids_of(entry["unit_ids"]) if entry else ordered
        entry.pop("score", None)
        found.append({**entry, **({"score": score} if np.isfinite(score) else {})})
    return found


def _scored_groups(one: Any) -> list[tuple[list[int], float]]:
    if isinstance(one, MergeSuggestions):
        table = one.table
        columns = (table[name].tolist() for name in ("unit_id_a", "unit_id_b", "score"))
        pairs = {frozenset((a, b)): float(score) for a, b, score in zip(*columns, strict=True)}
        groups = one.groups()
        return [
            (group, max(score for pair, score in pairs.items() if pair <= set(group)))
            for group in groups
        ]
    if isinstance(one, CurationPlan):
        merges = [step for step in one.steps if step.kind == "merge"]
        return [([plain_id(i) for i in step.unit_ids], float(step.score)) for step in merges]
    if isinstance(one, DuplicateUnits):
        shares = one.table["share"].tolist()
        return [
            ([plain_id(original), plain_id(unit)], float(share))
            for (unit, original), share in zip(one.pairs(), shares, strict=True)
        ]
    return []


def _entries_there(there: Mapping[str, Any]) -> dict[frozenset[int], dict[str, Any]]:
    """Return the merges of the file that is replaced, by their units."""
    found: dict[frozenset[int], dict[str, Any]] = {}
    try:
        entries = merges_of(there, Path(PROPOSALS))
    except ParameterError:
        return found
    for entry in entries:
        ids = ids_of(entry.get("unit_ids")) if isinstance(entry, Mapping) else None
        if isinstance(ids, list) and all(type(i) is int for i in ids) and len(set(ids)) == len(ids):
            found.setdefault(frozenset(ids), dict(entry))
    return found


def _manual_labels(given: Iterable[Any], field: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return definitions and labels as SpikeInterface has them, the group under its name."""
    labels: dict[Any, str] = {}
    for one in given:
        labels |= {i: str(label) for i, label in _labels_of(one).items()}
    if not labels:
        return {}, []
    name = "quality" if field == "group" else field
    options = sorted(set(labels.values()) | set(GROUPS if field == "group" else ()))
    options += [f"not {options[0]}"] * (len(options) < 2)  # the format wants two at least
    definition = {"name": name, "label_options": options, "exclusive": True}
    manual = [{"unit_id": i, "labels": {name: [label]}} for i, label in labels.items()]
    return {name: definition}, manual


# what was there


def _read_there(path: Path) -> Mapping[str, Any] | None:
    """Return what a file holds; None where there is none, {} where it cannot be read."""
    if path.is_dir():
        raise ParameterError(f"{path} is a folder, expected a file or nothing: remove it")
    if not path.exists():
        if path.is_symlink():
            raise ParameterError(f"{path} is a link to a file that is not there: remove it")
        return None
    try:
        content = read_document(path, expected="proposals of merges")
    except SiCurationError:
        return {}
    return content if isinstance(content, Mapping) else {}


def _held(content: Mapping[str, Any]) -> dict[str, int]:
    if not content:
        return {}
    counts = {n: len(v) for n in ("unit_ids", *_PARTS) if isinstance(v := content.get(n), list)}
    try:
        counts["merges"] = len(merges_of(content, Path(PROPOSALS)))
    except ParameterError:
        counts["merges"] = 0
    return {name: counts.get(name, 0) for name in ("unit_ids", *_PARTS)}


def _held_text(held: Mapping[str, int]) -> str:
    if not held:
        return "what could not be read"
    parts = ", ".join(f"{held[name]} {name}" for name in _PARTS)
    return f"{parts} of {held['unit_ids']} units"


def _exists_text(folder: Path, there: Mapping[str, Any]) -> str:
    text = f"{folder / PROPOSALS} exists and holds {_held_text(_held(there))}"
    try:
        decided = read_phy_reviews(folder).table["status"]
        counts = decided[decided.isin(["accepted", "accepted with changes", "rejected"])].size
        text += f"; phy decided on {counts} of them" if (folder / REVIEWS).exists() else ""
    except (SiCurationError, OSError):
        text += f"; {REVIEWS} beside it cannot be read"
    return f"{text}. Give overwrite=True to replace it: it is then kept as a backup"
