"""The units that are most similar to one unit, with distance and templates."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks
from si_curation.errors import MissingDataError
from si_curation.evidence.unit_locations import unit_locations
from si_curation.views.colors import ACCENTS
from si_curation.views.references import ChannelRanking, template_counts_of
from si_curation.views.style import (
    QUIET,
    label_axes,
    spike_count,
    tidy,
    title_panel,
    unit_title,
    write_note,
)
from si_curation.views.units import DrawnUnit, resolve_units
from si_curation.views.widget import (
    FigureArguments,
    FigureWidget,
    Unpack,
    figure_function,
    require_extensions,
)

NUM_CHANNELS = 5
_BAR_HEIGHT = 0.62
_CHARACTERS = 50  # of a line in the panel of the templates


class SimilarityWidget(FigureWidget):
    """Draw the units that are most similar to one unit: candidates to compare and to merge.

    The bars are the similarities of phy's SimilarityView, best first, with distance, spikes and
    label of each unit. Beside each bar the template of the unit (grey) and that of its neighbour
    (colour) on the best channels of the unit, the best channel first, all in one scale; each the
    template that most of the spikes came from.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        "unit_similarity" and, for the templates, "template_assignment" and
        "template_best_channels" are computed in memory where they are missing.
    unit_id : int, str or tuple
        Several ids in a tuple are drawn as if they were merged: the similarity of a merged unit is
        the largest of its parts, which is exact, since phy's is the largest of all templates.
    num_units : int, default: 8
        Neighbours to draw.
    show_templates : bool, default: True
        False for the bars alone, in one panel.
    unit_colors : mapping of unit id to color, optional
        One colour for all neighbours by default.
    **figure_arguments
        ``figure``, ``axes`` (two, or one without templates), ``ax`` (without templates),
        ``figsize``, ``figtitle``; see `FigureWidget`.

    Raises
    ------
    MissingDataError
        The extension cannot be computed.
    UnknownIdError
        The unit does not exist.
    ParameterError
        `num_units` is not a whole number from 1.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> widget = sic.plot_similarity(analyzer, 4, num_units=3)
    >>> [text.get_text() for text in widget.ax.get_yticklabels()]
    ['10', '7', '8']
    """

    def __init__(
        self,
        sorting_analyzer: SortingAnalyzer,
        unit_id: Any,
        *,
        num_units: int = 8,
        show_templates: bool = True,
        unit_colors: Mapping[Any, Any] | None = None,
        **figure_arguments: Unpack[FigureArguments],
    ):
        checks = Checks.of_call(SimilarityWidget.__init__, locals())
        checks.whole_number("num_units", num_units, at_least=1)
        checks.finish()
        (extension,) = require_extensions(sorting_analyzer, "unit_similarity")
        (unit,) = resolve_units(sorting_analyzer, [unit_id])
        table = similar_units(sorting_analyzer, unit, extension.get_data()).head(int(num_units))
        colors = dict(unit_colors or {})
        data: dict[str, Any] = {
            "title": unit_title(sorting_analyzer, unit),
            "num_spikes": len(unit.spikes(sorting_analyzer)),
            "table": table,
            "colors": [colors.get(neighbour, ACCENTS[0]) for neighbour in table.index],
            "own_color": colors.get(unit.unit_ids[0], "0.55"),
            "source": {"file": "the sorter's file"}.get(extension.source, "from the templates"),
            "with_templates": show_templates,
        }
        if show_templates:
            data["templates"] = _templates(sorting_analyzer, unit, table.index)
        super().__init__(data, **figure_arguments)

    def _num_axes(self, data: dict[str, Any]) -> int:
        return 2 if data["with_templates"] else 1

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        return (7.5 if data["with_templates"] else 4.2, 1.1 + 0.42 * max(len(data["table"]), 2))

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        if not data["with_templates"]:
            return [figure.subplots()]
        return list(figure.subplots(1, 2, width_ratios=[1.0, 1.1]))

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        count = spike_count(data["num_spikes"])
        title_panel(axes[0], data["title"], f"{count} · most similar units ({data['source']})")
        if data["table"].empty:
            write_note(
                axes[0], "no spikes" if data["num_spikes"] == 0 else "no other unit with spikes"
            )
            axes[0].set_axis_off()
        else:
            _draw_bars(axes[0], data)
        if data["with_templates"]:
            _draw_templates(axes[1], data)


plot_similarity = figure_function(SimilarityWidget)


def similar_units(
    sorting_analyzer: SortingAnalyzer, unit: DrawnUnit, similarity: NDArray
) -> pd.DataFrame:
    """Rank the other units by their similarity to a unit, or to several as if they were merged.

    Returns
    -------
    pandas.DataFrame
        Indexed by unit id: ``similarity``, ``distance_um`` (NaN where a unit has no place),
        ``num_spikes``, ``label``.
    """
    rows = unit.rows(sorting_analyzer)
    own = similarity[rows]
    best = np.where(np.isnan(own), -np.inf, own).max(axis=0)
    best[rows] = -np.inf
    order = np.argsort(-best, kind="stable")
    order = order[np.isfinite(best[order])]
    unit_index = spike_vector_of(sorting_analyzer.sorting)["unit_index"]
    num_spikes = np.bincount(unit_index, minlength=len(sorting_analyzer.unit_ids))
    places = unit_locations(sorting_analyzer)
    weight = np.where(np.isfinite(places[rows]).all(axis=1), num_spikes[rows], 0).astype(float)
    place = np.full(2, np.nan)
    if weight.sum() > 0:
        place = weight @ np.nan_to_num(places[rows]) / weight.sum()
    labels = sorting_analyzer.sorting.get_property("quality")
    return pd.DataFrame(
        {
            "similarity": best[order],
            "distance_um": np.sqrt(((places[order] - place) ** 2).sum(axis=1)),
            "num_spikes": num_spikes[order],
            "label": "" if labels is None else np.asarray(labels)[order].astype(str),
        },
        index=pd.Index(sorting_analyzer.unit_ids[order], name="unit_id"),
    )


def _templates(
    analyzer: SortingAnalyzer, unit: DrawnUnit, neighbours: pd.Index
) -> dict[str, Any] | str:
    """Return templates on the best channels of the unit, or which extensions are missing."""
    try:
        assignment, best = require_extensions(
            analyzer, "template_assignment", "template_best_channels"
        )
    except MissingDataError as fault:
        return "\n".join(textwrap.wrap(str(fault), _CHARACTERS))
    counts = template_counts_of(analyzer, unit)
    own = assignment.get_templates()[int(counts.argmax())] if counts.any() else None
    params = {**best.params, "source": "auto"}  # similarities are of the sorter's templates
    channels = ChannelRanking(analyzer, **params).channels_of_unit(unit)[:NUM_CHANNELS]
    return {
        "name": unit.label,
        "channel_ids": analyzer.channel_ids[channels],
        "own": None if own is None else own[:, channels],
        "others": [assignment.get_unit_template(u)[:, channels] for u in neighbours],
    }


def _draw_bars(axes: Axes, data: dict[str, Any]) -> None:
    table = data["table"]
    places = np.arange(len(table))
    axes.barh(places, table["similarity"], height=_BAR_HEIGHT, color=data["colors"], alpha=0.45)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_yticks(places, [str(unit_id) for unit_id in table.index])
    low = min(0.0, 1.05 * float(table["similarity"].min()))
    axes.set_xlim(low, 1.0)
    for place, row in zip(places, table.itertuples(), strict=True):
        words = [f"{row.similarity:.2f}".replace("-", "−")]
        if np.isfinite(row.distance_um):
            words.append(f"{row.distance_um:.0f} µm")
        words.append(spike_count(row.num_spikes))
        words += [row.label] if row.label else []
        axes.annotate(
            " · ".join(words),
            (max(low, 0.0), place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    tidy(axes)
    axes.tick_params(axis="y", length=0)
    label_axes(axes, "similarity", "unit")


def _draw_templates(axes: Axes, data: dict[str, Any]) -> None:
    templates, num_rows = data["templates"], len(data["table"])
    axes.set_axis_off()
    if (
        isinstance(templates, str)
        or num_rows == 0
        or templates["own"] is None
        or templates["own"].size == 0  # a unit without signal has no channels
    ):
        write_note(axes, templates if isinstance(templates, str) else "no templates to compare")
        return
    own, others = templates["own"], templates["others"]
    num_samples, num_channels = own.shape
    scale = 0.75 / max(float(np.ptp(own, axis=0).max()), *(np.ptp(o) for o in others), 1e-12)
    x = np.linspace(-0.44, 0.44, num_samples)

    def lines(template: NDArray, row: int) -> list[NDArray]:
        # the y axis points down, from the best neighbour to the last
        return [np.column_stack([x + c, row - scale * template[:, c]]) for c in range(num_channels)]

    for row, (other, color) in enumerate(zip(others, data["colors"], strict=True)):
        axes.add_collection(LineCollection(lines(own, row), colors=data["own_color"], linewidths=1))
        axes.add_collection(LineCollection(lines(other, row), colors=[color], linewidths=1.2))
    for c, channel_id in enumerate(templates["channel_ids"]):
        name = f"channel {channel_id}" if c == 0 else str(channel_id)
        axes.text(c, 1.0, name, transform=axes.get_xaxis_transform(), **_CHANNEL_NAME)
    words = f"grey: unit {templates['name']}, colour: the other unit"
    axes.text(0.0, -0.02, words, transform=axes.transAxes, va="top", fontsize=7, color=QUIET)
    axes.set_xlim(-0.6, num_channels - 0.4)
    axes.set_ylim(num_rows - 0.5, -0.5)


_CHANNEL_NAME: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7, "color": QUIET}
