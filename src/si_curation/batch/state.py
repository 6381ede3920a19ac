"""What makes a session done: fingerprints by content, and the records beside its outputs.

``sessions/NAME/done.json`` is in the folder of outputs, which appears as a whole: a session is
done if and only if its outputs are complete. ``records/NAME.json`` has what differs from run to
run: seconds, host, and the error of a session that failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from si_curation.batch.inputs import SessionInput
from si_curation.documents import parse_document
from si_curation.errors import OutputExistsError, ParameterError
from si_curation.files import (
    is_temporary,
    remove_unfinished_folders,
    replace_file,
    settle_replaced,
)
from si_curation.phy.arrays import Findings
from si_curation.phy.backup import BACKUP_FOLDER, CACHE_FOLDER
from si_curation.phy.params import data_paths_of, read_params
from si_curation.phy.raw import raw_num_samples, resolve_data_paths, resolved
from si_curation.reading.loading import is_saved_analyzer

DONE = "done.json"
_CHUNK = 1 << 22
_MAX_RECORD_BYTES = 10_000_000
_MAX_COUNT = 2**53
_Name = Annotated[str, Field(max_length=200)]
_Text = Annotated[str, Field(max_length=100_000)]
_READ = (".npy", ".tsv", ".csv")  # and params.py: what a phy folder is read from
_SKIPPED = {CACHE_FOLDER, BACKUP_FOLDER, "__pycache__"}
_FINGERPRINTED = ("si_curation", "spikeinterface")
_RECORDED = (*_FINGERPRINTED, "numpy", "scipy", "numba", "pandas")
_PARTS = {
    "inputs": "its files have changed",
    "recipe": "the recipe has changed",
    "versions": "the versions of the packages have changed",
}


def versions() -> dict[str, str]:
    """Return the versions of Python and the packages that compute."""
    found = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def make_fingerprint(session: SessionInput) -> dict[str, Any]:
    """Return what the outputs of a session depend on: content of its files, recipe, versions.

    Of a Kilosort/phy folder, names and content of the files that are read are hashed. Of raw data
    only the length counts, because nothing else is used. Where the recipe exports to phy, which
    copies all other files of the folder too, these count as well; of a saved analyzer all files do.
    Neither dates nor the place of the folder count.

    Returns
    -------
    dict
        ``inputs`` and ``recipe``: BLAKE2b digests; ``versions`` of si_curation and SpikeInterface.
    """
    recipe = session.recipe.model_dump(mode="json", exclude={"effect", "session_name_parts"})
    nwb = session.recipe.exports.nwb
    if nwb is not None:
        for key, path in (("metadata", nwb.metadata), ("source_nwb", nwb.source_nwb)):
            if isinstance(path, str):
                recipe["exports"]["nwb"][key] = _digest_file(Path(path))
    labels = session.recipe.labels
    if labels is not None and labels.model is not None:
        recipe["labels"]["model"] = _digest_file(Path(labels.model))
    if session.recipe.report is not None:
        files = session.recipe.report.calibrations
        recipe["report"]["calibrations"] = [_digest_file(Path(path)) for path in files]
    text = json.dumps([session.name, recipe], sort_keys=True)
    now = versions()
    return {
        "inputs": _digest_inputs(Path(session.folder), session.recipe.exports.phy is not None),
        "recipe": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        "versions": {name: now[name] for name in _FINGERPRINTED},
    }


def _digest_inputs(folder: Path, everything: bool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    raw: list[Path] = []
    if is_saved_analyzer(folder):
        everything = True
    else:
        params = read_params(folder, Findings())
        raw = list(resolve_data_paths(folder, data_paths_of(params)))
        digest.update(repr(raw_num_samples(tuple(raw), params)).encode())
    raw_files = {resolved(path) for path in raw}
    for name in sorted(_files_of(folder, everything)):
        path = folder / name
        if resolved(path) not in raw_files:
            digest.update(json.dumps([name, path.stat().st_size]).encode())
            digest.update(_digest_file(path).encode())
    return digest.hexdigest()


def _files_of(folder: Path, everything: bool) -> Iterator[str]:
    for here, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if everything and name not in _SKIPPED]
        for name in files:
            is_read = name == "params.py" or name.endswith(_READ)
            is_left = is_temporary(name) or name == "phy.log"
            if (is_read or everything) and not is_left and (Path(here) / name).is_file():
                yield (Path(here) / name).relative_to(folder).as_posix()


def _digest_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class Counts(BaseModel):
    """How much a session has."""

    num_units: int = Field(ge=0, le=_MAX_COUNT)
    num_spikes: int = Field(ge=0, le=_MAX_COUNT)


class Done(BaseModel):
    """``done.json`` of a session."""

    fingerprint: dict[str, Any]
    outputs: list[Annotated[str, Field(pattern=r"^[^/\\\x00]+$", max_length=255)]]
    counts: Counts


class Record(BaseModel):
    """``records/NAME.json`` of a session, as far as it is used again."""

    seconds: dict[_Name, Annotated[float, Field(ge=0, le=1e9)]] = Field({}, max_length=200)
    versions: dict[_Name, _Name] = Field({}, max_length=50)
    warnings: list[_Text] = Field([], max_length=1000)
    error: _Text = ""
    fingerprint: dict[str, Any] | None = None
    run: _Name = ""
    would_fail_again: bool = False


class BatchFolder:
    """The output folder of a batch: where everything is.

    Parameters
    ----------
    folder : Path
        Absolute.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.marker = folder / "batch.json"
        self.lock = folder / ".lock"
        self.sessions = folder / "sessions"
        self.records = folder / "records"

    def check(self) -> None:
        """Raise where a batch cannot write to the folder."""
        if self.folder.exists() and not self.folder.is_dir():
            raise ParameterError(f"{self.folder} is a file, expected the name of a folder")
        if not self.is_of_a_batch():
            raise OutputExistsError(
                f"{self.folder} has files that are not of a batch; give another folder"
            )

    def is_of_a_batch(self) -> bool:
        """Return whether there is no file in the folder but those of batches.

        A batch that was killed in its first moments leaves empty folders and unfinished files.
        """
        if self.marker.is_file() or not self.folder.exists():
            return True
        own = {self.sessions, self.records}
        return all(
            path == self.lock
            or is_temporary(path.name, own=True)
            or (path in own and path.is_dir() and not any(path.iterdir()))
            for path in self.folder.iterdir()
        )

    def outputs_of(self, name: str) -> Path:
        """Return the folder of a session's outputs."""
        return self.sessions / name

    def read_done(self, name: str) -> dict[str, Any] | None:
        """Return the content of ``done.json`` of a session; None where it is not done."""
        return _read_as(Done, self.outputs_of(name) / DONE)

    def read_record(self, name: str) -> dict[str, Any] | None:
        """Return the record of the last time that a session was computed, or None."""
        return _read_as(Record, self.records / f"{name}.json")

    def write_record(self, name: str, record: dict[str, Any]) -> None:
        """Replace the record of a session."""
        self.records.mkdir(exist_ok=True)
        replace_file(self.records / f"{name}.json", to_json(record))

    def remove_unfinished(self, name: str) -> None:
        """Remove what a killed process left of a session under temporary names.

        What another process is writing stays.
        """
        remove_unfinished_folders(self.outputs_of(name))
        settle_replaced(self.outputs_of(name))


def _read_as(model: type[BaseModel], path: Path) -> dict[str, Any] | None:
    """Return what a record holds; None where there is none, or it is not what this package writes.

    Whoever may write to the output folder can change records: they decide about their own session
    alone.
    """
    try:
        if path.stat().st_size > _MAX_RECORD_BYTES:
            return None
        content = parse_document(path.read_bytes(), str(path))
        return model.model_validate(content, strict=True).model_dump(exclude_unset=True)
    except (OSError, ParameterError, ValidationError):
        return None


def to_json(content: Any) -> bytes:
    """Return sorted and indented JSON."""
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")


def why_outdated(done: dict[str, Any], fingerprint: dict[str, Any], outputs: Path) -> str | None:
    """Return why the outputs of a session are not those of its fingerprint; None if they are."""
    before = done.get("fingerprint", {})
    reasons = [text for key, text in _PARTS.items() if before.get(key) != fingerprint[key]]
    missing = [name for name in done.get("outputs", []) if not (outputs / name).exists()]
    if missing:
        reasons.append(f"{', '.join(missing)} is missing")
    return " and ".join(reasons) or None
