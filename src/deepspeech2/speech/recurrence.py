"""The two recurrences of DeepSpeech2 as torch operators: `deepspeech2::simple_recurrence` and `gru_recurrence`.

Each operator runs one direction over a padded batch. To `torch.export`, to meta and fake tensors and to the
operation counter it is a single call whose shapes may be symbols; inside, native kernels run it where they apply
(`recurrence_native.py`: float32 on the CPU), and a loop of torch operations everywhere else (`recurrence_loops.py`).
Padding costs nothing, and the backward direction starts at each utterance's last valid frame.

Weights multiply row vectors from the right (``h @ weight``), as published; `torch.nn.RNN` stores the transpose.
The first step of an utterance has no recurrent product, the state before it being zero.

The gradients are operators as well: the products with the transposed weights are taken step by step, the gradient
of each weight as one matrix product over all frames. They cannot be differentiated again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepspeech2.errors import InputError
from deepspeech2.speech import recurrence_loops, recurrence_native
from deepspeech2.speech.operators import LIBRARY, fake_result_of, operator


def checked_lengths(lengths: Tensor, time: int) -> Tensor:
    """The lengths on the CPU, once they fit the padded time."""
    lengths = lengths.to("cpu", torch.int64)
    if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= time:
        raise InputError(
            f"recurrence: expected lengths between 0 and {time} frames, found {lengths.tolist()}; "
            "is `frames` the number of valid frames of each utterance?"
        )
    return lengths


@operator
def simple_recurrence(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool, limit: float) -> Tensor:
    """Run ``h[t] = clip(x[t] + bias + h[t-1] @ weight, 0, limit)`` over the valid frames; h is zero elsewhere.

    Args:
        x: Projected input, (batch, time, size).
        weight: (size, size), multiplying row vectors.
        bias: (size,).
        lengths: Valid frames of each utterance, (batch,), int64, each between 0 and time.
        reverse: Run from each utterance's last valid frame to its first.
        limit: Upper end of the clipped ReLU.

    Returns:
        (batch, time, size).

    Raises:
        InputError: A length does not fit.
    """
    lengths = checked_lengths(lengths, x.shape[1])
    native = recurrence_native.applies(x, weight, bias)
    run = recurrence_native.simple_forward if native else recurrence_loops.simple_forward
    return run(x, weight, bias, lengths, reverse, limit)


@fake_result_of("simple_recurrence")
def _(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool, limit: float) -> Tensor:
    return x.new_empty(x.shape)


@operator
def simple_recurrence_backward(
    grad: Tensor, output: Tensor, weight: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of `simple_recurrence`: of x, weight and bias, given the gradient of the output and the output."""
    lengths = checked_lengths(lengths, output.shape[1])
    native = recurrence_native.applies(grad, output, weight)
    run = recurrence_native.simple_backward if native else recurrence_loops.simple_backward
    return run(grad, output, weight, lengths, reverse, limit)


@fake_result_of("simple_recurrence_backward")
def _(
    grad: Tensor, output: Tensor, weight: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    return output.new_empty(output.shape), weight.new_empty(weight.shape), weight.new_empty(weight.shape[1:])


def _save_simple(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, weight, _, lengths, ctx.reverse, ctx.limit = inputs
    ctx.save_for_backward(output, weight, lengths)


def _backward_simple(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    output, weight, lengths = ctx.saved_tensors
    return *simple_recurrence_backward(grad, output, weight, lengths, ctx.reverse, ctx.limit), None, None, None


torch.library.register_autograd(
    "deepspeech2::simple_recurrence", _backward_simple, setup_context=_save_simple, lib=LIBRARY
)


@operator
def gru_recurrence(
    x: Tensor, gate_weight: Tensor, candidate_weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Run the published GRU over the valid frames; its state is zero elsewhere.

    ``z, r = sigmoid(x_zr[t] + b_zr + h[t-1] @ gate_weight)``, ``c = relu(x_c[t] + b_c + (r * h[t-1]) @
    candidate_weight)``, ``h[t] = (1 - z) * h[t-1] + z * c``; in the first step ``h = z * c`` and nothing is
    multiplied by a weight. `torch.nn.GRU` is another function: it resets after the product, exchanges z and
    1 - z, and has a tanh candidate.

    Args:
        x: Projected input, (batch, time, 3 * size), in the order update, reset, candidate.
        gate_weight: (size, 2 * size), update then reset, multiplying row vectors.
        candidate_weight: (size, size).
        bias: (3 * size,).
        lengths: Valid frames of each utterance, (batch,), int64, each between 0 and time.
        reverse: Run from each utterance's last valid frame to its first.

    Returns:
        The states, (batch, time, size), and the values of update, reset and candidate, (batch, time, 3 * size),
        which only the gradient needs; both zero past the valid frames.

    Raises:
        InputError: A length does not fit.
    """
    lengths = checked_lengths(lengths, x.shape[1])
    native = recurrence_native.applies(x, gate_weight, candidate_weight, bias)
    run = recurrence_native.gru_forward if native else recurrence_loops.gru_forward
    return run(x, gate_weight, candidate_weight, bias, lengths, reverse)


@fake_result_of("gru_recurrence")
def _(
    x: Tensor, gate_weight: Tensor, candidate_weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0], x.shape[1], candidate_weight.shape[0]), x.new_empty(x.shape)


@operator
def gru_recurrence_backward(  # noqa: PLR0913, PLR0917
    grad: Tensor,
    output: Tensor,
    gates: Tensor,
    gate_weight: Tensor,
    candidate_weight: Tensor,
    lengths: Tensor,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradient of `gru_recurrence`: of x, gate_weight, candidate_weight and bias, given that of the states."""
    lengths = checked_lengths(lengths, output.shape[1])
    native = recurrence_native.applies(grad, output, gates, gate_weight, candidate_weight)
    run = recurrence_native.gru_backward if native else recurrence_loops.gru_backward
    return run(grad, output, gates, gate_weight, candidate_weight, lengths, reverse)


@fake_result_of("gru_recurrence_backward")
def _(  # noqa: PLR0913, PLR0917
    grad: Tensor,
    output: Tensor,
    gates: Tensor,
    gate_weight: Tensor,
    candidate_weight: Tensor,
    lengths: Tensor,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        gates.new_empty(gates.shape),
        gate_weight.new_empty(gate_weight.shape),
        candidate_weight.new_empty(candidate_weight.shape),
        gates.new_empty(gates.shape[2:]),
    )


def _save_gru(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, gate_weight, candidate_weight, _, lengths, ctx.reverse = inputs
    states, gates = output
    ctx.mark_non_differentiable(gates)
    ctx.save_for_backward(states, gates, gate_weight, candidate_weight, lengths)


def _backward_gru(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    states, gates, gate_weight, candidate_weight, lengths = ctx.saved_tensors
    gradients = gru_recurrence_backward(grad, states, gates, gate_weight, candidate_weight, lengths, ctx.reverse)
    return *gradients, None, None


torch.library.register_autograd("deepspeech2::gru_recurrence", _backward_gru, setup_context=_save_gru, lib=LIBRARY)
