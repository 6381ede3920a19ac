"""How often the verdicts of `effect_vs_quality` are correct in simulated populations; its time.

    python benchmarks/bench_effect_vs_quality.py [--runs 200] [--units 200]

Prints markdown. Populations: contamination is exponential (mean 0.1), firing rates and amplitudes
are log-normal, and every metric is a noisy measurement of its cause. The effect of a unit has a
standard deviation of 1, plus what the scenario adds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from _common import record
from si_curation.quality.effect.effect_vs_quality import effect_vs_quality

SCENARIOS = {
    "no effect": "nothing",
    "real": "0.5 in every unit",
    "real, 30 units": "1 in every unit",
    "contamination": "10 x contamination",
    "partly contamination": "1 + 10 x contamination",
    "better units show more": "1.5 - 8 x contamination",
    "firing rate": "log firing rate; presence ratio follows the rate",
    "real, 8 sessions": "0.5 + a session's own (SD 0.5)",
}
METRICS = ["rp_contamination", "presence_ratio", "snr"]


def simulate(scenario, rng, num_units):
    """Metrics and effect of one population."""
    n = 30 if "30 units" in scenario else num_units
    contamination = rng.exponential(0.1, n)
    log_rate = rng.normal(1.0, 1.0, n)
    amplitude = rng.lognormal(4.5, 0.5, n)
    metrics = pd.DataFrame(
        {
            "rp_contamination": contamination * rng.lognormal(0.0, 0.2, n),
            "presence_ratio": 1 / (1 + np.exp(-log_rate - rng.normal(0.0, 1.0, n))),
            "snr": amplitude / 12 * rng.lognormal(0.0, 0.2, n),
            "firing_rate": np.exp(log_rate),
            "amplitude_median": -amplitude,
        }
    )
    session = rng.integers(0, 8, n)
    means = {
        "no effect": 0.0,
        "real": 0.5,
        "real, 30 units": 1.0,
        "contamination": 10 * contamination,
        "partly contamination": 1.0 + 10 * contamination,
        "better units show more": 1.5 - 8 * contamination,
        "firing rate": log_rate,
        "real, 8 sessions": 0.5 + rng.normal(0.0, 0.5, 8)[session],
    }
    groups = session if "sessions" in scenario else None
    return pd.Series(means[scenario] + rng.normal(0.0, 1.0, n)), metrics, groups


def run(scenario, num_runs, num_units, **options):
    """Verdicts of each metric, and how often partial correlations and intervals are right."""
    summaries, covered = [], []
    for seed in range(num_runs):
        effect, metrics, groups = simulate(
            scenario, np.random.default_rng([list(SCENARIOS).index(scenario), seed]), num_units
        )
        found = effect_vs_quality(effect, metrics, METRICS, groups=groups, seed=seed, **options)
        summaries.append(found.summary)
        first = found.table.iloc[0]
        covered.append(bool(first["lower"] <= 0.5 <= first["upper"]))
    return pd.concat(summaries), float(np.mean(covered))


def share(column):
    return f"{100 * np.mean(column):.1f} %"


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--units", type=int, default=200)
    options = parser.parse_args()
    print(f"{options.runs} runs, {options.units} units, alpha 0.05\n")
    print(
        "| effect | metric | stable | shrinks | vanishes | grows | rho significant "
        "| partial rho significant | explained by rate and amplitude |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for scenario, words in SCENARIOS.items():
        found, covered = run(scenario, options.runs, options.units)
        for metric in METRICS:
            rows = found.loc[metric]
            verdicts = [
                share(rows["verdict"] == v) for v in ("stable", "shrinks", "vanishes", "grows")
            ]
            tests = [share(rows["p_rho"] < 0.05), share(rows["p_partial"] < 0.05)]
            cells = [f"{scenario}: {words}", metric, *verdicts, *tests, share(rows["explained"])]
            print("| " + " | ".join(cells) + " |")
        if scenario in ("real", "real, 8 sessions"):
            print(f"\nThe 95 % interval of all units holds 0.5 in {100 * covered:.1f} %.\n")
    rng = np.random.default_rng(0)
    names = [f"metric_{i}" for i in range(20)]
    table = pd.DataFrame(rng.normal(size=(1000, 20)), columns=names)
    table["firing_rate"] = rng.gamma(2.0, 2.0, 1000)
    effect = pd.Series(rng.normal(1.0, 1.0, 1000))
    keep = np.linspace(1.0, 0.2, 20)
    print(
        "\n| 20 metrics x 20 thresholds x 1,000 resamples x 1,000 units | seconds |\n| --- | --- |"
    )
    for statistic in ("mean", "median"):
        start = time.perf_counter()
        effect_vs_quality(
            effect,
            table,
            names,
            statistic=statistic,
            keep=keep,
            directions=dict.fromkeys(names, "higher"),
        )
        seconds = time.perf_counter() - start
        record("20 metrics x 20 thresholds x 1,000 resamples x 1,000 units", statistic, seconds)
        print(f"| {statistic} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
