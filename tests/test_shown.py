"""What is shown at the end of a cell: one line, and HTML that is escaped."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.shown import as_html

LONGEST = 250


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shutil.copytree(sic.example_folder(), tmp_path_factory.mktemp("shown") / "folder")


@pytest.fixture(scope="module")
def results(folder):
    analyzer = sic.read_kilosort_as_analyzer(folder)
    session = sic.CurationSession(analyzer)
    session.merge([4, 7])
    rules = [("num_spikes", ">", 600, "good")]
    metrics = analyzer.compute("curation_metrics", metric_names=["num_spikes", "presence_ratio"])
    effect = pd.Series(np.arange(8.0), index=analyzer.unit_ids)
    return {
        "session": session,
        "labels": sic.label_units(analyzer, rules, otherwise="mua"),
        "rules": sic.read_label_rules(rules),
        "merges": sic.suggest_merges(analyzer),
        "splits": sic.suggest_splits(analyzer),
        "duplicates": sic.find_duplicate_units(analyzer),
        "plan": sic.plan_curation(analyzer),
        "comparison": sic.compare_curations(session, analyzer, num_bootstraps=10),
        "replay": sic.replay_curation(session, sic.read_kilosort_as_analyzer(folder)),
        "journal": sic.reconstruct_journal(folder),
        "proposals": sic.write_phy_proposals(folder, sic.suggest_merges(analyzer)),
        "reviews": sic.read_phy_reviews(folder),
        "check": sic.check_batch([folder], {}, progress_bar=False),
        "effect": sic.effect_vs_quality(effect, metrics.get_data(), min_units=5),
        "borders": sic.session_borders(analyzer, [40.0], unit="s"),
        "periods": sic.observed_periods(analyzer),
        "metrics": metrics,
        "amplitudes": sic.get_spike_amplitudes(analyzer, 4),
        "waveforms": sic.get_spike_waveforms(analyzer, unit_id=4, max_spikes=5),
    }


WITH_TABLES = (
    "session", "labels", "rules", "merges", "comparison", "replay", "journal", "proposals",
    "check", "effect",
)  # fmt: skip


@pytest.mark.slow
def test_results_are_shown_in_a_line(results):
    for name, result in results.items():
        text = repr(result)
        assert len(text) <= LONGEST, name
        assert "\n" not in text, name
        assert type(result).__name__ in text, name
        assert not re.search(r"0x[0-9a-f]{6}|dtype|array\(", text), name
    assert (
        repr(results["session"])
        == "CurationSession: 7 units (4 unsorted, 1 good, 1 mua, 1 noise), 1 step"
    )
    assert repr(results["labels"]).startswith("UnitLabels: 8 units by 'rules': ")


@pytest.mark.slow
def test_notebooks_show_tables(results):
    for name in WITH_TABLES:
        shown = results[name]._repr_html_()
        assert shown.startswith("<p>"), name
        assert "<table" in shown, name
        assert shown.count("<tr") <= 12, name


def test_content_is_escaped():
    evil = "<script>alert(1)</script>"
    table = pd.DataFrame({evil: [evil] * 30}, index=pd.Index([evil] * 30, name=evil))
    shown = as_html(evil, table)
    assert "<script" not in shown
    assert shown.endswith("<p>The first 10 of 30 rows; all are in .table.</p>")
    assert as_html("a\nb") == "<p>a</p><p>b</p>"


def test_findings_are_lines():
    finding = sic.Finding("warning", "has <b>", "cluster_group.tsv", "look at it")
    assert repr(finding) == "Finding(warning: cluster_group.tsv: has <b> (look at it))"
