"""The analyzer that `CurationSession.apply` makes: what is right and what is left out."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core as si
import spikeinterface.core.analyzer_extension_core
import spikeinterface.postprocessing.template_similarity
from spikeinterface.core.sortinganalyzer import load_sorting_analyzer

import si_curation as sic
from oracles import folders as naive
from si_curation._spikeinterface import inject_extension
from si_curation.curation.history import recorded_history
from si_curation.errors import OutputExistsError, ParameterError, SiCurationWarning
from si_curation.evidence.unit_locations import unit_locations
from si_curation.reading.unit_templates import LOCATION_PARAMS

PER_SPIKE = ["spike_amplitudes", "spike_locations", "template_assignment"]


@pytest.fixture(scope="module", autouse=True)
def nothing_to_compile():
    """SpikeInterface's similarities in numpy: compiling the others takes half a minute."""
    module = spikeinterface.postprocessing.template_similarity
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_compute_similarity_matrix", module._compute_similarity_matrix_numpy)
        yield


def make_kilosort(simulate, **kwargs):
    simulated = simulate(
        **{
            "num_templates": 14,
            "num_channels": 20,
            "num_spikes": 1500,
            "num_shanks": 2,
            "shared_fraction": 0.3,
            "labels": {1: "good", 2: "noise", 5: "mua"},
            "curation": 6,
            "write_features": False,
            "seed": 3,
            **kwargs,
        }
    )
    analyzer = sic.read_kilosort_as_analyzer(simulated.folder)
    analyzer.compute("correlograms", method="numpy", window_ms=40.0, bin_ms=2.0)
    analyzer.compute("isi_histograms", method="numpy", window_ms=30.0, bin_ms=2.0)
    analyzer.compute("template_best_channels", num_channels=5)
    analyzer.compute("quality_metrics", metric_names=["num_spikes", "firing_rate"])
    sorting = analyzer.sorting
    num_units = len(analyzer.unit_ids)
    sorting.set_property("score", np.arange(num_units) + 0.5)
    sorting.set_property("rank", np.arange(num_units))
    sorting.set_property("is_nice", np.arange(num_units) % 2 == 0)
    sorting.set_property("comment", np.array([f"unit {i}" for i in analyzer.unit_ids], "U32"))
    sorting.set_property("where", np.arange(3 * num_units).reshape(-1, 3) / 2)
    sorting.annotate(mood="fine")
    return analyzer


@pytest.fixture(scope="module")
def kilosort(simulate):
    return make_kilosort(simulate)


@pytest.fixture(scope="module", params=["kilosort1", "kilosort2", "kilosort4"])
def of_each_kind(request, simulate):
    """Sparse and dense templates, orientations."""
    return make_kilosort(simulate, dialect=request.param)


def make_recorded(unit_ids, sparse=True):
    recording, truth = si.generate_ground_truth_recording(
        durations=[4.0, 3.0], num_units=len(unit_ids), num_channels=10, seed=2
    )
    probe = recording.get_probe()
    probe.set_shank_ids(["0"] * 10)
    recording.set_probe(probe)
    analyzer = si.create_sorting_analyzer(
        truth.rename_units(unit_ids),
        recording,
        sparse=sparse,
        sparsity_kwargs={"method": "radius", "radius_um": 60},
    )
    analyzer.compute(["random_spikes", "waveforms", "templates", "noise_levels"])
    num_channels = int(analyzer.sparsity.mask.sum(axis=1).max()) if sparse else 10
    num_spikes = analyzer.get_extension("random_spikes").get_data().size
    projection = np.random.default_rng(0).normal(size=(num_spikes, 2, num_channels))
    inject_extension(
        analyzer, "principal_components", {"pca_projection": projection}, {"n_components": 2}
    )
    analyzer.compute(["spike_amplitudes", "spike_locations", "template_similarity"])
    analyzer.compute("unit_locations", method="center_of_mass", radius_um=60.0)
    analyzer.compute("correlograms", method="numpy")
    analyzer.compute("amplitude_scalings")
    analyzer.compute("quality_metrics", metric_names=["num_spikes", "snr"])
    return analyzer


@pytest.fixture(scope="module")
def recorded():
    return make_recorded(["b", "a", "d", "c", "z", "y"])


def quietly(session, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SiCurationWarning)
        return session.apply(*args)


def merge_and_remove(session):
    """Merges, labels and a removal: every new unit is made of whole old ones."""
    ids = session.unit_ids
    first = session.merge(ids[:2])
    session.merge([ids[3], first, ids[4]])
    session.label([ids[5]], "good")
    session.remove([ids[6] if len(ids) > 6 else ids[2]])


def split_too(session):
    merge_and_remove(session)
    largest = max(session.unit_ids, key=lambda i: session.get_spikes(i).size)
    size = session.get_spikes(largest).size
    session.split(largest, np.arange(size) % 3)


def snapshot(analyzer):
    """Every value of an analyzer, for a deep comparison."""
    sorting = analyzer.sorting
    spikes = np.array(sorting.to_spike_vector())
    properties = {key: np.array(sorting.get_property(key)) for key in sorting.get_property_keys()}
    extensions = {}
    for name, extension in analyzer.extensions.items():
        values = {
            key: np.asarray(value[:]) if hasattr(value, "shape") and np.ndim(value) else value
            for key, value in extension.data.items()
            if not isinstance(value, pd.DataFrame)
        }
        frames = {k: v.copy() for k, v in extension.data.items() if isinstance(v, pd.DataFrame)}
        extensions[name] = (dict(extension.params), values, frames)
    mask = None if analyzer.sparsity is None else analyzer.sparsity.mask.copy()
    return {
        "spikes": spikes,
        "ids": list(analyzer.unit_ids),
        "properties": properties,
        "annotations": pickle.dumps(sorting._annotations),
        "mask": mask,
        "main": np.array(analyzer.get_main_channels()),
        "extensions": extensions,
    }


def assert_same(a, b):
    """Compare nested dicts, sequences, arrays and frames."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
    elif isinstance(a, float):
        assert naive.equal_values(a, b)
    elif isinstance(a, si.BaseSorting) or callable(a):
        pass
    else:
        assert a == b


def clusters_of(session):
    clusters = np.full(session.sorting_analyzer.sorting.to_spike_vector().size, "", dtype="U32")
    for unit_id in session.unit_ids:
        clusters[session.get_spikes(unit_id)] = str(unit_id)
    return clusters


# ---------------------------------------------------------------------------- data per spike


@pytest.mark.parametrize("steps", [merge_and_remove, split_too])
def test_data_per_spike_stay_with_their_spikes(of_each_kind, steps):
    session = sic.CurationSession(of_each_kind)
    steps(session)
    applied = quietly(session)
    clusters = clusters_of(session)
    keep = clusters != ""
    assert not keep.all()
    old, new = (a.sorting.to_spike_vector() for a in (of_each_kind, applied))
    np.testing.assert_array_equal(new["sample_index"], old["sample_index"][keep])
    found = np.array([str(i) for i in applied.unit_ids])[new["unit_index"]]
    np.testing.assert_array_equal(found, clusters[keep])
    names = [name for name in PER_SPIKE if name in of_each_kind.extensions]
    assert "template_assignment" in names
    assert "spike_amplitudes" in names
    for name in names:
        before, after = of_each_kind.get_extension(name), applied.get_extension(name)
        assert set(before.data) == set(after.data)
        for key in before.nodepipeline_variables:
            if key in before.data:
                np.testing.assert_array_equal(after.data[key], before.data[key][keep])
                assert after.data[key].dtype == before.data[key].dtype
    rows = applied.get_extension("template_assignment").get_spike_rows()
    assert len(rows) == len(new)
    chosen = applied.get_extension("random_spikes").get_data()
    times = old["sample_index"][of_each_kind.get_extension("random_spikes").get_data()]
    kept = keep[of_each_kind.get_extension("random_spikes").get_data()]
    np.testing.assert_array_equal(new["sample_index"][chosen], times[kept])


# ---------------------------------------------------------------------------- data per unit


@pytest.mark.parametrize("steps", [merge_and_remove, split_too])
def test_templates_channels_and_main_channels(of_each_kind, steps):
    session = sic.CurationSession(of_each_kind)
    steps(session)
    applied = quietly(session)
    assignment = of_each_kind.get_extension("template_assignment")
    templates = assignment.get_templates().astype(np.float64)
    spike_templates = assignment.get_spike_template_ids()
    average = applied.get_extension("templates").get_data()
    for index, unit_id in enumerate(applied.unit_ids):
        own = spike_templates[session.get_spikes(unit_id)]
        counts = np.bincount(own, minlength=len(templates))
        expected = naive.weighted_mean_template(counts, templates)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(average[index], expected, rtol=1e-5, atol=1e-6 * scale)
        most = int(np.argmax(counts))
        assert applied.get_main_channels()[index] == naive.peak_to_peak(templates[most]).argmax()
        if applied.sparsity is not None:
            present = np.flatnonzero(counts)
            old_mask = of_each_kind.sparsity.mask
            pure = of_each_kind.get_extension("template_assignment").get_template_counts()
            # channels on which any of its templates has signal are its channels
            support = np.asarray(assignment.data["template_support"])[present].any(axis=0)
            assert np.all(applied.sparsity.mask[index][support])
            if assignment.info["sparse"]:
                assert np.all(average[index][:, ~applied.sparsity.mask[index]] == 0)
            if unit_id in of_each_kind.unit_ids:
                row = list(of_each_kind.unit_ids).index(unit_id)
                np.testing.assert_array_equal(applied.sparsity.mask[index], old_mask[row])
            else:
                # union: of every old unit with the same set of templates or fewer
                for row in range(len(old_mask)):
                    if set(pure[[row]].indices) <= set(present):
                        assert np.all(applied.sparsity.mask[index][old_mask[row]])


def test_locations_similarities_and_histograms_are_spikeinterfaces_own(of_each_kind):
    session = sic.CurationSession(of_each_kind)
    split_too(session)
    applied = quietly(session)
    for name in ("unit_locations", "template_similarity", "isi_histograms"):
        found = applied.get_extension(name)
        values = {key: np.array(value) for key, value in found.data.items()}
        params = dict(found.params)
        assert params == of_each_kind.get_extension(name).params
        again = applied.copy()
        again.compute(name, **params)
        if params == LOCATION_PARAMS:  # those of the reader
            again.delete_extension(name)
            np.testing.assert_allclose(values[name], unit_locations(again), rtol=1e-4)
            continue
        for key, value in again.get_extension(name).data.items():
            np.testing.assert_allclose(values[key], value, rtol=1e-4, atol=1e-5)
        if name == "isi_histograms":
            assert values["isi_histograms"].sum() > 0


def test_other_parameters_of_similarity_and_locations(kilosort):
    analyzer = kilosort.copy()
    analyzer.compute("template_similarity", method="l1", max_lag_ms=0.1)
    analyzer.compute("unit_locations", method="center_of_mass", radius_um=33.0)
    session = sic.CurationSession(analyzer)
    merge_and_remove(session)
    applied = quietly(session)
    assert applied.get_extension("template_similarity").params["method"] == "l1"
    assert applied.get_extension("unit_locations").params["radius_um"] == 33.0
    similarity = applied.get_extension("template_similarity").get_data()
    assert similarity.shape == (len(applied.unit_ids),) * 2
    again = applied.copy()
    again.compute("template_similarity", **applied.get_extension("template_similarity").params)
    np.testing.assert_array_equal(again.get_extension("template_similarity").get_data(), similarity)


@pytest.mark.parametrize("source", ["kilosort", "recorded"])
def test_correlograms_are_added_up_exactly(request, source):
    analyzer = request.getfixturevalue(source)
    session = sic.CurationSession(analyzer)
    merge_and_remove(session)
    applied = quietly(session)
    found, bins = applied.get_extension("correlograms").get_data()
    params = dict(analyzer.get_extension("correlograms").params)
    assert applied.get_extension("correlograms").params == params
    again = applied.copy()
    again.compute("correlograms", **params)
    expected, expected_bins = again.get_extension("correlograms").get_data()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(bins, expected_bins)
    spikes = applied.sorting.to_spike_vector()
    if source == "kilosort":
        assert np.any(np.diff(spikes["sample_index"]) == 0), "spikes at the same sample"


def test_correlograms_after_a_split(kilosort):
    session = sic.CurationSession(kilosort)
    a, b = session.unit_ids[:2]
    parts = session.split(a, np.arange(session.get_spikes(a).size) % 2)
    for whole_again in (False, True):
        if whole_again:
            session.merge([*parts, b])
        found = quietly(session).get_extension("correlograms").get_data()[0]
        again = quietly(session)
        again.compute("correlograms", **kilosort.get_extension("correlograms").params)
        np.testing.assert_array_equal(found, again.get_extension("correlograms").get_data()[0])


# ---------------------------------------------------------------------- nothing silently


@pytest.mark.parametrize("source", ["kilosort", "recorded"])
@pytest.mark.parametrize("steps", [merge_and_remove, split_too])
def test_every_extension_is_there(request, source, steps):
    analyzer = request.getfixturevalue(source)
    session = sic.CurationSession(analyzer)
    steps(session)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        applied = session.apply()
    ours = [w for w in caught if issubclass(w.category, SiCurationWarning)]
    missing = set(analyzer.extensions) - set(applied.extensions)
    assert not ours
    assert not missing
    if source == "recorded":
        assert {"average", "std"} == set(applied.get_extension("templates").data)
    for name, extension in applied.extensions.items():
        assert extension.params == analyzer.get_extension(name).params
    assert applied.unit_ids.dtype.kind == analyzer.unit_ids.dtype.kind


def test_units_that_share_few_channels(recorded):
    mask = recorded.sparsity.mask
    shares = (mask @ mask.T.astype(int)) / ((mask[:, None] | mask[None]).sum(axis=2))
    a, b = np.unravel_index(shares.argmin(), shares.shape)
    assert shares[a, b] < 0.75, "SpikeInterface refuses to merge them"
    session = sic.CurationSession(recorded)
    merged = session.merge(recorded.unit_ids[[a, b]])
    with pytest.warns(SiCurationWarning, match="waveforms .units .* share too few") as caught:
        applied = session.apply()
    (ours,) = (w for w in caught if issubclass(w.category, SiCurationWarning))
    assert ours.filename == __file__
    assert "principal_components (units" in str(ours.message)
    missing = set(recorded.extensions) - set(applied.extensions)
    assert missing == {"waveforms", "principal_components"}
    row = list(applied.unit_ids).index(merged)
    np.testing.assert_array_equal(applied.sparsity.mask[row], mask[a] | mask[b])


class NotMergeable(si.analyzer_extension_core.ComputeNoiseLevels):
    extension_name = "of_another_package"

    def _merge_extension_data(self, *args, **kwargs):
        raise NotImplementedError("merges are not known here")


def test_what_cannot_be_kept_says_why(kilosort):
    analyzer = kilosort.copy()
    extension = NotMergeable(analyzer)
    extension.params, extension.data = {}, {"noise_levels": np.zeros(20)}
    analyzer.extensions["of_another_package"] = extension
    session = sic.CurationSession(analyzer)
    kept = session.unit_ids[2:]
    session.merge(session.unit_ids[:2])
    reason = r"of_another_package \(NotImplementedError: merges are not known here; compute"
    with pytest.warns(SiCurationWarning, match=reason):
        applied = session.apply()
    assert "quality_metrics" in applied.extensions
    session.undo()
    session.remove([i for i in session.unit_ids if i not in kept])
    with warnings.catch_warnings():
        warnings.simplefilter("error", SiCurationWarning)
        assert "of_another_package" in session.apply().extensions


# --------------------------------------------------------------- properties and annotations


def test_properties(kilosort):
    session = sic.CurationSession(kilosort)
    merge_and_remove(session)
    unchanged = [i for i in session.unit_ids if i in kilosort.unit_ids]
    new = [i for i in session.unit_ids if i not in kilosort.unit_ids]
    session.label([unchanged[0], new[0]], "checked", "note")
    session.label([unchanged[0]], 4, "rank")
    session.label([unchanged[1]], None, "comment")
    applied = quietly(session)
    assert applied.unit_ids.tolist() == unchanged + new
    old, found = kilosort.sorting, applied.sorting
    assert set(old.get_property_keys()) | {"note"} == set(found.get_property_keys())
    rows = [list(kilosort.unit_ids).index(i) for i in unchanged]
    n = len(unchanged)
    score = found.get_property("score")
    np.testing.assert_array_equal(score[:n], old.get_property("score")[rows])
    assert np.isnan(score[n:]).all(), "not the value of another unit"
    nice = found.get_property("is_nice")
    np.testing.assert_array_equal(nice[:n], old.get_property("is_nice")[rows])
    assert np.isnan(nice[n:]).all()
    where = found.get_property("where")
    np.testing.assert_array_equal(where[:n], old.get_property("where")[rows])
    assert where.shape == (len(applied.unit_ids), 3)
    assert np.isnan(where[n:]).all()
    comment = found.get_property("comment").tolist()
    assert comment == [
        "" if i == unchanged[1] or i in new else f"unit {i}" for i in applied.unit_ids
    ]
    rank = found.get_property("rank")
    assert rank[0] == 4
    np.testing.assert_array_equal(rank[1:n], old.get_property("rank")[rows][1:])
    assert np.isnan(rank[n:]).all()
    assert found.get_property("note").tolist() == [
        "checked" if i in (unchanged[0], new[0]) else "" for i in applied.unit_ids
    ]
    assert (
        found.get_property("quality").tolist()
        == session.table.loc[applied.unit_ids]["group"].tolist()
    )
    assert found.get_annotation("mood") == "fine"
    history = json.loads(found._annotations["curation_history"])
    assert [step["operation"] for step in history[0]["steps"]] == session.history[
        session.history.in_effect
    ].operation.tolist()
    assert {**found._annotations, "curation_history": ""} == {
        **old._annotations,
        "curation_history": "",
    }
    if "original_cluster_id" in found.get_property_keys():
        assert found.get_property("original_cluster_id").tolist() == applied.unit_ids.tolist()


def test_no_quality_is_made_up(recorded):
    session = sic.CurationSession(recorded)
    session.merge(["a", "b"])
    assert "quality" not in quietly(session).sorting.get_property_keys()
    session.label(["c"], "mua")
    applied = quietly(session)
    expected = ["mua" if i == "c" else "unsorted" for i in applied.unit_ids]
    assert applied.sorting.get_property("quality").tolist() == expected


@pytest.mark.parametrize("source", ["kilosort", "recorded"])
@pytest.mark.parametrize("steps", [merge_and_remove, split_too, lambda session: None])
def test_the_old_analyzer_is_not_touched(request, source, steps):
    analyzer = request.getfixturevalue(source)
    analyzer.compute("template_assignment")
    before = snapshot(analyzer)
    session = sic.CurationSession(analyzer)
    steps(session)
    session.label(session.unit_ids[:1], "x", "note")
    applied = quietly(session)
    assert_same(snapshot(analyzer), before)
    for extension in applied.extensions.values():  # nor through the new one
        for value in extension.data.values():
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = 0
    applied.sorting.to_spike_vector()["sample_index"] = 0
    assert_same(snapshot(analyzer), before)


# ------------------------------------------------------------------------ without changes


def permuted(analyzer):
    return analyzer.select_units(analyzer.unit_ids[[3, 0, 5, 1, 2, 4]])


@pytest.mark.parametrize("make", [lambda a: a, permuted], ids=["as read", "permuted"])
@pytest.mark.parametrize("source", ["kilosort", "recorded"])
def test_apply_without_changes_is_equal(request, source, make):
    analyzer = make(request.getfixturevalue(source))
    session = sic.CurationSession(analyzer)
    before = snapshot(analyzer)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SiCurationWarning)
        after = snapshot(session.apply())
        after["properties"] = {key: after["properties"][key] for key in before["properties"]}
        assert_same(after, before)
        split_with = session.unit_ids
        session.merge(split_with[:2])
        session.remove(split_with[2:4])
        while session.undo():
            pass
        after = snapshot(session.apply())
        after["properties"] = {key: after["properties"][key] for key in before["properties"]}
        assert_same(after, before)


def test_labels_alone_keep_every_extension(recorded):
    session = sic.CurationSession(recorded)
    session.label(["a", "z"], "good")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SiCurationWarning)
        applied = session.apply()
    before, after = snapshot(recorded), snapshot(applied)
    assert_same(after["extensions"], before["extensions"])
    np.testing.assert_array_equal(after["mask"], before["mask"])
    assert applied.has_recording()


def test_unchanged_units_keep_channels_locations_and_templates(recorded):
    session = sic.CurationSession(recorded)
    session.merge(["a", "b"])
    applied = quietly(session)
    old = [list(recorded.unit_ids).index(i) for i in "dczy"]
    new = [list(applied.unit_ids).index(i) for i in "dczy"]
    np.testing.assert_array_equal(applied.sparsity.mask[new], recorded.sparsity.mask[old])
    np.testing.assert_array_equal(
        applied.get_main_channels()[new], recorded.get_main_channels()[old]
    )
    for name in ("templates", "unit_locations"):
        a = recorded.get_extension(name).get_data()[old]
        np.testing.assert_allclose(applied.get_extension(name).get_data()[new], a, rtol=1e-4)


def test_all_units_removed(kilosort, tmp_path):
    session = sic.CurationSession(kilosort)
    session.remove(session.unit_ids)
    for args in [(), ("zarr", tmp_path / "a.zarr")]:
        with pytest.raises(ParameterError, match="no units left"):
            session.apply(*args)
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------- formats and sources


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_memory_and_disk_are_equal(kilosort, tmp_path, format):
    session = sic.CurationSession(kilosort)
    split_too(session)
    session.label(session.unit_ids[:1], "checked", "note")
    folder = tmp_path / ("new.zarr" if format == "zarr" else "new")
    in_memory = snapshot(quietly(session))
    returned = quietly(session, format, folder)
    assert returned.format == format
    for on_disk in (returned, load_sorting_analyzer(folder)):
        on_disk.load_all_saved_extension()
        found = snapshot(on_disk)
        assert set(found["extensions"]) == set(in_memory["extensions"])
        found["extensions"] = {name: found["extensions"][name] for name in in_memory["extensions"]}
        for name, (_, values, _) in in_memory["extensions"].items():
            for key, value in values.items():
                other = found["extensions"][name][1][key]
                if isinstance(value, np.ndarray):
                    np.testing.assert_array_equal(other, value)
        np.testing.assert_array_equal(found["spikes"], in_memory["spikes"])
        np.testing.assert_array_equal(found["mask"], in_memory["mask"])
        np.testing.assert_array_equal(found["main"], in_memory["main"])
        assert [i.item() for i in found["ids"]] == [i.item() for i in in_memory["ids"]]
        for key, value in in_memory["properties"].items():
            np.testing.assert_array_equal(found["properties"][key], value)
    with pytest.raises(OutputExistsError):
        session.apply(format, folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name], "nothing temporary is left"


@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_apply_from_a_lazy_analyzer_on_disk(kilosort, tmp_path, format):
    folder = tmp_path / ("old.zarr" if format == "zarr" else "old")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kilosort.save_as(format=format, folder=folder)
        lazy = load_sorting_analyzer(folder, load_extensions=False)
    assert len(lazy.extensions) == 0
    results = []
    for analyzer in (kilosort, lazy):
        session = sic.CurationSession(analyzer)
        split_too(session)
        results.append(snapshot(quietly(session)))
    a, b = results
    assert set(a["extensions"]) == set(b["extensions"])
    b["extensions"] = {name: b["extensions"][name] for name in a["extensions"]}
    for name, (_, values, _) in a["extensions"].items():
        for key, value in values.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(b["extensions"][name][1][key], value)
    np.testing.assert_array_equal(a["spikes"], b["spikes"])
    np.testing.assert_array_equal(a["mask"], b["mask"])


# ------------------------------------------------------------------------------ going on


@pytest.mark.parametrize("source", ["kilosort", "recorded"])
def test_a_session_on_an_applied_analyzer_goes_on(request, source):
    analyzer = request.getfixturevalue(source)
    whole, first = sic.CurationSession(analyzer), sic.CurationSession(analyzer)
    split_too(whole)
    split_too(first)
    second = sic.CurationSession(quietly(first))
    pd.testing.assert_frame_equal(second.table, whole.table)
    for session in (whole, second):
        ids = session.unit_ids
        session.merge(ids[-2:], new_unit_id="new" if source == "recorded" else 500)
        session.remove(ids[:1])
    pd.testing.assert_frame_equal(second.table, whole.table)
    a, b = quietly(whole), quietly(second)
    for name in ("templates", "unit_locations", "template_similarity"):
        np.testing.assert_allclose(
            a.get_extension(name).get_data(), b.get_extension(name).get_data(), rtol=1e-4, atol=1e-5
        )
    lineages = [sic.reconstruct_lineage(one).drop(columns="event") for one in (a, b)]
    pd.testing.assert_frame_equal(*lineages)


def test_empty_units_have_zeros():
    recording = si.generate_recording(num_channels=4, durations=[1.0], seed=0)
    probe = recording.get_probe()
    probe.set_shank_ids(["0"] * 4)
    recording.set_probe(probe)
    trains = {5: np.arange(300, 20_000, 500), 9: np.zeros(0, int), 3: np.arange(400, 20_000, 700)}
    trains[4] = np.arange(666, 20_000, 800)
    sorting = si.NumpySorting.from_unit_dict(trains, recording.sampling_frequency)
    analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute("random_spikes")
    analyzer.compute("templates", operators=["average"])
    session = sic.CurationSession(analyzer)
    merged = session.merge([3, 5])
    applied = session.apply()
    assert applied.unit_ids.tolist() == [9, 4, merged]
    templates = applied.get_extension("templates").get_data()
    assert np.all(templates[0] == 0)
    assert np.all(templates[1:].std(axis=1) > 0)
    data = applied.get_extension("template_assignment").get_data()
    assert data["template_id"].tolist() == [-1, 3, 0]
    assert applied.sorting.count_num_spikes_per_unit()[9] == 0


def test_the_history_of_all_sessions_stays_with_the_analyzer(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    first = sic.CurationSession(analyzer, decided_by="a")
    first.merge([11, 12], reason="one <neuron>")
    first.label([14], "good")
    applied = first.apply(format="binary_folder", folder=tmp_path / "first")
    second = sic.CurationSession(applied, decided_by="b")
    second.remove([4])
    second.remove([7])
    second.undo()
    second.apply(format="zarr", folder=tmp_path / "second.zarr")
    history = recorded_history(load_sorting_analyzer(tmp_path / "second.zarr"))
    assert history.columns.tolist() == first.history.columns.tolist()[:-1]
    assert history["operation"].tolist() == ["merge", "label", "remove"], "undone steps are not"
    assert history["inputs"].tolist() == [[11, 12], [14], [4]]
    assert history["reason"][0] == "one <neuron>"
    assert history["decided_by"].tolist() == ["a", "a", "b"]
    assert len(recorded_history(analyzer)) == 0
