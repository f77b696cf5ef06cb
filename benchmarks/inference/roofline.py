"""What the machine could do: its rate of multiplying matrices, how fast it reads memory, and the bound they set.

Both are measured in the run they are compared with, between its rounds, and the best counts.
"""

import time
from dataclasses import dataclass

import torch

from deepspeech2.speech.options import NetworkOptions

LARGEST_CACHE = 16 << 20
"""Bytes of float32 weights of one direction that the roofline takes to be in the caches; more is read from memory.

The 2048 x 2048 of `librispeech` fill it and do not exceed it. Their share of the memory bandwidth is stated beside the
roofline all the same, as if every step read them: above 1 it shows that they are not.
"""


@dataclass
class Machine:
    """Best rates seen so far.

    Attributes:
        flops: Floating-point operations a second of a float32 matrix product of 2048.
        bandwidth: Bytes a second of reading 512 MB once, in a product of a matrix with a vector or in a sum.
    """

    flops: float = 0.0
    bandwidth: float = 0.0

    def measure(self) -> None:
        """Measure once more."""
        a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
        large = torch.ones(8192, 16384)
        vector = torch.ones(16384)
        a @ b
        self.flops = max(self.flops, 2 * 2048**3 / _seconds(lambda: a @ b))
        for read in (lambda: large @ vector, large.sum):
            self.bandwidth = max(self.bandwidth, large.numel() * 4 / _seconds(read))

    def bound(self, options: NetworkOptions, batch: int, frames: int, flops: float) -> float:
        """Fewest seconds for a forward pass with float32 weights, all of them used at every step.

        Everything that is not a recurrent product runs at the rate of matrix products. A recurrent step takes as long
        as its arithmetic at that rate, or as reading its weights once from memory if they exceed the caches.
        """
        size = options.recurrent_size
        weights = size * size * (3 if options.cell == "gru" else 1)
        steps = 2 * options.recurrent_layers * (options.output_frames(frames) - 1)
        arithmetic = 2 * batch * weights
        elsewhere = (flops - steps * arithmetic) / self.flops
        return elsewhere + steps * self.step_bound(weights, batch)

    def step_bound(self, weights: int, batch: int) -> float:
        """Fewest seconds for the recurrent products of one step of one direction."""
        reading = self.reading(weights) if 4 * weights > LARGEST_CACHE else 0.0
        return max(2 * batch * weights / self.flops, reading)

    def reading(self, weights: int) -> float:
        """Fewest seconds for reading so many float32 weights from memory."""
        return 4 * weights / self.bandwidth


def _seconds(task) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start
