"""What a beam decoder offers besides the search itself."""

import math
import pickle
import threading
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import random_posteriors, texts_by_enumeration, write_arpa
from deepspeech2.ctc import (
    Alphabet,
    BeamDecoder,
    BeamOptions,
    Character,
    GreedyDecoder,
    ReferenceDecoder,
    beam,
    load_language_model,
)
from deepspeech2.ctc.native import make_decoder
from deepspeech2.errors import OptionError, PosteriorsError

WORDS = Path(__file__).parents[1] / "data" / "ctc" / "words.arpa"
LETTERS = Alphabet("aehnst ")


def posteriors(frames: int, seed: int = 0, columns: int = LETTERS.columns, spread: float = 2.0) -> np.ndarray:
    return random_posteriors(np.random.default_rng(seed), frames, columns, spread)


def decoder(**options: object) -> BeamDecoder:
    return BeamDecoder(LETTERS, BeamOptions(**{"beam_size": 30, "alpha": 0.8, **options}), load_language_model(WORDS))


def test_beam_size_one_still_adds_up_alignments() -> None:
    log_probs = np.log([[0.4, 0.6], [0.4, 0.6]])
    (best,) = BeamDecoder(Alphabet("a"), BeamOptions(beam_size=1)).decode(log_probs)
    # The blank path alone has 0.36, more than any other; the prefix "a" has 0.64 but was never in this beam.
    assert (best.text, math.exp(best.score)) == ("", pytest.approx(0.36))
    best = BeamDecoder(Alphabet("a"), BeamOptions(beam_size=2)).decode(log_probs)[0]
    assert (best.text, math.exp(best.score)) == ("a", pytest.approx(0.64))


def test_a_full_beam_without_ties_holds_exactly_the_best() -> None:
    log_probs = posteriors(4, columns=4)
    everything = sorted(texts_by_enumeration(log_probs, 3).values(), reverse=True)
    found = BeamDecoder(Alphabet("ab "), BeamOptions(beam_size=500, n_best=500)).decode(log_probs)
    assert [h.score for h in found] == pytest.approx(everything)


@pytest.mark.parametrize("beam_size", [1, 2, 7, 40])
def test_ties_do_not_fill_the_beam(beam_size: int) -> None:
    uniform = np.full((30, 29), -math.log(29))
    found = BeamDecoder(
        Alphabet([chr(97 + i) for i in range(28)]), BeamOptions(beam_size=beam_size, n_best=100)
    ).decode(uniform)
    assert len(found) == beam_size
    assert len({h.text for h in found}) == beam_size


def test_a_dropped_prefix_that_reappears_finds_its_node() -> None:
    # "a" leaves a beam of two while "ab" stays, comes back, and must then feed "ab", not a second "ab".
    rng = np.random.default_rng(5)
    for _ in range(200):
        found = BeamDecoder(Alphabet("ab"), BeamOptions(beam_size=3, n_best=3)).decode(
            random_posteriors(rng, 12, 3, 3.0)
        )
        assert len({h.text for h in found}) == len(found)


def test_times_follow_a_clear_path() -> None:
    symbols = {c: i for i, c in enumerate("aehnst _")}
    path = "__tt_hh_e__ s_ee_aa__"
    log_probs = np.log(np.full((len(path), 8), 0.02 / 7))
    for frame, symbol in enumerate(path):
        log_probs[frame, symbols[symbol]] = math.log(0.98)
    best = decoder(alpha=0.05).decode(log_probs)[0]
    assert best.text == "the sea"
    assert best.characters == GreedyDecoder(LETTERS).decode(log_probs).characters
    assert best.characters[:2] == (Character("t", 2, 4), Character("h", 5, 7))
    assert [(w.text, w.start, w.end) for w in best.words] == [("the", 2, 9), ("sea", 12, 19)]


def test_scores_split_into_parts_and_words() -> None:
    for hypothesis in decoder().decode(posteriors(40)):
        assert hypothesis.score == pytest.approx(hypothesis.acoustic_score + hypothesis.language_model_score)
        words = hypothesis.words
        assert " ".join(word.text for word in words) == hypothesis.text.strip()
        assert sum(word.acoustic_score for word in words) == pytest.approx(hypothesis.acoustic_score)
        assert sum(word.language_model_score for word in words) == pytest.approx(hypothesis.language_model_score)


@pytest.mark.parametrize("options", [{}, {"lookahead": True, "recombine": True, "beam_threshold": 9.0}])
@pytest.mark.parametrize("piece", [1, 7, 50])
def test_a_stream_gives_the_same_as_one_shot(options: dict[str, object], piece: int) -> None:
    ours, log_probs = decoder(**options), posteriors(200)
    stream = ours.stream()
    for start in range(0, 200, piece):
        stream.push(log_probs[start : start + piece])
        if start + piece == 50:
            looked, so_far = stream.best(), ours.decode(log_probs[:50])
            assert looked == so_far
            assert looked.tally == so_far.tally
    whole = ours.decode(log_probs)
    streamed = stream.finish()
    assert streamed == whole
    assert [h.words for h in streamed] == [h.words for h in whole]
    assert streamed.tally == whole.tally
    with pytest.raises(OptionError, match="finished"):
        stream.push(log_probs)


def test_a_refused_piece_leaves_the_stream_as_it_was() -> None:
    ours, log_probs = decoder(), posteriors(20)
    stream = ours.stream()
    stream.push(log_probs[:10])
    spoiled = log_probs[10:].copy()
    spoiled[3, 2] = np.nan  # behind rows that are good
    with pytest.raises(PosteriorsError, match="row 13 "):
        stream.push(spoiled)
    stream.push(log_probs[10:])
    assert stream.finish() == ours.decode(log_probs)


def test_a_large_beam_is_let_go_when_it_shrinks() -> None:
    ours, small = decoder(beam_size=20_000), decoder(beam_size=10)
    log_probs = posteriors(30)
    ours.decode(log_probs)
    small.decode(log_probs)
    assert ours._core.memory() > 20 * small._core.memory()
    ours.reset(beam_size=10)
    assert ours._core.memory() == 0
    assert ours.decode(log_probs) == small.decode(log_probs)
    assert ours._core.memory() == small._core.memory()


def test_memory_of_a_stream_is_bounded() -> None:
    # Silence makes no text, so that nothing but the search itself could grow.
    stream = BeamDecoder(Alphabet([chr(97 + i) for i in range(28)]), BeamOptions(beam_size=50)).stream()
    rng = np.random.default_rng(0)
    sizes = []
    for _ in range(30):
        logits = rng.normal(size=(500, 29))
        logits[:, 28] += 9
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        stream.push(logits)
        sizes.append(stream._core.memory())
    assert max(sizes[3:]) <= 1.5 * sizes[2]


def test_scores_do_not_underflow_on_long_audio() -> None:
    log_probs = posteriors(6000, spread=1.0, columns=4)
    whole = BeamDecoder(Alphabet("ab "), BeamOptions(beam_size=8)).decode(log_probs)[0]
    assert -12000 < whole.score < -2000  # e^-745 is the smallest double


def test_reset_changes_weights_as_a_new_decoder_would() -> None:
    ours, log_probs = decoder(), posteriors(60)
    before = ours.decode(log_probs)
    for changes in (
        {"alpha": 0.1, "beta": 2.0},
        {"lookahead": True},
        {"hotwords": {"sea": 5.0}},
        {"compat": "python", "lookahead": False},
    ):
        ours.reset(**changes)
    fresh = decoder(alpha=0.1, beta=2.0, hotwords={"sea": 5.0}, compat="python")
    assert ours.decode(log_probs) == fresh.decode(log_probs) != before
    with pytest.raises(OptionError, match="no option 'gamma'"):
        ours.reset(gamma=1)
    with pytest.raises(OptionError, match="alpha"):
        ours.reset(alpha=-1)
    assert ours.options.alpha == 0.1
    assert not ours.options.lexicon
    with pytest.raises(OptionError, match="lookahead needs a closed vocabulary"):
        ours.reset(lookahead=True)
    assert ours.decode(log_probs) == fresh.decode(log_probs)


def test_hot_words_the_model_knows_are_changed_without_building_the_lexicon_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = []
    monkeypatch.setattr(beam, "make_decoder", lambda *arguments: built.append(1) or make_decoder(*arguments))
    log_probs = posteriors(60)
    for options in ({}, {"lookahead": True}, {"lexicon": False}):
        ours = decoder(**options)
        for hotwords, builds in (
            ({"sea": 5.0}, 0),
            ({"sea": 1.0, "seat": 6.0}, 0),
            ({}, 0),
            ({"ten": 5.0, "hats": 4.0}, 1),  # no word of the model
            ({"ten": 5.0}, 1),  # which the lexicon must lose again
        ):
            built.clear()
            ours.reset(hotwords=hotwords)
            assert len(built) == builds
            assert ours.decode(log_probs) == decoder(**options, hotwords=hotwords).decode(log_probs)


def test_a_decoder_pickles_with_its_model() -> None:
    ours, log_probs = decoder(hotwords={"sea": 1.0}), posteriors(60)
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.language_model.path == WORDS
    assert copy.decode(log_probs) == ours.decode(log_probs)
    result = pickle.loads(pickle.dumps(ours.decode(log_probs)))
    assert result[0].words == ours.decode(log_probs)[0].words


def test_a_batch_on_threads_keeps_the_order() -> None:
    ours = decoder()
    batch = [posteriors(20 + i, seed=i) for i in range(12)]
    assert ours.decode_batch(batch, threads=4) == [ours.decode(matrix) for matrix in batch]
    with pytest.raises(OptionError, match="threads"):
        ours.decode_batch(batch, threads=0)


def test_the_interpreter_lock_is_released() -> None:
    log_probs = posteriors(4000, columns=29, spread=0.5)
    ours = BeamDecoder(Alphabet([chr(97 + i) for i in range(28)]), BeamOptions(beam_size=2000))
    worker = threading.Thread(target=ours.decode, args=(log_probs,))
    worker.start()
    ticks = 0
    while worker.is_alive():
        time.sleep(0.001)
        ticks += 1
    # With the lock held, the main thread would not have come round until the decode was over.
    assert ticks > 5


def test_hot_words_win_what_they_are_worth() -> None:
    alphabet = Alphabet("ab ")
    log_probs = np.log([[0.6, 0.3, 0.05, 0.05]])
    plain = BeamDecoder(alphabet, BeamOptions(beam_size=10)).decode(log_probs)
    hot = BeamDecoder(alphabet, BeamOptions(beam_size=10, hotwords={"b": 3.0})).decode(log_probs)
    assert (plain[0].text, hot[0].text) == ("a", "b")
    assert hot[0].language_model_score == 3.0
    assert hot[0].acoustic_score == pytest.approx(math.log(0.3))


def test_a_hot_word_outside_the_lexicon_can_be_found() -> None:
    alphabet = LETTERS
    log_probs = np.full((5, 8), math.log(0.01))
    for frame, letter in enumerate("nhtsa"):  # no word of the model
        log_probs[frame, alphabet.column(letter)] = math.log(0.93)
    assert decoder().decode(log_probs)[0].text != "nhtsa"
    assert decoder(hotwords={"nhtsa": 12.0}).decode(log_probs)[0].text == "nhtsa"


def test_an_open_vocabulary_allows_other_words_at_a_price() -> None:
    log_probs = np.full((4, 8), math.log(0.001))
    for frame, letter in enumerate("hats"):
        log_probs[frame, LETTERS.column(letter)] = math.log(0.993)
    closed, dear = decoder().decode(log_probs)[0], decoder(lexicon=False, unknown_penalty=30.0).decode(log_probs)[0]
    cheap = decoder(lexicon=False, unknown_penalty=0.0).decode(log_probs)[0]
    assert cheap.text == "hats"
    assert closed.text == dear.text != "hats"


@pytest.mark.parametrize("probability", [0.99, 0.9999])
@pytest.mark.parametrize("path", ["  ab ba", "ab _ ba", "ab  _  _   ba", "ab ba _ "])
@pytest.mark.parametrize("search", [BeamDecoder, ReferenceDecoder])
def test_a_pause_is_no_word(tmp_path: Path, search: type, path: str, probability: float) -> None:
    """A delimiter that comes first or again has nothing to do with words: no word is put beside it."""
    model = load_language_model(write_arpa(tmp_path / "m.arpa", ["a", "b", "ab", "ba"], 2, np.random.default_rng(1)))
    rows = np.full((len(path), 4), (1 - probability) / 3)
    rows[np.arange(len(path)), ["ab _".index(symbol) for symbol in path]] = probability
    spaces, bars = Alphabet("ab "), Alphabet(["a", "b", "|"], delimiter="|")
    for options in (BeamOptions(alpha=0.2, beta=0.0), BeamOptions(alpha=0.2, beta=0.0, lookahead=True, recombine=True)):
        for alphabet, chosen in ((spaces, replace(options, pauses=True)), (bars, options)):
            best = search(alphabet, chosen, model).decode(np.log(rows))[0]
            assert [word.text for word in best.words] == ["ab", "ba"]
            assert best.text.rstrip(" ") == "ab ba"
        assert search(spaces, options, model).decode(np.log(rows))[0].text.strip(" ") != "ab  ba"


def test_pauses_can_be_switched_off_and_on_again(tmp_path: Path) -> None:
    model = load_language_model(write_arpa(tmp_path / "m.arpa", ["a", "ab"], 2, np.random.default_rng(1)))
    rows = np.log(np.full((6, 4), 0.0001 / 3))
    rows[np.arange(6), [2, 3, 2, 0, 1, 2]] = math.log(0.9999)
    ours = BeamDecoder(Alphabet("ab "), BeamOptions(alpha=0.2, beta=0.0), model)
    found = []
    for pauses in (True, False, True):
        ours.reset(pauses=pauses)
        found.append([word.text for word in ours.decode(rows)[0].words])
    assert found == [["ab"], ["a", "ab"], ["ab"]]


def test_nothing_left_is_one_clear_error() -> None:
    # Certain of "nn", which begins no word of the closed lexicon.
    log_probs = np.full((3, 8), -np.inf)
    log_probs[0, 3] = log_probs[1, 7] = log_probs[2, 3] = 0.0
    with pytest.raises(PosteriorsError, match=r"Row 2 .* lexicon=False"):
        decoder().decode(log_probs)
    assert decoder(lexicon=False).decode(log_probs)[0].text == "nn"


def test_the_tally_counts_the_work() -> None:
    tally = decoder().decode(posteriors(40)).tally
    assert tally.frames == 40
    assert tally.candidates > tally.created > 0
    assert tally.merges > 0
    assert tally.lookups > 0
    assert BeamDecoder(LETTERS).decode(posteriors(40)).tally.lookups == 0


def test_weights_not_given_are_those_of_the_mode() -> None:
    assert (BeamOptions().alpha, BeamOptions().beta) == (0.6, 2.0)
    assert (BeamOptions.fast().alpha, BeamOptions.fast(beta=1.0).beta) == (0.6, 1.0)
    for compat in ("baidu", "python"):
        assert (BeamOptions(compat=compat).alpha, BeamOptions(compat=compat).beta) == (2.5, 0.3)
    assert (BeamOptions(alpha=2.5).alpha, BeamOptions(alpha=2.5).beta) == (2.5, 2.0)
    ours = decoder(alpha=1.5)
    ours.reset(alpha=None, beta=None, compat="baidu")
    assert (ours.options.alpha, ours.options.beta) == (2.5, 0.3)


def test_options_keep_their_own_hot_words() -> None:
    given = {"sea": 1.0}
    options = BeamOptions(hotwords=given)
    given["sea"] = 9.0
    assert dict(options.hotwords) == {"sea": 1.0}
    assert hash(options) == hash(BeamOptions(hotwords={"sea": 1.0}))
    assert hash(BeamOptions()) == hash(BeamOptions())
    assert pickle.loads(pickle.dumps(options)) == options == BeamOptions(hotwords={"sea": 1.0})
    with pytest.raises(TypeError):
        options.hotwords["sea"] = 2.0
    ours, log_probs = decoder(hotwords=given), posteriors(60)
    given["sea"] = 0.0
    ours.reset(hotwords=given)
    assert ours.decode(log_probs) == decoder().decode(log_probs) != decoder(hotwords={"sea": 9.0}).decode(log_probs)


def test_numbers_of_other_libraries_are_numbers() -> None:
    options = BeamOptions(beam_size=np.int64(7), alpha=np.float32(0.5), beta=1, beam_threshold=np.float64(9))
    assert options == BeamOptions(beam_size=7, alpha=0.5, beta=1.0, beam_threshold=9.0)
    assert [type(value) for value in (options.beam_size, options.alpha, options.beta)] == [int, float, float]
    assert BeamDecoder(LETTERS, options).decode(posteriors(5))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_bad_utterance_of_a_batch_is_named(threads: int) -> None:
    batch = [posteriors(5), posteriors(5), np.zeros((5, 8))]
    with pytest.raises(PosteriorsError, match=r"Utterance 2 of the batch: .*row 0"):
        decoder().decode_batch(batch, threads=threads)


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 0},
        {"beam_size": -5},
        {"beam_size": 2.5},
        {"beam_size": True},
        {"n_best": 0},
        {"cutoff_top_n": 0},
        {"cutoff_prob": 0.0},
        {"cutoff_prob": 1.5},
        {"cutoff_prob": math.nan},
        {"alpha": -1.0},
        {"alpha": math.nan},
        {"alpha": "high"},
        {"beta": math.inf},
        {"beam_threshold": 0.0},
        {"beam_threshold": math.nan},
        {"unknown_penalty": -1.0},
        {"compat": "kaldi"},
        {"score_end": 1},
        {"lookahead": None},
        {"recombine": "yes"},
        {"lexicon": 0},
        {"alpha": True},
        {"alpha": 10**400},
        {"hotwords": ["a"]},
        {"hotwords": {"": 1.0}},
        {"hotwords": {"a": math.inf}},
        {"hotwords": {"two words": 1.0}},
        {"hotwords": {"a": 720}},
        {"hotwords": {"a": 599, "b": -1000}},  # with the default beta of 2
        {"beta": 600.5},
        {"beta": 44, "compat": "python"},
    ],
    ids=str,
)
def test_options_no_search_can_use(options: dict[str, object]) -> None:
    name = next(iter(options))
    with pytest.raises(OptionError, match="[Hh]ot ?word" if name == "hotwords" else name) as caught:
        BeamOptions(**options)
    assert "\n" not in str(caught.value)


REWARDS: list[dict[str, object]] = [
    {"hotwords": {"ab": 598, "b": 450.0}},
    {"hotwords": {"ab": 600}, "beta": -1000},
    {"beta": 600},
    {"beta": 300, "hotwords": {"ba": 300}},
    {"beta": 600, "lookahead": True},
    {"beta": 300, "hotwords": {"ba": 300, "a": -700}, "lookahead": True, "recombine": True},
    {"beta": 43, "compat": "python"},
]


@pytest.mark.parametrize("options", REWARDS, ids=str)
def test_rewards_up_to_the_bound_are_added_as_the_reference_adds_them(
    tmp_path: Path, options: dict[str, object]
) -> None:
    model = load_language_model(write_arpa(tmp_path / "m.arpa", ["a", "b", "ab", "ba"], 2, np.random.default_rng(1)))
    given = BeamOptions(beam_size=16, n_best=1, **options)
    for seed, language in product(range(3), [model] if "lookahead" in options else [None, model]):
        matrix = random_posteriors(np.random.default_rng(seed), 25, 4, 2.0)
        (found,) = BeamDecoder(Alphabet("ab "), given, language).decode(matrix)
        (expected,) = ReferenceDecoder(Alphabet("ab "), given, language).decode(matrix)
        assert found.text == expected.text
        assert found.acoustic_score == pytest.approx(expected.acoustic_score, abs=1e-9)
        assert found.language_model_score == pytest.approx(expected.language_model_score, rel=1e-12, abs=1e-5)


def test_rewards_beyond_the_bound_are_named() -> None:
    with pytest.raises(OptionError, match=r"^hot word 'ab' \(720\) would add 720 to the score of a word.* 600 "):
        BeamOptions(hotwords={"ab": 720, "b": 3}, beta=0)
    with pytest.raises(OptionError, match=r"^beta \(2\) and hot word 'ab' \(599\) would add 601 "):
        BeamOptions(hotwords={"ab": 599})
    with pytest.raises(OptionError, match=r"^beta \(700\) would add 700 "):
        decoder().reset(beta=700)


def test_options_that_do_not_fit_the_alphabet(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="label between words"):
        BeamDecoder(Alphabet("ab"), BeamOptions(hotwords={"a": 1.0}))
    with pytest.raises(OptionError, match="closed vocabulary"):
        decoder(lookahead=True, lexicon=False)
    letters = write_arpa(tmp_path / "letters.arpa", list("ab"), 2, np.random.default_rng(0))
    with pytest.raises(OptionError, match="hot words need a model of words"):
        BeamDecoder(Alphabet("ab "), BeamOptions(hotwords={"a": 1.0}), load_language_model(letters))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ab ",), "Alphabet(labels)"),
        ((LETTERS, {"beam_size": 3}), "BeamOptions(...)"),
        ((LETTERS, BeamOptions(), str(WORDS)), "load_language_model("),
        ((LETTERS, None, WORDS), "load_language_model("),
    ],
)
def test_arguments_of_another_kind_are_refused_with_the_way_out(arguments: tuple, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        BeamDecoder(*arguments)
    assert said in str(caught.value)
