"""The base of all figures: a SpikeInterface widget on a figure that pyplot does not manage."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from spikeinterface.core import SortingAnalyzer
from spikeinterface.widgets.base import BaseWidget

from si_curation.checks import Checks, is_number, short_repr
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.extensions.in_memory import extensions_in_memory
from si_curation.views.pages import MAX_INCHES, write_page_note

if TYPE_CHECKING:
    from typing_extensions import Unpack as Unpack
else:  # for the files of the figures: annotations are read by type checkers alone
    Unpack = Sequence

_SCREEN_DPI = 110
_MOST_INCHES = 100.0
_SEE_CLASS = re.compile(r";\s+see\s+`FigureWidget`\.")
_RETURNS = """\
Returns
-------
{name}
    ``figure`` is the `matplotlib.figure.Figure`, ``axes`` are its panels and ``ax`` is the first;
    ``figure.savefig("name.pdf")`` writes it.
"""

Arguments = ParamSpec("Arguments")
Widget = TypeVar("Widget", bound="FigureWidget")


class FigureArguments(TypedDict, total=False):
    """Where a figure is drawn, and how large: what every ``plot_*`` takes by name."""

    figure: Figure | SubFigure | None
    ax: Axes | None
    axes: Sequence[Axes] | Axes | None
    figsize: tuple[float, float] | None
    figtitle: str | None
    backend: str | None


class FigureWidget(BaseWidget):
    """A figure in the form of SpikeInterface's widgets, drawn when it is created.

    A subclass collects the numbers in its ``__init__``, passes them on as `data_plot`, states how
    many axes it needs, and draws into them. Unless a figure is given, a new
    `matplotlib.figure.Figure` is created that pyplot does not manage: it needs no display and need
    not be closed. A notebook shows it where the widget is the last value of a cell.

    Parameters
    ----------
    data_plot : dict
        What is drawn.
    backend : {"matplotlib"}, optional
    figure : Figure or SubFigure, optional
        To make the axes in.
    ax : Axes, optional
        To draw into, for figures of one panel.
    axes : sequence of Axes, optional
        To draw into, one for each panel.
    figsize : (float, float), optional
        In inches, of a new figure.
    figtitle : str, optional

    Attributes
    ----------
    figure : Figure or SubFigure
        The figure drawn into; ``widget.figure.savefig("name.pdf")`` writes it.
    axes : array of Axes (n_panels,)
    ax : Axes
        The first panel.
    num_pages : int
        Of a figure of many units, of which it shows one.

    Raises
    ------
    ParameterError
        More than one of figure, ax and axes is given, or the number of axes does not fit.
    """

    figure: Any
    axes: Any
    ax: Any
    num_pages: int

    #: Of `FigureArguments`, those that this figure takes.
    figure_arguments: tuple[str, ...] = tuple(FigureArguments.__annotations__)

    def __init__(
        self,
        data_plot: dict[str, Any],
        *,
        backend: str | None = None,
        figure: Figure | SubFigure | None = None,
        ax: Axes | None = None,
        axes: Sequence[Axes] | Axes | None = None,
        figsize: tuple[float, float] | None = None,
        figtitle: str | None = None,
    ):
        _check_figure_arguments(
            {
                "backend": backend,
                "figure": figure,
                "ax": ax,
                "axes": axes,
                "figsize": figsize,
                "figtitle": figtitle,
            }
        )
        self.num_pages = data_plot["page"].num_pages if "page" in data_plot else 1
        self._is_own = figure is None and ax is None and axes is None
        super().__init__(
            data_plot,
            backend="matplotlib",
            figure=figure,
            ax=ax,
            axes=axes,
            figsize=figsize,
            figtitle=figtitle,
        )

    # for subclasses

    def _num_axes(self, data: dict[str, Any]) -> int:
        """Return the number of panels."""
        return 1

    def _default_figsize(self, data: dict[str, Any]) -> tuple[float, float]:
        """Return width and height in inches of a new figure."""
        return (4.0, 3.0)

    def _make_axes(self, figure: Any, data: dict[str, Any]) -> list[Axes]:
        """Create the panels in a figure; here side by side."""
        count = self._num_axes(data)
        return list(np.ravel(figure.subplots(1, count, squeeze=False)))

    def _draw(self, axes: list[Axes], data: dict[str, Any]) -> None:
        """Draw into the panels."""
        raise TypeError(f"{type(self).__name__} does not draw")

    # SpikeInterface's contract

    def plot_matplotlib(self, data_plot: dict[str, Any], **given: Any) -> None:
        """Draw; called by SpikeInterface's base class."""
        if given["ax"] is not None or given["axes"] is not None:
            panels = given["ax"] if given["ax"] is not None else given["axes"]
            panels = [panels] if isinstance(panels, Axes) else list(np.ravel(np.asarray(panels)))
            count = self._num_axes(data_plot)
            if len(panels) != count:
                raise ParameterError(
                    f"{len(panels)} axes are given for {count} panels, expected as many"
                )
            self.figure = panels[0].figure
        else:
            self.figure = given["figure"]
            if self.figure is None:
                size = given["figsize"]
                if size is None:
                    width, height = self._default_figsize(data_plot)
                    size = (min(width, MAX_INCHES), min(height, MAX_INCHES))
                self.figure = Figure(figsize=size, layout="constrained")
            panels = self._make_axes(self.figure, data_plot)
        self.axes = np.empty(len(panels), dtype=object)
        self.axes[:] = panels
        self.ax = panels[0] if panels else None
        self._draw(panels, data_plot)
        if "page" in data_plot:
            write_page_note(self.figure, data_plot["page"])
        if given["figtitle"] is not None:
            self.figure.suptitle(given["figtitle"], fontsize=10)

    def _repr_png_(self) -> bytes | None:
        """Show a figure of its own in a notebook."""
        if not self._is_own:
            return None
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=_SCREEN_DPI)
        return buffer.getvalue()


def _check_figure_arguments(given: dict[str, Any]) -> None:
    """Raise what is wrong with the arguments that all figures have; missing ones are fine."""
    figure, ax, axes, figsize, figtitle, backend = map(given.get, FigureArguments.__annotations__)
    checks = Checks()
    checks.choice("backend", backend, ("matplotlib",), optional=True)
    for name, value, kind, text in (
        ("figure", figure, (Figure, SubFigure), "a figure of matplotlib"),
        ("ax", ax, Axes, "Axes of matplotlib"),
        ("figtitle", figtitle, str, "text"),
    ):
        checks.require(
            value is None or isinstance(value, kind),
            f"{name} is {short_repr(value)}, expected {text}",
        )
    checks.require(_are_axes(axes), f"axes is {short_repr(axes)}, expected Axes of matplotlib")
    checks.require(
        figsize is None or _is_size(figsize),
        f"figsize is {short_repr(figsize)}, expected width and height in inches, each above 0 and "
        f"up to {_MOST_INCHES:g}",
    )
    named = [name for name in ("figure", "ax", "axes") if given.get(name) is not None]
    checks.require(len(named) < 2, f"{' and '.join(named)} are given, expected one of them")
    checks.finish()


def _are_axes(axes: Any) -> bool:
    if axes is None or isinstance(axes, Axes):
        return True
    if not isinstance(axes, list | tuple | np.ndarray):
        return False
    try:
        panels = np.ravel(np.asarray(axes, dtype=object))
    except ValueError:  # lists of unequal length
        return False
    return all(isinstance(panel, Axes) for panel in panels)


def _is_size(figsize: Any) -> bool:
    if isinstance(figsize, np.ndarray):
        figsize = figsize.tolist()
    if not isinstance(figsize, list | tuple) or len(figsize) != 2:
        return False
    return all(is_number(inches) and 0 < inches <= _MOST_INCHES for inches in figsize)


def figure_function(widget: Callable[Arguments, Widget]) -> Callable[Arguments, Widget]:
    """Return the public function that draws a figure: it has the arguments and help of the class.

    Its signature names the arguments that all figures have, so that a notebook completes them. A
    call with arguments that are missing or that it does not have is one clear error.

    Parameters
    ----------
    widget : subclass of FigureWidget
        ``IsiWidget`` makes ``plot_isi``.

    Examples
    --------
    >>> from si_curation.views.isi import plot_isi
    >>> plot_isi()
    Traceback (most recent call last):
    ...
    si_curation.errors.ParameterError: plot_isi needs sorting_analyzer, a SortingAnalyzer: for
    example plot_isi(analyzer)
    """
    kind: Any = widget
    words = kind.__name__.removesuffix("Widget")
    name = "plot" + "".join(f"_{one.lower()}" if one.isupper() else one for one in words)

    def plot(*args: Any, **kwargs: Any) -> Any:
        _check_call(plot, args, kwargs)
        return kind(*args, **kwargs)

    public: Any = plot
    public.__name__ = public.__qualname__ = name
    public.__module__ = kind.__module__
    public.__wrapped__ = kind.__init__  # where the arguments are checked
    public.__signature__ = _public_signature(kind)
    public.__annotations__ = {
        **{p.name: p.annotation for p in public.__signature__.parameters.values()},
        "return": kind.__name__,
    }
    public.__doc__ = _public_docstring(kind)
    return public


def _public_signature(widget: type[FigureWidget]) -> inspect.Signature:
    """Return the signature of a widget, with the arguments that all figures have by name."""
    own = [*inspect.signature(widget).parameters.values()]
    common = inspect.signature(FigureWidget).parameters
    own = [one for one in own if one.kind is not one.VAR_KEYWORD]
    more = [common[name] for name in widget.figure_arguments]
    return inspect.Signature([*own, *more], return_annotation=widget.__name__)


def _public_docstring(widget: type[FigureWidget]) -> str:
    """Return the docstring of a widget as that of a function: what it returns, all arguments."""
    text = inspect.getdoc(widget) or ""
    shown = [name for name in widget.figure_arguments if name != "backend"]
    text = text.replace("\n**figure_arguments\n", f"\n{', '.join(shown)} : optional\n")
    text = _SEE_CLASS.sub(": where it is drawn, its size in inches, and its title.", text)
    returns = _RETURNS.format(name=widget.__name__)
    before, header, after = text.partition("Attributes\n----------\n")
    if header:
        attributes, _, after = after.partition("\n\n")
        returns += "\n" + textwrap.indent(attributes, "    ") + "\n"
        return f"{before}{returns}\n{after}"
    before, header, after = text.partition("Raises\n------\n")
    return f"{before}{returns}\n{header}{after}"


def _check_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise what is wrong with a call: arguments that are missing, or that there are not."""
    parameters = inspect.signature(function).parameters
    name = function.__name__
    positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = [p.name for p in parameters.values() if p.default is p.empty]
    checks = Checks()
    for one in kwargs:
        if one not in parameters and one not in FigureArguments.__annotations__:
            close = get_close_matches(one, parameters, 1)
            advice = f"did you mean {close[0]}?" if close else f"it has {', '.join(parameters)}"
            checks.add(f"{name} has no argument {one!r}: {advice}")
    checks.require(
        len(args) <= len(positional),
        f"{name} takes {len(positional)} arguments without a name ({', '.join(positional)}), "
        f"{len(args)} are given",
    )
    twice = [one for one in positional[: len(args)] if one in kwargs]
    checks.require(not twice, f"{name} has {' and '.join(twice)} twice, without and with the name")
    missing = [one for one in needed if one not in kwargs and one not in positional[: len(args)]]
    if missing:
        example = ", ".join(_EXAMPLES.get(one, one) for one in needed)
        what = f", {_WHAT[missing[0]]}" if missing[0] in _WHAT and len(missing) == 1 else ""
        checks.add(f"{name} needs {', '.join(missing)}{what}: for example {name}({example})")
    checks.finish()
    _check_figure_arguments(kwargs)


# how arguments that are needed are shown where they are missing
_EXAMPLES = {
    "sorting_analyzer": "analyzer",
    "source": "folder",
    "unit_id": "unit_id=7",
    "unit_ids": "unit_ids=[7, 8]",
    "unit_a": "7",
    "unit_b": "8",
    "split": "suggest_splits(analyzer)",
    "result": "effect_vs_quality(effect, metrics)",
}
_WHAT = {
    "sorting_analyzer": "a SortingAnalyzer",
    "source": "a SortingAnalyzer or the path of a Kilosort or phy folder",
    "result": "what effect_vs_quality returns",
}


def require_extensions(sorting_analyzer: SortingAnalyzer, *names: str) -> list[Any]:
    """Return the extensions of these names; missing ones are computed in memory.

    Raises
    ------
    MissingDataError
        Some cannot be computed; the message says why.
    """
    try:
        return extensions_in_memory(sorting_analyzer, *names)
    except MissingDataError as fault:
        raise MissingDataError(f"the figure needs {' and '.join(names)}: {fault}") from fault


def prepare_extensions(sorting_analyzer: SortingAnalyzer, *names: str) -> None:
    """Compute what is missing of what a figure uses where it is there."""
    for name in names:
        with contextlib.suppress(MissingDataError, PhyFolderError, FolderNotFoundError):
            extensions_in_memory(sorting_analyzer, name)
