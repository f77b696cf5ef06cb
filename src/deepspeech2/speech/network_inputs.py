"""Refuses what a network cannot be given, before an operator does in its own words."""

from __future__ import annotations

import torch
from torch import Tensor

from deepspeech2.errors import InputError

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_network_inputs(features: Tensor, frames: Tensor | None, frequencies: int, weight: object) -> None:
    """Check a batch against a network.

    Args:
        features: what is given as spectrograms, (batch, frequencies, time).
        frames: what is given as the valid frames of each utterance, (batch,), or None.
        frequencies: rows of the spectrograms the network takes.
        weight: a weight of the network, whose type the features need; no tensor where it has weights of several.

    Raises:
        InputError: An argument is no tensor, a shape or a type does not fit, or `frames` is negative or exceeds the
            time axis (which is seen of real values on the CPU, not of what a traced program is given).
    """
    if not isinstance(features, Tensor):
        raise InputError(
            f"network: expected features as a torch tensor of shape (batch, {frequencies}, time), "
            f"found {type(features).__name__}; wrap an array with torch.as_tensor"
        )
    if features.dim() != 3 or features.shape[1] != frequencies or not features.is_floating_point():
        raise InputError(
            f"network: expected features of shape (batch, {frequencies}, time), "
            f"found {tuple(features.shape)} of {features.dtype}"
        )
    if features.shape[2] == 0:
        raise InputError("network: expected at least one frame of features, found none")
    if isinstance(weight, Tensor) and weight.dtype != features.dtype and not _is_autocast(features):
        raise InputError(
            f"network: expected features of {weight.dtype}, as the weights are, found {features.dtype}; "
            f"give features.to({weight.dtype})"
        )
    if frames is not None:
        _check_frames(features, frames)


def _check_frames(features: Tensor, frames: Tensor) -> None:
    if not isinstance(frames, Tensor):
        raise InputError(
            f"network: expected frames as a torch tensor of {features.shape[0]} integers, the valid frames of each "
            f"utterance, found {type(frames).__name__}; wrap it with torch.as_tensor"
        )
    if frames.dim() != 1 or frames.dtype not in _INTEGERS or frames.shape[0] != features.shape[0]:
        raise InputError(
            f"network: expected frames as one integer for each of the {features.shape[0]} utterances, "
            f"found shape {tuple(frames.shape)} of {frames.dtype}"
        )
    if _is_real(frames) and frames.device.type == "cpu" and len(frames):
        lowest, highest = int(frames.min()), int(frames.max())
        if lowest < 0 or highest > features.shape[2]:
            raise InputError(
                f"network: expected frames from 0 to the {features.shape[2]} of the features, "
                f"found {lowest} to {highest}"
            )


def _is_autocast(x: Tensor) -> bool:
    """Whether products with a tensor choose their own type."""
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _is_real(x: Tensor) -> bool:
    """Whether a tensor has values here and now: it is not traced, counted or transformed."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
    return type(x) is Tensor and not traced
