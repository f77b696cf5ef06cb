"""The two recurrences of DeepSpeech2 as torch operators: `deepspeech2::simple_recurrence` and `gru_recurrence`.

Each operator runs one direction over a padded batch. To `torch.export`, to meta and fake tensors and to the
operation counter it is a single call whose shapes may be symbols; inside, the utterances are packed step by step,
so that padding costs nothing and the backward direction starts at each utterance's last valid frame.

Weights multiply row vectors from the right (``h @ weight``), as published; `torch.nn.RNN` stores the transpose.
The first step of an utterance has no recurrent product, the state before it being zero.

The gradients are operators as well: the products with the transposed weights are taken in a loop, the gradient of
each weight as one matrix product over all frames. They cannot be differentiated again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepspeech2.errors import InputError


@dataclass(frozen=True)
class _Packing:
    """Where the valid frames lie once utterances are sorted by length and stored step by step.

    Attributes:
        rows: Row of the flattened (batch * time) frames for each packed frame.
        sizes: Number of utterances still running at each step, never increasing.
    """

    rows: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, lengths: Tensor, time: int, reverse: bool) -> _Packing:
        lengths = lengths.to("cpu", torch.int64)
        if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= time:
            raise InputError(
                f"recurrence: expected lengths between 0 and {time} frames, found {lengths.tolist()}; "
                "is `frames` the number of valid frames of each utterance?"
            )
        sorted_lengths, order = lengths.sort(descending=True, stable=True)
        steps = torch.arange(int(lengths.max()) if lengths.numel() else 0)[:, None]
        running = steps < sorted_lengths
        positions = sorted_lengths - 1 - steps if reverse else steps
        return cls((order * time + positions)[running], running.sum(1).tolist())

    def pack(self, padded: Tensor) -> Tensor:
        """Copy (batch, time, size) into (valid frames, size), in the order of the steps."""
        return padded.reshape(-1, padded.shape[-1]).index_select(0, self.rows.to(padded.device))

    def unpack(self, packed: Tensor, batch: int, time: int) -> Tensor:
        """Put packed frames back, zero where there was none."""
        padded = packed.new_zeros(batch * time, packed.shape[-1])
        return padded.index_copy_(0, self.rows.to(packed.device), packed).view(batch, time, -1)

    def previous(self, packed: Tensor) -> Tensor:
        """For every packed frame that is not its utterance's first, the frame one step earlier."""
        steps = packed.split(self.sizes)
        earlier = [step[:size] for step, size in zip(steps, self.sizes[1:], strict=False)]
        return torch.cat(earlier) if earlier else packed[:0]

    @property
    def first(self) -> int:
        """How many packed frames are the first of their utterance."""
        return self.sizes[0] if self.sizes else 0


@torch.library.custom_op("deepspeech2::simple_recurrence", mutates_args=())
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
    packing = _Packing.of(lengths, x.shape[1], reverse)
    packed = packing.pack(x).add_(bias)
    previous: Tensor | None = None
    for state in packed.split(packing.sizes):
        if previous is not None:
            state.addmm_(previous[: len(state)], weight)
        previous = state.clamp_(0, limit)
    return packing.unpack(packed, x.shape[0], x.shape[1])


@simple_recurrence.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool, limit: float) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("deepspeech2::simple_recurrence_backward", mutates_args=())
def simple_recurrence_backward(
    grad: Tensor, output: Tensor, weight: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of `simple_recurrence`: of x, weight and bias, given the gradient of the output and the output."""
    packing = _Packing.of(lengths, output.shape[1], reverse)
    states = packing.pack(output)
    delta = packing.pack(grad)
    passes = (states > 0) & (states < limit)
    later: Tensor | None = None
    for step, open_gate in zip(
        reversed(delta.split(packing.sizes)), reversed(passes.split(packing.sizes)), strict=True
    ):
        if later is not None:
            step[: len(later)].addmm_(later, weight.t())
        later = step.mul_(open_gate)
    grad_weight = packing.previous(states).t() @ delta[packing.first :]
    return packing.unpack(delta, output.shape[0], output.shape[1]), grad_weight, delta.sum(0)


@simple_recurrence_backward.register_fake
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


simple_recurrence.register_autograd(_backward_simple, setup_context=_save_simple)


@torch.library.custom_op("deepspeech2::gru_recurrence", mutates_args=())
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
    size = candidate_weight.shape[0]
    packing = _Packing.of(lengths, x.shape[1], reverse)
    gates = packing.pack(x).add_(bias)
    states = gates.new_empty(gates.shape[0], size)
    previous: Tensor | None = None
    for gate, state in zip(gates.split(packing.sizes), states.split(packing.sizes), strict=True):
        update_reset, update = gate[:, : 2 * size], gate[:, :size]
        reset, candidate = gate[:, size : 2 * size], gate[:, 2 * size :]
        if previous is None:
            update_reset.sigmoid_()
            torch.mul(update, candidate.relu_(), out=state)
        else:
            earlier = previous[: len(state)]
            update_reset.addmm_(earlier, gate_weight).sigmoid_()
            candidate.addmm_(reset * earlier, candidate_weight).relu_()
            torch.lerp(earlier, candidate, update, out=state)
        previous = state
    batch, time = x.shape[0], x.shape[1]
    return packing.unpack(states, batch, time), packing.unpack(gates, batch, time)


@gru_recurrence.register_fake
def _(
    x: Tensor, gate_weight: Tensor, candidate_weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0], x.shape[1], candidate_weight.shape[0]), x.new_empty(x.shape)


@torch.library.custom_op("deepspeech2::gru_recurrence_backward", mutates_args=())
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
    size = candidate_weight.shape[0]
    packing = _Packing.of(lengths, output.shape[1], reverse)
    states, values = packing.pack(output), packing.pack(gates)
    carried = packing.pack(grad)
    delta = torch.empty_like(values)
    update, reset, candidate = values.split(size, dim=1)
    # What does not depend on later steps is taken for all frames at once.
    before = torch.cat([states.new_zeros(packing.first, size), packing.previous(states)])
    slope_update = (candidate - before).mul_(update).mul_(1 - update)
    slope_reset = before * reset * (1 - reset)
    slope_candidate = update * (candidate > 0)

    end = len(states)
    for step in range(len(packing.sizes) - 1, -1, -1):
        rows = slice(end - packing.sizes[step], end)
        end = rows.start
        error, change = carried[rows], delta[rows]
        torch.mul(error, slope_update[rows], out=change[:, :size])
        torch.mul(error, slope_candidate[rows], out=change[:, 2 * size :])
        if step == 0:
            change[:, size : 2 * size] = 0  # the state before is zero: the reset gate has no effect
            break
        through_reset = change[:, 2 * size :] @ candidate_weight.t()
        torch.mul(through_reset, slope_reset[rows], out=change[:, size : 2 * size])
        start = end - packing.sizes[step - 1]
        earlier = carried[start : start + len(error)]
        earlier.addcmul_(error, 1 - update[rows]).addcmul_(through_reset, reset[rows])
        earlier.addmm_(change[:, : 2 * size], gate_weight.t())

    first = packing.first
    grad_gate_weight = before[first:].t() @ delta[first:, : 2 * size]
    grad_candidate_weight = (reset * before)[first:].t() @ delta[first:, 2 * size :]
    grad_x = packing.unpack(delta, gates.shape[0], gates.shape[1])
    return grad_x, grad_gate_weight, grad_candidate_weight, delta.sum(0)


@gru_recurrence_backward.register_fake
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
    return *gru_recurrence_backward(grad, *ctx.saved_tensors, ctx.reverse), None, None


gru_recurrence.register_autograd(_backward_gru, setup_context=_save_gru)
