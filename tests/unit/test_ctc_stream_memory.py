"""A stream over a model in Python: what no prefix leads to any more is forgotten, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from ctc_cases import random_posteriors
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, native
from deepspeech2.ctc.kenlm_model import KenlmModel
from deepspeech2.ctc.ngram_model import NgramModel

LETTERS = "abcdefgh"
WORDS = [first + second for first in LETTERS for second in LETTERS]


def all_pairs(path: Path) -> Path:
    """A 3-gram model in which every pair of words is a context of its own."""
    rng = np.random.default_rng(0)
    pairs = [f"{first} {second}" for first in WORDS for second in WORDS]
    lines = [
        "\\data\\",
        f"ngram 1={len(WORDS) + 3}",
        f"ngram 2={len(pairs)}",
        f"ngram 3={len(pairs)}",
        "",
        "\\1-grams:",
    ]
    lines += ["-2\t<s>\t-0.1", "-2\t</s>", "-3\t<unk>"]
    lines += [f"{-2 - rng.random():.4f}\t{word}\t-0.2" for word in WORDS]
    lines += ["", "\\2-grams:", *(f"{-1 - rng.random():.4f}\t{pair}\t-0.3" for pair in pairs)]
    lines += ["", "\\3-grams:", *(f"{-rng.random():.4f}\t{pair} {WORDS[i % 64]}" for i, pair in enumerate(pairs))]
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return path


def test_states_of_kenlm_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kenlm")
    path = all_pairs(tmp_path / "lm.arpa")
    model, alphabet = KenlmModel(path), Alphabet(LETTERS + " ")
    model.__dict__["_words"] = tuple(WORDS)  # KenLM tells the words of its own binaries only
    sessions = []

    class Watched(native.LanguageSession):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            sessions.append(self)

    monkeypatch.setattr(native, "LanguageSession", Watched)
    options = BeamOptions(beam_size=40, alpha=0.5, beta=1.0)
    ours, theirs = BeamDecoder(alphabet, options, model), BeamDecoder(alphabet, options, NgramModel(path, cache=False))
    stream = ours.stream()
    log_probs = random_posteriors(np.random.default_rng(1), 24000, alphabet.columns, 2.5)
    held, bytes_held, numbered = [], [], 0
    for start in range(0, len(log_probs), 400):
        stream.push(log_probs[start : start + 400])
        (session,) = sessions
        held.append(len(session._states))
        bytes_held.append(stream._core.memory())
        numbered = session._next
    assert numbered > 4 * max(held)  # far more were met than are ever held
    assert max(held[30:]) <= 1.5 * max(held[:30])
    whole = theirs.decode(log_probs)
    found = stream.finish()
    assert [h.text for h in found] == [h.text for h in whole]
    assert [h.score for h in found] == pytest.approx([h.score for h in whole], abs=0.01)


def test_memory_grows_with_the_text_and_not_with_the_audio() -> None:
    alphabet = Alphabet(LETTERS)
    stream = BeamDecoder(alphabet, BeamOptions(beam_size=8)).stream()
    rng = np.random.default_rng(0)
    spoken = random_posteriors(rng, 8000, alphabet.columns, 3.0)
    silence = np.tile(np.log([1e-4] * len(LETTERS) + [1 - len(LETTERS) * 1e-4]), (8000, 1))
    stream.push(spoken)
    letters, held = len(stream.best()[0].text), stream._core.memory()
    assert letters > 4000
    assert held < 1024 * letters
    for _ in range(5):
        stream.push(silence)
    assert len(stream.best()[0].text) == letters
    assert stream._core.memory() <= held
