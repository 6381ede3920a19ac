"""Export to phy compared with a copy of the folder, and columns with SpikeInterface's exporter.

python benchmarks/bench_export.py [--folder FOLDER] [--spikes N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from _common import record_all


def time_in_turn(contenders, before, runs=5):
    """Median seconds of each contender; they run in turn, `before` each run, which is not timed."""
    seconds = {name: [] for name in contenders}
    for run in range(runs + 1):
        for name, function in contenders.items():
            before()
            start = time.perf_counter()
            function()
            if run > 0:  # the first is the warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def bench_untouched(folder, scratch):
    from si_curation import read_kilosort_as_analyzer
    from si_curation.exporters.phy.export import export_to_phy

    analyzer = read_kilosort_as_analyzer(folder)
    target = scratch / "copy"
    merged = analyzer.merge_units([list(analyzer.unit_ids[:2])], sparsity_overlap=0.0)
    times = time_in_turn(
        {
            "shutil.copytree": lambda: shutil.copytree(folder, target),
            "export, untouched": lambda: export_to_phy(analyzer, target),
            "export, after a merge": lambda: export_to_phy(merged, target),
            "export, untouched, link=True": lambda: export_to_phy(analyzer, target, link=True),
        },
        lambda: shutil.rmtree(target, ignore_errors=True),
    )
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    never_linked = sizes.get("spike_clusters.npy", 0) + sizes.get("templates.npy", 0)
    return times, {"all": sum(sizes.values()) / 1e6, "never linked": never_linked / 1e6}


def bench_columns(scratch):
    import spikeinterface.exporters
    from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording

    from si_curation.exporters.phy.export import export_to_phy
    from si_curation.exporters.phy.inplace import write_phy_columns

    recording, sorting = generate_ground_truth_recording(
        durations=[60.0], num_channels=32, num_units=20, seed=0
    )
    analyzer = create_sorting_analyzer(sorting, recording)
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes", "template_similarity"])
    ours = export_to_phy(analyzer, scratch / "ours")
    values = iter(range(10**6))

    def columns():
        value = float(next(values))
        write_phy_columns(ours, {"snr": {i: value for i in range(20) if i in clusters}})

    def theirs():
        spikeinterface.exporters.export_to_phy(
            analyzer,
            scratch / "theirs",
            compute_pc_features=False,
            copy_binary=False,
            verbose=False,
        )

    import numpy as np

    clusters = set(np.load(ours / "spike_clusters.npy").tolist())
    target = scratch / "again"

    def before():
        for path in (scratch / "theirs", target):
            shutil.rmtree(path, ignore_errors=True)

    return time_in_turn(
        {
            "ours, write_phy_columns": columns,
            "ours, export_to_phy": lambda: export_to_phy(analyzer, target),
            "SpikeInterface, export_to_phy": theirs,
        },
        before,
    )


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

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = args.folder
        if folder is None:
            folder = scratch / "folder"
            simulate_kilosort_folder(
                folder,
                dialect="kilosort4",
                num_spikes=args.spikes,
                num_templates=args.templates,
                num_channels=args.channels,
                write_features=False,
                curation=200,
            )
        untouched, sizes = bench_untouched(folder.resolve(), scratch)
        results = {"untouched": untouched, "sizes": sizes, "columns": bench_columns(scratch)}
    show("Export of a folder", results["untouched"], reference="shutil.copytree")
    show("Size of that folder", results["sizes"], "MB")
    show("One column for phy", results["columns"], reference="SpikeInterface, export_to_phy")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
