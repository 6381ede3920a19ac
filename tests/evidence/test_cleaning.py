"""`suggest_cleaning`: spikes of others are found, own ones stay, and what is missing is said."""

import json
import shutil

import numpy as np
import pytest

import si_curation as sic
from si_curation.variables import CLEANING


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder in which 40 spikes of each of two units were given to a neighbour."""
    path = tmp_path_factory.mktemp("mixed") / "made"
    sic.simulate_kilosort_folder(path, num_templates=6, num_spikes=6000, curation=0, seed=3)
    times = np.load(path / "spike_times.npy")  # simulated ones have no refractory period
    np.save(path / "spike_times.npy", 1000 + 150 * np.arange(times.size).reshape(times.shape))
    clusters = np.load(path / "spike_clusters.npy")
    shape, given = clusters.shape, {}
    clusters = clusters.ravel()
    for unit, other in ((0, 1), (2, 3)):
        moved = np.flatnonzero(clusters == other)[::7][:40]
        given[unit] = moved
    for unit, moved in given.items():
        clusters[moved] = unit
    np.save(path / "spike_clusters.npy", clusters.reshape(shape))
    return path, given


@pytest.fixture(scope="module")
def example():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def test_spikes_of_others_are_found(mixed):
    path, given = mixed
    analyzer = sic.read_kilosort_as_analyzer(path)
    cleaning = sic.suggest_cleaning(analyzer)
    assert list(cleaning.table.columns) == list(CLEANING)
    assert len(cleaning.table) == len(analyzer.unit_ids)
    for unit, moved in given.items():
        own = sic.CurationSession(analyzer).get_spikes(unit)
        is_foreign = np.isin(own, moved)
        assert is_foreign.sum() == 40
        mask = cleaning.foreign_spikes(unit)
        assert (mask.dtype, mask.size) == (bool, own.size)
        assert mask[is_foreign].mean() > 0.5
        assert mask[~is_foreign].mean() <= 0.035
        sure = cleaning.foreign_spikes(unit, only_sure=True)
        assert not (sure & ~mask).any()
        np.testing.assert_array_equal(cleaning.mask(unit), mask)
    assert set(cleaning.units()) >= set(given)
    row = cleaning.table.set_index("unit_id").loc[0]
    assert row.expected_loss <= 0.035
    assert row.contamination_after <= row.contamination or np.isnan(row.contamination)
    assert cleaning.units(1.0) == []


def test_a_cluster_of_its_own_is_set_aside_whole(mixed, tmp_path):
    """Every tenth spike of a unit is that of a neighbour on the same channels."""
    path = tmp_path / "made"
    shutil.copytree(mixed[0], path)
    clusters = np.load(path / "spike_clusters.npy")
    flat = clusters.ravel()
    size = np.count_nonzero(flat == 4)
    templates = np.load(path / "spike_templates.npy").ravel()
    moved = np.flatnonzero((flat == 2) & (templates == 2))[::9][: size // 9]
    flat[moved] = 4
    np.save(path / "spike_clusters.npy", flat.reshape(clusters.shape))
    analyzer = sic.read_kilosort_as_analyzer(path)
    cleaning = sic.suggest_cleaning(analyzer, unit_ids=[4, 3])
    own = sic.CurationSession(analyzer).get_spikes(4)
    is_foreign = np.isin(own, moved)
    assert is_foreign.mean() == pytest.approx(0.1, abs=0.02)
    sure, every = (cleaning.foreign_spikes(4, only_sure=only) for only in (True, False))
    assert sure[is_foreign].mean() > 0.9
    assert sure[~is_foreign].mean() < 0.01
    assert every[~is_foreign].mean() <= 0.035
    row = cleaning.table.set_index("unit_id").loc[4]
    assert "a cluster of their own" in row.reason
    assert row.share_sure == pytest.approx(sure.mean(), abs=0.01)
    assert row.share_set_aside == pytest.approx(every.mean(), abs=0.01)
    assert row.expected_loss <= 0.035
    assert row.score > 0.8
    codes = {e.code for reasons in cleaning.explanations for e in reasons}
    assert "cleaning_cluster" in codes


def test_the_files_are_read_by_a_session(mixed, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(mixed[0])
    cleaning = sic.suggest_cleaning(analyzer)
    split, discard = (tmp_path / name for name in ("split.json", "discard.json"))
    cleaning.to_curation_json(split)
    cleaning.to_curation_json(discard, discard=True)
    content = json.loads(discard.read_text())
    assert content["format_version"] == "3"
    assert [e["unit_id"] for e in content["discard_spikes"]] == cleaning.units()
    for entry in content["discard_spikes"]:
        np.testing.assert_array_equal(
            entry["indices"], np.flatnonzero(cleaning.foreign_spikes(entry["unit_id"]))
        )
    with pytest.raises(sic.OutputExistsError):
        cleaning.to_curation_json(split)
    groups = []
    for path in (split, discard):
        session = sic.CurationSession(analyzer)
        session.apply_spikeinterface_curation(path)
        assert session.table.num_spikes.sum() == analyzer.sorting.to_spike_vector().size
        groups.append(sorted(session.table.num_spikes))
    assert groups[0] == groups[1]
    assert (session.table["group"] == "noise").sum() == len(cleaning.units())


def test_units_that_were_not_looked_at(example):
    cleaning = sic.suggest_cleaning(example, unit_ids=[4, 7])
    assert sorted(cleaning.table.unit_id) == [4, 7]
    with pytest.raises(sic.ParameterError, match="was not among unit_ids"):
        cleaning.foreign_spikes(10)
    with pytest.raises(sic.UnknownIdError):
        cleaning.foreign_spikes(999)
    with pytest.raises(sic.ParameterError, match="max_loss"):
        sic.suggest_cleaning(example, max_loss=0.7)


def test_contaminated_units_are_to_be_split_first(example):
    cleaning = sic.suggest_cleaning(example)
    row = cleaning.table.set_index("unit_id").loc[13]
    assert "split the unit first" in row.reason
    assert row.score == 0
    assert not cleaning.foreign_spikes(13).any()
    codes = {e.code for reasons in cleaning.explanations for e in reasons}
    assert "cleaning_split_first" in codes


def test_without_features_the_reason_says_so(tmp_path):
    path = tmp_path / "made"
    sic.simulate_kilosort_folder(path, num_templates=3, num_spikes=600)
    (path / "pc_features.npy").unlink()
    cleaning = sic.suggest_cleaning(sic.read_kilosort_as_analyzer(path))
    assert cleaning.units() == []
    assert cleaning.table.reason.str.contains("pc_features").all()
    assert not any(cleaning.foreign_spikes(i).any() for i in cleaning.unit_ids)
    assert json.loads(cleaning.to_curation_model().model_dump_json())["splits"] == []


def test_loss_of_zero_takes_only_what_costs_nothing(example):
    cleaning = sic.suggest_cleaning(example, max_loss=0)
    assert cleaning.table.expected_loss.fillna(0).max() <= 0.03


@pytest.mark.slow
@pytest.mark.parametrize("clustering", ["ks", "mu", "nomerge"])
def test_on_recordings_with_truth(shared_data, clustering):
    """Half of the contaminating spikes at a loss of three percent, pooled."""
    foreign, own = np.zeros(2), np.zeros(2)
    for recording in ("static", "drifting", "twins"):
        folder = shared_data / "ks4_truth" / recording / clustering
        analyzer = sic.read_kilosort_as_analyzer(folder)
        cleaning = sic.suggest_cleaning(analyzer)
        for unit_id, is_foreign in foreign_by_truth(analyzer, folder.parent):
            if is_foreign.size < 100 or is_foreign.mean() >= 0.15:
                continue
            mask = cleaning.foreign_spikes(unit_id)
            foreign += np.count_nonzero(mask & is_foreign), np.count_nonzero(is_foreign)
            own += np.count_nonzero(mask & ~is_foreign), np.count_nonzero(~is_foreign)
    assert foreign[0] / foreign[1] >= 0.5
    assert own[0] / own[1] <= 0.03


def foreign_by_truth(analyzer, folder):
    """Each unit, and which of its spikes are not of the neuron with most of them."""
    truth = np.load(folder / "ground_truth.npz")
    apart = round(0.4e-3 * analyzer.sampling_frequency)
    trains = [
        np.sort(truth["samples"][truth["units"] == i].astype(np.int64))
        for i in range(len(truth["loc"]))
    ]
    for unit_id in analyzer.unit_ids:
        spikes = analyzer.sorting.get_unit_spike_train(unit_id, segment_index=0)
        hits = [is_near(spikes, train, apart) for train in trains]
        best = max(hits, key=np.count_nonzero)
        yield unit_id, ~best


def is_near(spikes, train, apart):
    if not train.size:
        return np.zeros(spikes.size, dtype=bool)
    place = np.searchsorted(train, spikes)
    before = np.abs(spikes - train[np.maximum(place - 1, 0)])
    after = np.abs(spikes - train[np.minimum(place, train.size - 1)])
    return np.minimum(before, after) <= apart
