"""`ds2 convert` from outside: what it writes, what it prints, and how it refuses."""

from pathlib import Path

import numpy as np
import pytest

from deepspeech2.cli.main import main
from deepspeech2.speech.checkpoints import load_model

DATA = Path(__file__).parents[1] / "golden" / "data"


def convert(capsys, *arguments, status=0):
    try:
        main(["convert", *map(str, arguments)])
    except SystemExit as stopped:
        assert stopped.code == status
    else:
        assert status == 0
    return capsys.readouterr()


def test_a_release_with_its_vocabulary_and_normalizer(tmp_path, capsys) -> None:
    vocabulary, normalizer, target = tmp_path / "vocab.txt", tmp_path / "mean_std.npz", tmp_path / "out.safetensors"
    vocabulary.write_text("".join(f"{chr(0x4E00 + index)}\n" for index in range(27)) + " \n", encoding="utf-8")
    np.savez(normalizer, mean=np.arange(161.0)[:, None], std=np.ones((161, 1)))
    done = convert(capsys, DATA / "gru" / "params.tar.gz", target, "--normalizer", normalizer, "--labels", vocabulary)
    assert done.out == (
        f"{target}: from Baidu v2, 1 convolutions, 2 GRU layers of 12, 28 labels (known), with normalizer, "
        "205,733 parameters\n"
    )
    model = load_model(target)
    assert model.labels[0] == "一"
    assert model.labels[27] == " "
    assert model.normalizer.mean[5] == 5


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("absent.tar.gz", "out.safetensors", "absent.tar.gz: no such file"),
        ("bad", "out.safetensors", "bad: not a checkpoint"),
        ("bad", "out.pt", "out.pt: expected a name that ends in .safetensors"),
        ("bad", "absent/out.safetensors", "no such folder"),
        ("same.safetensors", "same.safetensors", "would be written over"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(tmp_path, capsys, source, target, message) -> None:
    (tmp_path / "bad").write_bytes(b"nothing")
    (tmp_path / "same.safetensors").write_bytes(b"nothing")
    before = sorted(tmp_path.iterdir())
    done = convert(capsys, tmp_path / source, tmp_path / target, status=2)
    assert message in done.err
    assert done.err.startswith("ds2: error: ")
    assert done.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--normalizer", "--labels"])
def test_what_is_read_besides_is_not_written_over(tmp_path, capsys, option) -> None:
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"nothing")
    done = convert(capsys, DATA / "gru" / "params.tar.gz", target, option, target, status=2)
    assert f"{target}: is read" in done.err
    assert target.read_bytes() == b"nothing"
