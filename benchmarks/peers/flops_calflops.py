"""calflops, its MACs."""

from typing import Any

from calflops import calculate_flops
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    _, counted, _ = calculate_flops(module, args=list(inputs), print_results=False, output_as_string=False)
    return float(counted)
