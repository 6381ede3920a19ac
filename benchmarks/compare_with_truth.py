"""Compare what is computed of a sorting with simulated truth, and print a table.

    python benchmarks/compare_with_truth.py FOLDER... [--sorting NAME] [--each] [--json FILE]

A FOLDER has `ground_truth.npz` and, in it or below, the folder NAME (``ks`` by default) that
Kilosort wrote of the recording; `recording.dat` where traces are compared, too. The truth has, of
every spike, ``samples``, ``units`` and ``disp`` (drift in um); ``loc`` (x, y, z in um) of every
neuron; and ``nmain``: the neurons below it are those of interest, the others are background.

Compared are

- the sorter's templates with the mean of the traces (`compare_templates`), on the recording
  filtered at 300 to 6,000 Hz;
- waveforms rebuilt from the sorter's features with the traces at the same spikes, as they are and
  passed through the sorter's components (`get_spike_waveforms`);
- metrics of shape, noise and signal to noise with those of means of the traces;
- amplitudes of spikes with the simulated ones: by projection, of the sorter, troughs;
- where on the probe units are, with where their neurons are: this package, the best channel, the
  median of the sorter's spike positions, and SpikeInterface's methods on the same templates.

A unit is compared with the neuron that it has an accuracy of 0.7 or more with: hits / (spikes of
either), spikes at most 0.4 ms apart. The table has a row for each measure, of the recordings with
and without drift, and with ``--each`` of every recording too: the number of values, their median,
what 90 % are better than, and the worst.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.signal
import scipy.stats
import spikeinterface.core as sc
from spikeinterface.postprocessing import localization_tools

import si_curation as sic
from truth import accuracy

LEAST_ACCURACY = 0.7
MOST_APART_S = 0.4e-3
FILTER_HZ = (300.0, 6000.0)


class Result(NamedTuple):
    """A measure of some units or neurons, and which of its ends is the bad one."""

    measure: str
    values: np.ndarray
    low_is_bad: bool = False


class TruthRecording:
    """A simulated recording, how it was sorted, and which neuron each unit is."""

    def __init__(self, folder: Path, sorting: str = "ks", gain_to_uv: float = 0.2):
        self.name = folder.name
        found = [p.parent for p in sorted(folder.rglob("params.py")) if p.parent.name == sorting]
        if len(found) != 1:
            raise FileNotFoundError(f"{folder}: {len(found)} folders {sorting!r}, expected one")
        self.sorted = found[0]
        self.traces = folder / "recording.dat"
        self.gain_to_uv = gain_to_uv
        with np.load(folder / "ground_truth.npz") as truth:
            self.truth = {name: truth[name] for name in truth.files}

    @cached_property
    def analyzer(self) -> sc.SortingAnalyzer:
        """The sorting as this package reads it."""
        return sic.read_kilosort_as_analyzer(self.sorted)

    @cached_property
    def neuron_of_unit(self) -> dict[int, int]:
        """{index of a unit: its neuron}, where it is one of interest."""
        train_of = self.analyzer.sorting.get_unit_spike_train
        apart = round(MOST_APART_S * self.analyzer.sampling_frequency)
        trains = list(self._trains_of_neurons())
        found = {}
        for unit, unit_id in enumerate(self.analyzer.unit_ids):
            own = train_of(unit_id, segment_index=0)
            scores = [accuracy(own, train, apart) for train in trains]
            if scores and max(scores) >= LEAST_ACCURACY:
                found[unit] = int(np.argmax(scores))
        return found

    def _trains_of_neurons(self) -> Iterator[np.ndarray]:
        for neuron in range(int(self.truth["nmain"])):
            yield np.sort(self.truth["samples"][self.truth["units"] == neuron])

    @property
    def has_drift(self) -> bool:
        """Whether the neurons move along the probe."""
        return bool(np.ptp(self.truth["disp"]) > 0)

    def recording(self) -> sc.BaseRecording | None:
        """The traces on the channels that were sorted, in uV; None where they are not there."""
        if not self.traces.exists():
            return None
        folder = sic.read_phy_folder(self.sorted)
        params = folder.params
        recording = sc.read_binary(
            self.traces,
            folder.sampling_frequency,
            params.get("dtype", "int16"),
            int(params["n_channels_dat"]),
            gain_to_uV=self.gain_to_uv,
            offset_to_uV=0.0,
        )
        recording = recording.select_channels(recording.channel_ids[folder.channel_map])
        recording.set_dummy_probe_from_locations(folder.channel_positions)
        return recording

    @cached_property
    def filtered(self) -> sc.BaseRecording | None:
        """The traces as Kilosort 4 filters them: common reference, high-pass; None without."""
        recording = self.recording()
        if recording is None:
            return None
        traces = recording.get_traces(return_in_uV=False).astype(np.float32)
        traces -= traces.mean(axis=0)
        traces -= np.median(traces, axis=1, keepdims=True)
        rate = recording.sampling_frequency
        b, a = scipy.signal.butter(3, FILTER_HZ[0], fs=rate, btype="high")
        traces = scipy.signal.filtfilt(b, a, traces, axis=0).astype(np.float32)
        found = sc.NumpyRecording([traces], rate, channel_ids=recording.channel_ids)
        found.set_dummy_probe_from_locations(recording.get_channel_locations())
        found.set_channel_gains(1.0)  # raw units are called uV, for SpikeInterface asks for uV
        found.set_channel_offsets(0.0)
        return found


# what is compared: each takes a recording with truth, and gives results


def compare_traces(data: TruthRecording) -> list[Result]:
    """The sorter's templates against the mean of the traces, of all units."""
    from spikeinterface.extractors import read_kilosort
    from spikeinterface.preprocessing import bandpass_filter

    recording = data.recording()
    if recording is None:
        return []
    filtered = bandpass_filter(recording, *FILTER_HZ)
    analyzer = sc.create_sorting_analyzer(
        read_kilosort(data.sorted), filtered, sparse=False, return_in_uV=True
    )
    analyzer.compute("random_spikes", method="all")  # the same in each run
    analyzer.compute("templates")
    sic.attach_kilosort_folder(analyzer, data.sorted)
    table = sic.compare_templates(analyzer)
    known = table[table["correlation"].notna()]
    return [
        Result("templates: correlation", known["correlation"].to_numpy(), low_is_bad=True),
        Result("templates: traces / sorter", known["amplitude_ratio"].to_numpy()),
        Result("templates: best channels apart (um)", known["best_channel_distance_um"].to_numpy()),
    ]


def compare_locations(data: TruthRecording) -> list[Result]:
    """Depth and distance from the neuron along and across the probe, for each method."""
    units = np.array(list(data.neuron_of_unit), dtype=int)
    true = data.truth["loc"][list(data.neuron_of_unit.values()), :2]
    results = []
    for name, method in LOCATIONS.items():
        error = np.abs(method(data.analyzer)[units] - true)
        results += [
            Result(f"depth (um): {name}", error[:, 1]),
            Result(f"across (um): {name}", error[:, 0]),
        ]
    return results


def compare_waveforms(data: TruthRecording) -> list[Result]:
    """Mean waveforms rebuilt from features against the traces at the same isolated spikes.

    The traces are filtered as Kilosort 4 does: mean and median over channels taken off, high-pass
    at 300 Hz; and, "through the components", whitened, projected onto the sorter's components and
    unwhitened. Of each unit at most 300 spikes without another one within the length of a template,
    and at least half as large as their template: smaller ones are what was left of a spike that was
    found before, which the traces still hold.
    """
    if data.filtered is None:
        return []
    analyzer = data.analyzer
    assignment = analyzer.get_extension("template_assignment")
    source = assignment.get_waveform_source()
    basis = source.model.basis.waveforms
    before, num_samples = assignment.info["num_samples_before"], basis.shape[1]
    traces = data.filtered.get_traces(return_in_uV=False)
    whitening = np.load(data.sorted / "whitening_mat.npy")
    unwhitening = np.linalg.inv(whitening)
    spikes = analyzer.sorting.to_spike_vector()
    samples = spikes["sample_index"]
    apart = np.diff(samples, prepend=-(10**6), append=10**9)
    is_alone = (np.minimum(apart[:-1], apart[1:]) > num_samples) & (samples > num_samples)
    is_alone &= samples < len(traces) - num_samples
    found: dict[str, list[float]] = {name: [] for name in WAVEFORM_MEASURES}
    for unit, unit_id in enumerate(analyzer.unit_ids):
        own = np.flatnonzero(is_alone & (spikes["unit_index"] == unit))
        own = own[source.factors(own) >= 0.5][:300]
        if own.size < 20:
            continue
        rebuilt = sic.get_spike_waveforms(analyzer, own, channel_ids=analyzer.channel_ids)
        mean = rebuilt.waveforms.mean(axis=0)
        snippets = traces[samples[own][:, None] - before + np.arange(num_samples)]
        raw = snippets.mean(axis=0)
        through = basis.T @ (basis @ (raw @ whitening.T)) @ unwhitening.T
        best = np.ptp(assignment.get_unit_template(unit_id), axis=0).argmax()
        stored = rebuilt.is_stored.all(axis=0)
        values = (
            correlation(mean[:, best], through[:, best]),
            correlation(mean[:, stored], through[:, stored]),
            100 * abs(np.ptp(mean[:, best]) / np.ptp(through[:, best]) - 1),
            correlation(mean[:, best], raw[:, best]),
            correlation(mean[:, stored], raw[:, stored]),
            100 * (mean[:, best].min() / raw[:, best].min() - 1),
        )
        for name, value in zip(WAVEFORM_MEASURES, values, strict=True):
            found[name].append(float(value))
    return [
        Result(f"waveforms: {name}", np.array(values), low_is_bad="correlation" in name)
        for name, values in found.items()
    ]


WAVEFORM_MEASURES = (
    "correlation, through the components, best channel",
    "correlation, through the components, stored channels",
    "size differs, through the components (%)",
    "correlation, traces, best channel",
    "correlation, traces, stored channels",
    "trough too deep, traces (%)",
)


def compare_shapes(data: TruthRecording) -> list[Result]:
    """Shape, noise and signal to noise of units, with those of means of the filtered traces.

    On the same samples and channels; units with at least 50 spikes.
    """
    if data.filtered is None:
        return []
    names = [*METRICS]
    analyzer = sic.read_kilosort_as_analyzer(data.sorted, gain_to_uV=1.0)
    metrics = analyzer.compute("curation_metrics", metric_names=names)
    noise = sc.get_noise_levels(data.filtered, return_in_uV=True, seed=0)
    main = analyzer.get_main_channels(outputs="index")
    of_traces = sc.create_sorting_analyzer(
        sc.NumpySorting.from_sorting(analyzer.sorting),
        data.filtered,
        sparsity=analyzer.sparsity,
        return_in_uV=True,
    )
    templates = analyzer.get_extension("templates")
    of_traces.compute("random_spikes", max_spikes_per_unit=500, seed=0)
    window = {name: templates.params[name] + 1e-6 for name in ("ms_before", "ms_after")}
    of_traces.compute("templates", operators=["average"], **window)
    expected = of_traces.compute("template_metrics", include_multi_channel_metrics=True).get_data()
    means = of_traces.get_extension("templates").get_data()
    peak = np.abs(means[np.arange(len(main)), :, main]).max(axis=1)
    table = metrics.get_data()
    many = (table["num_spikes"] >= 50).to_numpy()
    results = []
    for name, (scale, is_share) in SHAPES.items():
        ours, theirs = table[name].to_numpy()[many], expected[name].to_numpy(dtype=float)[many]
        error = np.abs(ours / theirs - 1) * 100 if is_share else np.abs(ours - theirs) * scale
        rank = scipy.stats.spearmanr(ours, theirs, nan_policy="omit").statistic
        results += [
            Result(f"{name}: size of the difference ({'%' if is_share else 'us'})", error),
            Result(f"{name}: rank correlation", np.array([rank]), low_is_bad=True),
        ]
    snr = (peak / noise[main])[many]
    own = table["snr_from_features"].to_numpy()[many]
    results += [
        Result("noise_from_features / noise_levels", table["noise_from_features"] / noise[main]),
        Result("snr_from_features / of the traces", own / snr),
        Result(
            "snr_from_features: rank correlation",
            np.array([scipy.stats.spearmanr(own, snr).statistic]),
            low_is_bad=True,
        ),
    ]
    return results


METRICS = (
    "peak_to_trough_duration",
    "half_width",
    "recovery_slope",
    "exp_decay",
    "noise_from_features",
    "snr_from_features",
    "num_spikes",
)
#: {metric: (factor for the difference, or whether it is a share)}
SHAPES = {
    "peak_to_trough_duration": (1e6, False),
    "trough_half_width": (1e6, False),
    "recovery_slope": (1.0, True),
    "exp_decay": (1.0, True),
}


def compare_amplitudes(data: TruthRecording) -> list[Result]:
    """Correlation of amplitudes of spikes with the simulated ones, for each neuron."""
    if data.filtered is None:
        return []
    analyzer = data.analyzer
    traces = data.filtered.get_traces(return_in_uV=False)
    assignment = analyzer.get_extension("template_assignment")
    before = assignment.info["num_samples_before"]
    samples = analyzer.sorting.to_spike_vector()["sample_index"]
    apart = round(MOST_APART_S * analyzer.sampling_frequency)
    found: dict[str, list[float]] = {name: [] for name in AMPLITUDES}
    for unit, neuron in data.neuron_of_unit.items():
        unit_id = analyzer.unit_ids[unit]
        spikes, projected = sic.get_spike_amplitudes(analyzer, unit_id, "projection")
        _, factors = sic.get_spike_amplitudes(analyzer, unit_id, "template")
        own = np.flatnonzero(data.truth["units"] == neuron)
        own = own[np.argsort(data.truth["samples"][own])]
        true = data.truth["samples"][own]
        after = np.clip(np.searchsorted(true, samples[spikes]), 1, true.size - 1)
        nearer = after - (samples[spikes] - true[after - 1] < true[after] - samples[spikes])
        hit = np.abs(true[nearer] - samples[spikes]) <= apart
        hit &= (samples[spikes] > 60) & (samples[spikes] < len(traces) - 60)
        if hit.sum() < 50:
            continue
        simulated = data.truth["amp"][own][nearer[hit]]
        best = np.ptp(assignment.get_unit_template(unit_id), axis=0).argmax()
        rebuilt = sic.get_spike_waveforms(
            analyzer, spikes[hit], channel_ids=[analyzer.channel_ids[best]]
        ).waveforms[:, before - 10 : before + 15, 0]
        around = traces[samples[spikes[hit]][:, None] + np.arange(-15, 16), best]
        values = (projected[hit], factors[hit], -rebuilt.min(axis=1), -around.min(axis=1))
        for name, value in zip(AMPLITUDES, values, strict=True):
            found[name].append(correlation(value, simulated))
    return [
        Result(f"amplitude, correlation: {name}", np.array(values), low_is_bad=True)
        for name, values in found.items()
    ]


AMPLITUDES = (
    "projection",
    "amplitudes.npy",
    "trough of the rebuilt waveform",
    "trough of the trace",
)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def best_channels(analyzer: sc.SortingAnalyzer) -> np.ndarray:
    best = analyzer.compute("template_best_channels").get_data(outputs="indices")
    first = [best[unit_id][0] for unit_id in analyzer.unit_ids]
    return analyzer.get_channel_locations()[first]


def sorter_positions(analyzer: sc.SortingAnalyzer) -> np.ndarray:
    where = analyzer.get_extension("spike_locations").get_data()
    unit_index = analyzer.sorting.to_spike_vector()["unit_index"]
    units = range(len(analyzer.unit_ids))
    return np.array([[np.median(where[axis][unit_index == u]) for axis in "xy"] for u in units])


#: {name: a function that gives x and y of every unit}
LOCATIONS: dict[str, Callable[[sc.SortingAnalyzer], np.ndarray]] = {
    "si_curation": lambda a: a.get_extension("unit_locations").get_data()[:, :2],
    "best channel": best_channels,
    "median of spike_positions.npy": sorter_positions,
    "SpikeInterface center_of_mass": lambda a: localization_tools.compute_center_of_mass(a)[:, :2],
    "SpikeInterface monopolar_triangulation": lambda a: (
        localization_tools.compute_monopolar_triangulation(a)[:, :2]
    ),
    "SpikeInterface grid_convolution": lambda a: localization_tools.compute_grid_convolution(a)[
        :, :2
    ],
}
COMPARISONS: tuple[Callable[[TruthRecording], list[Result]], ...] = (
    compare_traces,
    compare_locations,
    compare_waveforms,
    compare_shapes,
    compare_amplitudes,
)


def summary_of(results: list[Result]) -> dict[str, float]:
    """Return median, the value that 90 % are better than, the worst one, and the number."""
    values = np.concatenate([one.values for one in results])
    values = values[np.isfinite(values)]
    low = results[0].low_is_bad
    return {
        "n": values.size,
        "median": float(np.median(values)),
        "90 %": float(np.quantile(values, 0.1 if low else 0.9)),
        "worst": float(values.min() if low else values.max()),
    }


def tabulate(found: dict[str, list[Result]], groups: dict[str, list[str]]) -> pd.DataFrame:
    """Return a row for each group of recordings and measure."""
    rows = []
    measures = dict.fromkeys(one.measure for results in found.values() for one in results)
    for group, names in groups.items():
        for measure in measures:
            same = [one for n in names for one in found[n] if one.measure == measure]
            if sum(one.values.size for one in same):
                rows.append({"recordings": group, "measure": measure, **summary_of(same)})
    return pd.DataFrame(rows)


def print_table(table: pd.DataFrame) -> None:
    """Print it as markdown."""
    print(f"| {' | '.join(table.columns)} |\n| --- | --- |{' ---: |' * (table.shape[1] - 2)}")
    for row in table.to_dict("records"):
        digits = 3 if "correlation" in row["measure"] or "/" in row["measure"] else 1
        numbers = [f"{row[name]:.{digits}f}" for name in ("median", "90 %", "worst")]
        print(f"| {row['recordings']} | {row['measure']} | {row['n']} | {' | '.join(numbers)} |")


def main() -> None:
    """Compare the recordings that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sorting", default="ks", help="name of the sorted folders")
    parser.add_argument("--gain-to-uv", type=float, default=0.2, help="of recording.dat")
    parser.add_argument("--each", action="store_true", help="rows of each recording too")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sc.set_global_job_kwargs(progress_bar=False, n_jobs=1)
    found, still, moving = {}, [], []
    for folder in arguments.folders:
        data = TruthRecording(folder, arguments.sorting, arguments.gain_to_uv)
        found[str(folder)] = [one for compare in COMPARISONS for one in compare(data)]
        (moving if data.has_drift else still).append(str(folder))
    groups = {Path(name).name: [name] for name in found} if arguments.each else {}
    groups |= {"without drift": still, "with drift": moving}
    table = tabulate(found, {name: members for name, members in groups.items() if members})
    print_table(table)
    if arguments.json:
        arguments.json.write_text(table.to_json(orient="records", indent=1))


if __name__ == "__main__":
    main()
