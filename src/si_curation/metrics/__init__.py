"""Quality metrics of units, computed from what the sorter wrote."""
