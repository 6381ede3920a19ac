"""Interval histograms against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles import isi as naive
from si_curation.errors import ParameterError
from si_curation.kernels.isi import isi_histogram


@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 9),
    num_bins=st.integers(1, 9),
    rest=st.integers(0, 8),
)
def test_isi_histogram(seed, width, num_bins, rest):
    rng = np.random.default_rng(seed)
    trains = [np.sort(rng.integers(0, 200, size)) for size in rng.integers(0, 40, 3)]
    found = isi_histogram(trains, num_bins * width + rest % width, width)
    assert found.tolist() == naive.isi_counts(trains, num_bins, width)


def test_isi_windows_that_cannot_be():
    with pytest.raises(ParameterError, match="expected at least 1"):
        isi_histogram([], 10, 0)
    with pytest.raises(ParameterError, match="whole bin"):
        isi_histogram([], 10, 11)
