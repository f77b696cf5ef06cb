"""Write the tables and figures of this folder's README from results/ and from those of recipes/small."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
SMALL = HERE.parent / "small"
SETS = ("dev", "test", "test_other", "test_nonnative")
# The baseline's MACs for ten seconds over those of small, with 16 channels: printed at its start.
RATIO = 1.50
# Updates with one thread; the log does not say.
ONE_THREAD = 2_160


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
    """What the finished epochs took: the median of an epoch's logged updates, times its updates and its threads.

    A mean would count the hours in which the training was held up between two updates.
    """
    records = [json.loads(line) for line in (HERE / "results" / "log.jsonl").read_text().splitlines()]
    epochs = [record for record in records if record.get("kind") == "epoch"]
    hours, medians, before = 0.0, [], 0
    for epoch in epochs:
        usual = median(one["seconds"] for one in records if "kind" not in one and one["epoch"] == epoch["epoch"])
        alone = min(max(ONE_THREAD - before, 0), epoch["step"] - before)
        hours += usual * (2 * (epoch["step"] - before) - alone) / 3600
        medians.append(usual)
        before = epoch["step"]
    small = sum(epoch["seconds"] for epoch in epochs_of(SMALL / "log.jsonl")) / 3600
    return (
        f"{len(epochs)} epochs, {epochs[-1]['step']:,} updates, {hours:.1f} hours of a core (`small`: {small:.1f})\n"
        f"beside other work; one thread up to update {ONE_THREAD:,}, two from there. The median update of an epoch\n"
        f"took {min(medians):.1f} to {max(medians):.1f} seconds."
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
