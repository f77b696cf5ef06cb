"""Error counts against a plain edit distance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech2.errors import InputError
from deepspeech2.speech.scoring import ErrorCount, count_character_errors, count_word_errors, error_rates

texts = st.text(alphabet="ab ", max_size=12)


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, left in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(hypothesis, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


@given(texts, texts)
def test_counts_are_the_edit_distance(reference: str, hypothesis: str) -> None:
    for count, split in ((count_word_errors, str.split), (count_character_errors, lambda t: list(" ".join(t.split())))):
        found = count(reference, hypothesis)
        left, right = split(reference), split(hypothesis)
        assert found.errors == edit_distance(left, right)
        assert found.reference == len(left)
        assert len(left) - found.deletions + found.insertions == len(right)


def test_the_breakdown() -> None:
    assert count_word_errors("the cat sat down", "a cat sat right there down") == ErrorCount(1, 0, 2, 4)
    words, characters = error_rates(["ab cd", "e"], ["ab", ""])
    assert (words.rate, characters.rate) == (2 / 3, 4 / 6)
    assert count_word_errors("", "x").rate == 1.0
    assert count_word_errors("", "").rate == 0.0
    with pytest.raises(InputError, match="found 0 for 1"):
        error_rates(["a"], [])
