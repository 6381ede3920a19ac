"""A session gives what SpikeInterface gives by merges, splits and removals one by one."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si
import spikeinterface.postprocessing.template_similarity
from hypothesis import given
from hypothesis import strategies as st
from spikeinterface.core.sortinganalyzer import load_sorting_analyzer

import si_curation as sic
from helpers.fuzzing import examples

OURS = [
    "template_assignment",
    "template_best_channels",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
]


@pytest.fixture(scope="module", autouse=True)
def nothing_to_compile():
    """SpikeInterface's similarities in numpy: compiling the others takes half a minute."""
    module = spikeinterface.postprocessing.template_similarity
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_compute_similarity_matrix", module._compute_similarity_matrix_numpy)
        yield


def compute_more(analyzer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyzer.compute(OURS)
        analyzer.compute("cross_correlograms", window_ms=20.0, bin_ms=1.0)
        analyzer.compute("correlograms", method="numpy", window_ms=40.0, bin_ms=2.0)
        analyzer.compute("isi_histograms", method="numpy", window_ms=30.0, bin_ms=2.0)
        analyzer.compute("quality_metrics", metric_names=["num_spikes", "firing_rate", "snr"])
    return analyzer


def of_kilosort(simulate, **kwargs):
    simulated = simulate(
        num_templates=12,
        num_channels=16,
        num_spikes=1200,
        num_shanks=2,
        shared_fraction=0.3,
        curation=4,
        seed=8,
        **kwargs,
    )
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    analyzer.compute("template_features")
    return compute_more(analyzer)


def of_another_sorter(names=(), sparse=False, seed=4):
    recording, truth = si.generate_ground_truth_recording(
        durations=[4.0, 3.0], num_units=7, num_channels=8, seed=seed
    )
    probe = recording.get_probe()
    probe.set_shank_ids(["0"] * 8)
    recording.set_probe(probe)
    analyzer = si.create_sorting_analyzer(
        truth.rename_units(list("gbadecf")),
        recording,
        sparse=sparse,
        sparsity_kwargs={"method": "radius", "radius_um": 150},
    )
    analyzer.compute("random_spikes")
    if names:
        analyzer.compute(list(names))
    analyzer.compute("templates", **({} if "waveforms" in names else {"operators": ["average"]}))
    analyzer.compute(["noise_levels", "spike_amplitudes", "spike_locations"])
    analyzer.compute("template_similarity", method="cosine", max_lag_ms=0, support="dense")
    analyzer.compute("unit_locations", method="center_of_mass")
    return compute_more(analyzer)


MAKERS = {
    "kilosort4": of_kilosort,
    "kilosort1": lambda simulate: of_kilosort(simulate, dialect="kilosort1"),
    "dense": lambda simulate: of_another_sorter(),
    "sparse": lambda simulate: of_another_sorter(sparse=True),
    "waveforms": lambda simulate: of_another_sorter(["waveforms"]),
    "components": lambda simulate: of_another_sorter(
        ["waveforms", "principal_components"], sparse=True
    ),
}


@pytest.fixture(scope="module")
def made(simulate):
    """Each analyzer once; none is changed."""
    known = {}

    def make(name):
        if name not in known:
            known[name] = MAKERS[name](simulate)
        return known[name]

    return make


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["merge", "merge", "split", "remove"]),
        st.integers(0, 10**6),
        st.integers(2, 3),
    ),
    min_size=1,
    max_size=5,
)


def do_both(analyzer, steps):
    """Do steps in a session and with SpikeInterface's methods; the two analyzers."""
    session, other = sic.CurationSession(analyzer), analyzer
    for kind, choice, count in steps:
        ids = session.unit_ids
        rng = np.random.default_rng(choice)
        chosen = [ids[i] for i in rng.permutation(len(ids))[:count]]
        if kind == "merge" and len(ids) > count:
            masks = None
            if other.sparsity is not None:
                masks = other.sparsity.mask[other.sorting.ids_to_indices(chosen)]
            if masks is not None and masks.all(axis=0).sum() < 0.75 * masks.any(axis=0).sum():
                continue  # SpikeInterface refuses
            new = session.merge(chosen)
            other = other.merge_units([chosen], new_unit_ids=[new])
        elif kind == "split" and session.get_spikes(chosen[0]).size > 30:
            parts = rng.integers(0, count, session.get_spikes(chosen[0]).size)
            parts[:count] = np.arange(count)
            new = session.split(chosen[0], parts)
            indices = [np.flatnonzero(parts == part) for part in range(count)]
            other = other.split_units({chosen[0]: indices}, new_unit_ids=[new])
        elif kind == "remove" and len(ids) > 4:
            session.remove(chosen[:1])
            other = other.remove_units(chosen[:1])
    return session, other


def assert_equal_values(found, expected, what):
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-4, obj=what)
    elif isinstance(expected, dict):
        assert found == expected, what
    elif isinstance(expected, np.ndarray) or hasattr(expected, "dtype"):
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.shape == expected.shape, what
        assert found.dtype == expected.dtype, what
        if expected.dtype.names:
            for name in expected.dtype.names:
                assert_equal_values(found[name], expected[name], f"{what}, {name}")
        elif expected.dtype.kind == "f":
            scale = np.nanmax(np.abs(expected), initial=0.0)
            np.testing.assert_allclose(
                found, expected, rtol=2e-4, atol=1e-5 * scale, err_msg=what, equal_nan=True
            )
        else:
            np.testing.assert_array_equal(found, expected, err_msg=what)


def assert_equal_analyzers(applied, other):
    np.testing.assert_array_equal(applied.unit_ids, other.unit_ids)
    for name in ("sample_index", "unit_index", "segment_index"):
        np.testing.assert_array_equal(
            applied.sorting.to_spike_vector()[name], other.sorting.to_spike_vector()[name]
        )
    if other.sparsity is not None:
        np.testing.assert_array_equal(applied.sparsity.mask, other.sparsity.mask)
    np.testing.assert_array_equal(applied.get_main_channels(), other.get_main_channels())
    assert set(other.extensions) == set(applied.extensions)
    for name, extension in other.extensions.items():
        found = applied.get_extension(name)
        assert found.params == extension.params
        assert set(found.data) - {"runtime_s"} == set(extension.data) - {"runtime_s"}, name
        for key, expected in extension.data.items():
            if key == "runtime_s":
                continue
            if name == "curation_metrics":  # codes of reasons are numbered as they come
                pd.testing.assert_frame_equal(
                    found.get_data(reasons=True), extension.get_data(reasons=True)
                )
                if key.startswith("reason"):
                    continue
            if name == "correlograms":  # SpikeInterface adds whole numbers up as floats
                expected = np.asarray(expected).astype(found.data[key].dtype)
            assert_equal_values(found.data[key], expected, f"{name}, {key}")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.slow
def test_every_sequence(made, name):
    analyzer = made(name)

    @examples(12)
    @given(steps=STEPS)
    def check(steps):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            session, other = do_both(analyzer, steps)
            applied = session.apply()
            other = other.select_units(applied.unit_ids)
        assert_equal_analyzers(applied, other)

    check()


@pytest.mark.parametrize("format", ["zarr", "binary_folder"])
@pytest.mark.parametrize("name", ["kilosort4", "waveforms", "components"])
@pytest.mark.slow
def test_on_disk(made, name, format, tmp_path):
    if (name, format) == ("components", "zarr"):
        name = "sparse"  # the models of components are pickled there, which numcodecs may refuse
    ending = ".zarr" if format == "zarr" else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = made(name).save_as(format=format, folder=tmp_path / f"saved{ending}")
        saved = load_sorting_analyzer(saved.folder)
        steps = [("merge", 3, 2), ("split", 5, 2), ("remove", 7, 2), ("merge", 11, 3)]
        session, other = do_both(saved, steps)
        applied = session.apply(format, tmp_path / f"applied{ending}")
        target = tmp_path / f"other{ending}"
        other.select_units(applied.unit_ids, format=format, folder=target)
        results = [load_sorting_analyzer(one) for one in (applied.folder, target)]
    for one in results:
        one.load_all_saved_extension()
    assert_equal_analyzers(*results)
