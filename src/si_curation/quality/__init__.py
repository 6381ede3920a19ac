"""Quality of units: metrics, contamination, connections, and how results depend on quality."""
