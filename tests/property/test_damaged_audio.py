"""Any damaged audio file either gives finite samples or raises an AudioError of one line."""

import io
from functools import cache

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2.errors import AudioError
from deepspeech2.speech.audio import load_audio

FORMATS = {"WAV": "FLOAT", "FLAC": "PCM_16", "OGG": "VORBIS"}


@cache
def originals():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    contents = {}
    for name, subtype in FORMATS.items():
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 16_000, format=name, subtype=subtype)
        contents[name] = buffer.getvalue()
    return contents


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMATS)),
    place=st.one_of(st.integers(0, 100), st.floats(0, 1)),
    flips=st.binary(max_size=8),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_damaged_files(name, place, flips, cut) -> None:
    content = bytearray(originals()[name])
    start = place if isinstance(place, int) else int(place * len(content))
    content[start : start + len(flips)] = flips
    if cut is not None:
        del content[int(cut * len(content)) :]
    try:
        samples = load_audio(io.BytesIO(bytes(content)))
    except AudioError as error:
        assert "\n" not in str(error)
        return
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.isfinite(samples).all()


def test_an_absurd_sampling_rate_is_named(tmp_path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.ones(1000), 1)
    with pytest.raises(AudioError, match="at least 1000 Hz, found 1 Hz"):
        load_audio(path)
