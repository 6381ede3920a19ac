"""``session.json``: which part of a whole the folder of one session is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from si_curation.checks import is_whole_number
from si_curation.documents import read_document
from si_curation.errors import SiCurationError
from si_curation.phy.arrays import Findings
from si_curation.phy.settings import SorterDrift, SorterSettings

#: Written by `export_to_phy` for a session; ``ops.npy`` beside it is of the whole.
SESSION_FILE = "session.json"
#: Beside it: on which channels the features of each detection template are, as the whole tells.
SESSION_CHANNELS_FILE = "session_feature_channels.npy"
_MOST = 2**62


def read_session_samples(folder: Path, findings: Findings) -> tuple[int, int] | None:
    """Return the first sample of the whole that a folder has, and the one after the last.

    Parameters
    ----------
    folder : Path
    findings : Findings
        A file that cannot be read is a finding of severity "warning".

    Returns
    -------
    (int, int) or None
        None where there is no such file of this package.
    """
    path = folder / SESSION_FILE
    if not path.is_file():
        return None
    try:
        content = read_document(path, expected="JSON")
    except (SiCurationError, OSError):
        content = None
    start, stop = (
        (content.get("first_sample"), content.get("end_sample"))
        if isinstance(content, dict)
        else (None, None)
    )
    if start is None and stop is None and isinstance(content, dict):
        return None  # of another program
    if is_whole_number(start) and is_whole_number(stop) and -_MOST < start < stop < _MOST:
        return int(start), int(stop)
    findings.warning(
        SESSION_FILE,
        "does not tell first_sample and end_sample, whole numbers that ascend",
        "not used: the sorted part and the drift of ops.npy count from the start of the folder",
    )
    return None


def settings_of_session(
    settings: SorterSettings, session: tuple[int, int], sampling_frequency: float
) -> SorterSettings:
    """Return the settings of a whole for one session: the sorted part and the drift are its own.

    Parameters
    ----------
    settings : SorterSettings
    session : (int, int)
        First sample, and the one after the last.
    sampling_frequency : float
        In Hz.
    """
    start, stop = (sample / sampling_frequency for sample in session)
    first, last = max(settings.first_s - start, 0.0), settings.last_s - start
    if first >= stop - start or last <= 0:
        first, last = 0.0, np.inf  # nothing of it was sorted
    drift = None if settings.drift is None else drift_within(settings.drift, start, stop)
    return replace(settings, first_s=first, last_s=float(last), drift=drift)


def drift_within(drift: SorterDrift, start_s: float, stop_s: float) -> SorterDrift | None:
    """Return the drift of a part of the time, from its start; None where it has no batch.

    Examples
    --------
    >>> shift = np.array([[1.0], [2.0], [3.0]])
    >>> whole = SorterDrift(shift, np.array([0.0]), np.array([0.0, 2.0, 4.0]), 2.0)
    >>> drift_within(whole, 3.0, 6.0).starts_s.tolist()
    [-1.0, 1.0]
    """
    inside = (drift.starts_s + drift.batch_s > start_s) & (drift.starts_s < stop_s)
    if not inside.any():
        return None
    return replace(
        drift, shift_um=drift.shift_um[inside], starts_s=drift.starts_s[inside] - start_s
    )
