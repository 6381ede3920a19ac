"""Records of a batch that somebody changed decide about their own session alone."""

import json
import shutil

import pytest

import si_curation as sic

RECIPE = {"extensions": {"curation_metrics": {"metric_names": ["num_spikes"]}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("batch")
    for name in ("a", "b"):
        shutil.copytree(sic.example_folder(), root / name)
    run(root)
    return root


def run(root):
    kwargs = {"num_workers": 0, "progress_bar": False}
    return sic.run_batch([root / "a", root / "b"], RECIPE, root / "out", **kwargs)


def change(path, **values):
    content = json.loads(path.read_text())
    content.update(values)
    path.write_text(json.dumps(content))


DONE = {
    "no counts": {"counts": None},
    "counts of another session": {"counts": {"num_units": 8, "num_spikes": 5299, "session": "b"}},
    "counts that are text": {"counts": {"num_units": "8", "num_spikes": 5299}},
    "counts of 65 bits": {"counts": {"num_units": 8, "num_spikes": 2**64}},
    "negative counts": {"counts": {"num_units": -1, "num_spikes": 1}},
    "outputs that are no names": {"outputs": ["../../a"]},
    "outputs that are no list": {"outputs": 3},
    "fingerprint that is a list": {"fingerprint": []},
}
RECORDS = {
    "seconds of texts": {"seconds": {"read": "fast"}},
    "seconds without end": {"seconds": {"read": 1e300}},
    "many steps": {"seconds": {str(i): 1.0 for i in range(500)}},
    "seconds that are a list": {"seconds": [1]},
    "versions of objects": {"versions": {"python": {}}},
    "warnings that are no texts": {"warnings": [1, None]},
    "an error that is a list": {"error": []},
    "another session": {"session": "b", "folder": "/", "status": "done"},
}


@pytest.mark.parametrize("name", [*DONE, *RECORDS])
@pytest.mark.slow
def test_a_forged_record(made, tmp_path, name):
    root = tmp_path / "batch"
    shutil.copytree(made, root)
    if name in DONE:
        change(root / "out/sessions/a/done.json", **DONE[name])
    else:
        change(root / "out/records/a.json", **RECORDS[name])
    table = run(root).table
    assert table["session"].tolist() == ["a", "b"]
    assert table["status"].tolist()[1] == "skipped: already done"
    assert table["num_spikes"].tolist()[1] == 5299
    if name in RECORDS or "another" in name:
        assert table["num_spikes"].tolist()[0] == 5299
    else:
        assert table["status"].tolist()[0] == "failed"


@pytest.mark.parametrize(
    "content",
    [b"", b"session,unit_id\n1,2\n", b"\xff\xfe", b'unit_id,group\n"', b"{" * 1000, b"a\nb,c,d\n"],
)
def test_a_forged_table_of_units(made, tmp_path, content):
    root = tmp_path / "batch"
    shutil.copytree(made, root)
    (root / "out/sessions/a/units.csv").write_bytes(content)
    result = run(root)
    assert set(result.units["session"]) == {"b"}
    assert len(result.notes) == 1
    assert "units.csv is left out" in result.notes[0]


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 100_000, "{}", "[1]", "nothing"])
def test_a_record_that_unfolds(made, tmp_path, content):
    root = tmp_path / "batch"
    shutil.copytree(made, root)
    (root / "out/records/a.json").write_text(content)
    assert run(root).table["status"].tolist() == ["skipped: already done"] * 2
