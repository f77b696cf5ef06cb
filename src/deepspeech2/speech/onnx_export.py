"""DeepSpeech2 as an ONNX graph, written operator by operator, without tracing.

The graph is inference only: batch normalisation uses the running statistics. Recurrent layers become one
bidirectional `RNN` or `GRU` each, the projection and its batch normalisation folded into the input weight:

- simple: ``clip(a, 0, 24)`` is ``Relu(clip(a, -24, 24))``, which is ONNX's `RNN` with `clip` 24 and `Relu`;
- GRU: `linear_before_reset` 0 with activations Sigmoid and Relu. ONNX keeps the old state where its update gate is
  one and the published GRU where it is zero; since ``1 - sigmoid(a) = sigmoid(-a)``, the gate's weights are negated.

Both start from a zero state, and `sequence_lens` makes the backward direction start at each utterance's last frame.
"""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepspeech2.errors import OptionError
from deepspeech2.files import replacing
from deepspeech2.speech.folding import fold
from deepspeech2.speech.network import (
    ACTIVATION_LIMIT,
    ConvolutionLayer,
    DeepSpeech2,
    GRURecurrence,
    SharedRecurrentLayer,
)

if TYPE_CHECKING:
    import onnx

OPSET = 17
_IR_VERSION = 8
# Element types of ONNX.
_FLOAT, _INT32, _INT64 = 1, 6, 7
_LARGEST = 2**31 - 2**20
# The traced program tells one output frame (three frames of input) from several.
_SHORTEST_PROGRAM = 4


def export_onnx(model: DeepSpeech2, path: str | os.PathLike[str]) -> None:
    """Write a model as one ONNX file with its weights inside; batch and time stay free.

    The graph takes `features`, float32 (batch, 161, time), and `frames`, int64 (batch,), the valid frames of each
    utterance (at least one). It gives `log_probs`, float32 (batch, time', vocab + 1), the blank last, and
    `output_frames`, int64 (batch,). The labels go into the file's metadata as JSON, under `labels`, and the
    normalisation that the features must have gone through under `normalizer_mean` and `normalizer_std`.

    Weights of other types are written as float32. Features are not computed by the graph.

    Args:
        model: The model; neither it nor its mode is changed.
        path: The file to write; it appears complete or not at all.

    Raises:
        OptionError: The package onnx is missing, the model has no weights (it is on the meta device), its weights
            exceed the two gigabytes of an ONNX file, or the file cannot be written.

    Example:
        >>> from deepspeech2 import load_model
        >>> export_onnx(load_model("small"), "small.onnx")  # doctest: +SKIP
    """
    content = build_onnx(model).SerializeToString()
    with replacing(path, "wb") as file:
        file.write(content)


def build_onnx(model: DeepSpeech2) -> onnx.ModelProto:
    """The ONNX model that `export_onnx` writes, in memory.

    Raises:
        OptionError: As `export_onnx`, but for writing.
    """
    try:
        from onnx import helper
    except ImportError as error:
        raise OptionError("ONNX export needs the package onnx: pip install 'deepspeech2[onnx]'") from error
    size = 4 * sum(tensor.numel() for tensor in model.state_dict().values())
    _check_weights(model)
    if size * (2 if model.options.shared else 1) > _LARGEST:  # a shared projection is written for each direction
        raise OptionError(f"export: {size:,} bytes of weights exceed what one ONNX file holds; export a .pt2 instead")
    graph = _Graph(helper)
    _write_network(graph, model)
    proto = helper.make_graph(
        graph.nodes,
        "DeepSpeech2",
        [
            helper.make_tensor_value_info("features", _FLOAT, ["batch", model.options.frequencies, "time"]),
            helper.make_tensor_value_info("frames", _INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("log_probs", _FLOAT, ["batch", "output_time", model.options.vocab_size + 1]),
            helper.make_tensor_value_info("output_frames", _INT64, ["batch"]),
        ],
        graph.weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    result = helper.make_model(proto, opset_imports=opsets, producer_name="deepspeech2", ir_version=_IR_VERSION)
    helper.set_model_props(result, _metadata(model))
    return result


def export_program(model: DeepSpeech2, path: str | os.PathLike[str]) -> None:
    """Write a model as a `.pt2` file of torch.export; batch and time (4 frames or more) stay free.

    The program takes features and frames and gives what the model gives. The recurrences stay this package's
    operators: import `deepspeech2.speech.recurrence` before `torch.export.load`.

    Args:
        model: The model, exported in evaluation mode; neither it nor its mode is changed.
        path: The file to write; it appears complete or not at all.

    Raises:
        OptionError: The model has no weights (it is on the meta device), or the file cannot be written.

    Example:
        >>> from deepspeech2 import load_model
        >>> export_program(load_model("small"), "small.pt2")  # doctest: +SKIP
    """
    _check_weights(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        batch, time = torch.export.Dim("batch", min=1), torch.export.Dim("time", min=_SHORTEST_PROGRAM)
        example = (torch.zeros(3, model.options.frequencies, 97), torch.tensor([97, 50, 20]))
        program = torch.export.export(model, example, dynamic_shapes=({0: batch, 2: time}, {0: batch}))
    finally:
        for module, training in modes.items():
            module.training = training
    content = io.BytesIO()  # torch ends the process where a disk is full
    torch.export.save(program, content)
    with replacing(path, "wb") as file:
        file.write(content.getbuffer())


def _check_weights(model: DeepSpeech2) -> None:
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise OptionError("export: the model has no weights (it is on the meta device); load or build it on the CPU")


def _metadata(model: DeepSpeech2) -> dict[str, str]:
    metadata = {} if model.labels is None else {"labels": json.dumps(model.labels, ensure_ascii=False)}
    if model.normalizer is not None:
        metadata["normalizer_mean"] = json.dumps(np.asarray(model.normalizer.mean).ravel().tolist())
        metadata["normalizer_std"] = json.dumps(np.asarray(model.normalizer.std).ravel().tolist())
    return metadata


class _Graph:
    """Nodes and weights as they are added; every result is named after what it is."""

    def __init__(self, helper: Any) -> None:
        self.helper = helper
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._constants: dict[tuple[int, ...], str] = {}

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node and return the name of its (first) result."""
        name = output if operator not in ("RNN", "GRU") else output.removesuffix(".states")
        self.nodes.append(self.helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def weight(self, name: str, tensor: Tensor) -> str:
        """Add a float32 weight."""
        values = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        self.weights.append(self.helper.make_tensor(name, _FLOAT, values.shape, values.tobytes(), raw=True))
        return name

    def integers(self, *values: int) -> str:
        """The constant vector of these integers, the same one at every use."""
        if values not in self._constants:
            self._constants[values] = name = "integers_" + "_".join(str(value).replace("-", "m") for value in values)
            self.weights.append(self.helper.make_tensor(name, _INT64, (len(values),), values))
        return self._constants[values]

    def scalar(self, name: str, kind: int, value: float) -> str:
        """Add a constant of rank 0."""
        self.weights.append(self.helper.make_tensor(name, kind, (), [value]))
        return name


def _write_network(graph: _Graph, model: DeepSpeech2) -> None:
    graph.scalar("zero", _FLOAT, 0.0)
    graph.scalar("limit", _FLOAT, ACTIVATION_LIMIT)
    graph.scalar("index_zero", _INT64, 0)
    graph.scalar("index_one", _INT64, 1)
    x, frames = graph.add("Unsqueeze", ["features", graph.integers(1)], "image"), "frames"
    x = _masked(graph, x, frames, "image")
    for index, layer in enumerate(model.conv):
        assert isinstance(layer, ConvolutionLayer)
        stride = layer.convolution.stride[1]
        if stride != 1:
            # (frames - 1) // stride + 1, without a negative number to divide
            raised = graph.add("Add", [frames, graph.integers(stride - 1)], f"conv.{index}.frames_raised")
            frames = graph.add("Div", [raised, graph.integers(stride)], f"conv.{index}.frames")
        x = _write_convolution(graph, layer, x, f"conv.{index}")
        x = _masked(graph, x, frames, f"conv.{index}")
    graph.add("Identity", [frames], "output_frames")
    lengths = graph.add("Cast", [frames], "sequence_lens", to=_INT32)
    x = graph.add("Transpose", [x], "sequence.transposed", perm=[3, 0, 1, 2])
    x = graph.add("Reshape", [x, graph.integers(0, 0, -1)], "sequence")
    for index, recurrent in enumerate(model.recurrent):
        x = _write_recurrent(graph, recurrent, x, lengths, f"recurrent.{index}")
    x = graph.add("Transpose", [x], "output.input", perm=[1, 0, 2])
    x = graph.add("MatMul", [x, graph.weight("output.weight", model.output.weight.t())], "output.product")
    x = graph.add("Add", [x, graph.weight("output.bias", model.output.bias)], "output.logits")
    graph.add("LogSoftmax", [x], "log_probs", axis=-1)


def _masked(graph: _Graph, x: str, frames: str, name: str) -> str:
    """Zero everything past each utterance's frames in (batch, channels, freq, time)."""
    shape = graph.add("Shape", [x], f"{name}.time_vector", start=3, end=4)
    time = graph.add("Squeeze", [shape], f"{name}.time")
    positions = graph.add("Range", ["index_zero", time, "index_one"], f"{name}.positions")
    ends = graph.add("Unsqueeze", [frames, graph.integers(1, 2, 3)], f"{name}.ends")
    valid = graph.add("Less", [positions, ends], f"{name}.valid")
    return graph.add("Where", [valid, x, "zero"], f"{name}.masked")


def _write_convolution(graph: _Graph, layer: ConvolutionLayer, x: str, name: str) -> str:
    convolution, norm = layer.convolution, layer.norm
    padding = [int(size) for size in convolution.padding]
    weight = graph.weight(f"{name}.convolution.weight", convolution.weight)
    x = graph.add(
        "Conv",
        [x, weight],
        f"{name}.convolution",
        kernel_shape=list(convolution.kernel_size),
        strides=list(convolution.stride),
        pads=padding + padding,
    )
    statistics = [
        graph.weight(f"{name}.norm.{part}", getattr(norm, part))
        for part in ("weight", "bias", "running_mean", "running_var")
    ]
    x = graph.add("BatchNormalization", [x, *statistics], f"{name}.norm", epsilon=norm.eps)
    return graph.add("Clip", [x, "zero", "limit"], f"{name}.activation")


def _write_recurrent(graph: _Graph, layer: Any, x: str, lengths: str, name: str) -> str:
    """One bidirectional layer over (time, batch, features)."""
    if isinstance(layer, SharedRecurrentLayer):
        inputs = [fold(layer.projection.weight, layer.norm)] * 2
    else:
        inputs = [
            fold(layer.forward_projection.weight, layer.forward_norm),
            fold(layer.backward_projection.weight, layer.backward_norm),
        ]
    recurrences = [layer.forward_recurrence, layer.backward_recurrence]
    gated = isinstance(recurrences[0], GRURecurrence)
    directions = [
        (_gru_direction if gated else _simple_direction)(recurrence, *folded)
        for recurrence, folded in zip(recurrences, inputs, strict=True)
    ]
    names = [f"{name}.{part}" for part in ("input_weight", "recurrent_weight", "bias")]
    tensors = [torch.stack(parts) for parts in zip(*directions, strict=True)]
    weights = [graph.weight(weight, tensor) for weight, tensor in zip(names, tensors, strict=True)]
    size = tensors[1].shape[-1]
    options: dict[str, Any] = {"direction": "bidirectional", "hidden_size": size}
    if gated:
        options |= {"activations": ["Sigmoid", "Relu"] * 2, "linear_before_reset": 0}
    else:
        options |= {"activations": ["Relu"] * 2, "clip": ACTIVATION_LIMIT}
    states = graph.add("GRU" if gated else "RNN", [x, *weights, lengths], f"{name}.states", **options)
    # (time, directions, batch, size) to (time, batch, directions * size)
    states = graph.add("Transpose", [states], f"{name}.transposed", perm=[0, 2, 1, 3])
    return graph.add("Reshape", [states, graph.integers(0, 0, -1)], f"{name}.output")


def _simple_direction(recurrence: Any, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Input weight, recurrent weight and the two biases of one direction."""
    return weight, recurrence.weight.double().t(), torch.cat([bias, recurrence.bias.double()])


def _gru_direction(recurrence: Any, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same for a GRU, whose update gate is negated; gates in ONNX's order, update, reset, candidate."""
    recurrent = torch.cat([recurrence.gate_weight, recurrence.candidate_weight], dim=1).double().t()
    sign = torch.ones(len(weight), 1, dtype=torch.float64)
    sign[: recurrence.candidate_weight.shape[0]] = -1
    return (
        weight * sign,
        recurrent * sign,
        torch.cat([bias * sign[:, 0], recurrence.bias.double() * sign[:, 0]]),
    )
