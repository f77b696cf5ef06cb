"""One step of an optimiser, per parameter value."""

from __future__ import annotations

from deepspeech2.errors import OptionError
from deepspeech2.flops.operations import Number, OperationCount

OPTIMISERS: dict[str, OperationCount] = {
    # p = p - lr * g
    "sgd": OperationCount(multiply=1, add=1),
    # v = momentum * v + g; p = p - lr * v
    "sgd-momentum": OperationCount(multiply=2, add=2),
    # m = m + (1 - b1) * (g - m); v = b2 * v + (1 - b2) * g * g; p = p - step * m / (sqrt(v) / root + epsilon), where
    # the step and the root of the bias correction are computed once per step, not per value
    "adam": OperationCount(multiply=1 + 3 + 1, add=2 + 1 + 1 + 1, sqrt=1, divide=2),
    # p = p * (1 - lr * decay) first
    "adamw": OperationCount(multiply=1 + 1 + 3 + 1, add=2 + 1 + 1 + 1, sqrt=1, divide=2),
}
"""Price of one step for each value of a parameter."""


def optimiser_step(name: str, values: Number) -> OperationCount:
    """One step of `sgd`, `sgd-momentum`, `adam` or `adamw` over this many parameter values.

    Algorithms as in the comments of `OPTIMISERS`, those of torch.optim without weight decay (except AdamW), clipping or
    AMSGrad; constants of a step are not counted.

    Raises:
        OptionError: no optimiser has this name.
    """
    if name not in OPTIMISERS:
        raise OptionError(f"unknown optimiser {name!r}; expected one of {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name] * values
