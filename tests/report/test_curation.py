"""What the page that curates is given: the session, the suggestions, and the parts of splits."""

from __future__ import annotations

import numpy as np
import pytest

import si_curation as sic
from helpers.hostile_analyzer import EXTENSIONS, hostile_analyzer
from helpers.report_page import ReportPage, decode
from si_curation.cli import main
from si_curation.curation.content import session_content
from si_curation.report.page import CURATION_SCRIPTS, SCRIPTS, read_asset


@pytest.fixture(scope="module")
def example():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(EXTENSIONS)
    return analyzer


@pytest.fixture(scope="module")
def page(example, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    return ReportPage(sic.export_report(example, path, curation=True, progress_bar=False))


def test_the_session_and_its_suggestions(example, page):
    session = decode(page.blocks["curation-data"])
    assert session["content"] == session_content(example)
    assert session["unit_ids"] == example.unit_ids.tolist()
    assert session["labels"] == example.get_sorting_property("quality").tolist()
    counts = example.sorting.count_num_spikes_per_unit()
    assert session["num_spikes"] == list(counts.values())
    assert session["next_id"] == 14
    assert session["rows"] == list(range(8))
    pairs, units = sic.suggest_merges(example).pairs(), sic.suggest_splits(example).units()
    named = [(one["kind"], *one["units"]) for one in session["suggestions"]]
    assert named == [("merge", *pair) for pair in pairs] + [("split", unit) for unit in units]
    assert session["suggestions"][0]["key"] == "merge:[12, 11]"
    assert session["suggestions"][-1]["key"] == "split:[10]"


@pytest.mark.slow
def test_the_parts_of_splits(example, page):
    splits = sic.suggest_splits(example)
    vector = example.sorting.to_spike_vector()
    for number, unit_id in enumerate(splits.units()):
        found = decode(page.blocks[f"split-data-{number}"])
        labels = splits.labels(unit_id)
        np.testing.assert_array_equal(found["labels"], labels)
        assert found["counts"] == np.bincount(labels).tolist()
        assert [one["num_spikes"] for one in found["parts"]] == found["counts"]
        table = splits.table.set_index("unit_id")
        assert {n: v for n, v, _ in found["evidence"]}["reason"] == table["reason"][unit_id]
        session = sic.CurationSession(example)
        parts = session.split(unit_id, labels)
        new = session.apply()
        correlograms = new.get_extension("cross_correlograms")
        for a, row in zip(parts, found["correlograms"], strict=True):
            for b, counts in zip(parts, row, strict=True):
                np.testing.assert_array_equal(counts, correlograms.get_ccg(a, b)[0])
        spikes = np.flatnonzero(vector["unit_index"] == example.sorting.id_to_index(unit_id))
        sets = [spikes[labels == part] for part in range(len(parts))]
        mean = sic.get_waveform_sets(example, sets)
        size = found["template"]["waveforms"]
        ids = example.channel_ids[found["template"]["channels"]].tolist()
        channels = [mean.channel_ids.tolist().index(channel_id) for channel_id in ids]
        np.testing.assert_allclose(
            size, mean.waveforms[:, :, channels].transpose(0, 2, 1), atol=np.abs(size).max() / 2000
        )
        if found["points"] is None:
            assert unit_id == 13, "its templates have no channel in common"
            continue
        part_of_point = found["points"]["parts"]
        means = [found["points"]["x"][part_of_point == part].mean() for part in range(2)]
        assert abs(means[0] - means[1]) > 2


@pytest.mark.slow
def test_a_page_to_look_at_is_as_before(example, page, tmp_path):
    plain = ReportPage(sic.export_report(example, tmp_path / "p.html", progress_bar=False))
    assert plain.scripts == len(SCRIPTS)
    assert page.scripts == len(SCRIPTS) + len(CURATION_SCRIPTS)
    assert "curation-data" not in plain.blocks
    assert "Curate" not in plain.text
    for name in CURATION_SCRIPTS:
        text = read_asset(name)
        assert text in page.source
        assert text not in plain.source
        assert "</script" not in text.lower()
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "default-src" in str(a))
    assert "unsafe" not in policy
    assert "connect-src" not in policy, "default-src 'none' stands"


@pytest.mark.slow
def test_some_units_and_sorters_without_features(tmp_path):
    analyzer = hostile_analyzer(["a", "b", "unit7", "d"])
    found = ReportPage(
        sic.export_report(
            analyzer, tmp_path / "p.html", unit_ids=["d", "b"], curation=True, progress_bar=False
        )
    )
    session = decode(found.blocks["curation-data"])
    assert session["unit_ids"] == ["a", "b", "unit7", "d"], "the file names all of the session"
    assert session["rows"] == [None, 0, None, 1]
    assert session["next_id"] == "unit8"
    assert session["suggestions"] == []


def test_names_that_a_file_cannot_hold_are_refused(tmp_path):
    with pytest.raises(sic.ParameterError, match="a page that curates"):
        sic.export_report(hostile_analyzer(["a\ud800", "b"]), tmp_path / "p.html", curation=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_command(tmp_path):
    output = tmp_path / "page.html"
    with pytest.raises(SystemExit) as done:
        main(["report", str(sic.example_folder()), str(output), "--curate"])
    assert not done.value.code
    assert "curation-data" in ReportPage(output).blocks
