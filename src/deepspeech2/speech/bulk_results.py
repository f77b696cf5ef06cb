"""Where transcripts of many pieces of audio go, and how a run that was interrupted goes on.

With a results file: `FILE.partial` takes a JSON line for each transcript as it finishes; at the end they are written
to FILE in the order they were asked for, and the partial file goes. Every line is keyed by file, offset and
duration, and by a digest of the model and the decoder, so that results of different runs never mix.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

from deepspeech2.errors import OptionError
from deepspeech2.files import naming_unwritten, refuse_same, replacing
from deepspeech2.printing import utf8
from deepspeech2.speech.bulk import RecognizerSettings, identify
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.pretrained import choose_pretrained
from deepspeech2.speech.recognizer import Source
from deepspeech2.speech.transcript import Transcript, format_transcript

Key = tuple[str, float, float, int | None]


GOES_ON = "; what is done is in it, and the same command with --resume goes on"
"""What is said of a partial file that cannot be written on."""


class Results(Protocol):
    """Takes transcripts in any order."""

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
    """JSON lines in a file, that appears when all is done.

    Args:
        path: The results file.
        sources: What is transcribed, in the order the lines are to have.
        settings: What transcribes; a digest of it is in every line.
        resume: Go on with what is in the partial file or the results file.

    Raises:
        OptionError: There is an interrupted run and `resume` was not given, or its lines are damaged, of another
            model or decoder, or of audio that is not among the sources.
    """

    def __init__(self, path: Path, sources: Sequence[Source], settings: RecognizerSettings, *, resume: bool) -> None:
        if path.is_dir():
            raise OptionError(f"{path}: expected a file to write, found a folder")
        if path.exists() and not path.is_file():
            raise OptionError(
                f"{path}: expected a file that an interrupted run can go on with, found a device or a pipe; "
                "leave --output out and transcripts are printed"
            )
        self._path, self._partial = path, path.with_name(path.name + ".partial")
        self._keys = [_key(source) for source in sources]
        self._run = digest(settings)
        if self._partial.exists() and not resume:
            raise OptionError(f"{self._partial} is of an interrupted run; add --resume to go on with it, or remove it")
        self._lines: dict[Key, str] = {}
        for earlier in (path, self._partial) if resume else ():
            self._read(earlier)
        try:
            # What a kill cut short is not written again.
            with replacing(self._partial) as file:
                file.writelines(line + "\n" for line in self._lines.values())
            self._file = self._partial.open("a", encoding="utf-8")
        except OSError as error:
            raise OptionError(f"{self._partial}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError) if kind else nullcontext():  # what could not be written then cannot be written now
            self._file.close()
        if not self._lines:
            self._partial.unlink(missing_ok=True)

    def has(self, index: int) -> bool:
        """Whether an earlier run has done this source."""
        return self._keys[index] in self._lines

    def add(self, index: int, transcript: Transcript) -> None:
        """Write a line to the partial file.

        Raises:
            OptionError: The disk is full.
        """
        source, offset, duration, channel = key = self._keys[index]
        record = json.loads(format_transcript(transcript, "json"))
        record |= {"source": source, "offset": offset, "duration": duration, "run": self._run}
        if channel is not None:
            record["channel"] = channel
        line = json.dumps(record, ensure_ascii=False)
        with naming_unwritten(self._partial, GOES_ON if self._lines else ""):
            self._file.write(line + "\n")
            self._file.flush()
        self._lines[key] = line

    def finish(self) -> None:
        """Write the results file, in place of the partial one."""
        self._file.close()
        hint = f"; {self._partial} has all transcripts, and the same command with --resume writes them"
        with naming_unwritten(self._path, hint), replacing(self._path) as file:
            file.writelines(self._lines[key] + "\n" for key in self._keys if key in self._lines)
        self._partial.unlink()

    def _read(self, path: Path) -> None:
        if not path.exists():
            return
        wanted = set(self._keys)
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise OptionError(f"{path}: cannot be read: {error.strerror}") from error
        for number, stored in enumerate(lines, start=1):
            if not stored.strip():
                continue
            try:
                line = stored.decode()  # each by itself: a kill may have cut a character of the last one in two
                record = json.loads(line)
                key = (str(record["source"]), record["offset"], record["duration"], record.get("channel"))
                run = record["run"]
            except (ValueError, KeyError, TypeError, RecursionError):
                if path == self._partial and number == len(lines):
                    return  # a kill cut the last line short
                raise OptionError(f"{path}:{number}: expected a transcript of ds2 transcribe --output") from None
            if run != self._run:
                raise OptionError(
                    f"{path}:{number} was made with another model or decoder (run {run}, this is {self._run}); "
                    "give the same options, or write to another file"
                )
            if key not in wanted:  # to write the file without it would throw it away
                raise OptionError(
                    f"{path}:{number} is of {key[0]}, which is not asked for now; "
                    "name the same audio by the same paths, or write to another file"
                )
            self._lines[key] = line


class ResultsFolder:
    """One file for each transcript; each appears whole.

    Args:
        folder: Where to; made when it is not there.
        sources: What is transcribed.
        kind: A format of `format_transcript`.
        resume: Files that are there already are done.

    Raises:
        OptionError: Two sources would be written to one file, or one over its own audio.
    """

    def __init__(self, folder: Path, sources: Sequence[Source], kind: str, *, resume: bool) -> None:
        self._kind, self._resume = kind, resume
        self._targets: list[Path] = []
        self._offsets: list[float] = []
        seen: dict[Path, str] = {}
        for source in sources:
            _, offset, _, channel = _key(source)
            name = identify(source)[0]
            stem = "stdin" if name == "standard input" else Path(name).stem
            part = (f"-{offset:.3f}" if offset else "") + ("" if channel is None else f"-channel{channel}")
            target = folder / f"{stem}{part}.{kind}"
            if target in seen:
                raise OptionError(f"{seen[target]} and {name} would both be written to {target}; transcribe them apart")
            refuse_same(target, [name])
            seen[target] = name
            self._targets.append(target)
            self._offsets.append(offset)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{folder}: cannot be made: {error.strerror}") from error

    def refuse_over(self, inputs: Sequence[Path]) -> None:
        """Refuse to write a transcript over one of a few files that are read besides the audio.

        Raises:
            OptionError: A transcript would be.
        """
        for target in self._targets:
            refuse_same(target, inputs)

    def has(self, index: int) -> bool:
        """Whether the file is there already."""
        return self._resume and self._targets[index].exists()

    def add(self, index: int, transcript: Transcript) -> None:
        """Write the file."""
        with replacing(self._targets[index]) as file:
            file.write(format_transcript(transcript, self._kind, offset=self._offsets[index]))

    def finish(self) -> None:
        """Nothing is left to do."""


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


def _key(source: Source) -> Key:
    name, offset, duration = identify(source)
    channel = source.channel if isinstance(source, Utterance) else None
    return utf8(name), round(offset, 6), round(duration, 6), channel
