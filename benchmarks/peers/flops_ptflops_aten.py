"""ptflops with its dispatcher backend."""

from typing import Any

from benchmarks.peers import flops_ptflops
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    return flops_ptflops.macs(module, inputs, backend="aten")
