"""How a network is trained: the options, and the learning rate they give at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.batching import BatchingOptions


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
        rates = 0 < self.peak < math.inf and 0 < self.epoch_factor < math.inf
        if not rates or self.warmup_steps < 0 or not 0 <= self.decay_from <= 1:
            raise OptionError(
                f"expected a positive learning rate and epoch_factor, warmup_steps >= 0, decay_from in [0, 1], "
                f"found {self}"
            )
        if self.decay not in ("constant", "linear", "cosine", "exponential"):
            raise OptionError(f"expected a decay of constant, linear, cosine or exponential, found {self.decay!r}")

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
        clip_norm: Largest norm of all gradients together; None for no limit.
        accumulate: Batches whose gradients are summed into one update.
        precision: ``float32``, or ``bfloat16`` for the products, with float32 weights, sums and everything else.
        norm_by_times: Weigh each utterance's gradient by 1 / its output frames, as the published training can.
        patience: Stop after so many epochs of which none is better than the best before (see `rank`); None to run all.
        average_best: Average the weights of so many best epochs at the end; 0 for none.
        checkpoint_steps: Save the training state every so many updates, besides every epoch's end; 0 for epochs only.
        workers: Threads that prepare batches; 0 to prepare them in between.
        seed: Where all random numbers start.
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
        if self.epochs < 1 or self.accumulate < 1 or min(self.average_best, self.checkpoint_steps, self.workers) < 0:
            raise OptionError(
                f"expected at least one epoch and one batch an update, found epochs {self.epochs}, accumulate "
                f"{self.accumulate}, average_best {self.average_best}, checkpoint_steps {self.checkpoint_steps} "
                f"and workers {self.workers}"
            )
        if self.optimizer not in ("adam", "adamw") or self.precision not in ("float32", "bfloat16"):
            raise OptionError(
                f"expected optimizer adam or adamw and precision float32 or bfloat16, found {self.optimizer!r} "
                f"and {self.precision!r}"
            )
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"expected a seed of 0 or more and below 2**63, found {self.seed}")
        if not all(0 <= beta < 1 for beta in self.betas) or not 0 <= self.weight_decay < math.inf:
            raise OptionError(
                f"expected betas of at least 0 and below 1 and a weight_decay of 0 or more, found {self.betas} and "
                f"{self.weight_decay}"
            )
        if self.patience is not None and self.patience < 1:
            raise OptionError(f"expected a patience of 1 epoch or more, or None for all epochs, found {self.patience}")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"expected a dropout of at least 0 and below 1, found {self.dropout}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise OptionError(f"expected clip_norm above 0, or None for no limit, found {self.clip_norm}")
