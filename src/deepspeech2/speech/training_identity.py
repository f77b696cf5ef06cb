"""What must be the same when a training goes on, and for all of its processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import PurePath
from typing import Any

import msgspec

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import Utterance, data_digest
from deepspeech2.speech.distributed import World
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.training_options import TrainingOptions

FREE = ("epochs", "workers", "patience")
"""Options that may change when a training goes on."""


def training_identity(
    model: DeepSpeech2, options: TrainingOptions, train: BatchLoader, dev: BatchLoader, processes: int
) -> dict[str, Any]:
    """Everything the course of a training depends on besides its state, as values JSON can hold.

    Recordings, those of the augmentation included, are told apart by file name, stretch and text, not by folder and
    not by their samples.
    """
    return {
        "options": {name: value for name, value in asdict(options).items() if name not in FREE},
        "network": asdict(model.options),
        "labels": list(model.labels or ()),
        "utterances": len(train.utterances),
        "data": [data_digest(loader.utterances) for loader in (train, dev)],
        "normalizer": described(train.normalizer),
        "augmentation": described(train.augmentation),
        "processes": processes,
    }


def check_agreement(world: World, settings: dict[str, Any]) -> None:
    """Refuse processes that would not train the same: they would wait for each other in different places.

    Args:
        world: The processes, each of which has to call this.
        settings: What they have to have in common, as values JSON can hold.

    Raises:
        OptionError: Two differ; raised by all of them, with the first process that does and what it differs in.
    """
    said = [msgspec.json.decode(text) for text in world.gathered(msgspec.json.encode(settings).decode())]
    for rank, other in enumerate(said):
        different = first_difference(said[0], other)
        if different:
            key, first, found = different
            raise OptionError(
                f"processes that train together need the same data and options: process 0 has {key} {first}, "
                f"process {rank} has {found}"
            )


def first_difference(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, str, str] | None:
    """The first name, with dots, under which two trees of settings differ, and the two values as short texts."""
    # Compared as JSON, where a tuple and a list are the same.
    left, right = (_flat(msgspec.json.decode(msgspec.json.encode(tree))) for tree in (one, other))
    for key in sorted({*left, *right}):
        if left.get(key) != right.get(key):
            return key, _clip(left.get(key)), _clip(right.get(key))
    return None


def described(value: Any) -> Any:
    """A value of options as JSON can hold it: its classes by name, recordings and normalisers by their digests."""
    if isinstance(value, Normalizer):
        return hashlib.sha256(value.mean.tobytes() + value.std.tobytes()).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__} | {
            item.name: described(getattr(value, item.name))
            for item in fields(value)
            if not (item.metadata.get("added_later") and getattr(value, item.name) == item.default)
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(item, Utterance) for item in value):
            return data_digest(value)
        return [described(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, PurePath) else type(value).__name__


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _clip(value: Any, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."
