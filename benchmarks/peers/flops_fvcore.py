"""fvcore's FlopCountAnalysis, whose "flops" are multiply-accumulates."""

import logging
from typing import Any

from fvcore.nn import FlopCountAnalysis
from torch import nn

logging.disable(logging.WARNING)


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    return float(FlopCountAnalysis(module, inputs).total())
