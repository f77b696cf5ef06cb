"""torch.utils.flop_counter on real tensors."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """It counts two operations for a multiply-accumulate."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() / 2
