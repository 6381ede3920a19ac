"""Analyzers of simulated units with places and amplitudes, for the evidence of merges."""

from __future__ import annotations

import numpy as np
import spikeinterface.core as sc
from spikeinterface.generation import NoiseGeneratorRecording

from si_curation._spikeinterface import inject_extension
from si_curation.evidence.bad_merges import find_bad_merges

FS = 20000.0


def renewal(rng, rate_hz, duration_s, dead_s=0.003):
    """Samples of a neuron that is silent for 3 ms after each spike."""
    number = int(rate_hz * duration_s * 1.3) + 50
    times = np.cumsum(dead_s + rng.exponential(1.0 / rate_hz - dead_s, number))
    return np.floor(times[times < duration_s] * FS).astype(np.int64)


def make_analyzer(units, duration_s, ids=None, num_segments=1):
    """An analyzer of units (samples, place in µm, amplitude), on a recording that is not read.

    A place is a number, or one for each spike; so are amplitudes. Samples beyond the first segment
    go on in the next.
    """
    positions = np.stack([np.zeros(16), 20.0 * np.arange(16)], axis=1)
    recording = NoiseGeneratorRecording(
        num_channels=16,
        sampling_frequency=FS,
        durations=[duration_s / num_segments] * num_segments,
        noise_levels=1.0,
        seed=0,
    )
    recording.set_dummy_probe_from_locations(positions)
    ids = list(range(len(units))) if ids is None else ids
    length = recording.get_num_samples(0)
    trains = [
        {
            i: unit[0][unit[0] // length == s] - s * length
            for i, unit in zip(ids, units, strict=True)
        }
        for s in range(num_segments)
    ]
    sorting = sc.NumpySorting.from_unit_dict(trains, FS)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    shape = np.hanning(20)[:, None] * np.sin(np.linspace(0, 6, 20))[:, None]
    places = [np.mean(place) if np.size(place) else 0.0 for _, place, _ in units]
    spread = [np.exp(-((positions[:, 1] - y) ** 2) / (2 * 25.0**2)) for y in places]
    templates = np.stack([shape * s[None] for s in spread]).astype(np.float32)
    params = {"operators": ["average"], "ms_before": 0.5, "ms_after": 0.5}
    inject_extension(analyzer, "templates", {"average": templates}, params)
    spikes = analyzer.sorting.to_spike_vector()
    rng = np.random.default_rng(1)
    amplitudes = np.zeros(spikes.size)
    depths = np.zeros(spikes.size, dtype=[("x", "float64"), ("y", "float64")])
    for index, (samples, place, amplitude) in enumerate(units):
        mine = spikes["unit_index"] == index
        depths["y"][mine] = np.broadcast_to(place, samples.size)
        amplitudes[mine] = np.broadcast_to(amplitude, samples.size)
    depths["y"] += rng.normal(0, 5.0, spikes.size)
    amplitudes *= rng.normal(1, 0.1, spikes.size)
    inject_extension(analyzer, "spike_amplitudes", {"amplitudes": -amplitudes}, {})
    inject_extension(analyzer, "spike_locations", {"spike_locations": depths}, {})
    return analyzer


def find_bad_merges_of(analyzer, **kwargs):
    analyzer.compute("template_assignment")
    return find_bad_merges(analyzer, **kwargs)
