"""The same network as anybody would first write it: recurrences as a Python loop over the frames, torch's plain layout.

Weights, and everything that is not a recurrence, are shared with the network given. Under autograd the loop is
differentiated by autograd.
"""

import copy

import torch
from torch import Tensor, nn

from deepspeech2.speech.network import ACTIVATION_LIMIT, DeepSpeech2, GRURecurrence, SimpleRecurrence


def with_plain_loops(model: DeepSpeech2, *, channels_last: bool = False) -> DeepSpeech2:
    """A copy whose recurrent layers loop, and whose convolutions see the layout that torch gives a tensor by itself.

    With `channels_last` they see the layout this package chooses, so that the recurrences alone differ.
    """
    plain = copy.deepcopy(model)
    if not channels_last:
        for layer in plain.conv:
            layer.register_forward_pre_hook(lambda module, inputs: (in_plain_layout(inputs[0]), *inputs[1:]))
    for layer in plain.recurrent:
        for name, module in list(layer.named_children()):
            if isinstance(module, SimpleRecurrence):
                setattr(layer, name, PlainSimple(module))
            elif isinstance(module, GRURecurrence):
                setattr(layer, name, PlainGRU(module))
    return plain


def in_plain_layout(x: Tensor) -> Tensor:
    """The same numbers with the last axis densest; `contiguous` would keep the other layout of a single channel."""
    return torch.empty(x.shape, dtype=x.dtype).copy_(x)


class PlainRecurrence(nn.Module):
    """Loops `step` over the frames; states past an utterance's end, and before its last frame in reverse, are zero."""

    def __init__(self, recurrence: SimpleRecurrence | GRURecurrence):
        super().__init__()
        self.reverse = recurrence.reverse
        for name, parameter in recurrence.named_parameters():
            setattr(self, name, parameter)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        """(batch, time, gates * size) to (batch, time, size)."""
        time = x.shape[1]
        padded = bool((frames < time).any())
        valid = torch.arange(time)[:, None, None] < frames[:, None]
        h, states = None, []
        for t in reversed(range(time)) if self.reverse else range(time):
            h = self.step(x[:, t] + self.bias, h)
            if padded:
                h = h * valid[t]
            states.append(h)
        return torch.stack(states[::-1] if self.reverse else states, dim=1)


class PlainSimple(PlainRecurrence):
    """The clipped recurrence."""

    def step(self, x: Tensor, h: Tensor | None) -> Tensor:
        """One frame."""
        return (x if h is None else x + h @ self.weight).clamp(0, ACTIVATION_LIMIT)


class PlainGRU(PlainRecurrence):
    """The published GRU."""

    def step(self, x: Tensor, h: Tensor | None) -> Tensor:
        """One frame."""
        size = len(self.candidate_weight)
        gates, candidate = x[:, : 2 * size], x[:, 2 * size :]
        if h is None:
            return torch.sigmoid(gates[:, :size]) * torch.relu(candidate)
        z, r = torch.sigmoid(gates + h @ self.gate_weight).chunk(2, dim=1)
        c = torch.relu(candidate + (r * h) @ self.candidate_weight)
        return (1 - z) * h + z * c
