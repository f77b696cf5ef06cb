"""Ways a model arrives: TorchScript, torch.compile, torch.export, higher-order operators, model classes of others."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.flops.cases.case import Program, case


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.Conv1d(6, 5, 1)).eval()


_X = (2, 4, 20)


def _quietly(function: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def scripted() -> Program:
    """torch.jit.script of two convolutions."""
    return _quietly(torch.jit.script, _network()), (torch.randn(_X),)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def traced() -> Program:
    """torch.jit.trace of the same."""
    return _quietly(torch.jit.trace, _network(), torch.randn(_X)), (torch.randn(_X),)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def script_file() -> Program:
    """Saved and loaded again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        _quietly(torch.jit.save, _quietly(torch.jit.script, _network()), path)
        return _quietly(torch.jit.load, path), (torch.randn(_X),)


class _First(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


@case(7 * 2 * 3 * (5 * 8 + 8 * 8))
def scripted_gru() -> Program:
    """The layer inside TorchScript arrives unrolled."""
    return _quietly(torch.jit.script, _First(nn.GRU(5, 8))), (torch.randn(7, 2, 5),)


@case(
    7 * 2 * 4 * (5 * 8 + 8 * 8),
    kinds={
        "multiply": 14 * (4 * 104 + 3 * 8),
        "add": 14 * (4 * 104 + 3 * 8 * 2 + 5 * 8),
        "exp": 14 * 24,
        "divide": 14 * 24,
        "tanh": 14 * 16,
    },
)
def scripted_lstm() -> Program:
    """The same count as the layer itself."""
    return _quietly(torch.jit.script, _First(nn.LSTM(5, 8))), (torch.randn(7, 2, 5),)


@case(7 * 2 * 4 * (5 * 8 + 8 * 8))
def traced_lstm() -> Program:
    """Traced."""
    return _quietly(torch.jit.trace, nn.LSTM(5, 8), torch.randn(7, 2, 5)), (torch.randn(7, 2, 5),)


@case(14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12 + 2 * 14 * 12 * 20)
def traced_transformer_layer() -> Program:
    """The fast path of an encoder layer in a trace."""
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).eval()
    with torch.no_grad():
        return _quietly(torch.jit.trace, layer, torch.randn(2, 7, 12)), (torch.randn(2, 7, 12),)


def _loop(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    h = torch.zeros(x.shape[1], u.shape[0])
    for step in range(x.shape[0]):
        h = torch.tanh(x[step] + h @ u)
    return h


@case(7 * 2 * 8 * 8)
def scripted_loop() -> Program:
    """A loop over time inside a scripted function."""
    return _quietly(torch.jit.script, _loop), (torch.randn(7, 2, 8), torch.randn(8, 8))


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def compiled() -> Program:
    """torch.compile: counted as written, nothing is compiled."""
    return torch.compile(_network()), (torch.randn(_X),)


@case(4 * 5 * 6)
def compiled_function() -> Program:
    """A compiled function."""
    return torch.compile(lambda a, b: torch.relu(a @ b)), (torch.randn(4, 5), torch.randn(5, 6))


class _HoldsCompiled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.compile(nn.Linear(5, 6))
        self.outer = nn.Linear(6, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.inner(x))


@case(4 * 5 * 6 + 4 * 6 * 7)
def compiled_inside() -> Program:
    """A compiled part of a module that is not."""
    return _HoldsCompiled(), (torch.randn(4, 5),)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def exported() -> Program:
    """torch.export, and the module it gives back."""
    return torch.export.export(_network(), (torch.randn(_X),)).module(), (torch.randn(_X),)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def exported_program() -> Program:
    """The exported program itself."""
    return torch.export.export(_network(), (torch.randn(_X),)), (torch.randn(_X),)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def exported_decomposed() -> Program:
    """Lowered to core operators."""
    program = _quietly(torch.export.export(_network(), (torch.randn(_X),)).run_decompositions)
    return program.module(), (torch.randn(_X),)


@case(7 * 2 * 3 * (5 * 8 + 8 * 8))
def exported_gru() -> Program:
    """A recurrent layer, exported."""
    return torch.export.export(nn.GRU(5, 8), (torch.randn(7, 2, 5),)).module(), (torch.randn(7, 2, 5),)


@case(7 * 2 * 4 * (5 * 8 + 8 * 8))
def exported_lstm() -> Program:
    """An LSTM, exported."""
    return torch.export.export(nn.LSTM(5, 8), (torch.randn(7, 2, 5),)).module(), (torch.randn(7, 2, 5),)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def symbolically_traced() -> Program:
    """torch.fx."""
    return torch.fx.symbolic_trace(_network()), (torch.randn(_X),)


@case(2 * 6 * 18 * 12 + 2 * 18 * 6 * 5)
def on_meta() -> Program:
    """Parameters and inputs without storage."""
    return _network().to("meta"), (torch.randn(_X, device="meta"),)


@case(7 * 2 * (5 * 8 + 8 * 8))
def scan() -> Program:
    """Torch's scan: the body at each of seven steps."""
    from torch._higher_order_ops.scan import scan as over_time

    def program(x: torch.Tensor, w: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        def step(h: torch.Tensor, frame: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = torch.tanh(frame @ w + h @ u)
            return h, h.clone()

        return over_time(step, torch.zeros(2, 8), x)[1]

    return program, (torch.randn(7, 2, 5), torch.randn(5, 8), torch.randn(8, 8))


@case(4 * 5 * 6)
def cond_of_equal_branches() -> Program:
    """torch.cond whose two branches cost the same: whichever runs."""

    def program(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x, w: x @ w, lambda x, w: x.flip(0) @ w, (x, w))

    return program, (torch.randn(4, 5), torch.randn(5, 6))


@case(14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12 + 2 * 14 * 12 * 20)
def scripted_transformer_layer() -> Program:
    """Scripted, the layer takes torch's fused fast path."""
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).eval()
    return _quietly(torch.jit.script, layer), (torch.randn(2, 7, 12),)


@case(5 * 4 * 8 * 8)
def while_loop() -> Program:
    """A while_loop over a counter that starts at 0 and stops at 5."""
    from torch._higher_order_ops.while_loop import while_loop as loop

    def program(h: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        count = torch.zeros((), dtype=torch.int64)
        return loop(lambda i, h, u: i < 5, lambda i, h, u: (i + 1, torch.tanh(h @ u), u.clone()), (count, h, u))[1]

    return program, (torch.randn(4, 8), torch.randn(8, 8))
