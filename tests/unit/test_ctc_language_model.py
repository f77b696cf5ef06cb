"""Language models: equal to KenLM, cached safely, and refused by name when they are damaged."""

import gzip
import math
import os
import pickle
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import ArpaOracle, random_posteriors, write_arpa
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, ReferenceDecoder, load_language_model, ngram_model
from deepspeech2.ctc.kenlm_model import KenlmModel
from deepspeech2.ctc.ngram_model import NgramModel, cache_path
from deepspeech2.errors import LanguageModelError, OptionError
from deepspeech2.files import replacement

DATA = Path(__file__).parents[1] / "data" / "ctc"
WORDS = DATA / "words.arpa"


def sentences(model: object, count: int = 60) -> list[list[str]]:
    rng = np.random.default_rng(1)
    known = [*model.words(), "unheard", "of"]
    return [[str(word) for word in rng.choice(known, size=int(rng.integers(1, 9)))] for _ in range(count)]


def scored(model: object, words: list[str]) -> list[float]:
    state, scores = model.begin(), []
    for word in [*words, "</s>"]:
        log10, state = model.score(state, word)
        scores.append(log10)
    return scores


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("unknown", [True, False])
def test_arpa_equals_the_textbook_recursion(tmp_path: Path, order: int, unknown: bool) -> None:
    path = write_arpa(tmp_path / "lm.arpa", ["a", "b", "ab", "é"], order, np.random.default_rng(order), unknown=unknown)
    model, oracle = NgramModel(path, cache=False), ArpaOracle(path)
    assert model.order == order
    assert sorted(model.words()) == sorted(["a", "b", "ab", "é"])
    for words in sentences(model):
        full = ["<s>", *words, "</s>"]
        expected = [oracle.score(tuple(full[:i]), full[i]) for i in range(1, len(full))]
        assert scored(model, words) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("name", "tolerance"), [("trie", 1e-5), ("probing", 1e-5), ("quantised", 0.2)])
def test_arpa_and_kenlm_binaries_agree(name: str, tolerance: float) -> None:
    pytest.importorskip("kenlm")
    arpa, binary = load_language_model(WORDS), load_language_model(DATA / f"words.{name}.klm")
    assert isinstance(arpa, NgramModel)
    assert isinstance(binary, KenlmModel)
    assert sorted(arpa.words()) == sorted(binary.words())
    for words in sentences(arpa):
        assert scored(binary, words) == pytest.approx(scored(arpa, words), abs=tolerance)


@pytest.mark.parametrize("options", [{}, {"lexicon": False, "score_end": True}, {"recombine": True}])
def test_decoding_with_a_kenlm_binary_equals_decoding_with_its_arpa(options: dict[str, object]) -> None:
    pytest.importorskip("kenlm")
    alphabet, chosen = Alphabet("aehnst "), BeamOptions(beam_size=20, alpha=0.8, **options)
    log_probs = random_posteriors(np.random.default_rng(3), 40, alphabet.columns, 2.0)
    arpa = BeamDecoder(alphabet, chosen, load_language_model(WORDS))
    binary = pickle.loads(pickle.dumps(BeamDecoder(alphabet, chosen, load_language_model(DATA / "words.trie.klm"))))
    assert isinstance(binary.language_model, KenlmModel)
    for _ in range(2):
        ours, theirs = binary.decode(log_probs), arpa.decode(log_probs)
        assert [h.text for h in ours] == [h.text for h in theirs]
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-4)
    batch = binary.decode_batch([log_probs] * 4, threads=2)
    assert all([h.text for h in result] == [h.text for h in ours] for result in batch)


def test_without_kenlm_a_binary_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(LanguageModelError, match=r"pip install 'deepspeech2\[kenlm\]'.*ARPA"):
        load_language_model(DATA / "words.trie.klm")


def test_a_damaged_kenlm_binary_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "cut.klm"
    path.write_bytes((DATA / "words.trie.klm").read_bytes()[:600])
    with pytest.raises(LanguageModelError, match=r"cut\.klm"):
        load_language_model(path)


def test_the_cache_is_used_and_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(WORDS.read_bytes()))
    words = ["tea", "net", "unheard"]
    expected = scored(NgramModel(path), words)
    cached = cache_path(path)
    assert [file.name for file in cached.parent.iterdir()] == [cached.name]  # no temporary file is left

    monkeypatch.setattr("deepspeech2.ctc.ngram_model._parse", lambda path: pytest.fail("the cache was not used"))
    assert scored(NgramModel(path), words) == expected
    monkeypatch.undo()
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path / "cache"))

    for damage in (
        lambda b: b[:-1],
        lambda b: b[:40],
        lambda b: b"",
        lambda b: b[:300] + bytes([b[300] ^ 1]) + b[301:],
    ):
        whole = cached.read_bytes()
        cached.write_bytes(damage(whole))
        assert scored(NgramModel(path), words) == expected
        assert cached.read_bytes() == whole  # built anew

    write_arpa(tmp_path / "other.arpa", ["tea"], 2, np.random.default_rng(0))
    path.write_bytes(gzip.compress((tmp_path / "other.arpa").read_bytes()))
    assert NgramModel(path).words() == ("tea",)


def test_copies_share_a_cache_file_and_what_is_unused_for_30_days_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(folder))
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"{place}.arpa").write_text(TEXT)
        os.utime(tmp_path / place / f"{place}.arpa", (len(place), len(place)))
        assert NgramModel(tmp_path / place / f"{place}.arpa").words() == ("a",)
    (cached,) = folder.iterdir()

    month = time.time() - 31 * 24 * 3600
    unused, formerly = folder / f"{'0a' * 16}.ngram", folder / f"lm.arpa.{'0a' * 8}.ngram"
    recent = folder / f"{'0b' * 16}.ngram"
    for file in (unused, formerly, recent):
        file.write_bytes(cached.read_bytes())
    os.utime(recent, (month + 2 * 24 * 3600,) * 2)
    for file in (unused, formerly, cached):
        os.utime(file, (month, month))
    NgramModel(tmp_path / "here" / "here.arpa")  # is used: its 30 days begin
    assert unused.exists()  # only writing removes
    other = tmp_path / "other.arpa"
    other.write_text(TEXT.replace("-0.5\ta", "-0.6\ta"))
    assert scored(NgramModel(other), ["a"])[0] == scored(NgramModel(other, cache=False), ["a"])[0]
    assert set(folder.iterdir()) == {cached, cache_path(other), recent}


@pytest.mark.parametrize(
    "name",
    [
        "mine.txt",
        "counts.ngram",
        "english.3.ngram",
        f"{'A' * 32}.ngram",
        f"{'a' * 31}.ngram",
        f"{'a' * 64}.ngram",
        f"lm.arpa.{'a' * 15}.ngram",
        f"{'a' * 32}.ngram.bak",
        ".lm.ngram.abcd1234.partial",
        f".{'a' * 32}.npz.abcd1234.partial",
        f"{'a' * 32}.ngram.abcd1234.partial",
        f".{'a' * 32}.ngram.download.partial.txt",
    ],
)
def test_a_file_by_another_name_is_never_removed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path))
    NgramModel(WORDS)
    foreign = tmp_path / name
    foreign.write_bytes(cache_path(WORDS).read_bytes())  # even if it holds what a cache file holds
    os.utime(foreign, (0, 0))
    (tmp_path / "lm.arpa").write_text(TEXT)
    NgramModel(tmp_path / "lm.arpa")
    assert cache_path(tmp_path / "lm.arpa").exists()
    assert foreign.exists()


@pytest.mark.parametrize("name", [f"{'a' * 32}.ngram", f"corpus.{'a' * 16}.ngram"])
@pytest.mark.parametrize("kind", ["text", "empty", "link", "pipe", "folder"])
def test_what_only_has_a_name_of_the_cache_is_never_removed(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, foreign = tmp_path / "cache", tmp_path / "cache" / name
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(folder))
    NgramModel(WORDS)
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(cache_path(WORDS).read_bytes())
        foreign.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(foreign)
    elif kind == "folder":
        foreign.mkdir()
    else:
        foreign.write_bytes(b"the cat 17\n" if kind == "text" else b"")
    os.utime(foreign, (0, 0))
    if kind == "link":
        os.utime(foreign, (0, 0), follow_symlinks=False)
    (tmp_path / "lm.arpa").write_text(TEXT)
    NgramModel(tmp_path / "lm.arpa")
    assert cache_path(tmp_path / "lm.arpa").exists()
    assert os.path.lexists(foreign)


def test_what_a_killed_writer_left_goes_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(folder))
    cached = cache_path(WORDS)
    folder.mkdir()
    left = {}
    for hours in (23, 25):
        with replacement(cached) as temporary:
            name = temporary.name  # as the cache's own writer names what it begins
        left[hours] = folder / name
        left[hours].write_bytes(b"DS2NG" if hours == 23 else b"")
        then = time.time() - hours * 3600
        os.utime(left[hours], (then, then))
    cached.unlink()
    NgramModel(WORDS)
    assert set(folder.iterdir()) == {cached, left[23]}


def test_a_file_that_changes_while_it_is_read_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "lm.arpa"
    path.write_text(TEXT)

    def written_over(path: Path) -> object:
        return parse(write_arpa(path, ["bb"], 2, np.random.default_rng(0)))

    parse = ngram_model._parse
    monkeypatch.setattr(ngram_model, "_parse", written_over)
    assert NgramModel(path).words() == ("bb",)
    monkeypatch.setattr(ngram_model, "_parse", parse)
    path.write_text(TEXT)
    assert NgramModel(path).words() == ("a",)


def test_where_no_cache_can_be_written_none_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(blocked / "cache"))
    assert scored(NgramModel(WORDS), ["tea"]) == scored(NgramModel(WORDS, cache=False), ["tea"])
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path / "cache"))
    cache_path(WORDS).mkdir(parents=True)  # a folder where the file would be
    assert scored(NgramModel(WORDS), ["tea"]) == scored(NgramModel(WORDS, cache=False), ["tea"])


TEXT = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-1.0\t</s>
-0.5\ta\t-0.3

\\2-grams:
-0.2\t<s> a
-0.7\ta a

\\end\\
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("\\end\\\n", ""), ["\\end\\", "cut short"]),
        (("\\2-grams:\n-0.2\t<s> a\n-0.7\ta a\n", ""), ["line 12", "up to 2-grams"]),
        (("-0.7\ta a\n", ""), ["line 14", "promises 2 2-grams", "there are 1"]),
        (("ngram 1=4", "ngram 1=3"), ["line 9", "promises 3 1-grams", "more"]),
        (("ngram 1=4", "ngram 1=9999999999"), ["promises 9999999999"]),
        (("ngram 1=4", "ngram 1=x"), ["line 2", "ngram N=COUNT"]),
        (("ngram 2=2", "ngram 3=2"), ["line 3", "2-grams"]),
        (("\\data\\", "data"), ["\\data\\", "no ARPA"]),
        (("-0.7\ta a", "-0.7\ta b"), ["line 13", "'b'", "1-grams"]),
        (("-0.7\ta a", "-0.7\t<s> a"), ["line 13", "there before"]),
        (("-0.5\ta\t-0.3", "-0.5\t</s>\t-0.3"), ["line 9", "'</s>'", "there before"]),
        (("-0.5\ta", "0.5\ta"), ["line 9", "above 0"]),
        (("-0.5\ta", "nan\ta"), ["line 9", "log10 probability", "'nan'"]),
        (("-0.5\ta\t-0.3", "-0.5\ta\tx"), ["line 9", "backoff", "'x'"]),
        (("-0.7\ta a", "-0.7\ta a -1 5"), ["line 13", "2 words"]),
        (("\\2-grams:", "\\3-grams:"), ["line 11", "\\2-grams:"]),
    ],
)
def test_damaged_arpa_files_are_refused_by_line(tmp_path: Path, change: tuple[str, str], words: list[str]) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(TEXT)
    assert load_language_model(path).order == 2
    assert change[0] in TEXT
    path.write_text(TEXT.replace(*change, 1))
    with pytest.raises(LanguageModelError) as caught:
        load_language_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in [str(path), *words])


def test_an_ngram_without_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    text = TEXT.replace("ngram 2=2\n", "ngram 2=2\nngram 3=1\n").replace(
        "\\end\\", "\\3-grams:\n-0.1\ta <s> a\n\n\\end\\"
    )
    path.write_text(text)
    with pytest.raises(
        LanguageModelError, match=r"line 17: this 3-gram has no 2-gram that it begins with \('a' \.\.\. '<s>'\)"
    ):
        load_language_model(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5000,
        bytes(range(256)) * 400,
        gzip.compress(TEXT.encode())[:60],
        b"\x1f\x8bgarbage",
        b"x" * 3_000_000,
    ],
    ids=["empty", "zeros", "binary", "cut gzip", "no gzip", "one long line"],
)
def test_garbage_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lm.arpa"
    path.write_bytes(content)
    with pytest.raises(LanguageModelError, match=r"lm\.arpa"):
        load_language_model(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match=r"none\.arpa: cannot read the language model: No such file"):
        load_language_model(tmp_path / "none.arpa")


def test_character_models_are_detected(tmp_path: Path) -> None:
    path = write_arpa(tmp_path / "letters.arpa", ["a", "b", "|"], 2, np.random.default_rng(0))
    hypothesis = BeamDecoder(
        Alphabet("ab "), BeamOptions(beam_size=5, alpha=1.0, beta=0.0), load_language_model(path)
    ).decode(np.log([[0.97, 0.01, 0.01, 0.01], [0.01, 0.01, 0.97, 0.01]]))[0]
    oracle = ArpaOracle(path)
    assert hypothesis.text == "a "
    expected = oracle.score(("<s>",), "a") + oracle.score(("<s>", "a"), "|")
    assert hypothesis.language_model_score == pytest.approx(expected * np.log(10), abs=1e-5)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda b: b[:-1], "cut short"),
        (lambda b: b[:-6].rstrip(b"\0"), "cut short"),
        (lambda b: b[: b.rstrip(b"\0").rfind(b"\0") + 1], "promises 19 words, but its list has 1"),
        (lambda b: b[:-3] + b"\xff" + b[-2:], "should be UTF-8"),
    ],
    ids=["no end", "cut word", "cut between words", "bytes"],
)
def test_a_damaged_word_list_of_a_kenlm_binary_is_refused(tmp_path: Path, damage: object, said: str) -> None:
    pytest.importorskip("kenlm")
    path = tmp_path / "damaged.klm"
    whole = (DATA / "words.trie.klm").read_bytes()
    twice = whole[: whole.rstrip(b"\0").rfind(b"\0") + 1]
    twice = twice[: twice.rstrip(b"\0").rfind(b"\0") + 1]  # two words short: one may be <unk>
    path.write_bytes(twice if "promises" in said else damage(whole))
    with pytest.raises(LanguageModelError, match=r"damaged\.klm") as caught:
        KenlmModel(path).words()
    assert said in str(caught.value)


def test_a_hot_word_that_cannot_be_spelled_is_refused_with_the_letters() -> None:
    with pytest.raises(OptionError, match=r"'Kronstadt'.*no label for 'K'"):
        BeamDecoder(Alphabet("kronstad "), BeamOptions(hotwords={"Kronstadt": 1.0}))
    with pytest.raises(OptionError, match="cannot put it together"):
        BeamDecoder(Alphabet(["a", "bc", " "]), BeamOptions(hotwords={"abcb": 1.0}))


def test_a_character_model_may_call_the_delimiter_space(tmp_path: Path) -> None:
    path = write_arpa(tmp_path / "letters.arpa", ["a", "b", "<space>"], 2, np.random.default_rng(0))
    hypothesis = BeamDecoder(Alphabet("ab "), BeamOptions(beam_size=5, alpha=1.0, beta=0.0), NgramModel(path)).decode(
        np.log([[0.97, 0.01, 0.01, 0.01], [0.01, 0.01, 0.97, 0.01]])
    )[0]
    oracle = ArpaOracle(path)
    expected = oracle.score(("<s>",), "a") + oracle.score(("<s>", "a"), "<space>")
    assert hypothesis.language_model_score == pytest.approx(expected * np.log(10), abs=1e-5)


def test_a_byte_order_mark_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert NgramModel(path).words() == ("a",)


def test_odd_homes_times_and_names_do_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path / "cache"))
    path = tmp_path / os.fsdecode(b"caf\xe9.arpa")
    path.write_text(TEXT)
    os.utime(path, (-1000, -1000))
    assert NgramModel(path).words() == NgramModel(path).words() == ("a",)
    assert cache_path(path).exists()
    monkeypatch.delenv("DEEPSPEECH2_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert cache_path(path) is None
    assert NgramModel(path).words() == ("a",)


def test_a_pickled_model_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("lm.arpa").write_text(TEXT)
    packed = pickle.dumps(NgramModel("lm.arpa", cache=False))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(packed).words() == ("a",)
    assert not (tmp_path / "cache").exists()


def test_a_model_the_labels_cannot_spell_is_refused_with_a_word_and_a_hint(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    upper = load_language_model(write_arpa(tmp_path / "upper.arpa", ["THE", "CAT", "SAT"], 2, rng))
    for decoder in (BeamDecoder, ReferenceDecoder):
        with pytest.raises(OptionError, match=r"upper\.arpa: none of the 3 words .*'(THE|CAT|SAT)' .*other case"):
            decoder(Alphabet("acehst "), BeamOptions(), upper)
    digits = load_language_model(write_arpa(tmp_path / "digits.arpa", ["10", "20"], 1, rng))
    with pytest.raises(OptionError, match="none of the 2 words") as caught:
        BeamDecoder(Alphabet("acehst "), BeamOptions(), digits)
    assert "case" not in str(caught.value)


def test_where_most_words_cannot_be_spelled_a_warning_counts_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mixed = load_language_model(write_arpa(tmp_path / "mixed.arpa", ["THE", "CAT", "sat"], 2, rng))
    with pytest.warns(UserWarning, match=r"2 of the 3 words .*'(THE|CAT)', which cannot but would in the other case"):
        BeamDecoder(Alphabet("acehst "), BeamOptions(), mixed)
    half = load_language_model(write_arpa(tmp_path / "half.arpa", ["CAT", "sat"], 2, rng))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BeamDecoder(Alphabet("acehst "), BeamOptions(), half)


def lifted(path: Path, backoff: float) -> Path:
    """A model whose backoffs multiply words by 10^backoff."""
    path.write_text(
        "\\data\\\nngram 1=6\nngram 2=2\n\n\\1-grams:\n"
        f"-99\t<s>\t{backoff}\n-1\t</s>\n-2\t<unk>\n-1\ta\t{backoff}\n-1\tab\t{backoff}\n-1.5\tba\n\n"
        "\\2-grams:\n-0.5\t<s> a\n-0.5\ta ab\n\n\\end\\\n"
    )
    return path


@pytest.mark.parametrize("backoff", [1.2, 3.0, 140.0])
@pytest.mark.parametrize("lookahead", [False, True])
def test_words_lifted_above_probability_1_are_scored_by_the_textbook(
    tmp_path: Path, backoff: float, lookahead: bool
) -> None:
    path = lifted(tmp_path / "lifted.arpa", backoff)
    oracle = ArpaOracle(path)
    options = BeamOptions(beam_size=8, n_best=8, alpha=1.0, beta=0.0, lookahead=lookahead)
    model = load_language_model(path)
    for seed in range(20):
        log_probs = random_posteriors(np.random.default_rng(seed), 12, 4, 2.0)
        found = BeamDecoder(Alphabet("ab "), options, model).decode(log_probs)
        expected = ReferenceDecoder(Alphabet("ab "), options, model).decode(log_probs)
        assert [h.text for h in found] == [h.text for h in expected]
        for hypothesis in found:
            words = ["<s>", *hypothesis.text.split()]
            log10 = sum(oracle.score(tuple(words[:i]), words[i]) for i in range(1, len(words)))
            assert hypothesis.language_model_score == pytest.approx(math.log(10) * log10, rel=1e-6, abs=1e-5)


def test_weights_that_lift_a_word_out_of_range_are_refused(tmp_path: Path) -> None:
    model = load_language_model(lifted(tmp_path / "lifted.arpa", 400.0))
    # 10^(400 - 1) behind "ab", for "a": ln is 918.7; half of that is in range.
    with pytest.raises(OptionError, match=r"^alpha \(1\) times .* would add 918\.7.*600"):
        BeamDecoder(Alphabet("ab "), BeamOptions(alpha=1.0, beta=0.0), model)
    decoder = BeamDecoder(Alphabet("ab "), BeamOptions(alpha=0.5, beta=0.0), model)
    with pytest.raises(OptionError, match="would add 918"):
        decoder.reset(alpha=1.0)
    assert math.isfinite(decoder.decode(random_posteriors(np.random.default_rng(0), 12, 4, 2.0))[0].score)


def test_a_promise_out_of_range_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sure.arpa"
    # Any word has at most 0.1, but "a" is sure to come first: look-ahead promises 10 times as much as without context.
    path.write_text(
        "\\data\\\nngram 1=5\nngram 2=1\n\n\\1-grams:\n-99\t<s>\t0\n-1\t</s>\n-2\t<unk>\n-1\ta\n-1\tab\n\n"
        "\\2-grams:\n0\t<s> a\n\n\\end\\\n"
    )
    model = load_language_model(path)
    options = {"beam_size": 20, "beta": 0.0, "n_best": 5}
    log_probs = random_posteriors(np.random.default_rng(0), 10, 4, 2.0)
    for lookahead, alpha in ((True, 260.0), (False, 1000.0)):
        chosen = BeamOptions(alpha=alpha, lookahead=lookahead, **options)
        ours = BeamDecoder(Alphabet("ab "), chosen, model).decode(log_probs)
        theirs = ReferenceDecoder(Alphabet("ab "), chosen, model).decode(log_probs)
        assert [h.text for h in ours] == [h.text for h in theirs]
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-6)
    # alpha * ln 10 is 600 at 260.58.
    with pytest.raises(OptionError, match=r"^alpha \(261\) times what .* promises the first word would add 600\.9"):
        BeamDecoder(Alphabet("ab "), BeamOptions(alpha=261.0, lookahead=True, **options), model)


def test_a_kenlm_model_that_lifts_a_word_above_1_is_refused() -> None:
    class Lifting:
        path, order = Path("lifting.klm"), 1

        def words(self) -> list[str]:
            return ["a", "ab"]

        def __contains__(self, word: object) -> bool:
            return word in ("a", "ab")

        def begin(self) -> int:
            return 0

        null = begin

        def score(self, state: int, word: str) -> tuple[float, int]:
            return (0.5 if word == "ab" else -1.0), state

    decoder = BeamDecoder(Alphabet("ab "), BeamOptions(beam_size=20), Lifting())
    with pytest.raises(LanguageModelError, match=r"lifting\.klm: 'ab' gets a log10 probability of 0\.5, above 0"):
        decoder.decode(random_posteriors(np.random.default_rng(0), 10, 4, 2.0))


@pytest.mark.parametrize("name", ["trie", "probing", "quantised"])
def test_counts_that_do_not_fit_the_file_are_refused_before_kenlm_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where the counts stand is known from KenLM's own file of 19, 102 and 221 n-grams."""
    pytest.importorskip("kenlm")
    whole = (DATA / f"words.{name}.klm").read_bytes()
    assert np.frombuffer(whole, "<u8", 3, 0x6C).tolist() == [19, 102, 221]
    target = tmp_path / "damaged.klm"

    def asked(path: str) -> None:
        raise AssertionError(f"kenlm was asked to read {path}")

    monkeypatch.setattr("kenlm.Model", asked)
    # One of the higher bytes of each count, in the tries that of how many words the vocabulary has, and the order.
    places = [0x6C + 8 * order + byte for order in range(3) for byte in (1, 3, 7)] + [0x58]
    for at in [*places, *([141] if name != "probing" else [])]:
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        target.write_bytes(damaged)
        with pytest.raises(LanguageModelError, match=r"damaged\.klm: the header of this KenLM binary .*copy it anew"):
            load_language_model(target)


def test_a_stray_token_of_a_character_model_is_named_or_ignored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    padded = load_language_model(write_arpa(tmp_path / "padded.arpa", ["a", "<pad>", "b"], 2, rng))
    chosen = BeamOptions(beam_size=5, alpha=0.1, beta=0.0)
    log_probs = np.log([[0.97, 0.01, 0.02], [0.01, 0.97, 0.02]])
    found = BeamDecoder(Alphabet("ab"), chosen, padded).decode(log_probs)[0]
    oracle = ArpaOracle(padded.path)
    log10 = oracle.score(("<s>",), "a") + oracle.score(("<s>", "a"), "b")
    assert found.text == "ab"
    assert found.language_model_score == pytest.approx(0.1 * math.log(10) * log10, abs=1e-5)
    stray = load_language_model(write_arpa(tmp_path / "stray.arpa", ["a", "ok", "b"], 2, rng))
    with pytest.raises(OptionError, match=r"label between words.*'ok', which is no label, makes .*stray\.arpa"):
        BeamDecoder(Alphabet("ab"), chosen, stray)


def test_a_logarithm_of_zero_may_be_written_as_infinity(tmp_path: Path) -> None:
    lowest = TEXT.replace("-1.0\t<unk>", "-99\t<unk>")
    (tmp_path / "usual.arpa").write_text(lowest)
    (tmp_path / "inf.arpa").write_text(lowest.replace("-99\t", "-inf\t"))
    usual, odd = (NgramModel(tmp_path / f"{name}.arpa", cache=False) for name in ("usual", "inf"))
    for words in sentences(usual, 20):
        assert scored(odd, words) == scored(usual, words)


@pytest.mark.parametrize("section", ["", "\\3-grams:\n\n"])
def test_an_order_without_ngrams_needs_no_section(tmp_path: Path, section: str) -> None:
    longer = TEXT.replace("ngram 2=2\n", "ngram 2=2\nngram 3=0\n").replace("\\end\\", section + "\\end\\")
    (tmp_path / "two.arpa").write_text(TEXT)
    (tmp_path / "three.arpa").write_text(longer)
    two, three = NgramModel(tmp_path / "two.arpa", cache=False), NgramModel(tmp_path / "three.arpa", cache=False)
    for words in sentences(two, 20):
        assert scored(three, words) == scored(two, words)


@pytest.mark.parametrize("packed", [False, True])
def test_a_model_may_come_through_a_pipe(tmp_path: Path, packed: bool) -> None:
    content = WORDS.read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_bytes(gzip.compress(content) if packed else content)
    )
    writer.start()
    model, usual = load_language_model(tmp_path / "pipe"), NgramModel(WORDS, cache=False)
    writer.join()
    for words in sentences(usual, 20):
        assert scored(model, words) == scored(usual, words)
