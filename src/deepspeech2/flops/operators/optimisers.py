"""Fused and multi-tensor kernels of optimisers: one pointwise price for every element of every tensor in the list."""

from __future__ import annotations

from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.operators.pointwise import PER_ELEMENT
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

_FOREACH: dict[str, OperationCount] = {
    "add": OperationCount(add=1),
    "sub": OperationCount(add=1),
    "mul": OperationCount(multiply=1),
    "div": OperationCount(divide=1),
    "neg": OperationCount(add=1),
    "sqrt": OperationCount(sqrt=1),
    "reciprocal": OperationCount(divide=1),
    "lerp": OperationCount(add=2, multiply=1),
    "addcmul": OperationCount(multiply=2, add=1),
    "addcdiv": OperationCount(multiply=1, divide=1, add=1),
    "maximum": OperationCount(compare=1),
    "minimum": OperationCount(compare=1),
    "clamp_min": OperationCount(compare=1),
    "clamp_max": OperationCount(compare=1),
    "clone": OperationCount(),
    "zero": OperationCount(),
    "copy": OperationCount(),
}


def _first_list(call: Call) -> Number:
    for value in call.arguments.values():
        if isinstance(value, list | tuple) and value and isinstance(value[0], TensorSpec):
            return sum(item.elements for item in value)
    return 0


_POINTWISE = """
    abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 round rsqrt sigmoid sign
    sin sinh tan tanh trunc
"""
_FOREACH.update({name: PER_ELEMENT[name] for name in _POINTWISE.split()})

for _name, _price in _FOREACH.items():

    def _foreach(call: Call, price: OperationCount = _price) -> OperationCount:
        scaled = 1 if call.get("alpha", 1) != 1 else 0
        return (price + OperationCount(multiply=scaled)) * _first_list(call)

    register_formula(f"aten::_foreach_{_name}")(_foreach)


@register_formula("aten::_foreach_norm")
def _foreach_norm(call: Call) -> OperationCount:
    elements = _first_list(call)
    tensors = len(call.outputs)
    return OperationCount(multiply=elements, add=elements - tensors, sqrt=tensors)


@register_formula("aten::_fused_adam", "aten::_fused_adamw")
def _fused_adam(call: Call) -> OperationCount:
    decayed = 1 if call.get("weight_decay") else 0
    # m and v by interpolation, the root, the corrected denominator, the step.
    each = OperationCount(add=2 + 1 + 1 + 1 + decayed, multiply=1 + 3 + 1 + decayed, divide=2, sqrt=1)
    return each * _first_list(call)


@register_formula("aten::_fused_sgd")
def _fused_sgd(call: Call) -> OperationCount:
    # Weight decay joins the gradient, the gradient the momentum, the step the parameter.
    decayed = 1 if call.get("weight_decay") else 0
    momentum = 1 if call.get("momentum") else 0
    each = OperationCount(add=1 + decayed + momentum, multiply=1 + decayed + momentum)
    return each * _first_list(call)
