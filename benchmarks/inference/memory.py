"""A recurrence that neither caches nor zeros help: how near reading weights comes to the bandwidth of memory.

One utterance, one direction, 200 steps of 8192 states of which none is ever zero: every step reads 256 MB of float32
weights. At 3 x 2048, half of the states are zero and a large cache holds most of the weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.inference.contest import contest, summary
from benchmarks.inference.plain import PlainSimple
from benchmarks.inference.roofline import Machine
from deepspeech2.speech.network import ACTIVATION_LIMIT, SimpleRecurrence
from deepspeech2.speech.recurrence_inference import simple_states
from deepspeech2.speech.stored_weights import store_weight

SIZE = 8192
FRAMES = 200
FORMATS = ("float32", "bfloat16", "int8")


def memory_rows(rounds: int, machine: Machine) -> list[dict[str, Any]]:
    """Times of the plain loop and of every format of weights."""
    generator = torch.Generator().manual_seed(0)
    recurrence = SimpleRecurrence(SIZE, reverse=False)
    with torch.no_grad():
        recurrence.weight.copy_(0.1 * torch.randn(SIZE, SIZE, generator=generator) / SIZE**0.5)
    x = 10 + torch.randn(1, FRAMES, SIZE, generator=generator)
    frames = torch.tensor([FRAMES])
    plain = PlainSimple(recurrence)

    def loop() -> Tensor:
        with torch.inference_mode():
            return plain(x, frames)

    def native(form: str) -> Callable[[], Tensor]:
        stored, bias = store_weight(recurrence.weight, form), recurrence.bias.detach()
        return lambda: simple_states(x, stored.values, stored.scales, bias, frames, False, ACTIVATION_LIMIT)

    tasks = {"plain loop": loop, **{form: native(form) for form in FORMATS}}
    states = {label: run() for label, run in tasks.items()}
    assert torch.allclose(states["float32"], states["plain loop"], rtol=1e-4), "float32 differs from the plain loop"
    times = contest(tasks, rounds, machine)
    best = min(times["plain loop"])
    return [
        {
            "size": SIZE,
            "batch": 1,
            "contender": label,
            **summary(seconds),
            "nonzero_states": round(float((states[label] != 0).float().mean()), 3),
            "plain_over_this": round(best / min(seconds), 3),
        }
        for label, seconds in times.items()
    ]


def rate_memory(rows: list[dict[str, Any]], machine: Machine) -> None:
    """Fill in the fraction of the bandwidth, weights taken at four bytes."""
    for row in rows:
        row["memory_fraction"] = round((FRAMES - 1) * machine.reading(row["size"] ** 2) / row["seconds"], 3)
