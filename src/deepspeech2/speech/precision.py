"""The precision of products on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Matrix products and convolutions on the CPU in a precision; weights, sums and results stay float32.

    ``bfloat16`` lets oneDNN round the factors to bfloat16 where the processor has instructions for it, and does
    nothing elsewhere.
    """
    backend: Any = torch.backends.mkldnn  # torch's stubs do not know the settings of each operator
    before = backend.matmul.fp32_precision, backend.conv.fp32_precision
    wanted = "bf16" if precision == "bfloat16" else "ieee"
    try:
        backend.matmul.fp32_precision = backend.conv.fp32_precision = wanted
        yield
    finally:
        backend.matmul.fp32_precision, backend.conv.fp32_precision = before
