"""What the checks look at: the parts of a folder that could be read, and what follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from si_curation.kernels.spike_files import (
    positions_of_ids,
    unique_ids,
    value_range,
    with_small_ids,
)
from si_curation.kernels.template_counts import count_templates, most_frequent_templates
from si_curation.kernels.templates import densify_templates
from si_curation.phy.arrays import Findings
from si_curation.phy.folder import FolderParts
from si_curation.phy.params import data_paths_of
from si_curation.phy.raw import resolve_data_paths
from si_curation.phy.sorter import SorterIdentity
from si_curation.phy.tables import ClusterTable, read_table, table_paths
from si_curation.variables import UnitIndices

_MAX_ID = np.iinfo(np.int32).max


@dataclass(eq=False)
class FolderFacts:
    """A folder as far as it can be read. What a fault keeps from being known is None.

    Attributes
    ----------
    folder : Path
    parts : FolderParts
    found : Findings
        What has been found so far.
    """

    folder: Path
    parts: FolderParts
    found: Findings

    def has(self, name: str) -> bool:
        """Whether the folder has a file of that name."""
        return (self.folder / name).is_file()

    def is_faulty(self, name: str) -> bool:
        """Whether an error or a warning about that file was found already."""
        return any(f.where == name and f.severity != "info" for f in self.found)

    @cached_property
    def names(self) -> list[str]:
        """The names of all entries of the folder, sorted."""
        return sorted(os.listdir(self.folder))

    @cached_property
    def sorter(self) -> SorterIdentity:
        """Who wrote the folder."""
        return self.parts.identify_sorter(self.folder)

    @cached_property
    def data_paths(self) -> tuple[Path, ...]:
        """The raw files as they resolve."""
        return resolve_data_paths(self.folder, data_paths_of(self.parts.params))

    @cached_property
    def tables(self) -> dict[str, ClusterTable]:
        """The cluster tables that can be read, by file name; `Findings` has the others."""
        read = {path.name: read_table(path, Findings()) for path in table_paths(self.folder)}
        return {name: table for name, table in read.items() if table is not None}

    # ---------------------------------------------------------------------- per spike

    @cached_property
    def samples(self) -> NDArray[np.int64] | None:
        """Sample index of each spike, in the order of the file."""
        samples = self.parts.spikes.spike_samples
        return None if samples is None or samples.size == 0 else samples

    @cached_property
    def spike_clusters(self) -> NDArray[np.integer] | None:
        """Cluster of each spike, where they are usable ids for all spikes."""
        return self._usable_ids(self.parts.spikes.spike_clusters, _MAX_ID)

    @cached_property
    def spike_templates(self) -> NDArray[np.integer] | None:
        """Template of each spike, where they are usable ids for all spikes."""
        return self._usable_ids(self.parts.spikes.spike_templates, self.parts.templates.count)

    def _usable_ids(
        self, ids: NDArray[np.integer] | None, limit: int | None
    ) -> NDArray[np.integer] | None:
        if ids is None or ids.size == 0:
            return None
        low, high, _ = value_range(ids)
        return None if low < 0 or high >= (_MAX_ID if limit is None else limit) else ids

    @cached_property
    def cluster_ids(self) -> NDArray[np.int64] | None:
        """The clusters that have spikes, ascending."""
        clusters = self.spike_clusters
        return None if clusters is None else unique_ids(clusters, value_range(clusters).maximum)

    @cached_property
    def unit_index(self) -> NDArray[np.integer] | None:
        """Position of each spike's cluster in a table of `num_slots` rows: small numbers."""
        if self.spike_clusters is None or self.cluster_ids is None:
            return None
        return with_small_ids(self.spike_clusters, self.cluster_ids)[0]

    @cached_property
    def slots(self) -> NDArray[np.int64]:
        """The row of `unit_index` that each cluster of `cluster_ids` has."""
        if self.cluster_ids is None or self.unit_index is None:
            return np.zeros(0, dtype=np.int64)
        is_small = self.unit_index is self.spike_clusters
        return self.cluster_ids if is_small else np.arange(self.cluster_ids.size)

    @cached_property
    def cluster_sizes(self) -> dict[int, int]:
        """Number of spikes by cluster id; empty where that is not known."""
        if self.cluster_ids is None or self.unit_index is None:
            return {}
        counts = np.bincount(self.unit_index)[self.slots]
        return dict(zip(self.cluster_ids.tolist(), counts.tolist(), strict=True))

    @cached_property
    def template_sizes(self) -> NDArray[np.int64] | None:
        """Number of spikes of each template."""
        if self.spike_templates is None or self.parts.templates.count is None:
            return None
        return np.bincount(self.spike_templates, minlength=self.parts.templates.count)

    @cached_property
    def template_counts(self) -> sparse.csr_array | None:
        """Spikes of each cluster (row, as in `cluster_ids`) by template (column)."""
        templates, clusters, ids = self.spike_templates, self.spike_clusters, self.cluster_ids
        num_templates = self.parts.templates.count
        if templates is None or clusters is None or ids is None or num_templates is None:
            return None
        if templates.size != clusters.size or self.unit_index is None:
            return None
        rows = positions_of_ids(self.slots, int(self.slots[-1]))
        return count_templates(
            UnitIndices(rows[self.unit_index]), templates, ids.size, num_templates
        )

    @cached_property
    def main_templates(self) -> NDArray[np.int64] | None:
        """Most frequent template of each cluster of `cluster_ids`."""
        counts = self.template_counts
        return None if counts is None else most_frequent_templates(counts).template_ids

    @cached_property
    def is_curated(self) -> bool | None:
        """Whether clusters and templates differ; None where either is unknown."""
        counts, ids = self.template_counts, self.cluster_ids
        if counts is None or ids is None or self.main_templates is None:
            return None
        return bool(counts.nnz != ids.size or np.any(self.main_templates != ids))

    @cached_property
    def duration_s(self) -> float | None:
        """About how long the recording is; a few spikes at wild times do not matter."""
        rate, span = self.parts.sampling_frequency, self.num_samples_of_spikes
        return None if rate is None or span is None else span / rate

    @cached_property
    def num_samples_of_spikes(self) -> float | None:
        """Samples between the first and the last spike, by the middle 98 % of the spikes."""
        if self.samples is None:
            return None
        some = self.samples[:: max(1, self.samples.size // 100_000)]
        low, high = np.quantile(some, [0.01, 0.99])
        return max(float(high - low) / 0.98, 1.0)

    # ---------------------------------------------------------------------- templates

    @cached_property
    def dense_templates(self) -> NDArray[np.floating] | None:
        """Whitened templates on all channels; NaN as zero."""
        part, num_channels = self.parts.templates, self.parts.channels.count
        if part.templates is None or num_channels is None or not part.templates.size:
            return None
        fits = part.templates.shape[2] == num_channels and not self.has("template_ind.npy")
        if part.template_channels is None and not fits:
            return None
        return densify_templates(part.templates, part.template_channels, num_channels)
