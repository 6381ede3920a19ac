"""Monosynaptic connections against brute force and injected synapses."""

from __future__ import annotations

import warnings

import numba
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from spikeinterface.core import NumpySorting, create_sorting_analyzer
from spikeinterface.generation import NoiseGeneratorRecording

import si_curation as sic
from si_curation._spikeinterface import inject_extension
from si_curation.errors import ParameterError, UnknownIdError
from si_curation.kernels import hollow_gaussian as kernel
from si_curation.kernels import monosynaptic as pairs
from si_curation.quality.connections import MONOSYNAPTIC_DESCRIPTIONS, find_monosynaptic_connections
from si_curation.quality.contamination import contamination_panel

FS = 30000.0
MS = 30  # samples
DURATION_S = 300.0


def make_analyzer(trains, unit_ids=None, amplitudes=None, positions=None):
    """Analyzer of trains[segment][unit]; amplitudes (n_units, n_channels) of templates."""
    num_units = len(trains[0])
    unit_ids = list(range(num_units)) if unit_ids is None else list(unit_ids)
    positions = np.stack([np.zeros(8), 20.0 * np.arange(8)], 1) if positions is None else positions
    recording = NoiseGeneratorRecording(
        num_channels=len(positions),
        sampling_frequency=FS,
        durations=[DURATION_S] * len(trains),
        noise_levels=1.0,
        seed=0,
    )
    recording.set_dummy_probe_from_locations(positions)
    sorting = NumpySorting.from_unit_dict(
        [
            {u: np.sort(np.asarray(t, dtype=np.int64)) for u, t in zip(unit_ids, one, strict=True)}
            for one in trains
        ],
        FS,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer = create_sorting_analyzer(
            sorting, recording, sparse=False, verbose=False, main_channel_indices=[0] * num_units
        )
    if amplitudes is not None:
        templates = np.zeros((num_units, 9, len(positions)), dtype=np.float32)
        templates[:, 4] = -np.asarray(amplitudes)
        inject_extension(
            analyzer,
            "templates",
            {"average": templates},
            {"operators": ["average"], "ms_before": 0.1, "ms_after": 0.2},
        )
    return analyzer


def gamma_train(rng, rate_hz, duration_s=DURATION_S, shape=2.0):
    intervals = rng.gamma(shape, 1 / (shape * rate_hz), int(rate_hz * duration_s * 1.5) + 50)
    times = np.cumsum(intervals) - rng.uniform(0, 1 / rate_hz)
    return np.floor(times[(times > 0) & (times < duration_s)] * FS).astype(np.int64)


def excite(rng, pre, post, probability, lag_ms=1.6):
    driven = pre[rng.random(pre.size) < probability]
    late = np.rint(driven + rng.normal(lag_ms * MS, 0.15 * MS, driven.size)).astype(np.int64)
    return np.concatenate([post, late[late < DURATION_S * FS]])


def inhibit(rng, pre, post, probability):
    pre = np.sort(pre)
    first, last = np.searchsorted(pre, post - 3 * MS), np.searchsorted(pre, post - MS // 2)
    return post[(first == last) | (rng.random(post.size) >= probability)]


# ------------------------------------------------------------------------- baseline, p-values


@given(
    seed=st.integers(0, 2**32 - 1),
    num_bins=st.integers(3, 60),
    sigma=st.floats(0.2, 9),
    hollow=st.floats(0, 1),
    leaves_out=st.booleans(),
)
def test_convolution(seed, num_bins, sigma, hollow, leaves_out):
    rng = np.random.default_rng(seed)
    weights = kernel.hollow_gaussian(sigma, hollow)
    half = max(1, round(3 * sigma))
    assert weights.size == 2 * half + 1
    if weights.size > num_bins:
        with pytest.raises(ParameterError, match="wider window"):
            kernel.predictor_matrix(num_bins, weights)
        return
    counts = rng.poisson(5, (3, num_bins))
    widths = rng.integers(1, 4, num_bins)
    left_out = rng.choice(num_bins, 1) if leaves_out else []
    rows = rng.integers(0, num_bins, 4)
    matrix = kernel.predictor_matrix(num_bins, weights, rows, left_out, widths)
    found = kernel.expected_counts(counts, matrix)
    for pair in range(3):
        per_lag = np.concatenate([(counts[pair] / widths)[::-1], counts[pair] / widths] * 2)
        per_lag = np.concatenate([per_lag, (counts[pair] / widths)[::-1]])
        is_out = np.tile(np.isin(np.arange(num_bins), left_out), 5)
        is_out[:num_bins] = is_out[:num_bins][::-1]
        is_out[2 * num_bins : 3 * num_bins] = is_out[:num_bins]
        is_out[4 * num_bins :] = is_out[:num_bins]
        start = 3 * num_bins  # the correlogram between its mirror images
        for at, row in enumerate(rows):
            total = weight = 0.0
            for offset in range(-half, half + 1):
                g = np.exp(-(offset**2) / (2 * sigma**2)) * (1 - hollow if offset == 0 else 1)
                if not is_out[start + row + offset]:
                    total += g * per_lag[start + row + offset]
                    weight += g
            if weight > 1e-12:
                np.testing.assert_allclose(found[pair, at], total / weight * widths[row], rtol=1e-6)


def test_kernel_by_hand():
    # exp(-1/2), exp(-2), exp(-9/2)
    full = np.array([0.011109, 0.135335, 0.606531, 1, 0.606531, 0.135335, 0.011109])
    hollow = full * [1, 1, 1, 0.4, 1, 1, 1]
    np.testing.assert_allclose(kernel.hollow_gaussian(1.0, 0.0), full / full.sum(), rtol=1e-4)
    np.testing.assert_allclose(kernel.hollow_gaussian(1.0), hollow / hollow.sum(), rtol=1e-4)
    with pytest.raises(ParameterError, match=r"sigma_bins.*; hollow_fraction"):
        kernel.hollow_gaussian(0.0, 1.5)
    # a lone peak adds 1 - hollow of what it would add to its own baseline
    lone = np.zeros((1, 61), dtype=np.int64)
    lone[0, 30] = 1000
    at_peak = [
        kernel.expected_counts(
            lone, kernel.predictor_matrix(61, kernel.hollow_gaussian(10.0, h), [30])
        )
        for h in (0.0, 1.0)
    ]
    assert at_peak[0] > 30
    assert at_peak[1] == 0


@given(count=st.integers(0, 3000), mean=st.floats(0, 2000))
def test_p_values_are_those_of_poisson(count, mean):
    excess = kernel.poisson_excess_p([count], [mean])[0]
    deficit = kernel.poisson_deficit_p([count], [mean])[0]
    half = 0.5 * stats.poisson.pmf(count, mean)
    np.testing.assert_allclose(excess, stats.poisson.sf(count, mean) + half, rtol=1e-7)
    np.testing.assert_allclose(deficit, stats.poisson.cdf(count - 1, mean) + half, rtol=1e-7)
    np.testing.assert_allclose(excess + deficit, 1.0)
    literal = 1 - sum(stats.poisson.pmf(x, mean) for x in range(min(count, 40))) - half
    if count <= 40:
        np.testing.assert_allclose(excess, literal, atol=1e-9)


def test_p_values_at_the_ends():
    assert kernel.poisson_excess_p([0, 1, 200], [0, 0, 3]).tolist()[:2] == [0.5, 0.0]
    assert 0 < kernel.poisson_excess_p([200], [3.0])[0] < 1e-200
    assert 0 < kernel.poisson_deficit_p([3], [700.0])[0] < 1e-200
    assert np.isnan(kernel.poisson_excess_p([3], [np.nan])[0])


# ----------------------------------------------------------------------------------- all pairs


def brute_force(samples, units, segments, num_units, bin_samples, half, sigma, ignores_centre):
    """Every field of every ordered pair, by loops."""
    rows = {}
    weights = kernel.hollow_gaussian(sigma, 0.6)
    reach = weights.size // 2
    widths = np.full(2 * half + 1, bin_samples)
    widths[half] = 2 * -(-bin_samples // 2) - 1
    for a in range(num_units):
        for b in range(num_units):
            if a == b:
                continue
            counts = np.zeros(2 * half + 1, dtype=np.int64)
            for i in np.flatnonzero(units == a):
                for j in np.flatnonzero((units == b) & (segments == segments[i])):
                    lag = int(samples[j] - samples[i])
                    k = (2 * abs(lag) + bin_samples) // (2 * bin_samples)
                    if k <= half:
                        counts[half + (k if lag >= 0 else -k)] += 1
            used = np.where((np.arange(counts.size) == half) & ignores_centre[a, b], 0.0, 1.0)
            rate = np.pad(counts / widths, counts.size, mode="symmetric")
            used = np.pad(used, counts.size, mode="symmetric")
            expected = np.zeros(counts.size)
            for k in range(counts.size):
                inside = slice(counts.size + k - reach, counts.size + k + reach + 1)
                norm = (weights * used[inside]).sum()
                expected[k] = (weights * used[inside] * rate[inside]).sum() / norm * widths[k]
            window = half + np.arange(2, 5)
            peak = window[np.argmax((counts - expected)[window])]
            most = counts[half - 3 : half + 1].max()
            least = counts[half - 3 : half].min()
            trough = window[np.argmin((counts - expected)[window])]

            def high(n, mean):
                return stats.poisson.sf(n, mean) + stats.poisson.pmf(n, mean) / 2

            def low(n, mean):
                return stats.poisson.cdf(n - 1, mean) + stats.poisson.pmf(n, mean) / 2

            rows[a, b] = {
                "lag_bins": [peak - half, trough - half],
                "observed": counts[[peak, trough]],
                "expected": expected[[peak, trough]],
                "p_fast": [
                    high(counts[peak], expected[peak]),
                    low(counts[trough], expected[trough]),
                ],
                "p_causal": [high(counts[peak], most), low(counts[trough], least)],
                "window_observed": counts[window].sum(),
                "window_expected": expected[window].sum(),
                "p_zero_lag": high(counts[half], expected[half]),
            }
    return rows


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
    truth = brute_force(samples, units, segments, num_units, bin_samples, half, 2.0, ignores)
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


# ------------------------------------------------------------------------------------ injected


@pytest.fixture(scope="module")
def injected():
    """Ten units of 10 Hz: 0 drives 1, 3 drives 2, 4 silences 5, nothing else is connected."""
    rng = np.random.default_rng(5)
    trains = [gamma_train(rng, 20 if u in (4, 5) else 10) for u in range(10)]
    trains[4], trains[5] = gamma_train(rng, 40), gamma_train(rng, 40)
    trains[1] = excite(rng, trains[0], trains[1], 0.05)
    trains[2] = excite(rng, trains[3], trains[2], 0.1, lag_ms=2.4)
    trains[5] = inhibit(rng, trains[4], trains[5], 0.7)
    return make_analyzer([trains], unit_ids=list("abcdefghij"))


def test_injected_synapses_are_found(injected):
    table = find_monosynaptic_connections(injected)
    assert list(table.columns) == list(MONOSYNAPTIC_DESCRIPTIONS)
    found = list(zip(table.pre_unit_id, table.post_unit_id, strict=True))
    assert found == [("a", "b"), ("d", "c")]
    assert (table.connection_type == "excitatory").all()
    assert table.lag_ms.round(6).tolist() == [1.6, 2.4]
    assert table.passes_english2017.all()
    assert not table[["zero_lag_peak", "both_directions", "too_few_spikes"]].any(axis=None)
    low, high = table.transmission_probability_lower, table.transmission_probability_upper
    assert (low < table.transmission_probability).all()
    assert low[0] < 0.05 < high[0]
    # the jitter takes a little of it out of the window
    assert low[1] < 0.1 * stats.norm.cdf(3.0, 2.4, 0.15) < high[1]


def test_inhibition_is_found_where_it_is_asked_for(injected):
    table = find_monosynaptic_connections(injected, include_inhibitory=True)
    found = list(zip(table.pre_unit_id, table.post_unit_id, table.connection_type, strict=True))
    assert ("e", "f", "inhibitory") in found
    assert [row[:2] for row in found if row[2] == "excitatory"] == [("a", "b"), ("d", "c")]
    assert len(found) <= 4
    row = table[table.connection_type == "inhibitory"].iloc[0]
    assert row.observed_count < row.expected_count
    assert row.transmission_probability_upper < 0
    assert row.p_fast < 0.001 / 6


@pytest.mark.parametrize(("probability", "kind"), [(0.03, "inhibitory"), (0.6, "excitatory")])
def test_of_a_peak_and_a_trough_the_less_likely_counts(probability, kind):
    rng = np.random.default_rng(9)
    pre, post = gamma_train(rng, 20), gamma_train(rng, 60)
    lags = post[:, None] - pre[np.maximum(np.searchsorted(pre, post) - 1, 0)][:, None]
    post = post[(lags[:, 0] < 1.8 * MS) | (lags[:, 0] > 3.2 * MS)]
    trains = [pre, excite(rng, pre, post, probability, lag_ms=1.0)]
    analyzer = make_analyzer([trains])
    table = find_monosynaptic_connections(analyzer, include_inhibitory=True)
    assert len(table[(table.pre_unit_id == 0)]) == 1
    assert table.connection_type[0] == kind
    only = find_monosynaptic_connections(analyzer)
    assert only.connection_type.tolist() == ["excitatory"]
    assert only.p_fast[0] >= table.p_fast[0]


def test_all_pairs_hold_those_that_pass(injected):
    table = find_monosynaptic_connections(injected, return_all=True)
    assert len(table) == 90
    passing = table[table.passes_english2017].reset_index(drop=True)
    pd.testing.assert_frame_equal(passing, find_monosynaptic_connections(injected))
    stark = table[table.passes_stark2009]
    other = find_monosynaptic_connections(injected, method="stark2009")
    assert stark.p_fast.tolist() == other.p_fast.tolist()
    assert (table.p_fast[~table.passes_stark2009] >= 0.001 / 6).all()
    loose = find_monosynaptic_connections(injected, method="stark2009", correction="none")
    assert len(loose) == (table.p_fast < 0.001).sum() >= len(other)
    strict = find_monosynaptic_connections(injected, method="stark2009", correction="pairs")
    assert len(strict) == (table.p_fast < 0.001 / 6 / 90).sum() == 2
    assert set(table.verdict[~table.passes_stark2009]) == {
        "no connection: no lag stands out (p_fast)"
    }


@pytest.mark.parametrize("depth", [0.0, 0.7])
def test_false_positives_without_connections(depth):
    rng = np.random.default_rng(11)
    grid = np.arange(int(DURATION_S * 1000) + 1)
    # common to all: a slow wave of 2 Hz
    factor = 1 + depth * np.sin(2 * np.pi * 2.0 * grid / 1000)
    clock = np.concatenate([[0.0], np.cumsum(factor)]) * 0.001
    trains = [
        np.floor(np.interp(gamma_train(rng, 12) / FS, clock, np.arange(clock.size) / 1000) * FS)
        for _ in range(60)
    ]
    analyzer = make_analyzer([trains])
    num_pairs = 60 * 59
    stark = len(find_monosynaptic_connections(analyzer, method="stark2009"))
    assert stark <= stats.poisson.isf(1e-4, 0.001 * num_pairs)
    assert len(find_monosynaptic_connections(analyzer)) <= stark
    assert find_monosynaptic_connections(analyzer, correction="pairs").empty
    p = find_monosynaptic_connections(analyzer, return_all=True).p_fast
    # the smallest of six: of independent bins 6 % would be below 0.01
    assert 0.03 < (p < 0.01).mean() < 0.07


# --------------------------------------------------------------------------------------- flags


@pytest.fixture(scope="module")
def doubtful():
    """0 drives 1 on their shared channels, 2 and 3 are driven in common, 4 and 5 are sparse."""
    rng = np.random.default_rng(8)
    trains = [gamma_train(rng, 8, shape=6.0) for _ in range(4)] + [gamma_train(rng, 0.3)] * 2
    trains[1] = excite(rng, trains[0], trains[1], 0.1)
    common = gamma_train(rng, 4)
    for unit in (2, 3):
        late = np.rint(common + rng.normal(2 * MS, 0.7 * MS, common.size)).astype(np.int64)
        trains[unit] = np.concatenate([trains[unit], late[late < DURATION_S * FS]])
    trains[5] = excite(rng, trains[4], gamma_train(rng, 0.3), 0.5)
    amplitudes = np.zeros((6, 8))
    for unit, channel in enumerate((0, 1, 3, 4, 6, 7)):
        amplitudes[unit, channel] = 50
    amplitudes[1, 0] = 20
    return make_analyzer([trains], amplitudes=amplitudes)


def test_flags(doubtful):
    table = find_monosynaptic_connections(doubtful, method="stark2009")
    table = table.set_index(["pre_unit_id", "post_unit_id"])
    synapse = table.loc[(0, 1)]
    assert synapse.num_shared_channels == 1
    assert synapse.shares_channels
    assert synapse.same_shank
    assert synapse.distance_um == 20
    assert "share channels" in synapse.verdict
    assert "p_causal" not in synapse.verdict
    assert not synapse.both_directions
    for pair in ((2, 3), (3, 2)):
        row = table.loc[pair]
        assert row.zero_lag_peak
        assert row.both_directions
        assert not row.shares_channels
        assert "lag 0" in row.verdict
        assert "reverse" in row.verdict
        assert "p_causal" in row.verdict
    sparse = table.loc[(4, 5)]
    assert sparse.too_few_spikes
    assert "few pairs" in sparse.verdict
    assert not table.loc[[(2, 3)]].too_few_spikes.any()
    # common input is what P_causal is for
    english = find_monosynaptic_connections(doubtful)
    assert not {(2, 3), (3, 2)} & set(zip(english.pre_unit_id, english.post_unit_id, strict=True))


def test_the_extension_gives_the_same_channels(doubtful):
    before = find_monosynaptic_connections(doubtful, return_all=True)
    doubtful.compute("template_best_channels")
    pd.testing.assert_frame_equal(before, find_monosynaptic_connections(doubtful, return_all=True))
    doubtful.compute("template_best_channels", amplitude_threshold=0.5)
    after = find_monosynaptic_connections(doubtful, return_all=True)
    assert before.num_shared_channels.sum() == 2
    assert after.num_shared_channels.sum() == 0
    doubtful.delete_extension("template_best_channels")


def test_the_centre_bin_of_shared_channels_is_not_expected_from():
    rng = np.random.default_rng(2)
    trains = [gamma_train(rng, 30) for _ in range(2)]
    # a sorter that finds one of two spikes that overlap
    edges = [np.searchsorted(np.sort(trains[0]), trains[1] + lag) for lag in (-6, 7)]
    near = edges[0] < edges[1]
    trains[1] = trains[1][~near]
    apart = np.diag([50.0] * 8)[[0, 5]]
    together = apart.copy()
    together[1, 0] = 10
    first, second = (
        find_monosynaptic_connections(make_analyzer([trains], amplitudes=a), return_all=True)
        for a in (apart, together)
    )
    assert first.observed_count.tolist() == second.observed_count.tolist()
    assert (second.expected_count > first.expected_count * 1.005).all()


def test_contamination_is_that_of_the_panel(injected):
    table = find_monosynaptic_connections(injected, return_all=True)
    panel = contamination_panel(injected)["rp_contamination"]
    np.testing.assert_array_equal(table.contamination_pre, panel[table.pre_unit_id])
    np.testing.assert_array_equal(table.contamination_post, panel[table.post_unit_id])
    level = float(np.sort(table.contamination_pre)[40])
    flagged = find_monosynaptic_connections(injected, return_all=True, max_contamination=level)
    either = (table.contamination_pre > level) | (table.contamination_post > level)
    assert 0 < either.sum() < len(table)
    assert flagged.contaminated.tolist() == either.tolist()


def test_what_is_unknown_is_na():
    rng = np.random.default_rng(4)
    pre = gamma_train(rng, 10)
    trains = [pre, excite(rng, pre, gamma_train(rng, 10), 0.2), np.array([5, 9000])]
    table = find_monosynaptic_connections(make_analyzer([trains]), return_all=True)
    assert table.shares_channels.isna().all()
    assert table.same_shank.isna().all()
    assert table.distance_um.isna().all()
    assert "not known whether" in table.verdict[0]
    assert np.isnan(table.contamination_pre.iloc[-1])
    bad = find_monosynaptic_connections(
        make_analyzer([trains]), return_all=True, max_contamination=0.0
    )
    known = bad.contaminated[bad.pre_unit_id == 2]
    either = (bad.contamination_post > 0)[bad.pre_unit_id == 2]
    # another unit that is contaminated is enough; one that is not leaves it open
    assert (known.fillna(False) == either).all()
    assert (known.isna() == ~either).all()


# ------------------------------------------------------------------------------------- hostile


def test_empty_units_one_spike_and_duplicate_times():
    rng = np.random.default_rng(6)
    train = gamma_train(rng, 10)
    trains = [[], [77], np.repeat(train, 2), train]
    table = find_monosynaptic_connections(make_analyzer([trains]), return_all=True)
    empty = (table.pre_unit_id == 0) | (table.post_unit_id == 0)
    estimates = ["lag_ms", "p_fast", "p_causal", "transmission_probability"]
    assert table.loc[empty, estimates].isna().all(axis=None)
    assert table.loc[~empty, estimates].notna().all(axis=None)
    assert (table.verdict[empty] == "not tested: a unit has no spikes").all()
    assert not table.passes_stark2009[empty].any()
    same = table[(table.pre_unit_id == 2) & (table.post_unit_id == 3)].iloc[0]
    assert same.zero_lag_peak
    for nothing in ([[]], [[], []]):
        assert find_monosynaptic_connections(make_analyzer([nothing])).empty
    none = find_monosynaptic_connections(make_analyzer([trains]), unit_ids=[])
    assert none.empty
    assert list(none.columns) == list(MONOSYNAPTIC_DESCRIPTIONS)


def test_segments_add_up():
    rng = np.random.default_rng(7)
    units = [gamma_train(rng, 10) for _ in range(3)]
    units[1] = excite(rng, units[0], units[1], 0.08)
    cut = int(150 * FS)
    guard = 200 * MS
    halves = [
        [u[u < cut - guard] for u in units],
        [u[u >= cut + guard] - cut for u in units],
    ]
    whole = [np.concatenate([halves[0][u], halves[1][u] + cut]) for u in range(3)]
    columns = ["pre_unit_id", "post_unit_id", "observed_count", "p_fast", "p_causal", "lag_ms"]
    one, two = (
        find_monosynaptic_connections(make_analyzer(t), return_all=True)[columns]
        for t in ([whole], halves)
    )
    pd.testing.assert_frame_equal(one, two)
    # not across segments: both start at 0
    shifted = [[units[0], [], []], [[], units[0] + 48, []]]
    assert find_monosynaptic_connections(make_analyzer(shifted)).empty


def test_order_and_subset_of_units_do_not_matter(injected):
    table = find_monosynaptic_connections(injected, return_all=True)
    order = list("jcabdigfhe")
    again = find_monosynaptic_connections(injected, unit_ids=order, return_all=True)
    assert again.pre_unit_id.unique().tolist() == order
    keys = ["pre_unit_id", "post_unit_id"]
    columns = [name for name in table.columns if name != "verdict"]
    again = again.sort_values(keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(table[columns], again[columns], rtol=1e-9)
    some = find_monosynaptic_connections(injected, unit_ids=["d", "b", "c"], return_all=True)
    assert some[keys].values.tolist()[0] == ["d", "b"]
    for row in some.itertuples():
        same = (table.pre_unit_id == row.pre_unit_id) & (table.post_unit_id == row.post_unit_id)
        np.testing.assert_allclose(table.p_fast[same], row.p_fast, rtol=1e-9)


def test_threads_do_not_matter(threads, injected):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    tables = []
    for count in (1, 2):
        threads(count)
        tables.append(find_monosynaptic_connections(injected, return_all=True))
    assert tables[0].equals(tables[1])


def test_a_wider_window_changes_nothing(injected):
    default = find_monosynaptic_connections(injected, return_all=True)
    wide = find_monosynaptic_connections(injected, return_all=True, window_ms=200.0)
    pd.testing.assert_frame_equal(default, wide)
    narrow = find_monosynaptic_connections(injected, return_all=True, window_ms=61.0)
    assert narrow.observed_count.tolist() == default.observed_count.tolist()
    assert narrow.expected_count.tolist() != default.expected_count.tolist()


def test_bins_of_a_millisecond(injected):
    table = find_monosynaptic_connections(injected, bin_ms=1.0, method="stark2009")
    found = set(zip(table.pre_unit_id, table.post_unit_id, table.lag_ms, strict=True))
    assert {("a", "b", 2.0), ("d", "c", 2.0)} <= found


def test_parameters_that_cannot_be_used(injected):
    with pytest.raises(ParameterError) as caught:
        find_monosynaptic_connections(
            injected,
            method="stark",
            bin_ms=0.0,
            sigma_ms=np.nan,
            hollow_fraction=2.0,
            synaptic_window_ms=(0.0, 2.0),
            anticausal_window_ms=(2.0, 1.0),
            alpha=-1.0,
            correction="fdr",
            min_expected_count=-1.0,
            confidence_level=1.0,
        )
    for name in ("method", "bin_ms", "sigma_ms", "hollow", "synaptic", "anticausal", "alpha is"):
        assert name in str(caught.value)
    for name in ("correction", "min_expected_count", "confidence_level"):
        assert name in str(caught.value)
    for bad, message in (
        ({"bin_ms": 0.001}, "half a sample"),
        ({"sigma_ms": 0.3}, "at least one bin"),
        ({"window_ms": 20.0}, "wider window"),
        ({"window_ms": 2.0, "sigma_ms": 0.5}, "the correlogram at 2"),
        ({"synaptic_window_ms": (0.9, 1.0)}, "no bin"),
    ):
        with pytest.raises(ParameterError, match=message):
            find_monosynaptic_connections(injected, **bad)
    with pytest.raises(UnknownIdError):
        find_monosynaptic_connections(injected, unit_ids=["a", "zz"])
    with pytest.raises(ParameterError, match="more than once"):
        find_monosynaptic_connections(injected, unit_ids=["a", "a"])


def test_example_folder():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    table = find_monosynaptic_connections(analyzer, return_all=True)
    assert table.shares_channels.notna().any()
    assert table.distance_um.notna().any()
    assert table.num_spikes_pre.min() >= 0
