"""Templates: dense, unwhitened, their amplitudes; against oracles and phylib to the bit."""

from __future__ import annotations

import shutil
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic
from oracles import folders as naive
from si_curation.kernels.templates import (
    densify_templates,
    extremum_on_channel,
    peak_to_peak,
    signal_channels,
    unwhiten_templates,
    unwhiten_templates_as_phy,
)
from si_curation.simulation.simulate import DIALECT_NAMES

seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7))
float_dtypes = st.sampled_from(["float32", "float64"])


def draw_templates(seed, shape, dtype="float32", share_filled=0.6):
    """Templates that are zero on some channels, some of them everywhere."""
    rng = np.random.default_rng(seed)
    templates = rng.normal(size=shape)
    templates *= rng.random((shape[0], 1, shape[2])) < share_filled
    templates[rng.random(shape[0]) < 0.1] = 0
    return templates.astype(dtype)


@given(seed=seeds, shape=shapes, dtype=float_dtypes, block=st.integers(1, 6))
def test_peak_to_peak(small_blocks, seed, shape, dtype, block):
    templates = draw_templates(seed, shape, dtype)
    with small_blocks(block, num_threads=2):
        found = peak_to_peak(templates)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.ptp(templates, axis=1))


@given(seed=seeds, shape=shapes, dtype=float_dtypes, block=st.integers(1, 6))
def test_signal_channels(small_blocks, seed, shape, dtype, block):
    templates = draw_templates(seed, shape, dtype)
    rng = np.random.default_rng(seed)
    templates *= rng.choice([1, 3e-6, 3e-7], (shape[0], 1, shape[2])).astype(dtype)
    with small_blocks(block, num_threads=2):
        found = signal_channels(templates)
    for template, row in zip(templates, found, strict=True):
        largest = np.abs(template).max(axis=0)
        assert row.tolist() == [bool(value > largest.max() * 1e-6) for value in largest]


def test_signal_channels_by_hand():
    templates = np.zeros((2, 3, 4))
    templates[0, 1] = [-1.0, 2e-6, 5e-7, 0.0]
    assert signal_channels(templates).tolist() == [[True, True, False, False], [False] * 4]


@given(seed=seeds, shape=shapes, dtype=float_dtypes, fortran=st.booleans())
def test_densify_sparse_templates(seed, shape, dtype, fortran):
    rng = np.random.default_rng(seed)
    num_templates, _, num_columns = shape
    num_channels = num_columns + int(rng.integers(0, 4))
    templates = rng.normal(size=shape).astype(dtype)
    templates[rng.random(num_templates) < 0.2] = np.nan
    channels = np.stack(
        [rng.permutation(num_channels)[:num_columns] for _ in range(num_templates)]
    )  # not in ascending order
    channels[rng.random(channels.shape) < 0.3] = -1
    before = templates.copy()
    found = densify_templates(
        np.asfortranarray(templates) if fortran else templates, channels, num_channels
    )
    expected = np.zeros((num_templates, shape[1], num_channels))
    for i in range(num_templates):
        for j, channel in enumerate(channels[i]):
            if channel != -1:
                expected[i, :, channel] = np.nan_to_num(templates[i, :, j])
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(templates, before)


@pytest.mark.parametrize("order", ["C", "F"])
def test_densify_dense_templates(order):
    templates = np.array(np.arange(24.0).reshape(2, 3, 4), order=order, dtype=np.float32)
    templates[1] = np.nan
    templates[0, 0, 0] = np.inf
    before = templates.copy()
    templates.flags.writeable = False
    found = densify_templates(templates, None, 4)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(templates, before)
    expected = np.nan_to_num(before, nan=0, posinf=0)
    np.testing.assert_array_equal(found, expected)
    assert not found[1].any()


@given(
    seed=seeds,
    shape=shapes,
    dtype=float_dtypes,
    orientation=st.sampled_from(["right", "left"]),
    matrix_order=st.sampled_from("CF"),
    block=st.integers(1, 6),
)
def test_unwhiten(small_blocks, seed, shape, dtype, orientation, matrix_order, block):
    templates = draw_templates(seed, shape, dtype)
    rng = np.random.default_rng(seed + 1)
    inverse = np.array(rng.normal(size=(shape[2], shape[2])), order=matrix_order)
    with small_blocks(block, num_threads=2):
        found = unwhiten_templates(templates, inverse.T if orientation == "left" else inverse)
    expected = naive.unwhiten_templates(templates, inverse, orientation)
    assert found.templates.dtype == np.float32
    assert found.amplitudes.dtype == np.float64
    np.testing.assert_allclose(found.templates, expected, rtol=2e-7, atol=1e-12)
    largest = np.abs(expected).max(initial=1e-30)
    for template, amplitudes in zip(expected, found.amplitudes, strict=True):
        ours = naive.peak_to_peak(template)
        np.testing.assert_allclose(amplitudes, ours, rtol=1e-12, atol=1e-13 * largest)
    np.testing.assert_array_equal(found.support, signal_channels(templates))


@given(seed=seeds, shape=shapes, block=st.integers(1, 6))
def test_unwhiten_sparse_templates(small_blocks, seed, shape, block):
    templates = draw_templates(seed, shape)
    rng = np.random.default_rng(seed + 1)
    # what is left below the limit of signal does not count
    templates *= rng.choice([1, 1, 3e-7], (shape[0], 1, shape[2])).astype(np.float32)
    inverse = rng.normal(size=(shape[2], shape[2]))
    with small_blocks(block, num_threads=2):
        found = unwhiten_templates(templates, inverse, restrict_to_support=True)
    for i, template in enumerate(templates):
        channels, expected = naive.sparse_template(template, np.arange(shape[2]), inverse)
        np.testing.assert_allclose(found.templates[i][:, channels], expected, rtol=2e-7, atol=1e-12)
        np.testing.assert_allclose(
            found.amplitudes[i, channels], np.ptp(expected, axis=0), rtol=1e-12, atol=1e-12
        )
        outside = np.setdiff1d(np.arange(shape[2]), channels)
        assert not found.templates[i][:, outside].any()
        assert not found.amplitudes[i, outside].any()
        assert np.flatnonzero(found.support[i]).tolist() == channels


@given(seed=seeds, shape=shapes, restrict=st.booleans())
def test_without_a_matrix_templates_stay(seed, shape, restrict):
    templates = draw_templates(seed, shape)
    found = unwhiten_templates(templates, None, restrict)
    np.testing.assert_array_equal(found.templates, templates)
    assert not np.shares_memory(found.templates, templates)
    np.testing.assert_array_equal(found.amplitudes, np.ptp(templates.astype(np.float64), axis=1))
    np.testing.assert_array_equal(found.support, signal_channels(templates))


@given(seed=seeds, shape=shapes, dtype=float_dtypes)
def test_extremum_on_channel(seed, shape, dtype):
    templates = draw_templates(seed, shape, dtype)
    channels = np.random.default_rng(seed).integers(0, shape[2], shape[0])
    found = extremum_on_channel(templates, channels)
    assert found.dtype == dtype
    for template, channel, value in zip(templates, channels, found, strict=True):
        trace = template[:, channel].tolist()
        assert value == max(trace, key=abs)  # of equal magnitudes the first


# -------------------------------------------------------------------------------- phylib's bits


def assert_bits_of_phylib(folder, copy, params=None):
    """Every template with signal: unwhitened, its amplitudes and its channels as phylib's."""
    model_module = pytest.importorskip("phylib.io.model")
    phy = sic.read_phy_folder(folder, sampling_frequency=30_000.0)
    dense = densify_templates(phy.templates, phy.template_channels, phy.num_channels)
    found = unwhiten_templates_as_phy(dense, phy.whitening_inv, phy.template_channels)
    assert found.templates.dtype == found.amplitudes.dtype == np.float32
    shutil.copytree(folder, copy)  # phylib writes into what it opens
    copy.chmod(0o755)
    for path in copy.iterdir():
        path.chmod(0o644)
    if params is not None:
        (copy / "params.py").write_text(params)
    checked = 0
    with closing(model_module.load_model(copy / "params.py")) as model:
        for i in np.flatnonzero(dense.any(axis=(1, 2))):
            theirs = model.get_template(i)
            channels = theirs.channel_ids.astype(np.int64)
            ours = found.templates[i][:, channels]
            assert ours.tobytes() == np.ascontiguousarray(theirs.template).tobytes()
            assert np.array_equal(found.amplitudes[i, channels], np.ptp(theirs.template, axis=0))
            if phy.template_channels is not None:
                assert np.array_equal(np.flatnonzero(found.support[i]), np.sort(channels))
                assert not np.delete(found.templates[i], channels, axis=1).any()
            else:
                whole = model._unwhiten(model.sparse_templates.data[i]).astype(np.float32)
                assert found.templates[i].tobytes() == whole.tobytes()
            checked += 1
    assert checked > 0


@pytest.mark.parametrize("whitening", [None, "local", "symmetric"])
@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_as_phy_on_simulated_folders(simulate, tmp_path, dialect, whitening):
    truth = simulate(
        dialect,
        num_templates=30,
        num_channels=45,
        num_spikes=300,
        num_nan_templates=1,
        num_zero_templates=1,
        whitening=whitening,
        write_features=False,
        seed=7,
    )
    assert_bits_of_phylib(truth.folder, tmp_path / "copy")


def test_as_phy_on_sparse_templates_with_a_float32_inverse(simulate, tmp_path):
    truth = simulate(
        "kilosort1", num_channels=45, num_spikes=300, dtypes={"whitening_mat_inv": "float32"}
    )
    assert_bits_of_phylib(truth.folder, tmp_path / "copy")


@pytest.mark.parametrize("name", ["ks1_phy_curated", "ks4_fresh", "ks4_phy_curated"])
def test_as_phy_on_real_folders(shared_data, tmp_path, name):
    assert_bits_of_phylib(shared_data / name, tmp_path / "copy")


@pytest.mark.slow
def test_as_phy_on_a_large_probe(shared_data, tmp_path):
    folder = shared_data / "np1_without_params"
    params = "dat_path = 'x.dat'\nn_channels_dat = 385\ndtype = 'int16'\noffset = 0\n"
    assert_bits_of_phylib(folder, tmp_path / "copy", params + "sample_rate = 30000.\n")
