"""onnx-tool, on the ONNX export of the module."""

import io
from typing import Any

import onnx
import onnx_tool
import torch
from torch import nn


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """Its first figure, multiply-accumulates of real arithmetic."""
    stream = io.BytesIO()
    torch.onnx.export(module, inputs, stream, dynamo=False)
    graph = onnx_tool.Model(onnx.load_from_string(stream.getvalue()), {}).graph
    graph.shape_infer(None)
    graph.profile()
    counted = graph.macs
    return float(counted[0] if isinstance(counted, list | tuple) else counted)
