"""`ds2 train`: turn a manifest of speech into a model."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from deepspeech2.speech.data.preflight import Problem
    from deepspeech2.speech.network import DeepSpeech2
    from deepspeech2.speech.training import EpochReport, StepReport, Trainer


def train(
    manifest: Path,
    *,
    dev: Path,
    output: Path,
    recipe: Path | None = None,
    vocabulary: Path | None = None,
    normalizer: Path | None = None,
    initial_model: str | None = None,
    cache: Path | None = None,
    epochs: int | None = None,
    lowest_rate: int = 16_000,
    device: str = "auto",
    resume: bool = False,
    tensorboard: bool = False,
    log_every: int = 20,
    utilisation: bool = True,
) -> None:
    """Train a DeepSpeech2 on a manifest of speech.

    OUTPUT receives latest, best, average and epoch-NNN.safetensors, log.jsonl, left_out.jsonl (the utterances that
    cannot be used, and why) and the state to resume from. Killed at any moment, the same command with --resume ends
    with the same weights. Several processes: start with torchrun.

    Examples:
    ```
    ds2 train data/train/manifest.jsonl --dev data/dev/manifest.jsonl --output runs/first
    ds2 train train.jsonl --dev dev.jsonl --output runs/small --recipe recipes/small/small.toml --resume
    torchrun --nproc-per-node 2 --no-python ds2 train train.jsonl --dev dev.jsonl --output runs/two
    ```

    Parameters
    ----------
    manifest:
        Utterances to train on.
    dev:
        Utterances to judge every epoch on.
    output:
        Folder of the training.
    recipe:
        TOML file with the tables network, training and augmentation; the published defaults without it.
    vocabulary:
        One character a line; collected from the manifest without it, or the initial model's.
    normalizer:
        .npz with mean and std; measured without it.
    initial_model:
        Start from this checkpoint, or from a model of the package (small); brings its network, normaliser and, where
        none is given, vocabulary. With another one the output layer is new but for the characters both have.
    cache:
        Folder for spectrograms, to share between trainings.
    epochs:
        Passes over the data, instead of the recipe's.
    lowest_rate:
        Leave out recordings of fewer samples per second: 8000 lets telephone speech pass.
    device:
        Where the network is trained: auto (a GPU if torch finds one; under torchrun one for each process), cpu, cuda,
        cuda:1.
    resume:
        Go on where the training in OUTPUT stood; start it when there is none.
    tensorboard:
        Also write TensorBoard event files.
    log_every:
        Updates between two records of the log.
    utilisation:
        Count the operations of a step at the start (a few seconds) and show GFLOP/s and their share of
        what a large matrix product reaches here.
    """
    from dataclasses import replace

    from deepspeech2.errors import OptionError
    from deepspeech2.files import check_writable
    from deepspeech2.speech.devices import choose_device, use_device
    from deepspeech2.speech.distributed import join_world, leave_world
    from deepspeech2.speech.recipe import Recipe, read_recipe
    from deepspeech2.speech.training import STATE_FILE
    from deepspeech2.speech.training_log import import_summary_writer
    from deepspeech2.speech.training_setup import TrainingData, set_up_training

    settings = read_recipe(recipe) if recipe else Recipe()
    if epochs is not None:
        settings = replace(settings, training=replace(settings.training, epochs=epochs))
    if log_every < 1:
        raise OptionError(f"expected --log-every of 1 or more, found {log_every}")
    if tensorboard:
        import_summary_writer()
    place = choose_device(device)
    use_device(place)
    world = join_world()
    # Of several processes only the leading one has the files of the training for sure.
    state_exists = bool(world.told([float((output / STATE_FILE).exists())])[0])
    if state_exists and not resume:
        raise OptionError(f"{output} holds a training; add --resume to go on with it, or choose another folder")
    # What cannot be written is to be said before the work, and leaves no folder behind.
    check_writable(next(place for place in (output, *output.absolute().parents) if place.exists()) / STATE_FILE)
    display = _Display(world.leads)
    data = TrainingData(manifest, dev, vocabulary, normalizer, initial_model, cache, lowest_rate)
    with display:
        training = set_up_training(data, settings, output, world=world, device=place, progress=display.preparing)
        trainer = training.trainer
        display.say(f"train: {training.train.summary()}")
        display.say(f"dev: {training.dev.summary()}")
        if world.leads:
            _name_left_out((*training.train.problems, *training.dev.problems), display, output)
        if state_exists:
            trainer.resume()
            display.say(f"resuming after update {trainer.state.step}, epoch {trainer.state.epoch + 1}")
        try:
            with _stopped_by_signals(trainer):
                if world.leads:
                    if utilisation:
                        display.measure(training_flops(trainer.model), peak_flops(settings.training.precision, place))
                    _run_logged(trainer, display, output, (log_every, tensorboard))
                else:
                    trainer.run()
        finally:
            leave_world()


@contextmanager
def _stopped_by_signals(trainer: Trainer) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.getsignal(number) for number in numbers]

    def stop(number: int, _: object) -> None:
        trainer.stop()
        signal.signal(number, signal.SIG_DFL)  # the second one ends it at once; the last state stays

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def _name_left_out(problems: Sequence[Problem], display: _Display, output: Path) -> None:
    from deepspeech2.speech.data.prepare import write_problems

    if not problems:
        return
    for problem in problems[:5]:
        display.say(f"left out: {problem}")
    output.mkdir(parents=True, exist_ok=True)
    write_problems(output / "left_out.jsonl", problems)
    display.say(f"all {len(problems)} that are left out: {output / 'left_out.jsonl'}")


def _run_logged(trainer: Trainer, display: _Display, output: Path, logging: tuple[int, bool]) -> None:
    from deepspeech2.speech.training_log import TrainingLog

    log = TrainingLog(output, state=trainer.state, every=logging[0], tensorboard=logging[1])

    def on_step(report: StepReport) -> None:
        log.step(report)
        display.step(report)

    def on_epoch(report: EpochReport) -> None:
        log.epoch(report)
        display.epoch(report)

    try:
        before = trainer.state.epoch
        reports = trainer.run(on_step, on_epoch)
        best = min(reports, key=lambda report: (report.wer, report.epoch))
        if len(reports) == before:
            display.say(f"already complete: {before} epochs")
        elif len(reports) < trainer.options.epochs:
            patience = trainer.options.patience
            display.say(f"ended early: dev WER has not improved for {patience} epoch{'s' if patience != 1 else ''}")
        display.say(f"best: epoch {best.epoch + 1}, WER {best.wer:.2%}: {output / 'best.safetensors'}")
    except KeyboardInterrupt:
        display.say("stopped; everything is saved, --resume goes on from here")
        raise
    finally:
        log.close()


def training_flops(model: DeepSpeech2) -> Callable[[int, int], float]:
    """Operations of one training step by utterances and padded frames: three times the forward pass, by our counter.

    The gradient of a product is two products of the same size; everything that is no product is a few percent.
    """
    import torch

    from deepspeech2.flops.counting import count
    from deepspeech2.speech.build import build_model

    plan = build_model(model.options, device="meta")  # the model's own weights may be on a GPU
    inputs = (torch.empty(2, model.options.frequencies, 300, device="meta"), torch.tensor([300, 300]))
    formula = count(plan, inputs, symbolic={"batch": ((0, 0), (1, 0)), "time": (0, 2)})
    known: dict[tuple[int, int], float] = {}

    def flops(utterances: int, frames: int) -> float:
        key = (utterances, frames)
        if key not in known:
            known[key] = 3.0 * formula.at("gemm", batch=utterances, time=frames)
        return known[key]

    return flops


def peak_flops(precision: str, device: torch.device) -> float:
    """Operations a second of a large matrix product on the device: what utilisation is measured against."""
    import torch

    from deepspeech2.speech.precision import forward_in, products_in

    size = 1024 if device.type == "cpu" else 8192
    left, right = torch.randn(2, size, size, device=device)
    with products_in(precision), forward_in(precision, device):
        rates = []
        for _ in range(5):
            started = time.perf_counter()
            float(torch.mm(left, right)[0, 0])  # read, so that a device has finished
            rates.append(2 * size**3 / (time.perf_counter() - started))
    return max(rates)


class _Display:
    """Progress on the terminal: a bar for the epoch, a line for each finished one."""

    def __init__(self, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._progress = Progress(
            *columns, console=console, disable=not (shown and console.is_terminal), transient=True
        )
        self._shown = shown
        self._task = self._progress.add_task("", total=None)
        self._flops: Callable[[int, int], float] | None = None
        self._peak = 0.0
        self._seconds = self._waited = self._operations = 0.0

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        if self._shown:
            self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def preparing(self, what: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=what, completed=done, total=total)

    def measure(self, flops: Callable[[int, int], float], peak: float) -> None:
        self._flops, self._peak = flops, peak

    def step(self, report: StepReport) -> None:
        self._seconds += report.seconds
        self._waited += report.waited
        if self._flops is not None:
            self._operations += sum(self._flops(*shape) for shape in report.shapes)
        text = (
            f"epoch {report.epoch + 1}  loss {report.loss:.3f}  lr {report.learning_rate:.1e}  "
            f"waiting {self._waited / self._seconds:.1%}{self._rate()}"
        )
        self._progress.update(self._task, description=text, completed=report.position, total=report.batches)

    def epoch(self, report: EpochReport) -> None:
        self.say(
            f"epoch {report.epoch + 1}: loss {report.loss:.3f}, dev loss {report.dev_loss:.3f}, WER {report.wer:.2%}, "
            f"CER {report.cer:.2%}, {report.seconds:.0f} s{self._rate()}, {report.skipped} utterances skipped"
        )
        self._seconds = self._waited = self._operations = 0.0

    def _rate(self) -> str:
        if self._flops is None or not self._seconds:
            return ""
        rate = self._operations / self._seconds
        return f", {rate / 1e9:.1f} GFLOP/s ({rate / self._peak:.0%} of a matrix product's)"
