"""Every public name, once, with its module; ``__init__.py`` imports it when it is first used."""

from .agreement.comparison import CurationComparison as CurationComparison
from .agreement.comparison import compare_curations as compare_curations
from .agreement.replay import CurationReplay as CurationReplay
from .agreement.replay import replay_curation as replay_curation
from .batch.check import BatchCheck as BatchCheck
from .batch.check import check_batch as check_batch
from .batch.recipe import Recipe as Recipe
from .batch.recipe_files import example_recipe as example_recipe
from .batch.recipe_files import read_recipe as read_recipe
from .batch.run import BatchResult as BatchResult
from .batch.run import run_batch as run_batch
from .compilation.warmup import Warmup as Warmup
from .compilation.warmup import warmup as warmup
from .curation.history import cleaned_units as cleaned_units
from .curation.history import label_sources as label_sources
from .curation.label_rules import LABEL_PRESETS as LABEL_PRESETS
from .curation.label_rules import LabelRule as LabelRule
from .curation.label_rules import RuleSet as RuleSet
from .curation.label_rules import read_label_rules as read_label_rules
from .curation.labelling import UnitLabels as UnitLabels
from .curation.labelling import label_units as label_units
from .curation.lineage import reconstruct_lineage as reconstruct_lineage
from .curation.reconstruct import ReconstructedJournal as ReconstructedJournal
from .curation.reconstruct import reconstruct_journal as reconstruct_journal
from .curation.session import CurationSession as CurationSession
from .curation.split_sessions import split_by_session as split_by_session
from .doctor.check import check_phy_folder as check_phy_folder
from .errors import Finding as Finding
from .errors import FolderNotFoundError as FolderNotFoundError
from .errors import InUseError as InUseError
from .errors import MissingDataError as MissingDataError
from .errors import NwbExportError as NwbExportError
from .errors import OutputExistsError as OutputExistsError
from .errors import ParameterError as ParameterError
from .errors import PhyFolderError as PhyFolderError
from .errors import SiCurationError as SiCurationError
from .errors import SiCurationWarning as SiCurationWarning
from .errors import UnknownIdError as UnknownIdError
from .evidence.bad_merges import find_bad_merges as find_bad_merges
from .evidence.benchmark.benchmark import SuggestionBenchmark as SuggestionBenchmark
from .evidence.benchmark.benchmark import benchmark_suggestions as benchmark_suggestions
from .evidence.benchmark.pooling import calibrate_suggestions as calibrate_suggestions
from .evidence.calibration import Calibration as Calibration
from .evidence.cleaning import CleaningSuggestions as CleaningSuggestions
from .evidence.cleaning import suggest_cleaning as suggest_cleaning
from .evidence.duplicates import DuplicateUnits as DuplicateUnits
from .evidence.duplicates import find_duplicate_units as find_duplicate_units
from .evidence.merges import MergeSuggestions as MergeSuggestions
from .evidence.merges import suggest_merges as suggest_merges
from .evidence.phy_proposals import PhyProposals as PhyProposals
from .evidence.phy_proposals import write_phy_proposals as write_phy_proposals
from .evidence.phy_reviews import PhyReviews as PhyReviews
from .evidence.phy_reviews import read_phy_reviews as read_phy_reviews
from .evidence.plan import CurationPlan as CurationPlan
from .evidence.plan import PlanStep as PlanStep
from .evidence.plan import plan_curation as plan_curation
from .evidence.reviews import outcomes_of_reviews as outcomes_of_reviews
from .evidence.splits import SplitSuggestions as SplitSuggestions
from .evidence.splits import suggest_splits as suggest_splits
from .exporters.nwb.export import export_to_nwb as export_to_nwb
from .exporters.nwb.units import add_units_to_nwbfile as add_units_to_nwbfile
from .exporters.phy.export import export_to_phy as export_to_phy
from .exporters.phy.inplace import update_phy_folder as update_phy_folder
from .exporters.phy.inplace import write_phy_columns as write_phy_columns
from .exporters.phy.prepare import prepare_for_phy as prepare_for_phy
from .exporters.unitmatch import export_to_unitmatch as export_to_unitmatch
from .extensions.cross_correlograms import CrossCorrelograms as CrossCorrelograms
from .extensions.cross_correlograms import compute_cross_correlograms as compute_cross_correlograms
from .extensions.spike_waveforms import SpikeWaveforms as SpikeWaveforms
from .extensions.spike_waveforms import compute_spike_waveforms as compute_spike_waveforms
from .extensions.template_assignment import TemplateAssignment as TemplateAssignment
from .extensions.template_assignment import attach_kilosort_folder as attach_kilosort_folder
from .extensions.template_assignment import (
    compute_template_assignment as compute_template_assignment,
)
from .extensions.template_best_channels import TemplateBestChannels as TemplateBestChannels
from .extensions.template_best_channels import (
    compute_template_best_channels as compute_template_best_channels,
)
from .extensions.template_features import TemplateFeatures as TemplateFeatures
from .extensions.template_features import compute_template_features as compute_template_features
from .extensions.unit_similarity import UnitSimilarity as UnitSimilarity
from .extensions.unit_similarity import compute_unit_similarity as compute_unit_similarity
from .gui.opening import open_gui as open_gui
from .learning.labels import LearntLabels as LearntLabels
from .learning.model import LabelModel as LabelModel
from .learning.model import learn_labels as learn_labels
from .learning.report import LabelReport as LabelReport
from .learning.spikeinterface_models import SpikeInterfaceLabels as SpikeInterfaceLabels
from .learning.spikeinterface_models import (
    label_by_spikeinterface_model as label_by_spikeinterface_model,
)
from .learning.thresholds import ThresholdSuggestions as ThresholdSuggestions
from .learning.thresholds import suggest_thresholds as suggest_thresholds
from .phy.backup import restore_phy_folder as restore_phy_folder
from .phy.folder import PhyFolder as PhyFolder
from .phy.folder import read_phy_folder as read_phy_folder
from .quality.connections import MONOSYNAPTIC_DESCRIPTIONS as MONOSYNAPTIC_DESCRIPTIONS
from .quality.connections import find_monosynaptic_connections as find_monosynaptic_connections
from .quality.contamination import CONTAMINATION_DESCRIPTIONS as CONTAMINATION_DESCRIPTIONS
from .quality.contamination import contamination_panel as contamination_panel
from .quality.effect.effect_vs_quality import EffectVsQuality as EffectVsQuality
from .quality.effect.effect_vs_quality import effect_vs_quality as effect_vs_quality
from .quality.metrics.extension import CurationMetrics as CurationMetrics
from .quality.metrics.extension import compute_curation_metrics as compute_curation_metrics
from .quality.metrics.extension import compute_metrics_in_windows as compute_metrics_in_windows
from .quality.metrics.registry import METRIC_DESCRIPTIONS as METRIC_DESCRIPTIONS
from .quality.template_agreement import compare_templates as compare_templates
from .quality.unit_classes import UnitClasses as UnitClasses
from .quality.unit_classes import classify_units as classify_units
from .reading.observed import ObservedPeriods as ObservedPeriods
from .reading.observed import observed_periods as observed_periods
from .reading.observed import set_observed_periods as set_observed_periods
from .reading.reader import read_kilosort_as_analyzer as read_kilosort_as_analyzer
from .reading.sessions import SessionBorders as SessionBorders
from .reading.sessions import session_borders as session_borders
from .reading.sessions import set_session_borders as set_session_borders
from .report.export import export_report as export_report
from .report.labels import export_label_report as export_label_report
from .simulation.example import example_folder as example_folder
from .simulation.simulate import SimulatedFolder as SimulatedFolder
from .simulation.simulate import simulate_kilosort_folder as simulate_kilosort_folder
from .spikes.amplitude_scale import AmplitudeScale as AmplitudeScale
from .spikes.amplitude_scale import get_amplitude_scale as get_amplitude_scale
from .spikes.amplitudes import SpikeAmplitudes as SpikeAmplitudes
from .spikes.amplitudes import get_spike_amplitudes as get_spike_amplitudes
from .spikes.features import get_spike_features as get_spike_features
from .spikes.waveform_sets import WaveformSets as WaveformSets
from .spikes.waveform_sets import get_waveform_sets as get_waveform_sets
from .spikes.waveform_sets import spikes_in_windows as spikes_in_windows
from .spikes.waveforms import Waveforms as Waveforms
from .spikes.waveforms import get_spike_waveforms as get_spike_waveforms
from .variables import COMPARABLE_CONTAMINATION_COLUMNS as COMPARABLE_CONTAMINATION_COLUMNS
from .views.amplitudes_over_time import plot_amplitudes_over_time as plot_amplitudes_over_time
from .views.best_channels import plot_best_channels as plot_best_channels
from .views.contamination import plot_contamination as plot_contamination
from .views.cross_correlograms import plot_cross_correlograms as plot_cross_correlograms
from .views.drift import plot_drift as plot_drift
from .views.drift_map import plot_drift_map as plot_drift_map
from .views.effect_vs_quality import plot_effect_vs_quality as plot_effect_vs_quality
from .views.features import plot_features as plot_features
from .views.firing_rate import plot_firing_rate as plot_firing_rate
from .views.isi import plot_isi as plot_isi
from .views.lineage import plot_lineage as plot_lineage
from .views.pair_overview import plot_pair_overview as plot_pair_overview
from .views.similarity import plot_similarity as plot_similarity
from .views.split import plot_split as plot_split
from .views.template_features import plot_template_features as plot_template_features
from .views.templates_by_source import (
    plot_unit_templates_by_source as plot_unit_templates_by_source,
)
from .views.unit_overview import plot_unit_overview as plot_unit_overview
from .views.waveform_drift import plot_waveform_drift as plot_waveform_drift

__version__: str
