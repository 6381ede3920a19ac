"""Analyzers made from others."""

from __future__ import annotations

import numpy as np


def create_like(analyzer, sorting):
    from si_curation._spikeinterface import make_memory_analyzer, rec_attributes_of

    return make_memory_analyzer(
        sorting,
        None,
        rec_attributes_of(analyzer),
        None,
        analyzer.return_in_uV,
        np.zeros(len(sorting.unit_ids), dtype=np.int64),
    )


def recording_of_folder(folder, num_more=0):
    """A recording of zeros on the channels of a folder, with its probe, just long enough."""
    import spikeinterface.core as sc

    import si_curation as sic
    from si_curation.reading.probe import make_probegroup

    read = sic.read_phy_folder(folder)
    shape = read.last_sample + 100 + num_more, read.num_channels
    recording = sc.NumpyRecording([np.zeros(shape, dtype="int16")], read.sampling_frequency)
    group = make_probegroup(read)
    group.set_global_device_channel_indices(np.arange(read.num_channels))
    with_probe = recording.set_probegroup(group)
    return recording if with_probe is None else with_probe


def recording_with_templates(folder, analyzer, replaced=None):
    """A recording in which the template of each spike of a folder stands at its spike.

    Parameters
    ----------
    folder : path
    analyzer : SortingAnalyzer
        Of the folder, as this package reads it, in raw units.
    replaced : {template_id: array (n_samples, n_channels)}, optional
        What stands there instead of some templates.
    """
    import spikeinterface.core as sc

    assignment = analyzer.get_extension("template_assignment")
    templates = assignment.get_templates().copy()
    for template_id, waveform in (replaced or {}).items():
        templates[template_id] = waveform
    before = assignment.info["num_samples_before"]
    empty = recording_of_folder(folder, num_more=templates.shape[1])
    traces = np.zeros((empty.get_num_samples(), empty.get_num_channels()), dtype="float32")
    samples = analyzer.sorting.to_spike_vector()["sample_index"] - before
    inside = samples >= 0
    at = samples[inside, None] + np.arange(templates.shape[1])
    np.add.at(traces, at, templates[assignment.get_spike_template_ids()[inside]])
    recording = sc.NumpyRecording([traces], empty.sampling_frequency, channel_ids=empty.channel_ids)
    with_probe = recording.set_probegroup(empty.get_probegroup())
    return recording if with_probe is None else with_probe
