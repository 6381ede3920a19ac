"""Depths of spikes from their features against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracles import spike_depths as naive
from si_curation.kernels.spike_depths import depths_of_features


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(1, 5), st.integers(1, 4))
def test_depths(seed, num_spikes, num_local, num_templates):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_spikes, 2, num_local)).astype(np.float32)
    features[rng.random(num_spikes) < 0.2] = -1.0
    templates = rng.integers(0, num_templates, num_spikes)
    channels = rng.integers(-1, 6, (num_templates, num_local))
    positions = rng.normal(size=(6, 2)) * 100
    expected = naive.depths(features, templates, channels, positions)
    rows = np.arange(num_spikes)
    rows[rng.random(num_spikes) < 0.1] = -1  # not stored
    found = np.zeros(num_spikes)
    depths_of_features(features, rows, templates, channels, positions[:, 1], found)
    np.testing.assert_allclose(found, np.where(rows < 0, np.nan, expected), rtol=1e-9)
