"""The same recipe over many sessions, on Dask."""
