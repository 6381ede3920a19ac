"""Results of one row per spike, computed block by block and never held twice."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core.node_pipeline import GatherToNpy, GatherToZarr

from si_curation.files import memory_array
from si_curation.kernels.parallel import blocks, num_threads, run_blocks
from si_curation.progress import counted

ROWS_PER_BLOCK = 1 << 16


def collect_blocks(
    fill: Callable[[slice, NDArray[np.float32]], None],
    num_rows: int,
    width: int,
    destination: dict[str, Any],
    description: str,
    progress_bar: bool = False,
) -> Any:
    """Compute an array block by block, in parallel, in memory or straight to disk.

    Parameters
    ----------
    fill : callable
        ``fill(piece, out)`` computes the rows ``piece`` (a slice) into ``out`` (n, width) float32.
    num_rows, width : int
    destination : dict
        As `_spikeinterface.result_destination` gives it.
    description : str
        Beside the progress bar.
    progress_bar : bool

    Returns
    -------
    array (num_rows, width) float32
        In memory, a memory map or a zarr array.
    """
    pieces = blocks(num_rows, ROWS_PER_BLOCK)
    lock = Lock()
    # shown only where it takes longer than a moment
    with counted(num_rows, description, hidden=not progress_bar, unit="spike", delay=2) as bar:

        def compute(piece: slice, out: NDArray[np.float32]) -> None:
            fill(piece, out)
            with lock:
                bar.update(piece.stop - piece.start)

        if destination["gather_mode"] == "memory" or not pieces:
            result = memory_array((num_rows, width), np.float32)
            run_blocks(lambda piece: compute(piece, result[piece]), pieces)
            return result

        def compute_new(piece: slice) -> NDArray[np.float32]:
            out = np.empty((piece.stop - piece.start, width), dtype=np.float32)
            compute(piece, out)
            return out

        engine = GatherToZarr if destination["gather_mode"] == "zarr" else GatherToNpy
        gather = engine(destination["dest"], destination["names"])
        at_once = 4 * num_threads()
        for start in range(0, len(pieces), at_once):
            for block in run_blocks(compute_new, pieces[start : start + at_once]):
                gather((block,))
        return gather.finalize_buffers(squeeze_output=True)
