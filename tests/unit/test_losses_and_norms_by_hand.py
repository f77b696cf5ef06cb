"""Kinds of operations of losses and norms that share a name with others, by hand."""

import pytest
import torch
from torch.nn import functional

from deepspeech2 import count

X = torch.empty(3, 8)


@pytest.mark.parametrize(
    ("program", "kinds"),
    [
        # d = x - y; |d| against delta; 0.5 d d or delta (|d| - half of it): no division. The sum folds 24 values.
        (
            lambda x: functional.huber_loss(x, x, reduction="sum"),
            {"add": 2 * 24 + 23, "other": 24, "compare": 24, "multiply": 3 * 24},
        ),
        # The same with a quotient by beta.
        (
            lambda x: functional.smooth_l1_loss(x, x, reduction="sum"),
            {"add": 2 * 24 + 23, "other": 24, "compare": 24, "multiply": 2 * 24, "divide": 24},
        ),
        # How many are not zero: a comparison each, and their sum; no powers.
        (lambda x: torch.linalg.vector_norm(x, 0), {"compare": 24, "add": 23}),
        (lambda x: x.norm(0, dim=1), {"compare": 24, "add": 3 * 7}),
    ],
)
def test_kinds(program, kinds) -> None:
    tally = count(program, X, strict=True)
    assert {kind: amount for kind, amount in tally.kinds.items() if amount} == kinds
