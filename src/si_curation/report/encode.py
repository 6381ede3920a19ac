"""The encoding of numbers in the page: JSON, and arrays as base64 of little-endian bytes."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {"float32", "uint8", "uint16", "uint32"}
# nothing that ends a script element, or a line in JavaScript
_ESCAPES = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def pack(values: NDArray, dtype: str = "float32") -> dict[str, Any]:
    """Pack an array as text that the page decodes into a typed array.

    Parameters
    ----------
    values : array
    dtype : {"float32", "uint8", "uint16", "uint32"}

    Returns
    -------
    dict
        ``dtype``, ``shape``, ``base64`` (C order, little-endian).

    Examples
    --------
    >>> pack(np.array([[1, 2]]), "uint8")
    {'dtype': 'uint8', 'shape': [1, 2], 'base64': 'AQI='}
    """
    if dtype not in _DTYPES:
        raise ValueError(f"{dtype} is not a type that the page can read")
    content = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    return {
        "dtype": dtype,
        "shape": list(content.shape),
        "base64": base64.b64encode(content.tobytes()).decode("ascii"),
    }


def pack_counts(counts: NDArray[np.integer]) -> dict[str, Any]:
    """Pack whole numbers, 0 or more, in the smallest type that holds them."""
    largest = int(counts.max(initial=0))
    return pack(counts, str(np.min_scalar_type(min(largest, 2**32 - 1))))


def plain(value: Any) -> Any:
    """Return a value as a plain Python object; None where it is missing or not finite.

    Examples
    --------
    >>> plain(np.float32(0.5)), plain(float("nan")), plain(np.array([1, 2])), plain(("a", None))
    (0.5, None, [1, 2], ['a', None])
    """
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)


def script_json(value: Any) -> str:
    r"""Return JSON that is safe inside a script element.

    Examples
    --------
    >>> script_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(plain(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text
