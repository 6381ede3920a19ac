"""Analyzers with chosen frames, ids, clocks and probes, for the tests of the export to NWB.

Imports nothing of pytest, so that fresh processes can make the same analyzers.
"""

from __future__ import annotations

import numpy as np
from probeinterface import Probe, ProbeGroup
from spikeinterface.core import ChannelSparsity, NumpySorting, SortingAnalyzer
from spikeinterface.core.base import minimum_spike_dtype

from si_curation._spikeinterface import inject_extension, make_memory_analyzer
from si_curation.kernels.channels import centre_of_signal
from si_curation.reading.unit_templates import set_unit_templates

NUM_SAMPLES_BEFORE, NUM_SAMPLES = 20, 60


def make_probegroup(num_channels, num_probes=1, num_shanks=1, upside_down=False):
    """Probes side by side, each a column of contacts 20 um apart in zigzag, on its own shanks."""
    group = ProbeGroup()
    first = 0
    for number in range(num_probes):
        rank = np.arange(num_channels)
        shanks = rank * num_shanks // num_channels
        x = 16.0 * (rank % 2) + 250.0 * shanks + 1000.0 * number
        probe = Probe(ndim=2, si_units="um", name=f"Probe{number}")
        probe.set_contacts(
            np.stack([x, 20.0 * (rank[::-1] if upside_down else rank) + 5.0], axis=1),
            shapes="circle",
            shape_params={"radius": 5.0},
            shank_ids=shanks.astype(str) if num_shanks > 1 else None,
        )
        probe.set_device_channel_indices(np.arange(first, first + num_channels))
        probe.set_contact_ids([f"p{number}e{i}" for i in rank])
        first += num_channels
        group.add_probe(probe)
    return group


def make_templates(main_channels, num_channels, scale=-100.0):
    """One negative peak; each unit largest on its main channel and smaller with the distance."""
    time = np.arange(NUM_SAMPLES) - NUM_SAMPLES_BEFORE
    shape = np.exp(-(time**2) / 18.0) - 0.3 * np.exp(-((time - 12) ** 2) / 60.0)
    distance = np.abs(np.arange(num_channels)[None] - np.asarray(main_channels)[:, None])
    # not symmetric, so that the order of the channels is determined
    size = scale * np.exp(-distance / 2.0) * (1.0 + 0.01 * np.arange(num_channels))[None]
    return (size[:, None, :] * shape[None, :, None]).astype(np.float32)


def make_analyzer(
    frames,
    *,
    sampling_frequency=30_000.0,
    num_samples=None,
    num_channels=8,
    num_probes=1,
    num_shanks=1,
    channel_ids=None,
    channels=None,
    main_channels=None,
    upside_down=False,
    in_uv=True,
    properties=None,
    amplitudes=True,
):
    """Make an analyzer without recording.

    Parameters
    ----------
    frames : dict {unit id: frames}, or list of such dicts (one per segment)
    num_samples : list of int, optional
        Per segment.
    channels : sequence of int, optional
        Only these of the channels.
    properties : dict, optional
        Of units.
    """
    segments = frames if isinstance(frames, list) else [frames]
    unit_ids = np.array(list(segments[0]))
    pieces = []
    for segment_index, units in enumerate(segments):
        for unit_index, unit_frames in enumerate(units.values()):
            piece = np.zeros(len(unit_frames), dtype=minimum_spike_dtype)
            piece["sample_index"] = unit_frames
            piece["unit_index"] = unit_index
            piece["segment_index"] = segment_index
            pieces.append(piece)
    spikes = np.concatenate(pieces)
    spikes = spikes[
        np.lexsort((spikes["unit_index"], spikes["sample_index"], spikes["segment_index"]))
    ]
    sorting = NumpySorting(spikes, sampling_frequency, unit_ids)
    for name, values in (properties or {}).items():
        sorting.set_property(name, np.asarray(values))
    total = num_channels * num_probes
    if num_samples is None:
        num_samples = [
            int(spikes["sample_index"][spikes["segment_index"] == i].max(initial=0)) + 1000
            for i in range(len(segments))
        ]
    group = make_probegroup(num_channels, num_probes, num_shanks, upside_down)
    if channel_ids is None:
        channel_ids = np.array([f"CH{i}" for i in range(total)])
    picked = np.arange(total) if channels is None else np.asarray(channels)
    if channels is not None:
        group = group.get_slice(picked)
        channel_ids = np.asarray(channel_ids)[picked]
    names = np.repeat([f"Probe{i}" for i in range(num_probes)], num_channels)[picked]
    if main_channels is None:
        main_channels = (2 * np.arange(unit_ids.size) + 1) % picked.size
    analyzer = make_memory_analyzer(
        sorting,
        None,
        {
            "channel_ids": np.asarray(channel_ids),
            "sampling_frequency": sampling_frequency,
            "num_channels": picked.size,
            "num_samples": list(num_samples),
            "is_filtered": True,
            "properties": {
                "group": np.repeat(np.arange(num_probes), num_channels)[picked],
                "group_name": names,
                "gain_to_uV": np.full(picked.size, 1.0),
                "offset_to_uV": np.zeros(picked.size),
            },
            "dtype": "int16",
            "probegroup": group,
        },
        ChannelSparsity(
            np.ones((unit_ids.size, picked.size), dtype=bool), unit_ids, np.asarray(channel_ids)
        ),
        in_uv,
        np.asarray(main_channels),
    )
    ms = 1000.0 / sampling_frequency
    params = {
        "operators": ["average"],
        "ms_before": NUM_SAMPLES_BEFORE * ms,
        "ms_after": (NUM_SAMPLES - NUM_SAMPLES_BEFORE) * ms,
    }
    templates = make_templates(main_channels, picked.size)
    places = centre_of_signal(np.ptp(templates, axis=1), analyzer.get_channel_locations()[:, :2])
    set_unit_templates(analyzer, templates, params, places)
    if amplitudes:
        values = -100.0 - np.arange(spikes.size, dtype=np.float64) % 50
        inject_extension(analyzer, "spike_amplitudes", {"amplitudes": values}, {})
    return analyzer


def small_analyzer(num_units=5, num_spikes=40, duration_frames=29_000, seed=0, **kwargs):
    """Make an analyzer of one second with random spikes, strictly ascending within each unit."""
    rng = np.random.default_rng(seed)
    unit_ids = kwargs.pop("unit_ids", list(range(num_units)))
    frames = {
        unit_id: np.sort(rng.choice(duration_frames, num_spikes, replace=False))
        for unit_id in unit_ids
    }
    kwargs.setdefault("num_samples", [30_000])
    return make_analyzer(frames, **kwargs)


def frames_of(analyzer: SortingAnalyzer, segment_index=0) -> dict:
    """Give the frames of every unit, from the spike vector itself."""
    spikes = analyzer.sorting.to_spike_vector()
    spikes = spikes[spikes["segment_index"] == segment_index]
    return {
        unit_id: spikes["sample_index"][spikes["unit_index"] == i].astype(np.int64)
        for i, unit_id in enumerate(analyzer.unit_ids.tolist())
    }
