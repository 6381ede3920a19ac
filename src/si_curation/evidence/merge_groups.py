"""`MergeSuggestions`: the table of pairs, and groups of units to merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from si_curation.errors import OutputExistsError, ParameterError
from si_curation.phy.writing import replace_file

# share of the threshold that pairs within a group need besides those that make it one
ACCEPTABLE_SHARE = 0.5


class MergeSuggestions:
    """Pairs of units that may be one neuron, best first; made by `suggest_merges`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per candidate pair; columns as in
        `si_curation.evidence.merge_score.MERGE_DESCRIPTIONS`.
    unit_ids : array
        All units of the analyzer.
    score_threshold : float
        Default of the methods.
    """

    def __init__(self, table: pd.DataFrame, unit_ids: NDArray, score_threshold: float):
        self.table = table
        self.unit_ids = unit_ids
        self.score_threshold = score_threshold

    def __repr__(self) -> str:
        good = int((self.table["score"] >= self.score_threshold).sum())
        return (
            f"MergeSuggestions: {len(self.table)} candidate pairs of {len(self.unit_ids)} units, "
            f"{good} with a score of {self.score_threshold:g} or more"
        )

    def pairs(self, threshold: float | None = None) -> list[tuple[Any, Any]]:
        """Give the pairs of unit ids with a score of at least the threshold, best first."""
        good = self.table[self.table["score"] >= self._threshold(threshold)]
        return list(zip(good["unit_id_a"].tolist(), good["unit_id_b"].tolist(), strict=True))

    def groups(self, threshold: float | None = None) -> list[list[Any]]:
        """Give groups of units to merge, as SpikeInterface takes them (``merge_unit_groups``).

        Pairs that reach the threshold are taken best first. Two groups become one only if all their
        pairs are candidates with at least half of the threshold: of those nothing speaks against a
        merge, although too little may be known for it. So a chain of pairs does not glue units
        together that are not one neuron.

        Parameters
        ----------
        threshold : float, optional
            Smallest score; that of the call by default.

        Returns
        -------
        list of list of unit ids
            Each group in the order of the analyzer, groups in the order of their best pair. No unit
            is in two groups.

        Examples
        --------
        >>> import si_curation as sic
        >>> from si_curation.curation import suggest_merges
        >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        >>> suggest_merges(analyzer).groups(threshold=1.0)
        []
        """
        pairs = self.pairs(threshold)
        lowest = ACCEPTABLE_SHARE * self._threshold(threshold)
        acceptable = {frozenset(pair) for pair in self.pairs(lowest)}
        group_of: dict[Any, list[Any]] = {}
        for a, b in pairs:
            one, other = group_of.get(a, [a]), group_of.get(b, [b])
            if one is other:
                continue
            if all(frozenset((i, j)) in acceptable for i in one for j in other):
                both = one + other
                group_of.update(dict.fromkeys(both, both))
        position = {unit_id: i for i, unit_id in enumerate(self.unit_ids.tolist())}
        groups = {id(group): group for group in group_of.values()}
        return [sorted(group, key=position.__getitem__) for group in groups.values()]

    def to_curation_model(self, threshold: float | None = None) -> Any:
        """Give the groups as SpikeInterface's curation model (format version 2).

        Returns
        -------
        spikeinterface.curation.curation_model.Curation
            For SpikeInterface's ``apply_curation``, or ``CurationSession``'s
            ``apply_spikeinterface_curation``.
        """
        from spikeinterface.curation.curation_model import Curation

        return Curation(
            format_version="2",
            unit_ids=self.unit_ids.tolist(),
            label_definitions={},
            merges=[{"unit_ids": group} for group in self.groups(threshold)],
        )

    def to_curation_json(
        self, path: str | Path, threshold: float | None = None, overwrite: bool = False
    ) -> Path:
        """Write the groups as SpikeInterface's curation JSON (format version 2).

        Parameters
        ----------
        path : str or Path
        threshold : float, optional
        overwrite : bool, default: False

        Returns
        -------
        pathlib.Path

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        target = Path(path).expanduser()
        if target.exists() and not overwrite:
            raise OutputExistsError(f"{target} exists; give another path, or overwrite=True")
        model = self.to_curation_model(threshold)
        replace_file(target, model.model_dump_json(indent=2).encode("utf-8"))
        return target

    def _threshold(self, threshold: float | None) -> float:
        value = self.score_threshold if threshold is None else threshold
        if not 0.0 <= value <= 1.0:
            raise ParameterError(f"threshold is {value!r}, expected a number from 0 to 1")
        return float(value)
