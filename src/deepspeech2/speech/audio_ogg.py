"""Whether an OGG file was cut short: its pages say how long they are, so one that lacks bytes shows it.

The mark of the end that the last page of a stream carries is not asked for: recorders of telephones leave it out of
files that are whole. A file that was cut between two pages is therefore taken for a whole one.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

_MARK = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")
# The header, 255 lengths of segments and as many segments of 255 bytes.
_LARGEST_PAGE = _HEADER.size + 255 + 255 * 255


@dataclass(frozen=True, slots=True)
class _Page:
    """A page as far as it is there.

    Attributes:
        position: Where in the file it begins.
        stream: Which of the file's streams it belongs to; None where its header is not whole.
        granule: Samples of the stream up to its end, at the stream's own clock; negative where none ends in it.
        is_whole: Whether all its bytes are there.
    """

    position: int
    stream: int | None
    granule: int
    is_whole: bool


def ogg_missing(file: BinaryIO) -> int | None:
    """Samples in the last page of an OGG file that lacks some of its bytes, at the clock of the stream.

    Args:
        file: At the beginning; where it stands afterwards is not said.

    Returns:
        None where the last page is whole or the file is of another format; 0 where bytes are missing and how many
        samples were in them cannot be told.
    """
    if file.read(len(_MARK)) != _MARK:
        return None
    last = _page_before(file, file.seek(0, io.SEEK_END))
    if last is None or last.is_whole:
        return None
    before = _page_before(file, last.position)
    if before is None or last.stream is None or last.stream != before.stream:
        return 0
    return max(0, last.granule - max(0, before.granule))


def _page_before(file: BinaryIO, end: int) -> _Page | None:
    """The last page that begins before a place in the file, which is taken for the end of it."""
    start = max(0, end - _LARGEST_PAGE)
    file.seek(start)
    tail = file.read(end - start)
    at = tail.rfind(_MARK)
    if at < 0:
        return None
    body = at + _HEADER.size
    if body > len(tail):
        return _Page(start + at, None, -1, is_whole=False)
    _, _, _, granule, stream, _, _, segments = _HEADER.unpack_from(tail, at)
    lengths = tail[body : body + segments]
    is_whole = len(lengths) == segments and body + segments + sum(lengths) <= len(tail)
    return _Page(start + at, stream, granule, is_whole)
