"""`label_sources`: who gave the labels that units have, through merges, splits and sessions."""

import pytest

import si_curation as sic
from si_curation.variables import LABEL_SOURCES


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def who(table):
    return {
        (unit_id, field): (value, by)
        for unit_id, field, value, by in table[
            ["unit_id", "field", "value", "decided_by"]
        ].itertuples(index=False)
    }


def test_labels_of_a_folder_have_no_known_source(analyzer):
    table = sic.label_sources(analyzer)
    assert list(table.columns) == list(LABEL_SOURCES)
    groups = {8: "noise", 10: "mua", 13: "good"}
    assert who(table) == {(i, "group"): (label, "") for i, label in groups.items()}


def test_through_steps_undo_and_two_sessions(analyzer, tmp_path):
    session = sic.CurationSession(analyzer, decided_by="Ada")
    session.label([11], "good", reason="clean")
    session.label([12, 4], 3, field="layer", decided_by="rules")
    merged = session.merge([11, 12], decided_by="Bob")
    session.label([7], "noise")
    session.undo()
    session.label([10], "good", decided_by="Carl")
    size = session.get_spikes(10).size
    first, second = session.split(10, [i % 2 for i in range(size)])
    session.label([second], None)
    kept, noise = session.clean(8, [True] + [False] * (session.get_spikes(8).size - 1))
    expected = {
        (4, "layer"): (3, "rules"),
        (13, "group"): ("good", ""),
        (merged, "group"): ("good", "Ada"),
        (merged, "layer"): (3, "rules"),
        (first, "group"): ("good", "Carl"),
        (kept, "group"): ("noise", ""),
        (noise, "group"): ("noise", "Ada"),
    }
    assert who(session.label_sources) == expected
    table = session.label_sources.set_index(["unit_id", "field"])
    assert table.loc[(merged, "group"), "reason"] == "clean"
    steps = session.history.set_index("operation")
    assert table.loc[(merged, "group"), "when"] == steps.loc["label", "when"].iloc[0]
    applied = session.apply(format="zarr", folder=tmp_path / "a.zarr")
    assert who(sic.label_sources(applied)) == expected
    again = sic.CurationSession(applied, decided_by="Dora")
    again.label([13], "mua")
    last = again.merge([7, first])
    expected[last, "group"] = expected.pop((first, "group"))
    expected[13, "group"] = ("mua", "Dora")
    assert who(again.label_sources) == expected
    assert who(sic.label_sources(again.apply())) == expected
