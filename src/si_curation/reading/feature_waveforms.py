"""Waveforms of the spikes of a folder, rebuilt from the sorter's principal-component features.

Nothing of the recording is read. What is missing is what the few components leave out; what other
spikes added to the traces is missing too where the sorter took features after it had subtracted
them, as Kilosort 4 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from si_curation.kernels.feature_waveforms import (
    Moments,
    Rebuilding,
    add_moments,
    coefficients_of_spikes,
    mean_and_std,
    waveforms_of_coefficients,
)
from si_curation.kernels.parallel import blocks, num_threads, run_blocks
from si_curation.kernels.template_counts import contingency_table
from si_curation.reading.feature_model import FeatureModel
from si_curation.reading.features import SorterFeatures, open_window
from si_curation.variables import TemplateIds

_SPIKES_PER_BLOCK = 1 << 14


class ChannelLists(NamedTuple):
    """The channels on which the waveforms of some spikes are asked for.

    Attributes
    ----------
    lists : array (n_lists, n_out) int64
        Channel indices of the analyzer; -1: padding, on which waveforms are 0.
    of_spikes : array (n_spikes,) integer
        The list of each spike.
    """

    lists: NDArray[np.int64]
    of_spikes: NDArray[np.integer]

    @staticmethod
    def one(channels: NDArray[np.integer], num_spikes: int) -> ChannelLists:
        """Return the same channels for all spikes."""
        lists = np.asarray(channels, dtype=np.int64)[None]
        return ChannelLists(lists, np.zeros(num_spikes, dtype=np.int32))

    @staticmethod
    def of_mask(mask: NDArray[np.bool_], of_spikes: NDArray[np.integer]) -> ChannelLists:
        """Return the channels of each row of a mask (n_lists, n_channels), ascending."""
        lists = np.full((len(mask), int(mask.sum(axis=1).max(initial=0))), -1, dtype=np.int64)
        for row, channels in zip(lists, mask, strict=True):
            found = np.flatnonzero(channels)
            row[: found.size] = found
        return ChannelLists(lists, of_spikes)


def spikes_of_sets(
    sets: Sequence[NDArray[np.integer]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the spikes of several sets in the order of the file, which is then read once.

    Parameters
    ----------
    sets : sequence of array (n,) integer
        Positions in the spike vector.

    Returns
    -------
    spikes, numbers : array (n,) int64
        The spikes, ascending, and the set of each.

    Examples
    --------
    >>> spikes, numbers = spikes_of_sets([np.array([4, 9]), np.array([5])])
    >>> spikes.tolist(), numbers.tolist()
    ([4, 5, 9], [0, 1, 0])
    """
    spikes = np.concatenate([np.zeros(0, dtype=np.int64), *sets])
    numbers = np.repeat(np.arange(len(sets)), [one.size for one in sets])
    order = np.argsort(spikes, kind="stable")
    return spikes[order], numbers[order]


@dataclass(frozen=True, eq=False)
class WaveformSource:
    """What the waveforms of the spikes of an analyzer are rebuilt from.

    Attributes
    ----------
    model : FeatureModel
    features : SorterFeatures
        Of all spikes of the analyzer.
    template_ids : array (n_spikes,) int32
    matrix : array (n_channels of the folder, n_channels of the analyzer) float64
        Unwhitens: ``waveform @ matrix``; NaN for channels that the folder does not have.
    folder_channels : array (n_channels of the analyzer,) integer
        Channel of the folder of each; -1 for none.
    units : {"uV", "raw", "sorted", "sorter", "whitened"}
        Of the waveforms, as of `SorterTemplates`.
    """

    model: FeatureModel
    features: SorterFeatures
    template_ids: TemplateIds
    matrix: NDArray[np.float64]
    folder_channels: NDArray[np.integer]
    units: str

    @property
    def basis(self) -> NDArray[np.float64]:
        """What each component stands for (n_pcs, n_samples)."""
        return np.linalg.pinv(self.model.basis.waveforms).T

    @property
    def num_pcs(self) -> int:
        """Number of components."""
        return int(self.features.values.shape[1])

    @property
    def num_samples(self) -> int:
        """Number of samples of a waveform: those of a template."""
        return int(self.model.basis.waveforms.shape[1])

    def stored_channels(self) -> NDArray[np.bool_]:
        """Return the channels that the features of each group are on.

        Returns
        -------
        array (n_groups, n_channels of the analyzer) bool
        """
        channels = self.features.channels
        stored = np.zeros((len(channels), len(self.matrix) + 1), dtype=bool)  # the last one for -1
        np.put_along_axis(stored, channels, True, axis=1)
        stored[:, -1] = False
        return stored[:, self.folder_channels]

    def is_stored(
        self, spikes: NDArray[np.integer], channels: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """Return which channels the features of some spikes are on.

        Parameters
        ----------
        spikes : array (n,) integer
        channels : array (n_out,) or (n, n_out) integer
            Channel indices of the analyzer; -1 gives False.

        Returns
        -------
        array (n, n_out) bool
        """
        stored = np.pad(self.stored_channels(), ((0, 0), (0, 1)))
        groups = np.asarray(self.features.groups[spikes]).astype(np.int64)
        return stored[groups[:, None], np.broadcast_to(channels, (groups.size, channels.shape[-1]))]

    def stored_fraction(
        self, spikes: NDArray[np.integer], sets: NDArray[np.integer], num_sets: int
    ) -> NDArray[np.float64]:
        """Return the fraction of the spikes of each set with features on each channel.

        Parameters
        ----------
        spikes, sets : array (n,) integer
        num_sets : int

        Returns
        -------
        array (n_sets, n_channels of the analyzer) float64
            0 for sets without spikes.
        """
        num_groups = len(self.features.channels)
        counts = sparse.csr_array((num_sets, num_groups), dtype=np.int64)
        for piece in blocks(spikes.size):
            groups = np.asarray(self.features.groups[spikes[piece]])
            counts = counts + contingency_table(sets[piece], groups, num_sets, num_groups)
        total = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
        return (counts @ self.stored_channels().astype(np.float64)) / np.maximum(total, 1)

    def coefficients(
        self, spikes: NDArray[np.integer], channels: ChannelLists, keep_open: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the unwhitened waveforms of some spikes in the basis of the features.

        Parameters
        ----------
        spikes : array (n,) integer
        channels : ChannelLists
            Of these spikes.
        keep_open : bool
            Whether pages of the file stay in memory, for spikes that are asked for again.

        Returns
        -------
        coefficients : array (n, n_pcs, n_out) float32
            NaN for spikes whose features are not stored.
        factors : array (n,) float32
            How much larger than its template each spike is: its projection onto the template over
            the squared norm of that, on the stored channels.
        """
        kinds, how = self._rebuilding(spikes, channels)
        out = np.empty((spikes.size, self.num_pcs, channels.lists.shape[1]), dtype=np.float32)
        factors = np.empty(spikes.size, dtype=np.float32)
        kept = self.features.kept_map_of(spikes) if keep_open else None

        def fill(piece: slice) -> None:
            window, found = kept, self.features.rows.rows_of_spikes(spikes[piece])
            if window is None:
                window, found = open_window(self.features.values, found)
            coefficients_of_spikes(window, found, kinds[piece], how, out[piece], factors[piece])

        run_blocks(fill, blocks(spikes.size, _SPIKES_PER_BLOCK))
        return out, factors

    def waveforms(self, spikes: NDArray[np.integer], channels: ChannelLists) -> NDArray[np.float32]:
        """Return the waveforms of some spikes.

        Returns
        -------
        array (n, n_samples, n_out) float32
            NaN for spikes whose features are not stored.
        """
        coefficients, _ = self.coefficients(spikes, channels, keep_open=True)
        return self.samples_of(coefficients)

    def samples_of(self, coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return waveforms (n, n_samples, n_out) of coefficients (n, n_pcs, n_out)."""
        shape = (len(coefficients), self.num_samples, coefficients.shape[2])
        out = np.empty(shape, dtype=np.float32)
        basis = self.basis.astype(np.float32)

        def fill(piece: slice) -> None:
            waveforms_of_coefficients(coefficients[piece], basis, out[piece])

        run_blocks(fill, blocks(len(coefficients), _SPIKES_PER_BLOCK))
        return out

    def factors(self, spikes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return how much larger than its template each spike is (n,); NaN where not stored."""
        nowhere = ChannelLists.one(np.zeros(0, dtype=np.int64), spikes.size)
        return self.coefficients(spikes, nowhere)[1]

    def moments(
        self,
        spikes: NDArray[np.integer],
        channels: ChannelLists,
        sets: NDArray[np.integer],
        num_sets: int,
    ) -> Moments:
        """Sum up the coefficients of some spikes, and their products, in one pass over the file.

        Parameters
        ----------
        spikes : array (n,) integer
            In the order of the file, so that it is read once.
        channels : ChannelLists
            Of these spikes; the spikes of one set have the same list.
        sets : array (n,) integer
        num_sets : int

        Returns
        -------
        Moments
            The same bits whatever the number of threads.
        """
        kinds, how = self._rebuilding(spikes, channels)
        num_out = channels.lists.shape[1]
        total = Moments.zeros(num_sets, self.num_pcs, num_out)

        def sum_up(piece: slice) -> Moments:
            rows = self.features.rows.rows_of_spikes(spikes[piece])
            window, found = open_window(self.features.values, rows)
            part = Moments.zeros(num_sets, self.num_pcs, num_out)
            add_moments(window, found, kinds[piece], sets[piece].astype(np.int64), how, part)
            return part

        # sums of many sets are large: fewer and larger blocks then
        pieces = blocks(spikes.size, max(1 << 16, 256 * num_sets))
        at_once = num_threads()
        for start in range(0, len(pieces), at_once):
            for part in run_blocks(sum_up, pieces[start : start + at_once]):
                total.add(part)
        return total

    def mean_and_std(
        self,
        spikes: NDArray[np.integer],
        channels: ChannelLists,
        sets: NDArray[np.integer],
        num_sets: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Return mean and standard deviation of the waveforms of each set, and their number.

        Parameters
        ----------
        spikes, channels, sets, num_sets
            As of `moments`.

        Returns
        -------
        mean, std : array (n_sets, n_samples, n_out) float32
            NaN for sets without spikes that have features.
        counts : array (n_sets,) int64
        """
        found = self.moments(spikes, channels, sets, num_sets)
        mean, std = mean_and_std(found, self.basis)
        return mean.astype(np.float32), std.astype(np.float32), found.counts

    def _rebuilding(
        self, spikes: NDArray[np.integer], channels: ChannelLists
    ) -> tuple[NDArray[np.int32], Rebuilding]:
        """Return the kind of each spike, and how those of each kind are rebuilt."""
        num_groups = len(self.features.channels)
        num_templates = len(self.model.coefficients)

        def keys_of(piece: slice) -> NDArray[np.int64]:
            chosen = spikes[piece]
            lists = channels.of_spikes[piece].astype(np.int64)
            by_template = lists * num_templates + self.template_ids[chosen]
            return by_template * num_groups + self.features.groups[chosen]

        pieces = blocks(spikes.size, 1 << 18)
        there = [np.unique(keys_of(piece)) for piece in pieces]
        keys = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *there]))
        kinds = np.empty(spikes.size, dtype=np.int32)
        for piece in pieces:
            kinds[piece] = np.searchsorted(keys, keys_of(piece))
        pairs, groups = np.divmod(keys, num_groups)
        lists, templates = np.divmod(pairs, num_templates)
        return kinds, self._how(templates, groups, channels.lists[lists])

    def _how(
        self,
        templates: NDArray[np.int64],
        groups: NDArray[np.int64],
        asked: NDArray[np.int64],
    ) -> Rebuilding:
        """Return how spikes of each template and group are rebuilt on the channels asked for."""
        coefficients = self.model.coefficients
        # what the features of the templates themselves are
        waveforms = self.model.basis.waveforms
        own_features = np.einsum("qp,tpc->tqc", waveforms @ waveforms.T, coefficients)
        # one row and column more: those of channel -1, which has nothing
        matrix = np.pad(self.matrix, ((0, 1), (0, 1)))
        stored = self.features.channels[groups]  # (n_kinds, n_loc)
        num_kinds, num_local = stored.shape
        num_pcs, num_out = coefficients.shape[1], asked.shape[1]
        how = Rebuilding(
            np.empty((num_kinds, num_local, num_out), dtype=np.float32),
            np.zeros((num_kinds, num_pcs, num_local), dtype=np.float32),
            np.empty((num_kinds, num_pcs, num_out), dtype=np.float32),
        )
        for kind in range(num_kinds):
            columns = matrix[:, asked[kind]]  # (n_channels + 1, n_out)
            channels = stored[kind]
            there = channels >= 0
            how.weights[kind] = columns[channels]
            template = templates[kind]
            own = coefficients[template][:, channels[there]]
            features = own_features[template]
            power = float((own * features[:, channels[there]]).sum())
            if power > 0:
                how.own[kind][:, there] = own / power
            others = np.ones(len(self.matrix), dtype=bool)
            others[channels[there]] = False
            how.rest[kind] = features[:, others] @ columns[:-1][others]
        return how
