"""The command ``si-curation``."""

from si_curation.cli.main import cli, main

__all__ = ["cli", "main"]
