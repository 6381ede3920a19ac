"""The drift map: depth of the spikes over time, coloured by amplitude."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks, short_repr, unit_indices_of
from si_curation.errors import MissingDataError, ParameterError
from si_curation.evidence.unit_locations import spike_depths, unit_locations
from si_curation.kernels.density import largest_in_grid
from si_curation.phy.settings import SorterDrift
from si_curation.reading.probe import planar_locations, shanks_of
from si_curation.reading.reader import read_kilosort_as_analyzer
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.reading.sorter_folder import sorter_folder_of, sorter_run_of
from si_curation.spikes.amplitude_scale import scale_and_amplitudes
from si_curation.views.points import MAX_POINTS, limits_of
from si_curation.views.style import (
    LIMIT_COLOR,
    label_axes,
    mark_segments,
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

# as Kilosort's, without the palest, so that curves in colour are seen on it
COLORMAP = ListedColormap(colormaps["Greys"](np.linspace(0.25, 1.0, 256)), name="amplitudes")
_WIDE = 4.0  # largest over smallest amplitude of a scale with logarithmic ticks
_CELLS = (700, 350)
_MAX_SAMPLE = 500_000


class MapSpikes(NamedTuple):
    """The spikes of a drift map; arrays (n,).

    Attributes
    ----------
    times_s, depths_um : array floating
        Depths are finite.
    amplitudes : array floating
        Magnitudes; NaN where they are not known.
    """

    times_s: NDArray[np.floating]
    depths_um: NDArray[np.floating]
    amplitudes: NDArray[np.floating]


class _Panel(NamedTuple):
    """What one panel shows: the spikes of a shank, or all."""

    name: str
    spikes: MapSpikes
    num_left_out: int


class DriftMapWidget(FigureWidget):
    """Draw the depth of the spikes over time, coloured by their amplitude.

    Neurons are bands; where the probe moved, all bands of a depth move together. No recording is
    needed. Amplitudes are on the one scale of figures and report (`get_amplitude_scale`). Depths
    are those of the extension "spike_locations" (Kilosort 4 writes the positions of its spikes);
    else each spike's is computed from the sorter's features, as phy does (Kilosort 1 to 3); else
    that of its unit is taken, which shows no drift, and the title says so. Kilosort 4's positions
    are those after its correction of drift: bands that still move were not corrected. Its estimate
    of the drift (``dshift`` of ``ops.npy``, with its sign) is drawn as a line from the middle of
    each block of depths.

    Parameters
    ----------
    source : SortingAnalyzer or str or Path
        An analyzer, or a Kilosort folder, which is read.
    unit_ids : sequence of unit ids, optional
        The spikes of these units; of all by default.
    exclude_groups : sequence of str, default: ()
        Units with these labels are left out: ``["noise"]`` hides noise.
    shank : int or str, optional
        Draw this shank only. By default each shank has a panel. A unit is on the shank of the
        channel that is nearest to its location.
    drift : bool, default: True
        Whether the sorter's estimate is drawn, where there is one.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one, as of `session_borders`. "auto": where they
        are known; None: none are drawn.
    max_points : int, default: 20000
        Of more spikes on a shank an image is drawn instead of points: each cell has the colour of
        the largest amplitude in it, as if all points were drawn, the largest last.
    sampling_frequency : float, optional
        In Hz; needed for a folder without ``params.py``.
    **figure_arguments
        ``figure``, ``ax`` or ``axes`` (one for each shank), ``figsize``, ``figtitle``; see
        `FigureWidget`. The colour bar is drawn to the right of the panel, so that one axes is
        enough.

    Raises
    ------
    MissingDataError
        Not even depths of units are known.
    UnknownIdError, ParameterError
        A unit, a shank or a label is not there, or no spikes are left.
    PhyFolderError, FolderNotFoundError

    See Also
    --------
    plot_drift : the sorter's estimate by itself, above the map

    Notes
    -----
    After ``plotDriftmap`` of cortex-lab's ``spikes`` and ``plot_drift_scatter`` of Kilosort 4. The
    colours are logarithmic, from the 1st to the 99th percentile of the amplitudes.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_drift_map(analyzer, exclude_groups=["noise"], borders=[40.0])
    >>> widget.ax.collections[0].get_offsets().shape
    (4781, 2)
    """

    def __init__(
        self,
        source: SortingAnalyzer | str | Path,
        unit_ids: Sequence[Any] | None = None,
        *,
        exclude_groups: Sequence[str] = (),
        shank: int | str | None = None,
        drift: bool = True,
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        max_points: int = MAX_POINTS,
        sampling_frequency: float | None = None,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(DriftMapWidget.__init__, locals())
        checks.whole_number("max_points", max_points, at_least=0)
        checks.finish()
        analyzer = source
        if not isinstance(analyzer, SortingAnalyzer):
            analyzer = read_kilosort_as_analyzer(analyzer, sampling_frequency=sampling_frequency)
        prepare_extensions(analyzer, "template_assignment")
        units = _chosen_units(analyzer, unit_ids, exclude_groups)
        depths = spike_depths(analyzer)
        panels, label = _panels(analyzer, depths.depths_um, units, shank)
        found, why_not = drift_of(analyzer) if drift else (None, "")
        super().__init__(
            {
                "sorting_analyzer": analyzer,
                "panels": panels,
                "source": depths.source,
                "drift": found,
                "why_not": why_not,
                "amplitude_label": label,
                "borders": borders_to_draw(analyzer, borders),
                "max_points": max_points,
            },
            **figure_arguments,
        )

    def _num_axes(self, data: dict[str, Any]) -> int:
        return len(data["panels"])

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        return (9.0, 0.6 + 3.9 * len(data["panels"]) ** 0.7)

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        count = len(data["panels"])
        return list(np.ravel(figure.subplots(count, 1, squeeze=False, sharex=True)))

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        analyzer = data["sorting_analyzer"]
        end = float(segment_starts_s(analyzer)[-1])
        norm = amplitude_norm(*(one.spikes.amplitudes for one in data["panels"]))
        for panel, one in zip(axes, data["panels"], strict=True):
            draw_spikes(panel, one.spikes, end, norm, data["amplitude_label"], data["max_points"])
            if data["drift"] is not None:
                draw_shift(panel, data["drift"])
            tidy(panel)
            mark_segments(panel, analyzer)
            mark_sessions(panel, data["borders"])
            label_axes(panel, "time (s)" if panel is axes[-1] else "", "depth (µm)")
            _write_title(panel, one, data)


def draw_spikes(
    panel: Axes,
    spikes: MapSpikes,
    end_s: float,
    norm: LogNorm | None,
    amplitude_label: str,
    max_points: int = MAX_POINTS,
) -> None:
    """Draw spikes as points coloured by amplitude, the largest last, or as an image of them.

    Parameters
    ----------
    panel : Axes
        Its limits are set.
    spikes : MapSpikes
    end_s : float
        Of the time axis, unless spikes are later.
    norm : LogNorm or None
        None: amplitudes are not known.
    amplitude_label : str
        Of the colour bar.
    max_points : int
        More are drawn as an image.
    """
    times, depths = spikes.times_s, spikes.depths_um
    if times.size == 0:
        panel.set_xlim(0.0, max(end_s, 1e-9))
        write_note(panel, "no spikes")
        return
    x_range = (min(0.0, float(times.min())), max(end_s, float(times.max()), 1e-9))
    y_range = limits_of(depths[:: -(-depths.size // _MAX_SAMPLE)])
    panel.set_xlim(*x_range)
    panel.set_ylim(*y_range)
    known = LogNorm(1.0, 2.0) if norm is None else norm
    # what is not known is the palest
    values = np.fmax(np.nan_to_num(spikes.amplitudes, nan=0.0), float(known.vmin or 0.0))
    if times.size > max_points:
        image = largest_in_grid(times, depths, values, x_range, y_range, _CELLS)
        drawn: Any = panel.imshow(
            np.ma.masked_invalid(image),
            origin="lower",
            extent=(*x_range, *y_range),
            aspect="auto",
            interpolation="nearest",
            cmap=COLORMAP,
            norm=known,
            zorder=2.0,
        )
    else:
        order = np.argsort(values, kind="stable")
        drawn = panel.scatter(
            times[order],
            depths[order],
            c=values[order],
            s=float(np.clip(12_000 / times.size, 1.0, 12.0)),
            linewidths=0,
            cmap=COLORMAP,
            norm=known,
            rasterized=True,
            zorder=2.0,
        )
    if norm is not None:
        _draw_colorbar(panel, drawn, amplitude_label)


def draw_shift(panel: Axes, drift: SorterDrift, colors: Sequence[Any] | None = None) -> None:
    """Draw the shift of each block of depths over time, from the middle of the block."""
    middles = drift.starts_s + drift.batch_s / 2
    for column, depth in enumerate(drift.depths_um):
        color = LIMIT_COLOR if colors is None else colors[column]
        panel.plot(
            middles, depth + drift.shift_um[:, column], color=color, linewidth=1.2, zorder=2.4
        )


def amplitude_norm(*amplitudes: NDArray[np.floating]) -> LogNorm | None:
    """Return the scale of colours of amplitudes; None where none is known and above 0."""
    some = np.concatenate([one[:: -(-one.size // _MAX_SAMPLE) or 1] for one in amplitudes])
    some = some[np.isfinite(some) & (some > 0)]
    if some.size == 0:
        return None
    low, high = (float(value) for value in np.quantile(some, [0.01, 0.99]))
    return LogNorm(low, high if high > 1.01 * low else 1.01 * low, clip=True)


def drift_of(analyzer: SortingAnalyzer) -> tuple[SorterDrift | None, str]:
    """Return the sorter's estimate of the drift, or why there is none."""
    run = sorter_run_of(analyzer)
    if run is not None:
        return run.drift, why_no_drift(run.settings)
    folder = sorter_folder_of(analyzer)
    named = "no folder of the sorter is named" if folder is None else "the sorter's folder is gone"
    return None, named


def why_no_drift(settings: Any) -> str:
    """Return why there is no drift estimate."""
    if not settings:
        return "there is no ops.npy"
    if settings.get("nblocks", 0) == 0:
        return "the sorter estimated no drift (nblocks is 0)"
    return "ops.npy has no drift that can be read"


def amplitudes_of(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64]
) -> tuple[NDArray[np.floating], str]:
    """Return the amplitudes of some spikes, NaN where they are not known, and what they are."""
    found = scale_and_amplitudes(analyzer, spikes)
    if found is None:
        return np.full(spikes.size, np.nan, dtype=np.float32), ""
    return found[1], found[0].label


def _chosen_units(
    analyzer: SortingAnalyzer, unit_ids: Sequence[Any] | None, exclude_groups: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which units are drawn (n_units,)."""
    chosen = np.zeros(len(analyzer.unit_ids), dtype=bool)
    chosen[unit_indices_of(analyzer, unit_ids, may_repeat=True)] = True
    if len(exclude_groups) == 0:
        return chosen
    labels = analyzer.sorting.get_property("quality")
    if labels is None:
        raise ParameterError(
            f"exclude_groups is {list(exclude_groups)}, and the units have no labels"
        )
    chosen[np.isin(labels.astype(str), [str(group) for group in exclude_groups])] = False
    return chosen


def _panels(
    analyzer: SortingAnalyzer,
    depths: NDArray[np.floating],
    units: NDArray[np.bool_],
    shank: int | str | None,
) -> tuple[list[_Panel], str]:
    """Return the panels, and what their amplitudes are."""
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    drawn = np.flatnonzero(units[unit_index] & np.isfinite(depths))
    amplitudes = np.full(unit_index.size, np.nan, dtype=np.float32)
    amplitudes[drawn], label = amplitudes_of(analyzer, drawn)
    shanks = shanks_of(analyzer)
    names = np.unique(shanks).tolist()
    if shank is not None and str(shank) not in map(str, names):
        raise ParameterError(f"shank is {short_repr(shank)}, expected one of {names}")
    of_unit = _shanks_of_units(analyzer, shanks) if len(names) > 1 else None
    wanted = [one for one in names if shank is None or str(one) == str(shank)]
    panels = []
    for name in wanted:
        ours = units if of_unit is None else units & (of_unit == str(name))
        spikes = np.flatnonzero(ours[unit_index])
        known = spikes[np.isfinite(depths[spikes])]
        panels.append(
            _Panel(
                f"shank {name}" if len(names) > 1 else "",
                MapSpikes(spike_times_s(analyzer, known), depths[known], amplitudes[known]),
                spikes.size - known.size,
            )
        )
    if not any(one.spikes.times_s.size for one in panels):
        if np.isfinite(depths).any():
            raise ParameterError(
                "unit_ids, exclude_groups and shank leave no spikes whose depth is known; leave "
                "out one of them"
            )
        raise MissingDataError(
            "neither depths of spikes nor of units are known; compute spike_locations, or "
            "template_assignment (a Kilosort folder) or templates"
        )
    return panels, label


def _shanks_of_units(analyzer: SortingAnalyzer, shanks: NDArray) -> NDArray[np.str_]:
    """Return the shank of the channel nearest to each unit, as text; "" where it is not known."""
    places = unit_locations(analyzer)
    known = np.isfinite(places).all(axis=1)
    nearest = cdist(np.nan_to_num(places), planar_locations(analyzer)).argmin(axis=1)
    return np.where(known, shanks[nearest].astype(str), "")


def _draw_colorbar(panel: Axes, drawn: Any, amplitude_label: str) -> None:
    side = panel.inset_axes((1.015, 0.0, 0.015, 1.0))
    bar = panel.figure.colorbar(drawn, cax=side, extend="both", extendfrac=0.02)
    bar.set_label(f"amplitude {amplitude_label}", fontsize=8)
    norm = drawn.norm
    is_wide = norm.vmax > _WIDE * norm.vmin
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if is_wide else MaxNLocator(4))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    side.tick_params(labelsize=7)
    bar.outline.set_linewidth(0.5)


def _write_title(panel: Axes, one: _Panel, data: dict[str, Any]) -> None:
    count = one.spikes.times_s.size
    is_first = one is data["panels"][0]
    notes = [data["source"]] if is_first else []
    if count > data["max_points"]:
        notes.append("colour: largest amplitude in each cell")
    if one.num_left_out:
        notes.append(f"{spike_count(one.num_left_out)} without a depth left out")
    lines = ["; ".join(notes)] if notes else []
    if is_first and data["drift"] is not None:
        lines.append("lines: shift that the sorter estimated, at the middle of each block")
    elif is_first and data["why_not"]:
        lines.append(f"no estimate of the drift: {data['why_not']}")
    title = " · ".join(filter(None, ["drift map", one.name, spike_count(count)]))
    title_panel(panel, title, "\n".join(lines))


plot_drift_map = figure_function(DriftMapWidget)
