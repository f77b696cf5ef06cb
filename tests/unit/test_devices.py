"""Where a network runs: names, and that nothing reads a tensor where it is not."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deepspeech2.errors import OptionError
from deepspeech2.speech.build import build_model
from deepspeech2.speech.ctc_loss import ctc_losses
from deepspeech2.speech.devices import choose_device, device_of
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.precision import forward_in

PROGRAM = Path(__file__).parents[1] / "other_device.py"


def test_without_a_gpu_everything_is_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert choose_device() == choose_device("auto") == choose_device("cpu") == torch.device("cpu")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_found_and_processes_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device() == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("cuda") == choose_device("auto") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")
    for name in ("cuda:2", "xpu"):
        with pytest.raises(OptionError, match=r"finds here \(cpu, cuda:0, cuda:1\), found (cuda:2|xpu:1)$"):
            choose_device(name)


def test_other_accelerators_are_taken_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's CTC loss is for the CPU and CUDA.
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    assert choose_device() == torch.device("cpu")
    assert choose_device("mps") == torch.device("mps", 0)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_names_of_no_device(name: str) -> None:
    with pytest.raises(OptionError, match="expected a device such as auto, cpu or cuda:0, found"):
        choose_device(name)


def test_a_module_is_where_its_weights_are() -> None:
    assert device_of(torch.nn.Linear(2, 3, device="meta")) == torch.device("meta")
    assert device_of(torch.nn.ReLU()) == torch.device("cpu")


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory, eight_tones: Path) -> dict[str, Any]:
    arguments = [sys.executable, PROGRAM, eight_tones, tmp_path_factory.mktemp("device")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("cell", ["simple", "gru"])
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_networks_are_the_same_on_another_device(differences: dict[str, Any], cell: str, mode: str) -> None:
    assert len(differences[f"{cell} {mode}"]) == 4
    assert all(value < 1e-4 for value in differences[f"{cell} {mode}"].values()), differences


def test_training_is_the_same_on_another_device(differences: dict[str, Any]) -> None:
    assert differences["training"]["trained"] < 1e-3
    assert differences["training"]["resumed"] == 0


def test_recognition_is_the_same_on_another_device(differences: dict[str, Any]) -> None:
    found = differences["recognition"]
    assert found["text, float32"] is True
    assert found["log-probabilities, float32"] < 1e-4
    assert 0 < found["log-probabilities, int8"] < 0.1


@pytest.mark.parametrize("cell", ["simple", "gru"])
@pytest.mark.parametrize("training", [True, False])
def test_products_in_bfloat16(cell: str, training: bool) -> None:
    # What forward_in does on a GPU, done on the CPU: products round, sums, states and results stay float32.
    options = NetworkOptions(5, (ConvolutionOptions(4, (41, 11), (4, 3)),), 2, 16, cell=cell)  # type: ignore[arg-type]
    model = build_model(options, seed=1).train(training)
    x, frames = torch.randn(3, 161, 60), torch.tensor([60, 31, 9])
    expected = model(x, frames)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = model(x, frames)[0]
    found.mean().backward()
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.3
    assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in model.parameters())


def test_what_autocasts(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch, "autocast", lambda *arguments: called.append(arguments) or contextlib.nullcontext())
    for precision, device in (("bfloat16", "cpu"), ("bfloat16", "meta"), ("float32", "cuda")):
        with forward_in(precision, torch.device(device)):
            assert called == []
    with forward_in("bfloat16", torch.device("cuda", 1)):
        assert called == [("cuda", torch.bfloat16)]


def test_the_loss_takes_labels_beside_the_log_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    # As CUDA wants them; torch computes it there, on the CPU and on meta, and the CPU for all other devices.
    given: list[torch.Tensor] = []

    def ctc_loss(log_probs: torch.Tensor, labels: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        given.extend([log_probs, labels])
        return log_probs.new_zeros(1)

    monkeypatch.setattr(torch.nn.functional, "ctc_loss", ctc_loss)
    ctc_losses(torch.zeros(1, 9, 5, device="meta"), torch.tensor([9]), torch.tensor([1, 2]), torch.tensor([2]))
    assert [tensor.device.type for tensor in given] == ["meta", "meta"]
