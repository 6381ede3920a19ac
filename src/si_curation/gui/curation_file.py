"""The curation that the GUI starts from and saves."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import SortingAnalyzer

from si_curation.curation.content import PAGE_KEY, is_of_page
from si_curation.curation.spikeinterface_format import (
    QUALITY_LABELS,
    quality_definition,
    quality_labels,
    read_curation,
    read_given,
)
from si_curation.errors import FolderNotFoundError, ParameterError, SiCurationError
from si_curation.files import backup_name, replace_file, replace_with_copy
from si_curation.reading.sorter_folder import sorter_folder_of

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_PARTS = ("manual_labels", "merges", "splits", "removed")


# where it is


def default_curation_json(sorting_analyzer: SortingAnalyzer) -> Path:
    """Return the curation file of an analyzer that is named none.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer

    Returns
    -------
    Path
        ``spikeinterface_gui/curation_data.json``, where the GUI looks, in an analyzer of the format
        "binary_folder"; else ``<folder>_curation.json`` beside the folder (of the sorter, or
        ``.zarr``) and not in it, as phy reads a ``curation.json`` in its folder. It is in the
        working directory where that place cannot be written, or no folder is known. A file of other
        units, or that cannot be read, is left as it is: ``<folder>_curation_2.json`` is next.
    """
    saved = sorting_analyzer.format
    folder = sorter_folder_of(sorting_analyzer)
    if saved != "memory":
        folder = Path(sorting_analyzer.folder)
    if saved == "binary_folder" and os.access(folder, os.W_OK):  # type: ignore[arg-type]
        return Path(sorting_analyzer.folder) / "spikeinterface_gui" / "curation_data.json"
    place, name = Path.cwd(), "sorting"
    if folder is not None:
        folder = Path(os.path.abspath(folder))
        name = folder.stem if folder.suffix == ".zarr" else folder.name
        is_example = folder.is_relative_to(_PACKAGE)
        if folder.parent.is_dir() and os.access(folder.parent, os.W_OK) and not is_example:
            place = folder.parent
    unit_ids = sorting_analyzer.unit_ids.tolist()
    path, number = place / f"{name or 'sorting'}_curation.json", 1
    first = path
    while os.path.lexists(path) and not _goes_on(path, unit_ids):
        number += 1
        path = first.with_stem(f"{first.stem}_{number}")
    return path


def _goes_on(path: Path, unit_ids: list[Any]) -> bool:
    try:
        _step_of(path, unit_ids)
    except SiCurationError:
        return False
    return True


def check_writable(path: Path) -> None:
    """Raise if a curation file cannot be saved.

    Raises
    ------
    FolderNotFoundError
        Its folder does not exist.
    ParameterError
        It is a folder, or its folder cannot be written.
    """
    if path.exists() and not path.is_file():
        raise ParameterError(f"{path} is not a file, expected a curation file (.json)")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FolderNotFoundError(f"the folder of {path} does not exist")
    if not os.access(folder, os.W_OK):
        raise ParameterError(f"{folder} cannot be written; give a curation_json in another folder")


# what is in it


class CurationFile:
    """The file of a curation, and what of it the GUI does not keep.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = _bytes_of(path)
        self._merged_ids: dict[frozenset[Any], Any] = {}
        self._discarded: list[dict[str, Any]] = []
        self._had_quality: set[Any] = set()
        self._of_page: dict[str, Any] = {}

    def start(self, sorting_analyzer: SortingAnalyzer) -> dict[str, Any]:
        """Return the curation that the GUI starts from: of the file, and the labels of the units.

        Returns
        -------
        dict
            Format version 2. phy's groups are the labels of "quality"; units that are unsorted
            have none. What the file says of a unit comes before the group that it has.

        Raises
        ------
        ParameterError
            The file is not a curation, is of other units, or holds several steps.
        """
        unit_ids = sorting_analyzer.unit_ids.tolist()
        groups = sorting_analyzer.get_sorting_property("quality")
        found: dict[str, Any] = {
            "format_version": "2",
            "unit_ids": unit_ids,
            "label_definitions": {},
            **{part: [] for part in _PARTS},
        }
        if self._written is not None:
            found = self._continued(unit_ids)
        said = {
            one["unit_id"]
            for one in found["manual_labels"]
            if "quality" in one["labels"] or not one["labels"]
        }
        _as_the_gui_names(found)
        own = quality_labels(unit_ids, None if groups is None else groups.tolist())
        _add_labels(found, [one for one in own if one["unit_id"] not in said])
        self._had_quality = said | {one["unit_id"] for one in own}
        return found

    def _continued(self, unit_ids: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = _step_of(self.path, unit_ids).model_dump()
        document = read_given(self.path)
        self._of_page = dict(document[PAGE_KEY]) if is_of_page(document) else {}
        for part in _PARTS:
            found[part] = found.get(part) or []
        self._discarded = found.pop("discard_spikes", [])
        self._merged_ids = {
            frozenset(one["unit_ids"]): one["new_unit_id"] for one in found["merges"]
        }
        found["splits"] = [_by_indices(one) for one in found["splits"]]
        found["label_definitions"] = dict(found["label_definitions"] or {})
        for one in found["manual_labels"]:
            one["labels"] = {name: own for name, own in one["labels"].items() if own}
        return found

    def save(self, curation: Mapping[str, Any]) -> None:
        """Write a curation as the GUI hands it over, in place of what the file held.

        What another program wrote into the file meanwhile is kept beside it, as a backup.
        """
        there = _bytes_of(self.path)
        if there is not None and there != self._written:
            kept = backup_name(self.path)
            replace_with_copy(kept, self.path)
            logger.warning(
                "%s was changed by another program; that is now in %s", self.path, kept.name
            )
        content = self._with_what_the_gui_drops(curation)
        text = json.dumps(content, indent=2, default=_as_plain).encode()
        self.path.parent.mkdir(exist_ok=True)
        replace_file(self.path, text, make_folders=True)
        self._written = text

    def _with_what_the_gui_drops(self, curation: Mapping[str, Any]) -> dict[str, Any]:
        # as in a file of the page: labels that units have already are no decisions
        content = {**curation, PAGE_KEY: self._of_page}
        content["merges"] = [
            {**one, "new_unit_id": self._merged_ids.get(frozenset(one["unit_ids"]))}
            for one in content["merges"]
        ]
        if self._discarded:
            content |= {"discard_spikes": self._discarded, "format_version": "3"}
        # a unit without "quality", but with other labels, says nothing of its group
        taken = [
            one
            for one in content["manual_labels"]
            if one["labels"] and "quality" not in one["labels"]
            if one["unit_id"] in self._had_quality
        ]
        if taken:
            known = content["label_definitions"]["quality"]
            options = [*known["label_options"], "unsorted"]
            content["label_definitions"]["quality"] = {**known, "label_options": options}
            for one in taken:
                one["labels"]["quality"] = ["unsorted"]
        return content


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _step_of(path: Path, unit_ids: list[Any]) -> Any:
    """Return the one step of a curation file, of these units."""
    steps = read_curation(path, unit_ids)
    if len(steps) != 1:
        raise ParameterError(
            f"{path} holds {len(steps)} steps of curation, the GUI goes on from one: apply them "
            "(CurationSession.apply_spikeinterface_curation), and open session.apply()"
        )
    found = steps[0].unit_ids
    if set(found) != set(unit_ids):
        raise ParameterError(
            f"{path} is the curation of other units ({len(found)}; here {len(unit_ids)}); give "
            "another curation_json"
        )
    return steps[0]


def _by_indices(split: dict[str, Any]) -> dict[str, Any]:
    """Return a split by the indices of spikes, which is what the GUI shows."""
    if split["mode"] == "indices":
        return split
    labels = np.asarray(split["labels"])
    parts = [np.flatnonzero(labels == one).tolist() for one in np.unique(labels)]
    return {**split, "mode": "indices", "indices": parts, "labels": None}


def _as_the_gui_names(curation: dict[str, Any]) -> None:
    """Call phy's groups as the GUI does by default, for which it has keys; unsorted is none."""
    definitions = curation["label_definitions"]
    known = definitions.get("quality")
    if known is None:
        definitions["quality"] = quality_definition()
        return
    options = {option.lower() for option in known["label_options"]}
    if not known["exclusive"] or not options <= {*QUALITY_LABELS, "unsorted"}:
        return
    definitions["quality"] = quality_definition()
    for one in curation["manual_labels"]:
        label = QUALITY_LABELS.get("".join(one["labels"].pop("quality", [])).lower())
        if label is not None:
            one["labels"]["quality"] = [label]


def _add_labels(curation: dict[str, Any], own: Sequence[dict[str, Any]]) -> None:
    """Add the groups of units of whose group a curation says nothing."""
    definition = curation["label_definitions"]["quality"]
    if not definition["exclusive"]:
        return
    by_unit = {one["unit_id"]: one for one in curation["manual_labels"]}
    options = {option.lower(): option for option in definition["label_options"]}
    for one in own:
        label = options.get(one["labels"]["quality"][0].lower())
        if label is None:
            continue
        entry = by_unit.get(one["unit_id"])
        if entry is None:
            entry = {"unit_id": one["unit_id"], "labels": {}}
            curation["manual_labels"].append(entry)
        entry["labels"]["quality"] = [label]


def _as_plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else list(value)
