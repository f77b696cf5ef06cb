"""Primitive operators: what forward-mode derivatives and some decomposed exports are made of.

Those that are an operator of the usual set under another name have its rule.
"""

from __future__ import annotations

from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.operators import moves, pointwise, reductions  # noqa: F401  (their rules are used here)
from deepspeech2.flops.registry import Call, find_rule, register_formula

_SAME = """
    abs acos acosh asin asinh atan atanh cos cosh bitwise_not ceil conj_physical digamma erf erfc exp expm1 exp2 floor
    lgamma log log1p log2 log10 neg reciprocal round sign signbit sin sinh sqrt tan tanh trunc add atan2 bitwise_and
    bitwise_or bitwise_xor div eq fmax fmin fmod frexp gcd ge gt hypot igamma igammac le lt maximum minimum mul ne
    nextafter remainder rsqrt sub amax amin prod sum normal
"""
_LIBRARY = """
    bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 cbrt erf_inv erfcx ndtri spherical_bessel_j0 zeta pow
"""
_MOVES = """
    as_strided broadcast_in_dim collapse_view conj expand_dims slice split_dim squeeze transpose view_of view_of_dtype
    view_element_type as_strided_scatter collapse cat reshape rev where clone convert_element_type device_put item
    copy_strided copy_to resize empty empty_strided empty_permuted full full_like scalar_tensor fill real imag
    maximum_value minimum_value
"""

for _name in _SAME.split():
    _rule = find_rule(f"aten::{_name}")
    assert _rule is not None, _name
    register_formula(f"prims::{_name}")(_rule)


@register_formula(*[f"prims::{name}" for name in _LIBRARY.split()])
def _library_function(call: Call) -> OperationCount:
    return OperationCount(other=call.output.elements)


@register_formula(*[f"prims::{name}" for name in _MOVES.split()])
def _move(_: Call) -> OperationCount:
    return NOTHING


@register_formula("prims::isfinite")
def _is_finite(call: Call) -> OperationCount:
    return OperationCount(compare=call.output.elements)


@register_formula("prims::iota")
def _steps(call: Call) -> OperationCount:
    return OperationCount(multiply=1, add=1) * call.output.elements


@register_formula("prims::shift_left", "prims::shift_right_arithmetic", "prims::xor_sum")
def _integers(call: Call) -> OperationCount:
    return OperationCount(integer=call.tensors[0].elements)
