"""`export_to_phy` of a session: the rows of its time, times from its start, its own raw data."""

import json
import os
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from helpers import needs
from si_curation.phy.folder import read_phy_folder

BORDER, TOTAL, NUM_CHANNELS = 1_000_000, 2_400_000, 32


def with_raw(tmp_path, lengths):
    """The example with raw files of such lengths, whose samples count up."""
    folder = tmp_path / "ks"
    shutil.copytree(sic.example_folder(), folder, ignore=shutil.ignore_patterns("phy_*", "*.md"))
    paths = []
    for i, length in enumerate(lengths):
        path = tmp_path / f"day{i + 1}.bin"
        with path.open("wb") as file:
            file.truncate(8 + length * NUM_CHANNELS * 2)  # sparse, with a header of 8 bytes
        paths.append(str(path))
    lines = (folder / "params.py").read_text().splitlines()
    lines = [line for line in lines if not line.startswith(("dat_path", "offset"))]
    value = paths if len(paths) > 1 else paths[0]
    text = "\n".join([*lines, f"dat_path = {value!r}", "offset = 8"])
    (folder / "params.py").write_text(text + "\n")
    return folder, paths


def params_of(folder):
    values = {}
    exec((folder / "params.py").read_text(), values)
    return values


def check_same(session, folder):
    """A folder, read, is the analyzer of the session."""
    again = sic.read_kilosort_as_analyzer(folder)
    np.testing.assert_array_equal(
        again.sorting.to_spike_vector()["sample_index"],
        session.sorting.to_spike_vector()["sample_index"],
    )
    counts = session.sorting.count_num_spikes_per_unit()
    assert again.sorting.count_num_spikes_per_unit() == {i: n for i, n in counts.items() if n}
    ids = list(again.unit_ids)
    rows = session.sorting.ids_to_indices(ids)
    for name in ("templates", "unit_locations"):
        found, known = (a.get_extension(name).get_data() for a in (again, session))
        np.testing.assert_allclose(found, known[rows], rtol=1e-5, atol=1e-6)
    for name in ("spike_amplitudes", "spike_locations"):
        if session.has_extension(name):
            found, known = (a.get_extension(name).get_data() for a in (again, session))
            np.testing.assert_array_equal(found, known)
    labels, known = (a.get_sorting_property("quality") for a in (again, session))
    assert labels.tolist() == known[rows].tolist()
    table, its = (a.get_extension("template_assignment").get_data() for a in (again, session))
    assert table.equals(its.loc[ids])
    return again


def test_sessions_of_two_raw_files_name_their_own(tmp_path):
    folder, paths = with_raw(tmp_path, [BORDER, TOTAL - BORDER])
    whole = sic.read_kilosort_as_analyzer(folder)
    sessions = sic.split_by_session(whole)
    assert list(sessions) == ["day1", "day2"]
    for (name, session), path, length in zip(
        sessions.items(), paths, (BORDER, TOTAL - BORDER), strict=True
    ):
        out = sic.export_to_phy(session, tmp_path / name)
        params = params_of(out)
        assert (params["dat_path"], params["offset"]) == ([path], 8)
        again = check_same(session, out)
        assert again.get_num_samples() == length == session.get_num_samples()
        channels = [3, 7, 20]
        spikes = np.arange(0, 1000, 37)
        np.testing.assert_array_equal(
            sic.get_spike_features(again, spikes, channels),
            sic.get_spike_features(session, spikes, channels),
        )
        assert not (out / "kept_spikes.npy").exists()
        assert not (out / "cluster_info.tsv").exists()
    told = json.loads((tmp_path / "day2" / "session.json").read_text())
    assert told == {"name": "day2", "first_sample": BORDER, "end_sample": TOTAL}


def test_a_part_of_a_raw_file_is_named_only_where_phy_can_read_it(tmp_path):
    folder, paths = with_raw(tmp_path, [TOTAL])
    whole = sic.read_kilosort_as_analyzer(folder)
    first, second = sic.split_by_session(whole, [BORDER]).values()
    out = sic.export_to_phy(first, tmp_path / "first")
    assert params_of(out)["dat_path"] is None
    assert "phy reads files to their end" in (out / "params.py").read_text()
    assert check_same(first, out).get_num_samples() == BORDER, "as session.json tells"
    params = params_of(sic.export_to_phy(second, tmp_path / "second"))
    assert (params["dat_path"], params["offset"]) == (paths[0], 8 + BORDER * NUM_CHANNELS * 2)
    assert check_same(second, tmp_path / "second").get_num_samples() == TOTAL - BORDER


def test_samples_of_the_session_are_copied(tmp_path):
    folder, paths = with_raw(tmp_path, [600_000, TOTAL - 600_000])
    marks = {400_000: 0, 599_999: 0, 600_000: 1, 799_999: 1, 399_999: 0, 800_000: 1}
    for sample, index in marks.items():
        with open(paths[index], "r+b") as file:
            local = sample - 600_000 * index
            file.seek(8 + local * NUM_CHANNELS * 2)
            file.write(np.full(NUM_CHANNELS, sample % 29_989 + 1, dtype=np.int16).tobytes())
    whole = sic.read_kilosort_as_analyzer(folder)
    middle = list(sic.split_by_session(whole, [400_000, 800_000]).values())[1]
    out = sic.export_to_phy(middle, tmp_path / "out", copy_recording=True)
    params = params_of(out)
    assert (params["dat_path"], params["offset"]) == ("recording.dat", 0)
    traces = np.fromfile(out / "recording.dat", dtype=np.int16).reshape(-1, NUM_CHANNELS)
    assert traces.shape == (400_000, NUM_CHANNELS)
    assert np.flatnonzero(traces[:, 5]).tolist() == [0, 199_999, 200_000, 399_999]
    assert traces[200_000, 31] == 600_000 % 29_989 + 1
    check_same(middle, out)


def test_without_raw_data_it_is_said(tmp_path):
    whole = sic.read_kilosort_as_analyzer(sic.example_folder())
    first, _ = sic.split_by_session(whole, [40.0]).values()
    out = sic.export_to_phy(first, tmp_path / "out")
    assert params_of(out)["dat_path"] is None
    assert "was not there" in (out / "params.py").read_text()
    with pytest.raises(sic.MissingDataError, match="raw data"):
        sic.export_to_phy(first, tmp_path / "copy", copy_recording=True)
    assert not (tmp_path / "copy").exists()


def test_curation_of_a_session_and_its_labels(tmp_path):
    whole = sic.read_kilosort_as_analyzer(sic.example_folder())
    session = sic.CurationSession(whole)
    session.merge([8, 9], new_unit_id=20)
    session.label([20], "good")
    second = list(sic.split_by_session(session.apply(), [40.0]).values())[1]
    later = sic.CurationSession(second)
    later.label([7], "mua")
    later.label([7], 3, field="layer")
    out = sic.export_to_phy(later.apply(), tmp_path / "out", columns={"snr": {4: 2.5}})
    check_same(later.apply(), out)
    with read_phy_folder(out) as read:
        assert read.groups[20] == "good"
        assert read.groups[7] == "mua"
        assert read.columns["layer"].values == {7: 3}
        assert read.columns["snr"].values == {4: 2.5}


@pytest.mark.slow
def test_spikes_that_are_not_in_the_analyzer_stay_in_the_folder(tmp_path):
    whole = sic.read_kilosort_as_analyzer(sic.example_folder(), exclude_groups="noise")
    whole.compute("template_features")
    second = list(sic.split_by_session(whole, [40.0]).values())[1]
    out = sic.export_to_phy(second, tmp_path / "out")
    with read_phy_folder(out) as read, read_phy_folder(sic.example_folder()) as source:
        inside = (source.spike_samples >= 1_200_000) & (source.spike_samples < 2_399_876)
        np.testing.assert_array_equal(read.spike_samples, source.spike_samples[inside] - 1_200_000)
        np.testing.assert_array_equal(read.spike_clusters, source.spike_clusters[inside])
        assert 8 in read.cluster_ids.tolist()
        assert read.template_features.shape[0] == inside.sum()
        projected = np.asarray(read.template_features)[read.spike_clusters == 8]
    assert np.abs(projected).sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ks1_phy_curated", "ks25_example"])
def test_real_folders_of_other_versions(shared_data, tmp_path, name):
    whole = sic.read_kilosort_as_analyzer(shared_data / name)
    samples = whole.sorting.to_spike_vector()["sample_index"]
    border = int(samples[len(samples) // 2])
    total = 0
    for key, session in sic.split_by_session(whole, [border], unit="samples").items():
        out = sic.export_to_phy(session, tmp_path / key)
        again = check_same(session, out)
        total += again.sorting.count_total_num_spikes()
        channels = np.arange(whole.get_num_channels())[:6]
        spikes = np.arange(len(session.sorting.to_spike_vector()))
        np.testing.assert_array_equal(
            sic.get_spike_features(again, spikes, channels),
            sic.get_spike_features(session, spikes, channels),
        )
        for one in (again, session):
            one.compute("template_features")
        a, b = (one.get_extension("template_features").get_data() for one in (again, session))
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    assert total == len(samples)


@pytest.mark.slow
def test_waveforms_from_the_folder_of_a_session_are_those_of_the_whole(shared_data, tmp_path):
    # the spikes of one of these sessions tell the channels of the features wrongly
    whole = sic.read_kilosort_as_analyzer(shared_data / "ks4_truth" / "static" / "ks")
    first = 0
    for name, session in sic.split_by_session(whole, [30.0, 55.0]).items():
        again = sic.read_kilosort_as_analyzer(sic.export_to_phy(session, tmp_path / name))
        spikes = np.arange(0, again.sorting.count_total_num_spikes(), 53)
        of_whole, of_session, of_folder = (
            sic.get_spike_waveforms(one, which).waveforms
            for one, which in ((whole, spikes + first), (session, spikes), (again, spikes))
        )
        np.testing.assert_array_equal(of_session, of_whole)
        np.testing.assert_array_equal(of_folder, of_whole)
        first += again.sorting.count_total_num_spikes()


@pytest.mark.slow
def test_metrics_of_a_session_are_those_of_its_folder(shared_data, tmp_path):
    whole = sic.read_kilosort_as_analyzer(shared_data / "ks4_truth" / "static" / "ks")
    computed = ["template_best_channels", "unit_similarity", "cross_correlograms"]
    whole.compute(computed)
    metrics = whole.compute("curation_metrics").get_data()
    # noise is of all spikes of a folder
    names = [name for name in metrics if not name.endswith("from_features")]
    for name, session in sic.split_by_session(whole, [30.0, 55.0]).items():
        again = sic.read_kilosort_as_analyzer(sic.export_to_phy(session, tmp_path / name))
        again.compute(computed)
        found = again.compute("curation_metrics").get_data()[names]
        known = session.get_extension("curation_metrics").get_data().loc[found.index, names]
        pd.testing.assert_frame_equal(found, known, rtol=1e-9, check_dtype=False)
        for one in ("random_spikes", "principal_components"):
            a, b = (x.get_extension(one).get_data() for x in (again, session))
            if one == "random_spikes" or a.shape == b.shape:
                np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["kilosort4.0.0", "kilosort1"])
def test_dialects(simulate, tmp_path, dialect):
    folder = simulate(dialect, num_templates=12, num_channels=20, num_spikes=3000).folder
    np.save(folder / "spike_depths.npy", np.arange(3000, dtype=np.float32))
    np.save(folder / "something_else.npy", np.arange(17))
    whole = sic.read_kilosort_as_analyzer(folder)
    for key, session in sic.split_by_session(whole, [5.0]).items():
        out = sic.export_to_phy(session, tmp_path / key, link=True)
        check_same(session, out)
        rows = session.get_extension("template_assignment").get_spike_rows()
        depths = np.load(out / "spike_depths.npy")
        np.testing.assert_array_equal(np.sort(depths), np.sort(rows))
        np.testing.assert_array_equal(np.load(out / "something_else.npy"), np.arange(17))


@pytest.mark.slow
def test_drift_and_sorted_part_are_those_of_the_session(simulate, tmp_path):
    settings = {"nblocks": 3, "tmin": 5.0, "tmax": 45.0, "batch_size": 30_000}
    folder = simulate(
        "kilosort4",
        num_templates=6,
        num_channels=16,
        num_spikes=2000,
        duration_s=60.0,
        sampling_frequency=30_000.0,
        sorter_settings=settings,
    ).folder
    whole = sic.read_kilosort_as_analyzer(folder)
    drift = read_phy_folder(folder).settings.drift
    second = list(sic.split_by_session(whole, [20.0]).values())[1]
    out = sic.export_to_phy(second, tmp_path / "out")
    read = read_phy_folder(out)
    inside = (drift.starts_s + drift.batch_s > 20.0) & (drift.starts_s < 45.0)
    np.testing.assert_array_equal(read.settings.drift.shift_um, drift.shift_um[inside])
    np.testing.assert_allclose(read.settings.drift.starts_s, drift.starts_s[inside] - 20.0)
    assert (read.settings.first_s, read.settings.last_s) == (0.0, 25.0)
    for one in (second, sic.read_kilosort_as_analyzer(out)):
        widget = sic.plot_drift(one)
        edges = widget.axes[0].patches[0].get_data().edges
        assert edges[0] <= 0.0 < edges[1]
        observed = sic.observed_periods(one).periods
        assert observed[0, 1:].tolist()[0] == 0


def test_a_session_updates_its_spikes_in_the_folder_of_the_whole(tmp_path):
    folder, _ = with_raw(tmp_path, [TOTAL])
    before = np.load(folder / "spike_clusters.npy").reshape(-1)
    whole = sic.read_kilosort_as_analyzer(folder)
    session = sic.CurationSession(list(sic.split_by_session(whole, [BORDER]).values())[1])
    new = session.merge([8, 9])
    assert sic.update_phy_folder(folder, session.apply()) is not None
    after = np.load(folder / "spike_clusters.npy").reshape(-1)
    late = np.load(folder / "spike_times.npy").reshape(-1) >= BORDER
    merged = late & np.isin(before, [8, 9])
    assert (after[merged] == new).all()
    np.testing.assert_array_equal(after[~merged], before[~merged])


def test_a_session_without_spikes_cannot_be_opened_by_phy(tmp_path):
    whole = sic.read_kilosort_as_analyzer(sic.example_folder())
    first = int(whole.sorting.to_spike_vector()["sample_index"][0])
    empty = next(iter(sic.split_by_session(whole, [first], unit="samples").values()))
    with pytest.raises(sic.MissingDataError, match="phy cannot open a folder without any"):
        sic.export_to_phy(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_folder_is_refused_and_nothing_is_left(tmp_path):
    folder = tmp_path / "ks"
    shutil.copytree(sic.example_folder(), folder)
    whole = sic.read_kilosort_as_analyzer(folder)
    session = list(sic.split_by_session(whole, [40.0]).values())[1]
    times = np.load(folder / "spike_times.npy")
    (folder / "spike_times.npy").chmod(0o644)
    np.save(folder / "spike_times.npy", times + 1)
    with pytest.raises(sic.PhyFolderError, match="at other samples"):
        sic.export_to_phy(session, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ks"]


@pytest.mark.parametrize(
    "content", ["no json", "[1]", '{"first_sample": 9, "end_sample": 5}', '{"first_sample": "x"}']
)
def test_a_session_file_that_cannot_be_read_is_a_finding(tmp_path, content):
    folder = tmp_path / "ks"
    shutil.copytree(sic.example_folder(), folder)
    (folder / "session.json").write_text(content)
    with read_phy_folder(folder) as read:
        assert [one.where for one in read.findings].count("session.json") == 1
        assert read.num_spikes == 5299


def test_a_session_file_of_another_program_is_nothing(tmp_path):
    folder = tmp_path / "ks"
    shutil.copytree(sic.example_folder(), folder)
    (folder / "session.json").write_text('{"subject": "mouse"}')
    with read_phy_folder(folder) as read:
        assert not any(one.where == "session.json" for one in read.findings)


@pytest.mark.slow
def test_phy_reads_the_session(tmp_path):
    python = needs.python_with("phy")
    folder, _ = with_raw(tmp_path, [BORDER, TOTAL - BORDER])
    whole = sic.read_kilosort_as_analyzer(folder)
    whole.compute("template_features")
    second = sic.split_by_session(whole)["day2"]
    out = sic.export_to_phy(second, tmp_path / "out")
    code = (
        "import json, sys, numpy as np\n"
        "from phylib.io.model import load_model\n"
        "m = load_model(sys.argv[1])\n"
        "print(json.dumps([m.n_spikes, m.duration, m.traces.shape[0], float(m.spike_times[0]),\n"
        "  float(m.spike_times[-1]), len(m.cluster_ids), m.features is not None,\n"
        "  m.template_features is not None]))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code, str(out / "params.py")],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    samples = second.sorting.to_spike_vector()["sample_index"]
    length = TOTAL - BORDER
    assert found[:3] == [samples.size, length / 30_000, length]
    assert found[3:5] == pytest.approx([samples[0] / 30_000, samples[-1] / 30_000])
    assert found[5:] == [len(whole.unit_ids), True, True]
