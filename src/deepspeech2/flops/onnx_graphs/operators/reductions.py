"""Reductions, cumulative sums, sorting and Fourier transforms."""

from __future__ import annotations

from deepspeech2.flops.formulas.spectral import real_fft
from deepspeech2.flops.onnx_graphs.operators.as_torch import count_as
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

_AS_TORCH = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "amax",
    "ReduceMin": "amin",
    "ReduceProd": "prod",
    "ReduceLogSumExp": "logsumexp",
    "ReduceL2": "linalg_vector_norm",
    "ArgMax": "argmax",
    "ArgMin": "argmin",
    "GlobalAveragePool": "mean",
    "GlobalMaxPool": "amax",
}
for _name, _torch_name in _AS_TORCH.items():

    def _same_rule(call: Call, torch_name: str = _torch_name) -> OperationCount:
        return count_as(torch_name, call, self=_reduced(call))

    register_formula(f"onnx::{_name}")(_same_rule)


def _reduced(call: Call) -> TensorSpec:
    tensor: TensorSpec = call.get("data", call.get("X"))
    return tensor


@register_formula("onnx::ReduceL1")
def _first_norm(call: Call) -> OperationCount:
    return count_as("linalg_vector_norm", call, self=_reduced(call), ord=1)


@register_formula("onnx::ReduceSumSquare")
def _sum_of_squares(call: Call) -> OperationCount:
    elements = _reduced(call).elements
    return OperationCount(multiply=elements, add=elements - call.output.elements)


@register_formula("onnx::ReduceLogSum")
def _logarithm_of_sum(call: Call) -> OperationCount:
    return OperationCount(add=_reduced(call).elements - call.output.elements, log=call.output.elements)


@register_formula("onnx::CumSum", "onnx::CumProd")
def _cumulative(call: Call) -> OperationCount:
    tensor: TensorSpec = call["x"]
    axis = call["values"].get("axis")
    if axis is None:
        raise NotImplementedError("the axis depends on values")
    name = "cumsum" if call.operator == "onnx::CumSum" else "cumprod"
    return count_as(name, call, self=tensor, dim=int(axis.reshape(-1)[0]))


@register_formula("onnx::TopK", "onnx::Unique")
def _sort(call: Call) -> OperationCount:
    return count_as("topk", call, self=call["X"], dim=call.get("axis", -1))


@register_formula("onnx::STFT")
def _short_time_fourier_transform(call: Call) -> OperationCount:
    """Frames times the window, and a real transform of each (modelled)."""
    if len(call["signal"].shape) == 3 and call["signal"].shape[-1] == 2:
        raise NotImplementedError("a transform of complex signals")
    window = call.get("window")
    length = call["values"].get("frame_length")
    size = int(length.reshape(-1)[0]) if length is not None else window.shape[0]
    frames = call.output.shape[0] * call.output.shape[1]
    return real_fft(frames, size) + OperationCount(multiply=frames * size if window is not None else 0)
