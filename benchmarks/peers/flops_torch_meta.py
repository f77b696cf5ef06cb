"""torch.utils.flop_counter on the meta device."""

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """It counts two operations for a multiply-accumulate."""
    module = module.to("meta")
    inputs = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), inputs)
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() / 2
