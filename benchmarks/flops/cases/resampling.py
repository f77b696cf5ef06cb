"""Interpolation, grids, folding, norms of windows: no products but where a matrix is multiplied."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from benchmarks.flops.cases.case import Program, case


@case(kinds={"multiply": 2 * 4 * 20 * 2 + 20, "add": 2 * 4 * 20 + 4 * 20, "other": 20})
def linear_interpolation() -> Program:
    """160 values of two neighbours; 20 positions are placed once: two sums, a product, a floor, two more sums."""
    return nn.Upsample(scale_factor=2, mode="linear"), (torch.randn(2, 4, 10),)


@case(kinds={"multiply": 2 * 100 * 4 + 100 * 4 + 20, "add": 2 * 100 * 3 + 4 * 20, "other": 20})
def bilinear_interpolation() -> Program:
    """200 values of four neighbours; 10 + 10 positions; four products of weights for each of 100 pixels."""
    return nn.Upsample(scale_factor=2, mode="bilinear"), (torch.randn(1, 2, 5, 5),)


@case(kinds={"multiply": 2 * 100 * 20 + 20 * 13, "add": 2 * 100 * 15 + 20 * 16, "other": 20})
def bicubic_interpolation() -> Program:
    """Per value 4 rows of 4 and their sum: 20 products, 15 sums; per position its place (a product, two sums, a floor),
    t, and four cubic weights: 12 products, 10 sums, and t + 1, 1 - t, 2 - t.
    """
    return nn.Upsample(scale_factor=2, mode="bicubic"), (torch.randn(1, 2, 5, 5),)


@case(
    kinds={"multiply": 84 * 2 + 84 * 4 + 84 * 3 * 4, "add": 84 * 2 + 84 * 4 + 84 * 3 * 3, "other": 84 * 2},
    integer=84 * 8,
)
def grid_sample() -> Program:
    """84 positions of 2 axes: a product and a sum, a floor, f and 1 - f, four comparisons of integers; four products of
    weights; per channel four products and three sums.
    """

    def program(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        return functional.grid_sample(x, grid, align_corners=False)

    return program, (torch.randn(2, 3, 4, 5), torch.randn(2, 6, 7, 2))


@case(2 * 20 * 2 * 3, kinds={"multiply": 240 + 2 * 9, "add": 160 + 9})
def affine_grid() -> Program:
    """Coordinates of 20 pixels times (3, 2), twice; 9 steps of axes, a product and a sum each, times (n - 1) / n."""

    def program(theta: torch.Tensor) -> torch.Tensor:
        return functional.affine_grid(theta, [2, 3, 4, 5], align_corners=False)

    return program, (torch.randn(2, 2, 3),)


@case(kinds={"add": 144})
def fold() -> Program:
    """Every element of every patch is added into the image."""
    return nn.Fold((4, 5), (2, 2)), (torch.randn(1, 12, 12),)


@case(kinds={})
def unfold() -> Program:
    """Copies."""
    return nn.Unfold(2), (torch.randn(1, 3, 4, 5),)


@case(kinds={"compare": 2 * 5 * 8})
def embedding_bag_max() -> Program:
    """Two bags of 6 rows of 8: 5 comparisons an element."""
    return nn.EmbeddingBag(100, 8, mode="max"), (torch.randint(0, 100, (2, 6)),)


@case(kinds={"multiply": 12 * 3, "add": 3 * 3 * 3, "sqrt": 6, "divide": 2 * 12, "compare": 6})
def cosine_similarity() -> Program:
    """3 pairs of 4: both norms (squares, sums, roots, bounded from below), both vectors divided, products, sums."""
    return nn.CosineSimilarity(), (torch.randn(3, 4), torch.randn(3, 4))


@case(kinds={"add": 12 + 12 + 9, "multiply": 12, "sqrt": 3})
def pairwise_distance() -> Program:
    """Differences, plus epsilon, squares, sums, roots."""
    return nn.PairwiseDistance(), (torch.randn(3, 4), torch.randn(3, 4))


@case(10 * 4, kinds={"add": 40 + 30, "multiply": 40, "sqrt": 10})
def pdist() -> Program:
    """10 pairs of 5 points of 4 coordinates: differences, squares, sums, roots."""
    return functional.pdist, (torch.randn(5, 4),)


@case(kinds={"add": 15 * 4 + 15 * 3, "other": 60})
def cdist_of_order_one() -> Program:
    """15 pairs: differences, absolute values, sums."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cdist(a, b, p=1)

    return program, (torch.randn(3, 4), torch.randn(5, 4))
