"""Array files: what the reader does not open, and what it does not mind."""

from __future__ import annotations

import math
from pathlib import Path

from si_curation.doctor.facts import FolderFacts
from si_curation.phy.arrays import Findings, one_line, read_npy_header

_COPY_AGAIN = "copy the file again from where it was written"
_PER_SPIKE = {
    "spike_detection_templates.npy": "one value for each spike",
    "spike_times_sec.npy": "one value for each spike",
    "spike_times_sec_adj.npy": "one value for each spike",
    "spike_templates_detection.npy": "one value for each spike",
}


def check_array_files(facts: FolderFacts, findings: Findings) -> None:
    """Check that every ``.npy`` file has the length that its header promises."""
    for name in facts.names:
        path = facts.folder / name
        if not name.endswith(".npy") or name.startswith(".") or not path.is_file():
            continue
        if facts.is_faulty(name) or name == "ops.npy":
            continue
        _check_length(path, findings)


def _check_length(path: Path, findings: Findings) -> None:
    found = path.stat().st_size
    if found == 0:
        findings.warning(path.name, "is empty: 0 bytes", _COPY_AGAIN, num_bytes=0)
        return
    try:
        with path.open("rb") as file:
            shape, dtype = read_npy_header(file)
            expected = file.tell() + dtype.itemsize * math.prod(shape)
    except OSError as fault:
        findings.warning(
            path.name, f"cannot be opened: {one_line(fault)}", "make it readable for you"
        )
        return
    except Exception as fault:  # numpy's header reader raises whatever the bytes lead to
        findings.warning(path.name, f"is not a readable .npy file: {one_line(fault)}", _COPY_AGAIN)
        return
    if dtype.hasobject:  # a pickle: a finding of another check
        return
    if found < expected:
        findings.warning(
            path.name,
            f"is truncated: {found} bytes found, {expected} expected for shape {shape} of {dtype}",
            _COPY_AGAIN,
            num_bytes=found,
            num_bytes_expected=expected,
        )
    elif found > expected:
        findings.warning(
            path.name,
            f"has {found - expected:,} bytes more than its header says (shape {shape} of {dtype}); "
            "programs read only what the header says",
            "if the header was not brought up to date by the program that wrote it, write it again",
            num_bytes=found,
            num_bytes_expected=expected,
        )


def check_per_spike_lengths(facts: FolderFacts, findings: Findings) -> None:
    """Check that files that the reader does not open have as many rows as there are spikes."""
    count = facts.parts.spikes.count
    if count is None:
        return
    for name, meaning in _PER_SPIKE.items():
        shape = _shape(facts, name)
        if shape is not None and shape[:1] != (count,) and shape != (1, count):
            findings.warning(
                name,
                f"has shape {shape}, expected {count} rows as in spike_times.npy ({meaning})",
                "files of different runs are mixed; copy the whole folder again",
                shape=list(shape),
                num_spikes=count,
            )


def check_id_dtypes(facts: FolderFacts, findings: Findings) -> None:
    """Check that ids are stored as integers."""
    for name in ("spike_clusters.npy", "spike_templates.npy"):
        path = facts.folder / name
        if not path.is_file() or facts.is_faulty(name):
            continue
        with path.open("rb") as file:
            _, dtype = read_npy_header(file)
        if dtype.kind not in "iu":
            findings.info(
                name,
                f"has dtype {dtype}; the numbers are whole, but other programs use ids as indices",
                "save it as int32",
                dtype=str(dtype),
            )


def _shape(facts: FolderFacts, name: str) -> tuple[int, ...] | None:
    path = facts.folder / name
    if not path.is_file() or facts.is_faulty(name):
        return None
    with path.open("rb") as file:
        return read_npy_header(file)[0]
