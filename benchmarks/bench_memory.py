"""Peak memory of each step of the pipeline, anonymous memory apart from mapped files.

    python benchmarks/bench_memory.py [--spikes 10000000] [--units 800] [--format memory|zarr]
    python benchmarks/bench_memory.py --folder FOLDER --apart

The steps run one after the other in one process, in which the first analyzer and the session live
to the end. With ``--apart`` each step also runs in a process of its own: what comes before it is
done again, and what it does not need is let go. Another process looks at ``/proc`` all the time
(Linux only): *anonymous* is what a program needs; *in all* counts the pages of mapped files too,
which the system takes back when memory is short.

The folder is a simulated one of Kilosort 4, 384 channels, with features, which takes 0.3 kB a spike
on the disk.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

from _common import record

STEPS = (
    "import",
    "read",
    "compute",
    "spike waveforms",
    "session",
    "apply",
    "apply with removal",
    "export to phy",
    "export to phy, linked",
    "page",
    "save as zarr",
)
EXTENSIONS = (
    "template_best_channels",
    "unit_similarity",
    "template_features",
    "cross_correlograms",
    "curation_metrics",
)
_LOOK_EVERY_S = 0.005


class Pipeline:
    """The steps; each method is one, and needs those before it."""

    def __init__(self, folder, scratch, format, extensions):
        self.folder, self.scratch, self.format = folder, scratch, format
        self.extensions = extensions
        self.analyzer = self.session = self.curated = None

    def _output(self, name):
        if self.format == "memory":
            return {}
        return {"format": self.format, "folder": self.scratch / f"{name}.zarr"}

    def do(self, step):
        getattr(self, "do_" + step.replace(",", "").replace(" ", "_"))()

    def do_read(self):
        import si_curation as sic

        self.analyzer = sic.read_kilosort_as_analyzer(self.folder, **self._output("read"))

    def do_compute(self):
        for name in self.extensions:
            self.analyzer.compute(name)

    def do_spike_waveforms(self):
        self.analyzer.compute("spike_waveforms")

    def do_session(self):
        import si_curation as sic

        self.session = session = sic.CurationSession(self.analyzer, decided_by="benchmark")
        ids = session.unit_ids
        few = min(10, len(ids) // 6)
        for i in range(0, 4 * few, 4):
            session.merge(ids[i : i + 2])
        for unit_id in ids[-few:]:
            halves = [k % 2 for k in range(session.get_spikes(unit_id).size)]
            session.split(unit_id, halves)
        session.label(ids[4 * few : -few][:50], "good")

    def do_apply(self):
        self.curated = self.session.apply(**self._output("applied"))

    def do_apply_with_removal(self):
        ids = self.session.unit_ids
        self.session.remove(ids[: min(20, len(ids) // 4)])
        self.session.apply(**self._output("removed"))
        self.session.undo()

    def do_export_to_phy(self):
        import si_curation as sic

        sic.export_to_phy(self.curated, self.scratch / "phy")

    def do_export_to_phy_linked(self):
        import si_curation as sic

        sic.export_to_phy(self.curated, self.scratch / "linked", link=True)

    def do_page(self):
        import si_curation as sic

        sic.export_report(self.curated, self.scratch / "page.html", progress_bar=False)

    def do_save_as_zarr(self):
        self.curated.save_as(format="zarr", folder=self.scratch / "saved.zarr")

    def let_go(self, step):
        """Forget what a step that comes next does not need."""
        import gc

        if STEPS.index(step) > STEPS.index("apply with removal"):
            self.analyzer = self.session = None
        gc.collect()


def run_here(args, until, apart):
    """Do the steps in this process; say when each begins and ends."""
    folder = args.folder
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")

    def say(text):
        print(text, flush=True)

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pipeline = Pipeline(folder, Path(scratch), args.format, args.extensions)
        say("BEGIN import")
        from spikeinterface.core import set_global_job_kwargs

        import si_curation

        assert si_curation.read_kilosort_as_analyzer  # loaded where it is used first
        set_global_job_kwargs(progress_bar=False)
        for step in STEPS[1 : STEPS.index(until) + 1]:
            if step in args.skip:
                continue
            if apart and step in ("apply with removal", "export to phy") and step != until:
                continue
            if apart and step == until:
                pipeline.let_go(step)
            say(f"BEGIN {step}")
            pipeline.do(step)
        say("END")


def memory_of(pid):
    """Return anonymous memory and all memory of a process, in bytes."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in ("RssAnon", "VmRSS"):
            found[key] = int(value.split()[0]) * 1024
    return found["RssAnon"], found["VmRSS"]


def run_watched(arguments, until, apart):
    """Run steps in a process of its own; return of each seconds, and memory at its peak and end."""
    command = [sys.executable, __file__, "--here", until, *arguments, *["--apart"] * apart]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    now, found, start = [None], {}, [time.perf_counter()]

    def listen():
        for line in process.stdout:
            if not line.startswith(("BEGIN ", "END")):
                continue
            if now[0] is not None:
                found[now[0]]["seconds"] = time.perf_counter() - start[0]
                found[now[0]]["end"] = memory_of(process.pid)
            step = line.strip().partition(" ")[2] or None
            start[0] = time.perf_counter()
            if step is not None:
                found[step] = {"peak": [0, 0], "end": (0, 0), "seconds": 0.0}
            now[0] = step

    listener = threading.Thread(target=listen)
    listener.start()
    while process.poll() is None:
        step = now[0]
        if step is not None:
            try:
                seen = memory_of(process.pid)
            except (OSError, KeyError):  # it has just ended
                continue
            peak = found[step]["peak"]
            peak[:] = [max(a, b) for a, b in zip(peak, seen, strict=True)]
        time.sleep(_LOOK_EVERY_S)
    listener.join()
    if process.returncode:
        raise SystemExit(f"step {now[0]!r} failed")
    return found


def show(found, title):
    print(f"\n{title}\n")
    print("| step | anonymous, peak | in all, peak | anonymous, at its end | time |")
    print("| --- | --- | --- | --- | --- |")
    for step, its in found.items():
        record(title, f"{step} | anonymous at its peak", its["peak"][0] / 1e6, "MB")
        record(title, f"{step} | time", its["seconds"])
        anonymous, whole, end = (b / 1e9 for b in (*its["peak"], its["end"][0]))
        print(f"| {step} | {anonymous:.2f} GB | {whole:.2f} GB | {end:.2f} GB ", end="")
        print(f"| {its['seconds']:.1f} s |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=800, help="templates before curation")
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--format", choices=["memory", "zarr"], default="memory")
    parser.add_argument("--folder", type=Path, help="an existing folder instead of a simulated one")
    parser.add_argument("--scratch", type=Path, help="where the folder is made")
    parser.add_argument("--extensions", nargs="*", default=EXTENSIONS, help="what is computed")
    parser.add_argument("--skip", nargs="*", default=[], choices=STEPS, help="steps left out")
    parser.add_argument("--apart", action="store_true", help="each step also by itself")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--here", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        run_here(args, args.here, args.apart)
        return
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        folder = args.folder
        if folder is None:
            folder = Path(scratch) / "folder"
            make = (
                "import sys, si_curation as sic; sic.simulate_kilosort_folder(sys.argv[1], "
                "dialect='kilosort4', num_spikes=int(sys.argv[2]), num_templates=int(sys.argv[3]), "
                "num_channels=int(sys.argv[4]), curation=int(sys.argv[3]) // 4)"
            )
            sizes = map(str, (args.spikes, args.units, args.channels))
            subprocess.run([sys.executable, "-c", make, str(folder), *sizes], check=True)
        arguments = ["--folder", str(folder), "--format", args.format]
        arguments += ["--extensions", *args.extensions, "--skip", *args.skip]
        results = {"in one process": run_watched(arguments, STEPS[-1], apart=False)}
        show(results["in one process"], f"format={args.format!r}, all in one process")
        if args.apart:
            wanted = [step for step in STEPS[1:] if step not in args.skip]
            each = {s: run_watched(arguments, s, apart=True)[s] for s in wanted}
            results["apart"] = each
            show(each, "each step by itself")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
