"""Figures, one per file; drawn on matplotlib figures of their own, pyplot is left alone."""
