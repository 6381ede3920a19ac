"""Labels learnt from tables and folders: right, or undecided; clear where it is impossible."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

import si_curation as sic
from si_curation.kernels.parallel import limited_threads


def curated(num_units=240, num_sessions=4, seed=0, noise=1.0):
    """A table of units of some sessions, labelled by two columns and a curator's mood."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "snr": rng.uniform(1, 9, num_units),
            "violations": rng.exponential(0.4, num_units),
            "other": rng.normal(size=num_units),
            "session": [f"day {one % num_sessions}" for one in range(num_units)],
        }
    )
    snr = table["snr"] + noise * rng.normal(size=num_units)
    violations = table["violations"] + 0.1 * noise * rng.normal(size=num_units)
    table["group"] = np.where(snr < 3.5, "noise", np.where(violations > 0.3, "mua", "good"))
    return table


def metrics_of(table):
    return table[["snr", "violations", "other"]]


@pytest.fixture(scope="module")
def model():
    return sic.learn_labels(curated(), note="made up")


def test_labels_are_right_and_undecided_where_not_sure(model):
    new = curated(seed=1)
    found = model.label(metrics=metrics_of(new))
    table = found.table
    decided = table["decided"]
    assert 0.1 < decided.mean() < 1
    assert (table["label"] == new["group"])[decided].mean() > 0.85
    assert set(table.loc[~decided, "label"]) == {"unsorted"}
    assert (table.loc[~decided, "doubt"] != "").all()
    assert (table.loc[decided, "doubt"] == "").all()
    sure = table["column_1"][decided & (table["label"] == "noise")]
    assert set(sure) == {"snr"}
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    best = found.probabilities.max(axis=1)
    assert (best == table["probability"]).all()
    lower = model.label(metrics=metrics_of(new), accuracy=0.8).table["decided"]
    assert lower[decided].all()
    assert lower.sum() > decided.sum()


def test_a_unit_and_a_session_unlike_what_was_seen_are_left_undecided(model):
    new = metrics_of(curated(seed=1))
    one = new.copy()
    one.iloc[0] = [500.0, 500.0, 500.0]
    two = curated(num_sessions=2)
    wide = sic.learn_labels(two.assign(a=two["snr"], b=two["snr"]))
    table = wide.label(metrics=one.assign(a=one["snr"], b=one["snr"])).table
    assert table["doubt"].iloc[0] == "unit_outside"
    assert table["num_outside"].iloc[0] == 5
    assert "outside of what the model saw" in table["reason"].iloc[0]
    assert (table["doubt"] != "session_outside").all()
    other = model.label(metrics=new * 30).table
    assert set(other["doubt"]) == {"session_outside"}
    assert "unlike what the model saw: snr, violations" in other["reason"].iloc[0]


def test_same_bits_on_any_number_of_threads():
    new = metrics_of(curated(seed=1))
    two = curated(num_sessions=2)
    with limited_threads(1), threadpool_limits(1):
        one = sic.learn_labels(two).label(metrics=new)
    many = sic.learn_labels(two).label(metrics=new)
    pd.testing.assert_frame_equal(one.table, many.table, check_exact=True)
    pd.testing.assert_frame_equal(one.probabilities, many.probabilities, check_exact=True)


def test_report(model):
    report = model.report()
    summary = report.summary.set_index("measure")
    assert summary.index[2] == "auc: noise or good, mua"
    assert (summary["low"] <= summary["value"]).all()
    assert (summary["value"] <= summary["high"]).all()
    assert summary.loc["accuracy_decided", "value"] >= 0.95
    assert summary.loc["auc: noise or good, mua", "value"] > 0.9
    assert report.sessions["balanced_accuracy"].is_monotonic_increasing
    assert set(report.sessions["session"]) == {f"day {one}" for one in range(4)}
    assert report.coverage["coverage"].is_monotonic_decreasing
    assert report.learning_curve["num_labels"].iloc[-1] == 240
    wrong = report.disagreements
    assert (wrong["curator"] != wrong["likeliest"]).all()
    assert wrong["probability"].is_monotonic_decreasing
    truth = curated().loc[wrong["unit_id"], "group"].tolist()
    assert truth == wrong["curator"].tolist()
    text = str(report)
    assert "Each session, the worst first" in text
    assert "20 more labels would raise" in text


@pytest.mark.slow
def test_few_labels_are_learnt_by_a_sum_and_sets_of_any_labels():
    few = sic.learn_labels(curated(80, noise=0.3))
    assert few.method == "logistic"
    assert few.report().summary["value"].iloc[0] > 0.7
    two = curated(num_sessions=2)
    model = sic.learn_labels(two.assign(group=np.where(two["snr"] > 5, 1, 2)))
    assert model.labels == ("1", "2")
    four = curated(400, num_sessions=2)
    four["group"] = [f"type {int(one)}" for one in four["snr"] // 2.3]
    model = sic.learn_labels(four)
    assert len(model.questions) == 4
    found = model.label(metrics=metrics_of(four))
    assert (found.table["likeliest"] == four["group"]).mean() > 0.9
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def binary(num_units, seed, flipped=False, num_sessions=3):
    """Units of two labels by two of three columns."""
    table = curated(num_units, num_sessions, seed)
    score = (
        table["snr"] - 4 * table["violations"] + np.random.default_rng(seed).normal(size=num_units)
    )
    labels = np.where(score > 3, "good", "mua")
    if flipped:
        labels = np.where(labels == "good", "mua", "good")
    return table.assign(group=labels)


@pytest.mark.slow
def test_labels_of_others_are_taken_where_they_help(tmp_path):
    few, new = binary(40, 0), binary(300, 1)
    alone = sic.learn_labels(few)
    given = {"prior": binary(400, 2), "prior_name": "their labels"}
    helped = sic.learn_labels(few, **given)
    assert helped.prior.startswith("their labels (400 units): area under the ROC curve of sessions")
    assert (alone.method, helped.method) == ("logistic", "trees")
    right = [
        (one.label(metrics=metrics_of(new)).table["likeliest"] == new["group"]).mean()
        for one in (alone, helped)
    ]
    assert right[1] > right[0]
    assert len(helped.learnt.labels) == 40
    assert helped.learning_curve[-1, 0] == 40
    assert alone.prior == ""
    path = helped.save(tmp_path / "model.json")
    assert sic.LabelModel.load(path).prior == helped.prior
    # whose labels mean the opposite are left out, and the model is as without
    refused = sic.learn_labels(few, prior=binary(400, 2, flipped=True), prior_name="opposite")
    assert refused.prior.startswith("not used, opposite (400 units)")
    tables = [one.label(metrics=metrics_of(new)).table for one in (alone, refused)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_labels_of_others_that_cannot_be_used():
    few, others = binary(40, 0), binary(100, 2)
    for prior, message in [
        (others.drop(columns="snr"), r"columns \['snr'\] are not there, expected all that are"),
        (others.assign(group="axon"), r"units are \['axon'\], expected good, mua"),
        (others.assign(group="unsorted"), "no unit has a label"),
        (others.assign(snr="x"), "hold texts"),
        (pd.concat([others, few]), "units of session day 0 are among them"),
    ]:
        with pytest.raises(sic.ParameterError, match=message):
            sic.learn_labels(few, prior=prior, prior_name="theirs")
    with pytest.raises(sic.ParameterError, match="prior_name is empty"):
        sic.learn_labels(few, prior=others)


def test_most_useful_are_unsure_and_differ(model):
    new = metrics_of(curated(seed=1))
    table = model.most_useful(metrics=new, n=8)
    assert table["order_of_work"].tolist() == list(range(1, 9))
    everything = model.label(metrics=new).table
    assert sorted(everything["order_of_work"]) == list(range(1, 241))
    sure = everything["probability"].sort_values()
    assert table["probability"].iloc[0] == sure.iloc[0]
    assert table["probability"].max() <= sure.iloc[99]
    first = everything.sort_values("order_of_work")["probability"]
    # the first twenty of the hundred least sure, the next of the hundred that are left
    assert first[:20].max() <= sure.iloc[99]
    assert first[20:40].max() <= sure.iloc[119]
    places = new.rank()
    apart = [np.linalg.norm(places - places.loc[i], axis=1)[places.index.get_indexer(table.index)]
             for i in table.index]  # fmt: skip
    others = sure.index[:8]
    alike = [np.linalg.norm(places.loc[others] - places.loc[i], axis=1) for i in others]
    assert np.mean(apart) > np.mean(alike)
    assert len(model.most_useful(metrics=new.iloc[:3], n=8)) == 3
    everyone_alike = new * 0 + 3
    assert sorted(model.label(metrics=everyone_alike).table["order_of_work"])[-1] == 240


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[:3], "expected 10 or more of each label"),
        (lambda t: t.assign(group="good"), "the labels are 240 good, expected two or more"),
        (lambda t: t.assign(group="unsorted"), "the labels are none"),
        (lambda t: t.assign(session=1), "there are 1 sessions with labels, expected 2"),
        (
            lambda t: t.assign(group=np.where(t["session"] == "day 0", "good", "mua")),
            "all units that are good are of one session",
        ),
        (
            lambda t: t.assign(snr=1.0, violations=np.nan, other=2.0),
            "no column can be learnt from: snr is the same in all units",
        ),
        (
            lambda t: pd.concat([t, t[t["session"] == "day 1"].assign(session="again")]),
            "again has the same units as day 1; give each session once",
        ),
        (lambda t: t.drop(columns="group"), "column is 'group', expected one of"),
        (lambda t: t.drop(columns="session"), "session_column is 'session', expected one of"),
        (lambda t: t.iloc[:0], "sessions are empty"),
    ],
)
def test_too_little_to_learn_from(change, message):
    with pytest.raises(sic.ParameterError, match=message):
        sic.learn_labels(change(curated()))


def test_columns_that_say_nothing_are_left_out_and_named():
    table = curated(num_sessions=2).assign(empty=np.nan, same=3.0, name="x", all_missing_in_one=1.0)
    table.loc[table["session"] == "day 0", "all_missing_in_one"] = np.nan
    model = sic.learn_labels(table)
    left_out = model.columns_left_out
    assert left_out == {"name": "text", "empty": "never known", "same": "the same in all units"}
    # whether it is known can say something
    assert "all_missing_in_one" in model.columns
    with pytest.raises(sic.ParameterError, match="hold no numbers"):
        sic.learn_labels(table, columns=["snr", "name"])


def test_arguments():
    table = curated()
    for given, message in [
        ({"accuracy": 2.0}, "accuracy is 2.0"),
        ({"method": "forest"}, "method is 'forest'"),
        ({"columns": ["no"]}, "columns .* are not there"),
    ]:
        with pytest.raises(sic.ParameterError, match=message):
            sic.learn_labels(table, **given)
    with pytest.raises(sic.ParameterError, match="sessions are 3"):
        sic.learn_labels(3)
    with pytest.raises(sic.FolderNotFoundError, match="not there"):
        sic.learn_labels(["nowhere/a", "nowhere/b"])


def test_what_cannot_be_labelled(model):
    new = metrics_of(curated(seed=1))
    with pytest.raises(sic.MissingDataError, match="neither an analyzer nor a table"):
        model.label()
    with pytest.raises(sic.MissingDataError, match=r"\['snr'\] are not there"):
        model.label(metrics=new.drop(columns="snr"))
    with pytest.raises(sic.ParameterError, match="hold texts"):
        model.label(metrics=new.assign(snr="x"))
    with pytest.raises(sic.ParameterError, match="a unit has two rows"):
        model.label(metrics=pd.concat([new, new]))
    with pytest.raises(sic.ParameterError, match="accuracy is 0"):
        model.label(metrics=new, accuracy=0)
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    with pytest.raises(sic.ParameterError, match="whose parameters are not known"):
        model.label(analyzer)
    empty = model.label(metrics=new.iloc[:0]).table
    assert len(empty) == 0


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two simulated folders, in which units with few spikes are noise."""
    out = []
    for seed in range(2):
        folder = tmp_path_factory.mktemp("sessions") / f"session_{seed}"
        sic.simulate_kilosort_folder(
            folder, num_templates=24, num_spikes=6000, duration_s=30.0, seed=seed
        )
        analyzer = sic.read_kilosort_as_analyzer(folder)
        counts = analyzer.sorting.count_num_spikes_per_unit()
        middle = np.median(list(counts.values()))
        lines = [f"{i}\t{'good' if n > middle else 'mua'}" for i, n in counts.items()]
        text = "cluster_id\tgroup\n" + "\n".join(lines) + "\n"
        (folder / "cluster_group.tsv").write_text(text)
        out.append(folder)
    return out


@pytest.mark.slow
def test_folders_and_analyzers(folders, tmp_path):
    model = sic.learn_labels(folders)
    assert model.session_names == ("session_0", "session_1")
    assert model.metric_params["isi_violation"]["isi_threshold_ms"] == 1.5
    assert "firing_rate" in model.columns
    assert not {"depth_um", "template_id", "num_spikes"} & set(model.columns)
    analyzer = sic.read_kilosort_as_analyzer(folders[0])
    found = model.label(analyzer)
    assert not analyzer.has_extension("curation_metrics")
    analyzer.compute("curation_metrics")
    pd.testing.assert_frame_equal(found.table, model.label(analyzer).table, check_exact=True)
    again = sic.LabelModel.load(model.save(tmp_path / "model.json"))
    pd.testing.assert_frame_equal(found.table, again.label(analyzer).table, check_exact=True)

    session = sic.CurationSession(analyzer)
    before = dict(session.table["group"])
    count = found.apply_to(session)
    assert count == found.table.loc[found.table["decided"], "label"].nunique()
    for _ in range(count):
        session.undo()
    assert dict(session.table["group"]) == before

    assert model.domain["sampling_rate_hz"] == (30_000.0, 30_000.0)
    assert again.domain == model.domain
    assert "session_outside" not in set(found.table["doubt"])
    elsewhere = replace(model, domain=model.domain | {"pitch_um": (200.0, 250.0)})
    table = elsewhere.label(analyzer).table
    assert set(table["doubt"]) == {"session_outside"}
    assert set(table["label"]) == {"unsorted"}
    assert "distance of neighbouring contacts" in table["reason"].iloc[0]

    other = {"isi_violation": {"isi_threshold_ms": 2.0}}
    analyzer.compute("curation_metrics", metric_params=other)
    with pytest.raises(sic.ParameterError, match="isi_threshold_ms is 2"):
        model.label(analyzer)
    with pytest.raises(sic.ParameterError, match="isi_threshold_ms is"):
        sic.learn_labels({"b": sic.read_kilosort_as_analyzer(folders[1]), "a": analyzer})
    with pytest.raises(sic.ParameterError, match="has the same units as"):
        sic.learn_labels([folders[0], folders[1], folders[0]])
    with pytest.raises(sic.MissingDataError, match="there is no column mood, expected one of"):
        sic.learn_labels(folders, column="mood")
