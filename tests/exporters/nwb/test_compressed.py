"""Chunks that are compressed here: HDF5's own filters read them, and what is broken is found."""

from __future__ import annotations

import time
import zlib as stock_zlib

import h5py
import numpy as np
import pytest

import si_curation as sic
from helpers import needs
from helpers.nwb_analyzers import make_analyzer
from helpers.nwb_files import make_analyzer as analyzer_of_source
from helpers.nwb_files import write_source
from si_curation.exporters.nwb import compressed
from si_curation.exporters.nwb.compressed import (
    LargeColumn,
    deflate,
    fill,
    inflate,
    is_stored,
    packed,
)

pytestmark = pytest.mark.usefixtures("quiet_pynwb")


class Target:
    """What hdmf leaves of an empty dataset."""

    def __init__(self, dataset):
        self.dataset = dataset


@pytest.fixture(params=["fast", "stock"])
def library(request, monkeypatch):
    """Both libraries, where both are installed."""
    if request.param == "stock":
        monkeypatch.setattr(compressed, "zlib", stock_zlib)
    elif compressed.zlib is stock_zlib:
        needs.skip("zlib-ng is not installed")


def arrays():
    rng = np.random.default_rng(0)
    yield np.cumsum(rng.exponential(0.1, 5000)) + 1.7e9
    yield rng.normal(-100, 10, 4097).astype(np.float32)
    yield rng.normal(size=(70, 9, 5)).astype(np.float32)
    yield rng.integers(0, 2, 3000).astype(np.uint8)
    yield np.tile(np.arange(256), 20)
    yield rng.integers(-3, 3, (2048, 2)).astype(np.int16)
    yield np.array([np.nan, -0.0, np.inf] * 1000)


@pytest.mark.parametrize("ahead", [1, 3, 64])
def test_few_chunks_are_compressed_ahead(monkeypatch, ahead):
    monkeypatch.setattr(compressed, "_AHEAD", ahead)
    begun = []
    pack = compressed._pack
    monkeypatch.setattr(compressed, "_pack", lambda *chunk: begun.append(chunk) or pack(*chunk))
    columns = [
        LargeColumn(str(i), values, 999, False, None) for i, values in enumerate([*arrays()][:2])
    ]
    with packed(columns) as chunks:
        for taken, (column, start, content) in enumerate(chunks):
            assert taken < len(begun) <= taken + 1 + ahead
            part = column.values[start : start + 999]
            found = inflate(content, part.dtype, 999, False)
            np.testing.assert_array_equal(found[: len(part)], part)
    assert [(c.name, start) for c, start in begun] == [
        (name, start) for name, size in (("0", 5000), ("1", 4097)) for start in range(0, size, 999)
    ]


def test_chunks_that_nobody_writes_are_not_compressed(monkeypatch):
    begun = []
    monkeypatch.setattr(compressed, "_pack", lambda *chunk: begun.append(chunk) or time.sleep(0.01))
    column = LargeColumn("a", np.zeros(1000), 1, False, None)
    with pytest.raises(OSError, match="disk is full"), packed([column]):
        raise OSError("disk is full")
    assert len(begun) <= compressed._AHEAD


@pytest.mark.parametrize("shuffle", [False, True])
def test_hdf5_reads_what_is_written(tmp_path, library, shuffle):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        columns = []
        for i, values in enumerate(arrays()):
            dataset = file.create_dataset(
                str(i), values.shape, values.dtype, chunks=(999, *values.shape[1:]),
                maxshape=(None, *values.shape[1:]), compression="gzip", shuffle=shuffle,
            )  # fmt: skip
            columns.append(LargeColumn(str(i), values, 999, shuffle, Target(dataset)))
        with packed(columns) as chunks:
            fill(chunks)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for i, values in enumerate(arrays()):
            np.testing.assert_array_equal(file[str(i)][()], values)
            assert file[str(i)].id.get_num_chunks() == -(-len(values) // 999)
            assert is_stored(file[str(i)], values)
            other = values.copy().reshape(-1)
            other[-1 - values.size // 3] = 1 - np.nan_to_num(other[-1 - values.size // 3])
            assert not is_stored(file[str(i)], other.reshape(values.shape))
            assert not is_stored(file[str(i)], values[1:])
            assert not is_stored(file[str(i)], values.astype(np.complex64))


def test_what_hdf5_has_written_is_read_on_all_cores(tmp_path, library):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i, values in enumerate(arrays()):
            file.create_dataset(f"{i}", data=values)
            rows = min(500, len(values))
            shape = (rows, *[max(1, n // 2) for n in values.shape[1:]])
            file.create_dataset(f"{i} in pieces", data=values, chunks=shape, compression="gzip")
            whole = (rows, *values.shape[1:])
            file.create_dataset(f"{i} in chunks", data=values, chunks=whole, compression="gzip")
        for i, values in enumerate(arrays()):
            for name in ("", " in pieces", " in chunks"):
                assert is_stored(file[f"{i}{name}"], values)


def test_broken_chunks_are_found(tmp_path):
    values = next(arrays())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset(
            "a", values.shape, values.dtype, chunks=(1000,), compression="gzip", shuffle=True
        )
        column = LargeColumn("a", values, 1000, True, Target(dataset))
        for broken in (deflate(values[:1000], True)[:-9], b"nothing", deflate(values[:10], True)):
            with packed([column]) as chunks:
                fill(chunks)
            assert is_stored(dataset, values)
            dataset.id.write_direct_chunk((2000,), broken)
            assert not is_stored(dataset, values)
        with packed([column]) as chunks:
            fill(chunks)
        dataset.id.write_direct_chunk((2000,), values[2000:3000].tobytes(), filter_mask=3)
        assert not is_stored(dataset, values)


def test_bytes_of_no_use_are_stored_as_they_are(library):
    noise = np.random.default_rng(0).normal(-100, 10, 2**17).astype(np.float32)
    stored = deflate(noise, True)
    assert len(stored) < len(stock_zlib.compress(noise, 4))
    assert stock_zlib.decompress(stored) == compressed._planes(noise).tobytes()
    np.testing.assert_array_equal(inflate(stored, noise.dtype, noise.size, True), noise)


@pytest.mark.slow
def test_file_that_is_damaged_on_the_way_is_refused(tmp_path, monkeypatch, library):
    """Amplitudes too, not the times alone, are compared with what was to be written."""
    rng = np.random.default_rng(0)
    analyzer = make_analyzer({i: np.sort(rng.choice(9_000_000, 3000)) for i in range(2)})
    arguments = dict(t_start=0.0, metadata={"NWBFile": {"session_start_time": "2024-05-01T12:00Z"}})
    path = sic.export_to_nwb(analyzer, tmp_path / "right.nwb", **arguments)
    assert path.stat().st_size > 10_000
    intact = compressed.deflate
    monkeypatch.setattr(compressed, "deflate", lambda values, shuffle: intact(values * 2, shuffle))
    with pytest.raises(sic.NwbExportError, match=r"spike_times.* of spikes or units have other v"):
        sic.export_to_nwb(analyzer, tmp_path / "wrong.nwb", **arguments)
    assert not (tmp_path / "wrong.nwb").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sidecar", "export", "append"])
def test_large_columns_in_every_mode(tmp_path, mode):
    rng = np.random.default_rng(0)
    source = write_source(tmp_path / "source.nwb")
    frames = {i: np.sort(rng.choice(60_000, 3000, replace=False)) for i in range(2)}
    analyzer = analyzer_of_source(frames, channel_ids=["AP0", "AP1", "AP2", "AP3"])
    target = source if mode == "append" else tmp_path / "out.nwb"
    path = sic.export_to_nwb(analyzer, target, source_nwb=source, mode=mode, progress_bar=False)
    with h5py.File(path, "r") as file:
        assert file["units/spike_times"].id.get_num_chunks() == 1
        expected = 5.0 + np.concatenate(list(frames.values())) / 30_000.0
        np.testing.assert_allclose(file["units/spike_times"][()], expected, rtol=0, atol=1e-9)
