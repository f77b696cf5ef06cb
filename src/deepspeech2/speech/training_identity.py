"""What must be the same when a training goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import PurePath
from typing import Any

from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import Utterance, data_digest
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


def described(value: Any) -> Any:
    """A value of options as JSON can hold it: its classes by name, recordings and normalisers by their digests."""
    if isinstance(value, Normalizer):
        return hashlib.sha256(value.mean.tobytes() + value.std.tobytes()).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__} | {
            item.name: described(getattr(value, item.name)) for item in fields(value)
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(item, Utterance) for item in value):
            return data_digest(value)
        return [described(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, PurePath) else type(value).__name__
