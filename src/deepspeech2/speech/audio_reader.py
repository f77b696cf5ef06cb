"""Opening an audio file at a place. MP3 is read on from where the piece before ended, as it has no other way there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import soundfile
from numpy.typing import NDArray

# A header may announce any number of samples, so audio is read in blocks and only what is there takes memory.
_BLOCK_VALUES = 1 << 18

_File = tuple[int, ...]


class AudioReader(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on from where it stands; soundfile seeks after every read, and in MP3 files that damages what follows.

    Attributes:
        position: Samples of each channel before the next one to be read.
        ended: A read found no more samples.
    """

    position = 0
    ended = False

    def seekable(self) -> bool:
        """Say no, so that no read seeks; `seek` itself works as ever."""
        return False

    def block(self, samples: int | None = None) -> NDArray[Any]:
        """The next samples, shape (samples, channels), float32: so many, or fewer; none at the end."""
        most = max(1, _BLOCK_VALUES // self.channels)
        count = most if samples is None else min(most, samples)
        block: NDArray[Any] = self.read(count, dtype="float32", always_2d=True)
        self.position += len(block)
        self.ended = not len(block)
        return block

    def advance(self, position: int) -> None:
        """Go forward to a sample, or to the end where that comes before."""
        if self.format != "MP3":
            self.position = self.seek(min(position, self.frames))
            return
        # libsndfile's seek lands next to the wanted sample of an MP3 file.
        while self.position < position and not self.ended:
            self.block(position - self.position)


class _Standing(threading.local):
    """The MP3 file this thread has read a piece of, and which one it is: pieces of a long recording come in order."""

    file: _File = ()
    reader: AudioReader | None = None


_standing = _Standing()


@contextmanager
def opened_at(source: str | os.PathLike[str] | BinaryIO, offset_seconds: float) -> Iterator[AudioReader]:
    """A reader that stands at a place of a file, counted from its beginning, or at its end.

    The last MP3 file of each thread stays open until another file is read there, and the pieces that follow in it
    cost no more than they last.

    Raises:
        soundfile.SoundFileError: It is not audio.
        OSError: It cannot be opened.
    """
    file = _file(source)
    reader = _taken(file, offset_seconds) or AudioReader(source)
    try:
        reader.advance(round(offset_seconds * reader.samplerate))
        yield reader
    except BaseException:
        reader.close()
        raise
    if reader.format == "MP3" and file and not reader.ended:
        _standing.file, _standing.reader = file, reader
    else:
        reader.close()


def _file(source: str | os.PathLike[str] | BinaryIO) -> _File:
    """What tells this file from every other and from what it was before; nothing for what is not a file."""
    if not isinstance(source, (str, os.PathLike)):
        return ()
    found = Path(source).stat()
    # A fork shares the place in the file with its parent, so a reader belongs to one process.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, os.getpid())


def _taken(file: _File, offset_seconds: float) -> AudioReader | None:
    """The reader of this file that was left standing, if it stands at or before the place; any other is closed."""
    reader, standing = _standing.reader, _standing.file
    _standing.file, _standing.reader = (), None
    if reader is None:
        return None
    if file and file == standing and reader.position <= round(offset_seconds * reader.samplerate):
        return reader
    reader.close()
    return None
