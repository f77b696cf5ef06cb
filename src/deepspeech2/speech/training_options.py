"""How a network is trained: the options, and the learning rate they give at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.option_checks import (
    check,
    check_choice,
    check_flag,
    check_kind,
    check_number,
    check_positive,
    check_whole,
)

_BELOW_ONE = math.nextafter(1.0, 0.0)


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """The learning rate over a training.

    Attributes:
        peak: The highest learning rate.
        warmup_steps: Updates over which it rises in a line from 0.
        decay: Its course afterwards: ``constant``, ``linear`` or ``cosine`` down to 0, or ``exponential``.
        decay_from: Share of all epochs after which the decay begins, 0 to 1.
        epoch_factor: For ``exponential``, the factor of one epoch.
    """

    peak: float = 5e-4
    warmup_steps: int = 500
    decay: Literal["constant", "linear", "cosine", "exponential"] = "cosine"
    decay_from: float = 0.0
    epoch_factor: float = 0.9

    def __post_init__(self) -> None:
        check_positive("schedule", peak=self.peak, epoch_factor=self.epoch_factor)
        check_whole("schedule", warmup_steps=self.warmup_steps)
        check_choice("schedule", ("constant", "linear", "cosine", "exponential"), decay=self.decay)
        check_number("schedule", "from 0 to 1", 0, 1, decay_from=self.decay_from)

    def learning_rate(self, step: int, epochs_done: float, epochs: int) -> float:
        """The learning rate of one update.

        Args:
            step: Updates made before this one.
            epochs_done: Epochs behind it, with the fraction of the current one.
            epochs: Epochs in all.
        """
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        begin = self.decay_from * epochs
        share = min(1.0, max(0.0, epochs_done - begin) / (epochs - begin)) if epochs > begin else 0.0
        if self.decay == "linear":
            factor = 1.0 - share
        elif self.decay == "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * share))
        elif self.decay == "exponential":
            factor = self.epoch_factor ** max(0.0, epochs_done - begin)
        else:
            factor = 1.0
        return self.peak * warmup * factor


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a network is trained.

    Attributes:
        epochs: Passes over the data.
        batching: How utterances are grouped; seconds are those of one process.
        schedule: The learning rate.
        optimizer: ``adam`` (weight decay added to the gradient) or ``adamw`` (decoupled).
        betas: Decay of Adam's two moments.
        weight_decay: Strength of the decay.
        dropout: Probability with which each input of a recurrent layer but the first, and of the output layer, is set
            to zero in training; the published training has none.
        clip_norm: Largest norm of all gradients together; None (in a recipe `inf`) for no limit.
        accumulate: Batches whose gradients are summed into one update.
        precision: ``float32``, or ``bfloat16`` for the products, with float32 weights, sums and everything else.
        norm_by_times: Weigh each utterance's gradient by 1 / its output frames, as the published training can.
        patience: Stop after so many epochs of which none is better than the best before (see `rank`); None to run all.
        average_best: Average the weights of so many best epochs at the end; 0 for none.
        checkpoint_steps: Save the training state every so many updates, besides every epoch's end; 0 for epochs only.
        workers: Threads that prepare batches; 0 to prepare them in between.
        seed: Where the random numbers of fresh weights, dropout and augmentation start; the order of utterances has a
            seed of its own in `batching`.
    """

    epochs: int = 20
    batching: BatchingOptions = field(default_factory=BatchingOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    dropout: float = 0.0
    clip_norm: float | None = 5.0
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    norm_by_times: bool = False
    patience: int | None = None
    average_best: int = 5
    checkpoint_steps: int = 200
    workers: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        what = "training"
        check_whole(what, 1, epochs=self.epochs, accumulate=self.accumulate)
        check_whole(what, average_best=self.average_best, checkpoint_steps=self.checkpoint_steps, workers=self.workers)
        check_whole(what, 0, 2**63, seed=self.seed)
        if self.patience is not None:
            check_whole(what, 1, patience=self.patience)
        check_kind(what, BatchingOptions, batching=self.batching)
        check_kind(what, ScheduleOptions, schedule=self.schedule)
        check_choice(what, ("adam", "adamw"), optimizer=self.optimizer)
        check_choice(what, ("float32", "bfloat16"), precision=self.precision)
        check_flag(what, norm_by_times=self.norm_by_times)
        pair = isinstance(self.betas, (tuple, list)) and len(self.betas) == 2
        check(what, "betas", "as two numbers", self.betas, holds=pair)
        for beta in self.betas:
            check_number(what, "of at least 0 and below 1", 0, _BELOW_ONE, betas=beta)
        check_number(what, "of at least 0 and below 1", 0, _BELOW_ONE, dropout=self.dropout)
        check_number(what, "of at least 0", 0, math.inf, weight_decay=self.weight_decay)
        if self.clip_norm is not None:
            check_positive(what, clip_norm=self.clip_norm)
