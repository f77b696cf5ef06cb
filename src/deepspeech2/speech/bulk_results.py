"""Where transcripts of many pieces of audio go, and how a run that was interrupted goes on.

With a results file they are `ResumableLines`: JSON lines, keyed by file, offset, duration and channel, and by a digest
of the model and the decoder. In a folder each has a file of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from deepspeech2.errors import OptionError
from deepspeech2.files import refuse_same, replacing
from deepspeech2.printing import utf8
from deepspeech2.speech.bulk import RecognizerSettings, identify
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.pretrained import choose_pretrained
from deepspeech2.speech.recognizer import Source
from deepspeech2.speech.resumable_lines import LineForm, ResumableLines
from deepspeech2.speech.transcript import Transcript, format_transcript


class Results(Protocol):
    """Takes transcripts in any order."""

    @property
    def kept(self) -> bool:
        """Whether there is anything that an interrupted run goes on with."""
        ...

    def has(self, index: int) -> bool:
        """Whether an earlier run has done this source."""
        ...

    def add(self, index: int, transcript: Transcript) -> None:
        """Keep a transcript, at once."""
        ...

    def finish(self) -> None:
        """All that could be recognised has been added."""
        ...


class ResultsFile:
    """JSON lines in a file, that appears when all is done: see `ResumableLines`.

    Args:
        path: The results file.
        sources: What is transcribed, in the order the lines are to have.
        settings: What transcribes; a digest of it is in every line.
        resume: Go on with what is in the partial file, or in the results file where there is none.

    Raises:
        OptionError: The file is a device or a pipe, or as `ResumableLines`.
    """

    def __init__(self, path: Path, sources: Sequence[Source], settings: RecognizerSettings, *, resume: bool) -> None:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OptionError(
                f"{path}: expected a file that an interrupted run can go on with, found a device or a pipe; "
                "leave --output out and transcripts are printed"
            )
        self._keys = [_key(source) for source in sources]
        self._lines = ResumableLines(path, self._keys, digest(settings), _FORM, resume=resume)

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(self, *error: Any) -> None:
        self._lines.__exit__(*error)

    @property
    def kept(self) -> bool:
        """Whether there is anything that an interrupted run goes on with."""
        return self._lines.kept

    def has(self, index: int) -> bool:
        """Whether an earlier run has done this source."""
        return self._lines.has(index)

    def add(self, index: int, transcript: Transcript) -> None:
        """Write a line to the partial file.

        Raises:
            OptionError: The disk is full.
        """
        source, offset, duration, channel = self._keys[index]
        record = json.loads(format_transcript(transcript, "json"))
        record |= {"source": source, "offset": offset, "duration": duration}
        self._lines.add(index, record if channel is None else record | {"channel": channel})

    def finish(self) -> None:
        """Write the results file, in place of the partial one; where there are no transcripts, an older one stays."""
        self._lines.finish()


class ResultsFolder:
    """One file for each transcript; each appears whole.

    Args:
        folder: Where to; made when it is not there.
        sources: What is transcribed.
        kind: A format of `format_transcript`.
        resume: Files that are there already are done.

    Raises:
        OptionError: Two sources would be written to one file, or one over its own audio, into a folder's place or under
            a name that is too long.
    """

    def __init__(self, folder: Path, sources: Sequence[Source], kind: str, *, resume: bool) -> None:
        self._kind, self._resume = kind, resume
        self._offsets = [_key(source)[1] for source in sources]
        self._targets = _names(folder, sources, kind)
        for target, source in zip(self._targets, sources, strict=True):
            refuse_same(target, [identify(source)[0]])
            if os.path.isdir(target):  # noqa: PTH112  (of a name that is too long it says no)
                raise OptionError(f"{target}: expected a file to write, found a folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{folder}: cannot be made: {error.strerror}") from error
        for target, source in zip(self._targets, sources, strict=True):
            _refuse_unwritable_name(target, identify(source)[0])

    def refuse_over(self, inputs: Sequence[Path]) -> None:
        """Refuse to write a transcript over one of a few files that are read besides the audio.

        Raises:
            OptionError: A transcript would be.
        """
        for target in self._targets:
            refuse_same(target, inputs)

    @property
    def kept(self) -> bool:
        """Whether there is anything that an interrupted run goes on with."""
        return any(target.is_file() for target in self._targets)

    def has(self, index: int) -> bool:
        """Whether the file is there already."""
        return self._resume and self._targets[index].is_file()

    def add(self, index: int, transcript: Transcript) -> None:
        """Write the file."""
        with replacing(self._targets[index]) as file:
            file.write(format_transcript(transcript, self._kind, offset=self._offsets[index]))

    def finish(self) -> None:
        """Nothing is left to do."""


def _names(folder: Path, sources: Sequence[Source], kind: str) -> list[Path]:
    """A file for each source, named after its audio, and where that is not enough, offset, channel and duration."""
    named = [_name(source, with_duration=False) for source in sources]
    several = {name for name, times in Counter(named).items() if times > 1}
    seen: dict[Path, str] = {}
    for short, source in zip(named, sources, strict=True):
        target = folder / f"{_name(source, with_duration=True) if short in several else short}.{kind}"
        path = identify(source)[0]
        if target in seen:
            raise OptionError(f"{seen[target]} and {path} would both be written to {target}; transcribe them apart")
        seen[target] = path
    return list(seen)


def _name(source: Source, *, with_duration: bool) -> str:
    name, offset, duration = identify(source)
    channel = source.channel if isinstance(source, Utterance) else None
    parts = ["stdin" if name == "standard input" else Path(name).stem]
    parts += [f"{offset:.3f}"] if offset else []
    parts += [f"{duration:.3f}s"] if with_duration and duration else []
    parts += [] if channel is None else [f"channel{channel}"]
    return "-".join(parts)


def _refuse_unwritable_name(target: Path, source: str) -> None:
    try:
        target.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OptionError(
            f"{target}: cannot be written: {error.strerror}; transcribe {source} apart, with --output"
        ) from error


def digest(settings: RecognizerSettings) -> str:
    """Twelve hexadecimal digits that differ when the model, the language model or the search differ."""
    shipped = choose_pretrained(settings.model)
    beam = settings.beam or (shipped.beam if shipped else None)
    files: list[Path] = [shipped.model if shipped else Path(settings.model)]
    if settings.decoder == "beam":
        language_model = settings.language_model or (shipped.language_model if shipped else None)
        files += [Path(language_model)] if language_model else []
    described: list[Any] = [settings.decoder, settings.weights, repr(beam) if settings.decoder == "beam" else ""]
    described += [_fingerprint(path) for path in files]
    return hashlib.sha256(repr(described).encode()).hexdigest()[:12]


def _fingerprint(path: Path) -> str:
    if path.is_dir():
        return repr([_fingerprint(item) for item in sorted(path.iterdir()) if item.is_file()])
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {error.strerror}") from error


def _key(source: Source) -> tuple[str, float, float, int | None]:
    name, offset, duration = identify(source)
    channel = source.channel if isinstance(source, Utterance) else None
    return utf8(name), round(offset, 6), round(duration, 6), channel


def _key_of(record: dict[str, Any]) -> tuple[str, float, float, int | None]:
    return record["source"], record["offset"], record["duration"], record.get("channel")


_FORM = LineForm("a transcript of ds2 transcribe --output", _key_of, "name the same audio by the same paths")
