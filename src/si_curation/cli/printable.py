"""Texts of folders such that a terminal shows them and does not obey them."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return a text with control characters and what cannot be encoded written as escapes.

    Line breaks and tabs are kept.

    Examples
    --------
    >>> print(printable("\x1b[2Jgood\n\udce9"))
    \x1b[2Jgood
    \udce9
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if _is_harmless(one) else ascii(one)[1:-1] for one in text)


def _is_harmless(character: str) -> bool:
    # isprintable is False for controls, surrogates, and marks that turn the direction of text
    return character.isprintable() or character in "\n\t"
