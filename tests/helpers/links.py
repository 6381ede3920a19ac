"""Symbolic links, which Windows lets only some users make."""

from pathlib import Path

import pytest

_PRIVILEGE_NOT_HELD = 1314  # of Windows


def make_link(path: Path, target: Path) -> None:
    """Make a symbolic link, or skip the test where this user may not."""
    try:
        path.symlink_to(target)
    except OSError as fault:
        if getattr(fault, "winerror", None) != _PRIVILEGE_NOT_HELD:
            raise
        pytest.skip("this user of Windows may not make symbolic links")
