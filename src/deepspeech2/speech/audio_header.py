"""What the header of a WAV or MP3 file announces; what reads the samples takes those that are there for all there were.

A recorder writes the length of a WAV into its header when it is done. One that streams cannot, and one that is killed
does not: the length stays 0, or one that no file has.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

# What is written for a length that is not known: 0x7FFFF000, 0x80000000, 0xFFFFFFFF and the like.
_ENDLESS = 0x7FFF_0000
_LARGEST = 0xFFFF_FFFF
_MOST_CHUNKS = 1000


@dataclass(frozen=True, slots=True)
class WavData:
    """The samples of a WAV file, encoded.

    Attributes:
        position: Where in the file they begin; their length is written in the four bytes before.
        announced: How many bytes the header announces.
        available: How many there are to the end of the file.
    """

    position: int
    announced: int
    available: int

    @property
    def is_unfinished(self) -> bool:
        """Whether the length was never written, and the samples go to the end of the file."""
        return self.announced == 0 and self.available > 0

    @property
    def announced_share(self) -> float:
        """What is announced as a multiple of what is there; 1 where it is there, or no length is known."""
        cut_short = self.available < self.announced < _ENDLESS and self.available > 0
        return self.announced / self.available if cut_short else 1.0


def wav_data(file: BinaryIO) -> WavData | None:
    """Find the samples of a WAV file; None for another format or a header without samples.

    Args:
        file: At the beginning; where it stands afterwards is not said.
    """
    header = file.read(12)
    if header[:4] != b"RIFF" or header[8:] != b"WAVE":
        return None
    for _ in range(_MOST_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < 8:
            return None
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            position = file.tell()
            end = file.seek(0, io.SEEK_END)
            is_empty = size == 0 and _only_chunks(file, position, end)
            return WavData(position, size, 0 if is_empty else end - position)
        file.seek(size + size % 2, io.SEEK_CUR)
    return None


def _only_chunks(file: BinaryIO, position: int, end: int) -> bool:
    """Whether other chunks follow, up to the end of the file: then a length of 0 is meant."""
    while position < end:
        file.seek(position)
        chunk = file.read(8)
        if len(chunk) < 8 or not all(32 <= letter < 127 for letter in chunk[:4]):
            return False
        size = struct.unpack("<I", chunk[4:])[0]
        position += 8 + size + size % 2
    return position - end in (0, 1)  # the last one may come without its padding


def mp3_has_length(file: BinaryIO) -> bool:
    """Whether an MP3 file says how long it is, in a first frame that is made for that; others are estimated.

    Args:
        file: At the beginning; where it stands afterwards is not said.
    """
    start = file.read(10)
    skipped = 0
    if start[:3] == b"ID3" and len(start) == 10:
        skipped = 10
        for place, byte in enumerate(reversed(start[6:])):
            skipped += (byte & 127) << (7 * place)
    file.seek(skipped)
    frame = file.read(256)
    return b"Xing" in frame or b"Info" in frame


class FinishedWav(io.RawIOBase):
    """An unfinished WAV file as it would be had its recorder come to write its length.

    Args:
        file: The file; it is closed with this one when `owned`.
        data: Its samples.
        owned: Whether to close it.
    """

    def __init__(self, file: BinaryIO, data: WavData, *, owned: bool) -> None:
        self._file, self._owned = file, owned
        self._place = data.position - 4
        self._length = struct.pack("<I", min(data.available, _LARGEST))

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the file stands."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, as every file."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read, with the length in its place."""
        start = self._file.tell()
        found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        for offset, byte in enumerate(self._length):
            at = self._place + offset - start
            if 0 <= at < len(found):
                buffer[at : at + 1] = bytes([byte])
        return len(found)

    def close(self) -> None:
        """Close the file where it is owned."""
        if self._owned and not self.closed:
            self._file.close()
        super().close()
