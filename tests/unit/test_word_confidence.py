"""The confidence of words, worked out again from the best path and from single numbers."""

from __future__ import annotations

import math
from itertools import groupby
from statistics import geometric_mean, mean

import numpy as np
import pytest

from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, GreedyDecoder, ReferenceDecoder, word_confidences
from deepspeech2.errors import PosteriorsError
from tests.ctc_cases import random_posteriors

LABELS = "ab "
BLANK = 3
BEAM = BeamOptions(beam_size=16, n_best=1)


def path(*runs: tuple[int, int, float], seed: int = 0) -> np.ndarray:
    """Log-probabilities: for each (column, frames, probability) so many frames; the rest is shared out at random."""
    rng, rows = np.random.default_rng(seed), []
    for column, frames, probability in runs:
        for _ in range(frames):
            row = rng.dirichlet(np.ones(4))
            row[column] = 0.0
            row *= (1 - probability) / row.sum()
            row[column] = probability
            rows.append(row)
    return np.log(rows)


def decoders() -> list[GreedyDecoder | BeamDecoder | ReferenceDecoder]:
    return [
        GreedyDecoder(Alphabet(LABELS)),
        BeamDecoder(Alphabet(LABELS), BEAM),
        ReferenceDecoder(Alphabet(LABELS), BEAM),
    ]


def decode(decoder, matrix):
    found = decoder.decode(matrix)
    return found[0] if isinstance(found, list) else found


@pytest.mark.parametrize("silence", [0, 100, 600])
@pytest.mark.parametrize("decoder", decoders(), ids=lambda decoder: type(decoder).__name__)
def test_silence_changes_nothing(decoder, silence: int) -> None:
    """Letters far from certain; two frames of the second letter count as one letter, by their mean."""
    quiet = [(BLANK, silence, 0.9999)]
    word = [(0, 1, 0.9), (BLANK, 1, 0.99), (1, 1, 0.8), (1, 1, 0.6)]
    matrix = path(*quiet, *word, *quiet, (2, 1, 0.97), (0, 1, 0.7), *quiet)
    hypothesis = decode(decoder, matrix)
    assert hypothesis.text == "ab a"
    assert word_confidences(hypothesis, matrix) == pytest.approx((math.sqrt(0.9 * 0.7), 0.7))
    words = hypothesis.words
    assert [(word.start, word.end) for word in words] == [
        (silence, silence + 4), (2 * silence + 5, 2 * silence + 6)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_on_random_posteriors_it_follows_from_the_best_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [random_posteriors(rng, int(rng.integers(1, 12)), 4, 2.0)]
    for _ in range(3):
        pieces += [path((BLANK, int(rng.integers(0, 150)), 0.95), seed=seed)] if rng.random() < 0.7 else []
        pieces.append(random_posteriors(rng, int(rng.integers(1, 12)), 4, 2.0))
    matrix = np.concatenate([piece for piece in pieces if len(piece)])
    words: list[list[float]] = [[]]
    for column, run in groupby(range(len(matrix)), key=lambda frame: int(matrix[frame].argmax())):
        probability = mean(math.exp(matrix[frame, column]) for frame in run)
        if column == LABELS.index(" "):
            words.append([])
        elif column != BLANK:
            words[-1].append(probability)
    expected = [geometric_mean(word) for word in words if word]
    hypothesis = GreedyDecoder(Alphabet(LABELS)).decode(matrix)
    assert word_confidences(hypothesis, matrix) == pytest.approx(expected)
    assert len(hypothesis.words) == len(expected)
    native, readable = (decode(decoder, matrix) for decoder in decoders()[1:])
    assert word_confidences(native, matrix) == pytest.approx(word_confidences(readable, matrix))
    for word, found in zip(native.words, word_confidences(native, matrix), strict=True):
        inside = [c for c in native.characters if word.start <= c.start < word.end and c.text != " "]
        chances = [
            mean(math.exp(matrix[frame, LABELS.index(c.text)]) for frame in range(c.start, c.end)) for c in inside
        ]
        assert found == pytest.approx(geometric_mean(chances))


def test_a_word_brought_in_against_the_audio_scores_low() -> None:
    matrix = path((0, 1, 0.9), (BLANK, 1, 0.9), (1, 1, 0.9), seed=1)
    matrix[2] = np.log([0.02, 0.9, 0.05, 0.03])
    decoder = BeamDecoder(Alphabet(LABELS), BeamOptions(beam_size=64, hotwords={"aa": 12.0}))
    hypothesis = decoder.decode(matrix)[0]
    assert hypothesis.text == "aa"
    assert word_confidences(hypothesis, matrix) == pytest.approx((math.sqrt(0.9 * 0.02),))


def test_pieces_that_begin_words_count_as_labels() -> None:
    alphabet = Alphabet(["▁a", "b", "▁"])
    matrix = path((0, 2, 0.9), (1, 1, 0.5), (BLANK, 3, 0.9), (0, 1, 0.8))
    hypothesis = GreedyDecoder(alphabet).decode(matrix)
    assert [word.text for word in hypothesis.words] == ["ab", "a"]
    assert word_confidences(hypothesis, matrix) == pytest.approx((math.sqrt(0.9 * 0.5), 0.8))


def test_nothing_said_has_no_confidence_and_other_posteriors_are_refused() -> None:
    decoder = GreedyDecoder(Alphabet(LABELS))
    silence, speech = path((BLANK, 5, 0.9)), path((BLANK, 5, 0.9), (0, 1, 0.9))
    assert word_confidences(decoder.decode(silence), silence) == ()
    with pytest.raises(PosteriorsError, match="at least 6 frames, but found 5"):
        word_confidences(decoder.decode(speech), silence)
    with pytest.raises(PosteriorsError, match="must have 4 columns"):
        word_confidences(decoder.decode(speech), speech[:, :3])


def test_rounding_makes_no_word_more_than_certain() -> None:
    matrix = path((0, 1, 1 - 1e-9), (BLANK, 1, 0.9)) + 1e-5  # as far from a distribution as float32 may be
    assert math.exp(matrix[0, 0]) > 1
    assert word_confidences(decode(decoders()[0], matrix), matrix) == (1.0,)
