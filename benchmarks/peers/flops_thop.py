"""thop, which shares its import name with the fork and therefore lives in a folder of its own."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / ".thop"))
import thop
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """One per multiply-accumulate."""
    return float(thop.profile(module, inputs=inputs, verbose=False)[0])
