"""Saving an analyzer: under a temporary name, then renamed; never half an analyzer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spikeinterface.core import BaseRecording, SortingAnalyzer, load_sorting_analyzer

from si_curation._spikeinterface import (
    load_written,
    without_provenance_warnings,
    write_analyzer,
)
from si_curation.checks import local_path
from si_curation.errors import OutputExistsError, ParameterError
from si_curation.files import new_folder


def check_output(format: str, folder: str | Path | None, overwrite: bool = False) -> Path | None:
    """Return the folder that an analyzer will be saved to, None for memory.

    Raises
    ------
    ParameterError, OutputExistsError
    """
    if format not in ("memory", "binary_folder", "zarr"):
        raise ParameterError(f"format is {format!r}, expected 'memory', 'binary_folder' or 'zarr'")
    if format == "memory":
        if folder is not None:
            raise ParameterError(
                "folder is given with format='memory'; use format='binary_folder' or 'zarr'"
            )
        return None
    if folder is None:
        raise ParameterError(f"format={format!r} needs folder=")
    target = local_path(folder, "folder")
    if format == "zarr" and target.suffix != ".zarr":
        target = target.with_name(target.name + ".zarr")
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists; give another folder or remove it")
    return target


def save_analyzer(
    analyzer: SortingAnalyzer, format: str, folder: str | Path, overwrite: bool = False
) -> SortingAnalyzer:
    """Save under a temporary name beside the target, then rename: never half an analyzer.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    format : {"binary_folder", "zarr"}
    folder : str or Path
    overwrite : bool
        False: the folder must not exist. True: it is moved aside, and kept as a backup.

    Returns
    -------
    SortingAnalyzer
        The saved one, loaded.

    Raises
    ------
    OutputExistsError
    """
    target = check_output(format, folder, overwrite)
    if target is None:
        raise ParameterError("an analyzer in memory is not saved")
    recording = analyzer.recording if analyzer.has_recording() else None
    with new_folder(target, overwrite, make=False) as part, without_provenance_warnings():
        write_analyzer(analyzer, format, part)
    saved = load_written(target, analyzer) if analyzer.format == "memory" else None
    saved = load_sorting_analyzer(target) if saved is None else saved
    if recording is not None and not saved.has_recording():
        saved.set_temporary_recording(recording)
    return saved


def save_analyzers(
    analyzers: Iterable[tuple[str, SortingAnalyzer]], format: str, folder: Path
) -> dict[str, SortingAnalyzer]:
    """Save several analyzers into one new folder, which appears with all of them or not at all.

    Parameters
    ----------
    analyzers : iterable of (str, SortingAnalyzer)
        Name and analyzer; one is in memory at a time.
    format : {"binary_folder", "zarr"}
    folder : Path
        Must not exist.

    Returns
    -------
    dict
        {name: the saved analyzer, loaded}
    """
    suffix = ".zarr" if format == "zarr" else ""
    recordings: dict[str, BaseRecording | None] = {}
    with new_folder(folder) as part, without_provenance_warnings():
        for name, analyzer in analyzers:
            recordings[name] = analyzer.recording if analyzer.has_recording() else None
            write_analyzer(analyzer, format, part / f"{name}{suffix}")
    loaded = {}
    for name, recording in recordings.items():
        place = folder / f"{name}{suffix}"
        loaded[name] = (
            load_sorting_analyzer(place) if recording is None else _reload(place, recording)
        )
    return loaded


def _reload(target: Path, recording: BaseRecording) -> SortingAnalyzer:
    analyzer = load_sorting_analyzer(target)
    if not analyzer.has_recording():
        analyzer.set_temporary_recording(recording)
    return analyzer
