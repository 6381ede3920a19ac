"""The file of a `LabelModel`: JSON with numbers and text, each of which is checked when read.

Arrays are ``{"dtype", "shape", "data"}``, their bytes in base64 (little endian). A checksum of the
content finds what was cut off or changed by accident; what was changed on purpose can be wrong, but
is data still: indices are checked, and the children of a node come after it, so that every walk
through a tree ends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import Checks, check_arguments, is_number, local_path, short_repr
from si_curation.documents import parse_document
from si_curation.errors import FolderNotFoundError, ParameterError
from si_curation.files import check_output_file, replace_file
from si_curation.kernels.trees import Trees
from si_curation.learning.crossvalidation import Learnt, LeftOut
from si_curation.learning.scales import NUM_KNOTS, Scales
from si_curation.learning.steps import Answer, make_questions

_FORMAT = "si_curation label model"
_VERSION = 1
MAX_BYTES = 100_000_000
_DTYPES = {"<f8": np.float64, "<i4": np.int32, "<i8": np.int64, "|u1": np.uint8}
_MAX_ITEMS = 20_000_000
_KEYS = (
    "labels",
    "columns",
    "method",
    "accuracy",
    "session_names",
    "session_digests",
    "metric_params",
    "in_uV",
    "domain",
    "columns_left_out",
    "note",
    "prior",
    "answers",
    "calibrations",
    "scales",
    "most_strange",
    "learnt",
    "learning_curve",
)


def write_model(model: Mapping[str, Any], path: str | Path, overwrite: bool) -> Path:
    """Write the fields of a model; see `LabelModel.save`."""
    target = check_output_file(path, overwrite, kind="a model", suffixes=(".json",))
    content: dict[str, Any] = {name: model[name] for name in _KEYS}
    content["answers"] = [_answer_content(one) for one in model["answers"]]
    content["domain"] = {name: list(ends) for name, ends in model["domain"].items()}
    content["scales"] = _arrays(model["scales"]._asdict())
    content["calibrations"] = _packed(model["calibrations"])
    content["learning_curve"] = _packed(model["learning_curve"])
    learnt = model["learnt"]
    content["learnt"] = {
        "labels": learnt.labels.tolist(),
        "unit_ids": [one if isinstance(one, int) else str(one) for one in learnt.unit_ids],
        "session": _packed(learnt.session),
        **_arrays(learnt.left_out._asdict()),
    }
    text = _text(content)
    whole = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "si_curation": version("si_curation"),
        "sha256": hashlib.sha256(text.encode("ascii")).hexdigest(),
        "model": content,
    }
    replace_file(target, (json.dumps(whole, indent=1) + "\n").encode("ascii"), make_folders=True)
    return target


def _text(content: Any) -> str:
    """Return the text of which the checksum is taken."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _answer_content(answer: Answer) -> dict[str, Any]:
    trees = None
    if answer.trees is not None:
        named = answer.trees._asdict()
        trees = {"start": named.pop("start"), **_arrays(named)}
    return {
        "method": answer.method,
        "trees": trees,
        "weights": _packed(answer.weights),
        "scales": _arrays(answer.scales._asdict()),
    }


def _arrays(named: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: _packed(array) for name, array in named.items()}


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    dtype = next(name for name, of in _DTYPES.items() if array.dtype == of)
    data = np.ascontiguousarray(array.astype(dtype)).tobytes()
    return {
        "dtype": dtype,
        "shape": list(array.shape),
        "data": base64.b64encode(data).decode("ascii"),
    }


def read_model(path: str | Path) -> dict[str, Any]:
    """Read the fields of a model; see `LabelModel.load`."""
    check_arguments(read_model, locals())
    file = local_path(path)
    if not file.is_file():
        raise FolderNotFoundError(
            f"{file} does not exist, expected a model (LabelModel.save, si-curation learn)"
        )
    try:
        size = file.stat().st_size
        content = b"" if size > MAX_BYTES else file.read_bytes()
    except OSError as fault:
        raise ParameterError(f"{file} cannot be read: {fault}") from None
    if size > MAX_BYTES:
        raise ParameterError(f"{file} has {size:,} bytes, expected {MAX_BYTES:,} or fewer")
    whole = parse_document(content, str(file))
    if not isinstance(whole, Mapping) or whole.get("format") != _FORMAT:
        raise ParameterError(
            f"{file} is not a model of labels (LabelModel.save, si-curation learn)"
        )
    if whole.get("format_version") != _VERSION:
        found = short_repr(whole.get("format_version"))
        raise ParameterError(
            f"{file} has version {found} of the format, expected {_VERSION}: learn the model again "
            "with this version of si_curation"
        )
    model = whole.get("model")
    is_whole = isinstance(model, dict) and (
        hashlib.sha256(_text(model).encode("utf-8")).hexdigest() == whole.get("sha256")
    )
    if not is_whole:
        raise ParameterError(f"{file} was changed or is not whole: its checksum differs")
    try:
        return _Reader().model(model or {})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as fault:
        text = " ".join(str(fault).split())
        raise ParameterError(f"{file} is not a model that can be used: {text[:200]}") from None


class _Reader:
    """Makes a model of what a file holds; anything unexpected raises."""

    def model(self, given: dict[str, Any]) -> dict[str, Any]:
        checks = Checks()
        checks.require(set(given) == set(_KEYS), f"keys are {sorted(given)}")
        checks.finish()
        labels, columns = self._texts(given["labels"]), self._texts(given["columns"])
        questions = tuple(make_questions(labels))
        names = self._texts(given["session_names"])
        digests = self._texts(given["session_digests"])
        checks.require(len(digests) == len(names), "session_digests")
        width, asked = len(columns), len(questions)
        checks.require(2 <= len(labels) <= 1000 and labels == tuple(sorted(set(labels))), "labels")
        checks.require(0 < width <= 10_000 and len(set(columns)) == width, "columns")
        checks.require(isinstance(given["answers"], list), "answers")
        checks.choice("method", given["method"], ("trees", "logistic"))
        checks.number("accuracy", given["accuracy"], above=0, at_most=1)
        checks.whole_number("most_strange", given["most_strange"], at_least=0)
        checks.choice("in_uV", given["in_uV"], (True, False, None))
        for name in ("note", "prior"):
            checks.require(isinstance(given[name], str), name)
        for name in ("columns_left_out", "metric_params"):
            optional = given[name] is None and name == "metric_params"
            checks.require(optional or isinstance(given[name], dict), name)
        checks.finish()
        self._check_params(given["metric_params"])
        answers = tuple(self._answer(one, width) for one in given["answers"])
        if len(answers) != asked:
            raise ValueError(f"there are {len(answers)} answers, expected {asked}")
        calibrations = self._array(given["calibrations"], np.float64, (asked, 2))
        curve = self._array(given["learning_curve"], np.float64, (None, 2))
        return dict(
            **{
                name: given[name]
                for name in (
                    "method",
                    "metric_params",
                    "in_uV",
                    "columns_left_out",
                    "note",
                    "prior",
                )
            },
            labels=labels,
            columns=columns,
            session_names=names,
            session_digests=digests,
            accuracy=float(given["accuracy"]),
            most_strange=int(given["most_strange"]),
            questions=questions,
            answers=answers,
            calibrations=calibrations,
            domain=self._domain(given["domain"]),
            scales=self._scales(given["scales"], width),
            learnt=self._learnt(given["learnt"], labels, len(names), asked),
            learning_curve=curve,
        )

    def _check_params(self, params: Any) -> None:
        for name, of in (params or {}).items():
            if not isinstance(of, dict):
                raise ValueError(f"metric_params of {short_repr(name)}")

    def _domain(self, given: Any) -> dict[str, tuple[float, float]]:
        out = {}
        for name, ends in given.items():
            low, high = ends
            if not is_number(low) or not is_number(high) or not 0 < low <= high < np.inf:
                raise ValueError(f"domain of {short_repr(name)}")
            out[str(name)] = (float(low), float(high))
        return out

    def _learnt(self, given: Any, labels: tuple[str, ...], num_sessions: int, asked: int) -> Learnt:
        texts = given["labels"]
        count = len(texts)
        if not count or not set(texts) == set(labels):
            raise ValueError("labels of the units")
        ids = given["unit_ids"]
        if len(ids) != count or not all(isinstance(one, str) or type(one) is int for one in ids):
            raise ValueError("unit_ids")
        session = self._array(given["session"], np.int64, (count,))
        self._between("session", session, 0, num_sessions)
        odds = self._array(given["log_odds"], np.float64, (count, asked))
        strange = self._array(given["strange"], np.int64, (count,))
        return Learnt(np.array(texts), session, list(ids), LeftOut(odds, strange))

    def _answer(self, given: Any, width: int) -> Answer:
        method = given["method"]
        scales = self._scales(given["scales"], width)
        if method == "trees":
            weights = self._array(given["weights"], np.float64, (0,))
            return Answer(method, self._trees(given["trees"], width), weights, scales)
        if method not in ("logistic", "constant") or given["trees"] is not None:
            raise ValueError(f"method is {short_repr(method)}")
        return Answer(method, None, self._array(given["weights"], np.float64, (width + 1,)), scales)

    def _scales(self, given: Any, width: int) -> Scales:
        return Scales(
            self._array(given["knots"], np.float64, (width, NUM_KNOTS)),
            self._array(given["limits"], np.float64, (width, 4)),
            self._array(given["known"], np.float64, (width,)),
        )

    def _trees(self, given: Any, width: int) -> Trees:
        column = self._array(given["column"], np.int32, (None, None))
        shape = column.shape
        trees = Trees(
            column,
            self._array(given["threshold"], np.float64, shape),
            self._array(given["nan_left"], np.uint8, shape),
            self._array(given["left"], np.int32, shape),
            self._array(given["right"], np.int32, shape),
            self._array(given["value"], np.float64, shape),
            float(given["start"]) if is_number(given["start"]) else np.nan,
        )
        if not np.isfinite(trees.start) or 0 in shape:
            raise ValueError("start or shape of the trees")
        self._between("column", column, -1, width)
        own = np.arange(shape[1])[np.newaxis]
        inner = column >= 0
        for child in (trees.left, trees.right):
            if np.any(inner & ((child <= own) | (child >= shape[1]))):
                raise ValueError("a child of a tree's node does not come after it")
        return trees

    def _texts(self, given: Any) -> tuple[str, ...]:
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise ValueError(f"{short_repr(given)}, expected a list of texts")
        return tuple(given)

    def _between(self, name: str, array: NDArray[Any], low: int, high: int) -> None:
        if np.any((array < low) | (array >= high)):
            raise ValueError(f"{name} has values outside of {low} to {high - 1}")

    def _array(self, given: Any, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return an array of that dtype and shape; finite, where it is of numbers."""
        sizes = given["shape"]
        if _DTYPES.get(given["dtype"]) is not dtype:
            raise ValueError(f"dtype is {short_repr(given['dtype'])}")
        if not isinstance(sizes, list) or not all(type(n) is int and n >= 0 for n in sizes):
            raise ValueError(f"shape is {short_repr(sizes)}")
        fits = len(sizes) == len(shape) and all(
            wanted in (None, found) for wanted, found in zip(shape, sizes, strict=True)
        )
        count = 1
        for one in sizes:
            count *= one
        if not fits or count > _MAX_ITEMS:
            raise ValueError(f"shape is {short_repr(sizes)}, expected {short_repr(shape)}")
        try:
            data = base64.b64decode(given["data"], validate=True)
        except binascii.Error as fault:
            raise ValueError(str(fault)) from None
        if len(data) != count * np.dtype(given["dtype"]).itemsize:
            raise ValueError(f"an array has {len(data)} bytes, which its shape does not")
        array = np.frombuffer(data, dtype=given["dtype"]).reshape(sizes).astype(dtype)
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ValueError("an array has NaN")
        return array
