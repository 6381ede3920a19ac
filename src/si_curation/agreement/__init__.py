"""Curations compared with each other, and carried over to another sorting."""
