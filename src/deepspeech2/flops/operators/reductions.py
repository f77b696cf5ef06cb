"""Sums, means, extremes, variances, norms, cumulative sums, softmaxes."""

from __future__ import annotations

from deepspeech2.flops.formulas.activations import log_softmax, log_softmax_gradient, softmax, softmax_gradient
from deepspeech2.flops.formulas.normalisation import moments
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _tensor(call: Call) -> TensorSpec:
    """The tensor that is reduced."""
    return call.tensors[0]


def _merged(call: Call) -> Number:
    """Elements that are folded into another: n - 1 for each group of n."""
    return _tensor(call).elements - call.output.elements


@register_formula("aten::sum", "aten::nansum", "aten::trace")
def _sum(call: Call) -> OperationCount:
    if call.operator == "aten::trace":
        rows, columns = _tensor(call).shape
        shorter = min(rows, columns) if isinstance(rows, int) and isinstance(columns, int) else rows
        return OperationCount(add=shorter - 1)
    # Whether an element is a number is a comparison.
    tested = _tensor(call).elements if call.operator == "aten::nansum" else 0
    return OperationCount(add=_merged(call), compare=tested)


@register_formula("aten::mean")
def _mean(call: Call) -> OperationCount:
    return OperationCount(add=_merged(call), divide=call.output.elements)


@register_formula("aten::prod")
def _product(call: Call) -> OperationCount:
    return OperationCount(multiply=_merged(call))


@register_formula(
    "aten::max", "aten::min", "aten::amax", "aten::amin", "aten::argmax", "aten::argmin", "aten::all", "aten::any"
)
def _extreme(call: Call) -> OperationCount:
    if len(call.tensors) == 2:
        # max(a, b) of two tensors, not a reduction.
        return OperationCount(compare=call.output.elements)
    if call.operator in ("aten::all", "aten::any"):
        # A number is true where it is not zero, which a comparison finds out.
        tested = _tensor(call).elements if _tensor(call).is_floating else 0
        return OperationCount(compare=tested, integer=_merged(call))
    return OperationCount(compare=_merged(call))


@register_formula("aten::aminmax")
def _extremes(call: Call) -> OperationCount:
    return OperationCount(compare=2 * _merged(call))


@register_formula("aten::equal")
def _equal(call: Call) -> OperationCount:
    return OperationCount(compare=_tensor(call).elements)


@register_formula("aten::var", "aten::var_mean", "aten::std", "aten::std_mean")
def _variance(call: Call) -> OperationCount:
    groups = call.output.elements
    elements = _tensor(call).elements
    length = elements // groups if isinstance(elements, int) and isinstance(groups, int) else elements / groups
    count = moments(groups, length)
    return count + OperationCount(sqrt=groups) if "std" in call.operator else count


@register_formula("aten::norm", "aten::linalg_vector_norm", "aten::_weight_norm_interface")
def _norm(call: Call) -> OperationCount:
    elements = _tensor(call).elements
    if call.operator == "aten::_weight_norm_interface":
        # v * (g / |v|), one norm per slice along `dim`.
        slices = call["g"].elements
        return OperationCount(multiply=elements + elements, add=elements - slices, sqrt=slices, divide=slices, macs=0)
    order = call.get("p", call.get("ord"))
    merged = _merged(call)
    if order in (None, 2):
        return OperationCount(multiply=elements, add=merged, sqrt=call.output.elements)
    if order == 0:  # how many are not zero
        return OperationCount(compare=elements, add=merged)
    if order == 1:
        return OperationCount(other=elements, add=merged)
    if order in (float("inf"), float("-inf")):
        return OperationCount(other=elements, compare=merged)
    # sum(|x| ** p) ** (1 / p)
    return OperationCount(other=2 * elements + call.output.elements, add=merged)


@register_formula("aten::_weight_norm_interface_backward")
def _weight_norm_gradient(call: Call) -> OperationCount:
    # sum(g_w * v) per slice; grad_g = that / |v|; grad_v = (g / |v|) * (g_w - v * that / |v|^2).
    elements = call["grad_w"].elements
    slices = call["saved_g"].elements
    return OperationCount(multiply=3 * elements + slices, add=elements - slices + elements, divide=3 * slices)


@register_formula("aten::cumsum", "aten::cumprod", "aten::cummax", "aten::cummin", "aten::logcumsumexp")
def _cumulative(call: Call) -> OperationCount:
    lanes, length = _rows(call, "self")
    steps = lanes * length - lanes
    each = {
        "aten::cumsum": OperationCount(add=1),
        "aten::cumprod": OperationCount(multiply=1),
        # The stabilised logarithm of a sum of two exponentials.
        "aten::logcumsumexp": OperationCount(compare=1, add=4, exp=2, log=1),
    }.get(call.operator, OperationCount(compare=1))
    return each * steps


@register_formula("aten::logsumexp")
def _logsumexp(call: Call) -> OperationCount:
    elements, groups = _tensor(call).elements, call.output.elements
    return OperationCount(compare=elements - groups, add=2 * elements, exp=elements, log=groups)


def _rows(call: Call, name: str) -> tuple[Number, Number]:
    tensor: TensorSpec = call[name]
    if not tensor.shape:
        return 1, 1
    axis = call["dim"] % len(tensor.shape)
    rows: Number = 1
    for index, size in enumerate(tensor.shape):
        rows = rows * (size if index != axis else 1)
    return rows, tensor.shape[axis]


@register_formula("aten::_softmax", "aten::_safe_softmax", "aten::softmax")
def _softmax(call: Call) -> OperationCount:
    return softmax(*_rows(call, "self"))


@register_formula("aten::_log_softmax", "aten::log_softmax")
def _log_softmax(call: Call) -> OperationCount:
    return log_softmax(*_rows(call, "self"))


@register_formula("aten::_softmax_backward_data")
def _softmax_backward(call: Call) -> OperationCount:
    return softmax_gradient(*_rows(call, "grad_output"))


@register_formula("aten::_log_softmax_backward_data")
def _log_softmax_backward(call: Call) -> OperationCount:
    return log_softmax_gradient(*_rows(call, "grad_output"))
