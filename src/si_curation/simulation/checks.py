"""What a simulated folder may be asked for, and the room that it is written into."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from si_curation.checks import Checks, is_whole_number, short_repr
from si_curation.errors import OutputExistsError, ParameterError
from si_curation.simulation.curation import Metadata
from si_curation.simulation.dialects import Dialect

T = TypeVar("T")
#: More would not fit into the memory of any machine.
_MOST_CHANNELS = _MOST_STEPS = 100_000
_MOST = {"num_templates": 100_000, "num_spikes": 10_000_000_000}


def check_choice(name: str, value: str, choices: Mapping[str, T]) -> T:
    """Return the choice of a name."""
    if value not in choices:
        raise ParameterError(
            f"unknown {name} {short_repr(value)}: choose from {', '.join(choices)}"
        )
    return choices[value]


def check_dtypes(spec: Dialect, dtypes: Mapping[str, str] | None) -> dict[str, str]:
    """Check that each name is a file of the dialect and each dtype exists."""
    for name, dtype in (dtypes or {}).items():
        check_choice("file", name, spec.dtypes)
        try:
            np.dtype(dtype)
        except TypeError as error:
            raise ParameterError(f"unknown dtype {short_repr(dtype)} for {name}") from error
    return dict(dtypes or {})


def check_sorter_settings(spec: Dialect, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check settings of Kilosort 4; see `simulate_kilosort_folder`."""
    changed = dict(settings or {})
    if changed and not spec.is_kilosort4:
        raise ParameterError(f"sorter_settings are Kilosort 4's, but dialect is {spec.name!r}")
    checks = Checks()
    checks.number("scale", changed.get("scale"), optional=True)
    checks.require(changed.get("scale") != 0, "scale is 0, expected another number or None")
    checks.number("shift", changed.get("shift"), optional=True)
    checks.boolean("invert_sign", changed.get("invert_sign"), optional=True)
    checks.number("tmin", changed.get("tmin"), at_least=0, optional=True)
    if changed.get("tmax") != math.inf:
        checks.number("tmax", changed.get("tmax"), above=changed.get("tmin") or 0, optional=True)
    checks.whole_number("nblocks", changed.get("nblocks"), at_least=0, optional=True)
    checks.finish()
    return changed


def sorted_scale(settings: Mapping[str, Any]) -> float:
    """Return what the raw data were multiplied by, with the sign."""
    return float(settings.get("scale") or 1.0) * (-1.0 if settings.get("invert_sign") else 1.0)


def sorted_samples(
    settings: Mapping[str, Any], num_samples: int, sampling_frequency: float
) -> tuple[int, int]:
    """Return the first sample that was sorted, and that after the last."""
    first = int((settings.get("tmin") or 0.0) * sampling_frequency)
    last = settings.get("tmax")
    stop = num_samples
    if last is not None and math.isfinite(last):
        stop = min(int(last * sampling_frequency), num_samples)
    if not first < stop:
        raise ParameterError(
            f"tmin and tmax leave samples {first} to {stop}, expected a part of the {num_samples} "
            "samples of the recording; give a longer duration_s"
        )
    return first, stop


def check_numbers(
    checks: Checks,
    num_templates: int,
    num_blank: tuple[int, int, int],
    num_channels: int,
    num_raw_channels: int,
    num_shanks: int,
    num_spikes: int,
) -> None:
    """Check the counts; ``num_blank`` are those of zero, NaN and empty templates."""
    counts = {
        "num_templates": num_templates,
        "num_channels": num_channels,
        "num_raw_channels": num_raw_channels,
        "num_shanks": num_shanks,
        "num_spikes": num_spikes,
    }
    before = len(checks.problems)
    for name, count in counts.items():
        checks.whole_number(name, count, at_least=1, at_most=_MOST.get(name, _MOST_CHANNELS))
    blank = dict(zip(("zero", "nan", "empty"), num_blank, strict=True))
    for name, count in blank.items():
        checks.whole_number(f"num_{name}_templates", count, at_least=0)
    if len(checks.problems) > before or checks.wrong_kinds:
        return
    checks.require(
        sum(num_blank) < num_templates,
        f"{sum(num_blank)} of {num_templates} templates have no spikes: one at least must have",
    )
    checks.require(
        num_raw_channels >= num_channels,
        f"num_raw_channels is {num_raw_channels}, expected num_channels ({num_channels}) or more",
    )
    checks.require(
        num_shanks <= num_channels,
        f"num_shanks is {num_shanks}, expected num_channels ({num_channels}) or fewer",
    )


def check_fractions(
    checks: Checks, shared_fraction: float, sampling_frequency: float, duration_s: float | None
) -> None:
    """Check the numbers that are no counts."""
    checks.number("sampling_frequency", sampling_frequency, at_least=1000, at_most=1e7)
    checks.number("duration_s", duration_s, above=0, at_most=1e7, optional=True)
    checks.number("shared_fraction", shared_fraction, at_least=0, at_most=1)


def check_steps(checks: Checks, feature_rows: int | None, num_spikes: int, curation: Any) -> None:
    """Check how many spikes have features, and the number of curation steps."""
    known = num_spikes if is_whole_number(num_spikes) else _MOST["num_spikes"]
    checks.whole_number("feature_rows", feature_rows, at_least=1, at_most=known, optional=True)
    if curation is not None and not isinstance(curation, Sequence):
        checks.whole_number("curation", curation, at_least=0, at_most=_MOST_STEPS)


def initial_labels(labels: Mapping[Any, Any] | None) -> Metadata:
    """Return labels as ``{field: {cluster id: value}}``; ``{cluster id: group}`` is fine too."""
    if not labels:
        return {}
    if all(isinstance(values, Mapping) for values in labels.values()):
        fields = {str(field): values for field, values in labels.items()}
    else:
        fields = {"group": labels}
    ids = [cluster_id for values in fields.values() for cluster_id in values]
    if not all(map(is_whole_number, ids)):
        raise ParameterError(f"labels are of clusters {short_repr(ids)}, expected whole numbers")
    return {
        field: {int(cluster_id): value for cluster_id, value in values.items()}
        for field, values in fields.items()
    }


def prepare_folder(folder: Path, overwrite: bool) -> None:
    """Create the folder, or clear it of what a sorter and phy write."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise OutputExistsError(f"{folder} is not empty: give overwrite=True or another folder")
    for pattern in ("*.npy", "cluster_*.tsv", "cluster_*.csv", "params.py"):
        for path in folder.glob(pattern):
            path.unlink()
    shutil.rmtree(folder / ".phy", ignore_errors=True)
