"""The curation that the GUI starts from and saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spikeinterface.core import SortingAnalyzer

from si_curation.curation.spikeinterface_format import read_curation
from si_curation.errors import FolderNotFoundError, ParameterError
from si_curation.files import replace_file

# the GUI has keyboard shortcuts (g, m, n; c to clear) for exactly these labels
_LABELS = {"good": "good", "noise": "noise", "mua": "MUA"}


def default_curation_json(sorting_analyzer: SortingAnalyzer) -> Path | None:
    """Return where the GUI looks for the curation of a saved analyzer; None if it has no file."""
    if sorting_analyzer.format != "binary_folder":
        return None
    return Path(sorting_analyzer.folder) / "spikeinterface_gui" / "curation_data.json"


def check_writable(path: Path) -> None:
    """Raise if a curation file cannot be saved.

    Raises
    ------
    FolderNotFoundError
        Its folder does not exist.
    ParameterError
        It is a folder.
    """
    if path.exists() and not path.is_file():
        raise ParameterError(f"{path} is not a file, expected a curation file (.json)")
    if not path.absolute().parent.is_dir():
        raise FolderNotFoundError(f"the folder of {path} does not exist")


def start_curation(sorting_analyzer: SortingAnalyzer, path: Path | None) -> dict[str, Any]:
    """Return the curation that the GUI starts from: of the file, or the labels of the units.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    path : Path or None

    Returns
    -------
    dict
        Format version 2. phy's groups are the labels of "quality"; units that are unsorted have
        none.

    Raises
    ------
    ParameterError
        The file is not a curation, is of other units, or holds several steps.
    """
    unit_ids = sorting_analyzer.unit_ids.tolist()
    if path is not None and path.exists():
        return _continued(path, unit_ids)
    return {
        "format_version": "2",
        "unit_ids": unit_ids,
        "label_definitions": {
            "quality": {"label_options": list(_LABELS.values()), "exclusive": True}
        },
        "manual_labels": [
            {"unit_id": unit_id, "labels": {"quality": [_LABELS[group]]}}
            for unit_id, group in zip(unit_ids, _groups(sorting_analyzer), strict=True)
            if group in _LABELS
        ],
        "merges": [],
        "splits": [],
        "removed": [],
    }


def _groups(sorting_analyzer: SortingAnalyzer) -> list[str]:
    groups = sorting_analyzer.get_sorting_property("quality")
    if groups is None:
        return ["unsorted"] * len(sorting_analyzer.unit_ids)
    return [str(group).lower() for group in groups]


def _continued(path: Path, unit_ids: list[Any]) -> dict[str, Any]:
    steps = read_curation(path, unit_ids)
    if len(steps) != 1:
        raise ParameterError(
            f"{path} holds {len(steps)} steps of curation, the GUI goes on from one: apply them "
            "(CurationSession.apply_spikeinterface_curation), and open session.apply()"
        )
    found = steps[0].model_dump()
    if set(found["unit_ids"]) != set(unit_ids):
        raise ParameterError(
            f"{path} is the curation of other units ({len(found['unit_ids'])}; here "
            f"{len(unit_ids)}); give another curation_json"
        )
    if not found["label_definitions"]:
        found["label_definitions"] = {
            "quality": {"label_options": list(_LABELS.values()), "exclusive": True}
        }
    return found


def write_curation(curation: dict[str, Any], path: Path) -> None:
    """Write a curation in one step, in place of what the file held.

    Parameters
    ----------
    curation : dict
        As the GUI hands it over.
    path : Path
    """
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(curation, indent=2, default=_as_plain)
    replace_file(path, text.encode())


def _as_plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else list(value)
