"""Statistics of effects against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from oracles import effect_statistics as naive
from si_curation.kernels import effect_statistics as kernels

small = st.integers(-3, 3).map(float)


@st.composite
def subsets(draw):
    size = draw(st.integers(1, 12))
    quality = np.array(draw(st.lists(small, min_size=size, max_size=size)))
    values = np.array(draw(st.lists(small, min_size=size, max_size=size)))
    keep = np.sort(np.unique(draw(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5))))[::-1]
    seed = draw(st.integers(0, 1000))
    return quality, values, keep, np.random.default_rng(seed)


@given(subsets(), st.integers(1, 4))
def test_nested_subsets(case, min_units):
    quality, _, keep, _ = case
    thresholds, members = kernels.nested_subsets(quality, keep, min_units)
    expected, expected_members = naive.nested_subsets(quality, keep, min_units)
    assert thresholds.tolist() == expected
    assert members.tolist() == expected_members


@given(subsets(), st.booleans())
def test_resampled_and_shuffled_statistics(case, in_groups):
    quality, values, keep, rng = case
    members = kernels.nested_subsets(quality, keep, 1)[1]
    groups = np.arange(values.size) % 2 if in_groups and values.size > 1 else None
    counts = kernels.bootstrap_counts(5, groups, values.size, rng)
    orders = kernels.shuffles(5, groups, values.size, rng)
    for weighted, shuffled, statistic in (
        (kernels.weighted_means, kernels.shuffled_means, np.mean),
        (kernels.weighted_medians, kernels.shuffled_medians, np.median),
    ):
        np.testing.assert_allclose(
            weighted(values, counts, members),
            naive.resampled(values, counts, members, statistic),
            atol=1e-12,
        )
        np.testing.assert_allclose(
            shuffled(values, orders, members),
            naive.shuffled(values, orders, members, statistic),
            atol=1e-12,
        )


def test_pieces_do_not_change_results(monkeypatch):
    rng = np.random.default_rng(0)
    values, quality = rng.normal(size=(2, 50))
    members = kernels.nested_subsets(quality, np.array([1.0, 0.5]), 1)[1]
    counts = kernels.bootstrap_counts(40, None, 50, rng)
    orders = kernels.shuffles(40, None, 50, rng)

    def everything():
        return [
            kernels.weighted_medians(values, counts, members),
            kernels.shuffled_medians(values, orders, members),
            kernels.shuffled_means(values, orders, members),
            kernels.partial_rank_correlation(values, quality, values[:, None] ** 2, None, orders),
        ]

    whole = everything()
    monkeypatch.setattr(kernels, "_ELEMENTS_AT_ONCE", 120)
    for a, b in zip(whole, everything(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("groups", [None, np.array([0, 0, 0, 1, 1, 2])])
def test_resamples_draw_what_they_should(groups):
    rng = np.random.default_rng(0)
    counts = kernels.bootstrap_counts(4000, groups, 6, rng)
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.06)
    if groups is None:
        assert set(counts.sum(axis=1)) == {6.0}
        np.testing.assert_allclose(counts.var(axis=0), 5 / 6, atol=0.08)
    else:  # groups come as wholes: so many times their size
        for group, size in ((0, 3), (1, 2), (2, 1)):
            drawn = counts[:, groups == group].sum(axis=1) / size
            assert set(drawn) == {0.0, 1.0, 2.0, 3.0}
            np.testing.assert_allclose((drawn == 0).mean(), (2 / 3) ** 3, atol=0.03)
    orders = kernels.shuffles(4000, groups, 6, rng)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(6), (4000, 1)))
    if groups is not None:
        assert np.array_equal(groups[orders], np.tile(groups, (4000, 1)))
    first = np.bincount(orders[:, 0], minlength=6) / 4000
    inside = np.ones(6, bool) if groups is None else groups == 0
    np.testing.assert_allclose(first, inside / inside.sum(), atol=0.03)


@given(st.integers(0, 1000), st.integers(1, 5))
def test_removal_p_values(seed, num_thresholds):
    rng = np.random.default_rng(seed)
    removed = rng.integers(-3, 4, (19, num_thresholds)).astype(float)
    removed[:, 0] = 1.5  # all units: nothing is removed
    observed = np.append(1.5, rng.integers(-4, 5, num_thresholds - 1))
    for a, b in zip(
        kernels.removal_p_values(observed, removed),
        naive.removal_p_values(observed, removed),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-12)


@given(st.integers(0, 10_000), st.integers(0, 2), st.booleans())
def test_partial_rank_correlation(seed, num_covariates, in_groups):
    rng = np.random.default_rng(seed)
    effect, quality = rng.integers(0, 6, (2, 14)).astype(float)
    covariates = rng.integers(0, 5, (14, num_covariates)).astype(float)
    groups = np.repeat([0, 1], 7) if in_groups else None
    orders = kernels.shuffles(39, groups, 14, rng)
    rho, p = kernels.partial_rank_correlation(effect, quality, covariates, groups, orders)
    expected = naive.partial_rank_correlation(effect, quality, covariates, groups, orders)
    np.testing.assert_allclose([rho, p], expected, atol=1e-9)
    if num_covariates == 0 and not in_groups:
        np.testing.assert_allclose(rho, stats.spearmanr(effect, quality).statistic, atol=1e-12)


def test_what_covariates_explain_wholly_is_not_told():
    x = np.arange(20.0)
    orders = kernels.shuffles(19, None, 20, np.random.default_rng(0))
    found = kernels.partial_rank_correlation(x % 7, x**3, x[:, None], None, orders)
    assert np.isnan(found).all()
