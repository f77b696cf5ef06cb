"""Running `ds2` in the process of a test, on a tiny model and a real clip."""

from __future__ import annotations

from pathlib import Path

from deepspeech2.cli.main import main
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions

CLIP = Path(__file__).parents[1] / "examples" / "clip_10s.flac"


def run(*arguments: object) -> int:
    """The exit status of `ds2` with these arguments."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def save_tiny_model(path: Path) -> None:
    """Write a network of 8 random states, with the normaliser of the clip."""
    options = NetworkOptions(
        convolutions=(ConvolutionOptions(2, (41, 11), (4, 3)),), recurrent_layers=1, recurrent_size=8
    )
    model = build_model(options, seed=3)
    model.normalizer = Normalizer.fit([spectrogram(load_audio(CLIP))])
    save_model(model, path)
