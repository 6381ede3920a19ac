"""`plot_contamination` shows the estimates of the panel, and why there is none."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import si_curation as sic
from helpers.other_sorters import other_analyzer
from helpers.read_figures import draw, overlapping_texts, texts
from si_curation.views.contamination import ESTIMATES


def marks(axes):
    """Values by row, intervals by row, rows of which nothing can be said, unknown intervals."""
    found = {line.get_label(): line.get_xydata() for line in axes.lines}
    spans = {one.get_label(): one for one in axes.collections if isinstance(one, LineCollection)}

    def by_row(name):
        return {s[0, 1]: (s[0, 0], s[1, 0]) for s in map(np.asarray, spans[name].get_segments())}

    values = {y: x for x, y in found["estimate"]}
    return values, by_row("interval"), set(found["nothing"][:, 1]), by_row("not enough spikes")


def check_column(axes, panel, column):
    values, intervals, nothing, unknown = marks(axes)
    for row, (_, one) in enumerate(panel.iterrows()):
        value = one[column]
        low, high = one.get(f"{column}_lower", value), one.get(f"{column}_upper", value)
        if np.isfinite(value):
            assert (values[row], intervals[row]) == (value, (low, high))
            assert row not in nothing
            assert row not in unknown
        else:
            assert row not in values
            assert (row in unknown) == np.isfinite(low) == (row not in nothing)
            assert row not in unknown or unknown[row] == (low, high)


def test_drawn_estimates_are_those_of_the_panel():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    panel = sic.contamination_panel(analyzer)
    widget = sic.plot_contamination(analyzer)
    assert len(widget.axes) == len(ESTIMATES)
    for axes, column in zip(widget.axes, ESTIMATES, strict=True):
        check_column(axes, panel, column)
    assert [t.get_text() for t in widget.ax.get_yticklabels()] == [str(u) for u in panel.index]
    assert panel["hill_contamination"].isna().any(), "every value is there"
    given = sic.plot_contamination(analyzer, [13, 4], refractory_period_ms=1.5)
    expected = sic.contamination_panel(analyzer, unit_ids=[13, 4], refractory_period_ms=1.5)
    check_column(given.axes[2], expected, "rp_contamination")


def test_one_unit_has_one_panel_with_the_numbers():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    for unit_id in analyzer.unit_ids:
        row = sic.contamination_panel(analyzer, unit_ids=[unit_id]).iloc[0]
        widget = sic.plot_contamination(analyzer, [unit_id])
        values, intervals, _, _ = marks(widget.ax)
        words = [text.get_text() for text in widget.ax.texts]
        for place, column in enumerate(ESTIMATES):
            if np.isfinite(row[column]):
                assert values[place] == min(row[column], 1.0)
                assert words[place].startswith(f"{row[column]:.2f}")
                ends = [row.get(f"{column}_{end}", row[column]) for end in ("lower", "upper")]
                assert intervals[place] == tuple(np.minimum(ends, 1.0))
            else:
                assert words[place] in ("not enough spikes", "refuted", "not below 35 %")
        count = f"{int(row.num_spikes):,} spikes"
        assert count in texts(widget.ax)
        assert f"unit {unit_id}" in texts(widget.ax)
        assert overlapping_texts(widget.figure) == []


def test_merged_units_have_the_contamination_that_they_would_have(shared_data):
    for folder in (sic.example_folder(), shared_data / "ks1_phy_curated"):
        analyzer = sic.read_kilosort_as_analyzer(folder)
        pair = tuple(analyzer.unit_ids[[-1, 3]])
        session = sic.CurationSession(analyzer)
        merged = session.merge(list(pair))
        expected = sic.contamination_panel(session.apply(), unit_ids=[merged])
        widget = sic.plot_contamination(analyzer, [pair, pair[0]])
        for column in expected:
            assert widget.table[column].iloc[0] == expected[column].iloc[0] or (
                np.isnan(expected[column].iloc[0]) and np.isnan(widget.table[column].iloc[0])
            )
        assert list(widget.table.index) == [f"{pair[0]} + {pair[1]}", str(pair[0])]


def test_string_ids_one_spike_and_none():
    analyzer = other_analyzer()
    widget = sic.plot_contamination(analyzer)
    for axes, column in zip(widget.axes, ESTIMATES, strict=True):
        check_column(axes, sic.contamination_panel(analyzer), column)
    for unit_id, why in (("one", "one spike"), ("none", "no spikes")):
        alone = sic.plot_contamination(analyzer, [unit_id])
        assert [text.get_text() for text in alone.ax.texts][:6] == [why] * 6
        assert draw(alone.figure) > 1000


@pytest.mark.slow
def test_500_units(simulate):
    folder = simulate(
        "kilosort2", num_templates=500, num_channels=8, num_spikes=20_000, write_features=False
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    widget = sic.plot_contamination(analyzer)
    panel = sic.contamination_panel(analyzer)
    for axes, column in zip(widget.axes, ESTIMATES, strict=True):
        check_column(axes, panel, column)
    assert max(widget.figure.get_size_inches()) < 15
    assert overlapping_texts(widget.figure) == []


def test_given_axes_and_errors():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    axes = Figure().subplots(1, 7)
    assert sic.plot_contamination(analyzer, axes=axes).figure is axes[0].figure
    ax = Figure().subplots()
    assert sic.plot_contamination(analyzer, [4], ax=ax).ax is ax
    with pytest.raises(sic.ParameterError, match="1 axes are given for 7"):
        sic.plot_contamination(analyzer, ax=ax)
    with pytest.raises(sic.UnknownIdError):
        sic.plot_contamination(analyzer, [99])
    with pytest.raises(sic.ParameterError, match="confidence_level"):
        sic.plot_contamination(analyzer, confidence_level=1.0)
