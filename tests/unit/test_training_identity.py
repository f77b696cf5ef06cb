"""Two trainings that would differ are told apart, whatever they differ in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspeech2.speech.build import build_model
from deepspeech2.speech.data.augment import ImpulseResponse, Noise, Shift, Sometimes, Volume
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.data.spec_augment import SpecAugmentOptions
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.options import NetworkOptions
from deepspeech2.speech.training_identity import described, training_identity
from deepspeech2.speech.training_options import TrainingOptions

LABELS = (" ", "a", "b")
SPOKEN = Utterance(Path("speech/a.wav"), 2.0, "ab a")
HUM, HISS = Utterance(Path("noise/hum.wav"), 9.0, ""), Utterance(Path("noise/hiss.wav"), 9.0, "")
NORMALIZER = Normalizer(np.zeros(161), np.ones(161))


def steps(*augmentations: Any) -> AugmentationOptions:
    return AugmentationOptions(steps=tuple(Sometimes(item, 0.5) for item in augmentations))


def identity(
    augmentation: AugmentationOptions | None = None,
    *,
    options: TrainingOptions | None = None,
    spoken: Utterance = SPOKEN,
    judged: Utterance = SPOKEN,
    normalizer: Normalizer = NORMALIZER,
    processes: int = 1,
) -> str:
    model = build_model(NetworkOptions(vocab_size=3, recurrent_size=4), seed=1, labels=LABELS)
    train = BatchLoader([spoken], LABELS, normalizer, augmentation)
    dev = BatchLoader([judged], LABELS, normalizer)
    return json.dumps(training_identity(model, options or TrainingOptions(), train, dev, processes), sort_keys=True)


DIFFERENT: dict[str, Callable[[], str]] = {
    "nothing": identity,
    "processes": lambda: identity(processes=2),
    "normalizer, mean": lambda: identity(normalizer=Normalizer(np.full(161, 1e-3), np.ones(161))),
    "normalizer, deviation": lambda: identity(normalizer=Normalizer(np.zeros(161), np.full(161, 1.001))),
    "offset": lambda: identity(spoken=replace(SPOKEN, offset=0.5)),
    "duration": lambda: identity(spoken=replace(SPOKEN, duration=1.5)),
    "text": lambda: identity(spoken=replace(SPOKEN, text="ab")),
    "file": lambda: identity(spoken=replace(SPOKEN, audio_path=Path("speech/b.wav"))),
    "dev": lambda: identity(judged=replace(SPOKEN, text="ab")),
    "seed": lambda: identity(options=TrainingOptions(seed=5)),
    "dropout": lambda: identity(options=TrainingOptions(dropout=0.1)),
    "no augmentation of note": lambda: identity(AugmentationOptions()),
    "speeds": lambda: identity(AugmentationOptions(speeds=(0.9, 1.0))),
    "first epoch": lambda: identity(AugmentationOptions(first_epoch=2)),
    "masks": lambda: identity(AugmentationOptions(spec_augment=SpecAugmentOptions(frequency_masks=1))),
    "volume": lambda: identity(steps(Volume(-5.0, 5.0))),
    "shift": lambda: identity(steps(Shift(-5.0, 5.0))),
    "both": lambda: identity(steps(Volume(-5.0, 5.0), Shift(-5.0, 5.0))),
    "both, turned round": lambda: identity(steps(Shift(-5.0, 5.0), Volume(-5.0, 5.0))),
    "hum": lambda: identity(steps(Noise([HUM]))),
    "hiss": lambda: identity(steps(Noise([HISS]))),
    "hum and hiss": lambda: identity(steps(Noise([HUM, HISS]))),
    "a stretch of hum": lambda: identity(steps(Noise([replace(HUM, offset=1.0, duration=2.0)]))),
    "softer hum": lambda: identity(steps(Noise([HUM], 20.0, 40.0))),
    "a room": lambda: identity(steps(ImpulseResponse([HUM]))),
}


def test_no_two_are_the_same() -> None:
    found = {name: make() for name, make in DIFFERENT.items()}
    assert len(set(found.values())) == len(found), sorted(found, key=found.__getitem__)


@pytest.mark.parametrize("changed", [{"epochs": 99}, {"workers": 7}, {"patience": 3}])
def test_what_may_change_is_not_part_of_it(changed: dict[str, int]) -> None:
    assert identity(options=replace(TrainingOptions(), **changed)) == identity()


def test_data_may_move_to_another_folder() -> None:
    moved = replace(SPOKEN, audio_path=Path("elsewhere/a.wav"))
    hum = replace(HUM, audio_path=Path("elsewhere/hum.wav"))
    assert identity(steps(Noise([hum])), spoken=moved, judged=moved) == identity(steps(Noise([HUM])))


def test_options_added_since_do_not_stop_older_trainings() -> None:
    """What a state of before there was warping says of its masks."""
    before = {"kind": "SpecAugmentOptions", "frequency_masks": 2, "frequency_width": 27, "time_masks": 2}
    before |= {"time_width": 40, "time_share": 0.15, "seconds_per_time_mask": None}
    assert described(SpecAugmentOptions()) == before
    others: dict[str, Any] = {"most_time_masks": 3, "time_width_share": 0.5, "time_warp": 5, "mask_with_mean": True}
    for name, value in (others | {"probability": 0.5}).items():
        assert described(SpecAugmentOptions(**{name: value})) == before | {name: value}
