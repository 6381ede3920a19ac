"""What Kilosort 4 was told and did, from ``ops.npy``: settings, scale, sorted part, drift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import is_number
from si_curation.phy.arrays import Findings

_WHERE = "ops.npy"
#: Keys of ``ops.npy`` that were chosen, in the order in which they are shown. The others are
#: results, sizes, or what another file of the folder says.
SETTING_KEYS = (
    "fs", "n_chan_bin", "data_dtype", "shift", "scale", "invert_sign", "tmin", "tmax",
    "batch_size", "batch_downsampling", "do_CAR", "highpass_cutoff", "artifact_threshold",
    "whitening_range", "nskip", "bad_channels", "shank_idx", "nblocks", "binning_depth",
    "sig_interp", "drift_smoothing", "nt", "nt0min", "dmin", "dminx", "min_template_size",
    "template_sizes", "nearest_chans", "nearest_templates", "max_channel_distance",
    "templates_from_data", "n_templates", "n_pcs", "Th_single_ch", "Th_universal", "Th_learned",
    "max_peels", "loc_range", "long_range", "acg_threshold", "ccg_threshold", "cluster_neighbors",
    "cluster_downsampling", "max_cluster_subset", "x_centers", "cluster_init_seed",
    "duplicate_spike_ms", "duplicate_spike_bins", "position_limit", "save_preprocessed_copy",
    "torch_device",
)  # fmt: skip
_LONGEST = 10_000  # of a list that is still a setting


@dataclass(frozen=True, eq=False)
class SorterDrift:
    """Kilosort 4's estimate of the drift, which it corrected.

    Attributes
    ----------
    shift_um : array (n_batches, n_blocks) float64
        Of the tissue, from batch to batch, for each block of depths (``dshift``).
    depths_um : array (n_blocks,) float64
        The middle of each block (``yblk``).
    starts_s : array (n_batches,) float64
        Start of each batch, in s from the start of the raw data.
    batch_s : float
        Length of a batch.
    """

    shift_um: NDArray[np.float64]
    depths_um: NDArray[np.float64]
    starts_s: NDArray[np.float64]
    batch_s: float


@dataclass(frozen=True, eq=False)
class SorterSettings:
    """What Kilosort 4 was told and did, as ``ops.npy`` says.

    Attributes
    ----------
    values : dict
        Every setting (`SETTING_KEYS`) that the file has, as plain values: numbers, text, lists.
    sorted_scale : float or None
        What the raw data were multiplied by before they were sorted: ``scale``, negative with
        ``invert_sign``. 1 where nothing was done, None where the file does not say it in a form
        that can be read. (``shift`` is added after it, and is gone when Kilosort subtracts the
        mean of each batch.)
    first_s, last_s : float
        The part of the raw data that was sorted (``tmin``, ``tmax``), in s; to infinity where it
        is the end.
    drift : SorterDrift or None
        None where drift was not corrected (``nblocks`` 0).
    runtime_s : float or None
    """

    values: Mapping[str, Any]
    sorted_scale: float | None
    first_s: float
    last_s: float
    drift: SorterDrift | None
    runtime_s: float | None

    @property
    def is_part(self) -> bool:
        """Whether a part of the raw data was sorted, not all of them."""
        return self.first_s > 0 or math.isfinite(self.last_s)


def read_settings(ops: Mapping[str, Any] | None, findings: Findings) -> SorterSettings | None:
    """Read the settings of Kilosort 4.

    Parameters
    ----------
    ops : mapping or None
        As `read_ops` returns it.
    findings : Findings
        A value that cannot be read is a finding of severity "warning".

    Returns
    -------
    SorterSettings or None
        None where there is no ``ops.npy``.

    Examples
    --------
    >>> settings = read_settings({"settings": {"scale": 200.0}, "invert_sign": True}, Findings())
    >>> settings.sorted_scale, settings.is_part
    (-200.0, False)
    """
    if ops is None:
        return None
    found = {key: _get(ops, key) for key in SETTING_KEYS}
    values = {key: _plain(value) for key, value in found.items() if value is not None}
    first = _number(ops, "tmin", 0.0, findings)
    last = _number(ops, "tmax", math.inf, findings)
    if first is None or last is None or math.isnan(last) or not 0 <= first < last:
        if first is not None and last is not None:
            findings.warning(
                _WHERE,
                f"tmin is {first!r} and tmax {last!r}, expected an ascending pair from 0",
                "not used: the whole recording counts as sorted",
            )
        first, last = 0.0, math.inf
    runtime = ops.get("runtime")
    return SorterSettings(
        {key: value for key, value in values.items() if value is not None},
        _sorted_scale(ops, findings),
        first,
        last,
        _drift(ops, first, findings),
        float(runtime) if is_number(runtime) else None,
    )


def _get(ops: Mapping[str, Any], key: str) -> Any:
    """Return what was used, else what was asked for."""
    if ops.get(key) is not None:
        return ops[key]
    settings = ops.get("settings")
    return settings.get(key) if isinstance(settings, Mapping) else None


def _number(ops: Mapping[str, Any], key: str, default: float, findings: Findings) -> float | None:
    """Return a number; None with a finding where it is something else."""
    value = _get(ops, key)
    if value is None:
        return default
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iuf":
        value = value.item()
    if is_number(value):
        return float(value)
    findings.warning(_WHERE, f"{key} is a {type(value).__name__}, expected a number", "not used")
    return None


def _sorted_scale(ops: Mapping[str, Any], findings: Findings) -> float | None:
    scale = _number(ops, "scale", 1.0, findings)
    if scale is None:
        return None
    if scale == 0 or not math.isfinite(scale):
        findings.warning(
            _WHERE,
            f"scale is {scale!r}, expected a number that is not 0",
            "templates and amplitudes are not in the units of the raw data",
        )
        return None
    # as Kilosort does it: multiplied, then the sign
    inverted = _get(ops, "invert_sign")
    is_inverted = isinstance(inverted, bool | int | float | np.generic) and bool(inverted)
    return -scale if is_inverted else scale


def _drift(ops: Mapping[str, Any], first_s: float, findings: Findings) -> SorterDrift | None:
    shift: Any = ops.get("dshift")
    depths: Any = ops.get("yblk")
    if shift is None:
        return None
    batch, fs = (
        _number(ops, "batch_size", math.nan, findings),
        _number(ops, "fs", math.nan, findings),
    )
    batch_s = batch / fs if batch and fs and batch > 0 and fs > 0 else math.nan
    fits = isinstance(shift, np.ndarray) and isinstance(depths, np.ndarray)
    fits = fits and shift.ndim in (1, 2) and shift.dtype.kind in "iuf" and shift.size > 0
    fits = fits and depths.dtype.kind in "iuf" and depths.size == shift[0].size
    if not fits or not math.isfinite(batch_s):
        findings.warning(
            _WHERE,
            "dshift, yblk, batch_size and fs do not fit one another, expected one shift for each "
            "batch and each block of depths",
            "the drift is not shown",
        )
        return None
    values = np.array(shift, dtype=np.float64).reshape(len(shift), -1)
    middles = np.array(depths, dtype=np.float64).reshape(values.shape[1])
    starts = (first_s + np.arange(len(values)) * batch_s).astype(np.float64)
    return SorterDrift(values, middles, starts, batch_s)


def _plain(value: Any) -> Any:
    """Return a setting as plain data; None where it is none, but a result."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        value = value.tolist()
    if isinstance(value, tuple | list | set | frozenset):
        entries = [_plain(entry) for entry in value]
        return entries if len(entries) <= _LONGEST and None not in entries else None
    return value if isinstance(value, bool | int | float | str) else None
