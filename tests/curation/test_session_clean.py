"""`CurationSession.clean`: one step, that keeps every spike, and its way through files."""

import json

import numpy as np
import pytest

import si_curation as sic
from si_curation.curation.history import origins_of


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


def first_spikes(session, unit_id, count):
    return np.arange(session.get_spikes(unit_id).size) < count


def test_it_is_one_step(analyzer, tmp_path):
    journal = tmp_path / "journal.jsonl"
    with sic.CurationSession(analyzer, journal=journal) as session:
        session.label([4], "good")
        before = session.get_spikes(4)
        stays, gone = session.clean(4, first_spikes(session, 4, 7), reason="far")
        assert session.table.loc[[stays, gone], "group"].tolist() == ["good", "noise"]
        np.testing.assert_array_equal(session.get_spikes(gone), before[:7])
        np.testing.assert_array_equal(session.get_spikes(stays), before[7:])
        step = session.history.iloc[-1]
        assert (step.operation, step.inputs, step.outputs) == ("clean", [4], [stays, gone])
        assert (session.undo(), session.redo(), session.undo()) == ("clean",) * 3
        np.testing.assert_array_equal(session.get_spikes(4), before)
        again = session.clean(4, first_spikes(session, 4, 9))
        assert again == [stays + 2, gone + 2]
        table = session.table
    with sic.CurationSession.resume(analyzer, journal) as resumed:
        assert resumed.table.equals(table)
        assert resumed.history.operation.tolist() == session.history.operation.tolist()
    repeated = sic.CurationSession(analyzer)
    repeated.repeat(session)
    assert repeated.table.equals(table.loc[repeated.unit_ids])


def test_what_it_makes_is_as_of_a_split(analyzer):
    one, other = sic.CurationSession(analyzer), sic.CurationSession(analyzer)
    mask = first_spikes(one, 13, 100)
    one.clean(13, mask)
    other.split(13, mask.astype(int))
    cleaned, split = one.apply(), other.apply()
    np.testing.assert_array_equal(
        cleaned.sorting.to_spike_vector(), split.sorting.to_spike_vector()
    )
    assert cleaned.get_loaded_extension_names() == split.get_loaded_extension_names()
    for name in ("template_assignment", "spike_amplitudes"):
        a, b = (x.get_extension(name).get_data() for x in (cleaned, split))
        assert a.equals(b) if hasattr(a, "equals") else str(a) == str(b), name
    assert origins_of(cleaned) == origins_of(split)
    assert cleaned.get_sorting_property("quality")[-1] == "noise"
    sic.reconstruct_lineage(cleaned)


def test_spikeinterface_reads_it_as_a_split_and_a_label(analyzer):
    session = sic.CurationSession(analyzer)
    stays, gone = session.clean(4, first_spikes(session, 4, 7))
    model = session.to_spikeinterface_curation()
    assert model.curation_steps[0].splits[0].unit_id == 4
    again = sic.CurationSession(analyzer)
    again.apply_spikeinterface_curation(json.loads(model.model_dump_json()))
    assert again.table.equals(session.table)
    assert again.table.loc[gone, "group"] == "noise"


def test_cleaned_units_are_marked(analyzer):
    session = sic.CurationSession(analyzer)
    stays, _ = session.clean(11, first_spikes(session, 11, 3))
    merged = session.merge([stays, 12])
    session.clean(4, first_spikes(session, 4, 2))
    curated = session.apply()
    found = sic.cleaned_units(curated)
    assert found.num_set_aside.to_dict() == {merged: 3, session.unit_ids[-2]: 2}
    biased = found.biased_metrics.iloc[0].split(", ")
    assert "isolation_distance" in biased
    assert "rp_contamination" not in biased
    assert set(biased) <= set(sic.METRIC_DESCRIPTIONS)
    assert sic.cleaned_units(analyzer).empty


@pytest.mark.parametrize(
    ("mask", "fault"),
    [
        ([True], "1 values for 909 spikes"),
        ([0, 1], "one True"),
        (np.zeros(909, dtype=bool), "takes no spike out"),
        (np.ones(909, dtype=bool), "takes all spikes out"),
        ([[True], [False, True]], "one True"),
    ],
)
def test_masks_that_cannot_be_used(analyzer, mask, fault):
    session = sic.CurationSession(analyzer)
    with pytest.raises(sic.ParameterError, match=fault):
        session.clean(4, mask)
    assert session.history.empty


def test_discarded_spikes_of_format_3(analyzer):
    ids = analyzer.unit_ids.tolist()
    curation = {
        "format_version": "3",
        "unit_ids": ids,
        "merges": [{"unit_ids": [11, 12]}],
        "splits": [{"unit_id": 4, "mode": "indices", "indices": [[0, 5, 6]]}],
        "discard_spikes": [
            {"unit_id": 4, "indices": [0, 1, 2]},
            {"unit_id": 11, "indices": [3]},
        ],
    }
    session = sic.CurationSession(analyzer)
    spikes = session.get_spikes(4)
    session.apply_spikeinterface_curation(curation)
    noise = set(session.table.index[session.table["group"] == "noise"])
    assert len(noise) == 3  # 8 was before
    parts = [session.get_spikes(i) for i in session.unit_ids]
    assert any(np.array_equal(part, spikes[[5, 6]]) for part in parts)
    assert any(np.array_equal(part, spikes[[0, 1, 2]]) for part in parts)
    assert session.table.num_spikes.sum() == analyzer.sorting.to_spike_vector().size
    with pytest.raises(sic.ParameterError, match="outside 0 to 908"):
        sic.CurationSession(analyzer).apply_spikeinterface_curation(
            {**curation, "discard_spikes": [{"unit_id": 4, "indices": [909]}]}
        )
    with pytest.raises(sic.ParameterError, match="not a SpikeInterface curation"):
        sic.CurationSession(analyzer).apply_spikeinterface_curation(
            {**curation, "discard_spikes": [{"unit_id": 4, "indices": ["a"]}]}
        )
