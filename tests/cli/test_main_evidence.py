"""The commands about contamination, merges and connections."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.cli import main
from si_curation.variables import DUPLICATES


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return done.value.code, printed.out, printed.err


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def test_contamination(capsys, tmp_path, analyzer):
    code, out, _ = run(capsys, "contamination", sic.example_folder())
    assert code == 0
    assert len(out.splitlines()) == 1 + len(analyzer.unit_ids)
    assert "more violations than one other neuron can make" in out
    output = tmp_path / "table.tsv"
    code, out, _ = run(
        capsys,
        *("contamination", sic.example_folder(), "--output", output),
        *("--refractory-period-ms", 2.0),
    )
    assert code == 0
    written = pd.read_csv(output, sep="\t", index_col="unit_id", keep_default_na=True)
    expected = sic.contamination_panel(analyzer, refractory_period_ms=2.0)
    assert written.columns.tolist() == expected.columns.tolist()
    numbers = expected.select_dtypes("number").columns
    pd.testing.assert_frame_equal(written[numbers], expected[numbers], check_dtype=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.tsv"]


def test_merges(capsys, tmp_path, analyzer):
    output, curation = tmp_path / "pairs.json", tmp_path / "curation.json"
    code, out, _ = run(
        capsys,
        *("merges", sic.example_folder(), "--output", output),
        *("--curation-json", curation),
    )
    assert code == 0
    found = sic.suggest_merges(analyzer)
    assert "Suggested merges" in out
    assert len(json.loads(output.read_text())) == len(found.table)
    merges = json.loads(curation.read_text())["merges"]
    assert [entry["unit_ids"] for entry in merges] == found.groups()
    # the halves of what was split in phy
    assert [11, 12] in found.groups()
    session = sic.CurationSession(analyzer)
    session.apply_spikeinterface_curation(curation)
    assert 11 not in session.unit_ids


def test_duplicates(capsys, tmp_path):
    output, curation = tmp_path / "duplicates.csv", tmp_path / "duplicates.json"
    code, out, _ = run(
        capsys,
        *("duplicates", sic.example_folder(), "--output", output),
        *("--curation-json", curation),
    )
    assert code == 0
    assert "Units to remove: none" in out
    assert list(pd.read_csv(output).columns) == list(DUPLICATES)
    assert json.loads(curation.read_text())["removed"] == []
    code, _, err = run(capsys, "duplicates", sic.example_folder(), "--min-share", 2)
    assert code == 2
    assert "--min-share is 2.0" in err


def test_cleaning(capsys, tmp_path, analyzer):
    output, curation = tmp_path / "units.csv", tmp_path / "curation.json"
    code, out, _ = run(
        capsys,
        *("cleaning", sic.example_folder(), "--output", output, "--max-loss", 0.02),
        *("--curation-json", curation, "--discard"),
    )
    assert code == 0
    found = sic.suggest_cleaning(analyzer, max_loss=0.02)
    assert "Units to clean" in out
    assert len(pd.read_csv(output)) == len(found.table)
    discarded = json.loads(curation.read_text())["discard_spikes"]
    assert [entry["unit_id"] for entry in discarded] == found.units()


def test_no_merges_above_a_threshold_that_nothing_reaches(capsys):
    code, out, _ = run(capsys, "merges", sic.example_folder(), "--threshold", 1)
    assert code == 0
    assert out.strip().endswith(": none")


def test_benchmark(capsys, tmp_path, analyzer):
    output, everything = tmp_path / "table.csv", tmp_path / "benchmark.json"
    code, out, _ = run(capsys, "benchmark", sic.example_folder(), "--json", everything)
    assert code == 0
    found = sic.benchmark_suggestions(analyzer)
    assert out.startswith(found.to_text())
    assert "recall at most" in out
    written = json.loads(everything.read_text())
    assert written["unit_ids"] == found.unit_ids
    assert len(written["outcomes"]) == len(found.outcomes)
    code, out, _ = run(capsys, "benchmark", sic.example_folder(), "--output", output)
    assert code == 0
    assert pd.read_csv(output)["suggestion"].tolist() == found.index.tolist()
    before = everything.read_text()
    code, _, err = run(capsys, "benchmark", sic.example_folder(), "--json", everything)
    assert code == 2
    assert "give another --json" in err
    assert everything.read_text() == before
    code, _, err = run(capsys, "benchmark", sic.example_folder(), "--max-units", 0)
    assert code == 2
    assert "--max-units is 0" in err


def test_connections(capsys, analyzer):
    code, out, _ = run(capsys, "connections", sic.example_folder())
    assert code == 0
    table = sic.find_monosynaptic_connections(analyzer)
    assert len(out.splitlines()) == max(len(table) + 1, 1)


def test_classify(capsys, tmp_path, analyzer):
    code, out, _ = run(capsys, "classify", sic.example_folder())
    assert code == 0
    found = sic.classify_units(analyzer)
    assert "The threshold of snr was applied to snr_from_features" in out
    assert "The threshold of amplitude_median was not applied: amplitudes are not in µV" in out
    assert out.splitlines()[0].split()[:3] == ["unit_id", "bombcell_label", "width_class"]
    output = tmp_path / "classes.csv"
    code, _, _ = run(
        capsys,
        *("classify", sic.example_folder(), "--output", output, "--narrow-below-ms", 0.6),
    )
    assert code == 0
    table = pd.read_csv(output, index_col="unit_id", keep_default_na=False)
    expected = sic.classify_units(analyzer, narrow_below_ms=0.6).table
    assert table["width_class"].tolist() == expected["width_class"].tolist()
    assert table["bombcell_label"].tolist() == found.table["bombcell_label"].tolist()


@pytest.mark.parametrize(
    "command",
    ["contamination", "merges", "plan", "cleaning", "connections", "classify", "benchmark"],
)
def test_nothing_is_overwritten_and_errors_are_one_line(capsys, tmp_path, command):
    output = tmp_path / "table.csv"
    output.write_text("mine")
    code, _, err = run(capsys, command, sic.example_folder(), "--output", output)
    assert code == 2
    assert "exists" in err
    assert output.read_text() == "mine"
    code, _, err = run(capsys, command, sic.example_folder(), "--output", tmp_path / "table.xlsx")
    assert code == 2
    assert ".csv, .tsv or .json" in err
    code, _, err = run(capsys, command, tmp_path / "nowhere")
    assert code == 2
    assert len(err.splitlines()) == 1


def test_an_existing_curation_file_is_left_alone(capsys, tmp_path):
    curation = tmp_path / "curation.json"
    curation.write_text("mine")
    code, _, err = run(capsys, "merges", sic.example_folder(), "--curation-json", curation)
    assert code == 2
    assert "exists" in err
    assert curation.read_text() == "mine"


def test_compute_says_what_cannot_be_had(capsys, tmp_path, shared_data):
    folder = shared_data / "np1_without_params"
    code, out, err = run(
        capsys,
        *("compute", folder, "--output", tmp_path / "analyzer"),
        *("--sampling-frequency", 30000),
    )
    assert code == 0
    assert "No template_features" in err
    assert "cross_correlograms" in out
    assert "unit_similarity" in out


def test_a_session_keeps_what_is_known_of_pairs(analyzer):
    with_pairs = analyzer.copy()
    names = ["cross_correlograms", "unit_similarity", "template_features"]
    with_pairs.compute(names, progress_bar=False)
    session = sic.CurationSession(with_pairs)
    merged = session.merge([11, 12])
    applied = session.apply()
    fresh = applied.copy()
    counts, _ = applied.get_extension("cross_correlograms").get_data()
    similarity = applied.get_extension("unit_similarity").get_data()
    values, _ = applied.get_extension("template_features").get_data()
    assert counts.shape[0] == len(applied.unit_ids) == 7
    again = fresh.compute("cross_correlograms").get_data()[0]
    assert (counts == again).all()
    assert (similarity == fresh.compute("unit_similarity").get_data()).all()
    assert (values == with_pairs.get_extension("template_features").get_data()[0]).all()
    acg, _ = applied.get_extension("cross_correlograms").get_acg(merged)
    assert acg.sum() > 0


def test_splits(capsys, tmp_path, analyzer):
    output, curation = tmp_path / "splits.json", tmp_path / "curation.json"
    code, out, _ = run(
        capsys,
        *("splits", sic.example_folder(), "--output", output),
        *("--curation-json", curation),
    )
    assert code == 0
    found = sic.suggest_splits(analyzer)
    assert "Suggested splits (score of 0.5 or more): " in out
    assert len(json.loads(output.read_text())) == len(found.table)
    splits = json.loads(curation.read_text())["splits"]
    assert [entry["unit_id"] for entry in splits] == found.units()
    code, out, _ = run(capsys, "splits", sic.example_folder(), "--threshold", 1)
    assert code == 0
    assert out.strip().endswith("none")


def test_propose_and_reviews(capsys, tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "phy")
    options = ("--plan", "--rules", "kilosort_good")
    code, out, _ = run(capsys, "propose", folder, *options)
    assert code == 0
    assert "PhyProposals: 1 proposed merge in" in out
    content = json.loads((folder / "curation.json").read_text())
    assert [set(merge["unit_ids"]) for merge in content["merges"]] == [{11, 12}]
    assert len(content["splits"]) == 4
    assert content["manual_labels"]
    code, _, err = run(capsys, "propose", folder)
    assert code == 2
    assert "exists and holds 1 merges, " in err
    code, out, _ = run(capsys, "propose", folder, "--overwrite", "--duplicates", "--threshold", 1)
    assert code == 0
    assert out.startswith("none")
    assert "What was there is in" in out
    code, _, err = run(capsys, "propose", folder, "--plan", "--threshold", 1)
    assert "without --plan" in err
    (tmp_path / "empty").mkdir()
    code, _, err = run(capsys, "propose", tmp_path / "empty")
    assert (code, "no spike_times.npy" in err) == (2, True)
    sic.restore_phy_folder(folder)
    code, out, _ = run(capsys, "reviews", folder, "--output", tmp_path / "reviews.csv")
    assert code == 0
    assert "PhyReviews: 1 proposed merge (1 pending)" in out
    assert pd.read_csv(tmp_path / "reviews.csv")["unit_ids"].tolist() == ["12, 11"]
    code, out, _ = run(capsys, "reviews", folder)
    assert "pending" in out.splitlines()[1]


def test_journal(capsys, tmp_path):
    folder = shutil.copytree(sic.example_folder(), tmp_path / "phy")
    code, out, _ = run(capsys, "journal", folder, "--output", tmp_path / "journal.jsonl")
    assert code == 0
    assert "The log of phy: no log" in out
    assert "Note: there is no phy.log" in out
    analyzer = sic.read_kilosort_as_analyzer(folder, curation="discard")
    with sic.CurationSession.resume(analyzer, tmp_path / "journal.jsonl") as session:
        assert session.unit_ids == [4, 7, 8, 9, 10, 11, 12, 13]
    code, _, err = run(capsys, "journal", folder, "--output", tmp_path / "journal.jsonl")
    assert (code, "exists; give another --output" in err) == (2, True)
    line = "10:00:00.000 [I] supervisor:738       Merge clusters 90, 91 to 92.\n"
    (folder / "phy.log").write_text(line)
    code, out, _ = run(capsys, "journal", folder)
    assert "1 sessions; 0 actions undone, 0 not saved" in out


def test_plan(capsys, tmp_path, analyzer):
    output, curation, page = (tmp_path / name for name in ("plan.csv", "plan.json", "page.html"))
    code, out, _ = run(
        capsys,
        *("plan", sic.example_folder(), "--output", output),
        *("--curation-json", curation, "--report", page),
    )
    assert code == 0
    found = sic.plan_curation(analyzer)
    assert repr(found) in out
    assert len(pd.read_csv(output)) == len(found.table)
    written = json.loads(curation.read_text())
    assert written["merges"][0]["unit_ids"] == [11, 12]
    assert len(written["splits"]) == 4
    text = page.read_text(encoding="utf-8")
    assert 'id="plan-table-0"' in text
    assert repr(found) in text
    code, _, err = run(capsys, "plan", sic.example_folder(), "--report", page)
    assert code == 2
    assert "exists" in err


@pytest.mark.slow
def test_calibrations_are_options_of_the_commands(capsys, tmp_path, analyzer):
    scores = np.linspace(0.02, 0.98, 90)
    files = {}
    for kind in ("merges", "splits", "cleaning", "duplicates", "other"):
        made = sic.Calibration.fit(scores, scores > 0.3, np.tile(["a", "b", "c"], 30), kind=kind)
        files[kind] = made.to_json(tmp_path / f"{kind}.json")
    for kind in ("merges", "splits", "cleaning", "duplicates"):
        output = tmp_path / f"{kind}.csv"
        asked = (kind, sic.example_folder(), "--calibration", files[kind])
        assert run(capsys, *asked, "--output", output)[0] == 0
        assert {"probability", "probability_low"} <= set(pd.read_csv(output).columns)
        code, out, _ = run(capsys, *asked)
        assert code == 0
        assert ("probability" in out.splitlines()[0]) == (kind != "duplicates")  # there are none
        code, _, err = run(capsys, *asked[:2], "--calibration", files["other"])
        assert code == 2
        assert f"{files['other']} is one of other, expected one of {kind}" in err
    page = tmp_path / "page.html"
    both = ("--calibration", files["merges"], "--calibration", files["splits"])
    code, out, _ = run(capsys, "plan", sic.example_folder(), *both, "--report", page)
    assert code == 0
    found = sic.plan_curation(analyzer, calibrations={k: files[k] for k in ("merges", "splits")})
    merge = found.table[found.table["kind"] == "merge"].iloc[0]
    assert f"{merge['probability']:.4g}" in out
    text = page.read_text(encoding="utf-8")
    for table in ("candidate-table", "split-table", "plan-table-0"):
        head = text.split(f'id="{table}"')[1].split("</thead>")[0]
        assert "probability that the suggestion is right" in head or table.startswith("plan")
        assert ">probability<" in head
    for wrong, why in (("other", "is one of other"), ("splits", "is a second one of splits")):
        asked = ("report", sic.example_folder(), tmp_path / "new.html", *both)
        code, _, err = run(capsys, *asked, "--calibration", files[wrong])
        assert code == 2
        assert why in err
