"""`learn_labels` and `LabelModel`: labels learnt from curators, and told where they are sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, check_arguments, import_optional, join_problems, short_repr
from si_curation.curation.label_rules import UNDECIDED
from si_curation.errors import MissingDataError, ParameterError
from si_curation.learning.crossvalidation import (
    Learnt,
    LeftOut,
    Prior,
    calibrate_all,
    learn_all,
    leave_sessions_out,
    most_strange,
    thresholds_for,
    with_prior,
)
from si_curation.learning.domain import Domain, unlike
from si_curation.learning.inputs import (
    Metrics,
    Sessions,
    check_table,
    is_amplitude,
    metrics_of,
    params_that_differ,
    prior_of,
    sessions_of_analyzers,
    sessions_of_table,
)
from si_curation.learning.labels import LearntLabels
from si_curation.learning.metric_params import MetricParams
from si_curation.learning.model_file import read_model, write_model
from si_curation.learning.report import LabelReport, Unseen, area_under_roc, make_report
from si_curation.learning.scales import (
    MOST_SHIFTED,
    Scales,
    measure_scales,
    scaled,
    shifted_columns,
    strange_values,
)
from si_curation.learning.steps import (
    FEW_UNITS,
    MIN_UNITS,
    Answer,
    Question,
    ask,
    label_probabilities,
    make_questions,
    path_to,
)
from si_curation.quality.metrics.registry import METRICS
from si_curation.shown import Shown
from si_curation.variables import LEARNT_LABELS, Explanation, explanations_text

_NUM_SPOKEN = 3
_SHOWN = 3
_CURVE = (0.125, 0.25, 0.5)
# of the area under the ROC curve; for less, labels of others are not taken
_LEAST_GAIN = 0.02
# the order of work: so many units, of so many that the model is least sure of
_BATCH, _AMONG = 20, 100


@dataclass(frozen=True, eq=False, repr=False)
class LabelModel(Shown):
    """Labels learnt from curated sessions. Made by `learn_labels` or `LabelModel.load`.

    Attributes
    ----------
    labels : tuple of str
        That it can give.
    columns : tuple of str
        Of the metrics that it looks at.
    method : {"trees", "logistic"}
    accuracy : float
        Share of its labels that are to be right; it is undecided about other units.
    session_names : tuple of str
        That it was learnt from.
    session_digests : tuple of str
        SHA-256 of the metrics of each of them.
    metric_params : dict or None
        Parameters of the metrics; None where they are not known.
    in_uV : bool or None
        Whether amplitudes are in µV.
    domain : dict of str to tuple of float
        Sampling rates and probes that it saw, {what: (lowest, highest)}; empty where it was learnt
        from a table.
    columns_left_out : dict of str to str
        Columns that it does not look at, and why.
    note : str
        Source and licence of the labels.
    prior : str
        Labels of others that it was learnt from too, or was not better with; "" without.
    questions, answers, calibrations, scales, most_strange, learnt, learning_curve
        What was learnt.
    """

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    method: str
    accuracy: float
    session_names: tuple[str, ...]
    session_digests: tuple[str, ...]
    metric_params: dict[str, dict[str, Any]] | None
    in_uV: bool | None
    domain: Domain
    columns_left_out: dict[str, str]
    note: str
    prior: str
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    calibrations: NDArray[np.float64]
    scales: Scales
    most_strange: int
    learnt: Learnt
    learning_curve: NDArray[np.float64]

    _table_shown = "cross_validation"

    def __repr__(self) -> str:
        return (
            f"LabelModel: {', '.join(self.labels)} from {len(self.learnt.labels)} units of "
            f"{len(self.session_names)} sessions, {len(self.columns)} columns, {self.method}, "
            f"accuracy {self.accuracy:g}"
        )

    def label(
        self,
        sorting_analyzer: SortingAnalyzer | None = None,
        metrics: pd.DataFrame | None = None,
        *,
        accuracy: float | None = None,
    ) -> LearntLabels:
        """Label the units of a session, and leave undecided those that the model is not sure of.

        A unit is undecided where its probability is below that at which so many labels of sessions
        that were left out were right, and where the unit, or the whole session, is outside of what
        the model saw: by its metrics, and an analyzer by its sampling rate and probe.

        Parameters
        ----------
        sorting_analyzer : SortingAnalyzer, optional
            Metrics of its "curation_metrics" are taken; those that are not there are computed, with
            the parameters of the model, and not kept.
        metrics : pandas.DataFrame, optional
            Indexed by unit id, in place of the analyzer's; made with the model's parameters, which
            cannot be checked.
        accuracy : float, optional
            Share of the labels that are to be right, in place of the model's `accuracy`.

        Returns
        -------
        LearntLabels
            ``.table`` and ``.apply_to(session)``.

        Raises
        ------
        MissingDataError
            There are neither metrics nor an analyzer, or columns are missing.
        ParameterError
            Metrics were made with other parameters than the model's, or amplitudes are in another
            unit: what differs is named.
        """
        checks = Checks.of_call(LabelModel.label, locals())
        checks.number("accuracy", accuracy, above=0, at_most=1, optional=True)
        checks.finish()
        wanted = self.accuracy if accuracy is None else float(accuracy)
        table, elsewhere = self._metrics(sorting_analyzer, metrics)
        values = self._values(table)
        log_odds, parts = self._ask(values)
        chances = label_probabilities(log_odds, self.questions, self.calibrations, self.labels)
        best = chances.argmax(axis=1)
        strange = strange_values(self.scales, values)
        shifted = shifted_columns(self.scales, values)
        limits = self.thresholds(wanted)
        rows = []
        for place, at in enumerate(best):
            label = self.labels[at]
            limit = (limits[label], wanted)
            rows.append(self._row(label, chances[place, at], values[place], parts[place], limit))
        out = pd.DataFrame(rows, columns=list(LEARNT_LABELS), index=table.index.rename("unit_id"))
        out["num_outside"] = strange.sum(axis=1)
        out["order_of_work"] = _order_of_work(chances.max(axis=1), scaled(self.scales, values))
        self._abstain(out, strange, shifted, elsewhere)
        types: dict[str, Any] = {"decided": bool, "probability": np.float64}
        types |= {"num_outside": np.int64, "order_of_work": np.int64}
        probabilities = pd.DataFrame(chances, columns=list(self.labels), index=out.index)
        return LearntLabels(out.astype(types), model_name=repr(self), probabilities=probabilities)

    def thresholds(self, accuracy: float | None = None) -> dict[str, float]:
        """Return the lowest probability at which each label is given; inf where it never is.

        Of sessions that were left out of the learning, so many of the labels were right.
        """
        wanted = self.accuracy if accuracy is None else accuracy
        truth = np.searchsorted(np.array(self.labels), self.learnt.labels)
        found = thresholds_for(self.chances_unseen(), truth, wanted)
        return dict(zip(self.labels, found.tolist(), strict=True))

    def chances_unseen(self) -> NDArray[np.float64]:
        """Return the probability of each label for each labelled unit, its session left out."""
        odds = self.learnt.left_out.log_odds
        return label_probabilities(odds, self.questions, self.calibrations, self.labels)

    def report(self) -> LabelReport:
        """Return how right the labels of sessions are that were left out of the learning."""
        return make_report(
            Unseen(
                self.labels,
                self.session_names,
                self.questions,
                self.learnt,
                self.chances_unseen(),
                self.thresholds,
                self.accuracy,
                self.most_strange,
                self.learning_curve,
            )
        )

    def most_useful(
        self,
        sorting_analyzer: SortingAnalyzer | None = None,
        n: int = 20,
        metrics: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return units to look at first: the model is not sure of them, and they differ.

        They differ from each other: of the hundred least sure ones each next unit is the one
        farthest from those that were taken; after twenty units, of the hundred least sure ones that
        are left. The order of all units is ``order_of_work`` of `label`'s table, which
        `export_report` and `open_gui` show.

        Parameters
        ----------
        sorting_analyzer, metrics
            As of `label`.
        n : int
            Number of units.

        Returns
        -------
        pandas.DataFrame
            Rows of `label`'s table, in the order of work.

        Raises
        ------
        MissingDataError, ParameterError
            As of `label`.

        Notes
        -----
        These are the units for which a person is needed most. That a model learns more from them
        was not shown: 40 more labels, beside 100, raised the area under the ROC curve of a public
        recording that was left out by 0.007 where they were of these units, and by 0.006 where they
        were drawn at random (32 trials; the difference is 0.001 with a standard error of 0.005).
        """
        checks = Checks.of_call(LabelModel.most_useful, locals())
        checks.whole_number("n", n, at_least=1)
        checks.finish()
        table = self.label(sorting_analyzer, metrics).table
        return table.sort_values("order_of_work").head(n)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the model as JSON: numbers and text, no code. See `load`.

        Parameters
        ----------
        path : str or Path
            Ends in ``.json``.
        overwrite : bool

        Returns
        -------
        Path

        Raises
        ------
        OutputExistsError, ParameterError
            The file exists, or cannot be written there.
        """
        check_arguments(LabelModel.save, locals())
        return write_model(
            {one.name: getattr(self, one.name) for one in fields(self)}, path, overwrite
        )

    @classmethod
    def load(cls, path: str | Path) -> LabelModel:
        """Read a model that `save` wrote; it says the same, to the last bit.

        Nothing that the file holds is run: it is numbers and text, and each is checked.

        Raises
        ------
        FolderNotFoundError
            There is no such file.
        ParameterError
            The file is of another version, cut off, changed, too large, or no model.
        """
        return cls(**read_model(path))

    def _metrics(
        self, analyzer: SortingAnalyzer | None, metrics: pd.DataFrame | None
    ) -> tuple[pd.DataFrame, str]:
        """Return the metrics to label by, and in what the recording is unlike those that were seen.

        Raises an error if the metrics are not those of the model.
        """
        if metrics is not None:
            if metrics.index.has_duplicates:
                raise ParameterError("metrics: a unit has two rows, expected one for each unit")
            return metrics, ""
        if analyzer is None:
            raise MissingDataError("there is neither an analyzer nor a table of metrics; give one")
        if self.metric_params is None:
            raise ParameterError(
                "the model is from a table of metrics whose parameters are not known, so that it "
                "cannot be compared with those of the analyzer: learn with metric_params= "
                '("default", an analyzer, or {metric: {parameter: value}}), or give metrics= made '
                "in the same way"
            )
        names = [name for name, one in METRICS.items() if set(one.columns) & set(self.columns)]
        found: Metrics = metrics_of(analyzer, self.metric_params, names)
        needed = {k: v for k, v in self.metric_params.items() if k in (*names, "periods")}
        problems = params_that_differ(needed, found.params or {})
        amplitudes = [name for name in self.columns if is_amplitude(name)]
        if self.in_uV is not None and amplitudes and found.in_uV != self.in_uV:
            where = "in µV" if self.in_uV else "not in µV"
            problems.append(
                f"amplitudes ({join_problems(amplitudes[:3])}) were {where} where the model learnt"
            )
        if problems:
            raise ParameterError(
                f"the metrics are not those of the model: {join_problems(problems)}; compute "
                "curation_metrics with metric_params=model.metric_params"
            )
        return found.table, unlike(self.domain, found.recording)

    def _values(self, table: pd.DataFrame) -> NDArray[np.float64]:
        missing = [name for name in self.columns if name not in table.columns]
        if missing:
            raise MissingDataError(
                f"metrics {short_repr(missing)} are not there, which the model looks at"
            )
        texts = [n for n in self.columns if not pd.api.types.is_numeric_dtype(table[n].dtype)]
        if texts:
            raise ParameterError(f"metrics {short_repr(texts)} hold texts, expected numbers")
        values = table[list(self.columns)].to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan)

    def _ask(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return log odds (n_units, n_questions), and parts (n_units, n_questions, n_columns)."""
        found = [ask(answer, values) for answer in self.answers]
        return np.stack([f[0] for f in found], axis=1), np.stack([f[1] for f in found], axis=1)

    def _row(
        self,
        label: str,
        chance: float,
        values: NDArray[np.float64],
        parts: NDArray[np.float64],
        limits: tuple[float, float],
    ) -> list[Any]:
        """Return the row of a unit, before it is known whether it is outside."""
        total = np.zeros(len(values))
        for number, sign in path_to(label, self.questions):
            total = total + sign * parts[number]
        first = np.argsort(-total, kind="stable")[:_NUM_SPOKEN]
        spoken = [int(one) for one in first if total[one] > 0]
        names = [self.columns[one] for one in spoken]
        shown = join_problems(
            [f"{self.columns[one]} ({values[one]:.4g})" for one in spoken]
        ).replace("; ", ", ")
        why = [Explanation("learnt_columns", label=label, columns=shown)] if spoken else []
        threshold, accuracy = limits
        decided = chance >= threshold
        if np.isinf(threshold):
            why = [Explanation("learnt_no_threshold", label=label, accuracy=accuracy), *why]
        elif not decided:
            unsure = Explanation(
                "learnt_unsure", label=label, probability=chance, threshold=threshold
            )
            why = [unsure, *why]
        names += [""] * (_NUM_SPOKEN - len(names))
        doubt = "" if decided else "unsure"
        given = label if decided else UNDECIDED
        return [given, decided, label, chance, doubt, 0, *names, 0, explanations_text(why)]

    def _abstain(
        self,
        table: pd.DataFrame,
        strange: NDArray[np.bool_],
        shifted: NDArray[np.bool_],
        elsewhere: str,
    ) -> None:
        """Leave undecided what is outside of what the model saw; the table is changed."""
        names = np.array(self.columns)

        def refuse(rows: NDArray[np.bool_], doubt: str, why: list[str]) -> None:
            table.loc[rows, ["label", "decided", "doubt"]] = [UNDECIDED, False, doubt]
            table.loc[rows, "reason"] = why

        outside = strange.sum(axis=1) > self.most_strange
        refuse(outside, "unit_outside", [_outside("unit", names[one]) for one in strange[outside]])
        why = [_outside("session", names[shifted])] if shifted.mean() > MOST_SHIFTED else []
        if elsewhere:
            why.append(str(Explanation("learnt_recording_outside", what=elsewhere)))
        if why:
            everywhere = np.ones(len(table), dtype=bool)
            refuse(everywhere, "session_outside", ["; ".join(why)] * len(table))


def _order_of_work(surest: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place of each unit in the order of work, from 1."""
    left = np.argsort(surest, kind="stable")
    order: list[int] = []
    apart = np.full(len(surest), np.inf)  # squared distance from the units of this batch
    while len(left):
        if len(order) % _BATCH == 0:
            apart[:] = np.inf
            among = left[:_AMONG]
        taken = among[np.argmax(apart[among])]
        order.append(int(taken))
        left, among = left[left != taken], among[among != taken]
        apart[among] = np.minimum(
            apart[among], np.square(places[among] - places[taken]).sum(axis=1)
        )
    out = np.zeros(len(surest), dtype=np.int64)
    out[order] = np.arange(1, len(order) + 1)
    return out


def _outside(what: str, columns: NDArray[np.str_]) -> str:
    shown = ", ".join(columns[:_SHOWN]) + (", ..." if len(columns) > _SHOWN else "")
    return str(Explanation(f"learnt_{what}_outside", count=len(columns), columns=shown))


def learn_labels(
    sessions: Any,
    column: str = "group",
    *,
    columns: Sequence[str] | None = None,
    session_column: str = "session",
    metric_params: MetricParams | None = None,
    accuracy: float = 0.95,
    method: Literal["auto", "trees", "logistic"] = "auto",
    prior: pd.DataFrame | None = None,
    prior_name: str = "",
    note: str = "",
) -> LabelModel:
    """Learn labels from curated sessions.

    Parameters
    ----------
    sessions : sequence or mapping of str, Path or SortingAnalyzer, or pandas.DataFrame
        Two or more: folders of phy, saved analyzers, analyzers; a mapping names them. Or a table
        with a row for each unit.
    column : str
        Of the labels: of the folders ("group" is phy's), or of the table. Units without a label, or
        "unsorted", are left out.
    columns : sequence of str, optional
        Of the metrics to learn from. By default all of `curation_metrics` but those of place,
        template, sorter and number of spikes; all columns of numbers of a table.
    session_column : str
        Of a table: names the session of each unit.
    metric_params : mapping, SortingAnalyzer or "default", optional
        Of a table: the parameters with which its metrics were made, {metric: {parameter: value}}
        (those that are left out are the defaults); an analyzer whose "curation_metrics" were made
        like them; or "default". Without them a model of a table labels tables alone.
    accuracy : float
        Share of the labels that are to be right. The model is undecided about other units.
    method : {"auto", "trees", "logistic"}
        Boosted trees; a weighted sum of the columns. "auto": trees from 100 labelled units.
    prior : pandas.DataFrame, optional
        Labelled units of others to learn from too, with the same columns and labels: where own
        labels are few. It is taken only where labels of own sessions that are left out are told
        apart better with it (by 0.02 of the area under the ROC curve); ``model.prior`` says so. Its
        metrics have to mean the same, which cannot be checked: where they did not, models of 20
        labels became worse.
    prior_name : str
        Whose labels those are; needed with `prior`.
    note : str
        Source and licence of the labels, kept in the model.

    Returns
    -------
    LabelModel

    Raises
    ------
    ParameterError
        There are too few sessions, labels or units, two sessions are the same, or metrics were made
        with other parameters in another session.
    FolderNotFoundError, MissingDataError
        A folder is not there, or has no such column; or scikit-learn is not installed
        (``pip install "si_curation[learn]"``).
    SiCurationError
        The version of scikit-learn has trees of another form.

    Notes
    -----
    What is said about accuracy is of sessions that were left out of the learning, one at a time
    (several at a time where there are more than ten). Units of one session are alike: leaving out
    units at random flatters.

    Two labels are one question; "noise" with two others are two, first noise or not; any other set
    is as many questions as labels. The log odds of each are calibrated (Platt, 1999) on what was
    said of sessions that were left out. The trees are those of scikit-learn's
    HistGradientBoostingClassifier, the weights those of its LogisticRegression; both are kept as
    arrays, which are compared with what scikit-learn says. What a column adds is the change of the
    value along the way through the trees (Saabas, 2014). The result is the same, to the last bit,
    on any number of threads.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"snr": rng.uniform(1, 9, 300), "session": np.arange(300) % 3})
    >>> table["group"] = np.where(table["snr"] + rng.normal(size=300) > 5, "good", "mua")
    >>> model = learn_labels(table)
    >>> model.label(metrics=pd.DataFrame({"snr": [8.5, 5.0, 1.5]}, index=[4, 7, 9])).labels.tolist()
    ['good', 'unsorted', 'mua']
    """
    checks = Checks.of_call(learn_labels, locals())
    checks.number("accuracy", accuracy, above=0, at_most=1)
    if isinstance(sessions, pd.DataFrame):
        named = {"column": column, "session_column": session_column}
        check_table(checks, sessions, named, metric_params)
    checks.require(
        prior is None or not isinstance(prior_name, str) or prior_name.strip(),
        "prior_name is empty, expected whose labels prior is",
    )
    checks.finish()
    import_optional("sklearn", "learn", "learning labels")
    given = gather(sessions, column, columns, session_column, metric_params)
    if prior is not None:
        given = given._replace(prior=prior_of(prior, prior_name.strip(), column, given))
    values, labels = given.values, given.labels
    names = tuple(sorted(set(labels.tolist())))
    questions = make_questions(names)
    given, way, left_out, about_prior = _best_way(given, questions, method)
    calibrations = calibrate_all(left_out.log_odds, labels, questions)
    return LabelModel(
        labels=names,
        columns=tuple(map(str, given.table.columns)),
        method=way,
        accuracy=float(accuracy),
        session_names=tuple(given.names),
        session_digests=tuple(given.digests),
        metric_params=given.params,
        in_uV=given.in_uV,
        domain=given.domain,
        columns_left_out=given.left_out,
        note=note,
        prior=about_prior,
        questions=tuple(questions),
        answers=tuple(learn_all(*with_prior(values, labels, given.prior), questions, way)),
        calibrations=calibrations,
        scales=measure_scales(with_prior(values, labels, given.prior)[0]),
        most_strange=most_strange(left_out.strange),
        learnt=Learnt(labels, given.session, given.unit_ids, left_out),
        learning_curve=_learning_curve(given, questions, way, left_out, calibrations),
    )


def _best_way(
    given: Sessions, questions: Sequence[Question], method: str
) -> tuple[Sessions, str, LeftOut, str]:
    """Return the sessions with the prior or without, the method, what it says, and of the prior."""

    def tried(prior: Prior | None) -> tuple[str, LeftOut, float]:
        count = len(given.labels) + (0 if prior is None else len(prior.labels))
        way = method if method != "auto" else "trees" if count >= FEW_UNITS else "logistic"
        found = leave_sessions_out(
            given.values, given.labels, given.session, questions, way, prior=prior
        )
        areas = []
        for number, one in enumerate(questions):
            rows = np.isin(given.labels, [one.yes, *one.no])
            odds = found.log_odds[rows, number]
            areas.append(area_under_roc(odds, given.labels[rows] == one.yes))
        return way, found, float(np.mean(areas))

    way, found, alone = tried(None)
    if given.prior is None:
        return given, way, found, ""
    other_way, other, together = tried(given.prior)
    about = (
        f"{given.prior.name} ({len(given.prior.labels)} units): area under the ROC curve of "
        f"sessions left out {together:.3f} with it, {alone:.3f} without"
    )
    if together > alone + _LEAST_GAIN:
        return given, other_way, other, about
    return given._replace(prior=None), way, found, f"not used, {about}"


def gather(
    sessions: Any,
    column: str,
    columns: Sequence[str] | None,
    session_column: str,
    metric_params: MetricParams | None,
) -> Sessions:
    """Return the labelled units, or raise if there is too little to learn from."""
    if isinstance(sessions, pd.DataFrame):
        given = sessions_of_table(sessions, column, session_column, columns, metric_params)
    elif metric_params is not None:
        raise ParameterError("metric_params are given, expected with a table of metrics only")
    elif not isinstance(sessions, str | Path | Sequence | Mapping):
        raise ParameterError(
            f"sessions are {short_repr(sessions)}, expected folders, analyzers or a table"
        )
    else:
        given = sessions_of_analyzers(sessions, column, columns)
    checks = Checks("labels to learn from")
    names, counts = np.unique(given.labels, return_counts=True)
    there = len(set(given.session.tolist()))
    checks.require(
        there >= 2,
        f"there are {there} sessions with labels, expected 2 or more: what is learnt of one is "
        "tested on another",
    )
    found = ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True)) or "none"
    checks.require(len(names) >= 2, f"the labels are {found}, expected two or more different ones")
    for name, count in zip(names, counts, strict=True):
        within = len(set(given.session[given.labels == name].tolist()))
        checks.require(
            count >= 2 * MIN_UNITS,
            f"{count} units are {name}, expected {2 * MIN_UNITS} or more of each label",
        )
        if there >= 2:
            checks.require(
                within >= 2, f"all units that are {name} are of one session, expected of two"
            )
    checks.finish()
    return given


def _learning_curve(
    given: Sessions,
    questions: Sequence[Question],
    method: str,
    whole: LeftOut,
    calibrations: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return number of labels, and balanced accuracy of sessions left out, (n, 2)."""
    count = len(given.labels)
    names = np.unique(given.labels)
    order = np.random.default_rng(0).permutation(count)
    rows = []
    for share in (*_CURVE, 1.0):
        some = np.zeros(count, dtype=bool)
        some[order[: round(share * count)]] = True
        if share < 1 and some.sum() < FEW_UNITS / 2:
            continue
        found = whole
        if share < 1:
            found = leave_sessions_out(
                given.values, given.labels, given.session, questions, method, some, given.prior
            )
        chances = label_probabilities(found.log_odds, questions, calibrations, list(names))
        said = names[chances.argmax(axis=1)]
        recall = [np.mean(said[given.labels == name] == name) for name in names]
        rows.append((float(some.sum()), float(np.mean(recall))))
    return np.array(rows)
