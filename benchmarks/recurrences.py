"""Time of one direction of a recurrent layer beside torch's own layer of the same size.

`torch.nn.RNN` with ReLU computes the simple recurrence but for the clipping; `torch.nn.GRU` is another function of the
same products. Both get their input projection replaced by the narrowest there is (one input feature), so that the
recurrence alone is compared. Runs are interleaved and the best of each counts, so that other work on the machine
slows both.

Writes benchmarks/results/recurrences.json: python benchmarks/recurrences.py [--threads 1]
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from deepspeech2.speech.network import GRURecurrence, SimpleRecurrence

CASES = [(256, 1, 333), (256, 16, 333), (1024, 1, 333), (1024, 8, 333), (2048, 1, 333), (2048, 8, 100)]
ROUNDS = 3


def ours(cell, size, batch, frames, train):
    """A task that runs our recurrence."""
    module = (SimpleRecurrence if cell == "simple" else GRURecurrence)(size, reverse=False)
    x = (0.1 * torch.randn(batch, frames, size * (1 if cell == "simple" else 3))).requires_grad_(train)
    lengths = torch.full((batch,), frames)
    return lambda: run(module(x, lengths) if train else forward_only(module, x, lengths), train)


def peer(cell, size, batch, frames, train):
    """A task that runs torch's layer."""
    if cell == "simple":
        module = torch.nn.RNN(1, size, nonlinearity="relu", batch_first=True)
    else:
        module = torch.nn.GRU(1, size, batch_first=True)
    x = (0.1 * torch.randn(batch, frames, 1)).requires_grad_(train)
    return lambda: run(module(x)[0] if train else forward_only(module, x), train)


@torch.no_grad()
def forward_only(module, *inputs):
    """Run without recording gradients."""
    return module(*inputs)


def run(states, train):
    """Run the gradient where it is asked for."""
    if train:
        states.sum().backward()


def seconds(task):
    """Time one run."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def main():
    """Run every case and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for cell in ("simple", "gru"):
        for size, batch, frames in CASES:
            for train in (False, True):
                tasks = [make(cell, size, batch, frames, train) for make in (ours, peer)]
                rounds = [[seconds(task) for task in tasks] for _ in range(ROUNDS)]
                best = [min(times) for times in zip(*rounds, strict=True)]
                rows.append(
                    {
                        "cell": cell,
                        "size": size,
                        "batch": batch,
                        "frames": frames,
                        "train": train,
                        "seconds": round(best[0], 6),
                        "torch_seconds": round(best[1], 6),
                        "torch_over_ours": round(best[1] / best[0], 3),
                    }
                )
                print(rows[-1])
    result = {"machine": platform.processor() or platform.machine(), "threads": arguments.threads, "rows": rows}
    result["torch"] = torch.__version__
    path = Path(__file__).parent / "results" / "recurrences.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
