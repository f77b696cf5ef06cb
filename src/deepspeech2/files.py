"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from deepspeech2.errors import OptionError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A name may have 255 bytes on most systems, 18 of which go to what makes a temporary file's name its own; a character
# has four bytes at most.
_LONGEST_NAME, _END_OF_NAME = 237, 59


@contextmanager
def replacement(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a temporary file beside `path`, which takes its place when the block ends without an error.

    A link is followed: what it points to is replaced. What is there but is no regular file (a device, a pipe) cannot be
    replaced, so its own name is given and writing goes straight to it.

    Raises:
        OptionError: the folder does not exist or cannot be written, the path is a folder, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OptionError(f"{path}: expected a file to write, found a folder")
    if target.exists() and not target.is_file():
        yield target
        return
    try:
        own = target.name if len(os.fsencode(target.name)) <= _LONGEST_NAME else target.name[-_END_OF_NAME:]
        handle, name = tempfile.mkstemp(prefix=f".{own}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            # numpy counts the bytes that found no room, without a number for the error.
            if error.errno in _NO_ROOM or (error.errno is None and "requested and" in str(error)):
                raise OptionError(
                    f"{path}: cannot be written: {error.strerror or 'no space left on device'}"
                ) from error
            raise
        # mkstemp makes private files; the result gets the permissions of an ordinary new file.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial(folder: Path, suffix: str) -> None:
    """Remove what `replacement` had begun in a folder for names that end in `suffix` when the process was killed.

    Only for folders that one process writes: what another is writing there would be removed as well.
    """
    for left in folder.glob(f".*{suffix}.*.partial"):
        left.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse, before hours of work, a file that cannot be written after them; leaves nothing behind.

    Raises:
        OptionError: as `replacement`.
    """
    given = Path(path)
    if given.exists() and not given.is_dir() and not given.is_file():
        return  # a pipe, to which a link (/dev/stdout) leads by no name of its own
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OptionError(f"{path}: expected a file to write, found a folder")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def naming_unwritten(path: str | os.PathLike[str], hint: str = "") -> Iterator[None]:
    """Name the file that a block could not write, such as on a full disk.

    Args:
        path: The file.
        hint: What to do about it; the end of the message.

    Raises:
        OptionError: It could not be written.
    """
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{error}{hint}") from error
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {error.strerror or error}{hint}") from error


def refuse_same(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write over what is read.

    Args:
        path: The file to write.
        inputs: The files that are read; those that do not exist are passed over.

    Raises:
        OptionError: `path` is one of them, by whatever name.
    """
    try:
        target = Path(path).stat()
    except OSError:
        return
    for given in inputs:
        with suppress(OSError):
            if os.path.samestat(target, Path(given).stat()):
                raise OptionError(f"{path}: is read ({given}), and would be written over; give another name to write")


@contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file (UTF-8 unless binary) that takes the place of `path` when the block ends without an error.

    Raises:
        OptionError: as `replacement`.
    """
    with (
        replacement(path) as temporary,
        temporary.open(mode, encoding=None if "b" in mode else "utf-8") as file,
    ):
        yield file
