"""The recurrences as loops of torch operations over the steps: any device, any floating-point type.

What `recurrence.py` falls back to where the native kernels do not apply. The utterances are packed step by step, so
that padding costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the valid frames lie once utterances are sorted by length and stored step by step.

    Attributes:
        rows: Row of the flattened (batch * time) frames for each packed frame.
        sizes: Number of utterances still running at each step, never increasing.
    """

    rows: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, lengths: Tensor, time: int, reverse: bool) -> Packing:
        """Sort the utterances, given their lengths and the padded time."""
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
        size = packed.shape[-1]
        padded = packed.new_zeros(batch * time, size)
        return padded.index_copy_(0, self.rows.to(packed.device), packed).view(batch, time, size)

    def previous(self, packed: Tensor) -> Tensor:
        """For every packed frame that is not its utterance's first, the frame one step earlier."""
        steps = packed.split(self.sizes)
        earlier = [step[:size] for step, size in zip(steps, self.sizes[1:], strict=False)]
        return torch.cat(earlier) if earlier else packed[:0]

    @property
    def first(self) -> int:
        """How many packed frames are the first of their utterance."""
        return self.sizes[0] if self.sizes else 0


def simple_forward(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool, limit: float) -> Tensor:
    """See `recurrence.simple_recurrence`."""
    packing = Packing.of(lengths, x.shape[1], reverse)
    packed = packing.pack(x).add_(bias)
    previous: Tensor | None = None
    for state in packed.split(packing.sizes):
        if previous is not None:
            state.addmm_(previous[: len(state)], weight)
        previous = state.clamp_(0, limit)
    return packing.unpack(packed, x.shape[0], x.shape[1])


def simple_backward(
    grad: Tensor, output: Tensor, weight: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `recurrence.simple_recurrence_backward`."""
    packing = Packing.of(lengths, output.shape[1], reverse)
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


def gru_forward(
    x: Tensor, gate_weight: Tensor, candidate_weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """See `recurrence.gru_recurrence`."""
    size = candidate_weight.shape[0]
    packing = Packing.of(lengths, x.shape[1], reverse)
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


def gru_backward(  # noqa: PLR0913, PLR0917
    grad: Tensor,
    output: Tensor,
    gates: Tensor,
    gate_weight: Tensor,
    candidate_weight: Tensor,
    lengths: Tensor,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `recurrence.gru_recurrence_backward`."""
    size = candidate_weight.shape[0]
    packing = Packing.of(lengths, output.shape[1], reverse)
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
