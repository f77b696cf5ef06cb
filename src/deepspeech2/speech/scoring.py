"""Word and character error rates, with what was substituted, deleted and inserted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from deepspeech2.errors import InputError


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Edits that turn references into hypotheses.

    Attributes:
        substitutions: Units replaced by others.
        deletions: Reference units that are missing.
        insertions: Hypothesis units that are not in the reference.
        reference: Units in the reference.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference unit: 0.05 is 5%. Insertions can take it above 1."""
        return self.errors / self.reference if self.reference else float(self.errors > 0)

    def __add__(self, other: ErrorCount) -> ErrorCount:
        return ErrorCount(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference + other.reference,
        )


def count_word_errors(reference: str, hypothesis: str) -> ErrorCount:
    """Fewest edits between two texts as words separated by white space.

    Example:
        >>> count_word_errors("a small cat", "the cat").rate
        0.6666666666666666
    """
    return _count(reference.split(), hypothesis.split())


def count_character_errors(reference: str, hypothesis: str) -> ErrorCount:
    """Fewest edits between two texts as characters; runs of white space count as one space, none at the ends."""
    return _count(list(" ".join(reference.split())), list(" ".join(hypothesis.split())))


def error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> tuple[ErrorCount, ErrorCount]:
    """Word and character errors summed over a list of utterances.

    Raises:
        InputError: The lists differ in length.
    """
    if len(references) != len(hypotheses):
        raise InputError(f"expected a hypothesis for each reference, found {len(hypotheses)} for {len(references)}")
    words, characters = ErrorCount(), ErrorCount()
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        words += count_word_errors(reference, hypothesis)
        characters += count_character_errors(reference, hypothesis)
    return words, characters


def _count(reference: list[str], hypothesis: list[str]) -> ErrorCount:
    # jiwer refuses empty references, and aligns words: characters are given to it as words.
    if not reference or not hypothesis:
        return ErrorCount(deletions=len(reference), insertions=len(hypothesis), reference=len(reference))
    names = {unit: str(number) for number, unit in enumerate(dict.fromkeys([*reference, *hypothesis]))}
    output = jiwer.process_words(" ".join(names[u] for u in reference), " ".join(names[u] for u in hypothesis))
    return ErrorCount(output.substitutions, output.deletions, output.insertions, len(reference))
