"""A function counted whole as a node of autograd's graph, also under the transforms of torch.func.

A transform takes a node apart by levels: at each one, `setup_context` keeps what the gradient of that level needs; the
lowest runs `forward`, with tensors that no transform wraps, and there the call is recorded, once. A vmap on the way
makes one call for all its samples of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch

from deepspeech2.flops.needed_gradients import needed_by_engine
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.recorder import Recorder, specification
from deepspeech2.flops.registry import Call

SizeOf: TypeAlias = Callable[[Any], Number]
Tensors: TypeAlias = Sequence[torch.Tensor | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A call counted whole: its counts in both directions and the shapes of what it returns.

    Beside its arguments and results it keeps tensors of the shapes `kept` for the backward pass, if there is to be one.
    `tangent`, where there is one, is the count of its derivative, given which of the tensors have a direction.
    `like` is the place of the argument whose shape and layout in memory the result has; other results are contiguous.
    Of many samples, which stand on a first axis, it costs as many calls, unless `of_samples` knows better: it is given
    arguments with that axis and returns their plan.
    """

    recorder: Recorder
    read_size: SizeOf
    name: str
    forward: OperationCount
    backward: OperationCount | Callable[[Sequence[bool]], OperationCount]
    shapes: Sequence[Sequence[Any]]
    tangent: Callable[[Sequence[bool]], OperationCount] | None = None
    kept: Sequence[Sequence[Any]] = ()
    of_samples: Callable[[Tensors], Plan] | None = None
    like: int | None = None
    differentiable: bool = field(default_factory=torch.is_grad_enabled)
    level: int | None = field(default_factory=torch._C._functorch.maybe_current_level)

    def gradient(self, needed: Sequence[bool]) -> OperationCount:
        """The count of the other direction, given which of the tensors need a gradient."""
        return self.backward(needed) if callable(self.backward) else self.backward

    def mapped(self, samples: int, tensors: Tensors) -> Plan:
        """The plan of all samples of a vmap, whose arguments have them as their first axis."""
        if self.of_samples is not None:
            return self.of_samples(tensors)
        times = self.read_size(samples)
        shapes = [(samples, *shape) for shape in self.shapes]
        forward = self.forward * times
        return replace(self, forward=forward, backward=lambda needed: self.gradient(needed) * times, shapes=shapes)

    def results(self, tensors: Sequence[Any]) -> tuple[torch.Tensor, ...]:
        """What the call returns for these arguments."""
        if self.like is not None:
            return (torch.empty_like(tensors[self.like]),)
        return tuple(_example(tensors).new_empty(tuple(shape)) for shape in self.shapes)

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
    def forward(plan: Plan, *tensors: Any) -> Any:
        """Record the call, and make results of the right shapes."""
        with plan.recorder.silence():
            results = plan.results(tensors)
        plan.record(plan.forward, tensors, results)
        return results if len(results) > 1 else results[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what the gradient needs."""
        plan, *tensors = inputs
        # The lower levels of a transform keep nothing for a gradient of their own.
        own = plan.level == torch._C._functorch.maybe_current_level()
        kept: list[torch.Tensor] = []
        if plan.differentiable and own and any(ctx.needs_input_grad):
            with plan.recorder.silence():
                kept = [_example(tensors).new_empty(tuple(shape)) for shape in plan.kept]
        ctx.plan = plan
        ctx.arguments = len(tensors)
        results = output if isinstance(output, tuple) else (output,)
        ctx.save_for_backward(*tensors, *results, *kept)
        ctx.save_for_forward(*tensors)
        # A direction that is not given is none of zeros.
        ctx.set_materialize_grads(plan.tangent is None)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Record the gradient, and make gradients of the right shapes."""
        arguments = ctx.saved_tensors[: ctx.arguments]
        needed = needed_by_engine(ctx, arguments)
        if any(map(_is_batch, gradients)):
            return (None, *_gradients_of_batch(ctx.plan, needed, arguments, gradients))
        results = _WholeGradient.apply(ctx.plan, needed, *arguments, *gradients)  # type: ignore[no-untyped-call]
        return (None, *results)

    @staticmethod
    def jvp(ctx: Any, _: Any, *directions: Any) -> Any:
        """Record the derivative of dual numbers, and make derivatives of the right shapes."""
        results = _WholeTangent.apply(ctx.plan, *ctx.saved_tensors[: ctx.arguments], *directions)  # type: ignore[no-untyped-call]
        return results if len(results) > 1 else results[0]

    @staticmethod
    def vmap(info: Any, in_dims: Any, plan: Plan, *tensors: Any) -> Any:
        """One call for all samples."""
        with plan.recorder.silence():
            moved = _samples_first(tensors, in_dims[1:])
        results = Whole.apply(plan.mapped(info.batch_size, moved), *moved)  # type: ignore[no-untyped-call]
        return results, (0,) * len(results) if isinstance(results, tuple) else 0


class _WholeGradient(torch.autograd.Function):
    """The other direction of a whole function, itself a node where a program differentiates a gradient."""

    @staticmethod
    def forward(plan: Plan, needed: Sequence[bool], *tensors: Any) -> Any:
        """Record the gradient; of the tensors, the first are the function's arguments."""
        arguments, gradients = tensors[: len(needed)], tensors[len(needed) :]
        with plan.recorder.silence():
            results = tuple(
                torch.empty_like(tensor) if wanted else None for tensor, wanted in zip(arguments, needed, strict=True)
            )
        plan.record(plan.gradient(needed), gradients, results, "_backward")
        return results

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what a second derivative asks for."""
        plan, _, *tensors = inputs
        ctx.plan = plan
        ctx.save_for_backward(*tensors)

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

    @staticmethod
    def vmap(info: Any, in_dims: Any, plan: Plan, needed: Sequence[bool], *tensors: Any) -> Any:
        """As many gradients as samples, of arguments that all samples share too."""
        with plan.recorder.silence():
            moved = _samples_first(tensors, in_dims[2:])
            # Each sample has its own gradient, of what all of them share too.
            for index, (tensor, wanted) in enumerate(zip(moved, needed, strict=False)):
                if wanted and in_dims[2 + index] is None and tensor is not None:
                    moved[index] = tensor.expand(info.batch_size, *tensor.shape)
            arguments = moved[: len(needed)]
        mapped = plan.mapped(info.batch_size, arguments)
        results = _WholeGradient.apply(mapped, needed, *moved)  # type: ignore[no-untyped-call]
        return results, tuple(None if result is None else 0 for result in results)


def _is_batch(tensor: torch.Tensor | None) -> bool:
    """Whether a tensor stands for many, of `torch.autograd.grad(..., is_grads_batched=True)`: a vmap of its own."""
    return tensor is not None and torch._C._functorch.is_legacy_batchedtensor(tensor)


def _gradients_of_batch(
    plan: Plan, needed: Sequence[bool], arguments: Sequence[Any], gradients: Sequence[Any]
) -> list[torch.Tensor | None]:
    """The gradients for each of a batch of gradients."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    places = [0 if _is_batch(gradient) else None for gradient in gradients]
    with plan.recorder.silence():
        pairs = zip(gradients, places, strict=True)
        whole = [one if place is None else torch._remove_batch_dim(one, level, 0, 0) for one, place in pairs]
    samples = next(one.shape[0] for one, place in zip(whole, places, strict=True) if place is not None)
    in_dims = (None, None, *[None] * len(arguments), *places)
    results, _ = _WholeGradient.vmap(SimpleNamespace(batch_size=samples), in_dims, plan, needed, *arguments, *whole)
    return [None if result is None else torch._add_batch_dim(result, 0, level) for result in results]


class _WholeTangent(torch.autograd.Function):
    """The derivative of a whole function in a direction, of which no further derivative is asked."""

    @staticmethod
    def forward(plan: Plan, *tensors: Any) -> Any:
        """Record the derivative; the first half of the tensors are the function's arguments."""
        directions = tensors[len(tensors) // 2 :]
        with plan.recorder.silence():
            results = plan.results(tensors)
        assert plan.tangent is not None
        plan.record(plan.tangent([one is not None for one in directions]), directions, results, "_tangent")
        return results

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, plan: Plan, *tensors: Any) -> Any:
        """As many derivatives as samples, of arguments that all samples share too."""
        places, half = in_dims[1:], len(tensors) // 2
        with plan.recorder.silence():
            moved = _samples_first(tensors, places)
            for index in range(half):
                if places[index] is None and moved[index + half] is not None:
                    moved[index] = moved[index].expand(info.batch_size, *moved[index].shape)
        mapped = plan.mapped(info.batch_size, moved[:half])
        results = _WholeTangent.apply(mapped, *moved)  # type: ignore[no-untyped-call]
        return results, (0,) * len(results)


def _example(tensors: Sequence[Any]) -> torch.Tensor:
    return next(tensor for tensor in tensors if isinstance(tensor, torch.Tensor))


def _samples_first(tensors: Sequence[Any], places: Sequence[int | None]) -> list[Any]:
    """Tensors with the samples of a vmap as their first axis, where they have them."""
    pairs = zip(tensors, places, strict=True)
    return [tensor if place is None else tensor.movedim(place, 0) for tensor, place in pairs]
