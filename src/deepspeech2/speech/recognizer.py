"""Speech in, text out: features, network and decoder behind one method."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from deepspeech2.ctc import (
    Alphabet,
    BeamDecoder,
    BeamOptions,
    GreedyDecoder,
    Hypothesis,
    load_language_model,
    word_confidences,
)
from deepspeech2.errors import AudioError, OptionError, SilentAudioError
from deepspeech2.speech.audio import SAMPLE_RATE, Audio, read_audio
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.devices import choose_device, device_of
from deepspeech2.speech.features import FREQUENCIES, HOP_SAMPLES, spectrogram
from deepspeech2.speech.given_samples import NAME, audio_of_samples, check_rate, given_samples, path_or_stream
from deepspeech2.speech.inference import optimize_for_inference
from deepspeech2.speech.long_audio import WindowOptions, log_probabilities_of_all, window_sizes
from deepspeech2.speech.network import AcousticNetwork, DeepSpeech2
from deepspeech2.speech.pretrained import choose_pretrained
from deepspeech2.speech.silence import CANCELLED, length_of_silence
from deepspeech2.speech.stored_weights import WeightFormat
from deepspeech2.speech.transcript import TimedWord, Transcript

Source = str | os.PathLike[str] | BinaryIO | Utterance | NDArray[np.floating | np.signedinteger] | torch.Tensor
"""Audio: a path, an open binary file, an utterance of a manifest, or samples, at 16 kHz unless their rate is given."""


TOGETHER = 32
TOGETHER_SECONDS = 600.0
"""Pieces of audio recognised together, at most: enough of like lengths for the network's batches."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Audio ready for the network.

    Attributes:
        features: Normalised spectrogram, (161, frames); without frames where all samples are zero: such audio is
            answered with an empty transcript.
        seconds: Length of the audio.
        name: The file, for messages and transcripts.
        native_rate: Samples per second of the recording itself.
        announced_seconds: Length of the audio as its header announces it, where less is there.
    """

    features: NDArray[np.float32]
    seconds: float
    name: str
    native_rate: int = SAMPLE_RATE
    announced_seconds: float | None = None


class Recognizer:
    """Turns audio into text.

    Args:
        model: The network, with labels and normaliser.
        beam: Beam search; None for greedy decoding.
        language_model: File of an n-gram model for the beam search.
        windows: How long audio is cut.
        weights: How recurrent weights are stored while recognising: float32, bfloat16 or int8; see
            `optimize_for_inference`.
        device: Where the network runs, ``cpu``, ``cuda``, ``cuda:1``; None for where the model is.

    Raises:
        OptionError: The device is not here, the model has no labels or no normaliser, a language model comes without
            a beam search, or windows are no longer than two margins.
        LanguageModelError: The language model cannot be read.

    Example:
        >>> recognizer = Recognizer.from_pretrained("small")  # doctest: +SKIP
        >>> recognizer.transcribe("examples/clip_10s.flac").text  # doctest: +SKIP
    """

    def __init__(
        self,
        model: DeepSpeech2,
        *,
        beam: BeamOptions | None = None,
        language_model: str | os.PathLike[str] | None = None,
        windows: WindowOptions | None = None,
        weights: WeightFormat = "float32",
        device: str | None = None,
    ) -> None:
        if model.labels is None or model.normalizer is None:
            missing = "labels" if model.labels is None else "normaliser (mean and std of the features)"
            raise OptionError(f"recogniser: the model has no {missing}; give load_model one, or use ds2 convert")
        if language_model is not None and beam is None:
            raise OptionError("recogniser: a language model needs a beam search; give beam options as well")
        self.model = model.eval()
        place = device_of(model) if device is None else choose_device(device)
        self.network = self._made_ready(model, weights).to(place)
        self.normalizer = model.normalizer
        self.alphabet = Alphabet(model.labels)
        self.windows = windows or WindowOptions()
        self.decoder: GreedyDecoder | BeamDecoder
        if beam is None:
            self.decoder = GreedyDecoder(self.alphabet)
        else:
            scorer = load_language_model(Path(language_model)) if language_model is not None else None
            self.decoder = BeamDecoder(self.alphabet, beam, scorer)
        strides = math.prod(convolution.stride[1] for convolution in model.options.convolutions)
        window_sizes(strides, self.windows)  # refused before there is audio, not when it is long
        self.seconds_per_frame = strides * HOP_SAMPLES / SAMPLE_RATE

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = "small",
        *,
        decoder: str = "beam",
        beam: BeamOptions | None = None,
        language_model: str | os.PathLike[str] | None = None,
        weights: WeightFormat = "float32",
        device: str = "auto",
    ) -> Recognizer:
        """Load a model of the package by its name, or any checkpoint by its path.

        Args:
            model: ``small``, or a checkpoint `load_model` reads.
            decoder: ``beam`` or ``greedy``. A model of the package brings the language model it was tuned with; a
                checkpoint is decoded without one unless `language_model` is given.
            beam: Beam search options instead of the tuned or the default ones.
            language_model: Language model file instead of the model's own.
            weights: How recurrent weights are stored while recognising: float32, bfloat16 or int8.
            device: ``auto`` for a GPU if torch finds one and the CPU if not, or a name as in `choose_device`.

        Raises:
            OptionError: The model, the decoder, the device or the format of the weights is not known.
            CheckpointError: The checkpoint cannot be read.
        """
        if decoder not in ("beam", "greedy"):
            raise OptionError(f"expected a decoder of beam or greedy, found {decoder!r}")
        if decoder == "greedy" and (beam is not None or language_model is not None):
            raise OptionError("greedy decoding has no beam and no language model; leave them out, or decoder='greedy'")
        shipped = choose_pretrained(model)
        if shipped is None:
            path, options, scorer = Path(model), beam or BeamOptions(n_best=1), language_model
        else:
            path, options, scorer = shipped.model, beam or shipped.beam, language_model or shipped.language_model
        if decoder == "greedy":
            return cls(load_model(path), weights=weights, device=device)
        beam = replace(options, n_best=1)
        return cls(load_model(path), beam=beam, language_model=scorer, weights=weights, device=device)

    def transcribe(self, source: Source, *, sample_rate: int = SAMPLE_RATE) -> Transcript:
        """Recognise one piece of audio of any length; where every sample is zero the transcript is empty.

        Of a file that was cut short what is there is recognised, and `announced_seconds` of the transcript says so.

        Args:
            source: The audio. An array or a CPU tensor has shape (samples,) or (samples, channels), which are
                averaged, and holds floating point numbers or signed integers; its level does not matter.
            sample_rate: Samples per second of an array, in Hz; others are resampled. Files say theirs themselves.

        Raises:
            AudioError: The audio cannot be used; the message names it.
            OptionError: A sampling rate comes with something else than an array, or is none.
        """
        return self.recognize([self.prepare(source, sample_rate=sample_rate)])[0]

    def transcribe_all(self, sources: Iterable[Source], *, threads: int = 1) -> Iterator[Transcript]:
        """Recognise several pieces of audio, in their order, the network in batches of like lengths.

        Args:
            sources: The audio.
            threads: Threads that decode.

        Raises:
            AudioError: One of them cannot be used; the ones before it have been returned.
        """
        for outcome in self.outcomes(sources, threads=threads):
            if isinstance(outcome, AudioError):
                raise outcome
            yield outcome

    def outcomes(
        self, sources: Iterable[Source], *, threads: int = 1, together: int = TOGETHER
    ) -> Iterator[Transcript | AudioError]:
        """Recognise several pieces of audio, in their order; what cannot be used is answered with its error.

        Args:
            sources: The audio.
            threads: Threads that decode.
            together: Pieces that are read before they are recognised, fewer when they last ten minutes together.
        """
        waiting: list[Prepared | AudioError] = []
        seconds = 0.0
        for source in sources:
            try:
                waiting.append(prepared := self.prepare(source))
                seconds += prepared.seconds
            except AudioError as error:
                waiting.append(error)
            if len(waiting) >= together or seconds >= TOGETHER_SECONDS:
                yield from self._answers(waiting, threads)
                waiting, seconds = [], 0.0
        yield from self._answers(waiting, threads)

    def prepare(self, source: Source, *, sample_rate: int = SAMPLE_RATE) -> Prepared:
        """Read audio and take its features: what `recognize` goes on from.

        Args:
            source: The audio.
            sample_rate: Samples per second of an array; see `transcribe`.

        Raises:
            AudioError: The audio cannot be used.
            OptionError: As `transcribe`.
        """
        try:
            return self._heard(source, sample_rate)
        except SilentAudioError:
            return self._silence(source, sample_rate)

    def recognize(self, prepared: Sequence[Prepared], *, threads: int = 1) -> list[Transcript]:
        """Recognise what `prepare` made of several pieces of audio, together; with several threads that decode."""
        sounding = [item for item in prepared if item.features.shape[1]]
        found = iter(self._recognized(sounding, threads) if sounding else ())
        return [
            next(found)
            if item.features.shape[1]
            else Transcript("", (), item.seconds, 0.0, item.name, item.native_rate)
            for item in prepared
        ]

    def log_probabilities(self, source: Source, *, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """Log-probabilities of one piece of audio, padding never included: (output frames, vocab + 1), blank last.

        Args:
            source: The audio.
            sample_rate: Samples per second of an array; see `transcribe`.

        Raises:
            AudioError: The audio cannot be used; silence, where every sample is zero, is a `SilentAudioError`.
            OptionError: As `transcribe`.
        """
        features = self._heard(source, sample_rate).features
        return log_probabilities_of_all(self.network, [features], self.windows)[0]

    def _recognized(self, prepared: Sequence[Prepared], threads: int) -> list[Transcript]:
        outputs = log_probabilities_of_all(self.network, [item.features for item in prepared], self.windows)
        if isinstance(self.decoder, GreedyDecoder):
            found = self.decoder.decode_batch(outputs)
        else:
            found = [hypotheses[0] for hypotheses in self.decoder.decode_batch(outputs, threads=threads)]
        return [self._transcript(*answer) for answer in zip(found, outputs, prepared, strict=True)]

    def _answers(self, waiting: list[Prepared | AudioError], threads: int) -> Iterator[Transcript | AudioError]:
        found = iter(self.recognize([item for item in waiting if isinstance(item, Prepared)], threads=threads))
        for item in waiting:
            yield next(found) if isinstance(item, Prepared) else item

    def _made_ready(self, model: DeepSpeech2, weights: WeightFormat) -> AcousticNetwork:
        """The network that runs; a recogniser of another kind of network has its own."""
        return optimize_for_inference(model, weights)

    def _heard(self, source: Source, sample_rate: int) -> Prepared:
        audio, name = self._audio(source, sample_rate)
        features = self.normalizer(spectrogram(audio.samples, name=name))
        seconds = len(audio.samples) / SAMPLE_RATE
        return Prepared(features, seconds, name, audio.native_rate, audio.announced_seconds)

    def _silence(self, source: Source, sample_rate: int) -> Prepared:
        nothing = np.zeros((FREQUENCIES, 0), np.float32)
        samples = given_samples(source)
        if samples is not None:
            if samples.any():
                raise SilentAudioError(f"{NAME}: {CANCELLED}")
            return Prepared(nothing, len(samples) / sample_rate, NAME, sample_rate)
        given = source if isinstance(source, Utterance) else path_or_stream(source)
        seconds, rate = length_of_silence(given)
        return Prepared(nothing, seconds, _name(given), rate)

    def _audio(self, source: Source, sample_rate: int) -> tuple[Audio, str]:
        rate = check_rate(sample_rate)
        samples = given_samples(source)
        if samples is not None:
            return audio_of_samples(samples, rate), NAME
        if rate != SAMPLE_RATE:
            raise OptionError(f"sample_rate is for arrays, found {type(source).__name__}; a file says its own")
        if isinstance(source, Utterance):
            length = source.duration or None
            audio = read_audio(
                source.audio_path, offset_seconds=source.offset, duration_seconds=length, channel=source.channel
            )
            return audio, str(source.audio_path)
        given = path_or_stream(source)
        return read_audio(given), _name(given)

    def _transcript(self, hypothesis: Hypothesis, output: NDArray[np.float32], item: Prepared) -> Transcript:
        step, seconds = self.seconds_per_frame, item.seconds
        words = tuple(
            TimedWord(
                text=word.text,
                start=min(seconds, word.start * step),
                end=min(seconds, word.end * step),
                confidence=confidence,
            )
            for word, confidence in zip(hypothesis.words, word_confidences(hypothesis, output), strict=True)
        )
        text = " ".join(hypothesis.text.split())
        return Transcript(text, words, seconds, hypothesis.score, item.name, item.native_rate, item.announced_seconds)


def _name(source: str | os.PathLike[str] | BinaryIO | Utterance) -> str:
    if isinstance(source, Utterance):
        return str(source.audio_path)
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "stream"))
