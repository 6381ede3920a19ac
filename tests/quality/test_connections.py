"""Monosynaptic connections against brute force and injected synapses."""

from __future__ import annotations

import warnings

import numba
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from spikeinterface.core import NumpySorting, create_sorting_analyzer
from spikeinterface.generation import NoiseGeneratorRecording

import si_curation as sic
from si_curation._spikeinterface import inject_extension
from si_curation.errors import ParameterError, UnknownIdError
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


@pytest.mark.slow
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


@pytest.mark.slow
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
