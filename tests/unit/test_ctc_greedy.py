"""Best-path decoding with frames and scores."""

import numpy as np
import pytest

from deepspeech2.ctc import Alphabet, Character, GreedyDecoder


def one_hot(path: str, columns: str, probability: float = 0.9) -> np.ndarray:
    rest = (1 - probability) / (len(columns) - 1)
    return np.log([[probability if c == symbol else rest for c in columns] for symbol in path])


def test_frames_of_characters_and_words() -> None:
    hypothesis = GreedyDecoder(Alphabet("ab ")).decode(one_hot("__aa_ab  bb_", "ab _"))
    assert hypothesis.text == "aab b"
    assert hypothesis.characters == (
        Character("a", 2, 4),
        Character("a", 5, 6),
        Character("b", 6, 7),
        Character(" ", 7, 9),
        Character("b", 9, 11),
    )
    assert [(word.text, word.start, word.end) for word in hypothesis.words] == [("aab", 2, 7), ("b", 9, 11)]


def test_a_last_label_ends_with_the_last_frame() -> None:
    hypothesis = GreedyDecoder(Alphabet("ab ")).decode(one_hot("_abb", "ab _"))
    assert hypothesis.characters == (Character("a", 1, 2), Character("b", 2, 4))
    assert [(word.start, word.end) for word in hypothesis.words] == [(1, 4)]


def test_the_score_is_that_of_the_best_path_and_words_share_it() -> None:
    hypothesis = GreedyDecoder(Alphabet("ab ")).decode(one_hot("a_ b", "ab _"))
    assert hypothesis.score == hypothesis.acoustic_score == pytest.approx(4 * np.log(0.9))
    assert sum(word.acoustic_score for word in hypothesis.words) == pytest.approx(hypothesis.score)


def test_nothing_but_blanks_is_the_empty_text() -> None:
    hypothesis = GreedyDecoder(Alphabet("ab ")).decode(one_hot("___", "ab _"))
    assert (hypothesis.text, hypothesis.words, hypothesis.characters) == ("", (), ())


def test_the_blank_may_be_any_column() -> None:
    assert GreedyDecoder(Alphabet("ab", blank=0)).decode(one_hot("_ab_b", "_ab")).text == "abb"
