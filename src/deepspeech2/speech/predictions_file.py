"""References beside hypotheses in a file, each as soon as it is there, and how an interrupted evaluation goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepspeech2.errors import AudioError
from deepspeech2.printing import printable, utf8
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.evaluation import Prediction, compare, prediction_record
from deepspeech2.speech.resumable_lines import Key, LineForm, ResumableLines


class PredictionsFile:
    """`ResumableLines` of an evaluation, in the order of the utterances, also of those that could not be read.

    A device or a pipe is written to directly.

    Args:
        path: The file.
        utterances: What is evaluated.
        run: A digest of model and decoder, in every line; results of different runs never mix.
        resume: Take over what is in `FILE.partial`, or in FILE where there is none.

    Attributes:
        earlier: What the run that is gone on with made of each utterance; None for those it did not come to or could
            not read.

    Raises:
        OptionError: As `ResumableLines`.
    """

    def __init__(self, path: Path, utterances: Sequence[Utterance], run: str, *, resume: bool = False) -> None:
        self._lines = ResumableLines(path, [_key(item) for item in utterances], run, _FORM, resume=resume)
        self.earlier = tuple(self._prediction(index, utterance) for index, utterance in enumerate(utterances))
        self._following = iter([index for index, answer in enumerate(self.earlier) if answer is None])

    def __enter__(self) -> PredictionsFile:
        return self

    def __exit__(self, *error: Any) -> None:
        self._lines.__exit__(*error)

    @property
    def kept(self) -> bool:
        """Whether there is anything that an interrupted evaluation goes on with."""
        return self._lines.kept

    def add(self, utterance: Utterance, answer: Prediction | AudioError) -> None:
        """Write the next utterance that `earlier` lacks; of one that could not be read, the reason is under ``error``.

        Raises:
            OptionError: The disk is full.
        """
        failed = isinstance(answer, AudioError)
        record = _failed_record(utterance, answer) if isinstance(answer, AudioError) else prediction_record(answer)
        self._lines.add(next(self._following), record, failed=failed)

    def finish(self) -> None:
        """Write FILE, in place of the partial file; where nothing could be read, an older one stays."""
        self._lines.finish()

    def _prediction(self, index: int, utterance: Utterance) -> Prediction | None:
        record = self._lines.earlier(index)
        if record is None:
            return None
        return compare(utterance, record["pred_text"], record["duration"], record.get("announced_seconds"))


def _key(utterance: Utterance) -> Key:
    return utf8(utterance.audio_path), utterance.offset, utterance.text, utterance.channel


def _key_of(record: dict[str, Any]) -> Key | None:
    heard, seconds = record["pred_text"], record["duration"]
    if heard is None:
        return None
    if not isinstance(heard, str) or not isinstance(seconds, (int, float)):
        raise TypeError
    return record["audio_filepath"], record["offset"], record["text"], record.get("channel")


_FORM = LineForm("a line of ds2 evaluate --output", _key_of, "give the same audio with the same texts")


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
    if utterance.channel is not None:
        record["channel"] = utterance.channel
    return record | {"error": printable(" ".join(str(error).split()))}
