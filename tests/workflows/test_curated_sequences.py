"""Any sequence of merges, splits and labels: no spike, unit or label is lost, no template wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import spikeinterface
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spikeinterface.extractors import read_kilosort_as_analyzer, read_phy

import si_curation as sic
from oracles import folders as naive

pytestmark = pytest.mark.slow

FOLDER = {"num_templates": 7, "num_channels": 10, "num_spikes": 250, "write_features": False}


@st.composite
def operations(draw, clustering):
    """Do operations that are possible, one after the other; give them as phy's simulator takes."""
    done = []
    for _ in range(draw(st.integers(0, 8))):
        ids = clustering.cluster_ids
        kind = draw(st.sampled_from(["merge", "split", "label"]))
        if kind == "merge" and len(ids) > 1:
            size = draw(st.integers(2, min(4, len(ids))))
            some = draw(st.permutations(ids))[:size]
            done.append(("merge", some))
        elif kind == "split":
            cluster_id = draw(st.sampled_from(ids))
            size = len(clustering.spikes(cluster_id))
            if size < 2:
                continue
            part_of = np.random.default_rng(draw(st.integers(0, 999))).integers(
                0, draw(st.integers(2, 4)), size
            )
            parts = [np.flatnonzero(part_of == part).tolist() for part in np.unique(part_of)]
            if draw(st.booleans()) and len(parts) > 1:
                parts = parts[:-1]  # the rest becomes a cluster by itself
            done.append(("split", cluster_id, parts))
        else:
            some = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True))
            field = draw(st.sampled_from(["group", "comment"]))
            value = draw(st.sampled_from(["good", "mua", "noise"]))
            done.append(("label", some, value, field))
        clustering.apply(done[-1:])
    return done


@pytest.fixture(scope="module")
def fresh_folder(simulate):
    """Give the folder of a dialect as the sorter wrote it."""
    names = ("kilosort1", "kilosort2", "kilosort3", "kilosort4")
    known = {name: simulate(name, seed=6, **FOLDER) for name in names}

    def give(name):
        return known[name]

    return give


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_any_sequence_of_operations(fresh_folder, data):
    dialect = data.draw(st.sampled_from(["kilosort1", "kilosort2", "kilosort3", "kilosort4"]))
    fresh = fresh_folder(dialect)
    fields = naive.read_tables(fresh.folder)
    clustering = naive.NaiveClustering(fresh.spike_templates, fields)
    done = data.draw(operations(clustering))
    with tempfile.TemporaryDirectory() as place:
        truth = sic.simulate_kilosort_folder(
            Path(place) / "folder", dialect=dialect, curation=done, seed=6, **FOLDER
        )
        np.testing.assert_array_equal(truth.spike_templates, fresh.spike_templates)
        analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    # no spike and no unit is lost
    assert analyzer.unit_ids.tolist() == clustering.cluster_ids
    for unit_id in clustering.cluster_ids:
        train = analyzer.sorting.get_unit_spike_train(unit_id)
        expected = np.sort(fresh.spike_samples[clustering.spikes(unit_id)])
        np.testing.assert_array_equal(train, expected)
    # no label is lost
    groups = clustering.labels()
    quality = analyzer.get_sorting_property("quality").tolist()
    assert quality == [groups.get(unit_id, "unsorted") for unit_id in clustering.cluster_ids]
    for field in set(clustering.fields) - {"group"}:
        labels = clustering.labels(field)
        if not labels:
            continue
        found = analyzer.get_sorting_property(field)
        for unit_id, value in zip(clustering.cluster_ids, found, strict=True):
            if unit_id in labels:
                assert value == labels[unit_id]
            else:
                assert value == "" or np.isnan(value)
    # no template is wrong
    table = analyzer.get_extension("template_assignment").get_data()
    expected = naive.most_frequent_template(truth.spike_templates, clustering.spike_clusters)
    assert table.to_dict("index") == expected
    counts = naive.template_counts_matrix(
        truth.spike_templates, clustering.spike_clusters, clustering.cluster_ids, 7
    )
    means = [naive.weighted_mean_template(row, truth.templates_unwhitened) for row in counts]
    average = analyzer.get_extension("templates").get_data()
    np.testing.assert_allclose(average, means, atol=2e-6 * np.abs(means).max())
    best = analyzer.compute("template_best_channels").get_data(outputs="indices")
    for unit_id, answer in expected.items():
        template = truth.templates_unwhitened[answer["template_id"]]
        assert best[unit_id][0] == np.ptp(template, axis=0).argmax()


# --------------------------------------------------------------- what is there without the package

ONE_MERGE = [("merge", [1, 3])]
MERGE_AND_SPLIT = [("merge", [1, 3]), ("split", 5, 2)]
LABELS = {2: "good", 4: "noise"}


def folder_with(simulate, curation):
    return simulate(curation=curation, labels=LABELS, seed=6, **FOLDER)


@pytest.mark.skipif(
    not spikeinterface.__version__.startswith("0.105"), reason="tells of SpikeInterface 0.105"
)
@pytest.mark.filterwarnings("ignore")
def test_what_spikeinterface_does_today(simulate):
    # another number of units: it fails without a word
    merged = folder_with(simulate, ONE_MERGE)
    with pytest.raises(AssertionError) as caught:
        read_kilosort_as_analyzer(merged.folder)
    assert str(caught.value) == ""
    ours = sic.read_kilosort_as_analyzer(merged.folder)
    assert ours.unit_ids.tolist() == [0, 2, 4, 5, 6, 7]

    # as many units as templates: the n-th unit gets the n-th template
    both = folder_with(simulate, MERGE_AND_SPLIT)
    theirs = read_kilosort_as_analyzer(both.folder, gain_to_uV=1.0, offset_to_uV=0.0)
    assert theirs.unit_ids.tolist() == [0, 2, 4, 6, 7, 8, 9]
    ours = sic.read_kilosort_as_analyzer(both.folder)
    assert ours.unit_ids.tolist() == theirs.unit_ids.tolist()
    average = theirs.get_extension("templates").get_data()
    np.testing.assert_allclose(average, both.templates_unwhitened, rtol=1e-4, atol=1e-3)
    template_ids = ours.get_extension("template_assignment").get_data()["template_id"]
    wrong = [n for n, template_id in enumerate(template_ids) if n != template_id]
    assert len(wrong) >= 5
    for n in wrong:
        unit_id = ours.unit_ids[n]
        right = ours.get_extension("template_assignment").get_unit_template(unit_id)
        assert np.abs(average[n] - right).max() > 0.1 * np.abs(right).max()

    # labels: nan for every unit that nobody labelled
    labels = dict(
        zip(theirs.unit_ids.tolist(), theirs.get_sorting_property("quality"), strict=True)
    )
    assert {labels[2], labels[4]} == {"good", "noise"}
    assert {str(labels[i]) for i in (0, 6, 7, 8, 9)} == {"nan"}
    quality = ours.get_sorting_property("quality")
    assert quality.tolist() == ["unsorted", "good", "noise", *["unsorted"] * 4]

    # without cluster_info.tsv: only the clusters that are in every table
    (both.folder / "cluster_info.tsv").unlink()
    few = read_phy(both.folder)
    assert few.unit_ids.tolist() == [2, 4]
    assert few.count_total_num_spikes() == np.isin(both.spike_clusters, [2, 4]).sum()
    ours = sic.read_kilosort_as_analyzer(both.folder)
    assert ours.get_num_units() == 7
    assert ours.sorting.count_total_num_spikes() == both.spike_samples.size
    assert ours.get_sorting_property("quality").tolist() == quality.tolist()
