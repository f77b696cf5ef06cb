"""The beam search decoder."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from os import PathLike
from typing import Any, NoReturn

from deepspeech2.ctc import _core
from deepspeech2.ctc.alphabet import Alphabet
from deepspeech2.ctc.hypothesis import DecodeTally, Hypotheses, Hypothesis
from deepspeech2.ctc.language_model import LanguageModel
from deepspeech2.ctc.native import make_decoder, set_options
from deepspeech2.ctc.options import BeamOptions
from deepspeech2.ctc.posteriors import Matrix, as_matrix, refuse_dead_end, refuse_overflow, refuse_row
from deepspeech2.ctc.scoring import WordScorer, make_scorer
from deepspeech2.ctc.transcript import PackedBoundaries, Transcript
from deepspeech2.errors import OptionError, PosteriorsError

NOT_NORMALISED, NO_PREFIX_LEFT = 1, 2  # the third fault is a prefix above the range of the arithmetic
# What is compiled into a decoder's task; other options can change at any time.
BUILT_IN = ("lexicon", "pauses", "hotwords", "compat")


class BeamDecoder:
    """Prefix beam search over CTC posteriors, with or without a language model.

    Exact within its beam: the probability of all alignments of each kept prefix is added up. `ReferenceDecoder` is
    the same in readable form. Safe to use from several threads; pickles with the path of its language model.

    Example:
        >>> import numpy as np
        >>> decoder = BeamDecoder(Alphabet("ab"), BeamOptions(beam_size=8))
        >>> decoder.decode(np.log([[0.6, 0.2, 0.2], [0.1, 0.2, 0.7], [0.1, 0.7, 0.2]]))[0].text
        'ab'
    """

    def __init__(
        self, alphabet: Alphabet, options: BeamOptions | None = None, language_model: LanguageModel | None = None
    ) -> None:
        """Prepare a decoder.

        Args:
            alphabet: The columns of the posteriors.
            options: What to search and how to score.
            language_model: From `load_language_model`, or None.

        Raises:
            OptionError: The options do not fit the alphabet or the language model.

        Warns:
            UserWarning: The labels cannot spell most words of the language model, which are left out.
        """
        if not isinstance(alphabet, Alphabet):
            raise OptionError(f"The alphabet should be an Alphabet, such as Alphabet(labels), but is {alphabet!r}.")
        if not isinstance(options, BeamOptions | None):
            raise OptionError(f"The options should be BeamOptions(...), but are {options!r}.")
        if isinstance(language_model, str | PathLike):
            raise OptionError(f"Open the language model first: load_language_model({str(language_model)!r}).")
        self.alphabet = alphabet
        self.language_model = language_model
        self._build(options or BeamOptions())

    def _build(self, options: BeamOptions) -> None:
        scorer = make_scorer(self.alphabet, options, self.language_model)
        core = make_decoder(self.alphabet, options, self.language_model, scorer)
        set_options(core, options)
        self._core = core  # only now: other threads may be decoding
        self._vocabulary = scorer.vocabulary() if isinstance(scorer, WordScorer) else []
        self.options = options

    def _reweigh(self, options: BeamOptions) -> bool:
        """Give other hot words their weights, if all of these and those before are words of the language model."""
        if self.language_model is None or not self._vocabulary:
            return False
        places = {word: bisect_left(self._vocabulary, word) for word in options.hotwords}
        if any(self._vocabulary[place : place + 1] != [word] for word, place in places.items()):
            return False
        if not all(word in self.language_model for word in (*self.options.hotwords, *options.hotwords)):
            return False
        core = self._core.with_bonus({place: options.hotwords[word] for word, place in places.items()})
        set_options(core, options)
        self._core = core
        self.options = options
        return True

    def decode(self, log_probs: Any) -> Hypotheses:
        """Decode one utterance.

        Args:
            log_probs: (time, columns) natural log-probabilities; numpy, torch or what numpy can read; float16, 32, 64.

        Returns:
            At most `n_best` hypotheses, best first, with the tally of the work.

        Raises:
            PosteriorsError: The array is not a matrix of log-probabilities with the alphabet's columns.
        """
        matrix = as_matrix(log_probs, self.alphabet.columns)
        fault, row, results, tally = self._core.decode(matrix)
        if fault:
            _refuse(fault, matrix, row)
        return self._hypotheses(results, tally)

    def decode_batch(self, log_probs: Iterable[Any], threads: int = 1) -> list[Hypotheses]:
        """Decode several utterances, on threads if asked; the interpreter lock is released.

        Args:
            log_probs: Matrices as `decode` takes, cut to the valid frames of each utterance.
            threads: How many to decode at a time, longest first; each thread takes the next when it is done. A KenLM
                model is asked one thread at a time.

        Returns:
            The hypotheses of each utterance, in the order given.

        Raises:
            PosteriorsError: As `decode`, with the utterance's index in front.
            OptionError: `threads` is below 1.
        """
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise OptionError(f"threads must be a whole number from 1, but is {threads!r}.")
        if threads == 1:
            return list(map(self._decode_numbered, count(), log_probs))
        matrices = list(map(self._numbered_matrix, count(), log_probs))
        answers = self._core.decode_batch(matrices, threads)
        hypotheses = []
        for index, (fault, row, results, tally) in enumerate(answers):
            if fault:
                with _named(index):
                    _refuse(fault, matrices[index], row)
            hypotheses.append(self._hypotheses(results, tally))
        return hypotheses

    def _decode_numbered(self, index: int, log_probs: Any) -> Hypotheses:
        with _named(index):
            return self.decode(log_probs)

    def _numbered_matrix(self, index: int, log_probs: Any) -> Matrix:
        with _named(index):
            return as_matrix(log_probs, self.alphabet.columns)

    def stream(self) -> BeamStream:
        """Begin an utterance that arrives in pieces.

        Returns:
            A stream with the options of now; later changes do not reach it.
        """
        return BeamStream(self)

    def reset(self, **changes: Any) -> None:
        """Change options. `lexicon`, `pauses`, `compat` and hot words that the language model does not know rebuild.

        Args:
            **changes: Fields of `BeamOptions`, e.g. alpha and beta. What is not named stays, the weights too when
                `compat` changes; alpha=None and beta=None take the defaults of the mode.

        Raises:
            OptionError: There is no such option, or it cannot have that value.
        """
        known = BeamOptions.__dataclass_fields__
        for name in changes:
            if name not in known:
                raise OptionError(f"There is no option {name!r}; the options are {', '.join(known)}.")
        options = replace(self.options, **changes)
        changed = [name for name in BUILT_IN if getattr(options, name) != getattr(self.options, name)]
        if changed:
            same_lookahead = options.lookahead == self.options.lookahead
            if not (changed == ["hotwords"] and same_lookahead and self._reweigh(options)):
                self._build(options)
            return
        if options.lookahead != self.options.lookahead:
            make_scorer(self.alphabet, options, self.language_model)
        set_options(self._core, options)
        self.options = options

    def _hypotheses(self, results: list[tuple[str, float, float, bytes]], tally: tuple[int, ...]) -> Hypotheses:
        hypotheses = []
        for text, acoustic, language, labels in results:
            transcript = Transcript(self.alphabet, PackedBoundaries(labels), acoustic, language)
            hypotheses.append(Hypothesis(text, acoustic + language, acoustic, language, transcript))
        return Hypotheses(hypotheses, DecodeTally(*tally))

    def __reduce__(self) -> tuple[Any, ...]:
        return BeamDecoder, (self.alphabet, self.options, self.language_model)


class BeamStream:
    """One utterance in pieces: the same result as decoding it whole.

    Memory does not grow with the audio, but with the text: less than 1 KB a letter is kept, so that `best` can say
    when each began, and `best` takes time in proportion.

    Example:
        >>> import numpy as np
        >>> log_probs = np.log([[0.6, 0.2, 0.2], [0.1, 0.2, 0.7], [0.1, 0.7, 0.2]])
        >>> stream = BeamDecoder(Alphabet("ab")).stream()
        >>> stream.push(log_probs[:2])
        >>> stream.best()[0].text  # so far
        'a'
        >>> stream.push(log_probs[2:])
        >>> stream.finish()[0].text
        'ab'
    """

    def __init__(self, decoder: BeamDecoder) -> None:
        """Begin an utterance; `BeamDecoder.stream` does."""
        self._decoder = decoder
        self._core = _core.Stream(decoder._core)
        self._frames = 0
        self._open = True

    def push(self, log_probs: Any) -> None:
        """Take the next frames.

        Args:
            log_probs: (time, columns), any number of frames from 1. A piece with a row that is no distribution changes
                nothing. One after whose frames no prefix is left ends the stream: what came before is lost with it.

        Raises:
            PosteriorsError: As `BeamDecoder.decode`; rows are counted from the beginning of the stream.
            OptionError: The stream is finished.
        """
        self._require_open()
        matrix = as_matrix(log_probs, self._decoder.alphabet.columns)
        fault, row = self._core.push(matrix)
        if fault:
            self._open = fault == NOT_NORMALISED
            _refuse(fault, matrix, row, self._frames)
        self._frames += len(matrix)

    def best(self) -> Hypotheses:
        """The hypotheses if the audio ended here; the stream goes on.

        Raises:
            OptionError: The stream is finished.
        """
        self._require_open()
        _, _, results, tally = self._core.best()
        return self._decoder._hypotheses(results, tally)

    def finish(self) -> Hypotheses:
        """The hypotheses of the whole utterance; ends the stream.

        Raises:
            OptionError: The stream is finished already.
        """
        hypotheses = self.best()
        self._open = False
        return hypotheses

    def _require_open(self) -> None:
        if not self._open:
            raise OptionError("This stream is finished; begin another with decoder.stream().")


@contextmanager
def _named(index: int) -> Iterator[None]:
    """Put the utterance's index in front of what is wrong with it."""
    try:
        yield
    except PosteriorsError as error:
        raise PosteriorsError(f"Utterance {index} of the batch: {error}") from None


def _refuse(fault: int, matrix: Matrix, row: int, first_row: int = 0) -> NoReturn:
    if fault == NOT_NORMALISED:
        refuse_row(matrix, row, first_row)
    if fault == NO_PREFIX_LEFT:
        refuse_dead_end(row + first_row)
    refuse_overflow(row + first_row)
