"""Keeps the caches of the tests out of the user's, and makes speech of tones.

Every letter of the tones is a pitch, so that a tiny network learns to read them in seconds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

PITCHES = {" ": 0.0, "a": 500.0, "b": 1000.0, "c": 2000.0, "d": 4000.0}
LETTER_SECONDS = 0.12


def tones(text: str, seed: int = 0) -> np.ndarray:
    """A text as tones of 0.12 s, with a little noise."""
    generator = np.random.default_rng([seed, *text.encode()])
    time = np.arange(int(16_000 * LETTER_SECONDS)) / 16_000
    window = np.hanning(len(time))
    pieces = [np.sin(2 * np.pi * PITCHES[letter] * time) * window for letter in text]
    samples = 0.5 * np.concatenate(pieces)
    return (samples + 0.01 * generator.standard_normal(len(samples))).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSPEECH2_CACHE", str(Path(tmp_path_factory.mktemp("cache"))))
        yield


def write_speech(folder: Path, texts: Sequence[str], name: str = "tones.jsonl") -> Path:
    """Write texts as WAV files in a folder of the folder, with a manifest, and return the manifest's path."""
    inner = folder / name.removesuffix(".jsonl")
    inner.mkdir()
    lines = []
    for number, text in enumerate(texts):
        samples = tones(text, number)
        soundfile.write(inner / f"{number}.wav", samples, 16_000)
        record = {"audio_filepath": f"{inner.name}/{number}.wav", "duration": len(samples) / 16_000, "text": text}
        lines.append(json.dumps(record))
    manifest = folder / name
    manifest.write_text("".join(line + "\n" for line in lines))
    return manifest


@pytest.fixture
def write_tones(tmp_path: Path) -> Callable[..., Path]:
    """`write_speech` into the folder of the test."""
    return functools.partial(write_speech, tmp_path)


@pytest.fixture(scope="session")
def eight_tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of eight utterances."""
    texts = ["ab cd", "dad", "cab ad", "bad cab", "a", "dab bad", "cad", "b"]
    return write_speech(tmp_path_factory.mktemp("eight"), texts)


@pytest.fixture
def random_texts() -> Callable[[int], list[str]]:
    """So many texts of 6 to 14 letters of a, b, c, d and spaces, the same ones always."""

    def draw(count: int) -> list[str]:
        generator = np.random.default_rng(7)
        lengths = generator.integers(6, 15, count)
        texts = ["".join(generator.choice(list("aabbccdd "), length)) for length in lengths]
        return [" ".join(text.split()) or "abcd" for text in texts]

    return draw
