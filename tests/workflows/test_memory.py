"""How many bytes for each spike the steps of the pipeline take: traced allocations of numpy."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import si_curation as sic
from si_curation import files
from si_curation._spikeinterface import data_of

NUM_SPIKES = 200_000
VECTOR = 24  # SpikeInterface's spike vector
BLOCK = 64  # rows of features that are copied at a time: not more than of all these spikes
FEW = 5  # what does not hang on the number of spikes: 1 MB
LARGE = {"template_assignment": "spike_template_ids", "template_features": "template_features"}


@pytest.fixture(scope="module")
def analyzer(simulate):
    made = simulate(
        "kilosort2", num_spikes=NUM_SPIKES, num_templates=20, num_channels=12, curation=4
    )
    analyzer = sic.read_kilosort_as_analyzer(made.folder, principal_components=False)
    analyzer.compute("template_features", progress_bar=False)
    curate(sic.CurationSession(analyzer)).apply()  # compiles, and makes what is kept
    return analyzer


def curate(session):
    merged = session.merge(session.unit_ids[:2])
    session.split(session.unit_ids[3], np.arange(session.get_spikes(session.unit_ids[3]).size) % 2)
    session.label([merged], "good")
    return session


def measure(function):
    """Return the bytes for each spike that a call takes at its peak, and that its result keeps."""
    gc.collect()
    tracemalloc.start(1)
    try:
        result = function()
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return result, peak / NUM_SPIKES, kept / NUM_SPIKES


@pytest.mark.slow
def test_a_session_holds_changes(analyzer):
    session, peak, kept = measure(lambda: sic.CurationSession(analyzer))
    assert kept < 4.5
    assert peak < 4.5 + FEW
    _, peak, kept = measure(lambda: curate(session))  # of the spikes of three units alone
    assert kept < 1
    assert peak < 4


@pytest.mark.slow
def test_apply_makes_one_spike_vector(analyzer):
    session = curate(sic.CurationSession(analyzer))
    applied, peak, kept = measure(session.apply)
    assert kept < VECTOR + FEW
    assert peak < VECTOR + 4 + FEW
    for name, key in LARGE.items():  # what is of every spike is there once
        before, after = (data_of(one.get_extension(name))[key] for one in (analyzer, applied))
        assert np.shares_memory(before, after)
        assert not after.flags.writeable


@pytest.mark.slow
def test_removed_spikes_are_not_kept(analyzer):
    session = curate(sic.CurationSession(analyzer))
    session.remove(session.unit_ids[:1])
    applied, peak, _ = measure(session.apply)
    held = sum(
        value.nbytes
        for name in LARGE
        for value in data_of(applied.get_extension(name)).values()
        if isinstance(value, np.ndarray) and len(value) > 10_000
    )
    assert peak < VECTOR + held / NUM_SPIKES + BLOCK + 4 + FEW  # 4: which spikes are kept
    before = data_of(analyzer.get_extension("template_features"))["template_features"]
    after = data_of(applied.get_extension("template_features"))["template_features"]
    assert not np.shares_memory(before, after)


@pytest.mark.slow
def test_what_is_large_is_not_in_memory(analyzer, monkeypatch):
    """Analyzers in memory that are larger than it: the same numbers, in files without a name."""
    folder = data_of(analyzer.get_extension("template_assignment"))["template_info"]["phy_folder"]
    monkeypatch.setattr(files, "MEMORY_UP_TO", 700_000)

    def work():
        start = sic.read_kilosort_as_analyzer(folder, principal_components=False)
        start.compute("template_features", progress_bar=False)
        session = curate(sic.CurationSession(start))
        session.remove(session.unit_ids[:1])
        return start, session.apply()

    (start, applied), _, kept = measure(work)
    assert kept < 2 * FEW
    monkeypatch.undo()
    session = curate(sic.CurationSession(analyzer))
    session.remove(session.unit_ids[:1])
    for found, expected in ((start, analyzer), (applied, session.apply())):
        assert (found.sorting.to_spike_vector() == expected.sorting.to_spike_vector()).all()
        for name, key in LARGE.items():
            values = (data_of(one.get_extension(name))[key] for one in (found, expected))
            np.testing.assert_array_equal(*values)


@pytest.mark.slow
@pytest.mark.parametrize("link", [False, True])
def test_export_to_phy_streams(analyzer, tmp_path, link):
    applied = curate(sic.CurationSession(analyzer)).apply()
    sic.export_to_phy(applied, tmp_path / "compiled")
    _, peak, kept = measure(lambda: sic.export_to_phy(applied, tmp_path / "phy", link=link))
    assert kept < 1
    assert peak < 4 + FEW


@pytest.mark.slow
def test_reading(analyzer):
    folder = data_of(analyzer.get_extension("template_assignment"))["template_info"]["phy_folder"]
    _, peak, kept = measure(
        lambda: sic.read_kilosort_as_analyzer(folder, principal_components=False)
    )
    assert kept < VECTOR + 4 + 4 + 4 + FEW  # templates, rows, amplitudes
    assert peak < VECTOR + 4 + 4 + 4 + 2 * FEW


@pytest.mark.slow
@pytest.mark.parametrize("removes", [False, True])
def test_on_the_disk_next_to_nothing_is_in_memory(analyzer, tmp_path, monkeypatch, removes):
    """What is held of each spike is in files without a name, for analyzers of zarr."""
    monkeypatch.setattr(files, "SCRATCH_FROM", 100_000)
    folder = data_of(analyzer.get_extension("template_assignment"))["template_info"]["phy_folder"]
    on_disk = {"format": "zarr", "folder": tmp_path / "read.zarr"}
    start, peak, kept = measure(
        lambda: sic.read_kilosort_as_analyzer(folder, principal_components=False, **on_disk)
    )
    assert kept < 4 + 2 * FEW  # rows
    assert peak < 4 + 24 + 2 * FEW  # SpikeInterface, that writes it: a chunk is all of these spikes
    start.compute("template_features", progress_bar=False)
    session = curate(sic.CurationSession(start))
    if removes:
        session.remove(session.unit_ids[:1])
    _, peak, kept = measure(lambda: session.apply(format="zarr", folder=tmp_path / "b.zarr"))
    assert kept < FEW
    assert peak < 4 + 24 + BLOCK + 2 * FEW
