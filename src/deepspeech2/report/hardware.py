"""The least time a device needs for what was counted: the roofline of every row, and what bounds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from deepspeech2.errors import OptionError
from deepspeech2.flops.tally import Layer, Tally


@dataclass(frozen=True)
class Hardware:
    """What a device can do at best.

    Attributes:
        peak: floating-point operations a second, a multiply-accumulate counted as two.
        bandwidth: bytes a second to and from memory.
    """

    peak: float
    bandwidth: float

    def __post_init__(self) -> None:
        for name, rate, unit in (("peak", self.peak, "FLOP/s"), ("bandwidth", self.bandwidth, "bytes/s")):
            if not 0 < rate < inf:
                raise OptionError(f"--{name} must be a positive number of {unit}, as in 150e9; found {rate:g}")

    @property
    def ridge(self) -> float:
        """Operations per byte from which on operations take longer than memory does."""
        return self.peak / self.bandwidth


@dataclass(frozen=True)
class LeastTime:
    """The least time of one or several operators that run one after another.

    Attributes:
        compute: seconds of those whose operations take longer.
        memory: seconds of those whose bytes take longer.
    """

    compute: float = 0.0
    memory: float = 0.0

    @property
    def seconds(self) -> float:
        """All of them, one after another."""
        return self.compute + self.memory

    @property
    def bound(self) -> str:
        """What most of the time goes to, `compute` or `memory`; empty where there is none."""
        if not self.seconds:
            return ""
        return "compute" if self.compute >= self.memory else "memory"

    def __add__(self, other: LeastTime) -> LeastTime:
        return LeastTime(self.compute + other.compute, self.memory + other.memory)


def least_time(row: Layer, hardware: Hardware) -> LeastTime:
    """The larger of operations / peak and bytes / bandwidth for a row that is not summed up from others.

    A row reads its arguments from memory and writes its results once, as `bytes_read` and `bytes_written` count them.
    Integer arithmetic takes no time here. A recurrence reads its weights once: where they do not fit a cache, its every
    step reads them anew, and takes longer.

    Source: S. Williams, A. Waterman, D. Patterson: Roofline (2009).
    """
    compute = float(row.own.total) / hardware.peak
    memory = float(row.bytes_read + row.bytes_written) / hardware.bandwidth
    return LeastTime(compute=compute) if compute >= memory else LeastTime(memory=memory)


def least_times(tally: Tally, hardware: Hardware, depth: int | None = None) -> list[LeastTime]:
    """The least time of each row of `tally.rows(depth)`; rows that are summed up take what those below them take."""
    return [time for layer in tally.layers for time in _times(layer, hardware, depth)]


def _times(layer: Layer, hardware: Hardware, depth: int | None) -> Iterator[LeastTime]:
    """In the order of the rows of a layer."""
    if depth is not None and depth <= 1:
        below = [row for _, row in layer.walk()]
        for phase in dict.fromkeys(row.phase for row in below):
            yield total_time(least_time(row, hardware) for row in below if row.phase == phase)
        return
    if layer.holds_itself:
        yield least_time(layer, hardware)
    for child in layer.children:
        yield from _times(child, hardware, None if depth is None else depth - 1)


def total_time(times: Iterable[LeastTime]) -> LeastTime:
    """One after another."""
    return sum(times, LeastTime())
