"""What a curation plan does when it is applied without a look, on sorted recordings with truth.

    python benchmarks/bench_plan.py FOLDER...
    python benchmarks/bench_plan.py --speed [--spikes 1000000] [--units 500] [--speed-folder FOLDER]

Prints markdown. A FOLDER is what a sorter wrote, `ground_truth.npz` lies in it or above it (see
`truth.py`). The accuracy of a neuron is hits / (spikes of either), of the unit that it is best
found as, spikes at most 0.4 ms apart, which is SpikeInterface's agreement score. A found neuron has
an accuracy of 0.5 or more before or after the plan. Units labelled noise by the plan do not count.
"""

from __future__ import annotations

import argparse
import logging
import resource
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import si_curation as sic
from _common import record
from truth import SortedTruth, as_proportion

LEAST_FOUND = 0.5
WELL_FOUND, MOST_LOST = 0.9, 0.02


def is_right(data: SortedTruth, step) -> bool:
    """Whether a step is right: known of the neurons of the units."""
    units = [data.units[unit_id] for unit_id in step.unit_ids]
    if step.kind == "merge":
        return len({unit.neuron for unit in units}) == 1
    neurons = data.neurons_of_spikes[step.unit_ids[0]]
    if step.kind == "split":
        parts = np.asarray(step.parts())
        main = []
        for part in range(int(parts.max()) + 1):
            own = neurons[parts == part]
            counts = np.bincount(own[own >= 0], minlength=1)
            main.append(int(counts.argmax()))
        return len(set(main)) > 1
    if step.kind == "clean":
        foreign = neurons[np.asarray(step.parts())]
        return np.mean(foreign != units[0].neuron) > 0.5
    # removed: the neuron is found in a unit that stays
    return any(
        other.neuron == units[0].neuron
        for unit_id, other in data.units.items()
        if unit_id not in step.unit_ids
    )


def measure(folder: Path) -> tuple[dict, dict[str, list[int]]]:
    data = SortedTruth(folder)
    plan = sic.plan_curation(data.analyzer)
    session = sic.CurationSession(data.analyzer)
    trains = {i: data.unit_train(i) for i in session.unit_ids}
    before = data.accuracy_of_neurons(trains)
    plan.apply_to(session)
    samples = data.analyzer.sorting.to_spike_vector()["sample_index"]
    groups = session.table["group"]
    trains = {i: samples[session.get_spikes(i)] for i in session.unit_ids if groups[i] != "noise"}
    after = data.accuracy_of_neurons(trains)
    found = np.maximum(before, after) >= LEAST_FOUND
    right = {kind: [0, 0] for kind in ("remove", "split", "merge", "clean")}
    for step in plan.steps:
        right[step.kind][0] += is_right(data, step)
        right[step.kind][1] += 1
    lost = (before - after)[before >= WELL_FOUND]
    return {
        "sorting": data.name,
        "neurons found": int(found.sum()),
        "accuracy before": float(before[found].mean()),
        "after": float(after[found].mean()),
        "well found, before": int((before >= WELL_FOUND).sum()),
        "after ": int((after >= WELL_FOUND).sum()),
        "largest loss of a well found one": float(max(lost.max(initial=0.0), 0.0)),
    }, right


def report_truth(folders: list[Path]) -> None:
    rows, right = [], {}
    for folder in folders:
        row, own = measure(folder)
        rows.append(row)
        for kind, counts in own.items():
            right[kind] = np.add(right.get(kind, [0, 0]), counts)
    print("| " + " | ".join(rows[0]) + " |")
    print("| --- |" + " ---: |" * (len(rows[0]) - 1))
    for row in rows:
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
        print("| " + " | ".join(cells) + " |")
    gains = [row["after"] - row["accuracy before"] for row in rows]
    losses = [row["largest loss of a well found one"] for row in rows]
    print(
        f"\nThe mean accuracy rises in {sum(g > 0 for g in gains)} of {len(rows)} sortings, by "
        f"{np.mean(gains):+.3f} on the average (from {min(gains):+.3f} to {max(gains):+.3f}); in "
        f"{sum(loss <= MOST_LOST for loss in losses)} no neuron of accuracy {WELL_FOUND} loses "
        f"more than {MOST_LOST}.\n"
    )
    print("| step | right |\n| --- | --- |")
    for kind, counts in right.items():
        print(f"| {kind} | {as_proportion(int(counts[0]), int(counts[1]))} |")


def report_speed(folder: Path) -> None:
    sic.plan_curation(sic.read_kilosort_as_analyzer(sic.example_folder()))  # compiles
    analyzer = sic.read_kilosort_as_analyzer(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start, of_processor = time.perf_counter(), time.process_time()
    plan = sic.plan_curation(analyzer)
    seconds, of_processor = time.perf_counter() - start, time.process_time() - of_processor
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    num_spikes, num_units = analyzer.sorting.to_spike_vector().size, len(analyzer.unit_ids)
    table = f"{num_spikes:,} spikes, {num_units} units"
    record(table, "plan_curation", seconds)
    record(table, "plan_curation, of the processor", of_processor)
    record(table, "peak memory beyond the analyzer", 1e3 * (after - before), "MB")
    # on a busy machine the processor time tells more
    print("| spikes | units | time | processor time | peak memory, of which before |")
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {num_spikes:,} | {num_units} | {seconds:.1f} s | {of_processor:.1f} s | "
        f"{after:.2f} GB, {before:.2f} |"
    )
    print(f"\n{plan}")


def report_speed_of_simulated(num_spikes: int, num_units: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "folder"
        sic.simulate_kilosort_folder(
            folder,
            dialect="kilosort4",
            num_spikes=num_spikes,
            num_templates=num_units,
            num_channels=384,
            write_features=True,
        )
        report_speed(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--speed", action="store_true", help="time and memory, on a simulated one")
    parser.add_argument("--speed-folder", type=Path, help="time and memory, on this one")
    parser.add_argument("--spikes", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=500)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if args.folders:
        report_truth(args.folders)
    if args.speed_folder:
        report_speed(args.speed_folder)
    elif args.speed:
        report_speed_of_simulated(args.spikes, args.units)


if __name__ == "__main__":
    main()
