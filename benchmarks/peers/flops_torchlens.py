"""torchlens, which logs every tensor of a forward pass."""

from typing import Any

import torchlens
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """It counts two operations for a multiply-accumulate, and other operations besides."""
    return float(torchlens.trace(module, inputs).total_flops_forward) / 2
