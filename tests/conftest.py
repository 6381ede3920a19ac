"""Folders that several test files read, and small helpers."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import signal
import warnings
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numba
import pytest
from hypothesis import HealthCheck, settings

import si_curation as sic
from helpers import fuzzing, needs
from si_curation.kernels import parallel, spike_files, spike_vector, template_counts, templates
from si_curation.simulation.simulate import DIALECT_NAMES

# other processes that tests start import the source too
SOURCE = str(Path(__file__).resolve().parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH")]))

FEW, ALL = 8, 40  # examples of each property without the slow tests, and with them


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        metavar="N",
        help="N times as many made-up inputs; other ones with --hypothesis-seed, too",
    )


def pytest_configure(config):
    """Set how many inputs the tests make up; fewer in a run without the slow ones."""
    usual = FEW if config.option.markexpr == "not slow" else ALL
    settings.register_profile(
        "this run",
        max_examples=usual * config.getoption("--fuzz"),
        derandomize=config.getoption("--hypothesis-seed") is None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("this run")
    # whether a test compiles kernels, and says so, depends on those before it
    parallel.compilations.is_told = True
    # shells start jobs in the background without what Ctrl-C does
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Begin with files of few tests that take minutes: at the end one worker waited for another.

    Then those of most tests.
    """
    of_file = Counter(item.path for item in items)
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (item.path not in long, -of_file[item.path]))


def pytest_collection_finish():
    """Keep what is loaded by now, a million objects, out of what the garbage collector looks at.

    SpikeInterface collects after each second of a recording that it writes: half a second each.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter, config):
    """Say what the hostile inputs of this process cost."""
    if config.getoption("--fuzz") > 1 and fuzzing.COSTS["inputs"]:
        terminalreporter.write_line(
            "{inputs} hostile inputs; slowest {seconds:.2f} s ({slowest}); "
            "largest growth {mb:.0f} MB ({most})".format(**fuzzing.COSTS)
        )


def _keep_what_spikeinterface_compiles():
    """Keep kernels of SpikeInterface that many tests call: it compiles them in each process."""
    for where, name in (
        ("postprocessing.correlograms", "_compute_correlograms_one_segment_numba"),
        ("postprocessing.template_similarity", "_compute_similarity_matrix_numba"),
        ("metrics.quality.misc_metrics", "_get_synchrony_counts"),
        (
            "sortingcomponents.peak_detection.locally_exclusive",
            "detect_peaks_numba_locally_exclusive_on_chunk",
        ),
    ):
        # another version has it elsewhere; or there is nowhere to write to
        with contextlib.suppress(ImportError, AttributeError, RuntimeError):
            getattr(import_module(f"spikeinterface.{where}"), name).enable_caching()


_keep_what_spikeinterface_compiles()
KERNEL_MODULES = (spike_files, spike_vector, template_counts, templates)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets that are not packaged."""
    folder = Path(
        os.environ.get("SI_CURATION_TEST_DATA")
        or Path(__file__).resolve().parents[2] / "shared" / "data"
    )
    if not folder.is_dir():
        needs.skip(f"{folder} is not there; SI_CURATION_TEST_DATA names the real data")
    return folder


@pytest.fixture(scope="session")
def simulate(tmp_path_factory):
    """Simulate a folder of its own for each call."""

    def make(dialect="kilosort4", **kwargs):
        folder = tmp_path_factory.mktemp("simulated") / "folder"
        return sic.simulate_kilosort_folder(folder, dialect=dialect, **kwargs)

    return make


def dialects(*quick: str) -> list:
    """The dialects as parameters; those not named are slow."""
    slow = pytest.mark.slow
    return [one if one in quick else pytest.param(one, marks=slow) for one in DIALECT_NAMES]


@pytest.fixture(scope="session", params=dialects("kilosort1", "kilosort4"))
def curated_folder(request, simulate) -> sic.SimulatedFolder:
    """A curated folder of each dialect, with everything that a folder can have; not written to."""
    return simulate(
        request.param,
        num_templates=24,
        num_channels=40,
        num_spikes=4000,
        num_shanks=2,
        num_raw_channels=52,
        num_empty_templates=1,
        num_zero_templates=1,
        num_nan_templates=1,
        labels={3: "good", 4: "noise", 22: "mua", 23: "noise"},
        curation=12,
        seed=5,
    )


@pytest.fixture(scope="session")
def hash_files():
    """Give the digest of every file below a folder."""

    def digests(folder):
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }

    return digests


@pytest.fixture(scope="session")
def small_blocks():
    """A context in which all kernels work in blocks of so many rows, on so many threads."""

    @contextmanager
    def context(rows_per_block, num_threads=1):
        original = parallel.blocks
        with pytest.MonkeyPatch.context() as patch:
            for module in KERNEL_MODULES:
                patch.setattr(module, "blocks", lambda n, _=None: original(n, rows_per_block))
            patch.setattr(numba, "get_num_threads", lambda: num_threads)
            yield

    return context


@pytest.fixture
def threads():
    """Set the number of threads; what it was comes back."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@pytest.fixture
def source(tmp_path):
    """Make an NWB file of a recording, of its own for each call."""
    from helpers.nwb_sources import make_source

    def make(name="source.nwb", **kwargs):
        return make_source(tmp_path / name, **kwargs)

    return make


@pytest.fixture
def quiet_pynwb():
    """Ignore what pynwb and others say on their own account; our own warnings stay errors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="(hdmf|pynwb|nwbinspector|pynapple)")
        yield


@pytest.fixture
def refused(tmp_path, hash_files):
    """A context in which one error of ours is raised; no file has changed, come or gone."""

    @contextmanager
    def context(error, *words):
        before = hash_files(tmp_path)
        with pytest.raises(error) as caught:
            yield
        assert isinstance(caught.value, sic.SiCurationError)
        message = str(caught.value)
        assert message.strip()
        assert "\n" not in message.strip(), "more than one line"
        for word in words:
            assert word.lower() in message.lower(), f"{word!r} is not in: {message}"
        assert hash_files(tmp_path) == before

    return context


@pytest.fixture
def there(tmp_path):
    """A file that is at the target already."""
    path = tmp_path / "out.nwb"
    path.write_bytes(b"what was there before")
    return path
