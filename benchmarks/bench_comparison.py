"""Other programs and this package on the packaged folder, which was curated in phy.

    python benchmarks/bench_comparison.py [--bombcell-python PATH] [--speed]

Prints markdown. `PATH` is the Python of an environment with bombcell, which is no dependency of the
tests; with ``--speed`` its default metrics and ours are timed on one simulated folder. Every
program reads its own copy. The reference are phy's results (`phy_oracle.json`).
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

import si_curation as sic
from _common import record
from si_curation.quality.metrics.registry import METRICS

ORACLE = json.loads((sic.example_folder() / "phy_oracle.json").read_text(encoding="utf-8"))
BEST = {int(unit): answer["best"] for unit, answer in ORACLE.items()}
BOMBCELL = """
import json, sys, contextlib, io, warnings
warnings.simplefilter("ignore")
import matplotlib
matplotlib.use("Agg")
from importlib.metadata import version
import numpy as np
with contextlib.redirect_stdout(io.StringIO()):
    import bombcell as bc
folder, output = sys.argv[1:]
found = {"version": version("bombcell")}
with contextlib.redirect_stdout(io.StringIO()):
    loaded = bc.load_ephys_data(folder)
clusters, templates = loaded[1], loaded[2]
found["units"] = np.unique(clusters).tolist()
found["spikes"] = int(clusters.size)
found["best"] = {int(u): int(np.ptp(templates[u], axis=0).argmax()) for u in found["units"]}
for distances in (False, True):
    param = bc.get_default_parameters(folder, kilosort_version=4)
    param.update(plotGlobal=False, extractRaw=False, verbose=False)
    param["computeDistanceMetrics"] = distances
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            bc.run_bombcell(folder, output, param)
        found[f"metrics{distances}"] = "run"
    except Exception as fault:
        found[f"metrics{distances}"] = f"{type(fault).__name__}: {fault}"
print(json.dumps(found))
"""


def agrees(best):
    """Return how many units have phy's best channel."""
    return f"{sum(best[unit] == channel for unit, channel in BEST.items())} of {len(BEST)}"


def ours(folder):
    """Return the row of this package."""
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute("template_best_channels")
    ranked = analyzer.get_extension("template_best_channels").get_data(outputs="indices")
    groups = analyzer.get_sorting_property("quality")
    return {
        "units": len(analyzer.unit_ids),
        "spikes": analyzer.sorting.to_spike_vector().size,
        "unlabelled": sorted(set(groups.tolist()) - {"good", "mua", "noise"}),
        "best channel is phy's": agrees({unit: ranked[unit][0] for unit in BEST}),
    }


def phylib(folder):
    """Return the row of phylib, as phy calls it."""
    from phylib.io.model import load_model

    model = load_model(folder / "params.py")
    best = {}
    for unit in BEST:
        templates = model.spike_templates[model.spike_clusters == unit]
        most = np.bincount(templates).argmax()
        best[unit] = int(model.get_template(most).channel_ids[0])
    return {
        "units": len(model.cluster_ids),
        "spikes": model.n_spikes,
        "unlabelled": "no label",
        "best channel is phy's": agrees(best),
    }


def read_phy(folder):
    """Return the row of SpikeInterface's `read_phy`."""
    from spikeinterface.extractors import read_phy as read

    sorting = read(folder)
    groups = sorting.get_property("quality")
    if groups is None:
        groups = sorting.get_property("group")
    labels = None if groups is None else sorted({str(g) for g in groups} - {"good", "mua", "noise"})
    return {
        "units": sorting.get_num_units(),
        "spikes": sorting.to_spike_vector().size,
        "unlabelled": labels,
        "best channel is phy's": "no channels",
    }


def read_kilosort_as_analyzer(folder):
    """Return the row of SpikeInterface's function of that name."""
    from spikeinterface.extractors import read_kilosort_as_analyzer as read

    analyzer = read(folder)
    return {"units": len(analyzer.unit_ids)}


def neuroconv(folder):
    """Return the row of neuroconv's interface of phy."""
    from neuroconv.datainterfaces import PhySortingInterface

    sorting = PhySortingInterface(folder_path=folder).sorting_extractor
    return {
        "units": sorting.get_num_units(),
        "spikes": sorting.to_spike_vector().size,
        "best channel is phy's": "no channels",
    }


def bombcell(folder, python):
    """Return the row of bombcell."""
    output = folder.parent / "bombcell"
    before = {path.name for path in folder.iterdir()}
    done = subprocess.run(
        [python, "-c", BOMBCELL, folder, output], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    files = len({path.name for path in folder.iterdir()} - before)
    return {
        "units": len(found["units"]),
        "spikes": found["spikes"],
        "best channel is phy's": agrees({int(k): v for k, v in found["best"].items()}),
        "note": f"{found['version']}; metrics: {found['metricsFalse']}; with distance metrics: "
        f"{found['metricsTrue']}; files added to the folder: {files}",
    }


TIMED = """
import sys, time, contextlib, io, warnings
warnings.simplefilter("ignore")
import matplotlib
matplotlib.use("Agg")
import bombcell as bc
for folder in sys.argv[1:]:  # the first one compiles
    param = bc.get_default_parameters(folder, kilosort_version=4)
    param.update(plotGlobal=False, extractRaw=False, verbose=False)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        bc.run_bombcell(folder, folder + "-bombcell", param)
    seconds = time.perf_counter() - start
print(seconds)
"""


def speed(python, num_spikes, num_templates=200):
    """Time the default metrics of bombcell (no distances, no drift, no raw data) and ours."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("small", "large")]
        size = {"num_channels": 64, "seed": 0}
        sic.simulate_kilosort_folder(folders[0], num_spikes=5_000, num_templates=10, **size)
        sic.simulate_kilosort_folder(
            folders[1], num_spikes=num_spikes, num_templates=num_templates, **size
        )
        theirs = None
        if python:
            done = subprocess.run(
                [python, "-c", TIMED, *map(str, folders)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            theirs = float(done.stdout.splitlines()[-1])
        for folder in folders:
            start = time.perf_counter()
            analyzer = sic.read_kilosort_as_analyzer(folder)
            names = [name for name, metric in METRICS.items() if metric.group != "isolation"]
            analyzer.compute("curation_metrics", metric_names=names, progress_bar=False)
            ours = time.perf_counter() - start
        start = time.perf_counter()
        analyzer.compute("curation_metrics", progress_bar=False)
        everything = time.perf_counter() - start
    table = f"{num_spikes:,} spikes, {num_templates} units"
    if theirs is not None:
        record(table, "bombcell, its default metrics", theirs)
    record(table, "identity, stability and contamination", ours)
    record(table, "isolation too (without reading)", everything)
    print(f"\n{num_spikes} spikes, {num_templates} units, folder to table of metrics\n")
    print("| program | time |\n| --- | --- |")
    print(
        "| bombcell, its default metrics |",
        "not there" if theirs is None else f"{theirs:.1f} s",
        "|",
    )
    print(f"| si_curation, identity, stability and contamination | {ours:.2f} s |")
    print(f"| si_curation, isolation too (without reading) | {everything:.1f} s |")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bombcell-python", help="Python of an environment with bombcell")
    parser.add_argument("--speed", action="store_true", help="time bombcell's metrics and ours")
    parser.add_argument("--spikes", type=int, default=500_000, help="of the folder that is timed")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    contenders = {
        f"si_curation {version('si_curation')}": ours,
        f"phylib {version('phylib')}": phylib,
        f"SpikeInterface {version('spikeinterface')} read_phy": read_phy,
        "SpikeInterface read_kilosort_as_analyzer": read_kilosort_as_analyzer,
        f"neuroconv {version('neuroconv')} PhySortingInterface": neuroconv,
    }
    if arguments.bombcell_python:
        contenders["bombcell"] = lambda folder: bombcell(folder, arguments.bombcell_python)
    columns = ("units", "spikes", "unlabelled", "best channel is phy's", "note")
    for title, removed in (("as phy left it", []), ("no cluster_info.tsv", ["cluster_info.tsv"])):
        print(f"\n{title}\n\n| program | {' | '.join(columns)} |\n|{' --- |' * 6}")
        for name, read in contenders.items():
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "folder"
                shutil.copytree(sic.example_folder(), folder)
                for file in removed:
                    (folder / file).unlink()
                try:
                    row = read(folder)
                except Exception as fault:
                    row = {"note": f"{type(fault).__name__}: {str(fault)[:80]}"}
            print(f"| {name} | " + " | ".join(str(row.get(c, "")) for c in columns) + " |")
    if arguments.speed:
        speed(arguments.bombcell_python, arguments.spikes)


if __name__ == "__main__":
    sys.exit(main())
