"""What storing recurrent weights in fewer bytes costs in recognised words.

    python -m benchmarks.inference.wer MANIFEST [--model small]

Evaluates the model on a manifest with each format of weights, greedily and with its beam search, and compares its
log-probabilities with those of float32 weights. Writes benchmarks/results/inference_wer.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inference.run import FORMATS
from deepspeech2 import Recognizer, evaluate_manifest, read_manifest

RESULTS = Path(__file__).parents[1] / "results" / "inference_wer.json"
COMPARED = 50
"""Utterances whose probabilities are compared."""


def main() -> None:
    """Evaluate every format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="small")
    options = parser.parse_args()
    utterances = read_manifest(options.manifest)
    rows: list[dict[str, Any]] = []
    exact: list[np.ndarray] = []
    for form in FORMATS:
        row: dict[str, Any] = {"weights": form}
        for decoder in ("greedy", "beam"):
            recognizer = Recognizer.from_pretrained(options.model, decoder=decoder, weights=form)
            summary = evaluate_manifest(recognizer, utterances).summary()
            row[decoder] = {
                "wer": summary["wer"],
                "cer": summary["cer"],
                "word_errors": sum(summary["words"][kind] for kind in ("substitutions", "deletions", "insertions")),
                "reference_words": summary["words"]["reference"],
            }
        outputs = [np.exp(recognizer.log_probabilities(utterance)) for utterance in utterances[:COMPARED]]
        exact = exact or outputs
        changes = [np.abs(output - wanted) for output, wanted in zip(outputs, exact, strict=True)]
        row["largest_change_of_a_probability"] = float(max(change.max() for change in changes))
        row["mean_change_of_a_probability"] = float(np.mean([change.mean() for change in changes]))
        rows.append(row)
        print(json.dumps(row), flush=True)
    result = {"manifest": options.manifest.name, "utterances": len(utterances), "model": options.model, "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
