"""What numpy does for few values, as in a process that has loaded no kernel."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from si_curation.kernels import parallel


@contextmanager
def numpy_for_few():
    """Leave few values to numpy, whatever kernels other tests have loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "_are_kernels_loaded", lambda: False)
        patch.setattr(parallel._Few, "are_kernels_loaded", False)
        yield
