"""From a Kilosort/phy folder to a SortingAnalyzer: its templates, features, spikes and probe."""
