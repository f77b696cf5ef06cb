"""torchscan, its module formulas."""

from typing import Any

import torchscan
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """What it knows of the MACs, whether it calls that complete or not."""
    return float(torchscan.crawl_module(module, args=inputs)["totals"]["macs"]["known_value"])
