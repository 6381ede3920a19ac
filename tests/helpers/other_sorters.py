"""Analyzers that no Kilosort wrote: string ids, a unit with one spike, a unit without."""

import numpy as np
import spikeinterface.core as sc


def other_analyzer(num_channels=4, seed=0):
    """Units "a", "b", "one" (one spike) and "none", two segments, SpikeInterface's templates."""
    recording, _ = sc.generate_ground_truth_recording(
        durations=[3.0, 2.0], num_channels=num_channels, num_units=2, seed=seed
    )
    rng = np.random.default_rng(seed)
    segments = []
    for segment, count in enumerate((400, 200)):
        last = recording.get_num_samples(segment) - 200
        trains = {name: np.sort(rng.integers(200, last, count)) for name in ("a", "b")}
        one = np.array([500]) if segment == 0 else np.zeros(0, dtype=np.int64)
        segments.append({**trains, "one": one, "none": np.zeros(0, dtype=np.int64)})
    sorting = sc.NumpySorting.from_unit_dict(segments, recording.sampling_frequency)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute({"random_spikes": {}, "templates": {"operators": ["average"]}})
    return analyzer
