"""The log of a training: JSON lines that a resumption takes back, and TensorBoard's curves."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deepspeech2.cli.main import main
from deepspeech2.errors import OptionError
from deepspeech2.speech.training_checkpoints import TrainingState
from deepspeech2.speech.training_log import TrainingLog
from deepspeech2.speech.training_reports import EpochReport, StepReport


def step(number: int) -> StepReport:
    return StepReport(number, 0, number, 9, 3.0 - number / 4, 1e-3 * number, 2.5, 0.5, 0.1, 20.0, ((2, 300),))


EPOCH = EpochReport(0, 3, 2.0, 2.25, 0.75, 0.5, 1e-4, 10.0, 0)


def test_a_resumption_takes_back_what_came_after_its_state(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, every=1)
    for number in (1, 2, 3):
        log.step(step(number))
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # as a kill leaves it
    log = TrainingLog(tmp_path, state=TrainingState(step=2), every=1)
    log.step(step(3))
    log.epoch(EPOCH)
    log.close()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 3]
    assert records[-1]["kind"] == "epoch"
    assert records[-1]["wer"] == 0.75


def test_an_epoch_that_was_saved_is_logged_once(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, every=1)
    for number in (1, 2, 3):
        log.step(step(number))
    log.close()
    # Killed after the state was saved and before the log was written; then again, at the same place.
    state = TrainingState(step=3, epoch=1, history=[asdict(EPOCH)])
    for _ in range(2):
        TrainingLog(tmp_path, state=state, every=1).close()
        records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [record["step"] for record in records] == [1, 2, 3, 3]
        assert records[-1] == {"kind": "epoch", **asdict(EPOCH)}
    # The state of an epoch's last update, in which the epoch has not ended yet.
    TrainingLog(tmp_path, state=TrainingState(step=3, epoch=0, position=9), every=1).close()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record.get("kind") for record in records] == [None, None, None]


@pytest.mark.parametrize(
    "damage",
    [
        b"{'step': 2}",
        b'{"step": 2, "loss": \xff}',
        b'{"epoch": 0, "loss": 1.0}',
        b'{"step": "two"}',
        b'{"step": true}',
        b"[2]",
        b"\0\0\0\0",
        b"",
        b'{"kind": "epoch", "step": 3}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_is_left_out_and_said(tmp_path: Path, damage: bytes) -> None:
    log = TrainingLog(tmp_path, every=1)
    for number in (1, 2, 3):
        log.step(step(number))
    log.close()
    path, said = tmp_path / "log.jsonl", []
    first, second, third = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, damage, second, damage, third, b'{"step": 4, "lo']))
    TrainingLog(tmp_path, state=TrainingState(step=3), every=1, notify=said.append).close()
    assert path.read_bytes().splitlines() == [first, second, third]
    assert said == [f"{path}: 2 lines cannot be read and are left out"]
    TrainingLog(tmp_path, state=TrainingState(step=3), every=1).close()  # with the line the warning is gone


def test_an_epoch_whose_line_is_damaged_is_put_back_in_its_place(tmp_path: Path) -> None:
    epochs = [replace(EPOCH, epoch=number, step=2 * number + 2) for number in range(3)]
    log = TrainingLog(tmp_path, every=1)
    for number in range(1, 7):
        log.step(step(number))
        if number % 2 == 0:
            log.epoch(epochs[number // 2 - 1])
    log.close()
    path = tmp_path / "log.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace('"epoch": 1, "step": 4', '"epoch": 1, "step": '))
    state = TrainingState(step=6, epoch=3, history=[asdict(epoch) for epoch in epochs])
    with pytest.warns(UserWarning, match="1 line cannot be read and is left out"):
        TrainingLog(tmp_path, state=state, every=1).close()
    assert path.read_text() == whole


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_the_curves(tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no TensorBoard")
    log = TrainingLog(tmp_path, every=2, tensorboard=True)
    for number in (1, 2, 3, 4):
        log.step(step(number))
    log.epoch(EPOCH)
    log.close()
    events = reading.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(2, 2.5), (4, 2.0)]
    assert [(event.step, event.value) for event in events.Scalars("epoch/wer")] == [(3, 0.75)]
    assert {"train/learning_rate", "train/gradient_norm", "epoch/loss", "epoch/dev_loss", "epoch/cer"} <= set(
        events.Tags()["scalars"]
    )


def test_a_missing_tensorboard_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(OptionError, match="TensorBoard is not installed"):
        TrainingLog(tmp_path, tensorboard=True)
    with pytest.raises(SystemExit, match="2"):
        main(["train", "lost.jsonl", "--dev", "lost.jsonl", "--output", str(tmp_path / "run"), "--tensorboard"])
    assert "TensorBoard is not installed" in capsys.readouterr().err  # and not that the manifest is
