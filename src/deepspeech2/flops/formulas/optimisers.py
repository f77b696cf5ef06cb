"""One step of an optimiser, per parameter value. Constants of a step (rates, bias corrections) are not counted."""

from __future__ import annotations

from dataclasses import dataclass

from deepspeech2.errors import OptionError
from deepspeech2.flops.operations import Number, OperationCount

_Each = OperationCount


@dataclass(frozen=True, slots=True)
class StepOptions:
    """Options of an optimiser that change what a step costs.

    Attributes:
        momentum: SGD keeps a velocity.
        dampened: and adds less than the whole gradient to it.
        nesterov: and looks ahead.
        decay: weights decay, as `gradient` (added to it) or `weights` (decoupled, as in AdamW); empty for none.
        amsgrad: Adam divides by the largest second moment so far.
        maximise: the gradient is negated first.
    """

    momentum: bool = False
    dampened: bool = False
    nesterov: bool = False
    decay: str = ""
    amsgrad: bool = False
    maximise: bool = False


def sgd_step(options: StepOptions, values: Number) -> OperationCount:
    """A step of stochastic gradient descent over so many parameter values.

    Algorithm: g = -g if it maximises; g = g + decay * p; v = momentum * v + g, or + (1 - dampening) * g; then g = v, or
    g = g + momentum * v (Nesterov); p = p - lr * g. The velocity is there already: a first step merely copies it.
    """
    each = _prepared(options) + _Each(multiply=1, add=1)
    if options.momentum:
        each = each + _Each(multiply=2 if options.dampened else 1, add=1)
        each = each + (_Each(multiply=1, add=1) if options.nesterov else _Each())
    return each * values


def adam_step(options: StepOptions, values: Number) -> OperationCount:
    """A step of Adam or AdamW over so many parameter values.

    Algorithm: decay of the gradient, g = g + decay * p, or of the weights, p = p * (1 - lr * decay);
    m = m + (1 - b1) * (g - m); v = b2 * v + (1 - b2) * g * g; with AMSGrad v replaced by the largest so far;
    p = p - step * m / (sqrt(v) / root + epsilon).
    """
    each = _prepared(options) + _Each(multiply=1 + 3 + 1, add=2 + 1 + 1 + 1, sqrt=1, divide=2)
    return (each + _Each(compare=1 if options.amsgrad else 0)) * values


def _prepared(options: StepOptions) -> OperationCount:
    decayed = {"gradient": _Each(multiply=1, add=1), "weights": _Each(multiply=1)}.get(options.decay, _Each())
    return decayed + _Each(add=1 if options.maximise else 0)


OPTIMISERS: dict[str, OperationCount] = {
    "sgd": sgd_step(StepOptions(), 1),
    "sgd-momentum": sgd_step(StepOptions(momentum=True), 1),
    "sgd-nesterov": sgd_step(StepOptions(momentum=True, nesterov=True), 1),
    "adam": adam_step(StepOptions(), 1),
    "adamw": adam_step(StepOptions(decay="weights"), 1),
}
"""Price of one step for each value of a parameter, by name."""


def optimiser_step(name: str, values: Number) -> OperationCount:
    """One step of an optimiser of `OPTIMISERS` over this many parameter values, without weight decay (except AdamW).

    Raises:
        OptionError: no optimiser has this name.
    """
    if name not in OPTIMISERS:
        raise OptionError(f"unknown optimiser {name!r}; expected one of {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name] * values


def clipping(sizes: list[Number]) -> OperationCount:
    """Clipping of gradients by their global norm, for tensors of these many values.

    Algorithm: the norm of each tensor (squares, their sum, a root), the norm of these norms; limit / (norm +
    epsilon), at most one; every value times that.
    """
    values: Number = sum(sizes)
    tensors = len(sizes)
    return OperationCount(
        multiply=values + tensors + values,
        add=(values - tensors) + (tensors - 1) + 1,
        sqrt=tensors + 1,
        divide=1,
        compare=1,
    )
