"""ptflops with its default backend, hooks on modules."""

from typing import Any

import torch
from ptflops import get_model_complexity_info
from torch import nn

from benchmarks.peers.flops_interface import InputsInside


def macs(module: nn.Module, inputs: tuple[Any, ...], backend: str = "pytorch") -> float:
    """It divides by the batch of the outermost input, hence a placeholder of one around the real inputs."""
    counted, _ = get_model_complexity_info(
        InputsInside(module, inputs),
        (1,),
        as_strings=False,
        print_per_layer_stat=False,
        backend=backend,
        input_constructor=lambda _: torch.zeros(1, 1),
    )
    if counted is None:
        raise RuntimeError("ptflops gave no result")
    return float(counted)
