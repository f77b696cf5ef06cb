"""Augmentations do what their numbers say, measured from outside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.augment import (
    Augmentation,
    BandLimit,
    ImpulseResponse,
    Noise,
    Shift,
    Sometimes,
    Speed,
    Volume,
    augment,
    mix_noise,
)
from deepspeech2.speech.data.augmentation_config import read_augmentation
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.data.spec_augment import SpecAugmentOptions, spec_augment

RATE = 16_000


def sine(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def pitch(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples))


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.25])
def test_speed_changes_length_and_pitch(rate: float) -> None:
    faster = Speed(rate, rate).apply(sine(400), np.random.default_rng(0))
    assert len(faster) == pytest.approx(RATE / rate, abs=2)
    assert pitch(faster) == pytest.approx(400 * rate, abs=3)


def test_volume_changes_the_level_by_its_decibels() -> None:
    louder = Volume(6, 6).apply(sine(400), np.random.default_rng(0))
    assert 20 * np.log10(np.abs(louder).max() / np.abs(sine(400)).max()) == pytest.approx(6, abs=1e-4)


@pytest.mark.parametrize(("milliseconds", "samples"), [(5, 80), (-5, -80), (0, 0), (5000, 16_000), (-5000, -16_000)])
def test_shift_moves_and_pads_with_silence(milliseconds: float, samples: int) -> None:
    original = np.arange(1, 16_001, dtype=np.float32)
    moved = Shift(milliseconds, milliseconds).apply(original, np.random.default_rng(0))
    expected = [original[i - samples] if 0 <= i - samples < len(original) else 0 for i in range(len(original))]
    assert moved.tolist() == expected


@pytest.mark.parametrize("decibels", [-5.0, 0.0, 10.0])
def test_noise_is_mixed_at_the_ratio(tmp_path: Path, decibels: float) -> None:
    noise = np.random.default_rng(1).normal(size=4000).astype(np.float32) * 0.05
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")
    step = Noise((Utterance(tmp_path / "noise.wav", 0.25),), decibels, decibels)
    added = step.apply(sine(400), np.random.default_rng(0)) - sine(400)
    ratio = 10 * np.log10(np.mean(sine(400) ** 2) / np.mean(added**2))
    assert ratio == pytest.approx(decibels, abs=0.01)
    assert np.array_equal(mix_noise(sine(400), np.zeros(RATE, np.float32), 0.0), sine(400))


def test_a_room_is_a_convolution(tmp_path: Path) -> None:
    response = np.zeros(50, np.float32)
    response[[3, 20]] = 0.8, 0.4
    soundfile.write(tmp_path / "room.wav", np.pad(response, (0, 400)), RATE, subtype="FLOAT")
    dry = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    wet = ImpulseResponse((Utterance(tmp_path / "room.wav", 0.1),)).apply(dry, np.random.default_rng(0))
    expected = np.convolve(dry, response)[3 : 3 + len(dry)]
    expected *= np.sqrt(np.mean(dry**2) / np.mean(expected**2))
    np.testing.assert_allclose(wet, expected, atol=1e-4)


def test_a_stretch_of_a_recording_is_all_that_is_used(tmp_path: Path) -> None:
    around, inside = sine(3000, 2.0), sine(400, 0.5)
    around[4000:12_000] = inside
    soundfile.write(tmp_path / "noise.wav", around, RATE, subtype="FLOAT")
    step = Noise((Utterance(tmp_path / "noise.wav", 0.5, offset=0.25),), 0.0, 0.0)
    added = step.apply(sine(1000), np.random.default_rng(0)) - sine(1000)
    np.testing.assert_allclose(added, np.tile(inside, 2), atol=1e-5)

    # The strongest tap of the file, which would set the delay, is past the end of the stretch.
    taps = np.zeros(RATE, np.float32)
    taps[[4000, 4010, 12_000]] = 0.8, 0.4, 1.0
    soundfile.write(tmp_path / "room.wav", taps, RATE, subtype="FLOAT")
    dry = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    wet = ImpulseResponse((Utterance(tmp_path / "room.wav", 0.25, offset=0.25),)).apply(dry, np.random.default_rng(0))
    expected = dry + 0.5 * np.pad(dry, (10, 0))[:2000]
    expected *= np.sqrt(np.mean(dry**2) / np.mean(expected**2))
    np.testing.assert_allclose(wet, expected, atol=1e-4)


def test_silent_noise_adds_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", np.zeros(4000), RATE)
    step = Noise((Utterance(tmp_path / "noise.wav", 0.25),), 0.0, 0.0)
    assert np.array_equal(step.apply(sine(400), np.random.default_rng(0)), sine(400))


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_a_room_may_be_shorter_than_any_speech(tmp_path: Path, rate: int) -> None:
    # A single tap delays nothing and, as the level is kept, changes nothing; soxr rings around it at another rate.
    taps = np.zeros(201, np.float32)
    taps[12] = 0.5
    soundfile.write(tmp_path / "room.wav", taps, rate, subtype="FLOAT")
    room = ImpulseResponse((Utterance(tmp_path / "room.wav", 201 / rate),))
    wet = room.apply(sine(400), np.random.default_rng(0))
    np.testing.assert_allclose(wet[1000:-1000], sine(400)[1000:-1000], atol=1e-4 if rate == RATE else 0.02)


def test_a_recording_without_a_length_is_used_to_its_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", sine(400), RATE, subtype="FLOAT")
    added = Noise((Utterance(tmp_path / "noise.wav", 0.0),), 0.0, 0.0).apply(sine(1000), np.random.default_rng(0))
    np.testing.assert_allclose(added - sine(1000), sine(400), atol=1e-5)


def test_band_limit_removes_what_a_lower_rate_cannot_hold() -> None:
    step, generator = BandLimit(8000), np.random.default_rng(0)
    assert np.mean(step.apply(sine(1000), generator) ** 2) == pytest.approx(np.mean(sine(1000) ** 2), rel=0.02)
    assert np.mean(step.apply(sine(6000), generator) ** 2) < 1e-5


def test_steps_happen_with_their_probability() -> None:
    step = [Sometimes(Volume(20, 20), 0.3)]
    one = np.ones(1, np.float32)
    happened = [augment(one, step, np.random.default_rng(seed))[0] > 1 for seed in range(1000)]
    assert np.mean(happened) == pytest.approx(0.3, abs=0.05)


class Drawing(Augmentation):
    """Leaves samples as they are and keeps what its generator gave."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def apply(self, samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        self.drawn += generator.random(3).tolist()
        return samples


def test_whether_a_step_happens_changes_nothing_about_the_others() -> None:
    drawn = []
    for probability in (0.0, 1.0):
        first, second = Drawing(), Drawing()
        augment(sine(400), [Sometimes(first, probability), Sometimes(second)], np.random.default_rng(0))
        drawn.append(second.drawn)
    assert drawn[0] == drawn[1]
    assert set(first.drawn).isdisjoint(second.drawn), "but they do not draw the same"


def test_noise_starts_anywhere(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(size=330).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")
    step, speech = Noise((Utterance(tmp_path / "noise.wav", 330 / RATE),), 0.0, 0.0), sine(400, 0.02)
    starts = []
    for seed in range(200):
        added = step.apply(speech, np.random.default_rng(seed)) - speech
        pieces = [noise[start : start + len(speech)] for start in range(11)]
        likeness = [float(np.corrcoef(added, piece)[0, 1]) for piece in pieces]
        assert max(likeness) > 0.999
        starts.append(int(np.argmax(likeness)))
    assert set(starts) == set(range(11))


def test_spec_augment_masks_no_more_than_it_may() -> None:
    options = SpecAugmentOptions(frequency_masks=2, frequency_width=10, time_masks=3, time_width=50, time_share=0.1)
    features = np.ones((161, 300), np.float32)
    widest_bins = widest_frames = 0
    for seed in range(200):
        masked = spec_augment(features, options, np.random.default_rng(seed))
        bins, frames = int((masked.max(1) == 0).sum()), int((masked.max(0) == 0).sum())
        widest_bins, widest_frames = max(widest_bins, bins), max(widest_frames, frames)
        assert ((masked == 0) | (masked == 1)).all()
        inside = masked[masked.max(1) > 0][:, masked.max(0) > 0]
        assert (inside == 1).all()
    assert 12 <= widest_bins <= 20
    assert 50 <= widest_frames <= 90
    assert (features == 1).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_every_width_and_every_place_is_as_likely(axis: int) -> None:
    size, widest, draws = 12, 6, 7000
    options = SpecAugmentOptions(1 - axis, widest, axis, widest, time_share=1.0)
    generator = np.random.default_rng(0)
    found: Counter[tuple[int, int]] = Counter()
    for _ in range(draws):
        masked = spec_augment(np.ones((size, size), np.float32), options, generator)
        hidden = np.flatnonzero(masked.max(1 - axis) == 0)
        assert hidden.tolist() == list(range(*(hidden[[0, -1]] + [0, 1]))) if len(hidden) else True
        found[len(hidden), int(hidden[0]) if len(hidden) else 0] += 1
    assert found[0, 0] == pytest.approx(draws / (widest + 1), abs=150)  # five standard deviations
    for width in range(1, widest + 1):
        for start in range(size - width + 1):
            expected = draws / (widest + 1) / (size - width + 1)
            assert found[width, start] == pytest.approx(expected, abs=5 * expected**0.5), (width, start)


def test_any_moment_is_warped_to_any_place_as_pillow_resizes() -> None:
    """Of seven frames the third to the fifth moves by one back to two on, each as likely; bicubic what is beside it."""
    features = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)

    def resized(part: np.ndarray, frames: int) -> np.ndarray:
        return np.asarray(PIL.Image.fromarray(part).resize((frames, 3), PIL.Image.Resampling.BICUBIC))

    warps = {
        (moment, moved): np.hstack([resized(features[:, :moment], moved), resized(features[:, moment:], 7 - moved)])
        for moment in (2, 3, 4)
        for moved in range(moment - 1, moment + 3)
    }
    options = SpecAugmentOptions(0, 0, 0, 0, time_warp=2)
    generator = np.random.default_rng(1)
    found: Counter[tuple[int, int]] = Counter()
    for _ in range(1200):
        warped = spec_augment(features, options, generator)
        nearest = min(warps, key=lambda warp: float(np.abs(warps[warp] - warped).max()))
        np.testing.assert_allclose(warped, warps[nearest], atol=1e-5)
        found[nearest] += 1
    # What does not move is the same whichever it is. Within five standard deviations.
    assert found.pop((2, 2)) == pytest.approx(300, abs=75)
    assert {*found} == {*warps} - {(2, 2), (3, 3), (4, 4)}
    assert all(times == pytest.approx(100, abs=48) for times in found.values())
    assert np.array_equal(spec_augment(features[:, :4], options, generator), features[:, :4])


def test_masks_adapt_to_the_length() -> None:
    def masked(frames: int, seed: int, **options: Any) -> int:
        chosen = SpecAugmentOptions(0, 0, 1, 1, 1.0, **options)
        return int((spec_augment(np.ones((2, frames), np.float32), chosen, np.random.default_rng(seed))[0] == 0).sum())

    assert max(masked(200, seed, seconds_per_time_mask=0.5) for seed in range(100)) == 4
    assert max(masked(200, seed, seconds_per_time_mask=0.5, most_time_masks=3) for seed in range(100)) == 3
    assert max(masked(200, seed, time_width_share=0.125) for seed in range(400)) == 25


def test_what_is_hidden_may_be_the_mean() -> None:
    features = np.random.default_rng(0).standard_normal((161, 300)).astype(np.float32)
    options = SpecAugmentOptions(time_warp=0, mask_with_mean=True)
    masked = spec_augment(features, options, np.random.default_rng(1))
    zeros = spec_augment(features, replace(options, mask_with_mean=False), np.random.default_rng(1))
    hidden = zeros == 0
    assert 0 < hidden.sum() < hidden.size
    np.testing.assert_allclose(masked[hidden], features.mean(), rtol=1e-6)
    assert (masked[~hidden] == features[~hidden]).all()


def test_a_share_of_the_utterances_is_masked() -> None:
    options = SpecAugmentOptions(frequency_masks=9, frequency_width=80, time_warp=5, probability=0.25)
    features = np.random.default_rng(0).standard_normal((161, 50)).astype(np.float32)
    generator = np.random.default_rng(1)
    changed = sum(not np.array_equal(spec_augment(features, options, generator), features) for _ in range(1000))
    assert changed == pytest.approx(250, abs=70)  # five standard deviations


def test_reads_the_configuration_of_the_original(tmp_path: Path, write_tones: Callable[..., Path]) -> None:
    noise = write_tones(["abcd"], "noise.jsonl")
    steps = [
        {"type": "shift", "params": {"min_shift_ms": -5, "max_shift_ms": 5}, "prob": 1.0},
        {"type": "volume", "params": {"min_gain_dBFS": -10, "max_gain_dBFS": 10}, "prob": 0.25},
        {"type": "speed", "params": {"min_speed_rate": 0.9, "max_speed_rate": 1.1, "num_rates": 3}, "prob": 0.5},
        {"type": "resample", "params": {"new_sample_rate": 8000}, "prob": 0.1},
        {"type": "noise", "params": {"min_snr_dB": 40, "max_snr_dB": 50, "noise_manifest_path": noise.name}},
        {"type": "impulse", "params": {"impulse_manifest_path": str(noise)}, "prob": 0.5},
        {"type": "specaug", "params": {"F": 10, "T": 50, "n_freq_masks": 2, "n_time_masks": 1, "p": 0.2, "W": 0}},
    ]
    path = tmp_path / "augmentation.json"
    path.write_text(json.dumps(steps))
    found = read_augmentation(path)
    assert [(type(step.augmentation), step.probability) for step in found.steps] == [
        (Shift, 1.0),
        (Volume, 0.25),
        (Speed, 0.5),
        (BandLimit, 0.1),
        (Noise, 1.0),
        (ImpulseResponse, 0.5),
    ]
    assert found.steps[2].augmentation == Speed(0.9, 1.1, 3)
    assert found.spec_augment == SpecAugmentOptions(2, 10, 1, 50, 0.2)


def test_what_is_turned_off_is_passed_over(tmp_path: Path) -> None:
    masks = {"F": 20, "T": 30, "n_freq_masks": 2, "n_time_masks": 2, "p": 1.0, "W": 0}
    neutral = {"adaptive_number_ratio": 0, "adaptive_size_ratio": 0.0, "max_n_time_masks": 20}
    neutral |= {"warp_mode": "PIL", "replace_with_zero": True}
    steps: list[dict[str, object]] = [
        {"type": "bayesian_normal", "params": {"target_db": -20, "prior_db": -20}, "prob": 0.0},
        {"type": "noise", "params": {"noise_manifest_path": "nowhere.jsonl"}, "prob": 0.0},
        {"type": "specaug", "params": masks | neutral, "prob": 1.0},
    ]
    path = tmp_path / "augmentation.json"
    path.write_text(json.dumps(steps))
    options = read_augmentation(path)
    assert options.steps == ()
    assert options.spec_augment == SpecAugmentOptions(2, 20, 2, 30, 1.0)
    for changed, message in (
        ({"params": masks | {"adaptive_number_ratio": -1}}, 'expected "adaptive_number_ratio" from 0 to 1, found -1'),
        ({"params": masks | {"adaptive_size_ratio": 2}}, "time_width_share as a number from 0 to 1, found 2"),
        ({"params": masks | {"replace_with_zero": 1}}, 'expected "replace_with_zero" as true or false, found 1'),
        ({"params": masks | {"warp_mode": "sparse_image_warp"}}, "found 'sparse_image_warp'"),
    ):
        path.write_text(json.dumps([steps[2] | changed]))
        with pytest.raises(OptionError, match=message):
            read_augmentation(path)


def test_reads_masks_of_the_original_that_adapt_and_its_warping(tmp_path: Path) -> None:
    path = tmp_path / "augmentation.json"
    masks = {"F": 20, "T": 30, "n_freq_masks": 2, "n_time_masks": 2}
    few = {"W": 0, "adaptive_number_ratio": 0.04, "max_n_time_masks": 5}
    adapted = {"W": 80.0, "adaptive_number_ratio": 0.04, "adaptive_size_ratio": 0.05, "replace_with_zero": False}
    for params, expected in (
        (masks, SpecAugmentOptions(2, 20, 2, 30, 1.0, time_warp=40)),
        (masks | adapted, SpecAugmentOptions(2, 20, 2, 30, 1.0, 0.25, 20, 0.05, 80, mask_with_mean=True)),
        (masks | few, SpecAugmentOptions(2, 20, 2, 30, 1.0, 0.25, 5)),
    ):
        path.write_text(json.dumps([{"type": "specaug", "params": params, "prob": 0.5}]))
        assert read_augmentation(path).spec_augment == replace(expected, probability=0.5)


def test_a_stretch_may_be_as_long_as_the_speech_where_no_share_is_given(tmp_path: Path) -> None:
    path = tmp_path / "augmentation.json"
    params = {"F": 0, "T": 50, "n_freq_masks": 1, "n_time_masks": 1}
    for given, longest in (({}, 50), ({"p": 0.15}, 7)):
        path.write_text(json.dumps([{"type": "specaug", "params": params | given}]))
        options = read_augmentation(path).spec_augment
        assert options is not None
        generator = np.random.default_rng(0)
        masked = [
            int((spec_augment(np.ones((161, 50), np.float32), options, generator)[0] == 0).sum()) for _ in range(400)
        ]
        assert max(masked) == longest


def test_a_second_masking_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "augmentation.json"
    path.write_text(json.dumps([{"type": "specaug"}, {"type": "shift", "prob": 0}, {"type": "specaug"}]))
    with pytest.raises(OptionError, match=r'augmentation\.json: step 3: expected one step "specaug", found a second'):
        read_augmentation(path)
    path.write_text(json.dumps([{"type": "specaug"}, {"type": "specaug", "prob": 0}]))
    assert read_augmentation(path).spec_augment is not None


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    steps = [
        {"type": "speed", "params": {"min_speed_rate": 0.9, "max_speed_rate": 1.1, "num_rates": 3.0}},
        {"type": "resample", "params": {"new_sample_rate": 8000.0}},
        {"type": "specaug", "params": {"F": 10.0, "T": 50.0, "n_freq_masks": 2.0, "n_time_masks": 1.0, "p": 1.0}},
    ]
    path = tmp_path / "augmentation.json"
    path.write_text(json.dumps(steps))
    found = read_augmentation(path)
    assert found.spec_augment is not None
    numbers = [*astuple(found.steps[0].augmentation)[2:], *astuple(found.steps[1].augmentation)]  # type: ignore[call-overload]
    numbers += astuple(found.spec_augment)[:4]
    assert numbers == [3, 8000, 2, 10, 1, 50]
    assert [type(number) for number in numbers] == [int] * 6
    # What raised a TypeError at the first utterance.
    changed = augment(sine(400), found.steps, np.random.default_rng(0))
    assert len(changed) / RATE == pytest.approx(1 / 0.9, abs=0.25)
    masked = spec_augment(np.ones((161, 300), np.float32), found.spec_augment, np.random.default_rng(0))
    assert 0 < int((masked == 0).sum()) < masked.size


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"type": "echo"}, 'step 1: expected a type of .*volume, found "echo"'),
        ({"type": "volume", "params": {"gain": 1}}, 'knows the parameters min_gain_dBFS.*found "gain"'),
        ({"type": "volume", "prob": 2}, '"prob" from 0 to 1, found 2'),
        ({"type": "volume", "params": {"min_gain_dBFS": 1, "max_gain_dBFS": -1}}, "found 1 and -1"),
        ({"type": "specaug", "params": {"n_freq_masks": 2.5}}, '"n_freq_masks" as a whole number, found 2.5'),
        ({"type": "specaug", "params": {"n_time_masks": 0.5}}, '"n_time_masks" as a whole number, found 0.5'),
        ({"type": "specaug", "params": {"F": 10.1}}, '"F" as a whole number, found 10.1'),
        ({"type": "specaug", "params": {"T": 10.1}}, '"T" as a whole number, found 10.1'),
        ({"type": "speed", "params": {"num_rates": 2.5}}, 'step 1: .*"num_rates" as a whole number, found 2.5'),
        ({"type": "resample", "params": {"new_sample_rate": 8e3 + 0.5}}, "whole number, found 8000.5"),
        (
            {"type": "speed", "params": {"num_rates": -(10**400)}},
            "speed: expected rates as a whole number of at least 1",
        ),
        ({"type": "noise", "params": {}}, "noise_manifest_path"),
        ({"type": "specaug", "params": {"W": 80.5}}, '"W" as a whole number, found 80.5'),
        ("volume", 'expected {"type", "params", "prob"}'),
    ],
)
def test_a_bad_step_is_named(tmp_path: Path, step: object, message: str) -> None:
    path = tmp_path / "augmentation.json"
    path.write_text(json.dumps([step]))
    with pytest.raises(OptionError, match=message):
        read_augmentation(path)


def test_deeply_nested_json_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(OptionError, match=r"deep.json: cannot be read as JSON"):
        read_augmentation(tmp_path / "deep.json")
