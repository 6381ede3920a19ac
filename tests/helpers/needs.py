"""What some tests need: they are skipped without it, and fail where CI promises it."""

import os
from importlib.util import find_spec
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Skip with a reason; fail where the environment variable CI is "true"."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def need(*packages: str) -> None:
    """Skip where a package is not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        skip(f"{', '.join(missing)} is not installed")


def python_with(programs: str) -> str:
    """Return the Python that SI_CURATION_PHY_PYTHON or SI_CURATION_SORTERS_PYTHON names."""
    variable = f"SI_CURATION_{programs.upper()}_PYTHON"
    if not os.environ.get(variable):
        skip(f"{variable} does not name a Python that has {programs}")
    return os.environ[variable]
