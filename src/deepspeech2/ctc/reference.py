"""The prefix beam search in readable form: the definition of right for the native one.

Hannun, Maas, Jurafsky, Ng: First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent
DNNs, arXiv:1408.2873, in the log domain, with the probability of all alignments of a prefix added up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepspeech2.ctc.alphabet import Alphabet
from deepspeech2.ctc.hypothesis import DecodeTally, Hypotheses, Hypothesis
from deepspeech2.ctc.language_model import LanguageModel
from deepspeech2.ctc.options import BeamOptions
from deepspeech2.ctc.posteriors import as_matrix, check_rows, refuse_dead_end
from deepspeech2.ctc.scoring import PrefixScore, make_scorer
from deepspeech2.ctc.transcript import Boundary, Transcript

Prefix = tuple[int, ...]
MAX_THRESHOLD = 600.0  # the native arithmetic reaches no further, so neither does the definition
CUTOFF_SLACK = 1e-9  # so that rounding does not decide whether a sum has reached cutoff_prob


def log_add(a: float, b: float) -> float:
    """ln(exp(a) + exp(b))."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


@dataclass(frozen=True, slots=True)
class Trail:
    """One label on the way to a prefix: when it was entered, and when the label before it was left."""

    before: Trail | None
    column: int
    start: int
    end_before: int
    acoustic: float
    language: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A prefix in the beam.

    Attributes:
        blank: ln of the probability of its alignments that end in the blank.
        label: The same for those that end in its last label.
        language: What the language model has added.
        trail: When its labels were entered.
        end: One past the last frame in which it was more probably in its last label than in the blank.
    """

    blank: float
    label: float
    language: PrefixScore
    trail: Trail | None = None
    end: int = 0

    @property
    def acoustic(self) -> float:
        """Ln of the probability of all alignments."""
        return log_add(self.blank, self.label)

    @property
    def rank(self) -> float:
        """What the beam is sorted by."""
        return self.acoustic + self.language.rank


class ReferenceDecoder:
    """Prefix beam search, readable and slow; same options, hypotheses and scores as `BeamDecoder`.

    Each frame, every prefix of the beam stays (by the blank, or by repeating its last label) and is extended by every
    symbol the cut-offs leave; alignments that meet in a prefix are added up; the best `beam_size` prefixes remain. A
    frame whose cut-offs leave no prefix is done once more without them; the tally counts both.
    Which of equals at the edge of the beam stay is not defined. An extension by less than e^-600 of its prefix is
    out of the native arithmetic's range and so left out here too. The tally leaves `lookups` at 0.
    """

    def __init__(
        self, alphabet: Alphabet, options: BeamOptions | None = None, language_model: LanguageModel | None = None
    ) -> None:
        """Prepare for posteriors of `alphabet`; see `BeamDecoder`."""
        self.alphabet = alphabet
        self.options = options or BeamOptions()
        self.language_model = language_model
        self._scorer = make_scorer(alphabet, self.options, language_model)

    def decode(self, log_probs: Any) -> Hypotheses:
        """Decode one utterance; see `BeamDecoder.decode`."""
        matrix = as_matrix(log_probs, self.alphabet.columns)
        check_rows(matrix)
        beam: dict[Prefix, Entry] = {(): Entry(0.0, -math.inf, self._scorer.start())}
        counts = {"candidates": 0, "merges": 0, "created": 0}
        for frame, row in enumerate(matrix.astype(np.float64)):
            beam = self._step(beam, frame, row, counts)
        return Hypotheses(self._finish(beam), DecodeTally(frames=len(matrix), **counts))

    def _step(self, beam: dict[Prefix, Entry], frame: int, row: Any, counts: dict[str, int]) -> dict[Prefix, Entry]:
        after = self._extend(beam, frame, row, self._symbols(row), counts)
        if not _alive(after):  # what the cut-offs kept, the lexicon forbids: once more with every symbol
            after = self._extend(beam, frame, row, _by_probability(row), counts)
        if not _alive(after):
            refuse_dead_end(frame)
        kept = self._keep(after)
        counts["created"] += len(kept.keys() - beam.keys())
        return {prefix: replace(e, end=frame + 1) if e.label >= e.blank else e for prefix, e in kept.items()}

    def _extend(
        self, beam: dict[Prefix, Entry], frame: int, row: Any, kept_symbols: list[int], counts: dict[str, int]
    ) -> dict[Prefix, Entry]:
        """Every prefix that stays or comes of one, the beam's own first."""
        probability = dict.fromkeys(range(len(row)), -math.inf) | {
            column: float(row[column]) for column in kept_symbols
        }
        after: dict[Prefix, Entry] = {}
        for prefix, entry in beam.items():
            repeated = entry.label + probability[prefix[-1]] if prefix else -math.inf
            if (pause := self._scorer.pause(entry.language)) is not None:
                repeated = entry.acoustic + probability[pause]
            after[prefix] = replace(entry, blank=entry.acoustic + probability[self.alphabet.blank], label=repeated)
        for column in kept_symbols:
            if column == self.alphabet.blank or column in self.alphabet.silent_columns:
                continue
            for prefix, entry in beam.items():
                counts["candidates"] += 1
                extended = (*prefix, column)
                mass = probability[column] + (entry.blank if prefix[-1:] == (column,) else entry.acoustic)
                if mass == -math.inf:
                    continue
                if extended in after:
                    counts["merges"] += 1
                    after[extended] = _enter(after[extended], entry, column, frame, mass)
                elif (language := self._extended(entry.language, column)) is not None:
                    after[extended] = _enter(Entry(-math.inf, -math.inf, language), entry, column, frame, mass)
        return after

    def _extended(self, prefix: PrefixScore, column: int) -> PrefixScore | None:
        extended = self._scorer.extend(prefix, column)
        return None if extended is None or extended.rank - prefix.rank < -MAX_THRESHOLD else extended

    def _symbols(self, row: Any) -> list[int]:
        """The columns the cut-offs leave, by descending probability, equal ones by column."""
        total = 0.0
        kept = []
        for column in _by_probability(row)[: self.options.cutoff_top_n]:
            kept.append(column)
            total += math.exp(row[column])
            if self.options.cutoff_prob < 1 and total >= self.options.cutoff_prob - CUTOFF_SLACK:
                break
        return kept

    def _keep(self, candidates: dict[Prefix, Entry]) -> dict[Prefix, Entry]:
        ranks = {prefix: entry.rank for prefix, entry in candidates.items()}
        floor = max(ranks.values()) - min(self.options.beam_threshold, MAX_THRESHOLD)
        if self.options.recombine and self.language_model is not None:
            ranks = self._recombined(ranks, candidates)
        # sorted is stable and the dictionary is in order of creation, so ties go to the older prefix.
        best = sorted((p for p in ranks if ranks[p] >= floor), key=lambda p: -ranks[p])[: self.options.beam_size]
        chosen = set(best)
        return {prefix: entry for prefix, entry in candidates.items() if prefix in chosen}

    def _recombined(self, ranks: dict[Prefix, float], candidates: dict[Prefix, Entry]) -> dict[Prefix, float]:
        """Only the best of those with the same future."""
        holders: dict[object, Prefix] = {}
        for prefix, rank in ranks.items():
            future = self._scorer.future(candidates[prefix].language), prefix[-1:]
            if future not in holders or rank > ranks[holders[future]]:
                holders[future] = prefix
        kept = set(holders.values())
        return {prefix: rank for prefix, rank in ranks.items() if prefix in kept}

    def _finish(self, beam: dict[Prefix, Entry]) -> Iterator[Hypothesis]:
        ended = [(prefix, entry, *self._scorer.finish(entry.language)) for prefix, entry in beam.items()]
        # Fragments of words are no hypotheses, unless there is nothing else.
        if any(whole for _, _, _, whole in ended):
            ended = [item for item in ended if item[3]]
        ended.sort(key=lambda item: -(item[1].acoustic + item[2].total))
        for _, entry, language, _ in ended[: self.options.n_best]:
            yield self._hypothesis(entry, language)

    def _hypothesis(self, entry: Entry, language: PrefixScore) -> Hypothesis:
        boundaries: list[Boundary] = []
        trail, end = entry.trail, entry.end
        while trail is not None:
            boundaries.append(Boundary(trail.column, trail.start, end, trail.acoustic, trail.language))
            end, trail = trail.end_before, trail.before
        transcript = Transcript(self.alphabet, tuple(reversed(boundaries)), entry.acoustic, language.total)
        score = entry.acoustic + language.total
        return Hypothesis(transcript.text, score, entry.acoustic, language.total, transcript)


def _by_probability(row: Any) -> list[int]:
    """All columns, the most probable first, equal ones by column."""
    return sorted(range(len(row)), key=lambda column: (-row[column], column))


def _alive(candidates: dict[Prefix, Entry]) -> bool:
    return any(entry.rank > -math.inf for entry in candidates.values())


def _enter(target: Entry, source: Entry, column: int, frame: int, mass: float) -> Entry:
    """Add the alignments that reach `target` from `source`; if they outweigh those there, it begins with them."""
    trail = target.trail
    if mass > target.acoustic:
        trail = Trail(source.trail, column, frame, source.end, mass, target.language.total)
    return replace(target, label=log_add(target.label, mass), trail=trail)
