"""The methods that are tried, each on changes whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from si_curation.errors import MissingDataError
from si_curation.evidence.benchmark.cleaning_trials import FOREIGN, try_cleaning
from si_curation.evidence.benchmark.duplicate_trials import TWICE, try_duplicates
from si_curation.evidence.benchmark.merge_trials import try_merges
from si_curation.evidence.benchmark.parts import WAYS
from si_curation.evidence.benchmark.setting import Setting, Trials
from si_curation.evidence.benchmark.split_trials import MERGED, PART_MERGED, try_splits


class Method(NamedTuple):
    """A way to suggest something.

    Attributes
    ----------
    changes : tuple of str
        Names of the changes that it is tried on.
    run : callable
        Tries it.
    """

    changes: tuple[str, ...]
    run: Callable[[Setting], Trials]


#: The methods by what they suggest.
METHODS: dict[str, Method] = {
    "merges": Method(tuple(WAYS), try_merges),
    "splits": Method((MERGED, PART_MERGED), try_splits),
    "cleaning": Method((FOREIGN,), try_cleaning),
    "duplicates": Method((TWICE,), try_duplicates),
}


def run_method(name: str, setting: Setting) -> Trials:
    """Try a method; where what it needs is not there, say so."""
    method = METHODS[name]
    try:
        return method.run(setting)
    except MissingDataError as fault:
        return Trials(missing=dict.fromkeys(method.changes, str(fault)))
