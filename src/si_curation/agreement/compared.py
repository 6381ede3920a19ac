"""What is known of curations that are compared, before it is put into tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from si_curation.agreement.alignment import reference_of
from si_curation.agreement.parts import Parts
from si_curation.agreement.sources import Source
from si_curation.kernels.common_refinement import common_refinement


@dataclass(frozen=True, eq=False)
class Compared:
    """Curations of the same spikes.

    Attributes
    ----------
    sources : sequence of Source
    start : Source or None
        That was given.
    start_text : str
        What merges and splits are told from.
    start_ids : list or None
        Its units; None where it is not known.
    partitions : sequence of array (n_spikes,) int32
        Unit of each spike in the start and in each curation, in the order of `reference`.
    parts : Parts
    num_guessed : int
        Spikes of which it could not be told which is which.
    """

    sources: Sequence[Source]
    start: Source | None
    start_text: str
    start_ids: list[Any] | None
    partitions: Sequence[NDArray[np.int32]]
    parts: Parts
    num_guessed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the curations."""
        return tuple(one.name for one in self.sources)

    @property
    def ids(self) -> list[list[Any]]:
        """Ids of the units of each curation."""
        return [one.unit_ids for one in self.sources]

    @property
    def num_spikes(self) -> int:
        """Number of spikes."""
        return int(self.parts.counts.sum())

    @property
    def reference(self) -> Source:
        """The curation whose order the spikes are in."""
        return reference_of([*self.sources, *([] if self.start is None else [self.start])])

    def bases(self) -> list[Source]:
        """Return what a consensus can be made on, in the order to try it."""
        start = [] if self.start is None else [self.start]
        sessions = [one for one in self.sources if one.first_units is not None]
        return [*start, *sessions, *self.sources]

    def part_of_spikes(self) -> NDArray[np.integer]:
        """Return the part of each spike."""
        sizes = [1 + int(self.partitions[0].max(initial=-1)), *self.parts.num_units]
        return common_refinement(self.partitions, sizes).part_of_spike


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of a comparison."""

    units: pd.DataFrame
    agreement: pd.DataFrame
    disputed: pd.DataFrame
