"""One recipe run on many sessions, with Dask."""
