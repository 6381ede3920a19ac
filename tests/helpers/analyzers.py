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
