"""`get_spike_amplitudes`: what phy's AmplitudeView shows, and amplitudes on one scale."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import scipy
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, recording_of, spike_vector_of
from si_curation.checks import Checks, channel_index_of, unit_index_of
from si_curation.errors import MissingDataError
from si_curation.extensions.spikes_of_units import spikes_of_unit
from si_curation.extensions.template_best_channels import phy_best_channels
from si_curation.shown import count_text
from si_curation.spikes.amplitude_scale import projected_amplitudes, sorter_amplitudes
from si_curation.spikes.background import background_spikes
from si_curation.spikes.features import COMPONENTS, feature_source, get_spike_features
from si_curation.variables import ChannelIndex, UnitIndices

Kind = Literal["projection", "template", "template_feature", "feature", "raw"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class SpikeAmplitudes(NamedTuple):
    """Amplitudes of some spikes.

    Attributes
    ----------
    spike_indices : array (n,) int64
        Positions in ``spike_vector_of(sorting)``, ascending.
    amplitudes : array (n,) floating
    """

    spike_indices: NDArray[np.int64]
    amplitudes: NDArray[np.floating]

    def __repr__(self) -> str:
        return f"SpikeAmplitudes: of {count_text(len(self.amplitudes), 'spike')}"


def get_spike_amplitudes(
    sorting_analyzer: SortingAnalyzer,
    unit_id: Any,
    kind: Kind = "template",
    *,
    first_unit_id: Any = None,
    channel_id: Any = None,
    component: int = 0,
    background: bool = False,
) -> SpikeAmplitudes:
    """Return the amplitudes of the spikes of a unit, as phy defines them or on one scale.

    phy shows the amplitudes of all selected clusters with respect to the first of them:
    `first_unit_id`. phy draws at most 10,000 spikes of a cluster; this returns all of them.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    unit_id : int or str
    kind : {"template", "template_feature", "feature", "raw", "projection"}
        ``"projection"``: peak-to-peak on the best channel, of the spike's own template times the
        spike's projection onto it over the squared norm of it, in µV where a gain is known. Where
        the folder has no features of all spikes, ``amplitudes.npy`` tells in place of projections;
        for an analyzer of another sorter the absolute values of the extension "spike_amplitudes".
        `get_amplitude_scale` tells which. Figures and the report show this one. The others are
        phy's:
        ``"template"``: ``amplitudes.npy``, by which the sorter scaled its template, in the
        sorter's units; for an analyzer of another sorter the absolute values of the extension
        "spike_amplitudes".
        ``"template_feature"``: the projection onto the most frequent template of the first unit
        (extension `template_features`), 0 where a spike has none.
        ``"feature"``: the principal component `component` on the best channel of the first unit,
        or on `channel_id` (`get_spike_features`); 0 where a spike has none, NaN for those that are
        not of "random_spikes" where the features are SpikeInterface's "principal_components".
        ``"raw"``: peak-to-peak of the trace around the spike on that channel, over as many samples
        as a template has, in the units of the recording's traces; high-pass filtered as in phy
        (Butterworth, order 3, 150 Hz, forward and backward over each snippet) unless the recording
        is. 0 for spikes of units that do not have that channel among their best ones.
    first_unit_id : int or str, optional
        `unit_id` by default.
    channel_id : int or str, optional
        For "feature" and "raw"; the best channel of the first unit by default.
    component : int
        For "feature".
    background : bool
        Return the spikes that phy draws grey behind the unit instead: those of all other units
        that have the best channel of the first unit among their best channels.

    Returns
    -------
    SpikeAmplitudes

    Raises
    ------
    UnknownIdError
    MissingDataError
        What that kind needs is not there: ``amplitudes.npy``, ``pc_features.npy`` or
        "principal_components", the extension `template_features`, or a recording.
    ParameterError

    Notes
    -----
    Source of all but "projection": phy 2.1.0, ``BaseController._amplitude_getter`` and functions
    ``get_spike_template_amplitudes``, ``get_spike_template_features``,
    ``get_spike_feature_amplitudes`` and ``get_spike_raw_amplitudes``.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> spikes, amplitudes = sic.get_spike_amplitudes(analyzer, 13)
    >>> spikes.size, amplitudes.shape
    (1330, (1330,))
    >>> sic.get_spike_amplitudes(analyzer, 4, "feature", background=True).spike_indices.size
    3060
    """
    checks = Checks.of_call(get_spike_amplitudes, locals())
    checks.choice("kind", kind, KINDS)
    checks.finish()
    first = unit_id if first_unit_id is None else first_unit_id
    ranking = phy_best_channels(sorting_analyzer)
    position = unit_index_of(sorting_analyzer, first)
    shown = UnitIndices(np.array([position, unit_index_of(sorting_analyzer, unit_id)]))
    best = ranking.of_unit(position)
    if best.size == 0 and (background or kind != "projection"):
        raise MissingDataError(f"unit {first!r} has no template with signal, and so no channel")
    if background:
        spikes = background_spikes(sorting_analyzer, ranking, best[:1], shown)
    else:
        spikes = spikes_of_unit(sorting_analyzer, unit_id)
    if channel_id is None:
        channel = ChannelIndex(int(best[0]) if best.size else -1)
    else:
        channel = channel_index_of(sorting_analyzer, channel_id)
    template = -1
    if kind == "template_feature":
        assignment = sorting_analyzer.get_extension("template_assignment")
        template = -1 if assignment is None else int(assignment.unit_template_ids[position])
    values = amplitudes_of_spikes(sorting_analyzer, spikes, kind, channel, template, component)
    return SpikeAmplitudes(spikes, values)


def amplitudes_of_spikes(
    sorting_analyzer: SortingAnalyzer,
    spike_indices: NDArray[np.int64],
    kind: Kind,
    channel_index: int,
    template_id: int,
    component: int = 0,
) -> NDArray[np.floating]:
    """Return the amplitudes of any spikes, with respect to a channel and a template.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    spike_indices : array (n,) int64
        Positions in ``spike_vector_of(sorting)``.
    kind, component
        As of `get_spike_amplitudes`.
    channel_index : int
        For "feature" and "raw".
    template_id : int
        For "template_feature".

    Returns
    -------
    array (n,) floating

    Raises
    ------
    MissingDataError, ParameterError
        As `get_spike_amplitudes`.
    """
    if kind == "projection":
        return projected_amplitudes(sorting_analyzer, spike_indices)
    if kind == "template":
        return _template_amplitudes(sorting_analyzer, spike_indices)
    if kind == "template_feature":
        return _template_feature_amplitudes(sorting_analyzer, spike_indices, template_id)
    if kind == "feature":
        return _feature_amplitudes(sorting_analyzer, spike_indices, channel_index, component)
    return _raw_amplitudes(sorting_analyzer, spike_indices, channel_index)


def _template_amplitudes(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64]
) -> NDArray[np.floating]:
    assignment = analyzer.get_extension("template_assignment")
    if assignment is None or not assignment.is_from_folder:
        extension = analyzer.get_extension("spike_amplitudes")
        if extension is None:
            raise MissingDataError(
                "kind='template' needs the extension 'spike_amplitudes'; compute it first"
            )
        return np.abs(as_array(extension.get_data(copy=False))[spikes])
    return sorter_amplitudes(analyzer, spikes)


def _template_feature_amplitudes(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64], template_id: int
) -> NDArray[np.floating]:
    extension = analyzer.get_extension("template_features")
    if extension is None:
        raise MissingDataError(
            "kind='template_feature' needs the extension 'template_features'; compute it first"
        )
    return extension.get_template_projections(spikes, template_id)


def _feature_amplitudes(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64], channel: int, component: int
) -> NDArray[np.floating]:
    source = feature_source(analyzer)
    values = get_spike_features(analyzer, spikes, [channel])[:, 0]
    checks = Checks()
    checks.whole_number("component", component, at_least=0, at_most=values.shape[1] - 1)
    checks.finish()
    if source.name == COMPONENTS:
        return values[:, component]
    return np.nan_to_num(values[:, component])  # phy sets what is not stored to 0


def _raw_amplitudes(
    analyzer: SortingAnalyzer, spikes: NDArray[np.int64], channel: int
) -> NDArray[np.floating]:
    recording = recording_of(analyzer)
    if recording is None:
        raise MissingDataError(
            "kind='raw' needs the recording; set it with analyzer.set_temporary_recording"
        )
    num_samples = _template_length(analyzer)
    before = num_samples // 2
    vector = spike_vector_of(analyzer.sorting)[spikes]
    on_channel = np.asarray((phy_best_channels(analyzer).by_unit == channel).any(axis=1))
    snippets = np.zeros((spikes.size, num_samples))
    kept = on_channel[vector["unit_index"]]
    for i in np.flatnonzero(kept):
        segment, sample = int(vector["segment_index"][i]), int(vector["sample_index"][i])
        start, stop = sample - before, sample - before + num_samples
        low, high = max(start, 0), min(stop, recording.get_num_samples(segment))
        traces = recording.get_traces(segment, low, high, [analyzer.channel_ids[channel]])
        snippets[i, low - start : high - start] = traces[:, 0]
    if not analyzer.is_filtered():
        snippets = _high_pass(snippets, analyzer.sampling_frequency)
    return np.where(kept, np.ptp(snippets, axis=1), 0.0)


def _template_length(analyzer: SortingAnalyzer) -> int:
    assignment = analyzer.get_extension("template_assignment")
    if assignment is not None:
        return int(assignment.get_templates().shape[1])
    return int(analyzer.get_extension("templates").get_templates().shape[1])


def _high_pass(snippets: NDArray[np.float64], sampling_frequency: float) -> NDArray[np.float64]:
    b, a = scipy.signal.butter(3, 150.0 / sampling_frequency * 2.0, "high")
    forward = scipy.signal.lfilter(b, a, snippets, axis=1)
    return np.flip(scipy.signal.lfilter(b, a, np.flip(forward, axis=1), axis=1), axis=1)
