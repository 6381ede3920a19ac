"""What phy shows of a Kilosort sorting, exact and in scripts, on SpikeInterface.

``import si_curation as sic`` registers the SortingAnalyzer extensions.
"""

from importlib.metadata import version as _version

from si_curation.contamination import (
    COMPARABLE_CONTAMINATION_COLUMNS,
    CONTAMINATION_DESCRIPTIONS,
    contamination_panel,
)
from si_curation.curation import (
    LABEL_PRESETS,
    CurationSession,
    LabelRule,
    MergeSuggestions,
    RuleSet,
    UnitLabels,
    find_bad_merges,
    label_units,
    read_label_rules,
    reconstruct_lineage,
    suggest_merges,
)
from si_curation.datasets import SimulatedFolder, example_folder, simulate_kilosort_folder
from si_curation.effect_vs_quality import EffectVsQuality, effect_vs_quality
from si_curation.errors import (
    Finding,
    FolderNotFoundError,
    MissingDataError,
    NwbExportError,
    OutputExistsError,
    ParameterError,
    PhyFolderError,
    SiCurationError,
    SiCurationWarning,
    UnknownIdError,
)
from si_curation.exporters import (
    add_units_to_nwbfile,
    export_to_nwb,
    export_to_phy,
    restore_phy_folder,
    update_phy_folder,
    write_phy_columns,
)
from si_curation.extensions import (
    CrossCorrelograms,
    TemplateAssignment,
    TemplateBestChannels,
    TemplateFeatures,
    UnitSimilarity,
    compute_cross_correlograms,
    compute_template_assignment,
    compute_template_best_channels,
    compute_template_features,
    compute_unit_similarity,
)
from si_curation.metrics.extension import (
    CurationMetrics,
    compute_curation_metrics,
    compute_metrics_in_windows,
)
from si_curation.metrics.registry import METRIC_DESCRIPTIONS
from si_curation.monosynaptic import MONOSYNAPTIC_DESCRIPTIONS, find_monosynaptic_connections
from si_curation.phy.folder import PhyFolder, read_phy_folder
from si_curation.reader import read_kilosort_as_analyzer
from si_curation.spike_amplitudes import SpikeAmplitudes, get_spike_amplitudes
from si_curation.spike_features import get_spike_features
from si_curation.views.effect_vs_quality import plot_effect_vs_quality

__version__ = _version("si_curation")

__all__ = [
    "COMPARABLE_CONTAMINATION_COLUMNS",
    "CONTAMINATION_DESCRIPTIONS",
    "LABEL_PRESETS",
    "METRIC_DESCRIPTIONS",
    "MONOSYNAPTIC_DESCRIPTIONS",
    "CrossCorrelograms",
    "CurationMetrics",
    "CurationSession",
    "EffectVsQuality",
    "Finding",
    "FolderNotFoundError",
    "LabelRule",
    "MergeSuggestions",
    "MissingDataError",
    "NwbExportError",
    "OutputExistsError",
    "ParameterError",
    "PhyFolder",
    "PhyFolderError",
    "RuleSet",
    "SiCurationError",
    "SiCurationWarning",
    "SimulatedFolder",
    "SpikeAmplitudes",
    "TemplateAssignment",
    "TemplateBestChannels",
    "TemplateFeatures",
    "UnitLabels",
    "UnitSimilarity",
    "UnknownIdError",
    "add_units_to_nwbfile",
    "compute_cross_correlograms",
    "compute_curation_metrics",
    "compute_metrics_in_windows",
    "compute_template_assignment",
    "compute_template_best_channels",
    "compute_template_features",
    "compute_unit_similarity",
    "contamination_panel",
    "effect_vs_quality",
    "example_folder",
    "export_to_nwb",
    "export_to_phy",
    "find_bad_merges",
    "find_monosynaptic_connections",
    "get_spike_amplitudes",
    "get_spike_features",
    "label_units",
    "plot_effect_vs_quality",
    "read_kilosort_as_analyzer",
    "read_label_rules",
    "read_phy_folder",
    "reconstruct_lineage",
    "restore_phy_folder",
    "simulate_kilosort_folder",
    "suggest_merges",
    "update_phy_folder",
    "write_phy_columns",
]
