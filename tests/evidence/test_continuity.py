"""Time profiles, overlap in time and continuity, by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from oracles import merges as naive
from si_curation.evidence import continuity
from si_curation.evidence.continuity import (
    TimeProfile,
    add_to_profile,
    continuity_of_pairs,
    time_overlap,
)


def time_profile(units, bins, num_units, values=None, num_bins=40, absolute=False):
    """The profile of all units, of spikes in the order of time."""
    profile = TimeProfile(*np.zeros((3, num_units, num_bins)))
    for unit in range(num_units):
        own = np.flatnonzero(units == unit)
        its = None if values is None else values[own]
        add_to_profile(profile, unit, bins[own], its, own, absolute)
    return profile


def test_time_overlap_is_brute_force():
    rng = np.random.default_rng(0)
    units, bins = rng.integers(0, 3, 80), rng.integers(0, 10, 80)
    profile = time_profile(units, bins, 4, num_bins=10)
    found = time_overlap(profile.counts, np.array([[0, 1], [1, 2], [0, 3]]))
    for value, (a, b) in zip(found, [(0, 1), (1, 2)], strict=False):
        expected = naive.overlap_of_active_times(bins[units == a], bins[units == b], 10)
        assert value == pytest.approx(expected)
    assert np.isnan(found[2])


def test_continuity_takes_the_nearest_bins():
    units = np.repeat([0, 1], [40, 40])
    bins = np.concatenate([np.repeat([0, 3], 20), np.repeat([6, 9], 20)])
    values = np.concatenate([np.repeat([0.0, 5.0], 20), np.repeat([7.0, 100.0], 20)])
    values[0] = np.nan
    profile = time_profile(units, bins, 3, values, num_bins=10)
    found = continuity_of_pairs(profile, np.array([[0, 1], [1, 0], [0, 2]]), 1.0)
    np.testing.assert_allclose(found.difference, [2.0, -2.0, np.nan])
    np.testing.assert_allclose(found.distance, [2.0, 2.0, np.nan])
    np.testing.assert_allclose(found.gap, [3, 3, np.nan])


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_profiles_are_brute_force_in_whatever_pieces(monkeypatch, dtype):
    rng = np.random.default_rng(1)
    units, bins = rng.integers(0, 3, 400), rng.integers(0, 5, 400).astype("uint8")
    values = (10 * rng.normal(size=400)).astype(dtype)
    if dtype == "float32":
        values[::9] = np.nan
    whole = time_profile(units, bins, 4, values, num_bins=5, absolute=True)
    for unit in range(4):
        for k in range(5):
            own = np.abs(values[(units == unit) & (bins == k)].astype(np.float64))
            own = own[np.isfinite(own)]
            assert whole.counts[unit, k] == own.size
            if own.size:
                assert whole.means[unit, k] == pytest.approx(own.mean())
                assert whole.variances[unit, k] == pytest.approx(own.var())
    monkeypatch.setattr(continuity, "_SPIKES_PER_SUM", 50)
    parts = time_profile(units, bins, 4, values, num_bins=5, absolute=True)
    np.testing.assert_allclose(np.stack(parts), np.stack(whole), rtol=1e-12, atol=1e-12)
