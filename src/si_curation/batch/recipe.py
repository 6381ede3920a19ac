"""`Recipe`: what is done with each session of a batch, as checked data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from spikeinterface.core.sortinganalyzer import (
    get_available_analyzer_extensions,
    get_extension_class,
)

import si_curation.extensions
import si_curation.quality.metrics.extension  # noqa: F401  (both register extensions)
from si_curation._spikeinterface import extension_parameters
from si_curation.batch.tables import TABLES
from si_curation.checks import join_problems, local_path
from si_curation.curation.label_rules import read_label_rules
from si_curation.documents import describe_problems
from si_curation.errors import ParameterError
from si_curation.evidence.calibration import Calibration
from si_curation.learning.model import LabelModel

#: Key of the validation context: the folder that relative paths of a recipe start from.
FOLDER = "folder"
_COMPUTED_BY_READER = ("random_spikes", "templates", "template_assignment")


class _Section(BaseModel):
    """A part of a recipe: unknown keys are errors, and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _switch(value: Any) -> Any:
    """Return a section with its defaults for ``true``, and none for ``false``."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


def _resolve(path: str, info: ValidationInfo) -> str:
    """Return the absolute path of a file; a relative one starts at the folder of the recipe."""
    folder = (info.context or {}).get(FOLDER) or Path.cwd()
    found = (Path(folder) / local_path(path)).resolve()
    if not found.is_file():
        raise ValueError(f"{found} does not exist, expected a file")
    return str(found)


class Reading(_Section):
    """How a folder is read: the parameters of `read_kilosort_as_analyzer`, by the same names."""

    unwhiten: Literal["auto", "phy"] | bool = "auto"
    sampling_frequency: float | None = Field(default=None, gt=0)
    gain_to_uV: float | list[float] | None = None
    offset_to_uV: float | list[float] | None = None
    exclude_groups: list[str] = []
    max_spikes_per_unit: PositiveInt | None = 500
    principal_components: bool | None = None


class Merges(_Section):
    """Merge suggestions to write, and to apply only if asked.

    The parameters of `suggest_merges`, by the same names; those left out have its defaults.
    """

    score_threshold: float | None = Field(default=None, ge=0, le=1)
    min_similarity: float | None = None
    max_distance_um: float | None = None
    max_pairs: int | None = None
    refractory_period_ms: float | None = None
    duplicate_window_ms: float | None = None
    apply: bool = False


class Benchmark(_Section):
    """How far to trust suggestions: parameters of `benchmark_suggestions`, by the same names."""

    max_units: PositiveInt = 40
    seed: int = Field(default=0, ge=0)


class Labels(_Section):
    """Labels by rules or by a model; units that a person labelled keep their label unless asked.

    ``rules`` is what `label_units` takes: a preset, a file, or a list of rules. The content of a
    file becomes part of the recipe. ``model`` is a file that `LabelModel.save` wrote, ``accuracy``
    what its `label` takes.
    """

    rules: Any = None
    otherwise: str | None = None
    model: str | None = None
    accuracy: float | None = Field(default=None, gt=0, le=1)
    keep_existing: bool = True

    @model_validator(mode="after")
    def _one_of_two(self) -> Labels:
        if (self.rules is None) == (self.model is None):
            raise ValueError("give either rules or model")
        if self.model is None and self.accuracy is not None:
            raise ValueError("accuracy is of a model: give model, or leave it out")
        if self.model is not None and self.otherwise is not None:
            raise ValueError("otherwise is of rules: give rules, or leave it out")
        return self

    @field_validator("model")
    @classmethod
    def _load(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        path = _resolve(value, info)
        LabelModel.load(path)
        return path

    @field_validator("rules", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> dict[str, Any] | None:
        if value is None:
            return None
        if isinstance(value, str) and Path(value).suffix.lower() in (
            ".json",
            ".toml",
            ".yaml",
            ".yml",
        ):
            value = _resolve(value, info)
        rules = read_label_rules(value)
        return {
            "name": rules.name,
            "source": rules.source,
            "otherwise": rules.otherwise,
            "rules": [dataclasses.asdict(rule) for rule in rules.rules],
        }


class Phy(_Section):
    """A folder that phy opens; ``columns`` are metrics of the units to show there."""

    curation: Literal["keep", "discard"] = "keep"
    link: bool = False
    columns: list[str] = []


class Nwb(_Section):
    """An NWB file; see `export_to_nwb`.

    ``metadata`` is a file or what it would hold. The ``session_id`` is the name of the session
    where neither the metadata nor the source have one.
    """

    metadata: str | dict[str, Any] | None = None
    session_start_time: str | None = None
    t_start: float | list[float] | None = None
    source_nwb: str | None = None

    @field_validator("metadata", "source_nwb")
    @classmethod
    def _find(cls, value: Any, info: ValidationInfo) -> Any:
        return _resolve(value, info) if isinstance(value, str) else value


class Exports(_Section):
    """What is written of each session, besides the table of its units."""

    analyzer: Literal["zarr", "binary_folder"] | None = None
    tables: list[Literal[tuple(TABLES)]] = []  # type: ignore[valid-type]
    phy: Annotated[Phy | None, BeforeValidator(_switch)] = None
    nwb: Annotated[Nwb | None, BeforeValidator(_switch)] = None


class Report(_Section):
    """A page for each session; ``{session}`` in the title is its name.

    ``calibrations`` are files of `run_batch` (``calibration_<kind>.json``), or of
    `Calibration.to_json`, one of each kind: the page then says how probable it is that a
    suggestion is right.
    """

    title: str = "{session}"
    calibrations: list[str] = []

    @field_validator("calibrations")
    @classmethod
    def _find(cls, values: list[str], info: ValidationInfo) -> list[str]:
        paths = [_resolve(value, info) for value in values]
        kinds = [Calibration.from_json(path).kind for path in paths]
        twice = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
        if twice:
            raise ValueError(f"two are of {', '.join(twice)}, expected one of each kind")
        return paths


class Effect(_Section):
    """An effect to test against the quality of the units: see `effect_vs_quality`.

    ``table`` is a ``.csv`` with the columns ``session``, ``unit_id`` and ``column``.
    """

    table: str
    column: str = "effect"
    metric_names: list[str] | None = None
    statistic: Literal["mean", "median"] = "mean"
    null_value: float = 0.0
    min_units: int = Field(default=10, ge=3)

    @field_validator("table")
    @classmethod
    def _find(cls, value: str, info: ValidationInfo) -> str:
        return _resolve(value, info)


def _as_mapping(value: Any) -> Any:
    """Return a mapping for a list of extensions, and {} for missing parameters."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = dict.fromkeys(value)
    if isinstance(value, dict):
        return {name: {} if params is None else params for name, params in value.items()}
    return value


class Recipe(_Section):
    """What is done with each session: read, merge, compute, label, write.

    Parameters
    ----------
    reading : Reading
        Options of `read_kilosort_as_analyzer`, for all sessions.
    extensions : dict
        {extension: {parameter: value}}, in the order in which they are computed.
    merges : Merges, optional
        Suggest merges (``merges.csv``, and ``merges.json`` in SpikeInterface's format). They are
        applied, before anything is computed, only with ``apply=True``.
    benchmark : Benchmark, optional
        Measure how often suggestions are right in each session (``benchmark.json``), before merges
        are applied, and calibrate their scores with those of all sessions together.
    labels : Labels, optional
        Label units by rules on their metrics, or by a model that was learnt.
    exports : Exports
        The analyzer, further tables, folders for phy, NWB files.
    report : Report, optional
        A page for each session.
    effect : Effect, optional
        An effect that is tested against the quality of the units of all sessions.
    session_name_parts : int, optional
        A session without a name is named after this many last parts of the path of its folder,
        joined by "-". None: after the fewest that tell the sessions of the batch apart.

    See Also
    --------
    read_recipe : from a file or a mapping, with all problems in one error.

    Examples
    --------
    >>> from si_curation.batch.recipe_files import read_recipe
    >>> recipe = read_recipe({"extensions": ["unit_similarity"], "exports": {"phy": True}})
    >>> recipe.exports.phy.curation
    'keep'
    """

    reading: Reading = Reading()
    extensions: Annotated[dict[str, dict[str, Any]], BeforeValidator(_as_mapping)] = {}
    merges: Annotated[Merges | None, BeforeValidator(_switch)] = None
    benchmark: Annotated[Benchmark | None, BeforeValidator(_switch)] = None
    labels: Labels | None = None
    exports: Exports = Exports()
    report: Annotated[Report | None, BeforeValidator(_switch)] = None
    effect: Effect | None = None
    session_name_parts: PositiveInt | None = None

    @field_validator("extensions")
    @classmethod
    def _check_extensions(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        problems = [p for name, params in value.items() for p in _problems_of(name, params)]
        if problems:
            raise ValueError(join_problems(problems))
        return value


def _problems_of(name: str, params: dict[str, Any]) -> list[str]:
    known = get_available_analyzer_extensions()
    if name not in known:
        return [f"{name} is not known, expected some of {', '.join(known)}"]
    if name in _COMPUTED_BY_READER:
        return [f"{name} is always computed when a folder is read: leave it out"]
    extension = get_extension_class(name)
    if extension.need_recording:
        return [f"{name} needs the recording, which a batch does not read"]
    allowed = extension_parameters(name)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in allowed.values()):
        return []
    return [
        f"{name} has no parameter {key!r}, expected some of {', '.join(allowed)}"
        for key in params
        if key not in allowed
    ]


def check_recipe(content: Any, name: str, folder: Path | None = None) -> Recipe:
    """Return the recipe of some content.

    Parameters
    ----------
    content : mapping
    name : str
        What the error calls it.
    folder : Path, optional
        Where relative paths start; the current folder by default.

    Raises
    ------
    ParameterError
        All problems at once.
    """
    try:
        return Recipe.model_validate(content, context={FOLDER: folder})
    except ValidationError as fault:
        raise ParameterError(f"{name}: {describe_problems(fault, 'recipe')}") from None
