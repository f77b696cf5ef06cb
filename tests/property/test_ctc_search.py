"""The native search equals the reference, the reference equals exhaustive summation."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctc_cases import ArpaOracle, random_posteriors, texts_by_enumeration, write_arpa
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, Hypotheses, ReferenceDecoder
from deepspeech2.ctc.ngram_model import NgramModel
from deepspeech2.errors import PosteriorsError

SEEDS = st.integers(0, 2**32 - 1)
LN10 = math.log(10)


def decoded(decoder: ReferenceDecoder | BeamDecoder, log_probs: np.ndarray) -> Hypotheses | str:
    try:
        return decoder.decode(log_probs)
    except PosteriorsError as error:
        return str(error)


def assert_same(ours: Hypotheses | str, theirs: Hypotheses | str) -> None:
    if isinstance(theirs, str):
        assert ours == theirs
        return
    assert [h.text for h in ours] == [h.text for h in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-6)
        assert a.acoustic_score == pytest.approx(b.acoustic_score, abs=1e-6)
        assert a.characters == b.characters
        assert [(w.text, w.start, w.end) for w in a.words] == [(w.text, w.start, w.end) for w in b.words]
        for v, w in zip(a.words, b.words, strict=True):
            assert v.acoustic_score == pytest.approx(w.acoustic_score, abs=1e-6)
            assert v.language_model_score == pytest.approx(w.language_model_score, abs=1e-6)


@pytest.mark.parametrize("search", [ReferenceDecoder, BeamDecoder])
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, blank=st.integers(0, 3))
def test_without_a_model_scores_are_those_of_exhaustive_summation(search: type, seed: int, blank: int) -> None:
    rng = np.random.default_rng(seed)
    alphabet = Alphabet("ab ", blank=blank)
    log_probs = random_posteriors(rng, int(rng.integers(1, 6)), 4, 2.0)
    expected = texts_by_enumeration(log_probs, blank)
    hypotheses = search(alphabet, BeamOptions(beam_size=2000, n_best=2000)).decode(log_probs)
    found = {hypothesis.text: hypothesis.score for hypothesis in hypotheses}
    assert found == pytest.approx({alphabet.text(labels): score for labels, score in expected.items()}, abs=1e-9)
    assert hypotheses[0].score == max(found.values())
    assert [h.score for h in hypotheses] == sorted(found.values(), reverse=True)


def cut(row: np.ndarray, share: float, most: int) -> np.ndarray:
    """What the cut-offs leave of one frame, from their description."""
    left = np.full_like(row, -math.inf)
    total = 0.0
    for column in sorted(range(len(row)), key=lambda c: -row[c])[:most]:
        left[column] = row[column]
        total += math.exp(row[column])
        if share < 1 and total >= share:
            break
    return left


def is_spaced(text: str) -> bool:
    """Whether there is one delimiter between words and at most one behind the last: a closed lexicon without pauses."""
    return text in (" ".join(text.split()), "".join(f"{word} " for word in text.split()))


def can_be(text: str, words: set[str], *, pauses: bool) -> bool:
    """Whether a text of whole words and perhaps the beginning of one can come of a closed lexicon."""
    *whole, last = text.split(" ")
    return (pauses or is_spaced(text)) and {*whole} - {""} <= words and any(word.startswith(last) for word in words)


def cut_where_something_is_left(
    log_probs: np.ndarray, share: float, most: int, words: set[str] | None, *, pauses: bool
) -> np.ndarray:
    """Each row as the cut-offs leave it; whole where no text of these words would be left. Labels are "ab "."""
    left = log_probs.copy()
    for frame, row in enumerate(log_probs):
        left[frame] = cut(row, share, most)
        found = texts_by_enumeration(left[: frame + 1], 3)
        if words is not None and not any(
            can_be(Alphabet("ab ").text(labels), words, pauses=pauses) for labels in found
        ):
            left[frame] = row
    return left


@pytest.mark.parametrize("search", [ReferenceDecoder, BeamDecoder])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=SEEDS,
    closed=st.booleans(),
    end=st.booleans(),
    hotwords=st.sampled_from([{}, {"ab": 1.5, "bb": -0.5}]),
    share=st.sampled_from([1.0, 0.8, 0.3]),
    most=st.sampled_from([40, 3, 1]),
    ahead=st.booleans(),
    compat=st.sampled_from([None, "baidu"]),
    pauses=st.booleans(),
)
def test_with_a_word_model_scores_are_those_of_exhaustive_summation(
    search: type,
    tmp_path: Path,
    seed: int,
    closed: bool,
    end: bool,
    hotwords: dict[str, float],
    share: float,
    most: int,
    ahead: bool,
    compat: Literal["baidu"] | None,
    pauses: bool,
) -> None:
    rng = np.random.default_rng(seed)
    words = ["a", "ab", "ba"]
    scale = 0.7 if compat else 0.7 * LN10
    if compat:  # a word of no list is out of reach
        closed, hotwords = True, {}
    path = write_arpa(tmp_path / "lm.arpa", words, 3, rng)
    oracle = ArpaOracle(path)
    alphabet = Alphabet("ab ")
    options = BeamOptions(
        beam_size=2000, n_best=2000, alpha=0.7, beta=0.4, lexicon=closed, unknown_penalty=2.0, score_end=end,
        hotwords=hotwords, cutoff_prob=share, cutoff_top_n=most, lookahead=ahead and closed, compat=compat,
        pauses=pauses,
    )  # fmt: skip
    log_probs = random_posteriors(rng, int(rng.integers(1, 6)), 4, 2.0)
    list_of_words = {*words, *hotwords}
    left = cut_where_something_is_left(log_probs, share, most, list_of_words if closed else None, pauses=pauses)
    expected = {}
    for labels, acoustic in texts_by_enumeration(left, 3).items():
        text = alphabet.text(labels)
        spelled = text.split()
        if closed and not ((pauses or is_spaced(text)) and {*spelled} <= list_of_words):
            continue
        if closed and pauses:  # delimiters together, or first of all, are one pause
            text = " ".join(spelled) + " " * (bool(spelled) and text.endswith(" "))
        history, language = ("<s>",), 0.0
        for word in spelled:
            language += scale * oracle.score(history, word) + 0.4 - (0.0 if word in words else 2.0)
            language += hotwords.get(word, 0.0)
            history = (*history, word)
        if end:
            language += scale * oracle.score(history, "</s>")
        expected[text] = np.logaddexp(expected.get(text, -math.inf), acoustic + language)
    found = decoded(search(alphabet, options, NgramModel(path, cache=False)), log_probs)
    if not expected:  # nothing but beginnings of words
        assert isinstance(found, str) or {h.text for h in found}.isdisjoint(words)
        return
    assert {h.text: h.score for h in found} == pytest.approx(expected, abs=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    labels=st.sampled_from(["a", "ab", " ab", "ab cd", "abcdefgh "]),
    frames=st.integers(1, 16),
    beam_size=st.integers(1, 40),
    spread=st.sampled_from([0.5, 2.0, 6.0, 25.0]),
    cutoff_prob=st.sampled_from([1.0, 0.9, 0.5]),
    cutoff_top_n=st.integers(1, 12),
    beam_threshold=st.sampled_from([math.inf, 3.0, 12.0]),
)
def test_native_equals_reference_without_a_model(
    seed: int, labels: str, frames: int, beam_size: int, spread: float, **options: float
) -> None:
    log_probs = random_posteriors(np.random.default_rng(seed), frames, len(labels) + 1, spread)
    chosen = BeamOptions(beam_size=beam_size, n_best=beam_size, **options)
    alphabet = Alphabet(labels)
    ours, theirs = BeamDecoder(alphabet, chosen).decode(log_probs), ReferenceDecoder(alphabet, chosen).decode(log_probs)
    assert_same(ours, theirs)
    assert (ours.tally.frames, ours.tally.created) == (theirs.tally.frames, theirs.tally.created)


@pytest.mark.filterwarnings("ignore:.*cannot be spelled")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=SEEDS)
def test_native_equals_reference_with_a_word_model(tmp_path: Path, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = data.draw(st.sampled_from([list("ab "), list("ab cd"), ["a", "b", " ", "ab"], ["c", "bc", "a", " ", "b"]]))
    letters = [label for label in labels if label != " "]
    words = sorted({"".join(rng.choice([*letters, "z"], size=rng.integers(1, 4))) for _ in range(8)} | {"ab"})
    path = write_arpa(tmp_path / "lm.arpa", words, int(rng.integers(1, 5)), rng, unknown=bool(rng.random() < 0.8))
    compat = data.draw(st.sampled_from([None, None, "python", "baidu"]))
    lexicon = data.draw(st.sampled_from([None, True, False]))
    closed = compat != "python" if lexicon is None else lexicon
    options = BeamOptions(
        beam_size=data.draw(st.integers(1, 40)),
        n_best=40,
        alpha=data.draw(st.floats(0, 2)),
        beta=data.draw(st.sampled_from([-1.5, -0.4, 0.0, 0.7, 2.0])),
        cutoff_prob=data.draw(st.sampled_from([1.0, 0.9])),
        cutoff_top_n=data.draw(st.sampled_from([40, 3])),
        beam_threshold=data.draw(st.sampled_from([math.inf, 8.0])),
        lexicon=lexicon,
        unknown_penalty=data.draw(st.floats(0, 5)),
        score_end=data.draw(st.booleans()),
        hotwords=data.draw(st.sampled_from([{}, {"ab": 1.5}, {"ba": -1.0, "bab": 3.0}])),
        lookahead=closed and data.draw(st.booleans()),
        recombine=data.draw(st.booleans()),
        pauses=data.draw(st.sampled_from([None, True])),
        compat=compat,
    )
    model = NgramModel(path, cache=False) if data.draw(st.integers(0, 9)) else None
    alphabet = Alphabet(labels)
    log_probs = random_posteriors(rng, data.draw(st.integers(1, 14)), len(labels) + 1, 2.0)
    ours = decoded(BeamDecoder(alphabet, options, model), log_probs)
    assert_same(ours, decoded(ReferenceDecoder(alphabet, options, model), log_probs))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=SEEDS)
def test_native_equals_reference_where_cutoffs_leave_nothing_the_lexicon_allows(
    tmp_path: Path, data: st.DataObject, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    model = NgramModel(write_arpa(tmp_path / "lm.arpa", ["a", "ab", "dab", "cc"], 2, rng), cache=False)
    options = BeamOptions(
        beam_size=data.draw(st.integers(1, 20)),
        n_best=20,
        alpha=0.7,
        beta=data.draw(st.sampled_from([-0.4, 2.0])),
        cutoff_prob=data.draw(st.sampled_from([1.0, 0.5, 0.1])),
        cutoff_top_n=data.draw(st.sampled_from([1, 2, 3])),
        lookahead=data.draw(st.booleans()),
        recombine=data.draw(st.booleans()),
        pauses=data.draw(st.booleans()),
    )
    alphabet = Alphabet("ab cd")
    log_probs = random_posteriors(rng, data.draw(st.integers(1, 20)), 6, data.draw(st.sampled_from([3.0, 8.0])))
    native = BeamDecoder(alphabet, options, model)
    theirs = decoded(ReferenceDecoder(alphabet, options, model), log_probs)
    ours = decoded(native, log_probs)
    assert_same(ours, theirs)
    assert not isinstance(theirs, str)  # every row gives every symbol something, and some symbol is allowed
    assert (ours.tally.frames, ours.tally.created) == (theirs.tally.frames, theirs.tally.created)
    stream = native.stream()
    for row in log_probs:
        stream.push(row[None])
    for found in (stream.finish(), *native.decode_batch([log_probs, log_probs], threads=2)):
        assert_same(found, theirs)
        assert found.tally == ours.tally


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=SEEDS)
def test_native_equals_reference_with_a_character_model(tmp_path: Path, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = list("ab cd")
    path = write_arpa(tmp_path / "lm.arpa", ["a", "b", "|", "c"], int(rng.integers(1, 5)), rng)
    options = BeamOptions(
        beam_size=data.draw(st.integers(1, 40)),
        n_best=40,
        alpha=data.draw(st.floats(0, 2)),
        beta=data.draw(st.sampled_from([-1.5, -0.4, 0.0, 0.7, 2.0])),
        unknown_penalty=data.draw(st.floats(0, 5)),
        score_end=data.draw(st.booleans()),
        recombine=data.draw(st.booleans()),
        compat=data.draw(st.sampled_from([None, "python", "baidu"])),
    )
    model = NgramModel(path, cache=False)
    log_probs = random_posteriors(rng, data.draw(st.integers(1, 12)), 6, 2.0)
    ours = decoded(BeamDecoder(Alphabet(labels), options, model), log_probs)
    assert_same(ours, decoded(ReferenceDecoder(Alphabet(labels), options, model), log_probs))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, beam_size=st.integers(1, 60))
def test_native_equals_reference_on_a_wide_alphabet(seed: int, beam_size: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [chr(0x4E00 + i) for i in range(120)]
    log_probs = random_posteriors(rng, 12, 121, 3.0)
    options = BeamOptions(beam_size=beam_size, n_best=beam_size, cutoff_top_n=int(rng.integers(2, 130)))
    ours = BeamDecoder(Alphabet(labels), options).decode(log_probs)
    assert_same(ours, ReferenceDecoder(Alphabet(labels), options).decode(log_probs))


def wide_options(data: st.DataObject, columns: int, beam_size: int) -> BeamOptions:
    share = data.draw(st.sampled_from([0.4, 0.9, 0.999, 1.0]))
    most = data.draw(st.sampled_from([1, 7, 40, columns // 16, columns // 15, columns // 2, columns]))
    return BeamOptions(beam_size=beam_size, n_best=beam_size, cutoff_prob=share, cutoff_top_n=most)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=SEEDS, columns=st.integers(500, 1500))
def test_cutoffs_of_a_very_wide_frame_keep_what_their_description_says(
    data: st.DataObject, seed: int, columns: int
) -> None:
    """A frame whose mass takes few columns or hundreds; all different, or in equal groups, whose first are kept."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(1, columns)) * data.draw(st.sampled_from([0.3, 2.0, 4.0]))
    logits = np.round(logits, data.draw(st.sampled_from([0, 1, 9])))
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    options = wide_options(data, columns, columns + 1)
    alphabet = Alphabet([chr(0x4E00 + i) for i in range(columns - 1)])
    found = {h.text: h.score for h in BeamDecoder(alphabet, options).decode(log_probs)}
    left = cut(log_probs[0], options.cutoff_prob, options.cutoff_top_n)
    expected = {alphabet.text((c,)) if c != alphabet.blank else "": left[c] for c in np.flatnonzero(left > -math.inf)}
    assert found == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=SEEDS, columns=st.integers(500, 1000))
def test_native_equals_reference_on_a_very_wide_alphabet(data: st.DataObject, seed: int, columns: int) -> None:
    log_probs = random_posteriors(np.random.default_rng(seed), 6, columns, data.draw(st.sampled_from([0.3, 2.0, 4.0])))
    options = wide_options(data, columns, 20)
    alphabet = Alphabet([chr(0x4E00 + i) for i in range(columns - 1)])
    found = BeamDecoder(alphabet, options).decode(log_probs)
    assert_same(found, ReferenceDecoder(alphabet, options).decode(log_probs))


def wide_case(rng: np.random.Generator, columns: int, folder: Path) -> tuple[Alphabet, NgramModel]:
    """Labels of one letter each and words of the first few, whose columns are the same modulo 64 as others'."""
    labels = [" ", *(chr(0x4E00 + i) for i in range(columns - 2))]
    letters = [labels[i] for i in (1, 2, 3, *range(64, columns - 1, 61))]
    words = sorted({"".join(rng.choice(letters, size=rng.integers(1, 4))) for _ in range(10)})
    return Alphabet(labels), NgramModel(write_arpa(folder / "wide.arpa", words, 2, rng), cache=False)


def wide_posteriors(rng: np.random.Generator, frames: int, alphabet: Alphabet, words: list[str]) -> np.ndarray:
    """What the letters of the words need, and the labels 64 columns beside them, above the rest."""
    lift = np.zeros(alphabet.columns)
    for letter in {" ", *"".join(words)}:
        column = alphabet.column(letter)
        lift[column] = 5.0
        for beside in (column - 64, column + 64):
            if 0 <= beside < alphabet.blank:
                lift[beside] = max(lift[beside], 5.5)
    lift[alphabet.blank] = 4.0
    logits = lift + rng.normal(size=(frames, alphabet.columns)) * 2.0
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=SEEDS, columns=st.integers(66, 200))
def test_native_equals_reference_on_a_wide_alphabet_with_a_closed_lexicon(
    tmp_path: Path, data: st.DataObject, seed: int, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    alphabet, model = wide_case(rng, columns, tmp_path)
    options = BeamOptions(
        beam_size=data.draw(st.integers(1, 30)),
        n_best=30,
        cutoff_top_n=data.draw(st.sampled_from([5, 40, 200])),
        lookahead=data.draw(st.booleans()),
        recombine=data.draw(st.booleans()),
        pauses=data.draw(st.booleans()),
    )
    log_probs = wide_posteriors(rng, data.draw(st.integers(1, 12)), alphabet, list(model.words()))
    ours = decoded(BeamDecoder(alphabet, options, model), log_probs)
    theirs = decoded(ReferenceDecoder(alphabet, options, model), log_probs)
    assert_same(ours, theirs)


def test_a_long_wide_utterance_equals_the_reference_across_collections(tmp_path: Path) -> None:
    """Prefixes that come back after the trie was collected must find their nodes; the tally sees it if not."""
    rng = np.random.default_rng(5)
    alphabet, model = wide_case(rng, 130, tmp_path)
    log_probs = wide_posteriors(rng, 900, alphabet, list(model.words()))
    options = BeamOptions(beam_size=60, n_best=5, cutoff_top_n=12, pauses=True)
    ours = BeamDecoder(alphabet, options, model).decode(log_probs)
    theirs = ReferenceDecoder(alphabet, options, model).decode(log_probs)
    assert_same(ours, theirs)
    assert ours.tally.created == theirs.tally.created > 10_000
    assert ours.tally.merges == theirs.tally.merges
