"""Brute-force coincidences of spikes, one pair at a time."""

from __future__ import annotations


def with_partner(times_a, times_b, window):
    """Spikes of a that have a spike of b at most so far away."""
    return sum(any(abs(int(s) - int(t)) <= window for t in times_b) for s in times_a)
