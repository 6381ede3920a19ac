"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"


def format_value(value: Any) -> str:
    """Return a value as text: four significant digits, whole numbers whole, a dash if missing.

    Examples
    --------
    >>> [format_value(v) for v in (1330, 0.46992, 12345.678, 1e-7, None, "good", True)]
    ['1,330', '0.4699', '12,346', '1e-07', '–', 'good', 'yes']
    """
    if isinstance(value, float):  # most values
        if not math.isfinite(value):
            return MISSING
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 1000 else str(value)
    return str(value)


def format_duration(seconds: float) -> str:
    """Return a duration as text.

    Examples
    --------
    >>> format_duration(79.99), format_duration(5025.0)
    ('80.0 s', '1 h 23 min 45 s')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"
