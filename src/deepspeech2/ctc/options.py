"""What a beam search is told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from deepspeech2.errors import OptionError

LARGEST_REWARD = 600.0
"""The most that beta and a hot word may add to one word, in nats: the native arithmetic reaches no further."""
MOST_WORDS = 1_000_000  # the Python original's reward grows with the logarithm of the words so far

Compat = Literal["python", "baidu"]


class HotWords(Mapping[str, float]):
    """Words to favour and their weights: a copy that does not change, hashable and picklable."""

    __slots__ = ("_weights",)

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        """Copy `weights`.

        Raises:
            OptionError: Not a mapping, not single words, or weights that are no finite numbers.
        """
        if not isinstance(weights or {}, Mapping):
            raise OptionError(f"hotwords must map words to weights, but is {weights!r}.")
        self._weights: dict[str, float] = {}
        for word, weight in (weights or {}).items():
            if not isinstance(word, str) or len(word.split()) != 1 or word != word.strip():
                raise OptionError(f"A hot word must be one word without spaces, but one hot word is {word!r}.")
            self._weights[word] = _require_finite(f"The weight of hot word {word!r}", weight)

    def __getitem__(self, word: str) -> float:
        return self._weights[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __hash__(self) -> int:
        return hash(frozenset(self._weights.items()))

    def __repr__(self) -> str:
        return repr(self._weights)


def default_weights(compat: Compat | None) -> tuple[float, float]:
    """Alpha and beta where none are given: the published ones in a mode of an original, else for natural logarithms."""
    return (0.6, 2.0) if compat is None else (2.5, 0.3)


@dataclass(frozen=True)
class BeamOptions:
    """Options of the prefix beam search; all scores are natural logarithms.

    Attributes:
        beam_size: How many prefixes are kept after each frame.
        alpha: Weight of the language model. None becomes the default of the mode: 0.6 over natural logarithms; in
            both `compat` modes the published 2.5.
        beta: Added for each word (for a model over labels: for each label). None becomes 2.0, or the published 0.3.
            At most 600, less the largest weight of a hot word; in `compat="python"` at most 43.
        cutoff_prob: Symbols of a frame are taken by descending probability until they add up to this; 1 takes all.
        cutoff_top_n: At most this many symbols of a frame are taken. Both cut-offs always apply, the blank included;
            only a frame in which they leave no prefix, as where the lexicon forbids what they took, is done once more
            without them.
        n_best: How many hypotheses are returned at most.
        beam_threshold: Prefixes that score this much less than the best one are dropped, however short the beam.
            Values above 600 act as 600: beyond that, prefixes are out of the range of the arithmetic.
        lexicon: Allow only words of the language model; None: yes for a word model, except in `compat="python"`.
        unknown_penalty: Subtracted for a word (or label) the language model does not know, on top of its own
            probability for unknown words.
        score_end: Also score the end of the sentence, ``</s>``.
        hotwords: Words to favour and what each occurrence adds to the score, with a positive beta at most 600; copied.
            Known to the lexicon from then on.
        lookahead: Rank unfinished words by the most probable word they can become, in their context where the model is
            ARPA and the labels are single letters, else on its own. Changes which prefixes are kept, never the score
            of one that is returned.
        recombine: Of prefixes with the same future (language-model state, unfinished word, last label) keep the best
            only.
        pauses: With a closed lexicon, whether delimiters behind a delimiter, or first of all, are part of one pause,
            written once. Without, a word has to stand between any two, which fits networks that write one delimiter
            between words and leaves the others words that were never said. None: yes where the delimiter is no space,
            as in wav2vec2's alphabets, whose pauses are several `|`; not for a space or with `compat`.
        compat: Score as an original did, so that published weights carry over. ``"python"``: P_LM^alpha * (words so
            far)^beta, any word allowed; ``"baidu"``: alpha * log10 P_LM + beta, -1000 for an unknown word.

    Raises:
        OptionError: A value no search can be run with; the message names the option.

    Example:
        >>> options = BeamOptions(alpha=0.8, hotwords={"kronstadt": 4.0})
        >>> options.beam_size, options.alpha, options.beta
        (500, 0.8, 2.0)
    """

    beam_size: int = 500
    alpha: float = None  # type: ignore[assignment]  # a number from __post_init__ on
    beta: float = None  # type: ignore[assignment]
    cutoff_prob: float = 1.0
    cutoff_top_n: int = 40
    n_best: int = 10
    beam_threshold: float = math.inf
    lexicon: bool | None = None
    unknown_penalty: float = 10.0
    score_end: bool = False
    hotwords: Mapping[str, float] = field(default_factory=HotWords)
    lookahead: bool = False
    recombine: bool = False
    pauses: bool | None = None
    compat: Compat | None = None

    def __post_init__(self) -> None:  # noqa: PLR0912
        """Fill in what depends on the mode, and refuse values no search can be run with."""
        if self.compat not in (None, "python", "baidu"):
            raise OptionError(f"compat must be None, 'python' or 'baidu', but is {self.compat!r}.")
        for name, default in zip(("alpha", "beta"), default_weights(self.compat), strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        for name in ("beam_size", "cutoff_top_n", "n_best"):
            object.__setattr__(self, name, _require_count(name, getattr(self, name)))
        for name in ("alpha", "beta", "unknown_penalty"):
            object.__setattr__(self, name, _require_finite(name, getattr(self, name)))
        for name in ("score_end", "lookahead", "recombine"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} must be True or False, but is {getattr(self, name)!r}.")
        for name in ("lexicon", "pauses"):
            if getattr(self, name) is not None and not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} must be True, False or None, but is {getattr(self, name)!r}.")
        for name in ("cutoff_prob", "beam_threshold"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.alpha < 0:
            raise OptionError(f"alpha weighs the language model, so it must not be negative, but is {self.alpha}.")
        if self.unknown_penalty < 0:
            raise OptionError(
                f"unknown_penalty is subtracted, so it must not be negative, but is {self.unknown_penalty}."
            )
        if not 0 < self.cutoff_prob <= 1:
            raise OptionError(f"cutoff_prob must be in (0, 1], but is {self.cutoff_prob}.")
        if not self.beam_threshold > 0:
            raise OptionError(f"beam_threshold must be above 0, but is {self.beam_threshold}.")
        object.__setattr__(self, "hotwords", HotWords(self.hotwords))
        self._check_rewards()

    def _check_rewards(self) -> None:
        of_words = max(self.beta, 0.0) * (math.log(MOST_WORDS) if self.compat == "python" else 1.0)
        word, weight = max(self.hotwords.items(), key=lambda item: item[1], default=("", 0.0))
        total = of_words + max(weight, 0.0)
        if total > LARGEST_REWARD:
            parts = [f"beta ({self.beta:g})"] * (of_words > 0) + [f"hot word {word!r} ({weight:g})"] * (weight > 0)
            counted = " times the logarithm of a million words" if of_words > 0 and self.compat == "python" else ""
            raise OptionError(
                f"{' and '.join(parts)}{counted} would add {total:.6g} to the score of a word, but the search reaches "
                f"{LARGEST_REWARD:g} (natural logarithms) at most; give less."
            )

    @classmethod
    def fast(cls, **changes: Any) -> BeamOptions:
        """The profile for a low word error rate from a small beam, for use with a word model.

        Args:
            **changes: Any options to set besides or instead.

        Returns:
            Options with look-ahead, recombination and a score threshold.
        """
        return cls(**{"beam_size": 100, "lookahead": True, "recombine": True, "beam_threshold": 10.0, **changes})


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(f"{name} must be a number, but is {value!r}.")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _require_finite(name: str, value: object) -> float:
    number = _number(name, value)
    if not math.isfinite(number):
        raise OptionError(f"{name} must be finite, but is {number}.")
    return number


def _require_count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise OptionError(f"{name} must be a whole number, but is {value!r}.")
    if not 1 <= int(value) <= 1_000_000:
        raise OptionError(f"{name} must be 1..1000000, but is {value}.")
    return int(value)
