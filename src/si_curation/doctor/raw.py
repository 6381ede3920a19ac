"""The raw data: is the file there, is it that of this folder; never opened."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from si_curation.checks import is_whole_number
from si_curation.doctor.facts import FolderFacts
from si_curation.phy.arrays import Findings, shortened
from si_curation.phy.params import data_paths_of
from si_curation.phy.raw import itemsize_of

_NAME = "params.py"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ONLY_TRACES = "only traces and waveforms need it: phy shows none, and this package does without; "


def check_raw_params(facts: FolderFacts, findings: Findings) -> None:
    """Check that channels, dtype and offset of the raw data make sense."""
    params = facts.parts.params
    if not params:
        return
    dtype = params.get("dtype", "int16")
    if not itemsize_of(dtype):
        findings.warning(
            _NAME,
            f"dtype is {shortened(repr(dtype), 40)}, no type of numbers",
            "correct it; Kilosort reads int16",
        )
    offset = params.get("offset", 0)
    if not isinstance(offset, int) or offset < 0:
        findings.warning(
            _NAME,
            f"offset is {shortened(repr(offset), 40)}, expected a number of bytes",
            "set it to 0",
        )
    count = params.get("n_channels_dat")
    if "n_channels_dat" not in params:
        findings.info(_NAME, "has no n_channels_dat", "phy needs it to show traces")
    elif not is_whole_number(count) or count <= 0:
        findings.warning(
            _NAME,
            f"n_channels_dat is {shortened(repr(count), 40)}, expected a number of channels",
            "correct it: traces cannot be read",
        )
    written = params.get("dat_path")
    if written is not None and not data_paths_of(params) and written not in ("", [], ()):
        findings.warning(
            _NAME,
            f"dat_path is {shortened(repr(written), 60)}, expected a path or a list of paths",
            "correct it",
        )


def check_raw_paths(facts: FolderFacts, findings: Findings) -> None:
    """Check that the raw file that is named is there."""
    entries = data_paths_of(facts.parts.params)
    for entry, path in zip(entries, facts.data_paths, strict=True):
        if _CONTROL.search(entry):
            findings.warning(
                _NAME,
                f"dat_path {shortened(entry, 80)!r} has a control character: a backslash of a "
                "Windows path that Python took for an escape",
                "write it as r'C:\\data\\x.bin' or with forward slashes",
                dat_path=entry,
            )
        elif not os.path.exists(path):
            why, advice = _why_missing(entry)
            findings.info(
                _NAME,
                f"the raw file {shortened(entry, 80)} is not there{why}",
                _ONLY_TRACES + advice,
                dat_path=entry,
            )
        elif not os.path.isfile(path):
            findings.warning(
                _NAME,
                f"dat_path {shortened(entry, 80)} is a folder",
                "give the raw file itself",
                dat_path=entry,
            )


def _why_missing(entry: str) -> tuple[str, str]:
    is_windows = bool(PureWindowsPath(entry).drive) or ("\\" in entry and "/" not in entry)
    if is_windows and os.name != "nt":
        return (
            ": a path of Windows, and this is another system",
            "write where it is here into dat_path",
        )
    is_posix = PurePosixPath(entry).is_absolute()
    if is_posix and os.name == "nt":
        return (
            ": a path of Linux or macOS, and this is Windows",
            "write where it is here into dat_path",
        )
    if is_posix or is_windows:
        known = Path(entry)
        while not os.path.exists(known) and known.parent != known:
            known = known.parent
        if known.parent == known or len(known.parts) <= 2:
            return (
                ": an absolute path of another machine, of which nothing is here",
                "write where it is here into dat_path",
            )
        return f" (found as far as {known})", "put it back, or correct dat_path"
    return "", "put it beside the folder's files, or correct dat_path"


def check_raw_size(facts: FolderFacts, findings: Findings) -> None:
    """Check that the raw file holds whole frames of ``n_channels_dat`` channels."""
    params: Mapping[str, Any] = facts.parts.params
    itemsize = itemsize_of(params.get("dtype", "int16"))
    count, offset = params.get("n_channels_dat"), params.get("offset", 0)
    if not is_whole_number(count) or count <= 0 or not itemsize:
        return
    if not isinstance(offset, int) or offset < 0:
        return
    for path in facts.data_paths:
        if not os.path.isfile(path) or path.suffix == ".cbin":  # compressed: no plain frames
            continue
        size = path.stat().st_size - offset
        where = path.name
        if size <= 0:
            findings.warning(
                where,
                f"has {size + offset} bytes, and offset is {offset}: no data",
                "copy the raw file again, or correct offset",
                num_bytes=size + offset,
            )
            continue
        left = size % (count * itemsize)
        if left:
            fitting = _fitting_counts(size // itemsize, count) if size % itemsize == 0 else []
            hint = f"; {', '.join(map(str, fitting))} channels would fit" if fitting else ""
            findings.warning(
                where,
                f"has {size:,} bytes, no whole number of frames of {count} channels of "
                f"{np.dtype(params.get('dtype', 'int16'))}: {left} bytes are left over{hint}",
                "the file was cut or is still being copied, or n_channels_dat, dtype or offset "
                "are wrong",
                num_bytes=size,
                num_bytes_left_over=left,
                num_channels_that_fit=fitting,
            )


def _fitting_counts(num_values: int, count: int) -> list[int]:
    near = [n for d in (1, 2, 3, 4, 8, 16) for n in (count - d, count + d) if n > 0]
    return [n for n in near if num_values % n == 0][:3]
