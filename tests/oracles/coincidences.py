"""Brute-force coincidences of spikes, one pair at a time."""

from __future__ import annotations


def with_partner(times_a, times_b, window):
    """Spikes of a that have a spike of b at most so far away."""
    return sum(any(abs(int(s) - int(t)) <= window for t in times_b) for s in times_a)


def close_pairs(samples, units, segments, num_units, window):
    """Pairs of spikes of two units at most so far apart, the unit with the lower index first."""
    out = [[0] * num_units for _ in range(num_units)]
    spikes = list(zip(samples.tolist(), units.tolist(), segments.tolist(), strict=True))
    for i, (s, a, p) in enumerate(spikes):
        for t, b, q in spikes[i + 1 :]:
            if p == q and a != b and abs(s - t) <= window:
                out[min(a, b)][max(a, b)] += 1
    return out
