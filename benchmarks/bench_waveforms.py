"""Mean waveforms and metrics of their shape, without and with the recording on disk.

    python benchmarks/bench_waveforms.py [--units 500] [--spikes 500] [--channels 384]
        [--duration-s 600] [--runs 3] [--folder FOLDER]

Prints markdown: medians after a warm-up, and ratios. The folder is simulated (Kilosort 4, features
on disk); the recording is noise of the same length and channels on disk, since SpikeInterface's
time does not hang on what is in it. SpikeInterface reads the same spikes on the same sparse
channels, in one process and with all cores. What is read is in the page cache for all contenders
after the warm-up where memory allows; the sizes are printed.

How right the waveforms and metrics are is measured on recordings with truth: docs/howto/
waveform_shapes.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from _common import record_all


def write_recording(path, num_samples, num_channels):
    """Write a recording of noise, int16, a second at a time."""
    rng = np.random.default_rng(0)
    second = rng.normal(0, 20, (30_000, num_channels)).astype(np.int16)
    with path.open("wb") as file:
        for start in range(0, num_samples, 30_000):
            rows = min(30_000, num_samples - start)
            np.roll(second, start // 30_000, axis=1)[:rows].tofile(file)


def median_time(run, runs):
    """Return the median time of a function after a warm-up."""
    run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def contenders(folder, raw, args):
    """Return name -> function of everything that is timed, by table."""
    import spikeinterface.core as sc

    import si_curation as sic
    from si_curation.quality.metrics import shape

    analyzer = sic.read_kilosort_as_analyzer(folder, gain_to_uV=0.2)
    recording = sc.read_binary(raw, 30_000.0, "int16", args.channels)
    recording.set_probegroup(analyzer.get_probegroup())
    recording.set_channel_gains(0.2)
    recording.set_channel_offsets(0.0)
    sorting = sc.NumpySorting.from_sorting(analyzer.sorting)
    cores = os.cpu_count() or 1

    def spikeinterface(n_jobs, extensions):
        of_traces = sc.create_sorting_analyzer(
            sorting,
            recording,
            sparsity=analyzer.sparsity,
            main_channel_indices=analyzer.get_main_channels(outputs="index"),
            return_in_uV=True,
        )
        of_traces.compute("random_spikes", max_spikes_per_unit=args.spikes, seed=0)
        options = {"n_jobs": n_jobs, "progress_bar": False}
        for name in extensions:
            if name == "template_metrics":
                of_traces.compute(name, include_multi_channel_metrics=True)
            else:
                window = {"ms_before": 20 / 30, "ms_after": 41 / 30}
                of_traces.compute(name, **window if name == "waveforms" else {}, **options)
        return of_traces

    def read_features():
        values = np.load(folder / "pc_features.npy", mmap_mode="r")
        return sum(float(values[i : i + (1 << 16)].sum()) for i in range(0, len(values), 1 << 16))

    def ours():
        return analyzer.compute("spike_waveforms", save=False, max_spikes_per_unit=args.spikes)

    with_traces = spikeinterface(cores, ("waveforms", "templates"))
    means = {
        "ours, `spike_waveforms`": ours,
        "one read of `pc_features.npy`": read_features,
        "SpikeInterface `waveforms` + `templates`, 1 job": lambda: spikeinterface(
            1, ("waveforms", "templates")
        ),
        f"SpikeInterface `waveforms` + `templates`, {cores} jobs": lambda: spikeinterface(
            cores, ("waveforms", "templates")
        ),
        f"SpikeInterface `templates`, {cores} jobs": lambda: spikeinterface(cores, ("templates",)),
    }
    shapes = {
        "ours, all shape metrics of the templates": lambda: shape.compute_shape(analyzer),
        "SpikeInterface `template_metrics`, templates there": lambda: with_traces.compute(
            "template_metrics", include_multi_channel_metrics=True, delete_existing_metrics=True
        ),
        f"SpikeInterface from the recording, {cores} jobs": lambda: spikeinterface(
            cores, ("waveforms", "templates", "template_metrics")
        ),
    }
    return {"Mean waveforms": means, "Shape metrics": shapes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--spikes", type=int, default=500, help="of each unit")
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--duration-s", type=float, default=600.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the data are made; else temporary")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    import si_curation as sic

    with tempfile.TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        folder, raw = root / "sorted", root / "recording.dat"
        if not folder.exists():
            sic.simulate_kilosort_folder(
                folder,
                num_templates=args.units,
                num_channels=args.channels,
                num_spikes=round(1.5 * args.units * args.spikes),
                duration_s=args.duration_s,
            )
        if not raw.exists():
            write_recording(raw, round(args.duration_s * 30_000), args.channels)
        sizes = (folder / "pc_features.npy").stat().st_size, raw.stat().st_size
        print(
            f"{args.units} units, {args.spikes} spikes of each, {args.channels} channels; features "
            f"{sizes[0] / 1e6:.0f} MB, recording {sizes[1] / 1e6:.0f} MB"
        )
        for title, functions in contenders(folder, raw, args).items():
            print(f"\n{title}\n\n| | time | ours is |\n| --- | --- | --- |")
            found = {name: median_time(run, args.runs) for name, run in functions.items()}
            record_all(title, found)
            first = next(iter(found.values()))
            for name, seconds in found.items():
                ratio = "" if seconds == first else f"{seconds / first:.1f}x as fast"
                print(f"| {name} | {seconds:.2f} s | {ratio} |")


if __name__ == "__main__":
    main()
