"""Every argument of every public function, with values that are no good: only our own errors."""

from __future__ import annotations

import ast
import inspect
import json
import signal
import textwrap
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pynwb import NWBFile

import si_curation as sic
from si_curation.errors import SiCurationError

plt.switch_backend("Agg")
pytestmark = pytest.mark.slow


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
    "generator": "a generator",
}
# what may take seconds or open windows; or is a container that users do not build
NOT_CALLED = {
    "open_gui",
    "BatchResult",
    "EffectVsQuality",
    "Finding",
    "MergeSuggestions",
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
    """{name of an argument: a value that is right}."""
    table = analyzer.get_extension("curation_metrics").get_data()
    effect = pd.Series(np.arange(len(table), dtype=float), index=table.index)
    return {
        "sorting_analyzer": analyzer,
        "source": analyzer,
        "folder_path": sic.example_folder(),
        "folder": tmp_path / "new",
        "path": tmp_path / "file.nwb",
        "output_folder": tmp_path / "out",
        "unit_id": analyzer.unit_ids[0],
        "unit_a": analyzer.unit_ids[0],
        "unit_b": analyzer.unit_ids[1],
        "unit_ids": analyzer.unit_ids[:2],
        "spike_indices": [0, 1],
        "spike_sets": {"some": [0, 1, 2], "others": [3, 4]},
        "channel_indices": [0],
        "rules": [("num_spikes", "<", 5, "noise")],
        "recipe": {},
        "folders": [sic.example_folder()],
        "analyzers": [analyzer],
        "effect": effect,
        "metrics": table,
        "periods": None,
        "borders": [40.0],
        "table": {"note": {}},
        "nwbfile": NWBFile("session", "identifier", datetime(2026, 1, 1, tzinfo=timezone.utc)),
        "result": sic.effect_vs_quality(effect, table, num_bootstraps=20, num_permutations=19),
    }


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


def fault_of(call):
    """Return what a call raised that is not one of our errors; "" for nothing."""
    with warnings.catch_warnings(), time_limit(30):
        warnings.simplefilter("ignore")
        try:
            call()
        except SiCurationError:
            return ""
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {str(error)[:150]} ({last.filename}:{last.lineno})"
        finally:
            plt.close("all")
    return ""


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
    function = getattr(sic, name)
    quiet = (
        {"progress_bar": False} if "progress_bar" in inspect.signature(function).parameters else {}
    )
    if name in ("set_observed_periods", "set_session_borders", "attach_kilosort_folder"):
        needed["sorting_analyzer"] = needed["sorting_analyzer"].copy()
    faults = {
        text: fault
        for text, values in wrong_calls(function, needed)
        if (fault := fault_of(lambda v=values: function(**{**quiet, **v})))
    }
    assert not faults, f"{len(faults)} of them: " + json.dumps(faults, indent=1)


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
        "group": "good",
        "label": "good",
        "field": "quality",
        "value": "good",
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
        fault = fault_of(lambda v=values, s=session: getattr(s, name)(**v))
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
        fault = fault_of(lambda v=values: copy.compute(name, **v, save=False))
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
            fault = fault_of(lambda v=values, q=question: getattr(extension, q)(**v))
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
