"""Options of training and augmentation: each field alone, wrong in kind or in size, is named with what was found."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.augment import BandLimit, ImpulseResponse, Noise, Shift, Sometimes, Speed, Volume
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.data.spec_augment import SpecAugmentOptions
from deepspeech2.speech.training_options import ScheduleOptions, TrainingOptions

RECORDINGS = (Utterance(Path("a.wav"), 1.0, ""),)
NONES = {"patience", "clip_norm", "rates", "spec_augment"}
NONES |= {"seconds_per_time_mask", "most_time_masks", "time_width_share"}
"""Fields where None says something."""
BELOW_ZERO = {(Volume, "lowest"), (Shift, "lowest"), (Noise, "lowest"), (Volume, "highest"), (Shift, "highest")}
"""Decibels and milliseconds, which may be below zero; the highest of noise not below its lowest, 10."""
ALL: list[tuple[type, dict[str, Any]]] = [
    (TrainingOptions, {}),
    (ScheduleOptions, {}),
    (BatchingOptions, {}),
    (AugmentationOptions, {}),
    (SpecAugmentOptions, {}),
    (Sometimes, {"augmentation": Volume()}),
    (Speed, {}),
    (Volume, {}),
    (Shift, {}),
    (BandLimit, {}),
    (Noise, {"recordings": RECORDINGS}),
    (ImpulseResponse, {"recordings": RECORDINGS}),
]
FIELDS = [(kind, given, item.name) for kind, given in ALL for item in fields(kind) if item.name != "recordings"]


@pytest.mark.parametrize(("kind", "given", "name"), FIELDS)
@pytest.mark.parametrize("wrong", ["x", math.nan, math.inf, -1.5, None, object()])
def test_no_field_takes_what_is_none_of_its_kind(kind: type, given: dict[str, Any], name: str, wrong: Any) -> None:
    if (wrong is None and name in NONES) or (wrong == -1.5 and (kind, name) in BELOW_ZERO):
        assert getattr(kind(**given | {name: wrong}), name) == wrong
        return
    with pytest.raises(OptionError) as caught:
        kind(**given | {name: wrong})
    said = str(caught.value)
    assert "\n" not in said
    assert name in said
    # Two ends in the wrong order are named together.
    assert f"found {wrong!r}" in said or (name == "highest" and f"and {wrong}" in said)


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (TrainingOptions, {"betas": (0.9,)}, "training: expected betas as two numbers, found (0.9,)"),
        (
            TrainingOptions,
            {"betas": (0.9, 1.0)},
            "training: expected betas as a number of at least 0 and below 1, found 1.0",
        ),
        (TrainingOptions, {"epochs": 1.5}, "training: expected epochs as a whole number of at least 1, found 1.5"),
        (TrainingOptions, {"epochs": 0}, "training: expected epochs as a whole number of at least 1, found 0"),
        (TrainingOptions, {"epochs": True}, "training: expected epochs as a whole number of at least 1, found True"),
        (TrainingOptions, {"optimizer": "sgd"}, "training: expected optimizer of adam or adamw, found 'sgd'"),
        (TrainingOptions, {"norm_by_times": 1}, "training: expected norm_by_times of True or False, found 1"),
        (TrainingOptions, {"clip_norm": 0}, "training: expected clip_norm as a number above 0, found 0"),
        (ScheduleOptions, {"decay_from": 1.1}, "schedule: expected decay_from as a number from 0 to 1, found 1.1"),
        (
            BandLimit,
            {"sample_rate": 0},
            "band limit: expected sample_rate as a whole number of at least 1 and below 16001, found 0",
        ),
        (
            SpecAugmentOptions,
            {"time_masks": 2.0},
            "spec_augment: expected time_masks as a whole number of at least 0, found 2.0",
        ),
    ],
)
def test_what_was_expected_is_said(kind: type, wrong: dict[str, Any], said: str) -> None:
    assert is_dataclass(kind)
    with pytest.raises(OptionError) as caught:
        kind(**wrong)
    assert str(caught.value) == said


def test_bounds_that_belong_to_a_range_are_taken() -> None:
    assert TrainingOptions(betas=(0, 0.0), seed=2**63 - 1, dropout=0, epochs=1).seed == 2**63 - 1
    assert ScheduleOptions(peak=math.ulp(0.0), decay_from=1, warmup_steps=0).decay_from == 1
    assert BandLimit(16_000).sample_rate == 16_000
    assert Sometimes(Volume(), 1).probability == 1
