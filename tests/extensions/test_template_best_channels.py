"""`template_best_channels`, on Kilosort analyzers and on any other."""

from __future__ import annotations

import shutil
from contextlib import closing

import numpy as np
import pytest
import spikeinterface.core as sc
from phylib.io import model as model_module

import si_curation as sic
from helpers.assignments import ASSIGNMENT, BEST, TABLE, extension, naive_ranking, ranked
from oracles import folders as naive


def test_best_channels_in_every_form(folder, read_only_analyzer):
    analyzer, truth = read_only_analyzer, folder
    best = extension(analyzer, BEST)
    ids, indices = best.get_data(), best.get_data(outputs="indices")
    table = best.get_data(outputs="dataframe")
    assert list(ids) == list(indices) == analyzer.unit_ids.tolist()
    assert list(table.columns) == TABLE
    assert table["amplitude"].dtype == np.float64
    for name in ("unit_id", "rank", "channel_index", "shank"):
        assert table[name].dtype == np.int64
    assert table["unit_id"].unique().tolist() == analyzer.unit_ids.tolist()
    expected = naive.most_frequent_template(truth.spike_templates, truth.spike_clusters)
    for unit_id, answer in expected.items():
        channels, amplitudes = naive_ranking(truth, answer["template_id"])
        assert indices[unit_id].tolist() == channels
        assert ids[unit_id].tolist() == truth.channel_map[channels].tolist()
        assert best.get_best_channels(unit_id).tolist() == ids[unit_id].tolist()
        assert best.get_best_channel(unit_id) == ids[unit_id][0]
        rows = table[table["unit_id"] == unit_id]
        assert rows["rank"].tolist() == list(range(len(channels)))
        assert rows["channel_index"].tolist() == channels
        assert rows["channel_id"].tolist() == truth.channel_map[channels].tolist()
        np.testing.assert_allclose(rows["amplitude"], amplitudes, rtol=1e-12)
        np.testing.assert_array_equal(rows[["x_um", "y_um"]], truth.channel_positions[channels])
        assert rows["shank"].tolist() == truth.channel_shanks[channels].tolist()


@pytest.mark.parametrize(
    "params",
    [
        {"num_channels": 3},
        {"num_channels": 1},
        {"num_channels": 1000},
        {"amplitude_threshold": 0.4},
        {"amplitude_threshold": 1},
        {"same_shank": False},
        {"num_channels": np.int64(20), "amplitude_threshold": 0.2, "same_shank": np.False_},
    ],
)
def test_parameters_of_best_channels(folder, params):
    analyzer = sic.read_kilosort_as_analyzer(folder.folder)
    found = analyzer.compute(BEST, **params).get_data(outputs="indices")
    names = {"amplitude_threshold": "threshold"}
    options = {names.get(name, name): value for name, value in params.items()}
    template_ids = extension(analyzer).get_data()["template_id"]
    for unit_id, template_id in template_ids.items():
        channels, _ = naive_ranking(folder, template_id, **options)
        assert found[unit_id].tolist() == channels
    assert {name: extension(analyzer, BEST).params[name] for name in params} == params


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"num_channels": 0}, ["num_channels", "0"]),
        ({"num_channels": -3}, ["num_channels"]),
        ({"num_channels": 2.5}, ["num_channels", "2.5"]),
        ({"num_channels": True}, ["num_channels"]),
        ({"num_channels": None}, ["num_channels"]),
        ({"amplitude_threshold": -0.1}, ["amplitude_threshold"]),
        ({"amplitude_threshold": 1.1}, ["amplitude_threshold"]),
        ({"amplitude_threshold": np.nan}, ["amplitude_threshold"]),
        ({"amplitude_threshold": "all"}, ["amplitude_threshold", "all"]),
        ({"same_shank": "yes"}, ["same_shank", "yes"]),
        ({"same_shank": None}, ["same_shank"]),
        (
            {"num_channels": 0, "amplitude_threshold": 7, "same_shank": 3},
            ["num_channels", "amplitude_threshold", "same_shank"],
        ),
    ],
)
def test_wrong_parameters_all_in_one_error(analyzer, params, words):
    with pytest.raises(sic.ParameterError) as caught:
        analyzer.compute(BEST, **params)
    for word in words:
        assert word in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert extension(analyzer) is not None


def test_sparse_templates_have_their_own_channels(simulate):
    truth = simulate("kilosort1", num_templates=8, num_channels=40, num_spikes=300, num_shanks=2)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    found = analyzer.compute(BEST).get_data(outputs="dataframe")
    columns = np.load(truth.folder / "template_ind.npy")
    stored = np.load(truth.folder / "templates.npy")
    inverse = np.load(truth.folder / "whitening_mat_inv.npy")
    few = analyzer.compute(BEST, num_channels=5).get_data(outputs="indices")
    lengths = set()
    for unit_id in analyzer.unit_ids:
        channels, amplitudes = naive.rank_channels_sparse(
            stored[unit_id], columns[unit_id], inverse
        )
        rows = found[found["unit_id"] == unit_id]
        assert rows["channel_index"].tolist() == channels
        np.testing.assert_allclose(rows["amplitude"], amplitudes, rtol=1e-9)
        assert few[unit_id].tolist() == channels[:5]
        lengths.add(len(channels))
    assert max(lengths) > 12, "phy's limit of 12 channels is not for these"


def test_channels_are_phylibs_in_every_dialect(curated_folder, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(curated_folder.folder, unwhiten="phy")
    table = analyzer.compute(BEST).get_data(outputs="dataframe")
    copy = tmp_path / "copy"
    shutil.copytree(curated_folder.folder, copy)  # phylib writes into what it opens
    with closing(model_module.load_model(copy / "params.py")) as model:
        for unit_id in analyzer.unit_ids:
            counts = model.get_template_counts(unit_id)
            template_id = counts.argmax()
            assert extension(analyzer).get_data().loc[unit_id, "template_id"] == template_id
            theirs = model.get_template(template_id)
            ours = table[table["unit_id"] == unit_id]
            assert ours["channel_index"].tolist() == theirs.channel_ids.tolist()
            assert ours["channel_index"].iloc[0] == theirs.best_channel
            amplitudes = np.ptp(theirs.template, axis=0)
            np.testing.assert_array_equal(ours["amplitude"].to_numpy(), amplitudes)


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort1_all_channels", "kilosort2"])
def test_equally_large_channels_are_phylibs(simulate, tmp_path, dialect):
    # phylib's order of equal amplitudes is that of np.argsort over the columns as they are stored
    truth = simulate(dialect, num_channels=40, num_spikes=500, whitening=np.eye(40))
    templates = np.load(truth.folder / "templates.npy")
    np.save(truth.folder / "templates.npy", np.round(templates * 20) / 20)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, unwhiten="phy")
    found = analyzer.compute(BEST).get_data(outputs="indices")
    copy = tmp_path / "copy"
    shutil.copytree(truth.folder, copy)
    with closing(model_module.load_model(copy / "params.py")) as model:
        for unit_id in analyzer.unit_ids:
            assert found[unit_id].tolist() == model.get_template(unit_id).channel_ids.tolist()


def test_equally_near_channels_are_phylibs(simulate, tmp_path):
    # positions that float32 holds only nearly: equal distances are equal in float32, or not
    truth = simulate(num_templates=40, num_channels=60, num_spikes=2000, write_features=False)
    positions = (truth.channel_positions * 1.1 + 0.3).astype(np.float32)
    np.save(truth.folder / "channel_positions.npy", positions)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, unwhiten="phy")
    found = analyzer.compute(BEST).get_data(outputs="indices")
    copy = tmp_path / "copy"
    shutil.copytree(truth.folder, copy)
    with closing(model_module.load_model(copy / "params.py")) as model:
        for unit_id in analyzer.unit_ids:
            assert found[unit_id].tolist() == model.get_template(unit_id).channel_ids.tolist()


def other_amplitudes(analyzer):
    """Peak-to-peak amplitude (n_units, n_channels), 0 outside the sparsity, and its limits."""
    amplitudes = np.ptp(extension(analyzer, "templates").get_data(), axis=1)
    inside = amplitudes > 0
    if analyzer.sparsity is not None:
        inside &= analyzer.sparsity.mask
    return amplitudes * inside, inside


def other_ranking(analyzer, unit_index):
    amplitudes, inside = other_amplitudes(analyzer)
    template = np.stack([np.zeros_like(amplitudes[unit_index]), amplitudes[unit_index]])
    shanks = analyzer.get_probe().shank_ids
    shanks = np.zeros(analyzer.get_num_channels()) if shanks is None else shanks
    channels, values = naive.rank_channels_dense(template, analyzer.get_channel_locations(), shanks)
    keep = [inside[unit_index, c] for c in channels]
    return np.array(channels)[keep], np.array(values)[keep]


@pytest.mark.parametrize("with_assignment", [False, True])
def test_best_channels_of_any_sorter(other, with_assignment):
    analyzer = other.copy()
    if with_assignment:
        analyzer.compute(ASSIGNMENT)
    best = analyzer.compute(BEST)
    assert analyzer.has_extension(ASSIGNMENT) == with_assignment
    table = best.get_data(outputs="dataframe")
    for unit_index, unit_id in enumerate(analyzer.unit_ids):
        channels, amplitudes = other_ranking(analyzer, unit_index)
        assert channels.size > 1
        rows = table[table["unit_id"] == unit_id]
        np.testing.assert_array_equal(rows["channel_index"], channels)
        np.testing.assert_array_equal(rows["channel_id"], analyzer.channel_ids[channels])
        np.testing.assert_allclose(rows["amplitude"], amplitudes, rtol=1e-6)
        np.testing.assert_array_equal(
            best.get_best_channels(unit_id), analyzer.channel_ids[channels]
        )
        assert best.get_best_channel(unit_id) == analyzer.channel_ids[channels[0]]


def test_best_channels_alone_follow_the_templates(other):
    analyzer = other.copy()
    analyzer.compute(BEST)
    new_id = "merged" if isinstance(analyzer.unit_ids[0], str) else 1000
    merged = analyzer.merge_units(
        [analyzer.unit_ids[:2].tolist()], new_unit_ids=[new_id], sparsity_overlap=0.0
    )
    assert not merged.has_extension(ASSIGNMENT)
    found = ranked(merged)
    merged.compute(BEST)
    assert found.equals(ranked(merged))


def test_best_channels_of_a_lost_assignment_are_not_those_of_the_mean(analyzer):
    # phy ranks the channels of the most frequent template, which the folder tells again
    expected = ranked(analyzer)
    analyzer.delete_extension(ASSIGNMENT)
    analyzer.compute(BEST)
    assert extension(analyzer).is_from_folder
    assert ranked(analyzer).equals(expected)


def test_what_needs_the_assignment_leaves_the_ranked_channels(tmp_path):
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[10.0], num_channels=8, num_units=4, seed=0
    )
    analyzer = sc.create_sorting_analyzer(sorting, recording, sparse=False)
    analyzer.compute(["random_spikes", "templates"], progress_bar=False)
    before = analyzer.compute("template_best_channels", num_channels=5).get_data()
    analyzer.compute("unit_similarity")
    analyzer.compute("template_features", progress_bar=False)
    sic.CurationSession(analyzer)
    assert analyzer.has_extension("unit_similarity")
    after = analyzer.get_extension("template_best_channels")
    assert after is not None
    assert after.params["num_channels"] == 5
    assert {u: c.tolist() for u, c in after.get_data().items()} == {
        u: c.tolist() for u, c in before.items()
    }
