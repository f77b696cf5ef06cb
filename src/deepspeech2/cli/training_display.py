"""The progress of `ds2 train` on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepspeech2.speech.training_reports import EpochReport, StepReport


class Display:
    """Progress on the terminal: a bar for the epoch, a line for each finished one; for use as a context.

    Args:
        shown: Whether anything is written; of several processes only the leading one does.
    """

    def __init__(self, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._progress = Progress(
            *columns, console=console, disable=not (shown and console.is_terminal), transient=True
        )
        self._shown = shown
        self._task = self._progress.add_task("", total=None)
        self._flops: Callable[[int, int], float] | None = None
        self._peak = 0.0
        self._seconds = self._waited = self._operations = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Write a line, above the bar."""
        if self._shown:
            self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def preparing(self, what: str, done: int, total: int) -> None:
        """Show how much of something that comes before the training is done."""
        self._progress.update(self._task, description=what, completed=done, total=total)

    def measure(self, flops: Callable[[int, int], float], peak: float) -> None:
        """Show from now on the rate of operations, given those of a batch by utterances and frames, and its peak."""
        self._flops, self._peak = flops, peak

    def step(self, report: StepReport) -> None:
        """Show an update in the bar."""
        self._seconds += report.seconds
        self._waited += report.waited
        if self._flops is not None:
            self._operations += sum(self._flops(*shape) for shape in report.shapes)
        text = (
            f"epoch {report.epoch + 1}  loss {report.loss:.3f}  lr {report.learning_rate:.1e}  "
            f"waiting {self._waited / self._seconds:.1%}{self._rate()}"
        )
        self._progress.update(self._task, description=text, completed=report.position, total=report.batches)

    def epoch(self, report: EpochReport) -> None:
        """Write the line of an epoch."""
        self.say(
            f"epoch {report.epoch + 1}: loss {report.loss:.3f}, dev loss {report.dev_loss:.3f}, WER {report.wer:.2%}, "
            f"CER {report.cer:.2%}, {report.seconds:.0f} s{self._rate()}, {report.skipped} utterances skipped"
        )
        self._seconds = self._waited = self._operations = 0.0

    def _rate(self) -> str:
        if self._flops is None or not self._seconds:
            return ""
        rate = self._operations / self._seconds
        return f", {rate / 1e9:.1f} GFLOP/s ({rate / self._peak:.0%} of a matrix product's)"
