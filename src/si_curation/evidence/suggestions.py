"""What all suggestions have in common: how they are shown, and SpikeInterface's curation format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks
from si_curation.curation.spikeinterface_format import with_labels_found
from si_curation.files import check_output_file, replace_file
from si_curation.shown import as_html
from si_curation.variables import CALIBRATION

if TYPE_CHECKING:
    from spikeinterface.curation.curation_model import Curation

_Found = TypeVar("_Found", bound="Suggestions")


class Suggestions:
    """A table of suggestions, and what SpikeInterface's curation format holds of them.

    Subclasses have `main_columns`.

    Attributes
    ----------
    table : pandas.DataFrame
    unit_ids : array
        All units of the analyzer.
    """

    main_columns: ClassVar[tuple[str, ...]] = ()
    table: pd.DataFrame
    unit_ids: NDArray[Any]
    #: phy's groups of the units when the suggestions were made.
    _groups: Sequence[str] | None = None

    @property
    def shown(self) -> pd.DataFrame:
        """The columns of the table to look at first, and what a calibration adds."""
        names: list[str] = []
        for name in self.main_columns:
            names.append(name)
            if name in ("score", "share"):
                names += [one for one in CALIBRATION if one in self.table]
        return self.table[names]

    def _repr_html_(self) -> str:
        """Return the summary and the first rows, as notebooks show them."""
        return as_html(repr(self), self.shown)

    def _curation_text(self, content: Mapping[str, Any]) -> str:
        """Return the text of a curation file, with the labels that the units have."""
        return json.dumps(with_labels_found(content, self._groups), indent=2)

    def _curation(self, **changes: Sequence[Any]) -> Curation:
        """Return SpikeInterface's curation model with some changes (format version 2)."""
        from spikeinterface.curation.curation_model import Curation

        return Curation(
            format_version="2", unit_ids=self.unit_ids.tolist(), label_definitions={}, **changes
        )


class DecidedSuggestions(Suggestions):
    """Suggestions that are all made: which they are was decided when they were found."""

    def to_curation_model(self) -> Curation:
        """Return the suggestions as SpikeInterface's curation model (format version 2)."""
        raise NotImplementedError

    def to_curation_json(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the suggestions as SpikeInterface's curation JSON (format version 2).

        It has phy's groups of the units too, as a GUI shows them. Applying the file does not set
        them: ``labels_decided`` is false in it.

        Parameters
        ----------
        path : str or Path
        overwrite : bool, default: False

        Returns
        -------
        pathlib.Path

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        target = check_output_file(path, overwrite)
        return write_text(target, self._curation_text(self.to_curation_model().model_dump()))


class ScoredSuggestions(Suggestions):
    """Suggestions of which those with a score of at least a threshold are made.

    Attributes
    ----------
    table : pandas.DataFrame
    unit_ids : array
        All units of the analyzer.
    score_threshold : float
        Default threshold of the methods.
    """

    score_threshold: float

    def to_curation_model(self, threshold: float | None = None) -> Curation:
        """Return the suggestions as SpikeInterface's curation model (format version 2)."""
        raise NotImplementedError

    def to_curation_json(
        self, path: str | Path, threshold: float | None = None, overwrite: bool = False
    ) -> Path:
        """Write the suggestions as SpikeInterface's curation JSON (format version 2).

        It has phy's groups of the units too, as a GUI shows them. Applying the file does not set
        them: ``labels_decided`` is false in it.

        Parameters
        ----------
        path : str or Path
        threshold : float, optional
            Smallest score; `score_threshold` by default.
        overwrite : bool, default: False

        Returns
        -------
        pathlib.Path

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        target = check_output_file(path, overwrite)
        return write_text(
            target, self._curation_text(self.to_curation_model(threshold).model_dump())
        )

    def _threshold(self, threshold: float | None) -> float:
        checks = Checks()
        threshold = checks.number("threshold", threshold, at_least=0, at_most=1, optional=True)
        checks.finish()
        return self.score_threshold if threshold is None else threshold

    def _good(self, threshold: float | None) -> pd.DataFrame:
        """Return the rows with a score of at least the threshold."""
        return self.table[self.table["score"] >= self._threshold(threshold)]


def with_groups(found: _Found, sorting_analyzer: SortingAnalyzer) -> _Found:
    """Keep the groups of the units in suggestions, for the curation file; return them."""
    groups = sorting_analyzer.get_sorting_property("quality")
    found._groups = None if groups is None else [str(group) for group in groups]
    return found


def write_text(target: Path, text: str) -> Path:
    """Write a text into a file, whole or not at all; return the file."""
    replace_file(target, text.encode("utf-8"), make_folders=True)
    return target
