"""The name of a session by its content: which spikes its units have when it begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import short_repr
from si_curation.curation.journal import fingerprint
from si_curation.errors import ParameterError

#: Under this key the page that curates keeps what it reads again, beside SpikeInterface's format.
PAGE_KEY = "si_curation"
_SHOWN = 8


def session_content(analyzer: SortingAnalyzer) -> str:
    """Return the name by content of the session that begins with an analyzer.

    The same for an analyzer that is read or loaded again, whatever its labels; another one where
    spikes or units differ.

    Returns
    -------
    str
        Hexadecimal BLAKE2b, 32 characters.
    """
    return fingerprint(analyzer, np.zeros(0, dtype=np.int64))


def is_of_page(curation: Any) -> bool:
    """Return whether a curation was saved by a page that curates."""
    return isinstance(curation, Mapping) and isinstance(curation.get(PAGE_KEY), Mapping)


def rejected_merges(curation: Any) -> list[Any]:
    """Return the units of each suggested merge that was rejected on a page.

    Raises
    ------
    ParameterError
        They are not listed as the page lists them.
    """
    found = curation[PAGE_KEY].get("rejected", []) if is_of_page(curation) else []
    if not isinstance(found, list) or not all(isinstance(one, list) for one in found):
        raise ParameterError(
            f"{PAGE_KEY}.rejected of the curation is {short_repr(found)}, expected a list of "
            "lists of unit ids"
        )
    return found


def refuse_other_session(curation: Any, analyzer: SortingAnalyzer) -> None:
    """Raise `ParameterError` where a curation names another session than this by its content.

    Parameters
    ----------
    curation : object
        A document of SpikeInterface's format. One that names no session passes.
    analyzer : SortingAnalyzer
        What the session here began with.
    """
    if not is_of_page(curation) or "session" not in curation[PAGE_KEY]:
        return
    named = curation[PAGE_KEY]
    theirs, ours = str(named["session"]), session_content(analyzer)
    if theirs != ours:
        raise ParameterError(
            f"the curation is of another session: it was made on the page of "
            f"{str(named.get('name', ''))[:80]!r} with the content {theirs[:_SHOWN]}, and the "
            f"spikes and units here have the content {ours[:_SHOWN]}. Give the analyzer that the "
            "page was made of"
        )
