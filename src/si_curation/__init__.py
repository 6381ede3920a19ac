"""What phy shows of a Kilosort sorting, exact and in scripts, on SpikeInterface.

``import si_curation as sic`` registers the SortingAnalyzer extensions. The public names are listed
in ``__init__.pyi``, which type checkers read; each is imported when it is first used, so that a
script, a command or a worker pays for nothing more.
"""

from importlib.metadata import version

import lazy_loader

# each registers its extension
from si_curation.extensions import (  # noqa: F401
    cross_correlograms,
    spike_waveforms,
    template_assignment,
    template_best_channels,
    template_features,
    unit_similarity,
)
from si_curation.quality.metrics import extension  # noqa: F401

__version__ = version("si_curation")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
