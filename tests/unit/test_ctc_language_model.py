"""Language models: equal to KenLM, cached safely, and refused by name when they are damaged."""

import gzip
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import ArpaOracle, random_posteriors, write_arpa
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, load_language_model
from deepspeech2.ctc.kenlm_model import KenlmModel
from deepspeech2.ctc.ngram_model import NgramModel, cache_path
from deepspeech2.errors import LanguageModelError, OptionError

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
