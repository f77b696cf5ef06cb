"""ptflops with its dispatcher backend."""

from typing import Any

from torch import nn

from benchmarks.peers import flops_ptflops


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    return flops_ptflops.macs(module, inputs, backend="aten")
