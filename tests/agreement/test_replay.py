"""Curations carried over to simulated re-sortings, judged by the neurons of the spikes."""

import numpy as np
import pytest

import si_curation as sic
from helpers.resorting import Sorting, curate, sort_again, true_spikes
from si_curation.variables import REPLAYED_STEPS, REPLAYED_UNITS

NUM_NEURONS = 40
LABELS = ["good", "mua", "noise", None]


@pytest.fixture(scope="module")
def base(simulate):
    """A folder whose templates the sortings have; there are enough for split neurons."""
    made = simulate(
        num_templates=2 * NUM_NEURONS, num_channels=8, num_spikes=400, write_features=False, seed=1
    )
    return made.folder


class Trial:
    """A sorting that was curated by who knows the neurons, and another sorting."""

    def __init__(self, base, place, seed, **kinds):
        rng = np.random.default_rng(seed)
        samples, neurons = true_spikes(rng, NUM_NEURONS, duration_s=20)
        self.old = sort_again(rng, samples, neurons)
        self.new = sort_again(rng, samples, neurons, **kinds)
        self.labels = [LABELS[i] for i in rng.integers(0, len(LABELS), NUM_NEURONS)]
        self.old_folder = self.old.write(base, place / "old")
        self.new_folder = self.new.write(base, place / "new")
        self.curated = sic.CurationSession(sic.read_kilosort_as_analyzer(self.old_folder))
        curate(self.curated, self.old, self.labels)
        self.old_neuron = self.neurons_of(self.curated, self.old)
        self.new_neurons = self.new.main_neurons()

    @staticmethod
    def neurons_of(session, sorting):
        """{unit: neuron of most of its spikes}."""
        out = {}
        for unit in session.unit_ids:
            its = sorting.neurons[session.get_spikes(unit)]
            out[unit] = int(np.bincount(its[its >= 0]).argmax())
        return out

    def judge(self, found):
        """Number of steps that are carried, wrong, and carried of those with a counterpart."""
        final = self.neurons_of(found.session, self.new)
        begun = self.old.main_neurons()
        whole = [neurons[0] for neurons in self.new_neurons.values() if len(neurons) == 1]
        carried = wrong = there = 0
        made = possible = 0
        for row in found.steps.itertuples():
            neuron = {self.old_neuron.get(unit) for unit in row.old_units}
            done = row.outcome == "carried"
            carried += done
            if row.kind == "label":
                wanted = {self.labels[n] for n in neuron if n is not None}
                results = {self.labels[final[unit]] for unit in row.results}
                wrong += done and (results != {row.label} or wanted != {row.label})
                there = bool(neuron & set(whole))
            elif row.kind == "merge":
                of_units = {self.new_neurons[unit][0] for unit in row.new_units}
                wrong += done and len(of_units) != 1
                both = set.intersection(*(set(begun[unit]) for unit in row.old_units))
                there = any(whole.count(n) > 1 for n in both)
            else:
                (unit,) = row.old_units
                pair = sorted(begun[unit])
                there = any(sorted(n) == pair for n in self.new_neurons.values())
                wrong += done and len({final.get(u) for u in row.results} - {None}) < len(
                    set(row.results) & set(final)
                )
            possible += there
            made += there and done
        return carried, int(wrong), made, possible


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds", [{}, {"missed": 0.3, "false": 0.2}, {"lag": 7}, {"errors": 0.3}, {"jitter": 0}]
)
def test_steps_are_carried_and_none_is_wrong(base, tmp_path, kinds):
    totals = np.zeros(4, dtype=int)
    for seed in range(3):
        trial = Trial(base, tmp_path / str(seed), seed, **kinds)
        found = sic.replay_curation(trial.curated, trial.new_folder)
        totals += trial.judge(found)
        assert abs(found.lag - kinds.get("lag", 0)) <= 1
        assert list(found.steps.columns) == list(REPLAYED_STEPS)
        assert list(found.units.columns) == list(REPLAYED_UNITS)
        assert set(found.steps["outcome"]) <= set(REPLAYED_STEPS["outcome"].codes)
        assert found.steps["reason"].str.len().min() > 0
    carried, wrong, made, possible = totals
    assert carried > 50
    assert wrong <= 0.01 * carried
    assert made >= 0.95 * possible


@pytest.fixture(scope="module")
def trial(base, tmp_path_factory):
    return Trial(base, tmp_path_factory.mktemp("trial"), seed=0, lag=3)


def test_a_replay(trial, tmp_path):
    found = sic.replay_curation(trial.curated, trial.new_folder, journal=tmp_path / "journal")
    carried, wrong, made, possible = trial.judge(found)
    assert wrong == 0
    assert made >= 0.95 * possible > 20
    assert found.session.history["reason"].str.endswith("in the old sorting").all()
    assert found.session.history["decided_by"].eq("replay of session").all()
    found.session.undo()
    applied = found.session.apply()
    assert len(applied.unit_ids) == len(found.session.unit_ids)
    found.session.close()
    left = found.left
    assert (left["outcome"] == "left").all()
    assert left["results"].map(len).eq(0).all()
    assert repr(found).startswith(f"CurationReplay({len(found.steps)} steps")
    units = found.units.set_index("unit_id")
    assert (units["num_matched"] <= units["num_spikes"]).all()
    for unit, neurons in trial.new_neurons.items():
        if len(neurons) == 1 and units.loc[unit, ["purity", "coverage"]].min() > 0.2:
            assert trial.old_neuron[units.loc[unit, "old_unit"]] == neurons[0]


def test_every_kind_of_source_is_replayed_alike(trial, tmp_path):
    analyzer = trial.curated.sorting_analyzer
    journal = tmp_path / "journal"
    with sic.CurationSession(analyzer, journal=journal) as session:
        session.repeat(trial.curated)
    file = tmp_path / "curation.json"
    file.write_text(session.to_spikeinterface_curation().model_dump_json())
    folder = sic.export_to_phy(session.apply(), tmp_path / "phy")
    expected = sic.replay_curation(session, trial.new_folder)
    results = expected.session.to_spikeinterface_curation()
    for source in (journal, file, folder, session.apply()):
        start = trial.old_folder if source in (journal, file) else None
        found = sic.replay_curation(source, trial.new_folder, start=start)
        assert found.session.to_spikeinterface_curation() == results
        assert found.steps["outcome"].tolist() == expected.steps["outcome"].tolist()


def test_onto_the_same_sorting_everything_is_carried(trial):
    found = sic.replay_curation(trial.curated, trial.curated.sorting_analyzer)
    assert set(found.steps["outcome"]) == {"carried"}
    assert found.steps["confidence"].min() > 0.97
    assert sic.compare_curations(found.session, trial.curated).disputed.empty


def test_removals_and_labels_of_several_noises(simulate):
    folder = simulate(num_templates=6, num_channels=8, num_spikes=3000, write_features=False).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    old, new = sic.CurationSession(analyzer), sic.CurationSession(analyzer)
    old.label([0, 1], "noise")
    old.label([2, 3], "good")
    old.remove([4])
    both = new.merge([0, 1])
    good = new.merge([2, 3])
    found = sic.replay_curation(old, new.apply())
    labels = found.session.get_labels()
    assert labels == {5: "unsorted", both: "noise", good: "unsorted"}
    outcomes = found.steps.groupby("kind")["outcome"].agg(list).to_dict()
    assert outcomes == {"label": ["carried", "carried", "left", "left"], "remove": ["carried"]}
    assert found.left["new_units"].tolist() == [(good,), (good,)]
    assert "together with those of others" in found.left["reason"].iloc[0]


def test_what_is_no_other_sorting_is_one_error(trial, base, tmp_path):
    rng = np.random.default_rng(9)
    samples, neurons = true_spikes(rng, NUM_NEURONS, duration_s=20)
    other = Sorting(samples, neurons, neurons).write(base, tmp_path / "other")
    with pytest.raises(sic.ParameterError, match="sortings of one recording") as error:
        sic.replay_curation(trial.curated, other)
    assert str(other) in str(error.value)
    params = (other / "params.py").read_text()
    (other / "params.py").write_text(params.replace("30000", "20000"))
    with pytest.raises(sic.ParameterError, match="20000 Hz"):
        sic.replay_curation(trial.curated, other)
    with sic.CurationSession(trial.curated.sorting_analyzer, journal=tmp_path / "journal") as one:
        one.label(one.unit_ids[:1], "good")
    with pytest.raises(sic.ParameterError, match="other spikes"):
        sic.replay_curation(tmp_path / "journal", trial.new_folder, start=trial.new_folder)
    with pytest.raises(sic.ParameterError, match="give start="):
        sic.replay_curation(tmp_path / "journal", trial.new_folder)
    with pytest.raises(sic.FolderNotFoundError):
        sic.replay_curation(trial.curated, tmp_path / "nothing")
    with pytest.raises(sic.ParameterError, match=r"window_ms.*min_purity"):
        sic.replay_curation(trial.curated, trial.new_folder, window_ms=-1, min_purity=0.2)
    with pytest.raises(sic.ParameterError, match=r"old is 3.*new is None"):
        sic.replay_curation(3, None)


def test_sortings_without_spikes_or_steps(simulate, tmp_path):
    folder = simulate(num_templates=3, num_channels=4, num_spikes=100, write_features=False).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    found = sic.replay_curation(folder, analyzer)
    assert found.steps.empty
    assert found.session.history.empty
    curated = sic.CurationSession(analyzer)
    curated.remove(curated.unit_ids)
    found = sic.replay_curation(curated, analyzer)
    assert found.session.unit_ids == []


def test_what_fails_midway_leaves_no_journal(trial, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(sic.CurationSession, "label", fail)
    analyzer = trial.curated.sorting_analyzer
    compared = sic.compare_curations(trial.curated, analyzer, num_bootstraps=10)
    journal = tmp_path / "new" / "folder" / "journal"
    for call in (
        lambda: sic.replay_curation(trial.curated, trial.new_folder, journal=journal),
        lambda: compared.consensus(journal=journal, mark="disputed"),
    ):
        with pytest.raises(RuntimeError, match="in the middle"):
            call()
        assert list(tmp_path.iterdir()) == []
