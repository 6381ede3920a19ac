"""A file that HDF5 writes to, and can close, when the disk is full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Sink:
    """A file object for h5py that remembers the first error and goes on as if there were none.

    When HDF5 cannot write what it has to on closing, it leaves handles that cannot be freed, prints
    an error for each, and the process dies at its end. So HDF5 does not see errors: what it writes
    after the first one goes nowhere, and `check` raises that error once HDF5 has closed the file.

    Parameters
    ----------
    path : Path
    mode : {"x", "r+"}
        Make a new file, or change one that is there.
    """

    def __init__(self, path: Path, mode: str):
        self._file = open(path, "x+b" if mode == "x" else "r+b", buffering=0)  # noqa: SIM115
        self._position = 0
        self._size = os.fstat(self._file.fileno()).st_size
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise the first error.

        Raises
        ------
        OSError
        """
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int) -> bytes:
        """Read so many bytes, or to the end."""
        content = bytearray(size)
        return bytes(content[: self.readinto(content)])

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; zeros where nothing could be written."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._position)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])
            if not count:
                break
            done += count
        wanted = min(len(view), max(self._size - self._position, 0))
        if done < wanted:
            view[done:wanted] = bytes(wanted - done)
            done = wanted
        self._position += done
        return done

    def write(self, content: Any) -> int:
        """Write all of it, or remember why not."""
        view = memoryview(content).cast("B")
        if self.error is None:
            try:
                self._file.seek(self._position)
                done = 0
                while done < len(view):  # a short write is how a full disk begins
                    done += self._file.write(view[done:]) or 0
            except OSError as fault:
                self.error = fault
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        size = self._position if size is None else size
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as fault:
                self.error = fault
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def close(self) -> None:
        """Bring what was written to the disk, and close."""
        try:
            if self.error is None:
                os.fsync(self._file.fileno())
        except OSError as fault:
            self.error = fault
        finally:
            self._file.close()
