"""Normalisations, pooling, embeddings, interpolation: no products, every kind by hand."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.flops.cases.case import Program, case


@case(kinds={"multiply": 4 + 120, "add": 2 * 4 + 120, "sqrt": 4, "divide": 4})
def batch_norm_eval() -> Program:
    """Per channel variance + epsilon, root, gamma / root, mean * scale, beta - that; per element one of each."""
    return nn.BatchNorm1d(4).eval(), (torch.randn(3, 4, 10),)


@case(kinds={"multiply": 120 * 3 + 4 * 4, "add": 2 * (120 - 4) + 120 + 4 + 120 + 2 * 4, "sqrt": 4, "divide": 2 * 4 + 4})
def batch_norm_train() -> Program:
    """4 channels of 30: mean (29 additions, a division), deviations, squares, variance; 1 / root; times r, times gamma,
    plus beta; two running statistics, each two products and a sum per channel.
    """
    return nn.BatchNorm1d(4).train(), (torch.randn(3, 4, 10),)


@case(kinds={"multiply": 30 * 3, "add": 2 * (30 - 6) + 30 + 6 + 30, "sqrt": 6, "divide": 2 * 6 + 6})
def layer_norm() -> Program:
    """6 rows of 5: mean, deviations, squares, variance; 1 / root; times r, times gamma, plus beta."""
    return nn.LayerNorm(5), (torch.randn(2, 3, 5),)


@case(kinds={"multiply": 30 * 2, "add": 2 * (30 - 6) + 30 + 6, "sqrt": 6, "divide": 2 * 6 + 6})
def layer_norm_plain() -> Program:
    """Without gamma and beta."""
    return nn.LayerNorm(5, elementwise_affine=False), (torch.randn(2, 3, 5),)


@case(kinds={"multiply": 120 * 3, "add": 2 * (120 - 6) + 120 + 6 + 120, "sqrt": 6, "divide": 2 * 6 + 6})
def group_norm() -> Program:
    """3 samples of 2 groups of 20."""
    return nn.GroupNorm(2, 4), (torch.randn(3, 4, 10),)


@case(kinds={"multiply": 120 * 2, "add": 2 * (120 - 12) + 120 + 12, "sqrt": 12, "divide": 2 * 12 + 12})
def instance_norm() -> Program:
    """12 groups of 10, without gamma and beta."""
    return nn.InstanceNorm1d(4), (torch.randn(3, 4, 10),)


@case(kinds={"multiply": 30 * 3, "add": 30 - 6 + 6, "sqrt": 6, "divide": 2 * 6})
def rms_norm() -> Program:
    """6 rows of 5: squares, their mean, plus epsilon, 1 / root; times r, times gamma."""
    return nn.RMSNorm(5), (torch.randn(2, 3, 5),)


@case(kinds={"multiply": 30 * 3, "add": 30 - 6 + 6, "sqrt": 6, "divide": 2 * 6})
def rms_norm_by_hand() -> Program:
    """The same written out, as language models do."""

    def program(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight

    return program, (torch.randn(2, 3, 5), torch.randn(5))


@case(kinds={"compare": 2 * 4 * 5 * 5 * 3})
def max_pool2d() -> Program:
    """3 comparisons for each of 5 x 5 windows of 4."""
    return nn.MaxPool2d(2), (torch.randn(2, 4, 10, 10),)


@case(kinds={"compare": 2 * 4 * 4 * 2})
def max_pool1d() -> Program:
    """(10 - 3) // 2 + 1 = 4 windows of 3."""
    return nn.MaxPool1d(3, stride=2), (torch.randn(2, 4, 10),)


@case(kinds={"add": 2 * 4 * 25 * 3, "divide": 2 * 4 * 25})
def avg_pool2d() -> Program:
    """3 additions and a division per window."""
    return nn.AvgPool2d(2), (torch.randn(2, 4, 10, 10),)


@case(kinds={"add": 2 * 4 * 99, "divide": 8})
def adaptive_avg_pool_to_one() -> Program:
    """The mean of 100."""
    return nn.AdaptiveAvgPool2d(1), (torch.randn(2, 4, 10, 10),)


@case(kinds={"add": 2 * 4 * (12 - 3), "divide": 24})
def adaptive_avg_pool_uneven() -> Program:
    """10 to 3 outputs: windows 0..3, 3..6, 6..9 of 4 each, overlapping: 12 reads, 9 additions."""
    return nn.AdaptiveAvgPool1d(3), (torch.randn(2, 4, 10),)


@case(kinds={"compare": 2 * 4 * (12 - 3)})
def adaptive_max_pool1d() -> Program:
    """The same windows."""
    return nn.AdaptiveMaxPool1d(3), (torch.randn(2, 4, 10),)


@case(kinds={})
def embedding() -> Program:
    """A look-up moves numbers."""
    return nn.Embedding(100, 8), (torch.randint(0, 100, (2, 7)),)


@case(kinds={"add": 2 * 6 * 8})
def embedding_bag_sum() -> Program:
    """Bags of 7 rows of 8: 6 additions per element."""
    return nn.EmbeddingBag(100, 8, mode="sum"), (torch.randint(0, 100, (2, 7)),)


@case(kinds={"add": 2 * 6 * 8, "divide": 16})
def embedding_bag_mean() -> Program:
    """And a division."""
    return nn.EmbeddingBag(100, 8, mode="mean"), (torch.randint(0, 100, (2, 7)),)


@case(kinds={})
def nearest_upsampling() -> Program:
    """Copies."""
    return nn.Upsample(scale_factor=2), (torch.randn(2, 4, 10),)


@case(kinds={})
def pixel_shuffle() -> Program:
    """Moves."""
    return nn.PixelShuffle(2), (torch.randn(2, 4, 5, 5),)


@case(kinds={})
def moves() -> Program:
    """Views, concatenation, padding, gathering: nothing is computed."""

    def program(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        y = torch.cat([x.permute(1, 0), x.t().flip(0)], dim=1)
        return torch.nn.functional.pad(y, (1, 1)).roll(1).gather(1, index).unfold(1, 2, 1).reshape(-1)

    return program, (torch.randn(4, 5), torch.zeros(5, 6, dtype=torch.int64))


@case(kinds={})
def dropout_eval() -> Program:
    """Dropout does nothing at inference."""
    return nn.Dropout(0.1).eval(), (torch.randn(4, 5),)


@case(kinds={"multiply": 20, "divide": 20, "other": 20})
def dropout_train() -> Program:
    """A draw, the mask over the probability to keep, the product."""
    return nn.Dropout(0.1).train(), (torch.randn(4, 5),)
