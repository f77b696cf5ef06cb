"""Matrix products."""

from __future__ import annotations

from deepspeech2.flops.operations import NOTHING, Number, OperationCount


def dot_products(outputs: Number, length: Number, *, bias: bool = False) -> OperationCount:
    """`outputs` dot products of vectors of `length`, each with an optional bias.

    Algorithm: s = a[0] * b[0]; s = s + a[k] * b[k] for k = 1 .. length - 1; s = s + bias. A bias costs one addition
    whatever its value. Notebook: a fully connected layer, (2 * length - 1) per output, one more for the bias.
    Without a product, length 0, nothing is computed.
    """
    if isinstance(length, int) and length == 0:
        return NOTHING
    products = outputs * length
    additions = products - outputs + (outputs if bias else 0)
    return OperationCount(multiply=products, add=additions, macs=products, notebook=products + additions)


def matrix_product(rows: Number, inner: Number, columns: Number, *, batch: Number = 1) -> OperationCount:
    """(batch, rows, inner) times (batch, inner, columns): one dot product per element of the result."""
    return dot_products(batch * rows * columns, inner)


def sparse_product(stored: Number, columns: Number) -> OperationCount:
    """A sparse matrix of `stored` values times a dense one of `columns`.

    Algorithm: r[i, c] = r[i, c] + a * b[j, c] for every stored value a, at row i and column j, and every column c. The
    result r begins as zeros, or as what the product is added to. Notebook: its multiplications and additions.
    """
    products = stored * columns
    return OperationCount(multiply=products, add=products, macs=products, notebook=2 * products)


def fully_connected(samples: Number, inputs: Number, outputs: Number, *, bias: bool) -> OperationCount:
    """A fully connected layer applied to `samples` vectors."""
    return dot_products(samples * outputs, inputs, bias=bias)
