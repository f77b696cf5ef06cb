"""Look-ahead: what an unfinished word is ranked by."""

import math
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import ArpaOracle, random_posteriors, write_arpa
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, ReferenceDecoder
from deepspeech2.ctc.ngram_model import NgramModel
from deepspeech2.errors import PosteriorsError

WORDS = ["a", "b", "ab", "ba", "bab", "abba"]
RARE = """\\data\\
ngram 1=6
ngram 2=1

\\1-grams:
-9\t<s>\t0
-1\t</s>
-3\t<unk>
-0.5\tc\t0
-0.3\tbe
-4\tba

\\2-grams:
-0.1\tc ba

\\end\\
"""


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_what_is_listed_behind_a_context(tmp_path: Path, order: int) -> None:
    path = write_arpa(tmp_path / "lm.arpa", WORDS, order, np.random.default_rng(order))
    model, oracle = NgramModel(path, cache=False), ArpaOracle(path)
    rng = np.random.default_rng(0)
    for _ in range(200):
        said = [str(word) for word in rng.choice(WORDS, size=int(rng.integers(0, 5)))]
        state = model.begin()
        for word in said:
            _, state = model.score(state, word)
        history = ("<s>", *said)[-(order - 1) :] if order > 1 else ()
        backoff, listed, word = 0.0, -math.inf, str(rng.choice(WORDS))
        for start in range(len(history)):
            context = history[start:]
            if (*context, word) in oracle.log10:
                listed = max(listed, backoff + oracle.log10[*context, word])
            backoff += oracle.backoff.get(context, 0.0)
        assert model.listed(state, word) == pytest.approx((listed, backoff), abs=1e-5)


@pytest.mark.parametrize("search", [BeamDecoder, ReferenceDecoder])
def test_a_word_its_context_calls_for_survives_a_narrow_beam(tmp_path: Path, search: type) -> None:
    # Alone "be" is far more probable than "ba", and it sounds a little more like it; but behind "c" it is "ba".
    path = tmp_path / "lm.arpa"
    path.write_text(RARE)
    alphabet = Alphabet("abce ")
    path_of = {"c": 2, " ": 4, "b": 1}
    log_probs = np.full((6, 6), math.log(1e-6))
    for frame, letter in enumerate("c b"):
        log_probs[frame, path_of[letter]] = math.log(1 - 5e-6)
    log_probs[3, [0, 3]] = math.log(0.4), math.log(0.6 - 4e-6)
    log_probs[4:, 5] = math.log(1 - 5e-6)
    options = BeamOptions(beam_size=1, alpha=2.0, beta=0.0)
    model = NgramModel(path, cache=False)
    assert search(alphabet, options, model).decode(log_probs)[0].text == "c be"
    options = BeamOptions(beam_size=1, alpha=2.0, beta=0.0, lookahead=True)
    assert search(alphabet, options, model).decode(log_probs)[0].text == "c ba"


def test_it_changes_no_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for case in range(30):
        path = write_arpa(tmp_path / "lm.arpa", WORDS, 1 + case % 4, rng)
        model, alphabet = NgramModel(path, cache=False), Alphabet("ab ")
        log_probs = random_posteriors(rng, 7, 4, 2.0)
        options = {"beam_size": 5000, "n_best": 5000, "alpha": 0.7, "beta": 0.4, "score_end": True}
        plain = BeamDecoder(alphabet, BeamOptions(**options), model).decode(log_probs)
        ahead = BeamDecoder(alphabet, BeamOptions(**options, lookahead=True), model).decode(log_probs)
        assert {h.text for h in ahead} == {h.text for h in plain}
        for ours, theirs in zip(sorted(ahead, key=str), sorted(plain, key=str), strict=True):
            assert ours.score == pytest.approx(theirs.score, abs=1e-9)
            assert ours.acoustic_score == pytest.approx(theirs.acoustic_score, abs=1e-9)


def test_a_word_that_keeps_far_more_than_its_letters_promised_is_refused(tmp_path: Path) -> None:
    # Pieces are ranked without context: 10^-3 of the best word at "abb", of which the context then is sure.
    path = tmp_path / "sure.arpa"
    path.write_text(
        "\\data\\\nngram 1=6\nngram 2=1\n\n\\1-grams:\n-99\t<s>\t0\n-1\t</s>\n-2\t<unk>\n-1\ta\n-2.5\tab\n-4\tabb\n\n"
        "\\2-grams:\n0\t<s> abb\n\n\\end\\\n"
    )
    alphabet = Alphabet(["a", "b", " ", "bb"])
    certain = np.full((5, 5), -np.inf)
    certain[range(5), [0, 1, 4, 1, 2]] = 0.0  # a, b, blank, b, space
    model = NgramModel(path, cache=False)
    for alpha, refused in ((80.0, False), (100.0, True)):  # 3 ln 10 alpha: 553, 691
        decoder = BeamDecoder(alphabet, BeamOptions(alpha=alpha, beta=0.0, lookahead=True), model)
        if refused:
            with pytest.raises(PosteriorsError, match=r"At row 4 .* e\^600 .*lower alpha"):
                decoder.decode(certain)
        else:
            found = decoder.decode(certain)[0]
            assert (found.text, found.score) == ("abb ", pytest.approx(0.0, abs=1e-9))
