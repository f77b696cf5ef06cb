"""Fills the figures of README.md in between their markers: the table of a real clip, and the published models.

Run `python docs/generators/readme.py`; a test checks that the figures are what this prints.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout
from pathlib import Path

import torch

from deepspeech2 import build_model, count
from deepspeech2.cli.main import main
from deepspeech2.units import format_count

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def clip_table() -> str:
    """What `ds2 flops` prints for the clip on a terminal of 110 columns."""
    os.environ["COLUMNS"] = "110"
    text = io.StringIO()
    with redirect_stdout(text):
        main(["flops", "librispeech", str(ROOT / "examples" / "clip_10s.flac")])
    return text.getvalue().rstrip()


def model_table() -> str:
    """The published models, one row each."""
    rows = [
        "| preset | parameters | operations | MACs | of which on padding | notebook's rules |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in ("default", "librispeech", "aishell", "baidu-en8k"):
        model = build_model(name, device="meta")
        tally = count(model, (torch.empty(1, 161, 999, device="meta"), torch.tensor([999])))
        figures = [f"{tally.parameters:,}", format_count(tally.flops), format_count(tally.macs)]
        figures += [format_count(tally.padding_macs), format_count(tally.total("notebook"))]
        rows.append(f"| `{name}` | {' | '.join(figures)} |")
    return "\n".join(rows)


def page(text: str) -> str:
    """The README with its figures renewed."""
    for name, content in (
        ("clip", f"```\n$ ds2 flops librispeech examples/clip_10s.flac\n{clip_table()}\n```"),
        ("models", model_table()),
    ):
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        text = re.sub(pattern, lambda match, content=content: match[1] + content + match[2], text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    README.write_text(page(README.read_text()))
