"""`calibrate_suggestions`: outcomes of several folders become one calibration."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.variables import BENCHMARK_OUTCOMES


def outcomes(seed=0, num=40, kind="merges"):
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.1, 1.0, num)
    right = rng.uniform(size=num) < score
    rows = {
        "suggestion": kind,
        "change": "",
        "score": score,
        "is_suggested": score > 0.55,
        "is_right": right,
    }
    return pd.DataFrame(rows)[list(BENCHMARK_OUTCOMES)]


@pytest.fixture(scope="module")
def benchmark():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    return sic.benchmark_suggestions(analyzer)


def test_it_is_the_fit_of_all_outcomes_of_that_kind():
    tables = {name: outcomes(n) for n, name in enumerate("abcd")}
    tables["a"] = pd.concat([tables["a"], outcomes(9, kind="splits")])
    found = sic.calibrate_suggestions(tables)
    its = pd.concat([t[t["suggestion"] == "merges"].assign(n=n) for n, t in tables.items()])
    assert found == sic.Calibration.fit(its["score"], its["is_right"], its["n"].tolist())
    with pytest.raises(
        sic.MissingDataError, match=r"40 suggestions of 1 folders.*calibrate 'splits'"
    ):
        sic.calibrate_suggestions(tables, "splits")


def test_files_and_benchmarks_are_the_same(benchmark, tmp_path):
    path = benchmark.write_json(tmp_path / "a.json")
    tables = {name: outcomes(n) for n, name in enumerate("bcd")}
    from_file = sic.calibrate_suggestions({"a": path, **tables})
    assert from_file == sic.calibrate_suggestions({"a": benchmark, **tables})
    assert from_file == sic.calibrate_suggestions({"a": str(path), **tables})
    of_merges = benchmark.outcomes["suggestion"] == "merges"
    assert from_file.num_suggestions == of_merges.sum() + 120


def test_reviews_shift_it():
    tables = {name: outcomes(n) for n, name in enumerate("abcd")}
    reviews = {"e": outcomes(5).assign(is_right=True)}
    before = sic.calibrate_suggestions(tables)
    after = sic.calibrate_suggestions(tables, reviews=reviews)
    assert after.predict(0.5).probability[0] > before.predict(0.5).probability[0]
    assert sic.calibrate_suggestions(tables, reviews={}) == before
    assert sic.calibrate_suggestions(tables, reviews={"e": outcomes(1, kind="splits")}) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "has no outcomes"),
        ('{"outcomes": 3}', "has no outcomes"),
        ('{"outcomes": [{"score": 2, "is_right": true}]}', r"outcomes\[0\] is"),
        ('{"outcomes": [{"score": 0.5, "is_right": "yes"}]}', r"outcomes\[0\] is"),
        ("{", "cannot be read"),
    ],
)
def test_damaged_files_are_one_error(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(sic.ParameterError, match=message):
        sic.calibrate_suggestions({"a": path})


def test_other_things_are_one_error(tmp_path):
    with pytest.raises(sic.ParameterError, match="'a' is 3, expected a SuggestionBenchmark"):
        sic.calibrate_suggestions({"a": 3})
    with pytest.raises(sic.ParameterError, match="expected a SuggestionBenchmark"):
        sic.calibrate_suggestions({"a": pd.DataFrame({"score": [0.5]})})
    for wrong in ({"score": "high"}, {"is_right": "yes"}, {"is_right": np.nan}):
        with pytest.raises(sic.ParameterError, match="'a' has other values than"):
            sic.calibrate_suggestions({"a": outcomes().assign(**wrong)})
    with pytest.raises(sic.FolderNotFoundError):
        sic.calibrate_suggestions({"a": tmp_path / "none.json"})
    with pytest.raises(sic.MissingDataError, match="0 suggestions of 0 folders"):
        sic.calibrate_suggestions({})


def test_a_benchmark_without_outcomes_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"outcomes": []}))
    tables = {name: outcomes(n) for n, name in enumerate("bcd")}
    assert sic.calibrate_suggestions({"a": path, **tables}).num_groups == 3
