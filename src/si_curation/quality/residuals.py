"""Units that are what a sorter left of larger units after it had subtracted them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.errors import MissingDataError
from si_curation.extensions.spikes_of_units import num_spikes_of_units, spikes_of_units
from si_curation.kernels.coincidences import (
    count_coincident_spikes,
    most_close_pairs,
    share_with_partner,
)
from si_curation.kernels.templates import peak_to_peak
from si_curation.reading.observed import observed_periods
from si_curation.reading.probe import planar_locations

WINDOW_MS = 0.4
NEAR_UM = 100.0
MIN_SHARE = 0.5
_MIN_SHARE_OF_PARTNER = 0.05


class Residuals(NamedTuple):
    """How many spikes of each unit coincide with those of larger units nearby.

    Attributes
    ----------
    share : array (n_units,) float64
        Of the unit's spikes, beyond chance: 0 where no larger unit is near; NaN for a unit without
        spikes or size.
    largest_partner : array (n_units,) int64
        Index of the larger unit with which most of its spikes coincide; -1 for none.
    """

    share: NDArray[np.float64]
    largest_partner: NDArray[np.int64]

    @property
    def is_residual(self) -> NDArray[np.bool_]:
        """Whether most of the spikes coincide."""
        return self.share >= MIN_SHARE


def find_residuals(
    sorting_analyzer: SortingAnalyzer,
    *,
    window_ms: float = WINDOW_MS,
    near_um: float = NEAR_UM,
) -> Residuals:
    """Return which units fire with larger units nearby, spike for spike.

    A sorter that subtracts the spikes that it has found can find what is left of a large spike once
    more. Such a unit has the spike times of the larger one, and its waveform is a residual.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With the extension "spike_amplitudes" or "templates".
    window_ms : float, default: 0.4
        Largest distance of coincident spikes.
    near_um : float, default: 100
        Largest distance of the main channels.

    Returns
    -------
    Residuals

    Notes
    -----
    Larger is a unit with a larger median amplitude, else with a larger template. The share is that
    of spikes with a spike of any larger unit in the window, of which each has at least 5 % of
    them, ``(s - c) / (1 - c)`` with ``c = 1 - exp(-rate * window)`` the share by chance. In
    Kilosort 4's own clusters of six simulated recordings seven units were found twice: their
    shares were 0.94 to 1, and at most 0.15 in the 176 others.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> find_residuals(analyzer).is_residual.any()
    np.False_
    """
    analyzer = sorting_analyzer
    num_units = len(analyzer.unit_ids)
    main = np.asarray(analyzer.get_main_channels(outputs="index"))
    places = planar_locations(analyzer)[main]
    window = round(window_ms * 1e-3 * analyzer.sampling_frequency)
    # which units share spikes is counted first: of few of them it then matters how large they are
    num_spikes = num_spikes_of_units(analyzer)
    pairs, shares, trains = _partners(analyzer, _pairs_nearby(places, near_um), num_spikes, window)
    size, is_sized = _sizes(analyzer, num_spikes, np.isin(np.arange(num_units), pairs))
    is_larger = size[pairs[:, 1]] > size[pairs[:, 0]]
    pairs, shares = pairs[is_larger], shares[is_larger]
    observed = max(float(observed_periods(analyzer).num_samples), 1.0)
    share = np.where(is_sized & (num_spikes > 0), 0.0, np.nan)
    partner = np.full(num_units, -1, dtype=np.int64)
    for unit in np.unique(pairs[:, 0]).tolist():
        own = pairs[:, 0] == unit
        partners = pairs[own, 1]
        partner[unit] = partners[int(np.argmax(shares[own]))]
        together = np.sort(np.concatenate([trains[one] for one in partners]))
        chance = 1 - np.exp(-together.size / observed * (2 * window + 1))
        found = share_with_partner(trains[unit], together, window)
        share[unit] = max(0.0, (found - chance) / max(1 - chance, 1e-9))
    return Residuals(share, partner)


def _pairs_nearby(places: NDArray[np.float64], near_um: float) -> NDArray[np.int64]:
    """Return the pairs of different units (n_pairs, 2) that are near each other, in both orders."""
    distinct, place = np.unique(places, axis=0, return_inverse=True)
    place = place.reshape(-1)  # a column, in numpy 2.0
    is_near = np.zeros((len(distinct), len(places)), dtype=bool)
    for one in range(len(distinct)):
        is_near[one] = (np.linalg.norm(distinct - distinct[one], axis=1) <= near_um)[place]
    pairs = np.argwhere(is_near[place])
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _partners(
    analyzer: SortingAnalyzer,
    pairs: NDArray[np.int64],
    num_spikes: NDArray[np.int64],
    window: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[int, NDArray[np.int64]]]:
    """Return the pairs the second unit of which shares enough spikes with the first.

    With the share of the first unit's spikes, and the spike trains of all these units.
    """
    spikes = spike_vector_of(analyzer.sorting)
    of_spikes = (spikes["sample_index"], spikes["unit_index"], spikes["segment_index"])
    most = most_close_pairs(of_spikes, num_spikes.size, pairs, window, _MIN_SHARE_OF_PARTNER)
    pairs = pairs[most / np.maximum(num_spikes[pairs[:, 0]], 1) >= _MIN_SHARE_OF_PARTNER]
    # segments one after the other, further apart than the window
    lengths = [analyzer.get_num_samples(i) + window + 1 for i in range(analyzer.get_num_segments())]
    starts = np.cumsum([0, *lengths[:-1]])
    trains = {
        unit: _times_of(spikes, starts, spikes_of_units(analyzer)[unit])
        for unit in np.unique(pairs).tolist()
    }
    counts = count_coincident_spikes(trains, pairs, window)[:, 0]
    shares = counts / np.maximum(num_spikes[pairs[:, 0]], 1)
    is_partner = shares >= _MIN_SHARE_OF_PARTNER
    return pairs[is_partner], shares[is_partner], trains


def _times_of(
    spikes: NDArray, starts: NDArray[np.int64], own: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return the samples of the spikes of a unit, segments put one after the other."""
    samples = spikes["sample_index"][own].astype(np.int64, copy=False)
    return samples if starts.size == 1 else samples + starts[spikes["segment_index"][own]]


def _sizes(
    analyzer: SortingAnalyzer,
    num_spikes: NDArray[np.int64],
    wanted: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how large the wanted units are, in one scale for all, and which of all have a size.

    The sizes of others may be NaN.
    """
    extension = analyzer.get_extension("spike_amplitudes")
    if extension is None:
        extension = analyzer.get_extension("templates")
        if extension is None:
            raise MissingDataError(
                "the sizes of units are not known: there is neither an extension spike_amplitudes "
                "nor templates; compute one of them"
            )
        templates = np.nan_to_num(as_array(extension.get_data()))
        size = peak_to_peak(templates).max(axis=1, initial=0)
        return size, size > 0
    amplitudes = as_array(extension.get_data(copy=False))
    # then every unit with spikes has a size
    are_known = bool(np.isfinite(amplitudes).all() and amplitudes.all())
    size = np.full(num_spikes.size, np.nan)
    for unit in np.flatnonzero((wanted | (not are_known)) & (num_spikes > 0)).tolist():
        size[unit] = np.median(np.abs(amplitudes[spikes_of_units(analyzer)[unit]]))
    return size, num_spikes > 0 if are_known else size > 0
