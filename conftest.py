"""What holds before any test is collected: threads of libraries, and views that are not there."""

import os
from importlib.util import find_spec

# as many tests run at once as there are cores: threads of BLAS and OpenMP would wait for each
# other, and a small decomposition takes a hundred times as long
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# views of a GUI that is not installed have no doctests to run
if find_spec("spikeinterface_gui") is None:
    collect_ignore_glob = ["src/si_curation/gui/*_view.py"]
