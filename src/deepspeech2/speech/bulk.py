"""Many pieces of audio: recognised here or on a Ray cluster, each result handed over as soon as it is there."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from deepspeech2.ctc import BeamOptions
from deepspeech2.errors import AudioError, OptionError
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.devices import device_of
from deepspeech2.speech.recognizer import TOGETHER, Recognizer, Source
from deepspeech2.speech.stored_weights import WeightFormat
from deepspeech2.speech.transcript import Transcript


@dataclass(frozen=True, slots=True)
class RecognizerSettings:
    """What makes a recogniser, as plain values that can be sent to another machine.

    Attributes:
        model: A model of the package, or a checkpoint's path.
        decoder: ``beam`` or ``greedy``.
        beam: Beam search options; None for the model's own.
        language_model: File of a language model; None for the model's own.
        weights: How recurrent weights are stored: float32, bfloat16 or int8.
        device: Where the network runs; ``auto`` is for each machine to say.
    """

    model: str = "small"
    decoder: str = "beam"
    beam: BeamOptions | None = None
    language_model: str | None = None
    weights: WeightFormat = "float32"
    device: str = "auto"

    def load(self) -> Recognizer:
        """Make the recogniser.

        Raises:
            OptionError: The model or the decoder is not known.
            CheckpointError: The checkpoint cannot be read.
            LanguageModelError: The language model cannot be read.
        """
        return Recognizer.from_pretrained(
            self.model,
            decoder=self.decoder,
            beam=self.beam,
            language_model=self.language_model,
            weights=self.weights,
            device=self.device,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one piece of audio.

    Attributes:
        index: Its place in the list that was given.
        transcript: What was recognised; None when it could not be.
        reason: Why it could not be.
    """

    index: int
    transcript: Transcript | None = None
    reason: str = ""


class Engine(Protocol):
    """Something that recognises many pieces of audio."""

    def run(self, sources: Sequence[tuple[int, Source]]) -> Iterator[Outcome]:
        """Recognise every source, given with its index; outcomes come as they finish, in any order."""
        ...


def recognize(recognizer: Recognizer, index: int, source: Source) -> Outcome:
    """Recognise one source; audio that cannot be used is an outcome, not an error."""
    try:
        return _outcome(index, source, recognizer.transcribe(source))
    except AudioError as error:
        return _outcome(index, source, error)


def _outcome(index: int, source: Source, answer: Transcript | AudioError) -> Outcome:
    if not isinstance(answer, AudioError):
        return Outcome(index, answer)
    # Of a long recording that a manifest cuts into pieces, the file alone does not say which piece it is.
    piece = f"{source.name}: " if isinstance(source, Utterance) and source.where else ""
    return Outcome(index, reason=piece + " ".join(str(answer).split()))


class LocalEngine:
    """Recognises in this process, with several threads if asked.

    Args:
        recognizer: What recognises.
        workers: Pieces of audio worked on at a time.

    Raises:
        OptionError: There is no worker.
    """

    def __init__(self, recognizer: Recognizer, workers: int = 1) -> None:
        if workers < 1:
            raise OptionError(f"expected at least one worker, found {workers}")
        self._recognizer, self._workers = recognizer, workers

    def run(self, sources: Sequence[tuple[int, Source]]) -> Iterator[Outcome]:
        """Recognise every source; outcomes come in the order of the sources."""
        if self._workers == 1:
            yield from self._one_worker(sources)
            return
        waiting: deque[Future[Outcome]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="transcribe") as pool:
            try:
                for index, source in sources:
                    waiting.append(pool.submit(recognize, self._recognizer, index, source))
                    if len(waiting) > 2 * self._workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _one_worker(self, sources: Sequence[tuple[int, Source]]) -> Iterator[Outcome]:
        # A CPU answers each at once; a GPU is as fast with many as with one.
        together = 1 if device_of(self._recognizer.network).type == "cpu" else TOGETHER
        answers = self._recognizer.outcomes((source for _, source in sources), together=together)
        for (index, source), answer in zip(sources, answers, strict=True):
            yield _outcome(index, source, answer)


def identify(source: Source) -> tuple[str, float, float]:
    """What tells one piece of audio from another: file, offset and duration in seconds (0 for the whole file)."""
    if isinstance(source, Utterance):
        return str(source.audio_path), source.offset, source.duration
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "samples"))
    return name, 0.0, 0.0
