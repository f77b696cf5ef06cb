"""What a language model and hot words add to a prefix, label by label: the definition both searches follow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property

from deepspeech2.ctc.alphabet import Alphabet
from deepspeech2.ctc.language_model import DELIMITER_NAMES, LanguageModel, first_of_no_label, unit_of
from deepspeech2.ctc.options import BeamOptions
from deepspeech2.errors import OptionError

LN10 = math.log(10.0)
BAIDU_UNKNOWN = -1000.0  # log10, what Baidu's scorer gives a word it does not know


@dataclass(frozen=True, slots=True)
class PrefixScore:
    """What a prefix carries for the language model.

    Attributes:
        total: Everything added so far (natural log).
        state: The language model's state after the last finished word.
        partial: The letters since.
        words: Words so far as the original Python counts them: delimiters inside, plus one.
        lookahead: What ranks the unfinished word until it is finished; not part of `total`.
    """

    total: float = 0.0
    state: Hashable = None
    partial: str = ""
    words: int = 0
    lookahead: float = 0.0

    @property
    def rank(self) -> float:
        """What counts for the prefix's place in the beam."""
        return self.total + self.lookahead


class Scorer:
    """Scores prefixes; without a model and hot words it adds nothing."""

    def start(self) -> PrefixScore:
        """The empty prefix."""
        return PrefixScore()

    def extend(self, prefix: PrefixScore, column: int) -> PrefixScore | None:
        """The prefix with one more label, or None where the lexicon forbids it."""
        del column
        return prefix

    def pause(self, prefix: PrefixScore) -> int | None:
        """The column that leaves the prefix as it is, whatever came before: the delimiter where a pause goes on."""
        del prefix
        return None

    def future(self, prefix: PrefixScore) -> object:
        """Equal for prefixes that any continuation scores alike."""
        return prefix.state

    def finish(self, prefix: PrefixScore) -> tuple[PrefixScore, bool]:
        """The prefix at the end of the audio, and whether its last word is a whole one."""
        return prefix, True


class LabelScorer(Scorer):
    """A model whose words are the labels; every label is scored."""

    def __init__(self, alphabet: Alphabet, options: BeamOptions, model: LanguageModel) -> None:
        """Look the labels up in the model."""
        self._options = options
        self._model = model
        self.names = [_name_in_model(label, alphabet, model) for label in alphabet.labels]
        self.names.insert(alphabet.blank, "")

    def start(self) -> PrefixScore:
        """The state after ``<s>``."""
        return PrefixScore(state=self._model.begin())

    def extend(self, prefix: PrefixScore, column: int) -> PrefixScore | None:
        """Score one label."""
        name = self.names[column]
        log10, state = self._model.score(prefix.state, name)
        added = weigh(self._options, log10, prefix.words + 1, known=name in self._model)
        return PrefixScore(prefix.total + added, state, words=prefix.words + 1)

    def finish(self, prefix: PrefixScore) -> tuple[PrefixScore, bool]:
        """Score ``</s>`` if asked."""
        return _with_end(prefix, self._options, self._model), True


class WordScorer(Scorer):
    """A model of words, or hot words alone; a word is scored at the delimiter after it, or at the end."""

    def __init__(self, alphabet: Alphabet, options: BeamOptions, model: LanguageModel | None) -> None:
        """Build the set of allowed beginnings of words."""
        self._options = options
        self._model = model
        self._spelling = alphabet.spelling
        self._delimiter = alphabet.delimiter_column
        closed = options.compat != "python" if options.lexicon is None else options.lexicon
        self.closed = model is not None and closed
        pauses = alphabet.delimiter != " " and not options.compat if options.pauses is None else options.pauses
        self.pauses = self.closed and pauses
        letters = set("".join(alphabet.spelling))
        self._pieces = {*alphabet.labels} - {alphabet.delimiter, *alphabet.silent}
        self._single = all(len(piece) == 1 for piece in self._pieces)
        for word in options.hotwords:
            if not self._can_spell(word):
                missing = ", ".join(map(repr, sorted(set(word) - letters)))
                reason = f"has no label for {missing}" if missing else "cannot put it together"
                raise OptionError(
                    f"Hot word {word!r} can never be found: the alphabet of {len(alphabet.labels)} labels {reason}."
                )
        # A word the labels cannot spell has no beginnings either.
        self._known = set() if model is None else self._spelled(model, letters)
        self._known.update(options.hotwords)

    def _spelled(self, model: LanguageModel, letters: set[str]) -> set[str]:
        """The words of a model that labels can spell; says so where they are few, and refuses a model without."""
        words = model.words()
        spelled = {word for word in words if self._can_spell(word)}
        if 2 * len(spelled) >= len(words):
            return spelled
        sample = next(word for word in words if word not in spelled)
        other_case = any(letters.issuperset(changed) for changed in (sample.lower(), sample.upper()))
        hint = " but would in the other case: write both alike" if other_case else ""
        if not spelled:
            raise OptionError(
                f"{model.path}: none of the {len(words)} words of this language model can be spelled with the "
                f"{len(self._pieces)} labels; {sample!r} cannot{hint or ': it needs a model of the same letters'}."
            )
        warnings.warn(
            f"{model.path}: {len(words) - len(spelled)} of the {len(words)} words of this language model cannot be "
            f"spelled with the labels and are left out, such as {sample!r}, which cannot{hint}.",
            stacklevel=4,
        )
        return spelled

    def _can_spell(self, text: str) -> bool:
        """Whether labels put one after the other give this text."""
        if self._single:
            return self._pieces.issuperset(text)
        longest = max(map(len, self._pieces))
        reached = [True] + [False] * len(text)
        for end in range(1, len(text) + 1):
            reached[end] = any(
                reached[start] and text[start:end] in self._pieces for start in range(max(0, end - longest), end)
            )
        return reached[-1]

    @cached_property
    def _lookahead(self) -> dict[str, float]:
        """For each beginning of a word, the score of the most probable word it can become, context aside.

        Relative to the most probable word of all, which is what the beginning of a word can become.
        """
        lookahead: dict[str, float] = {}
        any_word = max(map(self._unigram, self._known), default=0.0)
        for word in self._known:
            best = self._unigram(word) - any_word
            for length in range(1, len(word) + 1):
                beginning = word[:length]
                # From some beginnings of pieces no label leads on to the word.
                value = best if self._single or self._can_spell(word[length:]) else -math.inf
                lookahead[beginning] = max(value, lookahead.get(beginning, -math.inf))
        return lookahead

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """The words each beginning can become."""
        below: dict[str, list[str]] = {}
        for word in self._known:
            for length in range(len(word) + 1):
                below.setdefault(word[:length], []).append(word)
        return below

    def _ahead(self, state: Hashable, partial: str) -> float:
        """What ranks an unfinished word: the most probable word it can become, after `state` where the model can tell.

        A model can that tells which words it lists behind a context (`NgramModel.listed`); pieces of several letters
        go without.
        """
        if not self._options.lookahead or self._model is None:
            return 0.0
        alone = self._lookahead[partial] if partial else 0.0
        listed: Callable[[Hashable, str], tuple[float, float]] | None = getattr(self._model, "listed", None)
        if listed is None or not self._single:
            return alone
        any_word = max(map(self._unigram, self._known), default=0.0)
        scale = self._options.alpha * (1.0 if self._options.compat == "baidu" else LN10)
        _, backoff = listed(state, "<unk>")
        known = [word for word in self._below.get(partial, ()) if word in self._model]
        best = max((listed(state, word)[0] for word in known), default=-math.inf)
        return max(alone + scale * backoff, (scale * best if best > -math.inf else best) - any_word)

    def vocabulary(self) -> list[str]:
        """The words that beginnings lead to, sorted."""
        return sorted(self._known)

    def start(self) -> PrefixScore:
        """The state after ``<s>``."""
        state = None if self._model is None else self._model.begin()
        return PrefixScore(state=state, lookahead=self._ahead(state, ""))

    def extend(self, prefix: PrefixScore, column: int) -> PrefixScore | None:
        """Add a letter, or score the word that a delimiter ends."""
        if column == self._delimiter:
            if prefix.partial:
                if self.closed and prefix.partial not in self._known:
                    return None
                return self._finish_word(prefix)
            # A delimiter that ends no word: nothing to score; a closed lexicon has no empty word, but may `pause`.
            counted = replace(prefix, words=prefix.words + (prefix.words > 0))
            return None if self.closed else counted
        partial = prefix.partial + self._spelling[column]
        if self.closed and partial not in self._lookahead:
            return None
        ahead = self._ahead(prefix.state, partial)
        return replace(prefix, partial=partial, words=max(prefix.words, 1), lookahead=ahead)

    def pause(self, prefix: PrefixScore) -> int | None:
        """Where no word is unfinished, if the options have a place for pauses: a closed lexicon has no empty word."""
        return self._delimiter if self.pauses and not prefix.partial else None

    def future(self, prefix: PrefixScore) -> object:
        """The state and the unfinished word; beginnings of no word of the list are never alike."""
        outside = prefix.partial and prefix.partial not in self._lookahead
        return object() if outside else (prefix.state, prefix.partial)

    def finish(self, prefix: PrefixScore) -> tuple[PrefixScore, bool]:
        """Score an unfinished last word, and ``</s>`` if asked."""
        whole = True
        if prefix.partial:
            whole = not self.closed or prefix.partial in self._known
            prefix = self._finish_word(prefix)
        return _with_end(prefix, self._options, self._model), whole

    def _finish_word(self, prefix: PrefixScore) -> PrefixScore:
        word = prefix.partial
        added = self._options.hotwords.get(word, 0.0)
        state: Hashable = None
        if self._model is not None:
            log10, state = self._model.score(prefix.state, word)
            added += weigh(self._options, log10, prefix.words, known=word in self._model)
        return PrefixScore(prefix.total + added, state, "", prefix.words + 1, self._ahead(state, ""))

    def _unigram(self, word: str) -> float:
        if self._model is None:
            return 0.0
        log10, _ = self._model.score(self._model.null(), word)
        return self._options.hotwords.get(word, 0.0) + weigh(
            replace(self._options, beta=0.0), log10, 1, known=word in self._model
        )


def make_scorer(alphabet: Alphabet, options: BeamOptions, model: LanguageModel | None) -> Scorer:
    """Choose the scorer.

    Args:
        alphabet: The labels.
        options: Weights, mode and hot words.
        model: The language model or None.

    Returns:
        The scorer.

    Raises:
        OptionError: Words are to be scored, but the alphabet has nothing that separates them, or cannot spell one word
            of the model (where it cannot spell most, a warning says so); or look-ahead is asked of an open vocabulary.
    """
    if model is not None and unit_of(model, alphabet.labels, alphabet.delimiter) == "label":
        if options.hotwords:
            raise OptionError(f"{model.path}: hot words need a model of words, but the words of this one are labels.")
        return LabelScorer(alphabet, options, model)
    if model is None and not options.hotwords:
        return Scorer()
    if alphabet.delimiter is None:
        word = None if model is None else first_of_no_label(model, alphabet.labels)
        of_words = "" if word is None else f" ({word!r}, which is no label, makes {model.path} one of words)"  # type: ignore[union-attr]
        raise OptionError(
            f"A model of words and hot words need a label between words, but none of the {len(alphabet.labels)} labels "
            f"is the delimiter{of_words}; name it with Alphabet(labels, delimiter=...) or use a model over the labels."
        )
    scorer = WordScorer(alphabet, options, model)
    if options.lookahead and model is not None and not scorer.closed:
        raise OptionError("lookahead needs a closed vocabulary: leave lexicon on, or switch lookahead off.")
    return scorer


def weigh(options: BeamOptions, log10: float, words: int, *, known: bool) -> float:
    """What one scored word adds.

    Args:
        options: Weights and mode.
        log10: The model's log10 probability of the word.
        words: Words so far, this one included.
        known: Whether the model knows it.

    Returns:
        Natural-log score, beta included.
    """
    if options.compat == "python":
        return options.alpha * LN10 * log10 + options.beta * math.log(words)
    if options.compat == "baidu":
        return options.alpha * (log10 if known else BAIDU_UNKNOWN) + options.beta
    return options.alpha * LN10 * log10 + options.beta - (0.0 if known else options.unknown_penalty)


def _with_end(prefix: PrefixScore, options: BeamOptions, model: LanguageModel | None) -> PrefixScore:
    if not options.score_end or model is None:
        return prefix
    log10, state = model.score(prefix.state, "</s>")
    scale = 1.0 if options.compat == "baidu" else LN10
    return replace(prefix, total=prefix.total + options.alpha * scale * log10, state=state)


def _name_in_model(label: str, alphabet: Alphabet, model: LanguageModel) -> str:
    names = (label, *DELIMITER_NAMES) if label == alphabet.delimiter else (label,)
    return next((name for name in names if name in model), label)
