"""What every counter looks like to the benchmark: a module and its inputs in, multiply-accumulates out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Counter = Callable[[nn.Module, tuple[Any, ...]], float]

# Name in the tables -> module of this folder with `macs(module, inputs)`, and the package whose version is shown.
COUNTERS = {
    "deepspeech2": ("flops_deepspeech2", "deepspeech2"),
    "torch (CPU)": ("flops_torch_cpu", "torch"),
    "torch (meta)": ("flops_torch_meta", "torch"),
    "fvcore": ("flops_fvcore", "fvcore"),
    "ptflops": ("flops_ptflops", "ptflops"),
    "ptflops (aten)": ("flops_ptflops_aten", "ptflops"),
    "thop": ("flops_thop", "thop"),
    "ultralytics-thop": ("flops_ultralytics_thop", "ultralytics-thop"),
    "torchinfo": ("flops_torchinfo", "torchinfo"),
    "calflops": ("flops_calflops", "calflops"),
    "torchprofile": ("flops_torchprofile", "torchprofile"),
    "flopth": ("flops_flopth", "flopth"),
    "torchscan": ("flops_torchscan", "torchscan"),
    "torchlens": ("flops_torchlens", "torchlens"),
    "onnx-tool": ("flops_onnx_tool", "onnx-tool"),
}


class FunctionModule(nn.Module):
    """A function as a module, for counters that take nothing else."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class InputsInside(nn.Module):
    """A module that holds its inputs, for counters that make up inputs of their own from a shape."""

    def __init__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().__init__()
        self.module, self.inputs = module, inputs

    def forward(self, _placeholder: torch.Tensor) -> Any:
        return self.module(*self.inputs)


def as_module(program: Callable[..., Any]) -> nn.Module:
    """The program itself if it is a module, the module of an exported program."""
    if isinstance(program, torch.export.ExportedProgram):
        return program.module()
    return program if isinstance(program, nn.Module) else FunctionModule(program)
