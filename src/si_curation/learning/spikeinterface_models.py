"""Models of SpikeInterface and UnitRefine, applied to the metrics of this package."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import mend_old_imputers
from si_curation.checks import Checks, import_optional, join_problems, local_path, short_repr
from si_curation.curation.label_rules import UNDECIDED
from si_curation.documents import read_document
from si_curation.errors import (
    FolderNotFoundError,
    MissingDataError,
    ParameterError,
    SiCurationWarning,
)
from si_curation.learning.inputs import is_amplitude, metrics_of
from si_curation.learning.labels import LearntLabels
from si_curation.quality.metrics.registry import METRICS
from si_curation.variables import SPIKEINTERFACE_LABELS

# names before SpikeInterface 0.103.2: the name since then, and the sign
_OLD_NAMES = {
    "half_width": ("trough_half_width", 1.0),
    "peak_to_valley": ("peak_to_trough_duration", 1.0),
    "peak_trough_ratio": ("peak_after_to_trough_ratio", -1.0),
}
_EXTENSIONS = ("quality_metrics", "template_metrics")


@dataclass(frozen=True, eq=False, repr=False)
class SpikeInterfaceLabels(LearntLabels):
    """Labels of a model of SpikeInterface, used as the `UnitLabels` of `label_units`.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by unit id, with the columns

        - ``label``: "unsorted" below the lowest probability;
        - ``decided``: False there;
        - ``likeliest``, ``probability``: the label of the highest probability, and that;
        - ``reason``: text.
    columns : dict of str to str
        Where each column of the model is from: ``"curation_metrics: trough_half_width"``.
    differences : list of str
        Parameters of metrics that were others where the model was trained, as far as it says.
    """

    columns: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


def label_by_spikeinterface_model(
    sorting_analyzer: SortingAnalyzer,
    model: Any,
    *,
    columns: Mapping[str, str] | None = None,
    labels: Mapping[int, str] | None = None,
    impute: Sequence[str] = (),
    min_probability: float = 0.0,
    trusted: Sequence[str] = (),
) -> SpikeInterfaceLabels:
    """Label units by a model of SpikeInterface, such as UnitRefine's, on metrics of this package.

    Columns are found by their names: first in SpikeInterface's own metrics where the analyzer has
    them, then in `curation_metrics`, which need no recording. Names from before SpikeInterface
    0.103.2 are translated.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        It is not changed. Metrics that are not there are computed with the defaults, and not kept.
    model : str, Path or sklearn.pipeline.Pipeline
        Folder with one ``.skops`` file and ``model_info.json``, such a file, or the pipeline.
    columns : mapping, optional
        {column of the model: column of `curation_metrics`} to take in its place, such as
        ``{"snr": "snr_from_features"}``: a definition that the model has not seen.
    labels : mapping, optional
        {class of the model: label}; by default what ``model_info.json`` says.
    impute : sequence of str
        Columns of the model that may be missing; its own imputer fills them.
    min_probability : float
        Units of a lower one are undecided.
    trusted : sequence of str
        Types in the ``.skops`` file that may be loaded beside those that skops trusts. Look at each
        of them: loading them can run code.

    Returns
    -------
    SpikeInterfaceLabels

    Raises
    ------
    MissingDataError
        Columns of the model are nowhere (all of them are named), or skops is not installed.
    FolderNotFoundError, ParameterError
        There is no such model, it cannot be loaded, or it holds types that are not trusted.

    Warns
    -----
    SiCurationWarning
        Metrics were made with other parameters where the model was trained.

    Notes
    -----
    How right it is was not measured here: models of metrics from recordings did not carry over to
    metrics without them (see the guide on learnt labels). Compare with your own labels first.

    Examples
    --------
    >>> import si_curation as sic
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> rates = pd.DataFrame({"firing_rate": np.arange(20.0)})
    >>> model = make_pipeline(LogisticRegression()).fit(rates, rates["firing_rate"] > 5)
    >>> names = {0: "noise", 1: "neural"}
    >>> label_by_spikeinterface_model(analyzer, model, labels=names).labels.iloc[0]
    'neural'
    """
    checks = Checks.of_call(label_by_spikeinterface_model, locals())
    checks.number("min_probability", min_probability, at_least=0, at_most=1)
    checks.finish()
    pipeline, info = _load(model, trusted)
    names = [str(name) for name in pipeline.feature_names_in_]
    found = _gather(sorting_analyzer, names, dict(columns or {}), set(impute))
    differences = _differences(found.params, info)
    if differences:
        text = "; ".join(differences[:10])
        warnings.warn(f"the model was trained on other metrics: {text}", SiCurationWarning, 2)
    values = found.values.astype(np.float32)
    values = values.where(np.isfinite(values), np.nan)
    try:
        chances = np.asarray(pipeline.predict_proba(values), dtype=np.float64)
    except ValueError as fault:
        unknown = [name for name in names if values[name].isna().any()]
        raise ParameterError(
            f"the model cannot label these units: {' '.join(str(fault).split())[:200]}"
            + (f"; not known of all units: {', '.join(unknown)}" if unknown else "")
        ) from None
    texts = _labels(pipeline.classes_, labels, info)
    return _as_labels(sorting_analyzer, chances, texts, min_probability, found, differences)


@dataclass
class _Found:
    """Metrics as the model wants them, where they are from, and their parameters."""

    values: pd.DataFrame
    sources: dict[str, str]
    params: dict[str, dict[str, Any]]


def _load(model: Any, trusted: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    import_optional("sklearn", "learn", "a model of SpikeInterface")
    from sklearn.pipeline import Pipeline

    info: Any = {}
    pipeline = model
    if isinstance(model, str | Path):
        file = _model_file(local_path(model, "model"))
        pipeline = _read_skops(file, trusted)
        if (file.parent / "model_info.json").is_file():
            info = read_document(file.parent / "model_info.json", expected="what a model is")
    if not isinstance(pipeline, Pipeline) or not hasattr(pipeline, "feature_names_in_"):
        raise ParameterError(
            f"model is {short_repr(pipeline)}, expected a fitted pipeline of scikit-learn that was "
            "trained on a table with names, or its folder"
        )
    if not hasattr(pipeline, "predict_proba"):
        raise ParameterError("the model gives no probabilities, expected a classifier that does")
    mend_old_imputers(pipeline)
    return pipeline, dict(info) if isinstance(info, Mapping) else {}


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise FolderNotFoundError(f"{path} does not exist, expected a model of SpikeInterface")
    files = sorted(path.glob("*.skops"))
    if len(files) != 1:
        raise ParameterError(
            f"{path} has {len(files)} .skops files, expected one: give the file itself"
        )
    return files[0]


def _read_skops(file: Path, trusted: Sequence[str]) -> Any:
    try:
        import skops.io
    except ImportError:
        raise MissingDataError(
            "models of SpikeInterface need skops; install it with: pip install skops"
        ) from None
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(file=file)) - set(trusted))
        if not unknown:
            return skops.io.load(file, trusted=list(trusted))
    except Exception as fault:  # whatever a damaged file makes of the libraries that read it
        text = " ".join(str(fault).split())[:200]
        raise ParameterError(f"{file} is not a model that skops can load: {text}") from None
    raise ParameterError(
        f"{file} holds types that skops does not trust: {short_repr(unknown)}; where you trust "
        "whom it is from, give them as trusted="
    )


def _gather(
    analyzer: SortingAnalyzer, names: Sequence[str], given: Mapping[str, str], optional: set[str]
) -> _Found:
    """Return the columns of the model, or raise with all that are nowhere."""
    theirs = [analyzer.get_extension(name) for name in _EXTENSIONS]
    tables = {
        one.extension_name: one.get_data()
        for one in theirs
        if one is not None and isinstance(one.get_data(), pd.DataFrame)
    }
    in_uv = bool(analyzer.return_in_uV)
    wanted: dict[str, tuple[str, str, float]] = {}
    missing = []
    for name in names:
        new, sign = _OLD_NAMES.get(name, (name, 1.0))
        table = next((t for t, of in tables.items() if new in of.columns), None)
        ours = given.get(name, new)
        metric = next((m for m, one in METRICS.items() if ours in one.columns), None)
        if table is not None and name not in given:
            wanted[name] = (table, new, sign)
        elif metric is not None and (in_uv or not is_amplitude(ours)):
            wanted[name] = (metric, ours, sign if name not in given else 1.0)
        elif name not in optional:
            why = "" if metric is None else " (amplitudes are not in µV)"
            missing.append(f"{name}{why}")
    if missing:
        raise MissingDataError(
            f"the model looks at {', '.join(missing)}, which are not among the metrics; compute "
            "quality_metrics and template_metrics with a recording, take other columns in their "
            "place (columns=), or let the model's imputer fill them (impute=)"
        )
    metrics = list(dict.fromkeys(m for m, _, _ in wanted.values() if m not in tables))
    ours_found = metrics_of(analyzer, None, metrics) if metrics else None
    if ours_found is not None:
        tables |= dict.fromkeys(metrics, ours_found.table)
    values, sources = {}, {}
    for name in names:
        if name not in wanted:
            values[name] = np.full(len(analyzer.unit_ids), np.nan)
            sources[name] = "missing, imputed by the model"
            continue
        where, column, sign = wanted[name]
        of = pd.to_numeric(tables[where].loc[analyzer.unit_ids, column], errors="coerce")
        values[name] = sign * of.to_numpy(dtype=np.float64, na_value=np.nan)
        sources[name] = f"{where if where in _EXTENSIONS else 'curation_metrics'}: {column}"
    frame = pd.DataFrame(values, index=pd.Index(analyzer.unit_ids, name="unit_id"))
    params = {} if ours_found is None else dict(ours_found.params or {})
    for one in theirs:
        if one is not None:
            params |= {k: dict(v) for k, v in one.params.get("metric_params", {}).items()}
    return _Found(frame, sources, params)


def _differences(ours: Mapping[str, Mapping[str, Any]], info: Mapping[str, Any]) -> list[str]:
    """Return parameters of metrics that differ from those that the model was trained with."""
    out = []
    known = info.get("metric_params")
    for part in known.values() if isinstance(known, Mapping) else ():
        theirs = (
            part.get("metric_params", part.get("qm_params")) if isinstance(part, Mapping) else 0
        )
        for metric, params in theirs.items() if isinstance(theirs, Mapping) else ():
            if not isinstance(params, Mapping):
                continue
            own = ours.get(metric, {})
            out += [
                f"{metric}: {key} is {short_repr(own[key])} in place of {short_repr(value)}"
                for key, value in params.items()
                if key in own and own[key] != value
            ]
    return out


def _labels(classes: Any, given: Mapping[int, str] | None, info: Mapping[str, Any]) -> list[str]:
    """Return the label of each class of the model."""
    known = info.get("label_conversion") if given is None else given
    texts = {str(key): str(value) for key, value in (known or {}).items()}
    named = [one.item() if hasattr(one, "item") else one for one in classes]
    keys = [str(int(one)) if isinstance(one, bool) else str(one) for one in named]
    lost = [key for key in keys if key not in texts]
    if texts and lost:
        raise ParameterError(f"labels say nothing of the classes {join_problems(lost)}")
    return [texts.get(key, key) for key in keys]


def _as_labels(
    analyzer: SortingAnalyzer,
    chances: Any,
    texts: Sequence[str],
    min_probability: float,
    found: _Found,
    differences: list[str],
) -> SpikeInterfaceLabels:
    surest = chances.max(axis=1)
    decided = surest >= min_probability
    likeliest = np.array(texts, dtype=object)[chances.argmax(axis=1)]
    index = found.values.index
    table = pd.DataFrame(
        {
            "label": np.where(decided, likeliest, UNDECIDED),
            "decided": decided,
            "likeliest": likeliest,
            "probability": surest,
            "reason": [
                f"the probability of {a} is {b:.3g}" for a, b in zip(likeliest, surest, strict=True)
            ],
        },
        index=index,
        columns=list(SPIKEINTERFACE_LABELS),
    )
    return SpikeInterfaceLabels(
        table,
        model_name=f"model of SpikeInterface with {len(found.sources)} columns",
        probabilities=pd.DataFrame(chances, columns=list(texts), index=index),
        columns=found.sources,
        differences=differences,
    )
