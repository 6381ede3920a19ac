"""Units to NWB compared with neuroconv's writer, on the same analyzer: time, size, peak memory.

    python benchmarks/bench_nwb.py [--spikes 10000000] [--units 500] [--channels 384] [--json FILE]

Every writer runs in a process of its own (its peak memory is that of the process), which makes the
same analyzer with a lazy recording, of which nothing but the probe and the clock is used. neuroconv
writes spike times, mean and standard deviation of waveforms on all channels; ours writes spike
times, mean waveforms on the best channels and amplitudes of all spikes, reads the file back and
compares every spike. "spike times alone" is `export_to_nwb` without waveforms and amplitudes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from _common import record

METADATA = {
    "NWBFile": {
        "session_start_time": "2024-05-01T12:00:00+00:00",
        "session_description": "benchmark",
    }
}
WRITERS = ("ours", "ours, spike times alone", "neuroconv")


def make_analyzer(num_spikes, num_units, num_channels, rate=30_000.0):
    """An analyzer of random spikes at 5 Hz per unit, with templates and amplitudes."""
    from probeinterface import generate_multi_columns_probe
    from spikeinterface.core import NumpySorting
    from spikeinterface.core.generate import NoiseGeneratorRecording

    from si_curation._spikeinterface import inject_extension, make_memory_analyzer
    from si_curation.kernels.spike_vector import SPIKE_DTYPE

    rng = np.random.default_rng(0)
    duration = num_spikes / num_units / 5.0
    recording = NoiseGeneratorRecording(num_channels, rate, [duration], dtype="float32")
    probe = generate_multi_columns_probe(2, num_channels // 2, xpitch=32, ypitch=20)
    probe.set_device_channel_indices(np.arange(num_channels))
    recording.set_probe(probe)
    recording.set_channel_gains(np.ones(num_channels))
    recording.set_channel_offsets(np.zeros(num_channels))
    recording.shift_times(12.5)
    spikes = np.zeros(num_spikes, dtype=SPIKE_DTYPE)
    spikes["sample_index"] = np.sort(rng.integers(0, int(duration * rate), num_spikes))
    spikes["unit_index"] = rng.integers(0, num_units, num_spikes)
    sorting = NumpySorting(spikes, rate, np.arange(num_units))
    main = rng.integers(0, num_channels, num_units)
    from spikeinterface.core.recording_tools import get_rec_attributes

    attributes = {**get_rec_attributes(recording), "probegroup": recording.get_probegroup()}
    analyzer = make_memory_analyzer(sorting, recording, attributes, None, True, main)
    distance = np.abs(np.arange(num_channels)[None] - main[:, None])
    shape = -np.exp(-(((np.arange(90) - 30) / 6.0) ** 2))
    average = shape[None, :, None] * 100.0 * np.exp(-distance / 4.0)[:, None, :]
    data = {"average": average.astype(np.float32), "std": np.ones_like(average, np.float32)}
    params = {"operators": ["average", "std"], "ms_before": 1.0, "ms_after": 2.0}
    inject_extension(analyzer, "templates", data, params)
    amplitudes = rng.normal(-100, 10, num_spikes).astype(np.float32)
    inject_extension(analyzer, "spike_amplitudes", {"amplitudes": amplitudes}, {})
    return analyzer


def write(writer, analyzer, path):
    if writer == "neuroconv":
        from dateutil.parser import isoparse
        from neuroconv.tools.spikeinterface import write_sorting_analyzer_to_nwbfile

        metadata = {"NWBFile": dict(METADATA["NWBFile"])}
        metadata["NWBFile"]["session_start_time"] = isoparse(
            metadata["NWBFile"]["session_start_time"]
        )
        write_sorting_analyzer_to_nwbfile(
            analyzer, path, metadata=metadata, overwrite=True, backend="hdf5"
        )
        return
    from si_curation import export_to_nwb

    alone = "alone" in writer
    more = {"write_waveforms": False, "per_spike": ()} if alone else {}
    export_to_nwb(analyzer, path, metadata=METADATA, progress_bar=False, **more)


def peak_mb():
    """Largest memory of this process so far; on Linux, since it was last cleared."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


def run_one(arguments):
    """Run one writer in this process, after a small warm-up, and print what it took."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "units.nwb"
        write(arguments.writer, make_analyzer(2000, 4, 16), path)  # imports, compiled kernels
        path.unlink()
        analyzer = make_analyzer(arguments.spikes, arguments.units, arguments.channels)
        clear = Path("/proc/self/clear_refs")
        if clear.exists():
            with contextlib.suppress(OSError):
                clear.write_text("5")
        before = peak_mb()
        start, start_cpu = time.perf_counter(), time.process_time()
        write(arguments.writer, analyzer, path)
        found = {
            "seconds": time.perf_counter() - start,
            "processor_seconds": time.process_time() - start_cpu,
            "size_mb": path.stat().st_size / 1e6,
            "peak_mb_above_analyzer": peak_mb() - before,
        }
    print("RESULT " + json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=10_000_000)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--writer", choices=WRITERS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    if arguments.writer:
        run_one(arguments)
        return
    results = {}
    sizes = [f"--{name}={getattr(arguments, name)}" for name in ("spikes", "units", "channels")]
    for writer in WRITERS:
        done = subprocess.run(
            [sys.executable, __file__, *sizes, "--writer", writer],
            capture_output=True, text=True, env=dict(os.environ),
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not lines:
            reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
            print(f"{writer}: could not run: {reason}")
            continue
        results[writer] = json.loads(lines[-1].removeprefix("RESULT "))
    times_mb = arguments.spikes * 8 / 1e6
    print(
        f"\n{arguments.spikes} spikes ({times_mb:.0f} MB of spike times), {arguments.units} units"
    )
    for writer, found in results.items():
        table = f"{arguments.spikes:,} spikes, {arguments.units} units"
        record(table, f"{writer} | time", found["seconds"])
        record(table, f"{writer} | processor time", found["processor_seconds"])
        record(table, f"{writer} | size", found["size_mb"], "MB")
        above = found["peak_mb_above_analyzer"]
        record(table, f"{writer} | memory above the analyzer", above, "MB")
        print(
            f"  {writer:<26}{found['seconds']:>9.2f} s"
            f"{found['processor_seconds']:>9.2f} s of processors{found['size_mb']:>10.1f} MB"
            f"{found['peak_mb_above_analyzer']:>10.0f} MB above the analyzer"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
