"""Linear algebra: factorisations, solutions, eigenvalues; all modelled."""

from __future__ import annotations

from collections.abc import Callable

from deepspeech2.flops.formulas.linear_algebra import (
    cholesky,
    determinant,
    eigenvalues,
    lu,
    qr,
    singular_values,
    solution,
    symmetric_eigenvalues,
    triangular_solution,
)
from deepspeech2.flops.formulas.products import matrix_product
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _sizes(tensor: TensorSpec) -> tuple[int, int, int]:
    """Number of matrices, rows, columns."""
    rows, columns = tensor.shape[-2:]
    elements = tensor.elements
    if not (isinstance(rows, int) and isinstance(columns, int) and isinstance(elements, int)):
        raise NotImplementedError("a factorisation of a matrix of symbolic size")
    return (elements // (rows * columns) if elements else 0), rows, columns


def _right_hand_side(call: Call, name: str, size: int, matrices: int) -> int:
    elements = call[name].elements
    return elements // (size * matrices) if matrices and size else 0


_SQUARE: dict[str, Callable[[int, Call], OperationCount]] = {
    "linalg_cholesky_ex": lambda size, _: cholesky(size),
    "cholesky": lambda size, _: cholesky(size),
    "linalg_lu_factor_ex": lambda size, _: lu(size),
    "linalg_lu": lambda size, _: lu(size),
    "linalg_ldl_factor_ex": lambda size, _: cholesky(size),
    "linalg_inv_ex": lambda size, _: solution(size, size),
    "cholesky_inverse": lambda size, _: triangular_solution(size, size) * 2,
    "_linalg_det": lambda size, _: determinant(size, logarithm=False),
    "_linalg_slogdet": lambda size, _: determinant(size, logarithm=True),
    "_linalg_eigh": lambda size, call: symmetric_eigenvalues(size, vectors=bool(call.get("compute_v", True))),
    "linalg_eig": lambda size, _: eigenvalues(size, vectors=True),
    "_linalg_eigvals": lambda size, _: eigenvalues(size, vectors=False),
    "linalg_eigvals": lambda size, _: eigenvalues(size, vectors=False),
}

for _name, _formula in _SQUARE.items():

    def _square(call: Call, formula: Callable[[int, Call], OperationCount] = _formula) -> OperationCount:
        matrices, rows, columns = _sizes(call.tensors[0])
        return formula(min(rows, columns), call) * matrices

    register_formula(f"aten::{_name}")(_square)


@register_formula("aten::_linalg_solve_ex")
def _solve(call: Call) -> OperationCount:
    matrices, size, _ = _sizes(call["A"])
    return solution(size, _right_hand_side(call, "B", size, matrices)) * matrices


@register_formula("aten::linalg_solve_triangular")
def _solve_triangular(call: Call) -> OperationCount:
    matrices, size, _ = _sizes(call["self"])
    return triangular_solution(size, _right_hand_side(call, "B", size, matrices)) * matrices


@register_formula("aten::triangular_solve")
def _solve_triangular_for(call: Call) -> OperationCount:
    matrices, size, _ = _sizes(call["A"])
    return triangular_solution(size, _right_hand_side(call, "self", size, matrices)) * matrices


@register_formula("aten::linalg_ldl_solve")
def _solve_symmetric(call: Call) -> OperationCount:
    # Two substitutions; the divisions by the diagonal are those of one of them.
    matrices, size, _ = _sizes(call["LD"])
    return triangular_solution(size, _right_hand_side(call, "B", size, matrices)) * (2 * matrices)


@register_formula("aten::linalg_lu_solve", "aten::cholesky_solve", "aten::_cholesky_solve_helper")
def _solve_factorised(call: Call) -> OperationCount:
    factor, right = ("LU", "B") if "lu_solve" in call.operator else ("input2", "self")
    if factor not in call.arguments:
        factor = "A"
    matrices, size, _ = _sizes(call[factor])
    return triangular_solution(size, _right_hand_side(call, right, size, matrices)) * (2 * matrices)


@register_formula("aten::linalg_qr", "aten::geqrf", "aten::linalg_householder_product")
def _qr(call: Call) -> OperationCount:
    matrices, rows, columns = _sizes(call.tensors[0])
    return qr(rows, columns) * matrices


@register_formula("aten::_linalg_svd")
def _svd(call: Call) -> OperationCount:
    matrices, rows, columns = _sizes(call["A"])
    return singular_values(rows, columns, vectors=bool(call.get("compute_uv", True))) * matrices


@register_formula("aten::ormqr")
def _apply_reflections(call: Call) -> OperationCount:
    """Every Householder reflection of `self` applied to a matrix: 4 operations for each row and column it reaches."""
    matrices, rows, _ = _sizes(call["self"])
    reflections = int(call["input2"].last)
    others = call["input3"].elements // (matrices * rows) if matrices and rows else 0
    half = others * reflections * (2 * rows - reflections) * matrices
    return OperationCount(multiply=half, add=half, modelled=2 * half)


@register_formula("aten::linalg_lstsq")
def least_squares(call: Call) -> OperationCount:
    """By QR: the factorisation, the right-hand sides times Q, and a substitution."""
    matrices, rows, columns = _sizes(call["self"])
    right = _right_hand_side(call, "b", rows, matrices)
    short = min(rows, columns)
    applied = right * short * (2 * rows - short)
    product = OperationCount(multiply=applied, add=applied, modelled=2 * applied)
    return (qr(rows, columns) + product + triangular_solution(short, right)) * matrices


@register_formula("aten::linalg_pinv")
def _pseudo_inverse(call: Call) -> OperationCount:
    """By singular values (or eigenvalues): those above a limit inverted, then V S^-1 U^T."""
    matrices, rows, columns = _sizes(call["self"])
    short = min(rows, columns)
    values = OperationCount(compare=2 * short - 1, divide=short, multiply=1 + short * columns)
    factors = symmetric_eigenvalues(short, vectors=True) if call.get("hermitian") else None
    factors = factors or singular_values(rows, columns, vectors=True)
    return (factors + values + matrix_product(columns, short, rows)) * matrices


@register_formula("aten::linalg_matrix_exp")
def _matrix_exponential(_: Call) -> OperationCount:
    raise NotImplementedError("how many products it takes depends on the norm of the matrix")
