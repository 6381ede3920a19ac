"""What the lineage view draws, as arrays and texts, without a GUI toolkit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.curation.lineage import reconstruct_lineage
from si_curation.kernels.channels import channel_spacing
from si_curation.reading.probe import planar_locations

MAX_TEMPLATES = 6
_TIME_SHARE, _HEIGHT_SHARE = 0.84, 1.6  # of the distance of columns and of rows of the probe


@dataclass(frozen=True)
class Constituent:
    """One template of a unit, as it is drawn.

    Attributes
    ----------
    template_id : int
    num_spikes : int
        Spikes of the unit that it found.
    weight : float
        Its share of the unit's spikes, 0 to 1.
    x, y : array (k * (n_samples + 1),) float64
        Its waveform at the places of the channels, in µm, channel by channel, each followed by NaN.
    """

    template_id: int
    num_spikes: int
    weight: float
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def label(self) -> str:
        """Name, spikes and share, for a legend."""
        return f"template {self.template_id}: {self.num_spikes:,} ({self.weight:.0%})"


@dataclass(frozen=True)
class UnitConstituents:
    """The templates of a unit.

    Attributes
    ----------
    unit_id : int or str
    title, subtitle : str
        What was done to the unit; which other units have spikes of its templates.
    constituents : tuple of Constituent
        Most spikes first.
    channel_ids : array (k,)
        Where they are drawn: the best channels of the unit, best first, then those on which another
        drawn template has at least half of its largest amplitude.
    scale : float
        µm on the probe for one unit of the templates: the same for all templates of the unit.
    """

    unit_id: Any
    title: str
    subtitle: str
    constituents: tuple[Constituent, ...]
    channel_ids: NDArray
    scale: float


def missing_text(sorting_analyzer: SortingAnalyzer) -> str:
    """Return which extensions are missing; "" if none."""
    needed = ("template_assignment", "template_best_channels")
    missing = [name for name in needed if sorting_analyzer.get_extension(name) is None]
    if not missing:
        return ""
    names = " and ".join(f"'{name}'" for name in missing)
    plural = "s" if len(missing) > 1 else ""
    return f"This view needs the extension{plural} {names}: analyzer.compute({missing})."


def get_constituents(
    sorting_analyzer: SortingAnalyzer,
    unit_ids: Sequence[Any],
    lineage: pd.DataFrame | None = None,
    max_templates: int = MAX_TEMPLATES,
) -> list[UnitConstituents]:
    """Return the templates of some units on their best channels.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With "template_assignment" and "template_best_channels".
    unit_ids : sequence
    lineage : pandas.DataFrame, optional
        Of `reconstruct_lineage`, where it is known already.
    max_templates : int
        Of each unit those with most spikes.

    Returns
    -------
    list of UnitConstituents
        A unit without spikes has none.
    """
    if lineage is None:
        lineage = reconstruct_lineage(sorting_analyzer)
    templates = sorting_analyzer.get_extension("template_assignment").get_templates()
    best_channels = sorting_analyzer.get_extension("template_best_channels")
    positions = planar_locations(sorting_analyzer)
    width, height = channel_spacing(positions)
    found = []
    for unit_id in unit_ids:
        row = lineage.loc[unit_id]
        pairs = row["templates"][: max(max_templates, 1)]
        drawn = templates[[template_id for template_id, _ in pairs]]
        amplitudes = np.ptp(drawn, axis=1)  # (templates, channels)
        best = sorting_analyzer.channel_ids_to_indices(best_channels.get_best_channels(unit_id))
        channels = _with_channels_of(amplitudes, np.asarray(best, dtype=np.int64))
        waveforms = drawn[:, :, channels]
        largest = float(amplitudes.max(initial=0.0))
        scale = _HEIGHT_SHARE * height / largest if largest > 0 else 0.0
        time = np.linspace(-0.5, 0.5, templates.shape[1]) * _TIME_SHARE * width
        x = _joined(positions[channels, :1] + time)
        constituents = tuple(
            Constituent(
                template_id,
                count,
                count / row["num_spikes"],
                x,
                _joined(positions[channels, 1:] + waveform.T.astype(np.float64) * scale),
            )
            for (template_id, count), waveform in zip(pairs, waveforms, strict=True)
        )
        title = f"unit {unit_id}: {row['event']}, {row['num_spikes']:,} spikes"
        found.append(
            UnitConstituents(
                unit_id,
                title,
                _subtitle(row, len(pairs)),
                constituents,
                sorting_analyzer.channel_ids[channels],
                scale,
            )
        )
    return found


def _with_channels_of(amplitudes: NDArray, best: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add the channels that other templates are large on; amplitudes (templates, channels)."""
    large = (amplitudes >= 0.5 * amplitudes.max(axis=1, keepdims=True)) & (amplitudes > 0)
    others = np.flatnonzero(large.any(axis=0))
    return np.concatenate([best, others[~np.isin(others, best)]])


def shades(rgba: Sequence[float], count: int) -> list[str]:
    """Return the colours of the templates of a unit: its own colour, then lighter ones.

    Examples
    --------
    >>> shades((1.0, 0.0, 0.0, 1.0), 3)
    ['#ff0000', '#ff7373', '#ffe6e6']
    """
    own = np.asarray(rgba[:3], dtype=np.float64)
    shares = np.linspace(0.0, 0.9, count) if count > 1 else np.zeros(count)
    return [to_hex(own + (1.0 - own) * share) for share in shares]


def _subtitle(row: pd.Series, num_drawn: int) -> str:
    if row["event"] == "empty":
        return "no spikes, and so no template"
    others = row["shares_templates_with"]
    parts = []
    if others:
        shown = ", ".join(map(str, others[:8])) + (", ..." if len(others) > 8 else "")
        parts.append(f"shares templates with {shown}")
    else:
        parts.append("shares no template")
    hidden = len(row["templates"]) - num_drawn
    if hidden:
        spikes = sum(count for _, count in row["templates"][num_drawn:])
        parts.append(f"{hidden} more templates with {spikes:,} spikes")
    return "; ".join(parts)


def _joined(lines: NDArray) -> NDArray[np.float64]:
    """Return lines (k, n) put end to end, with NaN between them."""
    gaps = np.full((len(lines), 1), np.nan)
    return np.hstack([lines, gaps]).ravel()
