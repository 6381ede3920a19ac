"""Tests of all pairs of spike trains against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import monosynaptic as naive
from si_curation.kernels import monosynaptic as pairs
from si_curation.kernels.hollow_gaussian import hollow_gaussian


@pytest.mark.parametrize("bin_samples", [1, 2, 3, 4])
def test_every_pair_by_brute_force(bin_samples):
    rng = np.random.default_rng(bin_samples)
    num_units, half = 7, 12
    samples = np.concatenate([np.sort(rng.integers(0, 900, 250)) for _ in range(2)])
    segments = np.repeat([0, 1], 250)
    units = rng.integers(0, num_units - 1, samples.size)  # the last unit is empty
    ignores = rng.random((num_units, num_units)) < 0.4
    ignores |= ignores.T
    setup = pairs.synaptic_bins(bin_samples, half, 2.0, 0.6, (2, 4), (0, 3))
    weights = hollow_gaussian(2.0, 0.6)
    truth = naive.all_pairs(
        samples, units, segments, num_units, bin_samples, half, weights, ignores
    )
    for max_bytes in (1 << 28, 9 * 4 * setup.cells.num_cells):  # at once, three units at a time
        found = pairs.examine_pairs(
            samples,
            units,
            segments,
            num_units,
            setup,
            ignores,
            lambda tests: np.full(tests.pre.size, True),
            max_bytes,
        )
        assert list(zip(found.pre.tolist(), found.post.tolist(), strict=True)) == sorted(truth)
        for row, pair in enumerate(sorted(truth)):
            for name, value in truth[pair].items():
                if name in ("lag_bins", "observed", "p_fast", "p_causal", "expected"):
                    # equal excesses may differ in their last bit
                    excess = np.subtract(truth[pair]["observed"], truth[pair]["expected"])
                    np.testing.assert_allclose(found.observed[row] - found.expected[row], excess)
                if name == "lag_bins" or not (found.lag_bins[row] == truth[pair]["lag_bins"]).all():
                    continue
                np.testing.assert_allclose(getattr(found, name)[row], value, rtol=1e-8, atol=1e-12)
        same_lag = [
            (found.lag_bins[row] == truth[pair]["lag_bins"]).all()
            for row, pair in enumerate(sorted(truth))
        ]
        assert np.mean(same_lag) > 0.8
        reverse = {pair: row for row, pair in enumerate(sorted(truth))}
        for (a, b), row in reverse.items():
            np.testing.assert_array_equal(found.p_fast_reverse[row], found.p_fast[reverse[b, a]])


@given(num_units=st.integers(0, 40), most=st.integers(1, 12))
def test_every_pair_is_in_one_block(num_units, most):
    seen = []
    for units, rows in pairs._blocks_of_units(num_units, 1, 4 * most**2):
        assert units.size <= max(most, 2) or num_units <= max(most, 2)
        for a, others in rows:
            assert a in units
            assert np.isin(others, units).all()
            seen += [(a, int(b)) for b in others]
    expected = [(a, b) for a in range(num_units) for b in range(a + 1, num_units)]
    assert sorted(seen) == expected
