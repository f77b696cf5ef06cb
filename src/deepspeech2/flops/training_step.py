"""A training step around the forward pass: what it is, and its backward pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.graph import _engine_run_backward

from deepspeech2.errors import CountingError
from deepspeech2.flops.held import tensors_within
from deepspeech2.flops.recorder import Recorder


@dataclass(frozen=True)
class Training:
    """What a training step does around the forward pass.

    Attributes:
        loss: from what the program returns to a scalar, its operations counted; None starts the backward pass from
            given gradients of all floating-point results, at no cost.
        optimiser: its name or one of torch.optim; None for no step.
        clip: whether gradients are clipped by their global norm before the step.
    """

    loss: Callable[[Any], torch.Tensor] | None = None
    optimiser: str | torch.optim.Optimizer | None = "adam"
    clip: bool = False


def backward(recorder: Recorder, results: Any, training: Training) -> None:
    """Differentiate what the program returned with respect to everything that requires it."""
    if training.loss is not None:
        results = training.loss(results)
    roots = [value for value in tensors_within(results) if value.requires_grad]
    if not roots:
        raise CountingError("nothing to train: no result depends on a parameter or input that requires a gradient")
    recorder.begin_backward()
    with recorder.silence(), nullcontext() if recorder.live is None else recorder.live.suspend():
        seeds = [torch.empty_like(root) for root in roots]
    if recorder.live is not None:
        recorder.live.give("seeds", seeds)
    # As `torch.autograd.backward` does it, which would take functions a checkpoint runs again out of our sight.
    _engine_run_backward(tuple(roots), tuple(seeds), False, False, (), allow_unreachable=True, accumulate_grad=True)
