"""Pointwise operators and activations: a price per element of the result."""

from __future__ import annotations

from deepspeech2.flops.formulas.activations import clipped_relu, log_softmax, relu, softmax
from deepspeech2.flops.onnx_graphs.operators.as_torch import count_as
from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.registry import Call, register_formula

_Each = OperationCount

# ONNX operator -> torch operator with the same price per element of the result.
_AS_TORCH = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Add": "add",
    "And": "logical_and",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "BitwiseAnd": "bitwise_and",
    "BitwiseNot": "bitwise_not",
    "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Elu": "elu",
    "Equal": "eq",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "HardSwish": "hardswish",
    "IsInf": "isinf",
    "IsNaN": "isnan",
    "LeakyRelu": "leaky_relu",
    "Less": "lt",
    "LessOrEqual": "le",
    "Log": "log",
    "Mish": "mish",
    "Neg": "neg",
    "Not": "logical_not",
    "Or": "logical_or",
    "PRelu": "_prelu_kernel",
    "RandomNormal": "randn",
    "RandomNormalLike": "randn",
    "RandomUniform": "rand",
    "RandomUniformLike": "rand",
    "Bernoulli": "bernoulli",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softplus": "softplus",
    "Sqrt": "sqrt",
    "Sub": "sub",
    "Tan": "tan",
    "Tanh": "tanh",
    "ThresholdedRelu": "threshold",
    "Xor": "logical_xor",
    "Range": "arange",
}
for _name, _torch_name in _AS_TORCH.items():

    def _same_price(call: Call, torch_name: str = _torch_name) -> OperationCount:
        return count_as(torch_name, call)

    register_formula(f"onnx::{_name}")(_same_price)

_PRICES = {
    # max(0, min(1, alpha x + beta))
    "HardSigmoid": _Each(multiply=1, add=1, compare=2),
    # x / (1 + |x|)
    "Softsign": _Each(other=1, add=1, divide=1),
    # x > lambd: x - bias, x < -lambd: x + bias
    "Shrink": _Each(compare=2, add=1),
    # max(0, x) + min(0, alpha (exp(x / alpha) - 1))
    "Celu": _Each(compare=2, divide=1, exp=1, add=2, multiply=1),
    "BitShift": _Each(integer=1),
    # x * sigmoid(alpha x)
    "Swish": _Each(multiply=2, add=2, exp=1, divide=1),
    # clamp(round(x / scale) + zero, low, high); the zero point is an integer
    "QuantizeLinear": _Each(divide=1, other=1, compare=2, integer=1),
    # (x - zero) * scale; the difference is one of integers
    "DequantizeLinear": _Each(integer=1, multiply=1),
}
for _name, _price in _PRICES.items():

    def _fixed(call: Call, price: OperationCount = _price) -> OperationCount:
        return price * call.output.elements

    register_formula(f"onnx::{_name}")(_fixed)


@register_formula("onnx::Mul")
def _multiply(call: Call) -> OperationCount:
    return count_as("mul", call, self=call["A"], other=call["B"])


@register_formula("onnx::Div")
def _divide(call: Call) -> OperationCount:
    return count_as("div", call)


@register_formula("onnx::Mod")
def _modulus(call: Call) -> OperationCount:
    return count_as("fmod" if call.get("fmod") else "remainder", call)


@register_formula("onnx::Pow")
def _power(call: Call) -> OperationCount:
    exponent = call["values"].get("Y")
    known = exponent is not None and exponent.size == 1
    return count_as("pow", call, exponent=float(exponent.reshape(-1)[0]) if known else None)


@register_formula("onnx::Sum", "onnx::Mean", "onnx::Max", "onnx::Min")
def _several(call: Call) -> OperationCount:
    """N tensors into one: n - 1 operations per element, and a division for their mean."""
    elements, given = call.output.elements, len(next(v for v in call.arguments.values() if isinstance(v, list)))
    name = call.operator.partition("::")[2]
    kind = "add" if name in ("Sum", "Mean") else "compare"
    return OperationCount(**{kind: elements * (given - 1)}) + OperationCount(divide=elements if name == "Mean" else 0)


@register_formula("onnx::Selu")
def _scaled_elu(call: Call) -> OperationCount:
    return count_as("elu", call, scale=call.get("gamma"))


@register_formula("onnx::Relu")
def _relu(call: Call) -> OperationCount:
    return relu(call.output.elements)


@register_formula("onnx::Clip")
def _clip(call: Call) -> OperationCount:
    # From opset 11 on limits are inputs, before that attributes.
    limits = sum(1 for name in ("min", "max") if call.get(name) is not None)
    if not limits:
        return NOTHING
    return (clipped_relu if limits == 2 else relu)(call.output.elements)


@register_formula("onnx::Gelu")
def _gelu(call: Call) -> OperationCount:
    return count_as("gelu", call, approximate=call.get("approximate", "none"))


@register_formula("onnx::Dropout")
def _dropout(call: Call) -> OperationCount:
    training = call["values"].get("training_mode")
    if training is None or not training.any():
        return NOTHING
    return count_as("native_dropout", call, train=True)


@register_formula("onnx::Softmax", "onnx::LogSoftmax", "onnx::Hardmax")
def _softmax(call: Call) -> OperationCount:
    shape = call["input"].shape
    elements = call["input"].elements
    if call["opset"] >= 13:
        length = shape[call.get("axis", -1)] if shape else 1
    else:
        # Before opset 13 all axes from this one on are one.
        length = 1
        for size in shape[call.get("axis", 1) :]:
            length = length * size
    rows = elements // length if length else 0
    if call.operator == "onnx::Hardmax":
        return OperationCount(compare=elements - rows)
    return (log_softmax if call.operator == "onnx::LogSoftmax" else softmax)(rows, length)


@register_formula("onnx::DynamicQuantizeLinear")
def _dynamic_quantise(call: Call) -> OperationCount:
    # Smallest and largest value, one scale and zero point, then as QuantizeLinear.
    elements = call["x"].elements
    each: OperationCount = _Each(divide=1, other=1, compare=2, integer=1) * elements
    return each + OperationCount(compare=2 * (elements - 1) + 2 + 2, add=2, divide=2, other=1)
