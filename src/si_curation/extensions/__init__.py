"""SortingAnalyzer extensions, one per file; importing this package registers them all."""

from si_curation.extensions.cross_correlograms import (
    CrossCorrelograms,
    compute_cross_correlograms,
)
from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    compute_template_assignment,
)
from si_curation.extensions.template_best_channels import (
    TemplateBestChannels,
    compute_template_best_channels,
)
from si_curation.extensions.template_features import (
    TemplateFeatures,
    compute_template_features,
)
from si_curation.extensions.unit_similarity import (
    UnitSimilarity,
    compute_unit_similarity,
)

__all__ = [
    "CrossCorrelograms",
    "TemplateAssignment",
    "TemplateBestChannels",
    "TemplateFeatures",
    "UnitSimilarity",
    "compute_cross_correlograms",
    "compute_template_assignment",
    "compute_template_best_channels",
    "compute_template_features",
    "compute_unit_similarity",
]
