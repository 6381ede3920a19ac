"""What phy shows of a Kilosort sorting, exact and in scripts, on SpikeInterface.

``import si_curation as sic`` registers the SortingAnalyzer extensions. What else is public is
imported when it is first used, so that a script, a command or a worker pays for nothing more.
"""

import importlib
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

# at once: what registers extensions, and what has the name of its module
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

if TYPE_CHECKING:
    from si_curation.batch import BatchResult, Recipe, example_recipe, read_recipe, run_batch
    from si_curation.contamination import contamination_panel
    from si_curation.contamination_columns import (
        COMPARABLE_CONTAMINATION_COLUMNS,
        CONTAMINATION_DESCRIPTIONS,
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
    from si_curation.doctor import check_phy_folder
    from si_curation.exporters import (
        add_units_to_nwbfile,
        export_to_nwb,
        export_to_phy,
        restore_phy_folder,
        update_phy_folder,
        write_phy_columns,
    )
    from si_curation.gui.opening import open_gui
    from si_curation.monosynaptic import MONOSYNAPTIC_DESCRIPTIONS, find_monosynaptic_connections
    from si_curation.phy.folder import PhyFolder, read_phy_folder
    from si_curation.reader import read_kilosort_as_analyzer
    from si_curation.report import export_report
    from si_curation.spike_amplitudes import SpikeAmplitudes, get_spike_amplitudes
    from si_curation.spike_features import get_spike_features
    from si_curation.views.amplitudes_over_time import plot_amplitudes_over_time
    from si_curation.views.best_channels import plot_best_channels
    from si_curation.views.contamination import plot_contamination
    from si_curation.views.cross_correlograms import plot_cross_correlograms
    from si_curation.views.effect_vs_quality import plot_effect_vs_quality
    from si_curation.views.features import plot_features
    from si_curation.views.firing_rate import plot_firing_rate
    from si_curation.views.isi import plot_isi
    from si_curation.views.lineage import plot_lineage
    from si_curation.views.pair_overview import plot_pair_overview
    from si_curation.views.similarity import plot_similarity
    from si_curation.views.template_features import plot_template_features
    from si_curation.views.templates_by_source import plot_unit_templates_by_source
    from si_curation.views.unit_overview import plot_unit_overview

__version__ = _version("si_curation")

# the names of the block above, which the tests compare, and the modules that they come from
_WHEN_FIRST_USED = {
    "COMPARABLE_CONTAMINATION_COLUMNS": "contamination_columns",
    "CONTAMINATION_DESCRIPTIONS": "contamination_columns",
    "LABEL_PRESETS": "curation",
    "MONOSYNAPTIC_DESCRIPTIONS": "monosynaptic",
    "BatchResult": "batch",
    "CurationSession": "curation",
    "LabelRule": "curation",
    "MergeSuggestions": "curation",
    "PhyFolder": "phy.folder",
    "Recipe": "batch",
    "RuleSet": "curation",
    "SimulatedFolder": "datasets",
    "SpikeAmplitudes": "spike_amplitudes",
    "UnitLabels": "curation",
    "add_units_to_nwbfile": "exporters",
    "check_phy_folder": "doctor",
    "contamination_panel": "contamination",
    "example_folder": "datasets",
    "example_recipe": "batch",
    "export_report": "report",
    "export_to_nwb": "exporters",
    "export_to_phy": "exporters",
    "find_bad_merges": "curation",
    "find_monosynaptic_connections": "monosynaptic",
    "get_spike_amplitudes": "spike_amplitudes",
    "get_spike_features": "spike_features",
    "label_units": "curation",
    "open_gui": "gui.opening",
    "plot_amplitudes_over_time": "views.amplitudes_over_time",
    "plot_best_channels": "views.best_channels",
    "plot_contamination": "views.contamination",
    "plot_cross_correlograms": "views.cross_correlograms",
    "plot_effect_vs_quality": "views.effect_vs_quality",
    "plot_features": "views.features",
    "plot_firing_rate": "views.firing_rate",
    "plot_isi": "views.isi",
    "plot_lineage": "views.lineage",
    "plot_pair_overview": "views.pair_overview",
    "plot_similarity": "views.similarity",
    "plot_template_features": "views.template_features",
    "plot_unit_overview": "views.unit_overview",
    "plot_unit_templates_by_source": "views.templates_by_source",
    "read_kilosort_as_analyzer": "reader",
    "read_label_rules": "curation",
    "read_phy_folder": "phy.folder",
    "read_recipe": "batch",
    "reconstruct_lineage": "curation",
    "restore_phy_folder": "exporters",
    "run_batch": "batch",
    "simulate_kilosort_folder": "datasets",
    "suggest_merges": "curation",
    "update_phy_folder": "exporters",
    "write_phy_columns": "exporters",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _WHEN_FIRST_USED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{_WHEN_FIRST_USED[name]}")
        value = getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "COMPARABLE_CONTAMINATION_COLUMNS",
    "CONTAMINATION_DESCRIPTIONS",
    "LABEL_PRESETS",
    "METRIC_DESCRIPTIONS",
    "MONOSYNAPTIC_DESCRIPTIONS",
    "BatchResult",
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
    "Recipe",
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
    "check_phy_folder",
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
    "example_recipe",
    "export_report",
    "export_to_nwb",
    "export_to_phy",
    "find_bad_merges",
    "find_monosynaptic_connections",
    "get_spike_amplitudes",
    "get_spike_features",
    "label_units",
    "open_gui",
    "plot_amplitudes_over_time",
    "plot_best_channels",
    "plot_contamination",
    "plot_cross_correlograms",
    "plot_effect_vs_quality",
    "plot_features",
    "plot_firing_rate",
    "plot_isi",
    "plot_lineage",
    "plot_pair_overview",
    "plot_similarity",
    "plot_template_features",
    "plot_unit_overview",
    "plot_unit_templates_by_source",
    "read_kilosort_as_analyzer",
    "read_label_rules",
    "read_phy_folder",
    "read_recipe",
    "reconstruct_lineage",
    "restore_phy_folder",
    "run_batch",
    "simulate_kilosort_folder",
    "suggest_merges",
    "update_phy_folder",
    "write_phy_columns",
]
