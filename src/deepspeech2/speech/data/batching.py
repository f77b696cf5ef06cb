"""Which utterances are trained together, and in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepspeech2.speech.option_checks import check_flag, check_number, check_positive, check_whole


@dataclass(frozen=True, slots=True)
class BatchingOptions:
    """How utterances are grouped.

    Attributes:
        batch_seconds: Most seconds of audio in a batch as it was recorded, padding included; a longer utterance is a
            batch alone. Speech that is played slower for training is longer by that, so is the batch: at 0.9 times
            the speed 120 s become 133 s.
        batch_utterances: Most utterances in a batch.
        sortagrad: First epoch from short to long (Amodei et al. 2016, section 3.2).
        length_jitter: Durations are multiplied by a random number of 1 plus or minus this before they are sorted
            into batches, so that every epoch groups other utterances; 0 for the same batches always.
        seed: Where the random numbers start.
    """

    batch_seconds: float = 120.0
    batch_utterances: int = 128
    sortagrad: bool = True
    length_jitter: float = 0.07
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive("batching", batch_seconds=self.batch_seconds)
        check_whole("batching", 1, batch_utterances=self.batch_utterances)
        check_flag("batching", sortagrad=self.sortagrad)
        check_number(
            "batching", "of at least 0 and below 1", 0, math.nextafter(1.0, 0.0), length_jitter=self.length_jitter
        )
        check_whole("batching", seed=self.seed)


def plan_batches(durations: Sequence[float], options: BatchingOptions, epoch: int) -> list[NDArray[np.int64]]:
    """Group utterances of like length, and put the groups in the order of one epoch.

    The plan depends on the arguments alone: an epoch can be planned again after an interruption.

    Args:
        durations: Seconds of every utterance.
        options: How to group.
        epoch: Number of the epoch, from 0; with `sortagrad` epoch 0 runs from short to long.

    Returns:
        One array of indices into `durations` per batch; every index occurs once.

    Example:
        >>> [batch.tolist() for batch in plan_batches([2, 9, 1], BatchingOptions(batch_seconds=10), epoch=0)]
        [[2, 0], [1]]
    """
    if not len(durations):
        return []
    seconds = np.asarray(durations, np.float64)
    generator = np.random.default_rng([options.seed, epoch])
    by_length = options.sortagrad and epoch == 0
    jitter = 0.0 if by_length else options.length_jitter
    keys = seconds * generator.uniform(1 - jitter, 1 + jitter, len(seconds))

    batches: list[list[int]] = []
    longest = 0.0
    for index in np.argsort(keys, kind="stable").tolist():
        longest = max(longest, seconds[index]) if batches else seconds[index]
        current = batches[-1] if batches else []
        full = (len(current) + 1) * longest > options.batch_seconds or len(current) == options.batch_utterances
        if not batches or full:
            batches.append([index])
            longest = seconds[index]
        else:
            current.append(index)
    if not by_length:
        generator.shuffle(batches)
    return [np.asarray(batch, np.int64) for batch in batches]


def share_of(batch: NDArray[np.int64], rank: int, processes: int) -> NDArray[np.int64]:
    """The utterances of a batch that one of several processes works on: every `processes`-th, from `rank` on.

    Batches are planned for all processes together, so that two processes do what one does with the same plan.
    """
    return batch[rank::processes]
