"""Attaching a Kilosort folder to an analyzer, beside reading it, and matching spikes beside a sort.

    python benchmarks/bench_attach.py [--spikes 1000000 10000000] [--folder FOLDER]

All contenders run in one process on the same simulated Kilosort 4 folder, after a warm-up, in turn;
medians of several runs. The analyzer that the folder is attached to has the spikes of the folder
and nothing of its templates. Peak memory is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import logging
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from _common import record
from bench_foundation import time_in_turn

RUNS = 3


def analyzer_without_assignment(folder):
    import si_curation as sic

    analyzer = sic.read_kilosort_as_analyzer(folder, principal_components=False)
    analyzer.delete_extension("template_assignment")
    return analyzer


def arguments_of_matching(folder):
    """Return samples, units, clusters of units, and the samples and clusters of the files."""
    analyzer = analyzer_without_assignment(folder)
    vector = analyzer.sorting.to_spike_vector()
    return (
        vector["sample_index"],
        vector["unit_index"],
        analyzer.unit_ids.astype(np.int64),
        np.load(folder / "spike_times.npy").ravel(),
        np.load(folder / "spike_clusters.npy").ravel(),
    )


def bench(folder):
    """Return the median seconds of each contender."""
    from spikeinterface.extractors import read_phy

    import si_curation as sic
    from si_curation.kernels.spike_matching import match_by_cluster, match_by_sample

    analyzer = analyzer_without_assignment(folder)
    arguments = arguments_of_matching(folder)
    templates = np.load(folder / "spike_templates.npy").ravel()
    nobody = np.full(arguments[2].size, -1, dtype=np.int64)
    values = np.random.default_rng(0).integers(0, 2**62, arguments[0].size)

    def by_sample():  # as where every unit was renamed
        rows = match_by_cluster(*arguments[:2], nobody, *arguments[3:])
        return match_by_sample(rows, *arguments[:2], *arguments[3:], templates)

    rows = match_by_cluster(*arguments)
    if not np.array_equal(arguments[3][rows], arguments[0]):
        raise RuntimeError("the rows are not those of the spikes")
    return time_in_turn(
        {
            "attach_kilosort_folder": lambda: sic.attach_kilosort_folder(analyzer, folder),
            "read_kilosort_as_analyzer": lambda: sic.read_kilosort_as_analyzer(
                folder, principal_components=False
            ),
            "SpikeInterface's read_phy": lambda: read_phy(folder).to_spike_vector(),
            "matching by sample and cluster": lambda: match_by_cluster(*arguments),
            "matching by sample alone": by_sample,
            "np.sort of one int64 array": lambda: np.sort(values),
        },
        RUNS,
    )


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(folder, what):
    """Return by how much the peak memory grows, in MB; in a process of its own."""
    import si_curation as sic
    from si_curation.kernels.spike_matching import match_by_cluster

    if what == "attach":
        analyzer = analyzer_without_assignment(folder)
        function = functools.partial(sic.attach_kilosort_folder, analyzer, folder)
    else:
        function = functools.partial(match_by_cluster, *arguments_of_matching(folder))
    warm_up()
    gc.collect()
    before = peak_mb()
    # reading needed more: what is free below the peak is taken up first
    taken = np.ones(int(max(before - now_mb(), 0) * 2**20), dtype=np.uint8)
    function()
    del taken
    return peak_mb() - before


def warm_up():
    """Compile the kernels, on a small folder."""
    import si_curation as sic

    sic.attach_kilosort_folder(
        analyzer_without_assignment(sic.example_folder()), sic.example_folder()
    )


def now_mb():
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def run(folder, num_spikes):
    seconds = bench(folder)
    print(f"\n{num_spikes:,} spikes\n\n| what | time |\n| --- | --- |")
    for name, value in seconds.items():
        print(f"| {name} | {value:.3f} s |")
    for name, value in seconds.items():
        record("attaching", f"{name} | {num_spikes:,} spikes", value)
    ratio = seconds["matching by sample and cluster"] / seconds["np.sort of one int64 array"]
    print(f"\nmatching: {ratio:.2f}x the sort")
    for what in ("attach", "match"):
        done = subprocess.run(
            [sys.executable, __file__, "--folder", str(folder), "--memory", what],
            capture_output=True,
            text=True,
            check=True,
        )
        grown = json.loads(done.stdout.splitlines()[-1])
        record("attaching", f"peak memory of {what} | {num_spikes:,} spikes", grown, "MB")
        arrays = grown / (num_spikes * 8 / 2**20)
        print(
            f"peak memory of {what}: {grown:.0f} MB more, {arrays:.1f} int64 arrays of the spikes"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--spikes", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--folder", type=Path, help="a folder that exists, instead of making them")
    parser.add_argument("--memory", choices=["attach", "match"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.memory:
        print(json.dumps(memory(arguments.folder, arguments.memory)))
        return
    if arguments.folder is not None:
        run(
            arguments.folder, int(np.load(arguments.folder / "spike_times.npy", mmap_mode="r").size)
        )
        return
    import si_curation as sic

    for num_spikes in arguments.spikes:
        with tempfile.TemporaryDirectory() as temporary:
            sic.simulate_kilosort_folder(
                Path(temporary) / "folder",
                num_templates=arguments.templates,
                num_channels=arguments.channels,
                num_spikes=num_spikes,
                curation=200,
                write_features=False,
            )
            run(Path(temporary) / "folder", num_spikes)


if __name__ == "__main__":
    main()
