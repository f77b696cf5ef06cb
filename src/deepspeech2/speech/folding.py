"""Batch normalisation with running statistics, folded into the product before it."""

from __future__ import annotations

from torch import Tensor

from deepspeech2.speech.network import BatchNorm


def fold(weight: Tensor, norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Fold a normalisation into a product (or convolution) without bias whose first axis is its outputs.

    Computed in double precision. Rounded to float32, the folded product differs from product and normalisation by
    no more than these differ among two orders of summation.

    Returns:
        Weight and bias, float64.
    """
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    folded = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    return folded, norm.bias.double() - norm.running_mean.double() * scale
