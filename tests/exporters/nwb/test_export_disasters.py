"""What the operating system does to an export to NWB: full disks, locks, rights, kills."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import pynwb
import pytest

import si_curation as sic
from helpers.forks import Forks
from helpers.nwb_analyzers import make_analyzer, small_analyzer
from helpers.nwb_faults import faults_in
from helpers.nwb_sources import FULL_METADATA, make_source

pytestmark = [pytest.mark.usefixtures("quiet_pynwb"), pytest.mark.slow]

TESTS = Path(__file__).parents[2]
MODES = ["new", "sidecar", "export", "append"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs the limits and signals of POSIX")


@pytest.fixture
def place(tmp_path):
    """Make a folder with a source and a file that is there; give both, and the target of a mode."""

    def make(mode):
        folder = tmp_path / "place"
        folder.mkdir()
        source = make_source(folder / "source.nwb")
        there = folder / "out.nwb"
        there.write_bytes(b"what was there before")
        return folder, source, source if mode == "append" else there

    return make


def arguments(mode, source):
    kwargs = {"mode": mode, "t_start": 0.0, "progress_bar": False}
    if mode == "new":
        return {**kwargs, "metadata": FULL_METADATA, "overwrite": True}
    if mode == "append":
        return kwargs
    return {**kwargs, "source_nwb": source, "overwrite": True}


IMPORTS = f"""
import os, resource, signal, sys, warnings
sys.path.insert(0, {str(TESTS)!r})
warnings.simplefilter("ignore")
from pathlib import Path
import h5py
import numpy as np
import si_curation as sic
sic.export_to_nwb
from helpers.nwb_analyzers import make_analyzer, small_analyzer
from helpers.nwb_sources import FULL_METADATA
import pynwb
"""


# 400 thousand spikes, some 2 MB; a first export imports what it needs, for all forks
READY = """
import tempfile
MANY = make_analyzer(
    {i: np.sort(np.random.default_rng(i).choice(10**9, 100_000)) for i in range(4)},
    amplitudes=False,
)
with tempfile.TemporaryDirectory() as first:
    sic.export_to_nwb(
        small_analyzer(), Path(first) / "a.nwb", t_start=0.0, metadata=FULL_METADATA,
        progress_bar=False,
    )
"""


@pytest.fixture(scope="module")
def run_in_a_process():
    """Export in a process of its own, after some lines of code; its exit code and error text."""

    def run(mode, source, target, before="", analyzer="small_analyzer()"):
        return forks.run(f"""
signal.alarm(300)
analyzer = {analyzer}
mode, source, target = {mode!r}, Path({str(source)!r}), Path({str(target)!r})
kwargs = dict(mode=mode, t_start=0.0, progress_bar=False)
if mode == "new":
    kwargs.update(metadata=FULL_METADATA, overwrite=True)
elif mode != "append":
    kwargs.update(source_nwb=source, overwrite=True)
{textwrap.dedent(before)}
try:
    sic.export_to_nwb(analyzer, target, **kwargs)
except sic.SiCurationError as fault:
    print(type(fault).__name__ + ":", fault, file=sys.stderr)
    sys.exit(7)
""")

    package = str(Path(sic.__file__).parents[1])
    environment = {"PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"}
    with Forks(IMPORTS + READY, environment) as forks:
        yield run


# -------------------------------------------------------------------------------------- full disk


@posix
@pytest.mark.parametrize("mode", MODES)
def test_disk_that_fills_up(place, hash_files, run_in_a_process, mode):
    """The system refuses to let a file grow beyond a limit, at whatever point that is.

    The source has 0.7 MB and the units 2 MB, so that the last limits are met while units are
    written to it.
    """
    folder, source, target = place(mode)
    before = hash_files(folder)
    for limit in (0, 100_000, 700_000, 1_500_000):
        done = run_in_a_process(
            mode,
            source,
            target,
            before=f"""
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
            """,
            analyzer="MANY",
        )
        assert done.returncode == 7, (limit, done.stderr[-3000:])
        assert "NwbExportError" in done.stderr, limit
        assert target.name in done.stderr, limit
        assert hash_files(folder) == before, limit


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("call", "code"), [(1, errno.ENOSPC), (1, errno.EIO), (2, errno.ENOSPC), (2, errno.EDQUOT)]
)
def test_write_that_fails_after_it_has_written(place, hash_files, monkeypatch, mode, code, call):
    """pynwb has written all, then an error comes: in the first write, or in the second."""
    folder, source, target = place(mode)
    before = hash_files(folder)
    calls = []

    def failing(name):
        original = getattr(pynwb.NWBHDF5IO, name)

        def write(self, *args, **kwargs):
            result = original(self, *args, **kwargs)
            calls.append(name)
            if len(calls) >= call:
                raise OSError(code, os.strerror(code))
            return result

        return write

    for name in ("write", "export"):
        monkeypatch.setattr(pynwb.NWBHDF5IO, name, failing(name))
    try:
        sic.export_to_nwb(small_analyzer(), target, **arguments(mode, source))
    except sic.NwbExportError as fault:
        message = str(fault)
    else:
        assert len(calls) < call, "the error was swallowed"
        return
    assert target.name in message
    assert os.strerror(code) in message
    assert hash_files(folder) == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_interrupted_while_writing(place, hash_files, monkeypatch, mode, error):
    folder, source, target = place(mode)
    before = hash_files(folder)
    original = h5py.Group.create_dataset
    count = []

    def create_dataset(self, name, *args, **kwargs):
        count.append(name)
        if "spike_times" in str(name):
            raise error("stop")
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", create_dataset)
    with pytest.raises((error, sic.NwbExportError)):
        sic.export_to_nwb(small_analyzer(), target, **arguments(mode, source))
    assert any("spike_times" in str(name) for name in count)
    assert hash_files(folder) == before


@pytest.mark.parametrize("mode", MODES)
def test_a_write_that_lies_is_found_out(place, hash_files, monkeypatch, mode):
    """What was written is read back: one spike moved by a sample is an error."""
    folder, source, target = place(mode)
    before = hash_files(folder)
    for name in ("write", "export"):
        original = getattr(pynwb.NWBHDF5IO, name)

        def lying(self, *args, original=original, **kwargs):
            result = original(self, *args, **kwargs)
            file = self._file
            if "units/spike_times" in file:
                file["units/spike_times"][7] += 1 / 30_000.0
            return result

        monkeypatch.setattr(pynwb.NWBHDF5IO, name, lying)
    with pytest.raises(sic.NwbExportError, match=target.name):
        sic.export_to_nwb(small_analyzer(), target, **arguments(mode, source))
    assert hash_files(folder) == before


@pytest.mark.parametrize("mode", ["new", "sidecar", "export"])
def test_rename_that_fails(place, hash_files, monkeypatch, mode):
    folder, source, target = place(mode)
    before = hash_files(folder)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "the file is used by another process")

    for name in ("rename", "replace", "link"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(sic.SiCurationError, match=target.name):
        sic.export_to_nwb(small_analyzer(), target, **arguments(mode, source))
    assert hash_files(folder) == before


# ------------------------------------------------------------------------------------------ killed


def lines_that_kill(moment):
    """Lines of code: SIGKILL at a dataset, by its number or name, at the rename or reading back."""
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    if moment == "before rename":
        return f"""
        def die(*args, **kwargs): {kill}
        os.rename = os.replace = os.link = die
        """
    if moment == "read back":
        return f"""
        written, write, export = [], pynwb.NWBHDF5IO.write, pynwb.NWBHDF5IO.export
        def note_write(self, *args, **kwargs):
            write(self, *args, **kwargs); written.append(1)
        def note_export(self, *args, **kwargs):
            export(self, *args, **kwargs); written.append(1)
        pynwb.NWBHDF5IO.write, pynwb.NWBHDF5IO.export = note_write, note_export
        original = h5py.File.__init__
        def init(self, *args, **kwargs):
            if written: {kill}
            original(self, *args, **kwargs)
        h5py.File.__init__ = init
        """
    return f"""
        count, original = [], h5py.Group.create_dataset
        def create(self, name, *args, **kwargs):
            count.append(name)
            if {moment!r} in (len(count), name):
                self.file.flush()
                {kill}
            return original(self, name, *args, **kwargs)
        h5py.Group.create_dataset = create
    """


@posix
@pytest.mark.parametrize("mode", MODES)
def test_killed(place, hash_files, run_in_a_process, mode):
    """No goodbye: SIGKILL at one moment after the other, each in the folder that the last left."""
    folder, source, target = place(mode)
    before = hash_files(folder)
    for moment in (1, 5, 12, "spike_times", "before rename", "read back"):
        done = run_in_a_process(mode, source, target, before=lines_that_kill(moment))
        assert done.returncode == -signal.SIGKILL, (moment, done.stderr[-2000:])
        after = hash_files(folder)
        assert {name: after.get(name) for name in before} == before, moment
    # what is left does not stand in the way of the next try
    sic.export_to_nwb(small_analyzer(), target, **arguments(mode, source))
    assert faults_in(target) == []


# ------------------------------------------------------------------------------- held open, rights


@pytest.fixture
def holder():
    """Hold a file open in another process, until the end of the test."""
    processes = []

    def hold(path, how):
        code = f"""
import sys, h5py, pynwb
path, how = {str(path)!r}, {how!r}
held = pynwb.NWBHDF5IO(path, how)
nwbfile = held.read()
print("open", flush=True)
sys.stdin.read()
"""
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline().strip() == "open"
        return process

    yield hold
    for process in processes:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


@pytest.mark.parametrize("how", ["r", "a"])
def test_append_to_a_file_that_another_process_holds(place, hash_files, holder, how):
    folder, source, target = place("append")
    holder(source, how)
    before = hash_files(folder)  # opening it for writing has marked the file
    with pytest.raises(sic.NwbExportError, match=r"source\.nwb.*(open|lock)") as caught:
        sic.export_to_nwb(small_analyzer(), target, **arguments("append", source))
    assert "\n" not in str(caught.value)
    assert hash_files(folder) == before


@pytest.mark.parametrize("mode", ["sidecar", "export"])
def test_source_that_another_process_writes(place, hash_files, holder, mode):
    folder, source, target = place(mode)
    holder(source, "a")
    before = hash_files(folder)  # opening it for writing has marked the file
    with pytest.raises(sic.SiCurationError, match=r"source\.nwb"):
        sic.export_to_nwb(small_analyzer(), target, **arguments(mode, source))
    assert hash_files(folder) == before


@pytest.mark.parametrize("mode", ["sidecar", "export"])
def test_source_that_another_process_reads(place, hash_files, holder, mode):
    """Reading beside a reader is fine."""
    folder, source, target = place(mode)
    before = hash_files(folder)
    holder(source, "r")
    sic.export_to_nwb(small_analyzer(), target, **arguments(mode, source))
    assert hash_files(folder)["source.nwb"] == before["source.nwb"]
    assert faults_in(target) == []


def test_source_held_open_in_this_process(place, hash_files):
    """h5py refuses a second handle in another mode; the first must stay usable."""
    folder, source, target = place("append")
    before = hash_files(folder)
    with pynwb.NWBHDF5IO(source, "r") as io:
        nwbfile = io.read()
        with pytest.raises(sic.NwbExportError, match=r"source\.nwb"):
            sic.export_to_nwb(small_analyzer(), target, **arguments("append", source))
        assert nwbfile.acquisition["ElectricalSeries"].data[:5].shape == (5, 8)
    assert hash_files(folder) == before


@posix
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["folder", "file"])
def test_permission_denied(place, run_in_a_process, mode, what):
    """As a user who may read everything and write nothing."""
    folder, source, target = place(mode)
    if what == "file" and mode != "append":
        source.chmod(0o000)  # cannot even read it
        if mode == "new":
            target.chmod(0o444)
    else:
        (folder if what == "folder" else target).chmod(0o555 if what == "folder" else 0o444)
    if what == "folder":
        target.chmod(0o444)
    for parent in folder.parents:  # another user gets down to the folder
        if parent.stat().st_uid == os.getuid() and str(parent) != "/":
            parent.chmod(parent.stat().st_mode | 0o011)
    # all modules are imported before, because another user may not read them
    as_nobody = """
        if os.getuid() == 0:
            os.setgid(65534); os.setuid(65534)
    """
    try:
        done = run_in_a_process(mode, source, target, before=as_nobody)
    finally:
        folder.chmod(0o755)
        source.chmod(0o644)
        target.chmod(0o644)
    if mode == "new" and what == "file":
        # replacing a file that one may not write to depends on the folder only, which is not ours
        assert done.returncode == 7, done.stderr[-2000:]
    assert done.returncode == 7, done.stderr[-2000:]
    assert folder.name in done.stderr
    assert target.read_bytes() == b"what was there before" or mode == "append"
    assert sorted(p.name for p in folder.iterdir()) == ["out.nwb", "source.nwb"]


def test_long_export_leaves_no_open_handle(place):
    """After a failure the source can be opened for writing again."""
    folder, source, target = place("append")
    analyzer = make_analyzer({0: [1, 2]}, properties={"strange": [1 + 2j]})
    with pytest.raises(sic.SiCurationError):
        sic.export_to_nwb(analyzer, target, **arguments("append", source))
    with h5py.File(source, "r+") as file:
        assert "acquisition" in file
