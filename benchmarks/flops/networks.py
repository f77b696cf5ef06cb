"""DeepSpeech2 with its recurrences written out as loops of plain operators, which every counter can see into."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepspeech2.speech.build import build_model
from deepspeech2.speech.network import ACTIVATION_LIMIT, GRURecurrence, SimpleRecurrence


class SimpleLoop(nn.Module):
    """One direction of the simple recurrence; the first step has no recurrent product."""

    def __init__(self, source: SimpleRecurrence) -> None:
        super().__init__()
        self.weight, self.bias, self.reverse = source.weight, source.bias, source.reverse

    def forward(self, x: Tensor, _frames: Tensor) -> Tensor:
        x = (x.flip(1) if self.reverse else x) + self.bias
        states = [x[:, 0].clamp(0, ACTIVATION_LIMIT)]
        for step in range(1, x.shape[1]):
            states.append((x[:, step] + states[-1] @ self.weight).clamp(0, ACTIVATION_LIMIT))
        result = torch.stack(states, 1)
        return result.flip(1) if self.reverse else result


class GatedLoop(nn.Module):
    """One direction of the gated recurrence; at the first step the state before it is zero."""

    def __init__(self, source: GRURecurrence) -> None:
        super().__init__()
        self.gates, self.candidate, self.bias = source.gate_weight, source.candidate_weight, source.bias
        self.reverse = source.reverse

    def forward(self, x: Tensor, _frames: Tensor) -> Tensor:
        x = (x.flip(1) if self.reverse else x) + self.bias
        size = len(self.candidate)
        update, _, candidate = x[:, 0].split(size, 1)
        states = [torch.sigmoid(update) * torch.relu(candidate)]
        for step in range(1, x.shape[1]):
            h = states[-1]
            gates = torch.sigmoid(x[:, step, : 2 * size] + h @ self.gates)
            update, reset = gates.split(size, 1)
            candidate = torch.relu(x[:, step, 2 * size :] + (reset * h) @ self.candidate)
            states.append((1 - update) * h + update * candidate)
        result = torch.stack(states, 1)
        return result.flip(1) if self.reverse else result


class FeaturesOnly(nn.Module):
    """The network called with features alone, all frames valid."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.network(features)[0]
        return result


def with_operators(preset: str, device: str = "cpu") -> nn.Module:
    """The network as this project runs it."""
    return FeaturesOnly(build_model(preset, device=device).eval())


def with_loops(preset: str, device: str = "cpu") -> nn.Module:
    """The network as plain torch: the same products, one by one."""
    network = build_model(preset, device=device).eval()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SimpleRecurrence):
                setattr(module, name, SimpleLoop(child))
            elif isinstance(child, GRURecurrence):
                setattr(module, name, GatedLoop(child))
            elif isinstance(child, nn.Conv2d):
                # Some counters know a module by its exact class only: subclasses would count as nothing.
                child.__class__ = nn.Conv2d
            elif isinstance(child, nn.Linear):
                child.__class__ = nn.Linear
    return FeaturesOnly(network)
