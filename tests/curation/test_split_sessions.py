"""`split_by_session`: every spike in one session, times from its start, everything else with it."""

import itertools
import json
import warnings

import numpy as np
import pytest
import spikeinterface.core as sc
from hypothesis import assume, given
from hypothesis import strategies as st
from spikeinterface.core.sortinganalyzer import AnalyzerExtension

import si_curation as sic
from helpers import needs
from helpers.analyzers import recording_with_templates
from helpers.other_sorters import other_analyzer
from si_curation.curation.history import recorded_history
from si_curation.reading.sessions import session_of_whole

OURS = ["template_best_channels", "template_features", "unit_similarity", "cross_correlograms"]
NAMES = ["base", "drug", "wash"]


@pytest.fixture(scope="module")
def whole():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    session = sic.CurationSession(analyzer)
    session.merge([8, 9])
    session.label([4], "good")
    curated = session.apply()
    curated.compute(OURS)
    names = ["num_spikes", "firing_rate", "presence_ratio", "template"]
    curated.compute("curation_metrics", metric_names=names, window_s=10.0)
    return curated


@pytest.fixture(scope="module")
def sessions(whole):
    return sic.split_by_session(whole, [900_000, 1_515_000], names=NAMES)


EDGES = [0, 900_000, 1_515_000, 2_399_876]


# spikes


def test_every_spike_is_in_one_session_with_times_from_its_start(whole, sessions):
    assert list(sessions) == NAMES
    vector = whole.sorting.to_spike_vector()
    parts = []
    for one, start, stop in zip(sessions.values(), EDGES, EDGES[1:], strict=False):
        assert one.get_num_samples() == stop - start
        assert one.unit_ids.tolist() == whole.unit_ids.tolist()
        spikes = one.sorting.to_spike_vector().copy()
        spikes["sample_index"] += start
        parts.append(spikes)
    np.testing.assert_array_equal(np.concatenate(parts), vector)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=40),
    st.sets(st.integers(1, 59), max_size=5),
    st.integers(1, 3),
    st.sampled_from(["keep", "drop"]),
)
def test_spikes_as_numpy_cuts_them(spikes, borders, num_segments, empty_units):
    borders = sorted(borders)
    lengths = np.full(num_segments, 60 // num_segments)
    lengths[-1] += 60 - lengths.sum()
    total = int(lengths.sum())
    offsets = np.cumsum(lengths) - lengths
    spikes = sorted((min(sample, total - 1), unit) for sample, unit in spikes)
    samples = np.array([sample for sample, _ in spikes], dtype=np.int64)
    units = np.array([unit for _, unit in spikes], dtype=np.int64)
    segment = np.searchsorted(offsets, samples, side="right") - 1
    # of a sorting without spikes in the last segments SpikeInterface makes one with fewer segments
    assume(num_segments == 1 or (samples.size and segment[-1] == num_segments - 1))
    vector = np.zeros(samples.size, dtype=sc.base.minimum_spike_dtype)
    vector["sample_index"] = samples - offsets[segment]
    vector["unit_index"], vector["segment_index"] = units, segment
    recording = sc.NumpyRecording(
        [np.arange(n)[:, None] + offset for n, offset in zip(lengths, offsets, strict=True)], 1e3
    )
    recording.set_dummy_probe_from_locations(np.zeros((1, 2)))
    ids = np.array(["a", "b", "c", "d"])
    sorting = sc.NumpySorting.from_unit_dict(
        [
            {
                name: vector["sample_index"][(units == k) & (segment == s)]
                for k, name in enumerate(ids)
            }
            for s in range(num_segments)
        ],
        1e3,
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    edges = [0, *borders, total]
    of_session = [
        (samples >= start) & (samples < stop) for start, stop in itertools.pairwise(edges)
    ]
    if empty_units == "drop" and not all(one.any() for one in of_session):
        with pytest.raises(sic.ParameterError, match="there are no spikes in session_"):
            sic.split_by_session(analyzer, borders, unit="samples", empty_units=empty_units)
        return
    found = sic.split_by_session(analyzer, borders, unit="samples", empty_units=empty_units)
    assert len(found) == len(edges) - 1
    for one, start, stop, keep in zip(found.values(), edges, edges[1:], of_session, strict=False):
        its = one.sorting.to_spike_vector()
        num = one.get_num_segments()
        its_lengths = np.array([one.get_num_samples(i) for i in range(num)])
        assert its_lengths.sum() == stop - start
        its_offsets = np.cumsum(its_lengths) - its_lengths
        found_samples = its["sample_index"] + its_offsets[its["segment_index"]] + start
        order = np.lexsort((units[keep], samples[keep]))
        again = np.lexsort((one.unit_ids[its["unit_index"]], found_samples))
        np.testing.assert_array_equal(found_samples[again], samples[keep][order])
        np.testing.assert_array_equal(
            one.unit_ids[its["unit_index"]][again], ids[units[keep]][order]
        )
        expected = ids if empty_units == "keep" else ids[np.unique(units[keep])]
        assert one.unit_ids.tolist() == expected.tolist()
        traces = np.concatenate([one.recording.get_traces(segment_index=i) for i in range(num)])
        np.testing.assert_array_equal(traces[:, 0], np.arange(start, stop))
        assert one.sorting.get_num_segments() == num


def test_a_spike_at_a_border_is_of_the_later_session(whole):
    vector = whole.sorting.to_spike_vector()
    sample = int(vector["sample_index"][2000])
    first, second = sic.split_by_session(whole, [sample]).values()
    assert first.sorting.to_spike_vector()["sample_index"].max() < sample
    assert second.sorting.to_spike_vector()["sample_index"][0] == 0


# what goes with the spikes and units


def test_labels_properties_and_history_are_kept(whole, sessions):
    for name, one in sessions.items():
        for key in whole.sorting.get_property_keys():
            np.testing.assert_array_equal(
                one.get_sorting_property(key), whole.get_sorting_property(key)
            )
        for key in ("curation_history", "phy_folder", "sorter"):
            assert one.sorting.get_annotation(key) == whole.sorting.get_annotation(key)
        history = recorded_history(one)
        assert history["operation"].tolist() == ["merge", "label"]
        start, stop = EDGES[NAMES.index(name)], EDGES[NAMES.index(name) + 1]
        assert session_of_whole(one.sorting) == (name, start, stop)


def test_templates_rows_and_features_are_those_of_the_spikes(whole, sessions):
    before = whole.get_extension("template_assignment")
    rows, ids, projections = [], [], []
    for one, start, stop in zip(sessions.values(), EDGES, EDGES[1:], strict=False):
        its = one.get_extension("template_assignment")
        assert (its.frame_offset, its.session_samples) == (start, (start, stop))
        np.testing.assert_array_equal(its.get_templates(), before.get_templates())
        rows.append(its.get_spike_rows())
        ids.append(its.get_spike_template_ids())
        projections.append(one.get_extension("template_features").get_data()[0])
        chosen = np.arange(0, len(rows[-1]), 97)
        channels = [3, 7, 20]
        expected = sic.get_spike_features(whole, sum(map(len, rows[:-1])) + chosen, channels)
        np.testing.assert_array_equal(sic.get_spike_features(one, chosen, channels), expected)
    np.testing.assert_array_equal(np.concatenate(rows), before.get_spike_rows())
    np.testing.assert_array_equal(np.concatenate(ids), before.get_spike_template_ids())
    whole_projections = whole.get_extension("template_features").get_data()[0]
    np.testing.assert_array_equal(np.concatenate(projections), whole_projections)
    for name in ("spike_amplitudes", "spike_locations"):
        parts = [np.asarray(one.get_extension(name).get_data()) for one in sessions.values()]
        expected = np.asarray(whole.get_extension(name).get_data())
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_units_have_the_mean_template_of_the_session(sessions):
    for one in sessions.values():
        assignment = one.get_extension("template_assignment")
        templates = one.get_extension("templates").get_data(operator="average")
        for unit_id, template in zip(one.unit_ids, templates, strict=True):
            expected = assignment.get_unit_template(unit_id, kind="weighted_mean")
            np.testing.assert_allclose(template, expected, rtol=1e-5, atol=1e-5)


def test_counts_and_metrics_are_those_computed_on_the_session(whole, sessions):
    for one in sessions.values():
        fresh = one.copy()
        for name in ("cross_correlograms", "unit_similarity", "template_best_channels"):
            params = one.get_extension(name).params
            known = one.get_extension(name).get_data()
            again = fresh.compute(name, **params).get_data()
            for a, b in zip(_arrays(known), _arrays(again), strict=True):
                np.testing.assert_array_equal(a, b)
        metrics = one.get_extension("curation_metrics")
        again = fresh.compute(
            "curation_metrics",
            metric_names=metrics.params["metric_names"],
            window_s=10.0,
            delete_existing_metrics=True,
        )
        assert metrics.get_data().equals(again.get_data())
        assert metrics.get_data(windows=True).equals(again.get_data(windows=True))
        duration = one.get_total_duration()
        counts = np.array(list(one.sorting.count_num_spikes_per_unit().values()))
        np.testing.assert_allclose(metrics.get_data()["firing_rate"], counts / duration)
    counts = [one.get_extension("cross_correlograms").get_data()[0] for one in sessions.values()]
    together = whole.get_extension("cross_correlograms").get_data()[0]
    assert np.all(sum(counts) <= together)
    assert np.abs(together - sum(counts)).sum() < 0.01 * together.sum(), "pairs across borders"


def _arrays(data):
    if isinstance(data, tuple):
        return list(data)
    return list(data.values()) if isinstance(data, dict) else [data]


@pytest.mark.slow
def test_units_without_spikes_keep_their_template_or_are_left_out():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "unit_similarity", "cross_correlograms"])
    analyzer.compute("curation_metrics")
    first = min(int(analyzer.sorting.get_unit_spike_train(i)[0]) for i in analyzer.unit_ids)
    border = first + 1
    kept = next(iter(sic.split_by_session(analyzer, [border], unit="samples").values()))
    assert kept.sorting.count_total_num_spikes() == 1
    silent = np.array(list(kept.sorting.count_num_spikes_per_unit().values())) == 0
    assert silent.sum() == 7
    for name in ("templates", "unit_locations"):
        found, known = (a.get_extension(name).get_data() for a in (kept, analyzer))
        np.testing.assert_array_equal(found[silent], known[silent])
    np.testing.assert_array_equal(kept.get_main_channels(), analyzer.get_main_channels())
    table = kept.get_extension("curation_metrics").get_data()
    assert table["num_spikes"].tolist() == (~silent).astype(int).tolist()
    dropped = sic.split_by_session(analyzer, [border], unit="samples", empty_units="drop")
    first, second = dropped.values()
    assert len(first.unit_ids) == 1
    assert len(second.unit_ids) == 8
    assert len(first.get_extension("templates").get_data()) == 1


@pytest.mark.slow
def test_a_session_without_spikes_is_an_analyzer_of_empty_units(whole):
    first = int(whole.sorting.to_spike_vector()["sample_index"][0])
    found = sic.split_by_session(whole, [first], unit="samples")
    empty = next(iter(found.values()))
    assert empty.sorting.count_total_num_spikes() == 0
    assert empty.unit_ids.tolist() == whole.unit_ids.tolist()
    assert set(empty.extensions) == set(whole.extensions)
    assert (empty.get_extension("curation_metrics").get_data()["num_spikes"] == 0).all()
    with pytest.raises(sic.ParameterError, match="there are no spikes in session_1"):
        sic.split_by_session(whole, [first], unit="samples", empty_units="drop")


def test_what_was_observed_is_cut():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    vector = analyzer.sorting.to_spike_vector()
    gaps = np.flatnonzero(np.diff(vector["sample_index"]) > 100)
    a, b = (int(vector["sample_index"][gaps[k]]) for k in (1500, 3000))
    periods = [[0, a + 1], [a + 31, b + 1], [b + 51, 2_399_876]]
    sic.set_observed_periods(analyzer, np.array(periods) / 30_000)
    first, second, third = sic.split_by_session(analyzer, [a - 500, b + 20]).values()
    assert sic.observed_periods(first).is_whole
    assert sic.observed_periods(second).periods[:, 1:].tolist() == [
        [0, 501],
        [531, b + 1 - (a - 500)],
    ]
    assert sic.observed_periods(third).periods[:, 1:].tolist() == [[31, 2_399_876 - (b + 20)]]
    assert vector.size == sum(a.sorting.count_total_num_spikes() for a in (first, second, third))


def test_a_session_that_was_not_sorted_is_said():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    first = int(analyzer.sorting.to_spike_vector()["sample_index"][0])
    sic.set_observed_periods(analyzer, [[first / 30_000, float("inf")]])
    with pytest.warns(sic.SiCurationWarning, match="sorted nothing of session_1"):
        sic.split_by_session(analyzer, [first], unit="samples")


def test_periods_of_metrics_are_cut():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    periods = {"4": [[0, 0, 600_000], [0, 900_000, 2_000_000]], "7": [[0, 0, 100]]}
    analyzer.compute("curation_metrics", metric_names=["num_spikes"], periods=periods)
    first, second = sic.split_by_session(analyzer, [1_000_000]).values()
    train = analyzer.sorting.get_unit_spike_train(4)
    counts = [
        int(((train < 600_000) | ((train >= 900_000) & (train < 1_000_000))).sum()),
        int(((train >= 1_000_000) & (train < 2_000_000)).sum()),
    ]
    for one, count in zip((first, second), counts, strict=True):
        metrics = one.get_extension("curation_metrics")
        assert metrics.get_data()["num_spikes"][4] == count
        assert metrics.params["periods"] == metrics.data["table"]["periods"]
    assert second.get_extension("curation_metrics").params["periods"]["4"] == [[0, 0, 1_000_000]]


# recordings


def _concatenated(times):
    parts = [
        sc.generate_recording(num_channels=4, durations=[s], seed=i)
        for i, s in enumerate((2.0, 1.5))
    ]
    if times == "t_start":
        parts[0].shift_times(50.0)
        parts[1].set_times(np.arange(45_000) / 30_000 + 100.0)
    whole = sc.concatenate_recordings(parts)
    whole.set_property("note", ["a", "b", "c", "d"])
    whole = whole.select_channels(["0", "2", "3"])
    sorting = sc.generate_sorting(num_units=3, durations=[3.5], seed=1)
    return parts, sc.create_sorting_analyzer(sorting, whole, sparse=False)


@pytest.mark.parametrize("times", ["none", "t_start"])
def test_sessions_that_were_concatenated_have_their_own_recordings(times):
    parts, analyzer = _concatenated(times)
    analyzer.compute(["random_spikes", "waveforms", "templates", "noise_levels"])
    found = sic.split_by_session(analyzer)
    for part, one in zip(parts, found.values(), strict=True):
        recording = one.recording
        np.testing.assert_array_equal(
            recording.get_traces(), part.get_traces(channel_ids=["0", "2", "3"])
        )
        np.testing.assert_array_equal(recording.get_times(), part.get_times())
        assert recording.get_property("note").tolist() == ["a", "c", "d"]
        np.testing.assert_array_equal(one.get_channel_locations(), analyzer.get_channel_locations())
        fresh = sc.create_sorting_analyzer(one.sorting, recording, sparse=False)
        fresh.extensions["random_spikes"] = one.get_extension("random_spikes")
        fresh.compute(["waveforms", "templates"])
        spikes = one.get_extension("random_spikes").get_random_spikes()["sample_index"]
        inside = (spikes > 60) & (spikes < one.get_num_samples() - 90)
        for extension in ("waveforms",):
            a, b = (x.get_extension(extension).get_data() for x in (one, fresh))
            np.testing.assert_array_equal(a[inside], b[inside])
    assert len(found["session_2"].recording.get_times()) == 45_000


@pytest.mark.parametrize(("start_s", "first_s"), [(None, 0.0), (7.0, 8.5)])
def test_times_of_a_slice_are_known_ones_or_begin_at_0(start_s, first_s):
    recording = sc.generate_recording(num_channels=4, durations=[3.0])
    if start_s is not None:
        recording.shift_times(start_s)
    sorting = sc.generate_sorting(num_units=2, durations=[3.0])
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    second = list(sic.split_by_session(analyzer, [1.5]).values())[1]
    assert second.recording.get_times()[0] == first_s
    np.testing.assert_array_equal(
        second.recording.get_traces(), recording.get_traces(start_frame=45_000)
    )


# other analyzers


@pytest.mark.slow
def test_several_segments_of_another_sorter():
    analyzer = other_analyzer()
    analyzer.compute(["waveforms", "templates", "spike_amplitudes", "unit_locations"])
    analyzer.compute("template_similarity")
    analyzer.compute(["correlograms", "isi_histograms"])
    analyzer.compute("quality_metrics", metric_names=["num_spikes", "firing_rate"])
    first, second = sic.split_by_session(analyzer).values()
    assert (first.get_num_segments(), second.get_num_segments()) == (1, 1)
    assert set(first.extensions) == set(analyzer.extensions)
    assert second.sorting.count_num_spikes_per_unit() == {"a": 200, "b": 200, "one": 0, "none": 0}
    table = second.get_extension("quality_metrics").get_data()
    assert table["num_spikes"].tolist() == [200, 200, 0, 0]
    np.testing.assert_allclose(table["firing_rate"][:2], 100.0)
    waveforms = second.get_extension("waveforms")
    for unit_id in "ab":
        np.testing.assert_allclose(
            second.get_extension("templates").get_unit_template(unit_id),
            waveforms.get_waveforms_one_unit(unit_id).mean(axis=0),
            rtol=1e-5,
            atol=1e-4,
        )
    known = analyzer.get_extension("templates").get_unit_template("one")
    np.testing.assert_array_equal(second.get_extension("templates").get_unit_template("one"), known)
    middle = list(sic.split_by_session(analyzer, [2.5, 4.0]).values())[1]
    assert [middle.get_num_samples(i) for i in range(2)] == [12_500, 25_000]


def test_an_extension_that_cannot_be_cut_is_said():
    analyzer = other_analyzer()
    analyzer.extensions["of_somebody"] = OfSomebody(analyzer)
    with pytest.warns(sic.SiCurationWarning, match="of_somebody .*cannot be cut"):
        found = sic.split_by_session(analyzer)
    assert not any(one.has_extension("of_somebody") for one in found.values())


class OfSomebody(AnalyzerExtension):
    """An extension that nobody here knows."""

    extension_name = "of_somebody"


@pytest.mark.slow
@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_saved_sessions_are_equal_and_appear_together(whole, tmp_path, format):
    name = "whole.zarr" if format == "zarr" else "whole"
    saved = whole.save_as(format=format, folder=tmp_path / name)
    lazy = sc.load_sorting_analyzer(saved.folder, load_extensions=False)
    given = {"names": NAMES, "format": format, "folder": tmp_path / "sessions"}
    found = sic.split_by_session(lazy, [900_000, 1_515_000], **given)
    suffix = ".zarr" if format == "zarr" else ""
    assert sorted(p.name for p in (tmp_path / "sessions").iterdir() if p.name[0] != ".") == [
        f"{name}{suffix}" for name in sorted(NAMES)
    ]
    in_memory = sic.split_by_session(whole, [900_000, 1_515_000], names=NAMES)
    for name, one in found.items():
        again = sc.load_sorting_analyzer(one.folder)
        np.testing.assert_array_equal(
            again.sorting.to_spike_vector(), in_memory[name].sorting.to_spike_vector()
        )
        assert session_of_whole(again.sorting) == session_of_whole(in_memory[name].sorting)
        a, b = (x.get_extension("curation_metrics").get_data() for x in (again, in_memory[name]))
        assert a.equals(b)
    with pytest.raises(sic.OutputExistsError):
        sic.split_by_session(lazy, [900_000], **given | {"names": None})


def test_nothing_is_left_of_sessions_that_fail(whole, tmp_path, monkeypatch):
    from si_curation.curation import split_sessions

    calls = []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) > 1:
            raise OSError("the disk is full")
        return {}

    monkeypatch.setattr(split_sessions, "carry_over", fail)
    with pytest.raises(OSError, match="disk is full"):
        sic.split_by_session(whole, [40.0], format="binary_folder", folder=tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"folder": "x"}, "format='memory'"),
        ({"format": "zarr"}, "needs folder="),
        ({"format": "pickle"}, "format is 'pickle'"),
        ({"empty_units": "maybe"}, "empty_units is 'maybe'"),
        ({"borders": "auto"}, "is not known"),
        ({"borders": None}, "is not known"),
    ],
)
def test_what_cannot_be_used_is_an_error(whole, arguments, words):
    with pytest.raises(sic.SiCurationError) as caught:
        sic.split_by_session(whole, **{"borders": [40.0], **arguments})
    assert words in str(caught.value)


def test_a_session_is_split_again_and_known_borders_stay(whole):
    marked = whole.copy()
    sic.set_session_borders(marked, [10.0, 20.0, 60.0], names=["a", "b", "c", "d"])
    early, late = sic.split_by_session(marked, [50.0], names=["early", "late"]).values()
    found = sic.session_borders(early)
    assert (found.names, found.times_s.tolist()) == (("a", "b", "c"), [10.0, 20.0])
    again = sic.split_by_session(late)
    assert list(again) == ["c", "d"]
    assert session_of_whole(again["d"].sorting) == ("d", 1_800_000, 2_399_876)
    assert json.loads(again["d"].sorting.get_annotation("session"))["name"] == "d"
    assignment = again["d"].get_extension("template_assignment")
    assert (assignment.frame_offset, assignment.session_samples) == (
        1_800_000,
        (1_800_000, 2_399_876),
    )


@pytest.mark.slow
def test_a_session_can_be_curated_attached_and_drawn(sessions):
    one = sessions["drug"]
    session = sic.CurationSession(one)
    session.merge([11, 12])
    curated = session.apply()
    assert curated.get_extension("template_assignment").session_samples == (900_000, 1_515_000)
    assert recorded_history(curated)["operation"].tolist() == [
        "merge",
        "label",
        "merge",
    ]
    again = sic.attach_kilosort_folder(one.copy(), sic.example_folder())
    assert again.frame_offset == 900_000
    sic.plot_amplitudes_over_time(one, [13])


@pytest.mark.slow
def test_a_folder_attached_to_a_recording(tmp_path):
    folder = sic.example_folder()
    read = sic.read_kilosort_as_analyzer(folder)
    recording = recording_with_templates(folder, read)
    sorting = sc.NumpySorting.from_sorting(read.sorting, with_metadata=True)
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"])
    sic.attach_kilosort_folder(analyzer, folder)
    second = list(sic.split_by_session(analyzer, [40.0]).values())[1]
    assignment = second.get_extension("template_assignment")
    assert assignment.frame_offset == 1_200_000
    averages = second.get_extension("templates").get_data()
    np.testing.assert_array_equal(averages, analyzer.get_extension("templates").get_data())
    with warnings.catch_warnings():
        warnings.simplefilter("error", sic.SiCurationWarning)
        sic.split_by_session(analyzer, [40.0])


@pytest.mark.slow
def test_nwb_files_of_sessions_have_their_own_times(tmp_path):
    needs.need("pynwb")
    from pynwb import NWBHDF5IO

    parts, analyzer = _concatenated("t_start")
    analyzer.compute(["random_spikes", "templates"])
    metadata = {"NWBFile": {"session_start_time": "2026-01-01T00:00:00+00:00"}}
    for (name, session), start in zip(
        sic.split_by_session(analyzer).items(), (50.0, 100.0), strict=True
    ):
        path = sic.export_to_nwb(session, tmp_path / f"{name}.nwb", metadata=metadata)
        with NWBHDF5IO(str(path), "r") as io:
            units = io.read().units
            for row, unit_id in enumerate(session.unit_ids):
                samples = session.sorting.get_unit_spike_train(unit_id)
                expected = samples / 30_000 + start
                np.testing.assert_allclose(units["spike_times"][row], expected, atol=1e-9)
