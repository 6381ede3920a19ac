"""`plan_curation`: all suggestions for a sorting as one plan, whose steps do not contradict.

`plan_curation` runs the suggestions, `_choose` takes the steps that go together, and
`CurationPlan` makes them steps of a session, SpikeInterface's curation format, or a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array, spike_vector_of
from si_curation.checks import (
    Checks,
    check_arguments,
    is_whole_number,
    short_repr,
    unit_indices_of,
)
from si_curation.curation.session import CurationSession
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    PhyFolderError,
)
from si_curation.evidence.bad_merges import find_bad_merges
from si_curation.evidence.calibration import Calibration, read_calibrations
from si_curation.evidence.cleaning import DEFAULT_MAX_LOSS, CleaningSuggestions, suggest_cleaning
from si_curation.evidence.duplicates import DuplicateUnits, find_duplicate_units
from si_curation.evidence.explain import explain_bad_merges
from si_curation.evidence.merges import (
    DEFAULT_SCORE_THRESHOLD,
    MergeSuggestions,
    suggest_merges,
)
from si_curation.evidence.splits import SplitSuggestions, suggest_splits
from si_curation.evidence.suggestions import DecidedSuggestions, with_groups
from si_curation.kernels.parallel import one_thread_for_matrices
from si_curation.kernels.spikes_by_unit import spikes_by_unit
from si_curation.kernels.stability import fraction_missing, histogram_of_sorted
from si_curation.progress import stage
from si_curation.quality.contamination import contamination_of_spikes
from si_curation.variables import PLAN, Explanation, explanations_text

if TYPE_CHECKING:
    from spikeinterface.curation.curation_model import Curation

#: How probably right a suggestion counts that has no calibrated probability. On sorted recordings
#: with known neurons it was more, but for cleaning of those kept aside (benchmarks/README.md).
ASSUMED_PRECISION = 0.9
# a unit with more spikes of its own is not removed
LEAST_SHARE_REMOVED = 0.8
# of the estimate of missing spikes, as of `curation_metrics`
_BINS, _SPIKES_PER_BIN, _SMOOTHING = 100, 5, 3.0


_Pairs: TypeAlias = Mapping[frozenset[Any], tuple[float, list[Explanation]]]


@dataclass(frozen=True, eq=False)
class PlanStep:
    """A step of a plan.

    Attributes
    ----------
    kind : {"remove", "split", "merge", "clean"}
    unit_ids : tuple
        The units that it changes; two or more of a merge.
    score : float
        Of the suggestion.
    probability : float
        That it is right, where a calibration was given; else NaN.
    gain_if_right, loss_if_wrong : float
        See `plan_curation`.
    explanations : list of Explanation
        What speaks for it, and against it.
    parts : callable, optional
        Returns the part of each spike of a unit that is split, or which spikes of a unit do not
        belong to it; (n_spikes of the unit,), in the order of time.
    pairs : dict
        Of a merge: {pair of its units: (score, explanations)}.
    """

    kind: str
    unit_ids: tuple[Any, ...]
    score: float
    probability: float
    gain_if_right: float
    loss_if_wrong: float
    explanations: list[Explanation]
    parts: Callable[[], NDArray[Any]] | None = None
    pairs: _Pairs = field(default_factory=dict, repr=False)

    @property
    def expected_gain(self) -> float:
        """The gain if it is right and the loss if it is wrong, weighted by how probable each is."""
        known = np.isfinite(self.probability)
        right = self.probability if known else ASSUMED_PRECISION
        return right * self.gain_if_right - (1.0 - right) * self.loss_if_wrong


@one_thread_for_matrices()
def plan_curation(
    sorting_analyzer: SortingAnalyzer,
    *,
    unit_ids: Sequence[Any] | None = None,
    max_loss: float = DEFAULT_MAX_LOSS,
    calibrations: Mapping[str, Calibration | str | Path] | None = None,
) -> CurationPlan:
    """Plan a curation: units to remove, to split, to merge and to clean, best first.

    All suggestions are made and put together so that no two steps change the same unit. Nothing is
    applied: look at the steps, and give the plan to a session.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        As `suggest_merges`, `suggest_splits`, `suggest_cleaning` and `find_duplicate_units` take
        it. What cannot be suggested for want of data is left out and named in ``.missing``.
    unit_ids : sequence of unit ids, optional
        Units to change; all by default.
    max_loss : float
        As of `suggest_cleaning`. A plan takes out surely foreign spikes only, which cost less.
    calibrations : mapping, optional
        {"merges", "splits", "cleaning" or "duplicates": `Calibration`, or its JSON file}. What has
        one is weighed by its probability.

    Returns
    -------
    CurationPlan
        ``.table`` has a row for each step; its columns are described in
        `si_curation.variables.PLAN`.

    Raises
    ------
    ParameterError
        A parameter is out of range; all problems at once.
    UnknownIdError
        A unit id does not exist.

    Notes
    -----
    **Steps.** Removals are of `find_duplicate_units`, of units with at least four fifths of their
    spikes in common; splits of `suggest_splits`, and of `find_bad_merges` where the features show
    nothing; merges of `suggest_merges` (groups); cleaning of `suggest_cleaning`. Splits at a jump
    of the features in time are left to the curator: most such jumps are drift.

    **Expected gain** is in neurons: the change of the sum over neurons of the accuracy that each is
    found with, ``hits / (spikes of the neuron or of its unit)``. With the share ``m`` of the
    largest of ``k`` units, or parts:

    - a right merge gains ``1 - m``, a wrong one loses ``k - m``;
    - a right split gains ``k - m``, a wrong one loses ``1 - m``;
    - a right removal takes one wrong unit away and counts as the share of its spikes that the other
      unit has; a wrong one loses 1;
    - cleaning gains the share of foreign spikes less that of the unit's own that go with them; if
      it is wrong, all that are taken out are its own.

    Gain and loss are weighed by the probability that the suggestion is right: that of its
    calibration, else 0.9. Steps that are expected to lose are left out.

    **One change of a unit at a time.** Of two steps with the same unit the one with the larger
    expected gain is in the plan, the other in ``.postponed``; removals come first. The parts of a
    split may be of one neuron with another unit, and a merged unit may be cleaned: apply the plan
    and plan again.

    See Also
    --------
    benchmark_suggestions : how far to trust suggestions in this sorting

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> plan = sic.plan_curation(analyzer)
    >>> plan.table[["kind", "unit_ids"]].values.tolist()[0]
    ['split', '13']
    >>> session = sic.CurationSession(analyzer)
    >>> made = plan.apply_to(session)
    """
    checks = Checks.of_call(plan_curation, locals())
    checks.number("max_loss", max_loss, at_least=0, below=0.5)
    checks.finish()
    known = read_calibrations(calibrations)
    analyzer = sorting_analyzer
    wanted = analyzer.unit_ids[np.unique(unit_indices_of(analyzer, unit_ids, may_repeat=True))]
    return _Planner(analyzer, wanted.tolist(), max_loss, known).plan()


class _Planner:
    """Gathers suggestions of some units of an analyzer."""

    def __init__(
        self,
        analyzer: SortingAnalyzer,
        unit_ids: list[Any],
        max_loss: float,
        calibrations: dict[str, Calibration],
    ) -> None:
        self.analyzer = analyzer
        self.unit_ids = unit_ids
        self.max_loss = max_loss
        self.calibrations = calibrations
        self.missing: list[Explanation] = []
        unit_index = spike_vector_of(analyzer.sorting)["unit_index"]
        spikes = spikes_by_unit(unit_index, len(analyzer.unit_ids))
        self.spikes = dict(zip(analyzer.unit_ids.tolist(), spikes, strict=True))

    def plan(self) -> CurationPlan:
        """Make all suggestions and choose the steps."""
        removals = list(self._removals())
        gone = {unit_id for step in removals for unit_id in step.unit_ids}
        self.unit_ids = [unit_id for unit_id in self.unit_ids if unit_id not in gone]
        rest = [*self._splits(), *self._merges(), *self._cleaning()]
        steps, postponed = _choose(removals, rest, self._merge_step)
        return CurationPlan(
            self.analyzer,
            steps,
            postponed,
            _different(self.missing),
            self.spikes,
        )

    def _made(self, suggest: Callable[..., Any], **options: Any) -> Any:
        """Return suggestions; None, and a note, where data are missing."""
        try:
            with stage(suggest.__name__.replace("_", " ")):
                return suggest(self.analyzer, unit_ids=self.unit_ids, **options)
        except (MissingDataError, FolderNotFoundError, PhyFolderError) as fault:
            self.missing.append(Explanation("missing_data", error=str(fault)))
            return None

    def _probability_of_merge(self, score: float) -> float:
        calibration = self.calibrations.get("merges")
        if calibration is None:
            return np.nan
        return float(calibration.predict([score])["probability"].iloc[0])

    def _removals(self) -> Iterator[PlanStep]:
        found: DuplicateUnits | None = self._made(
            find_duplicate_units, calibration=self.calibrations.get("duplicates")
        )
        if found is None:
            return
        removed = set(found.units_to_remove())
        rows = zip(found.table.to_dict("records"), found.explanations, strict=True)
        for row, explanation in rows:
            share = float(row["share"])
            if row["unit_id"] in removed and row["duplicate_of"] not in removed:
                removed.remove(row["unit_id"])
                if share < LEAST_SHARE_REMOVED:
                    continue
                right = row.get("probability", np.nan)
                yield PlanStep("remove", (row["unit_id"],), share, right, share, 1.0, [explanation])

    def _splits(self) -> Iterator[PlanStep]:
        found: SplitSuggestions | None = self._made(
            suggest_splits, calibration=self.calibrations.get("splits")
        )
        if found is None:
            return
        self.missing += found.missing
        suggested = set(found.units())
        rows = zip(found.table.to_dict("records"), found.explanations, strict=True)
        for row, explanations in rows:
            unit_id = row["unit_id"]
            if unit_id in suggested and row["method"] != "time":
                share, parts = float(row["smaller_share"]), float(row["num_parts"])
                yield PlanStep(
                    "split",
                    (unit_id,),
                    float(row["score"]),
                    row.get("probability", np.nan),
                    parts - 1.0 + share,
                    share,
                    explanations,
                    partial(found.labels, unit_id),
                )
        yield from self._splits_by_template(suggested)

    def _splits_by_template(self, suggested: set[Any]) -> Iterator[PlanStep]:
        """Split units of templates that their refractory period contradicts."""
        assignment = self.analyzer.get_extension("template_assignment")
        if assignment is None:
            return
        bad = find_bad_merges(self.analyzer, unit_ids=self.unit_ids)
        for unit_id, pairs in bad.groupby("unit_id", sort=False):
            if unit_id in suggested:
                continue
            templates = np.asarray(assignment.get_spike_template_ids())[self.spikes[unit_id]]
            part_of = _apart(templates, pairs[["template_id_a", "template_id_b"]].to_numpy())
            parts = np.array([part_of[t] for t in templates.tolist()])
            largest = float(np.bincount(parts).max() / parts.size)
            yield PlanStep(
                "split",
                (unit_id,),
                1.0 - float(pairs["p_value"].min()),
                np.nan,
                int(parts.max()) + 1 - largest,
                1.0 - largest,
                explain_bad_merges(pairs)[:1],
                partial(np.asarray, parts),
            )

    def _merges(self) -> Iterator[PlanStep]:
        found: MergeSuggestions | None = self._made(suggest_merges)
        if found is None:
            return
        pairs = {
            frozenset((row["unit_id_a"], row["unit_id_b"])): (float(row["score"]), explanations)
            for row, explanations in zip(
                found.table.to_dict("records"), found.explanations, strict=True
            )
        }
        for group in found.groups():
            yield self._merge_step(group, pairs)

    def _merge_step(self, group: Iterable[Any], pairs: _Pairs) -> PlanStep:
        """Return the merge of a group; its score is that of the pair that holds it together."""
        ids = tuple(group)
        inside = {pair: known for pair, known in pairs.items() if pair <= set(ids)}
        score, explanations = max(inside.values(), key=lambda known: known[0])
        sizes = np.array([max(self.spikes[unit_id].size, 1) for unit_id in ids])
        largest = float(sizes.max() / sizes.sum())
        return PlanStep(
            "merge",
            ids,
            score,
            self._probability_of_merge(score),
            1.0 - largest,
            len(ids) - largest,
            explanations,
            pairs=inside,
        )

    def _cleaning(self) -> Iterator[PlanStep]:
        found: CleaningSuggestions | None = self._made(
            suggest_cleaning,
            max_loss=self.max_loss,
            calibration=self.calibrations.get("cleaning"),
        )
        if found is None:
            return
        units = set(found.units())
        rows = zip(found.table.to_dict("records"), found.explanations, strict=True)
        for row, explanations in rows:
            unit_id = row["unit_id"]
            if explanations[0].code == "cleaning_no_features":
                self.missing.append(explanations[0])
            if unit_id in units:
                own = row["share_sure"] - row["expected_foreign"]
                yield PlanStep(
                    "clean",
                    (unit_id,),
                    float(row["score"]),
                    row.get("probability", np.nan),
                    float(row["expected_foreign"] - own),
                    float(row["share_sure"]),
                    explanations,
                    # read once, for the table and for what is made of the plan
                    cache(partial(found.foreign_spikes, unit_id, only_sure=True)),
                )


def _different(explanations: list[Explanation]) -> list[Explanation]:
    return list({str(one): one for one in explanations}.values())


def _apart(templates: NDArray[np.integer], bad: NDArray[np.integer]) -> dict[int, int]:
    """Return the part of each template: no two of a bad pair are in the same part."""
    ids, counts = np.unique(templates, return_counts=True)
    refused = {frozenset(pair) for pair in bad.tolist()}
    members: list[list[int]] = []
    for template in ids[np.argsort(-counts, kind="stable")].tolist():
        for part in members:
            if not any(frozenset((template, other)) in refused for other in part):
                part.append(template)
                break
        else:
            members.append([template])
    return {template: part for part, group in enumerate(members) for template in group}


def _choose(
    removals: list[PlanStep],
    rest: list[PlanStep],
    merge_step: Callable[[Iterable[Any], _Pairs], PlanStep],
) -> tuple[list[PlanStep], list[PlanStep]]:
    """Return the steps that go together, best first, and those that have to wait for them."""
    taken: set[Any] = set()
    steps, postponed = [], []
    for step in [*removals, *sorted(rest, key=lambda step: -step.expected_gain)]:
        chosen: PlanStep | None = step
        free = [unit_id for unit_id in step.unit_ids if unit_id not in taken]
        if len(free) < len(step.unit_ids):
            postponed.append(step)
            is_enough = any(
                pair <= set(free) and score >= DEFAULT_SCORE_THRESHOLD
                for pair, (score, _) in step.pairs.items()
            )
            chosen = merge_step(free, step.pairs) if is_enough else None
        if chosen is not None and chosen.expected_gain > 0:
            steps.append(chosen)
            taken.update(chosen.unit_ids)
    order = np.argsort([-step.expected_gain for step in steps], kind="stable")
    return [steps[i] for i in order], [step for step in postponed if step.expected_gain > 0]


class CurationPlan(DecidedSuggestions):
    """Steps of a curation that do not contradict, best first; made by `plan_curation`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per step; the columns are described in `si_curation.variables.PLAN`.
    postponed : pandas.DataFrame
        The same of suggestions for units that are in a step already: plan again after it.
    steps : list of PlanStep
        As the rows of the table.
    missing : list of Explanation
        Evidence that there is none of, and why.
    unit_ids : array
        All units of the analyzer.
    num_spikes : dict
        {unit id: number of its spikes}.
    """

    main_columns = (
        "step",
        "kind",
        "unit_ids",
        "expected_gain",
        "probability",
        "contamination_before",
        "contamination_after",
        "completeness_before",
        "completeness_after",
        "reason",
    )

    def __init__(
        self,
        analyzer: SortingAnalyzer,
        steps: list[PlanStep],
        postponed: list[PlanStep],
        missing: list[Explanation],
        spikes: Mapping[Any, NDArray[np.integer]],
    ) -> None:
        self.steps = steps
        self.missing = missing
        self.unit_ids = analyzer.unit_ids
        with_groups(self, analyzer)
        self.table = _tabulate(analyzer, steps, spikes)
        self.postponed = _tabulate(analyzer, postponed, spikes)
        self.num_spikes = {unit_id: own.size for unit_id, own in spikes.items()}

    def __repr__(self) -> str:
        counts = self.table["kind"].value_counts()
        kinds = ", ".join(f"{counts.get(kind, 0)} {noun}" for kind, noun in _NOUNS.items())
        return f"CurationPlan for {len(self.unit_ids)} units: {kinds}"

    @property
    def shown(self) -> pd.DataFrame:
        """The columns of the table to look at first; the probability where any is known."""
        table = self.table[list(self.main_columns)]
        is_known = table["probability"].notna().any()
        return table if is_known else table.drop(columns="probability")

    def apply_to(
        self,
        session: CurationSession,
        *,
        steps: Sequence[int] | None = None,
        decided_by: str = "plan_curation",
    ) -> dict[int, list[Any]]:
        """Make the steps of the plan in a session.

        Parameters
        ----------
        session : CurationSession
            Of the analyzer that was planned for. Units that the plan changes must be as they were.
        steps : sequence of int, optional
            Numbers of steps in the table (``step``); all by default.
        decided_by : str
            For the history; the reason of each step is that of the table.

        Returns
        -------
        dict
            {number of the step: ids of the units that it made}.

        Raises
        ------
        ParameterError
            It is no session, there are no such steps, or a unit is not as it was; nothing is done.
        FolderNotFoundError, PhyFolderError
            The folder of the features is gone, or is not what it was; nothing is done.

        Examples
        --------
        >>> import si_curation as sic
        >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
        >>> session = sic.CurationSession(analyzer)
        >>> sic.plan_curation(analyzer, unit_ids=[10]).apply_to(session)
        {1: [14, 15]}
        """
        check_arguments(CurationPlan.apply_to, locals())
        chosen = self._chosen(steps)
        self._refuse_changed_units(session, [self.steps[i - 1] for i in chosen])
        parts = {i: self._parts(self.steps[i - 1]) for i in chosen}
        made: dict[int, list[Any]] = {}
        try:
            for i in chosen:
                why = {"reason": str(self.table["reason"].iloc[i - 1]), "decided_by": decided_by}
                made[i] = _make(session, self.steps[i - 1], parts[i], why)
        except BaseException:
            for _ in made:
                session.undo()
            raise
        return made

    def to_curation_model(self) -> Curation:
        """Return the plan as SpikeInterface's curation model (format version 2).

        Units are split, and foreign spikes split off, by the indices of their spikes.

        Returns
        -------
        spikeinterface.curation.curation_model.Curation
            For SpikeInterface's ``apply_curation``, or ``CurationSession``'s
            ``apply_spikeinterface_curation``.
        """
        splits: list[dict[str, Any]] = []
        merges: list[dict[str, Any]] = []
        removed: list[Any] = []
        for step in self.steps:
            if step.kind == "remove":
                removed += step.unit_ids
            elif step.kind == "merge":
                merges.append({"unit_ids": list(step.unit_ids)})
            else:
                parts = self._parts(step)
                assert parts is not None
                groups = [np.flatnonzero(parts == k).tolist() for k in range(int(parts.max()) + 1)]
                # the rest of a cleaned unit needs no list
                indices = groups[1:] if step.kind == "clean" else groups
                splits.append({"unit_id": step.unit_ids[0], "mode": "indices", "indices": indices})
        return self._curation(merges=merges, splits=splits, removed=removed)

    def _parts(self, step: PlanStep) -> NDArray[Any] | None:
        return None if step.parts is None else step.parts()

    def _chosen(self, steps: Sequence[int] | None) -> list[int]:
        if steps is None:
            return list(range(1, len(self.steps) + 1))
        checks = Checks()
        known = range(1, len(self.steps) + 1)
        is_list = isinstance(steps, Sequence | np.ndarray) and not isinstance(steps, str | bytes)
        if checks.require(is_list, f"steps is {short_repr(steps)}, expected a list of numbers"):
            wrong = [i for i in steps if not is_whole_number(i) or i not in known]
            checks.require(
                not wrong,
                f"steps has {short_repr(wrong)}, expected numbers from 1 to {len(self.steps)}, as "
                "in the table",
            )
        checks.finish()
        return sorted({int(i) for i in steps})

    def _refuse_changed_units(self, session: CurationSession, steps: list[PlanStep]) -> None:
        present = set(session.unit_ids)
        changed = [
            unit_id
            for step in steps
            for unit_id in step.unit_ids
            if unit_id not in present
            or session.get_spikes(unit_id).size != self.num_spikes[unit_id]
        ]
        if changed:
            raise ParameterError(
                f"units {short_repr(changed)} of the session are not as they were planned for: "
                "undo what changed them, or plan for session.apply()"
            )


_NOUNS = {"remove": "to remove", "split": "to split", "merge": "merges", "clean": "to clean"}


def _make(
    session: CurationSession, step: PlanStep, parts: NDArray[Any] | None, why: dict[str, str]
) -> list[Any]:
    """Make a step in a session; return the new units."""
    first = step.unit_ids[0]
    if step.kind == "remove":
        session.remove([first], **why)
        return []
    if step.kind == "merge":
        return [session.merge(step.unit_ids, **why)]
    assert parts is not None
    return (
        session.clean(first, parts, **why)
        if step.kind == "clean"
        else session.split(first, parts, **why)
    )


# what the steps change


def _tabulate(
    analyzer: SortingAnalyzer,
    steps: list[PlanStep],
    spikes: Mapping[Any, NDArray[np.integer]],
) -> pd.DataFrame:
    before = [[spikes[unit_id] for unit_id in step.unit_ids] for step in steps]
    after = [_after(step, own) for step, own in zip(steps, before, strict=True)]
    contamination = _contamination(analyzer, before), _contamination(analyzer, after)
    completeness = _completeness(analyzer, before), _completeness(analyzer, after)
    table = pd.DataFrame(
        {
            "step": np.arange(1, len(steps) + 1),
            "kind": [step.kind for step in steps],
            "unit_ids": [", ".join(map(str, step.unit_ids)) for step in steps],
            "expected_gain": [step.expected_gain for step in steps],
            "score": [step.score for step in steps],
            "probability": [step.probability for step in steps],
            "gain_if_right": [step.gain_if_right for step in steps],
            "loss_if_wrong": [step.loss_if_wrong for step in steps],
            "num_spikes": [sum(own.size for own in group) for group in before],
            "contamination_before": contamination[0],
            "contamination_after": contamination[1],
            "completeness_before": completeness[0],
            "completeness_after": completeness[1],
            "reason": [explanations_text(step.explanations) for step in steps],
        }
    )
    return table[list(PLAN)].astype(
        {name: "object" if v.dtype == "str" else v.dtype for name, v in PLAN.items()}
    )


def _after(step: PlanStep, before: list[NDArray[np.integer]]) -> list[NDArray[np.integer]]:
    """Return the spikes of each unit that a step leaves, noise apart."""
    if step.kind == "remove":
        return []
    if step.kind == "merge":
        return [np.sort(np.concatenate(before))]
    assert step.parts is not None
    parts = np.asarray(step.parts()).astype(np.int64)
    kept = 1 if step.kind == "clean" else int(parts.max(initial=0)) + 1
    return [before[0][parts == part] for part in range(kept)]


def _contamination(
    analyzer: SortingAnalyzer, groups: list[list[NDArray[np.integer]]]
) -> NDArray[np.float64]:
    flat = [spikes for group in groups for spikes in group]
    table = contamination_of_spikes(analyzer, flat)
    return _means(groups, table["rp_contamination"].to_numpy(dtype=np.float64))


def _completeness(
    analyzer: SortingAnalyzer, groups: list[list[NDArray[np.integer]]]
) -> NDArray[np.float64]:
    extension = analyzer.get_extension("spike_amplitudes")
    if extension is None:
        return np.full(len(groups), np.nan)
    amplitudes = as_array(extension.get_data(copy=False))
    flat = [_share_found(amplitudes[spikes]) for group in groups for spikes in group]
    return _means(groups, np.array(flat, dtype=np.float64))


def _share_found(amplitudes: NDArray[np.floating]) -> float:
    """Return the share of a neuron's spikes that were found; NaN with fewer than 500 amplitudes."""
    known = amplitudes[np.isfinite(amplitudes)]
    if known.size < _BINS * _SPIKES_PER_BIN:
        return np.nan
    ordered = np.sort(-known if np.median(known) < 0 else known)
    histogram, _ = histogram_of_sorted(ordered, _BINS)
    return 1.0 - fraction_missing(histogram, known.size, _SMOOTHING)


def _means(
    groups: list[list[NDArray[np.integer]]], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean over the units of each group, weighted by their spikes; NaN is left out."""
    out = np.full(len(groups), np.nan)
    first = 0
    for row, group in enumerate(groups):
        own = values[first : first + len(group)]
        first += len(group)
        sizes = np.array([spikes.size for spikes in group], dtype=np.float64)
        known = np.isfinite(own)
        if sizes[known].sum() > 0:
            out[row] = np.average(own[known], weights=sizes[known])
    return out
