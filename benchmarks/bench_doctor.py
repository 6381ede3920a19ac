"""The folder doctor: many ordinary folders, and one large folder, compared with reading it.

python benchmarks/bench_doctor.py [--folders 100] [--spikes 10_000_000] [--json FILE]

The ordinary folders: 100,000 spikes, 150 templates, 64 channels, curated, with features.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _common import record, record_all


def peak_mb():
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def bench_many(scratch, num_folders):
    """Seconds for all folders; a few different ones, read again and again."""
    import si_curation as sic

    folders = []
    for seed in range(5):
        for dialect in ("kilosort4", "kilosort2.5"):
            folder = scratch / f"{dialect}-{seed}"
            sic.simulate_kilosort_folder(
                folder,
                dialect=dialect,
                num_spikes=100_000,
                num_templates=150,
                num_channels=64,
                curation=30,
                seed=seed,
            )
            folders.append(folder)
    sic.check_phy_folder(folders[0])  # compiles
    start = time.perf_counter()
    found = [len(sic.check_phy_folder(folders[i % len(folders)])) for i in range(num_folders)]
    return time.perf_counter() - start, sum(found)


def bench_large(scratch, num_spikes, runs=3):
    import si_curation as sic

    folder = scratch / "large"
    sic.simulate_kilosort_folder(
        folder,
        num_spikes=num_spikes,
        num_templates=500,
        num_channels=384,
        curation=200,
        write_features=False,
    )
    seconds = {"read_phy_folder": [], "check_phy_folder": []}
    for run in range(runs + 1):
        for name, times in seconds.items():
            start = time.perf_counter()
            getattr(sic, name)(folder)
            if run:
                times.append(time.perf_counter() - start)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
    return {name: statistics.median(times) for name, times in seconds.items()}, size


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        many, num_findings = bench_many(Path(scratch), arguments.folders)
        print(f"{arguments.folders} folders: {many:.1f} s, {num_findings} findings")
        before = peak_mb()
        large, size = bench_large(Path(scratch), arguments.spikes)
    record("doctor", f"{arguments.folders} folders", many)
    record_all(f"{arguments.spikes:,} spikes", large)
    print(
        f"{arguments.spikes:,} spikes ({size:.0f} MB): check {large['check_phy_folder']:.2f} s, "
        f"read_phy_folder alone {large['read_phy_folder']:.2f} s, peak memory "
        f"{peak_mb():.0f} MB (before: {before:.0f} MB; the simulation is in it)"
    )
    if arguments.json:
        result = {"many_s": many, "folders": arguments.folders, "large_s": large}
        arguments.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
