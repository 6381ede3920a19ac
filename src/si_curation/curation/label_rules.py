"""Rules that label units by their metrics: a table, with presets, that can be read from files.

A rule is one row of the table: metric, comparison, threshold, label. The rules are applied in
order, and the first one that holds decides. For a "good" unit that must meet several conditions,
write one rule for each condition that rejects the units which fail it, and ``otherwise: good``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pandas as pd
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from si_curation.checks import (
    Checks,
    check_arguments,
    did_you_mean,
    is_number,
    local_path,
    plain_id,
    short_repr,
)
from si_curation.documents import read_document
from si_curation.errors import ParameterError
from si_curation.shown import Shown

_Comparison = Literal[">", ">=", "<", "<=", "==", "!="]
COMPARISONS: tuple[str, ...] = get_args(_Comparison)
UNDECIDED = "unsorted"
_REQUIRED = ("metric", "comparison", "threshold", "label")
_Text = Annotated[str, StringConstraints(pattern=r"\S")]


@dataclass(frozen=True)
class LabelRule:
    """One row of the table: units for which the comparison holds get the label.

    Parameters
    ----------
    metric : str
        Name of a column of the metrics, or of a property of the units such as "KSLabel".
    comparison : {">", ">=", "<", "<=", "==", "!="}
    threshold : float or str
        A text can only be compared by "==" and "!=".
    label : str
    absolute : bool, default: False
        Compare the absolute value. ("amplitude_median" of SpikeInterface is negative for negative
        peaks.)
    nan : {"undecided", "holds"}
        What happens where the metric is NaN. "undecided": the rule cannot decide. "holds": the rule
        holds, for metrics where NaN is a result ("sliding_rp_ibl": no contamination could be
        ruled out). No option lets a unit pass whose metric is NaN.
    unit : {"", "uV"}
        "uV": the threshold is in µV; the rule cannot decide where amplitudes are in another unit.

    Examples
    --------
    >>> str(LabelRule("snr", "<", 5, "mua"))
    'snr < 5'
    """

    metric: str
    comparison: str
    threshold: float | str
    label: str
    absolute: bool = False
    nan: Literal["undecided", "holds"] = "undecided"
    unit: Literal["", "uV"] = ""

    def __str__(self) -> str:
        name = f"|{self.metric}|" if self.absolute else self.metric
        value = self.threshold
        shown = repr(value) if isinstance(value, str) else f"{value:g}"
        return f"{name} {self.comparison} {shown}" + (" µV" if self.unit else "")


@dataclass(frozen=True)
class RuleSet(Shown):
    """Rules in the order in which they are applied, with a name and a source.

    Attributes
    ----------
    rules : tuple of LabelRule
    otherwise : str
        Label of units for which no rule holds; "unsorted" leaves their labels unchanged.
    name : str
        Written into the history of a session.
    source : str
        Where the thresholds come from.
    """

    rules: tuple[LabelRule, ...]
    otherwise: str = UNDECIDED
    name: str = "rules"
    source: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """The rules as a table, one row each."""
        names = [field.name for field in fields(LabelRule)]
        rows = [[getattr(rule, name) for name in names] for rule in self.rules]
        return pd.DataFrame(rows, columns=names)

    def __str__(self) -> str:
        lines = [f"{rule} -> {rule.label}" for rule in self.rules]
        return "; ".join([*lines, f"otherwise -> {self.otherwise}"])


# Units that the source keeps are "good", units that it rejects are "mua". Each rule rejects.
LABEL_PRESETS: dict[str, RuleSet] = {
    "allen_default": RuleSet(
        (
            LabelRule("isi_violations_ratio", ">", 0.5, "mua"),
            LabelRule("amplitude_cutoff", ">", 0.1, "mua"),
            LabelRule("presence_ratio", "<", 0.95, "mua"),
        ),
        "good",
        "allen_default",
        "AllenSDK, UNIT_FILTER_DEFAULTS in allensdk/brain_observatory/ecephys/__init__.py and the "
        "inclusive comparisons of ecephys_project_cache.py (read at commit 1bdca3a, 2026)",
    ),
    "allen_documented": RuleSet(
        (
            LabelRule("isi_violations_ratio", ">=", 0.5, "mua"),
            LabelRule("amplitude_cutoff", ">=", 0.1, "mua"),
            LabelRule("presence_ratio", "<=", 0.9, "mua"),
        ),
        "good",
        "allen_documented",
        "AllenSDK documentation, 'Unit Quality Metrics' of Visual Coding - Neuropixels: "
        "isi_violations < 0.5, amplitude_cutoff < 0.1, presence_ratio > 0.9. (The code of the same "
        "version asks for 0.95 or more; that is 'allen_default'.)",
    ),
    "ibl_rigor": RuleSet(
        (
            LabelRule("sliding_rp_ibl", ">", 0.1, "mua", nan="holds"),
            LabelRule("noise_cutoff", ">=", 5, "mua"),
            LabelRule("amplitude_median", "<=", 50, "mua", absolute=True, unit="uV"),
        ),
        "good",
        "ibl_rigor",
        "International Brain Laboratory, METRICS_PARAMS and compute_labels in "
        "brainbox/metrics/single_units.py of ibllib (read at commit 06d7999): at least 90 % "
        "confidence that contamination is below 10 % (the laboratory's own sliding refractory "
        "period, sliding_rp_ibl), noise cutoff below 5, median amplitude above "
        "50 µV; the RIGOR criteria of 'Reproducibility of in vivo electrophysiological "
        "measurements in mice' (eLife 2025). Older versions of ibllib have a noise cutoff of 20. "
        "SpikeInterface takes the noise cutoff's low bins from the lowest 10 % of amplitudes, "
        "ibllib the second bin that has spikes",
    ),
    "kilosort_good": RuleSet(
        (
            LabelRule("KSLabel", "==", "good", "good"),
            LabelRule("KSLabel", "==", "mua", "mua"),
        ),
        UNDECIDED,
        "kilosort_good",
        "cluster_KSLabel.tsv as Kilosort wrote it. Kilosort 4 (CCG.py): a refractory "
        "autocorrelogram, R12 below acg_threshold = 0.2 (0.1 in the paper) and Q12 below 0.2; "
        "Kilosort 2 to 3 (set_cutoff.m): Q at most 0.1 and R at most 0.05. Units that came from a "
        "merge or a split have no such label",
    ),
    "kilosort_contamination": RuleSet(
        (LabelRule("ContamPct", ">=", 10, "mua"),),
        "good",
        "kilosort_contamination",
        "cluster_ContamPct.tsv below 10 %: the refractory threshold of Kilosort 2 to 3 and of the "
        "Kilosort 4 paper (acg_threshold = 0.1; Pachitariu et al., Nature Methods 21, 914 (2024)), "
        "without the second test that protects units with few spikes",
    ),
}


def read_label_rules(rules: Any, otherwise: str | None = None) -> RuleSet:
    """Return checked rules from data, a file or the name of a preset.

    Parameters
    ----------
    rules : str, Path, RuleSet, pandas.DataFrame, mapping or sequence
        Name of a preset (`LABEL_PRESETS`); path of a ``.json``, ``.toml``, ``.yaml`` or ``.yml``
        file; a table with the columns ``metric``, ``comparison``, ``threshold``, ``label`` and
        optionally ``absolute``, ``nan``, ``unit`` (see `LabelRule`); a sequence of rules, mappings
        or tuples in that order; or a mapping with ``rules`` and optionally ``otherwise``,
        ``name``, ``source``. Files hold such a mapping or, in JSON and YAML, a list of rules.
    otherwise : str, optional
        Label of units for which no rule holds; by default the one in `rules`, else "unsorted".

    Returns
    -------
    RuleSet

    Raises
    ------
    FolderNotFoundError
        The file does not exist.
    ParameterError
        The file or the rules are invalid; all problems of the rules at once.
    MissingDataError
        A package is needed to read the file, and not installed.

    Notes
    -----
    YAML needs PyYAML, TOML needs Python 3.11 or the package tomli; JSON always works.

    Examples
    --------
    >>> str(read_label_rules([("snr", "<", 5, "mua")], otherwise="good"))
    'snr < 5 -> mua; otherwise -> good'
    >>> print(read_label_rules("allen_documented").rules[2])
    presence_ratio <= 0.9
    """
    check_arguments(read_label_rules, locals())
    if isinstance(rules, str | Path):
        rules = _named(rules)
    if isinstance(rules, RuleSet):
        content = {field.name: getattr(rules, field.name) for field in fields(RuleSet)}
    elif isinstance(rules, pd.DataFrame):
        rows = rules.to_dict("records")
        content = {"rules": [{k: v for k, v in row.items() if not _is_empty(k, v)} for row in rows]}
    elif isinstance(rules, Mapping):
        content = dict(rules)
    elif isinstance(rules, Iterable) and getattr(rules, "ndim", 1) > 0:
        content = {"rules": list(rules)}
    else:
        raise ParameterError(
            f"rules are {short_repr(rules)}, expected a preset, a file, a table or a list"
        )
    if otherwise is not None:
        content["otherwise"] = otherwise
    return _checked(content)


def _named(rules: str | Path) -> Any:
    if isinstance(rules, str) and rules in LABEL_PRESETS:
        return LABEL_PRESETS[rules]
    path = local_path(rules, "rules")
    suffixes = (".json", ".toml", ".yaml", ".yml")
    if path.suffix.lower() not in suffixes:
        raise ParameterError(
            f"rules are {short_repr(str(rules))}, which is neither a preset "
            f"({', '.join(LABEL_PRESETS)}) nor a file that ends in {', '.join(suffixes)}"
            f"{did_you_mean(rules, LABEL_PRESETS)}"
        )
    content = read_document(path, expected="a file with rules")
    if isinstance(content, list):
        content = {"rules": content}
    if not isinstance(content, Mapping):
        raise ParameterError(f"{path} holds {short_repr(content)}, expected rules")
    return {"name": path.name, **content}


def _is_empty(key: Any, value: Any) -> bool:
    """Return whether an optional cell of a table was left empty."""
    return key not in _REQUIRED and (value is None or (isinstance(value, float) and value != value))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Rule(_Part):
    """What a rule has to hold; each field is checked with those above it."""

    metric: _Text
    comparison: _Comparison
    threshold: Any
    label: _Text
    absolute: bool = False
    nan: Literal["undecided", "holds"] = "undecided"
    unit: Literal["", "uV"] = ""

    @field_validator("threshold")
    @classmethod
    def _is_comparable(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            if info.data.get("comparison") in COMPARISONS[:4]:
                raise ValueError("a text can only be compared by == or !=")
        elif not is_number(value):
            raise ValueError("expected a number or a text")
        elif math.isnan(value):
            raise ValueError("expected a number")
        return value

    @field_validator("absolute", mode="before")
    @classmethod
    def _is_of_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        is_switch = isinstance(value, int | float) and value in (0, 1)  # as tables have them
        if is_switch and value and isinstance(info.data.get("threshold"), str):
            raise ValueError("expected False where the threshold is a text")
        return bool(value) if is_switch else value


class _Rules(_Part):
    """What a file with rules has to hold."""

    rules: Annotated[list[_Rule], Field(min_length=1)]
    otherwise: Annotated[str, Field(min_length=1)] = UNDECIDED
    name: str = "rules"
    source: str = ""


def _checked(content: Mapping[str, Any]) -> RuleSet:
    rows = content.get("rules", ())
    if isinstance(rows, Iterable) and not isinstance(rows, str):
        rows = [_as_mapping(row) for row in rows]
    try:
        found = _Rules.model_validate({**content, "rules": rows})
    except ValidationError as fault:
        checks = Checks(str(content.get("name", "rules")))
        for error in fault.errors(include_url=False):
            checks.add(_problem(error))
        checks.finish()
        raise
    rules = tuple(LabelRule(**rule.model_dump()) for rule in found.rules)
    return RuleSet(rules, found.otherwise, found.name, found.source)


def _as_mapping(row: Any) -> Any:
    """Return a rule by the names of its fields, with plain values; what is no rule as it is."""
    names = [field.name for field in fields(LabelRule)]
    if isinstance(row, LabelRule):
        row = {name: getattr(row, name) for name in names}
    elif isinstance(row, tuple | list) and len(row) <= len(names):
        row = dict(zip(names, row, strict=False))
    return {k: plain_id(v) for k, v in row.items()} if isinstance(row, Mapping) else row


def _problem(error: Any) -> str:
    """Return what pydantic found in one place, in the words of the package."""
    place = [str(part) for part in error["loc"]]
    in_a_rule = place[0] == "rules" and len(place) > 1
    rule = f"rule {int(place[1]) + 1}: " if in_a_rule else ""
    key = ".".join(place[2:] if in_a_rule else place)
    given, kind = short_repr(error["input"]), error["type"]
    if kind in ("extra_forbidden", "invalid_key"):  # a key that is no text
        known = LabelRule if in_a_rule else RuleSet
        names = ", ".join(field.name for field in fields(known))
        shown = given if kind == "invalid_key" else short_repr(key)
        return f"{rule}{shown} is not known, expected {names}"
    if kind == "missing":
        return f"{rule}{key} is missing"
    if not key:
        return f"{rule}it is {given}, expected a mapping with {', '.join(_REQUIRED)}"
    if key == "rules":
        return (
            "there are no rules" if kind == "too_short" else f"rules are {given}, expected a list"
        )
    if kind == "value_error":
        text = error["msg"].removeprefix("Value error, ")
    elif kind == "literal_error":
        text = f"expected {error['ctx']['expected']}"
    else:
        text = {"bool_type": "expected True or False"}.get(kind, "expected a text")
    return f"{rule}{key} is {given}{': ' if text.startswith('a ') else ', '}{text}"
