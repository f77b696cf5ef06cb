"""What a training reports of its updates and epochs, and which of its epochs is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one update did.

    Attributes:
        step: Updates made, this one included.
        epoch: The epoch, from 0.
        position: Batches of the epoch that are behind.
        batches: Batches in the epoch.
        loss: Mean loss per character of this update's utterances, in nats; not a number if the gradient was not finite
            and the update not made.
        learning_rate: Of this update.
        gradient_norm: Before clipping.
        seconds: Wall-clock time of the update, waiting included.
        waited: Seconds of it spent waiting for data.
        audio_seconds: Seconds of audio in it, all processes together.
        shapes: (utterances, padded frames) of each batch this process worked on.
    """

    step: int
    epoch: int
    position: int
    batches: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    waited: float
    audio_seconds: float
    shapes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch came to.

    Attributes:
        epoch: Its number, from 0.
        step: Updates made so far.
        loss: Mean training loss per character, in nats.
        dev_loss: The same on the dev set.
        wer: Word error rate of greedy decoding on the dev set.
        cer: Character error rate there.
        learning_rate: At its end.
        seconds: Wall-clock time since the training or its resumption began or the last epoch ended.
        skipped: Utterances left out because CTC could not fit their text, faster speech mostly.
    """

    epoch: int
    step: int
    loss: float
    dev_loss: float
    wer: float
    cer: float
    learning_rate: float
    seconds: float
    skipped: int


def rank(epoch: Mapping[str, Any]) -> tuple[float, float, float, int]:
    """How good an epoch is beside others of its training: the lowest is the best.

    The dev WER decides, between equals the CER, then the dev loss: while a network writes no word right, only these
    tell whether it gets on. Of epochs that are equal in all three the earlier one is the better.

    Args:
        epoch: The fields of an `EpochReport`, as a training state's history holds them.

    Example:
        >>> [rank({"wer": 1.0, "cer": cer, "dev_loss": 2.5, "epoch": 3}) for cer in (0.75, 0.5)]
        [(1.0, 0.75, 2.5, 3), (1.0, 0.5, 2.5, 3)]
    """
    wer, cer, loss = (_comparable(epoch[name]) for name in ("wer", "cer", "dev_loss"))
    return wer, cer, loss, int(epoch["epoch"])


def out_of_patience(history: Sequence[Mapping[str, Any]], patience: int | None) -> bool:
    """Whether none of the last `patience` epochs was better than all before them; never without a patience."""
    if patience is None or len(history) <= patience:
        return False
    return min(map(rank, history[-patience:])) > min(map(rank, history[:-patience]))


def _comparable(value: float | None) -> float:
    # What is not a number, which JSON and so the state of a training holds as null, is worse than any number.
    return math.inf if value is None or math.isnan(value) else value
