"""SortingAnalyzer extensions, one per file; importing this package registers them all."""

from si_curation.extensions.template_assignment import (
    TemplateAssignment,
    compute_template_assignment,
)
from si_curation.extensions.template_best_channels import (
    TemplateBestChannels,
    compute_template_best_channels,
)

__all__ = [
    "TemplateAssignment",
    "TemplateBestChannels",
    "compute_template_assignment",
    "compute_template_best_channels",
]
