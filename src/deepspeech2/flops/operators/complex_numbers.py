"""Complex arithmetic in operations on real numbers: what an operator costs when its tensors are complex.

An operator that is in no table here is unknown for complex numbers, however well it is known for real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.operators.pointwise import is_complex
from deepspeech2.flops.registry import Call, TensorSpec

_Each = OperationCount
_PRODUCT = _Each(multiply=4, add=2)
# |z| = sqrt(a a + b b), without the scaling that guards against overflow
_MODULUS = _Each(multiply=2, add=1, sqrt=1)
_EXP = _Each(exp=1, other=2, multiply=2)
_LOG = _MODULUS + _Each(log=1, other=1)
_RECIPROCAL = _Each(multiply=2, add=2, divide=2)
_SQRT = _MODULUS + _Each(other=1, add=1, multiply=2, sqrt=1, divide=1, compare=1)
# x conj(y) / |y|^2
_QUOTIENT = _PRODUCT + _Each(multiply=2, add=1, divide=2)

AWARE = frozenset(
    f"aten::{name}"
    for name in (
        "add",
        "sub",
        "rsub",
        "mul",
        "complex",
        "polar",
        "_fft_r2c",
        "_fft_c2r",
        "_fft_c2c",
        "_conj_physical",
        "conj_physical",
    )
)
"""Operators whose formulas hold for complex numbers as they are written."""

# Price of one element of the result, z = a + ib.
_PER_ELEMENT = {
    "neg": _Each(add=2),
    "abs": _MODULUS,
    "angle": _Each(other=1),
    # exp(a) (cos b + i sin b)
    "exp": _EXP,
    # log |z| + i atan2(b, a)
    "log": _LOG,
    # (a - ib) / (a a + b b)
    "reciprocal": _RECIPROCAL,
    # z / |z|
    "sgn": _MODULUS + _Each(compare=1, divide=2),
    # t = sqrt((|z| + |a|) / 2), b / (2 t), placed by the sign of a
    "sqrt": _SQRT,
    "rsqrt": _SQRT + _RECIPROCAL,
    # sin a cosh b + i cos a sinh b; cos a cosh b - i sin a sinh b; the hyperbolic ones with a and b exchanged
    "sin": _Each(other=4, multiply=2),
    "cos": _Each(other=4, multiply=2, add=1),
    "sinh": _Each(other=4, multiply=2),
    "cosh": _Each(other=4, multiply=2),
    # (sinh 2a + i sin 2b) / (cosh 2a + cos 2b)
    "tanh": _Each(multiply=2, other=4, add=1, divide=2),
    "tan": _Each(multiply=2, other=4, add=1, divide=2),
    # 1 / (1 + exp(-z))
    "sigmoid": _Each(add=3) + _EXP + _RECIPROCAL,
    "silu": _Each(add=3) + _EXP + _RECIPROCAL + _PRODUCT,
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


def _linear(call: Call, count: OperationCount) -> OperationCount:
    sums = OperationCount(add=2 * count.add, divide=2 * count.divide, other=2 * count.other)
    return sums + (_PRODUCT if is_complex(call.get("alpha")) else _Each(multiply=2)) * count.multiply


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


def _eigenvalues(call: Call, count: OperationCount) -> OperationCount:
    # Of a real matrix, too, they are complex.
    return _elimination(call, count) if call.tensors[0].dtype.is_complex else count


def _divide(call: Call, _: OperationCount) -> OperationCount | None:
    divisor = call["other"]
    if call.get("rounding_mode"):
        return None
    if not is_complex(divisor):
        return _Each(divide=2) * call.output.elements
    return _QUOTIENT * call.output.elements


def _power(call: Call, _: OperationCount) -> OperationCount | None:
    products = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2}
    exponent = call["exponent"]
    if isinstance(exponent, int | float) and exponent in products:
        return _PRODUCT * products[int(exponent)] * call.output.elements
    # exp(w log z), of which a real w makes a product of two
    real = isinstance(exponent, int | float) or (isinstance(exponent, TensorSpec) and not exponent.dtype.is_complex)
    return (_LOG + (_Each(multiply=2) if real else _PRODUCT) + _EXP) * call.output.elements


def _norm(call: Call, _: OperationCount) -> OperationCount | None:
    elements, merged = call.tensors[0].elements, call.tensors[0].elements - call.output.elements
    order = call.get("p", call.get("ord"))
    if order in (None, 2):
        return OperationCount(multiply=2 * elements, add=elements + merged, sqrt=call.output.elements)
    return _MODULUS * elements + OperationCount(add=merged) if order == 1 else None


def _variance(call: Call, count: OperationCount) -> OperationCount:
    # That of the real parts and that of the imaginary parts, added; the mean of both is a mean each.
    groups = call.output.elements
    both = replace(count, sqrt=0) * 2
    return both + OperationCount(add=groups, sqrt=count.sqrt)


def _elimination(_: Call, count: OperationCount) -> OperationCount:
    """Textbook elimination: products, sums and quotients of complex numbers; roots and pivots are real.

    A pivot is compared by |a| + |b|. What a model gives only as a sum (eigenvalues) is as many complex operations,
    half of them products: four times.
    """
    found = (
        _PRODUCT * count.multiply
        + OperationCount(add=2 * count.add, sqrt=count.sqrt, log=count.log)
        + _QUOTIENT * count.divide
        + OperationCount(compare=1, add=1, other=2) * count.compare
        + OperationCount(other=4 * count.other)
    )
    return replace(found, modelled=found.total, macs=4 * count.macs)


def _interpolated(call: Call, _: OperationCount) -> OperationCount:
    # a + w (b - a)
    return (_Each(add=4) + (_PRODUCT if is_complex(call.get("weight")) else _Each(multiply=2))) * call.output.elements


def _added_quotient(call: Call, _: OperationCount) -> OperationCount:
    value = call.get("value", 1)
    scaled = _Each() if value == 1 else _PRODUCT if is_complex(value) else _Each(multiply=2)
    return (_QUOTIENT + _Each(add=2) + scaled) * call.output.elements


_ELIMINATIONS = """
    linalg_cholesky_ex cholesky linalg_lu_factor_ex linalg_lu linalg_ldl_factor_ex linalg_inv_ex cholesky_inverse
    _linalg_det _linalg_slogdet _linalg_solve_ex linalg_solve_triangular triangular_solve linalg_ldl_solve
    linalg_lu_solve cholesky_solve _cholesky_solve_helper linalg_qr geqrf linalg_householder_product ormqr
    _linalg_svd _linalg_eigh linalg_lstsq linalg_pinv
"""
_Rule = Callable[[Call, OperationCount], "OperationCount | None"]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_LINEAR.split() + _DRAWS.split(), _linear),
    **dict.fromkeys(_BILINEAR.split(), _bilinear),
    **dict.fromkeys(_ELIMINATIONS.split(), _elimination),
    "linalg_eig": _eigenvalues,
    "_linalg_eigvals": _eigenvalues,
    "linalg_eigvals": _eigenvalues,
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), _variance),
    "lerp": _interpolated,
    "addcdiv": _added_quotient,
    "div": _divide,
    "pow": _power,
    "linalg_vector_norm": _norm,
    "norm": _norm,
}
for _name, _price in _PER_ELEMENT.items():

    def _fixed(call: Call, _: OperationCount, price: OperationCount = _price) -> OperationCount:
        return price * call.output.elements if price else NOTHING

    _RULES[_name] = _fixed
