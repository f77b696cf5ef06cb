"""How long audio without any sound is: nothing is heard in it, and that is an answer."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import soundfile

from deepspeech2.errors import AudioError, SilentAudioError
from deepspeech2.speech.audio_reader import AudioReader, name_of, opened_at
from deepspeech2.speech.data.manifest import Utterance

CANCELLED = "the channels cancel out where they are averaged; give one of them"


def length_of_silence(source: str | os.PathLike[str] | BinaryIO | Utterance) -> tuple[float, int]:
    """Seconds and sampling rate in Hz of audio that `read_audio` found to be silent.

    What is there is counted, as a header may announce more.

    Raises:
        SilentAudioError: Only the average of its channels is silent, or it cannot be read a second time.
    """
    piece = source if isinstance(source, Utterance) else None
    given: Any = source if piece is None else piece.audio_path
    if hasattr(given, "seek"):
        given.seek(0)
    name = name_of(given)
    try:
        with opened_at(given, piece.offset if piece else 0.0) as audio:
            rate = int(audio.samplerate)
            samples, sounding = _count(audio, round(piece.duration * rate) if piece else 0)
    except (soundfile.SoundFileError, OSError, RuntimeError, AudioError) as error:
        raise SilentAudioError(f"{name}: the audio is silent, and cannot be read again for its length") from error
    if sounding and audio.channels > 1 and (piece is None or piece.channel is None):
        raise SilentAudioError(f"{name}: {CANCELLED}")
    return samples / rate, rate


def _count(audio: AudioReader, wanted: int) -> tuple[int, bool]:
    """Samples read from here on, all or so many, and whether any is not zero."""
    samples, sounding = 0, False
    while not wanted or samples < wanted:
        block = audio.block(wanted - samples if wanted else None)
        if not len(block):
            break
        samples += len(block)
        sounding = sounding or bool(block.any())
    return samples, sounding
