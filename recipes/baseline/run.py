"""Train the baseline and measure it: `python -m recipes.baseline.run DATA OUTPUT`, from the top of the repository.

DATA is a folder with train.jsonl, dev.jsonl, test.jsonl, test_other.jsonl and test_nonnative.jsonl. Run again after an
interruption, it goes on where it stood. OUTPUT receives what `ds2 train` writes and results/SET-DECODER.json, in the
form of recipes/small/results.
"""

from __future__ import annotations

import argparse
import json
import signal
from dataclasses import replace
from pathlib import Path

import torch

from deepspeech2.cli.evaluate import error_table
from deepspeech2.ctc import BeamDecoder, BeamOptions, load_language_model
from deepspeech2.ctc.tuning import TuningOptions, TuningResult, best_of, search
from deepspeech2.errors import DeepSpeech2Error
from deepspeech2.files import replacing
from deepspeech2.flops.counting import count
from deepspeech2.speech.build import build_model
from deepspeech2.speech.data.feature_cache import FeatureCache
from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.data.preflight import PreflightOptions, preflight
from deepspeech2.speech.evaluation import evaluate_manifest
from deepspeech2.speech.options import ENGLISH_LABELS
from deepspeech2.speech.pretrained import PRETRAINED
from deepspeech2.speech.recipe import read_recipe
from deepspeech2.speech.scoring import error_rates
from deepspeech2.speech.training import Trainer
from deepspeech2.speech.training_folder import Standing, refuse_overwriting, standing_of
from deepspeech2.speech.training_log import TrainingLog
from deepspeech2.speech.training_options import TrainingOptions
from deepspeech2.speech.training_reports import EpochReport
from recipes.baseline.network import Baseline, BaselineRecognizer, UtteranceNormalizer, build_baseline, load_baseline
from recipes.baseline.tabulate import epochs_of

HERE = Path(__file__).parent
SETS = ("dev", "test", "test_other", "test_nonnative")


def set_up(arguments: argparse.Namespace) -> Trainer:
    """The trainer, gone back to where it stood if there is a state."""
    data, output = arguments.data, arguments.output
    standing = standing_of(output)
    refuse_overwriting(output, standing, resume=True)
    model, training = plan(arguments)
    usable = {}
    for name in ("train", "dev"):
        options = PreflightOptions(decode=False, stride=2)
        report = preflight(read_manifest(data / f"{name}.jsonl"), ENGLISH_LABELS, options)
        usable[name] = report.usable[: arguments.utterances]
        print(f"{name}: {report.summary()}", flush=True)
    loaders = []
    for utterances in usable.values():
        cache = FeatureCache(arguments.cache or output / "cache", utterances, (1.0,))
        cache.build()
        normalizer = UtteranceNormalizer(model.options.features)
        loaders.append(BatchLoader(utterances, ENGLISH_LABELS, normalizer, None, cache, training.seed))
    trainer = Trainer(model, *loaders, training, output)
    if standing is Standing.SAVED:
        trainer.resume()
        print(f"resuming after update {trainer.state.step}", flush=True)
    return trainer


def plan(arguments: argparse.Namespace) -> tuple[Baseline, TrainingOptions]:
    """A network of the size of recipes/small, and as many epochs as take the operations that model was trained with."""
    small = read_recipe(HERE.parent / "small" / "small.toml")
    with torch.device("meta"):
        reference = build_model(small.network)
        cost = count(reference, (torch.empty(1, 161, 999), torch.tensor([999], device="cpu"))).macs
    parameters = arguments.parameters or sum(weight.numel() for weight in reference.parameters())
    training = read_recipe(HERE / "baseline.toml").training
    model = build_baseline(parameters, channels=arguments.channels, seed=training.seed, features=arguments.features)
    ratio = model.macs(999) / cost
    spent = len(epochs_of(HERE.parent / "small" / "log.jsonl"))
    training = replace(training, epochs=arguments.epochs or max(1, round(spent / ratio)))
    if arguments.learning_rate:
        training = replace(training, schedule=replace(training.schedule, peak=arguments.learning_rate))
    print(
        f"{model.parameter_count():,} parameters (recipes/small: {parameters:,}), "
        f"{model.macs(999) / 1e9:.2f} GMAC for ten seconds ({ratio:.2f} times recipes/small), "
        f"{training.epochs} epochs (recipes/small: {spent})",
        flush=True,
    )
    return model, training


def train(trainer: Trainer, output: Path) -> None:
    """Run to the last epoch, saving everything when interrupted."""
    log = TrainingLog(output, state=trainer.state)

    def on_epoch(report: EpochReport) -> None:
        log.epoch(report)
        print(
            f"epoch {report.epoch + 1}: loss {report.loss:.3f}, dev loss {report.dev_loss:.3f}, WER {report.wer:.2%}, "
            f"CER {report.cer:.2%}, {report.seconds:.0f} s",
            flush=True,
        )

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: trainer.stop())
    try:
        trainer.run(log.step, on_epoch)
    finally:
        log.close()


def measure(data: Path, output: Path, utterances: int | None) -> None:
    """Greedy and beam results of the best epoch on every set, the beam's weights tuned on dev."""
    model = load_baseline(output / "best.safetensors")
    beam = tune(model, data, utterances)
    folder = output / "results"
    folder.mkdir(exist_ok=True)
    for name in SETS:
        for kind in ("greedy", "beam"):
            options = {} if kind == "greedy" else {"beam": beam, "language_model": PRETRAINED["small"].language_model}
            found = read_manifest(data / f"{name}.jsonl")[:utterances]
            result = evaluate_manifest(BaselineRecognizer(model, **options), found)
            record = result.summary() | ({"alpha": beam.alpha, "beta": beam.beta} if kind == "beam" else {})
            with replacing(folder / f"{name}-{kind}.json") as file:
                json.dump(record, file)
            print(f"{name}, {kind}\n{error_table(result, 0)}", flush=True)


def tune(model: Baseline, data: Path, utterances: int | None) -> BeamOptions:
    """The small model's beam search, with the alpha and beta that suit this network best on half of dev."""
    shipped = PRETRAINED["small"]
    scorer, recognizer = load_language_model(shipped.language_model), BaselineRecognizer(model)
    chosen = read_manifest(data / "dev.jsonl")[:utterances:2]
    outputs = [recognizer.log_probabilities(item) for item in chosen]

    def evaluate(alpha: float, beta: float) -> TuningResult:
        decoder = BeamDecoder(recognizer.alphabet, replace(shipped.beam, alpha=alpha, beta=beta), scorer)
        texts = [found[0].text for found in decoder.decode_batch(outputs)]
        words, characters = error_rates([item.text for item in chosen], texts)
        return TuningResult(alpha, beta, words.rate, characters.rate)

    options = TuningOptions((0.3, 1.5), (0.0, 1.5), alphas=3, betas=3, refinements=1, most_points=25)
    best = best_of(search(evaluate, options).values())
    return replace(shipped.beam, alpha=best.alpha, beta=best.beta)


def main() -> None:
    """Read the command line; train and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--parameters", type=int, help="instead of those of recipes/small")
    parser.add_argument("--channels", type=int, default=32, help="of the convolutions")
    parser.add_argument("--features", choices=["log1p", "log"], default="log1p", help="log: this project's own")
    parser.add_argument("--epochs", type=int, help="instead of those that take the operations of recipes/small")
    parser.add_argument("--learning-rate", type=float, help="peak, instead of baseline.toml's")
    parser.add_argument("--cache", type=Path, help="folder of spectrograms to share with other trainings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--utterances", type=int, help="only the first of each set, to try things out")
    parser.add_argument("--measure-only", action="store_true", help="measure what is there, finished or not")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if not arguments.measure_only:
        train(set_up(arguments), arguments.output)
    measure(arguments.data, arguments.output, arguments.utterances)


if __name__ == "__main__":
    try:
        main()
    except DeepSpeech2Error as error:
        raise SystemExit(f"baseline: {' '.join(str(error).split())}") from None
