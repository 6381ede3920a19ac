"""Metrics of the shape of templates over the channels of the unit: decay, spread, velocity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.template_over_channels import (
    fit_decays,
    fit_lines,
    spread_over_depth,
    velocity,
)
from si_curation.kernels.template_shape import UPSAMPLING, upsample

#: SpikeInterface's parameters and defaults.
CHANNEL_PARAMS: dict[str, dict[str, Any]] = {
    "velocity_fits": {"min_channels": 3, "min_r2": 0.2, "column_range": None},
    "exp_decay": {
        "peak_function": "ptp",
        "min_r2": 0.2,
        "linear_fit": False,
        "channel_tolerance": None,
        "min_channels_for_fit": None,
        "num_channels_for_fit": None,
        "normalize_decay": False,
    },
    "spread": {"spread_threshold": 0.2, "spread_smooth_um": 20, "column_range": None},
}
_TEMPLATES_PER_BLOCK = 512


class Profile(NamedTuple):
    """An upsampled template on the channels of its unit.

    Attributes
    ----------
    lowest, highest : array (n_channels,) float32
    when : array (n_channels,) int64
        Sample of the lowest value.
    locations : array (n_channels, 2) float64
        In µm.
    """

    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]
    when: NDArray[np.int64]
    locations: NDArray[np.float64]

    @property
    def sizes(self) -> NDArray[np.float32]:
        """Return the difference of the highest and the lowest value."""
        return self.highest - self.lowest

    def take(self, channels: NDArray) -> Profile:
        """Return some of the channels."""
        return Profile(*(array[channels] for array in self))


def measure_over_channels(
    analyzer: SortingAnalyzer,
    units: NDArray[np.integer],
    templates: NDArray[np.float32],
    params: Mapping[str, Mapping[str, Any]],
) -> dict[str, NDArray[np.float64]]:
    """Measure templates on the channels of their units (``analyzer.sparsity``).

    Parameters
    ----------
    analyzer : SortingAnalyzer
    units : array (n,) integer
        Indices.
    templates : array (n, n_samples, n_channels) float32
    params : mapping
        {metric: its parameters}, of `CHANNEL_PARAMS`.

    Returns
    -------
    dict of str to array (n,) float64
        By column.
    """
    out: dict[str, NDArray[np.float64]] = {}
    if not params:
        return out
    profiles = _profiles(analyzer, units, templates)
    fs = UPSAMPLING * float(analyzer.sampling_frequency)
    if "exp_decay" in params:
        out["exp_decay"] = _decays(profiles, params["exp_decay"])
    if "spread" in params:
        out["spread"] = _spreads(profiles, params["spread"])
    if "velocity_fits" in params:
        its = params["velocity_fits"]
        both = np.array([_velocities(one, fs, its) for one in profiles], dtype=np.float64)
        out["velocity_above"], out["velocity_below"] = both.reshape(-1, 2).T
    return out


def _profiles(
    analyzer: SortingAnalyzer, units: NDArray[np.integer], templates: NDArray[np.float32]
) -> list[Profile]:
    locations = np.asarray(analyzer.get_channel_locations(), dtype=np.float64)[:, :2]
    shape = (len(units), len(locations))
    sparsity = analyzer.sparsity
    mask = np.ones(shape, dtype=bool) if sparsity is None else np.asarray(sparsity.mask)[units]
    unit, channel = np.nonzero(mask)
    lowest, highest = np.empty((2, unit.size), dtype=np.float32)
    when = np.empty(unit.size, dtype=np.int64)

    def fill(piece: slice) -> None:
        waves = upsample(np.ascontiguousarray(templates[unit[piece], :, channel[piece]]))
        when[piece] = waves.argmin(axis=1)
        lowest[piece], highest[piece] = waves.min(axis=1), waves.max(axis=1)

    run_blocks(fill, blocks(unit.size, _TEMPLATES_PER_BLOCK))
    stop = np.cumsum(mask.sum(axis=1))
    pieces = [slice(a, b) for a, b in zip([0, *stop[:-1].tolist()], stop.tolist(), strict=True)]
    return [Profile(lowest[p], highest[p], when[p], locations[channel[p]]) for p in pieces]


def _decays(profiles: list[Profile], p: Mapping[str, Any]) -> NDArray[np.float64]:
    out = np.full(len(profiles), np.nan)
    points = [_points_of_decay(one, p) for one in profiles]
    rows = [row for row, one in enumerate(points) if one is not None]
    used = [one for one in points if one is not None]
    fit = fit_lines if p["linear_fit"] else fit_decays
    fits = fit([distance for distance, _ in used], [amplitude for _, amplitude in used])
    with np.errstate(invalid="ignore"):
        out[rows] = np.where(fits.r2 < p["min_r2"], np.nan, fits.rate)
    return out


def _points_of_decay(
    profile: Profile, p: Mapping[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return distances from the largest channel and amplitudes; None for too few channels."""
    if profile.lowest.size == 0:
        return None
    sizes = np.abs(profile.lowest if p["peak_function"] == "min" else profile.sizes)
    nearest = np.argmax(sizes)
    apart = profile.locations - profile.locations[nearest]
    distances = np.sqrt((apart**2).sum(axis=1))
    if p["channel_tolerance"] is None:
        order = np.argsort(distances)
        return distances[order], sizes[order].astype(np.float64)
    least, number = p["min_channels_for_fit"], p["num_channels_for_fit"]
    least = (5 if p["linear_fit"] else 8) if least is None else least
    number = (6 if p["linear_fit"] else 10) if number is None else number
    aside, along = np.abs(apart).T
    beside = aside <= p["channel_tolerance"]
    if np.count_nonzero(beside) < least:
        return None
    used = np.argsort(np.where(beside, along, along.max() + 1))[:number]
    used = used[np.argsort(distances[used])]
    of_used = profile.take(used)
    amplitudes = np.maximum(np.abs(of_used.lowest), np.abs(of_used.highest)).astype(np.float64)
    if p["normalize_decay"]:
        amplitudes = amplitudes / amplitudes.max()
    return distances[used], amplitudes


def _in_column(profile: Profile, column_range: float | None) -> Profile:
    if column_range is None or profile.lowest.size == 0:
        return profile
    across = profile.locations[:, 0]
    return profile.take(np.abs(across - across[np.argmax(profile.sizes)]) <= column_range)


def _by_depth(profile: Profile) -> Profile:
    return profile.take(np.argsort(profile.locations[:, 1]))


def _spreads(profiles: list[Profile], p: Mapping[str, Any]) -> NDArray[np.float64]:
    out = np.full(len(profiles), np.nan)
    ordered = [_by_depth(_in_column(one, p["column_range"])) for one in profiles]
    number = np.array([len(one.lowest) for one in ordered])
    for rows in (np.flatnonzero(number == n) for n in np.unique(number)):
        out[rows] = spread_over_depth(
            np.stack([ordered[row].sizes for row in rows]),
            np.stack([ordered[row].locations[:, 1] for row in rows]),
            p["spread_smooth_um"] or 0.0,
            p["spread_threshold"],
        )
    return out


def _velocities(profile: Profile, fs: float, p: Mapping[str, Any]) -> tuple[float, float]:
    """Return the velocity above and below the channel of the lowest value, in µm/ms."""
    ordered = _by_depth(_in_column(profile, p["column_range"]))
    if ordered.lowest.size == 0:
        return np.nan, np.nan
    main = np.lexsort((ordered.when, ordered.lowest))[0]
    delays = ordered.when / fs * 1000 - ordered.when[main] / fs * 1000
    apart = ordered.locations - ordered.locations[main]
    distances = np.sqrt((apart**2).sum(axis=1))
    found = []
    for side in (apart[:, 1] >= 0, apart[:, 1] <= 0):
        enough = np.count_nonzero(side) >= p["min_channels"]
        found.append(velocity(distances[side], delays[side], p["min_r2"]) if enough else np.nan)
    return found[0], found[1]
