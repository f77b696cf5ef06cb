"""The spectrogram equals the original featurizer on the ten-second clip."""

from pathlib import Path

import numpy as np

from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.features import spectrogram

ROOT = Path(__file__).parents[2]


def test_spectrogram_of_the_clip() -> None:
    features = spectrogram(load_audio(ROOT / "examples" / "clip_10s.flac"))
    with np.load(ROOT / "tests" / "golden" / "data" / "spectrogram_clip_10s.npz") as arrays:
        expected = arrays["spectrogram"]
    assert features.shape == (161, 998)
    assert features.dtype == np.float32
    # Rounding to float32 on both sides: 1.2e-7. The clip's quietest bins are rounding noise of its samples, and
    # follow the last bit of the level, which numpy's log10 rounds differently without AVX-512: 7e-5 there.
    same_rounding = np.log10(np.float32(0.0058832555)) == np.float32(-2.2303824)
    np.testing.assert_allclose(features, expected, rtol=5e-7 if same_rounding else 1e-4, atol=0)
