"""Real folders: phy's own answers in every cluster, and every spike."""

from __future__ import annotations

import json

import numpy as np
import pytest

import si_curation as sic
from oracles import folders as naive

CURATED = ["ks4_phy_curated", "ks1_phy_curated", "example"]
SPARSE = {"ks1_phy_curated"}
LEFT = {"ks4_phy_curated", "example", "ks4_fresh"}


@pytest.fixture(scope="module")
def folder_of(request):
    """Give the path of a real folder by name; "example" is packaged."""

    def find(name):
        if name == "example":
            return sic.example_folder()
        return request.getfixturevalue("shared_data") / name

    return find


@pytest.fixture(scope="module")
def analyzer_of(folder_of):
    """Read a real folder, once for each way to unwhiten."""
    known = {}

    def read(name, unwhiten):
        if (name, unwhiten) not in known:
            analyzer = sic.read_kilosort_as_analyzer(folder_of(name), unwhiten=unwhiten)
            analyzer.compute("template_best_channels")
            known[name, unwhiten] = analyzer
        return known[name, unwhiten]

    return read


@pytest.fixture(scope="module")
def oracle_of(folder_of):
    def read(name):
        answers = json.loads((folder_of(name) / "phy_oracle.json").read_text())
        return {int(cluster_id): answer for cluster_id, answer in answers.items()}

    return read


def vector(folder, name):
    return np.load(folder / f"{name}.npy").ravel().astype(np.int64)


def best_channels(analyzer, outputs):
    return analyzer.get_extension("template_best_channels").get_data(outputs=outputs)


# ------------------------------------------------------------------------------- phy's answers


@pytest.mark.parametrize("name", CURATED)
def test_units_and_spike_counts_are_phys(analyzer_of, folder_of, oracle_of, name):
    analyzer = analyzer_of(name, "phy")
    assert analyzer.unit_ids.tolist() == sorted(oracle_of(name))
    clusters = vector(folder_of(name), "spike_clusters")
    counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    assert counts.tolist() == [int((clusters == i).sum()) for i in analyzer.unit_ids]
    assert counts.sum() == clusters.size
    table = analyzer.get_extension("template_assignment").get_data()
    assert table["num_spikes"].tolist() == counts.tolist()


@pytest.mark.parametrize("name", CURATED)
def test_most_frequent_templates_are_phys(analyzer_of, oracle_of, name):
    table = analyzer_of(name, "phy").get_extension("template_assignment").get_data()
    phys = {cluster_id: answer["template"] for cluster_id, answer in oracle_of(name).items()}
    assert table["template_id"].to_dict() == phys


@pytest.mark.parametrize("name", CURATED)
def test_whole_ranking_of_channels_is_phys(analyzer_of, oracle_of, name):
    found = best_channels(analyzer_of(name, "phy"), "indices")
    phys = {cluster_id: answer["channels"] for cluster_id, answer in oracle_of(name).items()}
    assert {unit_id: channels.tolist() for unit_id, channels in found.items()} == phys


@pytest.mark.parametrize("name", CURATED)
def test_best_channel_depth_and_shank_are_phys(analyzer_of, oracle_of, name):
    analyzer = analyzer_of(name, "phy")
    table = best_channels(analyzer, "dataframe")
    best = table[table["rank"] == 0].set_index("unit_id")
    extension = analyzer.get_extension("template_best_channels")
    for cluster_id, answer in oracle_of(name).items():
        assert best.loc[cluster_id, "channel_index"] == answer["best"]
        assert best.loc[cluster_id, "y_um"] == answer["depth"]
        assert best.loc[cluster_id, "shank"] == answer["sh"]
        channel_id = extension.get_best_channel(cluster_id)
        assert analyzer.channel_ids_to_indices([channel_id])[0] == answer["best"]
    assert table["shank"].dtype.kind == "i"


@pytest.mark.parametrize("name", CURATED)
def test_firing_rates_are_phys(analyzer_of, oracle_of, name):
    analyzer = analyzer_of(name, "phy")
    counts = analyzer.sorting.count_num_spikes_per_unit()
    for cluster_id, answer in oracle_of(name).items():
        rate = counts[cluster_id] / analyzer.get_total_duration()
        assert rate == pytest.approx(answer["fr"], rel=1e-5)


@pytest.mark.parametrize("name", CURATED)
def test_amplitudes_are_phys_to_the_bit(analyzer_of, oracle_of, name):
    table = best_channels(analyzer_of(name, "phy"), "dataframe")
    assert table["amplitude"].dtype == np.float32
    largest = table.groupby("unit_id")["amplitude"].max()
    for cluster_id, answer in oracle_of(name).items():
        assert largest[cluster_id] == np.float32(answer["amp"])
        first = table[(table["unit_id"] == cluster_id) & (table["rank"] == 0)]
        assert first["amplitude"].item() == largest[cluster_id]


@pytest.mark.parametrize("name", CURATED)
def test_labels_are_phys(analyzer_of, folder_of, name):
    analyzer = analyzer_of(name, "phy")
    labels = naive.read_table(folder_of(name) / "cluster_group.tsv")["group"]
    expected = [labels.get(int(i), "unsorted") for i in analyzer.unit_ids]
    assert analyzer.get_sorting_property("quality").tolist() == expected
    assert {"unsorted", "good", "noise", "mua"} == set(expected)


# --------------------------------------------------------------- the right way to unwhiten them


def float64_templates(folder, unwhiten, is_left):
    """Unwhitened templates on all channels, straightforwardly and in float64."""
    whitened = np.load(folder / "templates.npy").astype(np.float64)
    inverse = np.load(folder / "whitening_mat_inv.npy").astype(np.float64)
    if (folder / "template_ind.npy").exists():
        columns = np.load(folder / "template_ind.npy")
        out = np.zeros((*whitened.shape[:2], len(inverse)))
        for i, template in enumerate(whitened):
            used = np.abs(template).max(axis=0) > np.abs(template).max() * 1e-6
            used &= columns[i] != -1
            channels = columns[i][used].astype(int)
            values = template[:, used]
            if unwhiten:
                values = values @ inverse[np.ix_(channels, channels)]
            out[i][:, channels] = values
        return out
    if not unwhiten:
        return whitened
    return whitened @ (inverse.T if is_left else inverse)


def straightforward_ranking(folder, template):
    """Channels of one unwhitened template, best first, and all amplitudes."""
    amplitude = np.ptp(template, axis=0)
    if (folder / "template_ind.npy").exists():
        channels = np.flatnonzero(amplitude > 0)
        return channels[np.argsort(-amplitude[channels])], amplitude
    positions = np.load(folder / "channel_positions.npy").astype(np.float64)
    shanks = np.zeros(len(positions))
    if (folder / "channel_shanks.npy").exists():
        shanks = np.load(folder / "channel_shanks.npy").ravel()
    channels, _ = naive.rank_channels_dense(template, positions, shanks)
    return np.array(channels), amplitude


@pytest.mark.parametrize("unwhiten", ["auto", True, False])
@pytest.mark.parametrize("name", [*CURATED, "ks4_fresh"])
def test_against_a_straightforward_computation(analyzer_of, folder_of, name, unwhiten):
    folder, analyzer = folder_of(name), analyzer_of(name, unwhiten)
    templates = float64_templates(folder, unwhiten, name in LEFT)
    assignment = analyzer.get_extension("template_assignment")
    expected_way = {True: "left" if name in LEFT else "right", False: "none"}[bool(unwhiten)]
    assert assignment.info["unwhitening"] == expected_way
    assert assignment.info["sparse"] == (name in SPARSE)
    scale = np.abs(templates).max()
    np.testing.assert_allclose(assignment.get_templates(), templates, rtol=2e-7, atol=1e-9 * scale)
    table = best_channels(analyzer, "dataframe")
    assert table["amplitude"].dtype == np.float64
    for unit_id, template_id in assignment.get_data()["template_id"].items():
        rows = table[table["unit_id"] == unit_id]
        channels, amplitude = straightforward_ranking(folder, templates[template_id])
        assert rows["channel_index"].tolist() == channels.tolist()
        assert rows["rank"].tolist() == list(range(channels.size))
        np.testing.assert_allclose(rows["amplitude"], amplitude[channels], rtol=1e-12)


def test_the_orientation_matters(analyzer_of):
    # otherwise the test above could not tell the two ways to unwhiten apart
    phys = best_channels(analyzer_of("example", "phy"), "dataframe")["amplitude"]
    ours = best_channels(analyzer_of("example", "auto"), "dataframe")["amplitude"]
    assert np.abs(phys / ours - 1).max() > 1e-5


def test_kilosort1_is_unwhitened_as_by_phy_up_to_rounding(analyzer_of):
    phys = best_channels(analyzer_of("ks1_phy_curated", "phy"), "dataframe")
    ours = best_channels(analyzer_of("ks1_phy_curated", "auto"), "dataframe")
    assert phys["channel_index"].tolist() == ours["channel_index"].tolist()
    np.testing.assert_allclose(phys["amplitude"], ours["amplitude"], rtol=1e-6)


# ------------------------------------------------------------------------------------ all spikes


@pytest.mark.parametrize("name", [*CURATED, "ks4_fresh", "np1_without_params"])
def test_every_spike_once_in_its_unit(folder_of, name):
    folder = folder_of(name)
    rate = 30_000.0 if name == "np1_without_params" else None
    analyzer = sic.read_kilosort_as_analyzer(folder, sampling_frequency=rate)
    samples, clusters = vector(folder, "spike_times"), vector(folder, "spike_clusters")
    assert analyzer.unit_ids.tolist() == np.unique(clusters).tolist()
    for unit_id in analyzer.unit_ids:
        train = analyzer.sorting.get_unit_spike_train(unit_id)
        np.testing.assert_array_equal(train, np.sort(samples[clusters == unit_id]))
    extension = analyzer.get_extension("template_assignment")
    rows = extension.get_spike_rows()
    np.testing.assert_array_equal(np.sort(rows), np.arange(samples.size))
    spikes = analyzer.sorting.to_spike_vector()
    np.testing.assert_array_equal(spikes["sample_index"], samples[rows])
    np.testing.assert_array_equal(analyzer.unit_ids[spikes["unit_index"]], clusters[rows])
    np.testing.assert_array_equal(
        extension.get_spike_template_ids(), vector(folder, "spike_templates")[rows]
    )


# ----------------------------------------------------------------------------- without params.py


def test_missing_params_are_one_error_that_says_what_to_do(shared_data):
    with pytest.raises(sic.PhyFolderError) as caught:
        sic.read_kilosort_as_analyzer(shared_data / "np1_without_params")
    assert len(caught.value.findings) == 1
    assert "params.py" in str(caught.value)
    assert "sampling_frequency=" in str(caught.value)


@pytest.mark.parametrize("unwhiten", ["auto", "phy"])
def test_without_params(shared_data, unwhiten):
    analyzer = sic.read_kilosort_as_analyzer(
        shared_data / "np1_without_params", unwhiten=unwhiten, sampling_frequency=30_000
    )
    assert analyzer.sampling_frequency == 30_000.0
    assert len(analyzer.sorting.to_spike_vector()) == 94_565
    assert analyzer.get_num_units() == 15
    assert analyzer.get_num_channels() == 356
    assert set(analyzer.get_sorting_property("quality")) == {"unsorted"}
    assert analyzer.get_extension("templates").nbefore == 40
    channels = analyzer.compute("template_best_channels").get_data(outputs="indices")
    templates = float64_templates(shared_data / "np1_without_params", True, is_left=False)
    template_ids = analyzer.get_extension("template_assignment").get_data()["template_id"]
    for unit_id, template_id in template_ids.items():
        peak = np.ptp(templates[template_id], axis=0).argmax()
        assert channels[unit_id][0] == peak
        assert len(channels[unit_id]) == 12
