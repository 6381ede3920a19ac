"""Files of models: the same bits, and one clear error for what is no model."""

import base64
import hashlib
import json

import numpy as np
import pandas as pd
import pytest

import si_curation as sic
from si_curation.learning import model_file


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(150, 3)), columns=["a", "b", "c"])
    table["session"] = np.arange(150) % 3
    table["group"] = np.where(table["a"] + rng.normal(size=150) > 0, "good", "mua")
    return table


@pytest.fixture(scope="module", params=["trees", "logistic"])
def saved(request, table, tmp_path_factory):
    model = sic.learn_labels(table, method=request.param, note="MIT, someone")
    return model, model.save(tmp_path_factory.mktemp("model") / "model.json")


def test_the_same_bits_after_loading(saved, table, tmp_path):
    model, path = saved
    again = sic.LabelModel.load(str(path))
    new = table[["a", "b", "c"]] * 1.1
    one, other = model.label(metrics=new), again.label(metrics=new)
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    pd.testing.assert_frame_equal(one.probabilities, other.probabilities, check_exact=True)
    assert again.note == "MIT, someone"
    assert again.session_digests == model.session_digests
    assert len(set(again.session_digests)) == 3
    assert repr(again) == repr(model)
    assert str(again.report()) == str(model.report())
    assert again.save(tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_nothing_is_overwritten_unasked(saved):
    model, path = saved
    with pytest.raises(sic.OutputExistsError):
        model.save(path)
    assert model.save(path, overwrite=True) == path
    with pytest.raises(sic.ParameterError, match=r"does not end in \.json"):
        model.save(path.with_suffix(".pkl"))


def forged(path, change):
    """The file with a change of its content, and the checksum that fits it."""
    whole = json.loads(path.read_text())
    change(whole["model"])
    text = json.dumps(whole["model"], sort_keys=True, separators=(",", ":"))
    whole["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(whole)


def replaced(packed, change):
    array = np.frombuffer(base64.b64decode(packed["data"]), packed["dtype"]).copy()
    array = array.reshape(packed["shape"])
    change(array)
    packed["data"] = base64.b64encode(array.tobytes()).decode()


def test_what_is_no_model(saved, tmp_path, monkeypatch):
    _, path = saved
    text = path.read_text()
    file = tmp_path / "bad.json"
    version = text.replace('"format_version": 1', '"format_version": 7')
    digit = text.replace('"accuracy": 0.95', '"accuracy": 0.96')
    for content, message in [
        (text[: len(text) // 2], "cannot be read"),
        ("", "cannot be read"),
        ("[]", "is not a model"),
        ("{}", "is not a model"),
        (version, "has version 7 of the format, expected 1"),
        (digit, "checksum differs"),
        ("[" * 5000, "nested too deep"),
    ]:
        file.write_text(content)
        with pytest.raises(sic.ParameterError, match=message):
            sic.LabelModel.load(file)
    file.write_bytes(b"\x80\x04\x95\x00cposix\nsystem\n")
    with pytest.raises(sic.ParameterError, match="cannot be read"):
        sic.LabelModel.load(file)
    with pytest.raises(sic.FolderNotFoundError):
        sic.LabelModel.load(tmp_path / "no.json")
    monkeypatch.setattr(model_file, "MAX_BYTES", 100)
    with pytest.raises(sic.ParameterError, match="bytes, expected 100 or fewer"):
        sic.LabelModel.load(path)


CHANGES = {
    "a key too many": lambda m: m.update(code="print(1)"),
    "a key too few": lambda m: m.pop("scales"),
    "another method": lambda m: m.update(method="pickle"),
    "no labels": lambda m: m.update(labels=[]),
    "labels twice": lambda m: m.update(labels=["good", "good"]),
    "labels that are numbers": lambda m: m.update(labels=[1, 2]),
    "columns twice": lambda m: m.update(columns=["a", "a", "a"]),
    "too few answers": lambda m: m.update(answers=[]),
    "an answer that is none": lambda m: m.update(answers=[3]),
    "parameters that are none": lambda m: m.update(metric_params={"drift": 3}),
    "a domain that is none": lambda m: m.update(domain={"pitch_um": [20.0, "far"]}),
    "a domain upside down": lambda m: m.update(domain={"pitch_um": [20.0, 10.0]}),
    "a prior that is none": lambda m: m.update(prior=3),
    "accuracy": lambda m: m.update(accuracy="high"),
    "another dtype": lambda m: m["calibrations"].update(dtype="|O"),
    "a huge shape": lambda m: m["learning_curve"].update(shape=[10**12, 2]),
    "a shape of texts": lambda m: m["learning_curve"].update(shape=["x", 2]),
    "a negative shape": lambda m: m["learning_curve"].update(shape=[-1, 2]),
    "no base64": lambda m: m["calibrations"].update(data="????"),
    "data cut off": lambda m: m["calibrations"].update(data="AAAA"),
    "NaN": lambda m: replaced(m["calibrations"], lambda a: a.fill(np.nan)),
    "a session that is not there": lambda m: replaced(m["learnt"]["session"], lambda a: a.fill(99)),
    "digests": lambda m: m.update(session_digests=[]),
    "ids": lambda m: m["learnt"].update(unit_ids=[[]] * 150),
}


@pytest.mark.parametrize("name", CHANGES)
def test_forged_files(saved, tmp_path, name):
    file = tmp_path / "forged.json"
    file.write_text(forged(saved[1], CHANGES[name]))
    with pytest.raises(sic.ParameterError, match=r"forged\.json is not a model that can be used"):
        sic.LabelModel.load(file)


@pytest.mark.parametrize("part", ["left", "right", "column", "start", "shape"])
def test_trees_that_would_not_end_or_leave_their_arrays(saved, tmp_path, part):
    if saved[0].method != "trees":
        pytest.skip("it has none")

    def change(content):
        trees = content["answers"][0]["trees"]
        if part == "start":
            trees["start"] = None
        elif part == "shape":
            trees["value"]["shape"] = [1, 1]
        else:
            replaced(trees[part], lambda a: a.fill(0 if part != "column" else 1000))

    file = tmp_path / "forged.json"
    file.write_text(forged(saved[1], change))
    with pytest.raises(sic.ParameterError, match="is not a model that can be used"):
        sic.LabelModel.load(file)
