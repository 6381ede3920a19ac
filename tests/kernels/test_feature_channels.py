"""Kilosort 4's order of feature channels, step by step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracles import features as naive
from si_curation.kernels.feature_channels import sorted_feature_channels

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_sorted_feature_channels(seed, num_templates, num_detections, num_local):
    """Features that are their own channel, sorted spike by spike as Kilosort 4 does."""
    rng = np.random.default_rng(seed)
    lists = [
        np.array([rng.permutation(7)[:num_local] for _ in range(count)])
        for count in (num_templates, num_detections)
    ]
    templates, detections = rng.integers(0, num_templates, 12), rng.integers(0, num_detections, 12)
    channels = lists[1][detections] + 1  # 0 is for none
    expected = naive.sort_features(channels, templates, detections, *lists) - 1
    counts = np.zeros((num_templates, num_detections), dtype=int)
    np.add.at(counts, (templates, detections), 1)
    found = sorted_feature_channels(*lists, counts)
    assert found.shape == lists[1].shape
    np.testing.assert_array_equal(found[detections], expected)
    unused = np.setdiff1d(np.arange(num_detections), detections)
    np.testing.assert_array_equal(found[unused], lists[1][unused])
