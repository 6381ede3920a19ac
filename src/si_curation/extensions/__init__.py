"""SortingAnalyzer extensions, one per file; importing this package registers them all."""

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

__all__ = [
    "TemplateAssignment",
    "TemplateBestChannels",
    "TemplateFeatures",
    "compute_template_assignment",
    "compute_template_best_channels",
    "compute_template_features",
]
