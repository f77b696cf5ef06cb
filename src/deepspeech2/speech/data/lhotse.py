"""Lhotse cuts as utterances: the JSON of ``MonoCut`` with a recording in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepspeech2.errors import ManifestError
from deepspeech2.speech.data.manifest import Utterance, seconds_of


def is_cut(record: dict[str, Any]) -> bool:
    """Whether a JSON record is a Lhotse cut rather than one of our own lines."""
    return "recording" in record or str(record.get("type", "")).endswith("Cut")


def parse_cut(record: dict[str, Any], folder: Path, where: str, *, texts: bool) -> Utterance:
    """Turn one cut into an utterance: the cut's start is the offset, its supervisions joined are the text.

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
    spoken = [item for item in supervisions if isinstance(item, dict)]
    text = " ".join(item["text"] for item in spoken if isinstance(item.get("text"), str))
    if texts and not text:
        raise ManifestError(f'{where}: expected a supervision with "text" in the Lhotse cut, found none')
    speaker = next((str(item["speaker"]) for item in spoken if item.get("speaker")), None)
    # Relative to the manifest, or as Lhotse has it to the current directory.
    path = next((place for place in (folder / source, Path(source)) if place.is_file()), folder / source)
    return Utterance(path, duration, text, seconds_of(record, "start", where, 0.0) or 0.0, speaker, where)
