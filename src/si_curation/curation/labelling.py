"""`label_units`: labels of units by rules on their metrics, with the rule that decided each."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, check_arguments, did_you_mean, plain_id, short_repr
from si_curation.curation.checks import check_label
from si_curation.curation.label_rules import UNDECIDED, LabelRule, RuleSet, read_label_rules
from si_curation.curation.session import CurationSession
from si_curation.errors import MissingDataError, ParameterError, UnknownIdError
from si_curation.shown import Shown, count_text, counts_text
from si_curation.variables import LABELS, Explanation, explanations_text

METRIC_EXTENSIONS = ("curation_metrics", "quality_metrics")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, eq=False, repr=False)
class UnitLabels(Shown):
    """Labels of units, and what decided each.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by unit id, with the columns

        - ``label``: "unsorted" for undecided units;
        - ``decided``: False where a metric that a rule needs is NaN, or where no rule holds and the
          rules have no label for such units;
        - ``rule``: number of the rule that decided, from 1; 0 where no rule holds; -1 where a
          metric is missing;
        - ``reason``: text: the rule, with the value of its metric.
    rules : RuleSet
        The rules that were applied.
    """

    table: pd.DataFrame
    rules: RuleSet

    def __repr__(self) -> str:
        decided = self.table[self.table["decided"]]
        counts = counts_text(decided["label"].value_counts())
        left = len(self.table) - len(decided)
        more = ([counts] if counts else []) + ([f"{left} undecided"] if left else [])
        units = count_text(len(self.table), "unit")
        return f"{type(self).__name__}: {units} by {self.rules.name!r}: {', '.join(more)}"

    @property
    def labels(self) -> pd.Series:
        """The label of each unit."""
        return self.table["label"]

    def apply_to(
        self,
        session: CurationSession,
        *,
        field: str = "group",
        decided_by: str | None = None,
    ) -> int:
        """Label the units of a session, one step for each rule that decided any unit.

        The reason of a step is the name of the rules and the rule; it is in the history, the
        journal and the exports. Undecided units keep their labels.

        Parameters
        ----------
        session : CurationSession
        field : str, default: "group"
            Label field. "group" takes "good", "mua", "noise" and "unsorted" only.
        decided_by : str, optional
            Written into the history; ``label_units: <name of the rules>`` by default.

        Returns
        -------
        int
            Number of steps: as many calls of `CurationSession.undo` revert everything.

        Raises
        ------
        ParameterError
            A label cannot be used in that field. No unit was labelled.
        UnknownIdError
            A unit is no longer in the session. No unit was labelled.
        """
        decided = self.table[self.table["decided"]]
        problems = []
        for label in dict.fromkeys(decided["label"]):
            try:
                check_label(field, label)
            except ParameterError as fault:
                problems.append(str(fault))
        if problems:
            raise ParameterError("; ".join(dict.fromkeys(problems)))
        known = set(session.unit_ids)
        unknown = [plain_id(i) for i in decided.index if plain_id(i) not in known]
        if unknown:
            raise UnknownIdError(
                f"there are no units {short_repr(unknown)} in the session; label the units that it "
                "has now"
            )
        count = 0
        for rows, who, reason in self._steps(decided):
            ids = [plain_id(i) for i in rows.index]
            by = who if decided_by is None else decided_by
            session.label(ids, rows["label"].iloc[0], field, reason=reason, decided_by=by)
            count += 1
        return count

    def _steps(self, decided: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str, str]]:
        """Yield the units that one step labels, who decided, and why."""
        for number in [*range(1, len(self.rules.rules) + 1), 0]:
            rows = decided[decided["rule"] == number]
            if len(rows):
                who = f"label_units: {self.rules.name}"
                yield rows, who, f"{self.rules.name}: {self._rule_text(number)}"

    def _rule_text(self, number: int) -> str:
        if number:
            return str(self.rules.rules[number - 1])
        return "none of " + ", ".join(str(rule) for rule in self.rules.rules)


def label_units(
    sorting_analyzer: SortingAnalyzer | None,
    rules: Any,
    metrics: pd.DataFrame | None = None,
    *,
    otherwise: str | None = None,
    amplitudes_in_uV: bool | None = None,
) -> UnitLabels:
    """Label units by rules on their metrics.

    The rules are applied in order, and the first one that holds decides. **A metric that is NaN
    never lets a unit pass**: the rule that needs it cannot decide, and the unit is left "unsorted"
    with the reason, unless all labels that the unit could get are the same.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer or None
        None if all metrics are in `metrics`.
    rules : str, Path, RuleSet, pandas.DataFrame, mapping or sequence
        See `si_curation.curation.label_rules.read_label_rules`. Presets, named after their source
        (exact numbers and sources: ``LABEL_PRESETS[name].source``):

        - "allen_default": isi_violations_ratio <= 0.5, amplitude_cutoff <= 0.1, presence_ratio >=
          0.95 (code of the AllenSDK);
        - "allen_documented": < 0.5, < 0.1, > 0.9 (its documentation);
        - "ibl_rigor": contamination below 10 % with 90 % confidence (sliding_rp_ibl <= 0.1),
          noise_cutoff < 5, median amplitude > 50 µV;
        - "kilosort_good": the label that Kilosort gave; "kilosort_contamination": its ContamPct
          below 10 %.

        Units that they keep are "good", others "mua".
    metrics : pandas.DataFrame, optional
        Indexed by unit id; the extension "curation_metrics" by default, else SpikeInterface's
        "quality_metrics". A metric without a column is taken from the properties of the units
        (such as "KSLabel").
    otherwise : str, optional
        Label of units for which no rule holds; by default the one of the rules, else "unsorted".
    amplitudes_in_uV : bool, optional
        Whether amplitudes are in µV: by default `return_in_uV` of the analyzer, and True without
        one. Rules in µV cannot decide where amplitudes are in another unit.

    Returns
    -------
    UnitLabels
        ``.table`` and ``.apply_to(session)``.

    Raises
    ------
    MissingDataError
        There are no metrics.
    ParameterError
        A rule is invalid, or a metric does not exist; all problems at once.

    See Also
    --------
    spikeinterface.curation.bombcell_label_units, spikeinterface.curation.unitrefine_label_units :
        label the units of the same analyzer by a model; pass their labels to
        `CurationSession.label`.

    Examples
    --------
    >>> metrics = pd.DataFrame({"snr": [8.0, 3.0, np.nan]}, index=[4, 7, 9])
    >>> labels = label_units(None, [("snr", "<", 5, "mua")], metrics, otherwise="good")
    >>> labels.table[["label", "reason"]].values.tolist()
    [['good', 'no rule holds'], ['mua', 'snr < 5 (it is 3)'],
     ['unsorted', 'snr is not known, which snr < 5 needs']]
    """
    check_arguments(label_units, locals())
    rule_set = read_label_rules(rules, otherwise)
    unit_ids, columns = _columns(sorting_analyzer, rule_set, metrics)
    if amplitudes_in_uV is None:
        amplitudes_in_uV = sorting_analyzer is None or bool(sorting_analyzer.return_in_uV)
    outcomes = [
        _apply_rule(rule, columns[rule.metric], amplitudes_in_uV) for rule in rule_set.rules
    ]
    decisions = [_decide(rule_set, outcomes, columns, i) for i in range(len(unit_ids))]
    table = pd.DataFrame(
        [(one.label, one.decided, one.rule, explanations_text(one.why)) for one in decisions],
        columns=list(LABELS),
        index=pd.Index(unit_ids, name="unit_id"),
    )
    return UnitLabels(table.astype({"decided": bool, "rule": np.int64}), rule_set)


class _Decision(NamedTuple):
    """The label of one unit, as in the columns of `UnitLabels.table`."""

    label: str
    decided: bool
    rule: int
    why: list[Explanation]


def _columns(
    analyzer: SortingAnalyzer | None, rule_set: RuleSet, metrics: pd.DataFrame | None
) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """Return the unit ids and the values of each metric that the rules need."""
    names = list(dict.fromkeys(rule.metric for rule in rule_set.rules))
    if metrics is not None and not isinstance(metrics, pd.DataFrame):
        raise ParameterError(f"metrics are {type(metrics).__name__}, expected a DataFrame")
    if metrics is None:
        if analyzer is None:
            raise MissingDataError("there is neither an analyzer nor a table of metrics; give one")
        metrics = _metrics_of(analyzer, names)
    if metrics.index.has_duplicates:
        raise ParameterError("metrics: a unit has two rows, expected one row for each unit")
    properties = {} if analyzer is None else _properties(analyzer)
    if analyzer is not None:
        unknown = [i for i in metrics.index if i not in set(analyzer.unit_ids.tolist())]
        if unknown:
            raise ParameterError(f"metrics: there are no units {unknown[:5]} in the analyzer")
        metrics = metrics.reindex(analyzer.unit_ids.tolist())
    missing = [name for name in names if name not in metrics.columns and name not in properties]
    if missing:
        raise ParameterError(
            f"{rule_set.name}: metrics {missing} do not exist"
            f"{did_you_mean(missing[0], [*metrics.columns, *properties])}, expected some of "
            f"{[*metrics.columns, *properties]}; compute them or leave the rules out"
        )
    columns = {
        name: _values(metrics[name]) if name in metrics.columns else properties[name]
        for name in names
    }
    _check_kinds(rule_set, columns)
    return metrics.index.tolist(), columns


def _metrics_of(analyzer: SortingAnalyzer, names: list[str]) -> pd.DataFrame:
    for name in METRIC_EXTENSIONS:
        if analyzer.has_extension(name):
            return analyzer.get_extension(name).get_data()
    table = pd.DataFrame(index=analyzer.unit_ids.tolist())
    if all(name in _properties(analyzer) for name in names):
        return table
    raise MissingDataError(
        f"the analyzer has neither {' nor '.join(METRIC_EXTENSIONS)}; compute one of them, or give "
        "metrics="
    )


def _properties(analyzer: SortingAnalyzer) -> dict[str, NDArray[Any]]:
    sorting = analyzer.sorting
    found = {key: np.asarray(sorting.get_property(key)) for key in sorting.get_property_keys()}
    return {key: values for key, values in found.items() if values.ndim == 1}


def _values(column: pd.Series) -> NDArray[Any]:
    """Return a column as an array; numeric ones, which may have NA, as float64."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy(dtype=object)


def _is_text(values: NDArray[Any]) -> bool:
    return values.dtype.kind not in "biuf"


def _check_kinds(rule_set: RuleSet, columns: dict[str, NDArray[Any]]) -> None:
    checks = Checks(rule_set.name)
    for number, rule in enumerate(rule_set.rules, 1):
        is_text = _is_text(columns[rule.metric])
        held, compared = ("texts", "a number") if is_text else ("numbers", "a text")
        checks.require(
            is_text == isinstance(rule.threshold, str),
            f"rule {number}: {rule.metric} holds {held}, its threshold is {compared}",
        )
    checks.finish()


def _apply_rule(
    rule: LabelRule, values: NDArray[Any], in_uV: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether the rule holds, and whether its metric is known, for each unit."""
    if _is_text(values):
        known = ~(pd.isna(values) | np.isin(values.astype(str), ["", "nan"]))
        return np.asarray(_COMPARE[rule.comparison](values, rule.threshold)) & known, known
    numbers = np.abs(values.astype(np.float64)) if rule.absolute else values.astype(np.float64)
    known = ~np.isnan(numbers)
    holds = _COMPARE[rule.comparison](numbers, rule.threshold) & known
    if rule.nan == "holds":
        holds, known = holds | ~known, np.ones_like(known)
    if rule.unit == "uV" and not in_uV:
        known = np.zeros_like(known)
        holds = known.copy()
    return holds, known


def _decide(
    rule_set: RuleSet,
    outcomes: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    columns: dict[str, NDArray[Any]],
    i: int,
) -> _Decision:
    """Label one unit, by three-valued logic over the rules in order."""
    open_rules: list[LabelRule] = []
    for number, (rule, (holds, known)) in enumerate(zip(rule_set.rules, outcomes, strict=True), 1):
        if not known[i]:
            open_rules.append(rule)
        elif holds[i]:
            if all(other.label == rule.label for other in open_rules):
                why = [_why_decided(rule, columns[rule.metric][i])]
                return _Decision(rule.label, True, number, why)
            break
    else:
        if not open_rules or all(rule.label == rule_set.otherwise for rule in open_rules):
            decided = rule_set.otherwise != UNDECIDED
            return _Decision(rule_set.otherwise, decided, 0, [Explanation("label_no_rule")])
    why = [_why_open(rule, columns[rule.metric][i]) for rule in open_rules]
    return _Decision(UNDECIDED, False, -1, why)


def _why_decided(rule: LabelRule, value: Any) -> Explanation:
    if isinstance(value, str):
        return Explanation("label_rule", rule=str(rule))
    if np.isnan(value):
        return Explanation("label_rule_nan", rule=str(rule))
    return Explanation("label_rule_value", rule=str(rule), value=float(value))


def _why_open(rule: LabelRule, value: Any) -> Explanation:
    if rule.unit == "uV" and not pd.isna(value):
        return Explanation("label_amplitudes_not_in_uv", rule=str(rule))
    return Explanation("label_metric_missing", metric=rule.metric, rule=str(rule))
