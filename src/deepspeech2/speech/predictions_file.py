"""References beside hypotheses in a file, each as soon as it is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from deepspeech2.errors import AudioError, OptionError
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.evaluation import Prediction, prediction_record


class PredictionsFile:
    """JSON lines that go to `FILE.partial`, which becomes FILE when the evaluation has ended.

    What was written stays in `FILE.partial` when it does not end. A device or a pipe is written to directly.

    Args:
        path: The file.

    Raises:
        OptionError: The file cannot be written, or `FILE.partial` is there from a run that was interrupted.
    """

    def __init__(self, path: Path) -> None:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise OptionError(f"{path}: expected a file to write, found a folder")
        special = target.exists() and not target.is_file()
        self._target = target
        self.partial = target if special else target.with_name(target.name + ".partial")
        if not special and self.partial.exists():
            raise OptionError(f"{self.partial} is of an interrupted run; remove it, or write to another file")
        try:
            self._file = self.partial.open("w", encoding="utf-8")
        except OSError as error:
            raise OptionError(f"{path}: cannot be written: {error.strerror}") from error
        self.recognised = 0

    def __enter__(self) -> PredictionsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if self.partial == self._target:
            return
        if kind is None:
            self.partial.replace(self._target)
        elif not self.recognised:
            self.partial.unlink(missing_ok=True)

    def add(self, utterance: Utterance, answer: Prediction | AudioError) -> None:
        """Write one utterance; of one that could not be read, the reason is under ``error``."""
        record = prediction_record(answer) if isinstance(answer, Prediction) else _failed_record(utterance, answer)
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()
        self.recognised += isinstance(answer, Prediction)


def _failed_record(utterance: Utterance, error: AudioError) -> dict[str, Any]:
    record: dict[str, Any] = {
        "audio_filepath": str(utterance.audio_path),
        "text": utterance.text,
        "pred_text": None,
        "wer": None,
        "cer": None,
        "duration": utterance.duration,
        "offset": utterance.offset,
    }
    if utterance.speaker is not None:
        record["speaker"] = utterance.speaker
    return record | {"error": " ".join(str(error).split())}
