"""`ds2 train`: turn a manifest of speech into a model."""

from __future__ import annotations

import signal
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from deepspeech2.cli.training_display import Display
    from deepspeech2.speech.distributed import World
    from deepspeech2.speech.recipe import Recipe
    from deepspeech2.speech.training import Trainer
    from deepspeech2.speech.training_folder import Standing
    from deepspeech2.speech.training_log import TrainingLog
    from deepspeech2.speech.training_reports import EpochReport, StepReport
    from deepspeech2.speech.training_setup import TrainingSetup


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

    OUTPUT receives latest, best, average and epoch-NNN.safetensors, log.jsonl, left_out.jsonl (the speech and the noise
    that cannot be used, and why) and the state to resume from. Killed at any moment, the same command with --resume
    ends with the same weights. Several processes: start with torchrun.

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
        One character a line; without it the initial model's, else vocabulary.txt beside the manifest, else the 28
        English symbols where they suffice, else the characters that occur.
    normalizer:
        .npz with mean and std; without it the initial model's, else mean_std.npz beside the manifest, else measured.
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
    from deepspeech2.cli.training_display import Display
    from deepspeech2.speech.devices import choose_device, use_device
    from deepspeech2.speech.distributed import joined_world
    from deepspeech2.speech.training_folder import Standing
    from deepspeech2.speech.training_setup import TrainingData, set_up_training

    settings = _settings(recipe, epochs)
    _check_logging(log_every, tensorboard)
    place = choose_device(device)
    use_device(place)
    data = TrainingData(manifest, dev, vocabulary, normalizer, initial_model, cache, lowest_rate)
    with (
        joined_world() as world,
        _opened_folder(output, world, resume=resume) as standing,
        Display(world.leads) as display,
    ):
        training = set_up_training(
            data, settings, output, world=world, device=place, progress=display.preparing, say=display.say
        )
        if world.leads:
            _say_what_is_used(training, display, output)
        if standing is Standing.SAVED:
            training.trainer.resume()
            state = training.trainer.state
            display.say(f"resuming after update {state.step}, epoch {state.epoch + 1}")
        elif standing is Standing.BEGUN:
            display.say("the training had saved no state yet and begins anew")
        measured = place if utilisation and world.leads else None
        _run(training.trainer, display, output, measured=measured, log_every=log_every, tensorboard=tensorboard)


def _settings(recipe: Path | None, epochs: int | None) -> Recipe:
    from dataclasses import replace

    from deepspeech2.speech.recipe import Recipe, read_recipe

    settings = read_recipe(recipe) if recipe else Recipe()
    if epochs is None:
        return settings
    return replace(settings, training=replace(settings.training, epochs=epochs))


def _check_logging(log_every: int, tensorboard: bool) -> None:
    from deepspeech2.errors import OptionError
    from deepspeech2.speech.training_log import import_summary_writer

    if log_every < 1:
        raise OptionError(f"expected --log-every of 1 or more, found {log_every}")
    if tensorboard:
        import_summary_writer()


@contextmanager
def _opened_folder(output: Path, world: World, *, resume: bool) -> Iterator[Standing]:
    """What the folder has of a training, where this one may begin or go on; others are kept out meanwhile."""
    from deepspeech2.files import check_writable
    from deepspeech2.speech.training_folder import STATE_FILE, Standing, entered, refuse_overwriting

    # What cannot be written is to be said before the work, and leaves no folder behind.
    check_writable(next(place for place in (output, *output.absolute().parents) if place.exists()) / STATE_FILE)
    # Of several processes only the leading one has the files of the training for sure.
    with entered(output) if world.leads else nullcontext(Standing.EMPTY) as found:
        standing = Standing(int(world.told([float(found)])[0]))
        refuse_overwriting(output, standing, resume=resume)
        yield standing


def _say_what_is_used(training: TrainingSetup, display: Display, output: Path) -> None:
    from deepspeech2.speech.data.prepare import write_problems

    display.say(f"train: {training.train.summary()}")
    display.say(f"dev: {training.dev.summary()}")
    recordings = training.train.recordings
    if recordings:
        display.say(f"augmentation: recordings of noise and rooms that are left out: {len(recordings)}")
    problems = (*recordings, *training.train.problems, *training.dev.problems)
    for problem in problems[:5]:
        display.say(f"left out: {problem}")
    output.mkdir(parents=True, exist_ok=True)
    write_problems(output / "left_out.jsonl", problems)  # with nothing in it, too: one of before would say otherwise
    if problems:
        display.say(f"all {len(problems)} that are left out: {output / 'left_out.jsonl'}")


def _run(
    trainer: Trainer,
    display: Display,
    output: Path,
    *,
    measured: torch.device | None,
    log_every: int,
    tensorboard: bool,
) -> None:
    """Train to the end, in the leading process with a log and, on a device to be `measured`, its utilisation."""
    from deepspeech2.cli.training_rate import peak_flops, training_flops
    from deepspeech2.speech.training_log import TrainingLog

    with _stopped_by_signals(trainer):
        if not trainer.world.leads:
            trainer.run()
            return
        if measured is not None:
            display.measure(training_flops(trainer.model), peak_flops(trainer.options.precision, measured))
        log = TrainingLog(output, state=trainer.state, every=log_every, tensorboard=tensorboard, notify=display.say)
        with closing(log):
            _run_logged(trainer, log, display, output)


def _run_logged(trainer: Trainer, log: TrainingLog, display: Display, output: Path) -> None:
    from deepspeech2.speech.training_reports import rank

    def on_step(report: StepReport) -> None:
        log.step(report)
        display.step(report)

    def on_epoch(report: EpochReport) -> None:
        log.epoch(report)
        display.epoch(report)

    before = trainer.state.epoch
    try:
        reports = trainer.run(on_step, on_epoch, display.say)
    except KeyboardInterrupt:
        display.say("stopped; everything is saved, --resume goes on from here")
        raise
    best = min(reports, key=lambda report: rank(asdict(report)))
    if len(reports) == before:
        display.say(f"already complete: {before} epochs")
    elif len(reports) < trainer.options.epochs:
        patience = trainer.options.patience or 1
        last = f"none of the last {patience} epochs is" if patience > 1 else "the last epoch is not"
        display.say(f"ended early: {last} better than the best before")
    display.say(f"best: epoch {best.epoch + 1}, WER {best.wer:.2%}: {output / 'best.safetensors'}")


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
