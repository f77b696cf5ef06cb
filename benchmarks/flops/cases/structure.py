"""How modules are put together: sharing, checkpoints, reparametrised weights, functional code."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.flops.cases.case import Program, case


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x))


@case(2 * 4 * 5 * 5)
def module_called_twice() -> Program:
    """One module, two calls."""
    return _Twice(), (torch.randn(4, 5),)


@case(2 * 4 * 5 * 5)
def module_under_two_names() -> Program:
    """The same module twice in a sequence."""
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, layer), (torch.randn(4, 5),)


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.embedding(tokens), self.embedding.weight)


@case(14 * 8 * 100)
def tied_weights() -> Program:
    """The embedding's matrix projects 14 vectors of 8 back to 100."""
    return _Tied(), (torch.randint(0, 100, (2, 7)),)


class _Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.layer, self.reentrant = nn.Linear(5, 6), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.layer, x, use_reentrant=self.reentrant)


@case(4 * 5 * 6)
def checkpointed() -> Program:
    """One forward pass is one forward pass."""
    return _Checkpointed(False), (torch.randn(4, 5),)


@case(4 * 5 * 6)
def checkpointed_reentrant() -> Program:
    """The older kind."""
    return _Checkpointed(True), (torch.randn(4, 5, requires_grad=True),)


@case(
    2 * 6 * 18 * 4 * 3,
    kinds={
        "multiply": 2 * 6 * 18 * 12 + 2 * 72,
        "add": 2 * 6 * 18 * 12 + 72 - 6,
        "sqrt": 6,
        "divide": 6,
    },
)
def weight_norm() -> Program:
    """Parametrised: 72 weights in 6 slices are squared, summed, rooted; g / |v| for each slice, v times that; then the
    convolution.
    """
    return nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3)), (torch.randn(2, 4, 20),)


@case(
    2 * 6 * 18 * 4 * 3,
    kinds={
        "multiply": 2 * 6 * 18 * 12 + 2 * 72,
        "add": 2 * 6 * 18 * 12 + 72 - 6,
        "sqrt": 6,
        "divide": 6,
    },
)
def weight_norm_by_hook() -> Program:
    """The older spelling costs the same."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(nn.Conv1d(4, 6, 3)), (torch.randn(2, 4, 20),)


@case(4 * 5 * 6 + 6 * 5 + 6)
def spectral_norm_eval() -> Program:
    """At inference sigma = u . (W v): (6, 5) times v is 30, the dot product 6 more; W / sigma; then the layer."""
    return nn.utils.parametrizations.spectral_norm(nn.Linear(5, 6)).eval(), (torch.randn(4, 5),)


@case(4 * 5 * 6 + 4 * 6 * 7)
def functional_network() -> Program:
    """No module at all."""

    def program(x: torch.Tensor, w1: torch.Tensor, w2: torch.Tensor) -> torch.Tensor:
        return functional.linear(torch.relu(functional.linear(x, w1)), w2)

    return program, (torch.randn(4, 5), torch.randn(6, 5), torch.randn(7, 6))


@case(4 * 5 * 6)
def functional_call() -> Program:
    """torch.func.functional_call with weights from outside."""
    module = nn.Linear(5, 6)
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, weights, (x,))

    return program, (torch.randn(4, 5),)


@case(4 * 5 * 6)
def inference_mode() -> Program:
    """Inside torch.inference_mode operators reach the dispatcher undecomposed."""
    module = nn.Linear(5, 6)

    def program(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return module(x)

    return program, (torch.randn(4, 5),)


@case(4 * 5 * 6)
def bfloat16() -> Program:
    """The type changes no count."""
    return nn.Linear(5, 6).bfloat16(), (torch.randn(4, 5, dtype=torch.bfloat16),)


@case(4 * 5 * 6)
def autocast() -> Program:
    """Conversions are moves."""
    module = nn.Linear(5, 6)

    def program(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return module(x)

    return program, (torch.randn(4, 5),)


@case(2 * 8 * 10 * 10 * 3 * 9)
def channels_last() -> Program:
    """Nor does the memory layout."""
    module = nn.Conv2d(3, 8, 3, padding=1).to(memory_format=torch.channels_last)
    return module, (torch.randn(2, 3, 10, 10).to(memory_format=torch.channels_last),)


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(5, 5) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + layer(functional.layer_norm(x, (5,)))
        return x


@case(3 * 4 * 5 * 5)
def residual_stack() -> Program:
    """Three layers in a loop."""
    return _Residual(), (torch.randn(4, 5),)


class _MultiInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(7, 6)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.a(inputs["a"]) + self.b(inputs["b"])


@case(4 * 5 * 6 + 4 * 7 * 6)
def dictionary_input() -> Program:
    """One argument that is a dictionary of tensors."""
    return _MultiInput(), ({"a": torch.randn(4, 5), "b": torch.randn(4, 7)},)
