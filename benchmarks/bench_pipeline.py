"""The whole pipeline: read, all extensions, metrics, phy, report; compared with SpikeInterface.

    python benchmarks/bench_pipeline.py [--spikes 100000 1000000 10000000] [--features]
    python benchmarks/bench_pipeline.py --spikes 50000000 --ours-only    # memory

Prints markdown. Each contender runs in a process of its own, so that its peak memory can be
measured, on the same simulated Kilosort 4 folder, which nobody curated: SpikeInterface cannot read
curated ones. SpikeInterface does the steps that it can without a recording: read, correlograms,
template similarity, unit locations, the quality metrics that need no traces, export to phy. It does
them in memory, and so do we; once more we do all with an analyzer on disk, written safely.
Everything runs once on a small folder first, so that compiling is not timed.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from _common import record

FS = 30_000.0
OURS = (
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
)


class Stopwatch:
    """Seconds of each step."""

    def __init__(self):
        self.seconds = {}

    def __call__(self, name, function):
        start = time.perf_counter()
        result = function()
        self.seconds[name] = time.perf_counter() - start
        return result


def run_ours(folder, scratch, features):
    return run_ours_on(folder, features, scratch, {})


def run_ours_on_disk(folder, scratch, features):
    where = {"format": "binary_folder", "folder": scratch / "analyzer"}
    return run_ours_on(folder, features, scratch, where)


def run_ours_on(folder, features, scratch, where):
    import si_curation as sic

    step = Stopwatch()
    analyzer = step("read", lambda: sic.read_kilosort_as_analyzer(folder, **where))
    for name in OURS:
        if name == "template_features" and not features:
            continue
        step(name, lambda name=name: analyzer.compute(name, progress_bar=False))
    step("export to phy", lambda: sic.export_to_phy(analyzer, scratch / "phy"))
    step("report", lambda: sic.export_report(analyzer, scratch / "r.html", progress_bar=False))
    return step.seconds


def run_spikeinterface(folder, scratch, features):
    import spikeinterface.exporters as exporters
    import spikeinterface.extractors as extractors
    from spikeinterface.core import set_global_job_kwargs

    set_global_job_kwargs(n_jobs=2, progress_bar=False)
    step = Stopwatch()
    analyzer = step("read", lambda: extractors.read_kilosort_as_analyzer(folder))
    step("unit_locations", lambda: analyzer.compute("unit_locations", method="center_of_mass"))
    step("template_similarity", lambda: analyzer.compute("template_similarity"))
    step("correlograms", lambda: analyzer.compute("correlograms"))
    names = ["num_spikes", "firing_rate", "presence_ratio", "isi_violation", "rp_violation"]
    names += ["sliding_rp_violation", "firing_range"]
    step("quality_metrics", lambda: analyzer.compute("quality_metrics", metric_names=names))
    step(
        "export to phy",
        lambda: exporters.export_to_phy(
            analyzer,
            scratch / "phy",
            compute_pc_features=False,
            compute_amplitudes=False,
            copy_binary=False,
            verbose=False,
        ),
    )
    return step.seconds


OURS_IN_MEMORY, OURS_ON_DISK = "si_curation", "si_curation, all on disk"
RUNNERS = {
    OURS_ON_DISK: run_ours_on_disk,
    OURS_IN_MEMORY: run_ours,  # the last of ours is what others are compared with
    "SpikeInterface": run_spikeinterface,
}


def run_here(name, folder, features):
    """Run one contender in this process; print its seconds and peak memory as JSON."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for source in (folder.with_name("warm-up"), folder):
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            seconds = RUNNERS[name](source, Path(scratch), features)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # MB on Linux
    print("RESULT " + json.dumps({"seconds": seconds, "peak_mb": peak}))


def run_apart(name, folder, features):
    """Run one contender in a process of its own."""
    command = [sys.executable, __file__, "--here", name, "--folder", str(folder)]
    done = subprocess.run(
        command + ["--features"] * features, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(lines[-1].removeprefix("RESULT "))


def print_table(num_spikes, results):
    for name, found in results.items():
        table, who = f"{num_spikes:,} spikes", name.replace("si_curation", "ours")
        for step, value in found.get("seconds", {}).items():
            record(table, f"{step} | {who}", value)
        if "peak_mb" in found:
            steps = found["seconds"]
            record(
                table, f"all but the report | {who}", sum(steps.values()) - steps.get("report", 0)
            )
            record(table, f"peak memory | {who}", found["peak_mb"], "MB")
    print(f"\n{num_spikes:,} spikes\n\n| step | {' | '.join(results)} |")
    print("| --- " * (len(results) + 1) + "|")
    steps = dict.fromkeys(s for r in results.values() for s in r.get("seconds", {}))
    for step in steps:
        cells = [r.get("seconds", {}).get(step) for r in results.values()]
        print(f"| {step} | {' | '.join('-' if c is None else f'{c:.2f} s' for c in cells)} |")
    for name, left_out in (("all but the report", {"report"}), ("all", set())):
        totals = [
            f"{sum(t for s, t in r['seconds'].items() if s not in left_out):.1f} s"
            if "seconds" in r
            else r["failed"]
            for r in results.values()
        ]
        print(f"| {name} | {' | '.join(totals)} |")
    peaks = [f"{r['peak_mb']:.0f} MB" if "peak_mb" in r else "-" for r in results.values()]
    print(f"| peak memory | {' | '.join(peaks)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--templates", type=int, default=500)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--features", action="store_true", help="with pc_features.npy")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        run_here(arguments.here, arguments.folder, arguments.features)
        return
    from si_curation import simulate_kilosort_folder

    contenders = [OURS_ON_DISK, OURS_IN_MEMORY] if arguments.ours_only else list(RUNNERS)
    for num_spikes in arguments.spikes:
        scratch = Path(tempfile.mkdtemp())
        folder = scratch / "folder"
        try:
            for target, count in ((folder.with_name("warm-up"), 5000), (folder, num_spikes)):
                simulate_kilosort_folder(
                    target,
                    dialect="kilosort4",
                    num_spikes=count,
                    num_templates=arguments.templates if target == folder else 10,
                    num_channels=arguments.channels,
                    write_features=arguments.features,
                )
            results = {name: run_apart(name, folder, arguments.features) for name in contenders}
            print_table(num_spikes, results)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
