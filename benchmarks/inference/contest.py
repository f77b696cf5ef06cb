"""Contenders take turns: every round runs each once, so that whatever else the machine does slows all of them."""

import statistics
import time
from collections.abc import Callable

from benchmarks.inference.roofline import Machine

PAUSE = 0.1
"""Seconds between two runs: threads of the last one stop spinning."""
LONG = 5.0
"""Contenders that take longer than this run twice only."""


def contest(tasks: dict[str, Callable[[], object]], rounds: int, machine: Machine) -> dict[str, list[float]]:
    """Seconds of every run of every task. Each should have run once before, for what happens once only."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds):
        machine.measure()
        for name, task in tasks.items():
            if number >= 2 and min(times[name]) > LONG:
                continue
            time.sleep(PAUSE)
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return times


def summary(times: list[float]) -> dict[str, float | int]:
    """Best and median."""
    return {
        "seconds": round(min(times), 6),
        "median_seconds": round(statistics.median(times), 6),
        "rounds": len(times),
    }
