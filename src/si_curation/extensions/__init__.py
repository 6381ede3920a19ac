"""SortingAnalyzer extensions, one per file."""
