"""torchprofile, which traces the module."""

from typing import Any

from torch import nn
from torchprofile import profile_macs


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    return float(profile_macs(module, inputs))
