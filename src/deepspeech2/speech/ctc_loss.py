"""The CTC loss as the published training used it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def ctc_losses(
    log_probs: Tensor, output_frames: Tensor, labels: Tensor, label_lengths: Tensor, *, norm_by_times: bool = False
) -> Tensor:
    """Compute the negative log-likelihood of each utterance's labels; the blank is the last index.

    Args:
        log_probs: Log-probabilities, (batch, time', vocab + 1), as the network gives them.
        output_frames: Valid frames of each utterance, (batch,).
        labels: Label indices, padded to (batch, longest) or one after another, (sum of label_lengths,). Those from
            vocab on are not refused: torch reads some other number for them.
        label_lengths: Labels of each utterance, (batch,).
        norm_by_times: Divide the gradient of each utterance by its output frames. The losses themselves stay as
            they are; this is how Paddle's option of that name worked.

    Returns:
        Losses in nats, (batch,); infinite where the labels do not fit into the frames.

    Raises:
        RuntimeError: From torch, where the shapes do not fit each other, or `output_frames` exceed those there are.

    Example:
        Two frames in which the label and the blank are as likely as each other: three of the four paths write it.

        >>> log_probs = torch.full((1, 2, 2), 0.5).log()
        >>> losses = ctc_losses(log_probs, torch.tensor([2]), torch.tensor([[0]]), torch.tensor([1]))
        >>> losses.exp()  # 1 / 0.75
        tensor([1.3333])
    """
    # torch has this loss for these devices only; on others the CPU computes it.
    place = log_probs.device if log_probs.device.type in ("cpu", "cuda", "meta") else torch.device("cpu")
    losses = functional.ctc_loss(
        log_probs.to(place).transpose(0, 1),
        labels.to(place, torch.int64),
        output_frames,
        label_lengths,
        blank=log_probs.shape[-1] - 1,
        reduction="none",
    )
    if norm_by_times:
        scale = output_frames.to(losses.device, losses.dtype).reciprocal()
        scaled: Tensor = _ScaleGradient.apply(losses, scale)  # type: ignore[no-untyped-call]
        return scaled
    return losses


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.saved_tensors[0], None
