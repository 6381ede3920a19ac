"""``params.py`` read as data: plain assignments of literals; nothing is ever executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from si_curation.checks import is_number
from si_curation.phy.arrays import Findings, one_line, shortened

NAME = "params.py"
_LOWEST_HZ, _HIGHEST_HZ, _HIGHEST_KHZ = 1000.0, 1e7, 200.0


def read_params(folder: Path, findings: Findings) -> dict[str, Any]:
    """Read the assignments of ``params.py``.

    Parameters
    ----------
    folder : Path
    findings : Findings
        Anything but ``name = literal`` is a finding of severity "error".

    Returns
    -------
    dict
        Empty where there is no file.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        # phy and Kilosort write ASCII; a byte order mark is what Windows editors add
        source = path.read_text(encoding="utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes such as 'D:\data'
            body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as fault:
        findings.error(
            NAME,
            f"cannot be read as assignments: {_reason(fault)}",
            "save it again as UTF-8"
            if isinstance(fault, UnicodeDecodeError)
            else "write plain lines such as sample_rate = 30000.0; paths as r'C:\\data\\x.bin'",
        )
        return {}
    values: dict[str, Any] = {}
    for statement in body:
        target, value = _assignment(statement)
        if target is None:
            if not _is_docstring(statement):
                _refuse(findings, statement, source)
            continue
        try:
            values[target] = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            _refuse(findings, statement, source)
    return values


def _assignment(statement: ast.stmt) -> tuple[str | None, Any]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        return None, None
    return (target.id, value) if isinstance(target, ast.Name) else (None, None)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _reason(fault: Exception) -> str:
    if isinstance(fault, SyntaxError) and fault.lineno is not None:
        return f"line {fault.lineno}: {fault.msg}"
    if isinstance(fault, UnicodeDecodeError):
        line = fault.object[: fault.start].count(b"\n") + 1
        return f"line {line} is not UTF-8 (byte 0x{fault.object[fault.start]:02x})"
    return one_line(fault)


def _refuse(findings: Findings, statement: ast.stmt, source: str) -> None:
    text = " ".join(source.split("\n")[statement.lineno - 1].split())
    what = (
        f"line {statement.lineno} is code (`{shortened(text, 60)}`), expected name = literal; "
        "it was not run"
    )
    if not findings or findings[-1].what != what:  # one finding for all that is in a line
        findings.error(NAME, what, "replace it by the plain value")


def sample_rate_of(params: dict[str, Any], findings: Findings) -> float | None:
    """Return the sampling frequency in Hz, or None with a finding."""
    value = params.get("sample_rate")
    if value is None:
        return None
    if not is_rate(value):
        findings.error(
            NAME,
            rate_problem("sample_rate", value),
            "correct it, or pass sampling_frequency=",
        )
        return None
    return float(value)


def is_rate(value: Any) -> bool:
    """Return whether something is a number that can be a sampling frequency in Hz.

    Others would make recordings of no or of endless duration of the same samples. No sorter finds
    spikes at less than 1,000 Hz: such a number is in kHz.

    Examples
    --------
    >>> is_rate(30000), is_rate(30.0), is_rate(float("nan")), is_rate("30000"), is_rate(True)
    (True, False, False, False, False)
    """
    try:
        return is_number(value) and bool(_LOWEST_HZ <= value <= _HIGHEST_HZ)
    except OverflowError:
        return False


def rate_problem(name: str, value: Any) -> str:
    """Return what is wrong with a number that `is_rate` refuses; of kHz, what it is in Hz.

    Examples
    --------
    >>> rate_problem("sampling_frequency", 30)
    'sampling_frequency is 30, expected a number from 1,000 to 10,000,000 in Hz: 30 kHz are
    30000 Hz'
    """
    text = f"{name} is {_shown(value)}, expected a number from 1,000 to 10,000,000 in Hz"
    in_khz = is_number(value) and 1 <= value <= _HIGHEST_KHZ
    return f"{text}: {value:g} kHz are {value * 1000:.10g} Hz" if in_khz else text


def _shown(value: Any) -> str:
    try:
        return shortened(repr(value), 60)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a huge {type(value).__name__}"


def data_paths_of(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the raw data paths as they are written: a string, a list of strings or nothing.

    Examples
    --------
    >>> data_paths_of({"dat_path": ["a.bin", ""]})
    ('a.bin',)
    """
    value = params.get("dat_path")
    entries = value if isinstance(value, list | tuple) else [value]
    return tuple(entry for entry in entries if isinstance(entry, str) and entry.strip())
