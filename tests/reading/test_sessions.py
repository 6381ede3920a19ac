"""`session_borders`, `set_session_borders`: given, known and kept borders of sessions."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.core import (
    append_recordings,
    concatenate_recordings,
    create_sorting_analyzer,
    generate_recording,
    generate_sorting,
    load_sorting_analyzer,
)

import si_curation as sic
from si_curation.reading.sessions import SessionBorders, borders_to_draw, borders_within

FS, TOTAL = 30_000.0, 2_399_876  # of the example, to its last spike


@pytest.fixture
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture
def folder_of_two_files(tmp_path):
    """The example as if its raw data were two files."""
    folder = tmp_path / "ks"
    shutil.copytree(sic.example_folder(), folder)
    for name, num_samples in (("day1", 1_000_000), ("day2", 1_400_000)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "recording.dat").open("wb") as file:
            file.truncate(num_samples * 32 * 2)  # sparse
    paths = [str(tmp_path / name / "recording.dat") for name in ("day1", "day2")]
    lines = (folder / "params.py").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("dat_path")]
    (folder / "params.py").write_text("\n".join([*lines, f"dat_path = {paths!r}"]) + "\n")
    return folder


# given


@pytest.mark.parametrize(
    ("borders", "unit", "samples"),
    [
        ([900_000, 1_515_000], None, [900_000, 1_515_000]),
        (np.array([900_000, 1_515_000]), None, [900_000, 1_515_000]),
        ([30.0, 50.5], None, [900_000, 1_515_000]),
        ([30, 50.5], None, [900_000, 1_515_000]),
        ([30, 50], "s", [900_000, 1_500_000]),
        ([30, 50], "samples", [30, 50]),
        ([1], "samples", [1]),
        ([TOTAL - 1], None, [TOTAL - 1]),
        ([], None, []),
    ],
)
def test_whole_numbers_are_samples_and_others_seconds(analyzer, borders, unit, samples):
    found = sic.session_borders(analyzer, borders, unit=unit)
    assert found.samples.tolist() == samples
    assert found.samples.dtype == np.int64
    assert found.edges.tolist() == [0, *samples, TOTAL]
    assert found.times_s.tolist() == [one / FS for one in samples]
    assert len(found) == len(samples) + 1 == len(found.names)
    assert found.source == "given"


@pytest.mark.parametrize(
    ("borders", "more", "words"),
    [
        ([30, 50], {}, "could be seconds of these 79.9959 s"),
        ([0], {}, "above 0 and below 2399876"),
        ([TOTAL], {}, "the start and the end themselves are no borders"),
        ([900_000, -5], {}, "-5 (sample)"),
        ([90.0], {}, "90 (s), expected numbers above 0 and below 79.9958667"),
        ([900_000.0], {}, "samples are given as whole numbers"),
        ([1_515_000, 900_000], {}, "900000 after 1515000"),
        ([900_000, 900_000], {}, "ascending numbers, each once"),
        ([float("nan")], {}, "nan, expected numbers"),
        ([1e300], {}, "above 0 and below 79.9958667"),
        ([30.5], {"unit": "samples"}, "expected whole numbers"),
        ([900_000], {"names": ["a"]}, "1 names, expected one for each of 2 sessions"),
        ([900_000], {"names": ["a", "A"]}, "more than once"),
        ([900_000], {"names": ["a", "b/c"]}, "'b/c', expected names"),
        ([900_000], {"names": ["a", ".."]}, "'..', expected names"),
        ([900_000], {"names": ["a", ""]}, "expected names"),
        ("auto", {"unit": "s"}, "unit is of numbers"),
        ("auto", {}, "where the sessions begin is not known"),
        ("files", {}, "borders is 'files'"),
        ([0, 5_000_000], {"names": ["a", "a"]}, "0, 5000000 (sample)"),
    ],
)
def test_what_cannot_be_used_is_one_error(analyzer, borders, more, words):
    with pytest.raises(sic.SiCurationError) as caught:
        sic.session_borders(analyzer, borders, **more)
    assert words in str(caught.value)


def test_all_problems_at_once(analyzer):
    with pytest.raises(sic.ParameterError) as caught:
        sic.session_borders(analyzer, [TOTAL + 5, 900_000], names=["a", "a", "x?"])
    for words in ("2399881 (sample)", "900000 after 2399881", "more than once", "'x?'"):
        assert words in str(caught.value)


def test_borders_of_another_analyzer_are_refused(analyzer):
    other = SessionBorders(np.array([5]), ("a", "b"), 10, FS, "given")
    with pytest.raises(sic.ParameterError, match="of 10 samples at 30000 Hz"):
        sic.session_borders(analyzer, other)


# known


def test_raw_files_of_the_folder_are_sessions(folder_of_two_files):
    analyzer = sic.read_kilosort_as_analyzer(folder_of_two_files)
    found = sic.session_borders(analyzer)
    assert (found.samples.tolist(), found.names) == ([1_000_000], ("day1", "day2"))
    assert (found.num_samples, found.source) == (2_400_000, "raw files")
    assert borders_to_draw(analyzer, "auto").samples.tolist() == [1_000_000]
    assert borders_to_draw(analyzer, None) is None


def test_without_the_raw_files_nothing_is_guessed(folder_of_two_files):
    shutil.rmtree(folder_of_two_files.parent / "day2")
    analyzer = sic.read_kilosort_as_analyzer(folder_of_two_files)
    with pytest.raises(sic.MissingDataError, match="that were there when it was read"):
        sic.session_borders(analyzer)


def test_names_can_be_given_to_known_borders(folder_of_two_files):
    analyzer = sic.read_kilosort_as_analyzer(folder_of_two_files)
    found = sic.session_borders(analyzer, names=["baseline", "drug"])
    assert found.names == ("baseline", "drug")


def _recordings(num_segments=1):
    return [
        generate_recording(num_channels=4, durations=[seconds] * num_segments, seed=i)
        for i, seconds in enumerate([2.0, 1.5, 1.0])
    ]


def test_concatenated_recordings_are_sessions():
    recording = concatenate_recordings(_recordings())
    sorting = generate_sorting(num_units=3, durations=[4.5])
    analyzer = create_sorting_analyzer(sorting, recording.select_channels(["0", "1"]), sparse=False)
    found = sic.session_borders(analyzer)
    assert (found.samples.tolist(), found.source) == ([60_000, 105_000], "recording")
    assert found.names == ("session_1", "session_2", "session_3")


def test_segments_are_sessions_and_not_drawn_twice():
    recording = append_recordings(_recordings())
    sorting = generate_sorting(num_units=3, durations=[2.0, 1.5, 1.0])
    analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
    assert sic.session_borders(analyzer).samples.tolist() == [60_000, 105_000]
    assert borders_to_draw(analyzer, "auto") is None


# kept


@pytest.mark.parametrize("format", ["memory", "binary_folder", "zarr"])
def test_borders_are_kept_through_saving_and_curation(analyzer, tmp_path, format):
    if format != "memory":
        name = "a.zarr" if format == "zarr" else "a"
        analyzer = analyzer.save_as(format=format, folder=tmp_path / name)
    sic.set_session_borders(analyzer, [40.0], names=["baseline", "drug"])
    if format != "memory":
        analyzer = load_sorting_analyzer(analyzer.folder)
    session = sic.CurationSession(analyzer)
    session.merge([8, 9])
    for one in (analyzer, session.apply(), analyzer.select_units([4, 7])):
        found = sic.session_borders(one)
        assert (found.samples.tolist(), found.source) == ([1_200_000], "kept")
        assert found.names == ("baseline", "drug")
    sic.set_session_borders(analyzer, None)
    assert borders_to_draw(analyzer, "auto") is None


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        "[1]",
        '{"samples": [5], "names": ["a", "b"], "num_samples": 7}',
        '{"samples": [9, 5], "names": ["a", "b", "c"], "num_samples": 2399876}',
        '{"samples": [5], "names": ["a"], "num_samples": 2399876}',
        '{"samples": "x", "names": 5, "num_samples": 2399876}',
        '{"samples": [[5]], "names": ["a", "b"], "num_samples": 2399876}',
    ],
)
def test_what_does_not_fit_is_not_used(analyzer, text):
    analyzer.sorting.annotate(session_borders=text)
    assert borders_to_draw(analyzer, "auto") is None


@given(
    st.sets(st.integers(1, 99), max_size=6),
    st.integers(0, 99),
    st.integers(1, 100),
)
def test_borders_of_a_part(samples, start, length):
    stop = min(start + length, 100)
    samples = np.array(sorted(samples), dtype=np.int64)
    names = tuple(map(str, range(samples.size + 1)))
    found = borders_within(SessionBorders(samples, names, 100, 1e3, "given"), start, stop)
    session_of_sample = np.searchsorted(samples, np.arange(start, stop), side="right")
    its = np.unique(session_of_sample)
    if its.size < 2:
        assert found is None
        return
    assert found.names == tuple(map(str, its))
    again = np.searchsorted(found.samples, np.arange(stop - start), side="right")
    np.testing.assert_array_equal(its[again], session_of_sample)
    assert found.num_samples == stop - start
