"""Channels: positions, and those in Kilosort 4's ``ops.npy``."""

from __future__ import annotations

from typing import Any

import numpy as np

from si_curation.checks import is_number
from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, plural
from si_curation.phy.arrays import Findings
from si_curation.phy.file_groups import shanks_in_ops

_MIXED = "files of different runs are mixed; copy the whole folder again"
_MIN_EXTENT_UM, _MAX_EXTENT_UM = 1.0, 200_000.0


def check_positions(facts: FolderFacts, findings: Findings) -> None:
    """Check that positions can be in µm."""
    positions, name = facts.parts.channels.channel_positions, "channel_positions.npy"
    if positions is None or len(positions) < 2:
        return
    extent = float(np.ptp(positions, axis=0).max())
    if len(np.unique(positions, axis=0)) > 1 and not _MIN_EXTENT_UM <= extent <= _MAX_EXTENT_UM:
        findings.warning(
            name,
            f"the probe is {extent:g} µm long, so the positions are hardly in µm",
            "put them into µm: distances, depths and neighbourhoods depend on it",
            extent_um=extent,
        )


def check_ops(facts: FolderFacts, findings: Findings) -> None:
    """Check that channel map, channel count and rate are those that Kilosort 4 was run with."""
    ops, params = facts.parts.ops, facts.parts.params
    if ops is None:
        return
    mine, its = facts.parts.channels.channel_map, _numbers(ops.get("chanMap"))
    if mine is not None and its is not None and not np.array_equal(mine, its):
        same_size = mine.size == its.size
        wrong = np.flatnonzero(mine != its) if same_size else np.zeros(0, dtype=np.int64)
        difference = (
            f"differs from chanMap in ops.npy at {plural(wrong.size, 'channel')}, channel "
            f"{wrong[0]} first"
            if same_size
            else f"has {plural(mine.size, 'channel')}, chanMap in ops.npy has {its.size}"
        )
        findings.warning("channel_map.npy", difference, _MIXED, channels=first_of(wrong))
    _check_shanks(facts, findings)
    for key, of_ops, meaning in (
        ("n_channels_dat", "n_chan_bin", "channels of the raw file"),
        ("sample_rate", "fs", "sampling rate in Hz"),
    ):
        here, there = _number(params.get(key)), _number(ops.get(of_ops))
        if here is not None and there is not None and abs(here - there) > 1e-9 * abs(there):
            findings.warning(
                "params.py",
                f"{key} is {here:g}, but Kilosort 4 ran with {there:g} (ops.npy, {of_ops}: "
                f"{meaning})",
                "find out which one is right: all times or channels depend on it",
                **{key: here, of_ops: there},
            )


def _check_shanks(facts: FolderFacts, findings: Findings) -> None:
    """Check that shanks are those that Kilosort 4 was run with."""
    channels, name = facts.parts.channels, "channel_shanks.npy"
    if channels.channel_map is None or channels.channel_shanks is None:
        return
    its = shanks_in_ops(facts.parts.ops, channels.channel_map)
    if its is None:
        return
    if not facts.has(name):
        if np.unique(its).size > 1:
            findings.info(
                name,
                f"is missing; kcoords in ops.npy has {np.unique(its).size} shanks, which are used",
                "phy takes all channels for one shank; write the file",
                shanks=first_of(np.unique(its)),
            )
        return
    pairs = np.unique(np.stack([channels.channel_shanks, its], axis=1), axis=0)
    counts = {len(pairs), np.unique(its).size, np.unique(channels.channel_shanks).size}
    if len(counts) > 1:
        findings.warning(
            name,
            f"groups the channels into {np.unique(channels.channel_shanks).size} shanks, kcoords "
            f"in ops.npy into {np.unique(its).size}, and not the same channels",
            "find out which one is right: neighbours and best channels depend on it",
        )


def _number(value: Any) -> float | None:
    if not is_number(value) or abs(value) > 1e15:
        return None
    return float(value) if np.isfinite(float(value)) else None


def _numbers(value: Any) -> np.ndarray | None:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        return None
    return value.ravel()
