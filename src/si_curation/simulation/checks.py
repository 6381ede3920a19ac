"""What a simulated folder may be asked for, and the room that it is written into."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from si_curation.checks import Checks
from si_curation.errors import OutputExistsError, ParameterError
from si_curation.simulation.curation import Metadata
from si_curation.simulation.dialects import Dialect

T = TypeVar("T")
#: More would not fit into the memory of any machine.
_MOST = {"num_templates": 100_000, "num_channels": 100_000, "num_spikes": 10_000_000_000}


def check_choice(name: str, value: str, choices: Mapping[str, T]) -> T:
    """Return the choice of a name."""
    if value not in choices:
        raise ParameterError(f"unknown {name} {value!r}: choose from {', '.join(choices)}")
    return choices[value]


def check_dtypes(spec: Dialect, dtypes: Mapping[str, str] | None) -> dict[str, str]:
    """Check that each name is a file of the dialect and each dtype exists."""
    for name, dtype in (dtypes or {}).items():
        check_choice("file", name, spec.dtypes)
        try:
            np.dtype(dtype)
        except TypeError as error:
            raise ParameterError(f"unknown dtype {dtype!r} for {name}") from error
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
    num_templates: int,
    num_blank: tuple[int, int, int],
    num_channels: int,
    num_raw_channels: int,
    num_shanks: int,
    num_spikes: int,
) -> None:
    """Check the counts; ``num_blank`` are those of zero, NaN and empty templates."""
    if min(num_templates, num_channels, num_shanks, num_spikes) < 1:
        raise ParameterError("templates, channels, shanks and spikes must number at least one each")
    counts = {"num_templates": num_templates, "num_channels": num_raw_channels}
    for name, count in {**counts, "num_spikes": num_spikes}.items():
        if count > _MOST[name]:
            raise ParameterError(f"{name} is {count}, expected at most {_MOST[name]:,}")
    if min(num_blank) < 0:
        raise ParameterError("the numbers of empty, zero and NaN templates must not be negative")
    if sum(num_blank) >= num_templates:
        raise ParameterError(
            f"{sum(num_blank)} of {num_templates} templates have no spikes: one at least must have"
        )
    if num_raw_channels < num_channels:
        raise ParameterError(f"num_raw_channels must be at least num_channels ({num_channels})")
    if num_shanks > num_channels:
        raise ParameterError(f"num_shanks must be at most num_channels ({num_channels})")


def check_fractions(
    shared_fraction: float,
    feature_rows: int | None,
    num_spikes: int,
    sampling_frequency: float,
    duration_s: float | None,
) -> None:
    """Check the other numbers."""
    if not 0 <= shared_fraction <= 1:
        raise ParameterError(f"shared_fraction must be between 0 and 1, not {shared_fraction}")
    if feature_rows is not None and not 0 < feature_rows <= num_spikes:
        raise ParameterError(f"feature_rows must be between 1 and {num_spikes}, not {feature_rows}")
    if sampling_frequency <= 0 or (duration_s is not None and duration_s <= 0):
        raise ParameterError("sampling_frequency and duration_s must be positive")


def initial_labels(labels: Mapping[Any, Any] | None) -> Metadata:
    """Return labels as ``{field: {cluster id: value}}``; ``{cluster id: group}`` is fine too."""
    if not labels:
        return {}
    if all(isinstance(values, Mapping) for values in labels.values()):
        fields = {str(field): values for field, values in labels.items()}
    else:
        fields = {"group": labels}
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
