"""Reading, template counts and ranked channels against phy's way, phylib and plain numpy.

    python benchmarks/bench_foundation.py [--spikes 10000000] [--folder FOLDER]

All contenders run in one process on the same simulated Kilosort 4 folder, after a warm-up, in turn;
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

NEEDED = ["spike_times", "spike_clusters", "spike_templates", "amplitudes", "spike_positions"]


def time_in_turn(contenders, runs=5):
    """Median seconds of each contender; they run in turn, so that drift hits all alike."""
    seconds = {name: [] for name in contenders}
    for run in range(runs + 1):
        for name, function in contenders.items():
            start = time.perf_counter()
            function()
            if run > 0:  # the first is the warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def load_with_numpy(folder):
    arrays = [np.load(folder / f"{name}.npy") for name in [*NEEDED, "templates"]]
    arrays += [np.load(path) for path in folder.glob("*.npy") if path.name.startswith("channel_")]
    arrays.append(np.load(folder / "whitening_mat_inv.npy"))
    return arrays


def bench_counts(folder):
    import numba

    from si_curation.kernels.template_counts import count_templates, most_frequent_templates

    clusters = np.load(folder / "spike_clusters.npy").astype(np.int32)
    templates = np.load(folder / "spike_templates.npy").astype(np.int32)
    num_clusters, num_templates = int(clusters.max()) + 1, int(templates.max()) + 1

    def index_spikes():  # phy's spikes_per_cluster
        order = np.argsort(clusters, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)

    spikes_per_cluster = index_spikes()

    def ours():
        return most_frequent_templates(
            count_templates(clusters, templates, num_clusters, num_templates)
        )

    def phy(index=spikes_per_cluster):  # get_template_for_cluster of every cluster
        found = []
        for spike_ids in index:
            ids, counts = np.unique(templates[spike_ids], return_counts=True)
            found.append(ids[np.argmax(counts)])
        return np.array(found)

    @numba.njit(nogil=True)
    def read_both(a, b):
        total = 0
        for i in range(a.size):
            total += a[i] ^ b[i]
        return total

    def one_pass():
        return read_both(clusters, templates)

    found = ours().template_ids
    if not np.array_equal(found[np.unique(clusters)], phy()):
        raise RuntimeError("the two disagree")
    return time_in_turn(
        {
            "ours": ours,
            "phy, per cluster, its index given": phy,
            "phy, per cluster, with making its index": lambda: phy(index_spikes()),
            "one pass over the two arrays (1 thread)": one_pass,
        }
    )


def bench_channels(folder):
    from phylib.io.model import load_model

    from si_curation.kernels.channels import neighbourhood, rank_channels
    from si_curation.kernels.templates import (
        densify_templates,
        unwhiten_templates,
        unwhiten_templates_as_phy,
    )
    from si_curation.phy.folder import read_phy_folder

    phy_folder = read_phy_folder(folder)
    model = load_model(folder / "params.py")

    def ours(mode):
        whitened = densify_templates(phy_folder.templates, None, phy_folder.num_channels)
        if mode == "phy":
            found = unwhiten_templates_as_phy(whitened, phy_folder.whitening_inv)
        else:
            found = unwhiten_templates(whitened, phy_folder.whitening_inv.T)
        near = neighbourhood(
            found.amplitudes, phy_folder.channel_positions, phy_folder.channel_shanks
        )
        return rank_channels(found.amplitudes, near)

    def phylib():
        return [model.get_template(i).channel_ids for i in range(phy_folder.num_templates)]

    ranked = ours("phy")
    for row, channels in zip(ranked, phylib(), strict=True):
        if row[row >= 0].size and not np.array_equal(row[row >= 0], channels):
            raise RuntimeError("the two disagree")
    return time_in_turn(
        {
            "ours, unwhiten='auto'": lambda: ours("auto"),
            "ours, unwhiten='phy'": lambda: ours("phy"),
            "phylib get_template": phylib,
        }
    )


def bench_reading(folder):
    from si_curation import read_kilosort_as_analyzer

    return time_in_turn(
        {
            "ours, folder to analyzer": lambda: read_kilosort_as_analyzer(folder),
            "numpy, np.load of the files": lambda: load_with_numpy(folder),
        }
    )


def peak_memory_mb(code):
    """Peak resident memory of a Python process that runs `code`, and of one that only imports."""
    script = (
        "import resource, warnings; warnings.simplefilter('ignore')\n"
        f"{code}\n"
        "status = __import__('pathlib').Path('/proc/self/status')\n"
        "lines = status.read_text().splitlines() if status.exists() else []\n"
        "peak = [int(line.split()[1]) * 1024 for line in lines if line.startswith('VmHWM')]\n"
        "peak = peak or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]\n"
        "print(peak[0] / 1e6)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(out.stdout.split()[-1])


def bench_memory(folder):
    imports = (
        "import numpy as np, si_curation as sic\n"
        "sic.read_kilosort_as_analyzer(sic.example_folder())"
    )
    base = peak_memory_mb(imports)
    ours = peak_memory_mb(f"{imports}\na = sic.read_kilosort_as_analyzer({str(folder)!r})")
    held = returned_mb(folder)
    return {"peak above import": ours - base, "per-spike arrays returned": held}


def returned_mb(folder):
    from si_curation import read_kilosort_as_analyzer

    analyzer = read_kilosort_as_analyzer(folder)
    size = analyzer.sorting.to_spike_vector().nbytes
    for name in ("template_assignment", "spike_amplitudes", "spike_locations"):
        extension = analyzer.get_extension(name)
        if extension is not None:
            size += sum(
                extension.data[key].nbytes
                for key in extension.nodepipeline_variables
                if key in extension.data
            )
    return size / 1e6


def bench_import(runs=5):
    def seconds(code, **environment):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env={**os.environ, **environment},
            capture_output=True,
        )
        return time.perf_counter() - start

    base = "import spikeinterface.postprocessing"
    ours = "import spikeinterface.postprocessing, si_curation"
    times = {"base": [], "ours": []}
    for _ in range(runs):
        times["base"].append(seconds(base))
        times["ours"].append(seconds(ours))
    read = "import si_curation as sic; sic.read_kilosort_as_analyzer(sic.example_folder())"
    with tempfile.TemporaryDirectory() as cache:
        cold = seconds(read, NUMBA_CACHE_DIR=cache)
        warm = statistics.median(seconds(read, NUMBA_CACHE_DIR=cache) for _ in range(3))
    base_s, ours_s = statistics.median(times["base"]), statistics.median(times["ours"])
    return {
        "import spikeinterface.postprocessing": base_s,
        "si_curation on top of it": ours_s - base_s,
        "import and first read, kernels compiled": cold,
        "import and read, kernels cached": warm,
    }


def show(title, values, unit="s", reference=None):
    record_all(title, values, unit)
    print(f"\n{title}")
    for name, value in values.items():
        ratio = f"   {value / values[reference]:.2f} x {reference}" if reference else ""
        print(f"  {name:<44}{value:>10.4g} {unit}{ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--folder", type=Path, help="an existing folder instead of a simulated one")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    from si_curation import simulate_kilosort_folder

    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder
        if folder is None:
            folder = Path(scratch) / "folder"
            simulate_kilosort_folder(
                folder,
                dialect="kilosort4",
                num_spikes=args.spikes,
                num_templates=args.templates,
                num_channels=args.channels,
                write_features=False,
                curation=200,
            )
        results = {
            "counts": bench_counts(folder),
            "channels": bench_channels(folder),
            "reading": bench_reading(folder),
            "memory": bench_memory(folder),
            "import": bench_import(),
        }
    show("Counts and most frequent template, all units", results["counts"], reference="ours")
    show("Ranked channels of all templates", results["channels"], reference="ours, unwhiten='auto'")
    show("Folder to analyzer", results["reading"], reference="numpy, np.load of the files")
    show("Peak memory of that", results["memory"], "MB", "per-spike arrays returned")
    show("Import and compilation", results["import"])
    if args.json:
        args.json.write_text(json.dumps(results, indent=2))
    print(
        f"\npeak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )


if __name__ == "__main__":
    main()
