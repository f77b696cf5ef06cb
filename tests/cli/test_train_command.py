"""`ds2 train` in processes of its own: killed, resumed, and run twice side by side."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from deepspeech2.cli.main import main
from deepspeech2.speech import training, training_setup
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.options import ENGLISH_LABELS
from deepspeech2.speech.scoring import error_rates

RECIPE = """
[network]
recurrent_layers = 1
recurrent_size = 12
convolutions = [{ channels = 2, kernel = [41, 11], stride = [2, 3] }]

[training]
epochs = 2
checkpoint_steps = 3
average_best = 2
clip_norm = 5.0
batching = { batch_seconds = 6.0 }
schedule = { peak = 0.01, warmup_steps = 4 }

[augmentation]
speeds = [0.9, 1.0, 1.1]
spec_augment = { frequency_masks = 1, time_masks = 1 }
"""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(folder: Path, manifest: Path, recipe: Path, *more: str) -> list[str]:
    arguments = ["train", manifest, "--dev", manifest, "--output", folder, "--recipe", recipe, "--log-every", "1"]
    arguments += ["--no-utilisation"]
    return [str(Path(sys.executable).with_name("ds2")), *map(str, arguments), *more]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def log_records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_killed_training_resumes_to_the_same_weights(
    tmp_path: Path, recipe: Path, write_tones: Callable[..., Path], random_texts: Callable[[int], list[str]]
) -> None:
    manifest = write_tones(random_texts(48))
    cache = ("--cache", str(tmp_path / "cache"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole, manifest, recipe, *cache), check=True, env=ENVIRONMENT, capture_output=True)

    # Killed twice, each time as soon as the log shows some further update: between two saved states, in general.
    for threshold in (5, 11):
        process = subprocess.Popen(
            command(broken, manifest, recipe, "--resume", *cache),
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if (broken / "log.jsonl").exists() and len((broken / "log.jsonl").read_text().splitlines()) >= threshold:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the training ended before it was killed"
    subprocess.run(
        command(broken, manifest, recipe, "--resume", *cache), check=True, env=ENVIRONMENT, capture_output=True
    )

    for name in ("latest", "best", "average", "epoch-001", "epoch-002"):
        expected, found = (load_file(folder / f"{name}.safetensors") for folder in (whole, broken))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected), name
    steps = [(record["step"], record["loss"]) for record in log_records(broken)]
    assert steps == [(record["step"], record["loss"]) for record in log_records(whole)]


def test_two_processes_do_what_one_does_with_the_doubled_batch(
    tmp_path: Path, recipe: Path, write_tones: Callable[..., Path], random_texts: Callable[[int], list[str]]
) -> None:
    # One utterance fills a batch alone: the second process has none of it.
    manifest = write_tones([*random_texts(31), "abcd " * 22])
    accumulated = RECIPE.replace("epochs = 2", "epochs = 2\naccumulate = 2")
    doubled = tmp_path / "doubled.toml"
    doubled.write_text(accumulated.replace("batch_seconds = 6.0", "batch_seconds = 12.0"))
    recipe.write_text(accumulated)
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(command(one, manifest, doubled), check=True, env=ENVIRONMENT, capture_output=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    subprocess.run([*launcher, *command(two, manifest, recipe)], check=True, env=ENVIRONMENT, capture_output=True)

    alone, together = log_records(one), log_records(two)
    assert len(alone) == len(together) > 6
    for left, right in zip(alone, together, strict=True):
        assert left["step"] == right["step"]
        assert left["loss"] == pytest.approx(right["loss"], rel=2e-3)
        if "kind" not in left:  # which Adam and clipping would hide from the losses
            assert left["gradient_norm"] == pytest.approx(right["gradient_norm"], rel=2e-2)
    assert alone[-1]["dev_loss"] == pytest.approx(together[-1]["dev_loss"], rel=2e-3)


def test_processes_with_disks_of_their_own_go_on_together(
    tmp_path: Path, recipe: Path, write_tones: Callable[..., Path], random_texts: Callable[[int], list[str]]
) -> None:
    manifest = write_tones(random_texts(16))
    recipe.write_text(RECIPE.replace("warmup_steps = 4", 'warmup_steps = 4, decay = "constant"'))  # of any length alike
    cache = ("--cache", str(tmp_path / "cache"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]

    def train(name: str, *more: str) -> str:
        # Each process has a folder of its own, as on machines that share none.
        words = command(tmp_path / name / "RANK", manifest, recipe, *cache, *more)
        script = " ".join(shlex.quote(word).replace("RANK", '"$RANK"') for word in words)
        (tmp_path / name).mkdir(exist_ok=True)
        done = subprocess.run(
            [*launcher, "bash", "-c", f"exec {script}"], check=True, env=ENVIRONMENT, capture_output=True, text=True
        )
        return done.stderr

    train("whole")
    train("broken", "--epochs", "1")
    assert "resuming after update" in train("broken", "--resume")
    expected, found = (load_file(tmp_path / name / "0" / "latest.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert log_records(tmp_path / "broken" / "0")[-1]["epoch"] == 1


def test_what_a_training_came_to_is_said(
    tmp_path: Path,
    recipe: Path,
    write_tones: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe.write_text(RECIPE.replace("epochs = 2", "epochs = 9\npatience = 1"))
    alike = error_rates(["ab cd"], ["d"])
    monkeypatch.setattr(training, "evaluate_greedy", lambda *_: (1.0, *alike))
    words = command(tmp_path / "run", write_tones(["ab cd", "dad cab"]), recipe)[1:]
    for more, said, labels in (
        (
            (),
            "ended early: the last epoch is not better than the best before\n",
            "English symbols, which spell every text",
        ),
        (("--resume",), "already complete: ", "characters of the training gone on with"),
    ):
        main([*words, *more])
        output = capsys.readouterr().err
        assert said in output
        assert f"vocabulary: the 28 {labels}\n" in output
        assert f"best: epoch 1, WER 100.00%: {tmp_path / 'run' / 'best.safetensors'}\n" in output


def test_what_was_left_out_before_is_not_said_again(
    tmp_path: Path, recipe: Path, write_tones: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, folder = write_tones(["ab cd", "dad cab"]), tmp_path / "run"
    mended = manifest.read_text()
    manifest.write_text(mended.replace('"ab cd"', '" "'))
    words = [*command(folder, manifest, recipe)[1:], "--epochs", "1"]
    main(words)
    assert [json.loads(line)["reason"] for line in (folder / "left_out.jsonl").read_text().splitlines()] == [
        "empty transcript",
        "empty transcript",
    ]
    assert "all 2 that are left out" in capsys.readouterr().err
    manifest.write_text(mended)
    for path in (*folder.glob("*.safetensors"), folder / "log.jsonl"):
        path.unlink()
    main(words)
    assert (folder / "left_out.jsonl").read_text() == ""
    assert "left out" not in capsys.readouterr().err


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path, recipe: Path, write_tones: Callable[..., Path]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "training-state.safetensors").write_bytes(b"")
    result = subprocess.run(
        command(folder, write_tones(["abcd"]), recipe), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--resume" in result.stderr


def test_one_training_at_a_time_is_at_work_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second one, begun while the first gets ready, takes nothing from it: not even the lock."""
    folder = tmp_path / "new" / "run"
    words = ["train", "lost.jsonl", "--dev", "lost.jsonl", "--output", str(folder), "--no-utilisation"]
    taken = f"ds2: error: {folder}: another ds2 train is at work there; wait for it to end, or choose another folder\n"
    original = training_setup.set_up_training
    met = []

    def second_meanwhile(*given: Any, **options: Any) -> Any:
        for more in ([], ["--resume"]):
            left = folder / ".training-state.safetensors.abc.partial"
            left.write_bytes(b"half a state")
            with pytest.raises(SystemExit) as stopped:
                main([*words, *more])
            assert (stopped.value.code, capsys.readouterr().err) == (2, taken)
            left.unlink()  # the first one's own, and still there
            met.append(more)
        return original(*given, **options)

    monkeypatch.setattr(training_setup, "set_up_training", second_meanwhile)
    with pytest.raises(SystemExit):
        main(words)
    assert len(met) == 2
    assert "lost.jsonl: no such manifest" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []  # nothing came of it


def test_a_training_without_its_state_is_not_overwritten(
    tmp_path: Path, recipe: Path, write_tones: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    words = command(folder, write_tones(["ab cd", "dad cab"]), recipe)[1:]
    main(words)
    (folder / "training-state.safetensors").unlink()
    capsys.readouterr()
    whole = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert "epoch-002.safetensors" in whole

    def refused(*more: str) -> str:
        before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        with pytest.raises(SystemExit) as stopped:
            main([*words, "--epochs", "1", *more])
        assert stopped.value.code == 2
        assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    lost = "not its training-state.safetensors"
    assert lost in refused()
    assert lost in refused("--resume")
    # Whatever is left of it: a later epoch, the log with its epochs, a model without a log.
    for kept in ("epoch-002.safetensors", "log.jsonl", "latest.safetensors", "best.safetensors", "average.safetensors"):
        for name in whole:
            (folder / name).unlink(missing_ok=True)
        (folder / kept).write_bytes(whole[kept])
        assert lost in refused()
        assert lost in refused("--resume")


@pytest.mark.parametrize("models", [(), ("epoch-001", "latest", "best")])
def test_a_training_killed_before_its_first_state_begins_anew(
    tmp_path: Path,
    recipe: Path,
    write_tones: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    models: tuple[str, ...],
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.jsonl").write_text('{"step": 1, "epoch": 0, "position": 1, "loss": 9.0}\n{"step": 2, "ep')
    for name in models:
        (folder / f"{name}.safetensors").write_bytes(b"of before")
    words = [*command(folder, write_tones(["ab cd", "dad cab"]), recipe)[1:], "--epochs", "1"]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "ended before its first state; add --resume" in capsys.readouterr().err
    main([*words, "--resume"])
    assert "begins anew" in capsys.readouterr().err
    assert all(record["loss"] != 9.0 for record in log_records(folder))
    assert [record["step"] for record in log_records(folder) if "kind" not in record] == [1]
    assert (folder / "latest.safetensors").read_bytes() != b"of before"


def test_training_goes_on_from_the_model_of_the_package(
    tmp_path: Path, recipe: Path, write_tones: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_tones(["ab cd", "dad cab"])
    plain = tmp_path / "plain.toml"
    plain.write_text("[training]\nepochs = 1\n")
    arguments = ["train", str(manifest), "--dev", str(manifest), "--no-utilisation", "--initial-model", "small"]
    main([*arguments, "--output", str(tmp_path / "tuned"), "--recipe", str(plain)])
    assert load_model(tmp_path / "tuned" / "latest.safetensors").labels == ENGLISH_LABELS
    for wrong, message in (
        (["--recipe", str(recipe)], "the recipe's network is not that of small"),
        (["--recipe", str(plain), "--vocabulary", str(plain)], "plain.toml:1: expected one character a line"),
        (["--log-every", "0"], "expected --log-every of 1 or more, found 0"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--output", str(tmp_path / "other"), *wrong])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("inside", ["file", "file/deeper", "new/deeper"])
def test_a_folder_that_cannot_be_written_is_named_first(
    tmp_path: Path, inside: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["train", str(tmp_path / "lost.jsonl"), "--dev", str(tmp_path / "lost.jsonl")]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--output", str(tmp_path / inside)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert ("cannot be written" if inside.startswith("file") else "lost.jsonl: no such manifest") in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
