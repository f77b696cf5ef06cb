"""`ds2 flops`: every format, every input, every mistake."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deepspeech2 import build_model, count
from deepspeech2.cli.main import main
from deepspeech2.flops.conventions import CONVENTIONS
from deepspeech2.flops.operations import KINDS

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "examples" / "clip_10s.flac"
GOLDEN = ROOT / "tests" / "golden" / "data"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    main(["flops", *map(str, arguments)])
    return capsys.readouterr().out


def fail(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["flops", *map(str, arguments)])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("ds2: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_json_of_the_published_model_at_999_frames(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(run(capsys, "librispeech", "--frames", 999, "--format", "json"))
    # 37.04 GFLOP of products when every recurrent step counts; the first step of each recurrence has no product.
    assert document["total"]["macs"] == 18_520_159_968 - 6 * 2048 * 2048
    assert document["input"] == {"seconds": 10.0, "frames": 999, "batch": 1, "shapes": [[1, 161, 999], [1]]}
    assert document["model"] == "librispeech"
    assert document["convention"] == "standard"
    assert document["complete"] is True
    assert document["unknown"] == []
    by_name = {row["name"]: row for row in document["layers"]}
    assert by_name["conv.0.convolution"]["macs"] == 389_274_336
    assert by_name["conv.1.convolution"]["macs"] == 3_229_535_232
    assert by_name["conv.1.convolution"]["output_shape"] == [1, 32, 41, 333]
    assert document["parameters"] == sum(row["parameters"] for row in document["layers"])


@pytest.mark.parametrize("depth", [None, 1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_rows_add_up_to_every_total(capsys: pytest.CaptureFixture[str], depth: int | None, training: bool) -> None:
    options = [*(["--depth", depth] if depth else []), *(["--training"] if training else [])]
    document = json.loads(run(capsys, "baidu-en8k", "--seconds", 2.5, "--batch", 3, "--format", "json", *options))
    total, layers = document["total"], document["layers"]
    for name in ("macs", "flops", "padding_macs", "modelled", "integer_operations", "notebook"):
        assert sum(row[name] for row in layers) == total[name], name
    for kind in KINDS:
        assert sum(row["kinds"][kind] for row in layers) == total["kinds"][kind], kind
    assert sum(total["kinds"].values()) == total["flops"]
    assert sum(row["headline"] for row in layers) == document["headline"]
    assert sum(row["share"] for row in layers) == pytest.approx(1)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_csv_and_markdown_columns_add_up(capsys: pytest.CaptureFixture[str], convention: str) -> None:
    arguments = ("aishell", "--frames", 50, "--convention", convention)
    rows = list(csv.DictReader(io.StringIO(run(capsys, *arguments, "--format", "csv"))))
    *layers, total = rows
    assert total["layer"] == "total"
    for column in ("parameters", "macs", "padding_macs", "operations", *KINDS):
        assert sum(int(row[column]) for row in layers) == int(total[column]), column

    lines = [line for line in run(capsys, *arguments, "--format", "markdown").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    header, body, last = cells[0], cells[2:-1], cells[-1]
    for column in ("parameters", "macs", "padding macs", "operations"):
        at = header.index(column)
        assert sum(int(row[at].replace(",", "")) for row in body) == int(last[at].replace(",", "")), column
    assert int(total["operations"]) == int(last[header.index("operations")].replace(",", ""))


def test_the_real_clip_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "default", CLIP)
    # 159,920 samples: (159920 - 320) // 160 + 1 = 998 frames, (998 - 1) // 3 + 1 = 333 of the network.
    assert "9.995 s of audio, 998 frames, batch 1" in text
    assert "1x32x81x333" in text
    # Dense products 3,953,834,208 less the six first recurrent steps of 256 x 256.
    assert f"{3_953_834_208 - 6 * 256 * 256:,}" in text
    for word in ("per second of audio", "features", "a model of the FFT", "without", "100.00%"):
        assert word in text


def test_audio_alone_means_the_default_model(capsys: pytest.CaptureFixture[str]) -> None:
    alone = json.loads(run(capsys, CLIP, "--format", "json"))
    named = json.loads(run(capsys, "default", CLIP, "--format", "json"))
    assert alone == named


def test_seconds_and_frames_name_the_same_input(capsys: pytest.CaptureFixture[str]) -> None:
    by_seconds = json.loads(run(capsys, "default", "--seconds", 10, "--format", "json"))
    by_frames = json.loads(run(capsys, "default", "--frames", 999, "--format", "json"))
    assert by_seconds == by_frames
    assert by_seconds == json.loads(run(capsys, "--format", "json"))


@pytest.mark.parametrize("kind", ["rnn_shared", "rnn_unshared", "gru"])
def test_baidu_checkpoints_count_like_the_architecture_they_hold(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    tar = json.loads(run(capsys, GOLDEN / kind / "params.tar.gz", "--frames", 91, "--format", "json"))
    fluid = json.loads(run(capsys, GOLDEN / kind / "params.pdparams", "--frames", 91, "--format", "json"))
    assert tar["total"] == fluid["total"]
    layers, units, gates = {"rnn_shared": (3, 16, 1), "rnn_unshared": (2, 12, 1), "gru": (2, 12, 3)}[kind]
    steps = (91 - 1) // 3 + 1
    convolution = 32 * 81 * steps * 41 * 11
    flat = 32 * 81
    if kind == "rnn_shared":
        convolution += 32 * 41 * steps * 32 * 21 * 11
        flat = 32 * 41
    widths = [flat, *[2 * units] * (layers - 1)]
    projections = sum(widths) * units * gates * steps * (1 if kind == "rnn_shared" else 2)
    recurrences = layers * 2 * (steps - 1) * units * units * gates
    assert tar["total"]["macs"] == convolution + projections + recurrences + steps * 2 * units * 29


def test_training_counts_forward_twice_back_and_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(run(capsys, "default", "--frames", 300, "--training", "--format", "json"))
    macs = dict.fromkeys(("forward", "backward", "optimiser"), 0)
    flops = dict(macs)
    for row in document["layers"]:
        macs[row["phase"]] += row["macs"]
        flops[row["phase"]] += row["flops"]
    first_convolution = next(row for row in document["layers"] if row["name"] == "conv.0.convolution")
    # Gradients of both operands of every product, but the spectrogram itself needs none.
    assert macs["backward"] == 2 * macs["forward"] - first_convolution["macs"]
    # Adam: five multiplications, five additions, a root and two divisions per parameter.
    assert flops["optimiser"] == 13 * document["parameters"]


def test_no_cell_of_a_training_table_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    """It is wider than a terminal, and a number without its end is none."""
    main(["flops", "small", "--training", "--frames", "99"])
    table = capsys.readouterr().out
    assert "\u2026" not in table
    assert "batch_norm_backward" in table


def test_formula_in_three_forms(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {}
    exec(run(capsys, "librispeech", "--formula", "python"), namespace)
    operations = namespace["operations"]
    assert callable(operations)
    document = json.loads(run(capsys, "librispeech", "--frames", 1234, "--batch", 5, "--format", "json"))
    assert operations(5, 1234) == document["total"]["flops"]
    assert "floor(" in run(capsys, "librispeech", "--formula", "text")
    assert r"\lfloor" in run(capsys, "librispeech", "--formula", "latex")


def test_an_exported_program_counts_like_its_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = build_model("default", seed=1)
    inputs = (torch.zeros(1, 161, 30), torch.tensor([30]))
    torch.export.save(torch.export.export(model, inputs), tmp_path / "model.pt2")
    document = json.loads(run(capsys, tmp_path / "model.pt2", "--frames", 30, "--format", "json"))
    expected = count(model, inputs)
    assert document["total"]["kinds"] == expected.kinds
    assert document["total"]["padding_macs"] == expected.padding_macs


def test_torchscript_counts_like_its_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(161, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    with pytest.warns(DeprecationWarning):
        torch.jit.trace(module, torch.zeros(2, 161)).save(tmp_path / "model.ts")
    document = json.loads(run(capsys, tmp_path / "model.ts", "--shape", "2,161", "--format", "json"))
    assert document["total"]["macs"] == 2 * 161 * 8 + 2 * 8 * 3
    assert document["total"]["kinds"]["compare"] == 2 * 8


def test_output_is_written_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "counts.json"
    assert run(capsys, "default", "--format", "json", "--output", target) == ""
    assert json.loads(target.read_text())["model"] == "default"
    before = target.read_bytes()
    fail(capsys, "default", "--seconds", 0, "--output", target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["librispech"], ["librispech", "librispeech", "Did you mean"]),
        (["nowhere.tar.gz"], ["nowhere.tar.gz", "neither a preset"]),
        (["default", "--seconds", "0"], ["--seconds must be positive", "0"]),
        (["default", "--seconds", "-3"], ["--seconds must be positive", "-3"]),
        (["default", "--seconds", "nan"], ["--seconds"]),
        (["default", "--seconds", "inf"], ["--seconds must be positive and finite, found inf"]),
        (["default", "--seconds", "0.01"], ["160 samples", "shorter than one window of 320"]),
        (["default", "--frames", "0"], ["--frames must be at least 1"]),
        (["default", str(CLIP), "--frames", "9"], ["AUDIO and --frames"]),
        (["default", "--batch", "0"], ["--batch must be at least 1"]),
        (["default", "--depth", "0"], ["--depth must be at least 1"]),
        (["default", "--convention", "macs"], ["macs", "Did you mean 'mac'"]),
        (["default", "--format", "xml"], ["xml", "json"]),
        (["default", "nowhere.flac"], ["nowhere.flac"]),
        (["default", "--shape", "1,2"], ["(1, 2)", "161"]),
        (["default", "--shape", "1,x"], ["1,x"]),
        (["default", "--frames", "many"], ["many"]),
        (["default", "--bogus"], ["--bogus"]),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    message = fail(capsys, *arguments)
    for word in words:
        assert word in message


def test_the_shapes_of_a_report_are_of_what_the_model_took(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(run(capsys, "torch.nn:Conv1d(161,4,5)", "--seconds", 2, "--format", "json"))
    # 199 windows of 20 ms each 10 ms; five taps fit 195 times.
    assert document["input"] == {"seconds": 2.0, "frames": 199, "batch": 1, "shapes": [[1, 161, 199]]}
    assert document["total"]["macs"] == 4 * 161 * 5 * 195


def test_a_model_that_needs_other_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = torch.export.export(torch.nn.Linear(40, 4), (torch.zeros(2, 40),))
    torch.export.save(program, tmp_path / "linear.pt2")
    message = fail(capsys, tmp_path / "linear.pt2")
    assert "does not take spectrograms of shape (1, 161, 999)" in message
    assert "--shape" in message


def test_files_that_are_no_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a model")
    fail(capsys, text)
    pickled = tmp_path / "whole.pt"
    torch.save({"weight": torch.zeros(2)}, pickled)
    assert "whole.pt" in fail(capsys, pickled)
    broken = tmp_path / "broken.pt2"
    broken.write_bytes(b"PK\x03\x04 not really")
    fail(capsys, broken)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom deepspeech2.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "flops" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["default", "--label-length", "5"], ["add --training"]),
        (["default", "--optimiser", "sgd"], ["add --training"]),
        (
            ["torch.nn:Linear(4,4)", "--shape", "1,4", "--training", "--label-length", "9"],
            ["--label-length", "without a loss", "torch.nn:Linear"],
        ),
        (["default", "--formula", "text", "--training"], ["--formula"]),
        (["default", "--formula", "text", "--depth", "1"], ["--formula"]),
        (["default", "--batch", "7", "--shape", "2,3"], ["--batch"]),
        (["default", "--training", "--frames", "30", "--label-length", "11"], ["from 1 to 10", "11"]),
        (["default", "--seconds", "1e300"], ["more than a tensor can hold"]),
        (["default", "--frames", "100000000000000000000"], ["more than a tensor can hold"]),
        (["default", "--shape", "99999999999,99999999999"], ["more than a tensor can hold"]),
    ],
)
def test_options_that_would_do_nothing_or_too_much(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    message = fail(capsys, *arguments)
    for word in words:
        assert word in message


def test_the_formula_does_not_depend_on_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    short = run(capsys, "default", "--frames", 1, "--formula", "text")
    assert short == run(capsys, "default", "--frames", 3000, "--batch", 4, "--formula", "text")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_is_told_that_a_formula_takes_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    main(["flops", "torch.nn:Linear(4,3)", "--shape", "2,4", "--formula", "text", "--convention", "mac"])
    captured = capsys.readouterr()
    assert captured.out.startswith("mac: 12*batch\n")
    assert captured.err.startswith("ds2: deriving the formula") == terminal
    assert (captured.err == "") != terminal
