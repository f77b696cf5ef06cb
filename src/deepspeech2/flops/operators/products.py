"""Matrix products: every spelling of the same product has the same count."""

from __future__ import annotations

from math import prod

from deepspeech2.flops.formulas.products import dot_products, matrix_product
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, register_formula


def _accumulated(product: OperationCount, elements: Number, call: Call) -> OperationCount:
    """Beta * input + alpha * product: the addition is the bias of a dot product."""
    scales = sum(1 for name in ("beta", "alpha") if call.get(name, 1) not in (0, 1))
    bias = 0 if call.get("beta", 1) == 0 else elements
    return product + OperationCount(add=bias, multiply=scales * elements, notebook=bias)


@register_formula("aten::mm")
def _mm(call: Call) -> OperationCount:
    rows, inner = call["self"].shape
    return matrix_product(rows, inner, call["mat2"].shape[1])


@register_formula("aten::addmm")
def _addmm(call: Call) -> OperationCount:
    rows, inner = call["mat1"].shape
    columns = call["mat2"].shape[1]
    return _accumulated(matrix_product(rows, inner, columns), rows * columns, call)


@register_formula("aten::_addmm_activation")
def _addmm_activation(call: Call) -> OperationCount:
    elements = call.output.elements
    if call.get("use_gelu"):
        # The tanh approximation of GELU, as in the pointwise table.
        return _addmm(call) + OperationCount(multiply=6, add=2, tanh=1) * elements
    return _addmm(call) + OperationCount(compare=elements, notebook=elements)


@register_formula("aten::bmm")
def _bmm(call: Call) -> OperationCount:
    batch, rows, inner = call["self"].shape
    return matrix_product(rows, inner, call["mat2"].shape[2], batch=batch)


@register_formula("aten::baddbmm")
def _baddbmm(call: Call) -> OperationCount:
    batch, rows, inner = call["batch1"].shape
    columns = call["batch2"].shape[2]
    return _accumulated(matrix_product(rows, inner, columns, batch=batch), batch * rows * columns, call)


@register_formula("aten::addbmm")
def _addbmm(call: Call) -> OperationCount:
    batch, rows, inner = call["batch1"].shape
    columns = call["batch2"].shape[2]
    # The batch is summed as well: one long dot product per element.
    return _accumulated(dot_products(rows * columns, batch * inner), rows * columns, call)


@register_formula("aten::_int_mm")
def _integer_mm(call: Call) -> OperationCount:
    # 8-bit integers into 32: an integer product whatever the tensors' types.
    return _mm(call)


@register_formula("aten::_scaled_mm", "aten::_weight_int8pack_mm")
def _scaled_mm(call: Call) -> OperationCount:
    # Weights of few bits, arithmetic in floating point; every result times a scale.
    inner = call["self"].shape[-1]
    elements = call.output.elements
    return dot_products(elements, inner, bias=call.get("bias") is not None) + OperationCount(multiply=elements)


@register_formula("aten::_weight_int4pack_mm", "aten::_dyn_quant_matmul_4bit", "aten::_scaled_grouped_mm")
def _packed_mm(_: Call) -> OperationCount:
    raise NotImplementedError("how a product of packed or scaled weights rounds depends on the kernel")


@register_formula("aten::mv")
def _mv(call: Call) -> OperationCount:
    rows, inner = call["self"].shape
    return dot_products(rows, inner)


@register_formula("aten::addmv")
def _addmv(call: Call) -> OperationCount:
    rows, inner = call["mat"].shape
    return _accumulated(dot_products(rows, inner), rows, call)


@register_formula("aten::dot", "aten::vdot")
def _dot(call: Call) -> OperationCount:
    return dot_products(1, call["self"].elements)


@register_formula("aten::addr")
def _addr(call: Call) -> OperationCount:
    elements = call.output.elements
    return _accumulated(dot_products(elements, 1), elements, call)


@register_formula("aten::linear")
def _linear(call: Call) -> OperationCount:
    outputs, inputs = call["weight"].shape if len(call["weight"].shape) == 2 else (1, call["weight"].shape[0])
    samples = call["input"].elements // inputs if isinstance(inputs, int) else call["input"].elements / inputs
    return dot_products(samples * outputs, inputs, bias=call.get("bias") is not None)


@register_formula("aten::_trilinear")
def _trilinear(call: Call) -> OperationCount:
    # As torch computes it: i1 with i2, summed over the axes i3 does not have, then with i3, summed over the others.
    shapes = []
    for number in ("1", "2", "3"):
        shape: list[Number] = list(call[f"i{number}"].shape)
        for axis in sorted(call[f"expand{number}"]):
            shape.insert(axis, 1)
        shapes.append(shape)
    first, second, third = shapes
    joined = [b if a == 1 else a for a, b in zip(first, second, strict=True)]
    summed = [axis for axis in call["sumdim"] if axis in call["expand3"]]
    partial = [1 if axis in summed else size for axis, size in enumerate(joined)]
    mixed = [b if a == 1 else a for a, b in zip(partial, third, strict=True)]
    count = dot_products(prod(partial), prod(joined[axis] for axis in summed))
    return count + dot_products(
        call.output.elements, prod(mixed[axis] for axis in call["sumdim"] if axis not in summed)
    )


@register_formula("aten::conv_tbc")
def _time_batch_channels(call: Call) -> OperationCount:
    taps, inputs, _ = call["weight"].shape
    return dot_products(call.output.elements, taps * inputs, bias=True)
