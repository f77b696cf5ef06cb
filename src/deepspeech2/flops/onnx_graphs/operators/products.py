"""Matrix products: Gemm, MatMul, Einsum and their quantised forms."""

from __future__ import annotations

from collections.abc import Sequence

from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


@register_formula("onnx::Gemm")
def _gemm(call: Call) -> OperationCount:
    """Alpha * A B + beta * C; C is the bias of the dot products."""
    first: TensorSpec = call["A"]
    inner = first.shape[0] if call.get("transA") else first.shape[1]
    elements = call.output.elements
    biased = call.get("C") is not None and call.get("beta", 1.0) != 0
    factors = [call.get("alpha", 1.0), *([call.get("beta", 1.0)] if biased else [])]
    scales = sum(1 for factor in factors if factor not in (0, 1))
    return dot_products(elements, inner, bias=biased) + OperationCount(multiply=scales * elements)


@register_formula("onnx::MatMul")
def _matmul(call: Call) -> OperationCount:
    return dot_products(call.output.elements, call["A"].last)


@register_formula("onnx::MatMulInteger", "onnx::QLinearMatMul")
def _integer_matmul(call: Call) -> OperationCount:
    """Products of integers; QLinearMatMul then rounds every element to its scale."""
    name = "A" if call.operator == "onnx::MatMulInteger" else "a"
    elements = call.output.elements
    product = dot_products(elements, call[name].last)
    count = OperationCount(integer=product.total, macs=product.macs)
    if call.operator == "onnx::QLinearMatMul":
        count = count + OperationCount(multiply=1, other=1, compare=2, integer=1) * elements
    return count


@register_formula("onnx::Einsum")
def _einsum(call: Call) -> OperationCount:
    """Operands are contracted from left to right, two at a time."""
    operands: Sequence[TensorSpec] = call["Inputs"]
    terms, output = einsum_terms(call["equation"], [tensor.shape for tensor in operands])
    count = NOTHING
    left = terms[0]
    for index, term in enumerate(terms[1:], start=2):
        later = set(output).union(*terms[index:]) if index < len(terms) else set(output)
        left, right, added = _summed(left, term, later)
        count = count + added
        joined = {**left, **{label: max(size, left.get(label, 1)) for label, size in right.items()}}
        kept = {label: size for label, size in joined.items() if label in later}
        inner = _size({label: size for label, size in joined.items() if label not in later})
        count = count + dot_products(_size(kept), inner)
        left = kept
    rest = {label: size for label, size in left.items() if label in output}
    return count + OperationCount(add=_size(left) - _size(rest))


def _summed(
    left: dict[str, int], right: dict[str, int], later: set[str]
) -> tuple[dict[str, int], dict[str, int], OperationCount]:
    """Sum each operand over what neither the other one nor a later term has."""
    count = NOTHING
    reduced = []
    for one, other in ((left, right), (right, left)):
        kept = {label: size for label, size in one.items() if label in other or label in later}
        count = count + OperationCount(add=_size(one) - _size(kept))
        reduced.append(kept)
    return reduced[0], reduced[1], count


def _size(term: dict[str, int]) -> int:
    result = 1
    for size in term.values():
        result *= size
    return result


def einsum_terms(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[dict[str, int]], dict[str, int]]:
    """Label -> size of every operand and of the result; axes of an ellipsis get labels of their own.

    Raises:
        NotImplementedError: the equation does not fit the operands.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(shapes):
        raise NotImplementedError(f"the equation {equation!r} has another number of operands")
    terms: list[dict[str, int]] = []
    for text, shape in zip(texts, shapes, strict=True):
        labels = _labels(text, len(shape))
        if len(labels) != len(shape):
            raise NotImplementedError(f"the equation {equation!r} does not fit the shapes of the operands")
        terms.append(dict(zip(labels, shape, strict=True)))
    sizes: dict[str, int] = {}
    for term in terms:
        for label, size in term.items():
            sizes[label] = max(size, sizes.get(label, 1))
    dots = sorted(label for label in sizes if label.startswith("."))
    if arrow:
        output = [*(dots if "..." in right else []), *right.replace("...", "")]
    else:
        output = [*dots, *sorted(label for label in set(left) if label.isalpha() and left.count(label) == 1)]
    if any(label not in sizes for label in output):
        raise NotImplementedError(f"the equation {equation!r} names a result that no operand has")
    return terms, {label: sizes[label] for label in output}


def _labels(text: str, rank: int) -> list[str]:
    before, dots, after = text.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    # Axes of an ellipsis are matched from the right, as in broadcasting.
    return [*before, *[f".{hidden - index:02d}" for index in range(hidden)], *after]
