"""What a recogniser returns, and the text formats it is written in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from html import escape

from deepspeech2.errors import OptionError
from deepspeech2.printing import utf8

_LINE_CHARACTERS = 84
_LINE_SECONDS = 7.0
_PAUSE_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class TimedWord:
    """One recognised word.

    Attributes:
        text: The word.
        start: Seconds from the beginning of the audio to its first character.
        end: Seconds to the end of its last character.
        confidence: Geometric mean over its characters of the probability the network gave each in the frames it was
            heard in, from 0 to 1; silence and the language model have no part in it. Not calibrated: 0.9 does not
            mean that nine of ten are right. See `deepspeech2.ctc.word_confidences`.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was recognised in one piece of audio.

    Attributes:
        text: The whole text.
        words: Its words with times.
        seconds: Length of the audio.
        score: Natural logarithm that ranked the text, language model included.
        source: Where the audio came from.
        sample_rate: Samples per second of the recording itself, in Hz. Below 16,000 the upper part of the band the
            network learned from is missing (telephone speech has half of it), which costs accuracy.
        announced_seconds: Length of the audio as the header of its file announces it, where less is there: the file
            was cut short, and what is there was transcribed. None otherwise.
    """

    text: str
    words: tuple[TimedWord, ...]
    seconds: float
    score: float
    source: str = ""
    sample_rate: int = 16_000
    announced_seconds: float | None = None

    def lines(self) -> Iterator[tuple[TimedWord, ...]]:
        """Words grouped into subtitle lines: at most 84 characters and 7 s, broken at pauses of 0.8 s."""
        line: list[TimedWord] = []
        for word in self.words:
            length = sum(len(item.text) + 1 for item in line) + len(word.text)
            full = line and (
                length > _LINE_CHARACTERS
                or word.end - line[0].start > _LINE_SECONDS
                or word.start - line[-1].end >= _PAUSE_SECONDS
            )
            if full:
                yield tuple(line)
                line = []
            line.append(word)
        if line:
            yield tuple(line)


def format_transcript(transcript: Transcript, kind: str, *, offset: float = 0.0) -> str:
    """Write a transcript as text, ending with a line break.

    | kind | what |
    |---|---|
    | txt | the text on one line |
    | json | text, words with times and confidences, seconds, score, source and sample rate, on one line |
    | srt, vtt | subtitles |
    | tsv | one word a line: start and end in milliseconds, the word; with a header |

    JSON has announced_seconds as well where the audio is cut short.

    Args:
        transcript: The transcript.
        kind: The format.
        offset: Where the audio begins in its file, in seconds. Times of srt, vtt and tsv are of the file, as a player
            needs them; those of json stay times of the piece.

    Raises:
        OptionError: The kind is none of these.
    """
    if kind not in FORMATS:
        raise OptionError(f"expected a format of {', '.join(FORMATS)}, found {kind!r}")
    if offset and kind in TIMED_FORMATS:
        words = [replace(word, start=word.start + offset, end=word.end + offset) for word in transcript.words]
        transcript = replace(transcript, words=tuple(words))
    return FORMATS[kind](transcript)


def _txt(transcript: Transcript) -> str:
    return transcript.text + "\n"


def _json(transcript: Transcript) -> str:
    record = asdict(transcript)
    for word in record["words"]:
        word |= {"start": round(word["start"], 3), "end": round(word["end"], 3)}
        word["confidence"] = round(word["confidence"], 4)
    if transcript.announced_seconds is None:
        del record["announced_seconds"]
    else:
        record["announced_seconds"] = round(transcript.announced_seconds, 4)
    record |= {
        "source": utf8(transcript.source),
        "seconds": round(transcript.seconds, 4),
        "score": round(transcript.score, 4),
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def _srt(transcript: Transcript) -> str:
    blocks = [
        f"{number}\n{_clock(line[0].start, ',')} --> {_clock(line[-1].end, ',')}\n{_spelled(line)}\n"
        for number, line in enumerate(transcript.lines(), start=1)
    ]
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    # Text that holds "<", "&" or "-->" would be markup.
    blocks = [
        f"{_clock(line[0].start, '.')} --> {_clock(line[-1].end, '.')}\n{escape(_spelled(line), quote=False)}\n"
        for line in transcript.lines()
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _tsv(transcript: Transcript) -> str:
    rows = [f"{round(word.start * 1000)}\t{round(word.end * 1000)}\t{word.text}\n" for word in transcript.words]
    return "".join(["start\tend\ttext\n", *rows])


def _spelled(line: tuple[TimedWord, ...]) -> str:
    return " ".join(word.text for word in line)


def _clock(seconds: float, separator: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{separator}{rest % 1000:03d}"


FORMATS: dict[str, Callable[[Transcript], str]] = {"txt": _txt, "json": _json, "srt": _srt, "vtt": _vtt, "tsv": _tsv}
"""Format name -> function that writes it."""

TIMED_FORMATS = ("srt", "vtt", "tsv")
"""Formats with the times of one audio file, and without its name."""
