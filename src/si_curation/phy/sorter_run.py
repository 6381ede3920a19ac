"""How a folder was sorted: the sorter's settings, and what SpikeInterface wrote of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from si_curation.checks import is_number
from si_curation.documents import read_document
from si_curation.phy.arrays import Findings, one_line
from si_curation.phy.ops import read_ops
from si_curation.phy.params import is_rate
from si_curation.phy.session import read_session_samples, settings_of_session
from si_curation.phy.settings import SorterDrift, read_settings

_LOG, _PARAMS = "spikeinterface_log.json", "spikeinterface_params.json"
_LARGEST = 20_000_000  # bytes


@dataclass(frozen=True, eq=False)
class SorterRun:
    """How a folder was sorted, as far as its files say it.

    Attributes
    ----------
    sorter_name, sorter_version, started : str
        As SpikeInterface's log has them; "" where there is none.
    runtime_s : float or None
        Of SpikeInterface's log, else of ``ops.npy``.
    settings : dict
        Every setting that was used, as plain values: of ``ops.npy``, else the parameters that
        SpikeInterface gave to the sorter.
    source : str
        The file that the settings are from; "" where there are none.
    sorted_scale : float or None
        See `SorterSettings`; 1 where there is no ``ops.npy``.
    drift : SorterDrift or None
    findings : tuple
        What could not be read.
    """

    sorter_name: str
    sorter_version: str
    started: str
    runtime_s: float | None
    settings: Mapping[str, Any]
    source: str
    sorted_scale: float | None
    drift: SorterDrift | None
    findings: tuple[Any, ...]

    def rows(self) -> list[tuple[str, str]]:
        """Return the settings as (name, text)."""
        return [(name, _text(value)) for name, value in self.settings.items()]


def read_sorter_run(folder: Path) -> SorterRun:
    """Read how a folder was sorted.

    Parameters
    ----------
    folder : Path
        A Kilosort folder. SpikeInterface's files are looked for in it and in the folder that it is
        in, where ``run_sorter`` writes them (beside ``sorter_output``).

    Returns
    -------
    SorterRun

    Examples
    --------
    >>> import si_curation as sic
    >>> run = read_sorter_run(Path(sic.example_folder()))
    >>> run.source, run.settings["Th_universal"], run.drift is None
    ('ops.npy', 9, True)
    """
    findings = Findings()
    settings = read_settings(read_ops(folder, findings), findings)
    session = read_session_samples(folder, findings)
    if settings is not None and session is not None:
        rate = settings.values.get("fs")
        if rate is not None and is_rate(rate):
            settings = settings_of_session(settings, session, rate)
    places = [folder, folder.parent] if folder.name == "sorter_output" else [folder]
    log = _first_json(places, _LOG, findings)
    params = _first_json(places, _PARAMS, findings)
    given = params.get("sorter_params")
    values, source = ({}, "") if settings is None else (dict(settings.values), "ops.npy")
    if not values and isinstance(given, dict):
        # paths say more about the computer than about the sorting
        values = {str(key): value for key, value in given.items() if not _is_path(value)}
        source = _PARAMS
    runtime = log.get("run_time")
    if not (is_number(runtime) and math.isfinite(runtime)):
        runtime = None if settings is None else settings.runtime_s
    name = log.get("sorter_name") or params.get("sorter_name")
    return SorterRun(
        name if isinstance(name, str) else "",
        _str_of(log, "sorter_version"),
        _str_of(log, "datetime"),
        None if runtime is None else float(runtime),
        values,
        source,
        1.0 if settings is None else settings.sorted_scale,
        None if settings is None else settings.drift,
        tuple(findings),
    )


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)


def _str_of(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _first_json(places: list[Path], name: str, findings: Findings) -> dict[str, Any]:
    """Return the first of these files that is there; empty where none is or it cannot be read."""
    for place in places:
        path = place / name
        if not path.is_file():
            continue
        try:
            if path.stat().st_size > _LARGEST:
                raise ValueError(f"larger than {_LARGEST} bytes")
            value = read_document(path, expected="an object", suffix=".json")
            if isinstance(value, dict):
                return value
            raise ValueError(f"holds a {type(value).__name__}, expected an object")
        except (OSError, ValueError) as fault:
            findings.warning(name, f"was not read: {one_line(fault)}", "the page is without it")
            return {}
    return {}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
