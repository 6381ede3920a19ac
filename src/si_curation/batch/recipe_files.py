"""Recipes from files, and an example to start from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from si_curation.batch.recipe import Recipe, check_recipe
from si_curation.checks import check_arguments, local_path
from si_curation.documents import parse_document, read_document
from si_curation.errors import ParameterError


def example_recipe() -> str:
    """Return the text of a commented recipe in YAML, to start from; it can be used as it is.

    Examples
    --------
    >>> example_recipe().splitlines()[4]
    '  unwhiten: auto'
    """
    return (resources.files("si_curation.batch") / "example_recipe.yaml").read_text("utf-8")


def read_recipe(recipe: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    recipe : str, Path, mapping or Recipe
        A ``.yaml``, ``.yml`` or ``.json`` file, its text (of several lines), or what it would hold.
        Relative paths in a file start at its folder. `example_recipe` is one to begin with.

    Returns
    -------
    Recipe

    Raises
    ------
    FolderNotFoundError
        There is no such file.
    ParameterError
        All problems at once: unknown keys, values that cannot be used, extensions that do not
        exist or need the recording, parameters that an extension does not have, rules with faults,
        files that are not there.

    Examples
    --------
    >>> read_recipe({"extensions": ["cross_correlograms"]}).extensions
    {'cross_correlograms': {}}
    >>> read_recipe({"extension": {}, "exports": {"analyzer": "zip"}})
    Traceback (most recent call last):
    ...
    si_curation.errors.ParameterError: recipe: 2 problems: exports.analyzer: is 'zip'; input should
    be 'zarr' or 'binary_folder'; extension: this key is not known
    """
    check_arguments(read_recipe, locals())
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return check_recipe(dict(recipe), "recipe")
    if not isinstance(recipe, str | Path):
        raise ParameterError(f"recipe is {recipe!r}, expected a file, a mapping or a Recipe")
    if isinstance(recipe, str) and "\n" in recipe:
        content = parse_document(recipe, "recipe", suffix=".yaml")
        return check_recipe(_mapping(content, "recipe"), "recipe")
    path = local_path(recipe, "recipe")
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise ParameterError(f"recipe is {path}, expected a .yaml, .yml or .json file")
    content = _mapping(read_document(path, expected="a recipe"), str(path))
    return check_recipe(content, str(path), path.resolve().parent)


def _mapping(content: Any, name: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ParameterError(f"{name} holds {type(content).__name__}, expected keys and values")
    return content
