"""The sorter's drift estimate, over the depths of the spikes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.checks import check_arguments
from si_curation.errors import MissingDataError
from si_curation.phy.folder import read_phy_folder
from si_curation.phy.settings import SorterDrift
from si_curation.reading.sorter_folder import sorter_folder_of, sorter_run_of
from si_curation.views.style import label_axes, spike_times_s, tidy, title_panel, write_note
from si_curation.views.widget import FigureWidget

_CELLS = (300, 120)


class _Drawn(NamedTuple):
    """What is drawn: spikes, and the drift where it was estimated."""

    times_s: NDArray[np.float64]
    depths_um: NDArray[np.float64]
    drift: SorterDrift | None
    why_not: str


class DriftWidget(FigureWidget):
    """Draw the drift that Kilosort 4 estimated and corrected, above the depths of the spikes.

    Above, the shift of each block of depths over time (``dshift`` of ``ops.npy``, with Kilosort's
    sign), a step for each batch. Below, how many spikes there are at each depth and time, with the
    same shift drawn from the middle of each block. Kilosort's depths of spikes are those after the
    correction: lines that still move were not corrected. Where the sorter estimated no drift
    (``nblocks`` 0) the figure says so, and shows the spikes alone. (Kilosort draws the same numbers
    as ``drift_amount.png``; SpikeInterface's ``plot_drift_raster_map`` needs peaks of the
    recording.)

    Parameters
    ----------
    source : SortingAnalyzer or str or Path
        An analyzer whose folder is there, or a Kilosort folder. Depths are of the extension
        "spike_locations" or of ``spike_positions.npy``.
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
        sampling_frequency: float | None = None,
        **figure_arguments: Any,
    ):
        check_arguments(DriftWidget.__init__, locals())
        if isinstance(source, SortingAnalyzer):
            drawn = _of_analyzer(source)
        else:
            drawn = _of_folder(source, sampling_frequency)
        if drawn.drift is None and drawn.times_s.size == 0:
            raise MissingDataError(
                f"there is nothing to draw: {drawn.why_not}, and depths of spikes are not known; "
                "compute spike_locations, or give a folder with spike_positions.npy"
            )
        super().__init__({"drawn": drawn}, **figure_arguments)

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
    if drawn.times_s.size:
        counts, times, depths = np.histogram2d(drawn.times_s, drawn.depths_um, bins=_CELLS)
        most = max(float(counts.max()), 2.0)
        shown = np.where(counts > 0, counts, np.nan).T
        place.pcolormesh(
            times, depths, shown, cmap="Greys", norm=LogNorm(0.5, most), rasterized=True
        )
        title_panel(place, "depths of the spikes", f"{drawn.times_s.size:,} spikes")
    else:
        title_panel(place, "depths of the blocks", "depths of spikes are not known")
    drift = drawn.drift
    if drift is None:
        return
    middles = drift.starts_s + drift.batch_s / 2
    colors = _colors(drift.depths_um.size)
    for column, depth in enumerate(drift.depths_um):
        place.plot(middles, depth + drift.shift_um[:, column], color=colors[column], linewidth=1)


def _colors(count: int) -> NDArray[np.float64]:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.0, 0.85, max(count, 1)))


def _of_analyzer(analyzer: SortingAnalyzer) -> _Drawn:
    run = sorter_run_of(analyzer)
    extension = analyzer.get_extension("spike_locations")
    times = depths = np.zeros(0)
    if extension is not None:
        depths = np.asarray(as_array(extension.get_data(copy=False))["y"], dtype=np.float64)
        times = spike_times_s(analyzer, np.arange(depths.size))
    folder = sorter_folder_of(analyzer)
    where = "no folder of the sorter is named" if folder is None else "the sorter's folder is gone"
    drift = None if run is None else run.drift
    return _finite(times, depths, drift, where if run is None else _why_not(run.settings))


def _of_folder(folder: str | Path, sampling_frequency: float | None) -> _Drawn:
    with read_phy_folder(folder, sampling_frequency=sampling_frequency) as read:
        settings = read.settings
        times = depths = np.zeros(0)
        if read.spike_positions is not None:
            depths = np.array(read.spike_positions[:, 1], dtype=np.float64)
            times = read.spike_samples / read.sampling_frequency
        drift = None if settings is None else settings.drift
        why = "there is no ops.npy" if settings is None else _why_not(settings.values)
        return _finite(times, depths, drift, why)


def _why_not(settings: Any) -> str:
    """Return why there is no drift estimate."""
    if not settings:
        return "there is no ops.npy"
    if settings.get("nblocks", 0) == 0:
        return "the sorter estimated no drift (nblocks is 0)"
    return "ops.npy has no drift that can be read"


def _finite(
    times: NDArray[np.float64],
    depths: NDArray[np.float64],
    drift: SorterDrift | None,
    why_not: str,
) -> _Drawn:
    keep = np.isfinite(depths)
    return _Drawn(times[keep], depths[keep], drift, why_not)


plot_drift = DriftWidget
