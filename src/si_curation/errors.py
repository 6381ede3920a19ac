"""The errors and warnings of the package.

Every error is a `SiCurationError` and also the builtin that a user would catch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One thing found in a folder.

    Attributes
    ----------
    severity : {"error", "warning", "info"}
        "error": the folder cannot be read; "warning": read, but look at it.
    what : str
        What was found and what was expected.
    where : str
        The file (or value) it was found in.
    advice : str
        What to do about it.
    check : str
        Name of the check that found it; it stays the same from version to version.
    evidence : mapping of str to number, str or list
        The same in figures: counts, the first rows, ids. Plain data that JSON can hold.
    """

    severity: Literal["error", "warning", "info"]
    what: str
    where: str
    advice: str = ""
    check: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.advice})" if self.advice else "")

    def __repr__(self) -> str:
        return f"Finding({self.severity}: {self})"


class SiCurationError(Exception):
    """Base class of all errors that this package raises on purpose."""


class PhyFolderError(SiCurationError, ValueError):
    """A Kilosort/phy folder cannot be read; holds every problem that was found.

    Parameters
    ----------
    folder : str
        The folder.
    findings : sequence of Finding
        All problems, of severity "error".
    """

    def __init__(self, folder: object, findings: Sequence[Finding]):
        self.folder = str(folder)
        self.findings = tuple(findings)
        count = f"{len(self.findings)} problems" if len(self.findings) != 1 else "1 problem"
        super().__init__(f"{self.folder}: {count}: " + "; ".join(map(str, self.findings)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.findings)


class FolderNotFoundError(SiCurationError, FileNotFoundError):
    """The folder that was asked for does not exist or is not a folder."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OutputExistsError(SiCurationError, FileExistsError):
    """The output exists already; nothing is overwritten without being asked."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InUseError(SiCurationError, BlockingIOError):
    """Another program, or another session of this one, writes to the same file or folder."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ParameterError(SiCurationError, ValueError):
    """A parameter has a value that cannot be used."""


class MissingDataError(SiCurationError, ValueError):
    """An extension or file that is needed is not there."""


class NwbExportError(SiCurationError, OSError):
    """An NWB file could not be written; the file that was there is as it was."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnknownIdError(SiCurationError, KeyError):
    """A unit, channel or template id that does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SiCurationWarning(UserWarning):
    """Category of all warnings of this package."""
