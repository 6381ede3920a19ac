"""Recipes, rules, metadata, curations, journals and records that would hang, grow or mislead."""

import base64
import json
import time
import zlib

import pytest

import si_curation as sic
from si_curation.batch.recipe_files import read_recipe
from si_curation.curation.history import recorded_history
from si_curation.exporters.nwb.metadata import read_metadata

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
DEEP = '{"a": ' * 100_000 + "1" + "}" * 100_000
LARGE = '{"extensions": ' + "9" * 1_000_000 + "}"


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


READERS = {
    "recipe": lambda path, analyzer: read_recipe(path),
    "rules": lambda path, analyzer: sic.label_units(analyzer, path),
    "model": lambda path, analyzer: sic.LabelModel.load(path),
    "metadata": lambda path, analyzer: read_metadata(path),
    "curation": lambda path, analyzer: sic.CurationSession(analyzer).apply_spikeinterface_curation(
        path
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("suffix", "content"), [(".yaml", BOMB), (".json", DEEP), (".json", LARGE)], ids="abc"
)
def test_documents_that_unfold(analyzer, tmp_path, reader, suffix, content):
    if reader in ("curation", "model") and suffix != ".json":
        pytest.skip("they are JSON")
    path = tmp_path / f"file{suffix}"
    path.write_text(content)
    start = time.perf_counter()
    with pytest.raises(sic.ParameterError, match="cannot be read"):
        READERS[reader](path, analyzer)
    assert time.perf_counter() - start < 5


def test_text_of_a_recipe():
    with pytest.raises(sic.ParameterError, match=r"alias \*a0"):
        read_recipe(BOMB)


# journals


@pytest.fixture
def journal(analyzer, tmp_path):
    """The journal of a session with a split, and a function that changes its last line."""
    path = tmp_path / "journal.jsonl"
    with sic.CurationSession(analyzer, journal=path) as session:
        unit_id = session.unit_ids[0]
        num_spikes = session.get_spikes(unit_id).size
        session.split(unit_id, [i % 2 for i in range(num_spikes)])

    def change(function):
        lines = path.read_bytes().splitlines()
        entry = json.loads(lines[-1])
        function(entry)
        lines[-1] = json.dumps(entry).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path

    return change


def unfolding(entry):
    packed = zlib.compress(b"\0" * 300_000_000, 1)
    entry["parts"]["zlib_base64"] = base64.b64encode(packed).decode()


def of_claimed_size(entry):
    unfolding(entry)
    entry["parts"]["size"] = 300_000_000


@pytest.mark.parametrize(
    "change",
    [
        unfolding,
        of_claimed_size,
        lambda entry: entry["parts"].update(dtype="O"),
        lambda entry: entry["parts"].update(dtype="<f8"),
        lambda entry: entry["parts"].update(size=-1),
        lambda entry: entry["parts"].update(zlib_base64="?"),
        lambda entry: entry.update(operation="exec"),
        lambda entry: entry.update(inputs=None),
        lambda entry: entry.update(inputs=[[1]]),
        lambda entry: entry.update(inputs=[1.5]),
        lambda entry: entry.update(inputs=[]),
        lambda entry: entry.update(outputs=[]),
        lambda entry: entry.update(when={"a": 1}),
        lambda entry: entry.update(value=[1]),
        lambda entry: entry.pop("reason"),
        lambda entry: entry.clear(),
        lambda entry: entry.update(steps=[1]),
    ],
)
def test_journal_lines_that_are_no_steps(analyzer, journal, change):
    path = journal(change)
    before = path.read_bytes()
    with pytest.raises(sic.ParameterError, match="line 2"):
        sic.CurationSession.resume(analyzer, path)
    assert path.read_bytes() == before


def test_the_journal_as_it_is_can_be_resumed(analyzer, journal):
    path = journal(lambda entry: None)
    with sic.CurationSession.resume(analyzer, path) as session:
        assert len(session.history) == 1


@pytest.mark.parametrize("text", [DEEP, "[1]", '[{"steps": []}]', "{", '{"a": 1}'])
def test_a_history_that_is_none(analyzer, text):
    other = analyzer.copy()
    other.sorting.annotate(curation_history=text)
    with pytest.raises(sic.ParameterError, match="curation_history"):
        recorded_history(other)
