"""`template_features` from a recording, against dot products one spike at a time."""

from __future__ import annotations

import numpy as np
import pytest
import spikeinterface.core as sc
from spikeinterface.core import NumpyRecording, NumpySorting, load_sorting_analyzer

import si_curation as sic
from oracles import features as naive

NAME = "template_features"
RATE = 20_000.0
STEPS = {"random_spikes": {"method": "all"}, "templates": {"operators": ["average"]}}
FAST = {"n_jobs": 1, "progress_bar": False}


def make_recording(durations=(1.2, 0.7), scaled=True, dtype="int16", offset=False, seed=0):
    """A recording of several segments, with spikes on each other and at the very ends."""
    recording, sorting = sc.generate_ground_truth_recording(
        durations=list(durations), sampling_frequency=RATE, num_channels=8, num_units=5, seed=seed
    )
    rng = np.random.default_rng(seed)
    gains = rng.uniform(0.1, 0.4, 8)
    offsets = rng.uniform(-30, 30, 8) if offset else np.zeros(8)
    traces, samples, labels = [], [], []
    for segment in range(len(durations)):
        values = recording.get_traces(segment)
        if scaled:
            values = np.round((values - offsets) / gains)
        traces.append(values.astype(dtype))
        vector = sorting.to_spike_vector(concatenated=False)[segment]
        end = len(values)
        extra = np.array([0, 0, 1, 5, end - 1, end - 1, end - 2, end - 30, 999, 1000, 1000])
        order = np.argsort(np.r_[vector["sample_index"], extra], kind="stable")
        samples.append(np.r_[vector["sample_index"], extra][order])
        labels.append(np.r_[vector["unit_index"], [3, 1, 0, 2, 4, 0, 1, 2, 1, 3, 0]][order])
    new = NumpyRecording(traces, RATE, channel_ids=recording.channel_ids)
    new.set_probegroup(recording.get_probegroup())
    if scaled:
        new.set_channel_gains(gains)
        new.set_channel_offsets(offsets)
    names = np.array(["a", "b", "c", "d", "e"])
    sorting = NumpySorting.from_samples_and_labels(
        samples, [names[x] for x in labels], RATE, unit_ids=names
    )
    return new, sorting


def make_analyzer(recording, sorting, sparse=False, **kwargs):
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=sparse, **kwargs)
    analyzer.compute(STEPS, **FAST)
    return analyzer


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A recording on disk, as other processes can open it, and its sorting."""
    recording, sorting = make_recording()
    folder = tmp_path_factory.mktemp("recording")
    recording = recording.save(folder=folder / "recording", progress_bar=False)
    return recording, sorting.save(folder=folder / "sorting")


@pytest.fixture(scope="module")
def computed(parts):
    analyzer = make_analyzer(*parts)
    analyzer.compute(NAME, **FAST)
    return analyzer


def traces_of(recording, segment, in_uv=True):
    values = recording.get_traces(segment).astype(np.float64)
    if in_uv and recording.has_scaleable_traces():
        values = values * recording.get_channel_gains() + recording.get_channel_offsets()
    return values


def expected_of(analyzer, extension, in_uv=True):
    assignment = analyzer.get_extension("template_assignment")
    vector = analyzer.sorting.to_spike_vector()
    templates = assignment.get_templates()
    out = np.full((vector.size, extension.template_index.shape[1]), np.nan)
    for segment in range(analyzer.get_num_segments()):
        here = vector["segment_index"] == segment
        out[here] = naive.project_traces(
            traces_of(analyzer.recording, segment, in_uv),
            vector["sample_index"][here],
            assignment.get_spike_template_ids()[here],
            extension.template_index,
            templates,
            assignment.info["num_samples_before"],
        )
    return out


def check(analyzer, in_uv=True):
    extension = analyzer.get_extension(NAME)
    assert extension.source == extension.info["source"] == "recording"
    expected, found = expected_of(analyzer, extension, in_uv), np.asarray(extension.get_data()[0])
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    return found


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_against_dot_products(sparse, offset):
    analyzer = make_analyzer(*make_recording(offset=offset), sparse=sparse)
    extension = analyzer.compute(NAME, **FAST)
    check(analyzer)
    templates = analyzer.get_extension("template_assignment").get_templates().astype(float)
    flat = templates.reshape(5, -1) / np.linalg.norm(templates, axis=(1, 2))[:, None]
    index = naive.neighbours(flat @ flat.T, np.ones(5, dtype=bool), 16)
    np.testing.assert_array_equal(extension.template_index, index)
    norms = np.linalg.norm(templates, axis=(1, 2))
    np.testing.assert_allclose(extension.template_norms, norms, rtol=1e-5)


@pytest.mark.parametrize("kind", ["float without gain", "raw", "few templates", "one segment"])
def test_other_units_and_sizes(kind):
    recording, sorting = make_recording(
        durations=(1.0,) if kind == "one segment" else (0.8, 0.5),
        scaled=kind != "float without gain",
        dtype="float32" if kind == "float without gain" else "int16",
    )
    raw = kind in ("raw", "float without gain")
    analyzer = make_analyzer(recording, sorting, return_in_uV=not raw)
    extension = analyzer.compute(NAME, num_templates=2 if kind == "few templates" else 16, **FAST)
    check(analyzer, in_uv=not raw)
    assert extension.template_index.shape[1] == (2 if kind == "few templates" else 5)


@pytest.mark.parametrize(
    "job_kwargs",
    [
        {"n_jobs": 1, "chunk_size": 997},
        {"n_jobs": 1, "chunk_duration": "10s"},
        {"n_jobs": 2, "chunk_size": 5000, "pool_engine": "process"},
        {"n_jobs": 2, "chunk_size": 1000, "pool_engine": "thread"},
    ],
    ids=["small", "whole", "processes", "threads"],
)
@pytest.mark.slow
def test_chunks_and_workers(parts, computed, job_kwargs):
    analyzer = make_analyzer(*parts)
    analyzer.compute(NAME, progress_bar=False, **job_kwargs)
    found = check(analyzer)
    np.testing.assert_array_equal(found, computed.get_extension(NAME).get_data()[0])


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
@pytest.mark.slow
def test_on_disk(parts, computed, tmp_path, format):
    path = tmp_path / ("analyzer.zarr" if format == "zarr" else "analyzer")
    analyzer = make_analyzer(*parts, format=format, folder=path)
    analyzer.compute(NAME, n_jobs=2, chunk_size=7000, progress_bar=False)
    expected = computed.get_extension(NAME)
    for one in (analyzer, load_sorting_analyzer(path)):
        found = one.get_extension(NAME)
        np.testing.assert_array_equal(found.get_data()[0], expected.get_data()[0])
        np.testing.assert_array_equal(
            found.get_unit_projections("a", onto="b"), expected.get_unit_projections("a", "b")
        )
        assert (found.source, found.info) == ("recording", expected.info)


@pytest.mark.slow
def test_identity_names_units(computed):
    """On another sorter the units are the templates."""
    extension = computed.get_extension(NAME)
    values, index = extension.get_data()
    vector = computed.sorting.to_spike_vector()
    for a in range(5):
        for b in range(5):
            column = np.flatnonzero(index[a] == b)[0]
            expected = values[vector["unit_index"] == a, column]
            ids = computed.unit_ids[[a, b]]
            np.testing.assert_array_equal(extension.get_unit_projections(*ids), expected)
    x, y = extension.get_pair_projections("a", "c")
    np.testing.assert_allclose(x[:, 0], extension.get_unit_projections("a"))
    np.testing.assert_allclose(y[:, 0], extension.get_unit_projections("c", onto="a"))
    # a spike is more like its own template than like another, all scaled alike
    own = extension.get_unit_projections("a") / extension.template_norms[0]
    other = extension.get_unit_projections("a", onto="b") / extension.template_norms[1]
    assert np.median(own) > np.median(other)


@pytest.mark.slow
def test_merged_and_split_units(parts, computed):
    """Templates stay those of the sorter; spikes at one sample, too, keep theirs."""
    once = make_analyzer(*parts)
    once.compute("template_assignment")
    merged = once.merge_units([["e", "a", "c"]], new_unit_ids=["m"], sparsity_overlap=0.0)
    merged.compute(NAME, **FAST)
    check(merged)
    found = merged.get_extension(NAME).get_data()[0]
    after = computed.merge_units([["e", "a", "c"]], new_unit_ids=["m"], sparsity_overlap=0.0)
    np.testing.assert_array_equal(after.get_extension(NAME).get_data()[0], found)
    count = merged.sorting.count_num_spikes_per_unit()["m"]
    parts_of = [np.arange(0, count, 2), np.arange(1, count, 2)]
    split = merged.split_units({"m": parts_of}, new_unit_ids=[["x", "y"]])
    split.delete_extension(NAME)
    split.compute(NAME, **FAST)
    check(split)
    onto = split.get_extension(NAME).get_unit_projections("x", onto="b")
    whole = merged.get_extension(NAME).get_unit_projections("m", onto="b")
    order = np.lexsort([np.arange(count)])  # by sample, in segments
    np.testing.assert_array_equal(onto, whole[order][::2])


def test_unit_without_spikes():
    recording, sorting = make_recording()
    vector = sorting.to_spike_vector()
    sorting = NumpySorting(vector[vector["unit_index"] != 2], RATE, sorting.unit_ids)
    analyzer = make_analyzer(recording, sorting)
    extension = analyzer.compute(NAME, **FAST)
    found = check(analyzer)
    assert found.shape == (vector.size - np.sum(vector["unit_index"] == 2), 5)
    assert not np.isin(extension.template_index[[0, 1, 3, 4]], 2).any()
    assert extension.get_unit_projections("c", onto="a").size == 0
    for ask in (
        lambda: extension.get_unit_projections("a", onto="c"),
        lambda: extension.get_pair_projections("a", "c"),
        lambda: extension.get_pair_projections("c", "a"),
    ):
        with pytest.raises(sic.MissingDataError, match=r"'c' has no spikes"):
            ask()


def test_nothing_to_compute_it_from(parts):
    analyzer = make_analyzer(*parts)
    analyzer._recording = None  # as loaded where the recording is not
    with pytest.raises(sic.MissingDataError, match=r"not read from a Kilosort.*no recording"):
        analyzer.compute(NAME)
    for source in ("file", "pc_features"):
        with pytest.raises(sic.MissingDataError, match="not read from a Kilosort folder"):
            analyzer.compute(NAME, source=source)
    bare = sc.create_sorting_analyzer(parts[1], parts[0], sparse=False)
    with pytest.raises(sic.MissingDataError, match="'templates'"):
        bare.compute(NAME)


def with_recording(truth, num_samples, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    num_channels = len(truth.channel_map)
    traces = rng.integers(-300, 300, (num_samples, num_channels)).astype("int16")
    recording = NumpyRecording([traces], truth.sampling_frequency, channel_ids=truth.channel_map)
    recording.set_dummy_probe_from_locations(truth.channel_positions)
    return sic.read_kilosort_as_analyzer(truth.folder, recording, **kwargs)


@pytest.mark.parametrize("gain", [None, 0.2])
@pytest.mark.parametrize("dialect", ["kilosort2", "kilosort4"])
def test_kilosort_folder_with_a_recording(simulate, dialect, gain):
    truth = simulate(
        dialect, num_templates=8, num_channels=12, num_spikes=300, duration_s=2.0, curation=4
    )
    end = int(truth.spike_samples.max()) + 3
    analyzer = with_recording(truth, end, gain_to_uV=gain)
    auto = analyzer.compute(NAME)
    assert auto.source == {"kilosort2": "file", "kilosort4": "pc_features"}[dialect]
    analyzer.compute(NAME, source="recording", num_templates=4, **FAST)
    check(analyzer, in_uv=gain is not None)


def test_temporary_recording(simulate):
    truth = simulate(num_templates=8, num_channels=12, num_spikes=300, duration_s=2.0, curation=4)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    expected = with_recording(truth, analyzer.get_num_samples(0))
    expected.compute(NAME, source="recording", **FAST)
    analyzer.set_temporary_recording(expected.recording)
    analyzer.compute(NAME, source="recording", **FAST)
    np.testing.assert_array_equal(
        analyzer.get_extension(NAME).get_data()[0], expected.get_extension(NAME).get_data()[0]
    )
