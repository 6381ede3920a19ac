"""An analyzer that several figures are tested on."""

import numpy as np
import pytest
import spikeinterface.core as sc


@pytest.fixture(scope="module")
def segments():
    """An analyzer of another sorter, two segments, string ids, one empty unit, one spike."""
    rng = np.random.default_rng(0)
    trains = [
        {
            "a": np.sort(rng.integers(0, length, 300)),
            "b": np.sort(rng.integers(0, length, 40)),
            "lone": np.array([77] if i == 1 else [], dtype=np.int64),
            "none": np.array([], dtype=np.int64),
        }
        for i, length in enumerate((50_000, 31_000))
    ]
    sorting = sc.NumpySorting.from_unit_dict(trains, 10_000.0)
    recording = sc.generate_recording(
        num_channels=4, durations=[5.0, 3.1], sampling_frequency=10_000.0, seed=0
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes"], progress_bar=False)
    return analyzer
