"""Does the cost of a frame grow with the audio? Decodes the easy set as one utterance, cut to ever more frames.

    python -m benchmarks.decode.long_audio [--emissions FOLDER] [--language-model FILE] [--output FILE]

Each decoder has a process of its own; lengths rise, so that peak memory belongs to a length.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decode.decoders import ENTRIES
from benchmarks.decode.inputs import CACHE, DEFAULT_EMISSIONS, DEFAULT_MODEL, HERE, load_sentences, plain_arpa
from benchmarks.decode.summary import machine, write_json
from benchmarks.decode.worker import build, decode

FRAMES = (1_000, 2_500, 5_000, 10_000, 20_000)
BEAM = 100
DECODERS = (
    ("deepspeech2", "none"),
    ("flashlight-text logadd", "none"),
    ("ctc-beam-decoder", "none"),
    ("fast-ctc-decode", "none"),
    ("deepspeech2", "model"),
    ("deepspeech2 fast", "model"),
    ("flashlight lexicon logadd", "model"),
    ("ctc-beam-decoder", "model"),
)


def child(request: dict[str, Any]) -> None:
    """Decode every length with one decoder; one line of JSON for each."""
    decoder = build(request)
    rows = np.concatenate(load_sentences(Path(request["emissions"]), "easy").log_probs)
    for frames in FRAMES:
        prepared = [decoder.prepare(np.ascontiguousarray(rows[:frames]))]
        answer = decode(decoder, prepared, {"beam": BEAM, "sentences": [0, 0]})
        microseconds = min(answer["cpu"]) / frames / 1e3
        row = {
            "decoder": request["decoder"],
            "setting": request["setting"],
            "beam": BEAM,
            "frames": frames,
            "microseconds_per_frame": round(microseconds, 4),
            "peak_bytes": answer["peak_bytes"],
            "failures": answer["failures"],
        }
        print(json.dumps(row), flush=True)


def main() -> None:
    """Run every decoder and write the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode.long_audio")
    parser.add_argument("--emissions", type=Path, default=DEFAULT_EMISSIONS)
    parser.add_argument("--language-model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, default=CACHE / "decode_long.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    CACHE.mkdir(exist_ok=True)
    weights = json.loads((HERE / "weights.json").read_text())["weights"]
    arpa = plain_arpa(options.language_model)
    rows = []
    for name, setting in DECODERS:
        entry = next(entry for entry in ENTRIES if (entry.name, entry.setting) == (name, setting))
        chosen = weights.get(entry.weights or name, {}).get("easy", {"alpha": 0.0, "beta": 0.0})
        request = {
            "decoder": name,
            "setting": setting,
            "adapter": entry.adapter,
            "model": str(arpa) if setting == "model" else None,
            "emissions": str(options.emissions),
            "alpha": chosen["alpha"],
            "beta": chosen["beta"],
        }
        command = [sys.executable, "-m", "benchmarks.decode.long_audio", "--child", json.dumps(request)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        print(name, setting, [row["microseconds_per_frame"] for row in rows if row["decoder"] == name], file=sys.stderr)
    write_json(options.output, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
