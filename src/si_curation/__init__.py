"""What phy shows of a Kilosort sorting, exact and in scripts, on SpikeInterface.

``import si_curation as sic`` registers the SortingAnalyzer extensions. The public names are listed
in ``__init__.pyi``, which type checkers read; each is imported when it is first used, and so is
each extension, so that a script, a command or a worker pays for nothing more.
"""

from importlib.metadata import version

import lazy_loader

from si_curation._spikeinterface import announce_extension

for _name, _module, _deleted_with in (
    ("cross_correlograms", "si_curation.extensions.cross_correlograms", ()),
    ("curation_metrics", "si_curation.quality.metrics.extension", ()),
    ("spike_waveforms", "si_curation.extensions.spike_waveforms", ()),
    ("template_assignment", "si_curation.extensions.template_assignment", ()),
    ("template_best_channels", "si_curation.extensions.template_best_channels", ("templates",)),
    ("template_features", "si_curation.extensions.template_features", ()),
    ("unit_similarity", "si_curation.extensions.unit_similarity", ("templates",)),
):
    announce_extension(_name, _module, _deleted_with)

__version__ = version("si_curation")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
