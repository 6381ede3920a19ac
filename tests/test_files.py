"""Files and folders are written whole or not at all, whatever fails on the way."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import si_curation as sic
from helpers.links import make_link
from helpers.phy_folders import Faults
from si_curation import files

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and locks of POSIX")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))


def without_unfinished(folder):
    return [name for name in names(folder) if not any(map(files.is_temporary, name.split("/")))]


def write_by_block(target, overwrite=True, **options):
    with files.replaced_file(target, overwrite, **options) as part:
        part.write_bytes(b"new")


WRITERS = {
    "bytes": lambda target: files.replace_file(target, b"new"),
    "array": lambda target: files.replace_file(target, np.arange(3)),
    "block": write_by_block,
    "pieces": lambda target: files.write_pieces(target, ["n", "ew"], overwrite=True),
}


# ----------------------------------------------------------------------------------- where to write


def test_output_file(tmp_path, monkeypatch):
    there = tmp_path / "a.csv"
    there.write_text("mine")
    assert files.check_output_file(str(tmp_path / "b.csv")) == tmp_path / "b.csv"
    assert files.check_output_file(there, overwrite=True) == there
    with pytest.raises(sic.OutputExistsError, match=r"a\.csv exists; give another path or overw"):
        files.check_output_file(there)
    with pytest.raises(sic.OutputExistsError, match="exists; give another --output"):
        files.check_output_file(there, advice="give another --output")
    with pytest.raises(sic.ParameterError, match="is a folder, expected the name of a table"):
        files.check_output_file(tmp_path, kind="a table")
    with pytest.raises(sic.ParameterError, match=r"a\.csv does not end in \.nwb or \.h5"):
        files.check_output_file(there, overwrite=True, suffixes=(".nwb", ".h5"))
    with pytest.raises(sic.ParameterError, match=r"a\.csv is a file, expected a folder to write"):
        files.check_output_file(there / "deep" / "b.csv")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.check_output_file("~/new/b.csv") == tmp_path / "new" / "b.csv"
    assert names(tmp_path) == ["a.csv"]


def test_output_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "there").mkdir()
    assert files.check_output_folder(tmp_path / "x" / "new") == tmp_path / "x" / "new"
    assert files.check_output_folder(tmp_path / "there", overwrite=True) == tmp_path / "there"
    with pytest.raises(sic.OutputExistsError, match="kept as a backup"):
        files.check_output_folder(tmp_path / "there")
    for overwrite in (False, True):
        with pytest.raises(sic.ParameterError, match="is a file"):
            files.check_output_folder(tmp_path / "file", overwrite)
    with pytest.raises(sic.ParameterError, match="is a file, expected a folder"):
        files.check_output_folder(tmp_path / "file" / "new")
    with pytest.raises(sic.ParameterError, match="cannot be an output folder"):
        files.check_output_folder(tmp_path.anchor, overwrite=True)
    assert names(tmp_path) == ["file", "there"]


# ----------------------------------------------------------------------------------------- one file


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("writer", WRITERS)
def test_file_is_old_or_new_whatever_fails(tmp_path, writer, exists, kill):
    home = tmp_path / "home"
    target = home / "file"
    home.mkdir()

    def prepare():
        for path in home.iterdir():
            path.unlink()
        if exists:
            target.write_bytes(b"old")

    prepare()
    WRITERS[writer](target)
    new = target.read_bytes()

    def check(failed):
        left = without_unfinished(home) if kill else names(home)
        assert left == (["file"] if exists or target.exists() else [])
        content = target.read_bytes() if target.exists() else None
        assert content in (new, b"old" if exists else None)
        assert failed or content == new

    assert Faults(kill).each(prepare, lambda: WRITERS[writer](target), check) >= 3


@posix
@pytest.mark.parametrize("writer", WRITERS)
def test_permissions_are_taken_over(tmp_path, writer):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    target.chmod(0o640)
    WRITERS[writer](target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_block_that_fails_leaves_nothing(tmp_path):
    target = tmp_path / "new" / "deep" / "file"

    def write_half(fault):
        with files.replaced_file(target, make_folders=True) as part:
            part.write_bytes(b"half")
            raise fault

    for fault in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(fault):
            write_half(fault)
        assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError), files.replaced_file(target, make_folders=True):
        pass  # the block did not write
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        write_by_block(target)
    write_by_block(target, make_folders=True)
    assert names(tmp_path) == ["new", "new/deep", "new/deep/file"]


def test_folders_that_others_use_meanwhile_stay(tmp_path):
    target = tmp_path / "new" / "deep" / "file"

    def write():
        with files.replaced_file(target, make_folders=True):
            (tmp_path / "new" / "theirs").write_text("theirs")
            raise ValueError

    with pytest.raises(ValueError):
        write()
    assert names(tmp_path) == ["new", "new/theirs"]


def test_target_that_another_program_makes_meanwhile_is_kept(tmp_path):
    target = tmp_path / "file"

    def write():
        with files.replaced_file(target, overwrite=False) as part:
            part.write_bytes(b"new")
            target.write_bytes(b"theirs")

    with pytest.raises(sic.OutputExistsError, match="created by another program"):
        write()
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["file"]


def test_check_before_replacing_stops_it(tmp_path):
    target = tmp_path / "file"
    seen = []
    write_by_block(target, check=seen.append)
    assert seen == []  # nothing is replaced

    def refuse(path):
        raise sic.ParameterError(f"{path} is in use")

    with pytest.raises(sic.ParameterError, match="in use"):
        write_by_block(target, check=refuse)
    assert names(tmp_path) == ["file"]
    write_by_block(target, check=seen.append)
    assert seen == [target]


def test_array_file_that_is_filled_block_by_block(tmp_path):
    path = tmp_path / "a.npy"
    with files.new_array_file(path, (5, 2), np.float32) as out:
        out[:3] = 1.5
        out[3:, 1] = 2
    found = np.load(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1.5, 1.5]] * 3 + [[0, 2]] * 2)


@contextmanager
def file_size_limit(num_bytes):
    """Let writes beyond so many bytes of a file fail, as on a full disk."""
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("num_values", [10, 1000, 5000, 100_000])
def test_no_byte_of_an_array_is_lost_where_the_disk_is_full(tmp_path, num_values):
    """`np.save` loses the last part of its buffer in silence."""
    content, total = np.arange(num_values), 128 + 8 * num_values
    path, old = tmp_path / "a.npy", tmp_path / "old.npy"
    np.save(old, content[:5])
    before = old.read_bytes()
    for room in (0, 1, 100, 128, 129, total // 2, total - 1):
        with file_size_limit(room), pytest.raises(OSError):
            files.write_file(path, content)
        path.unlink()
        with file_size_limit(room), pytest.raises(OSError):
            files.replace_file(old, content)
        assert old.read_bytes() == before
        with file_size_limit(room), pytest.raises(OSError):
            files.make_array_file(path, (num_values,), "i8")
        assert names(tmp_path) == ["old.npy"]
    with file_size_limit(total):
        files.write_file(path, content)
    np.testing.assert_array_equal(np.load(path), content)


@pytest.mark.parametrize("fallocate", ["there", "missing", "refused"])
@pytest.mark.parametrize("shape", [(3,), (0, 4), (100, 3, 5), ()])
def test_array_files_have_their_place_on_the_disk(tmp_path, monkeypatch, fallocate, shape):
    if fallocate == "missing":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    elif fallocate == "refused":

        def refused(*_):
            raise OSError(errno.EOPNOTSUPP, "not here")

        monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    for order in (False, True):
        path = tmp_path / f"{order}.npy"
        files.make_array_file(path, shape, "f4", fortran_order=order)
        expected = np.lib.format.open_memmap(
            tmp_path / "e.npy", "w+", "f4", shape, fortran_order=order
        )
        del expected
        assert path.read_bytes() == (tmp_path / "e.npy").read_bytes()
    size = 128 + 4 * int(np.prod(shape))
    if size > 128:
        with file_size_limit(size - 1), pytest.raises(OSError):
            files.make_array_file(tmp_path / "full.npy", shape, "f4")
    assert not (tmp_path / "full.npy").exists()
    with pytest.raises(FileExistsError):
        files.make_array_file(path, shape, "f4")
    assert path.exists()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_file_is_replaced(tmp_path, name, exists):
    (tmp_path / "home").mkdir()
    if exists:
        (tmp_path / "home" / "file").write_text("mine")
    make_link(tmp_path / "link", tmp_path / "home" / "file")
    WRITERS[name](tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "home" / "file").read_bytes() not in (b"mine", b"")
    assert names(tmp_path) == ["home", "home/file", "link"]


def test_arrays_have_the_bytes_that_numpy_writes(tmp_path):
    numbers = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {
        "whole": numbers,
        "fortran": np.asfortranarray(numbers),
        "part": numbers[:, ::2],
        "repeated": np.broadcast_to(np.float32(np.nan), (3, 4)),
        "none": numbers[:0],
        "number": np.array(3),
        "text": np.array(["a", "bcd"]),
        "nothing": np.array(["", ""], dtype="U0"),
        "foreign": numbers.astype(">f8"),
        "spikes": np.zeros(3, dtype=[("sample_index", "i8"), ("unit_index", "i4")]),
        "names": np.zeros(2, dtype=[("größe", "f4")]),
        "long": np.zeros(1, dtype=[(f"{i:0100}", "f4") for i in range(700)]),
    }
    with files.arrays_beside() as write:
        for name, array in arrays.items():
            write(tmp_path / f"{name}.npy", array)
    for name, array in arrays.items():
        np.save(tmp_path / "numpy.npy", array)
        assert (tmp_path / f"{name}.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()
    with pytest.raises(FileExistsError), files.arrays_beside() as write:
        write(tmp_path / "none.npy", numbers)


def test_content_and_copies(tmp_path):
    files.write_file(tmp_path / "bytes", b"a\r\n")
    files.write_file(tmp_path / "array.npy", np.arange(4, dtype=np.uint16), sync=True)
    assert (tmp_path / "bytes").read_bytes() == b"a\r\n"
    assert np.load(tmp_path / "array.npy").dtype == np.uint16
    with pytest.raises(FileExistsError):
        files.write_file(tmp_path / "bytes", b"other")
    with pytest.raises(ValueError):
        files.write_file(tmp_path / "objects.npy", np.array([{}]))
    (tmp_path / "bytes").chmod(0o600)
    files.replace_with_copy(tmp_path / "array.npy", tmp_path / "bytes")
    assert (tmp_path / "array.npy").read_bytes() == b"a\r\n"
    assert (tmp_path / "array.npy").stat().st_mode == (tmp_path / "bytes").stat().st_mode
    with pytest.raises(FileNotFoundError):
        files.replace_with_copy(tmp_path / "array.npy", tmp_path / "gone")
    assert (tmp_path / "array.npy").read_bytes() == b"a\r\n"
    files.write_pieces(tmp_path / "text", ["é\n", "\ud800"])
    assert (tmp_path / "text").read_bytes() == "é\n?".encode()
    assert names(tmp_path) == ["array.npy", "bytes", "objects.npy", "text"]


# ----------------------------------------------------------------------------------------- a folder


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("kill", [False, True])
def test_folder_is_old_or_new_whatever_fails(tmp_path, monkeypatch, exists, kill, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    elif exists:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        if not files._exchange(tmp_path / "a", tmp_path / "b"):
            pytest.skip("this system cannot exchange names")
    home = tmp_path / "home"
    target = home / "deep" / "out"

    def prepare():
        for path in sorted(home.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        home.mkdir(exist_ok=True)
        if exists:
            target.mkdir(parents=True)
            (target / "old").write_text("old")

    def run():
        with files.new_folder(target, overwrite=True) as part:
            files.write_file(part / "new", b"new", sync=True)

    def check(failed):
        if exists and exchange:
            assert target.exists(), "there is one at any moment"
        files.settle_replaced(target)
        left = without_unfinished(home) if kill else names(home)
        backups = [name for name in left if ".backup-" in name]
        current = [name for name in left if name.startswith("deep/out/")]
        if current == ["deep/out/new"]:
            assert [name.split("/")[2:] for name in backups] == [[], ["old"]] * exists
        else:
            assert failed
            assert current == ["deep/out/old"] * exists
            assert kill or left == ["deep", "deep/out", "deep/out/old"] * exists
            # killed before the exchange: what should have replaced it was complete
            assert not backups or [name.split("/")[2:] for name in backups] == [[], ["new"]]
        assert failed or current == ["deep/out/new"]

    assert Faults(kill).each(prepare, run, check) >= 4


def test_what_a_killed_process_was_replacing_is_put_back(tmp_path):
    target, aside = tmp_path / "out", tmp_path / ".out.0123abcd.replaced"
    aside.mkdir()
    (aside / "old").touch()
    assert files.replaced_folders(target) == [aside]
    with files.WriterLock(aside, ""):
        files.settle_replaced(target)
        assert not target.exists(), "a process is at work"
    with pytest.raises(sic.OutputExistsError):
        files.check_output_folder(target)
    assert names(tmp_path) == ["out", "out/old"]
    aside.mkdir()
    (aside / "other").touch()
    with files.new_folder(target, overwrite=True) as part:
        (part / "new").touch()
    found = names(tmp_path)
    assert [name for name in found if not name.startswith("out.backup-")] == ["out", "out/new"]
    assert {Path(name).name for name in found} >= {"old", "other", "new"}


def test_a_folder_that_is_being_written_is_not_taken_for_unfinished(tmp_path):
    target = tmp_path / "out"
    with files.new_folder(target) as part:
        (part / "a").touch()
        files.remove_unfinished_folders(target)
        assert (part / "a").exists()
        (tmp_path / ".out.01234567.tmp").mkdir()
        files.remove_unfinished_folders(target)
        assert names(tmp_path) == [part.name, f"{part.name}/a"]
    assert names(tmp_path) == ["out", "out/a"]


def test_what_is_renamed_is_on_the_disk(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), fsync(handle))
    )
    with files.new_folder(tmp_path / "out") as part:
        (part / "deep").mkdir()
        for name in ("a", "deep/b"):
            (part / name).write_text("content")
    for name in ("out/a", "out/deep/b", "out", "out/deep", "."):
        assert (tmp_path / name).stat().st_ino in synced


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_for_what_belongs_together(interrupt):
    came = []
    before = signal.signal(interrupt, lambda number, frame: came.append(number))
    try:
        with files.uninterrupted():
            signal.raise_signal(interrupt)
            signal.raise_signal(interrupt)
            assert came == []
        assert came == [interrupt]
        with ThreadPoolExecutor(1) as pool, files.uninterrupted():
            pool.submit(lambda: files.uninterrupted().__enter__()).result()
        with pytest.raises(ZeroDivisionError), files.uninterrupted():
            1 / 0  # noqa: B018
        signal.raise_signal(interrupt)
        assert len(came) == 2
    finally:
        signal.signal(interrupt, before)


def test_folder_that_is_replaced_is_kept(tmp_path, monkeypatch):
    target = tmp_path / "out"
    moment = datetime(2024, 2, 29, 23, 5, 9)
    monkeypatch.setattr(files, "datetime", type("Clock", (), {"now": lambda: moment}))
    for content in "abc":
        with files.new_folder(target, overwrite=True) as part:
            assert part.parent == tmp_path
            assert files.is_temporary(part.name)
            (part / content).touch()
    assert names(tmp_path) == [
        "out",
        "out.backup-20240229-230509",
        "out.backup-20240229-230509-2",
        "out.backup-20240229-230509-2/b",
        "out.backup-20240229-230509/a",
        "out/c",
    ]


def test_folder_that_another_program_makes_meanwhile_is_kept(tmp_path):
    target = tmp_path / "new" / "out"

    def write():
        with files.new_folder(target) as part:
            (part / "mine").touch()
            target.mkdir()
            (target / "theirs").touch()

    with pytest.raises(sic.OutputExistsError, match="created by another program"):
        write()
    assert names(tmp_path) == ["new", "new/out", "new/out/theirs"]


def test_folder_that_the_block_makes(tmp_path):
    target = tmp_path / "new" / "analyzer.zarr"
    with files.new_folder(target, make=False) as part:
        assert not part.exists()
        assert part.suffix == ".zarr"
        part.mkdir()
        assert files.unfinished_folders(target) == [part]
    assert names(tmp_path) == ["new", "new/analyzer.zarr"]
    with pytest.raises(FileNotFoundError), files.new_folder(tmp_path / "x" / "out", make=False):
        pass  # the block did not make it
    assert names(tmp_path) == ["new", "new/analyzer.zarr"]


def test_unfinished_folders(tmp_path):
    target = tmp_path / "ou.t"
    others = ["ou.t", ".oubt.0123abcd.tmp", ".ou.t.0123.tmp", ".ou.t.0123abcd.si_curation.tmp"]
    for name in [".ou.t.ffffffff.tmp", ".ou.t.0123abcd.tmp", *others]:
        (tmp_path / name).mkdir()
    found = [path.name for path in files.unfinished_folders(target)]
    assert found == [".ou.t.0123abcd.tmp", ".ou.t.ffffffff.tmp"]
    assert files.unfinished_folders(tmp_path / "gone" / "out") == []


def test_temporary_names():
    own = files.temporary_name(Path("a") / "b.npy")
    assert own.parent == Path("a")
    assert files.is_temporary(own.name)
    assert files.is_temporary(own.name, own=True)
    assert own != files.temporary_name(Path("a") / "b.npy")
    assert files.is_temporary(".phy.tmp")
    assert not files.is_temporary(".phy.tmp", own=True)
    assert not files.is_temporary("b.si_curation.tmp")


# -------------------------------------------------------------------------------------------- locks


@posix
def test_locks(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "file.h5"
    with h5py.File(path, "w"):
        assert files.is_locked(path) is True
    before = path.read_bytes()
    assert files.is_locked(path) is False
    assert path.read_bytes() == before
    assert files.is_locked(tmp_path / "gone") is False


# ----------------------------------------------------------------------------------- large arrays


def test_scratch_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    small = files.scratch_array((3, 2), "float32")
    assert small.base is None
    monkeypatch.setattr(files, "SCRATCH_FROM", 10)
    dtype = [("sample_index", "int64"), ("unit_index", "int64")]
    for shape, kind in (((3, 2), "float32"), (5, dtype), ((4,), "bool")):
        found = files.scratch_array(shape, kind)
        assert found.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert found.dtype == np.dtype(kind)
        assert type(found) is np.ndarray  # SpikeInterface closes maps of files
        assert found.flags.writeable
        found[...] = 1
        assert (found == np.ones(found.shape, found.dtype)).all()
        assert found.base is None or not names(tmp_path)  # the file has no name
    assert files.scratch_array(5, object).base is None
    assert files.scratch_array((0, 4), "int32").shape == (0, 4)


def test_arrays_of_analyzers_in_memory(monkeypatch):
    assert files.memory_array((5, 2), "float32").base is None
    monkeypatch.setattr(files, "SCRATCH_FROM", 0)  # is not asked
    assert files.memory_array((5, 2), "float32").base is None
    monkeypatch.setattr(files, "MEMORY_UP_TO", 39)
    found = files.memory_array((5, 2), "float32")
    assert isinstance(found.base, mmap.mmap)
    assert found.shape == (5, 2)


def test_scratch_arrays_without_room(monkeypatch):
    def no_room(*arguments):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(files, "SCRATCH_FROM", 10)
    monkeypatch.setattr(files, "_allocate", no_room)
    found = files.scratch_array((3, 2), "float64")
    assert found.base is None
    assert found.shape == (3, 2)
