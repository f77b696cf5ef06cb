"""ultralytics-thop, the maintained fork of thop."""

from typing import Any

import thop
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    return float(thop.profile(module, inputs=inputs, verbose=False)[0])
