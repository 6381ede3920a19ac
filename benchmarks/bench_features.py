"""Template features and principal-component features against phylib and one pass over the file.

    python benchmarks/bench_features.py [--spikes 10000000] [--folder FOLDER]

All contenders run in one process on the same simulated Kilosort folders, after a warm-up, in turn;
medians of several runs. Peak memory is measured in processes of its own. phylib is needed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from _common import record_all


def time_in_turn(contenders, runs):
    """Median seconds of each contender; they run in turn, so that drift hits all alike."""
    seconds = {name: [] for name in contenders}
    for run in range(runs + 1):
        for name, function in contenders.items():
            start = time.perf_counter()
            function()
            if run > 0:  # the first is the warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def read_without_components(folder, output=None):
    import si_curation as sic

    format = "memory" if output is None else "binary_folder"
    return sic.read_kilosort_as_analyzer(
        folder, principal_components=False, format=format, folder=output
    )


def bench_pc_features(folder, runs):
    analyzer = read_without_components(folder)
    file = folder / "pc_features.npy"

    def sum_over_the_map():
        return np.load(file, mmap_mode="r").sum()

    def ours():
        return analyzer.compute("template_features", source="pc_features", progress_bar=False)

    return time_in_turn({"ours": ours, "sum over the memory map": sum_over_the_map}, runs)


def bench_file(folder, runs):
    from phylib.io.model import load_model

    analyzer = read_without_components(folder)
    features = analyzer.compute("template_features", source="file", progress_bar=False)
    model = load_model(folder / "params.py")
    spikes_of = {int(c): np.flatnonzero(model.spike_clusters == c) for c in analyzer.unit_ids}
    templates = analyzer.get_extension("template_assignment").get_data()["template_id"]
    largest = max(spikes_of, key=lambda c: spikes_of[c].size)
    expected = model.get_template_features(spikes_of[largest])[:, templates[largest]]
    if not np.array_equal(features.get_unit_projections(largest), expected):
        raise RuntimeError("the two disagree")

    def ours():
        found = analyzer.compute("template_features", source="file", progress_bar=False)
        return [found.get_unit_projections(unit_id) for unit_id in analyzer.unit_ids]

    def phylib():
        return [
            model.get_template_features(spike_ids)[:, templates[cluster]]
            for cluster, spike_ids in spikes_of.items()
        ]

    return time_in_turn({"ours": ours, "phylib": phylib}, runs)


def bench_spike_features(folder, runs, largest):
    from phylib.io.model import load_model

    import si_curation as sic

    analyzer = read_without_components(folder)
    model = load_model(folder / "params.py")
    counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    unit = int(np.argsort(counts)[-1 if largest else counts.size // 2])
    spikes = np.flatnonzero(analyzer.sorting.to_spike_vector()["unit_index"] == unit)
    channels = analyzer.compute("template_best_channels").get_data(outputs="indices")[
        analyzer.unit_ids[unit]
    ]

    def ours():
        return sic.get_spike_features(analyzer, spikes, channels)

    def phylib():
        return model.get_features(spikes, channels)

    if not np.array_equal(ours(), phylib().astype(np.float32)):
        raise RuntimeError("the two disagree")
    found = time_in_turn({"ours": ours, "phylib": phylib}, runs)
    return {"spikes of the unit": int(spikes.size), **found}


def peak_so_far():
    """Peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had when it made this process
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_memory(folder, task, save_to):
    """Peak memory in MB of a task, and before it, in a process of its own."""
    code = f"""
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
import bench_features
from pathlib import Path
folder, task, save_to = Path({str(folder)!r}), {task!r}, {str(save_to)!r}
small = None if task == "analyzer on disk" else bench_features.read_without_components(folder)
import si_curation as sic
from spikeinterface import load_sorting_analyzer
if task == "analyzer on disk":
    analyzer = load_sorting_analyzer(save_to, lazy=True)
else:
    analyzer = small
before = bench_features.peak_so_far()
if task == "get_spike_features":
    num_spikes = len(analyzer.sorting.to_spike_vector())
    sic.get_spike_features(analyzer, np.arange(0, min(num_spikes, 140_000), 7), np.arange(10))
else:
    analyzer.compute("template_features", source="pc_features", progress_bar=False)
after = bench_features.peak_so_far()
print("PEAK", json.dumps([before, after]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("PEAK ")]
    if not lines:
        raise RuntimeError(done.stderr[-2000:])
    before, after = json.loads(lines[0].removeprefix("PEAK "))
    return {"before (MB)": round(before), "peak (MB)": round(after)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--file-spikes", type=int, default=1_000_000)
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["pc", "file", "spike", "memory"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    import numba

    import si_curation as sic

    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder
        if folder is None:
            folder = Path(scratch) / "kilosort4"
            sic.simulate_kilosort_folder(
                folder,
                dialect="kilosort4",
                num_spikes=arguments.spikes,
                num_templates=arguments.templates,
                num_channels=arguments.channels,
                curation=200,
            )
        only = arguments.only
        print(f"{os.cpu_count()} processors, {numba.get_num_threads()} threads")
        if only in (None, "pc"):
            found = bench_pc_features(folder, arguments.runs)
            record_all("template_features from pc_features.npy", found)
            ratio = found["ours"] / found["sum over the memory map"]
            print("template_features from pc_features:", found, f"ratio {ratio:.2f}")
        if only in (None, "spike"):
            for largest in (False, True):
                found = bench_spike_features(folder, 3 * arguments.runs, largest)
                unit = "largest unit" if largest else "median unit"
                seconds = {name: found[name] for name in ("ours", "phylib")}
                record_all(f"get_spike_features, {unit}", seconds)
                print("get_spike_features:", found, f"ratio {found['phylib'] / found['ours']:.1f}")
        if only in (None, "file"):
            other = Path(scratch) / "kilosort2"
            sic.simulate_kilosort_folder(
                other,
                dialect="kilosort2",
                num_spikes=arguments.file_spikes,
                num_templates=arguments.templates,
                num_channels=arguments.channels,
                curation=200,
            )
            found = bench_file(other, arguments.runs)
            record_all("template_features from the file, own projections of all units", found)
            print("file, all units:", found, f"ratio {found['phylib'] / found['ours']:.1f}")
        if only in (None, "memory"):
            for task in ("template_features", "get_spike_features"):
                print("memory,", task, peak_memory(folder, task, ""))
            saved = Path(scratch) / "analyzer"
            read_without_components(folder, saved)
            print("memory, on disk, lazy", peak_memory(folder, "analyzer on disk", saved))


if __name__ == "__main__":
    main()
