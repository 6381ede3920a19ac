"""Figures of many units: one rule for all, and no figure that does not fit on a screen."""

import inspect

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import si_curation as sic
from helpers.read_figures import overlapping_texts
from si_curation.views.pages import MAX_INCHES, UNITS_PER_PAGE, page_of

PAGED = {"plot_isi", "plot_firing_rate", "plot_best_channels", "plot_unit_templates_by_source"}


@pytest.fixture(scope="module")
def many(simulate):
    simulated = simulate(num_templates=60, num_channels=16, num_spikes=4000, curation=8)
    return sic.read_kilosort_as_analyzer(simulated.folder)


def titles(widget):
    return [axes.get_title(loc="left").split(" · ")[0] for axes in widget.axes]


@pytest.mark.parametrize("total", [0, 1, 23, 24, 25, 48, 300])
def test_pages_have_each_item_once_in_order(total):
    items = list(range(total))
    _, first = page_of(items, 1, {})
    pages = [page_of(items, number + 1, {}) for number in range(first.num_pages)]
    assert [item for shown, _ in pages for item in shown] == items
    assert all(len(shown) <= UNITS_PER_PAGE for shown, _ in pages)
    assert [bool(page.note) for _, page in pages] == [total > UNITS_PER_PAGE] * len(pages)
    for shown, page in pages if total > UNITS_PER_PAGE else []:
        assert page.note.startswith(f"units {shown[0] + 1} to {shown[-1] + 1} of {total}: page=")
    with pytest.raises(sic.ParameterError, match=f"page is {len(pages) + 1}, expected 1"):
        page_of(items, len(pages) + 1, {})


def test_given_axes_are_for_all_items():
    assert len(page_of(range(60), 1, {"axes": [1]})[0]) == 60
    assert len(page_of(range(60), 1, {"figure": 1, "axes": None})[0]) == UNITS_PER_PAGE


@pytest.mark.slow
def test_every_figure_of_many_units_fits_on_a_screen(many):
    ids = list(many.unit_ids)
    assert len(ids) > 2 * UNITS_PER_PAGE
    right = {"unit_id": ids[0], "unit_ids": ids[:3], "unit_a": ids[0], "unit_b": ids[1]}
    for name in sic.__all__:
        if not name.startswith("plot_") or name in ("plot_effect_vs_quality", "plot_split"):
            continue
        _, *others = inspect.signature(getattr(sic, name)).parameters.values()
        more = {p.name: right[p.name] for p in others if p.default is p.empty}
        if name == "plot_lineage":
            more["show_unchanged"] = True
        widget = getattr(sic, name)(many, **more)
        assert max(widget.figure.get_size_inches()) <= MAX_INCHES, name
        if name in PAGED:
            note = f"units 1 to 24 of {len(ids)}: page=2 draws the next"
            assert widget.figure.get_supxlabel().startswith(note)
            if name != "plot_best_channels":  # units of one channel, on the probe
                assert overlapping_texts(widget.figure) == []
            pages = [widget]
            for page in range(2, widget.num_pages + 1):
                pages.append(getattr(sic, name)(many, page=page))
            shown = [title for one in pages for title in titles(one) if title != "best channels"]
            assert shown == [f"unit {unit_id}" for unit_id in ids]
            with pytest.raises(sic.ParameterError, match="page is 99, expected 1 to 3"):
                getattr(sic, name)(many, page=99)


def test_units_that_are_named_come_in_pages_too(many):
    ids = list(many.unit_ids[::-1])[:30]
    widget = sic.plot_isi(many, ids, page=2)
    assert titles(widget) == [f"unit {one}" for one in ids[24:]]
    assert "page=1 draws the one before" in widget.figure.get_supxlabel()
    panels = Figure().subplots(30, 1)
    assert titles(sic.plot_isi(many, ids, axes=panels)) == [f"unit {one}" for one in ids]
    assert sic.plot_isi(many, ids[:3]).figure.get_supxlabel() == ""


@pytest.mark.slow
def test_matrix_and_columns_and_metrics(many):
    ids = list(many.unit_ids)
    widget = sic.plot_cross_correlograms(many, ids[:14], page=2)
    assert len(widget.axes) == 4
    assert widget.num_pages == 2
    assert "units 13 to 14 of 14: page=1" in widget.figure.get_supxlabel()
    families = sic.plot_lineage(many, ids).data_plot["families"]
    assert {unit for family in families for unit in family.units} == set(ids)
    rng = np.random.default_rng(0)
    metrics = pd.DataFrame({f"m{i}": rng.normal(size=40) for i in range(30)})
    directions = dict.fromkeys(metrics, "higher")
    result = sic.effect_vs_quality(
        pd.Series(rng.normal(size=40)),
        metrics,
        directions=directions,
        num_bootstraps=20,
        num_permutations=19,
    )
    one = sic.plot_effect_vs_quality(result, page=2)
    assert len(one.axes) == 6
    assert "metrics 25 to 30 of 30: page=1 draws the one before, metrics=[...]" in (
        one.figure.get_supxlabel()
    )
