"""Lhotse cuts as utterances: the JSON of ``MonoCut`` with a recording in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepspeech2.errors import ManifestError
from deepspeech2.speech.data.manifest import Utterance, audio_path, channel_of, seconds_of


def is_cut(record: dict[str, Any]) -> bool:
    """Whether a JSON record is a Lhotse cut rather than one of our own lines."""
    return "recording" in record or str(record.get("type", "")).endswith("Cut")


def parse_cut(record: dict[str, Any], folder: Path, where: str, *, texts: bool) -> Utterance:
    """Turn one cut into an utterance: the cut's start is the offset, its supervisions joined are the text.

    Of a cut of one channel, that channel is heard and its supervisions count; they are joined by their starts.

    Mixed and padded cuts, transformed recordings and those that are not files are refused.

    Raises:
        ManifestError: The cut has no recording in a file, no duration, or no text where one is required.
    """
    recording = record.get("recording")
    sources = recording.get("sources") if isinstance(recording, dict) else None
    if not isinstance(sources, list) or len(sources) != 1 or not isinstance(sources[0], dict):
        kind = record.get("type", "cut")
        raise ManifestError(f"{where}: expected a Lhotse MonoCut of a recording with one source, found {kind}")
    kind, source = sources[0].get("type"), sources[0].get("source")
    if kind != "file" or not isinstance(source, str):
        raise ManifestError(f'{where}: expected a recording with a source of type "file", found {kind!r}')
    if isinstance(recording, dict) and recording.get("transforms"):
        raise ManifestError(
            f"{where}: the Lhotse recording is changed by transforms, which are not done here; save it first"
        )
    duration = seconds_of(record, "duration", where)
    if duration is None:
        raise ManifestError(f'{where}: expected the key "duration" in a Lhotse cut')

    supervisions = record.get("supervisions") or []
    channel, heard = _channel(record, sources[0].get("channels"), where)
    spoken = sorted((item for item in supervisions if _is_of(item, channel)), key=_start)
    text = " ".join(item["text"].strip() for item in spoken if isinstance(item.get("text"), str))
    if texts and not text:
        raise ManifestError(f'{where}: expected a supervision with "text" in the Lhotse cut, found none')
    speaker = next((str(item["speaker"]) for item in spoken if item.get("speaker")), None)
    # Relative to the manifest, or as Lhotse has it to the current directory.
    named = audio_path(folder, source, where)
    path = next((place for place in (named, Path(source)) if place.is_file()), named)
    return Utterance(path, duration, text, seconds_of(record, "start", where, 0.0) or 0.0, speaker, where, heard)


def _channel(record: dict[str, Any], known: Any, where: str) -> tuple[int | None, int | None]:
    """The cut's channel by its name in Lhotse, and by its place in the file; None where all are heard.

    A source lists the names of its channels in the file's order; where it has a single one there is nothing to choose.
    """
    known = known if isinstance(known, list) else None
    value = record.get("channel")
    if isinstance(value, list):  # a MultiCut
        if len(value) != 1 and (known is None or set(map(str, value)) != set(map(str, known))):
            raise ManifestError(f"{where}: expected one channel of the recording or all, found {value}")
        value = value[0] if len(value) == 1 else None
    channel = channel_of({"channel": value}, where)
    if channel is None or known is None:
        return channel, channel
    if channel not in known:
        raise ManifestError(f"{where}: expected a channel of the recording, which has {known}, found {channel}")
    return channel, known.index(channel) if len(known) > 1 else None


def _is_of(supervision: Any, channel: int | None) -> bool:
    if not isinstance(supervision, dict):
        return False
    named = supervision.get("channel")
    return channel is None or named is None or channel in (named if isinstance(named, list) else [named])


def _start(supervision: dict[str, Any]) -> float:
    start = supervision.get("start")
    return start if isinstance(start, (int, float)) else 0.0
