"""The training loop: epochs of CTC, interruptible at any moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepspeech2.ctc import Alphabet
from deepspeech2.errors import InputError, OptionError
from deepspeech2.files import remove_partial
from deepspeech2.speech.averaging import average_models
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.data.batching import plan_batches, share_of
from deepspeech2.speech.data.loading import Batch, BatchLoader, load_ahead
from deepspeech2.speech.devices import device_of
from deepspeech2.speech.distributed import World, gradients_exchanged, synchronize_batch_norm
from deepspeech2.speech.dropout import inputs_dropped
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.objective import evaluate_greedy, feasible_losses
from deepspeech2.speech.precision import forward_in, products_in
from deepspeech2.speech.training_checkpoints import TrainingState, load_state, save_state
from deepspeech2.speech.training_folder import STATE_FILE, epoch_name, model_path
from deepspeech2.speech.training_identity import check_agreement, training_identity
from deepspeech2.speech.training_options import TrainingOptions
from deepspeech2.speech.training_reports import EpochReport, StepReport, out_of_patience, rank

UNUSABLE_UPDATES = 20
"""So many updates in a row without a finite gradient end a training."""


class Trainer:
    """Trains a network in a folder.

    In the folder: ``training-state.safetensors`` to resume from, and models to use: ``latest``, ``epoch-NNN``,
    ``best`` and ``average`` (of the best epochs, see `rank`), each ``.safetensors``. Everything is written beside
    its place and renamed. Killed at any moment and run again with `resume`, the training ends with the
    same weights, bit for bit, on the same machine with the same number of threads.

    Args:
        model: What to train, with its labels and normaliser, on the device it is to be trained on.
        train: Makes the training batches.
        dev: Makes the dev batches.
        options: How to train.
        folder: Where everything is written.
        world: The processes that train together; see `joined_world`.

    Raises:
        InputError: The network has no labels.
        OptionError: The processes differ in their options or in what they train on.

    ``docs/training.md`` shows a training from Python, in which `set_up_training` makes the batches and the trainer.
    """

    def __init__(
        self,
        model: DeepSpeech2,
        train: BatchLoader,
        dev: BatchLoader,
        options: TrainingOptions,
        folder: Path,
        world: World | None = None,
    ) -> None:
        if model.labels is None:
            raise InputError("training: expected a network with labels, found none")
        self.model, self.options, self.folder, self.world = model, options, folder, world or World()
        self._train, self._dev = train, dev
        self._alphabet = Alphabet(model.labels)
        self.state = TrainingState()
        self._stopping = False
        self._unusable = 0
        if self.world.size > 1:
            synchronize_batch_norm(model)
        self._optimizer = _optimizer(model, options)
        self._identity = training_identity(model, options, train, dev, self.world.size)
        ends = {"epochs": options.epochs, "patience": options.patience}  # which a resumption may change, for all alike
        check_agreement(self.world, {**self._identity, **ends})

    def resume(self) -> None:
        """Go back to where the training in the folder of the leading process stood.

        Raises:
            CheckpointError: There is no state, or it belongs to another training.
        """
        with self.world.file_of_the_leader(self.folder / STATE_FILE) as path:
            self.state = load_state(path, self.model, self._optimizer, self._identity)

    def stop(self) -> None:
        """Ask `run` to save the state after the update in progress and to raise KeyboardInterrupt.

        Safe to call from a signal handler or another thread.
        """
        self._stopping = True

    def run(
        self,
        on_step: Callable[[StepReport], None] | None = None,
        on_epoch: Callable[[EpochReport], None] | None = None,
        notify: Callable[[str], None] = warn,
    ) -> list[EpochReport]:
        """Train to the last epoch, or until `patience` epochs brought none that ranks before all earlier ones.

        A KeyboardInterrupt that was not asked for by `stop` leaves the last state that was saved.

        Args:
            on_step: Called after every update.
            on_epoch: Called after every epoch.
            notify: Called with a line that names the models missing from the average, should there be any.

        Returns:
            One report for each epoch, those before a resumption included.

        Raises:
            KeyboardInterrupt: `stop` was called; the state is saved.
            AudioError: An utterance cannot be read; run `preflight` first.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.world.leads:
            remove_partial(self.folder, ".safetensors")
        dropped = [*self.model.recurrent[1:], self.model.output] if self.options.dropout else []
        with (
            products_in(self.options.precision),
            inputs_dropped(dropped, self.options.dropout),
            gradients_exchanged(self.model, self.world) as wrapped,
        ):
            while self.state.epoch < self.options.epochs and not out_of_patience(
                self.state.history, self.options.patience
            ):
                started = time.perf_counter()
                self._epoch(wrapped, on_step)
                report = self._finish_epoch(time.perf_counter() - started)
                if on_epoch:
                    on_epoch(report)
        self._write_average(notify)
        return [EpochReport(**record) for record in self.state.history]

    def _epoch(self, wrapped: nn.Module, on_step: Callable[[StepReport], None] | None) -> None:
        state, options = self.state, self.options
        seconds = [utterance.duration for utterance in self._train.utterances]
        batching = options.batching
        whole = replace(
            batching,
            batch_seconds=batching.batch_seconds * self.world.size,
            batch_utterances=batching.batch_utterances * self.world.size,
        )
        plan = plan_batches(seconds, whole, state.epoch)
        remaining = plan[state.position :]
        # With fewer utterances than processes, some have an empty share, which takes part in everything all the same.
        mine = [share_of(indices, self.world.rank, self.world.size) for indices in remaining]
        batches = load_ahead(self._train, mine, state.epoch, workers=options.workers)
        wrapped.train()
        while state.position < len(plan):
            started, waited = time.perf_counter(), 0.0
            group: list[Batch] = []
            for _ in range(min(options.accumulate, len(plan) - state.position)):
                asked = time.perf_counter()
                group.append(next(batches))
                waited += time.perf_counter() - asked
            rate = options.schedule.learning_rate(state.step, state.epoch + state.position / len(plan), options.epochs)
            loss, characters, norm = self._update(wrapped, group, rate)
            state.position += len(group)
            stopping = bool(self.world.highest(int(self._stopping)))
            if on_step:  # before the state is saved: a resumption takes surplus records back, and could not make one up
                on_step(self._step_report(plan, group, (loss / max(1, characters), rate, norm), started, waited))
            if stopping or (options.checkpoint_steps and state.step % options.checkpoint_steps == 0):
                self._save()
            if stopping:
                raise KeyboardInterrupt

    def _step_report(
        self,
        plan: list[NDArray[np.int64]],
        group: list[Batch],
        numbers: tuple[float, float, float],
        started: float,
        waited: float,
    ) -> StepReport:
        done = plan[self.state.position - len(group) : self.state.position]
        return StepReport(
            step=self.state.step,
            epoch=self.state.epoch,
            position=self.state.position,
            batches=len(plan),
            loss=numbers[0],
            learning_rate=numbers[1],
            gradient_norm=numbers[2],
            seconds=time.perf_counter() - started,
            waited=waited,
            audio_seconds=sum(self._train.utterances[int(i)].duration for indices in done for i in indices),
            shapes=tuple((len(batch.indices), batch.features.shape[2]) for batch in group),
        )

    def _update(self, wrapped: nn.Module, group: list[Batch], rate: float) -> tuple[float, int, float]:
        """One update; returns loss and characters of all processes, and the norm of the gradient."""
        for settings in self._optimizer.param_groups:
            settings["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        if self.options.dropout:
            # Anew for every update and process: what a resumed training draws depends on nothing that came before.
            torch.manual_seed(_seed_of(self.options.seed, self.state.step, self.world.rank))
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        counted = self._gradients(wrapped, group)
        parameters = list(self.model.parameters())
        norm = float(nn.utils.clip_grad_norm_(parameters, self.options.clip_norm or float("inf")))
        self.state.step += 1
        total, characters, skipped, utterances = self.world.sum(counted)
        if math.isfinite(norm):
            self._optimizer.step()
            self._unusable = 0
        else:
            # The forward pass has put what it found into the running statistics, which would keep it for good.
            for buffer, before in zip(self.model.buffers(), statistics, strict=True):
                buffer.copy_(before)
            total, characters, skipped = 0.0, 0.0, utterances
            self._unusable += 1
        self.state.loss_sum += total
        self.state.characters += int(characters)
        self.state.skipped += int(skipped)
        if self._unusable == UNUSABLE_UPDATES:
            raise OptionError(
                f"training: {UNUSABLE_UPDATES} updates in a row had a gradient that is not finite, the last at update "
                f"{self.state.step}; look for damaged speech with ds2 prepare, or take a lower learning rate"
            )
        return (total if math.isfinite(norm) else math.nan), int(characters), norm

    def _gradients(self, wrapped: nn.Module, group: list[Batch]) -> list[float]:
        """Sum the gradients of some batches; returns this process's loss, characters, skipped and all utterances."""
        device = device_of(self.model)
        utterances = float(sum(len(batch.indices) for batch in group))
        everyone = self.world.sum([utterances])[0]
        total, characters, skipped = 0.0, 0, 0
        for number, batch in enumerate(group, start=1):
            frames = self.world.highest(batch.features.shape[2])
            features = nn.functional.pad(batch.features, (0, frames - batch.features.shape[2]))
            more = number < len(group)  # one exchange of gradients for all batches of an update
            alone = isinstance(wrapped, DistributedDataParallel) and more
            with wrapped.no_sync() if alone else nullcontext():  # type: ignore[operator]
                with forward_in(self.options.precision, device):
                    log_probs, output_frames = wrapped(features.to(device), batch.frames)
                losses, kept, left_out = feasible_losses(log_probs, output_frames, batch, self.options.norm_by_times)
                # Adding nothing times the output keeps every parameter in the graph when no utterance is feasible.
                objective: Tensor = losses.sum() * (self.world.size / everyone) + 0.0 * log_probs.sum()
                objective.backward()
            total, characters, skipped = total + float(losses.detach().sum()), characters + kept, skipped + left_out
        return [total, float(characters), float(skipped), utterances]

    def _finish_epoch(self, seconds: float) -> EpochReport:
        state, options = self.state, self.options
        judged = [0.0, 0.0, 0.0]
        if self.world.leads:
            dev_loss, words, characters = evaluate_greedy(self.model, self._dev, self._alphabet, options)
            judged = [dev_loss, words.rate, characters.rate]
        dev_loss, wer, cer = self.world.told(judged)  # one process judges, or they might disagree on when to stop
        report = EpochReport(
            epoch=state.epoch,
            step=state.step,
            loss=state.loss_sum / max(1, state.characters),
            dev_loss=dev_loss,
            wer=wer,
            cer=cer,
            learning_rate=options.schedule.learning_rate(state.step, state.epoch + 1.0, options.epochs),
            seconds=round(seconds, 1),
            skipped=state.skipped,
        )
        self.state = TrainingState(step=state.step, epoch=state.epoch + 1, history=[*state.history, asdict(report)])
        is_best = min(self.state.history, key=rank)["epoch"] == report.epoch
        if self.world.leads:
            # Models first: a kill in between repeats the epoch's end and writes the same models again.
            for name in [epoch_name(report.epoch), "latest", *(["best"] if is_best else [])]:
                save_model(self.model, model_path(self.folder, name))
        self._save()
        return report

    def _write_average(self, notify: Callable[[str], None]) -> None:
        count = self.options.average_best
        if not count or not self.world.leads or not self.state.history:
            return
        best = sorted(self.state.history, key=rank)[:count]
        paths = [model_path(self.folder, epoch_name(record["epoch"])) for record in best]
        there = [path for path in paths if path.is_file()]
        if len(there) < len(paths):
            missing = ", ".join(sorted(path.name for path in paths if path not in there))
            came = f"is of {len(there)} of the {len(paths)} best epochs" if there else "is not written"
            notify(f"{self.folder}: the average {came}: no {missing}")
        if there:
            save_model(average_models(there), model_path(self.folder, "average"))

    def _save(self) -> None:
        if self.world.leads:
            save_state(self.folder / STATE_FILE, self.state, self.model, self._optimizer, self._identity)
        self.world.wait()


def _seed_of(seed: int, step: int, rank: int) -> int:
    # Of a seed the generator of the CPU uses 32 bits: every part has to be in them. The factor is odd, so that seeds
    # which differ in those bits stay different, and far apart.
    return ((step << 12) + rank ^ seed * 0x9E3779B1) & 0xFFFF_FFFF


def _optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return kind(model.parameters(), lr=options.schedule.peak, betas=options.betas, weight_decay=options.weight_decay)
