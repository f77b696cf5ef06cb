"""The precision of products in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Matrix products and convolutions in a precision; weights, sums and results stay float32.

    ``bfloat16`` lets oneDNN round the factors to bfloat16 on processors with instructions for it, and does nothing on
    others; on NVIDIA's GPUs it allows TF32 in float32 products, the recurrent ones among them. See `forward_in` too.
    """
    torch_backends: Any = torch.backends  # torch's stubs do not know the settings of each operator
    backends = [torch_backends.mkldnn.matmul, torch_backends.mkldnn.conv]
    wanted = ["bf16" if precision == "bfloat16" else "ieee"] * 2
    if torch.cuda.is_available():
        backends += [torch_backends.cuda.matmul, torch_backends.cudnn.conv]
        wanted += ["tf32" if precision == "bfloat16" else "ieee"] * 2
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend, value in zip(backends, wanted, strict=True):
            backend.fp32_precision = value
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def forward_in(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """A context for a forward pass: convolutions and projections in bfloat16 on a GPU; nothing changes on the CPU.

    Normalisations of sequences, recurrent states and log-probabilities stay float32.
    """
    if precision != "bfloat16" or device.type in ("cpu", "meta"):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
