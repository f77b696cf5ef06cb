"""Six utterances of real speech are learnt by heart: data, training, checkpoint and recogniser in one go."""

from __future__ import annotations

import json
from pathlib import Path

from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.evaluation import evaluate_manifest
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recipe import Recipe
from deepspeech2.speech.recognizer import Recognizer
from deepspeech2.speech.training_options import ScheduleOptions, TrainingOptions
from deepspeech2.speech.training_setup import TrainingData, set_up_training

SPEECH = Path(__file__).parents[2] / "examples" / "speech" / "manifest.jsonl"


def test_real_speech_is_learnt(tmp_path: Path) -> None:
    convolutions = (ConvolutionOptions(8, (41, 11), (4, 3)),)
    network = NetworkOptions(convolutions=convolutions, recurrent_layers=2, recurrent_size=64, cell="gru")
    training = TrainingOptions(
        epochs=30,
        average_best=0,
        checkpoint_steps=0,
        batching=BatchingOptions(batch_seconds=12.0),
        schedule=ScheduleOptions(peak=5e-3, warmup_steps=10),
    )
    trainer, report, _ = set_up_training(TrainingData(SPEECH, SPEECH), Recipe(network, training), tmp_path)
    assert len(report.usable) == 6
    first = trainer.run()[0]
    assert first.wer > 0.9
    # Through the audio, not through the training's batches.
    recognizer = Recognizer.from_pretrained(tmp_path / "latest.safetensors", decoder="greedy")
    result = evaluate_manifest(recognizer, read_manifest(SPEECH))
    assert result.words.reference == 79
    assert result.words.rate < 0.05


def test_the_gates_page_has_the_results() -> None:
    folder = SPEECH.parents[2] / "recipes" / "gates"
    rows = [line for line in (folder / "README.md").read_text().splitlines() if "%" in line and line.startswith("|")]
    records = [json.loads((folder / "results" / f"{name}.json").read_text()) for name in ("overfit", "an4")]
    results = [result for record in records for result in record["results"].values()]
    assert all(record["passed"] for record in records)
    assert len(rows) == len(results) == 3
    for row, result in zip(rows, results, strict=True):
        assert f"| {result['greedy']['wer']:.1%} | {result['beam']['wer']:.1%} |" in row
