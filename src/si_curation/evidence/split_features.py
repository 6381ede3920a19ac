"""The features of the spikes of a unit, on the channels that nearly all of them have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.errors import MissingDataError
from si_curation.kernels.feature_projections import gather_features, missing_as_nan
from si_curation.kernels.parallel import blocks
from si_curation.reading.features import SorterFeatures, open_window, read_rows
from si_curation.spikes.features import FeatureSource, feature_source

# a channel is used if this share of the spikes have features on it
MIN_SHARE_OF_SPIKES = 0.95
MAX_CHANNELS = 16
_SPIKES_AT_ONCE = 1 << 15


@dataclass(frozen=True, eq=False)
class UnitFeatureReader:
    """Reads features of spikes, on channels that are the same for all of them.

    Attributes
    ----------
    source : FeatureSource
    features : SorterFeatures or None
        Those of a folder, of all spikes of the analyzer.
    basis : array (n_pcs, n_samples) float64 or None
        A waveform has the features ``basis @ waveform`` on each channel. None: not known.
    analyzer : SortingAnalyzer
    held : (array (n,) int64, array (n, n_pcs, n_loc)) or None
        Spikes, ascending, whose stored features are in memory. None: they are read from the file.
    """

    source: FeatureSource
    features: SorterFeatures | None
    basis: NDArray[np.float64] | None
    analyzer: SortingAnalyzer
    held: tuple[NDArray[np.int64], NDArray[np.floating]] | None = None

    @classmethod
    def of(cls, analyzer: SortingAnalyzer) -> UnitFeatureReader:
        """Return the reader of an analyzer.

        Raises
        ------
        MissingDataError
            There are no features.
        FolderNotFoundError, PhyFolderError
            The folder is gone, or is not what it was.
        """
        source = feature_source(analyzer)
        assignment = source.assignment
        if assignment is None:
            return cls(source, None, None, analyzer)
        try:
            waveforms = assignment.get_waveform_source("repaired")
        except MissingDataError:  # the basis cannot be known
            files, spikes = assignment.get_feature_files(), assignment.get_spikes_of_folder()
            files.check(spikes.rows, spikes.template_ids)
            features = files.features_of_spikes(spikes, "file")
            return cls(source, features, None, analyzer)
        basis = np.asarray(waveforms.model.basis.waveforms, dtype=np.float64)
        return cls(source, waveforms.features, basis, analyzer)

    def with_features(self, spikes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some spikes that have features."""
        if self.features is None:
            return self.source.held(self.analyzer, spikes)
        return spikes[self.features.rows.rows_of_spikes(spikes) >= 0]

    def holding(self, spikes: NDArray[np.int64]) -> UnitFeatureReader:
        """Return a reader of some spikes with features, ascending, that has them in memory.

        They are read in the order of the file. To read those of one unit after those of another
        takes several times as long in a large file.
        """
        if self.features is None:
            return self
        rows = self.features.rows.rows_of_spikes(spikes)
        return replace(self, held=(spikes, read_rows(self.features.values, rows)))

    @property
    def bytes_of_spike(self) -> int:
        """Bytes of the features of a spike that is held; 0 where all are in memory anyway."""
        if self.features is None or len(self.features.values) == 0:
            return 0
        return int(self.features.values[:1].nbytes)

    def on_common_channels(
        self, spikes: NDArray[np.int64], unit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the channels on which nearly all spikes of a unit have features, and these.

        Parameters
        ----------
        spikes : array (n,) int64
            With features.
        unit : int
            Index of their unit.

        Returns
        -------
        channels : array (n_channels,) int64
            Of the folder, or columns of the extension; the largest where there are many.
        features : array (n, n_pcs, n_channels) float32
            As of `read`.
        """
        if self.features is None:
            values = self.source.together(self.analyzer, spikes)
            columns = np.arange(values.shape[2] if values.ndim == 3 else 1)
            if values.ndim == 3 and self.analyzer.sparsity is not None:
                columns = columns[: int(np.asarray(self.analyzer.sparsity.mask)[unit].sum())]
        else:
            listed = self.features.channels
            groups = np.asarray(self.features.groups[spikes])
            counts = np.bincount(groups, minlength=len(listed))
            on = np.zeros(int(listed.max(initial=-1)) + 2)  # the last one for -1
            for group in np.flatnonzero(counts):
                on[np.unique(listed[group])] += counts[group]
            columns = np.flatnonzero(on[:-1] >= MIN_SHARE_OF_SPIKES * max(spikes.size, 1))
        features = self.read(spikes, columns)
        if features.size == 0:
            return columns[:0], features[:, :, :0]
        some = features[:: max(spikes.size // 500, 1)]
        share = np.isfinite(some).all(axis=1).mean(axis=0)
        chosen = np.flatnonzero(share >= MIN_SHARE_OF_SPIKES)
        if chosen.size > MAX_CHANNELS:
            power = (np.nanmean(some[:, :, chosen], axis=0) ** 2).sum(axis=0)
            chosen = np.sort(chosen[np.argsort(-power, kind="stable")[:MAX_CHANNELS]])
        if chosen.size < columns.size:
            features = np.ascontiguousarray(features[:, :, chosen])
        return columns[chosen], features

    def read(self, spikes: NDArray[np.int64], channels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of spikes on channels; NaN where there are none.

        Returns
        -------
        array (n, n_pcs, n_channels) float32
        """
        if self.features is None:
            values = self.source.together(self.analyzer, spikes)
            values = values[:, :, None] if values.ndim == 2 else values
            out = values[:, :, channels]
        else:
            out = self._read_folder(self.features, spikes, channels, self.held)
        missing_as_nan(out)
        return out

    @staticmethod
    def _read_folder(
        features: SorterFeatures,
        spikes: NDArray[np.int64],
        channels: NDArray[np.int64],
        held: tuple[NDArray[np.int64], NDArray[np.floating]] | None,
    ) -> NDArray[np.float32]:
        values = features.values
        highest = max(int(features.channels.max(initial=-1)), int(channels.max(initial=-1)))
        places = np.full((1, highest + 1), -1, dtype=np.int64)
        places[0, channels] = np.arange(channels.size)
        out = np.full((spikes.size, values.shape[1], channels.size), np.nan, dtype=np.float32)
        for piece in blocks(spikes.size, _SPIKES_AT_ONCE):
            if held is None:
                rows = features.rows.rows_of_spikes(spikes[piece])
                window, found = open_window(values, rows)
            else:
                window, found = held[1], np.searchsorted(held[0], spikes[piece])
                found[np.append(held[0], -1)[found] != spikes[piece]] = -1
            groups = features.groups[spikes[piece]]
            first = np.zeros(found.size, dtype=np.int64)
            gather_features(window, found, groups, features.channels, places, first, out[piece])
        return out

    def describe(self) -> dict[str, Any]:
        """Return where the features are, and whether their basis is known."""
        return {"features": self.source.name, "has_basis": self.basis is not None}
