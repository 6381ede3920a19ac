"""Curations of the same spikes, compared with each other."""
