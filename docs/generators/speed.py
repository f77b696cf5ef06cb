"""Fills the tables of docs/speed.md from the results of `make bench-inference`.

Run `python docs/generators/speed.py`; a test checks that the figures are what this prints.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "speed.md"
RESULTS = ROOT / "benchmarks" / "results"
MODELS = {"small": "`small`, 3 x 320 GRU", "librispeech": "`librispeech`, 3 x 2048 simple"}
NAMES = {form: f"this package, {form} weights" for form in ("float32", "bfloat16", "int8")} | {
    "DeepSpeech2": "this package, the module itself"
}


def machine_line(results: dict[str, Any]) -> str:
    """Where the figures come from."""
    machine = results["machine"]
    return (
        f"{machine['processor']}, {machine['threads']} thread{'s' * (machine['threads'] > 1)}, "
        f"torch {machine['torch']}. "
        f"Measured in the same run: matrix products {machine['gemm_gflops']} GFLOP/s, reading memory "
        f"{machine['bandwidth_gbytes']} GB/s."
    )


def _name(row: dict[str, Any]) -> str:
    return NAMES.get(row["contender"], row["contender"])


def _of_memory(row: dict[str, Any]) -> str:
    return f"{row['memory_fraction']:.0%}" if "memory_fraction" in row else ""


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", "---:", "---", *["---:"] * (len(head) - 3)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def inference_table(results: dict[str, Any]) -> str:
    """The whole network."""
    head = [
        "network",
        "batch",
        "contender",
        "best ms",
        "median ms",
        "real-time factor",
        "GFLOP/s",
        "roofline",
        "times plain",
    ]
    rows = []
    for row in results["inference"]:
        fraction = row.get("roofline_fraction")
        rows.append(
            [
                MODELS[row["model"]],
                str(row["batch"]),
                _name(row),
                _milliseconds(row["seconds"]),
                _milliseconds(row["median_seconds"]),
                f"{row['real_time_factor']:.4f}",
                f"{row['gflops']:.1f}",
                "" if fraction is None else f"{fraction:.0%}",
                f"{row['plain_over_this']:.2f}",
            ]
        )
    return _table(head, rows)


def recurrence_table(results: dict[str, Any]) -> str:
    """The recurrences of one layer."""
    head = [
        "network",
        "batch",
        "contender",
        "best ms",
        "median ms",
        "GFLOP/s",
        "roofline",
        "float32 memory",
        "states not zero",
        "times plain",
    ]
    rows = [
        [
            MODELS[row["model"]],
            str(row["batch"]),
            _name(row),
            _milliseconds(row["seconds"]),
            _milliseconds(row["median_seconds"]),
            f"{row['gflops']:.1f}",
            f"{row['roofline_fraction']:.0%}",
            _of_memory(row),
            f"{row['nonzero_states']:.0%}",
            f"{row['plain_over_this']:.2f}",
        ]
        for row in results["recurrence"]
    ]
    return _table(head, rows)


def memory_table(results: dict[str, Any]) -> str:
    """A recurrence that neither caches nor zeros help."""
    head = ["states", "batch", "contender", "best ms", "median ms", "float32 memory", "states not zero", "times plain"]
    rows = [
        [
            str(row["size"]),
            str(row["batch"]),
            _name(row),
            _milliseconds(row["seconds"]),
            _milliseconds(row["median_seconds"]),
            _of_memory(row),
            f"{row['nonzero_states']:.0%}",
            f"{row['plain_over_this']:.2f}",
        ]
        for row in results["memory"]
    ]
    return _table(head, rows)


def features_line(results: dict[str, Any]) -> str:
    """What comes before the network."""
    row = results["features"]
    return (
        f"Before it, {results['seconds_of_audio']:.0f} seconds of audio become features in "
        f"{_milliseconds(row['seconds'])} ms (median {_milliseconds(row['median_seconds'])}) on one thread."
    )


def training_table(results: dict[str, Any]) -> str:
    """Forward, loss and backward."""
    head = ["network", "batch", "contender", "best ms", "median ms", "GFLOP/s", "times plain"]
    rows = [
        [
            MODELS[row["model"]],
            str(row["batch"]),
            _name(row),
            _milliseconds(row["seconds"]),
            _milliseconds(row["median_seconds"]),
            f"{row['gflops']:.1f}",
            f"{row['plain_over_this']:.2f}",
        ]
        for row in results["training"]
    ]
    return _table(head, rows)


def error_table(results: dict[str, Any]) -> str:
    """Word error rates by format of the weights."""
    lines = [
        "| recurrent weights | greedy WER | word errors | beam WER | word errors | largest change of a probability |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in results["rows"]:
        cells = [row["weights"]]
        for decoder in ("greedy", "beam"):
            found = row[decoder]
            cells += [f"{found['wer']:.2%}", f"{found['word_errors']} of {found['reference_words']}"]
        lines.append(f"| {' | '.join([*cells, format(row['largest_change_of_a_probability'], '.2g')])} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its figures renewed."""
    results = json.loads((RESULTS / "inference.json").read_text())
    errors = json.loads((RESULTS / "inference_wer.json").read_text())
    parts = {
        "machine": machine_line(results),
        "inference": inference_table(results),
        "features": features_line(results),
        "recurrence": recurrence_table(results),
        "memory": memory_table(results),
        "training": training_table(results),
        "errors": error_table(errors),
    }
    for name, content in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(
            pattern, lambda match, content=content: match[1] + content + "\n" + match[2], text, flags=re.DOTALL
        )
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
