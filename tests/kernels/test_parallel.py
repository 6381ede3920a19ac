"""One thread, all threads, more threads than cores: the same bytes, whatever the blocks."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import threading

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from si_curation.kernels import parallel
from si_curation.kernels.spike_files import unique_ids, value_range
from si_curation.kernels.spike_vector import (
    choose_random_spikes,
    make_spike_vector,
    scale_by_template,
    take_rows,
)
from si_curation.kernels.template_counts import count_templates
from si_curation.kernels.templates import (
    peak_to_peak,
    signal_channels,
    unwhiten_templates,
    unwhiten_templates_as_phy,
)

NUM_SPIKES = (1 << 20) + 777  # several blocks of each kernel
NUM_UNITS, NUM_TEMPLATES, NUM_CHANNELS = 300, 120, 40


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    templates = rng.normal(size=(NUM_TEMPLATES, 12, NUM_CHANNELS)).astype(np.float32)
    templates *= rng.random((NUM_TEMPLATES, 1, NUM_CHANNELS)) < 0.4
    return {
        "samples": np.sort(rng.integers(0, 1 << 40, NUM_SPIKES)),
        "units": rng.integers(0, NUM_UNITS, NUM_SPIKES),
        "template_ids": rng.integers(0, NUM_TEMPLATES, NUM_SPIKES).astype(np.int32),
        "amplitudes": rng.normal(size=NUM_SPIKES),
        "rows": rng.permutation(NUM_SPIKES),
        "table": rng.permutation(NUM_UNITS).astype(np.int32),
        "templates": templates,
        "matrix": rng.normal(size=(NUM_CHANNELS, NUM_CHANNELS)),
        "scale": rng.normal(size=NUM_TEMPLATES),
    }


def csr_parts(counts):
    return counts.data, counts.indices, counts.indptr


KERNELS = {
    "value_range": lambda a: np.array(value_range(a["samples"])),
    "unique_ids": lambda a: unique_ids(a["units"], NUM_UNITS - 1),
    "make_spike_vector": lambda a: make_spike_vector(a["samples"], a["units"], a["table"]),
    "make_spike_vector, rows": lambda a: make_spike_vector(
        a["samples"], a["units"], a["table"], a["rows"]
    ),
    "take_rows": lambda a: take_rows(a["amplitudes"], a["rows"], np.float32),
    "scale_by_template": lambda a: scale_by_template(
        a["amplitudes"], None, a["template_ids"], a["scale"]
    ),
    "choose_random_spikes": lambda a: choose_random_spikes(
        a["units"], np.bincount(a["units"], minlength=NUM_UNITS), 100
    ),
    "count_templates": lambda a: csr_parts(
        count_templates(a["units"], a["template_ids"], NUM_UNITS, NUM_TEMPLATES)
    ),
    "count_templates, many possible pairs": lambda a: csr_parts(
        count_templates(a["units"] * 10, a["template_ids"] * 20, 3000, 2400)
    ),
    "peak_to_peak": lambda a: peak_to_peak(a["templates"]),
    "signal_channels": lambda a: signal_channels(a["templates"]),
    "unwhiten_templates": lambda a: unwhiten_templates(a["templates"], a["matrix"]),
    "unwhiten_templates, sparse": lambda a: unwhiten_templates(a["templates"], a["matrix"], True),
    "unwhiten_templates_as_phy": lambda a: unwhiten_templates_as_phy(a["templates"], a["matrix"]),
    "unwhiten_templates_as_phy, sparse": lambda a: unwhiten_templates_as_phy(
        a["templates"],
        a["matrix"],
        np.tile(np.arange(a["matrix"].shape[0])[::-1], (len(a["templates"]), 1)),
    ),
}


def as_bytes(result):
    parts = result if isinstance(result, tuple) else (result,)
    return [(part.dtype, part.shape, np.ascontiguousarray(part).tobytes()) for part in parts]


@pytest.mark.parametrize("name", KERNELS)
def test_threads_change_nothing(arrays, threads, monkeypatch, name):
    threads(1)
    expected = as_bytes(KERNELS[name](arrays))
    threads(numba.config.NUMBA_NUM_THREADS)
    assert as_bytes(KERNELS[name](arrays)) == expected
    monkeypatch.setattr(numba, "get_num_threads", lambda: 7)
    assert as_bytes(KERNELS[name](arrays)) == expected


@pytest.mark.parametrize("name", KERNELS)
def test_block_size_changes_nothing(arrays, small_blocks, name):
    expected = as_bytes(KERNELS[name](arrays))
    of_templates = name.startswith(("peak", "signal", "unwhiten"))
    rows = 7 if of_templates else 99_991
    with small_blocks(rows, num_threads=3):
        assert as_bytes(KERNELS[name](arrays)) == expected


def test_blocks_cover_all_rows_once():
    for num_rows in (0, 1, 5, 6, 7):
        pieces = parallel.blocks(num_rows, rows_per_block=3)
        covered = [row for piece in pieces for row in range(num_rows)[piece]]
        assert covered == list(range(num_rows))


@pytest.mark.parametrize("num_threads", [1, 3])
def test_results_come_in_the_order_of_the_blocks(monkeypatch, num_threads):
    monkeypatch.setattr(numba, "get_num_threads", lambda: num_threads)
    assert parallel.run_blocks(lambda piece: piece.start, parallel.blocks(10, 3)) == [0, 3, 6, 9]
    assert parallel.run_blocks(lambda piece: piece.start, []) == []


@pytest.mark.parametrize("num_threads", [1, 3])
def test_an_error_in_a_block_is_raised(monkeypatch, num_threads):
    monkeypatch.setattr(numba, "get_num_threads", lambda: num_threads)

    def fail(piece):
        raise ZeroDivisionError(piece.start)

    with pytest.raises(ZeroDivisionError):
        parallel.run_blocks(fail, parallel.blocks(10, 3))


def test_the_error_of_the_first_block_is_raised(monkeypatch):
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    is_later_done = threading.Event()

    def fail(place):
        if place == 0:
            assert is_later_done.wait(60)  # another thread does the next one meanwhile
        if place == 1:
            is_later_done.set()
        raise ValueError(place)

    with pytest.raises(ValueError, match=r"^0$"):
        parallel.run_blocks(fail, [0, 1, 2, 3])


def test_blocks_that_run_blocks_wait_for_no_thread(monkeypatch):
    monkeypatch.setattr(numba, "get_num_threads", lambda: 4 * parallel.MAX_THREADS)

    def sums(depth):
        return sum(parallel.run_blocks(sums, [depth - 1] * 5)) if depth else 1

    results = []
    thread = threading.Thread(target=lambda: results.append(sums(5)), daemon=True)
    thread.start()
    thread.join(60)
    assert results == [5**5]


def test_threads_are_kept_and_are_as_many_as_asked_for(monkeypatch):
    both = threading.Barrier(2, timeout=20)

    def meet(_):
        both.wait()
        return threading.get_ident()

    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    parallel.run_blocks(meet, [0, 1])
    before = set(threading.enumerate())
    for _ in range(20):
        of_blocks = parallel.run_blocks(meet, [0, 1])
        assert len(set(of_blocks)) == 2
        assert threading.get_ident() in of_blocks
    assert set(threading.enumerate()) == before
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    of_blocks = parallel.run_blocks(lambda _: threading.get_ident(), [0, 1, 2])
    assert set(of_blocks) == {threading.get_ident()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    both = threading.Barrier(2, timeout=20)
    parallel.run_blocks(lambda _: both.wait(), [0, 1])
    child = os.fork()
    if child == 0:
        try:
            parallel.run_blocks(lambda _: both.wait(), [0, 1])
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_kernels_compile_where_nothing_can_be_cached(monkeypatch):
    def refuse(self):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)
    doubled = parallel.njit(lambda x: 2 * x)
    assert doubled(21) == 42


def test_blas_is_on_one_thread_until_the_last_user_is_done():
    def num_blas_threads():
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    before = num_blas_threads()
    first, second = parallel.one_thread_for_matrices(), parallel.one_thread_for_matrices()
    with first:
        assert set(num_blas_threads()) <= {1}
        second.__enter__()
    # the second began within the first, as in another thread, and ends after it
    assert set(num_blas_threads()) <= {1}
    second.__exit__(None, None, None)
    assert num_blas_threads() == before
    with pytest.raises(ZeroDivisionError), parallel.one_thread_for_matrices():
        raise ZeroDivisionError
    assert num_blas_threads() == before


def test_compiling_is_said_once_and_only_of_own_kernels(monkeypatch, caplog):
    def refuse(self):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)
    monkeypatch.setattr(parallel, "KERNELS", [])
    monkeypatch.setattr(parallel.compilations, "is_told", False)
    before = parallel.compilations.number
    assert numba.njit(lambda x: x - 1)(3) == 2
    assert caplog.messages == []
    doubled = parallel.njit(lambda x: 2 * x)
    assert (doubled(21), doubled(2.0), doubled(3)) == (42, 4.0, 6)
    (said,) = caplog.messages
    assert "in every process" in said
    assert "NUMBA_CACHE_DIR" in said
    assert parallel.compilations.number == before + 2  # whole numbers, and others


def test_a_list_of_kernels_that_another_version_left_is_no_failure(monkeypatch, tmp_path):
    module = tmp_path / "kept_kernels.py"
    module.write_text(
        "from si_curation.kernels.parallel import KERNELS, njit\n"
        "@njit\ndef twice(x):\n    return 2 * x\n"
        "KERNELS.remove(twice)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        kernel = importlib.import_module("kept_kernels").twice
        assert kernel(21) == 42
        (index,) = tmp_path.rglob("*.nbi")
        # what follows the version names a class of a module that is gone
        index.write_bytes(pickle.dumps(numba.__version__) + b"csi_curation.kernels.gone\nSpikes\n.")
        del sys.modules["kept_kernels"]
    index.unlink()
