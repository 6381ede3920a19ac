"""What a newcomer waits for: from ``pip install`` to the first figure, and the first commands.

    python benchmarks/bench_first_hour.py [--install] [--spikes 10000000] [--folder FOLDER]

Each command runs in a process of its own, as at a prompt: the time is from the call to its end, of
the GUI to its window. "cold": the kernels are not compiled yet (an empty NUMBA_CACHE_DIR for each
command, one run); "warm": they are (the median). Beside it the time of ``import spikeinterface``
and of ``import si_curation`` with it, which are in all of them. ``--install`` makes a virtual
environment, installs this clone into it and draws a figure there; it needs
an index of packages, and the time is mostly that of the network.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from _common import record

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "src" / "si_curation" / "simulation" / "ks4_phy_curated"
FIGURE = """
import matplotlib
matplotlib.use("Agg")
import si_curation as sic
analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
analyzer.compute(["template_best_channels"])
sic.plot_best_channels(analyzer).figure.savefig("first.png")
"""
GUI = """
import sys
import si_curation as sic
sic.open_gui(sic.read_kilosort_as_analyzer(sys.argv[1]), start_app=False)
"""
COMMANDS = {
    "info": ["info", "{folder}"],
    "check": ["check", "{folder}"],
    "demo": ["demo", "--folder", "{folder}", "--output", "{out}/demo"],
    "report": ["report", "{folder}", "{out}/page.html"],
}


def seconds(command, expected=(0,), **environment):
    """Seconds of a process; stops where it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "MPLBACKEND": "Agg", "QT_QPA_PLATFORM": "offscreen", **environment},
        capture_output=True,
        text=True,
    )
    taken = time.perf_counter() - start
    if done.returncode not in expected:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return taken


def bench_install(work):
    """From nothing to a figure, in a fresh environment; it says what each part took."""
    python = work / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    clean = {"PYTHONPATH": "", "NUMBA_CACHE_DIR": str(work / "kernels")}
    parts = {
        "python -m venv": seconds([sys.executable, "-m", "venv", work / "venv"], **clean),
        "pip install": seconds([python, "-m", "pip", "install", f"{ROOT}"], **clean),
    }
    script = work / "first.py"
    script.write_text(FIGURE.replace("first.png", (work / "first.png").as_posix()))
    parts["first figure, kernels compiled"] = seconds([python, script], **clean)
    parts["figure again"] = seconds([python, script], **clean)
    parts["all to the first figure"] = sum(list(parts.values())[:3])
    for what, value in parts.items():
        show("from pip install to the first figure", what, value)


def bench_imports(runs):
    for what in ("spikeinterface", "spikeinterface.postprocessing, si_curation"):
        taken = statistics.median(
            seconds([sys.executable, "-c", f"import {what}"]) for _ in range(runs)
        )
        show("import", f"import {what}", taken)


def has_gui():
    """Whether the GUI is there, and this package installed: it finds our views by that."""
    views = entry_points(group="spikeinterface_gui.views")
    return bool(find_spec("PySide6")) and any("si_curation" in one.value for one in views)


def bench_folder(title, folder, work, runs, cold):
    """Seconds of each command on one folder, and of the GUI to its window."""
    start = [sys.executable, "-m", "si_curation.cli"]
    calls = {name: [*start, *words] for name, words in COMMANDS.items()}
    if has_gui():
        calls["gui, to its window"] = [sys.executable, "-c", GUI, "{folder}"]
    warm_cache = str(work / "warm")
    for name, words in calls.items():

        def call(cache, words=words, name=name):
            out = Path(tempfile.mkdtemp(dir=work))
            filled = [str(word).format(folder=folder, out=out) for word in words]
            return seconds(filled, (0, 1, 2) if name == "check" else (0,), NUMBA_CACHE_DIR=cache)

        if cold:
            with tempfile.TemporaryDirectory() as cache:
                show(title, f"{name} | cold", call(cache))
        call(warm_cache)
        show(title, f"{name} | warm", statistics.median(call(warm_cache) for _ in range(runs)))


def show(table, what, value):
    record(table, what, value)
    print(f"  {table:<38} {what:<46} {value:>8.2f} s", flush=True)


def simulate(folder, units, spikes, channels):
    import si_curation as sic

    warnings.simplefilter("ignore")
    sic.simulate_kilosort_folder(
        folder, num_templates=units, num_spikes=spikes, num_channels=channels, write_features=False
    )
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--spikes", type=int, default=10_000_000, help="of the large folder; 0: none"
    )
    parser.add_argument("--units", type=int, default=400, help="of the middle folder; 0: none")
    parser.add_argument("--folder", type=Path, help="a large folder instead of a simulated one")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--install", action="store_true", help="also into a fresh environment")
    parser.add_argument("--no-cold", action="store_true", help="only with kernels compiled")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if args.install:
            bench_install(work)
        bench_imports(args.runs)
        folders = {"8 units, 5 thousand spikes": EXAMPLE}
        if args.units:
            few = min(args.spikes, 1_000_000) or 1_000_000
            folders[f"{args.units} units, {few:,} spikes"] = simulate(
                work / "middle", args.units, few, 384
            )
        if args.folder or args.spikes:
            title = args.folder.name if args.folder else f"500 units, {args.spikes:,} spikes"
            large = args.folder or simulate(work / "large", 500, args.spikes, 384)
            folders[title] = large
        if not has_gui():
            print("gui: not timed, it is not installed with this package (pip install '.[gui]')")
        for title, folder in folders.items():
            bench_folder(title, folder, work, args.runs, not args.no_cold)


if __name__ == "__main__":
    main()
