"""One process at a time writes to a place: a lock that the system lets go of however the process ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deepspeech2.errors import OptionError

if sys.platform != "win32":
    import fcntl


@contextmanager
def single_writer(lock: Path) -> Iterator[bool]:
    """Hold a lock while a block runs, so that others see that what it stands for is being written.

    It is held on an empty file, which goes when the block ends. A kill leaves the file there, and nothing holds it.
    Where the system or the disk knows no locks, the block runs as if it held one.

    Args:
        lock: The file, made where it is not there; its folder has to be.

    Yields:
        Whether the block holds the lock; if not, another process does, or another block of this one.

    Raises:
        OptionError: The file cannot be made; the message names its folder, of which alone a user knows.
    """
    file = _held(lock)
    if file is None:
        yield False
        return
    with file:
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)


def _held(lock: Path) -> IO[bytes] | None:
    while True:
        try:
            file = _opened(lock)
        except OSError as error:
            raise OptionError(f"{lock.parent}: cannot be written: {error.strerror}") from error
        if not _locked(file):
            file.close()
            return None
        # Who held it before may have removed the file meanwhile, and a lock on what has no name keeps nobody out.
        if _is_named(file, lock):
            return file
        file.close()


def _opened(lock: Path) -> IO[bytes]:
    try:
        return lock.open("ab")
    except PermissionError:
        return lock.open("rb")  # what a killed process of another user left there; to hold it needs no more


def _locked(file: IO[bytes]) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        return True
    return True


def _is_named(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
