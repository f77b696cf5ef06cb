"""`ds2 decode` as a user sees it: files in, lines and exit status out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepspeech2.cli.main import main
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, GreedyDecoder

LABELS = "abcdefghijklmnopqrstuvwxyz' "


def spoken(text: str, seed: int = 0) -> np.ndarray:
    """Log-probabilities in which `text` is all but certain: a frame for each letter, a blank after each."""
    symbols = [column for letter in text for column in (LABELS.index(letter), len(LABELS))]
    scores = np.random.default_rng(seed).normal(0.0, 0.5, (len(symbols), len(LABELS) + 1)).astype(np.float32)
    scores[np.arange(len(symbols)), symbols] += 12.0
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = 0
    try:
        main(["decode", *map(str, arguments)])
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def several(tmp_path: Path) -> Path:
    path = tmp_path / "set.npz"
    np.savez(path, first=spoken("hello there"), second=spoken("it's me").astype(np.float64))
    return path


@pytest.mark.parametrize("options", [["--greedy"], ["--beam-size", "8"], ["--beam-size", "8", "--threads", "2"]])
def test_one_utterance_is_one_bare_line(capsys, tmp_path: Path, options: list[str]) -> None:
    np.save(tmp_path / "one.npy", spoken("hello there"))
    assert run(capsys, tmp_path / "one.npy", *options) == (0, "hello there\n", "")


def test_several_utterances_carry_their_names_in_order(capsys, several: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", spoken("bye"))
    status, out, _ = run(capsys, several, tmp_path / "one.npy", "--beam-size", 8)
    assert (status, out) == (0, "set/first\thello there\nset/second\tit's me\none\tbye\n")


def test_json_holds_scores_words_and_times(capsys, several: Path) -> None:
    status, out, _ = run(capsys, several, "--beam-size", 8, "--format", "json", "--n-best", 3)
    first, second = map(json.loads, out.splitlines())
    assert status == 0
    assert (first["name"], first["text"], first["frames"]) == ("set/first", "hello there", 22)
    assert (second["name"], second["text"]) == ("set/second", "it's me")
    assert [(word["text"], word["start"]) for word in first["words"]] == [("hello", 0), ("there", 12)]
    assert len(first["hypotheses"]) == 3
    assert first["hypotheses"][0]["text"] == "hello there"
    expected = BeamDecoder(Alphabet(LABELS), BeamOptions(beam_size=8)).decode(spoken("hello there"))[0]
    assert first["score"] == pytest.approx(expected.score, abs=1e-4)
    scores = [hypothesis["score"] for hypothesis in first["hypotheses"]]
    assert scores == sorted(scores, reverse=True)


def test_n_best_in_text_is_ranked_lines(capsys, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", spoken("hi"))
    _, out, _ = run(capsys, tmp_path / "one.npy", "--beam-size", 8, "--n-best", 2)
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[0] for line in lines] == ["1", "2"]
    assert lines[0][2] == "hi"
    assert float(lines[0][1]) > float(lines[1][1])


def test_a_bad_utterance_is_named_and_the_others_go_on(capsys, tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, a=spoken("a"), nan=np.full((3, 29), np.nan), wide=spoken("b")[:, :20], z=spoken("z"))
    status, out, err = run(capsys, path, "--beam-size", 4, "--threads", 2)
    assert (status, out) == (1, "set/a\ta\nset/z\tz\n")
    first, second, summary = err.splitlines()
    assert first.startswith("ds2: set/nan: Expected log-probabilities")
    assert "nan in column 0" in first
    assert second.startswith("ds2: set/wide: ")
    assert "--labels" in second
    assert summary == "ds2: 2 of 4 utterances could not be decoded"


def test_labels_are_named_only_where_they_explain_what_is_wrong(capsys, tmp_path: Path) -> None:
    good = spoken("a")
    wrong = {"whole": good.astype(np.int64), "empty": good[:0], "cube": good[None], "nan": good * np.nan}
    np.savez(tmp_path / "set.npz", columns=good[:, :20], **wrong)
    _, _, err = run(capsys, tmp_path / "set.npz")
    lines = dict(line.removeprefix("ds2: set/").split(": ", 1) for line in err.splitlines()[:-1])
    assert set(lines) == {"columns", *wrong}
    assert [name for name, line in lines.items() if "The labels are the default" in line] == ["columns"]


def test_output_is_written_whole(capsys, several: Path, tmp_path: Path) -> None:
    status, out, err = run(capsys, several, "--greedy", "--output", tmp_path / "out.txt")
    assert (status, out, err) == (0, "", "")
    assert (tmp_path / "out.txt").read_text() == "set/first\thello there\nset/second\tit's me\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "set.npz"]


def test_an_interruption_keeps_what_was_done_apart(
    capsys, several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_batch, calls = GreedyDecoder.decode_batch, []

    def interrupted(self, matrices):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode_batch(self, matrices)

    monkeypatch.setattr(GreedyDecoder, "decode_batch", interrupted)
    names = [tmp_path / f"{name}.npy" for name in "abcdefghijk"]
    for name in names:
        np.save(name, spoken(name.stem))
    (tmp_path / "out.txt").write_text("from before\n")
    status, _, err = run(capsys, *names, "--greedy", "--threads", 1, "--output", tmp_path / "out.txt")
    assert status == 130
    assert "what was done is in" in err
    assert (tmp_path / "out.txt").read_text() == "from before\n"
    assert (tmp_path / "out.txt.part").read_text() == "".join(f"{name}\t{name}\n" for name in "abcdefgh")


def test_output_that_cannot_be_written_is_one_line(capsys, several: Path, tmp_path: Path) -> None:
    status, out, err = run(capsys, several, "--greedy", "--output", tmp_path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "found a folder" in err
    status, _, err = run(capsys, several, "--greedy", "--output", "/dev/full")
    assert (status, err) == (2, "ds2: error: /dev/full: cannot be written: No space left on device.\n")
    assert run(capsys, several, "--greedy", "--output", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()
    code = f"from deepspeech2.cli.main import main; main(['decode', {str(several)!r}, '--greedy'])"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2,
        "ds2: error: standard output: cannot be written: No space left on device\n",
    )


def test_where_nothing_was_decoded_the_output_from_before_stays(capsys, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", np.full((3, 29), np.nan))
    (tmp_path / "out.txt").write_text("from before\n")
    assert run(capsys, tmp_path / "bad.npy", "--greedy", "--output", tmp_path / "out.txt")[0] == 1
    assert (tmp_path / "out.txt").read_text() == "from before\n"


def test_order_does_not_depend_on_threads(capsys, tmp_path: Path) -> None:
    texts = [("ab " * (1 + 7 * number % 5)).strip() + chr(ord("c") + number) for number in range(20)]
    np.savez(tmp_path / "x.npz", **{f"u{number}": spoken(text) for number, text in enumerate(texts)})
    _, out, _ = run(capsys, tmp_path / "x.npz", "--beam-size", 4, "--threads", 3)
    assert out == "".join(f"x/u{number}\t{text}\n" for number, text in enumerate(texts))


def test_labels_come_from_the_file_and_the_option_goes_first(capsys, tmp_path: Path) -> None:
    log_probs = np.log([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=log_probs, labels=np.array(["p", "q"]))
    (tmp_path / "labels.txt").write_text("m\nn\n")
    assert run(capsys, tmp_path / "x.npz", "--greedy")[1] == "pq\n"
    assert run(capsys, tmp_path / "x.npz", "--greedy", "--labels", tmp_path / "labels.txt")[1] == "mn\n"
    np.savez(tmp_path / "y.npz", x=log_probs, labels=np.array(["q", "p"]))
    status, _, err = run(capsys, tmp_path / "x.npz", tmp_path / "y.npz", "--greedy")
    assert status == 2
    assert "different labels" in err


def test_a_hot_word_wins_a_close_call(capsys, tmp_path: Path) -> None:
    log_probs = spoken("cot")
    column = {letter: LABELS.index(letter) for letter in "oa"}
    log_probs[2, column["a"]], log_probs[2, column["o"]] = np.log(0.45), np.log(0.5)
    log_probs[2] -= np.logaddexp.reduce(log_probs[2])
    np.save(tmp_path / "one.npy", log_probs)
    assert run(capsys, tmp_path / "one.npy", "--beam-size", 8)[1] == "cot\n"
    assert run(capsys, tmp_path / "one.npy", "--beam-size", 8, "--hotword", "cat=2")[1] == "cat\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "at least one .npz or .npy"),
        (["missing.npz"], "missing.npz: no such file"),
        (["one.npy", "--greedy", "--beam-size", "4"], "--beam-size"),
        (["one.npy", "--greedy", "--n-best", "4"], "--n-best"),
        (["one.npy", "--greedy", "--hotword", "a=1"], "--hotword"),
        (["one.npy", "--alpha", "1"], "add --lm FILE"),
        (["one.npy", "--fast"], "add --lm FILE"),
        (["one.npy", "--hotword", "word"], "'word'"),
        (["one.npy", "--hotword", "word=high"], "'word=high'"),
        (["one.npy", "--hotword", "=3"], "'=3'"),
        (["one.npy", "--beam-size", "0"], "beam_size"),
        (["one.npy", "--beam-size", "many"], "many"),
        (["one.npy", "--threads", "0"], "--threads"),
        (["one.npy", "--lm", "missing.arpa"], "missing.arpa"),
        (["one.npy", "--labels", "missing.txt"], "missing.txt"),
        (["one.npy", "--format", "xml"], "xml"),
        (["one.npy", "--greedy", "--output", "no/such/folder/out.txt"], "cannot be written"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("one.npy", spoken("a"))
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.startswith("ds2: error: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["one.npy"]


def test_decoding_imports_no_torch(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", spoken("a"))
    code = (
        "import sys; from deepspeech2.cli.main import main; "
        f"main(['decode', {str(tmp_path / 'one.npy')!r}, '--beam-size', '4']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "a\n")


@pytest.mark.parametrize("read", ["set.npz", "words.arpa", "labels.txt"])
def test_what_is_read_is_not_written_over(capsys, several: Path, tmp_path: Path, read: str) -> None:
    (tmp_path / "words.arpa").write_bytes((Path(__file__).parents[1] / "data" / "ctc" / "words.arpa").read_bytes())
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    before = (tmp_path / read).read_bytes()
    output = tmp_path / "link"
    output.symlink_to(tmp_path / read)
    given = (several, "--lm", tmp_path / "words.arpa", "--labels", tmp_path / "labels.txt", "--output", output)
    status, out, err = run(capsys, *given)
    assert (status, out) == (2, "")
    assert f"link: is read ({tmp_path / read}), and would be written over" in err
    assert err.count("\n") == 1
    assert (tmp_path / read).read_bytes() == before


def small_model(path: Path, words: str) -> Path:
    unigrams = "".join(f"-1\t{word}\n" for word in words.split())
    count = 3 + len(words.split())
    path.write_text(f"\\data\\\nngram 1={count}\n\n\\1-grams:\n-99\t<s>\n-1\t</s>\n-2\t<unk>\n{unigrams}\n\\end\\\n")
    return path


def test_a_cutoff_that_keeps_only_what_the_lexicon_forbids_loses_no_utterance(capsys, tmp_path: Path) -> None:
    # "x" all but certain in the second place, where only "e" makes a word: that frame is decoded whole.
    model = small_model(tmp_path / "lm.arpa", "hello there")
    log_probs = spoken("hello")
    log_probs[2] = np.log(1e-3 / 28)
    log_probs[2, LABELS.index("x")], log_probs[2, LABELS.index("e")] = np.log(0.989), np.log(0.01)
    np.save(tmp_path / "one.npy", log_probs - np.logaddexp.reduce(log_probs, axis=1, keepdims=True))
    found = run(capsys, tmp_path / "one.npy", "--lm", model, "--cutoff-prob", 0.9, "--beam-size", 8)
    assert found == (0, "hello\n", "")


def test_a_model_in_the_other_case_is_named(capsys, several: Path, tmp_path: Path) -> None:
    model = small_model(tmp_path / "upper.arpa", "HELLO THERE")
    status, out, err = run(capsys, several, "--lm", model, "--beam-size", 8)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "upper.arpa: none of the 2 words" in err
    assert "'HELLO' cannot but would in the other case" in err
    mostly = small_model(tmp_path / "mostly.arpa", "HELLO THERE hello")
    status, out, err = run(capsys, several, "--lm", mostly, "--beam-size", 8)
    assert (status, out.count("\n"), err.count("\n")) == (0, 2, 1)
    assert err.startswith(f"ds2: warning: {mostly}: 2 of the 3 words")


def test_pauses_are_asked_for(capsys, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", spoken("  he"))
    model = Path(__file__).parents[1] / "data" / "ctc" / "words.arpa"
    options = ("--lm", model, "--alpha", 0.1, "--beta", 0)
    assert run(capsys, tmp_path / "one.npy", *options, "--pauses") == (0, "he\n", "")
    _, without, _ = run(capsys, tmp_path / "one.npy", *options)
    assert len(without.split()) == 2
    status, _, error = run(capsys, tmp_path / "one.npy", "--pauses")
    assert status == 2
    assert error.startswith("ds2: error: --pauses is about a language model")
