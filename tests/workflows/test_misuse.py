"""Every argument of every public function, with values that are no good: only our own errors.

``pytest -n 0 -m "" --fuzz 10 tests/workflows/test_misuse.py`` looks further.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
import signal
import textwrap
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pynwb import NWBFile

import si_curation as sic
from helpers.fuzzing import bounded, examples
from si_curation.checks import Checks
from si_curation.errors import SiCurationError

plt.switch_backend("Agg")
pytestmark = pytest.mark.slow


HANGS_S = 60  # also on a busy machine; what a call may take is in helpers/fuzzing.py


class Odd:
    """An object of no use."""

    def __repr__(self):
        return "<odd>"


WRONG = {
    "None": None,
    "text": "no such thing",
    "empty text": "",
    "odd text": "\x00\n\ud800",
    "bytes": b"abc",
    "minus one": -1,
    "zero": 0,
    "large": 10**30,
    "float": 2.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "complex": 1j,
    "True": True,
    "empty list": [],
    "list of None": [None],
    "nested": [[1, 2], [3]],
    "0-d": np.array(5),
    "2-d": np.zeros((2, 2)),
    "floats": np.array([0.5, np.nan]),
    "texts": ["a", "b"],
    "dict": {},
    "odd dict": {None: object},
    "set": {1, 2},
    "function": len,
    "class": int,
    "odd": Odd(),
    "frame": pd.DataFrame({"x": [1]}),
    "series": pd.Series([1, 2]),
    "long text": "x" * 100_000,
    "long list": list(range(100_000)),
    "long array": np.arange(100_000),
    "generator": "a generator",
}
# what may take seconds or open windows; or is a container that users do not build
NOT_CALLED = {
    "open_gui",
    "warmup",
    "Warmup",
    "BatchResult",
    "BatchCheck",
    "CurationComparison",
    "CurationReplay",
    "Calibration",
    "DuplicateUnits",
    "CurationPlan",
    "PlanStep",
    "SplitSuggestions",
    "SuggestionBenchmark",
    "LabelModel",
    "LabelReport",
    "LearntLabels",
    "SpikeInterfaceLabels",
    "ThresholdSuggestions",
    "EffectVsQuality",
    "Finding",
    "MergeSuggestions",
    "PhyProposals",
    "ReconstructedJournal",
    "PhyReviews",
    "CleaningSuggestions",
    "ObservedPeriods",
    "SessionBorders",
    "PhyFolder",
    "RuleSet",
    "SimulatedFolder",
    "SpikeAmplitudes",
    "AmplitudeScale",
    "UnitLabels",
    "LabelRule",
    "CrossCorrelograms",
    "CurationMetrics",
    "TemplateAssignment",
    "TemplateBestChannels",
    "TemplateFeatures",
    "SpikeWaveforms",
    "Waveforms",
    "UnitClasses",
    "WaveformSets",
    "UnitSimilarity",
    "Recipe",
    # made by SpikeInterface from the extensions, whose parameters are tried below
    "compute_cross_correlograms",
    "compute_curation_metrics",
    "compute_template_assignment",
    "compute_template_best_channels",
    "compute_template_features",
    "compute_spike_waveforms",
    "compute_unit_similarity",
}


@pytest.fixture(scope="module")
def analyzer():
    found = sic.read_kilosort_as_analyzer(sic.example_folder())
    found.compute(
        [
            "template_best_channels",
            "unit_similarity",
            "cross_correlograms",
            "template_features",
            "spike_waveforms",
            "curation_metrics",
        ],
        progress_bar=False,
    )
    return found


@pytest.fixture
def needed(analyzer, tmp_path):
    return right_arguments(analyzer, tmp_path)


def right_arguments(analyzer, folder):
    """{name of an argument: a value that is right}."""
    table = analyzer.get_extension("curation_metrics").get_data()
    effect = pd.Series(np.arange(len(table), dtype=float), index=table.index)
    score = np.linspace(0.3, 1.0, 20)
    outcomes = pd.DataFrame({"suggestion": "merges", "score": score, "is_right": score > 0.5})
    unit_id = analyzer.unit_ids[0]
    reviewed = sic.CurationSession(analyzer)
    reviewed.merge(analyzer.unit_ids[2:4])
    return {
        "sorting_analyzer": analyzer,
        "source": analyzer,
        "a": reviewed,
        "b": analyzer,
        "old": reviewed,
        "new": analyzer,
        "folder_path": sic.example_folder(),
        "folder": folder / "new",
        "path": folder / "file.nwb",
        "output_folder": folder / "out",
        "unit_id": unit_id,
        "unit_a": analyzer.unit_ids[0],
        "unit_b": analyzer.unit_ids[1],
        "unit_ids": analyzer.unit_ids[:2],
        "spike_indices": [0, 1],
        "spike_sets": {"some": [0, 1, 2], "others": [3, 4]},
        "channel_indices": [0],
        "rules": [("num_spikes", "<", 5, "noise")],
        "recipe": {},
        "folders": [sic.example_folder()],
        "sessions": LABELLED,
        "analyzers": [analyzer],
        "effect": effect,
        "metrics": table,
        "periods": None,
        "borders": [40.0],
        "table": {"note": {}},
        "nwbfile": NWBFile("session", "identifier", datetime(2026, 1, 1, tzinfo=timezone.utc)),
        "result": sic.effect_vs_quality(effect, table, num_bootstraps=20, num_permutations=19),
        "benchmarks": {f"day {day}": outcomes for day in range(3)},
        "reviewed": reviewed,
        "suggestions": sic.suggest_merges(analyzer),
        "model": label_model(),
        "split": np.arange(reviewed.get_spikes(unit_id).size) % 2,
    }


LABELLED = pd.DataFrame(
    {"snr": range(40), "session": [0, 1] * 20, "group": ["good"] * 20 + ["mua"] * 20}
)


@cache
def label_model():
    return sic.learn_labels(LABELLED)


def value_of(name):
    return (i for i in (1, 2)) if name == "generator" else WRONG[name]


@contextmanager
def time_limit(seconds) -> Iterator[None]:
    def stop(*_):
        raise TimeoutError(f"more than {seconds} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def called_quickly(name):
    """A function; a batch starts no processes where no argument is about them."""

    def batch(**values):
        is_about_them = "num_workers" in values or values.get("client") is not None
        return sic.run_batch(**values, **({} if is_about_them else {"num_workers": 0}))

    return batch if name == "run_batch" else getattr(sic, name)


def fault_of(call, what):
    """Return what a call raised that is not one of our errors; "" for nothing."""
    with warnings.catch_warnings(), time_limit(HANGS_S), bounded(what):
        warnings.simplefilter("ignore")
        try:
            call()
        except SiCurationError as error:
            length = len(str(error))
            return "" if length < 5_000 else f"{length} characters: {str(error)[:100]}"
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {str(error)[:150]} ({last.filename}:{last.lineno})"
        finally:
            plt.close("all")
    return ""


OF_ALL_FIGURES = {"figure", "ax", "axes", "figsize", "figtitle", "backend"}
FUNCTIONS = sorted(
    name
    for name in sic.__all__
    if name not in NOT_CALLED
    and callable(getattr(sic, name))
    and not (inspect.isclass(getattr(sic, name)) and issubclass(getattr(sic, name), Exception))
)


def arguments_of(function):
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def wrong_calls(function, right):
    """Yield (text, arguments) of calls with one wrong argument each; others as in `right`."""
    for wrong in arguments_of(function):
        if wrong.name in OF_ALL_FIGURES and function is not sic.plot_isi:
            continue
        for kind in WRONG:
            # what a function of the user raises is the user's
            if "Callable" in str(wrong.annotation) and kind in ("function", "class"):
                continue
            values = {
                p.name: right[p.name]
                for p in arguments_of(function)
                if p.default is p.empty and p.name in right
            }
            yield f"{wrong.name}={kind}", {**values, wrong.name: value_of(kind)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_our_errors(name, needed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, call = getattr(sic, name), called_quickly(name)
    parameters = inspect.signature(function).parameters
    quiet = {"progress_bar": False} if "progress_bar" in parameters else {}
    if name.startswith("plot_") and "unit_ids" in parameters:  # one by one, or each with each
        quiet["unit_ids"] = needed["sorting_analyzer"].unit_ids[:2]
    if name == "simulate_kilosort_folder":  # small, and into the same folder again
        quiet |= {"num_spikes": 300, "num_templates": 5, "num_channels": 8, "overwrite": True}
    if name in ("export_report", "export_label_report"):
        needed["path"] = tmp_path / "page.html"
    if name in ("set_observed_periods", "set_session_borders", "attach_kilosort_folder"):
        needed["sorting_analyzer"] = needed["sorting_analyzer"].copy()
    faults = {
        text: fault
        for text, values in wrong_calls(function, needed)
        if (fault := fault_of(lambda v=values: call(**{**quiet, **v}), f"{name}, {text}"))
    }
    assert not faults, f"{len(faults)} of them: " + json.dumps(faults, indent=1)


NEEDED_BY_OTHERS = {"sorting_analyzer", "source", "folder_path", "folder", "metrics", "effect"}
# what is judged by the data: rows of a table, other sources of times, spikes of a folder
JUDGED_LATER = {
    "frame_offset",
    "groups",
    "t_start",
    "session_start_time",
    "timestamps",
    "spike_times",
    "client",
}
JUDGED_LATER |= {"electrical_series_path", "exclude_groups", "borders"}
JUDGED_LATER |= {"shank", "spike_indices"}
JUDGED_LATER |= OF_ALL_FIGURES  # before the numbers of the one
OUT_OF_RANGE = (-1, 0, 2.5, float("nan"), 1e300, 10**30, "no such thing")


def checked_function(function):
    return inspect.unwrap(function.__init__ if inspect.isclass(function) else function)


def names_in(call):
    """Return the text of the error of ours that a call raises; "" where there is none."""
    with warnings.catch_warnings(), time_limit(HANGS_S):
        warnings.simplefilter("ignore")
        try:
            call()
        except sic.ParameterError as error:
            return str(error)
        except SiCurationError:
            return ""
        finally:
            plt.close("all")
    return ""


def names_argument(name, text):
    return re.search(rf"(^|[;:] |and ){name} (is|has|are)\b", text) is not None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_problems_at_once(name, needed, tmp_path, monkeypatch):
    """What is of a wrong kind and what is out of range come in one error."""
    monkeypatch.chdir(tmp_path)
    function = getattr(sic, name)
    arguments = [p for p in arguments_of(function) if p.name not in NEEDED_BY_OTHERS]
    right = {
        p.name: needed[p.name]
        for p in arguments_of(function)
        if p.default is p.empty and p.name in needed
    }
    wrong = {}
    for argument in arguments:
        if argument.name in right or argument.name in JUDGED_LATER:
            continue
        for value in OUT_OF_RANGE:
            values = {**right, argument.name: value}
            full = {p.name: p.default for p in arguments_of(function)} | values
            if argument.name in Checks.of_call(checked_function(function), full).wrong_kinds:
                continue
            if names_argument(argument.name, names_in(lambda v=values: function(**v))):
                wrong[argument.name] = value
                break
    missing = {}
    odd = [p.name for p in arguments if "Any" not in str(p.annotation)]
    for first in wrong:
        for second in odd:
            if second != first:
                values = {**right, first: wrong[first], second: Odd()}
                text = names_in(lambda v=values: function(**v))
                if names_argument(second, text) and not names_argument(first, text):
                    missing[f"{first} beside {second}"] = text
                break
    if len(wrong) > 1:
        text = names_in(lambda: function(**{**right, **wrong}))
        lost = [one for one in wrong if not names_argument(one, text)]
        if lost:
            missing[f"{lost} of {sorted(wrong)}"] = text
    assert not missing, json.dumps(missing, indent=1)


NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-5, 50))
ANY_VALUE = st.one_of(
    st.sampled_from(sorted(WRONG)).map(value_of),
    NUMBERS,
    st.text(max_size=10),
    st.lists(NUMBERS, max_size=5),
    st.tuples(NUMBERS, NUMBERS),
    st.dictionaries(st.text(max_size=5), NUMBERS, max_size=3),
    hnp.arrays(
        st.sampled_from([np.int64, np.uint8, np.float64, np.bool_, "U3", np.complex128]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
    ),
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("arguments")


@pytest.fixture(scope="module")
def all_right(analyzer, scratch):
    return right_arguments(analyzer, scratch)


@examples(1000)
@given(name=st.sampled_from(FUNCTIONS), data=st.data())
def test_any_arguments(name, data, analyzer, all_right, scratch):
    """Several arguments that are made up, at once, beside those that are needed."""
    function = getattr(sic, name)
    arguments = arguments_of(function)
    right = {**all_right, "sorting_analyzer": analyzer.copy()}
    values = {p.name: right[p.name] for p in arguments if p.default is p.empty and p.name in right}
    if any(p.name == "progress_bar" for p in arguments):
        values["progress_bar"] = False
    names = st.lists(st.sampled_from([p.name for p in arguments]), unique=True, max_size=4)
    for wrong in data.draw(names) if arguments else ():
        values[wrong] = data.draw(ANY_VALUE)
        callback = any(p.name == wrong and "Callable" in str(p.annotation) for p in arguments)
        if callback and callable(values[wrong]):
            del values[wrong]  # what a function of the user raises is the user's
    shutil.rmtree(scratch)
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(scratch)
        fault = fault_of(lambda: called_quickly(name)(**values), f"{name}, {values!r}")
    assert not fault


def test_what_is_no_analyzer(analyzer, needed, tmp_path):
    """A folder, or a sorting, in the place of an analyzer: one line with the call to make."""
    folder = sic.example_folder()
    opened = "open it with read_kilosort_as_analyzer("
    checked = 0
    with sic.read_phy_folder(folder) as read:
        wrong = [
            (folder, opened),
            (str(folder), opened),
            (read, opened),
            (tmp_path / "analyzer.zarr", "open it with spikeinterface.load("),
            (analyzer.sorting, "make one with spikeinterface.create_sorting_analyzer("),
        ]
        for name in sic.__all__:
            function = getattr(sic, name)
            is_called = name == "CurationSession" or not inspect.isclass(function)
            if not callable(function) or not is_called or not arguments_of(function):
                continue
            first, *others = arguments_of(function)
            annotation = str(first.annotation)
            if "SortingAnalyzer" not in annotation or annotation.startswith("Sequence"):
                continue
            more = {p.name: needed[p.name] for p in others if p.default is p.empty}
            takes_folders = "Path" in annotation
            for value, advice in wrong[-1:] if takes_folders else wrong:
                with pytest.raises(sic.ParameterError) as error:
                    function(value, **more)
                text = str(error.value)
                assert re.match(rf"{first.name} is .*, expected .*a SortingAnalyzer", text), name
                assert advice in text
                assert "\n" not in text
                checked += 1
    assert checked > 200


METHODS = sorted(
    name
    for name, method in vars(sic.CurationSession).items()
    if inspect.isfunction(method) and not name.startswith("_")
)


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_a_session(name, analyzer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ids = analyzer.unit_ids
    right = {
        "unit_id": ids[0],
        "unit_ids": list(ids[:2]),
        "parts": [[0, 1]],
        "mask": np.arange(sic.CurationSession(analyzer).get_spikes(ids[0]).size) < 5,
        "group": "good",
        "label": "good",
        "field": "quality",
        "value": "good",
        "decision": "accepted",
        "path": tmp_path / "curation.json",
        "curation": {"format_version": "2", "unit_ids": list(ids), "merges": []},
        "labels": {ids[0]: "good"},
    }
    method = getattr(sic.CurationSession, name)
    faults = {}
    for text, values in wrong_calls(method, right):
        values.pop("self", None)
        if text.startswith("self="):
            continue
        session = sic.CurationSession(analyzer)
        before = session.table.copy()
        fault = fault_of(lambda v=values, s=session: getattr(s, name)(**v), f"{name}, {text}")
        if fault:
            faults[text] = fault
            if not session.table.equals(before):
                faults[text] += ", and the session has changed"
    assert not faults, f"{len(faults)} of them: " + json.dumps(faults, indent=1)


EXTENSIONS = [
    "cross_correlograms",
    "curation_metrics",
    "template_assignment",
    "template_best_channels",
    "spike_waveforms",
    "template_features",
    "unit_similarity",
]


@pytest.mark.parametrize("name", EXTENSIONS)
def test_parameters_of_extensions(name, analyzer):
    copy = analyzer.copy()
    extension = copy.get_extension(name)
    faults = {}
    for text, values in wrong_calls(type(extension)._set_params, {}):
        values.pop("self", None)
        if text.startswith("self="):
            continue
        fault = fault_of(lambda v=values: copy.compute(name, **v, save=False), f"{name}, {text}")
        if fault:
            faults[text] = fault
    assert not faults, f"{len(faults)} of them: " + json.dumps(faults, indent=1)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_questions_to_extensions(name, analyzer):
    extension = analyzer.get_extension(name)
    ids = analyzer.unit_ids
    right = {
        "unit_id": ids[0],
        "unit_a": ids[0],
        "unit_b": ids[1],
        "unit_ids": list(ids[:2]),
        "groups": [list(ids[:2])],
        "pairs": np.array([[0, 1]]),
        "template_id": 0,
        "spike_indices": np.arange(3),
        "weights": [np.ones(len(analyzer.get_extension("template_assignment").template_ids))],
    }
    faults = {}
    for question in sorted(vars(type(extension))):
        method = vars(type(extension))[question]
        if not (inspect.isfunction(method) and question.startswith("get_")):
            continue
        for text, values in wrong_calls(method, right):
            values.pop("self", None)
            if text.startswith("self="):
                continue
            fault = fault_of(
                lambda v=values, q=question: getattr(extension, q)(**v), f"{name}, {text}"
            )
            if fault:
                faults[f"{question} {text}"] = fault
    assert not faults, f"{len(faults)} of them: " + json.dumps(faults, indent=1)


def first_statement(function):
    """Return the source of the first statement of a function after its docstring."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    body = tree.body
    has_docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return ast.unparse(body[1 if has_docstring else 0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_check_their_arguments_first(name):
    function = inspect.unwrap(getattr(sic, name))
    if inspect.isclass(function):
        function = function.__init__
    if [p for p in arguments_of(function) if p.name != "self"]:
        first = first_statement(function)
        assert first.startswith(("check_arguments(", "checks = Checks.of_call("))
