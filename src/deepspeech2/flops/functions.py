"""Functions counted whole, above the dispatcher: linear layers, attention, CTC loss; recurrent layers have a file.

The dispatcher would hide them in a vendor kernel, or pick an attention kernel that depends on the machine. Here the
call is counted from its shapes, and results of the right shapes are returned; the gradient, when it is asked for, is
counted the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, TypeAlias

import torch

from deepspeech2.flops.formulas.attention import attention, attention_gradient, mask_gradient
from deepspeech2.flops.formulas.losses import ctc_loss, ctc_loss_gradient
from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.known_values import known_integers
from deepspeech2.flops.operations import Number, OperationCount, total_of
from deepspeech2.flops.operators.attention import attention_sizes
from deepspeech2.flops.operators.losses import longest_label, reduced
from deepspeech2.flops.recorder import Recorder, specification
from deepspeech2.flops.registry import Call

SizeOf: TypeAlias = Callable[[Any], Number]
FunctionRule: TypeAlias = Callable[[Recorder, SizeOf, tuple[Any, ...], dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A call counted whole: its counts in both directions and the shapes of what it returns.

    Beside its arguments and results it keeps tensors of the shapes `kept` for the backward pass, if there is to be one.
    """

    recorder: Recorder
    read_size: SizeOf
    name: str
    forward: OperationCount
    backward: OperationCount | Callable[[Sequence[bool]], OperationCount]
    shapes: Sequence[Sequence[Any]]
    kept: Sequence[Sequence[Any]] = ()
    differentiable: bool = field(default_factory=torch.is_grad_enabled)

    def gradient(self, needed: Sequence[bool]) -> OperationCount:
        """The count of the other direction, given which of the tensors need a gradient."""
        return self.backward(needed) if callable(self.backward) else self.backward

    def record(self, count: OperationCount, tensors: Sequence[Any], results: Sequence[Any], suffix: str = "") -> None:
        """Hand one direction to the recorder."""
        arguments = {
            str(index): specification(tensor, self.read_size)
            for index, tensor in enumerate(tensors)
            if isinstance(tensor, torch.Tensor)
        }
        outputs = tuple(specification(result, self.read_size) for result in results if result is not None)
        self.recorder.record(Call(f"torch::{self.name}{suffix}", arguments, outputs), rule=lambda _: count)


class Whole(torch.autograd.Function):
    """One node of the graph for a whole function: counted, never computed."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *tensors: Any) -> Any:
        """Record the call, and make results of the right shapes."""
        example = next(tensor for tensor in tensors if isinstance(tensor, torch.Tensor))
        with plan.recorder.silence():
            results = tuple(example.new_empty(tuple(shape)) for shape in plan.shapes)
            keeps = plan.differentiable and any(ctx.needs_input_grad)
            kept = [example.new_empty(tuple(shape)) for shape in plan.kept] if keeps else []
        plan.record(plan.forward, tensors, results)
        ctx.plan = plan
        ctx.arguments = len(tensors)
        ctx.save_for_backward(*tensors, *results, *kept)
        return results if len(results) > 1 else results[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Record the gradient, and make gradients of the right shapes."""
        needed = ctx.needs_input_grad[1:]
        arguments = ctx.saved_tensors[: ctx.arguments]
        results = _WholeGradient.apply(ctx.plan, needed, *arguments, *gradients)  # type: ignore[no-untyped-call]
        return (None, *results)


class _WholeGradient(torch.autograd.Function):
    """The other direction of a whole function, itself a node where a program differentiates a gradient."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, needed: Sequence[bool], *tensors: Any) -> Any:
        """Record the gradient; of the tensors, the first are the function's arguments."""
        arguments, gradients = tensors[: len(needed)], tensors[len(needed) :]
        with plan.recorder.silence():
            results = tuple(
                torch.empty_like(tensor) if wanted else None for tensor, wanted in zip(arguments, needed, strict=True)
            )
        plan.record(plan.gradient(needed), gradients, results, "_backward")
        ctx.plan = plan
        ctx.save_for_backward(*tensors)
        return results

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """A second derivative: of a move another move, of anything else unknown, though of known shapes."""
        plan = ctx.plan
        if plan.forward:
            plan.recorder.record_unknown(f"torch::{plan.name}", "second derivative of a function counted whole")
        with plan.recorder.silence():
            results = [
                torch.empty_like(tensor) if needed else None
                for tensor, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[2:], strict=True)
            ]
        return (None, None, *results)


_rules: dict[Any, FunctionRule] = {}


def find_function_rule(function: Any) -> FunctionRule | None:
    """The rule of a torch function that is counted whole, or None."""
    try:
        return _rules.get(function)
    except TypeError:
        return None


def register_function(*functions: Any) -> Callable[[FunctionRule], FunctionRule]:
    """Declare that calls of these torch functions are handled by a rule, which returns their results."""

    def add(rule: FunctionRule) -> FunctionRule:
        for function in functions:
            _rules[function] = rule
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
)
def _attention(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    options = {**dict(zip(names, args, strict=False)), **kwargs}
    query, key, value = (options[name] for name in names[:3])
    mask = options.get("attn_mask")
    leading = _attention_leading(query, key, value, options)
    specified = {
        name: specification(option, read_size) if isinstance(option, torch.Tensor) else option
        for name, option in options.items()
    }
    sizes = attention_sizes(Call("aten::scaled_dot_product_attention", specified))

    def backward(needed: Sequence[bool]) -> OperationCount:
        of_query, of_key, of_value, of_mask = needed
        count = attention_gradient(sizes, (of_query, of_key, of_value), of_mask=of_mask)
        return count + mask_gradient(sizes, specified["attn_mask"].elements) if of_mask else count

    output = (*leading, query.shape[-2], value.shape[-1])
    # A fused kernel keeps the logarithm of the sum of each softmax.
    kept = [(*leading, query.shape[-2])]
    plan = Plan(recorder, read_size, "scaled_dot_product_attention", attention(sizes), backward, [output], kept)
    return Whole.apply(plan, query, key, value, mask)  # type: ignore[no-untyped-call]


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


@register_function(torch.nn.functional.multi_head_attention_forward)
def _multi_head(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # A Python function: interception is off inside it, so its two functions with rules are replaced in it.
    # Copies of the module's functions look their names up in a copy of the module: other threads see torch's own.
    module = torch.nn.functional.__dict__
    copied = dict(module)

    def counted(rule: FunctionRule) -> Callable[..., Any]:
        return lambda *args, **kwargs: rule(recorder, read_size, args, kwargs)

    for name, function in module.items():
        if isinstance(function, FunctionType) and function.__globals__ is module:
            copy = FunctionType(function.__code__, copied, name, function.__defaults__, function.__closure__)
            copy.__kwdefaults__ = function.__kwdefaults__
            copied[name] = copy
    copied["linear"] = counted(_linear)
    copied["scaled_dot_product_attention"] = counted(_attention)
    return copied["multi_head_attention_forward"](*args, **kwargs)


# CTC loss ----------------------------------------------------------------------------------------------------


_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def _refuse_lengths(name: str, lengths: Sequence[int], batch: Number, longest: Number) -> None:
    """What torch refuses: lengths of an uninitialised tensor would count as they are."""
    if isinstance(batch, int) and len(lengths) != batch:
        raise RuntimeError(f"ctc_loss needs {name} for {batch} sequences, found {len(lengths)}")
    if min(lengths, default=0) < 0 or (isinstance(longest, int) and max(lengths, default=0) > longest):
        raise RuntimeError(f"ctc_loss needs {name} from 0 to {longest}, found {lengths}")


@register_function(torch.nn.functional.ctc_loss, torch.ctc_loss, torch._C._VariableFunctions.ctc_loss)
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
    plan = Plan(recorder, read_size, "ctc_loss", count, backward, [shape], kept)
    return Whole.apply(plan, log_probs)  # type: ignore[no-untyped-call]
