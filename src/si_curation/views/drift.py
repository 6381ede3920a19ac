"""The sorter's drift estimate, over the depths of the spikes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import check_arguments
from si_curation.errors import MissingDataError
from si_curation.evidence.unit_locations import spike_depths
from si_curation.phy.folder import read_phy_folder
from si_curation.phy.settings import SorterDrift
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.views.drift_map import (
    MapSpikes,
    amplitude_norm,
    amplitudes_of,
    draw_shift,
    draw_spikes,
    drift_of,
    why_no_drift,
)
from si_curation.views.style import (
    label_axes,
    mark_sessions,
    segment_starts_s,
    spike_count,
    spike_times_s,
    tidy,
    title_panel,
    write_note,
)
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    prepare_extensions,
)

_NOTHING = MapSpikes(np.zeros(0), np.zeros(0), np.zeros(0))


class _Drawn(NamedTuple):
    """What is drawn: spikes, and the drift where it was estimated."""

    spikes: MapSpikes
    end_s: float
    drift: SorterDrift | None
    why_not: str
    amplitude_label: str = "in the sorter's units (amplitudes.npy)"


class DriftWidget(FigureWidget):
    """Draw the drift that Kilosort 4 estimated and corrected, above the depths of the spikes.

    Above, the shift of each block of depths over time (``dshift`` of ``ops.npy``, with Kilosort's
    sign), a step for each batch. Below, the depths of the spikes coloured by amplitude, as of
    `plot_drift_map`, with the same shift drawn from the middle of each block. Kilosort's depths of
    spikes are those after the correction: bands that still move were not corrected. Where the
    sorter estimated no drift (``nblocks`` 0) the figure says so, and shows the spikes alone.
    (Kilosort draws the same numbers as ``drift_amount.png``; SpikeInterface's
    ``plot_drift_raster_map`` needs peaks of the recording.)

    Parameters
    ----------
    source : SortingAnalyzer or str or Path
        An analyzer whose folder is there, or a Kilosort folder. Depths are of the extension
        "spike_locations" or of ``spike_positions.npy``; of an analyzer without them, computed from
        the sorter's features.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Of an analyzer: where sessions begin that were sorted as one, as of `session_borders`.
    sampling_frequency : float, optional
        In Hz; needed for a folder without ``params.py``.
    **figure_arguments
        ``figure``, ``axes`` (two), ``figsize``, ``figtitle``; see `FigureWidget`.

    Raises
    ------
    MissingDataError
        There are neither depths of spikes nor a drift estimate.
    PhyFolderError, FolderNotFoundError

    Examples
    --------
    >>> import si_curation as sic
    >>> widget = sic.plot_drift(sic.example_folder())
    >>> len(widget.axes), widget.axes[0].texts[0].get_text()
    (2, 'the sorter estimated no drift (nblocks is 0)')
    """

    def __init__(
        self,
        source: SortingAnalyzer | str | Path,
        *,
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        sampling_frequency: float | None = None,
        **figure_arguments: Unpack[FigureArguments],
    ):
        check_arguments(DriftWidget.__init__, locals())
        marked = None
        if isinstance(source, SortingAnalyzer):
            prepare_extensions(source, "template_assignment")
            drawn = _of_analyzer(source)
            marked = borders_to_draw(source, borders)
        else:
            drawn = _of_folder(source, sampling_frequency)
        if drawn.drift is None and drawn.spikes.times_s.size == 0:
            raise MissingDataError(
                f"there is nothing to draw: {drawn.why_not}, and depths of spikes are not known; "
                "compute spike_locations, or give a folder with spike_positions.npy"
            )
        super().__init__({"drawn": drawn, "borders": marked}, **figure_arguments)

    def _num_axes(self, data: dict[str, Any]) -> int:
        return 2

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        return (7.0, 5.5)

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        grid = figure.add_gridspec(2, 1, height_ratios=[1, 2])
        above = figure.add_subplot(grid[0])
        return [above, figure.add_subplot(grid[1], sharex=above)]

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        drawn: _Drawn = data["drawn"]
        above, below = axes
        _draw_shift(above, drawn)
        _draw_depths(below, drawn)
        for place in axes:
            tidy(place)
            mark_sessions(place, data["borders"], names=place is above)
        label_axes(above, "", "shift (µm)")
        label_axes(below, "time (s)", "depth (µm)")


def _draw_shift(place: Axes, drawn: _Drawn) -> None:
    drift = drawn.drift
    title_panel(place, "drift that the sorter corrected")
    if drift is None:
        place.set_yticks([])
        write_note(place, drawn.why_not)
        return
    colors = _colors(drift.depths_um.size)
    edges = np.append(drift.starts_s, drift.starts_s[-1] + drift.batch_s)
    for column in np.argsort(drift.depths_um):
        label = f"{drift.depths_um[column]:g} µm"
        place.stairs(
            drift.shift_um[:, column], edges, baseline=None, color=colors[column], label=label
        )
    place.axhline(0, color="0.7", linewidth=0.7, zorder=0)
    if drift.depths_um.size > 1:
        place.legend(
            fontsize=7, title="block at", title_fontsize=7, ncols=2, frameon=False, loc="best"
        )


def _draw_depths(place: Axes, drawn: _Drawn) -> None:
    if drawn.spikes.times_s.size:
        norm = amplitude_norm(drawn.spikes.amplitudes)
        draw_spikes(place, drawn.spikes, drawn.end_s, norm, drawn.amplitude_label)
        count = spike_count(drawn.spikes.times_s.size)
        title_panel(place, "depths of the spikes", f"{count}, coloured by amplitude")
    else:
        title_panel(place, "depths of the blocks", "depths of spikes are not known")
    if drawn.drift is not None:
        draw_shift(place, drawn.drift, list(_colors(drawn.drift.depths_um.size)))


def _colors(count: int) -> NDArray[np.float64]:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.0, 0.85, max(count, 1)))


def _of_analyzer(analyzer: SortingAnalyzer) -> _Drawn:
    drift, why_not = drift_of(analyzer)
    depths = spike_depths(analyzer)
    if not depths.are_own:  # those of units show no drift
        return _Drawn(_NOTHING, 0.0, drift, why_not)
    keep = np.flatnonzero(np.isfinite(depths.depths_um))
    times = spike_times_s(analyzer, keep)
    amplitudes, label = amplitudes_of(analyzer, keep)
    spikes = MapSpikes(times, depths.depths_um[keep], amplitudes)
    return _Drawn(spikes, float(segment_starts_s(analyzer)[-1]), drift, why_not, label)


def _of_folder(folder: str | Path, sampling_frequency: float | None) -> _Drawn:
    with read_phy_folder(folder, sampling_frequency=sampling_frequency) as read:
        settings = read.settings
        spikes = _NOTHING
        if read.spike_positions is not None:
            depths = np.array(read.spike_positions[:, 1], dtype=np.float64)
            keep = np.isfinite(depths)
            amplitudes = np.full(depths.size, np.nan)
            if read.amplitudes is not None:
                amplitudes = np.abs(np.array(read.amplitudes, dtype=np.float64).reshape(-1))
            times = read.spike_samples / read.sampling_frequency
            spikes = MapSpikes(times[keep], depths[keep], amplitudes[keep])
        drift = None if settings is None else settings.drift
        why = why_no_drift(None if settings is None else settings.values)
        end = float(spikes.times_s.max(initial=0.0))
        return _Drawn(spikes, end, drift, why)


plot_drift = figure_function(DriftWidget)
