"""Batches: padded, normalised, augmented, and the same whenever and however they are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepspeech2.errors import AudioError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data.augment import Augmentation, Noise, Shift, Sometimes, Speed, Volume
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.loading import BatchLoader, load_ahead
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.data.spec_augment import SpecAugmentOptions
from deepspeech2.speech.features import Normalizer, spectrogram

LABELS = (" ", "a", "b", "c", "d")
PLAIN = Normalizer(np.full((161, 1), 2.0, np.float32), np.full((161, 1), 3.0, np.float32))
HEAVY = AugmentationOptions((Sometimes(Volume(-5, 5)),), (0.9, 1.0, 1.1), SpecAugmentOptions(), first_epoch=1)


@pytest.fixture
def utterances(write_tones: Callable[..., Path]) -> list[Utterance]:
    return read_manifest(write_tones(["abcd", "dcba ab", "aab", "bb"]))


def test_a_batch_is_normalised_and_padded(utterances: list[Utterance]) -> None:
    batch = BatchLoader(utterances, LABELS, PLAIN).load([2, 1])
    expected = [(spectrogram(load_audio(utterances[i].audio_path)) - 2.0) / 3.0 for i in (2, 1)]
    assert batch.frames.tolist() == [e.shape[1] for e in expected]
    assert batch.features.shape == (2, 161, expected[1].shape[1])
    np.testing.assert_allclose(batch.features[0, :, : expected[0].shape[1]], expected[0], atol=1e-5)
    assert bool((batch.features[0, :, expected[0].shape[1] :] == 0).all())
    assert batch.labels.tolist() == [1, 1, 2, 4, 3, 2, 1, 0, 1, 2]
    assert batch.label_lengths.tolist() == [3, 7]


def test_augmentation_depends_on_seed_epoch_and_utterance_alone(utterances: list[Utterance]) -> None:
    loader = BatchLoader(utterances, LABELS, PLAIN, HEAVY, seed=3)
    plan = [np.array([0, 1]), np.array([2]), np.array([3])]
    one_by_one = [loader.load(indices, 1) for indices in plan]
    for workers in (0, 1, 3):
        for expected, found in zip(one_by_one, load_ahead(loader, plan, 1, workers=workers), strict=True):
            assert torch.equal(expected.features, found.features)
    # Another batch, the same utterance: the same augmentation.
    length = int(one_by_one[0].frames[0])
    assert torch.equal(loader.load([0], 1).features[0, :, :length], one_by_one[0].features[0, :, :length])
    assert not torch.equal(loader.load([2], 2).features, one_by_one[1].features)


@pytest.mark.parametrize("first", [1, 3])
def test_augmentation_begins_with_its_first_epoch(utterances: list[Utterance], first: int) -> None:
    loader = BatchLoader(utterances, LABELS, PLAIN, replace(HEAVY, first_epoch=first), seed=3)
    clean = BatchLoader(utterances, LABELS, PLAIN).load([0]).features
    augmented = [not torch.equal(loader.load([0], epoch).features, clean) for epoch in range(first + 2)]
    assert augmented == [False] * first + [True, True]


@pytest.mark.parametrize("steps", [(), (Sometimes(Volume(0, 0)),)], ids=["spectrograms", "samples"])
def test_every_speed_is_drawn_and_no_other(utterances: list[Utterance], steps: tuple[Sometimes, ...]) -> None:
    samples = len(load_audio(utterances[0].audio_path))
    for speeds in ((0.8,), (0.8, 1.0, 1.25)):
        loader = BatchLoader(utterances, LABELS, PLAIN, AugmentationOptions(steps, speeds))
        frames = {int(loader.load([0], epoch).frames[0]) for epoch in range(30)}
        assert frames == {(round(samples / speed) - 320) // 160 + 1 for speed in speeds}


@pytest.mark.parametrize(
    "step",
    [
        Shift(2000, 2000),
        Shift(-2000, -2000),
        Speed(100, 100),
        Speed(30_000, 30_000),
        Volume(800, 800),
        Volume(-1e3, -1e3),
    ],
    ids=["shifted out", "shifted out to the front", "too short", "empty", "overflowing", "silenced"],
)
def test_what_augmentation_leaves_nothing_of_is_given_as_recorded(
    utterances: list[Utterance], step: Augmentation
) -> None:
    recorded = (spectrogram(load_audio(utterances[0].audio_path)) - 2.0) / 3.0
    batch = BatchLoader(utterances, LABELS, PLAIN, AugmentationOptions((Sometimes(step),), (0.9,))).load([0])
    np.testing.assert_allclose(batch.features[0], recorded, atol=1e-5)
    # Masked as if the steps had changed nothing: a gain of 0 dB multiplies by one.
    masked, expected = (
        BatchLoader(utterances, LABELS, PLAIN, AugmentationOptions((Sometimes(each),), (1.0,), SpecAugmentOptions()))
        for each in (step, Volume(0, 0))
    )
    for epoch in range(4):
        assert torch.equal(masked.load([0], epoch).features, expected.load([0], epoch).features)
    assert not torch.equal(masked.load([0]).features, batch.features)


def test_a_shift_is_taken_back_only_where_it_leaves_nothing(utterances: list[Utterance]) -> None:
    samples = load_audio(utterances[3].audio_path)  # 0.24 s, of which every second shift leaves something
    loader = BatchLoader(utterances, LABELS, PLAIN, AugmentationOptions((Sometimes(Shift(20, 460)),)))
    recorded = torch.from_numpy((spectrogram(samples) - 2.0) / 3.0)
    silence = torch.full((161,), (math.log(1e-14) - 2.0) / 3.0)
    found = [loader.load([3], epoch).features[0] for epoch in range(20)]
    taken_back = [torch.allclose(features, recorded, atol=1e-5) for features in found]
    begins_silent = [torch.allclose(features[:, 0], silence) for features in found]
    assert taken_back == [not silent for silent in begins_silent]
    assert 5 <= sum(taken_back) <= 15


def test_noise_that_cannot_be_read_is_not_passed_over(tmp_path: Path, utterances: list[Utterance]) -> None:
    noise = Noise((Utterance(tmp_path / "lost.wav", 1.0, ""),))
    loader = BatchLoader(utterances, LABELS, PLAIN, AugmentationOptions((Sometimes(noise),)))
    with pytest.raises(AudioError, match=r"lost\.wav: no such file"):
        loader.load([0])


def test_an_unreadable_file_raises_in_its_turn(tmp_path: Path, utterances: list[Utterance]) -> None:
    lost = Utterance(tmp_path / "lost.wav", 1.0, "ab")
    loader = BatchLoader([*utterances, lost], LABELS, PLAIN)
    batches = load_ahead(loader, [[0], [4], [1]], 0, workers=2)
    assert next(batches).indices == (0,)
    with pytest.raises(AudioError, match=r"lost\.wav"):
        next(batches)
