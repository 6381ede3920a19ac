"""Rules that come closest to labels: found where they are, and what `label_units` makes of them."""

import numpy as np
import pandas as pd
import pytest

import si_curation as sic


def curated(num_units=300, wrong=0.0):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "snr": rng.uniform(1, 9, num_units),
            "violations": rng.uniform(0, 1, num_units),
            "other": rng.normal(size=num_units),
            "rarely": np.where(np.arange(num_units) % 2, np.nan, rng.normal(size=num_units)),
            "session": np.arange(num_units) % 4,
        }
    )
    good = (table["snr"] > 4) & (table["violations"] <= 0.3)
    good ^= rng.uniform(size=num_units) < wrong
    table["group"] = np.where(table["snr"] < 2, "noise", np.where(good, "good", "mua"))
    return table


def test_rules_that_made_the_labels_are_found(tmp_path):
    table = curated()
    found = sic.suggest_thresholds(table)
    assert {rule.metric for rule in found.rules.rules} == {"snr", "violations"}
    assert len(found.rules.rules) <= 4
    labels = sic.label_units(None, found.rules, table).labels
    recall = [(labels == one)[table["group"] == one].mean() for one in ("good", "mua", "noise")]
    assert np.mean(recall) > 0.95
    last = found.table.iloc[-1]
    np.testing.assert_allclose(last["balanced_accuracy"], np.mean(recall))
    assert last["balanced_accuracy_unseen"] > 0.9
    np.testing.assert_allclose(
        last["price"], found.model_balanced_accuracy - last["balanced_accuracy_unseen"]
    )
    path = found.save(tmp_path / "rules.json")
    again = sic.label_units(None, path, table)
    assert again.labels.tolist() == labels.tolist()
    assert again.rules.source == found.rules.source
    with pytest.raises(sic.OutputExistsError):
        found.save(path)


@pytest.mark.slow
def test_every_number_of_rules_is_better_than_one_fewer():
    found = sic.suggest_thresholds(curated(wrong=0.1), max_rules=8)
    assert found.table["balanced_accuracy"].is_monotonic_increasing
    assert found.table["num_rules"].tolist() == list(range(len(found.table)))
    one = sic.suggest_thresholds(curated(wrong=0.1), max_rules=1)
    assert len(one.rules.rules) == 1


def test_the_first_rule_is_the_best_of_all():
    table = curated(wrong=0.2)
    table["group"] = np.where(table["group"] == "good", "good", "mua")
    found = sic.suggest_thresholds(table, max_rules=1, columns=["snr", "violations", "other"])
    best = 0.0
    for column in ("snr", "violations", "other"):
        for threshold in table[column]:
            above = table[column] > threshold
            for said in (above, ~above):
                truth = table["group"] == "good"
                recall = [said[truth].mean(), (~said)[~truth].mean()]
                best = max(best, np.mean(recall))
    assert found.table["balanced_accuracy"].iloc[-1] >= best - 0.02


def test_missing_values_are_undecided():
    table = curated()
    table.loc[::20, "violations"] = np.nan
    found = sic.suggest_thresholds(table)
    labels = sic.label_units(None, found.rules, table).labels
    recall = [(labels == one)[table["group"] == one].mean() for one in ("good", "mua", "noise")]
    # `label_units` decides where all rules that are left give the same label
    assert 0 <= np.mean(recall) - found.table["balanced_accuracy"].iloc[-1] < 0.02
    assert "rarely" not in {rule.metric for rule in found.rules.rules}


def test_arguments():
    with pytest.raises(sic.ParameterError, match="max_rules is 0"):
        sic.suggest_thresholds(curated(), max_rules=0)
    with pytest.raises(sic.ParameterError, match="expected two or more different"):
        sic.suggest_thresholds(curated().assign(group="good"))
