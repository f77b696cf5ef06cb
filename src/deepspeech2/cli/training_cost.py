"""`ds2 flops --training --manifest`: what a whole training on a manifest computes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from deepspeech2.errors import ManifestError, OptionError
from deepspeech2.flops.conventions import UNITS, headline
from deepspeech2.flops.counting import count_training
from deepspeech2.flops.formulas.losses import ctc_loss, ctc_loss_gradient
from deepspeech2.flops.operations import OperationCount, total_of
from deepspeech2.flops.tally import Tally
from deepspeech2.flops.training_runs import TrainingRun, bilinear_form, hours_at, sum_steps
from deepspeech2.speech.audio import SAMPLE_RATE, WINDOW_SAMPLES
from deepspeech2.speech.data.batching import BatchingOptions, plan_batches
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.features import HOP_SAMPLES
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.units import format_count, format_seconds, format_share


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained on what.

    Attributes:
        model: what the user typed.
        manifest: the utterances.
        epochs: passes over them.
        batching: how they are grouped; padding is trained on as the trainer does.
        optimiser: `sgd`, `sgd-momentum`, `sgd-nesterov`, `adam` or `adamw`.
        label_length: labels of every utterance; None for the characters of its own transcript.
        teraflops: sustained rate for the hours, in TFLOP/s; None for none.
    """

    model: str
    manifest: Path
    epochs: int = 1
    batching: BatchingOptions = BatchingOptions()  # noqa: RUF009  (frozen)
    optimiser: str = "adam"
    label_length: int | None = None
    teraflops: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise OptionError(f"--epochs must be at least 1, found {self.epochs}")
        if self.teraflops is not None and not 0 < self.teraflops < float("inf"):
            raise OptionError(f"--teraflops must be positive, found {self.teraflops:g}")
        if self.label_length is not None and self.label_length < 1:
            raise OptionError(f"--label-length must be at least 1, found {self.label_length}")


@dataclass(frozen=True)
class TrainingCost:
    """What a training computes, and on how much audio.

    Attributes:
        plan: what is trained.
        epochs: the cost of each epoch.
        utterances: utterances of an epoch.
        audio_seconds: seconds of audio of an epoch.
        padded_seconds: and with the padding of batches, over all epochs.
    """

    plan: TrainingPlan
    epochs: tuple[TrainingRun, ...]
    utterances: int
    audio_seconds: float
    padded_seconds: float

    @property
    def run(self) -> TrainingRun:
        """All epochs together."""
        first, *rest = self.epochs
        return sum(rest, first)


def cost_of_training(network: DeepSpeech2, plan: TrainingPlan) -> TrainingCost:
    """Sum the closed formula of a step over every batch of every epoch, and the CTC loss of every utterance.

    The recurrences compute the valid frames of each utterance, everything else the padding of its batch, too.
    Counted are the forward pass, the CTC loss at each utterance's own lengths, the backward pass and the optimiser.
    Not counted: features, augmentation, clipping of gradients, evaluation.

    Raises:
        ManifestError: the manifest cannot be read, or an utterance is shorter than one window.
    """
    utterances = read_manifest(plan.manifest, texts=plan.label_length is None)
    frames = [_frames(one) for one in utterances]
    labels = [plan.label_length or max(1, len(one.text)) for one in utterances]
    step = bilinear_form(partial(_whole_step, network, plan.optimiser), ("batch", "steps"))
    saved = _saved_by_padding(network, plan.optimiser)
    vocabulary = network.output.weight.shape[0]
    outputs = [network.options.output_frames(length) for length in frames]
    losses = total_of(ctc_loss(1, length, size) for length, size in zip(outputs, labels, strict=True))
    gradients = total_of(
        ctc_loss_gradient(1, length, size, vocabulary) for length, size in zip(outputs, labels, strict=True)
    )
    durations = [one.duration for one in utterances]
    epochs, padded = [], 0.0
    for epoch in range(plan.epochs):
        batches = plan_batches(durations, plan.batching, epoch)
        sizes = [{"batch": len(batch), "steps": max(outputs[index] for index in batch)} for batch in batches]
        padded += sum(len(batch) * max(durations[index] for index in batch) for batch in batches)
        # The losses of a batch are added up.
        sums = OperationCount(add=len(utterances) - len(batches))
        empty = sum(size["batch"] * size["steps"] for size in sizes) - sum(outputs)
        savings = TrainingRun(0, {phase: count * -empty for phase, count in saved.items()})
        batched = _without_remainders(sum_steps(step, sizes) + savings)
        epochs.append(batched + TrainingRun(0, {"forward": losses + sums, "backward": gradients}))
    return TrainingCost(plan, tuple(epochs), len(utterances), sum(durations), padded)


def _without_remainders(run: TrainingRun) -> TrainingRun:
    """Taps on padding and masks of lengths go by input frames; the formula knows output frames. They are left out."""
    phases = {name: replace(count, padding_macs=0, integer=0) for name, count in run.phases.items()}
    return replace(run, phases=phases)


def _whole_step(network: DeepSpeech2, optimiser: str, batch: int, steps: int) -> Tally:
    """A step without its loss, on a batch of utterances that all have so many output frames."""
    return _step(network, optimiser, [steps] * batch)


def _saved_by_padding(network: DeepSpeech2, optimiser: str) -> dict[str, OperationCount]:
    """What an output frame of padding saves, by phase: every number of a recurrence is linear in its valid frames.

    But for batches of which no utterance is longer than one output frame: the gradient of a weight is no sum there, and
    comes out one addition an element too small.
    """
    whole, padded = (_step(network, optimiser, steps) for steps in ([3, 3], [3, 2]))
    return {phase: whole.phase(phase) + padded.phase(phase) * -1 for phase in ("forward", "backward")}


def _step(network: DeepSpeech2, optimiser: str, steps: Sequence[int]) -> Tally:
    """A step without its loss, on a batch of utterances with so many output frames each."""
    frames = [_input_frames(network, one) for one in steps]
    inputs = (torch.empty((len(frames), 161, max(frames)), device="meta"), torch.tensor(frames))
    return count_training(network, inputs, optimiser=optimiser)


def _input_frames(network: DeepSpeech2, steps: int) -> int:
    """Frames of features that become so many output frames."""
    return next(length for length in range(steps, 64 * steps) if network.options.output_frames(length) == steps)


def _frames(utterance: Utterance) -> int:
    if utterance.duration == 0:
        raise ManifestError(f"{utterance.name}: no duration is given and its audio cannot be read; add one in seconds")
    samples = round(utterance.duration * SAMPLE_RATE)
    if samples < WINDOW_SAMPLES:
        raise ManifestError(
            f"{utterance.name}: {utterance.duration:g} s are shorter than one window "
            f"({1000 * WINDOW_SAMPLES / SAMPLE_RATE:g} ms); leave it out of the manifest"
        )
    return (samples - WINDOW_SAMPLES) // HOP_SAMPLES + 1


def render_cost(cost: TrainingCost, convention: str, form: str) -> str:
    """The cost as text for people, or as JSON."""
    if form == "json":
        return json.dumps(_document(cost, convention), indent=2) + "\n"
    plan, run, unit = cost.plan, cost.run, UNITS[convention]
    head = run.total(convention)
    heard = plan.epochs * cost.audio_seconds
    lines = [
        ("total", f"{format_count(float(head), unit)} ({head:,}), convention {convention}"),
        ("per epoch", _epochs(cost, convention)),
        ("per hour of audio", format_count(float(head) / (heard / 3600), unit)),
        ("phases", _phases(run, convention)),
        ("audio", f"{format_seconds(cost.audio_seconds)} in {cost.utterances:,} utterances, {plan.epochs} times"),
        ("padding", f"{format_share(cost.padded_seconds - heard, cost.padded_seconds)} of what the batches hold"),
        ("updates", f"{run.steps:,} of {plan.optimiser}"),
    ]
    if plan.teraflops is not None:
        hours = hours_at(run, plan.teraflops)
        lines.append(("time", f"{hours:.3g} hours at {plan.teraflops:g} TFLOP/s sustained (gemm convention)"))
    title = f"{plan.model}: training on {plan.manifest.name}"
    return "\n".join([title, *[f"{name:<19}{value}" for name, value in lines]]) + "\n"


def _epochs(cost: TrainingCost, convention: str) -> str:
    totals = [float(epoch.total(convention)) for epoch in cost.epochs]
    low, high = (format_count(value, UNITS[convention]) for value in (min(totals), max(totals)))
    return low if low == high else f"{low} to {high}, by the padding of its batches"


def _phases(run: TrainingRun, convention: str) -> str:
    parts = {name: float(headline(count, convention)) for name, count in run.phases.items()}
    return ", ".join(f"{name} {format_count(value, UNITS[convention])}" for name, value in parts.items())


def _document(cost: TrainingCost, convention: str) -> dict[str, Any]:
    plan, run = cost.plan, cost.run
    hours = cost.audio_seconds * plan.epochs / 3600
    return {
        "model": plan.model,
        "manifest": str(plan.manifest),
        "epochs": plan.epochs,
        "optimiser": plan.optimiser,
        "utterances": cost.utterances,
        "audio_seconds": cost.audio_seconds,
        "padded_seconds": cost.padded_seconds,
        "updates": run.steps,
        "convention": convention,
        "headline": run.total(convention),
        "total": _amounts([run]),
        "per_epoch": [_amounts([epoch]) for epoch in cost.epochs],
        "per_hour_of_audio": float(run.total(convention)) / hours,
        "phases": {name: {"macs": count.macs, "flops": count.total} for name, count in run.phases.items()},
        "hours": None if plan.teraflops is None else hours_at(run, plan.teraflops),
        "complete": run.complete,
    }


def _amounts(runs: Sequence[TrainingRun]) -> dict[str, Any]:
    count = total_of(run.count for run in runs)
    return {"macs": count.macs, "flops": count.total, "kinds": count.kinds}
