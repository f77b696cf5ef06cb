"""The log of a training: JSON lines, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from warnings import warn

from deepspeech2.errors import OptionError
from deepspeech2.files import replacing
from deepspeech2.speech.training_checkpoints import TrainingState
from deepspeech2.speech.training_reports import EpochReport, StepReport

LOG_FILE = "log.jsonl"
_EPOCH_SCALARS = ("loss", "dev_loss", "wer", "cer")


class TrainingLog:
    """Writes ``log.jsonl``: a record for every `every`-th update and for every epoch.

    A resumed training takes back what was logged after the state it starts from, so that no update is there twice, and
    makes up for epochs that ended in that state but are not in the log: it was killed before, or their line is damaged.
    Lines that cannot be read are left out.

    Args:
        folder: The training's folder.
        state: The state that is resumed; None starts a new log.
        every: Updates between two records.
        tensorboard: Also write TensorBoard's event files to ``folder/tensorboard``.
        notify: Called with a line that says how many lines could not be read, should there be any.

    Raises:
        OptionError: `tensorboard` was asked for and the package is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        state: TrainingState | None = None,
        every: int = 20,
        tensorboard: bool = False,
        notify: Callable[[str], None] = warn,
    ) -> None:
        if every < 1:
            raise OptionError(f"expected at least one update between two records of the log, found {every}")
        folder.mkdir(parents=True, exist_ok=True)
        state = state or TrainingState()
        self._every = every
        self._writer: Any = None
        if tensorboard:
            self._writer = import_summary_writer()(str(folder / "tensorboard"), purge_step=state.step + 1)
        path = folder / LOG_FILE
        found = read_log(path)
        if found.damaged:
            lines = f"{found.damaged} line{'s' if found.damaged > 1 else ''}"
            notify(f"{path}: {lines} cannot be read and {'are' if found.damaged > 1 else 'is'} left out")
        kept, unlogged = _consistent(found.lines, state)
        with replacing(path) as file:
            file.writelines(line.text + "\n" for line in kept)
        self._file = path.open("a", encoding="utf-8")
        for report in unlogged:
            self._scalars("epoch", report.step, asdict(report), _EPOCH_SCALARS)

    def step(self, report: StepReport) -> None:
        """Log an update when its turn has come."""
        if report.step % self._every:
            return
        record = {
            "step": report.step,
            "epoch": report.epoch,
            "position": report.position,
            "loss": round(report.loss, 5),
            "learning_rate": report.learning_rate,
            "gradient_norm": round(report.gradient_norm, 4),
            "seconds": round(report.seconds, 3),
            "waited": round(report.waited, 3),
            "audio_seconds": round(report.audio_seconds, 2),
        }
        self._file.write(_encoded(record) + "\n")
        self._file.flush()
        self._scalars("train", report.step, record, ("loss", "learning_rate", "gradient_norm"))

    def epoch(self, report: EpochReport) -> None:
        """Log an epoch."""
        self._file.write(_encoded(_epoch_record(report)) + "\n")
        self._file.flush()
        self._scalars("epoch", report.step, asdict(report), _EPOCH_SCALARS)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, group: str, step: int, record: dict[str, Any], names: tuple[str, ...]) -> None:
        if self._writer is not None:
            for name in names:
                if record[name] is None:  # an epoch's loss that was no number, from a state
                    continue
                self._writer.add_scalar(f"{group}/{name}", record[name], step)


class LogLine(NamedTuple):
    """A line of a log.

    Attributes:
        text: As it is written.
        record: What it says: at least ``step``, of an epoch also ``kind`` and ``epoch``.
    """

    text: str
    record: dict[str, Any]


class FoundLog(NamedTuple):
    """A log as it was found.

    Attributes:
        lines: Those that can be read.
        damaged: How many cannot, a last one that a kill cut short not counted.
    """

    lines: list[LogLine]
    damaged: int


def read_log(path: Path) -> FoundLog:
    """Read a training's log; without the file there is nothing in it.

    Raises:
        OptionError: The file cannot be read.
    """
    try:
        *whole, last = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {error.strerror}") from error
    lines = [_read_line(content) for content in whole]
    cut = _read_line(last)
    readable = [line for line in (*lines, cut) if line is not None]
    return FoundLog(readable, lines.count(None))


def _read_line(content: bytes) -> LogLine | None:
    try:
        text = content.decode("utf-8").strip()
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return None
    if "kind" in record and (record["kind"] != "epoch" or type(record.get("epoch")) is not int):
        return None
    return LogLine(text, record)


def _consistent(lines: Sequence[LogLine], state: TrainingState) -> tuple[list[LogLine], list[EpochReport]]:
    """The lines of a log up to a state with its epochs once each, and the epochs that had to be put in."""
    updates = [line for line in lines if "kind" not in line.record and line.record["step"] <= state.step]
    logged = {(line.record["epoch"], line.record["step"]): line for line in lines if "kind" in line.record}
    epochs, unlogged = [], []
    for report in (EpochReport(**record) for record in state.history):
        line = logged.get((report.epoch, report.step))
        if line is None:
            unlogged.append(report)
            line = LogLine(_encoded(_epoch_record(report)), _epoch_record(report))
        epochs.append(line)
    return sorted([*updates, *epochs], key=lambda line: (line.record["step"], "kind" in line.record)), unlogged


def _epoch_record(report: EpochReport) -> dict[str, Any]:
    return {"kind": "epoch", **asdict(report)}


def _encoded(record: dict[str, Any]) -> str:
    finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in record.items()}
    return json.dumps(finite)


def import_summary_writer() -> Any:
    """TensorBoard's writer.

    Raises:
        OptionError: It is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OptionError(
            "TensorBoard is not installed; pip install 'deepspeech2[tensorboard]', or leave the option out"
        ) from error
    return SummaryWriter
