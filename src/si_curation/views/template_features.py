"""Projections of the spikes of two units onto both their templates: phy's TemplateFeatureView."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import check_arguments
from si_curation.errors import MissingDataError
from si_curation.views.points import (
    BACKGROUND_COLOR,
    MAX_POINTS,
    describe_drawn,
    draw_points_or_density,
    limits_of,
    sample_spikes,
)
from si_curation.views.references import ChannelRanking, template_counts_of
from si_curation.views.style import (
    ARBITRARY_UNITS,
    label_axes,
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

_BINS = (150, 150)


class TemplateFeaturesWidget(FigureWidget):
    """Draw the projections of the spikes of two units onto the templates of both.

    phy's TemplateFeatureView, of all spikes: along x the projection onto `unit_a`, along y onto
    `unit_b`, each the mean over the templates of the unit weighted by its counts
    (`TemplateFeatures.get_pair_projections`). Units that are one neuron lie on one another, two
    neurons on two sides of the dotted diagonal, where both projections are the same.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "template_features" is computed in memory where it is missing, but not from traces.
    unit_a, unit_b : int, str, or tuple of unit ids
        A tuple is drawn as if merged.
    unit_colors : mapping of unit id to color, optional
        SpikeInterface's ``get_unit_colors`` by default.
    background : bool
        Draw spikes of other units, that have the best channel of one of the two among their best,
        in grey behind.
    num_background_spikes : int, optional
        At most so many of them, chosen at random; None for all. The figure says how many of how
        many.
    seed : int
        Of the random choice.
    max_points : int
        More spikes than this in one colour are drawn as a density.
    **figure_arguments
        ``figure``, ``ax``, ``figsize``, ``figtitle``; see `FigureWidget`.

    Raises
    ------
    MissingDataError
        The extension cannot be computed, or a unit has no spikes, and so no template.
    UnknownIdError, ParameterError

    Notes
    -----
    Source: phy 2.1.0, ``TemplateController._get_template_features``.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> sic.plot_template_features(analyzer, 8, (11, 12)).ax.get_ylabel()
    'projection onto units 11 + 12 (arbitrary units)'
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_a: Any,
        unit_b: Any,
        *,
        unit_colors: Mapping[Any, Any] | None = None,
        background: bool = False,
        num_background_spikes: int | None = 10_000,
        seed: int = 0,
        max_points: int = MAX_POINTS,
        **figure_arguments: Unpack[FigureArguments],
    ):
        check_arguments(TemplateFeaturesWidget.__init__, locals())
        (extension, _) = require_extensions(
            sorting_analyzer, "template_features", "template_assignment"
        )
        units = resolve_units(sorting_analyzer, [unit_a, unit_b], unit_colors)
        weights = [template_counts_of(sorting_analyzer, unit) for unit in units]
        empty = [u.label for u, counts in zip(units, weights, strict=True) if not counts.any()]
        if empty:
            raise MissingDataError(f"unit {', '.join(empty)} has no spikes, and so no template")
        clouds = []
        if background:
            ranking = ChannelRanking(sorting_analyzer)
            best = [ranking.channels_of_unit(unit)[:1] for unit in units]
            spikes = ranking.background(units, np.concatenate(best))
            chosen = sample_spikes(spikes, num_background_spikes, seed)
            points = extension.get_mean_projections(chosen, weights)
            clouds.append(("other units", BACKGROUND_COLOR, points, spikes.size))
        for unit in units:
            points = extension.get_mean_projections(unit.spikes(sorting_analyzer), weights)
            clouds.append((unit_title(sorting_analyzer, unit), unit.color, points, len(points)))
        super().__init__(
            {"units": units, "clouds": clouds, "max_points": max_points}, **figure_arguments
        )

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        return (4.2, 4.3)

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        panel = axes[0]
        every = [points for _, _, points, _ in data["clouds"]]
        x_range = limits_of(*(points[:, 0] for points in every))
        y_range = limits_of(*(points[:, 1] for points in every))
        notes = []
        for k, (name, color, points, num_spikes) in enumerate(data["clouds"]):
            drawn = draw_points_or_density(
                panel,
                points[:, 0],
                points[:, 1],
                color,
                x_range=x_range,
                y_range=y_range,
                max_points=data["max_points"],
                num_bins=_BINS,
            )
            drawn.set_zorder(1.0 + 0.01 * k)
            panel.plot(
                [], [], "o", markersize=4, color=color, label=f"{name}, {spike_count(num_spikes)}"
            )
            notes.append(describe_drawn(name, drawn, num_spikes))
        panel.axline((0, 0), slope=1, color="0.5", linewidth=0.8, linestyle=":", zorder=0.5)
        panel.set_xlim(*x_range)
        panel.set_ylim(*y_range)
        tidy(panel)
        names = [
            f"unit{'s' if len(unit.unit_ids) > 1 else ''} {unit.label}" for unit in data["units"]
        ]
        label_axes(panel, *(f"projection onto {name} ({ARBITRARY_UNITS})" for name in names))
        panel.legend(loc="best", fontsize=7, frameon=True, framealpha=0.8, edgecolor="none")
        title_panel(panel, "template features", "\n".join(note for note in notes if note))


plot_template_features = figure_function(TemplateFeaturesWidget)
