"""Loading a saved analyzer without running what is in its folder."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from spikeinterface.core import SortingAnalyzer, load, load_sorting_analyzer
from spikeinterface.core.core_tools import make_paths_absolute

from si_curation._spikeinterface import loaded_extensions, without_provenance_warnings
from si_curation.errors import MissingDataError, SiCurationWarning
from si_curation.phy.arrays import one_line
from si_curation.reading.trust import (
    UntrustedPart,
    has_kilosort_files,
    stored_object,
    untrusted_parts,
)

_MAX_SHOWN = 5
_PROVENANCE_FILES = ("recording.json", "sorting/provenance.json", "sorting_provenance.json")


class LoadedAnalyzer(NamedTuple):
    """A saved analyzer as it was loaded.

    Attributes
    ----------
    analyzer : SortingAnalyzer
        In memory where something was left out, else as it is on disk.
    left_out : tuple of UntrustedPart
        What was not loaded, because that could run code.
    message : str
        Says so to the user, and what to do; "" where nothing was left out.
    """

    analyzer: SortingAnalyzer
    left_out: tuple[UntrustedPart, ...]
    message: str


def is_saved_analyzer(folder: Path) -> bool:
    """Return whether a folder is read as a saved SortingAnalyzer.

    A folder that has Kilosort's files is read as Kilosort's, whatever else is in it.
    """
    looks_so = folder.suffix == ".zarr" or (folder / "recording_info").is_dir()
    return looks_so and not has_kilosort_files(folder)


def load_saved_analyzer(
    folder: Path, *, trust: bool = False, advice: str = "trust_analyzers=True"
) -> LoadedAnalyzer:
    """Load a saved analyzer; leave out what could run code, unless it is trusted.

    SpikeInterface's own ``load_sorting_analyzer`` makes any class that the folder names and loads
    its pickles. Here the classes must be recordings and sortings that are known to read data only,
    and pickles and arrays of objects are left out; see `si_curation.reading.trust`.

    Parameters
    ----------
    folder : Path
    trust : bool
        Load everything, as SpikeInterface does. Only for folders of people whom you trust as you
        would trust their programs.
    advice : str
        How to trust, for the message.

    Returns
    -------
    LoadedAnalyzer

    Raises
    ------
    MissingDataError
        It cannot be loaded.
    """
    parts = [] if trust else untrusted_parts(folder)
    try:
        if not parts:
            with _pickles_allowed(trust):
                return LoadedAnalyzer(load_sorting_analyzer(folder), (), "")
        analyzer = _load_trusted(folder, parts)
    except Exception as fault:  # SpikeInterface raises whatever the files lead to
        raise MissingDataError(
            f"{folder} cannot be loaded as a SortingAnalyzer: {type(fault).__name__}: "
            f"{one_line(fault)}{_left_out_text(parts)}"
        ) from fault
    message = (
        f"{folder}: left out, because loading it can run code: {_listed(parts)}; "
        f"{advice} loads all of it, if you trust whom it is from"
    )
    return LoadedAnalyzer(analyzer, tuple(parts), message)


def load_with_warning(folder: Path, trust: bool) -> SortingAnalyzer:
    """Load a saved analyzer; what is left out is a warning. See `load_saved_analyzer`."""
    loaded = load_saved_analyzer(folder, trust=trust)
    if loaded.message:
        warnings.warn(loaded.message, SiCurationWarning, stacklevel=3)
    return loaded.analyzer


def _load_trusted(folder: Path, parts: Collection[UntrustedPart]) -> SortingAnalyzer:
    """Load an analyzer into memory without some of its parts."""
    with tempfile.TemporaryDirectory(prefix="si_curation-") as place:
        copy = Path(place) / f"analyzer{folder.suffix}"
        _link_trusted(folder.resolve(), copy, parts)
        with without_provenance_warnings(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found no data")
            analyzer = load_sorting_analyzer(copy)
            _drop_extensions_without_data(analyzer)
            analyzer = analyzer.save_as(format="memory")
    _find_recording(analyzer, folder, parts)
    return analyzer


def _drop_extensions_without_data(analyzer: SortingAnalyzer) -> None:
    extensions = loaded_extensions(analyzer)
    for name in [name for name, extension in extensions.items() if extension is None]:
        del extensions[name]


@contextmanager
def _pickles_allowed(trust: bool) -> Iterator[None]:
    """Let zarr unpickle while a folder is loaded that is trusted; newer numcodecs refuses to."""
    pickles: Any = importlib.import_module("numcodecs.pickles")
    if not trust or not hasattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE"):
        yield
        return
    before = pickles.ALLOW_UNSAFE_PICKLE_DECODE
    pickles.ALLOW_UNSAFE_PICKLE_DECODE = True
    try:
        yield
    finally:
        pickles.ALLOW_UNSAFE_PICKLE_DECODE = before


def _find_recording(
    analyzer: SortingAnalyzer, folder: Path, parts: Collection[UntrustedPart]
) -> None:
    """Load the recording of a zarr folder, whose paths may start at the folder itself."""
    left_out = any(part.path == "recording" for part in parts)
    if left_out or analyzer.has_recording() or not (folder / "recording").is_dir():
        return
    with suppress(Exception):  # as SpikeInterface does where the recording has moved
        recording = load(stored_object(folder / "recording"), base_folder=folder)
        analyzer.set_temporary_recording(recording)


def _listed(parts: Collection[UntrustedPart]) -> str:
    texts = [f"{part.path} ({part.reason})" for part in parts]
    more = f" and {len(texts) - _MAX_SHOWN} more" if len(texts) > _MAX_SHOWN else ""
    return ", ".join(texts[:_MAX_SHOWN]) + more


def _left_out_text(parts: Collection[UntrustedPart]) -> str:
    return f" (without {_listed(parts)})" if parts else ""


def _link_trusted(folder: Path, copy: Path, parts: Collection[UntrustedPart]) -> None:
    """Make a copy of links to an analyzer's files, without the parts that are not trusted."""
    removed = {part.path for part in parts if not part.attribute}
    changed = {part.path for part in parts if part.attribute}
    is_zarr = folder.suffix == ".zarr"
    for here, folders, files in os.walk(folder, followlinks=True):
        place = Path(here).relative_to(folder)
        if place.as_posix() in removed or len(place.parts) > 20:
            folders.clear()
            continue
        folders[:] = [name for name in folders if (place / name).as_posix() not in removed]
        (copy / place).mkdir(parents=True, exist_ok=True)
        for name in files:
            path = (place / name).as_posix()
            source, target = Path(here) / name, copy / place / name
            if path in removed or (is_zarr and name == ".zmetadata"):
                continue  # without it, zarr looks at the arrays themselves
            if is_zarr and name in (".zattrs", "zarr.json"):
                drop = place.as_posix() in changed
                _write_json(target, _without_provenance(json.loads(source.read_bytes()), drop))
            elif not is_zarr and path.lower() in _PROVENANCE_FILES:
                _write_json(target, _with_absolute_paths(source, folder))
            else:
                _link(source, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.symlink(source.resolve(), target)
    except OSError:  # not every system and user may
        shutil.copyfile(source, target)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _with_absolute_paths(source: Path, folder: Path) -> Any:
    """Return the description of a recording with paths that hold from anywhere."""
    with open(source, encoding="utf-8") as file:
        content = json.load(file)
    if not content.get("relative_paths"):
        return content
    return {**make_paths_absolute(content, folder), "relative_paths": False}


def _without_provenance(content: dict[str, Any], drop: bool) -> dict[str, Any]:
    """Return metadata of zarr without what it says of other arrays, and of the sorting's origin."""
    content = {key: value for key, value in content.items() if key != "consolidated_metadata"}
    if drop:
        content.pop("provenance", None)
        attributes = content.get("attributes")
        if isinstance(attributes, Mapping):
            content["attributes"] = {k: v for k, v in attributes.items() if k != "provenance"}
    return content
