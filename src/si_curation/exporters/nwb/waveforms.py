"""Best channels of the units, and their mean waveforms on these."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import as_array
from si_curation.exporters.nwb.spikes import is_in_uv
from si_curation.extensions.template_assignment import assignment_of_named_folder
from si_curation.extensions.template_best_channels import phy_best_channels
from si_curation.variables import ChannelIndices

logger = logging.getLogger(__name__)

_VOLTS_PER_UV = 1e-6


def best_channels(analyzer: SortingAnalyzer) -> list[ChannelIndices] | None:
    """Return the channel indices of each unit, best first, as `template_best_channels` ranks them.

    Returns
    -------
    list of array
        Empty for a unit without spikes or without signal; None where there are no templates.
    """
    extension = analyzer.get_extension("template_best_channels")
    if extension is not None:
        return list(extension.get_data(outputs="indices").values())
    assignment_of_named_folder(analyzer)
    if not _has_templates(analyzer):
        logger.info("no templates: units are written without electrodes")
        return None
    ranking = phy_best_channels(analyzer)
    return [ranking.of_unit(unit) for unit in range(len(analyzer.unit_ids))]


def _has_templates(analyzer: SortingAnalyzer) -> bool:
    assignment = analyzer.get_extension("template_assignment")
    return analyzer.has_extension("templates") or (
        assignment is not None and assignment.has_templates
    )


class Waveforms(NamedTuple):
    """Mean waveforms.

    Attributes
    ----------
    mean_v : array (n_units, n_samples, longest) float32
        In volts, on the channels of each unit in their order; NaN padded.
    before_peak_ms : float
    """

    mean_v: NDArray[np.float32]
    before_peak_ms: float


def waveforms_in_volts(
    analyzer: SortingAnalyzer, channels: list[ChannelIndices] | None
) -> tuple[Waveforms | None, str]:
    """Return the templates of the units on their best channels, in volts; or why there are none.

    Parameters
    ----------
    analyzer : SortingAnalyzer
    channels : list of array
        Of `best_channels`.

    Returns
    -------
    waveforms : Waveforms or None
    problem : str
        Why there are none, and what to do; "" where there are.
    """
    extension = analyzer.get_extension("templates")
    assignment = analyzer.get_extension("template_assignment")
    if channels is None and assignment is not None and not assignment.has_templates:
        return None, (
            "the folder has no templates.npy, so that units have no electrodes either; copy it "
            "from the sorter's output"
        )
    if channels is None or extension is None:
        return None, (
            "the analyzer has no templates, so that units have no electrodes either; compute "
            "'random_spikes' and 'templates' first"
        )
    if max(map(len, channels), default=0) == 0:
        return None, "the templates have no signal; give an analyzer with other templates"
    if not is_in_uv(analyzer):
        return None, (
            "the templates are not in µV, as the gain of the raw data is not known; give "
            "gain_to_uV= when the folder is read"
        )
    templates = as_array(extension.get_data(operator="average"))
    longest = max(map(len, channels))
    mean = np.full((len(channels), templates.shape[1], longest), np.nan, dtype=np.float32)
    for unit, own in enumerate(channels):
        mean[unit, :, : own.size] = templates[unit][:, own] * _VOLTS_PER_UV
    if np.isnan(mean).all():
        return None, "the templates have no values; give an analyzer with other templates"
    before = int(extension.nbefore)
    if assignment is not None and assignment.source != "identity":
        before = int(assignment.info["num_samples_before"])
    return Waveforms(mean, before / analyzer.sampling_frequency * 1000.0), ""
