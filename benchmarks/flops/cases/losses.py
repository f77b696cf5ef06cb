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
