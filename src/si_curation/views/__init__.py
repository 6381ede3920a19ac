"""Figures, one a file, drawn on matplotlib figures that pyplot does not manage."""
