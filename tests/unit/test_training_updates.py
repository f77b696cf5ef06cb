"""What one update does, option by option, beside the same done by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepspeech2.ctc import Alphabet
from deepspeech2.speech.build import build_model
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.data.prepare import fit_normalizer
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.objective import evaluate_greedy
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.training import Trainer
from deepspeech2.speech.training_options import ScheduleOptions, TrainingOptions
from deepspeech2.speech.training_reports import StepReport

LABELS = (" ", "a", "b", "c", "d")
NETWORK = NetworkOptions(
    vocab_size=5,
    convolutions=(ConvolutionOptions(2, (41, 11), (4, 3)),),
    recurrent_layers=2,
    recurrent_size=6,
    cell="gru",
)
OPTIONS = TrainingOptions(
    epochs=1,
    batching=BatchingOptions(batch_seconds=4.0, sortagrad=False),
    schedule=ScheduleOptions(peak=0.01, warmup_steps=3, decay="linear"),
    clip_norm=None,
    norm_by_times=False,
    average_best=0,
    workers=0,
)


@pytest.fixture
def loader(write_tones: Callable[..., Path], random_texts: Callable[[int], list[str]]) -> BatchLoader:
    utterances = read_manifest(write_tones(random_texts(12)))
    return BatchLoader(utterances, LABELS, fit_normalizer(utterances, 12))


def trainer(loader: BatchLoader, folder: Path, options: TrainingOptions) -> Trainer:
    model = build_model(NETWORK, seed=1, labels=LABELS)
    model.normalizer = loader.normalizer
    return Trainer(model, loader, loader, options, folder)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_updates_are_those_of_the_optimizer_asked_for(loader: BatchLoader, tmp_path: Path, optimizer: str) -> None:
    decay, betas = 0.3, (0.5, 0.7)
    options = replace(OPTIONS, optimizer=optimizer, weight_decay=decay, betas=betas)
    run = trainer(loader, tmp_path, options)
    weight = run.model.output.weight
    gradients: list[np.ndarray] = []
    made = run._optimizer.step

    def step() -> None:
        assert weight.grad is not None
        gradients.append(weight.grad.double().numpy().copy())
        made()

    run._optimizer.step = step  # type: ignore[method-assign, assignment]
    value = weight.detach().double().numpy().copy()
    reports: list[StepReport] = []
    run.run(reports.append)

    # Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2.
    first, second = np.zeros_like(value), np.zeros_like(value)
    for number, (gradient, report) in enumerate(zip(gradients, reports, strict=True), start=1):
        share = (number - 1) / report.batches  # of the one epoch, before this update
        rate = 0.01 * min(number / 3, 1.0) * (1 - share)
        assert report.learning_rate == pytest.approx(rate)
        decayed = gradient + decay * value if optimizer == "adam" else gradient
        value *= 1.0 if optimizer == "adam" else 1 - rate * decay
        first = betas[0] * first + (1 - betas[0]) * decayed
        second = betas[1] * second + (1 - betas[1]) * decayed**2
        value -= rate * first / (1 - betas[0] ** number) / (np.sqrt(second / (1 - betas[1] ** number)) + 1e-8)
    assert len(reports) > 4
    np.testing.assert_allclose(weight.detach().numpy(), value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm_by_times", [False, True])
def test_the_gradient_is_of_the_mean_loss_of_all_utterances(
    loader: BatchLoader, tmp_path: Path, norm_by_times: bool
) -> None:
    # One text does not fit its frames: it adds no loss, and is one of those the mean is over.
    utterances = [
        replace(item, text="abcd" * 20) if number == 3 else item for number, item in enumerate(loader.utterances)
    ]
    loader = replace(loader, utterances=utterances)
    options = replace(OPTIONS, batching=BatchingOptions(1000.0, sortagrad=False), norm_by_times=norm_by_times)
    run = trainer(loader, tmp_path, options)
    twin = build_model(NETWORK, seed=1, labels=LABELS).train()
    found: dict[str, torch.Tensor] = {}
    made = run._optimizer.step

    def step() -> None:
        found.update(
            {name: weight.grad.clone() for name, weight in run.model.named_parameters() if weight.grad is not None}
        )
        made()

    run._optimizer.step = step  # type: ignore[method-assign, assignment]
    run.run()

    batch = loader.load(range(12))
    log_probs, frames = twin(batch.features, batch.frames)
    losses = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1),
        batch.labels,
        frames,
        batch.label_lengths,
        blank=5,
        reduction="none",
        zero_infinity=True,
    )
    assert int((losses == 0).sum()) == 1
    ((losses / frames if norm_by_times else losses).sum() / 12).backward()
    for name, weight in twin.named_parameters():
        assert weight.grad is not None
        # The order of a batch, and so of its sums, is another.
        torch.testing.assert_close(
            found[name], weight.grad, rtol=2e-3, atol=1e-4 * float(weight.grad.abs().max()) + 1e-6
        )


def test_dropout_is_between_the_layers_and_anew_in_every_update(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[torch.Tensor] = []
    real = torch.nn.functional.dropout

    def watched(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
        output = real(torch.ones_like(x), p, training)
        if training:
            masks.append(output == 0)
        return x * output

    monkeypatch.setattr(torch.nn.functional, "dropout", watched)
    run = trainer(loader, tmp_path, replace(OPTIONS, dropout=0.25))
    steps: list[StepReport] = []
    run.run(steps.append)
    assert len(masks) == 2 * len(steps) > 4  # before the second recurrent layer and before the output
    assert {mask.shape[-1] for mask in masks} == {12}
    common = min(mask.numel() for mask in masks)
    flat = [mask.flatten()[:common] for mask in masks]
    for number, mask in enumerate(flat):
        for other in flat[:number]:
            # Independent masks differ in 3/8 of the places; six standard deviations.
            assert (mask != other).float().mean().item() == pytest.approx(
                0.375, abs=6 * (0.375 * 0.625 / common) ** 0.5
            )
    layers = [*run.model.recurrent, run.model.output]
    assert not any(layer._forward_pre_hooks for layer in layers)


def test_what_lies_past_the_end_is_not_decoded(loader: BatchLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    utterances = sorted(loader.utterances, key=lambda item: item.duration)
    loader = replace(loader, utterances=[utterances[0], utterances[-1]])
    model = build_model(NETWORK, seed=1, labels=LABELS)

    def said(self: DeepSpeech2, features: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output_frames = (frames - 1) // 3 + 1
        log_probs = torch.full((len(frames), int(output_frames.max()), 6), -30.0)
        log_probs[..., 5] = 0.0  # blank
        for row, end in zip(log_probs, output_frames.tolist(), strict=True):
            row[end - 1, 2], row[end - 1, 5] = 0.0, -30.0  # "b" in the last frame,
            row[end:, 1], row[end:, 5] = 0.0, -30.0  # "a" past the end
        return log_probs, output_frames

    monkeypatch.setattr(DeepSpeech2, "forward", said)
    _, _, letters = evaluate_greedy(model, loader, Alphabet(LABELS), replace(OPTIONS, batching=BatchingOptions(1000.0)))
    expected = sum(len(item.text) - ("b" in item.text) for item in loader.utterances)
    assert letters.substitutions + letters.deletions + letters.insertions == expected
