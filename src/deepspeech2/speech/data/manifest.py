"""Lists of utterances: the one record everything else works on, and the files it is read from and written to."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from deepspeech2.errors import AudioError, ManifestError
from deepspeech2.files import replacing
from deepspeech2.printing import printable

# Thirty years, as what reads audio has it; nor does it overflow when it becomes samples.
_LONGEST_SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech and what is said in it.

    Attributes:
        audio_path: The audio file.
        duration: Length in seconds of the stretch.
        text: The transcript, exactly as the model is to spell it; empty when it is not known. Read from a file, it has
            lost the white space around it.
        offset: Where in the file the stretch begins, in seconds.
        speaker: Who speaks, when known.
        where: Where the record was read, such as ``train.jsonl:12``; for messages only.
        channel: The channel of the file that is heard, counted from 0; None for the average of all.
    """

    audio_path: Path
    duration: float
    text: str = ""
    offset: float = 0.0
    speaker: str | None = None
    where: str = ""
    channel: int | None = None

    @property
    def name(self) -> str:
        """What messages call the utterance: its place in the manifest and its file."""
        return f"{self.where} ({self.audio_path.name})" if self.where else str(self.audio_path)


def read_manifest(path: str | os.PathLike[str], *, texts: bool = True) -> list[Utterance]:
    """Read a list of utterances.

    Three forms are told apart by what is there, not by an option:

    * JSON lines with ``audio_filepath``, ``duration``, ``text`` and optionally ``offset``, ``speaker`` (the keys
      of PaddlePaddle's DeepSpeech and of NeMo) and ``channel`` (counted from 0); relative paths start at the
      manifest's folder,
    * JSON lines, gzipped or not, of Lhotse cuts (``recording``, ``start``, ``duration``, ``supervisions``),
    * a Kaldi folder (``wav.scp``, ``text``, optionally ``segments``, ``utt2spk``, ``utt2dur``); of a folder without
      ``wav.scp`` its ``manifest.jsonl``, which `prepare` writes.

    A missing duration is the one that the header of the audio file announces, and is 0 where that cannot be read.
    Audio is not decoded: see `preflight`, which names what is missing, cut short or damaged.

    Args:
        path: The manifest file or the Kaldi folder.
        texts: Require a transcript in every record; without it, one that is missing is empty.

    Raises:
        ManifestError: Nothing is there, it cannot be read, the file is empty, or a record lacks a key or has one of
            the wrong kind; the message names the line.

    Example:
        >>> utterances = read_manifest("examples/speech/manifest.jsonl")
        >>> len(utterances), utterances[0].audio_path.name
        (6, '1272-128104-0000.mp3')
    """
    from deepspeech2.speech.data import kaldi, lhotse

    source = manifest_of(Path(path))
    try:
        is_folder = source.is_dir()
    except OSError as error:  # a folder that may not be entered, a name longer than names can be
        raise ManifestError(f"{source}: cannot be opened: {error.strerror}") from error
    if is_folder:
        return kaldi.read_folder(source, texts=texts)
    utterances = []
    for line, record in _json_records(source):
        where = f"{source.name}:{line}"
        if lhotse.is_cut(record):
            utterances.append(lhotse.parse_cut(record, source.parent, where, texts=texts))
        else:
            utterances.append(_parse_record(record, source.parent, where, texts=texts))
    if not utterances:
        raise ManifestError(f"{source}: the manifest is empty; expected one JSON object a line")
    return utterances


def manifest_of(path: Path) -> Path:
    """What is read of a folder: itself if it is Kaldi's, else its manifest; anything else is read itself.

    Raises:
        ManifestError: It is a folder and neither is in it.
    """
    if not _is_folder(path) or (path / "wav.scp").exists():
        return path
    if (path / "manifest.jsonl").is_file():
        return path / "manifest.jsonl"
    raise ManifestError(
        f"{path}: expected a folder with wav.scp (Kaldi) or manifest.jsonl (ds2 prepare), found neither; "
        "a folder of audio becomes a manifest by ds2 prepare, or name its files"
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # whoever opens it will say why it cannot be
        return False


def write_manifest(path: str | os.PathLike[str], utterances: Iterable[Utterance]) -> None:
    """Write utterances as JSON lines; the file appears whole or not at all.

    Audio below the manifest's folder is written with a relative path, other audio with an absolute one.

    Raises:
        ManifestError: A path is not UTF-8, as JSON has to be.
    """
    target = Path(path)
    folder = target.parent.resolve()
    lines = []
    for utterance in utterances:
        record: dict[str, Any] = {
            "audio_filepath": path_from(folder, utterance.audio_path),
            "duration": round(utterance.duration, 4),
            "text": utterance.text,
        }
        if utterance.offset:
            record["offset"] = utterance.offset
        if utterance.speaker is not None:
            record["speaker"] = utterance.speaker
        if utterance.channel is not None:
            record["channel"] = utterance.channel
        try:
            lines.append(msgspec.json.encode(record) + b"\n")
        except UnicodeEncodeError:
            name = printable(utterance.audio_path)
            raise ManifestError(
                f"{target}: a manifest cannot name {name}, which is not UTF-8; rename the file or folder"
            ) from None
    with replacing(target, "wb") as file:
        file.writelines(lines)


def path_from(folder: Path, audio: Path) -> str:
    """How a manifest in a folder names audio: from the folder on what is below it, other audio by its absolute path."""
    place = Path(os.path.realpath(audio))  # not `resolve`, which fails on a link to itself
    return (place.relative_to(folder) if place.is_relative_to(folder) else place).as_posix()


def data_digest(utterances: Iterable[Utterance]) -> str:
    """A SHA-256 of what is said, where in which file: the same wherever the folder of the data lies."""
    digest = hashlib.sha256()
    for item in utterances:
        # The channel comes last and only where one is chosen: digests made before there were channels stay true.
        channel = "" if item.channel is None else f"\0{item.channel}"
        digest.update(
            f"{item.audio_path.name}\0{item.offset!r}\0{item.duration!r}\0{item.text}{channel}\n".encode(
                "utf-8", "surrogateescape"
            )
        )
    return digest.hexdigest()


def total_seconds(utterances: Sequence[Utterance]) -> float:
    """Seconds of audio in a list of utterances."""
    return math.fsum(utterance.duration for utterance in utterances)


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What is known of an audio file without decoding it.

    Attributes:
        seconds: The length its header announces.
        end: Where what is there ends, in seconds.
        rate: Samples per second.
        is_cut_short: Whether less is there than was announced. Of MP3 and FLAC only decoding tells.
    """

    seconds: float
    end: float
    rate: int
    is_cut_short: bool


def probe_seconds(path: Path) -> float:
    """Length of an audio file as its header announces it, also where the file was cut short.

    Raises:
        AudioError: The file is missing or is not audio.
    """
    return probe_audio(path).seconds


def header_seconds(path: Path) -> float:
    """Length of an audio file from its header, 0 where it cannot be read: who opens it will say why."""
    try:
        return probe_seconds(path)
    except AudioError:
        return 0.0


def probe_audio(path: Path, channel: int | None = None) -> AudioHeader:
    """Length and sampling rate of an audio file that has the channel, without decoding it.

    Raises:
        AudioError: The file is missing, is not audio or lacks the channel.
    """
    import soundfile

    from deepspeech2.speech.audio import check_channel, one_line
    from deepspeech2.speech.audio_reader import name_of, open_audio

    name = name_of(path)
    try:
        if not path.is_file():
            raise AudioError(f"{name}: no such file; expected a WAV, FLAC, OGG or MP3 file")
        with open_audio(path) as audio:
            check_channel(channel, int(audio.channels), name)
            rate, there = int(audio.samplerate), int(audio.frames)
            announced = max(there, audio.announced)
            return AudioHeader(announced / rate, there / rate, rate, audio.announces_more_than(there))
    except AudioError:
        raise
    except (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read as audio ({one_line(error)})") from error


def seconds_of(record: dict[str, Any], key: str, where: str, default: float | None = None) -> float | None:
    """The seconds under `key`, or `default` where the key is absent.

    Raises:
        ManifestError: The value is no length; see `is_length`.
    """
    value = record.get(key)
    if value is None:
        return default
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not is_length(value):
        raise ManifestError(f'{where}: expected "{key}" as seconds, 0 or more, found {value!r}')
    return float(value)


def is_length(seconds: float) -> bool:
    """Whether a number is a length audio can have, in seconds: 0 or more, and less than thirty years."""
    return 0 <= seconds < _LONGEST_SECONDS  # compared as it is: an integer may be too large for a float


def audio_path(folder: Path, name: str, where: str) -> Path:
    """The path of audio that a record names, from the folder on; whether it is there is not looked at.

    Raises:
        ManifestError: No file can have this name.
    """
    if "\0" in name:
        raise ManifestError(f"{where}: expected the path of audio, found a zero byte in {name!r}")
    return folder / name


def channel_of(record: dict[str, Any], where: str) -> int | None:
    """The channel a record chooses, counted from 0; None where it chooses none.

    Raises:
        ManifestError: The value is no whole number from 0.
    """
    value = record.get("channel")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ManifestError(f'{where}: expected "channel" as a whole number from 0, found {value!r}')
    return value


def _json_records(source: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    if not source.exists():
        raise ManifestError(f"{source}: no such manifest; expected a JSON lines file or a Kaldi folder")
    opener = gzip.open if source.suffix == ".gz" else open
    try:
        with opener(source, "rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901  (some editors begin files with it)
                if not line.strip():
                    continue
                try:
                    record = msgspec.json.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise ManifestError(f"{source}:{number}: expected one JSON object a line ({error})") from error
                if not isinstance(record, dict):
                    raise ManifestError(f"{source}:{number}: expected a JSON object, found {type(record).__name__}")
                yield number, record
    except (OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{source}: cannot be read ({error})") from error


def _parse_record(record: dict[str, Any], folder: Path, where: str, *, texts: bool) -> Utterance:
    audio = record.get("audio_filepath")
    if not isinstance(audio, str) or not audio:
        keys = ", ".join(sorted(record)[:8]) or "none"
        raise ManifestError(f'{where}: expected the key "audio_filepath" with a path, found the keys {keys}')
    text = record.get("text")
    if not isinstance(text, str):
        if texts or text is not None:
            raise ManifestError(f'{where}: expected the key "text" with a transcript, found {text!r}')
        text = ""
    speaker = record.get("speaker")
    path = audio_path(folder, audio, where)
    offset = seconds_of(record, "offset", where, 0.0) or 0.0
    duration = seconds_of(record, "duration", where)
    if duration is None:
        duration = max(0.0, header_seconds(path) - offset)
    named = None if speaker is None else str(speaker)
    return Utterance(path, duration, text.strip(), offset, named, where, channel_of(record, where))
