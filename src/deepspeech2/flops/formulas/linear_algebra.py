"""Factorisations and solutions of linear systems: what the textbook algorithm costs, a model of what a library does.

All are marked modelled: libraries block, reorder and iterate. Source of the models of iterative algorithms: Golub and
Van Loan, Matrix Computations, 4th edition, figures 7.5.1 ff., 8.6.1 and section 8.3.
"""

from __future__ import annotations

from dataclasses import replace

from deepspeech2.flops.operations import OperationCount


def _modelled(count: OperationCount) -> OperationCount:
    return replace(count, modelled=count.total)


def lu(size: int) -> OperationCount:
    """Gaussian elimination with partial pivoting: for each column a search, a division per row below, an update."""
    pairs = size * (size - 1) // 2
    updates = (size - 1) * size * (2 * size - 1) // 6
    return _modelled(OperationCount(compare=pairs, divide=pairs, multiply=updates, add=updates))


def cholesky(size: int) -> OperationCount:
    """Column by column: a root, a division per row below, an update of the lower triangle."""
    updates = (size - 1) * size * (size + 1) // 6
    return _modelled(OperationCount(sqrt=size, divide=size * (size - 1) // 2, multiply=updates, add=updates))


def triangular_solution(size: int, columns: int) -> OperationCount:
    """Substitution for `columns` right-hand sides."""
    updates = columns * size * (size - 1) // 2
    return _modelled(OperationCount(divide=columns * size, multiply=updates, add=updates))


def solution(size: int, columns: int) -> OperationCount:
    """LU, then a forward and a backward substitution."""
    return lu(size) + triangular_solution(size, columns) * 2


def determinant(size: int, *, logarithm: bool) -> OperationCount:
    """LU, then the product of the diagonal, or the sum of its logarithms."""
    diagonal = OperationCount(log=size, add=size - 1) if logarithm else OperationCount(multiply=size - 1)
    return lu(size) + _modelled(diagonal)


def qr(rows: int, columns: int) -> OperationCount:
    """Householder reflections: 2 n^2 (m - n / 3) operations, half of them multiplications."""
    long, short = max(rows, columns), min(rows, columns)
    half = short * short * (3 * long - short) // 3
    return _modelled(OperationCount(multiply=half, add=half))


def symmetric_eigenvalues(size: int, *, vectors: bool) -> OperationCount:
    """Tridiagonalisation and the symmetric QR algorithm: 9 n^3 with vectors, 4 n^3 / 3 without."""
    return _modelled(OperationCount(other=9 * size**3 if vectors else 4 * size**3 // 3))


def eigenvalues(size: int, *, vectors: bool) -> OperationCount:
    """Hessenberg reduction and the QR algorithm: 25 n^3 with vectors, 10 n^3 without."""
    return _modelled(OperationCount(other=(25 if vectors else 10) * size**3))


def singular_values(rows: int, columns: int, *, vectors: bool) -> OperationCount:
    """R-bidiagonalisation: 6 m n^2 + 20 n^3 with both sets of vectors, 4 m n^2 - 4 n^3 / 3 without."""
    long, short = max(rows, columns), min(rows, columns)
    thin = 6 * long * short**2 + 20 * short**3 if vectors else (12 * long * short**2 - 4 * short**3) // 3
    return _modelled(OperationCount(other=thin))
