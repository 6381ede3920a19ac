"""One self-contained HTML page of a sorting: what a curator looks at, to send to a colleague."""

from si_curation.report.export import export_report

__all__ = ["export_report"]
