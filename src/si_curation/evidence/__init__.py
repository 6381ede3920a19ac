"""Evidence for curation: which units to merge, and which merges to take back."""
