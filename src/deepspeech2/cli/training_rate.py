"""What `ds2 train` measures its speed by: the operations of a step, and the rate of a large matrix product."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from deepspeech2.speech.network import DeepSpeech2


def training_flops(model: DeepSpeech2) -> Callable[[int, int], float]:
    """Operations of one training step by utterances and padded frames: three times the forward pass, by our counter.

    The gradient of a product is two products of the same size; everything that is no product is a few percent.
    """
    import torch

    from deepspeech2.flops.counting import count
    from deepspeech2.speech.build import build_model

    plan = build_model(model.options, device="meta")  # the model's own weights may be on a GPU
    inputs = (torch.empty(2, model.options.frequencies, 300, device="meta"), torch.tensor([300, 300]))
    formula = count(plan, inputs, symbolic={"batch": ((0, 0), (1, 0)), "time": (0, 2)})
    known: dict[tuple[int, int], float] = {}

    def flops(utterances: int, frames: int) -> float:
        key = (utterances, frames)
        if key not in known:
            known[key] = 3.0 * formula.at("gemm", batch=utterances, time=frames)
        return known[key]

    return flops


def peak_flops(precision: str, device: torch.device) -> float:
    """Operations a second of a large matrix product on the device: what utilisation is measured against."""
    import torch

    from deepspeech2.speech.precision import forward_in, products_in

    size = 1024 if device.type == "cpu" else 8192
    left, right = torch.randn(2, size, size, device=device)
    with products_in(precision), forward_in(precision, device):
        rates = []
        for _ in range(5):
            started = time.perf_counter()
            float(torch.mm(left, right)[0, 0])  # read, so that a device has finished
            rates.append(2 * size**3 / (time.perf_counter() - started))
    return max(rates)
