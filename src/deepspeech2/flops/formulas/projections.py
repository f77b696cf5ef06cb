"""Layers that mostly move: identity projections of a mixed layer, and block-expand."""

from __future__ import annotations

from deepspeech2.flops.operations import NOTHING, Number, OperationCount


def identity_projection(elements: Number, *, offset: bool) -> OperationCount:
    """Passing values on, as a mixed layer does with each of its inputs.

    Algorithm: y = x, or y = x + offset: one addition per element. Notebook: the same.
    """
    return OperationCount(add=elements, notebook=elements) if offset else NOTHING


def block_expand() -> OperationCount:
    """An image cut into a sequence of vectors: moves only. Notebook: zero."""
    return NOTHING
