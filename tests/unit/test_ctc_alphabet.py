"""Alphabets: from labels, Baidu vocabularies and JSON; wrong ones are refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import texts_by_enumeration
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, GreedyDecoder, ReferenceDecoder
from deepspeech2.errors import VocabularyError


def test_the_blank_is_the_last_column_unless_told() -> None:
    last, first = Alphabet("ab "), Alphabet("ab ", blank=0)
    assert (last.columns, last.blank, last.column(" "), last.delimiter_column) == (4, 3, 2, 2)
    assert (first.columns, first.blank, first.column("a"), first.delimiter_column) == (4, 0, 1, 3)
    assert last.text([0, 2, 1]) == first.text([1, 3, 2]) == "a b"


def test_a_delimiter_by_another_name_reads_as_a_space() -> None:
    assert Alphabet(["a", "|"], delimiter="|").text([0, 1, 0]) == "a a"


def test_marked_pieces_begin_words() -> None:
    alphabet = Alphabet(["▁he", "llo", "▁you"])
    assert alphabet.has_word_starts
    assert alphabet.text([0, 1, 2]) == "hello you"


def test_baidu_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("'\n \na\r\né\n".encode())
    assert Alphabet.from_file(path) == Alphabet(["'", " ", "a", "é"])
    path.write_bytes("\ufeffa\n \n".encode())  # as some editors save it
    assert Alphabet.from_file(path) == Alphabet(["a", " "])


def test_labels_and_blank_from_numpy_are_plain() -> None:
    alphabet = Alphabet(np.array(["a", "b"]), blank=np.int64(0))
    assert [type(value) for value in (*alphabet.labels, alphabet.blank)] == [str, str, int]


def test_json_vocabularies(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({"<pad>": 0, "b": 2, "|": 1, "a": 3}))
    assert Alphabet.from_file(path) == Alphabet(["|", "b", "a"], blank=0, delimiter="|")
    path.write_text(json.dumps({"a": 0, "[UNK]": 1, "[PAD]": 2, "|": 3}))  # the blank in the middle
    assert Alphabet.from_file(path) == Alphabet(["a", "[UNK]", "|"], blank=2, delimiter="|", silent=["[UNK]"])
    path.write_text(json.dumps(["a", " ", "b"]))
    assert Alphabet.from_json(path) == Alphabet(["a", " ", "b"])
    path.write_text(json.dumps(["a", "*", "b"]))
    assert Alphabet.from_json(path, blank="*").blank == 1


def test_markers_of_wav2vec2_vocabularies_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "T": 6}))
    alphabet = Alphabet.from_json(path)
    assert alphabet.text([5, 3, 1, 6]) == "ET"
    assert alphabet.columns == 7
    # The best path is E <unk> T; without it E, then the blank or T.
    rows = np.full((3, 7), 0.01)
    rows[0, 5], rows[1, 3], rows[1, 0], rows[2, 6] = 0.94, 0.85, 0.10, 0.94
    log_probs = np.log(rows / rows.sum(axis=1, keepdims=True))
    found = GreedyDecoder(alphabet).decode(log_probs)
    assert (found.text, [c.text for c in found.characters]) == ("ET", ["E", "T"])
    for decoder in (BeamDecoder, ReferenceDecoder):
        hypotheses = decoder(alphabet, BeamOptions(beam_size=50, n_best=50)).decode(log_probs)
        assert len({h.text for h in hypotheses}) == len(hypotheses)  # no two that differ in a marker only
        columns = [alphabet.blank, 4, 5, 6]
        sums = texts_by_enumeration(log_probs[:, columns], 0)
        best = max(sums, key=sums.get)
        assert hypotheses[0].text == "".join({1: " ", 2: "E", 3: "T"}[c] for c in best) == "ET"
        assert hypotheses[0].score == pytest.approx(sums[best], abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "blank", "words"),
    [
        ([], None, ["at least one label"]),
        (["a", ""], None, ["Label 1 is empty", "leave it out of the labels", "blank=1"]),
        (["a", 3], None, ["Label 1", "3"]),
        (["a", "b", "a"], None, ["'a'", "0 and 2"]),
        (["a"], 2, ["0..1", "2"]),
        (["a"], "a", ["number of a column", "'a'"]),
        (["a"], True, ["number of a column", "True"]),
        (["a"], 1.0, ["number of a column", "1.0"]),
        (None, None, ["sequence of strings", "None"]),
    ],
)
def test_wrong_labels(labels: list[str], blank: int | None, words: list[str]) -> None:
    with pytest.raises(VocabularyError) as caught:
        Alphabet(labels, blank=blank)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"a\n\nb\n", "v.txt", ["Label 1"]),
        (b"a\nb\na\n", "v.txt", ["'a'"]),
        (b"\xff\n", "v.txt", ["UTF-8", "byte 0"]),
        (b"{", "v.json", ["not JSON"]),
        (b'{"a": 0, "b": 2}', "v.json", ["0..1"]),
        (b"3", "v.json", ["list of labels"]),
        (None, "v.txt", ["cannot read"]),
    ],
)
def test_wrong_files_name_the_file(tmp_path: Path, content: bytes | None, name: str, words: list[str]) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VocabularyError) as caught:
        Alphabet.from_file(path)
    assert all(word in str(caught.value) for word in [str(path), *words])


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(VocabularyError, match="No label 'z' among the 2 labels"):
        Alphabet("ab").column("z")
