"""Agreement beside scikit-learn, published examples, and bootstrap by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, cohen_kappa_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from si_curation.kernels.chance_agreement import (
    adjusted_mutual_information,
    cohen_kappa,
    expected_information,
    fleiss_kappa,
    krippendorff_alpha,
    mean_adjusted_mutual_information,
    resample,
)
from si_curation.kernels.common_refinement import common_refinement

NO_DRAWS = np.zeros((0, 1))


def information_of(first, second, group=None, draws=NO_DRAWS):
    sizes = [int(one.max()) + 1 for one in (first, second)]
    parts = common_refinement([first, second], sizes)
    group = np.zeros(len(parts.counts), dtype=int) if group is None else group
    return adjusted_mutual_information(*parts.members.T, parts.counts, group, draws)


@given(st.integers(2, 300), st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_information_is_that_of_scikit_learn(size, num_first, num_second, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, num_first, size), rng.integers(0, num_second, size)
    if seed % 2:
        second = np.where(rng.random(size) < 0.8, first, second)
    expected = adjusted_mutual_info_score(first, second)
    assert information_of(first, second).value == pytest.approx(expected, abs=1e-9)


def test_expected_information_of_many_spikes_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 7, 200_000), rng.integers(0, 5, 200_000)
    table = contingency_matrix(first, second, sparse=True).astype(np.int64)
    expected = expected_mutual_information(table, 200_000)
    found = expected_information(np.bincount(first), np.bincount(second), 200_000)
    assert found.sum() / 200_000 == pytest.approx(expected, rel=1e-7)


@given(st.integers(1, 100), st.integers(1, 4), st.integers(0, 1000))
def test_kappa_is_that_of_scikit_learn(size, num_labels, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, num_labels, (2, size))
    counts = rng.integers(1, 50, size)
    found, share = cohen_kappa(first, second, counts, np.zeros(size, dtype=int), NO_DRAWS)
    assert share == pytest.approx(np.average(first == second, weights=counts))
    if len({*first.tolist(), *second.tolist()}) == 1:
        assert found.value == 1
    else:
        expected = cohen_kappa_score(first, second, sample_weight=counts)
        assert found.value == pytest.approx(expected, abs=1e-12)


def test_published_examples():
    # Fleiss 1971, as quoted by Wikipedia: 10 subjects, 14 raters, 5 categories, kappa 0.210
    table = [
        (0, 0, 0, 0, 14),
        (0, 2, 6, 4, 2),
        (0, 0, 3, 5, 6),
        (0, 3, 9, 2, 0),
        (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0),
        (2, 5, 3, 2, 2),
        (6, 5, 2, 1, 0),
        (0, 2, 2, 3, 7),
    ]
    labels = np.array([np.repeat(np.arange(5), row) for row in table])
    ones, group = np.ones(10, dtype=int), np.zeros(10, dtype=int)
    found, share = fleiss_kappa(labels, ones, group, NO_DRAWS)
    assert (round(found.value, 3), round(share, 3)) == (0.210, 0.378)
    # Krippendorff 2011, section C: four observers, twelve units, nominal data, alpha 0.743
    data = """
        1 2 3 3 2 1 4 1 2 . . .
        1 2 3 3 2 2 4 1 2 5 . 3
        . 3 3 3 2 3 4 2 2 5 1 .
        1 2 3 3 2 4 4 1 2 5 1 ."""
    rows = [[-1 if one == "." else int(one) for one in row.split()] for row in data.split("\n")[1:]]
    labels = np.array(rows).T
    group = np.zeros(12, dtype=int)
    alpha, _, items = krippendorff_alpha(labels, np.ones(12, dtype=int), group, NO_DRAWS)
    assert (round(alpha.value, 3), items) == (0.743, 11)


def test_counts_are_items():
    """Rows with counts are as many rows."""
    rng = np.random.default_rng(3)
    labels, counts = rng.integers(0, 3, (20, 3)), rng.integers(1, 9, 20)
    group = np.zeros(20, dtype=int)
    for measure in (fleiss_kappa, krippendorff_alpha):
        short = measure(labels, counts, group, NO_DRAWS)
        each = np.repeat(labels, counts, axis=0)
        ones, zeros = np.ones(len(each), dtype=int), np.zeros(len(each), dtype=int)
        assert short[0].value == pytest.approx(measure(each, ones, zeros, NO_DRAWS)[0].value)


def test_resamples_are_those_of_the_groups():
    """A resample has the value of the groups that were drawn, each as often as it was."""
    rng = np.random.default_rng(4)
    labels, counts = rng.integers(0, 3, (8, 3)), rng.integers(1, 9, 8)
    group = np.arange(8) // 2
    draws = np.array([[2.0, 0, 1, 1]])
    again = np.repeat(np.arange(8), draws[0].astype(int)[group])
    for measure, arrays in (
        (fleiss_kappa, (labels,)),
        (krippendorff_alpha, (labels,)),
        (cohen_kappa, (labels[:, 0], labels[:, 1])),
    ):
        found = measure(*arrays, counts, group, draws)[0]
        some = [one[again] for one in arrays]
        expected = measure(*some, counts[again], group[again] * 0, NO_DRAWS)[0].value
        assert found.low == pytest.approx(expected)
        assert found.high == pytest.approx(expected)


def test_resampled_information_is_close_to_that_of_the_groups():
    rng = np.random.default_rng(5)
    first = np.sort(rng.integers(0, 40, 20_000))
    second = np.where(rng.random(20_000) < 0.3, first // 4 * 4, first)  # ten groups of four
    parts = common_refinement([first, second], [40, 40])
    group = parts.members[:, 0] // 4
    draws = np.array([[3.0, 0, 1, 1, 0, 0, 2, 1, 1, 1]])
    found = adjusted_mutual_information(*parts.members.T, parts.counts, group, draws)
    pieces = [
        (first[first // 4 == one] + 100 * copy, second[first // 4 == one] + 100 * copy)
        for one, times in enumerate(draws[0].astype(int))
        for copy in range(times)
    ]
    expected = information_of(*(np.concatenate(one) for one in zip(*pieces, strict=True))).value
    assert found.low == pytest.approx(expected, abs=1e-4)
    assert found.value == pytest.approx(adjusted_mutual_info_score(first, second))
    twice = mean_adjusted_mutual_information(
        [(*parts.members.T, parts.counts, group), (*parts.members.T[::-1], parts.counts, group)],
        draws,
    )
    assert twice == pytest.approx(found, abs=1e-9)


def test_resamples_are_seeded_and_whole():
    draws = resample(12, 30, seed=1)
    assert np.array_equal(draws, resample(12, 30, seed=1))
    assert np.all(draws.sum(axis=1) == 12)
    assert resample(1, 30, seed=1).shape == (0, 1)
