"""Pointwise operators: a fixed price per element of the result."""

from __future__ import annotations

from deepspeech2.flops.formulas.activations import clipped_relu, dropout, dropout_gradient, relu, sigmoid
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

_Each = OperationCount
_SIGMOID = sigmoid(1)
# log(1 + exp(x)) with a comparison against the threshold above which it is x itself.
_SOFTPLUS = _Each(multiply=1, compare=1, exp=1, add=1, log=1, divide=1)

# Price per element of the result. Names are those of the operators, the formula is in the comment where it is not
# the name itself. Branches are charged as if both sides were computed, which is what vector code does.
PER_ELEMENT: dict[str, OperationCount] = {
    "neg": _Each(add=1),
    "reciprocal": _Each(divide=1),
    "sqrt": _Each(sqrt=1),
    "rsqrt": _Each(sqrt=1, divide=1),
    "exp": _Each(exp=1),
    "exp2": _Each(exp=1),
    "expm1": _Each(exp=1, add=1),
    "log": _Each(log=1),
    "log2": _Each(log=1),
    "log10": _Each(log=1),
    "log1p": _Each(add=1, log=1),
    "tanh": _Each(tanh=1),
    "sigmoid": _SIGMOID,
    "silu": _SIGMOID + _Each(multiply=1),
    # min(0, x) - log(1 + exp(-|x|))
    "log_sigmoid_forward": _Each(compare=1, other=1, add=3, exp=1, log=1),
    "softplus": _SOFTPLUS,
    # x * tanh(softplus(x))
    "mish": _Each(exp=1, add=1, log=1, tanh=1, multiply=1),
    # clamp(x + 3, 0, 6) / 6
    "hardsigmoid": _Each(add=1, compare=2, divide=1),
    "hardswish": _Each(add=1, compare=2, multiply=1, divide=1),
    # x where x > 0, else slope * x
    "leaky_relu": _Each(compare=1, multiply=1),
    "rrelu_with_noise_functional": _Each(compare=1, multiply=1, other=1),
    "_prelu_kernel": _Each(compare=1, multiply=1),
    "threshold": _Each(compare=1),
    "hardshrink": _Each(compare=2),
    "softshrink": _Each(compare=2, add=1),
    "sin": _Each(other=1),
    "cos": _Each(other=1),
    "tan": _Each(other=1),
    "asin": _Each(other=1),
    "acos": _Each(other=1),
    "atan": _Each(other=1),
    "atan2": _Each(other=1),
    "sinh": _Each(other=1),
    "cosh": _Each(other=1),
    "asinh": _Each(other=1),
    "acosh": _Each(other=1),
    "atanh": _Each(other=1),
    "erf": _Each(other=1),
    "erfc": _Each(other=1),
    "erfinv": _Each(other=1),
    "lgamma": _Each(other=1),
    "digamma": _Each(other=1),
    # sin(pi x) / (pi x)
    "sinc": _Each(multiply=1, other=1, divide=1),
    "abs": _Each(other=1),
    "sign": _Each(compare=2),
    "sgn": _Each(compare=2),
    "floor": _Each(other=1),
    "ceil": _Each(other=1),
    "round": _Each(other=1),
    "trunc": _Each(other=1),
    "frac": _Each(other=1, add=1),
    "fmod": _Each(other=1),
    "remainder": _Each(other=1),
    "floor_divide": _Each(divide=1, other=1),
    "hypot": _Each(multiply=2, add=1, sqrt=1),
    "logaddexp": _Each(compare=1, add=4, exp=2, log=1),
    "xlogy": _Each(log=1, multiply=1),
    "maximum": _Each(compare=1),
    "minimum": _Each(compare=1),
    "fmax": _Each(compare=1),
    "fmin": _Each(compare=1),
    "heaviside": _Each(compare=2),
    "eq": _Each(compare=1),
    "ne": _Each(compare=1),
    "lt": _Each(compare=1),
    "le": _Each(compare=1),
    "gt": _Each(compare=1),
    "ge": _Each(compare=1),
    "isnan": _Each(compare=1),
    "isinf": _Each(compare=1),
    "isposinf": _Each(compare=1),
    "isneginf": _Each(compare=1),
    "signbit": _Each(compare=1),
    # mantissa and exponent
    "frexp": _Each(other=1),
    "nan_to_num": _Each(compare=3),
    "logit": _Each(add=1, divide=1, log=1),
    # gradients of activations; y is the result, g the incoming gradient
    "threshold_backward": _Each(compare=1),
    "hardtanh_backward": _Each(compare=2),
    "hardsigmoid_backward": _Each(compare=2, multiply=1),
    "hardswish_backward": _Each(compare=2, multiply=3, add=1),
    "leaky_relu_backward": _Each(compare=1, multiply=1),
    "_prelu_kernel_backward": _Each(compare=1, multiply=2),
    # g * y * (1 - y)
    "sigmoid_backward": _Each(multiply=2, add=1),
    # g * (1 - y * y)
    "tanh_backward": _Each(multiply=2, add=1),
    # g * s * (1 + x * (1 - s)), s = sigmoid(x)
    "silu_backward": _SIGMOID + _Each(multiply=3, add=2),
    "log_sigmoid_backward": _Each(compare=2, exp=1, add=3, divide=1, multiply=2),
    "softplus_backward": _Each(multiply=2, compare=1, exp=1, add=1, divide=1),
    "mish_backward": _SIGMOID + _SOFTPLUS + _Each(tanh=1, multiply=4, add=2),
    # random numbers: one draw per element
    "bernoulli": _Each(other=1),
    "rand": _Each(other=1),
    "randn": _Each(other=1),
    "rand_like": _Each(other=1),
    "randn_like": _Each(other=1),
    "uniform": _Each(other=1),
    "normal": _Each(other=1),
    "normal_functional": _Each(other=1),
    "exponential": _Each(other=1),
    "poisson": _Each(other=1),
    "binomial": _Each(other=1),
    "geometric": _Each(other=1),
    "cauchy": _Each(other=1),
    "log_normal": _Each(other=1),
    "_standard_gamma": _Each(other=1),
    "_sample_dirichlet": _Each(other=1),
    # to 8 bits and back: x / scale, rounded, plus the zero point, clamped; (q - zero) * scale
    "quantize_per_tensor": _Each(multiply=1, other=1, add=1, compare=2),
    "quantize_per_channel": _Each(multiply=1, other=1, add=1, compare=2),
    "dequantize": _Each(add=1, multiply=1),
    # gradients of shrinkages
    "hardshrink_backward": _Each(compare=2),
    "softshrink_backward": _Each(compare=2),
    "rrelu_with_noise": _Each(compare=1, multiply=1),
    "_add_relu": _Each(add=1, compare=1),
    # windows: 0.54 - 0.46 cos(k i); 0.42 - 0.5 cos(k i) + 0.08 cos(2 k i); 1 - |2 i / n - 1|
    "hamming_window": _Each(multiply=2, other=1, add=1),
    "blackman_window": _Each(multiply=4, other=2, add=2),
    "bartlett_window": _Each(multiply=1, other=1, add=2),
    # sequences: start + i * step
    "range": _Each(multiply=1, add=1),
    "arange": _Each(multiply=1, add=1),
    "linspace": _Each(multiply=1, add=1),
    # integers and truth values: no floating point at all
    "gcd": _Each(integer=1),
    "lcm": _Each(integer=3),
    "bitwise_and": _Each(integer=1),
    "bitwise_or": _Each(integer=1),
    "bitwise_not": _Each(integer=1),
    "bitwise_xor": _Each(integer=1),
    "__and__": _Each(integer=1),
    "__or__": _Each(integer=1),
    "bitwise_left_shift": _Each(integer=1),
    "bitwise_right_shift": _Each(integer=1),
}

# Functions of one number that a mathematical library computes: one operation each, as sin and erf are.
_SPECIAL = """
    angle polygamma special_airy_ai special_bessel_y0 special_bessel_y1 special_chebyshev_polynomial_t
    special_chebyshev_polynomial_u special_chebyshev_polynomial_v special_chebyshev_polynomial_w
    special_hermite_polynomial_h special_hermite_polynomial_he special_laguerre_polynomial_l
    special_legendre_polynomial_p special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w
    special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0
    special_modified_bessel_k1 special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 i0 i0e igamma
    igammac special_i0e special_i1 special_i1e special_ndtri special_zeta special_erfcx special_bessel_j0
    special_bessel_j1 special_spherical_bessel_j0 nextafter
"""
PER_ELEMENT.update(dict.fromkeys(_SPECIAL.split(), _Each(other=1)))

for _name, _price in PER_ELEMENT.items():

    def _fixed_price(call: Call, price: OperationCount = _price) -> OperationCount:
        return price * call.output.elements

    register_formula(f"aten::{_name}")(_fixed_price)


def _elements(tensor: TensorSpec) -> Number:
    return tensor.elements


def is_complex(value: object) -> bool:
    """Whether an operand, a tensor or a number, is complex."""
    return value.dtype.is_complex if isinstance(value, TensorSpec) else isinstance(value, complex)


def product(one: object, other: object) -> OperationCount:
    """The product of two numbers: four multiplications and two additions if both are complex."""
    if is_complex(one) and is_complex(other):
        return _Each(multiply=4, add=2)
    return _Each(multiply=2 if is_complex(one) or is_complex(other) else 1)


@register_formula("aten::add", "aten::sub", "aten::rsub")
def _add(call: Call) -> OperationCount:
    # One operand times alpha, and a sum.
    alpha = call.get("alpha", 1)
    scaled = product(alpha, call["self" if call.operator == "aten::rsub" else "other"]) if alpha != 1 else _Each()
    return (scaled + _Each(add=2 if is_complex(call.output) else 1)) * call.output.elements


@register_formula("aten::mul")
def _multiply(call: Call) -> OperationCount:
    return product(call["self"], call["other"]) * call.output.elements


@register_formula("aten::div")
def _divide(call: Call) -> OperationCount:
    rounded = 1 if call.get("rounding_mode") else 0
    return _Each(divide=1, other=rounded) * call.output.elements


@register_formula("aten::pow")
def _power(call: Call) -> OperationCount:
    prices = {
        0: _Each(),
        1: _Each(),
        2: _Each(multiply=1),
        3: _Each(multiply=2),
        4: _Each(multiply=2),
        0.5: _Each(sqrt=1),
        -0.5: _Each(sqrt=1, divide=1),
        -1: _Each(divide=1),
        -2: _Each(multiply=1, divide=1),
    }
    exponent = call["exponent"]
    price = prices.get(exponent) if isinstance(exponent, int | float) else None
    return (price if price is not None else _Each(other=1)) * call.output.elements


@register_formula("aten::logical_and", "aten::logical_or", "aten::logical_xor", "aten::logical_not")
def _logical(call: Call) -> OperationCount:
    # A number is true where it is not zero, which a comparison finds out.
    tested = sum(tensor.elements for tensor in call.tensors if tensor.is_floating)
    return OperationCount(compare=tested, integer=call.output.elements)


@register_formula("aten::_conj_physical", "aten::conj_physical")
def _conjugate(call: Call) -> OperationCount:
    return OperationCount(add=call.output.elements if is_complex(call.output) else 0)


@register_formula("aten::elu")
def _elu(call: Call) -> OperationCount:
    # scale * x where x > 0, else (exp(input_scale * x) - 1) * (alpha * scale), the last factor folded before.
    scaled = call.get("scale", 1) != 1
    inner = call.get("input_scale", 1) != 1
    return _Each(compare=1, exp=1, add=1, multiply=1 + scaled + inner) * call.output.elements


@register_formula("aten::celu")
def _celu(call: Call) -> OperationCount:
    # An elu of x * (1 / alpha).
    inner = call.get("alpha", 1) != 1
    return _Each(compare=1, exp=1, add=1, multiply=1 + inner) * call.output.elements


@register_formula("aten::elu_backward")
def _elu_backward(call: Call) -> OperationCount:
    # g * scale where x > 0; else g * input_scale * (alpha * scale) * exp(input_scale * x), of which the result y
    # gives the last two factors as y + alpha * scale.
    scaled = call.get("scale", 1) != 1
    inner = call.get("input_scale", 1) != 1
    if call.get("is_result"):
        return _Each(compare=1, add=1, multiply=1 + scaled + inner) * call.output.elements
    return _Each(compare=1, exp=1, multiply=2 + scaled + 2 * inner) * call.output.elements


@register_formula("aten::square")
def _square(call: Call) -> OperationCount:
    return _Each(multiply=1) * call.output.elements


@register_formula("aten::relu", "aten::relu6")
def _relu(call: Call) -> OperationCount:
    return (clipped_relu if "relu6" in call.operator else relu)(call.output.elements)


@register_formula("aten::hardtanh", "aten::clamp", "aten::clip", "aten::clamp_min", "aten::clamp_max")
def _clamp(call: Call) -> OperationCount:
    limits = ("min", "max", "min_val", "max_val")
    bounds = sum(1 for name in limits if call.get(name) is not None)
    return (clipped_relu if bounds == 2 else relu)(call.output.elements)


@register_formula("aten::gelu")
def _gelu(call: Call) -> OperationCount:
    if call.get("approximate") == "tanh":
        # 0.5 x (1 + tanh(k (x + 0.044715 x^3)))
        return _Each(multiply=6, add=2, tanh=1) * call.output.elements
    # 0.5 x (1 + erf(x / sqrt 2)), the root folded into a factor
    return _Each(multiply=3, add=1, other=1) * call.output.elements


@register_formula("aten::gelu_backward")
def _gelu_backward(call: Call) -> OperationCount:
    if call.get("approximate") == "tanh":
        return _Each(multiply=13, add=5, tanh=1) * call.output.elements
    # g (cdf + x pdf): cdf = 0.5 (1 + erf(x k)), pdf = exp(-x^2 / 2) c
    return _Each(multiply=7, add=2, exp=1, other=1) * call.output.elements


@register_formula("aten::glu")
def _glu(call: Call) -> OperationCount:
    return (_SIGMOID + _Each(multiply=1)) * call.output.elements


@register_formula("aten::glu_backward")
def _glu_backward(call: Call) -> OperationCount:
    # For a * s(b): g s(b), and g s(b) (1 - s(b)) a; the result is twice as large as the gradient that comes in.
    return (_SIGMOID + _Each(multiply=3, add=1)) * _elements(call["grad_output"])


@register_formula("aten::lerp")
def _lerp(call: Call) -> OperationCount:
    return _Each(add=2, multiply=1) * call.output.elements


@register_formula("aten::addcmul")
def _addcmul(call: Call) -> OperationCount:
    return _Each(multiply=1 if call.get("value", 1) == 1 else 2, add=1) * call.output.elements


@register_formula("aten::addcdiv")
def _addcdiv(call: Call) -> OperationCount:
    return _Each(multiply=0 if call.get("value", 1) == 1 else 1, divide=1, add=1) * call.output.elements


@register_formula("aten::native_dropout")
def _dropout(call: Call) -> OperationCount:
    # What the separate operators cost.
    if not call["train"]:
        return OperationCount()
    return dropout(call.output.elements)


@register_formula("aten::native_dropout_backward")
def _dropout_backward(call: Call) -> OperationCount:
    return dropout_gradient(call.output.elements)


@register_formula("aten::complex", "aten::polar")
def _polar(call: Call) -> OperationCount:
    if call.operator.endswith("complex"):
        return OperationCount()
    return _Each(multiply=2, other=2) * call.output.elements
