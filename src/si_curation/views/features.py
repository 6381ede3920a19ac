"""Principal components of spikes on channels: phy's FeatureView."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, channel_index_of, short_repr
from si_curation.errors import MissingDataError, ParameterError
from si_curation.reading.sessions import SessionBorders, borders_to_draw
from si_curation.spikes.features import FeatureSource, feature_source, get_spike_features
from si_curation.views.points import (
    BACKGROUND_COLOR,
    MAX_POINTS,
    check_sampling,
    draw_points_or_density,
    limits_of,
    sample_spikes,
)
from si_curation.views.references import ChannelRanking
from si_curation.views.style import (
    ARBITRARY_UNITS,
    label_axes,
    mark_sessions,
    segment_starts_s,
    spike_count,
    spike_times_s,
    tidy,
    title_panel,
    unit_title,
)
from si_curation.views.units import DrawnUnit, resolve_units
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    prepare_extensions,
)

_BINS = (120, 120)
_NUM_CHANNELS = 2
#: What figures say of features that are not the sorter's.
_SOURCES = {
    "pc_features": "",
    "principal_components": "SpikeInterface's principal components, of random spikes",
}


class _Cloud(NamedTuple):
    """Spikes of one colour."""

    title: str
    color: Any
    num_spikes: int  # before any selection
    times_s: NDArray[np.float64]  # (n,)
    features: NDArray[np.float32]  # (n, n_channels, n_components)


class FeaturesWidget(FigureWidget):
    """Draw the principal components of spikes against each other and against time.

    phy's FeatureView without its mirrored half. With the dimensions in the order of phy, all
    channels of the first component, then of the second (0A, 1A, 0B, 1B), the panel in row i and
    column j > i has dimension j along x and dimension i along y, and the panel on the diagonal has
    dimension i against time. Values are those of `get_spike_features`, which are phy's; a spike
    whose template has nothing stored on a channel lies at 0 there, as in phy. (phy also shows 0
    for all spikes of a unit on a channel that is not among its own best.)

    Without ``pc_features.npy`` they are those of SpikeInterface's extension "principal_components",
    and of its "random_spikes" alone, which the figure says. Where that is of all channels together
    (``mode="concatenated"``) the dimensions are its components.

    Grey in the background are spikes of all other units that have one of the channels among their
    best (phy: regularly spaced spikes of the whole recording, most of which lie at 0 here).

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Of a Kilosort folder with ``pc_features.npy``, or with "principal_components".
    unit_ids : sequence
        One or more units; a tuple of unit ids is drawn as if merged.
    channel_ids : sequence of channel ids, optional
        As phy by default, the first two of: the best channels that all units have in common, in
        the order of the last unit, then the other best channels of the first unit.
    components : sequence of int
        Principal components, 0 for the first.
    unit_colors : mapping of unit id to color, optional
        SpikeInterface's ``get_unit_colors`` by default.
    max_spikes : int, optional
        Features of at most so many spikes of each unit are read, chosen at random; None for all.
        The figure says how many of how many.
    num_background_spikes : int
        Likewise of the background; 0 for none. (phy: 2,500 of each.)
    seed : int
        Of the random choice.
    max_points : int
        More spikes than this in one colour are drawn as a density.
    borders : "auto", SessionBorders, sequence of numbers or None, default: "auto"
        Where sessions begin that were sorted as one: lines in the panels over time. As of
        `session_borders`; "auto": where they are known; None: none.
    **figure_arguments
        ``figure``, ``axes`` (row by row, d (d + 1) / 2 for d dimensions), ``ax``, ``figsize``,
        ``figtitle``; see `FigureWidget`.

    Raises
    ------
    MissingDataError
        There is neither ``pc_features.npy`` nor "principal_components", or no unit has spikes and
        no channels are given.
    UnknownIdError, ParameterError

    Notes
    -----
    Source: phy 2.1.0, ``FeatureView`` and ``FeatureMixin``.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_features(analyzer, [4, 10])
    >>> len(widget.axes), widget.axes[1].get_xlabel()
    (10, 'channel 27, PC 1')
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_ids: Sequence[Any],
        *,
        channel_ids: Sequence[Any] | None = None,
        components: Sequence[int] = (0, 1),
        unit_colors: Mapping[Any, Any] | None = None,
        max_spikes: int | None = 50_000,
        num_background_spikes: int = 5_000,
        seed: int = 0,
        max_points: int = MAX_POINTS,
        borders: Literal["auto"] | SessionBorders | Sequence[float] | None = "auto",
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(FeaturesWidget.__init__, locals())
        check_sampling(checks, max_spikes, seed)
        checks.whole_number("num_background_spikes", num_background_spikes, at_least=0)
        _check_components(checks, components)
        checks.finish()
        prepare_extensions(sorting_analyzer, "template_assignment")
        self._corner: Axes | None = None
        units = resolve_units(sorting_analyzer, unit_ids, unit_colors)
        if not units:
            raise ParameterError("unit_ids is empty, expected one unit or more")
        ranking = ChannelRanking(sorting_analyzer)
        source = feature_source(sorting_analyzer)
        channels = _channels(sorting_analyzer, source, units, channel_ids, ranking)
        components = [int(component) for component in components]

        def cloud(title: str, color: Any, spikes: NDArray, most: int | None) -> _Cloud:
            chosen = sample_spikes(source.held(sorting_analyzer, spikes), most, seed)
            values = _read(sorting_analyzer, source, chosen, channels)
            if max(components) >= values.shape[2]:
                raise ParameterError(
                    f"components has {max(components)}, expected 0 to {values.shape[2] - 1}"
                )
            there = ~np.isnan(values).any(axis=(1, 2))
            times = spike_times_s(sorting_analyzer, chosen[there])
            return _Cloud(title, color, spikes.size, times, values[there][:, :, components])

        clouds = [
            cloud(
                unit_title(sorting_analyzer, unit),
                unit.color,
                unit.spikes(sorting_analyzer),
                max_spikes,
            )
            for unit in units
        ]
        best = (
            feature_channels(sorting_analyzer, units, None, ranking) if -1 in channels else channels
        )
        behind = ranking.background(units, np.array(best))[: None if num_background_spikes else 0]
        background = cloud("other units", BACKGROUND_COLOR, behind, num_background_spikes)
        names = [
            f"{_name_of(sorting_analyzer, channel)}, PC {component + 1}"
            for component in components
            for channel in channels
        ]
        super().__init__(
            {
                "clouds": [background, *clouds],
                "names": names,
                "duration_s": float(segment_starts_s(sorting_analyzer)[-1]),
                "max_points": max_points,
                "borders": borders_to_draw(sorting_analyzer, borders),
                "source": source.name,
            },
            **figure_arguments,
        )

    def _num_axes(self, data: dict[str, Any]) -> int:
        count = len(data["names"])
        return count * (count + 1) // 2

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        size = 2.0 * len(data["names"]) + 0.4
        return (max(size, 4.5), max(size, 4.0))

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        count = len(data["names"])
        grid = figure.add_gridspec(count, count)
        if count > 1:  # below the diagonal there is room for the legend
            self._corner = figure.add_subplot(grid[count - 1, 0 : count - 1])
            self._corner.set_axis_off()
        return [figure.add_subplot(grid[i, j]) for i in range(count) for j in range(i, count)]

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        names, clouds = data["names"], data["clouds"]
        # (n, d): components outside, channels inside, as the names
        flat = [one.features.transpose(0, 2, 1).reshape(-1, len(names)) for one in clouds]
        shown = [limits_of(values) for values in flat[1:] if values.size]
        largest = max((abs(limit) for limits in shown for limit in limits), default=1.0)
        sides = (-largest, largest)
        legend = []
        for one, values in zip(clouds, flat, strict=True):
            if one.num_spikes or one is not clouds[0]:
                outside = int(np.count_nonzero((np.abs(values) > largest).any(axis=1)))
                legend.append((one.color, _describe_cloud(one, outside, data["max_points"])))
        places = iter(axes)
        for i, j in combinations_with_replacement(range(len(names)), 2):
            panel = next(places)
            for k, (one, values) in enumerate(zip(clouds, flat, strict=True)):
                drawn = draw_points_or_density(
                    panel,
                    one.times_s if i == j else values[:, j],
                    values[:, i],
                    one.color,
                    x_range=(0.0, data["duration_s"]) if i == j else sides,
                    y_range=sides,
                    max_points=data["max_points"],
                    num_bins=_BINS,
                )
                drawn.set_zorder(1.0 + 0.01 * k)
            if i == j:
                mark_sessions(panel, data["borders"], names=False)
            _label(panel, names, i, j, data["source"])
        if self._corner is not None:
            handles = [
                Line2D([], [], linestyle="none", marker="o", markersize=4, color=color, label=text)
                for color, text in legend
            ]
            self._corner.legend(
                handles=handles,
                loc="lower left",
                fontsize=7.5,
                frameon=False,
                title=_SOURCES[data["source"]].replace(", ", ",\n") or None,
                title_fontsize=7.5,
                alignment="left",
            )
        else:
            above = [_SOURCES[data["source"]], *(text for _, text in legend)]
            title_panel(axes[0], "", "\n".join(filter(None, above)))


plot_features = figure_function(FeaturesWidget)


def feature_channels(
    analyzer: SortingAnalyzer,
    units: list[DrawnUnit],
    channel_ids: Sequence[Any] | None,
    ranking: ChannelRanking,
) -> list[int]:
    """Return the indices of the channels asked for, or of those that phy shows.

    Raises
    ------
    MissingDataError
        No unit has a template with signal, and no channels are given.
    UnknownIdError, ParameterError
    """
    if channel_ids is not None:
        given: list[int] = [channel_index_of(analyzer, channel_id) for channel_id in channel_ids]
        if not given or len(set(given)) < len(given):
            raise ParameterError(f"channel_ids is {channel_ids!r}, expected different channel ids")
        return given
    best = [one.tolist() for one in map(ranking.channels_of_unit, units) if one.size]
    if not best:
        labels = ", ".join(unit.label for unit in units)
        raise MissingDataError(f"unit {labels} has no template with signal: give channel_ids")
    common = best[0]
    for one in best:
        common = [channel for channel in one if channel in common]
    return (common + [channel for channel in best[0] if channel not in common])[:_NUM_CHANNELS]


def _channels(
    analyzer: SortingAnalyzer,
    source: FeatureSource,
    units: list[DrawnUnit],
    channel_ids: Sequence[Any] | None,
    ranking: ChannelRanking,
) -> list[int]:
    """Return the channels that are drawn; [-1] where components are of all channels together."""
    if source.is_by_channel:
        return feature_channels(analyzer, units, channel_ids, ranking)
    if channel_ids is not None:
        raise ParameterError(
            f"channel_ids is {channel_ids!r}, expected None: the extension 'principal_components' "
            "is of all channels together (mode='concatenated')"
        )
    return [-1]


def _read(
    analyzer: SortingAnalyzer, source: FeatureSource, spikes: NDArray, channels: list[int]
) -> NDArray[np.float32]:
    if source.is_by_channel:
        return get_spike_features(analyzer, spikes, channels)
    return source.together(analyzer, spikes)[:, None]


def _name_of(analyzer: SortingAnalyzer, channel: int) -> str:
    return "all channels" if channel < 0 else f"channel {analyzer.channel_ids[channel]}"


def _check_components(checks: Checks, components: Sequence[int]) -> None:
    if "components" in checks.wrong_kinds:
        return
    given = list(components)
    checks.require(
        given and min(given) >= 0 and len(set(given)) == len(given),
        f"components is {short_repr(components)}, expected different numbers from 0",
    )


def _describe_cloud(one: _Cloud, num_outside: int, max_points: int) -> str:
    num_drawn = one.times_s.size
    text = spike_count(one.num_spikes)
    if num_drawn < one.num_spikes:
        text = f"{num_drawn:,} of {text}"
    if num_outside:
        text += f", {num_outside:,} outside"
    if num_drawn > max_points:
        text += ", density (log)"
    return f"{one.title}: {text}"


def _label(panel: Axes, names: list[str], row: int, column: int, source: str) -> None:
    tidy(panel)
    if row == column:
        units = ARBITRARY_UNITS if source == "pc_features" else source
        label_axes(panel, "time (s)", f"{names[row]}\n({units})")
        return
    panel.tick_params(labelleft=False)
    if column == row + 1:
        label_axes(panel, names[column])
    else:
        panel.tick_params(labelbottom=False)
    for line in (panel.axhline, panel.axvline):
        line(0.0, color="0.85", linewidth=0.6, zorder=0)
