"""The extension `curation_metrics`: metrics by group, their parameters and their table."""
