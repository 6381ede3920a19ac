"""On what recordings a model was learnt: their sampling rate and probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from spikeinterface.core import SortingAnalyzer

from si_curation.reading.probe import contact_positions

#: {what: (lowest, highest)} of the sessions that a model was learnt from.
Domain = dict[str, tuple[float, float]]
# {what: (in words, unit, by which factor it may be beyond those that were seen)}; metrics change
# with the sampling rate and with the distance of the contacts, less with the number of contacts.
# The factors are chosen, not measured.
_WHAT = {
    "sampling_rate_hz": ("sampling rate", "Hz", 1.1),
    "pitch_um": ("distance of neighbouring contacts", "µm", 1.5),
    "extent_um": ("extent of the contacts", "µm", 2.5),
    "num_channels": ("number of channels", "", 2.5),
}


def recording_facts(analyzer: SortingAnalyzer) -> dict[str, float]:
    """Return the sampling rate and the sizes of the probe; what is not known is left out.

    Contacts are as far apart as the middle one is from its nearest neighbour; they extend over the
    diagonal of the box around them.
    """
    found = {
        "sampling_rate_hz": float(analyzer.sampling_frequency),
        "num_channels": float(analyzer.get_num_channels()),
    }
    try:
        places = contact_positions(analyzer)
    except (AttributeError, KeyError, ValueError):  # no probe
        return found
    return found | probe_sizes(places)


def probe_sizes(places: NDArray[np.float64]) -> dict[str, float]:
    """Return pitch and extent of contacts, (n_channels, 2 or 3); those that are not 0.

    Examples
    --------
    >>> probe_sizes(np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 40.0]]))
    {'pitch_um': 20.0, 'extent_um': 40.0}
    """
    if len(places) < 2 or not np.isfinite(places).all():
        return {}
    nearest = cKDTree(places).query(places, k=2)[0][:, 1]
    sizes = {
        "pitch_um": float(np.median(nearest)),
        "extent_um": float(np.linalg.norm(np.ptp(places, axis=0))),
    }
    return {name: size for name, size in sizes.items() if size > 0}


def domain_of(recordings: Sequence[Mapping[str, float]]) -> Domain:
    """Return the range of each fact that is known of all recordings."""
    out: Domain = {}
    for name in _WHAT:
        values = [one[name] for one in recordings if name in one]
        if values and len(values) == len(recordings):
            out[name] = (min(values), max(values))
    return out


def unlike(domain: Domain, recording: Mapping[str, float]) -> str:
    """Return in words in what a recording is unlike those of a model; "" where it is not.

    Examples
    --------
    >>> unlike({"sampling_rate_hz": (3e4, 3e4)}, {"sampling_rate_hz": 2e4})
    'sampling rate 20,000 Hz (seen: 30,000 Hz)'
    """
    out = []
    for name, (words, unit, factor) in _WHAT.items():
        if name not in domain or name not in recording:
            continue
        low, high = domain[name]
        value = recording[name]
        if not low / factor <= value <= high * factor:
            seen = _text(low, unit) if low == high else f"{_text(low, '')} to {_text(high, unit)}"
            out.append(f"{words} {_text(value, unit)} (seen: {seen})")
    return ", ".join(out)


def _text(value: float, unit: str) -> str:
    return f"{value:,.6g} {unit}".rstrip()
