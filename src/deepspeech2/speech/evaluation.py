"""How well a recogniser does on a manifest: error rates, what the errors are, the worst utterances, speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deepspeech2.errors import AudioError, ManifestError
from deepspeech2.printing import utf8
from deepspeech2.speech.data.labels import unknown_characters
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.recognizer import Recognizer
from deepspeech2.speech.scoring import ErrorCount, count_character_errors, count_word_errors


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
        channel: The channel that was heard, counted from 0; None for the average of all.
        announced_seconds: What the header of a file that was cut short announces; None where all of it is there.
    """

    audio_filepath: str
    reference: str
    hypothesis: str
    words: ErrorCount
    characters: ErrorCount
    duration: float
    offset: float = 0.0
    speaker: str | None = None
    channel: int | None = None
    announced_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result over a manifest.

    Attributes:
        predictions: One for every utterance that could be read.
        failures: The others, by the line of the manifest and the file, and the reason.
        seconds: Wall-clock time of reading, recognising and decoding.
        earlier_audio_seconds: Seconds of audio that an interrupted run had recognised, which took none of this time.
    """

    predictions: tuple[Prediction, ...]
    failures: tuple[tuple[str, str], ...]
    seconds: float
    earlier_audio_seconds: float = 0.0

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

    @property
    def real_time_factor(self) -> float | None:
        """Seconds for each second of audio recognised in this run; None when an earlier run did it all."""
        audio_seconds = self.audio_seconds - self.earlier_audio_seconds
        return self.seconds / audio_seconds if audio_seconds > 0 else None

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
            "real_time_factor": self.real_time_factor,
        }


def evaluate_manifest(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    *,
    threads: int = 1,
    earlier: Sequence[Prediction | None] = (),
    progress: Callable[[int], None] | None = None,
    finished: Callable[[Utterance, Prediction | AudioError], None] | None = None,
) -> Evaluation:
    """Recognise every utterance and compare it with its transcript. Unreadable audio is reported, not fatal.

    Args:
        recognizer: What is evaluated.
        utterances: With their transcripts.
        threads: Threads that decode.
        earlier: What an interrupted run made of the first utterances, which are not recognised again; None for those
            that are.
        progress: Called with the number of utterances done.
        finished: Called with each utterance that is recognised now and what became of it, in their order.

    Returns:
        Predictions in the order of the utterances, and which audio could not be read, with the reason.

    Raises:
        ManifestError: No utterance could be read.
        OptionError: `threads` is below 1, for a beam search.

    Example:
        >>> from deepspeech2 import Recognizer, read_manifest
        >>> recognizer = Recognizer.from_pretrained("small", decoder="greedy")
        >>> result = evaluate_manifest(recognizer, read_manifest("examples/speech/manifest.jsonl"))
        >>> len(result.predictions), result.words.reference
        (6, 79)
    """
    started = time.perf_counter()
    answers: dict[int, Prediction | AudioError] = {i: answer for i, answer in enumerate(earlier) if answer is not None}
    waiting = [index for index in range(len(utterances)) if index not in answers]
    outcomes = recognizer.outcomes([utterances[index] for index in waiting], threads=threads)
    if progress:
        progress(len(answers))
    for index, outcome in zip(waiting, outcomes, strict=True):
        utterance = utterances[index]
        heard = (
            outcome
            if isinstance(outcome, AudioError)
            else compare(utterance, outcome.text, outcome.seconds, outcome.announced_seconds)
        )
        answers[index] = heard
        if finished:
            finished(utterance, heard)
        if progress:
            progress(len(answers))
    ordered = [answers[index] for index in range(len(utterances))]
    predictions = tuple(answer for answer in ordered if isinstance(answer, Prediction))
    failures = tuple(
        (utterance.name, str(answer))
        for utterance, answer in zip(utterances, ordered, strict=True)
        if isinstance(answer, AudioError)
    )
    if not predictions:
        reason = failures[0][1] if failures else "the manifest is empty"
        raise ManifestError(f"no utterance could be evaluated: {reason}")
    before = sum(answer.duration for answer in earlier if answer is not None)
    return Evaluation(predictions, failures, time.perf_counter() - started, before)


def compare(utterance: Utterance, hypothesis: str, seconds: float, announced: float | None = None) -> Prediction:
    """An utterance beside what was heard in it, with the errors counted.

    Args:
        utterance: With its transcript.
        hypothesis: What was heard.
        seconds: How much audio was read.
        announced: How much its header announces, where that is more.
    """
    return Prediction(
        audio_filepath=utf8(utterance.audio_path),
        reference=utterance.text,
        hypothesis=hypothesis,
        words=count_word_errors(utterance.text, hypothesis),
        characters=count_character_errors(utterance.text, hypothesis),
        duration=seconds,
        offset=utterance.offset,
        speaker=utterance.speaker,
        channel=utterance.channel,
        announced_seconds=announced,
    )


def unwritable_references(utterances: Sequence[Utterance], labels: Iterable[str]) -> list[tuple[str, str]]:
    """References that hold characters not among the labels, each with these characters.

    White space at the ends and runs of it do not count: error rates pass over them as well.
    """
    texts = (" ".join(utterance.text.split()) for utterance in utterances)
    return [(text, unknown) for text in texts if (unknown := unknown_characters(text, labels))]


def prediction_record(item: Prediction) -> dict[str, Any]:
    """A prediction as plain values.

    `speaker` only when it is known, `channel` only when one was chosen, `announced_seconds` only of a file cut short.
    """
    record: dict[str, Any] = {
        "audio_filepath": item.audio_filepath,
        "text": item.reference,
        "pred_text": item.hypothesis,
        "wer": round(item.words.rate, 6),
        "cer": round(item.characters.rate, 6),
        "duration": item.duration,
        "offset": item.offset,
    }
    chosen = {"speaker": item.speaker, "channel": item.channel, "announced_seconds": item.announced_seconds}
    return record | {key: value for key, value in chosen.items() if value is not None}
