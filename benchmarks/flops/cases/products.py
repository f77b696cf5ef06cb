"""Matrix products in all their spellings: rows * inner * columns multiply-accumulates."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from benchmarks.flops.cases.case import Program, case


@case(4 * 5 * 6, kinds={"multiply": 120, "add": 120})
def linear() -> Program:
    """4 samples, dot products of 5 for 6 outputs, a bias each."""
    return nn.Linear(5, 6), (torch.randn(4, 5),)


@case(4 * 5 * 6, kinds={"multiply": 120, "add": 24 * 4})
def linear_without_bias() -> Program:
    """4 additions in a dot product of 5."""
    return nn.Linear(5, 6, bias=False), (torch.randn(4, 5),)


@case(2 * 3 * 4 * 5 * 6, kinds={"multiply": 720, "add": 720})
def linear_of_many_axes() -> Program:
    """2 * 3 * 4 vectors."""
    return nn.Linear(5, 6), (torch.randn(2, 3, 4, 5),)


@case(5 * 6)
def linear_of_a_vector() -> Program:
    """One vector."""
    return nn.Linear(5, 6), (torch.randn(5),)


@case(7 * 2 * 5 * 6, kinds={"multiply": 420, "add": 420})
def linear_of_transposed() -> Program:
    """A non-contiguous input takes another path through torch; the same product."""

    def program(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return functional.linear(x.transpose(0, 1), weight, bias)

    return program, (torch.randn(7, 2, 5), torch.randn(6, 5), torch.randn(6))


@case(4 * 5 * 6, kinds={"multiply": 120, "add": 96})
def mm() -> Program:
    """(4, 5) times (5, 6)."""
    return torch.mm, (torch.randn(4, 5), torch.randn(5, 6))


@case(3 * 4 * 5 * 6)
def bmm() -> Program:
    """Three of them."""
    return torch.bmm, (torch.randn(3, 4, 5), torch.randn(3, 5, 6))


@case(4 * 5 * 6, kinds={"multiply": 120, "add": 120})
def addmm() -> Program:
    """The matrix added is a bias: 24 more additions than mm."""
    return torch.addmm, (torch.randn(6), torch.randn(4, 5), torch.randn(5, 6))


@case(4 * 5 * 6, kinds={"multiply": 120 + 24 + 24, "add": 120})
def addmm_scaled() -> Program:
    """Beta and alpha scale 24 elements each."""

    def program(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.addmm(c, a, b, beta=0.5, alpha=2.0)

    return program, (torch.randn(4, 6), torch.randn(4, 5), torch.randn(5, 6))


@case(3 * 4 * 5 * 6, kinds={"multiply": 360, "add": 360})
def baddbmm() -> Program:
    """Batched, with the addition."""
    return torch.baddbmm, (torch.randn(3, 4, 6), torch.randn(3, 4, 5), torch.randn(3, 5, 6))


@case(3 * 4 * 5 * 6, kinds={"multiply": 360, "add": 360})
def addbmm() -> Program:
    """The batch is summed too: dot products of 15 for 24 elements, each added to the input."""
    return torch.addbmm, (torch.randn(4, 6), torch.randn(3, 4, 5), torch.randn(3, 5, 6))


@case(4 * 5, kinds={"multiply": 20, "add": 16})
def matvec() -> Program:
    """(4, 5) times a vector."""
    return torch.mv, (torch.randn(4, 5), torch.randn(5))


@case(4 * 5)
def matmul_matrix_vector() -> Program:
    """The same with @."""
    return torch.matmul, (torch.randn(4, 5), torch.randn(5))


@case(5 * 6)
def matmul_vector_matrix() -> Program:
    """A vector times (5, 6)."""
    return torch.matmul, (torch.randn(5), torch.randn(5, 6))


@case(4 * 5, kinds={"multiply": 20, "add": 20})
def addmv() -> Program:
    """A vector is added."""
    return torch.addmv, (torch.randn(4), torch.randn(4, 5), torch.randn(5))


@case(2 * 3 * 4 * 5 * 6)
def matmul_broadcast() -> Program:
    """(2, 1, 4, 5) times (3, 5, 6): the product is made for all 2 * 3 pairs."""
    return torch.matmul, (torch.randn(2, 1, 4, 5), torch.randn(3, 5, 6))


@case(2 * 3 * 4 * 5 * 6)
def matmul_folded() -> Program:
    """(2, 3, 4, 5) times one (5, 6)."""
    return torch.matmul, (torch.randn(2, 3, 4, 5), torch.randn(5, 6))


@case(3 * 4 * 5)
def matmul_batch_vector() -> Program:
    """(3, 4, 5) times a vector of 5."""
    return torch.matmul, (torch.randn(3, 4, 5), torch.randn(5))


@case(9, kinds={"multiply": 9, "add": 8})
def dot() -> Program:
    """Two vectors of 9."""
    return torch.dot, (torch.randn(9), torch.randn(9))


@case(9)
def inner() -> Program:
    """torch.inner of vectors is their dot product."""
    return torch.inner, (torch.randn(9), torch.randn(9))


@case(3 * 4 * 5)
def vecdot() -> Program:
    """torch.linalg.vecdot: 12 dot products of 5."""
    return torch.linalg.vecdot, (torch.randn(3, 4, 5), torch.randn(3, 4, 5))


@case(0, kinds={"multiply": 4 * 6})
def outer() -> Program:
    """24 products that nothing accumulates."""
    return torch.outer, (torch.randn(4), torch.randn(6))


@case(0, kinds={"multiply": 2 * 3 * 4 * 5})
def kron() -> Program:
    """Every element of (2, 3) times every element of (4, 5); nothing is accumulated."""
    return torch.kron, (torch.randn(2, 3), torch.randn(4, 5))


@case(3 * 4 * 5 * 6)
def einsum_batched() -> Program:
    """A batched product spelled with letters."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bij,bjk->bik", a, b)

    return program, (torch.randn(3, 4, 5), torch.randn(3, 5, 6))


@case(2 * 7 * 7 * 3 * 4)
def einsum_attention_scores() -> Program:
    """2 samples, 3 heads of 4, 7 positions with 7."""

    def program(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bqhd,bkhd->bhqk", q, k)

    return program, (torch.randn(2, 7, 3, 4), torch.randn(2, 7, 3, 4))


@case(4 * 5 * 6 + 4 * 6 * 7)
def einsum_of_three() -> Program:
    """From left to right: (4, 5)(5, 6), then (4, 6)(6, 7); any better order does not exist for these sizes: 5 * 6 * 7 +
    4 * 5 * 7 is 350, this is 288.
    """

    def program(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ij,jk,kl->il", a, b, c)

    return program, (torch.randn(4, 5), torch.randn(5, 6), torch.randn(6, 7))


@case(0, kinds={"multiply": 20})
def einsum_outer() -> Program:
    """No index is summed: products without accumulation."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum("i,j->ij", a, b)

    return program, (torch.randn(4), torch.randn(5))


@case(2 * 3 * 4 * 5)
def tensordot() -> Program:
    """(2, 3, 4) with (4, 3, 5) over 3 and 4: a (2, 12) times (12, 5) product."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.tensordot(a, b, dims=([1, 2], [1, 0]))

    return program, (torch.randn(2, 3, 4), torch.randn(4, 3, 5))


@case(2 * 30 * 3 + 10 * 2 * 3)
def multi_dot() -> Program:
    """(10, 2)(2, 30)(30, 3): the cheapest order multiplies the last two first, 2 * 30 * 3, then 10 * 2 * 3."""

    def program(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.linalg.multi_dot([a, b, c])

    return program, (torch.randn(10, 2), torch.randn(2, 30), torch.randn(30, 3))


@case(4 * 5 * 6 + 4 * 6 * 7)
def matrix_chain() -> Program:
    """A @ b @ c, from left to right as Python evaluates it."""

    def program(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return a @ b @ c

    return program, (torch.randn(4, 5), torch.randn(5, 6), torch.randn(6, 7))


@case(3 * 4 * (5 * 6 + 6), kinds={"multiply": 12 * 36, "add": 12 * (4 * 6 + 5 + 1)})
def bilinear() -> Program:
    """For each of 3 samples and 4 outputs: x1 (5) times a (5, 6) matrix, 6 dot products of 5; that with x2, one of 6; a
    bias.
    """
    return nn.Bilinear(5, 6, 4), (torch.randn(3, 5), torch.randn(3, 6))


@case(2 * 3 * 4 * 5, kinds={"multiply": 120, "add": 24 * 5 + 24 * 4, "sqrt": 24})
def cdist_direct() -> Program:
    """2 * 3 * 4 pairs; a subtraction and a square per coordinate, four additions to sum five, a root."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")

    return program, (torch.randn(2, 3, 5), torch.randn(2, 4, 5))


@case(
    30 * 40 * 5,
    kinds={
        "multiply": 30 * 40 * 7 + 30 * 5 + (30 + 40) * 5,
        "add": 30 * 40 * 6 + (30 + 40) * 4,
        "compare": 1200,
        "sqrt": 1200,
    },
)
def cdist_by_product() -> Program:
    """More than 25 points: -2 a (30 * 5 products), the squared norms of 70 vectors of 5, then one product of vectors
    longer by two, a clamp and a root of each distance. The columns of norms are a device of this path, not pairs of
    coordinates: MACs are those of the direct path.
    """
    return torch.cdist, (torch.randn(30, 5), torch.randn(40, 5))


@case(4 * 5 * 6)
def functional_weight() -> Program:
    """H @ W.t() written out, without any module."""

    def program(h: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return h @ weight.t()

    return program, (torch.randn(4, 5), torch.randn(6, 5))


@case(4 * 5 * 6, kinds={"multiply": 120, "add": 120})
def product_plus_bias() -> Program:
    """X @ W + b counts as a fully connected layer does."""

    def program(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return x @ weight + bias

    return program, (torch.randn(4, 5), torch.randn(5, 6), torch.randn(6))


@case(3 * 4 * 5 * 6)
def in_place_and_out() -> Program:
    """torch.bmm with out=, the same product."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out = torch.empty(3, 4, 6)
        torch.bmm(a, b, out=out)
        return out

    return program, (torch.randn(3, 4, 5), torch.randn(3, 5, 6))


@case(3 * 4 * 4 * 4)
def matrix_power() -> Program:
    """A to the fifth: A^2, A^4, A^4 A; three products."""

    def program(a: torch.Tensor) -> torch.Tensor:
        return torch.linalg.matrix_power(a, 5)

    return program, (torch.randn(4, 4),)


@case(4 * 5 * 6)
def vmap_of_matvec() -> Program:
    """torch.vmap of a matrix-vector product over six vectors is one matrix product."""

    def program(a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.vmap(lambda row: torch.mv(a, row))(x)

    return program, (torch.randn(4, 5), torch.randn(6, 5))


@case(4 * 3 * 4 * 5, kinds={"multiply": 240, "add": 240 - 2 * 15})
def complex_mm() -> Program:
    """60 products of complex numbers, four of real ones each; 45 sums of complex numbers, and two in every product."""
    return torch.mm, (torch.randn(3, 4, dtype=torch.complex64), torch.randn(4, 5, dtype=torch.complex64))


@case(2 * 5 * 3 * 4 * 6)
def einsum_ellipsis() -> Program:
    """(2, 1, 3, 4) times (5, 4, 6): broadcast over ten matrices."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum("...ij,...jk->...ik", a, b)

    return program, (torch.randn(2, 1, 3, 4), torch.randn(5, 4, 6))


@case(3 * 4 * 5, kinds={"multiply": 60, "add": 45})
def einsum_diagonal() -> Program:
    """The diagonal of (3, 3, 4) is a view; then (3, 4) times (4, 5)."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum("iij,jk->ik", a, b)

    return program, (torch.randn(3, 3, 4), torch.randn(4, 5))


@case(0, kinds={"add": 3})
def einsum_trace() -> Program:
    """A sum of four."""

    def program(a: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ii->", a)

    return program, (torch.randn(4, 4),)


@case(3 * 4, kinds={"multiply": 12, "add": 11})
def einsum_inner() -> Program:
    """One dot product of 12."""

    def program(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ij,ij->", a, b)

    return program, (torch.randn(3, 4), torch.randn(3, 4))


@case(7 * 5 * 4 * 3 + 7 * 5 * 4, kinds={"multiply": 560, "add": 7 * 5 * 4 * 2 + 7 * 5 * 3})
def einsum_bilinear() -> Program:
    """From left to right: x with w, dot products of 3 for 7 * 5 * 4; then with y, dot products of 4 for 7 * 5."""

    def program(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,oij,bj->bo", x, w, y)

    return program, (torch.randn(7, 3), torch.randn(5, 3, 4), torch.randn(7, 4))


@case(10 * 100 * 5 + 10 * 5 * 50, kinds={"multiply": 7500, "add": 50 * 99 + 500 * 4})
def multi_dot_in_the_better_order() -> Program:
    """(10, 100)(100, 5) first: 5,000 and then 2,500, where the other order takes 75,000."""

    def program(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.linalg.multi_dot([a, b, c])

    return program, (torch.randn(10, 100), torch.randn(100, 5), torch.randn(5, 50))


@case(2 * (5 * 3 * 4), kinds={"multiply": 120 + 5 * 4 * 4 + 20, "tanh": 20, "add": 40 + 12 * 4 + 20 + 19})
def gradient_by_torch_func() -> Program:
    """tanh(x w), squared and summed, 5 * 4 elements; then 2 y (a product by two and one by what comes in), (1 - y y) of
    it (two products, a difference), and x^T times that.
    """

    def program(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda v: (torch.tanh(x @ v) ** 2).sum())(w)

    return program, (torch.randn(5, 3), torch.randn(3, 4))
