"""count: the operations of any torch module or callable, from shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, overload

import numpy as np
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils._pytree import tree_flatten

from deepspeech2.errors import CountingError, DataDependentError, InputError, UncountedOperatorError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.fakes import FakeWorld
from deepspeech2.flops.leftovers import caches_emptied
from deepspeech2.flops.refusals import failing_line, message_of, needed_value, shape_text, way_out, with_line
from deepspeech2.flops.refused_tensors import RefusedTensorError, refuse_tensors
from deepspeech2.flops.tally import Tally
from deepspeech2.flops.tracer import trace
from deepspeech2.flops.training_step import Training


@overload
def count(
    program: Callable[..., Any],
    inputs: Any,
    *,
    strict: bool = ...,
    symbolic: None = ...,
) -> Tally: ...


@overload
def count(
    program: Callable[..., Any],
    inputs: Any,
    *,
    strict: bool = ...,
    symbolic: Mapping[str, Any],
) -> ClosedForm: ...


@caches_emptied()
def count(
    program: Callable[..., Any],
    inputs: Any,
    *,
    strict: bool = False,
    symbolic: Mapping[str, Any] | None = None,
) -> Tally | ClosedForm:
    """Count every operation of one forward pass, exactly, without computing it.

    The program runs on fake tensors: no memory is allocated for activations, of values of the inputs only lengths
    and masks are read, the module is left as it was (its mode, train or eval, is respected). Taps on padding count as
    computed and are also reported as `padding_macs`. Operators without a formula make every total a lower bound and are
    listed in `unknown` with the line that called them.

    Does not cover what a vendor kernel really executes (Winograd or FFT convolutions, masked work that is computed and
    thrown away), nor control flow that depends on values.

    Args:
        program: any `torch.nn.Module` or callable.
        inputs: example tensors: one tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
            Only shapes and dtypes matter (integer tensors of up to 4096 elements keep their values, for lengths).
        strict: raise instead of giving a lower bound.
        symbolic: dimensions to keep as symbols, giving a closed formula instead of a tally. Maps a name to the axis
            of the inputs it stands for (the same axis of every input that has that size there), to a list of
            (input, axis) pairs, or to `...` to take it from the module's `symbolic_axes` or, failing that, axis 0
            for `"batch"` and, for any other name, the longest remaining axis of the first input that gives a formula;
            `axes` of the formula says which it is.

    Returns:
        A `Tally`; with `symbolic`, a `ClosedForm`, whose `at(batch=1, time=999)` is an integer.

    Raises:
        UncountedOperatorError: `strict` and some operator has no formula.
        DataDependentError: the program needs a value that shapes do not give.
        InputError: the inputs do not fit the module, whose own message is quoted; or a tensor is nested, sparse, or
            of a class that runs code of its own.
        ClosedFormError: the count has no closed formula in these dimensions.

    Example:
        >>> import torch
        >>> from deepspeech2 import count
        >>> tally = count(torch.nn.Linear(10, 3), torch.empty(2, 10))
        >>> tally.macs, tally.flops
        (60, 120)
    """
    args, kwargs = _arguments(inputs)
    _refuse_arrays(args, kwargs)
    refuse_tensors(program, args, kwargs)
    if symbolic is None:
        return _checked(_run(program, args, kwargs, FakeWorld.create()), strict)
    from deepspeech2.flops.axis_search import derive_along

    def pass_in(world: FakeWorld, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tally:
        return _checked(_run(program, args, kwargs, world), strict)

    return derive_along(pass_in, program, args, kwargs, symbolic)


@overload
def count_training(
    module: torch.nn.Module,
    inputs: Any,
    *,
    loss: Callable[[Any], torch.Tensor] | None = ...,
    optimiser: str | torch.optim.Optimizer | None = ...,
    clip_gradients: bool = ...,
    strict: bool = ...,
    symbolic: None = ...,
) -> Tally: ...


@overload
def count_training(
    module: torch.nn.Module,
    inputs: Any,
    *,
    loss: Callable[[Any], torch.Tensor] | None = ...,
    optimiser: str | torch.optim.Optimizer | None = ...,
    clip_gradients: bool = ...,
    strict: bool = ...,
    symbolic: Mapping[str, Any],
) -> ClosedForm: ...


@caches_emptied()
def count_training(  # noqa: PLR0913  (each is a part of what a step is)
    module: torch.nn.Module,
    inputs: Any,
    *,
    loss: Callable[[Any], torch.Tensor] | None = None,
    optimiser: str | torch.optim.Optimizer | None = "adam",
    clip_gradients: bool = False,
    strict: bool = False,
    symbolic: Mapping[str, Any] | None = None,
) -> Tally | ClosedForm:
    """Count one training step: forward, backward and the optimiser's update, each a `phase` of the tally.

    The module runs in training mode, whatever its own (which it keeps); gradients are taken of everything that
    requires one, inputs included if they do. Recomputation under activation checkpointing counts in the backward
    phase, where it happens. Loss scaling and communication are not part of it.

    Args:
        module: the module to train.
        inputs: example tensors, as for `count`.
        loss: from the module's result to a scalar; its operations count. Without one, the gradients of the results
            are taken as given.
        optimiser: `sgd`, `sgd-momentum`, `sgd-nesterov`, `adam`, `adamw`; or an optimiser of torch.optim for this
            module, with its options (those but SGD, Adam and AdamW are run on fakes); or None.
        clip_gradients: clip gradients by their global norm before the step; counted with the optimiser.
        strict: raise instead of giving a lower bound.
        symbolic: dimensions to keep as symbols, as for `count`; gives a closed formula, which `sum_steps` sums over
            all steps of a training.

    Raises:
        CountingError: no result depends on anything that requires a gradient.
        InputError: the inputs do not fit the module.
        OptionError: there is no such optimiser.
        UncountedOperatorError: `strict` and some operator has no formula.

    Example:
        >>> import torch
        >>> from deepspeech2 import count_training
        >>> step = count_training(torch.nn.Linear(10, 3), torch.empty(2, 10), optimiser="sgd")
        >>> step.phase("forward").macs, step.phase("backward").macs
        (60, 60)
    """
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"expected a torch module to train, found {type(module).__name__}")
    args, kwargs = _arguments(inputs)
    _refuse_arrays(args, kwargs)
    refuse_tensors(module, args, kwargs)
    training = Training(loss, optimiser, clip_gradients)

    def step(world: FakeWorld, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tally:
        with _training_mode(module):
            return _checked(_run(module, args, kwargs, world, training), strict)

    # A caller's inference mode would leave no graph to go back through.
    with torch.inference_mode(False):
        if symbolic is None:
            return step(FakeWorld.create(), args, kwargs)
        from deepspeech2.flops.axis_search import derive_along

        return derive_along(step, module, args, kwargs, symbolic)


@contextmanager
def _training_mode(module: torch.nn.Module) -> Iterator[None]:
    """In training mode and without gradients, both as they were at the end.

    Parameters of TorchScript cannot be replaced by fakes: what they receive is taken away again.
    """
    modes = {child: child.training for child in module.modules() if hasattr(child, "training")}
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    try:
        if len(modes) != len(list(module.modules())):
            raise AttributeError("training")
        module.train()
    except (NotImplementedError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"a {type(module).__name__} that was exported or frozen cannot be put into training mode; "
            "count the module it was made from"
        ) from error
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for child, mode in modes.items():
            child.training = mode
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if isinstance(inputs, tuple | list) and not hasattr(inputs, "_fields"):
        return tuple(inputs), {}
    return (inputs,), {}


def _run(
    program: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    world: FakeWorld,
    training: Training | None = None,
) -> Tally:
    if not callable(program):
        raise InputError(f"expected a torch module or a function to count, found {type(program).__name__}")
    try:
        return trace(program, args, kwargs, world, training).tally()
    except (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode) as error:
        raise DataDependentError(
            f"the program needs the value of a tensor ({needed_value(error)}) at {failing_line(error)}, and counting "
            f"knows shapes only; {way_out(program, args, kwargs)}make the decision from shapes, or count the part "
            "behind it on its own"
        ) from error
    except RefusedTensorError as error:
        raise InputError(with_line(str(error), error)) from error
    except (CountingError, InputError):
        raise
    except Exception as error:  # whatever the program raises on inputs that do not fit it
        world.mode.refuse_what_was_lost()
        shapes = ", ".join(shape_text(value) for value in (*args, *kwargs.values())) or "()"
        message = message_of(error)
        raise InputError(f"the module does not run on inputs {shapes}: {message}") from error
    finally:
        world.end()


def _refuse_arrays(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    top = (*args, *kwargs.values())
    # A numpy number deeper down is a number; an array would compute, and nobody would see it.
    nested = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, np.ndarray)]
    for value in (*top, *nested):
        if type(value).__module__ == "numpy":
            raise InputError(
                f"expected torch tensors, found a numpy {type(value).__name__}; wrap it with torch.as_tensor"
            )


def _checked(tally: Tally, strict: bool) -> Tally:
    if strict and tally.unknown:
        first = tally.unknown[0]
        more = f" and {len(tally.unknown) - 1} more" if len(tally.unknown) > 1 else ""
        raise UncountedOperatorError(
            f"{first.operator} cannot be counted ({first.reason}), called at {first.sites[0]}{more}; "
            "register a formula for it with register_formula, or count without strict for a lower bound"
        )
    return tally
