"""What other programs read of an NWB file, for the tests of the export."""

from __future__ import annotations

import numpy as np
import pynapple as nap
import pytest
import spikeinterface.core as sc
import spikeinterface.extractors as se
from nwbinspector import inspect_nwbfile, load_config
from pynwb import NWBHDF5IO

import si_curation as sic
from helpers.nwb_analyzers import frames_of
from helpers.nwb_faults import faults_in
from helpers.nwb_sources import FULL_METADATA


def export(analyzer, path, **kwargs):
    kwargs.setdefault("progress_bar", False)
    if kwargs.get("source_nwb") is None:
        kwargs.setdefault("metadata", FULL_METADATA)
    return sic.export_to_nwb(analyzer, path, **kwargs)


class Content:
    """What pynwb reads of a file, as plain arrays, with the file closed."""

    def __init__(self, path, units_name="units"):
        with NWBHDF5IO(path, "r") as io:
            nwbfile = io.read()
            table = (
                nwbfile.units
                if units_name == "units"
                else nwbfile.processing["ecephys"][units_name]
            )
            self.table_type = type(table).__name__
            self.description = table.description
            self.resolution = table.resolution
            self.waveform_rate = table.waveform_rate
            self.colnames = list(table.colnames)
            self.descriptions = {name: table[name].description for name in self.colnames}
            self.ids = np.asarray(table.id[:]).tolist()
            self.columns = {}
            for name in self.colnames:
                if name == "electrodes":
                    self.electrodes = nwbfile.electrodes.to_dataframe()
                    flat = np.asarray(table["electrodes"].target.data[:])
                    self.rows = _ragged(flat, table["electrodes"].data[:])
                    self.columns[name] = self.rows
                elif name == "electrode_group":
                    self.columns[name] = [group.name for group in table[name][:]]
                elif name + "_index" in table:
                    self.columns[name] = [np.asarray(table[name][i]) for i in range(len(table))]
                else:
                    self.columns[name] = np.asarray(table[name][:])
            self.before_peak = (
                table.waveform_time_before_peak_in_ms
                if hasattr(table, "waveform_time_before_peak_in_ms")
                else None
            )
            self.identifier = nwbfile.identifier
            self.session_start_time = nwbfile.session_start_time
            self.reference_time = nwbfile.timestamps_reference_time
            self.subject = {} if nwbfile.subject is None else dict(nwbfile.subject.fields)
            self.was_generated_by = nwbfile.was_generated_by
            self.devices = list(nwbfile.devices)
            self.groups = {name: g.location for name, g in nwbfile.electrode_groups.items()}
            self.acquisition = list(nwbfile.acquisition)

    def __getitem__(self, name):
        return self.columns[name]


def _ragged(flat, ends):
    starts = [0, *np.asarray(ends)[:-1]]
    return [np.asarray(flat[a:b]) for a, b in zip(starts, ends, strict=True)]


def assert_frames(path, analyzer, t_start, **kwargs):
    """Compare with SpikeInterface, pynapple and pynwb, by frame, in every unit."""
    expected = frames_of(analyzer)
    names = [str(unit_id) for unit_id in expected]
    rate = analyzer.sampling_frequency
    read = se.read_nwb_sorting(path, t_start=t_start, **kwargs)
    assert [str(i) for i in read.unit_ids] == names
    assert read.sampling_frequency == pytest.approx(rate, rel=1e-12)
    for unit_id, frames in zip(read.unit_ids, expected.values(), strict=True):
        np.testing.assert_array_equal(read.get_unit_spike_train(unit_id, segment_index=0), frames)
    content = Content(path)
    assert len(content["spike_times"]) == len(expected)
    for times, frames in zip(content["spike_times"], expected.values(), strict=True):
        assert times.dtype == np.float64
        np.testing.assert_array_equal(np.round((times - t_start) * rate), frames)
        # not merely to the frame: t_start + frame / rate in double precision
        np.testing.assert_allclose(times, t_start + frames / rate, rtol=3e-16, atol=0)
    group = nap.load_file(str(path))["units"]
    assert sorted(group.keys()) == sorted(content.ids)
    for name, row, frames in zip(names, content.ids, expected.values(), strict=True):
        assert group["unit_name"][row] == name
        np.testing.assert_array_equal(np.round((group[row].t - t_start) * rate), frames)


def messages_of(path, configs=("dandi",)):
    """Give what nwbinspector says at any level, by default for DANDI, and the validator."""
    found = [f"validate: {fault}" for fault in faults_in(path)]
    for config in [None if name is None else load_config(name) for name in configs]:
        found += [
            f"{m.importance.name} {m.check_function_name} {m.location}: {m.message}"
            for m in inspect_nwbfile(nwbfile_path=str(path), config=config, skip_validate=True)
        ]
    return found


def analyzer_of_recording(recording, seed=0, num_units=3):
    rng = np.random.default_rng(seed)
    last = recording.get_num_samples(0) - 200
    frames = [
        np.sort(rng.choice(np.arange(200, last), 30, replace=False)) for _ in range(num_units)
    ]
    sorting = sc.NumpySorting.from_unit_dict(
        [dict(enumerate(frames))], recording.get_sampling_frequency()
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute({"random_spikes": {}, "templates": {"operators": ["average"]}})
    return analyzer


def expected_channels(analyzer):
    """Rank the channels of the best one's shank by the templates alone, without the package."""
    templates = analyzer.get_extension("templates").get_data(operator="average")
    probes = analyzer.get_probegroup().probes
    shanks = [(i, j) for i, probe in enumerate(probes) for j in _shanks(probe)]
    ranked = [np.argsort(np.ptp(one, axis=0))[::-1] for one in templates]
    return [np.array([i for i in one if shanks[i] == shanks[one[0]]]) for one in ranked]


def _shanks(probe):
    ids = probe.shank_ids
    return [""] * probe.get_contact_count() if ids is None else ids.tolist()


def assert_electrodes(content, analyzer):
    """The row of each best channel, by its position and name, best first."""
    places = analyzer.get_channel_locations()
    for rows, ranked in zip(content.rows, expected_channels(analyzer), strict=True):
        assert rows.size >= 1
        table = content.electrodes.iloc[rows]
        expected = ranked[: rows.size]
        np.testing.assert_allclose(table[["rel_x", "rel_y"]].to_numpy(), places[expected])
        assert table["channel_name"].tolist() == [str(i) for i in analyzer.channel_ids[expected]]
