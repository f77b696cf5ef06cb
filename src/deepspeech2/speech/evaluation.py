"""How well a recogniser does on a manifest: error rates, what the errors are, the worst utterances, speed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepspeech2.errors import AudioError, ManifestError
from deepspeech2.files import replacing
from deepspeech2.speech.data.labels import unknown_characters
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.recognizer import Recognizer
from deepspeech2.speech.scoring import ErrorCount, count_character_errors, count_word_errors
from deepspeech2.speech.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Prediction:
    """One utterance as it was said and as it was heard.

    Attributes:
        audio_filepath: The audio file.
        reference: The transcript.
        hypothesis: What the recogniser made of it.
        words: Word errors.
        characters: Character errors.
        duration: Seconds of audio.
        offset: Where in the file they begin, in seconds.
        speaker: Who speaks, when known.
    """

    audio_filepath: str
    reference: str
    hypothesis: str
    words: ErrorCount
    characters: ErrorCount
    duration: float
    offset: float = 0.0
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result over a manifest.

    Attributes:
        predictions: One for every utterance that could be read.
        failures: File and reason of the others.
        seconds: Wall-clock time of reading, recognising and decoding.
    """

    predictions: tuple[Prediction, ...]
    failures: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def words(self) -> ErrorCount:
        """Word errors of all utterances together."""
        return sum((prediction.words for prediction in self.predictions), ErrorCount())

    @property
    def characters(self) -> ErrorCount:
        """Character errors of all utterances together."""
        return sum((prediction.characters for prediction in self.predictions), ErrorCount())

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio recognised."""
        return sum(prediction.duration for prediction in self.predictions)

    def worst(self, count: int) -> list[Prediction]:
        """The utterances with the highest word error rates, the longer ones first among equals."""
        return sorted(self.predictions, key=lambda item: (-item.words.rate, -item.words.reference))[:count]

    def summary(self) -> dict[str, Any]:
        """Rates, counts and speed as plain values."""
        words, characters = self.words, self.characters
        return {
            "wer": words.rate,
            "cer": characters.rate,
            "utterances": len(self.predictions),
            "failed": len(self.failures),
            "words": asdict(words),
            "characters": asdict(characters),
            "audio_seconds": round(self.audio_seconds, 3),
            "seconds": round(self.seconds, 3),
            "real_time_factor": self.seconds / self.audio_seconds if self.audio_seconds else None,
        }


def evaluate_manifest(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
    finished: Callable[[Utterance, Prediction | AudioError], None] | None = None,
) -> Evaluation:
    """Recognise every utterance and compare it with its transcript. Unreadable audio is reported, not fatal.

    Args:
        recognizer: What is evaluated.
        utterances: With their transcripts.
        threads: Threads that decode.
        progress: Called with the number of utterances done.
        finished: Called with each utterance and what became of it, in their order.

    Raises:
        ManifestError: No utterance could be read.
    """
    started = time.perf_counter()
    predictions: list[Prediction] = []
    failures: list[tuple[str, str]] = []
    outcomes = recognizer.outcomes(utterances, threads=threads)
    for done, (utterance, outcome) in enumerate(zip(utterances, outcomes, strict=True), start=1):
        answer = outcome if isinstance(outcome, AudioError) else _compare(utterance, outcome)
        if isinstance(answer, AudioError):
            failures.append((str(utterance.audio_path), str(answer)))
        else:
            predictions.append(answer)
        if finished:
            finished(utterance, answer)
        if progress:
            progress(done)
    if not predictions:
        reason = failures[0][1] if failures else "the manifest is empty"
        raise ManifestError(f"no utterance could be evaluated: {reason}")
    return Evaluation(tuple(predictions), tuple(failures), time.perf_counter() - started)


def unwritable_references(utterances: Sequence[Utterance], labels: Iterable[str]) -> list[tuple[str, str]]:
    """References that hold characters not among the labels, each with these characters.

    White space at the ends and runs of it do not count: error rates pass over them as well.
    """
    texts = (" ".join(utterance.text.split()) for utterance in utterances)
    return [(text, unknown) for text in texts if (unknown := unknown_characters(text, labels))]


def prediction_record(item: Prediction) -> dict[str, Any]:
    """A prediction as plain values; `speaker` only when it is known."""
    record: dict[str, Any] = {
        "audio_filepath": item.audio_filepath,
        "text": item.reference,
        "pred_text": item.hypothesis,
        "wer": round(item.words.rate, 6),
        "cer": round(item.characters.rate, 6),
        "duration": item.duration,
        "offset": item.offset,
    }
    return record if item.speaker is None else record | {"speaker": item.speaker}


def write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Write references beside hypotheses as JSON lines; the file appears whole or not at all.

    Utterances that could not be read are not among them: `PredictionsFile` writes these as well, each at once.
    """
    with replacing(path) as file:
        for item in evaluation.predictions:
            file.write(json.dumps(prediction_record(item), ensure_ascii=False) + "\n")


def _compare(utterance: Utterance, transcript: Transcript) -> Prediction:
    hypothesis = transcript.text
    return Prediction(
        audio_filepath=str(utterance.audio_path),
        reference=utterance.text,
        hypothesis=hypothesis,
        words=count_word_errors(utterance.text, hypothesis),
        characters=count_character_errors(utterance.text, hypothesis),
        duration=transcript.seconds,
        offset=utterance.offset,
        speaker=utterance.speaker,
    )
