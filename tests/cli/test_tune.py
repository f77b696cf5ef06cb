"""`ds2 tune` as a user sees it, on a set where alpha decides between two words."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from deepspeech2.cli.main import main
from deepspeech2.ctc import BeamDecoder

LABELS = "abcdefghijklmnopqrstuvwxyz' "
ARPA = """\\data\\
ngram 1=6
ngram 2=1

\\1-grams:
-3.0\t<unk>\t0
-99\t<s>\t0
-1.0\t</s>
-0.5\tcat\t0
-1.5\tcot\t0
-1.0\tsat\t0

\\2-grams:
-0.7\tsat </s>

\\end\\
"""
# Two hundredths of a nat of alpha 0 do not save "cat"; with much more than alpha 1 even a clear "cot" is lost.
UTTERANCES = (("cat sat", 0.3, "cat sat"), ("cot sat", 3.5, "cot sat"))


def spoken(text: str, margin: float) -> np.ndarray:
    """Log-probabilities of `text` in which "o" is heard `margin` nats clearer than "a" in the first word."""
    symbols = [column for letter in text for column in (LABELS.index(letter), len(LABELS))]
    scores = np.zeros((len(symbols), len(LABELS) + 1), np.float32)
    scores[np.arange(len(symbols)), symbols] = 12.0
    scores[2, LABELS.index("o")] = 12.0
    scores[2, LABELS.index("a")] = 12.0 - margin
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = 0
    try:
        main(["tune", *map(str, arguments)])
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPSPEECH2_CACHE", str(tmp_path / "cache"))
    matrices = [spoken(text, margin) for text, margin, _ in UTTERANCES]
    offsets = np.cumsum([0, *map(len, matrices)])
    Path("lm.arpa").write_text(ARPA)
    Path("dev.txt").write_text("".join(f"{said}\n" for _, _, said in UTTERANCES))
    np.savez("dev.npz", log_probs=np.concatenate(matrices), offsets=offsets)
    return tmp_path


GRID = ("--alpha", 0, 3, "--alphas", 4, "--beta", 0, 0, "--refinements", 0, "--beam-size", 8, "--threads", 1)
USUAL = ("dev.npz", "--lm", "lm.arpa", "--references", "dev.txt", *GRID)


def points(path: str = "tuning.jsonl") -> dict[float, float]:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return {line["alpha"]: line["wer"] for line in lines[1:]}


def test_it_finds_the_alpha_that_gets_both_words_right(capsys, folder: Path) -> None:
    status, out, _ = run(capsys, *USUAL)
    # ln P(cat) - ln P(cot) is 2.3: alpha 0 leaves "cot" in the first, alpha 2 puts "cat" into the second.
    assert status == 0
    assert points() == {0.0: 0.25, 1.0: 0.0, 2.0: 0.25, 3.0: 0.25}
    assert "best: --lm lm.arpa --alpha 1 --beta 0" in out
    assert "word error rate 0.00%" in out
    svg = ET.parse("tuning.svg").getroot()
    titles = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert "alpha 1, beta 0: 0.000%" in titles
    assert len(titles) == 4


def test_an_interrupted_search_goes_on(capsys, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(capsys, *USUAL, "--results", "whole.jsonl")
    decode_batch = BeamDecoder.decode_batch
    calls = []

    def interrupted(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode_batch(self, *arguments, **options)

    monkeypatch.setattr(BeamDecoder, "decode_batch", interrupted)
    status, _, err = run(capsys, *USUAL)
    assert status == 130
    assert "goes on from tuning.jsonl" in err
    assert len(points()) == 2
    calls[:] = [1] * 10
    status, out, _ = run(capsys, *USUAL)
    assert status == 0
    assert len(calls) == 12
    assert points() == points("whole.jsonl")
    assert "--alpha 1 " in out


def test_a_line_cut_short_is_done_again(capsys, folder: Path) -> None:
    run(capsys, *USUAL)
    whole = Path("tuning.jsonl").read_text()
    Path("tuning.jsonl").write_text(whole[:-20])
    assert run(capsys, *USUAL)[0] == 0
    assert Path("tuning.jsonl").read_text() == whole


def test_results_of_other_inputs_are_not_mixed_in(capsys, folder: Path) -> None:
    run(capsys, *USUAL)
    before = Path("tuning.jsonl").read_text()
    Path("lm.arpa").write_text(ARPA.replace("-1.5", "-1.4"))
    status, _, err = run(capsys, *USUAL)
    assert status == 2
    assert "tuning.jsonl: these results are of other inputs" in err
    assert Path("tuning.jsonl").read_text() == before


@pytest.mark.parametrize("other", [["--beam-size", "9"], ["--compat", "baidu"], ["--fast"]], ids=str)
def test_results_of_another_search_are_not_mixed_in(capsys, folder: Path, other: list[str]) -> None:
    grid = [item for item in USUAL if item not in ("--beam-size", 8)]
    run(capsys, *grid)
    before = Path("tuning.jsonl").read_text()
    status, out, err = run(capsys, *grid, *other)
    assert (status, out) == (2, "")
    assert "tuning.jsonl: these results are of other inputs or another decoder" in err
    assert Path("tuning.jsonl").read_text() == before


def test_references_by_name_and_from_the_posteriors_file(capsys, folder: Path) -> None:
    run(capsys, *USUAL)
    expected = points()
    Path("named.txt").write_text("dev/1\tcot sat\ndev/0\tcat  sat\n")
    assert run(capsys, "dev.npz", "--lm", "lm.arpa", "--references", "named.txt", *GRID, "--results", "n.jsonl")[0] == 0
    assert points("n.jsonl") == expected
    with np.load("dev.npz") as data:
        np.savez("own.npz", **data, transcripts=np.array([said for _, _, said in UTTERANCES]))
    assert run(capsys, "own.npz", "--lm", "lm.arpa", *GRID, "--results", "o.jsonl")[0] == 0
    assert points("o.jsonl") == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lm", "lm.arpa"], "at least one .npz or .npy"),
        (["dev.npz", "--lm", "lm.arpa"], "--references FILE"),
        (["dev.npz", "--lm", "lm.arpa", "--references", "gone.txt"], "gone.txt"),
        (["dev.npz", "--lm", "lm.arpa", "--references", "short.txt"], "each of 2 utterances, but found 1"),
        (["dev.npz", "--lm", "lm.arpa", "--references", "other.txt"], "'dev/0'"),
        (["dev.npz", "--lm", "lm.arpa", "--references", "blank.txt"], "no word"),
        (["dev.npz", "--lm", "gone.arpa", "--references", "dev.txt"], "gone.arpa"),
        (["dev.npz", "--lm", "lm.arpa", "--references", "dev.txt", "--alpha", "2", "1"], "alpha"),
        (["dev.npz", "--lm", "lm.arpa", "--references", "dev.txt", "--results", "lm.arpa"], "lm.arpa: is read"),
        (["dev.npz", "--lm", "lm.arpa", "--references", "dev.txt", "--results", "map.svg"], "need a file each"),
        (["bad.npz", "--lm", "lm.arpa", "--references", "short.txt"], "bad: "),
        (["dev.npz"], "--lm"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(capsys, folder: Path, arguments: list[str], said: str) -> None:
    Path("short.txt").write_text("cat sat\n")
    Path("blank.txt").write_text("\n \n")
    Path("other.txt").write_text("a\tcat sat\nb\tcot sat\n")
    np.savez("bad.npz", x=np.zeros((3, 7), np.float32))
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.startswith("ds2: error: ")
    assert err.count("\n") == 1
    assert Path("lm.arpa").read_text() == ARPA


def test_a_file_without_a_line_break_is_not_taken_for_results(capsys, folder: Path) -> None:
    Path("notes.txt").write_text("alpha 0.7 was good")
    status, _, err = run(capsys, *USUAL, "--results", "notes.txt")
    assert status == 2
    assert "notes.txt: not a file of tuning results" in err
    assert Path("notes.txt").read_text() == "alpha 0.7 was good"


def test_files_are_written_under_names_of_their_own(capsys, folder: Path) -> None:
    """Two searches may run at a time: neither writes where the other is about to."""
    others = [Path(name) for name in ("tuning.jsonl.part", "tuning.svg.part")]
    for path in others:
        path.write_text("another search's")
    before = {path.name for path in folder.iterdir()}
    assert run(capsys, *USUAL)[0] == 0
    assert [path.read_text() for path in others] == ["another search's"] * 2
    assert {path.name for path in folder.iterdir()} - before == {"cache", "tuning.jsonl", "tuning.svg"}


def test_a_picture_that_cannot_be_written_is_known_before_the_search(capsys, folder: Path) -> None:
    status, _, err = run(capsys, *USUAL, "--picture", "nowhere/map.svg")
    assert status == 2
    assert "nowhere/map.svg: cannot be written" in err
    assert not Path("tuning.jsonl").exists()


@pytest.mark.parametrize("option", ["--picture", "--results"])
@pytest.mark.parametrize("read", ["dev.npz", "lm.arpa", "dev.txt", "labels.txt"])
def test_what_is_read_is_not_written_over(capsys, folder: Path, option: str, read: str) -> None:
    Path("labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    before = Path(read).read_bytes()
    status, out, err = run(capsys, *USUAL, "--labels", "labels.txt", option, read)
    assert (status, out) == (2, "")
    assert err.startswith(f"ds2: error: {read}: is read ({read}), and would be written over")
    assert err.count("\n") == 1
    assert Path(read).read_bytes() == before


def test_the_options_it_ends_with_are_those_it_searched_with(
    capsys, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    decode_batch = BeamDecoder.decode_batch

    def watched(self, *arguments, **options):
        searched.append(self.options)
        return decode_batch(self, *arguments, **options)

    monkeypatch.setattr(BeamDecoder, "decode_batch", watched)
    Path("labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    status, out, _ = run(capsys, *USUAL, "--fast", "--labels", "labels.txt")
    assert status == 0
    assert all((used.lookahead, used.recombine, used.beam_size) == (True, True, 8) for used in searched)
    line = next(line for line in out.splitlines() if line.startswith("best: "))
    assert line == "best: --lm lm.arpa --alpha 1 --beta 0 --fast --beam-size 8 --labels labels.txt"
