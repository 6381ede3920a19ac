"""Rules that label units: what decides, what cannot decide, and what reaches the history."""

import json
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic
from si_curation.curation.label_rules import (
    COMPARISONS,
    LABEL_PRESETS,
    LabelRule,
    RuleSet,
    read_label_rules,
)
from si_curation.curation.labelling import label_units

RULES = [
    {"metric": "snr", "comparison": "<", "threshold": 3, "label": "noise"},
    {"metric": "isi_violations_ratio", "comparison": ">", "threshold": 0.5, "label": "mua"},
]


@pytest.fixture
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.fixture
def metrics():
    return pd.DataFrame(
        {
            "snr": [8.0, 2.0, 9.0, np.nan, np.nan, 5.0, 7.0, 3.0],
            "isi_violations_ratio": [0.1, 0.1, 0.9, 0.1, 0.9, np.nan, 0.5, 0.6],
        },
        index=[4, 7, 8, 9, 10, 11, 12, 13],
    )


def naive_label(rules, otherwise, row):
    """Try everything that the unknown values could be: whether each rule holds or not."""
    outcomes = {otherwise}
    open_labels = set()
    for rule in rules:
        value = row[rule.metric]
        value = abs(value) if rule.absolute else value
        if np.isnan(value):
            if rule.nan == "holds":
                outcomes = {rule.label}
                break
            open_labels.add(rule.label)
            continue
        text = f"{value!r} {rule.comparison} {float(rule.threshold)!r}"
        if eval(text):
            outcomes = {rule.label}
            break
    outcomes |= open_labels
    return outcomes.pop() if len(outcomes) == 1 else "unsorted"


values = st.one_of(st.just(float("nan")), st.integers(-3, 3).map(float))
one_rule = st.builds(
    LabelRule,
    st.sampled_from(["a", "b"]),
    st.sampled_from(COMPARISONS),
    st.integers(-2, 2),
    st.sampled_from(["good", "mua", "noise"]),
    st.booleans(),
    st.sampled_from(["undecided", "holds"]),
)


@given(
    st.lists(one_rule, min_size=1, max_size=4),
    st.sampled_from(["good", "mua"]),
    st.lists(st.tuples(values, values), min_size=1, max_size=6),
)
def test_labels_are_those_of_brute_force(rules, otherwise, rows):
    table = pd.DataFrame([*rows, (0.0, 0.0)], columns=["a", "b"])
    found = label_units(None, rules, table, otherwise=otherwise).table
    for i, row in table.iterrows():
        assert found.loc[i, "label"] == naive_label(rules, otherwise, row), str(rules)
        assert found.loc[i, "decided"] == (found.loc[i, "label"] != "unsorted")


def test_each_label_names_the_rule_that_decided(metrics):
    found = label_units(None, RULES, metrics, otherwise="good").table
    assert found["label"].tolist() == [
        "good", "noise", "mua", "unsorted", "unsorted", "unsorted", "good", "mua",
    ]  # fmt: skip
    assert found["rule"].tolist() == [0, 1, 2, -1, -1, -1, 0, 2]
    assert found.loc[7, "reason"] == "snr < 3 (it is 2)"
    assert found.loc[13, "reason"] == "isi_violations_ratio > 0.5 (it is 0.6)"
    assert found.loc[10, "reason"] == "snr is not known, which snr < 3 needs"
    assert found.loc[11, "reason"].startswith("isi_violations_ratio is not known")


def test_an_unknown_metric_never_passes_but_needs_no_answer_where_it_cannot_matter(metrics):
    same = [{**RULES[0], "label": "mua"}, RULES[1]]
    found = label_units(None, same, metrics, otherwise="good").table
    assert found.loc[10, "label"] == "mua"  # whatever snr is
    assert found.loc[9, "label"] == "unsorted"


def test_without_otherwise_nothing_is_said(metrics):
    found = label_units(None, RULES, metrics).table
    assert found.loc[4].tolist() == ["unsorted", False, 0, "no rule holds"]


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml", "toml"])
def test_files(tmp_path, metrics, suffix):
    path = tmp_path / f"rules.{suffix}"
    if suffix == "toml":
        pytest.importorskip("tomllib")
        lines = ['otherwise = "good"', 'source = "us"']
        for rule in RULES:
            lines += ["[[rules]]", *(f"{key} = {json.dumps(v)}" for key, v in rule.items())]
        path.write_text("\n".join(lines))
    else:
        path.write_text(json.dumps({"otherwise": "good", "source": "us", "rules": RULES}))
    rules = read_label_rules(path)
    assert rules.name == path.name
    assert rules.source == "us"
    expected = label_units(None, RULES, metrics, otherwise="good").table
    pd.testing.assert_frame_equal(label_units(None, str(path), metrics).table, expected)


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    def missing(name, package=None):
        if name.startswith("toml"):
            raise ImportError(name=name)
        return import_module(name, package)

    path = tmp_path / "rules.toml"
    path.write_text("")
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(sic.MissingDataError, match=r"tomli is needed.*JSON"):
        read_label_rules(path)


def test_tables_and_lists(tmp_path):
    expected = read_label_rules(RULES)
    assert read_label_rules([tuple(rule.values()) for rule in RULES]) == expected
    assert read_label_rules(pd.DataFrame(RULES)) == expected
    assert read_label_rules(expected) == expected
    assert read_label_rules(expected.table) == expected
    table = pd.DataFrame([{**RULES[0], "unit": "uV"}, RULES[1]])
    assert [rule.unit for rule in read_label_rules(table).rules] == ["uV", ""]
    path = tmp_path / "list.json"
    path.write_text(json.dumps(RULES))
    assert read_label_rules(path).rules == expected.rules


def test_all_problems_at_once():
    rules = [
        {"metric": "snr", "comparison": "=<", "threshold": float("nan"), "label": False},
        {"metric": "", "comparison": "<", "threshold": "good", "label": "mua"},
        {"metric": "snr", "threshold": 1},
        {"metric": "snr", "comparison": "<", "threshold": 1, "label": "mua", "nan": "pass"},
        {"metric": "snr", "comparison": "<", "threshold": 1, "label": "mua", "treshold": 1},
        "snr < 5",
    ]
    with pytest.raises(sic.ParameterError) as error:
        read_label_rules({"rules": rules, "otherwise": 3, "more": 1})
    for words in (
        "rule 1: label is False, expected a text",
        "rule 1: comparison is '=<', expected '>', '>='",
        "rule 1: threshold is nan, expected a number",
        "rule 2: metric is '', expected a text",
        "rule 2: threshold is 'good': a text can only be compared",
        "rule 3: comparison is missing",
        "rule 3: label is missing",
        "rule 4: nan is 'pass', expected 'undecided' or 'holds'",
        "rule 5: 'treshold' is not known",
        "rule 6: it is 'snr < 5', expected a mapping with metric",
        "otherwise is 3, expected a text",
        "'more' is not known, expected rules, otherwise, name, source",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("allen", "neither a preset"),
        ([], "no rules"),
        (3, "expected a preset"),
        ({"rules": "snr"}, "expected a list"),
    ],
)
def test_what_is_no_rule(rules, words):
    with pytest.raises(sic.ParameterError, match=words):
        read_label_rules(rules)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(sic.FolderNotFoundError, match="does not exist"):
        read_label_rules(tmp_path / "rules.json")
    (tmp_path / "rules.json").write_text("{")
    with pytest.raises(sic.ParameterError, match="cannot be read"):
        read_label_rules(tmp_path / "rules.json")
    (tmp_path / "rules.json").write_text("3")
    with pytest.raises(sic.ParameterError, match="expected rules"):
        read_label_rules(tmp_path / "rules.json")


def test_metrics_that_are_not_there(analyzer, metrics):
    with pytest.raises(sic.ParameterError, match="'drift'"):
        label_units(None, [("drift", "<", 1, "mua"), ("snr", "<", 1, "mua")], metrics)
    with pytest.raises(sic.MissingDataError, match="curation_metrics"):
        label_units(analyzer, RULES)
    with pytest.raises(sic.MissingDataError, match="neither an analyzer"):
        label_units(None, RULES)
    with pytest.raises(sic.ParameterError, match=r"no units \[99\]"):
        label_units(analyzer, RULES, metrics.rename(index={4: 99}))
    with pytest.raises(sic.ParameterError, match="rule 1: snr holds numbers"):
        label_units(None, [("snr", "==", "good", "good")], metrics)


def test_units_without_metrics_are_undecided(analyzer, metrics):
    found = label_units(analyzer, RULES, metrics.loc[[7, 4]], otherwise="good").table
    assert found.index.tolist() == analyzer.unit_ids.tolist()
    assert found["label"].tolist() == ["good", "noise"] + ["unsorted"] * 6


ALLEN = ["isi_violations_ratio", "amplitude_cutoff", "presence_ratio"]
IBL = ["sliding_rp_ibl", "noise_cutoff", "amplitude_median"]


@pytest.mark.parametrize(
    ("name", "columns", "kept", "rejected"),
    [
        ("allen_default", ALLEN, [0.5, 0.1, 0.95], [0.51, 0.11, 0.94]),
        ("allen_documented", ALLEN, [0.49, 0.09, 0.91], [0.5, 0.1, 0.9]),
        ("ibl_rigor", IBL, [0.1, 4.9, -51.0], [0.105, 5.0, -50.0]),
        ("kilosort_contamination", ["ContamPct"], [9.9], [10.0]),
    ],
)
def test_presets_have_the_numbers_of_their_source(name, columns, kept, rejected):
    rows = np.repeat([kept], 1 + len(kept), axis=0)
    rows[1:][np.eye(len(kept), dtype=bool)] = rejected  # one at a time
    labels = label_units(None, name, pd.DataFrame(rows, columns=columns)).labels
    assert labels.tolist() == ["good"] + ["mua"] * len(kept)
    unknown = pd.DataFrame([dict.fromkeys(columns, np.nan)])
    assert label_units(None, name, unknown).labels[0] != "good"
    assert LABEL_PRESETS[name].source
    assert LABEL_PRESETS[name].name == name


def test_ibl_no_contamination_ruled_out_is_a_result():
    row = {"sliding_rp_ibl": np.nan, "noise_cutoff": 1.0, "amplitude_median": -80.0}
    table = label_units(None, "ibl_rigor", pd.DataFrame([row])).table
    assert table.loc[0, "label"] == "mua"
    assert "not known, which this rule counts" in table.loc[0, "reason"]


def test_microvolts_only_where_amplitudes_are(analyzer):
    row = {"sliding_rp_ibl": 0.05, "noise_cutoff": 1.0, "amplitude_median": -80.0}
    metrics = pd.DataFrame([row] * 8, index=analyzer.unit_ids)
    assert not analyzer.return_in_uV
    table = label_units(analyzer, "ibl_rigor", metrics).table
    assert set(table["label"]) == {"unsorted"}
    assert table["reason"].iloc[0] == (
        "amplitudes are not in µV, which |amplitude_median| <= 50 µV needs"
    )
    told = label_units(analyzer, "ibl_rigor", metrics, amplitudes_in_uV=True)
    assert set(told.labels) == {"good"}


def test_kilosort_good_is_what_kilosort_wrote(analyzer):
    labels = label_units(analyzer, "kilosort_good")
    kilosort = analyzer.sorting.get_property("KSLabel")
    assert labels.labels.tolist() == kilosort.tolist()
    assert label_units(analyzer, "kilosort_contamination").labels.tolist() == ["good"] * 8
    merged = pd.DataFrame({"KSLabel": ["good", "", None, "mua"]})
    assert label_units(None, "kilosort_good", merged).labels.tolist() == [
        "good", "unsorted", "unsorted", "mua",
    ]  # fmt: skip


def test_quality_metrics_of_spikeinterface(analyzer):
    analyzer.compute("quality_metrics", metric_names=["num_spikes", "isi_violation"])
    found = label_units(analyzer, [("num_spikes", "<", 400, "mua")], otherwise="good")
    spikes = analyzer.sorting.count_num_spikes_per_unit()
    assert found.labels.to_dict() == {
        unit_id: "mua" if count < 400 else "good" for unit_id, count in spikes.items()
    }


def test_pandas_numbers_with_na():
    metrics = pd.DataFrame({"snr": pd.array([9, None, 1], dtype="Int64")})
    labels = label_units(None, [RULES[0]], metrics, otherwise="good").labels
    assert labels.tolist() == ["good", "unsorted", "noise"]


def test_steps_of_a_session(analyzer, metrics, tmp_path):
    session = sic.CurationSession(analyzer, journal=tmp_path / "journal", decided_by="me")
    session.label([9], "good", reason="by eye")
    before = session.table
    labels = label_units(analyzer, {"rules": RULES, "name": "ours", "otherwise": "good"}, metrics)
    assert labels.apply_to(session) == 3
    group = session.table["group"]
    decided = labels.table[labels.table["decided"]]
    assert group[decided.index].tolist() == decided["label"].tolist()
    assert group[9] == "good"  # undecided: left as it was
    steps = session.history.tail(3)
    assert steps["reason"].tolist() == [
        "ours: snr < 3",
        "ours: isi_violations_ratio > 0.5",
        "ours: none of snr < 3, isi_violations_ratio > 0.5",
    ]
    assert set(steps["decided_by"]) == {"label_units: ours"}
    session.close()
    again = sic.CurationSession.resume(analyzer, tmp_path / "journal")
    pd.testing.assert_frame_equal(again.table, session.table)
    for _ in range(3):
        assert again.undo() == "label"
    pd.testing.assert_frame_equal(again.table, before)


def test_nothing_changes_where_labels_do_not_fit(analyzer, metrics):
    session = sic.CurationSession(analyzer)
    labels = label_units(analyzer, [("snr", ">", 0, "fine"), ("snr", "<=", 0, "bad")], metrics)
    with pytest.raises(sic.ParameterError, match="'fine'"):
        labels.apply_to(session)
    assert labels.apply_to(session, field="snr_class", decided_by="us") == 1
    assert session.history["decided_by"].tolist() == ["us"]
    session.merge([4, 7])
    with pytest.raises(sic.UnknownIdError, match=r"\[4, 7\]"):
        label_units(analyzer, RULES, metrics, otherwise="good").apply_to(session)
    assert len(session.history) == 2


def test_rule_sets_are_readable():
    assert str(LABEL_PRESETS["ibl_rigor"]) == (
        "sliding_rp_ibl > 0.1 -> mua; noise_cutoff >= 5 -> mua; "
        "|amplitude_median| <= 50 µV -> mua; otherwise -> good"
    )
    rules = RuleSet((LabelRule("KSLabel", "!=", "good", "mua"),))
    assert str(rules) == "KSLabel != 'good' -> mua; otherwise -> unsorted"


# tutorial: labels of Bombcell and UnitRefine, on the same analyzer, in the same session


@pytest.mark.filterwarnings("ignore")
def test_tutorial_bombcell_and_unitrefine_labels(analyzer, monkeypatch):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from spikeinterface.curation import (
        bombcell_label_units,
        model_based_curation,
        unitrefine_label_units,
    )

    names = ["num_spikes", "firing_rate", "isi_violation", "presence_ratio", "amplitude_median"]
    analyzer.compute("quality_metrics", metric_names=names)
    session = sic.CurationSession(analyzer, decided_by="me")

    # Bombcell: SpikeInterface reads the metrics from the analyzer
    bombcell = bombcell_label_units(sorting_analyzer=analyzer).iloc[:, 0]
    for label, units in bombcell.groupby(bombcell):
        session.label(units.index, label, field="bombcell", decided_by="bombcell")

    # UnitRefine: its models are on a hub; this one stands in for the download
    metrics = analyzer.get_extension("quality_metrics").get_data()
    features = metrics[["num_spikes", "amplitude_median"]].astype(float)
    is_neural = (features["num_spikes"] > 300).to_numpy().astype(int)
    model = make_pipeline(LogisticRegression(max_iter=1000)).fit(features, is_neural)
    info = {
        "label_conversion": {"0": "noise", "1": "neural"},
        "metric_params": {},
        "requirements": {"spikeinterface": "0.105.3"},
    }
    monkeypatch.setattr(model_based_curation, "load_model", lambda **kwargs: (model, info))
    unitrefine = unitrefine_label_units(analyzer, noise_neural_classifier="some/model")
    for label, units in unitrefine.groupby("unitrefine_label"):
        session.label(units.index, label, field="unitrefine", decided_by="UnitRefine")

    # the three side by side, and the one that counts
    label_units(analyzer, [("isi_violations_ratio", ">", 0.5, "mua")], otherwise="good").apply_to(
        session
    )
    table = session.table
    assert table["bombcell"].to_dict() == bombcell.to_dict()
    assert table["unitrefine"].tolist() == np.where(is_neural, "neural", "noise").tolist()
    assert set(table["group"]) <= {"good", "mua"}
    curated = session.apply()
    assert curated.sorting.get_property("bombcell").tolist() == bombcell.tolist()
    assert set(session.history["decided_by"]) == {"bombcell", "UnitRefine", "label_units: rules"}
