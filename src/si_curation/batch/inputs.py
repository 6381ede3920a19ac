"""The sessions of a batch: from paths, globs, or a table with the options of each."""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import ValidationError

from si_curation.batch.recipe import FOLDER, Reading, Recipe
from si_curation.checks import local_path
from si_curation.documents import describe_problems, parse_document
from si_curation.errors import FolderNotFoundError, ParameterError

_TABLES = (".csv", ".tsv")
_FORBIDDEN = set('\\/:*?"<>|')  # in file names, on one system or another
_READING = tuple(Reading.model_fields)
_NWB = {
    "t_start": "t_start",
    "session_start_time": "session_start_time",
    "nwb_metadata": "metadata",
    "source_nwb": "source_nwb",
}
_COLUMNS = ("session", "folder", *_READING, *_NWB)
_TEXTS = ("session", "folder", "session_start_time", "nwb_metadata", "source_nwb")


class _Given(NamedTuple):
    """What was given of a session; its name is None where it gets one by its path."""

    name: str | None
    folder: Path
    recipe: Recipe


class SessionInput(NamedTuple):
    """One session: its name, its folder (absolute), and the recipe with its own options."""

    name: str
    folder: str
    recipe: Recipe


def gather_sessions(folders: Any, recipe: Recipe) -> list[SessionInput]:
    """Return the sessions of a batch, in order.

    Parameters
    ----------
    folders : str, Path, mapping, pandas.DataFrame or iterable
        See `si_curation.batch.run.run_batch`.
    recipe : Recipe

    Raises
    ------
    FolderNotFoundError
        A table does not exist.
    ParameterError
        All problems at once: patterns without folders, names that occur twice or cannot be file
        names, columns that are not known, values that cannot be used.
    """
    sessions, problems = find_sessions(folders, recipe)
    if problems:
        raise ParameterError("; ".join(problems))
    return sessions


def find_sessions(folders: Any, recipe: Recipe) -> tuple[list[SessionInput], list[str]]:
    """Return the sessions of a batch, in order, and what is wrong with their names and options."""
    problems: list[str] = []
    sessions = _named(_gather(folders, recipe, problems), recipe.session_name_parts)
    by_name = defaultdict(list)
    for session in sessions:
        by_name[session.name.casefold()].append(session)
        reason = _problem_of_name(session.name)
        if reason:
            problems.append(f"session {session.name!r} of {session.folder}: its name {reason}")
    for same in by_name.values():
        if len(same) > 1:
            problems.append(
                f"{len(same)} sessions are called {same[0].name!r}: "
                f"{', '.join(one.folder for one in same)} (name them in a table with the columns "
                "session and folder)"
            )
    if not sessions and not problems:
        problems.append("there are no sessions")
    return sessions, problems


def _named(given: list[_Given], num_parts: int | None) -> list[SessionInput]:
    """Name sessions by the last parts of their paths: so many, or as many as tell them apart."""
    paths = [tuple(p for p in one.folder.parts if p != one.folder.anchor) for one in given]
    own = {path for path, one in zip(paths, given, strict=True) if one.name is None}
    taken = {one.name.casefold() for one in given if one.name is not None}
    if num_parts is None:
        num_parts = next(
            (
                n
                for n in range(1, max(map(len, own), default=1) + 1)
                if len(names := {"-".join(path[-n:]).casefold() for path in own}) == len(own)
                and not names & taken
            ),
            1,
        )
    return [
        SessionInput(
            "-".join(path[-num_parts:]) if one.name is None else one.name,
            str(one.folder),
            one.recipe,
        )
        for path, one in zip(paths, given, strict=True)
    ]


def _gather(folders: Any, recipe: Recipe, problems: list[str]) -> list[_Given]:
    if isinstance(folders, pd.DataFrame):
        return _from_table(folders, Path.cwd(), "table", recipe, problems)
    if isinstance(folders, Mapping):
        wrong = [folder for folder in folders.values() if not isinstance(folder, str | Path)]
        problems += [f"folder {folder!r} of a session is no path" for folder in wrong]
        return [] if wrong else [_session(folder, recipe, n) for n, folder in folders.items()]
    if isinstance(folders, str | Path):
        return _from_text(str(folders), recipe, problems)
    if not isinstance(folders, Iterable):
        raise ParameterError(f"folders are {folders!r}, expected paths, patterns or a table")
    return [session for one in folders for session in _from_text(one, recipe, problems)]


def _from_text(given: Any, recipe: Recipe, problems: list[str]) -> list[_Given]:
    path, text = local_path(given, "folders"), str(given)
    if path.suffix.lower() in _TABLES and not path.is_dir():
        if not path.is_file():
            raise FolderNotFoundError(f"{path} does not exist, expected a table of sessions")
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, sep=separator)
        except (ValueError, UnicodeError) as fault:
            raise ParameterError(f"{path} cannot be read as a table: {fault}") from None
        return _from_table(table, path.resolve().parent, str(path), recipe, problems)
    if not glob.has_magic(text) or path.exists():
        return [_session(path, recipe)]
    found = sorted(p for p in glob.glob(str(path), recursive=True) if Path(p).is_dir())
    if not found:
        problems.append(f"no folder matches {text!r}")
    return [_session(one, recipe) for one in found]


def _session(folder: Any, recipe: Recipe, name: Any = None) -> _Given:
    path = local_path(folder, "folder").resolve()
    return _Given(None if name is None else str(name), path, recipe)


def _from_table(
    table: pd.DataFrame, folder: Path, title: str, recipe: Recipe, problems: list[str]
) -> list[_Given]:
    unknown = [str(c) for c in table.columns if c not in _COLUMNS]
    if unknown:
        problems.append(
            f"{title}: columns {', '.join(unknown)} are not known, expected {', '.join(_COLUMNS)}"
        )
    if "folder" not in table.columns:
        problems.append(f"{title}: there is no column 'folder'")
        return []
    sessions = []
    for number, row in enumerate(table.to_dict("records"), 1):
        given = {k: v for k, v in row.items() if k in _COLUMNS and not _is_empty(v)}
        if "folder" not in given:
            problems.append(f"{title}, row {number}: the folder is missing")
            continue
        own = {k: v if k in _TEXTS else _typed(v) for k, v in given.items()}
        where = f"{title}, row {number}"
        changed = _with_options(recipe, own, folder, where, problems)
        # a relative folder starts at the table
        path = folder / local_path(str(own["folder"]), "folder")
        sessions.append(_session(path, changed, own.get("session")))
    return sessions


def _is_empty(value: Any) -> bool:
    return (isinstance(value, str) and not value.strip()) or (
        not isinstance(value, list | tuple) and bool(pd.isna(value))
    )


def _typed(value: Any) -> Any:
    """Return the value of a cell: decoded JSON (numbers, true, lists), else the text."""
    if not isinstance(value, str):
        return value.item() if hasattr(value, "item") else value
    try:
        return parse_document(value, "cell")
    except ParameterError:
        return value


def _with_options(
    recipe: Recipe, own: dict[str, Any], folder: Path, where: str, problems: list[str]
) -> Recipe:
    """Return the recipe with the options of a row of the table."""
    reading = {k: own[k] for k in _READING if k in own}
    nwb = {key: own[column] for column, key in _NWB.items() if column in own}
    exports = recipe.exports
    if reading:
        changed = _changed(recipe.reading, reading, folder, where, problems)
        recipe = recipe.model_copy(update={"reading": changed})
    if nwb and exports.nwb is None:
        columns = ", ".join(column for column in _NWB if column in own)
        problems.append(f"{where}: {columns} given, but the recipe exports no NWB")
    elif nwb:
        changed = _changed(exports.nwb, nwb, folder, where, problems)
        update = {"exports": exports.model_copy(update={"nwb": changed})}
        recipe = recipe.model_copy(update=update)
    return recipe


def _changed(
    section: Any, values: dict[str, Any], folder: Path, where: str, problems: list[str]
) -> Any:
    """Return a section of the recipe with other values."""
    try:
        content = {**section.model_dump(), **values}
        return type(section).model_validate(content, context={FOLDER: folder})
    except ValidationError as fault:
        problems.append(f"{where}: {describe_problems(fault, 'recipe')}")
        return section


# Windows opens a device by them, in any folder and with any suffix
_DEVICES = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}


def _problem_of_name(name: str) -> str | None:
    bad = [c for c in name if c in _FORBIDDEN or not c.isprintable()]
    if bad:
        return f"has {bad[0]!r}, which a file name cannot have"
    if not name.strip() or name != name.strip() or name.startswith(".") or name.endswith("."):
        return "is empty, or begins or ends with a dot or a space"
    if name.partition(".")[0].strip().casefold() in _DEVICES:
        return "is that of a device of Windows, which no file can have there"
    return "is very long" if len(name.encode("utf-8", "replace")) > 150 else None
