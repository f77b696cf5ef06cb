"""Losses: every kind by hand."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.flops.cases.case import Program, case


@case(kinds={"add": 20 + 19, "multiply": 20, "divide": 1})
def mean_squared_error() -> Program:
    """Differences, squares, their mean."""
    return nn.MSELoss(), (torch.randn(4, 5), torch.randn(4, 5))


@case(kinds={"add": 20 + 19, "other": 20, "divide": 1})
def absolute_error() -> Program:
    """Differences, absolute values, their mean."""
    return nn.L1Loss(), (torch.randn(4, 5), torch.randn(4, 5))


@case(kinds={"add": 4 + 3, "divide": 1})
def negative_log_likelihood() -> Program:
    """4 negations, 3 additions, a division."""
    return nn.NLLLoss(), (torch.randn(4, 5), torch.tensor([0, 1, 2, 3]))


@case(kinds={"compare": 16, "add": 20 + 16 + 20 + 4 + 3, "exp": 20, "log": 4, "divide": 1})
def cross_entropy() -> Program:
    """Log-softmax of 4 rows of 5, then the negative log-likelihood."""
    return nn.CrossEntropyLoss(), (torch.randn(4, 5), torch.tensor([0, 1, 2, 3]))


@case(kinds={"add": 4 * 20 + 19, "multiply": 40, "log": 40, "compare": 40, "divide": 1})
def binary_cross_entropy() -> Program:
    """-(t log p + (1 - t) log(1 - p)), both logarithms clamped from below: 1 - p, 1 - t, a sum, a negation."""
    return nn.BCELoss(), (torch.rand(4, 5), torch.rand(4, 5))


@case(
    kinds={
        "add": 7 * (2 * 5 * 7) + 5 * 2 + 2 - 1,
        "compare": 2 * (2 * 5 * 7) + 2,
        "exp": 3 * (2 * 5 * 7) + 2 * 2,
        "log": 2 * 5 * 7 + 2,
    }
)
def ctc_loss_sum() -> Program:
    """2 samples, 6 frames, 3 labels: 5 steps over 7 states; per state and step two comparisons, three subtractions and
    exponentials, two additions, a logarithm, two additions; at the end log(exp + exp) of two states with its maximum,
    negated: a comparison, two subtractions and exponentials, an addition, a logarithm, an addition, a negation; one
    sum over the batch.
    """
    return nn.CTCLoss(reduction="sum"), (
        torch.randn(6, 2, 5).log_softmax(-1),
        torch.ones(2, 3, dtype=torch.int64),
        torch.tensor([6, 6]),
        torch.tensor([3, 3]),
    )


@case(
    kinds={
        "add": 7 * (5 * 7 + 3 * 5) + 5 * 2 + 1,
        "compare": 2 * (5 * 7 + 3 * 5) + 2,
        "exp": 3 * (5 * 7 + 3 * 5) + 4,
        "log": 5 * 7 + 3 * 5 + 2,
    }
)
def ctc_loss_of_true_lengths() -> Program:
    """Samples of 6 frames and 3 labels, 4 frames and 2 labels: 5 * 7 and 3 * 5 states."""
    return nn.CTCLoss(reduction="sum"), (
        torch.randn(6, 2, 5).log_softmax(-1),
        torch.ones(2, 3, dtype=torch.int64),
        torch.tensor([6, 4]),
        torch.tensor([3, 2]),
    )


@case(kinds={"compare": 20, "add": 20 * 4 + 19 + 20, "exp": 20, "log": 20, "multiply": 20, "other": 20, "divide": 1})
def binary_cross_entropy_with_logits() -> Program:
    """(1 - t) x - log sigmoid(x), the latter min(0, x) - log(1 + exp(-|x|)): 1 - t, the product, an absolute value, a
    negation, an exponential, a sum, a logarithm, a minimum, two differences; the mean.
    """
    return nn.BCEWithLogitsLoss(), (torch.randn(4, 5), torch.rand(4, 5))


@case(kinds={"add": 20 * 2 + 19, "other": 20, "compare": 20, "multiply": 40, "divide": 21})
def smooth_absolute_error() -> Program:
    """Difference, absolute value, comparison with beta; 0.5 d d / beta, or |d| - 0.5 beta; the mean."""
    return nn.SmoothL1Loss(), (torch.randn(4, 5), torch.randn(4, 5))


@case(
    kinds={"compare": 40, "log": 20, "add": 20 + 20 + 19, "multiply": 20 + 20, "divide": 20 + 1},
    integer=19,
)
def gaussian_likelihood() -> Program:
    """No variance may be negative (a comparison, an or of truths); bounded from below; half of log v + d d / v."""
    return nn.GaussianNLLLoss(), (torch.randn(4, 5), torch.randn(4, 5), torch.rand(4, 5))


@case(kinds={"exp": 20, "multiply": 20, "add": 20 + 19, "divide": 1})
def poisson_likelihood() -> Program:
    """exp(x) - t x, the mean."""
    return nn.PoissonNLLLoss(), (torch.randn(4, 5), torch.rand(4, 5))


@case(kinds={"log": 20, "multiply": 40, "add": 20 + 19, "divide": 1})
def divergence() -> Program:
    """T log t - t x, their sum over the batch."""
    return nn.KLDivLoss(reduction="batchmean"), (torch.randn(4, 5).log_softmax(-1), torch.rand(4, 5))


@case(kinds={"add": 4 * 3 + 3, "multiply": 4, "compare": 4, "divide": 1})
def margin_ranking() -> Program:
    """max(0, -y (a - b) + margin): a difference, a negation, a product, a sum, a comparison; the mean."""
    return nn.MarginRankingLoss(), (torch.randn(4), torch.randn(4), torch.ones(4))


@case(kinds={"add": 2 * (3 * 5 * 2 + 3 * 4) + 2 * 3 + 2, "multiply": 2 * 15, "sqrt": 6, "compare": 3, "divide": 1})
def triplet_margin() -> Program:
    """Two distances of 3 pairs of 5 (differences, epsilon, squares, sums, roots); margin + d - d, at least zero."""
    return nn.TripletMarginLoss(), (torch.randn(3, 5), torch.randn(3, 5), torch.randn(3, 5))


@case(kinds={"compare": 16, "add": 20 + 16 + 20 + 4 * 2 - 1 + 3, "exp": 20, "log": 4, "multiply": 4, "divide": 1})
def cross_entropy_with_weights() -> Program:
    """Each sample times the weight of its class, over the sum of these weights (3 additions)."""
    return nn.CrossEntropyLoss(weight=torch.rand(5)), (torch.randn(4, 5), torch.tensor([0, 1, 2, 3]))
