"""Complex arithmetic in operations on real numbers: what an operator costs when its tensors are complex.

An operator that is in no table here is unknown for complex numbers, however well it is known for real ones.
"""

from __future__ import annotations

from collections.abc import Callable

from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec

_Each = OperationCount
_PRODUCT = _Each(multiply=4, add=2)
# |z| = sqrt(a a + b b), without the scaling that guards against overflow
_MODULUS = _Each(multiply=2, add=1, sqrt=1)

AWARE = frozenset(
    f"aten::{name}"
    for name in ("add", "sub", "rsub", "mul", "complex", "polar", "_fft_r2c", "_fft_c2r", "_fft_c2c", "_conj_physical")
)
"""Operators whose formulas hold for complex numbers as they are written."""

# Price of one element of the result, z = a + ib.
_PER_ELEMENT = {
    "neg": _Each(add=2),
    "abs": _MODULUS,
    "angle": _Each(other=1),
    # exp(a) (cos b + i sin b)
    "exp": _Each(exp=1, other=2, multiply=2),
    # log |z| + i atan2(b, a)
    "log": _MODULUS + _Each(log=1, other=1),
    # (a - ib) / (a a + b b)
    "reciprocal": _Each(multiply=2, add=2, divide=2),
    # z / |z|
    "sgn": _MODULUS + _Each(compare=1, divide=2),
    "eq": _Each(compare=2),
    "ne": _Each(compare=2),
    "isnan": _Each(compare=2),
    "isinf": _Each(compare=2),
}
# Sums: twice as many as of real numbers. Products: four multiplications and two additions each.
_LINEAR = "sum cumsum trace index_add scatter_add index_put _unsafe_index_put put mean unfold_backward col2im"
_BILINEAR = "mm bmm mv dot vdot linalg_vecdot linear addmm addbmm baddbmm addmv addr prod cumprod addcmul square"
_DRAWS = "randn rand randn_like rand_like normal uniform"


def complex_count(call: Call, name: str, count: OperationCount) -> OperationCount | None:
    """The count of a call with complex tensors.

    Args:
        call: the call.
        name: the operator without the underscore of in-place variants.
        count: what its formula gives for real numbers.

    Returns:
        None where the operator is unknown for complex numbers.
    """
    if name in AWARE:
        return count
    rule = _RULES.get(name.removeprefix("aten::"))
    return rule(call, count) if rule is not None else None


def _linear(_: Call, count: OperationCount) -> OperationCount:
    return OperationCount(add=2 * count.add, divide=2 * count.divide, other=2 * count.other)


def _bilinear(call: Call, count: OperationCount) -> OperationCount | None:
    if any(call.get(name, 1) not in (0, 1) for name in ("alpha", "beta", "value")):
        # Scaling by a real number is no product of complex ones.
        return None
    return OperationCount(
        multiply=4 * count.multiply,
        add=2 * count.multiply + 2 * count.add,
        macs=4 * count.macs,
        notebook=count.notebook,
    )


def _of_real_matrices(call: Call, count: OperationCount) -> OperationCount | None:
    return None if call.tensors[0].dtype.is_complex else count


def _divide(call: Call, _: OperationCount) -> OperationCount | None:
    divisor = call["other"]
    if call.get("rounding_mode"):
        return None
    if not (isinstance(divisor, TensorSpec) and divisor.dtype.is_complex) and not isinstance(divisor, complex):
        return _Each(divide=2) * call.output.elements
    # x conj(y) / |y|^2
    return (_PRODUCT + _Each(multiply=2, add=1, divide=2)) * call.output.elements


def _power(call: Call, _: OperationCount) -> OperationCount | None:
    products = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2}
    exponent = call["exponent"]
    if not isinstance(exponent, int | float) or exponent not in products:
        return None
    return _PRODUCT * products[int(exponent)] * call.output.elements


def _norm(call: Call, _: OperationCount) -> OperationCount | None:
    elements, merged = call.tensors[0].elements, call.tensors[0].elements - call.output.elements
    order = call.get("p", call.get("ord"))
    if order in (None, 2):
        return OperationCount(multiply=2 * elements, add=elements + merged, sqrt=call.output.elements)
    return _MODULUS * elements + OperationCount(add=merged) if order == 1 else None


_Rule = Callable[[Call, OperationCount], "OperationCount | None"]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_LINEAR.split() + _DRAWS.split(), _linear),
    **dict.fromkeys(_BILINEAR.split(), _bilinear),
    "linalg_eig": _of_real_matrices,
    "_linalg_eigvals": _of_real_matrices,
    "div": _divide,
    "pow": _power,
    "linalg_vector_norm": _norm,
    "norm": _norm,
}
for _name, _price in _PER_ELEMENT.items():

    def _fixed(call: Call, _: OperationCount, price: OperationCount = _price) -> OperationCount:
        return price * call.output.elements if price else NOTHING

    _RULES[_name] = _fixed
