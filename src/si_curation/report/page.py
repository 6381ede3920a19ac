"""The assembly of the page: templates, scripts, styles and the content security policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

STYLES = (
    "vendor/dataTables.dataTables.min.css",
    "vendor/columnControl.dataTables.min.css",
    "vendor/uPlot.min.css",
    "assets/report.css",
)
SCRIPTS = (
    "vendor/dataTables.min.js",
    "vendor/dataTables.columnControl.min.js",
    "vendor/uPlot.iife.min.js",
    "assets/inflate.js",
    "assets/data.js",
    "assets/charts.js",
    "assets/waveforms.js",
    "assets/panels.js",
    "assets/tables.js",
    "assets/main.js",
)
#: Of a page that curates, before the last of the others, which starts the page.
CURATION_SCRIPTS = (
    "assets/curation_state.js",
    "assets/curation_views.js",
    "assets/curation.js",
)


@cache
def read_asset(name: str) -> str:
    """Return the text of a file of this package, with line feeds at the ends of lines."""
    text = (files("si_curation.report") / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def scripts_of(curates: bool) -> tuple[str, ...]:
    """Return the scripts of a page, in their order."""
    return (*SCRIPTS[:-1], *CURATION_SCRIPTS, SCRIPTS[-1]) if curates else SCRIPTS


def content_security_policy(
    scripts_of_page: Sequence[str] = SCRIPTS, styles_of_page: Sequence[str] = STYLES
) -> str:
    """Return the policy of a page: its own scripts and styles by hash, and no network.

    Source: W3C, Content Security Policy Level 3.
    """
    scripts = " ".join(map(_hash, scripts_of_page)) or "'none'"
    styles = " ".join(map(_hash, styles_of_page))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(name: str) -> str:
    return source_of(read_asset(name))


def source_of(text: str) -> str:
    """Return what a policy names a script or style by: its hash.

    Examples
    --------
    >>> source_of("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def render_page(values: dict[str, Any]) -> Iterator[str]:
    """Render the page piece by piece; iterators among the values are consumed on the way."""
    environment = _environment()
    page = environment.get_template("page.html.j2")
    names = scripts_of(values["curation"] is not None)
    return page.generate(
        **values,
        policy=content_security_policy(names),
        styles=[read_asset(name) for name in STYLES],
        scripts=[read_asset(name) for name in names],
    )


def render_label_page(values: dict[str, Any]) -> Iterator[str]:
    """Render the page of learnt labels, which has no scripts."""
    page = _environment().get_template("labels.html.j2")
    styles = ("assets/report.css",)
    return page.generate(
        **values,
        policy=content_security_policy((), styles),
        styles=[read_asset(name) for name in styles],
    )


@cache
def _environment() -> Any:
    import jinja2
    from markupsafe import Markup, escape

    from si_curation.report.encode import encode_block, encode_blocks
    from si_curation.report.formatting import format_value

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("si_curation.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["block"] = encode_block
    environment.filters["blocks"] = encode_blocks
    environment.filters["number"] = format_value
    environment.filters["unit_link"] = _unit_link
    environment.filters["cells"] = _cells
    # long names may be broken after an underscore
    environment.filters["breakable"] = lambda text: Markup("_<wbr>").join(
        escape(part) for part in str(text).split("_")
    )
    return environment


def _cells(row: list[tuple[str, Any]], num_links: int) -> Any:
    """Return the cells of a row of a table, sorted by their values, the first as links to units.

    Parameters
    ----------
    row : list of (text, value)
    num_links : int
        The values of the first so many are unit ids.
    """
    # a template is slow for thousands of them
    from markupsafe import Markup, escape

    cells = []
    for place, (text, value) in enumerate(row):
        is_number = isinstance(value, int | float)
        attributes = f' class="n" data-order="{value}"' if is_number else ""
        if value is None:
            attributes = ' data-order=""'
        if place < num_links:
            shown = f'<a href="{escape(_unit_link(value))}">{escape(value)}</a>'
        else:
            shown = text if is_number else escape(text)
        cells.append(f"<td{attributes}>{shown}</td>")
    return Markup("".join(cells))


def _unit_link(unit_id: Any) -> str:
    """Return the address of a unit's panel in the page, encoded as by encodeURIComponent."""
    return "#unit=" + quote(str(unit_id).encode("utf-8", "replace"), safe="!'()*~")
