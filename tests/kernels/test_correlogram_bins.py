"""Cells of lags and the bins that they add up to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from si_curation.errors import ParameterError
from si_curation.kernels.correlogram_bins import (
    CONVENTIONS,
    bins_of_convention,
    linear_cells,
    log_cells,
)


@pytest.mark.parametrize(
    ("half_window", "width", "message"),
    [(10, 0, "smaller|expected at least 1"), (3, 4, "whole bin"), (2**30, 10, "less than")],
)
def test_windows_that_cannot_be(half_window, width, message):
    with pytest.raises(ParameterError, match=message):
        linear_cells(half_window, width)
    with pytest.raises(ParameterError, match=message):
        log_cells(half_window, width)


@given(width=st.integers(1, 40), half=st.integers(1, 20), rest=st.integers(0, 39))
def test_each_lag_is_in_one_cell(width, half, rest):
    cells = linear_cells(half * width + rest % width, width)
    lags = np.arange(cells.max_lag + 1)
    expected = np.searchsorted(cells.first_lag, lags, side="right") - 1
    np.testing.assert_array_equal(cells.cell_of_lag, expected)
    assert cells.first_lag[:2].tolist() == [0, 1]
    assert cells.max_lag == (half + 1) * width - 1


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(width=st.integers(1, 40), half=st.integers(1, 20))
def test_edges_are_a_width_apart(convention, width, half):
    bins = bins_of_convention(linear_cells(half * width, width), convention)
    steps = np.diff(bins.edges_samples)
    if convention == "phy":  # the centre bin holds one side, and is drawn with both
        assert steps[half] == 2 * width
        steps[half] = width
    assert (steps == width).all()
    assert bins.num_bins == 2 * half + (convention != "spikeinterface")


def test_conventions_are_checked():
    with pytest.raises(ParameterError, match="convention is 'matlab', expected one of"):
        bins_of_convention(linear_cells(8, 4), "matlab")
    with pytest.raises(ParameterError, match="other conventions"):
        bins_of_convention(linear_cells(8, 4, ("phy",)), "centered")


@given(first=st.integers(1, 50), factor=st.integers(2, 200), per_decade=st.integers(1, 20))
def test_log_bins_grow(first, factor, per_decade):
    cells = log_cells(first * factor, first, per_decade)
    bins = bins_of_convention(cells, "centered")
    np.testing.assert_array_equal(bins.edges_samples, -bins.edges_samples[::-1])
    positive = bins.edges_samples[bins.num_bins // 2 + 1 :]
    assert positive[0] == first
    assert positive[-1] == first * factor
    assert bins.widths_samples.sum() == 2 * first * factor - 1
