"""The features of all spikes in use, gathered once and sorted by unit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.errors import MissingDataError
from si_curation.extensions.spikes_of_units import assignment_of
from si_curation.kernels.feature_projections import gather_features
from si_curation.kernels.isolation import Moments, add_scatter, moments_of
from si_curation.kernels.parallel import blocks, run_blocks
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.kernels.template_counts import contingency_table
from si_curation.reading.features import FeatureChannels, SorterFeatures, open_window

MAX_BYTES_IN_MEMORY = 1_000_000_000
_SPIKES_PER_BLOCK = 1 << 14


@dataclass(eq=False)
class UnitFeatures:
    """Features of spikes, the spikes of each unit in one piece.

    Attributes
    ----------
    values : array (n_rows, n_pcs, n_columns) floating
        In a temporary file where they are large.
    starts, stops : array (n_units,) int64
        The rows of each unit, in the order of the spike vector.
    order : array (n_rows,) int64
        Place of each row in the order of the spike vector.
    channels : list of array (n_channels of the unit,) int64
        Channels on which each unit has features, ascending.
    columns : list of array (n_channels of the unit,) int64
        The column of `values` of each of them.
    main_channels : array (n_units,) int64
    is_dense : bool
        All units have the same channels and are neighbours of each other.
    """

    values: NDArray[np.floating]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    order: NDArray[np.int64]
    channels: list[NDArray[np.int64]]
    columns: list[NDArray[np.int64]]
    main_channels: NDArray[np.integer]
    is_dense: bool
    _lock: Any = field(default_factory=Lock, repr=False)
    _moments: dict[int, Moments] = field(default_factory=dict, repr=False)
    _means: NDArray[np.float64] = field(init=False, repr=False)  # (n_units, n_features)
    _is_known: NDArray[np.bool_] = field(init=False, repr=False)
    _lows: NDArray[np.float64] = field(init=False, repr=False)  # (n_units, n_columns)
    _highs: NDArray[np.float64] = field(init=False, repr=False)
    _has_range: NDArray[np.bool_] = field(init=False, repr=False)
    _total: NDArray[np.float64] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = (self.num_units, max(self.flat.shape[1], 1))
        self._means, self._lows, self._highs = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._is_known, self._has_range = np.zeros((2, self.num_units), dtype=bool)

    @property
    def num_units(self) -> int:
        """Number of units."""
        return self.starts.size

    @property
    def flat(self) -> NDArray[np.floating]:
        """The values, (n_rows, n_pcs * n_columns)."""
        return self.values.reshape(len(self.values), self.values.shape[1] * self.values.shape[2])

    def features_of(self, unit: int) -> NDArray[np.floating]:
        """Return the features of a unit, (n_spikes of the unit, n_pcs * n_columns)."""
        return self.flat[self.starts[unit] : self.stops[unit]]

    def count(self, unit: int) -> int:
        """Return the number of spikes of a unit."""
        return int(self.stops[unit] - self.starts[unit])

    def neighbours(self, unit: int) -> NDArray[np.int64]:
        """Other units with spikes whose main channel is among the channels of a unit."""
        near = self.stops > self.starts
        if not self.is_dense:
            near &= self._places[unit, self.main_channels] >= 0
        near[unit] = False
        return np.flatnonzero(near)

    def columns_on(
        self, units: NDArray[np.integer], channels: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the columns of `features_of` on some channels, all components, for each of units.

        Returns
        -------
        array (n_units, n_channels * n_pcs) int64
            -1: none.
        """
        num_pcs, width = self.values.shape[1:]
        column = self._columns[units[:, None], channels]
        by_component = np.arange(num_pcs) * width + column[:, :, None]
        return np.where(column[:, :, None] < 0, -1, by_component).reshape(units.size, -1)

    def own_moments(self, unit: int) -> Moments:
        """Moments of the spikes of a unit on its channels; kept for sparse features."""
        known = self._moments.get(unit)
        if known is None:
            columns = self.columns_on(np.array([unit]), self.channels[unit])[0]
            known = moments_of(self.features_of(unit), columns)
            self._means[unit, : known.mean.size] = known.mean
            self._is_known[unit] = True
            if not self.is_dense:
                self._moments[unit] = known
        return known

    def means_on(
        self, units: NDArray[np.integer], channels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Mean features of units on some channels, (n_units, n_features); 0 where one has none."""
        for unit in units[~self._is_known[units]]:
            self.own_moments(int(unit))
        here = self._features_on(units, channels)
        return np.where(here >= 0, self._means[units[:, None], here], 0.0)

    def gaps_from(
        self, units: NDArray[np.integer], columns: NDArray[np.integer], value: float
    ) -> NDArray[np.float64]:
        """Return how far all spikes of units are from a value, in a column of each; -1: it is 0."""
        for unit in units[~self._has_range[units]]:
            values = self.features_of(unit)
            self._lows[unit], self._highs[unit] = values.min(axis=0), values.max(axis=0)
            self._has_range[unit] = True
        low = np.where(columns >= 0, self._lows[units, columns], 0)
        high = np.where(columns >= 0, self._highs[units, columns], 0)
        return np.maximum(np.maximum(low - value, value - high), 0)

    def scatter_of_others(
        self, unit: int, neighbours: NDArray[np.int64], own: Moments
    ) -> NDArray[np.float64]:
        """Sum of the scatters of the neighbours, each about its own mean, on a unit's channels."""
        if self.is_dense:
            return self._total_scatter() - own.scatter
        total = np.zeros_like(own.scatter)
        here = self._features_on(neighbours, self.channels[unit])
        for other, features in zip(neighbours, here, strict=True):
            add_scatter(self.own_moments(int(other)).scatter, features, total)
        return total

    def _features_on(
        self, units: NDArray[np.integer], channels: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        num_pcs = self.values.shape[1]
        first = self._places[units[:, None], channels] * num_pcs
        features = first[:, :, None] + np.arange(num_pcs)
        return np.where(first[:, :, None] < 0, -1, features).reshape(units.size, -1)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Place of each channel among those of each unit, (n_units, n_channels + 1); -1: none."""
        return self._by_channel([np.arange(own.size) for own in self.channels])

    @cached_property
    def _columns(self) -> NDArray[np.int64]:
        """Column of each channel in the values of each unit, (n_units, n_channels + 1)."""
        return self._by_channel(self.columns)

    def _by_channel(self, values: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        last = max((int(own.max(initial=-1)) for own in self.channels), default=-1)
        last = max(last, int(self.main_channels.max(initial=-1)))
        table = np.full((self.num_units, last + 2), -1, dtype=np.int64)
        for row, own, value in zip(table, self.channels, values, strict=True):
            row[own] = value
        return table

    def _total_scatter(self) -> NDArray[np.float64]:
        with self._lock:
            if self._total is None:
                size = self.channels[0].size * self.values.shape[1]
                self._total = np.zeros((size, size))
                for unit in range(self.num_units):
                    columns = self.columns_on(np.array([unit]), self.channels[unit])[0]
                    self._total += moments_of(self.features_of(unit), columns).scatter
            return self._total


def injected_features(analyzer: SortingAnalyzer) -> UnitFeatures:
    """Gather the features that the extension `principal_components` holds.

    Parameters
    ----------
    analyzer : SortingAnalyzer
        Sparse or dense, by channel or concatenated, of whichever sorter.

    Returns
    -------
    UnitFeatures

    Raises
    ------
    MissingDataError
    """
    extension = analyzer.get_extension("principal_components")
    if extension is None:
        raise MissingDataError(
            "the isolation metrics need the extension 'principal_components', which this analyzer "
            "does not have: read it with read_kilosort_as_analyzer(..., "
            "principal_components=True), or compute 'random_spikes', 'waveforms' and "
            "'principal_components'"
        )
    data = extension.get_data()
    spikes = analyzer.get_extension("random_spikes").get_random_spikes()
    num_pcs, width = data.shape[1], data.shape[2] if len(data.shape) == 3 else 1
    is_dense = analyzer.sparsity is None
    num_units = len(analyzer.unit_ids)
    if is_dense:
        channels = [np.arange(width)] * num_units
    else:
        channels = [np.flatnonzero(row) for row in analyzer.sparsity.mask]

    def fill(piece: slice, out: NDArray[np.floating]) -> None:
        out[:] = np.asarray(data[piece]).reshape(out.shape)

    return _sort_by_unit(
        fill,
        spikes["unit_index"],
        (num_pcs, width),
        np.dtype(np.float32 if data.dtype.itemsize <= 4 else np.float64),
        channels,
        np.asarray(analyzer.get_main_channels(outputs="index")),
        is_dense,
    )


def folder_features(
    analyzer: SortingAnalyzer, spikes: str | int, feature_channels: FeatureChannels
) -> UnitFeatures:
    """Gather features from the ``pc_features.npy`` that an analyzer was read beside.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    spikes : {"principal_components", "all"} or int
        Those of `random_spikes`, all, or at most so many of each unit, evenly spaced in time.
    feature_channels : {"file", "repaired"}
        "file": the channels that the file lists, on the sparsity of the analyzer. "repaired": those
        that Kilosort 4 took the features on; the channels of a unit are then those on which at
        least half of these spikes have values.

    Returns
    -------
    UnitFeatures

    Raises
    ------
    MissingDataError
        The analyzer was not read from a Kilosort folder, or the folder has no features.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.
    """
    assignment = assignment_of(analyzer)
    files, of_folder = assignment.get_feature_files(), assignment.get_spikes_of_folder()
    files.check(of_folder.rows, of_folder.template_ids)
    features = files.features_of_spikes(of_folder, feature_channels)
    unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
    main_channels = np.asarray(analyzer.get_main_channels(outputs="index"))
    num_units, num_channels = len(analyzer.unit_ids), analyzer.get_num_channels()
    chosen = _choose(analyzer, spikes, unit_index, features)
    units = unit_index[chosen].astype(np.int64)
    if feature_channels == "file" and analyzer.sparsity is not None:
        mask = analyzer.sparsity.mask
    else:
        mask = _mostly_stored(features, chosen, units, num_units, num_channels)
        mask[np.arange(num_units), main_channels] = True
    places = np.where(mask, np.cumsum(mask, axis=1) - 1, -1)
    shape = (features.values.shape[1], int(mask.sum(axis=1).max(initial=0)))

    def fill(piece: slice, out: NDArray[np.floating]) -> None:
        window, found = open_window(features.values, features.rows.rows_of_spikes(chosen[piece]))
        groups = features.groups[chosen[piece]]
        gather_features(window, found, groups, features.channels, places, units[piece], out)

    gathered = _sort_by_unit(
        fill,
        units,
        shape,
        np.dtype(np.float32),
        [np.flatnonzero(row) for row in mask],
        main_channels,
        False,
    )
    if feature_channels == "repaired":
        for unit in range(num_units):
            _leave_out_empty_channels(gathered, unit)
    return gathered


def _choose(
    analyzer: SortingAnalyzer,
    spikes: str | int,
    unit_index: NDArray[np.integer],
    features: SorterFeatures,
) -> NDArray[np.int64]:
    if spikes == "principal_components":
        extension = analyzer.get_extension("random_spikes")
        if extension is None:
            raise MissingDataError(
                "spikes='principal_components' are those of the extension 'random_spikes', which "
                "this analyzer does not have; take spikes='all' or a number"
            )
        chosen = np.asarray(extension.get_data())
        return chosen[features.rows.rows_of_spikes(chosen) >= 0]
    stored = np.flatnonzero(features.rows.rows_of_spikes(slice(None)) >= 0)
    if spikes == "all":
        return stored
    picked = []
    for own in spikes_by_unit(unit_index[stored], len(analyzer.unit_ids)):
        num = min(int(spikes), own.size)
        picked.append(own[np.arange(num) * own.size // max(num, 1)])
    return stored[np.sort(np.concatenate(picked))] if picked else stored


def _mostly_stored(
    features: SorterFeatures,
    chosen: NDArray[np.int64],
    units: NDArray[np.int64],
    num_units: int,
    num_channels: int,
) -> NDArray[np.bool_]:
    """Channels on which the features of at least half of the spikes of each unit are."""
    num_groups = len(features.channels)
    stored = np.zeros((num_groups, num_channels + 1), dtype=np.int64)  # the last one for -1
    stored[np.arange(num_groups)[:, None], features.channels] = 1
    counts = contingency_table(units, features.groups[chosen], num_units, num_groups)
    with_features = np.asarray(counts @ stored[:, :-1])
    return (with_features > 0) & (
        2 * with_features >= np.bincount(units, minlength=num_units)[:, None]
    )


def _leave_out_empty_channels(gathered: UnitFeatures, unit: int) -> None:
    values = gathered.values[gathered.starts[unit] : gathered.stops[unit]]
    filled = np.zeros(values.shape[2], dtype=np.int64)
    for piece in blocks(len(values), _SPIKES_PER_BLOCK):
        filled += (values[piece] != 0).any(axis=1).sum(axis=0)
    channels, columns = gathered.channels[unit], gathered.columns[unit]
    kept = (2 * filled[columns] >= len(values)) | (channels == gathered.main_channels[unit])
    gathered.channels[unit], gathered.columns[unit] = channels[kept], columns[kept]


def _sort_by_unit(
    fill: Callable[[slice, NDArray[np.floating]], None],
    units: NDArray[np.integer],
    shape: tuple[int, int],
    dtype: np.dtype,
    channels: list[NDArray[np.int64]],
    main_channels: NDArray[np.integer],
    is_dense: bool,
) -> UnitFeatures:
    """Read features in the order of the spikes, in blocks, and put each where its unit is."""
    num_units = len(channels)
    by_unit = spikes_by_unit(units, num_units)
    order = np.concatenate([*by_unit, np.zeros(0, dtype=np.int64)])
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    values = _allocate((order.size, *shape), dtype)
    usable = np.ones(order.size, dtype=bool)

    def move(piece: slice) -> None:
        block = np.zeros((piece.stop - piece.start, *shape), dtype=dtype)
        fill(piece, block)
        values[place[piece]] = block
        usable[place[piece]] = np.isfinite(block).all(axis=(1, 2))

    run_blocks(move, blocks(order.size, _SPIKES_PER_BLOCK))
    stops = np.cumsum([own.size for own in by_unit], dtype=np.int64)
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)[:num_units]
    if not usable.all():  # the sorter stored nothing for these spikes
        for unit in range(num_units):
            kept = starts[unit] + np.flatnonzero(usable[starts[unit] : stops[unit]])
            stops[unit] = starts[unit] + kept.size
            values[starts[unit] : stops[unit]] = values[kept]
            order[starts[unit] : stops[unit]] = order[kept]
    columns = [np.arange(own.size) for own in channels]
    return UnitFeatures(
        values, starts, stops, order, list(channels), columns, main_channels, is_dense
    )


def _allocate(shape: tuple[int, int, int], dtype: np.dtype) -> NDArray[np.floating]:
    if np.prod(shape, dtype=np.int64) * dtype.itemsize <= MAX_BYTES_IN_MEMORY:
        return np.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile() as file:  # gone with the array
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
