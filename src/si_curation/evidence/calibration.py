"""`Calibration`: from the score of a suggestion to the probability that it is right.

Scores rank suggestions; what share of those with a score of 0.8 is right differs between sorters
and recordings. Suggestions whose outcome is known tell it: from `benchmark_suggestions`, or from
what curators accepted and rejected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from si_curation.checks import (
    Checks,
    check_arguments,
    is_number,
    is_whole_number,
    local_path,
    short_repr,
)
from si_curation.documents import read_document
from si_curation.errors import MissingDataError, ParameterError
from si_curation.files import check_output_file, replace_file
from si_curation.variables import CALIBRATION

#: With fewer suggestions or folders, no calibration is made.
MIN_SUGGESTIONS, MIN_GROUPS = 30, 3
# as many suggestions have a score at or below the lowest one that is calibrated
MIN_BELOW = 5
# scores beyond these are as good as these
LOWEST, HIGHEST = 0.01, 0.99
COLUMNS = tuple(CALIBRATION)
#: What can be suggested.
KINDS = ("merges", "splits", "cleaning", "duplicates")
_WHAT = "calibration of suggestions"


@dataclass(frozen=True)
class Calibration:
    """A monotone map from the score of a suggestion to the probability that it is right.

    Made by `Calibration.fit`.

    Attributes
    ----------
    kind : str
        What the scores are of: "merges", "splits", ...
    intercept, slope : float
        ``probability = 1 / (1 + exp(-(intercept + slope log(score / (1 - score)))))``; the slope is
        not below 0.
    variances : tuple of three float
        Of the intercept, of the slope, and their covariance.
    lowest_score, highest_score : float
        Between them there is a probability.
    num_suggestions, num_right, num_groups : int
        What it was made from.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> score, folder = rng.uniform(size=300), np.repeat(["a", "b", "c"], 100)
    >>> calibration = Calibration.fit(score, rng.uniform(size=300) < score, folder)
    >>> calibration
    Calibration of merges: 300 suggestions of 3 folders, 152 right, scores 0.01 to 0.99
    >>> calibration.predict([0.2, 0.8]).round(2).iloc[:, 0].tolist()
    [0.15, 0.78]
    """

    kind: str
    intercept: float
    slope: float
    variances: tuple[float, float, float]
    lowest_score: float
    highest_score: float
    num_suggestions: int
    num_right: int
    num_groups: int

    def __repr__(self) -> str:
        return (
            f"Calibration of {self.kind}: {self.num_suggestions} suggestions of {self.num_groups} "
            f"folders, {self.num_right} right, scores {self.lowest_score:.2f} to "
            f"{self.highest_score:.2f}"
        )

    @classmethod
    def fit(
        cls,
        scores: ArrayLike,
        outcomes: ArrayLike,
        groups: Sequence[Any] | NDArray[Any],
        *,
        kind: str = "merges",
    ) -> Calibration:
        """Return the calibration of suggestions whose outcomes are known.

        Parameters
        ----------
        scores : array (n_suggestions,)
            0 to 1; those beyond 0.01 and 0.99 count as these.
        outcomes : array (n_suggestions,) bool
            Whether each suggestion was right.
        groups : sequence (n_suggestions,)
            The folder of each suggestion, or whatever they have in common.
        kind : str
            What was suggested.

        Returns
        -------
        Calibration

        Raises
        ------
        ParameterError
            The three are not equally long, or a score is no number from 0 to 1.
        MissingDataError
            There are fewer than 30 suggestions, or fewer than 3 folders.

        Notes
        -----
        Logistic regression on the logit of the score with the targets of Platt (1999),
        ``(n_right + 1) / (n_right + 2)`` and ``1 / (n_wrong + 2)``, which keep the probability from
        0 and 1 where all suggestions were right, or none. The variances are the larger of the
        model's and those of sums over folders (the sandwich of Liang and Zeger, 1986, times
        ``n_groups / (n_groups - 1)``), so that suggestions of one folder do not count as
        independent.
        """
        score, is_right, group = _checked(scores, outcomes, groups, kind)
        right, wrong = int(is_right.sum()), int((~is_right).sum())
        target = np.where(is_right, (right + 1) / (right + 2), 1 / (wrong + 2))
        design = np.column_stack([np.ones(score.size), _logit(score)])
        at, variance = _fit(design, target, group)
        below = np.partition(score, MIN_BELOW - 1)[MIN_BELOW - 1]
        return cls(
            kind,
            float(at[0]),
            float(at[1]),
            (float(variance[0, 0]), float(variance[1, 1]), float(variance[0, 1])),
            float(np.clip(below, LOWEST, HIGHEST)),
            float(np.clip(score.max(), LOWEST, HIGHEST)),
            score.size,
            right,
            int(group.max()) + 1,
        )

    def updated(self, scores: ArrayLike, outcomes: ArrayLike) -> Calibration:
        """Return the calibration after a review of real suggestions, which shifts it as a whole.

        What curators accepted and rejected tells how much more, or less, often real suggestions are
        right than those that it was made from.

        Parameters
        ----------
        scores : array (n_suggestions,)
        outcomes : array (n_suggestions,) bool
            Whether each suggestion was accepted. Those whose score is not calibrated do not count.

        Returns
        -------
        Calibration
            With another intercept: the most probable one if it was normally distributed about the
            one before, with a standard deviation of 1. So ten reviews shift it a little, and a
            hundred decide. The counts are of both together, those of the folders as before.

        Raises
        ------
        ParameterError
            The two are not equally long, or a score is no number from 0 to 1.

        Examples
        --------
        >>> score = np.tile(np.linspace(0.3, 0.9, 50), 4)
        >>> before = Calibration.fit(score, score > 0.5, np.repeat(["a", "b", "c", "d"], 50))
        >>> after = before.updated(score, np.ones(200, dtype=bool))
        >>> bool(after.predict(0.5).probability[0] > before.predict(0.5).probability[0])
        True
        """
        score, is_right = _checked_pairs(
            scores, outcomes, Checks.of_call(Calibration.updated, locals())
        )
        known = (score >= self.lowest_score) & (
            np.clip(score, LOWEST, HIGHEST) <= self.highest_score
        )
        score, is_right = score[known], is_right[known]
        if not score.size:
            return self
        at = self.intercept + self.slope * _logit(score)

        def slope_of_loss(shift: float) -> float:
            return float(np.sum(special.expit(at + shift) - is_right) + shift)

        shift = float(optimize.brentq(slope_of_loss, -30.0 - score.size, 30.0 + score.size))
        p = special.expit(at + shift)
        of_shift = 1 / (1 + np.sum(p * (1 - p)))
        before, of_slope, of_both = self.variances
        return replace(
            self,
            intercept=self.intercept + shift,
            variances=(float(before + of_shift), of_slope, of_both),
            num_suggestions=self.num_suggestions + score.size,
            num_right=self.num_right + int(is_right.sum()),
        )

    def add_to(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of suggestions with the columns of `predict` after its score.

        The score is the column ``score``; of duplicate units, which have none, ``share``. Splits
        have a probability where their method is "features": the scores of the others are of
        another kind.
        """
        check_arguments(Calibration.add_to, locals())
        score = "share" if self.kind == "duplicates" else "score"
        if score not in table.columns:
            raise ParameterError(f"table has no column {score}, expected one of suggestions")
        others = table.drop(columns=list(COLUMNS), errors="ignore")
        place = others.columns.get_loc(score) + 1
        values = others[score].to_numpy(dtype=np.float64)
        if self.kind == "splits" and "method" in others:
            values = np.where(others["method"] == "features", values, np.nan)
        found = self.predict(values).set_index(others.index)
        return pd.concat([others.iloc[:, :place], found, others.iloc[:, place:]], axis=1)

    def predict(self, scores: ArrayLike) -> pd.DataFrame:
        """Return the probability that suggestions are right, with 95 % intervals.

        Parameters
        ----------
        scores : array (n_suggestions,)

        Returns
        -------
        pandas.DataFrame
            ``probability``, ``probability_low``, ``probability_high``; NaN where the score is
            below or above those that it was made from, or NaN. The interval is that of the mean
            over folders like these (Student's t with one degree of freedom less than folders).
        """
        check_arguments(Calibration.predict, locals())
        score = np.clip(np.atleast_1d(np.asarray(scores, dtype=np.float64)), LOWEST, HIGHEST)
        known = (score >= self.lowest_score) & (score <= self.highest_score)
        x = _logit(np.where(known, score, 0.5))
        at = self.intercept + self.slope * x
        of_intercept, of_slope, of_both = self.variances
        variance = of_intercept + 2 * of_both * x + of_slope * x**2
        half = stats.t.ppf(0.975, self.num_groups - 1) * np.sqrt(np.maximum(variance, 0.0))
        values = special.expit(np.column_stack([at, at - half, at + half]))
        return pd.DataFrame(np.where(known[:, None], values, np.nan), columns=list(COLUMNS))

    def to_json(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the calibration as JSON.

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        check_arguments(Calibration.to_json, locals())
        target = check_output_file(path, overwrite)
        content = {"what": _WHAT, "format_version": 1, **asdict(self)}
        replace_file(
            target, (json.dumps(content, indent=1) + "\n").encode("utf-8"), make_folders=True
        )
        return target

    @classmethod
    def from_json(cls, path: str | Path) -> Calibration:
        """Read a calibration that `to_json` wrote.

        Raises
        ------
        FolderNotFoundError
            There is no such file.
        ParameterError
            It is no calibration; all problems at once.
        """
        check_arguments(Calibration.from_json, locals())
        source = local_path(path)
        content = read_document(source, expected="a calibration")
        return cls(**_check_content(content, f"{source}"))


def read_calibration(calibration: Calibration | str | Path | None, kind: str) -> Calibration | None:
    """Return a calibration, or that of a file; None for None.

    Raises
    ------
    FolderNotFoundError
        There is no such file.
    ParameterError
        It is none, or one of another kind of suggestion.
    """
    if calibration is None:
        return None
    found, name = calibration, "calibration"
    if not isinstance(found, Calibration):
        name = f"calibration {found}"
        found = Calibration.from_json(found)
    if found.kind != kind:
        raise ParameterError(
            f"{name} is one of {found.kind}, expected one of {kind}: "
            f'calibrate_suggestions(benchmarks, "{kind}")'
        )
    return found


def read_calibrations(calibrations: object) -> dict[str, Calibration]:
    """Return calibrations by kind of suggestion, of a mapping that may name files; {} for None.

    Raises
    ------
    FolderNotFoundError
        There is no such file.
    ParameterError
        It is no such mapping, a kind is not known, or a calibration is one of another kind.
    """
    if calibrations is None:
        return {}
    checks = Checks()
    if not (
        isinstance(calibrations, Mapping)
        and set(calibrations) <= set(KINDS)
        and all(isinstance(one, Calibration | str | Path) for one in calibrations.values())
    ):
        checks.add(
            f"calibrations is no mapping of any of {', '.join(KINDS)} to a Calibration or its file"
        )
    checks.finish()
    assert isinstance(calibrations, Mapping)
    found = {kind: read_calibration(one, kind) for kind, one in calibrations.items()}
    return {kind: one for kind, one in found.items() if one is not None}


def with_probability(table: pd.DataFrame, calibration: Calibration | None) -> pd.DataFrame:
    """Return a table of suggestions with the columns of a calibration, if there is one."""
    return table if calibration is None else calibration.add_to(table)


def _logit(score: NDArray[np.float64]) -> NDArray[np.float64]:
    return special.logit(np.clip(score, LOWEST, HIGHEST))


def _checked(
    scores: ArrayLike, outcomes: ArrayLike, groups: Sequence[Any] | NDArray[Any], kind: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return scores, outcomes and the number of the group of each; or raise."""
    checks = Checks.of_call(_checked, locals())
    checks.stop_without("groups", "kind")
    names = [str(one) for one in groups]
    score, right = _checked_pairs(scores, outcomes, checks, len(names))
    group = np.unique(names, return_inverse=True)[1] if names else np.zeros(0, dtype=np.int64)
    num_groups = len(set(names))
    if score.size < MIN_SUGGESTIONS or num_groups < MIN_GROUPS:
        raise MissingDataError(
            f"there are {score.size} suggestions of {num_groups} folders whose outcome is known, "
            f"expected at least {MIN_SUGGESTIONS} of {MIN_GROUPS} folders to calibrate "
            f"{short_repr(kind)}: benchmark more folders, or review more suggestions"
        )
    return score, right, group.astype(np.int64)


def _checked_pairs(
    scores: ArrayLike, outcomes: ArrayLike, checks: Checks, num_groups: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores and outcomes, or raise with what `checks` found before, too."""
    checks.stop_without("scores", "outcomes")
    score, right = np.atleast_1d(np.asarray(scores)), np.atleast_1d(np.asarray(outcomes))
    names, lengths = "scores and outcomes", {score.size, right.size}
    counts = f"{score.size} and {right.size}"
    if num_groups is not None:
        names, counts = (
            "scores, outcomes and groups",
            f"{score.size}, {right.size} and {num_groups}",
        )
        lengths |= {num_groups}
    checks.require(
        len(lengths) == 1 and score.ndim == right.ndim == 1,
        f"{names} have {counts} values, expected as many of each, in one row",
    )
    checks.require(
        score.dtype.kind in "iuf" and bool(np.all((score >= 0) & (score <= 1))),
        "scores has values that are no numbers from 0 to 1: leave these suggestions out",
    )
    checks.require(
        right.dtype.kind == "b" or bool(np.isin(right, (0, 1)).all()),
        "outcomes has other values than True and False",
    )
    checks.finish()
    return score.astype(np.float64), right.astype(bool)


def _fit(
    design: NDArray[np.float64], target: NDArray[np.float64], group: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intercept and slope, and their covariance; a slope that is not above 0 is 0."""
    used = 2 if np.ptp(design[:, 1]) > 1e-6 else 1
    at = _newton(design[:, :used], target)
    if used == 2 and at[1] <= 0:
        used, at = 1, _newton(design[:, :1], target)
    x = design[:, :used]
    p = special.expit(x @ at)
    model = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    residuals = np.zeros((int(group.max()) + 1, used))
    np.add.at(residuals, group, x * (target - p)[:, None])
    factor = len(residuals) / (len(residuals) - 1)
    robust = factor * model @ (residuals.T @ residuals) @ model
    full, covariance = np.zeros(2), np.zeros((2, 2))
    full[:used] = at
    larger = model if np.trace(x @ model @ x.T) >= np.trace(x @ robust @ x.T) else robust
    covariance[:used, :used] = larger
    return full, covariance


def _newton(x: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maximize the likelihood of a logistic regression."""

    def loss(at: NDArray[np.float64]) -> float:
        eta = x @ at
        return float(np.sum(np.logaddexp(0.0, eta) - target * eta))

    at = np.zeros(x.shape[1])
    at[0] = special.logit(target.mean())
    for _ in range(100):
        p = special.expit(x @ at)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, x.T @ (target - p))
        while loss(at + step) > loss(at) + 1e-12 and np.abs(step).max() > 1e-10:
            step /= 2
        at = at + step
        if np.abs(step).max() < 1e-10:
            break
    return at


def _check_content(content: Any, name: str) -> dict[str, Any]:
    """Return the attributes that a document holds, or raise with all its problems."""
    if not isinstance(content, dict) or content.get("what") != _WHAT:
        raise ParameterError(f'{name} is no calibration: it has no "what": "{_WHAT}"')
    if content.get("format_version") != 1:
        raise ParameterError(
            f"{name}: format_version is {content.get('format_version')!r}, expected 1; it was "
            "written by another version of si_curation"
        )
    checks = Checks(name)
    found: dict[str, Any] = {"kind": content.get("kind")}
    checks.require(isinstance(found["kind"], str), "kind is missing, expected text")
    for key, lowest in (("intercept", -np.inf), ("slope", 0.0)):
        found[key] = checks.number(key, content.get(key), at_least=lowest)
    highest = checks.number("highest_score", content.get("highest_score"), at_least=0, at_most=1)
    found["highest_score"] = highest
    top = highest if is_number(highest) else 1.0
    found["lowest_score"] = checks.number(
        "lowest_score", content.get("lowest_score"), at_least=0, at_most=top
    )
    num = checks.whole_number("num_suggestions", content.get("num_suggestions"), at_least=1)
    found["num_suggestions"] = num
    most = num if is_whole_number(num) else np.inf
    for key, least in (("num_right", 0), ("num_groups", 2)):
        found[key] = checks.whole_number(key, content.get(key), at_least=least, at_most=most)
    found["variances"] = content.get("variances")
    if checks.require(
        _are_variances(found["variances"]),
        "variances is wrong or missing, expected three numbers, the first two not below 0",
    ):
        found["variances"] = tuple(float(v) for v in found["variances"])
    checks.finish()
    return found


def _are_variances(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) == 3
    if not is_list or not all(is_number(v) and np.isfinite(v) for v in value):
        return False
    return bool(min(value[:2]) >= 0)
