"""The functions of figures: signature, help, and calls with wrong arguments."""

import inspect
import pickle
import pydoc

import pytest
from matplotlib.figure import Figure

import si_curation as sic
from si_curation.views.widget import FigureArguments

PLOTS = [name for name in sic.__all__ if name.startswith("plot_")]
OVERVIEWS = {"plot_unit_overview", "plot_pair_overview", "plot_split"}


@pytest.mark.parametrize("name", PLOTS)
def test_it_is_a_function_with_help(name):
    plot = getattr(sic, name)
    assert inspect.isfunction(plot)
    assert (plot.__name__, plot.__module__.split(".")[:2]) == (name, ["si_curation", "views"])
    assert pickle.loads(pickle.dumps(plot)) is plot
    parameters = inspect.signature(plot).parameters
    assert not [p for p in parameters.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    common = set(FigureArguments.__annotations__)
    assert common & set(parameters) == (common - {"ax", "axes"} if name in OVERVIEWS else common)
    text = pydoc.render_doc(plot, renderer=pydoc.plaintext)
    assert f"{name}({next(iter(parameters))}" in text
    assert "alias" not in text
    for header in ("Parameters", "Returns", "Raises", "Examples"):
        assert text.count(f"{header}\n    {'-' * len(header)}") == 1
    assert "FigureWidget" not in text
    described = text[text.index("Parameters\n") : text.index("Returns\n")]
    for one in set(parameters) - {"backend"}:
        assert one in described, one


@pytest.mark.parametrize("name", PLOTS)
def test_missing_arguments_are_one_line(name):
    plot = getattr(sic, name)
    needed = [p.name for p in inspect.signature(plot).parameters.values() if p.default is p.empty]
    with pytest.raises(sic.ParameterError) as error:
        plot()
    text = str(error.value)
    assert text.startswith(f"{name} needs {', '.join(needed)}")
    assert f"for example {name}(" in text
    assert "Widget" not in text
    assert "\n" not in text


def test_arguments_that_are_not_there():
    for call, said in (
        (
            lambda: sic.plot_isi(1, bins_ms=3),
            "plot_isi has no argument 'bins_ms': did you mean bin_ms?",
        ),
        (
            lambda: sic.plot_isi(1, xyz=3),
            "plot_isi has no argument 'xyz': it has sorting_analyzer, ",
        ),
        (lambda: sic.plot_isi(1, 2, 3), "takes 2 arguments without a name"),
        (lambda: sic.plot_isi(1, sorting_analyzer=3), "has sorting_analyzer twice"),
        (lambda: sic.plot_features(1), "plot_features needs unit_ids: for example"),
        (lambda: sic.plot_isi(1, ax=3), "ax is 3, expected Axes"),
        (lambda: sic.plot_isi(1, axes=[3]), r"axes is \[3\], expected Axes"),
        (lambda: sic.plot_isi(1, figure=3), "figure is 3, expected a figure of matplotlib"),
        (lambda: sic.plot_isi(1, figsize=(3, "a")), "figsize is .*, expected width and height"),
        (lambda: sic.plot_isi(1, figtitle=3), "figtitle is 3, expected text"),
        (lambda: sic.plot_isi(1, backend="qt"), "backend is 'qt', expected 'matplotlib'"),
    ):
        with pytest.raises(sic.ParameterError, match=said):
            call()
    axes = Figure().subplots()
    with pytest.raises(sic.ParameterError, match="ax and axes are given, expected one of them"):
        sic.plot_isi(1, ax=axes, axes=[axes])
