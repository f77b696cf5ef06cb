"""References beside hypotheses in a file, each as soon as it is there, and how an interrupted evaluation goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from deepspeech2.errors import AudioError, OptionError
from deepspeech2.files import naming_unwritten, replacing
from deepspeech2.printing import printable, utf8
from deepspeech2.speech.bulk_results import GOES_ON
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.evaluation import Prediction, compare, prediction_record


class PredictionsFile:
    """JSON lines that go to `FILE.partial`, which becomes FILE when the evaluation has ended.

    What was written stays in `FILE.partial` when it does not end. There is a line for every utterance, in their order,
    also for those that could not be read. A device or a pipe is written to directly.

    Args:
        path: The file.
        utterances: What is evaluated.
        run: A digest of model and decoder, in every line; results of different runs never mix.
        resume: Take over what is in `FILE.partial`, or in FILE.

    Attributes:
        earlier: What became of the first utterances in the run that is gone on with; as many as were done.

    Raises:
        OptionError: The file cannot be written, `FILE.partial` is there and `resume` was not given, or its lines are
            damaged, of another model or decoder, or of other utterances.
    """

    def __init__(self, path: Path, utterances: Sequence[Utterance], run: str, *, resume: bool = False) -> None:
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise OptionError(f"{path}: expected a file to write, found a folder")
        special = target.exists() and not target.is_file()
        if special and resume:
            raise OptionError(
                f"{path}: expected a file that an interrupted run can go on with, found a device or a pipe"
            )
        self._target, self._run = target, run
        self.partial = target if special else target.with_name(target.name + ".partial")
        if not special and not resume and self.partial.exists():
            raise OptionError(f"{self.partial} is of an interrupted run; add --resume to go on with it, or remove it")
        records = _records(self.partial if self.partial.exists() else target) if resume else []
        self.earlier = tuple(_taken_over(self.partial, records, utterances, run))
        try:
            if resume:  # what a kill cut short is not written again
                with replacing(self.partial) as file:
                    file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            self._file = self.partial.open("a" if resume else "w", encoding="utf-8")
        except OSError as error:
            raise OptionError(f"{path}: cannot be written: {error.strerror}") from error
        self.recognised = sum(isinstance(answer, Prediction) for answer in self.earlier)

    def __enter__(self) -> PredictionsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError) if kind else nullcontext():  # what could not be written then cannot be written now
            self._file.close()
        if self.partial == self._target:
            return
        if kind is None:
            self.partial.replace(self._target)
        elif not self.recognised:
            self.partial.unlink(missing_ok=True)

    @property
    def _goes_on(self) -> bool:
        return self.partial != self._target and self.recognised > 0

    def add(self, utterance: Utterance, answer: Prediction | AudioError) -> None:
        """Write one utterance; of one that could not be read, the reason is under ``error``.

        Raises:
            OptionError: The disk is full.
        """
        record = prediction_record(answer) if isinstance(answer, Prediction) else _failed_record(utterance, answer)
        with naming_unwritten(self.partial, GOES_ON if self._goes_on else ""):
            self._file.write(json.dumps(record | {"run": self._run}, ensure_ascii=False) + "\n")
            self._file.flush()
        self.recognised += isinstance(answer, Prediction)


def _records(path: Path) -> list[dict[str, Any]]:
    """The lines of a file as far as they were written; none when it is not there."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {error.strerror}") from error
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records += [json.loads(line.decode())] if line.strip() else []
        except (ValueError, RecursionError):
            if number == len(lines):
                break  # a kill cut the last line short
            raise OptionError(f"{path}:{number}: expected a line of ds2 evaluate --output, found no JSON") from None
    return records


def _taken_over(
    path: Path, records: Sequence[dict[str, Any]], utterances: Sequence[Utterance], run: str
) -> list[Prediction | AudioError]:
    if len(records) > len(utterances):
        raise OptionError(f"{path} is of {len(records)} utterances, the manifest has {len(utterances)}")
    answers: list[Prediction | AudioError] = []
    for number, (record, utterance) in enumerate(zip(records, utterances, strict=False), start=1):
        place = f"{path}:{number}"
        expected = _key(utterance)
        try:
            found = record["audio_filepath"], record["offset"], record["text"]
            found_run, heard, seconds = record["run"], record["pred_text"], float(record["duration"])
            failure = record["error"] if heard is None else ""
        except (KeyError, TypeError, ValueError):
            raise OptionError(f"{place}: expected a line of ds2 evaluate --output, with all its keys") from None
        if found_run != run:
            raise OptionError(
                f"{place} was made with another model or decoder (run {found_run}, this is {run}); "
                "give the same options, or write to another file"
            )
        if found != expected:
            raise OptionError(f"{place} is of {found}, the manifest has {expected} there; write to another file")
        answers.append(AudioError(str(failure)) if heard is None else compare(utterance, str(heard), seconds))
    return answers


def _key(utterance: Utterance) -> tuple[str, float, str]:
    return utf8(utterance.audio_path), utterance.offset, utterance.text


def _failed_record(utterance: Utterance, error: AudioError) -> dict[str, Any]:
    record: dict[str, Any] = {
        "audio_filepath": utf8(utterance.audio_path),
        "text": utterance.text,
        "pred_text": None,
        "wer": None,
        "cer": None,
        "duration": utterance.duration,
        "offset": utterance.offset,
    }
    if utterance.speaker is not None:
        record["speaker"] = utterance.speaker
    return record | {"error": printable(" ".join(str(error).split()))}
