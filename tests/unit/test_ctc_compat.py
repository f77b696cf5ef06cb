"""The two original scorers: what each adds is worked out here by their own formulas."""

import math
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import ArpaOracle
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, Hypothesis, ReferenceDecoder, load_language_model

WORDS = Path(__file__).parents[1] / "data" / "ctc" / "words.arpa"
ALPHABET = Alphabet("aehnst ")
ORACLE = ArpaOracle(WORDS)


def spoken(text: str) -> np.ndarray:
    matrix = np.full((2 * len(text), 8), math.log(1e-7))
    for i, symbol in enumerate(text):
        matrix[2 * i, ALPHABET.column(symbol)] = matrix[2 * i + 1, 7] = math.log(1 - 7e-7)
    return matrix


def decoded(search: type, text: str, **options: object) -> Hypothesis:
    chosen = BeamOptions(beam_size=50, alpha=1.7, beta=0.6, **options)
    return search(ALPHABET, chosen, load_language_model(WORDS)).decode(spoken(text))[0]


def log10s(words: list[str]) -> list[float]:
    return [ORACLE.score(("<s>", *words[:i]), word) for i, word in enumerate(words)]


@pytest.mark.parametrize("search", [ReferenceDecoder, BeamDecoder])
def test_default(search: type) -> None:
    best = decoded(search, "the sea at test")
    expected = [1.7 * math.log(10) * p + 0.6 for p in log10s(["the", "sea", "at", "test"])]
    assert best.text == "the sea at test"
    assert [w.language_model_score for w in best.words] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("search", [ReferenceDecoder, BeamDecoder])
def test_python_multiplies_by_the_word_count_to_the_beta(search: type) -> None:
    best = decoded(search, "the sea at nhh", compat="python")
    # P_LM^alpha * (words so far)^beta at each space; any word is allowed, an unknown one has the model's <unk>.
    probabilities = [10**p for p in log10s(["the", "sea", "at", "nhh"])]
    expected = [math.log(p**1.7 * count**0.6) for count, p in enumerate(probabilities, 1)]
    assert best.text == "the sea at nhh"
    assert [w.language_model_score for w in best.words] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("search", [ReferenceDecoder, BeamDecoder])
def test_baidu_weighs_log10(search: type) -> None:
    best = decoded(search, "the sea at test", compat="baidu")
    expected = [1.7 * p + 0.6 for p in log10s(["the", "sea", "at", "test"])]
    assert best.text == "the sea at test"
    assert [w.language_model_score for w in best.words] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("search", [ReferenceDecoder, BeamDecoder])
def test_baidu_gives_an_unknown_last_word_minus_a_thousand(search: type) -> None:
    # "th" only begins words: with nothing else in the beam it is scored as unknown.
    matrix = np.full((2, 8), -np.inf)
    matrix[0, ALPHABET.column("t")] = matrix[1, ALPHABET.column("h")] = 0.0
    (best,) = search(ALPHABET, BeamOptions(alpha=1.7, beta=0.6, compat="baidu"), load_language_model(WORDS)).decode(
        matrix
    )
    assert best.text == "th"
    assert best.language_model_score == pytest.approx(1.7 * -1000 + 0.6)
