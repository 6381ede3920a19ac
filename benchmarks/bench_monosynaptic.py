"""Recall and false positives of monosynaptic connections in simulated spike trains, and the time.

    python benchmarks/bench_monosynaptic.py [--units 500] [--spikes 1200000] [--seed 0]

Prints markdown. Simulated trains are gamma processes (order 2) in operational time, so that a
common rate modulation can drive them all; a synapse adds a postsynaptic spike after a presynaptic
one with the given probability, 1.5 ms later (standard deviation 0.2 ms), or removes the
postsynaptic spikes within 0.8 to 2.8 ms with that probability.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numba
import numpy as np
from spikeinterface.core import NumpySorting, create_sorting_analyzer
from spikeinterface.generation import NoiseGeneratorRecording

from _common import record
from si_curation.quality.connections import find_monosynaptic_connections

FS = 30000.0
LAG_S, JITTER_S = 0.0015, 0.0002
RUNS = 3
WAYS = {
    "English, lags": {},
    "English, no correction": {"correction": "none"},
    "English, pairs": {"correction": "pairs"},
    "Stark & Abeles, lags": {"method": "stark2009"},
    "Stark & Abeles, pairs": {"method": "stark2009", "correction": "pairs"},
    "English, lags, sigma 5 ms": {"sigma_ms": 5.0},
}


def modulation(rng, duration_s, sigma_s, depth):
    """Rate factor on a grid of 1 ms: exponential of a Gaussian process of that time scale."""
    size = int(duration_s * 1000) + 1
    if depth == 0:
        return np.ones(size)
    frequency = np.fft.rfftfreq(size, 0.001)
    spectrum = np.fft.rfft(rng.normal(size=size))
    smooth = np.fft.irfft(spectrum * np.exp(-((np.pi * frequency * sigma_s) ** 2)), size)
    factor = np.exp(depth * smooth / smooth.std())
    return factor / factor.mean()


def train(rng, rate_hz, duration_s, factor):
    """Spike times in s of a gamma process whose rate follows the factor."""
    operational = np.cumsum(
        rng.gamma(2.0, 0.5 / rate_hz, int(rate_hz * duration_s * 1.3) + 100)
    ) - rng.uniform(0, 1 / rate_hz)
    clock = np.concatenate([[0.0], np.cumsum(factor) * 0.001])
    inside = operational[(operational > 0) & (operational < duration_s)]
    return np.interp(inside, clock, np.arange(clock.size) * 0.001)


def excite(rng, pre, post, probability):
    driven = pre[rng.random(pre.size) < probability]
    return np.sort(np.concatenate([post, driven + rng.normal(LAG_S, JITTER_S, driven.size)]))


def inhibit(rng, pre, post, probability):
    after = np.searchsorted(pre, post - 0.0028), np.searchsorted(pre, post - 0.0008)
    return post[(after[0] == after[1]) | (rng.random(post.size) >= probability)]


def make_analyzer(trains, duration_s):
    """Make an analyzer of these spike times on a recording that is never read."""
    recording = NoiseGeneratorRecording(
        num_channels=2, sampling_frequency=FS, durations=[duration_s], noise_levels=1.0, seed=0
    )
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0.0], [0.0, 20.0]]))
    samples = [np.floor(np.sort(times) * FS).astype(np.int64) for times in trains]
    last = int(duration_s * FS)
    samples = [np.unique(s[(s >= 0) & (s < last)]) for s in samples]
    sorting = NumpySorting.from_unit_dict([dict(enumerate(samples))], FS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_sorting_analyzer(sorting, recording, sparse=False, verbose=False)


def simulate(rng, num_pairs, rates_hz, duration_s, probability, factor, connect=excite):
    """Unit 2 k drives unit 2 k + 1; everything else is unconnected."""
    trains = []
    for _ in range(num_pairs):
        pre, post = (train(rng, rate, duration_s, factor) for rate in rates_hz)
        trains += [pre, connect(rng, pre, post, probability) if probability else post]
    return make_analyzer(trains, duration_s)


def score(analyzer, num_pairs, kind="excitatory", **kwargs):
    """Recall (%) and false positives per 1000 unconnected ordered pairs, as text."""
    table = find_monosynaptic_connections(
        analyzer, include_inhibitory=kind == "inhibitory", **kwargs
    )
    is_true = (table.pre_unit_id % 2 == 0) & (table.post_unit_id == table.pre_unit_id + 1)
    hits = is_true & (table.connection_type == kind)
    num_unconnected = 2 * num_pairs * (2 * num_pairs - 1) - num_pairs
    false = 1000.0 * (~is_true).sum() / num_unconnected
    return f"{100.0 * hits.sum() / num_pairs:.0f} / {false:.2f}"


def report_strength(rng, num_pairs=20):
    modulations = {
        "none": (0.0, 0.0),
        "common, 200 ms": (0.2, 0.6),
        "common, 30 ms": (0.03, 0.6),
        "common, 10 ms": (0.01, 0.6),
    }
    print(
        f"\nRecall of {num_pairs} synapses (%) / false positives per 1000 unconnected ordered "
        "pairs\n"
    )
    print("| rate modulation | rates, Hz | minutes | transmission | " + " | ".join(WAYS) + " |")
    print("| --- | --- | ---: | ---: |" + " ---: |" * len(WAYS))
    cases = [
        ("none", (5, 10), 30, (0.002, 0.005, 0.01, 0.02, 0.05)),
        ("none", (1, 5), 60, (0.01, 0.02, 0.05, 0.1)),
        ("common, 200 ms", (5, 10), 30, (0.005, 0.01, 0.02)),
        ("common, 30 ms", (5, 10), 30, (0.01, 0.02)),
        ("common, 10 ms", (5, 10), 30, (0.01, 0.02)),
    ]
    for name, rates, minutes, strengths in cases:
        for strength in strengths:
            factor = modulation(rng, minutes * 60.0, *modulations[name])
            analyzer = simulate(rng, num_pairs, rates, minutes * 60.0, strength, factor)
            cells = [score(analyzer, num_pairs, **options) for options in WAYS.values()]
            where = f"{rates[0]} to {rates[1]}"
            print(f"| {name} | {where} | {minutes} | {strength} | " + " | ".join(cells) + " |")


def report_inhibition(rng, num_pairs=20):
    print("\nInhibition: share of postsynaptic spikes removed, the same measures\n")
    print("| rates, Hz | minutes | removed | English, lags | Stark & Abeles, lags |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for rates, minutes in (((10, 10), 30), ((20, 20), 60)):
        for strength in (0.2, 0.4, 0.8):
            factor = np.ones(minutes * 60000 + 1)
            analyzer = simulate(
                rng, num_pairs, rates, minutes * 60.0, strength, factor, connect=inhibit
            )
            cells = [
                score(analyzer, num_pairs, "inhibitory", method=method)
                for method in ("english2017", "stark2009")
            ]
            print(
                f"| {rates[0]} to {rates[1]} | {minutes} | {strength} | " + " | ".join(cells) + " |"
            )


def report_null(rng, num_pairs=100):
    print("\nNo synapse at all: false positives per 1000 ordered pairs\n")
    print("| rate modulation | rates, Hz | minutes | " + " | ".join(WAYS) + " |")
    print("| --- | --- | ---: |" + " ---: |" * len(WAYS))
    for name, sigma, depth in (
        ("none", 0.0, 0.0),
        ("common, 200 ms", 0.2, 0.6),
        ("common, 30 ms", 0.03, 0.6),
        ("common, 10 ms", 0.01, 0.6),
        ("common, 3 ms", 0.003, 0.6),
    ):
        for rates, minutes in (((0.5, 0.5), 30), ((2, 5), 30), ((10, 20), 20)):
            factor = modulation(rng, minutes * 60.0, sigma, depth)
            analyzer = simulate(rng, num_pairs, rates, minutes * 60.0, 0.0, factor)
            total = 2 * num_pairs * (2 * num_pairs - 1)
            cells = [
                f"{1000 * len(find_monosynaptic_connections(analyzer, **kw)) / total:.2f}"
                for kw in WAYS.values()
            ]
            print(f"| {name} | {rates[0]} and {rates[1]} | {minutes} | " + " | ".join(cells) + " |")


def report_speed(rng, num_units, num_spikes, duration_s=1200.0):
    weights = rng.lognormal(0.0, 0.8, num_units)
    rates = np.clip(weights / weights.sum() * num_spikes / duration_s, 0.02, 150.0)
    trains = [rng.uniform(0, duration_s, rng.poisson(rate * duration_s)) for rate in rates]
    analyzer = make_analyzer(trains, duration_s)
    count = analyzer.sorting.to_spike_vector().size
    print(f"\n{num_units} units, {count:,} spikes, {duration_s:.0f} s\n")
    print("| what | threads | seconds | rows |")
    print("| --- | ---: | ---: | ---: |")
    most = numba.config.NUMBA_NUM_THREADS
    for threads in sorted({1, most}):
        numba.set_num_threads(threads)
        for name, options in (
            ("pairs that pass", {}),
            ("with inhibitory ones", {"include_inhibitory": True}),
            ("all pairs", {"return_all": True}),
        ):
            seconds = []
            for _ in range(RUNS + 1):
                start = time.perf_counter()
                table = find_monosynaptic_connections(analyzer, **options)
                seconds.append(time.perf_counter() - start)
            what = f"{name}, threads: {threads}"
            record(
                f"{num_units} units, {num_spikes:,} spikes", what, statistics.median(seconds[1:])
            )
            print(f"| {name} | {threads} | {statistics.median(seconds[1:]):.2f} | {len(table):,} |")
    numba.set_num_threads(most)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--spikes", type=int, default=1_200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", action="store_true", help="only how long it takes")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    report_speed(rng, arguments.units, arguments.spikes)
    if arguments.speed:
        return
    report_null(rng)
    report_strength(rng)
    report_inhibition(rng)


if __name__ == "__main__":
    main()
