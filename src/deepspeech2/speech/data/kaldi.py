"""Kaldi data folders as utterances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepspeech2.errors import ManifestError
from deepspeech2.speech.data.kaldi_commands import read_command
from deepspeech2.speech.data.manifest import Utterance, audio_path, header_seconds, is_length


@dataclass(frozen=True, slots=True)
class _Recording:
    """A row of ``wav.scp``: the file, the channel a command keeps of it, and whether one channel is all it leaves."""

    path: Path
    channel: int | None = None
    is_mono: bool = False


def read_folder(folder: Path, *, texts: bool) -> list[Utterance]:
    """Read ``wav.scp`` and ``text``, and ``segments``, ``utt2spk`` and ``utt2dur`` where they exist.

    Commands in ``wav.scp`` (``flac -c -d -s FILE |``) are never run: the one existing file a command names is
    read instead, as soundfile knows the formats such commands unpack, and of it the channel the command keeps. A
    command that does more, such as trimming, is refused. Relative paths start at the folder, or at
    the current directory, as they do in Kaldi's recipes.

    A row of ``segments`` may end in a channel of the recording, counted from 0; an end of -1 is the end of the
    recording, by its header.

    Raises:
        ManifestError: A table is missing, malformed or names an utterance another one does not know; a segment is of a
            channel its recording's command does not keep.
    """
    recordings = {
        name: _audio(value, folder, f"{folder / 'wav.scp'}:{number}")
        for name, (number, value) in _rows(folder / "wav.scp").items()
    }
    words = _table(folder / "text") if texts or (folder / "text").is_file() else {}
    speakers = _optional_table(folder / "utt2spk")
    durations = _optional_table(folder / "utt2dur")
    segments = _optional_table(folder / "segments")

    utterances = []
    for name in segments or recordings:
        where = f"{folder.name}/{name}"
        if texts and name not in words:
            raise ManifestError(f"{folder / 'text'}: no transcript of utterance {name}")
        if segments:
            recording, offset, duration = _segment(segments[name], recordings, where)
        else:
            recording, offset = recordings[name], 0.0
            duration = _duration(durations.get(name), recording.path, where)
        text, speaker = words.get(name, ""), speakers.get(name)
        utterances.append(Utterance(recording.path, duration, text, offset, speaker, where, recording.channel))
    return utterances


def _table(path: Path) -> dict[str, str]:
    return {name: value for name, (_, value) in _rows(path).items()}


def _rows(path: Path) -> dict[str, tuple[int, str]]:
    if not path.is_file():
        raise ManifestError(
            f"{path}: no such file; a Kaldi folder has wav.scp and text (a folder of audio becomes a manifest by "
            "ds2 prepare; its files can be named one by one)"
        )
    rows: dict[str, tuple[int, str]] = {}
    try:
        # Not `splitlines`, which also ends lines where transcripts may have other separators, such as U+2028.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *value = line.strip().split(maxsplit=1)
        if name in rows:
            raise ManifestError(f"{path}:{number}: {name} is listed twice")
        rows[name] = (number, "".join(value))
    if not rows:
        raise ManifestError(f"{path}: the table is empty")
    return rows


def _optional_table(path: Path) -> dict[str, str]:
    return _table(path) if path.is_file() else {}


def _audio(value: str, folder: Path, where: str) -> _Recording:
    if not value.endswith("|"):
        return _Recording(_existing(value, folder) or audio_path(folder, value, where))
    decoding = read_command(value, where)
    found = [path for word in decoding.names if (path := _existing(word, folder))]
    if len(found) != 1:
        raise ManifestError(
            f"{where}: expected the command '{value}', which is not run, to name one existing audio file, "
            f"found {len(found)}"
        )
    return _Recording(found[0], decoding.channel, decoding.is_mono)


def _existing(value: str, folder: Path) -> Path | None:
    return next((path for path in (folder / value, Path(value)) if path.is_file()), None)


def _segment(value: str, recordings: dict[str, _Recording], where: str) -> tuple[_Recording, float, float]:
    """The recording as it is heard, the offset and the duration of a row of ``segments``."""
    name, *numbers = value.split() or [""]
    try:
        start, end = map(float, numbers[:2])
        (channel,) = map(int, numbers[2:] or ["-1"])
    except ValueError:
        raise ManifestError(f"{where}: expected 'recording start end [channel]' in segments, found '{value}'") from None
    if not (is_length(start) and (end == -1 or (is_length(end) and start < end))):
        raise ManifestError(f"{where}: expected 0 <= start < end, or an end of -1, in segments, found '{value}'")
    if name not in recordings:
        raise ManifestError(f"{where}: expected a recording of wav.scp in segments, found {name}")
    recording = recordings[name]
    if numbers[2:]:
        recording = _of_channel(recording, channel, where)
    duration = max(0.0, header_seconds(recording.path) - start) if end == -1 else end - start
    return recording, start, duration


def _of_channel(recording: _Recording, channel: int, where: str) -> _Recording:
    if channel < 0:
        raise ManifestError(f"{where}: expected a channel from 0 in segments, found {channel}")
    if not recording.is_mono:
        return _Recording(recording.path, channel)
    if channel > 0:  # what the command leaves has a channel 0 only
        raise ManifestError(
            f"{where}: expected channel 0 in segments, as the command in wav.scp leaves one channel, found {channel}"
        )
    return recording


def _duration(value: str | None, path: Path, where: str) -> float:
    if value is None:
        return header_seconds(path)
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not is_length(seconds):
        raise ManifestError(f"{where}: expected seconds, 0 or more, in utt2dur, found '{value}'")
    return seconds
