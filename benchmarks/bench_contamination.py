"""The contamination panel compared with SpikeInterface's metrics, and its bias and coverage.

    python benchmarks/bench_contamination.py [--spikes 1200000] [--units 500] [--repeats 300]

Prints markdown. Times are medians of several runs after a warm-up. The second table injects known
contamination into simulated units (2.5 ms absolute refractory period, 10 Hz, 20 minutes).
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
from spikeinterface.metrics.quality.misc_metrics import (
    compute_isi_violations,
    compute_refrac_period_violations,
    compute_sliding_rp_violations,
)

from _common import record
from si_curation.quality.contamination import contamination_panel

FS = 30000.0
DEAD_S = 0.0025
RUNS = 5
LEVELS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)
ESTIMATORS = {
    "isi_violations_ratio": "UMS2000 ratio",
    "hill_contamination": "Hill 2011",
    "rp_contamination": "Llobet 2022, many neurons",
    "rp_contamination_one_neuron": "Llobet 2022, one neuron",
}


def renewal(rng, rate_hz, duration_s):
    """Spike times of a neuron with an absolute refractory period, in seconds."""
    mean = 1.0 / rate_hz - DEAD_S
    intervals = DEAD_S + rng.exponential(mean, int(rate_hz * duration_s * 1.2) + 50)
    times = np.cumsum(intervals) - rng.uniform(0, 1.0 / rate_hz)
    return times[(times > 0) & (times < duration_s)]


def simulate_unit(rng, rate_hz, duration_s, contamination, kind):
    """Samples of a unit, and the share of its spikes that are not its own."""
    own = renewal(rng, rate_hz * (1 - contamination), duration_s)
    if contamination == 0:
        other = np.zeros(0)
    elif kind == "one neuron":
        other = renewal(rng, rate_hz * contamination, duration_s)
    else:
        other = rng.uniform(0, duration_s, rng.poisson(rate_hz * contamination * duration_s))
    times = np.sort(np.concatenate([own, other]))
    return np.floor(times * FS).astype(np.int64), other.size / times.size


def make_analyzer(trains, duration_s):
    """Make an analyzer of these spikes on a recording that is never read as a whole."""
    recording = NoiseGeneratorRecording(
        num_channels=2, sampling_frequency=FS, durations=[duration_s], noise_levels=1.0, seed=0
    )
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0.0], [0.0, 20.0]]))
    sorting = NumpySorting.from_unit_dict([dict(enumerate(trains))], FS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_sorting_analyzer(sorting, recording, sparse=False, verbose=False)


def median(function, runs):
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def report_speed(num_units, num_spikes):
    rng = np.random.default_rng(0)
    duration = 1200.0
    weights = rng.lognormal(0.0, 0.8, num_units)
    rates = np.clip(weights / weights.sum() * num_spikes / duration, 0.02, 150.0)
    analyzer = make_analyzer(
        [simulate_unit(rng, r, duration, 0.05, "many")[0] for r in rates], duration
    )
    count = analyzer.sorting.to_spike_vector().size
    metrics = {
        "rp_violation": lambda: compute_refrac_period_violations(
            analyzer, refractory_period_ms=1.5
        ),
        "isi_violation": lambda: compute_isi_violations(analyzer),
        "sliding_rp_violation": lambda: compute_sliding_rp_violations(analyzer),
    }
    theirs = {name: median(function, 1) for name, function in metrics.items()}
    total = sum(theirs.values())
    print(f"\n{num_units} units, {count:,} spikes, {duration:.0f} s\n")
    print("| what | seconds | SpikeInterface's three / this |")
    print("| --- | ---: | ---: |")
    for name, seconds in theirs.items():
        print(f"| SpikeInterface {name} | {seconds:.3f} | |")
    table = f"{num_units} units, {num_spikes:,} spikes"
    record(table, "SpikeInterface, the three together", total)
    print(f"| SpikeInterface, the three together | {total:.3f} | 1 |")
    most = numba.config.NUMBA_NUM_THREADS
    for threads in sorted({1, most}):
        numba.set_num_threads(threads)
        for given in (1.5, None):
            ours = median(
                lambda given=given: contamination_panel(analyzer, refractory_period_ms=given), RUNS
            )
            how = "1.5 ms" if given else "estimated period"
            record(table, f"contamination_panel, {how}, threads: {threads}", ours)
            print(
                f"| contamination_panel, {how}, threads: {threads} "
                f"| {ours:.3f} | {total / ours:.1f} |"
            )
    numba.set_num_threads(most)


def report_bias(repeats, rate_hz=10.0, duration_s=1200.0):
    rng = np.random.default_rng(1)
    print(
        f"\nBias (estimate less truth, percentage points) / coverage of the 95 % interval (%), "
        f"{repeats} units each\n"
    )
    print(
        "| contaminants | true % | refractory period | "
        + " | ".join(ESTIMATORS.values())
        + " | sliding RP: mean % / at least the truth % | Kilosort R12, mean % | NaN in any % |"
    )
    print("| --- | ---: | --- |" + " ---: |" * (len(ESTIMATORS) + 3))
    for kind in ("one neuron", "many neurons"):
        for level in LEVELS:
            units = [simulate_unit(rng, rate_hz, duration_s, level, kind) for _ in range(repeats)]
            truth = np.array([share for _, share in units])
            analyzer = make_analyzer([train for train, _ in units], duration_s)
            for given in (2.0, None):
                panel = contamination_panel(analyzer, refractory_period_ms=given)
                print(bias_row(panel, truth, kind, level, given))


def bias_row(panel, truth, kind, level, given):
    cells = []
    for name in ESTIMATORS:
        bias = 100 * (panel[name] - truth).mean()
        is_covered = (panel[f"{name}_lower"] <= truth) & (truth <= panel[f"{name}_upper"])
        cells.append(f"{bias:+.2f} / {100 * is_covered.mean():.0f}")
    sliding = panel["sliding_rp_violation"]
    above = (sliding.isna() | (sliding >= truth)).mean()
    cells.append(f"{100 * sliding.mean():.1f} / {100 * above:.0f}")
    cells.append(f"{100 * panel['kilosort_r12'].mean():.1f}")
    cells.append(f"{100 * panel[list(ESTIMATORS)].isna().any(axis=1).mean():.0f}")
    period = (
        "2.0 ms" if given else f"estimated, median {panel['refractory_period_ms'].median():.2f} ms"
    )
    return f"| {kind} | {100 * level:.0f} | {period} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--spikes", type=int, default=1_200_000)
    parser.add_argument("--repeats", type=int, default=300)
    arguments = parser.parse_args()
    report_speed(arguments.units, arguments.spikes)
    report_bias(arguments.repeats)


if __name__ == "__main__":
    main()
