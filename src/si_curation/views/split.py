"""All that a curator needs to decide whether to split a unit, on one page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, is_array_like, short_repr, unit_index_of
from si_curation.curation.session import CurationSession
from si_curation.errors import ParameterError
from si_curation.evidence.split_projections import projections_of_parts
from si_curation.evidence.splits import SplitSuggestions
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.reading.probe import planar_locations
from si_curation.spikes.waveform_sets import get_waveform_sets
from si_curation.views.amplitudes_over_time import plot_amplitudes_over_time
from si_curation.views.colors import ACCENTS
from si_curation.views.cross_correlograms import plot_cross_correlograms
from si_curation.views.overview import OverviewWidget
from si_curation.views.points import draw_points_or_density, limits_of
from si_curation.views.probe import draw_template, frame_channels, probe_scale
from si_curation.views.style import (
    QUIET,
    label_axes,
    spike_count,
    spike_times_s,
    tidy,
    title_panel,
)
from si_curation.views.widget import (
    FigureArguments,
    Unpack,
    figure_function,
    prepare_extensions,
)

MAX_SPIKES = 5000
MAX_PARTS = 6
MAX_CHANNELS = 10


class SplitWidget(OverviewWidget):
    """Draw all that a curator needs to decide whether to split a unit, on one page.

    The spikes of each part in the projection of their features that separates the parts best, and
    over time; their amplitudes over time; the mean waveform of each part; and the auto- and
    cross-correlograms of the parts. A panel that cannot be drawn says what is missing.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With features for projections and waveforms; "spike_amplitudes".
    split : SplitSuggestions or array (n_spikes of the unit,) of integer
        What `suggest_splits` found, or the part of each spike of the unit in the order of time.
        The parts are drawn as "part 0", "part 1", ... in the order of their numbers.
    unit_id : int or str
    refractory_period_ms : float, default: 2.0
        Of the lines in the correlograms.
    **figure_arguments
        ``figure``, ``figsize``, ``figtitle``; see `FigureWidget`.

    Attributes
    ----------
    panels : dict
        "projections", "projections_over_time", "amplitudes", "waveforms", "correlograms": what was
        drawn, or a sentence on what is missing.
    labels : array (n_spikes of the unit,) int64
        The part of each spike of the unit, in the order of time.

    Raises
    ------
    UnknownIdError, ParameterError
        The unit does not exist, there are not as many labels as spikes, or there is one part only.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_split(analyzer, sic.suggest_splits(analyzer), 10)
    >>> sorted(widget.panels)
    ['amplitudes', 'correlograms', 'projections', 'projections_over_time', 'waveforms']
    """

    page_size = (12.4, 7.6)
    labels: NDArray[np.int64]

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        split: SplitSuggestions | ArrayLike,
        unit_id: Any,
        *,
        refractory_period_ms: float = 2.0,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(SplitWidget.__init__, locals())
        checks.number("refractory_period_ms", refractory_period_ms, above=0)
        checks.require(
            isinstance(split, SplitSuggestions) or is_array_like(split),
            f"split is {short_repr(split)}, expected SplitSuggestions or an array of whole numbers",
        )
        checks.finish()
        unit = unit_index_of(sorting_analyzer, unit_id)
        unit_id = sorting_analyzer.unit_ids[unit]
        spikes = spikes_of_unit(sorting_analyzer, unit_id)
        self.labels = _labels_of(split, unit_id, spikes.size)
        prepare_extensions(sorting_analyzer, "template_assignment")
        alone = sorting_analyzer
        if not alone.is_read_only():  # one that is lazy cannot select units
            alone = alone.select_units([unit_id])
        session = CurationSession(alone)
        parts = session.split(unit_id, self.labels)
        data = {
            "analyzer": sorting_analyzer,
            "unit": int(unit),
            "spikes": spikes,
            "parts": session.apply(),
            "part_ids": parts,
            "title": f"unit {unit_id} in {len(parts)} parts",
            "reason": _reason(split, unit_id),
            "refractory_period_ms": refractory_period_ms,
        }
        super().__init__(data, **figure_arguments)

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        ids = data["part_ids"]
        colors = [ACCENTS[i % len(ACCENTS)] for i in range(len(ids))]
        paint = dict(zip(ids, colors, strict=True))
        axes[0].text(0.03, 0.965, data["title"], fontsize=12, va="center")
        counts = np.bincount(self.labels)
        start = 0.06 + 0.0085 * len(data["title"])
        step = min(0.16, (0.98 - start) / len(colors))
        for i, (color, count) in enumerate(zip(colors, counts, strict=True)):
            text = f"part {i}: {spike_count(int(count))}"
            axes[0].text(start + step * i, 0.965, text, fontsize=9, va="center", color=color)
        lines = "\n".join(textwrap.wrap(data["reason"], 190)[:2])
        axes[0].text(0.03, 0.93, lines, fontsize=8, va="top", color=QUIET)
        self.add_panel(
            "projections", "features, where the parts differ most", [(0.6, 4.05, 3.3, 2.5)],
            lambda ax: self._draw_projections(ax, data, colors, over_time=False),
        )  # fmt: skip
        self.add_panel(
            "projections_over_time", "the first of these over time", [(4.7, 4.05, 3.5, 2.5)],
            lambda ax: self._draw_projections(ax, data, colors, over_time=True),
        )  # fmt: skip
        self.add_panel(
            "amplitudes", "amplitudes over time", [(4.7, 0.6, 2.9, 2.5)],
            lambda ax: plot_amplitudes_over_time(data["parts"], ids, unit_colors=paint, ax=ax),
        )  # fmt: skip
        for panel in self.figure.axes:
            if panel.get_legend() is not None:  # the parts are named above
                panel.get_legend().remove()
        self.add_panel(
            "waveforms", "mean waveforms", [(0.5, 0.6, 3.3, 2.65)],
            lambda ax: self._draw_waveforms(ax, data, colors),
        )  # fmt: skip
        number = len(ids)
        is_small = number > 3
        width, height = 3.2 / number, 5.55 / number
        gap_x, gap_y = (0.08, 0.14) if is_small else (0.34, 0.36)
        places = [
            (
                9.1 + column * width,
                6.55 - (row + 1) * height + gap_y,
                width - gap_x,
                height - gap_y,
            )
            for row in range(number)
            for column in range(number)
        ]
        data["parts"].compute("cross_correlograms")
        self.add_panel(
            "correlograms", "correlograms", places,
            lambda axes: plot_cross_correlograms(
                data["parts"], ids, axes=axes, unit_colors=paint,
                refractory_period_ms=data["refractory_period_ms"],
            ),
        )  # fmt: skip
        _name_parts(self.panels["correlograms"].axes, colors, is_small)

    def _draw_projections(
        self, axes: Axes, data: dict[str, Any], colors: list[Any], over_time: bool
    ) -> Axes:
        if "projections" not in data:
            data["projections"] = projections_of_parts(
                data["analyzer"], data["spikes"], self.labels, data["unit"], MAX_SPIKES
            )
        spikes, labels, points = data["projections"]
        x = spike_times_s(data["analyzer"], spikes) if over_time else points[:, 0]
        y = points[:, 0] if over_time else points[:, 1]
        # the largest part is drawn first, so that the others are seen
        for part, color in enumerate(colors):
            here = labels == part
            draw_points_or_density(
                axes, x[here], y[here], color, x_range=limits_of(x), y_range=limits_of(y)
            )
        tidy(axes)
        names = (
            ("time (s)", "discriminant (sd)") if over_time else ("discriminant (sd)", "next axis")
        )
        label_axes(axes, *names)
        return axes

    def _draw_waveforms(self, axes: Axes, data: dict[str, Any], colors: list[Any]) -> Axes:
        analyzer = data["analyzer"]
        sets = [data["spikes"][self.labels == part] for part in range(len(colors))]
        found = get_waveform_sets(analyzer, sets, max_spikes=MAX_SPIKES)
        waveforms = np.nan_to_num(found.waveforms)
        size = np.ptp(waveforms, axis=1).max(axis=0)
        channels = np.argsort(-size, kind="stable")[:MAX_CHANNELS]
        ids = analyzer.channel_ids.tolist()
        on_probe = np.array([ids.index(found.channel_ids[i]) for i in channels])
        everywhere = np.zeros((len(sets), waveforms.shape[1], len(ids)))
        everywhere[:, :, on_probe] = waveforms[:, :, channels]
        positions = planar_locations(analyzer)
        scale = probe_scale(list(everywhere), on_probe, positions)
        for part, (waveform, color) in enumerate(zip(everywhere, colors, strict=True)):
            width = 2.0 if part == 0 else 1.1
            draw_template(axes, waveform, on_probe, positions, scale, color, width)
        fs = analyzer.sampling_frequency
        frame_channels(axes, on_probe, positions, scale, fs, found.units)
        title_panel(axes, "mean waveforms", "rebuilt from the features, in one scale")
        return axes


plot_split = figure_function(SplitWidget)


def _name_parts(axes: Sequence[Axes], colors: list[Any], is_small: bool) -> None:
    """Write the parts beside a matrix of correlograms; numbers beside the outer panels if small."""
    number = len(colors)
    for place, panel in enumerate(axes):
        row, column = divmod(place, number)
        panel.set_title("")
        panel.set_ylabel("")
        if row == 0:
            panel.set_title(f"part {column}", fontsize=8, pad=3, color=colors[column])
        if column == 0:
            panel.set_ylabel(f"part {row}", fontsize=8, color=colors[row])
        is_last = row == number - 1
        panel.tick_params(labelbottom=is_last and (column == 0 or not is_small))
        if is_small:  # each has its own scale
            panel.tick_params(labelleft=False)
        if not (is_last and column == 0):  # one label is enough
            panel.set_xlabel("")


def _labels_of(split: Any, unit_id: Any, num_spikes: int) -> NDArray[np.int64]:
    """Return the labels 0, 1, ... of the spikes of a unit."""
    if isinstance(split, SplitSuggestions):
        given = split.labels(unit_id)
    else:
        given = np.asarray(split)
    if given.shape != (num_spikes,) or given.dtype.kind not in "iub":
        raise ParameterError(
            f"split has {given.dtype} values of shape {given.shape}, expected suggestions of "
            f"suggest_splits or a whole number for each of the {num_spikes} spikes of unit "
            f"{unit_id}"
        )
    parts, labels = np.unique(given, return_inverse=True)
    if not 2 <= parts.size <= MAX_PARTS:
        raise ParameterError(
            f"split has {parts.size} parts of unit {unit_id}, expected 2 to {MAX_PARTS}"
        )
    return labels.astype(np.int64)


def _reason(split: Any, unit_id: Any) -> str:
    if not isinstance(split, SplitSuggestions):
        return ""
    row = split.table[split.table["unit_id"] == unit_id].iloc[0]
    return f"score {row['score']:.2f}: {row['reason']}"
