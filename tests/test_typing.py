"""What type checkers and completion see: types of results, and public names alone."""

import typing

import pandas as pd
import pytest

import si_curation as sic


def returned(function):
    return typing.get_type_hints(function, vars(__import__(function.__module__, fromlist=["_"])))[
        "return"
    ]


def test_ids_that_sessions_return():
    session = sic.CurationSession
    assert returned(session.merge) == int | str
    assert returned(session.split) == list[int | str]
    assert returned(session.unit_ids.fget) == list[int | str]


TABLES = [
    ("MergeSuggestions", "table"), ("SplitSuggestions", "table"), ("CleaningSuggestions", "table"),
    ("DuplicateUnits", "table"), ("CurationPlan", "table"), ("UnitLabels", "table"),
    ("CurationSession", "table"), ("CurationSession", "history"), ("CurationReplay", "steps"),
    ("CurationReplay", "left"), ("ReconstructedJournal", "table"), ("PhyReviews", "table"),
    ("BatchResult", "table"), ("BatchCheck", "table"), ("EffectVsQuality", "table"),
    ("CurationComparison", "units"), ("CurationComparison", "disputed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "attribute"), TABLES)
def test_tables_are_data_frames(name, attribute):
    found = getattr(sic, name)
    known = getattr(found, attribute, None)
    if isinstance(known, property):
        assert returned(known.fget) is pd.DataFrame
        return
    annotations = {k: v for one in reversed(found.__mro__) for k, v in
                   getattr(one, "__annotations__", {}).items()}  # fmt: skip
    assert annotations[attribute] == "pd.DataFrame"


def test_completion_shows_public_names_alone():
    assert sorted(dir(sic)) == sorted(sic.__all__)
    assert all(not name.startswith("_") for name in sic.__all__ if name != "__version__")
