"""How the mean waveform of a unit changes over time, without the recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.template_best_channels import phy_best_channels
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.spikes.waveform_sets import check_windows, get_waveform_sets, spikes_in_windows
from si_curation.views.style import (
    ARBITRARY_UNITS,
    label_axes,
    mark_segments,
    mark_sessions,
    spike_count,
    tidy,
    title_panel,
    unit_title,
)
from si_curation.views.units import resolve_units
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    require_extensions,
)

_MOST_WINDOWS = 1_000
_MIN_SPIKES = 5
_PANEL_COLUMNS = 4


class WaveformDriftWidget(FigureWidget):
    """Draw the mean waveform of a unit in windows of time, on its best channels.

    One panel for each channel, best first, with one line for each window, from dark (early) to
    light (late); all have one scale. Below, the peak-to-peak size of the mean on each of these
    channels over time: a unit that drifts along the probe grows on one channel while it shrinks on
    another; one that grows or shrinks on all of them changes. Waveforms are rebuilt from the
    sorter's features (`get_spike_waveforms`). Windows with fewer than 5 spikes are left out. (phy
    has no such view, nor has SpikeInterface without a recording.)

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Read from a Kilosort folder with ``pc_features.npy``, or attached to one.
    unit_id : int or str
    num_windows, window_s, edges_s
        As of `spikes_in_windows`.
    num_channels : int
        At most so many of the ranked channels.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one, as of `session_borders`; "auto": where they
        are known; None: none.
    **figure_arguments
        ``figure``, ``axes`` (one for each channel, and one), ``figsize``, ``figtitle``; see
        `FigureWidget`.

    Raises
    ------
    MissingDataError
        There are no features, or no window has enough spikes.
    UnknownIdError, ParameterError, FolderNotFoundError, PhyFolderError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_waveform_drift(analyzer, 13, num_windows=5, num_channels=3)
    >>> len(widget.axes), len(widget.axes[0].lines)
    (4, 5)
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_id: Any,
        *,
        num_windows: int | None = None,
        window_s: float | None = None,
        edges_s: Sequence[float] | None = None,
        num_channels: int = 4,
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(WaveformDriftWidget.__init__, locals())
        check_windows(checks, num_windows, window_s)
        checks.whole_number("num_channels", num_channels, at_least=1)
        checks.finish()
        (unit,) = resolve_units(sorting_analyzer, [unit_id])
        (assignment,) = require_extensions(sorting_analyzer, "template_assignment")
        windows = spikes_in_windows(
            sorting_analyzer,
            unit_id,
            num_windows=num_windows,
            window_s=window_s,
            edges_s=edges_s,
        )
        if len(windows) > _MOST_WINDOWS:
            raise ParameterError(
                f"there are {len(windows):,} windows, expected at most {_MOST_WINDOWS:,}: take "
                "longer or fewer ones"
            )
        channels = phy_best_channels(sorting_analyzer).of_unit(unit.rows(sorting_analyzer)[0])
        if channels.size == 0:
            raise MissingDataError(f"unit {unit_id!r} has no template with signal")
        found = get_waveform_sets(
            sorting_analyzer,
            {window: spikes for window, spikes in windows.items()},
            channel_ids=sorting_analyzer.channel_ids[np.asarray(channels)[:num_channels]],
        )
        kept = found.num_spikes >= _MIN_SPIKES
        if not kept.any():
            raise MissingDataError(
                f"unit {unit_id!r} has {int(found.num_spikes.max())} spikes with features in a "
                f"window at most, at least {_MIN_SPIKES} are averaged; take longer windows"
            )
        before = assignment.info["num_samples_before"]
        samples = np.arange(found.waveforms.shape[1]) - before
        super().__init__(
            {
                "analyzer": sorting_analyzer,
                "title": unit_title(sorting_analyzer, unit),
                "windows": np.array(found.names)[kept],
                "waveforms": found.waveforms[kept],
                "num_spikes": found.num_spikes[kept],
                "channel_ids": found.channel_ids,
                "units": {"uV": "µV"}.get(found.units, ARBITRARY_UNITS),
                "times_ms": samples * (1000.0 / sorting_analyzer.sampling_frequency),
                "borders": borders_to_draw(sorting_analyzer, borders),
            },
            **figure_arguments,
        )

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["channel_ids"]) + 1

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        num_rows, num_columns = _shape(len(data["channel_ids"]))
        return (max(1.9 * num_columns + 0.8, 4.5), 2.1 * num_rows + 2.2)

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        count = len(data["channel_ids"])
        num_rows, num_columns = _shape(count)
        grid = figure.add_gridspec(
            num_rows + 1, num_columns, height_ratios=[1.0] * num_rows + [0.9]
        )
        made: list[Axes] = []
        for i in range(count):
            first = made[0] if made else None
            place = grid[i // num_columns, i % num_columns]
            made.append(figure.add_subplot(place, sharex=first, sharey=first))
        figure.suptitle(f"{data['title']}: mean waveform over time", fontsize=10)
        return [*made, figure.add_subplot(grid[num_rows, :])]

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        *panels, below = axes
        waveforms, times = data["waveforms"], data["times_ms"]
        colors = _colors(len(waveforms))
        for i, (place, channel_id) in enumerate(zip(panels, data["channel_ids"], strict=True)):
            for waveform, color in zip(waveforms, colors, strict=True):
                place.plot(times, waveform[:, i], color=color, linewidth=1.0)
            tidy(place)
            title_panel(place, f"channel {channel_id}")
            num_columns = _shape(len(panels))[1]
            last_row = i >= len(panels) - num_columns
            label_axes(place, "ms" if last_row else "", "" if i % num_columns else data["units"])
            place.tick_params(labelleft=not i % num_columns, labelbottom=last_row)
        _draw_sizes(below, data, colors)


def _draw_sizes(place: Axes, data: dict[str, Any], colors: NDArray[np.float64]) -> None:
    middles = data["windows"].mean(axis=1)
    sizes = np.ptp(data["waveforms"], axis=1)  # (n_windows, n_channels)
    for i, channel_id in enumerate(data["channel_ids"]):
        style = ("-", "--", "-.", ":")[i % 4]
        line: dict[str, Any] = {"color": "0.45", "linewidth": 1.0, "linestyle": style, "zorder": 1}
        place.plot(middles, sizes[:, i], label=f"channel {channel_id}", **line)
        place.scatter(middles, sizes[:, i], c=colors, s=14, zorder=2)
    place.set_ylim(bottom=0)
    place.set_xlim(data["windows"].min(), data["windows"].max())
    if len(data["channel_ids"]) > 1:
        place.legend(fontsize=6, frameon=False, ncols=4, loc="lower left")
    tidy(place)
    mark_segments(place, data["analyzer"])
    mark_sessions(place, data["borders"])
    few, many = int(data["num_spikes"].min()), int(data["num_spikes"].max())
    number = spike_count(few) if few == many else f"{few:,} to {many:,} spikes"
    title_panel(place, "peak-to-peak of the mean", f"{number} in a window")
    label_axes(place, "time (s)", data["units"])


def _shape(count: int) -> tuple[int, int]:
    num_columns = min(count, _PANEL_COLUMNS)
    return -(-count // num_columns), num_columns


def _colors(count: int) -> NDArray[np.float64]:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.0, 0.9, max(count, 1)))


plot_waveform_drift = figure_function(WaveformDriftWidget)
