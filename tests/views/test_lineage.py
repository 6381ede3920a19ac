"""`plot_lineage` has a band for each template of each unit, as wide as its spikes."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import si_curation as sic
from helpers.other_sorters import other_analyzer
from helpers.read_figures import draw, overlapping_texts
from si_curation.views.lineage import EVENT_COLORS, find_families


def bands(widget):
    """Width, the two ends and the colour of each band: {(template, unit): ...}."""
    found = {}
    for patch in widget.ax.patches:
        if patch.get_gid():
            template_id, unit_id = patch.get_gid().split("->")
            points = patch.get_path().vertices
            width = points[4, 1] - points[3, 1]
            assert points[7, 1] - points[0, 1] == pytest.approx(width)
            found[int(template_id), unit_id] = (
                width,
                (points[0, 0], points[0, 1]),
                (points[3, 0], points[3, 1]),
                patch.get_facecolor(),
            )
    return found


def check(widget, lineage):
    found = bands(widget)
    expected = {(t, str(u)): n for u, parts in lineage["templates"].items() for t, n in parts}
    assert found.keys() == expected.keys()
    scale = [found[key][0] / expected[key] for key in expected]
    np.testing.assert_allclose(scale, scale[0])
    for (_, unit_id), (_, _, _, color) in found.items():
        event = {str(unit): event for unit, event in lineage["event"].items()}[unit_id]
        assert color[:3] == to_rgba(EVENT_COLORS[event])[:3]
    # bands of one node lie beside each other, none on another
    for side, end in ((0, 1), (1, 2)):
        of_node = {}
        for key, band in found.items():
            of_node.setdefault(key[side], []).append((band[end][1], band[end][1] + band[0]))
        for intervals in of_node.values():
            intervals.sort()
            for (_, high), (low, _) in pairwise(intervals):
                assert low == pytest.approx(high)


@pytest.mark.parametrize(
    "name", ["ks4_phy_curated", pytest.param("ks1_phy_curated", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("all_units", [False, True])
def test_bands_are_the_lineage(shared_data, name, all_units):
    lineage = sic.reconstruct_lineage(shared_data / name)
    widget = sic.plot_lineage(shared_data / name, show_unchanged=all_units)
    shown = lineage[lineage.event != "empty"]
    check(widget, shown if all_units else shown[shown.event != "unchanged"])
    count = int((lineage.event == "unchanged").sum())
    words = widget.ax.texts[0].get_text()
    assert words.startswith(f"{count} units are unchanged") == (not all_units)
    assert overlapping_texts(widget.figure) == []


def test_an_analyzer_and_chosen_units():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    session = sic.CurationSession(analyzer)
    merged = session.merge([11, 13])  # of a split one, and of a merged one
    after = session.apply()
    lineage = sic.reconstruct_lineage(after)
    check(sic.plot_lineage(after), lineage[lineage.event != "unchanged"])
    # with those that share templates
    widget = sic.plot_lineage(after, [merged, 4])
    check(widget, lineage.loc[[merged, 12, 4]])
    assert widget.ax.texts[0].get_text() == (
        "3 units are unchanged (all spikes of one template) and not drawn; "
        "1 unit is changed and not asked for"
    )
    assert lineage.event[merged] == "merged and split"
    with pytest.raises(sic.UnknownIdError, match="99"):
        sic.plot_lineage(after, [99])


def test_nothing_changed_and_string_ids():
    analyzer = other_analyzer()
    widget = sic.plot_lineage(analyzer)
    texts = [text.get_text() for text in widget.ax.texts]
    assert texts == [
        "3 units are unchanged (all spikes of one template) and not drawn; "
        "1 unit is without spikes",
        "nothing was merged or split",
    ]
    assert draw(widget.figure) > 1000
    everything = sic.plot_lineage(analyzer, list(analyzer.unit_ids))
    assert set(bands(everything)) == {(0, "a"), (1, "b"), (2, "one")}
    assert draw(everything.figure) > 1000
    session = sic.CurationSession(analyzer)
    merged = session.merge(["a", "one"])
    widths = {key: band[0] for key, band in bands(sic.plot_lineage(session.apply())).items()}
    assert widths[0, str(merged)] == pytest.approx(600 * widths[2, str(merged)])


def test_families_are_ordered_so_that_bands_cross_little():
    lineage = sic.reconstruct_lineage(sic.example_folder())
    families = find_families(lineage)
    assert [family.templates for family in families[:4]] == [[0, 1, 2], [3], [4], [5, 6]]
    assert families[1].units == [11, 12]


@pytest.mark.slow
def test_500_units(simulate):
    folder = simulate(
        "kilosort4", num_templates=500, num_channels=32, num_spikes=20_000, curation=60,
        write_features=False, seed=3,
    ).folder  # fmt: skip
    lineage = sic.reconstruct_lineage(folder)
    widget = sic.plot_lineage(folder)
    changed = lineage[~lineage.event.isin(["unchanged", "empty"])]
    assert len(changed) > 40
    check(widget, changed)
    # rows of text do not touch, within the columns and between them
    assert overlapping_texts(widget.figure) == []
    assert max(widget.figure.get_size_inches()) < 40


def test_given_axes():
    ax = Figure().subplots()
    assert sic.plot_lineage(sic.example_folder(), ax=ax).ax is ax
