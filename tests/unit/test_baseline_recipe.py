"""The yardstick network of recipes/baseline: its size, its padding, its cost, its way through the trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deepspeech2.flops.counting import count
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.features import spectrogram
from deepspeech2.speech.options import ENGLISH_LABELS
from deepspeech2.speech.recipe import read_recipe
from deepspeech2.speech.training import Trainer
from deepspeech2.speech.training_options import TrainingOptions
from recipes.baseline.network import (
    Baseline,
    BaselineRecognizer,
    UtteranceNormalizer,
    build_baseline,
    load_baseline,
    reversed_frames,
    sum_of_directions,
)
from recipes.baseline.tabulate import RATIO

RECIPES = Path(__file__).parents[2] / "recipes"
CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"


@pytest.fixture
def model() -> Baseline:
    return build_baseline(80_000, channels=4).eval()


def test_the_size_is_the_largest_that_fits(model: Baseline) -> None:
    def weights(size: int) -> int:
        convolutions = 4 * 41 * 11 + 4 * 4 * 21 * 11 + 2 * 4 * 3  # bias, and gamma and beta of the norm
        first, other = (2 * (4 * size * (inside + size) + 8 * size) for inside in (4 * 41, size))
        return convolutions + first + 4 * other + 5 * 2 * size + 29 * size

    size = model.options.recurrent_size
    assert model.parameter_count() == weights(size) <= 80_000 < weights(size + 1)


def test_the_published_size_of_that_project() -> None:
    with torch.device("meta"):
        layers = list(build_baseline(5_660_000).recurrent)
    assert len(layers) == 5
    assert all(lstm.bidirectional and lstm.hidden_size == layers[0].hidden_size for lstm in layers)


def test_padding_changes_nothing(model: Baseline) -> None:
    features = torch.randn(2, 161, 120)
    features[0, :, 77:] = 0  # as batches are padded
    alone, frames = model(features[:1, :, :77], torch.tensor([77]))
    together, both = model(features, torch.tensor([77, 120]))
    assert frames.tolist() == [39]
    assert both.tolist() == [39, 60]
    torch.testing.assert_close(together[:1, :39], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.exp().sum(2), torch.ones(1, 39))


def test_directions_on_padded_tensors_are_those_of_a_packed_sequence() -> None:
    layer, x, frames = torch.nn.LSTM(6, 5, bidirectional=True), torch.randn(9, 3, 6), torch.tensor([9, 4, 1])
    both, _ = pad_packed_sequence(layer(pack_padded_sequence(x, frames, enforce_sorted=False))[0])
    expected = both.view(9, 3, 2, 5).sum(2)
    valid = (torch.arange(9)[:, None] < frames).unsqueeze(2)
    found = sum_of_directions(layer, x, reversed_frames(frames, 9), valid)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    for one, other in zip(
        *(torch.autograd.grad(y.sin().sum(), list(layer.parameters())) for y in (found, expected)), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_its_multiplications_are_those_the_counter_finds(model: Baseline) -> None:
    inputs = [(1, 1, 161, 101), (1, 4, 81, 51)]
    found = sum(
        count(layer, (torch.randn(*size),)).macs for layer, size in zip(model.convolutions, inputs, strict=True)
    )
    found += sum(count(lstm, (torch.randn(51, 1, lstm.input_size),)).macs for lstm in model.recurrent)
    assert model.macs(101) == found + count(model.output, (torch.randn(51, 1, model.options.recurrent_size),)).macs


def test_the_ratio_of_its_page_is_that_of_the_counts() -> None:
    with torch.device("meta"):
        small = build_model(read_recipe(RECIPES / "small" / "small.toml").network)
        cost = count(small, (torch.empty(1, 161, 999), torch.tensor([999], device="cpu"))).macs
        baseline = build_baseline(sum(weight.numel() for weight in small.parameters()), channels=16)
    assert round(baseline.macs(999) / cost, 2) == RATIO


def test_features_are_normalised_magnitudes() -> None:
    samples = load_audio(CLIP)
    found = UtteranceNormalizer()(spectrogram(samples))
    level = 10 ** (-20 / 20) / np.sqrt(np.mean(samples.astype(np.float64) ** 2))
    windows = np.lib.stride_tricks.sliding_window_view(samples * level, 320)[::160] * np.hanning(320)
    expected = np.log1p(np.abs(np.fft.rfft(windows).T))
    expected[[0, -1]] = np.log1p(np.abs(np.fft.rfft(windows).T[[0, -1]]) * np.sqrt(0.5))  # one-sided: half the power
    np.testing.assert_allclose(found, (expected - expected.mean()) / expected.std(), atol=1e-3)


def test_it_is_trained_saved_and_recognises(model: Baseline, tmp_path: Path, write_tones: Callable[..., Path]) -> None:
    utterances = read_manifest(write_tones(["abcd", "dcba"]))
    loader = BatchLoader(utterances, ENGLISH_LABELS, UtteranceNormalizer())
    options = TrainingOptions(epochs=2, average_best=0, batching=BatchingOptions(batch_seconds=30.0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reports = Trainer(model, loader, loader, options, tmp_path).run()
    assert reports[1].loss < reports[0].loss
    loaded = load_baseline(tmp_path / "latest.safetensors")
    assert loaded.options == model.options
    for name, value in model.eval().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert not torch.equal(before["output.weight"], loaded.output.weight)
    features = UtteranceNormalizer()(spectrogram(load_audio(CLIP)))
    expected = model(torch.from_numpy(features)[None], torch.tensor([features.shape[1]]))[0][0]
    recognizer = BaselineRecognizer(loaded)
    np.testing.assert_allclose(recognizer.log_probabilities(CLIP), expected.detach(), atol=1e-5)
    assert recognizer.seconds_per_frame == 0.02
