"""The log of a training: JSON lines, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepspeech2.errors import OptionError
from deepspeech2.files import replacing
from deepspeech2.speech.training import EpochReport, StepReport
from deepspeech2.speech.training_checkpoints import TrainingState

LOG_FILE = "log.jsonl"


class TrainingLog:
    """Writes ``log.jsonl``: a record for every `every`-th update and for every epoch.

    A resumed training takes back what was logged after the state it starts from, so that no update is there twice, and
    makes up for epochs that ended in that state but were not logged when it was killed.

    Args:
        folder: The training's folder.
        state: The state that is resumed; None starts a new log.
        every: Updates between two records.
        tensorboard: Also write TensorBoard's event files to ``folder/tensorboard``.

    Raises:
        OptionError: `tensorboard` was asked for and the package is not installed.
    """

    def __init__(
        self, folder: Path, *, state: TrainingState | None = None, every: int = 20, tensorboard: bool = False
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
        kept, logged = [], 0
        for line in _lines(path):
            record = json.loads(line)
            if record.get("kind") == "epoch":
                if logged == len(state.history):
                    continue
                logged += 1
            if record["step"] <= state.step:
                kept.append(line)
        with replacing(path) as file:
            file.writelines(line + "\n" for line in kept)
        self._file = path.open("a", encoding="utf-8")
        for unlogged in state.history[logged:]:
            self.epoch(EpochReport(**unlogged))

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
        self._write(record)
        self._scalars("train", report.step, record, ("loss", "learning_rate", "gradient_norm"))

    def epoch(self, report: EpochReport) -> None:
        """Log an epoch."""
        record = {"kind": "epoch", **asdict(report)}
        self._write(record)
        self._scalars("epoch", report.step, record, ("loss", "dev_loss", "wer", "cer"))

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def _write(self, record: dict[str, Any]) -> None:
        finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in record.items()}
        self._file.write(json.dumps(finite) + "\n")
        self._file.flush()

    def _scalars(self, group: str, step: int, record: dict[str, Any], names: tuple[str, ...]) -> None:
        if self._writer is not None:
            for name in names:
                self._writer.add_scalar(f"{group}/{name}", record[name], step)


def _lines(path: Path) -> list[str]:
    # A line that a kill cut short is not JSON; it was the last one.
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if lines and not lines[-1].endswith("}"):
        lines.pop()
    return lines


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
