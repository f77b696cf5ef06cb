"""Write the tables and curves of this folder's README from results/*.json and log.jsonl."""

from __future__ import annotations

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
SETS = {
    "dev": "dev: LibriSpeech dev-clean speakers",
    "test": "test: LibriSpeech dev-clean speakers",
    "test_other": "test_other: LibriSpeech test-other",
    "test_nonnative": "test_nonnative: speechocean762",
}


def results_table() -> str:
    """Error rates of every set and decoder that has a results file."""
    lines = ["| set | utterances | greedy WER | CER | beam WER | CER |", "|---|---|---|---|---|---|"]
    for name, title in SETS.items():
        found = {kind: HERE / "results" / f"{name}-{kind}.json" for kind in ("greedy", "beam")}
        if all(path.exists() for path in found.values()):
            greedy, beam = (json.loads(path.read_text()) for path in found.values())
            cells = [f"{value:.1%}" for value in (greedy["wer"], greedy["cer"], beam["wer"], beam["cer"])]
            lines.append(f"| {title} | {greedy['utterances']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def curves() -> str:
    """Dev WER and CER (left axis, per cent) and losses per character (right axis) by epoch, as SVG."""
    records = [json.loads(line) for line in (HERE / "log.jsonl").read_text().splitlines()]
    epochs = [record for record in records if record.get("kind") == "epoch"]
    width, height, margin = 640, 320, 45
    last = max(record["epoch"] for record in epochs)

    def place(epoch: float, share: float) -> str:
        x = margin + (width - 2 * margin) * (epoch - 1) / max(1, last - 1)
        return f"{x:.1f},{height - margin - (height - 2 * margin) * share:.1f}"

    series = {
        "dev WER": ("#b5442e", [(r["epoch"], r["wer"]) for r in epochs]),
        "dev CER": ("#d99032", [(r["epoch"], r["cer"]) for r in epochs]),
        "training loss (right)": ("#2e6fb5", [(r["epoch"], r["loss"] / 3) for r in epochs]),
        "dev loss (right)": ("#3c9e8f", [(r["epoch"], r["dev_loss"] / 3) for r in epochs if r["dev_loss"]]),
    }
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for tick in range(0, 101, 20):
        left, right = place(1, tick / 100).split(","), place(last, tick / 100).split(",")
        parts.append(f'<path d="M{left[0]},{left[1]}H{right[0]}" stroke="#dddddd"/>')
        parts.append(f'<text x="8" y="{float(left[1]) + 4}">{tick}%</text>')
        parts.append(f'<text x="{float(right[0]) + 8}" y="{float(left[1]) + 4}">{3 * tick / 100:.1f}</text>')
    for epoch in range(1, last + 1):
        x, y = place(epoch, 0).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">epoch</text>')
    for number, (name, (colour, points)) in enumerate(series.items()):
        line = " ".join(place(*point) for point in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{margin + 140 * number}" y="20" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    readme = HERE / "README.md"
    text = re.sub(
        r"(<!-- results -->\n).*?(<!-- /results -->)",
        lambda match: f"{match[1]}{results_table()}\n{match[2]}",
        readme.read_text(),
        flags=re.DOTALL,
    )
    readme.write_text(text)
    (HERE / "curves.svg").write_text(curves())
