"""The contamination panel against SpikeInterface, brute force, and known contamination."""

from __future__ import annotations

from types import SimpleNamespace

import numba
import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import NumpySorting
from spikeinterface.metrics.quality.misc_metrics import (
    compute_isi_violations,
    compute_refrac_period_violations,
    compute_sliding_rp_violations,
    isi_violations,
    slidingRP_violations,
)

import si_curation as sic
from oracles import refractory as naive
from si_curation.errors import ParameterError, UnknownIdError
from si_curation.kernels.refractory import Trains
from si_curation.quality.contamination import (
    CONTAMINATION_DESCRIPTIONS,
    contamination_of_spikes,
    contamination_panel,
    count_violations,
    rp_contamination_of_trains,
)
from si_curation.variables import COMPARABLE_CONTAMINATION_COLUMNS

FS = 30000.0
INTERVALS = [
    "isi_violations_ratio",
    "hill_contamination",
    "rp_contamination",
    "rp_contamination_one_neuron",
]


class Analyzer:
    """What the panel asks of an analyzer: spikes, ids, rate, total samples."""

    def __init__(self, trains, total_samples, fs=FS, unit_ids=None):
        # trains[segment][unit]: samples
        num_units = len(trains[0])
        self.unit_ids = np.arange(num_units) if unit_ids is None else np.asarray(unit_ids)
        self.sampling_frequency = fs
        self.num_segments = len(trains)
        self.total_samples = total_samples
        self.sorting = NumpySorting.from_unit_dict(
            [
                {
                    u: np.sort(np.asarray(train, dtype=np.int64))
                    for u, train in zip(self.unit_ids, units, strict=True)
                }
                for units in trains
            ],
            fs,
        )

    def get_total_samples(self):
        return self.total_samples

    def get_num_samples(self, segment_index):
        return self.total_samples if segment_index == 0 else 0

    def get_num_segments(self):
        return self.num_segments


def renewal(rng, rate_hz, duration_s, dead_ms):
    """Samples of a neuron with an absolute refractory period."""
    mean = 1.0 / rate_hz - dead_ms / 1000.0
    isi = dead_ms / 1000.0 + rng.exponential(mean, int(rate_hz * duration_s * 1.2) + 50)
    times = np.cumsum(isi) - rng.uniform(0, 1.0 / rate_hz)
    return np.floor(times[(times > 0) & (times < duration_s)] * FS).astype(np.int64)


def contaminated(rng, rate_hz, duration_s, contamination, kind, dead_ms=2.5):
    """Samples of a unit and its true contamination."""
    own = renewal(rng, rate_hz * (1 - contamination), duration_s, dead_ms)
    if kind == "one neuron":
        other = renewal(rng, rate_hz * contamination, duration_s, dead_ms)
    else:
        count = rng.poisson(rate_hz * contamination * duration_s)
        other = rng.integers(0, int(duration_s * FS), count)
    return np.concatenate([own, other]), other.size / (own.size + other.size)


@pytest.fixture(scope="module")
def two_segments():
    rng = np.random.default_rng(3)
    segments = []
    for seconds in (200, 300):
        units = [contaminated(rng, 12, seconds, c, "many")[0] for c in (0, 0.05, 0.2, 0.5)]
        units += [rng.integers(0, int(seconds * FS), 40 * seconds)]  # refractory nowhere
        units += [np.zeros(0, dtype=np.int64)]
        segments.append([np.unique(unit) for unit in units])
    segments[1].append(np.array([5]))
    segments[0].append(np.array([], dtype=np.int64))
    return Analyzer(segments, int(500 * FS), unit_ids=[f"u{i}" for i in range(7)])


def test_threads_do_not_matter(threads, two_segments):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread only")
    tables = []
    for count in (1, 2):
        threads(count)
        tables.append(contamination_panel(two_segments))
    assert tables[0].equals(tables[1])


def test_kilosort_as_kilosort_wrote_it(shared_data):
    folder = shared_data / "ks4_fresh"
    written = np.loadtxt(folder / "cluster_ContamPct.tsv", skiprows=1)
    panel = contamination_panel(sic.read_kilosort_as_analyzer(folder))
    found = 100 * panel.loc[written[:, 0].astype(int), "kilosort_r12"]
    assert (written[:, 1] > 0).any()
    np.testing.assert_allclose(found.fillna(0.0), written[:, 1], atol=0.06)


# ----------------------------------------------------------------------------- SpikeInterface


@pytest.mark.parametrize("censored_ms", [0.0, 0.3])
def test_rp_columns_are_spikeinterface_s(two_segments, censored_ms):
    panel = contamination_panel(
        two_segments, refractory_period_ms=1.7, censored_period_ms=censored_ms
    )
    fake = as_spikeinterface_wants(two_segments)
    contamination, violations = compute_refrac_period_violations(
        fake, refractory_period_ms=1.7, censored_period_ms=censored_ms
    )
    for unit in panel.index[:5]:
        assert panel.loc[unit, "rp_violations"] == violations[unit]
        assert panel.loc[unit, "rp_contamination"] == pytest.approx(contamination[unit], abs=1e-12)
    assert panel["rp_contamination"].nunique() > 3


def test_isi_columns_are_spikeinterface_s(two_segments):
    # half a sample more than the period: SpikeInterface compares floating-point seconds
    panel = contamination_panel(two_segments, refractory_period_ms=1.5)
    fake = as_spikeinterface_wants(two_segments)
    _, counts = compute_isi_violations(fake, isi_threshold_ms=44.5 / 30.0)
    assert panel.index[:5].map(counts).tolist() == panel["isi_violations_count"][:5].tolist()
    for unit in panel.index[:5]:
        trains = [
            two_segments.sorting.get_unit_spike_train(unit, segment_index=segment).astype(float)
            for segment in (0, 1)
        ]
        # in samples, where comparisons are exact
        ratio, _, count = isi_violations(trains, two_segments.total_samples, 45.0, 0.0)
        assert panel.loc[unit, "isi_violations_ratio"] == pytest.approx(ratio)
        assert panel.loc[unit, "isi_violations_count"] == count


@pytest.mark.parametrize("fs", [25_000.0, 24_414.0625, 30_001.0, 12_345.6, 30_000.0])
@pytest.mark.parametrize("period_ms", [1.5, 1.1, 2.0])
def test_isi_columns_at_rates_that_are_no_multiples(fs, period_ms):
    """Intervals below the period count, against the period itself: 37.5 samples at 25 kHz."""
    rng = np.random.default_rng(5)
    duration = int(100 * fs)
    trains = [np.sort(rng.integers(0, duration, count)) for count in (3000, 900)]
    # intervals on both sides of the period, and at it
    edge = np.cumsum(rng.integers(0, int(2 * period_ms * fs / 1000), 2000))
    analyzer = Analyzer([[*trains, edge]], duration, fs=fs)
    panel = contamination_panel(analyzer, refractory_period_ms=period_ms)
    exact = round(period_ms * fs / 1000, 6)
    for unit in panel.index:
        train = analyzer.sorting.get_unit_spike_train(unit, segment_index=0)
        count = np.sum(np.diff(train) < exact)
        assert panel.loc[unit, "isi_violations_count"] == count
        ratio = count * duration / (2 * train.size**2 * exact)
        assert panel.loc[unit, "isi_violations_ratio"] == pytest.approx(ratio, rel=1e-12)
    if exact % 1:  # SpikeInterface compares seconds, which decides where intervals are the period
        ratios, counts = compute_isi_violations(
            as_spikeinterface_wants(analyzer), isi_threshold_ms=period_ms
        )
        assert panel["isi_violations_count"].to_dict() == counts
        for unit in panel.index:
            assert panel.loc[unit, "isi_violations_ratio"] == pytest.approx(ratios[unit])


def test_the_default_period_is_not_rounded_either():
    rng = np.random.default_rng(5)
    train = np.sort(rng.integers(0, 2_500_000, 6000))  # refractory nowhere
    panel = contamination_panel(Analyzer([[train]], 2_500_000, fs=25_000.0))
    assert panel.loc[0, "refractory_period_source"] == "default"
    assert panel.loc[0, "isi_violations_count"] == np.sum(np.diff(train) < 37.5)
    expected = np.sum(np.diff(train) < 37.5) * 2_500_000 / (2 * 6000**2 * 37.5)
    assert panel.loc[0, "isi_violations_ratio"] == pytest.approx(expected)


@pytest.mark.parametrize("fs", [30000.0, 20000.0, 32000.0])
def test_sliding_column_is_spikeinterface_s(fs):
    rng = np.random.default_rng(8)
    shares = rng.uniform(0, 0.4, 40)
    trains = [
        np.unique(contaminated(rng, rng.uniform(1, 20), 400, share, "many")[0]) for share in shares
    ]
    analyzer = Analyzer([trains], int(400 * FS), fs=fs)
    panel = contamination_panel(analyzer)
    expected = compute_sliding_rp_violations(as_spikeinterface_wants(analyzer))
    np.testing.assert_allclose(
        panel["sliding_rp_violation"], [expected[u] for u in panel.index], atol=1e-9
    )
    assert panel["sliding_rp_violation"].isna().any()
    assert panel["sliding_rp_violation"].nunique() > 10


def test_sliding_confidence_is_that_of_the_matrix():
    rng = np.random.default_rng(9)
    train = np.unique(contaminated(rng, 8, 300, 0.06, "many")[0])
    analyzer = Analyzer([[train]], int(300 * FS))
    _, matrix = slidingRP_violations(
        analyzer.sorting, 300.0, contamination_values=np.array([0.1]), return_conf_matrix=True
    )
    centres = (np.arange(matrix.shape[1]) + 0.5) * 8 / FS
    found = contamination_panel(analyzer)["sliding_rp_confidence"].iloc[0]
    assert found == pytest.approx(matrix[0, centres > 0.0005].max())


def test_one_formula_alone_is_that_of_the_panel():
    rng = np.random.default_rng(12)
    trains = [
        np.unique(contaminated(rng, rate, 300, share, "many")[0])
        for rate, share in ((12, 0.02), (9, 0.2), (14, 0.5), (3, 0.0))
    ]
    trains += [np.array([5]), np.zeros(0, dtype=np.int64)]
    analyzer = Analyzer([trains], int(300 * FS))
    start = np.cumsum([0, *(train.size for train in trains)])
    found = rp_contamination_of_trains(Trains(np.concatenate(trains), start), 300 * FS, FS)
    expected = contamination_panel(analyzer)["rp_contamination"].to_numpy()
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(found).sum() == 4


def test_pairs_are_counted_once_and_again_for_other_spikes():
    analyzer, other = (Analyzer([[np.array([0, 10, last])]], 100) for last in (20, 40))
    first = count_violations(analyzer, None)
    assert count_violations(analyzer, None).counts is first.counts
    assert count_violations(analyzer, 10_000).counts is not first.counts
    analyzer.sorting = other.sorting
    assert count_violations(analyzer, None).counts.all_pairs[0, 30] == 1


# ----------------------------------------------------------------------------- IBL


@pytest.mark.parametrize("fs", [2000.0, 3100.5])
def test_sliding_period_of_ibl_is_that_of_its_definition(fs):
    rng = np.random.default_rng(11)
    trains = [
        np.unique(contaminated(rng, rate, 40, share, "many")[0] * fs / FS).astype(np.int64)
        for rate, share in ((12, 0.02), (9, 0.2), (14, 0.5), (1.0, 0.0))
    ]
    trains.append(np.array([0, int(0.7 * fs)]))  # no pair at 1 to 2 s: no rate
    analyzer = Analyzer([trains], int(40 * fs), fs=fs)
    found = contamination_panel(analyzer)["sliding_rp_ibl"]
    expected = [naive.sliding_of_ibl(train.tolist(), fs) / 100 for train in trains]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.notna().any()
    assert found.isna().any()


def test_sliding_period_of_ibl_is_less_strict_and_has_reasons():
    rng = np.random.default_rng(8)
    shares = rng.uniform(0, 0.4, 60)
    trains = [
        np.unique(contaminated(rng, rng.uniform(1, 20), 300, share, "many")[0]) for share in shares
    ]
    panel = contamination_panel(Analyzer([[*trains, [], [4]]], int(300 * FS)))
    theirs, ours = panel["sliding_rp_ibl"], panel["sliding_rp_violation"]
    assert (theirs.fillna(1) <= ours.fillna(1)).mean() > 0.9
    assert not theirs.equals(ours)
    known = theirs.dropna()
    steps = known / 0.005
    np.testing.assert_allclose(steps, steps.round())
    assert known.between(0.005, 0.345).all()
    for unit in panel.index[theirs.isna()][:3]:
        assert "sliding_rp_ibl" in panel.loc[unit, "reason"]
        assert "up to 34% is ruled out" in panel.loc[unit, "reason"]
    assert panel["reason"].iloc[-2:].tolist() != ["", ""]


def test_pairs_of_ibl_are_within_segments():
    rng = np.random.default_rng(8)
    train = np.unique(contaminated(rng, 10, 200, 0.1, "many")[0])
    half = train[train < 100 * FS], train[train >= 100 * FS] - int(100 * FS)
    together = Analyzer([[np.concatenate([half[0], half[1] + int(500 * FS)])]], int(600 * FS))
    apart = Analyzer([[half[0]], [half[1]]], int(600 * FS))
    values = [contamination_panel(one)["sliding_rp_ibl"].iloc[0] for one in (together, apart)]
    assert values[0] == values[1]  # whatever the silence: the rate is that of the spikes


def as_spikeinterface_wants(analyzer):
    return SimpleNamespace(
        sorting=SimpleNamespace(
            select_periods=lambda periods: analyzer.sorting,
        ),
        unit_ids=analyzer.unit_ids,
        sampling_frequency=analyzer.sampling_frequency,
        get_num_segments=analyzer.get_num_segments,
        get_total_samples=analyzer.get_total_samples,
    )


# ----------------------------------------------------------------------------- known contamination


@pytest.mark.parametrize(
    ("kind", "column"),
    [("one neuron", "rp_contamination_one_neuron"), ("many", "rp_contamination")],
)
@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.2])
def test_each_model_finds_its_contamination(kind, column, contamination):
    rng = np.random.default_rng(11)
    units = [contaminated(rng, 10, 600, contamination, kind) for _ in range(60)]
    true = np.array([share for _, share in units])
    analyzer = Analyzer([[train for train, _ in units]], int(600 * FS))
    panel = contamination_panel(analyzer, refractory_period_ms=2.0)
    assert abs((panel[column] - true).mean()) < 0.08 * contamination
    covered = (panel[f"{column}_lower"] <= true) & (true <= panel[f"{column}_upper"])
    assert covered.mean() > 0.88


def test_refractory_period_is_found():
    rng = np.random.default_rng(12)
    dead = np.repeat([1.5, 2.5, 4.0], 10)
    trains = [contaminated(rng, 15, 900, 0.05, "many", dead_ms=ms)[0] for ms in dead]
    trains += [rng.integers(0, int(900 * FS), 9000), rng.integers(0, int(900 * FS), 50)]
    panel = contamination_panel(Analyzer([trains], int(900 * FS)))
    found = panel["refractory_period_ms"].to_numpy()
    assert panel["refractory_period_source"].tolist() == ["autocorrelogram"] * 30 + ["default"] * 2
    for ms in (1.5, 2.5, 4.0):
        assert abs(np.median(found[:30][dead == ms]) - ms) <= 0.5
    assert (found[:30] <= dead + 0.3).all()
    assert found[30:].tolist() == [1.5, 1.5]


# ----------------------------------------------------------------------------- the table


def test_columns_are_described_and_nan_has_a_reason(two_segments):
    panel = contamination_panel(two_segments)
    assert list(panel.columns) == list(CONTAMINATION_DESCRIPTIONS)
    assert set(COMPARABLE_CONTAMINATION_COLUMNS) < set(panel.columns)
    assert panel.index.name == "unit_id"
    values = [*INTERVALS, "sliding_rp_violation", "kilosort_r12", "kilosort_q12"]
    for unit, row in panel.iterrows():
        missing = [name for name in values if np.isnan(row[name])]
        assert bool(missing) == bool(row["reason"]), unit
        for name in missing:
            assert name in row["reason"] or row["reason"].startswith("all estimates"), name
    assert panel["reason"].iloc[0] == ""
    assert panel.loc["u4", "rp_contamination"] > 0.9  # independent spikes
    assert "one other neuron can make" in panel.loc["u4", "reason"]
    assert panel.loc["u5", "reason"] == "all estimates: no spikes"
    assert panel.loc["u6", "reason"] == "all estimates: one spike"


def test_counts_too_low_are_not_a_flattering_zero():
    rng = np.random.default_rng(5)
    train = np.sort(rng.choice(int(3600 * FS / 3000), 300, replace=False)) * 3000  # 100 ms apart
    panel = contamination_panel(Analyzer([[train]], int(3600 * FS)))
    row = panel.iloc[0]
    assert row["rp_violations"] == 0
    assert row[[*INTERVALS, "sliding_rp_violation", "kilosort_r12"]].isna().all()
    assert row[[f"{name}_lower" for name in INTERVALS]].tolist() == [0, 0, 0, 0]
    assert row["rp_contamination_upper"] == 1
    assert row["hill_contamination_upper"] == 0.5
    assert "any contamination is possible" in row["reason"]


@pytest.mark.parametrize(
    "train",
    [[], [7], [7, 7], [0, 10**6], [5] * 30, [-40, -39, 3], list(range(50))],
    ids=["none", "one", "twice", "far", "identical", "negative", "every sample"],
)
@pytest.mark.parametrize("total_samples", [0, 10, 10**6])
@pytest.mark.parametrize("refractory_ms", [None, 0.04, 100.0])
def test_hostile_trains(train, total_samples, refractory_ms):
    panel = contamination_panel(
        Analyzer([[train, [3, 400, 900]]], total_samples), refractory_period_ms=refractory_ms
    )
    row = panel.iloc[0]
    assert row["num_spikes"] == len(train)
    reach = round(row["refractory_period_ms"] * 30)
    lags = [abs(a - b) for i, a in enumerate(train) for b in train[:i]]
    assert row["rp_violations"] == sum(lag <= reach for lag in lags)
    exact = reach if refractory_ms is None else refractory_ms * 30  # 1.2 samples: 0 and 1 count
    assert row["isi_violations_count"] == np.sum(np.diff(train) < exact)
    for name in INTERVALS:
        value, lower, upper = row[[name, f"{name}_lower", f"{name}_upper"]]
        assert np.isnan(value) or 0 <= lower <= value <= upper
    if panel["rp_contamination"].isna().iloc[0]:
        assert row["reason"]


@pytest.mark.parametrize("fs", [1000.0, 12345.6, 250000.0])
def test_any_sampling_frequency(fs):
    rng = np.random.default_rng(1)
    train = np.cumsum(rng.integers(int(0.004 * fs) + 1, int(0.1 * fs), 3000))
    panel = contamination_panel(Analyzer([[train]], int(train[-1]), fs=fs))
    assert panel.loc[0, "rp_contamination"] == 0
    assert panel.loc[0, "rp_violations"] == 0
    assert panel.loc[0, "refractory_period_source"] == "autocorrelogram"


def test_censored_pairs_and_period():
    train = np.arange(2000) * 1000
    train = np.concatenate([train, train[:5] + 6])  # 0.2 ms: found twice
    panel = contamination_panel(
        Analyzer([[train]], 2_000_000), refractory_period_ms=2.0, censored_period_ms=0.5
    )
    row = panel.iloc[0]
    assert row["censored_pairs"] == 5
    assert row["rp_violations"] == 5
    expected = 2005**2 * (60 - 15) / (2_000_000 - 2 * 2005 * 15)
    assert row["expected_pairs"] == pytest.approx(expected)


def test_time_shift_and_unit_order_do_not_matter(two_segments):
    panel = contamination_panel(two_segments)
    trains = [
        [two_segments.sorting.get_unit_spike_train(u, segment_index=s) for u in panel.index]
        for s in (0, 1)
    ]
    shifted = Analyzer(
        [[train + 1000 * (1 + s) for train in trains[s][::-1]] for s in (0, 1)],
        two_segments.total_samples,
        unit_ids=panel.index[::-1],
    )
    assert contamination_panel(shifted).loc[panel.index].equals(panel)
    picked = ["u3", "u0"]
    assert contamination_panel(two_segments, unit_ids=picked).equals(panel.loc[picked])


def test_segments_far_apart_are_one_recording():
    rng = np.random.default_rng(6)
    first, second = (np.unique(contaminated(rng, 12, 100, 0.1, "many")[0]) for _ in range(2))
    length = int(100 * FS)
    pieces = contamination_panel(Analyzer([[first], [second]], 4 * length))
    whole = contamination_panel(
        Analyzer([[np.concatenate([first, second + 3 * length])]], 4 * length)
    )
    assert pieces.equals(whole)


def test_of_a_real_analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    panel = contamination_panel(analyzer, refractory_period_ms=1.0)
    contamination, violations = compute_refrac_period_violations(analyzer)
    assert panel["rp_violations"].to_dict() == violations
    told = panel["rp_contamination"].dropna()
    assert len(told) > 2
    for unit, value in told.items():
        assert value == pytest.approx(contamination[unit])
    with pytest.raises(UnknownIdError, match=r"\[99\]"):
        contamination_panel(analyzer, unit_ids=[4, 99])


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"confidence_level": 1.0}, "confidence_level"),
        ({"confidence_level": float("nan")}, "confidence_level"),
        ({"refractory_period_ms": 0.0}, "refractory_period_ms"),
        ({"refractory_period_ms": float("inf")}, "refractory_period_ms"),
        ({"refractory_period_ms": 0.01}, "one sample"),
        ({"refractory_period_ms": 1.0, "censored_period_ms": 1.0}, "censored period"),
        ({"censored_period_ms": -1.0}, "censored_period_ms"),
        ({"censored_period_ms": 2.0}, "default refractory period"),
        ({"confidence_level": 2, "refractory_period_ms": -1}, "confidence_level.*refractory"),
        ({"unit_ids": [0, 0]}, "more than once"),
    ],
)
def test_parameters_are_checked(kwargs, match):
    with pytest.raises(ParameterError, match=match):
        contamination_panel(Analyzer([[[1, 2]]], 100), **kwargs)


def test_no_units():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    panel = contamination_panel(analyzer, unit_ids=[])
    assert len(panel) == 0
    assert list(panel.columns) == list(CONTAMINATION_DESCRIPTIONS)


def test_groups_of_spikes_are_as_units():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    vector = analyzer.sorting.to_spike_vector()
    spikes = {u: np.flatnonzero(analyzer.unit_ids[vector["unit_index"]] == u) for u in (11, 12)}
    merged = sic.CurationSession(analyzer)
    unit_id = merged.merge([11, 12])
    panel = contamination_panel(merged.apply(), unit_ids=[unit_id])
    # in any order of the spikes, and with spikes that are in several groups
    found = contamination_of_spikes(
        analyzer, [np.concatenate([spikes[12], spikes[11]]), spikes[11], np.zeros(0, dtype=int)]
    )
    pd.testing.assert_frame_equal(found.iloc[:1], panel.reset_index(drop=True))
    alone = contamination_panel(analyzer, unit_ids=[11]).reset_index(drop=True)
    pd.testing.assert_frame_equal(found.iloc[[1]].reset_index(drop=True), alone)
    assert found.reason[2] == "all estimates: no spikes"
