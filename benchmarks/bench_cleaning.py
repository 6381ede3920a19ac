"""How many contaminating spikes `suggest_cleaning` sets aside, and how many of the neuron's own.

    python benchmarks/bench_cleaning.py FOLDER [FOLDER ...] [--by-unit]

FOLDER: what Kilosort wrote of a simulated recording, `ground_truth.npz` in a folder above it (see
`truth.py`). A unit's own spikes are those of the neuron with most spikes in it, all others
contaminate it. Of all units with at least 100 spikes, by their true contamination: the share of
the contaminating spikes that `foreign_spikes` returns, and of the unit's own; then of the units
that are suggested, with all spikes that the loss allows and with the sure ones; and how often a
unit got better, by the share of right ones among its spikes and the missed ones together.
Intervals (95 %) are bootstraps over recordings.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np

import si_curation as sic
from _common import record
from truth import SortedTruth

MIN_SPIKES = 100
GROUPS = (
    ("below 2 %", 0, 0.02),
    ("2-5 %", 0.02, 0.05),
    ("5-15 %", 0.05, 0.15),
    ("below 15 %", 0, 0.15),
    ("above", 0.15, 1.01),
)


def measure(folder: str, by_unit: bool) -> list[dict]:
    """Clean the units of a folder, and count."""
    truth = SortedTruth(folder)
    analyzer = truth.analyzer
    begin = time.perf_counter()
    found = sic.suggest_cleaning(analyzer)
    seconds = time.perf_counter() - begin
    suggested = set(found.units())
    table = found.table.set_index("unit_id")
    rows = []
    for unit_id, neurons in truth.neurons_of_spikes.items():
        if neurons.size < MIN_SPIKES:
            continue
        is_foreign = neurons != truth.units[unit_id].neuron
        row = {
            "recording": truth.recording,
            "contamination": is_foreign.mean(),
            "suggested": unit_id in suggested,
            "expected_loss": table.expected_loss[unit_id],
        }
        for name, only_sure in (("all", False), ("sure", True)):
            mask = found.foreign_spikes(unit_id, only_sure=only_sure)
            row |= {
                f"foreign_{name}": np.count_nonzero(mask & is_foreign),
                f"own_{name}": np.count_nonzero(mask & ~is_foreign),
            }
        row |= {"foreign": np.count_nonzero(is_foreign), "own": np.count_nonzero(~is_foreign)}
        rows.append(row)
        if by_unit and (row["suggested"] or row["contamination"] > 0.02):
            print(truth.name, unit_id, row, table.reason[unit_id])
    record("suggest_cleaning", truth.name, seconds)
    print(
        f"{truth.name}: {len(rows)} units, {len(suggested)} suggested, {seconds:.2f} s", flush=True
    )
    return rows


def ratio(rows: list[dict], part: str, whole: str, rng: np.random.Generator) -> str:
    """Return a ratio of sums, with a bootstrap over recordings."""
    names = sorted({row["recording"] for row in rows})
    sums = np.array(
        [[sum(r[c] for r in rows if r["recording"] == n) for c in (part, whole)] for n in names],
        dtype=float,
    )
    if not sums.size or not sums[:, 1].sum():
        return "-"
    drawn = sums[rng.integers(len(names), size=(2000, len(names)))].sum(axis=1)
    low, high = np.nanquantile(drawn[:, 0] / np.maximum(drawn[:, 1], 1), [0.025, 0.975])
    return f"{sums[:, 0].sum() / sums[:, 1].sum():.3f} ({low:.3f}-{high:.3f})"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    folders = [a for a in sys.argv[1:] if not a.startswith("--")]
    rows = [row for folder in folders for row in measure(folder, "--by-unit" in sys.argv)]
    rng = np.random.default_rng(0)
    for which in ("all units", "suggested units"):
        print(
            f"\n{which}\ncontamination | units | foreign set aside | own lost | expected "
            "| sure: foreign | sure: own"
        )
        for name, low, high in GROUPS:
            some = [
                r
                for r in rows
                if low <= r["contamination"] < high and (which == "all units" or r["suggested"])
            ]
            expected = np.nanmean([r["expected_loss"] for r in some]) if some else np.nan
            columns = [
                ratio(some, p, w, rng)
                for p, w in (
                    ("foreign_all", "foreign"),
                    ("own_all", "own"),
                    ("foreign_sure", "foreign"),
                    ("own_sure", "own"),
                )
            ]
            print(name, len(some), *columns[:2], f"{expected:.3f}", *columns[2:], sep=" | ")
    for recording in sorted({r["recording"] for r in rows}):
        some = [r for r in rows if r["recording"] == recording and r["contamination"] < 0.15]
        counts = {k: sum(r[k] for r in some) for k in ("foreign", "own", "foreign_all", "own_all")}
        print(
            f"{recording}: {counts['foreign_all'] / max(counts['foreign'], 1):.2f} of "
            f"{counts['foreign']} foreign, {counts['own_all'] / max(counts['own'], 1):.4f} own lost"
        )
    better = [
        (
            (r["own"] - r["own_sure"]) / (r["own"] + r["foreign"] - r["foreign_sure"])
            - r["own"] / (r["own"] + r["foreign"])
        )
        for r in rows
        if r["suggested"]
    ]
    if better:
        print(
            f"accuracy of suggested units, sure spikes: mean {np.mean(better):+.3f}, "
            f"worst {min(better):+.3f}, "
            f"{sum(b > 0 for b in better)} of {len(better)} better"
        )


if __name__ == "__main__":
    main()
