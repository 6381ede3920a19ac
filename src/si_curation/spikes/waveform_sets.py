"""Statistics of the waveforms of any sets of spikes: parts of a unit, windows of time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import samples_end_to_end, segment_samples_of
from si_curation.checks import Checks, indices_of, short_repr
from si_curation.errors import ParameterError
from si_curation.extensions.spike_waveforms import MAX_SPIKES_AT_ONCE, OPERATORS
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.reading.feature_waveforms import ChannelLists, spikes_of_sets
from si_curation.shown import count_text
from si_curation.spikes.waveforms import (
    channels_asked_for,
    refuse_without_features,
)

_MAX_WINDOWS = 100_000


class WaveformSets(NamedTuple):
    """A statistic of the waveforms of several sets of spikes.

    Attributes
    ----------
    names : tuple
        Of the sets, in order.
    waveforms : array (n_sets, n_samples, n_channels) float32
        NaN for a set none of whose spikes has features.
    num_spikes : array (n_sets,) int64
        Spikes that each is of.
    channel_ids : array (n_channels,)
    units : str
        As of `Waveforms`.
    """

    names: tuple[Any, ...]
    waveforms: NDArray[np.float32]
    num_spikes: NDArray[np.int64]
    channel_ids: NDArray
    units: str

    def __repr__(self) -> str:
        sets, channels = len(self.names), len(self.channel_ids)
        return (
            f"WaveformSets: {count_text(sets, 'set')} on {count_text(channels, 'channel')}, "
            f"in {self.units}"
        )


def get_waveform_sets(
    sorting_analyzer: SortingAnalyzer,
    spike_sets: Mapping[Any, ArrayLike] | Sequence[ArrayLike],
    operator: Literal["average", "std", "median", "percentile"] = "average",
    *,
    percentile: float | None = None,
    channel_ids: ArrayLike | None = None,
    max_spikes: int | None = None,
    feature_channels: Literal["repaired", "file"] = "repaired",
) -> WaveformSets:
    """Return a statistic of the waveforms of any sets of spikes, without the recording.

    Such as the halves of a split, or the spikes of a unit in windows of time
    (`spikes_in_windows`). Means and standard deviations of any number of spikes are computed in one
    pass over the file, which is not held in memory.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Read from a Kilosort folder or attached to one.
    spike_sets : mapping of name to array (n,) integer, or sequence of arrays
        Positions in ``spike_vector_of(sorting)``; a spike may be in several sets. Without names
        they are numbered from 0.
    operator : {"average", "std", "median", "percentile"}
        The last two are of at most 5,000 spikes of a set, evenly spaced.
    percentile : float, optional
        From 0 to 100, for "percentile".
    channel_ids, feature_channels
        As of `get_spike_waveforms`.
    max_spikes : int, optional
        At most so many spikes of each set, evenly spaced.

    Returns
    -------
    WaveformSets

    Raises
    ------
    ParameterError, UnknownIdError, MissingDataError, FolderNotFoundError, PhyFolderError
        As of `get_spike_waveforms`.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> windows = sic.spikes_in_windows(analyzer, 13, num_windows=4)
    >>> found = sic.get_waveform_sets(analyzer, windows)
    >>> found.waveforms.shape[0], found.num_spikes.sum().item(), round(found.names[1][0])
    (4, 1330, 20)
    """
    checks = Checks.of_call(get_waveform_sets, locals())
    checks.choice("operator", operator, OPERATORS)
    wants = isinstance(operator, str) and operator == "percentile"
    checks.require(
        wants == (percentile is not None),
        f"percentile is {short_repr(percentile)} and operator {operator!r}: a percentile is "
        "given for operator='percentile', and only for it",
    )
    checks.number("percentile", percentile, at_least=0, at_most=100, optional=True)
    checks.whole_number("max_spikes", max_spikes, at_least=1, optional=True)
    checks.choice("feature_channels", feature_channels, ("repaired", "file"))
    checks.finish()
    assignment = refuse_without_features(sorting_analyzer)
    names, sets = _checked_sets(spike_sets, assignment.get_spike_template_ids().size)
    sets = [spikes[evenly_spaced(spikes.size, max_spikes)] for spikes in sets]
    source = assignment.get_waveform_source(feature_channels)
    spikes, numbers = spikes_of_sets(sets)
    channels = channels_asked_for(sorting_analyzer, source, spikes, channel_ids)
    if operator in ("average", "std"):
        lists = ChannelLists.one(channels, spikes.size)
        mean, std, counts = source.mean_and_std(spikes, lists, numbers, len(sets))
        values = mean if operator == "average" else std
    else:
        shape = (len(sets), source.num_samples, channels.size)
        values = np.full(shape, np.nan, dtype=np.float32)
        counts = np.zeros(len(sets), dtype=np.int64)
        for number, own in enumerate(sets):
            some = own[evenly_spaced(own.size, MAX_SPIKES_AT_ONCE)]
            found = source.waveforms(some, ChannelLists.one(channels, some.size))
            found = found[~np.isnan(source.factors(some))]
            counts[number] = len(found)
            if len(found):
                quantile = 50.0 if percentile is None else float(percentile)
                values[number] = np.percentile(found, quantile, axis=0)
    return WaveformSets(names, values, counts, sorting_analyzer.channel_ids[channels], source.units)


def _checked_sets(
    spike_sets: Mapping[Any, ArrayLike] | Sequence[ArrayLike], num_spikes: int
) -> tuple[tuple[Any, ...], list[NDArray[np.int64]]]:
    named = spike_sets if isinstance(spike_sets, Mapping) else dict(enumerate(spike_sets))
    if not named:
        raise ParameterError("spike_sets is empty, expected at least one set of spikes")
    found = [indices_of(one, num_spikes, f"spike_sets[{name!r}]") for name, one in named.items()]
    return tuple(named), found


def check_windows(checks: Checks, num_windows: int | None, window_s: float | None) -> None:
    """Check the number or the length of windows, of which one is given."""
    checks.whole_number("num_windows", num_windows, at_least=1, at_most=_MAX_WINDOWS, optional=True)
    checks.number("window_s", window_s, above=0, optional=True)
    checks.require(num_windows is None or window_s is None, "give one of num_windows and window_s")


def spikes_in_windows(
    sorting_analyzer: SortingAnalyzer,
    unit_id: Any,
    *,
    num_windows: int | None = None,
    window_s: float | None = None,
    edges_s: Sequence[float] | None = None,
) -> dict[tuple[float, float], NDArray[np.int64]]:
    """Return the spikes of a unit in windows of time.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_id : int or str
    num_windows : int, optional
        So many windows over the whole recording; 8 by default.
    window_s : float, optional
        Length of a window in s, instead; the last one may be shorter.
    edges_s : sequence of float, optional
        Where each window begins, in s, and where the last one ends, instead; ascending.

    Returns
    -------
    dict of (float, float) to array (n,) int64
        {(start, end of the window in s): positions in ``spike_vector_of(sorting)``}. Segments are
        put end to end.

    Raises
    ------
    UnknownIdError, ParameterError

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> windows = sic.spikes_in_windows(analyzer, 13, window_s=30)
    >>> [(start, round(end), spikes.size) for (start, end), spikes in windows.items()]
    [(0.0, 30, 495), (30.0, 60, 509), (60.0, 80, 326)]
    """
    checks = Checks.of_call(spikes_in_windows, locals())
    check_windows(checks, num_windows, window_s)
    checks.finish()
    spikes = spikes_of_unit(sorting_analyzer, unit_id)
    rate = float(sorting_analyzer.sampling_frequency)
    total = int(segment_samples_of(sorting_analyzer).sum())
    samples = samples_end_to_end(sorting_analyzer, spikes)
    if edges_s is not None:
        times = _checked_edges(edges_s)
    elif window_s is not None:
        window_s = float(window_s)
        count = max(int(np.ceil(min(total / (window_s * rate), _MAX_WINDOWS + 1.0))), 1)
        if count > _MAX_WINDOWS:
            raise ParameterError(
                f"window_s is {window_s!r}: too many windows, expected at most {_MAX_WINDOWS:,}"
            )
        times = np.append(np.arange(count) * window_s, total / rate)
    else:
        times = np.linspace(0, total / rate, (8 if num_windows is None else num_windows) + 1)
    bounds = np.searchsorted(samples, times * rate)
    if edges_s is None:  # whatever the rounding
        bounds[0], bounds[-1] = 0, spikes.size
    parts = [spikes[low:high] for low, high in itertools.pairwise(bounds)]
    windows = itertools.pairwise(times.tolist())
    return dict(zip(windows, parts, strict=True))


def _checked_edges(edges_s: Sequence[float]) -> NDArray[np.float64]:
    try:
        edges = np.asarray(edges_s, dtype=np.float64)
    except (TypeError, ValueError):
        edges = np.zeros(0)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all() or np.isinf(edges).any():
        shown = short_repr(edges_s)
        raise ParameterError(f"edges_s is {shown}, expected two or more ascending times in s")
    if edges.size > _MAX_WINDOWS + 1:
        raise ParameterError(
            f"edges_s has {edges.size:,} times, expected at most {_MAX_WINDOWS + 1:,}"
        )
    return edges
