"""The same recipe over many sessions, on Dask."""

from si_curation.batch.recipe import Recipe
from si_curation.batch.recipe_files import example_recipe, read_recipe
from si_curation.batch.run import BatchResult, run_batch

__all__ = ["BatchResult", "Recipe", "example_recipe", "read_recipe", "run_batch"]
