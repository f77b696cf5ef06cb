"""How long audio without any sound is: nothing is heard in it, and that is an answer."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import soundfile

from deepspeech2.errors import SilentAudioError
from deepspeech2.speech.data.manifest import Utterance

_BLOCK_SAMPLES = 1 << 16


def length_of_silence(source: str | os.PathLike[str] | BinaryIO | Utterance) -> tuple[float, int]:
    """Seconds and sampling rate in Hz of audio that `read_audio` found to be silent.

    Raises:
        SilentAudioError: It cannot be read a second time.
    """
    piece = source if isinstance(source, Utterance) else None
    given: Any = source if piece is None else piece.audio_path
    if hasattr(given, "seek"):
        given.seek(0)
    try:
        with soundfile.SoundFile(os.fspath(given) if isinstance(given, os.PathLike) else given) as audio:
            rate = int(audio.samplerate)
            # A header may announce more than there is, so what no manifest measures is counted.
            samples = audio.frames if piece and piece.duration else _count(audio)
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise SilentAudioError(f"{given}: the audio is silent, and cannot be read again for its length") from error
    if piece is None:
        return samples / rate, rate
    left = max(0, samples - round(piece.offset * rate))
    return min(left, round(piece.duration * rate) or left) / rate, rate


def _count(audio: soundfile.SoundFile) -> int:
    samples = 0
    while read := len(audio.read(_BLOCK_SAMPLES, dtype="int16")):
        samples += read
    return samples
