"""Batch, layer, group, instance and root-mean-square norms."""

from __future__ import annotations

from math import prod

from deepspeech2.flops.formulas.normalisation import (
    Needed,
    batch_norm_inference,
    batch_norm_inference_gradient,
    normalised,
    normalised_gradient,
    rms_normalised,
    running_statistics,
)
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _quotient(elements: Number, groups: Number) -> Number:
    exact_integers = isinstance(elements, int) and isinstance(groups, int)
    return elements // groups if exact_integers else elements / groups


def _needed(call: Call) -> Needed | None:
    """Which of the gradients autograd asks for."""
    mask = call.get("output_mask")
    return None if mask is None else (bool(mask[0]), bool(mask[1]), bool(mask[2]))


def _batch_norm(call: Call, training: bool) -> OperationCount:
    image: TensorSpec = call.tensors[0]
    channels = image.shape[1]
    if not training:
        return batch_norm_inference(image.elements, channels)
    scaled, shifted = call.get("weight") is not None, call.get("bias") is not None
    count = normalised(channels, _quotient(image.elements, channels), scale=scaled, shift=shifted)
    stored = call.get("running_mean") is not None
    return count + running_statistics(channels) if stored else count


@register_formula(
    "aten::native_batch_norm",
    "aten::_native_batch_norm_legit",
    "aten::_batch_norm_with_update",
    "aten::_native_batch_norm_legit_functional",
    "aten::_batch_norm_with_update_functional",
    "aten::cudnn_batch_norm",
    "aten::miopen_batch_norm",
)
def _batch_norm_either(call: Call) -> OperationCount:
    return _batch_norm(call, bool(call.get("training", True)))


@register_formula("aten::_native_batch_norm_legit_no_training", "aten::_batch_norm_no_update")
def _batch_norm_stored(call: Call) -> OperationCount:
    return _batch_norm(call, training=False)


@register_formula("aten::native_batch_norm_backward", "aten::batch_norm_backward")
def _batch_norm_backward(call: Call) -> OperationCount:
    image: TensorSpec = call["input"]
    channels = image.shape[1]
    training = call.get("train", call.get("update", True))
    scaled = call.get("weight") is not None
    if not training:
        return batch_norm_inference_gradient(image.elements, channels, scale=scaled, needed=_needed(call))
    length = _quotient(image.elements, channels)
    return normalised_gradient(channels, length, channels, scale=scaled, needed=_needed(call))


@register_formula("aten::native_layer_norm")
def _layer_norm(call: Call) -> OperationCount:
    length = prod(call["normalized_shape"])
    groups = _quotient(call["input"].elements, length)
    return normalised(groups, length, scale=call.get("weight") is not None, shift=call.get("bias") is not None)


@register_formula("aten::native_layer_norm_backward")
def _layer_norm_backward(call: Call) -> OperationCount:
    length = prod(call["normalized_shape"])
    groups = _quotient(call["input"].elements, length)
    scaled = call.get("weight") is not None
    return normalised_gradient(groups, length, length, scale=scaled, needed=_needed(call))


@register_formula("aten::native_group_norm")
def _group_norm(call: Call) -> OperationCount:
    groups = call["N"] * call["group"]
    return normalised(
        groups,
        _quotient(call["input"].elements, groups),
        scale=call.get("weight") is not None,
        shift=call.get("bias") is not None,
    )


@register_formula("aten::native_group_norm_backward")
def _group_norm_backward(call: Call) -> OperationCount:
    groups = call["N"] * call["group"]
    length = _quotient(call["input"].elements, groups)
    scaled = call.get("weight") is not None
    return normalised_gradient(groups, length, call["C"], scale=scaled, needed=_needed(call))


@register_formula("aten::_fused_rms_norm", "aten::rms_norm")
def _rms_norm(call: Call) -> OperationCount:
    length = prod(call["normalized_shape"])
    return rms_normalised(_quotient(call["input"].elements, length), length, scale=call.get("weight") is not None)
