"""Extensions that a figure needs and the analyzer lacks: computed, and held in memory."""

from __future__ import annotations

import logging
from typing import Any

from spikeinterface.core import SortingAnalyzer

from si_curation._spikeinterface import compute_in_memory, recording_of
from si_curation.errors import MissingDataError, ParameterError, SiCurationError
from si_curation.extensions.template_assignment import assignment_of_named_folder
from si_curation.extensions.template_features import TemplateFeatures
from si_curation.reading.named_folders import folders_named_by

logger = logging.getLogger(__name__)


def extensions_in_memory(sorting_analyzer: SortingAnalyzer, *names: str) -> list[Any]:
    """Return extensions of these names; those that are missing are computed with their defaults.

    What is computed is held by the analyzer in memory, as of ``analyzer.compute(name,
    save=False)``: it is there for the next figure, and nothing on disk changes. No other extension
    is deleted. The log (``logging.getLogger("si_curation")``, level info) says what was computed.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
    *names : str
        "template_assignment", "template_best_channels", "template_features", "unit_similarity",
        "cross_correlograms".

    Raises
    ------
    MissingDataError
        One cannot be computed; the message says why. What would read the traces is not computed
        here.
    PhyFolderError, FolderNotFoundError
        The sorter's folder cannot be read.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> (similarity,) = extensions_in_memory(analyzer, "unit_similarity")
    >>> similarity.get_data().shape, analyzer.has_extension("unit_similarity")
    ((8, 8), True)
    """
    found = []
    for name in names:
        extension = sorting_analyzer.get_extension(name)
        if extension is None:
            extension = _computed(sorting_analyzer, name)
        found.append(extension)
    return found


def _computed(analyzer: SortingAnalyzer, name: str) -> Any:
    try:
        _assign_templates(analyzer)
        if name == "template_assignment":
            extension = analyzer.get_extension(name)
            if extension is None:
                extension = compute_in_memory(analyzer, name, kilosort_folder=None)
        elif name == "cross_correlograms":
            extension = _correlograms(analyzer)
        else:
            if name == "template_features":
                extensions_in_memory(analyzer, "template_assignment")
                has_traces = recording_of(analyzer) is not None
                if has_traces and TemplateFeatures(analyzer).reads_traces():
                    raise MissingDataError(
                        "it is computed from the traces: analyzer.compute('template_features')"
                    )
            extension = compute_in_memory(analyzer, name)
    except MissingDataError as fault:
        raise MissingDataError(f"{name} cannot be computed: {fault}") from fault
    logger.info(
        "%s was computed for a figure and is held in memory; analyzer.compute(%r) also saves it",
        name,
        name,
    )
    return extension


def _assign_templates(analyzer: SortingAnalyzer) -> None:
    """Compute template_assignment where the sorting names a folder: others are made of it."""
    if analyzer.has_extension("template_assignment"):
        return
    if folders_named_by(analyzer):
        try:
            compute_in_memory(analyzer, "template_assignment")
            return
        except SiCurationError:
            pass
    assignment_of_named_folder(analyzer)  # says what does not fit, once


def _correlograms(analyzer: SortingAnalyzer) -> Any:
    """Compute all pairs; where they would not fit into memory, auto-correlograms alone.

    Pairs that are not held are counted when they are asked for.
    """
    try:
        return compute_in_memory(analyzer, "cross_correlograms")
    except ParameterError:
        return compute_in_memory(analyzer, "cross_correlograms", pairs="auto")
