"""Kaldi data folders as utterances."""

from __future__ import annotations

from pathlib import Path

from deepspeech2.errors import ManifestError
from deepspeech2.speech.data.kaldi_commands import read_command
from deepspeech2.speech.data.manifest import Utterance, header_seconds


def read_folder(folder: Path, *, texts: bool) -> list[Utterance]:
    """Read ``wav.scp`` and ``text``, and ``segments``, ``utt2spk`` and ``utt2dur`` where they exist.

    Commands in ``wav.scp`` (``flac -c -d -s FILE |``) are never run: the one existing file a command names is
    read instead, as soundfile knows the formats such commands unpack, and of it the channel the command keeps. A
    command that does more, such as trimming, is refused. Relative paths start at the folder, or at
    the current directory, as they do in Kaldi's recipes.

    Raises:
        ManifestError: A table is missing, malformed or names an utterance another one does not know.
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
            recording, start, end = _segment(segments[name], where)
            if recording not in recordings:
                raise ManifestError(f"{folder / 'segments'}: {name} is in recording {recording}, not in wav.scp")
            (path, channel), offset, duration = recordings[recording], start, end - start
        else:
            (path, channel), offset = recordings[name], 0.0
            duration = _duration(durations.get(name), path, where)
        text, speaker = words.get(name, ""), speakers.get(name)
        utterances.append(Utterance(path, duration, text, offset, speaker, where, channel))
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


def _audio(value: str, folder: Path, where: str) -> tuple[Path, int | None]:
    """The file of a recording and the channel a command keeps of it."""
    if not value.endswith("|"):
        return _existing(value, folder) or folder / value, None
    decoding = read_command(value, where)
    found = [path for word in decoding.names if (path := _existing(word, folder))]
    if len(found) != 1:
        raise ManifestError(
            f"{where}: expected the command '{value}', which is not run, to name one existing audio file, "
            f"found {len(found)}"
        )
    return found[0], decoding.channel


def _existing(value: str, folder: Path) -> Path | None:
    return next((path for path in (folder / value, Path(value)) if path.is_file()), None)


def _segment(value: str, where: str) -> tuple[str, float, float]:
    parts = value.split()
    try:
        recording, start, end = parts[0], float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise ManifestError(f"{where}: expected 'recording start end' in segments, found '{value}'") from None
    if not 0 <= start < end:
        raise ManifestError(f"{where}: expected 0 <= start < end in segments, found {start} and {end}")
    return recording, start, end


def _duration(value: str | None, path: Path, where: str) -> float:
    if value is None:
        return header_seconds(path)
    try:
        return float(value)
    except ValueError:
        raise ManifestError(f"{where}: expected seconds in utt2dur, found '{value}'") from None
