"""`benchmark_suggestions`: how far to trust the suggestions in this folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import stats
from spikeinterface.core import SortingAnalyzer

from si_curation.checks import Checks, check_arguments, plain_id, unit_indices_of
from si_curation.errors import MissingDataError
from si_curation.evidence.benchmark.copies import neighbourhood
from si_curation.evidence.benchmark.good_units import MAX_CONTAMINATION, find_good_units
from si_curation.evidence.benchmark.methods import METHODS, run_method
from si_curation.evidence.benchmark.setting import Setting, Trials
from si_curation.files import check_output_file, replace_file
from si_curation.kernels.parallel import one_thread_for_matrices
from si_curation.variables import BENCHMARK, BENCHMARK_CHANGES, BENCHMARK_OUTCOMES, UnitIndices

DEFAULT_MAX_UNITS = 40
SOURCE_TEXTS = {
    "curator": "labelled good by the curator",
    "sorter": "labelled good by the sorter",
    "contamination": f"contaminated by at most {MAX_CONTAMINATION:.0%} as estimated",
}


@one_thread_for_matrices()
def benchmark_suggestions(
    sorting_analyzer: SortingAnalyzer,
    *,
    unit_ids: Sequence[Any] | None = None,
    max_units: int = DEFAULT_MAX_UNITS,
    seed: int = 0,
) -> SuggestionBenchmark:
    """Measure how often suggestions are right in this sorting, on its own good units.

    Good units are changed on copies in memory, so that the right answer is known, and suggestions
    are made on the copies. For merges each unit is cut in two in four ways: in time, at an
    amplitude, at random, and along the first principal component of its features. For splits,
    neighbours are merged, wholly or in part. For cleaning, units get 8 % of spikes of a neighbour;
    for duplicates, most spikes of each are there a second time. The analyzer stays as it is.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        As `suggest_merges` takes it.
    unit_ids : sequence of unit ids, optional
        Units that may be taken as good ones; all by default.
    max_units : int
        Largest number of good units that are changed, drawn at random where there are more.
    seed : int
        Of the random numbers; the same seed gives the same result.

    Returns
    -------
    SuggestionBenchmark
        A table with a row for each kind of suggestion; ``.by_change`` has one for each kind of
        change, and ``.outcomes`` one for each suggestion.

    Raises
    ------
    ParameterError
        `max_units` or `seed` is out of range, or a unit is given twice.
    UnknownIdError
        A unit id does not exist.

    See Also
    --------
    Calibration : from the outcomes of several folders to probabilities

    Notes
    -----
    **Good units** are those that the curator labelled good; where there are none, those of the
    sorter (``KSLabel``); where there are none, units with an ``rp_contamination`` of 10 % or less.
    All have at least 100 spikes. ``.source`` tells which they are.

    **Precision** is the share of the suggestions that are right, among those of which it is known.
    A merge of parts of one unit is right. A merge of parts of two units is wrong if all spikes of
    the two units refute that they are one neuron: parts have few spikes or never fire together, so
    that the method cannot know. Also, units get a part of their most similar neighbour, in time or
    by amplitude, as sorters mix two neurons; to merge the two is wrong. Where the two may be one
    neuron that the sorter split, nothing is known. The interval is Wilson's; suggestions about the
    same units count once.

    A split of two merged neighbours is right where it separates their spikes with a balanced
    accuracy of 0.8. A split of a part of a single unit is wrong, unless the whole unit may be more
    than one neuron. Cleaning is right where at least half of the spikes that are taken out are the
    neighbour's. A duplicate is right where both units are of one; of two units that have common
    spikes in the sorting itself, nothing is known.

    **Recall** is that of changes of this kind. It is an upper bound of the recall of real splits:
    parts of one unit have the same template, and a real split is one that the sorter could not see
    as one neuron. On recordings with ground truth it was 0.8 to 0.9 where that of the sorter's own
    splits was 0.3 to 0.9.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> found = benchmark_suggestions(analyzer)
    >>> found.source, len(found.unit_ids)
    ('curator', 1)
    >>> found.by_change.loc[("merges", "in time"), ["num_changes", "num_found"]].tolist()
    [1, 1]
    """
    checks = Checks.of_call(benchmark_suggestions, locals())
    checks.whole_number("max_units", max_units, at_least=1)
    checks.whole_number("seed", seed, at_least=0)
    checks.finish()
    analyzer = sorting_analyzer
    good = find_good_units(analyzer, unit_indices_of(analyzer, unit_ids))
    chosen = good.indices
    if chosen.size > max_units:
        drawn = np.random.default_rng(seed).choice(chosen.size, max_units, replace=False)
        chosen = UnitIndices(np.sort(chosen[drawn]))
    ids = [plain_id(i) for i in analyzer.unit_ids[chosen]]
    trials = _run_all(analyzer, chosen, ids, seed)
    return SuggestionBenchmark.of(trials, ids, good.source, good.indices.size)


def _run_all(
    analyzer: SortingAnalyzer, chosen: UnitIndices, ids: list[Any], seed: int
) -> dict[str, Trials]:
    if not ids:
        why = "no unit is known to be good: none is labelled good or has a low contamination"
        return {
            name: Trials(missing=dict.fromkeys(method.changes, why))
            for name, method in METHODS.items()
        }
    try:
        copy = neighbourhood(analyzer, chosen)
    except MissingDataError as fault:
        return {
            name: Trials(missing=dict.fromkeys(method.changes, str(fault)))
            for name, method in METHODS.items()
        }
    setting = Setting(copy, unit_indices_of(copy, ids), seed)
    return {name: run_method(name, setting) for name in METHODS}


class SuggestionBenchmark(pd.DataFrame):
    """How often suggestions are right in a sorting; made by `benchmark_suggestions`.

    A data frame with a row for each kind of suggestion, whose columns are described in
    `si_curation.variables.BENCHMARK`.

    Attributes
    ----------
    by_change : pandas.DataFrame
        A row for each kind of suggestion and of change (`si_curation.variables.BENCHMARK_CHANGES`).
    outcomes : pandas.DataFrame
        A row for each suggestion of which it is known whether it is right, and that has a score of
        0.3 or more (`si_curation.variables.BENCHMARK_OUTCOMES`).
    unit_ids : list
        The good units that were changed.
    source : str
        Who calls them good: "curator", "sorter" or "contamination".
    num_good_units : int
        How many there are, also those that were not drawn.
    missing : dict
        {(kind of suggestion, change): why it could not be made}.
    """

    _metadata: ClassVar[list[str]] = [
        "by_change",
        "outcomes",
        "unit_ids",
        "source",
        "num_good_units",
        "missing",
    ]
    by_change: pd.DataFrame
    outcomes: pd.DataFrame
    unit_ids: list[Any]
    source: str
    num_good_units: int
    missing: dict[tuple[str, str], str]

    @property
    def _constructor(self) -> type[pd.DataFrame]:  # parts of it are plain
        return pd.DataFrame

    @classmethod
    def of(
        cls, trials: dict[str, Trials], unit_ids: list[Any], source: str, num_good_units: int
    ) -> SuggestionBenchmark:
        """Return the tables of what the methods answered."""
        rows = {name: _row(one) for name, one in trials.items()}
        table = cls(pd.DataFrame.from_dict(rows, orient="index", columns=list(BENCHMARK)))
        table.index.name = "suggestion"
        table.by_change = _by_change(trials)
        table.outcomes = _outcomes(trials)
        table.unit_ids, table.source, table.num_good_units = unit_ids, source, num_good_units
        table.missing = {
            (name, change): why
            for name, one in trials.items()
            for change, why in one.missing.items()
        }
        return table

    @property
    def table(self) -> pd.DataFrame:
        """The table as a plain data frame."""
        return pd.DataFrame(self)

    def to_text(self) -> str:
        """Return the result as a person reads it."""
        count = f"{len(self.unit_ids)} of {self.num_good_units} units"
        lines = [f"Tried on {count} {SOURCE_TEXTS[self.source]}, changed on copies."]
        for name, row in self.iterrows():
            precision = _text_of(row, "precision", "num_right", "num_suggestions")
            lines.append(f"{name}: precision {precision}")
            reasons = {change: why for (kind, change), why in self.missing.items() if kind == name}
            for change, its in self.by_change.loc[name].iterrows():
                recall = _text_of(its, "recall_upper_bound", "num_found", "num_changes")
                if its["num_changes"]:
                    lines.append(f"  {change}: recall at most {recall}")
            for why in dict.fromkeys(reasons.values()):
                changes = ", ".join(change for change, its in reasons.items() if its == why)
                lines.append(f"  not tried ({changes}): {why}")
            if row["num_unknown"]:
                lines.append(f"  {row['num_unknown']:.0f} suggestions may be right or wrong")
        return "\n".join(lines)

    def write_json(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the tables, the units and the outcomes as JSON.

        Raises
        ------
        OutputExistsError
            The file exists, and `overwrite` is not True.
        """
        check_arguments(SuggestionBenchmark.write_json, locals())
        target = check_output_file(path, overwrite)
        content = {
            "what": "benchmark of suggestions",
            "format_version": 1,
            "unit_ids": self.unit_ids,
            "source": self.source,
            "num_good_units": self.num_good_units,
            "table": _records(self.table),
            "by_change": _records(self.by_change),
            "outcomes": _records(self.outcomes, index=False),
            "missing": [
                {"suggestion": name, "change": change, "why": why}
                for (name, change), why in self.missing.items()
            ],
        }
        replace_file(
            target, (json.dumps(content, indent=1) + "\n").encode("utf-8"), make_folders=True
        )
        return target


def proportion(successes: float, trials: float) -> tuple[float, float, float]:
    """Return a share with Wilson's 95 % interval; NaN of nothing.

    Examples
    --------
    >>> [round(value, 2) for value in proportion(9, 10)]
    [0.9, 0.6, 0.98]
    """
    if not trials:
        return np.nan, np.nan, np.nan
    z = float(stats.norm.ppf(0.975))
    share, n = successes / trials, trials + z**2
    centre = (successes + z**2 / 2) / n
    half = z / n * np.sqrt(trials * share * (1 - share) + z**2 / 4)
    return float(share), float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def _row(trials: Trials) -> dict[str, float]:
    """Return the row of a kind of suggestion."""
    suggested = [one for one in trials.outcomes if one["is_suggested"]]
    right = sum(one["is_right"] for one in suggested)
    independent = len({(one["about"], one["is_right"]) for one in suggested})
    share = right / max(len(suggested), 1)
    _, low, high = proportion(share * independent, independent)
    made, found = trials.made.total(), trials.found.total()
    recall, recall_low, recall_high = proportion(found, made)
    return {
        "precision": share if suggested else np.nan,
        "precision_low": low,
        "precision_high": high,
        "recall_upper_bound": recall,
        "recall_low": recall_low,
        "recall_high": recall_high,
        "num_suggestions": len(suggested),
        "num_right": right,
        "num_unknown": trials.num_unknown,
        "num_changes": made,
    }


def _by_change(trials: dict[str, Trials]) -> pd.DataFrame:
    rows = {}
    for name, one in trials.items():
        for change in METHODS[name].changes:
            values = proportion(one.found[change], one.made[change])
            rows[name, change] = (one.made[change], one.found[change], *values)
    index = pd.MultiIndex.from_tuples(list(rows), names=["suggestion", "change"])
    table = pd.DataFrame(list(rows.values()), index, columns=list(BENCHMARK_CHANGES))
    return table


def _outcomes(trials: dict[str, Trials]) -> pd.DataFrame:
    rows = [{"suggestion": name, **row} for name, one in trials.items() for row in one.outcomes]
    table = pd.DataFrame(rows, columns=list(BENCHMARK_OUTCOMES))
    dtypes = {name: one.dtype for name, one in BENCHMARK_OUTCOMES.items() if one.dtype != "str"}
    return table.astype(dtypes)


def _text_of(row: pd.Series, name: str, part: str, whole: str) -> str:
    """Return a share with its interval and counts."""
    if not row[whole]:
        return "not known (0 of 0)"
    first = name.split("_")[0]
    low, high = row[f"{first}_low"], row[f"{first}_high"]
    return f"{row[name]:.2f} ({low:.2f} to {high:.2f}; {row[part]:.0f} of {row[whole]:.0f})"


def _records(table: pd.DataFrame, index: bool = True) -> list[dict[str, Any]]:
    """Return the rows as JSON holds them: NaN is null."""
    plain = table.reset_index() if index else table
    return [
        {str(name): None if value != value else value for name, value in row.items()}
        for row in plain.to_dict(orient="records")
    ]
