"""torchinfo's mult-adds."""

from typing import Any

import torchinfo
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    return float(torchinfo.summary(module, input_data=list(inputs), verbose=0).total_mult_adds)
