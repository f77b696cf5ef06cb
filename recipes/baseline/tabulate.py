"""Write the tables and figures of this folder's README from results/ and from those of recipes/small."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SMALL = HERE.parent / "small"
SETS = ("dev", "test", "test_other", "test_nonnative")
# The baseline's MACs for ten seconds over those of small, with 16 channels: printed at its start.
RATIO = 1.50


def epochs_of(path: Path) -> list[dict[str, Any]]:
    """The records of finished epochs in a training's log, in their order."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if record.get("kind") == "epoch"]


def epochs_table() -> str:
    """Each epoch of the baseline beside the first of small that had at least as many operations."""
    lines = [
        "| operations, in epochs of `small` | baseline | dev loss | CER | WER | `small` after epoch | CER | WER |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    small = epochs_of(SMALL / "log.jsonl")
    for number, record in enumerate(epochs_of(HERE / "results" / "log.jsonl"), start=1):
        spent = RATIO * number
        other = next(one for one in small if one["epoch"] >= spent)
        lines.append(
            f"| {spent:.1f} | epoch {number} | {record['dev_loss']:.2f} | {record['cer']:.1%} | {record['wer']:.1%} "
            f"| {other['epoch']} | {other['cer']:.1%} | {other['wer']:.1%} |"
        )
    return "\n".join(lines)


def results_table() -> str:
    """Error rates of both on every set."""
    lines = [
        "| set | baseline greedy WER | CER | beam WER | CER | `small` greedy WER | beam WER |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in SETS:
        cells = [
            f"{json.loads((folder / 'results' / f'{name}-{decoder}.json').read_text())[rate]:.1%}"
            for folder, rates in ((HERE, ("wer", "cer")), (SMALL, ("wer",)))
            for decoder in ("greedy", "beam")
            for rate in rates
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def effort() -> str:
    """What the finished epochs took, by the log: wall-clock time, on a core that other work may have shared."""
    epochs = epochs_of(HERE / "results" / "log.jsonl")
    minutes = [record["seconds"] / 60 for record in epochs]
    return (
        f"{len(epochs)} epochs, {epochs[-1]['step']:,} updates, {sum(minutes) / 60:.1f} hours of one thread of a CPU "
        f"that had other work beside it ({min(minutes):.0f} to {max(minutes):.0f} minutes an epoch)."
    )


def filled(text: str) -> str:
    """The README's text with its tables and figures written anew."""
    for name, table in (("effort", effort()), ("epochs", epochs_table()), ("results", results_table())):
        whole = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = whole.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)
    return text


if __name__ == "__main__":
    readme = HERE / "README.md"
    readme.write_text(filled(readme.read_text()))
