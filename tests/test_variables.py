"""Columns and reasons are declared once, and the tables are what is declared."""

import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation import variables
from si_curation.quality.unit_table import make_unit_table
from si_curation.variables import REASONS, TABLES, Explanation, explanations_text

DTYPES = {
    "float64": "float64",
    "float32": "float32",
    "int64": "int64",
    "bool": "bool",
    "Int64": "Int64",
    "boolean": "boolean",
}


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_best_channels", "curation_metrics"])
    return analyzer


def effect(analyzer):
    metrics = analyzer.get_extension("curation_metrics").get_data()
    values = pd.Series(np.arange(len(metrics), dtype=float), index=metrics.index)
    return sic.effect_vs_quality(
        values, metrics, ["firing_rate"], min_units=3, num_bootstraps=20, num_permutations=19
    )


def proposals(suggestions):
    with tempfile.TemporaryDirectory() as home:
        folder = shutil.copytree(sic.example_folder(), Path(home) / "phy")
        return sic.write_phy_proposals(folder, suggestions).table


def compared(analyzer):
    session = sic.CurationSession(analyzer)
    session.merge([11, 12])
    return sic.compare_curations(session, analyzer, num_bootstraps=10)


def history(analyzer):
    session = sic.CurationSession(analyzer)
    session.label([4], "good")
    return session.history


def test_names_are_declared_once_and_described():
    for table in TABLES.values():
        for name, one in table.items():
            assert one.name == name
            assert one.meaning
            assert not one.meaning.endswith(".")
            assert str(one).count("(") == str(one).count(")")
    with pytest.raises(ValueError, match="declared twice"):
        variables.Table("t", "", [TABLES["units"]["group"]] * 2)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_what_is_declared(analyzer, name):
    made = {
        "curation_metrics": lambda: analyzer.get_extension(name).get_data(),
        "contamination": lambda: sic.contamination_panel(analyzer),
        "suggest_merges": lambda: sic.suggest_merges(analyzer, min_similarity=0.0).table,
        "plan_curation": lambda: sic.plan_curation(analyzer).table,
        "suggest_splits": lambda: sic.suggest_splits(analyzer).table,
        "benchmark_suggestions": lambda: sic.benchmark_suggestions(analyzer).table,
        "benchmark_suggestions by change": lambda: sic.benchmark_suggestions(analyzer).by_change,
        "outcomes of suggestions": lambda: sic.benchmark_suggestions(analyzer).outcomes,
        "reviews of phy": lambda: proposals(sic.suggest_merges(analyzer)),
        "suggest_cleaning": lambda: sic.suggest_cleaning(analyzer).table,
        "compare_curations": lambda: compared(analyzer).units,
        "disputed units": lambda: compared(analyzer).disputed,
        "agreement of curations": lambda: compared(analyzer).agreement,
        "replay_curation": lambda: sic.replay_curation(sic.example_folder(), analyzer).steps,
        "units of a replay": lambda: sic.replay_curation(sic.example_folder(), analyzer).units,
        "find_bad_merges": lambda: sic.find_bad_merges(analyzer, all_pairs=True),
        "find_duplicate_units": lambda: sic.find_duplicate_units(analyzer, min_share=1e-3).table,
        "find_monosynaptic_connections": lambda: sic.find_monosynaptic_connections(
            analyzer, return_all=True
        ),
        "template_assignment": lambda: analyzer.get_extension(name).get_data(),
        "template_best_channels": lambda: analyzer.get_extension(name).get_data(
            outputs="dataframe"
        ),
        "unit_similarity": lambda: analyzer.compute(name).get_similar_units(4),
        "units": lambda: make_unit_table(analyzer),
        "effect_vs_quality summary": lambda: effect(analyzer).summary,
        "effect_vs_quality thresholds": lambda: effect(analyzer).table,
        "history": lambda: history(analyzer),
        "reconstruct_journal": lambda: sic.reconstruct_journal(sic.example_folder()).table,
        "label sources": lambda: sic.label_sources(analyzer),
        "lineage": lambda: sic.reconstruct_lineage(analyzer),
        "classify_units": lambda: sic.classify_units(analyzer).table,
        "label_units": lambda: sic.label_units(analyzer, [("num_spikes", "<", 5, "noise")]).table,
    }.get(name)
    if made is None:
        pytest.skip("checked where it is made")
    table = made()
    assert list(table.columns) == list(TABLES[name])
    for column, one in TABLES[name].items():
        if one.dtype in DTYPES:
            assert str(table[column].dtype) == DTYPES[one.dtype], column
        if one.codes:
            assert set(table[column]) <= set(one.codes), column


def test_reasons_are_codes_whose_text_is_made():
    for code, reason in REASONS.items():
        assert code == reason.code
        assert re.fullmatch(r"[a-z][a-z0-9_]*", code)
        made = Explanation(code, **dict.fromkeys(reason.fields, 1))
        assert str(made)
        assert made == Explanation(code, **dict.fromkeys(reason.fields, np.int64(1)))
        assert hash(made) == hash(Explanation(code, **dict.fromkeys(reason.fields, 1.0)))
    assert Explanation("no_spikes") != Explanation("one_spike")
    assert explanations_text([]) == ""


def test_explanations_need_a_known_code_and_its_fields():
    with pytest.raises(KeyError):
        Explanation("no_such_reason")
    with pytest.raises(TypeError, match="has fields"):
        Explanation("no_spikes", count=3)
    with pytest.raises(TypeError, match="has fields"):
        Explanation("shorter_than_bin")
