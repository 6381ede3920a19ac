"""`get_spike_waveforms`: waveforms of any spikes, rebuilt from the sorter's features."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import spike_vector_of
from si_curation.checks import Checks, channel_index_of, indices_of
from si_curation.errors import MissingDataError, ParameterError
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    assignment_of_named_folder,
)
from si_curation.kernels.spike_vector import evenly_spaced
from si_curation.reading.feature_waveforms import ChannelLists, WaveformSource
from si_curation.shown import count_text


class Waveforms(NamedTuple):
    """Waveforms of some spikes.

    Attributes
    ----------
    spike_indices : array (n,) int64
        Positions in ``spike_vector_of(sorting)``.
    waveforms : array (n, n_samples, n_channels) float32
        NaN for spikes whose features the folder does not hold.
    channel_ids : array (n_channels,)
    is_stored : array (n, n_channels) bool
        Whether the sorter stored features of that spike on that channel. Where not, the waveform is
        the template of the spike, scaled to it.
    units : {"uV", "raw", "sorted", "sorter", "whitened"}
        Those of the sorter's templates. "raw": of the raw data file; "sorted": of the data that
        Kilosort 4 sorted; "sorter": of Kilosort 1 and 2's templates; "whitened": the whitening is
        not in the folder.
    """

    spike_indices: NDArray[np.int64]
    waveforms: NDArray[np.float32]
    channel_ids: NDArray
    is_stored: NDArray[np.bool_]
    units: str

    def __repr__(self) -> str:
        spikes, channels = len(self.waveforms), len(self.channel_ids)
        return (
            f"Waveforms: of {count_text(spikes, 'spike')} on {count_text(channels, 'channel')}, "
            f"in {self.units}"
        )


def get_spike_waveforms(
    sorting_analyzer: SortingAnalyzer,
    spike_indices: ArrayLike | None = None,
    *,
    unit_id: Any = None,
    channel_ids: ArrayLike | None = None,
    max_spikes: int | None = None,
    feature_channels: Literal["repaired", "file"] = "repaired",
) -> Waveforms:
    """Return the waveforms of some spikes, or of a unit, without the recording.

    They are rebuilt from the sorter's ``pc_features.npy``: what the sorter took features of, passed
    through its components, and unwhitened as the templates are (`SpikeWaveforms`).

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        Read from a Kilosort folder or attached to one, curated since or not.
    spike_indices : array (n,) integer, optional
        Positions in ``spike_vector_of(sorting)``.
    unit_id : int or str, optional
        All spikes of this unit. Give either spikes or a unit.
    channel_ids : sequence, optional
        Each at most once. The channels of the units of the spikes by default
        (``analyzer.sparsity``), in the order of the analyzer; without sparsity those on which
        features are stored.
    max_spikes : int, optional
        At most so many of the spikes, evenly spaced.
    feature_channels : {"repaired", "file"}
        As of `template_features`.

    Returns
    -------
    Waveforms
        Samples are those of a template; the spike is at sample ``num_samples_before`` of
        ``get_extension("template_assignment").info``.

    Raises
    ------
    ParameterError
        An index is out of range, a channel is repeated, or both or none of spikes and unit are
        given.
    UnknownIdError
    MissingDataError
        The analyzer was not read from a folder, that has no ``pc_features.npy``, or the basis of
        the features cannot be known.
    FolderNotFoundError, PhyFolderError
        The folder is gone, or is not what it was.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> found = sic.get_spike_waveforms(analyzer, unit_id=13, channel_ids=[20, 21], max_spikes=100)
    >>> found.waveforms.shape, found.units
    ((100, 61, 2), 'raw')
    """
    checks = Checks.of_call(get_spike_waveforms, locals())
    checks.require(
        (spike_indices is None) != (unit_id is None),
        "give either spike_indices or unit_id, "
        + ("and not both" if unit_id is not None else "one of them is needed"),
    )
    checks.whole_number("max_spikes", max_spikes, at_least=1, optional=True)
    checks.choice("feature_channels", feature_channels, ("repaired", "file"))
    checks.finish()
    assignment = refuse_without_features(sorting_analyzer)
    if unit_id is not None:
        spikes = spikes_of_unit(sorting_analyzer, unit_id)
    else:
        num_spikes = assignment.get_spike_template_ids().size
        spikes = indices_of(spike_indices, num_spikes, "spike_indices")
    spikes = spikes[evenly_spaced(spikes.size, max_spikes)]
    source = assignment.get_waveform_source(feature_channels)
    channels = channels_asked_for(sorting_analyzer, source, spikes, channel_ids)
    return Waveforms(
        spikes,
        source.waveforms(spikes, ChannelLists.one(channels, spikes.size)),
        sorting_analyzer.channel_ids[channels],
        source.is_stored(spikes, channels),
        source.units,
    )


def refuse_without_features(analyzer: SortingAnalyzer) -> TemplateAssignment:
    """Return the assignment of an analyzer whose spikes are those of one Kilosort folder.

    Raises
    ------
    MissingDataError
        They are not.
    """
    assignment = assignment_of_named_folder(analyzer)
    if assignment is None or not assignment.is_from_folder:
        raise MissingDataError(
            "this analyzer was not read from one Kilosort folder, and waveforms are rebuilt from "
            "its pc_features.npy; with a recording, analyzer.compute('waveforms') reads them from "
            "the traces"
        )
    return assignment


def channels_asked_for(
    analyzer: SortingAnalyzer,
    source: WaveformSource,
    spikes: NDArray[np.int64],
    channel_ids: ArrayLike | None,
) -> NDArray[np.int64]:
    """Return the indices of some channels, those of the units of some spikes by default.

    Raises
    ------
    UnknownIdError, ParameterError
    """
    if channel_ids is not None:
        ids = list(np.atleast_1d(np.asarray(channel_ids, dtype=object)))
        channels = np.array([channel_index_of(analyzer, one) for one in ids], dtype=np.int64)
        if np.unique(channels).size != channels.size:
            raise ParameterError(f"channel_ids has a channel more than once: {ids}")
        return channels
    if analyzer.sparsity is not None:
        units = np.unique(spike_vector_of(analyzer.sorting)["unit_index"][spikes])
        return np.flatnonzero(np.asarray(analyzer.sparsity.mask)[units].any(axis=0))
    groups = np.unique(source.features.groups[spikes])
    return np.flatnonzero(source.stored_channels()[groups].any(axis=0))
