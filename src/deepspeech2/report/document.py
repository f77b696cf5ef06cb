"""What all renderers share: a counted model, the audio it was counted for, and the rows and sums they print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepspeech2.flops.conventions import UNITS, headline
from deepspeech2.flops.operations import NOTHING, OperationCount, total_of
from deepspeech2.flops.tally import Layer, Tally
from deepspeech2.report.hardware import Hardware, LeastTime, least_times, total_time


@dataclass(frozen=True)
class CountedInput:
    """What a model was counted for; for models that take no audio, seconds and frames are None.

    Attributes:
        seconds: length of the audio.
        frames: spectrogram frames.
        batch: utterances at once; None where it is written in the shapes.
        shapes: shapes of the tensors.
    """

    seconds: float | None
    frames: int | None
    batch: int | None
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Report:
    """A tally ready to be rendered.

    Attributes:
        model: what the user named.
        input: what it was counted for.
        tally: the model's operations.
        convention: which headline the table shows.
        depth: rows below this depth are summed into their parent; None shows all.
        features: operations of feature extraction by step; empty where there is none. Not part of the totals, since
            a part of them is modelled.
        output_layers: names of the rows that make up the output stage.
        hardware: what the least time of each row is computed for; None for none.
    """

    model: str
    input: CountedInput
    tally: Tally
    convention: str = "standard"
    depth: int | None = None
    features: Mapping[str, OperationCount] = field(default_factory=dict)
    output_layers: tuple[str, ...] = ()
    hardware: Hardware | None = None

    @property
    def unit(self) -> str:
        """`FLOP` or `MAC`."""
        return UNITS[self.convention]

    @property
    def total(self) -> OperationCount:
        """All operations of the model."""
        return self.tally.count

    @property
    def rows(self) -> list[Layer]:
        """The rows of every table; their own counts add up to the totals."""
        return self.tally.rows(self.depth)

    @property
    def times(self) -> list[LeastTime]:
        """The least time of each of `rows`; empty without a hardware."""
        return [] if self.hardware is None else least_times(self.tally, self.hardware, self.depth)

    @property
    def timed_rows(self) -> list[tuple[Layer, LeastTime | None]]:
        """Each row with its least time, or None without a hardware."""
        rows = self.rows
        if self.hardware is None:
            return [(row, None) for row in rows]
        return list(zip(rows, self.times, strict=True))

    @property
    def least_time(self) -> LeastTime:
        """The least time of the model, row after row."""
        return total_time(self.times)

    @property
    def real_time_factor(self) -> float | None:
        """The least time over the audio's; None without a hardware, and for models that take no audio."""
        if self.hardware is None or not self.input.seconds:
            return None
        return self.least_time.seconds / (self.input.seconds * (self.input.batch or 1))

    def bound(self, text: str) -> str:
        """A figure as text, with `>=` where it is a lower bound since operators are unknown."""
        return text if self.tally.complete else f">= {text}"

    def headline(self, count: OperationCount) -> int:
        """A count in the chosen convention."""
        number = headline(count, self.convention)
        assert isinstance(number, int), "a report shows numbers; closed forms are printed as formulas"
        return number

    @property
    def stages(self) -> dict[str, OperationCount]:
        """Operations of feature extraction (if any), network and output (if known)."""
        stages = {"features": total_of(self.features.values())} if self.features else {}
        output = total_of(
            row.own for row in self.tally.rows() if row.name in self.output_layers and row.phase == "forward"
        )
        network = total_of([self.total, OperationCount(*[-amount for amount in output])])
        stages["network"] = network
        if output is not NOTHING:
            stages["output"] = output
        return stages
