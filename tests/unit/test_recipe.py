"""Recipes: what they say, what they leave to the defaults, and misspelt keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.augment import Shift, Sometimes
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.spec_augment import SpecAugmentOptions
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recipe import Recipe, read_recipe
from deepspeech2.speech.training_options import ScheduleOptions, TrainingOptions


def test_reads_every_table(tmp_path: Path) -> None:
    (tmp_path / "pipeline.json").write_text('[{"type": "shift", "params": {"min_shift_ms": 1, "max_shift_ms": 2}}]')
    (tmp_path / "r.toml").write_text(
        """
        [network]
        recurrent_size = 20
        cell = "gru"
        convolutions = [{ channels = 4, kernel = [41, 11], stride = [2, 3] }]
        [training]
        epochs = 3
        clip_norm = 1.5
        schedule = { peak = 0.1, decay = "linear" }
        batching = { batch_seconds = 9.0 }
        [augmentation]
        config = "pipeline.json"
        speeds = [0.9, 1.0]
        first_epoch = 2
        spec_augment = { frequency_masks = 1 }
        """
    )
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.network == NetworkOptions(
        convolutions=(ConvolutionOptions(4, (41, 11), (2, 3)),), recurrent_size=20, cell="gru"
    )
    assert recipe.training == TrainingOptions(
        epochs=3,
        clip_norm=1.5,
        schedule=ScheduleOptions(peak=0.1, decay="linear"),
        batching=BatchingOptions(batch_seconds=9.0),
    )
    assert recipe.augmentation.speeds == (0.9, 1.0)
    assert recipe.augmentation.spec_augment == SpecAugmentOptions(frequency_masks=1)
    assert recipe.augmentation.first_epoch == 2
    assert recipe.augmentation.steps == (Sometimes(Shift(1, 2)),)


@pytest.mark.parametrize(("own", "expected"), [("", 3), ("spec_augment = { frequency_masks = 1 }", 1)])
def test_masks_of_the_recipe_count_before_those_of_the_pipeline(tmp_path: Path, own: str, expected: int) -> None:
    (tmp_path / "pipeline.json").write_text('[{"type": "specaug", "params": {"n_freq_masks": 3}}]')
    (tmp_path / "r.toml").write_text(f'[augmentation]\nconfig = "pipeline.json"\n{own}\n')
    masking = read_recipe(tmp_path / "r.toml").augmentation.spec_augment
    assert masking is not None
    assert masking.frequency_masks == expected


def test_an_empty_recipe_is_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("")
    assert read_recipe(tmp_path / "r.toml") == Recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[trainning]",
            r"the tables \[augmentation\], \[network\], \[training\], found 'trainning'; did you mean 'training'\?$",
        ),
        ("[training]\nepoch = 3", r"expected in \[training\] only .*epochs.*, found 'epoch'; did you mean 'epochs'\?$"),
        (
            "[training.schedule]\npeek = 3",
            r"in \[training\.schedule\] only .*peak.*, found 'peek'; did you mean 'peak'\?$",
        ),
        (
            "[[network.convolutions]]\nchanels = 3",
            r"in \[network\.convolutions\] only channels, kernel, stride, found 'chanels'; did you mean 'channels'\?$",
        ),
        ("[augmentation.spec_augment]\nwidth = 3", r"in \[augmentation\.spec_augment\] only .*, found 'width'"),
        (
            "[augmentation]\nconfi = 3",
            r"in \[augmentation\] only config, .*speeds, found 'confi'; did you mean 'config'\?$",
        ),
        ("[augmentation]\nsteps = []", r"in \[augmentation\] only config, first_epoch, .*speeds, found 'steps'"),
        ("[augmentation]\nconfig = 3", r"r\.toml: expected augmentation\.config as the path of a JSON file, found 3"),
        ("[augmentation]\nspeeds = []", r"r\.toml: augmentation: expected speeds of at least one, found \(\)"),
        ("augmentation = 3", r"r\.toml: .*got `int`"),
        ('[training]\nepochs = "many"', r"Expected `int`, got `str`"),
        ("[training]\nepochs = 0", r"training: expected epochs as a whole number of at least 1, found 0"),
        ("training = ", r"r\.toml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(OptionError, match=message) as caught:
        read_recipe(tmp_path / "r.toml")
    assert "\n" not in str(caught.value)


def test_a_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such recipe"):
        read_recipe(tmp_path / "r.toml")


def test_no_limit_of_gradients_is_infinite(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[training]\nclip_norm = inf\n")
    assert read_recipe(tmp_path / "recipe.toml").training.clip_norm is None


@pytest.mark.parametrize(("key", "giver"), [("frequencies", "the features, which have 161"), ("vocab_size", "the voc")])
def test_sizes_that_data_give_are_refused(tmp_path: Path, key: str, giver: str) -> None:
    (tmp_path / "recipe.toml").write_text(f"[network]\n{key} = 30\n")
    with pytest.raises(OptionError, match=rf"recipe\.toml: network\.{key} comes from {giver}"):
        read_recipe(tmp_path / "recipe.toml")
