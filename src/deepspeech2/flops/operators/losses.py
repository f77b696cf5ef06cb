"""Losses."""

from __future__ import annotations

from deepspeech2.flops.formulas.losses import ctc_loss, ctc_loss_gradient
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, register_formula

_NONE, _MEAN, _SUM = 0, 1, 2


def reduced(elements: Number, reduction: int) -> OperationCount:
    """Folding per-element losses into their sum or mean; nothing without a reduction."""
    if reduction == _NONE:
        return OperationCount()
    return OperationCount(add=elements - 1, divide=1 if reduction == _MEAN else 0)


@register_formula("aten::mse_loss")
def _mse(call: Call) -> OperationCount:
    elements = call["self"].elements
    return OperationCount(add=elements, multiply=elements) + reduced(elements, call["reduction"])


@register_formula("aten::mse_loss_backward")
def _mse_backward(call: Call) -> OperationCount:
    return OperationCount(add=1, multiply=2) * call.output.elements


@register_formula("aten::huber_loss")
def _huber(call: Call) -> OperationCount:
    # |d| compared with the knee; 0.5 d d or delta (|d| - 0.5 delta)
    elements: Number = call["self"].elements
    each = OperationCount(add=2, other=1, compare=1, multiply=3)
    return each * elements + reduced(elements, call["reduction"])


@register_formula("aten::smooth_l1_loss")
def _smooth(call: Call) -> OperationCount:
    # |d| compared with the knee; 0.5 d d / beta or |d| - 0.5 beta
    elements: Number = call["self"].elements
    each = OperationCount(add=2, other=1, compare=1, multiply=2, divide=1)
    return each * elements + reduced(elements, call["reduction"])


@register_formula("aten::binary_cross_entropy")
def _binary_cross_entropy(call: Call) -> OperationCount:
    # -(t log p + (1 - t) log(1 - p)), logarithms clamped from below
    elements: Number = call["self"].elements
    weighted = elements if call.get("weight") is not None else 0
    each = OperationCount(log=2, compare=2, add=4, multiply=2)
    return each * elements + OperationCount(multiply=weighted) + reduced(elements, call["reduction"])


@register_formula("aten::binary_cross_entropy_backward")
def _binary_cross_entropy_backward(call: Call) -> OperationCount:
    # The gradient times (p - t), over max(p (1 - p), epsilon).
    return OperationCount(add=2, multiply=2, compare=1, divide=1) * call.output.elements


@register_formula("aten::nll_loss_forward", "aten::nll_loss2d_forward")
def _nll(call: Call) -> OperationCount:
    samples = call["target"].elements
    weighted = samples if call.get("weight") is not None else 0
    count = OperationCount(add=samples, multiply=weighted)
    if call["reduction"] == _NONE:
        return count
    # The mean is over the sum of the weights.
    summed = samples - 1 if weighted != 0 and call["reduction"] == _MEAN else 0
    return count + reduced(samples, call["reduction"]) + OperationCount(add=summed)


@register_formula("aten::nll_loss_backward", "aten::nll_loss2d_backward")
def _nll_backward(call: Call) -> OperationCount:
    # Minus what comes in, once (over the number of samples for a mean) or per sample; times the weight of the class.
    samples = call["target"].elements
    weighted = samples if call.get("weight") is not None else 0
    if call["reduction"] == _NONE:
        return OperationCount(add=samples, multiply=weighted)
    return OperationCount(add=1, divide=1 if call["reduction"] == _MEAN else 0, multiply=weighted)


@register_formula("aten::multi_margin_loss_backward")
def _multi_margin_backward(call: Call) -> OperationCount:
    # Per sample and wrong class: margin - x[target] + x[class], compared with zero; the gradient of one is
    # subtracted from the other's. With p = 2 times twice the distance, with weights times a weight; then times what
    # comes in.
    elements: Number = call["self"].elements
    wrong: Number = elements - elements // call["self"].last if isinstance(elements, int) else elements
    factors = (2 if call["p"] == 2 else 0) + (1 if call.get("weight") is not None else 0)
    return OperationCount(add=3, compare=1, multiply=factors) * wrong + OperationCount(multiply=elements)


@register_formula("aten::multilabel_margin_loss_backward")
def _multilabel_margin_backward(call: Call) -> OperationCount:
    # Every class against every other, as for as many targets as there may be.
    elements: Number = call["self"].elements
    pairs: Number = elements * call["self"].last
    return OperationCount(add=4, compare=1) * pairs + OperationCount(multiply=elements)


@register_formula("aten::_ctc_loss", "aten::_cudnn_ctc_loss", "aten::_use_cudnn_ctc_loss")
def _ctc(call: Call) -> OperationCount:
    steps, batch, _ = call["log_probs"].shape
    return ctc_loss(batch, steps, longest_label(call["targets"].shape, batch))


@register_formula("aten::_ctc_loss_backward")
def _ctc_backward(call: Call) -> OperationCount:
    steps, batch, vocabulary = call["log_probs"].shape
    return ctc_loss_gradient(batch, steps, longest_label(call["targets"].shape, batch), vocabulary)


def longest_label(targets: tuple[Number, ...], batch: Number) -> Number:
    """Labels per sample: the width of a padded matrix, or the average of concatenated labels, rounded up."""
    if len(targets) == 2:
        return targets[1]
    return -(-targets[0] // batch)
