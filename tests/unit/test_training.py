"""The training loop: it learns, accumulates, stays finite, stops when asked, and refuses what is not its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors import SafetensorError

from deepspeech2.ctc import Alphabet
from deepspeech2.errors import CheckpointError, OptionError
from deepspeech2.speech import distributed, training, training_checkpoints
from deepspeech2.speech.averaging import average_models
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import load_model, save_model
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.loading import Batch, BatchLoader
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.data.prepare import fit_normalizer
from deepspeech2.speech.distributed import synchronize_batch_norm
from deepspeech2.speech.dropout import inputs_dropped
from deepspeech2.speech.objective import evaluate_greedy, feasible_losses
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recipe import Recipe
from deepspeech2.speech.scoring import ErrorCount, error_rates
from deepspeech2.speech.training import Trainer
from deepspeech2.speech.training_checkpoints import TrainingState
from deepspeech2.speech.training_options import ScheduleOptions, TrainingOptions
from deepspeech2.speech.training_reports import EpochReport, StepReport, rank
from deepspeech2.speech.training_setup import TrainingData, set_up_training

LABELS = (" ", "a", "b", "c", "d")
NETWORK = NetworkOptions(
    vocab_size=5,
    convolutions=(ConvolutionOptions(4, (41, 11), (4, 3)),),
    recurrent_layers=1,
    recurrent_size=24,
    cell="gru",
)
OPTIONS = TrainingOptions(
    epochs=12,
    batching=BatchingOptions(batch_seconds=8.0),
    schedule=ScheduleOptions(peak=0.01, warmup_steps=8),
    average_best=2,
    workers=0,
)


@pytest.fixture
def loader(write_tones: Callable[..., Path], random_texts: Callable[[int], list[str]]) -> BatchLoader:
    utterances = read_manifest(write_tones(random_texts(40)))
    return BatchLoader(utterances, LABELS, fit_normalizer(utterances, 40))


def trainer(loader: BatchLoader, folder: Path, options: TrainingOptions = OPTIONS) -> Trainer:
    model = build_model(NETWORK, seed=1, labels=LABELS)
    model.normalizer = loader.normalizer
    return Trainer(model, loader, loader, options, folder)


def test_a_tiny_network_learns_to_read_tones(loader: BatchLoader, tmp_path: Path) -> None:
    epochs: list[EpochReport] = []
    reports = trainer(loader, tmp_path / "run").run(None, epochs.append)
    assert epochs == reports
    assert reports[0].wer > 0.9
    assert reports[-1].cer < 0.05, [round(r.cer, 3) for r in reports]
    best = load_model(tmp_path / "run/best.safetensors")
    assert best.labels == LABELS
    assert best.normalizer is not None
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"latest.safetensors", "average.safetensors", "epoch-012.safetensors"} <= names
    assert not [name for name in names if "partial" in name]


def test_accumulated_batches_count_as_one(loader: BatchLoader, tmp_path: Path) -> None:
    # Without batch norm's statistics two half batches are one batch; those are frozen here.
    whole = replace(OPTIONS, epochs=1, batching=BatchingOptions(1000.0, sortagrad=False), average_best=0)
    halves = replace(whole, batching=BatchingOptions(1000.0, 20, sortagrad=False), accumulate=2)
    weights = []
    for name, options in (("whole", whole), ("halves", halves)):
        run = trainer(loader, tmp_path / name, options)
        run.model.train = lambda mode=True, model=run.model: model  # type: ignore[method-assign, misc, assignment]
        steps: list[StepReport] = []
        run.run(steps.append)
        assert len(steps) == 1
        weights.append((steps[0].gradient_norm, run.model.output.weight.detach().clone()))
    assert weights[0][0] == pytest.approx(weights[1][0], rel=1e-4)
    torch.testing.assert_close(weights[0][1], weights[1][1], atol=2e-4, rtol=0)


def test_texts_that_do_not_fit_are_left_out_and_counted(loader: BatchLoader, tmp_path: Path) -> None:
    utterances = [replace(u, text="abcd" * 20) if i % 4 == 0 else u for i, u in enumerate(loader.utterances)]
    run = trainer(replace(loader, utterances=utterances), tmp_path / "run", replace(OPTIONS, epochs=1))
    report = run.run()[0]
    assert report.skipped == 10
    assert all(bool(torch.isfinite(parameter).all()) for parameter in run.model.parameters())
    batch = run._train.load([0, 1])
    losses, characters, left_out = feasible_losses(*run.model(batch.features, batch.frames), batch)
    assert (len(losses), characters, left_out) == (1, len(utterances[1].text), 1)


def test_stop_saves_and_resume_goes_on_to_the_same_weights(loader: BatchLoader, tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=2, checkpoint_steps=0, dropout=0.2)
    whole = trainer(loader, tmp_path / "whole", options)
    whole.run()
    stopped = trainer(loader, tmp_path / "stopped", options)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(lambda report: stopped.stop() if report.step == 3 else None)
    assert stopped.state.position == 4
    resumed = trainer(loader, tmp_path / "stopped", options)
    resumed.resume()
    assert (resumed.state.step, resumed.state.position) == (4, 4)
    resumed.run()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_dropout_is_of_training_alone_and_keeps_the_mean() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    x = torch.full((40_000, 1), 3.0)
    with inputs_dropped([layer], 0.25):
        seen, judged = layer(x), layer.eval()(x)
    assert torch.equal(judged, x)
    assert torch.equal(layer.train()(x), x)
    assert sorted(set(seen.flatten().tolist())) == [0.0, 4.0]
    # Four standard deviations of the share of zeros.
    assert (seen == 0).float().mean().item() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 40_000) ** 0.5)
    assert list(layer.state_dict()) == ["weight"]


def test_a_state_of_another_training_is_refused(loader: BatchLoader, tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1)
    trainer(loader, tmp_path / "run", options).run()
    other = trainer(loader, tmp_path / "run", replace(options, weight_decay=0.1))
    with pytest.raises(CheckpointError, match=r"had options\.weight_decay 0\.0, this one has 0\.1"):
        other.resume()
    (tmp_path / "run/training-state.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      rubbish")
    with pytest.raises(CheckpointError) as caught:
        trainer(loader, tmp_path / "run", options).resume()
    assert "\n" not in str(caught.value)


def test_a_state_that_finds_no_room_leaves_the_one_before(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, epochs=1, average_best=0)
    trainer(loader, tmp_path, options).run()
    before = (tmp_path / "training-state.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(training_checkpoints, "save_file", full)
    again = trainer(loader, tmp_path, replace(options, epochs=2))
    again.resume()
    with pytest.raises(CheckpointError, match=r"state\.safetensors: cannot be written \(.*No space left.*still there"):
        again.run()
    assert (tmp_path / "training-state.safetensors").read_bytes() == before
    first = trainer(loader, tmp_path / "other", options)
    with pytest.raises(CheckpointError, match=r"No space left.*; no state was saved before it"):
        first.run()
    assert not (tmp_path / "other" / "training-state.safetensors").exists()


def judged(monkeypatch: pytest.MonkeyPatch, *epochs: tuple[float, int, int]) -> None:
    """Judge epochs as told: the dev loss, and errors of 4 words and of 8 characters."""
    told = iter(epochs)

    def evaluate(*_: object) -> tuple[float, ErrorCount, ErrorCount]:
        loss, words, characters = next(told)
        return loss, ErrorCount(words, 0, 0, 4), ErrorCount(characters, 0, 0, 8)

    monkeypatch.setattr(training, "evaluate_greedy", evaluate)


PLATEAU = [(2.0, 4, 8), (3.0, 4, 7), (1.5, 4, 7), (1.0, 4, 8), (1.0, 4, 8), (1.0, 4, 8)]
"""No word is right; the second epoch has fewer wrong letters, the third as many and a lower loss, and no later one."""


@pytest.mark.parametrize(("patience", "epochs"), [(1, 4), (2, 5), (3, 6)])
def test_patience_is_with_letters_and_losses_where_no_word_is_right(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, epochs: int
) -> None:
    judged(monkeypatch, *PLATEAU)
    options = replace(OPTIONS, epochs=9, patience=patience, average_best=0)
    assert len(trainer(loader, tmp_path, options).run()) == epochs


def test_fewer_wrong_words_count_before_letters_and_losses(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, (1.0, 3, 2), (2.0, 2, 8), (0.5, 3, 1))
    trainer(loader, tmp_path, replace(OPTIONS, epochs=3, average_best=2)).run()
    best, second, third, average = (
        load_model(tmp_path / f"{name}.safetensors").state_dict()
        for name in ("best", "epoch-002", "epoch-003", "average")
    )
    assert all(torch.equal(value, second[name]) for name, value in best.items())
    for name, value in average.items():
        torch.testing.assert_close(value, (second[name] + third[name]) / 2)


def test_best_and_average_agree_on_a_plateau(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, *PLATEAU)
    trainer(loader, tmp_path, replace(OPTIONS, epochs=6, average_best=1)).run()
    best, average, third = (
        load_model(tmp_path / f"{name}.safetensors").state_dict() for name in ("best", "average", "epoch-003")
    )
    for name, value in third.items():
        assert torch.equal(best[name], value)
        torch.testing.assert_close(average[name], value)


def test_of_equal_epochs_the_earlier_ones_are_averaged(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, *[(1.0, 4, 8)] * 3)
    trainer(loader, tmp_path, replace(OPTIONS, epochs=3, average_best=2)).run()
    first, second, average = (
        load_model(tmp_path / f"{name}.safetensors").state_dict() for name in ("epoch-001", "epoch-002", "average")
    )
    for name, value in average.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    # The state of a training is JSON, where it is null.
    epochs = [{"epoch": number, "wer": 1.0, "cer": 0.5, "dev_loss": loss} for number, loss in enumerate(WORST_FIRST)]
    assert [epoch["epoch"] for epoch in sorted(epochs, key=rank)] == [2, 3, 0, 1]


WORST_FIRST = (math.nan, None, 7.0, 8.0)


def test_what_is_missing_from_the_average_is_named(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(monkeypatch, (1.0, 1, 1), (1.0, 2, 2), (1.0, 3, 3), (1.0, 4, 4))
    run = trainer(loader, tmp_path, replace(OPTIONS, epochs=4, average_best=3))
    lines: list[str] = []

    def remove(report: EpochReport) -> None:
        if report.epoch == 1:
            (tmp_path / "epoch-001.safetensors").unlink()

    run.run(None, remove, lines.append)
    assert lines == [f"{tmp_path}: the average is of 2 of the 3 best epochs: no epoch-001.safetensors"]
    second, third, average = (
        load_model(tmp_path / f"{name}.safetensors").state_dict() for name in ("epoch-002", "epoch-003", "average")
    )
    for name, value in average.items():
        torch.testing.assert_close(value, (second[name] + third[name]) / 2)

    for path in tmp_path.glob("epoch-*"):
        path.unlink()
    with pytest.warns(UserWarning, match=r"the average is not written: no epoch-001\.safetensors, epoch-002.*003"):
        run.run()


def test_models_are_there_before_the_state_says_so(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".training-state.safetensors.abc.partial").write_bytes(b"what a kill left")
    (folder / "notes.partial").write_text("mine")
    original, seen = training.save_state, []

    def watched(path: Path, state: TrainingState, *rest: Any) -> None:
        seen.append((len(state.history), sorted(item.name for item in folder.glob("*.safetensors"))))
        original(path, state, *rest)

    monkeypatch.setattr(training, "save_state", watched)
    trainer(loader, folder, replace(OPTIONS, epochs=1, checkpoint_steps=0, average_best=0)).run()
    assert seen == [(1, ["best.safetensors", "epoch-001.safetensors", "latest.safetensors"])]
    assert [path.name for path in folder.glob(".*")] == []
    assert (folder / "notes.partial").read_text() == "mine"


def test_the_first_of_epochs_that_are_alike_is_the_best(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = error_rates(["a b"], ["a c"])
    monkeypatch.setattr(training, "evaluate_greedy", lambda *_: (1.0, *alike))
    trainer(loader, tmp_path, replace(OPTIONS, epochs=2, average_best=0)).run()
    best, first, second = (
        load_model(tmp_path / f"{name}.safetensors").state_dict() for name in ("best", "epoch-001", "epoch-002")
    )
    assert all(torch.equal(value, first[name]) for name, value in best.items())
    assert not all(torch.equal(value, first[name]) for name, value in second.items())


def test_random_numbers_go_on_where_they_stood(loader: BatchLoader, tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1, average_best=0)
    trainer(loader, tmp_path, options).run()
    expected = torch.rand(3)
    again = trainer(loader, tmp_path, options)
    torch.manual_seed(99)
    again.resume()
    assert torch.equal(torch.rand(3), expected)


def test_the_average_is_the_mean(tmp_path: Path) -> None:
    models = [build_model(NETWORK, seed=seed, labels=LABELS) for seed in (1, 2, 3)]
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for model, path in zip(models, paths, strict=True):
        save_model(model, path)
    average = average_models(paths).state_dict()
    for name, tensor in average.items():
        expected = torch.stack([model.state_dict()[name] for model in models]).mean(0)
        torch.testing.assert_close(tensor, expected, msg=name)


@pytest.mark.parametrize(
    ("options", "step", "epochs_done", "expected"),
    [
        (ScheduleOptions(1.0, 10, "constant"), 0, 0.0, 0.1),
        (ScheduleOptions(1.0, 10, "constant"), 9, 3.0, 1.0),
        (ScheduleOptions(1.0, 0, "linear"), 5, 2.5, 0.75),
        (ScheduleOptions(1.0, 0, "linear", decay_from=0.5), 5, 2.5, 1.0),
        (ScheduleOptions(1.0, 0, "linear", decay_from=0.5), 5, 7.5, 0.5),
        (ScheduleOptions(1.0, 0, "cosine"), 5, 5.0, 0.5),
        (ScheduleOptions(1.0, 0, "cosine"), 5, 10.0, 0.0),
        (ScheduleOptions(1.0, 0, "exponential", epoch_factor=0.5), 5, 3.0, 0.125),
    ],
)
def test_learning_rates(options: ScheduleOptions, step: int, epochs_done: float, expected: float) -> None:
    assert options.learning_rate(step, epochs_done, 10) == pytest.approx(expected, abs=1e-12)


def test_a_repeated_letter_needs_a_frame_more() -> None:
    log_probs = torch.randn(2, 3, 6).log_softmax(2)
    # "abc" fits into three frames, "aab" needs a blank between its first two.
    batch = Batch(
        torch.zeros(2, 161, 9), torch.tensor([9, 9]), torch.tensor([1, 2, 3, 1, 1, 2]), torch.tensor([3, 3]), (0, 1)
    )
    losses, characters, left_out = feasible_losses(log_probs, torch.tensor([3, 3]), batch)
    assert (characters, left_out) == (3, 1)
    assert losses.tolist() == pytest.approx([-float(log_probs[0, [0, 1, 2], [1, 2, 3]].sum())], rel=1e-5)


def test_a_date_is_a_seed(loader: BatchLoader, tmp_path: Path) -> None:
    losses = []
    for seed in (20260101, 20260102):
        options = replace(OPTIONS, epochs=1, dropout=0.5, seed=seed, average_best=0)
        losses.append(trainer(loader, tmp_path / str(seed), options).run()[0].loss)
    assert losses[0] != losses[1]
    with pytest.raises(
        OptionError, match=r"seed as a whole number of at least 0 and below 9223372036854775808, found -1"
    ):
        replace(OPTIONS, seed=-1)


def test_whether_a_text_fits_is_asked_of_the_network_that_is_trained(
    write_tones: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = write_tones(["abcd", "dcba"])
    manifest.write_text(manifest.read_text().replace("dcba", "dcba" * 9))  # 36 characters in 47 frames
    training = replace(OPTIONS, epochs=1)
    for stride, usable in ((3, 1), (1, 2)):
        network = replace(NETWORK, convolutions=(ConvolutionOptions(4, (41, 11), (4, stride)),))
        data = TrainingData(manifest, manifest)
        setup = set_up_training(data, Recipe(network, training), tmp_path / str(stride))
        assert len(setup.train.usable) == len(setup.dev.usable) == usable


class Damaged(BatchLoader):
    """Gives one batch, or all, with an infinite value in the features."""

    damaged: ClassVar[set[int]] = set()
    loaded: ClassVar[list[int]] = []

    def load(self, indices: Sequence[int], epoch: int = 0) -> Batch:
        batch = super().load(indices, epoch)
        self.loaded.append(len(self.loaded))
        if self.loaded[-1] in self.damaged or -1 in self.damaged:
            batch.features[0, 3, 1] = torch.inf
        return batch


def damaged(loader: BatchLoader, which: set[int]) -> BatchLoader:
    Damaged.damaged, Damaged.loaded = which, []
    return Damaged(loader.utterances, loader.labels, loader.normalizer)


def test_a_batch_that_is_not_finite_leaves_no_trace(loader: BatchLoader, tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1, average_best=0, checkpoint_steps=1)
    training = trainer(loader, tmp_path, options)
    training._train = damaged(loader, {1})
    steps: list[StepReport] = []
    before: dict[str, torch.Tensor] = {}
    after: dict[str, torch.Tensor] = {}

    def on_step(report: StepReport) -> None:
        steps.append(report)
        (before if report.step == 1 else after if report.step == 2 else {}).update(
            {name: value.clone() for name, value in training.model.state_dict().items()}
        )

    (report,) = training.run(on_step)
    assert not math.isfinite(steps[1].gradient_norm)
    assert math.isnan(steps[1].loss)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert report.skipped == steps[1].shapes[0][0]
    assert math.isfinite(report.loss)
    assert all(value.isfinite().all() for value in training.model.state_dict().values())
    again = trainer(loader, tmp_path, options)
    again.resume()
    assert again.state.history[0]["loss"] == report.loss


def test_nothing_but_batches_that_are_not_finite_ends_it(loader: BatchLoader, tmp_path: Path) -> None:
    training = trainer(loader, tmp_path, OPTIONS)
    training._train = damaged(loader, {-1})
    with pytest.raises(OptionError, match=r"20 updates in a row had a gradient that is not finite, .* update 20"):
        training.run()


def test_another_training_is_not_resumed(loader: BatchLoader, tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1, average_best=0)
    trainer(loader, tmp_path, options).run()
    spoken = [replace(utterance, text="abc") for utterance in loader.utterances]
    others = {
        "data": BatchLoader(spoken, LABELS, loader.normalizer),
        "augmentation": replace(loader, augmentation=AugmentationOptions(speeds=(0.9, 1.0))),
    }
    for key, other in others.items():
        with pytest.raises(CheckpointError, match=f"the training it belongs to had {key}"):
            trainer(other, tmp_path, replace(options, epochs=2)).resume()
    reversed_dev = Trainer(
        trainer(loader, tmp_path, options).model,
        loader,
        replace(loader, utterances=loader.utterances[::-1]),
        options,
        tmp_path,
    )
    with pytest.raises(CheckpointError, match="had data"):
        reversed_dev.resume()
    other_network = build_model(replace(NETWORK, recurrent_size=16), seed=1, labels=LABELS)
    other_network.normalizer = loader.normalizer
    with pytest.raises(CheckpointError, match=r"had network\.recurrent_size"):
        Trainer(other_network, loader, loader, options, tmp_path).resume()


def test_the_best_epochs_are_averaged_and_the_best_is_kept(loader: BatchLoader, tmp_path: Path) -> None:
    reports = trainer(loader, tmp_path, replace(OPTIONS, epochs=6)).run()
    ranked = sorted(reports, key=lambda report: (report.wer, report.cer, report.dev_loss))
    assert len({report.wer for report in reports}) > 2
    best = ranked[0].epoch + 1

    def weights(name: str) -> dict[str, torch.Tensor]:
        return load_model(tmp_path / f"{name}.safetensors").state_dict()

    chosen = [weights(f"epoch-{report.epoch + 1:03d}") for report in ranked[:2]]
    for name, value in weights("average").items():
        torch.testing.assert_close(value, (chosen[0][name] + chosen[1][name]) / 2)
    assert all(torch.equal(value, weights(f"epoch-{best:03d}")[name]) for name, value in weights("best").items())


def test_epochs_are_judged_with_the_running_statistics(loader: BatchLoader, tmp_path: Path) -> None:
    training = trainer(loader, tmp_path, replace(OPTIONS, epochs=1, average_best=0))
    (report,) = training.run()
    model = load_model(tmp_path / "latest.safetensors").eval()
    loss, words, _ = evaluate_greedy(model, loader, Alphabet(LABELS), training.options)
    assert (report.dev_loss, report.wer) == (pytest.approx(loss), words.rate)


def test_products_have_the_precision_asked_for(
    loader: BatchLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    training = trainer(loader, tmp_path, replace(OPTIONS, epochs=1, average_best=0, precision="bfloat16"))
    monkeypatch.setattr(training, "_epoch", lambda *_: seen.append(torch.backends.mkldnn.matmul.fp32_precision))
    training.run()
    assert seen == ["bf16"]
    assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"


def test_a_share_without_utterances_takes_part(loader: BatchLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(NETWORK, seed=1, labels=LABELS).train()
    synchronize_batch_norm(model)
    sums: list[torch.Tensor] = []

    def with_the_others(values: torch.Tensor) -> torch.Tensor:
        sums.append(values.detach())
        return values + 1

    monkeypatch.setattr(distributed, "_summed", with_the_others)
    batch = loader.load([])
    log_probs, frames = model(torch.nn.functional.pad(batch.features, (0, 50)), batch.frames)
    losses, kept, left_out = feasible_losses(log_probs, frames, batch)
    assert (len(losses), kept, left_out) == (0, 0, 0)
    (losses.sum() + 0.0 * log_probs.sum()).backward()
    assert len(sums) == 6
    assert not any(values.any() for values in sums)
    assert all(weight.grad is not None and not weight.grad.any() for weight in model.parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"patience": 0},
        {"betas": (2.0, 3.0)},
        {"weight_decay": -1.0},
        {"weight_decay": math.nan},
        {"clip_norm": math.nan},
        {"seed": 2**64},
        {"dropout": math.nan},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        replace(OPTIONS, **wrong)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(OptionError, match="schedule: expected peak as a number above 0, found nan"):
        ScheduleOptions(peak=math.nan)
    with pytest.raises(OptionError, match="batching: expected batch_seconds as a number above 0, found nan"):
        BatchingOptions(batch_seconds=math.nan)
    with pytest.raises(OptionError, match="augmentation: expected speeds as a number above 0, found nan"):
        AugmentationOptions(speeds=(math.nan,))
