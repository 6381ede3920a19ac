"""The Kilosort folders that the spikes of an analyzer are from, as far as anything says so."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from spikeinterface.core import BaseSorting, SortingAnalyzer

from si_curation._spikeinterface import arguments_of
from si_curation.documents import read_document
from si_curation.errors import MissingDataError, SiCurationError, SiCurationWarning

_SHOWN = 10
_SURE_TRACES = ("original_cluster_id",)
_TRACES = (*_SURE_TRACES, "KSLabel", "ContamPct")
# of a saved sorting or analyzer: where SpikeInterface writes what it was made from
_SAVED_AS = (
    "provenance.json",
    "sorting/provenance.json",
    "sorting_provenance.json",
    ".zattrs",
    "sorting/.zattrs",
)


def folders_named_by(analyzer: SortingAnalyzer) -> list[str]:
    """Return the folders that the sorting of an analyzer, or what it was made from, names.

    By the unit property `phy_folder` where all units have it. Else by the annotation, and those of
    the sortings that it was made from: an analyzer on disk, and a sorting that was saved, know
    them. In memory only what SpikeInterface copies is left.

    Parameters
    ----------
    analyzer : SortingAnalyzer

    Returns
    -------
    list of str
    """
    values = analyzer.sorting.get_property("phy_folder")
    of_units = [] if values is None else [str(one) for one in values.tolist()]
    if of_units and all(of_units):
        return list(dict.fromkeys(of_units))
    annotation = analyzer.sorting.get_annotation("phy_folder")
    named = dict.fromkeys(str(one) for one in (annotation, *of_units) if one)
    search = _Search()
    behind = dict.fromkeys(search.of_sorting(analyzer.sorting))
    if analyzer.format != "memory":
        behind |= dict.fromkeys(search.saved_in(Path(analyzer.folder)))
    # the sorting of an appended list has the annotation of its first
    return list(behind) if behind and named.keys() <= behind.keys() else list(named)


class _Search:
    """Looks for folders in what a sorting was made from; each saved one is opened once."""

    def __init__(self) -> None:
        self._seen: set[Path] = set()

    def of_sorting(self, sorting: BaseSorting) -> list[str]:
        """Return the folders of the sortings that a sorting was made from; else its own."""
        own = sorting.get_annotation("phy_folder")
        return self._inside(arguments_of(sorting), ()) or ([str(own)] if own else [])

    def saved_in(self, folder: Path) -> list[str]:
        """Return the folders that a saved sorting or analyzer is from; nothing is unpickled."""
        if folder.resolve() in self._seen:
            return []
        self._seen.add(folder.resolve())
        names = []
        for name in _SAVED_AS:
            try:
                content = read_document(folder / name, expected="JSON", suffix=".json")
            except (OSError, SiCurationError):
                continue
            if name.endswith(".zattrs"):
                content = content.get("provenance") if isinstance(content, dict) else None
            # paths are relative to the folder of the sorting, or of the analyzer
            names += self._inside(content, (folder, (folder / name).parent))
        return names

    def _inside(self, node: Any, bases: tuple[Path, ...]) -> list[str]:
        """Return the folders that arguments of a sorting name, as objects or as saved."""
        if isinstance(node, BaseSorting):
            return self.of_sorting(node)
        if isinstance(node, list | tuple):
            return [name for one in node for name in self._inside(one, bases)]
        if not isinstance(node, dict):
            return []
        if isinstance(node.get("kwargs"), dict):  # a saved sorting
            annotations = node.get("annotations")
            own = annotations.get("phy_folder") if isinstance(annotations, dict) else None
            own = own or _kilosort_folder(node["kwargs"].get("folder_path"), bases)  # as in zarr
            return self._inside(node["kwargs"], bases) or ([str(own)] if own else [])
        names = []
        for key, one in node.items():
            if key == "folder_path" and isinstance(one, str | Path):
                place = _existing(one, bases)
                names += [] if place is None else self.saved_in(place)
            else:
                names += self._inside(one, bases)
        return names


def _existing(path: str | Path, bases: tuple[Path, ...]) -> Path | None:
    """Return the folder that a relative or absolute path is; None where there is none."""
    return next((base / path for base in (*bases, Path()) if (base / path).is_dir()), None)


def _kilosort_folder(path: Any, bases: tuple[Path, ...]) -> Path | None:
    """Return the folder that a saved path is, where a sorter wrote it."""
    found = _existing(path, bases) if isinstance(path, str | Path) else None
    is_one = found is not None and (found / "spike_times.npy").is_file()
    return found.resolve() if found is not None and is_one else None


def trace_of_unnamed_folder(analyzer: SortingAnalyzer) -> str | None:
    """Return the unit property that shows that units are of a Kilosort folder that nothing names.

    SpikeInterface drops the folder where sortings of several are aggregated, and where an analyzer
    is merged or split. Only readers of folders set ``original_cluster_id``, which merges drop too;
    the columns of Kilosort's own tables may also come from another file.

    Returns
    -------
    str or None
        None: no such property, or the folder is named.
    """
    known = set(map(str, analyzer.sorting.get_property_keys()))
    found = next((name for name in _TRACES if name in known), None)
    return None if found is None or folders_named_by(analyzer) else found


def describe_trace(trace: str) -> str:
    """Return what a trace says, as text."""
    return (
        f"the units have the property {trace} of a Kilosort folder, but which folder that is was "
        "lost (SpikeInterface drops it where sortings of several folders are aggregated, and where "
        "an analyzer is merged or split); give it: attach_kilosort_folder(analyzer, folder), or "
        "attach_kilosort_folder(analyzer, [folder, folder]) of several, or "
        "kilosort_folder=None if the units are the templates"
    )


def folders_to_attach(analyzer: SortingAnalyzer) -> str | list[str] | None:
    """Return the folder that a sorting names, or several; None where it names none.

    Raises
    ------
    MissingDataError
        It names none, and the units have cluster ids of one.

    Warns
    -----
    SiCurationWarning
        Units have columns of Kilosort's tables, and nothing names a folder.
    """
    named = folders_named_by(analyzer)
    if named:
        return named if len(named) > 1 else named[0]
    trace = trace_of_unnamed_folder(analyzer)
    if trace is not None and trace in _SURE_TRACES:
        raise MissingDataError(describe_trace(trace))
    if trace is not None:
        warnings.warn(
            f"{describe_trace(trace)}. The units are taken as the templates",
            SiCurationWarning,
            stacklevel=4,
        )
    return None
