"""Fills what README.md has between its markers: the table of a real clip, what is heard in it, the published models.

Run `python docs/generators/readme.py`; a test checks that the figures are what this prints.
"""

from __future__ import annotations

import io
import json
import os
import re
from contextlib import chdir, redirect_stdout
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


def transcripts() -> dict[str, str]:
    """What the small model hears in the clip, by the command that says so."""
    found = {}
    for options in ([], ["--decoder", "greedy"]):
        command = ["transcribe", "examples/clip_10s.flac", *options]
        text = io.StringIO()
        with redirect_stdout(text), chdir(ROOT):
            main(command)
        found[" ".join(["ds2", *command])] = text.getvalue().strip()
    return found


def transcript_block(found: dict[str, str]) -> str:
    """The transcripts, and how far such transcripts can be trusted."""
    session = "\n".join(f"$ {command}\n{text}" for command, text in found.items())
    rates = {}
    for kind in ("beam", "greedy"):
        result = json.loads((ROOT / "recipes" / "small" / "results" / f"test-{kind}.json").read_text())
        rates[kind] = f"{result['wer']:.1%}"
    return f"""```
{session}
```

What it can and cannot: `small` learned eight hours of speech on a CPU. On clean read speech of unknown speakers it gets
{rates["beam"]} of the words wrong ({rates["greedy"]} without its language model): it shows every part at work and
is no product; [more speech](docs/training.md) or [Baidu's checkpoints](docs/checkpoints.md) make one.
[How it was made](recipes/small/README.md)."""


def page(text: str, heard: dict[str, str]) -> str:
    """The README with its figures renewed.

    Args:
        text: The README as it is.
        heard: What `transcripts` found, or what an earlier README says.
    """
    for name, content in (
        ("clip", f"```\n$ ds2 flops librispeech examples/clip_10s.flac\n{clip_table()}\n```"),
        ("transcript", transcript_block(heard)),
        ("models", model_table()),
    ):
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        text = re.sub(pattern, lambda match, content=content: match[1] + content + match[2], text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    README.write_text(page(README.read_text(), transcripts()))
