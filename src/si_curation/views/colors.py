"""Colours of units, and of marks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

# colours that are distinct in any colour vision (Okabe and Ito 2008), without yellow
ACCENTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_ALIKE = 0.35  # distance in RGB, of 1.73 from black to white


def on_white(color: Any) -> tuple[float, float, float]:
    """Darken a colour until its luma (ITU-R BT.709) is 0.55, if it is lighter."""
    red, green, blue = to_rgb(color)
    factor = min(1.0, 0.55 / max(0.2126 * red + 0.7152 * green + 0.0722 * blue, 1e-9))
    return (factor * red, factor * green, factor * blue)


def are_alike(colors: Sequence[Any]) -> bool:
    """Return whether two of the colours are too similar to distinguish.

    Examples
    --------
    >>> are_alike(["tab:blue", "tab:orange"]), are_alike(["0.5", "0.55"])
    (False, True)
    """
    pairs = itertools.combinations(np.array([to_rgb(color) for color in colors]), 2)
    return any(np.linalg.norm(a - b) < _ALIKE for a, b in pairs)
