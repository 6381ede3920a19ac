"""The command that compiles the kernels."""

from __future__ import annotations

import click

from si_curation.cli.options import example
from si_curation.cli.output import echo


@click.command(epilog=example("warmup"))
def warmup() -> None:
    """Compile all kernels now, once for this environment.

    For images of containers and clusters: set NUMBA_CACHE_DIR to a folder that is kept, here and
    where the package is used later.
    """
    from si_curation.compilation.warmup import warmup as compile_all

    echo(compile_all())
