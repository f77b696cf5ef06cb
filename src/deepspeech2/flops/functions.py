"""Functions counted whole, above the dispatcher: linear layers, attention, CTC loss; recurrent layers have a file.

The dispatcher would hide them in a vendor kernel, or pick an attention kernel that depends on the machine. Here the
call is counted from its shapes, and results of the right shapes are returned; the gradient, when it is asked for, is
counted the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, TypeAlias

import torch

from deepspeech2.flops.formulas.attention import attention, attention_gradient, attention_tangent, mask_gradient
from deepspeech2.flops.formulas.losses import ctc_loss, ctc_loss_gradient
from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.known_values import known_integers
from deepspeech2.flops.operations import Number, OperationCount, total_of
from deepspeech2.flops.operators.attention import attention_sizes
from deepspeech2.flops.operators.losses import longest_label, reduced
from deepspeech2.flops.recorder import Recorder, specification
from deepspeech2.flops.registry import Call
from deepspeech2.flops.transforms import below_gradients
from deepspeech2.flops.whole import Plan, SizeOf, Tensors, Whole

FunctionRule: TypeAlias = Callable[[Recorder, SizeOf, tuple[Any, ...], dict[str, Any]], Any]

_rules: dict[Any, FunctionRule] = {}
_transformable: set[Any] = set()


def find_function_rule(function: Any, *, transformed: bool = False) -> FunctionRule | None:
    """The rule of a torch function that is counted whole, or None; if need be one that counts under a transform."""
    try:
        return _rules.get(function) if not transformed or function in _transformable else None
    except TypeError:
        return None


def register_function(*functions: Any, transformable: bool = False) -> Callable[[FunctionRule], FunctionRule]:
    """Declare that calls of these torch functions are handled by a rule, which returns their results.

    Args:
        functions: as a program calls them.
        transformable: the rule's results are those of `Whole`, which torch.func can differentiate.
    """

    def add(rule: FunctionRule) -> FunctionRule:
        for function in functions:
            _rules[function] = rule
        if transformable:
            _transformable.update(functions)
        return rule

    return add


# Fully connected ---------------------------------------------------------------------------------------------


@register_function(torch.nn.functional.linear, torch._C._nn.linear)
def _linear(
    recorder: Recorder,
    read_size: SizeOf,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    original: Callable[..., Any] = torch.nn.functional.linear,
) -> Any:
    # Depending on the memory layout it becomes one fused operator or a product and an addition; one rule for all.
    names = ("input", "weight", "bias")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    with recorder.silence():
        result = original(*args, **kwargs)
    specified = {
        name: specification(value, read_size) for name, value in given.items() if isinstance(value, torch.Tensor)
    }
    recorder.record(Call("aten::linear", specified, (specification(result, read_size),)))
    return result


@register_function(torch.linalg.vecdot)
def _vector_dots(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Below, a product and a sum, which would not be recognised as one dot product.
    given = {**dict(zip(("x", "y"), args, strict=False)), **kwargs}
    with recorder.silence():
        result = torch.linalg.vecdot(*args, **kwargs)
        broadcast = torch.broadcast_shapes(given["x"].shape, given["y"].shape)
    length = read_size(broadcast[given.get("dim", -1)])
    specified = {name: specification(given[name], read_size) for name in ("x", "y")}
    output = specification(result, read_size)
    recorder.record(
        Call("aten::linalg_vecdot", specified, (output,)), rule=lambda _: dot_products(output.elements, length)
    )
    return result


# Attention ---------------------------------------------------------------------------------------------------


@register_function(
    torch.nn.functional.scaled_dot_product_attention,
    torch._C._nn.scaled_dot_product_attention,
    torch.ops.aten.scaled_dot_product_attention,
    torch.ops.aten.scaled_dot_product_attention.default,
    transformable=True,
)
def _attention(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    options = {**dict(zip(names, args, strict=False)), **kwargs}
    tensors = [options.get(name) for name in names[:4]]
    return Whole.apply(_attention_plan(recorder, read_size, tensors, options), *tensors)  # type: ignore[no-untyped-call]


def _attention_plan(recorder: Recorder, read_size: SizeOf, tensors: Sequence[Any], options: dict[str, Any]) -> Plan:
    """Attention of query, key, value and a mask or None, with the options of a call."""
    names = ("query", "key", "value", "attn_mask")
    rest = {name: option for name, option in options.items() if name not in names}
    given = dict(zip(names, tensors, strict=True))
    query, key, value = tensors[:3]
    leading = _attention_leading(query, key, value, {**given, **rest})
    specified = {
        name: specification(below_gradients(tensor), read_size) for name, tensor in given.items() if tensor is not None
    }
    sizes = attention_sizes(Call("aten::scaled_dot_product_attention", {**specified, **rest}))

    def backward(needed: Sequence[bool]) -> OperationCount:
        of_query, of_key, of_value, of_mask = needed
        count = attention_gradient(sizes, (of_query, of_key, of_value), of_mask=of_mask)
        return count + mask_gradient(sizes, specified["attn_mask"].elements) if of_mask else count

    def tangent(given: Sequence[bool]) -> OperationCount:
        of_query, of_key, of_value, of_mask = given
        return attention_tangent(sizes, (of_query, of_key, of_value), of_mask=of_mask)

    dimensions = [None if tensor is None else tensor.dim() for tensor in tensors]

    def of_samples(mapped: Tensors) -> Plan:
        return replace(_attention_plan(recorder, read_size, _samples_in_front(mapped, dimensions), rest), like=None)

    output = (*leading, query.shape[-2], value.shape[-1])
    # A fused kernel keeps the logarithm of the sum of each softmax.
    kept, forward = [(*leading, query.shape[-2])], attention(sizes)
    # The fused kernel of a CPU writes its result as the queries lie; it takes four axes and values as wide as keys.
    fused = query.dim() == 4 and tuple(query.shape) == output
    return Plan(
        recorder,
        read_size,
        "scaled_dot_product_attention",
        forward,
        backward,
        [output],
        tangent,
        kept,
        of_samples,
        0 if fused else None,
    )


def _samples_in_front(tensors: Sequence[Any], dimensions: Sequence[int | None]) -> list[Any]:
    """Tensors of all samples, of one each of so many `dimensions`, with the samples in front of all other axes.

    Those that a tensor leaves to broadcasting are among them; what all samples share has none more.
    """
    axes = max(each for each in dimensions[:3] if each is not None)
    mapped = [tensor is not None and tensor.dim() != each for tensor, each in zip(tensors, dimensions, strict=True)]
    samples = next(tensor.shape[0] for tensor, has_samples in zip(tensors, mapped, strict=True) if has_samples)
    spread = [
        tensor[(slice(None), *[None] * (axes + 1 - tensor.dim()))] if has_samples else tensor
        for tensor, has_samples in zip(tensors, mapped, strict=True)
    ]
    if not mapped[0]:
        # Queries that all samples share meet what each sample has.
        spread[0] = spread[0].expand(samples, *[1] * (axes - spread[0].dim()), *spread[0].shape)
    return spread


def _attention_leading(query: Any, key: Any, value: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    """The leading axes of the result, or a RuntimeError, as torch's own, where the tensors do not fit together."""
    mask = options.get("attn_mask")
    shapes = [tuple(tensor.shape) for tensor in (query, key, value)]
    if min(map(len, shapes)) < 2:
        raise RuntimeError(f"attention needs query, key and value of at least two axes, found {shapes}")
    if shapes[0][-1] != shapes[1][-1] or shapes[1][-2] != shapes[2][-2]:
        raise RuntimeError(
            "attention needs queries and keys of one size and as many values as keys, found query, key and value of "
            f"{', '.join(map(str, shapes))}"
        )
    leading = [shape[:-2] for shape in shapes]
    if options.get("enable_gqa") and min(map(len, leading)) > 0:
        heads = [axes[-1] for axes in leading]
        if heads[0] % heads[1] or heads[0] % heads[2]:
            raise RuntimeError(f"grouped attention needs query heads in whole groups per key head, found heads {heads}")
        leading = [(*axes[:-1], heads[0]) for axes in leading]
    result = tuple(torch.broadcast_shapes(*leading))
    if mask is not None:
        if options.get("is_causal"):
            raise RuntimeError("attention takes a mask or is_causal=True, not both")
        scores = (*result, shapes[0][-2], shapes[1][-2])
        if tuple(torch.broadcast_shapes(tuple(mask.shape), scores)) != scores:
            raise RuntimeError(f"attention needs a mask that repeats to {scores}, found one of {tuple(mask.shape)}")
    return result


def multi_head_attention(called: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`torch.nn.functional.multi_head_attention_forward`, the linear layers and the attention in it through `called`.

    A Python function: interception is off inside it, so the two functions with rules are replaced in it. Copies of the
    module's functions look their names up in a copy of the module: other threads see torch's own.
    """
    module = torch.nn.functional.__dict__
    copied = dict(module)
    for name, function in module.items():
        if isinstance(function, FunctionType) and function.__globals__ is module:
            copy = FunctionType(function.__code__, copied, name, function.__defaults__, function.__closure__)
            copy.__kwdefaults__ = function.__kwdefaults__
            copied[name] = copy
    for name in ("linear", "scaled_dot_product_attention"):
        copied[name] = partial(called, module[name])
    return copied["multi_head_attention_forward"](*args, **kwargs)


# CTC loss ----------------------------------------------------------------------------------------------------


_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def _refuse_lengths(name: str, lengths: Sequence[int], batch: Number, longest: Number) -> None:
    """What torch refuses: lengths of an uninitialised tensor would count as they are."""
    if isinstance(batch, int) and len(lengths) != batch:
        raise RuntimeError(f"ctc_loss needs {name} for {batch} sequences, found {len(lengths)}")
    if min(lengths, default=0) < 0 or (isinstance(longest, int) and max(lengths, default=0) > longest):
        raise RuntimeError(f"ctc_loss needs {name} from 0 to {longest}, found {lengths}")


@register_function(
    torch.nn.functional.ctc_loss, torch.ctc_loss, torch._C._VariableFunctions.ctc_loss, transformable=True
)
def _ctc(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("log_probs", "targets", "input_lengths", "target_lengths", "blank", "reduction", "zero_infinity")
    options = {**dict(zip(names, args, strict=False)), **kwargs}
    log_probs, targets, reduction = options["log_probs"], options["targets"], options.get("reduction", 1)
    reduction = _REDUCTIONS.get(reduction, reduction)
    batched = log_probs.dim() == 3
    steps, vocabulary = read_size(log_probs.shape[0]), read_size(log_probs.shape[-1])
    batch = read_size(log_probs.shape[1]) if batched else 1
    frames, labels = known_integers(options["input_lengths"]), known_integers(options["target_lengths"])
    samples: list[tuple[Number, Number, Number]]
    if frames is not None and labels is not None:
        # Each sample at its own lengths.
        _refuse_lengths("input_lengths", frames, batch, steps)
        _refuse_lengths("target_lengths", labels, batch, read_size(targets.shape[-1]))
        samples = [(1, length, size) for length, size in zip(frames, labels, strict=True)]
    else:
        samples = [(batch, steps, longest_label(tuple(map(read_size, targets.shape)), batch))]
    count = total_of(ctc_loss(*sample) for sample in samples) + reduced(batch, reduction)
    if options.get("zero_infinity"):
        count = count + OperationCount(compare=batch)
    if reduction == 1:
        # The mean is over losses divided by their number of labels.
        count = count + OperationCount(divide=batch)
    backward = total_of(ctc_loss_gradient(*sample, vocabulary) for sample in samples)
    shape = [log_probs.shape[1]] if batched and reduction == 0 else []
    # The forward variables: one for each state of each frame.
    states = 2 * longest_label(tuple(map(read_size, targets.shape)), batch) + 1
    kept = [(*log_probs.shape[:-1], int(states))] if isinstance(states, int) else []
    plan = Plan(recorder, read_size, "ctc_loss", count, backward, [shape], kept=kept)
    return Whole.apply(plan, log_probs)  # type: ignore[no-untyped-call]
