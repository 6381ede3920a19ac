"""Throughput of a batch on 1 and 2 worker processes, and the time of a resume.

    python benchmarks/bench_batch.py [--sessions 20] [--spikes 100000] [--units 100]

Prints markdown. Sessions are simulated Kilosort 4 folders without features; the recipe is the
packaged example: merge suggestions, four extensions with all metrics, labels, phy folder, analyzer
in zarr. "here" is one process without Dask. Workers are started for each row; the seconds of
the whole call include that. Each row is one run: outputs are compared, and must be the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from pathlib import Path

import si_curation as sic
from _common import record


def digest(folder):
    """Digest of all files below a folder."""
    found = hashlib.blake2b()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--spikes", type=int, default=100_000)
    parser.add_argument("--units", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(arguments.sessions):
            sic.simulate_kilosort_folder(
                folder / "in" / f"session{number:03}",
                num_templates=arguments.units,
                num_channels=64,
                num_spikes=arguments.spikes,
                write_features=False,
                seed=number,
            )
        recipe = folder / "recipe.yaml"
        recipe.write_text(sic.example_recipe(), encoding="utf-8")
        pattern = str(folder / "in" / "*")
        # compile, and read the files once
        first = str(folder / "in" / "session000")
        sic.run_batch(first, recipe, folder / "warm", num_workers=0, progress_bar=False)
        spikes = arguments.sessions * arguments.spikes
        print(
            f"\n{arguments.sessions} sessions of {arguments.spikes:,} spikes and {arguments.units} "
            f"units; {os.cpu_count()} cores\n"
        )
        print("| workers | seconds, whole call | sessions / min | spikes / s | of which sessions |")
        print("| --- | ---: | ---: | ---: | ---: |")
        digests = set()
        for workers in (0, 1, 2):
            output = folder / f"out{workers}"
            start = time.perf_counter()
            result = sic.run_batch(pattern, recipe, output, num_workers=workers, progress_bar=False)
            seconds = time.perf_counter() - start
            if len(result.failed):
                raise RuntimeError(result.failed["error"].iloc[0])
            busy = result.table["seconds"].sum()
            print(
                f"| {workers or 'here'} | {seconds:.1f} | {60 * arguments.sessions / seconds:.1f} "
                f"| {spikes / seconds:,.0f} | {busy:.1f} |",
                flush=True,
            )
            record("workers", f"{workers or 'none, in this process'} | whole call", seconds)
            digests.add(digest(output / "sessions"))
        if len(digests) != 1:
            raise RuntimeError("outputs differ")
        start = time.perf_counter()
        sic.run_batch(pattern, recipe, folder / "out0", num_workers=0, progress_bar=False)
        seconds = time.perf_counter() - start
        record("workers", "called again with nothing to do | whole call", seconds)
        size = sum(path.stat().st_size for path in (folder / "in").rglob("*") if path.is_file())
        print(f"\nResume with nothing to do: {seconds:.2f} s for {size / 1e6:.0f} MB of input.")
        steps = [c for c in result.table.columns if c.startswith("seconds_")]
        means = result.table[steps].mean().sort_values(ascending=False)
        told = ", ".join(f"{k.removeprefix('seconds_')} {v:.2f}" for k, v in means.head(6).items())
        print(f"Mean seconds of a session: {told}.")


if __name__ == "__main__":
    main()
