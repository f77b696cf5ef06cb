"""Keeps the caches of the tests out of the user's, and makes speech of tones.

Every letter of the tones is a pitch, so that a tiny network learns to read them in seconds.
"""

from __future__ import annotations

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


@pytest.fixture
def write_tones(tmp_path: Path) -> Callable[..., Path]:
    """Writes texts as WAV files with a manifest, and returns the manifest's path."""

    def write(texts: Sequence[str], name: str = "tones.jsonl") -> Path:
        folder = tmp_path / name.removesuffix(".jsonl")
        folder.mkdir()
        lines = []
        for number, text in enumerate(texts):
            samples = tones(text, number)
            soundfile.write(folder / f"{number}.wav", samples, 16_000)
            record = {"audio_filepath": f"{folder.name}/{number}.wav", "duration": len(samples) / 16_000, "text": text}
            lines.append(json.dumps(record))
        manifest = tmp_path / name
        manifest.write_text("".join(line + "\n" for line in lines))
        return manifest

    return write


@pytest.fixture
def random_texts() -> Callable[[int], list[str]]:
    """So many texts of 6 to 14 letters of a, b, c, d and spaces, the same ones always."""

    def draw(count: int) -> list[str]:
        generator = np.random.default_rng(7)
        lengths = generator.integers(6, 15, count)
        texts = ["".join(generator.choice(list("aabbccdd "), length)) for length in lengths]
        return [" ".join(text.split()) or "abcd" for text in texts]

    return draw
