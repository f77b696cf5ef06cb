"""Hands a decoder's alphabet, options and language model to the native core."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from deepspeech2.ctc import _core
from deepspeech2.ctc.alphabet import WORD_START, Alphabet
from deepspeech2.ctc.language_model import LanguageModel
from deepspeech2.ctc.ngram_model import NgramModel
from deepspeech2.ctc.options import BeamOptions
from deepspeech2.ctc.reference import MAX_THRESHOLD
from deepspeech2.ctc.scoring import LabelScorer, Scorer, WordScorer
from deepspeech2.errors import LanguageModelError, OptionError

UNKNOWN = 0xFFFFFFFF
LARGEST_LOG10 = 1e-4  # of a word, rounding included: what the core takes for its bound where it cannot read the model

Language = _core.Ngram | Callable[[], Any] | None


class LanguageSession:
    """One utterance's dealings with a language model written in Python; the core speaks to it in numbers."""

    def __init__(self, model: LanguageModel, words: Sequence[str]) -> None:
        """Number the model's words; states are numbered as they come."""
        self._model = model
        self._words = words
        self._number: dict[Hashable, int] = {}
        self._states: dict[int, Hashable] = {}
        self._next = 0

    def begin(self) -> int:
        """The state after ``<s>``, for a new utterance."""
        self._number.clear()
        self._states.clear()
        self._next = 0
        return self._numbered(self._model.begin())

    def score(self, state: int, word: int) -> tuple[float, int]:
        """log10 probability and next state."""
        name = "<unk>" if word == UNKNOWN else self._words[word]
        log10, after = self._model.score(self._states[state], name)
        if not log10 <= LARGEST_LOG10:
            raise LanguageModelError(
                f"{self._model.path}: {name!r} gets a log10 probability of {log10:g}, above 0, which is searched "
                "exactly in ARPA files only; use the model's ARPA file, or build it anew."
            )
        return log10, self._numbered(after)

    def score_end(self, state: int) -> float:
        """log10 probability of ``</s>``."""
        return self._model.score(self._states[state], "</s>")[0]

    def keep(self, numbers: Sequence[int]) -> None:
        """Forget every other state: no prefix that is left leads there."""
        self._states = {number: self._states[number] for number in numbers}
        self._number = {state: number for number, state in self._states.items()}

    def _numbered(self, state: Hashable) -> int:
        number = self._number.setdefault(state, self._next)
        if number == self._next:
            self._states[number] = state
            self._next += 1
        return number


def make_decoder(
    alphabet: Alphabet, options: BeamOptions, model: LanguageModel | None, scorer: Scorer
) -> _core.Decoder:
    """Build a native decoder.

    Args:
        alphabet: The columns.
        options: Its lexicon, hot words and mode are built in; the rest can be set anew.
        model: The language model or None.
        scorer: What `make_scorer` chose for them.

    Returns:
        The decoder, without options.

    Raises:
        OptionError: The environment forces instructions that this processor does not run.
    """
    try:
        _core.simd()
    except ValueError as error:
        raise OptionError(str(error)) from None
    task = _core.Task()
    task.columns = alphabet.columns
    task.blank = alphabet.blank
    task.delimiter = -1 if alphabet.delimiter_column is None else alphabet.delimiter_column
    task.silent = sorted(alphabet.silent_columns)
    task.has_model = model is not None
    task.word_starts = alphabet.has_word_starts
    task.spelling = [label.replace(WORD_START, " ") if task.word_starts else label for label in alphabet.spelling]
    language: Language = None
    if isinstance(scorer, LabelScorer):
        assert model is not None
        task.unit = _core.Unit.label
        names = scorer.names
        language = _number_words(task, model, names)
    elif isinstance(scorer, WordScorer):
        task.unit = _core.Unit.word
        task.closed = scorer.closed
        task.pauses = scorer.pauses
        words = scorer.vocabulary()
        letters = list(alphabet.spelling)
        letters[task.delimiter] = ""
        task.set_lexicon(letters, words)
        task.bonus = [options.hotwords.get(word, 0.0) for word in words]
        language = _number_words(task, model, words)
    return _core.Decoder(task, language)


def set_options(decoder: _core.Decoder, options: BeamOptions) -> None:
    """Give a native decoder its options.

    Raises:
        OptionError: With them a word could add more to a prefix than the arithmetic reaches.
    """
    native = _core.Options()
    for name in ("beam_size", "n_best", "cutoff_top_n", "score_end", "lookahead", "recombine"):
        setattr(native, name, getattr(options, name))
    for name in ("alpha", "beta", "cutoff_prob", "unknown_penalty"):
        setattr(native, name, float(getattr(options, name)))
    native.beam_threshold = min(options.beam_threshold, MAX_THRESHOLD)
    native.compat = getattr(_core.Compat, options.compat or "none")
    try:
        decoder.set_options(native)
    except ValueError as error:
        raise OptionError(str(error)) from None


def _number_words(task: Any, model: LanguageModel | None, words: Sequence[str]) -> Language:
    if model is None:
        return None
    if isinstance(model, NgramModel):
        task.number_words(model.core, words)
        return model.core
    task.known = [word in model for word in words]
    task.model_word = [number if known else UNKNOWN for number, known in enumerate(task.known)]
    null = model.null()
    task.unigram = [model.score(null, word)[0] for word in words]
    return lambda: LanguageSession(model, words)
