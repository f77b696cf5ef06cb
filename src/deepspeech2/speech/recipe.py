"""A training in one TOML file: the network, how it is trained, what is done to the speech."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.augmentation_config import AugmentationOptions, read_augmentation
from deepspeech2.speech.data.spec_augment import SpecAugmentOptions
from deepspeech2.speech.options import NetworkOptions
from deepspeech2.speech.training_options import TrainingOptions


@dataclass(frozen=True, slots=True)
class RecipeAugmentation:
    """The ``[augmentation]`` table of a recipe.

    Attributes:
        config: Baidu's JSON description of a pipeline, beside the recipe; None for none.
        speeds: Rates one of which is drawn for every utterance; their spectrograms are cached.
        spec_augment: Masking of the spectrogram.
        first_epoch: Epochs before this one, counted from 0, see the speech as it is.
    """

    config: str | None = None
    speeds: tuple[float, ...] = (1.0,)
    spec_augment: SpecAugmentOptions | None = None
    first_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a training is told besides its data.

    Attributes:
        network: The ``[network]`` table: `NetworkOptions`.
        training: The ``[training]`` table: `TrainingOptions`, with ``batching`` and ``schedule`` below it.
        augmentation: What is done to the speech.
    """

    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)


@dataclass(frozen=True, slots=True)
class _Tables:
    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    augmentation: RecipeAugmentation = field(default_factory=RecipeAugmentation)


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe; what it does not say has its default.

    Raises:
        OptionError: The file is missing or is not TOML, or has a key or a value that is not known; the message names
            its place.
    """
    source = Path(path)
    try:
        tables = msgspec.toml.decode(source.read_bytes())
        _check_keys(tables, _Tables, str(source), "")
        recipe = msgspec.convert(tables, _Tables)
    except OSError as error:
        raise OptionError(f"{source}: no such recipe, or not readable ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OptionError(f"{source}: {error}") from error
    given = recipe.augmentation
    augmentation = AugmentationOptions(
        speeds=given.speeds, spec_augment=given.spec_augment, first_epoch=given.first_epoch
    )
    if given.config is not None:
        pipeline = read_augmentation(source.parent / given.config)
        masking = given.spec_augment or pipeline.spec_augment
        augmentation = replace(augmentation, steps=pipeline.steps, spec_augment=masking)
    return Recipe(recipe.network, recipe.training, augmentation)


def _check_keys(value: Any, kind: Any, source: str, place: str) -> None:
    # msgspec lets unknown keys of a dataclass pass, and a misspelt option would silently keep its default.
    if not isinstance(value, dict):
        return
    known = get_type_hints(kind)
    names = {item.name for item in fields(kind)}
    for key, inner in value.items():
        if key not in names:
            raise OptionError(f"{source}: expected {place or 'tables'} of {', '.join(sorted(names))}, found {key!r}")
        hint = known[key]
        for option in [hint, *get_args(hint)]:
            if isinstance(option, type) and is_dataclass(option):
                for item in inner if isinstance(inner, list) else [inner]:
                    _check_keys(item, option, source, f"{place}.{key}" if place else key)
