"""The report of a session: seconds per unit, size and memory, compared with SpikeInterface's.

python benchmarks/bench_report.py [--spikes 1000000] [--units 500] [--folder FOLDER] [--si-units 4]

The folder is simulated (Kilosort 4, 384 channels, curated) unless one is given. SpikeInterface's
``export_report`` writes pictures, and needs a recording: both reports are made of a small generated
one. The page to curate with is opened in chromium, where it is installed.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

from _common import record


def peak_memory_gb():
    scale = 1e9 if sys.platform == "darwin" else 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def timed(what, function):
    start, cpu_start = time.perf_counter(), time.process_time()
    result = function()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    used = f"{seconds:8.2f} s ({cpu:.2f} s of processor)"
    record("page", what, seconds)
    print(f"{what:<52} {used}   peak memory {peak_memory_gb():.2f} GB", flush=True)
    return result, seconds


def bench_ours(analyzer, scratch):
    import si_curation as sic
    from si_curation.cli.report import CHEAP_EXTENSIONS

    timed(
        "extensions that the page shows",
        lambda: analyzer.compute(list(CHEAP_EXTENSIONS), progress_bar=False),
    )
    few = analyzer.unit_ids[:2]
    timed(
        "a page of two units (warm-up)",
        lambda: sic.export_report(analyzer, scratch / "two.html", unit_ids=few),
    )
    path, seconds = timed(
        "a page of all units",
        lambda: sic.export_report(analyzer, scratch / "all.html", progress_bar=False),
    )
    num_units = len(analyzer.unit_ids)
    size = path.stat().st_size / 1e6
    print(f"{num_units} units: {seconds / num_units * 1e3:.1f} ms a unit, {size:.1f} MB")
    page, _ = timed(
        "a page of all units to curate with",
        lambda: sic.export_report(
            analyzer, scratch / "curate.html", curation=True, progress_bar=False
        ),
    )
    print(f"to curate with: {page.stat().st_size / 1e6:.1f} MB")
    return page


# from a key to the paint of what it leads to, as the page sees it
WATCH = """
window.waits = [];
document.addEventListener("keydown", () => {
  const pressed = performance.now();
  requestAnimationFrame(() => setTimeout(() => window.waits.push(performance.now() - pressed)));
}, true);
document.getElementById("curate").scrollIntoView();
"""
OPENED = """
const { loadEventEnd } = performance.getEntriesByType("navigation")[0];
const painted = performance.getEntriesByName("first-contentful-paint")[0].startTime;
return [painted, loadEventEnd];
"""


def processor_s(browser):
    """Processor time of the page's own thread since the page was asked for."""
    found = browser.command("Performance.getMetrics")["metrics"]
    return {one["name"]: one["value"] for one in found}["TaskDuration"]


def bench_in_browser(page, num_keys=60):
    """Opening of the page, and from a key to the next unit, in chromium."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from helpers.browser import Browser, find_programs

    if find_programs() is None:
        print("chromium and chromedriver are not installed: the page is not opened")
        return
    browser = Browser(page.with_name("profile"))
    try:
        browser.command("Performance.enable", timeDomain="threadTicks")
        opened = []
        for _ in range(4):  # the first is the warm-up
            browser.open(page)
            opened.append([*browser.run(OPENED), 1e3 * processor_s(browser)])
        painted, loaded, used = (sorted(times[1:])[1] for times in zip(*opened, strict=True))
        print(
            f"in chromium: first paint after {painted:.0f} ms, loaded after {loaded:.0f} ms "
            f"({used:.0f} ms of processor)"
        )
        browser.run(WATCH)
        before = processor_s(browser)
        for number in range(num_keys):
            browser.press("gmn"[number % 3] if number % 2 else " ")
            time.sleep(0.1)
        waits = sorted(browser.run("return window.waits"))
        done = browser.run("return Report.curation.state().done.length")
        median, most = waits[len(waits) // 2], waits[int(0.95 * len(waits))]
        print(
            f"{len(waits)} keys, {done} labels: from the key to the next unit on the screen median "
            f"{median:.0f} ms, 95 % within {most:.0f} ms "
            f"({1e3 * (processor_s(browser) - before) / len(waits):.0f} ms of processor)"
        )
    finally:
        browser.quit()


def bench_beside_spikeinterface(scratch, num_units):
    """Both on an analyzer with a recording, which SpikeInterface's report needs."""
    from spikeinterface.core import create_sorting_analyzer, generate_ground_truth_recording
    from spikeinterface.exporters import export_report

    import si_curation as sic
    from si_curation.cli.report import CHEAP_EXTENSIONS

    recording, sorting = generate_ground_truth_recording(
        durations=[60.0], num_channels=64, num_units=num_units, seed=0
    )
    analyzer = create_sorting_analyzer(sorting, recording)
    names = ["random_spikes", "waveforms", "templates", "spike_amplitudes", "unit_locations"]
    analyzer.compute([*names, "correlograms"], progress_bar=False)
    analyzer.compute(list(CHEAP_EXTENSIONS), progress_bar=False)
    ours, theirs = [], []
    for run in range(3):  # the first is the warm-up
        name = f"SpikeInterface's export_report, {num_units} units, run {run}"
        theirs.append(timed(name, lambda run=run: export_report(analyzer, scratch / f"si{run}"))[1])
        path = scratch / f"ours{run}.html"
        name = f"the page of the same analyzer, run {run}"
        ours.append(timed(name, lambda path=path: sic.export_report(analyzer, path))[1])
    print(
        f"SpikeInterface {min(theirs[1:]) / num_units:.2f} s a unit, ours "
        f"{min(ours[1:]) / num_units:.4f} s: {min(theirs[1:]) / min(ours[1:]):.0f} times"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spikes", type=int, default=1_000_000)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--si-units", type=int, default=6, help="0: not beside SpikeInterface")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    import matplotlib

    matplotlib.use("Agg")
    import si_curation as sic

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = arguments.folder
        if folder is None:
            folder = sic.simulate_kilosort_folder(
                scratch / "folder",
                num_templates=arguments.units + 10,
                num_channels=384,
                num_spikes=arguments.spikes,
                curation=40,
                write_features=False,
            ).folder
        analyzer, _ = timed("folder to analyzer", lambda: sic.read_kilosort_as_analyzer(folder))
        print(f"{len(analyzer.unit_ids)} units, {analyzer.sorting.to_spike_vector().size:,} spikes")
        bench_in_browser(bench_ours(analyzer, scratch))
        if arguments.si_units > 0:
            bench_beside_spikeinterface(scratch, arguments.si_units)


if __name__ == "__main__":
    main()
