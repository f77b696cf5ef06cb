"""Opening audio, at a place. MP3 and the like are read on from where the piece before ended: there is no other way."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import soundfile
from numpy.typing import NDArray

from deepspeech2.errors import AudioError
from deepspeech2.printing import printable
from deepspeech2.speech.audio_header import FinishedWav, WavData, mp3_has_length, wav_data
from deepspeech2.speech.audio_ogg import ogg_missing

LEAST_MISSED_SECONDS = 0.1
"""Audio is called cut short when so much of it is missing; less is how encoders count."""

# A header may announce any number of samples, so audio is read in blocks and only what is there takes memory.
_BLOCK_VALUES = 1 << 18
# Opus counts samples at this rate, in Hz, whatever it is decoded to.
_OPUS_CLOCK = 48_000

_File = tuple[int, ...]


class AudioReader(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on from where it stands; soundfile seeks after every read, and in MP3 files that damages what follows.

    Attributes:
        position: Samples of each channel before the next one to be read.
        ended: A read found no more samples.
        announced: Samples of each channel that the header announces, as many as there are where it does not say.
        lacks_bytes: The file ends in the midst of what the format keeps together.
    """

    position = 0
    ended = False
    announced = 0
    lacks_bytes = False
    _finished: FinishedWav | None = None

    def seekable(self) -> bool:
        """Say no, so that no read seeks; `seek` itself works as ever."""
        return False

    @property
    def is_one_way(self) -> bool:
        """Whether a place is reached only by reading up to it, as in GSM 6.10."""
        # libsndfile's seek lands next to the wanted sample of an MP3 file.
        return self.format == "MP3" or not super().seekable()

    def announces_more_than(self, samples: int) -> bool:
        """Whether a file of which so many samples of each channel are there was cut short."""
        return self.lacks_bytes or self.announced - samples >= LEAST_MISSED_SECONDS * self.samplerate

    def close(self) -> None:
        """Close the file, and what it was read through."""
        super().close()
        if self._finished is not None:
            self._finished.close()

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
        if not self.is_one_way:
            self.position = self.seek(min(position, self.frames))
            return
        while self.position < position and not self.ended:
            self.block(position - self.position)


def open_audio(source: str | os.PathLike[str] | BinaryIO) -> AudioReader:
    """A reader at the beginning of a file, whatever its name; a WAV without a length is read to its end.

    Raises:
        AudioError: It is an open file that is closed, of text, cannot seek or has nothing to be read.
        soundfile.SoundFileError: It is not audio.
        OSError: It cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file:
            return _opened(_plain_name(source), file, Path(source))
    _check_stream(source)
    return _opened(source, source, None)


def _opened(given: bytes | str | BinaryIO, file: BinaryIO, path: Path | None) -> AudioReader:
    """A reader of what is given; a look at its header is taken through a file that stands at its beginning."""
    start = file.tell()
    try:
        data = wav_data(file)
        file.seek(start)
        says_length = mp3_has_length(file)
        file.seek(start)
        missing = ogg_missing(file)
    finally:
        file.seek(start)
    if data is None or not data.is_unfinished:
        reader = AudioReader(given)
        if data and not data.available and data.announced:
            reader.close()
            name = name_of(path or file)
            raise AudioError(
                f"{name}: cut short: its header announces {data.announced} bytes of audio, and none follow"
            )
        reader.announced = _announced(reader, data, missing or 0) if reader.format != "MP3" or says_length else 0
        reader.lacks_bytes = missing is not None
        return reader
    finished = FinishedWav(path.open("rb") if path else file, data, owned=path is not None)
    try:
        reader = AudioReader(finished)
    except BaseException:
        finished.close()
        raise
    reader._finished = finished
    return reader


def _announced(reader: AudioReader, data: WavData | None, missing: int) -> int:
    """Samples of each channel there were to be, where a WAV announces more or an OGG file lacks some of a page."""
    if data is not None:
        return round(int(reader.frames) * data.announced_share)
    if reader.subtype == "OPUS":
        missing = missing * int(reader.samplerate) // _OPUS_CLOCK
    return int(reader.frames) + missing


def _plain_name(source: str | os.PathLike[str]) -> bytes | str:
    """A name as the system has it: soundfile takes no text for one that is not UTF-8, and - for standard input."""
    if os.name == "nt":
        return os.fspath(source)
    name = os.fsencode(source)
    return b"./-" if name == b"-" else name


def name_of(source: str | os.PathLike[str] | BinaryIO) -> str:
    """What messages call audio: its file, on one line."""
    named = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", "audio stream")
    return printable(named if isinstance(named, os.PathLike) else str(named))


def _check_stream(stream: BinaryIO) -> None:
    """Refuse an open file that no audio can be read from; whatever soundfile meets in it, it prints and goes on.

    Raises:
        AudioError: It is closed, of text, cannot be read or cannot seek, is empty or stands at its end.
    """
    name = name_of(stream)
    if getattr(stream, "closed", False):
        raise AudioError(f"{name}: expected an open file, found a closed one")
    try:
        if not isinstance(stream.read(0), bytes):
            raise AudioError(f"{name}: expected a file opened in binary, found one of text; open it with mode 'rb'")
        start = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(start)
    except (OSError, ValueError, TypeError, AttributeError) as error:  # io.UnsupportedOperation is an OSError
        if isinstance(error, AudioError):
            raise
        raise AudioError(
            f"{name}: expected an open file that can be read and can seek ({error}); io.BytesIO of its bytes can"
        ) from error
    if start == end:
        found = "stands at its end; seek(0) takes it back to its beginning" if end else "is empty"
        raise AudioError(f"{name}: the open file {found}")


class _Standing(threading.local):
    """The file this thread has read a piece of, and which one it is: pieces of a long recording come in order."""

    file: _File = ()
    reader: AudioReader | None = None


_standing = _Standing()


@contextmanager
def opened_at(source: str | os.PathLike[str] | BinaryIO, offset_seconds: float) -> Iterator[AudioReader]:
    """A reader that stands at a place of a file, counted from its beginning, or at its end.

    The last file of each thread that is read one way only stays open until another one is read there, and the pieces
    that follow in it cost no more than they last.

    Raises:
        AudioError: As `open_audio`.
        soundfile.SoundFileError: It is not audio.
        OSError: It cannot be opened.
    """
    file = _file(source)
    reader = _taken(file, offset_seconds) or open_audio(source)
    try:
        reader.advance(round(offset_seconds * reader.samplerate))
        yield reader
    except BaseException:
        reader.close()
        raise
    if reader.is_one_way and file and not reader.ended:
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
