"""A training in one TOML file: the network, how it is trained, what is done to the speech."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.augmentation_config import AugmentationOptions, read_augmentation
from deepspeech2.speech.options import NetworkOptions
from deepspeech2.speech.training_options import TrainingOptions

# The steps of an augmentation are no numbers: a recipe names the file that describes them.
_NAMED_FILES = {"steps": "config"}
# Sizes of a network that a training has from what it works on.
_GIVEN = {"vocab_size": "the vocabulary (--vocabulary)", "frequencies": "the features, which have 161 bins"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a training is told besides its data.

    Attributes:
        network: The ``[network]`` table: `NetworkOptions`.
        training: The ``[training]`` table: `TrainingOptions`, with ``batching`` and ``schedule`` below it.
        augmentation: The ``[augmentation]`` table: `AugmentationOptions`, with the steps of the file that its key
            ``config`` names.
    """

    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe; what it does not say has its default.

    ``clip_norm = inf`` is no limit. ``config`` in ``[augmentation]`` names Baidu's JSON description of a pipeline,
    beside the recipe. Of masking, what the recipe says counts before what the pipeline does.

    Raises:
        OptionError: The file is missing or is not TOML, or has a key or a value that is not known; the message names
            its place.
    """
    source = Path(path)
    try:
        tables = msgspec.toml.decode(source.read_bytes())
        _check_keys(tables, Recipe, str(source), "")
        config = _take_config(tables, source)
        _adapt(tables, source)
        recipe = msgspec.convert(tables, Recipe)
    except OSError as error:
        raise OptionError(f"{source}: no such recipe, or not readable ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OptionError(f"{source}: {error}") from error
    if config is None:
        return recipe
    given, pipeline = recipe.augmentation, read_augmentation(source.parent / config)
    masking = given.spec_augment or pipeline.spec_augment
    return replace(recipe, augmentation=replace(given, steps=pipeline.steps, spec_augment=masking))


def _take_config(tables: dict[str, Any], source: Path) -> str | None:
    table = tables.get("augmentation")
    config = table.pop("config", None) if isinstance(table, dict) else None
    if config is not None and not isinstance(config, str):
        raise OptionError(f"{source}: expected augmentation.config as the path of a JSON file, found {config!r}")
    return config


def _adapt(tables: dict[str, Any], source: Path) -> None:
    """Refuse sizes that are given; TOML has no word for no limit, so that an infinite one stands for it."""
    network, training = tables.get("network"), tables.get("training")
    for key, giver in _GIVEN.items():
        if isinstance(network, dict) and key in network:
            raise OptionError(f"{source}: network.{key} comes from {giver}; leave it out")
    if isinstance(training, dict) and training.get("clip_norm") == float("inf"):
        training["clip_norm"] = None


def _check_keys(value: Any, kind: Any, source: str, place: str) -> None:
    # msgspec lets unknown keys of a dataclass pass, and a misspelt option would silently keep its default.
    if not isinstance(value, dict):
        return
    known = get_type_hints(kind)
    names = {_NAMED_FILES.get(item.name, item.name) for item in fields(kind)}
    for key, inner in value.items():
        if key not in names:
            raise OptionError(f"{source}: expected {_known_keys(names, place)}, found {key!r}{_nearest(key, names)}")
        hint = known.get(key)
        for option in [hint, *get_args(hint)]:
            if isinstance(option, type) and is_dataclass(option):
                for item in inner if isinstance(inner, list) else [inner]:
                    _check_keys(item, option, source, f"{place}.{key}" if place else key)


def _known_keys(names: set[str], place: str) -> str:
    if place:
        return f"in [{place}] only {', '.join(sorted(names))}"
    return f"the tables {', '.join(f'[{name}]' for name in sorted(names))}"


def _nearest(key: str, names: set[str]) -> str:
    near = difflib.get_close_matches(key, sorted(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
