"""Write docs/decoding-benchmark.md from the results of the decoder benchmark.

python -m benchmarks.decode.report [RESULTS.json [PAGE.md]]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
LONG = ROOT / "benchmarks" / "results" / "decode_long.json"
THREADS = ROOT / "benchmarks" / "results" / "decode_threads.json"
OPTIONS = ROOT / "benchmarks" / "results" / "decode_options.json"
WIDE = ROOT / "benchmarks" / "results" / "decode_wide.json"
RESULTS = ROOT / "benchmarks" / "results" / "decode.json"
PAGE = ROOT / "docs" / "decoding-benchmark.md"
TITLES = {
    "none": "Without a language model",
    "model": "With a word 3-gram, words of the model only where the decoder can",
}
HEAD = """# Decoder benchmark

Written by `python -m benchmarks.decode.report` from `benchmarks/results/decode.json`; do not edit.

{frames} of {sentences} simulated sentences, 29 symbols;
the character error rate of the best path is 10% in *easy* and 21% in *hard*. All decoders ran in one run, in turn on
blocks of five sentences, each in a process of its own with one thread, on {machine}.
Times are processor time without loading, the median of {repeats} repetitions of each sentence (slow decoders fewer:
`repeats` in the results). Ratios are of these times.
Posteriors are handed over in the form each decoder wants, converted outside the measured time.
"""
LONG_HEAD = """
## Long audio

The easy set as one utterance, cut to ever more frames (`benchmarks/decode/long_audio.py`), beam 100: microseconds a
frame, and the peak memory of the process in MiB, which holds the posteriors as well (2.3 MiB for 20,000 frames).
"""
LONG_TAIL = """
flashlight decodes all frames in one call here and holds the hypotheses of each until the end. Fed in pieces
with `decode_begin`, `decode_step` and `prune`, which settles on the best so far, it needs memory for a piece only.
"""
WIDE_HEAD = """
## Wide alphabets

Simulated frames of many symbols, of which the {kept} most probable are kept, without lexicon or language model, all
decoders in turn on each utterance (`benchmarks/decode/wide_alphabets.py`). {load}
"""
OPTIONS_HEAD = """
## What an option costs

deepspeech2 with the 3-gram on *easy*, beam 100, each option alone against none of them, in turn on each sentence
(`benchmarks/decode/options_cost.py`).
"""
THREADS_HEAD = """
## A second thread

`decode_batch` on all sentences of both sets, {threads} threads against one, in turn, wall time: the median of the
ratios of neighbouring runs (`benchmarks/decode/threads.py`). The share is of the processor time {threads} cores had to
give; below 1 the threads waited, for each other or for a core that something else had. {load}
"""
TAIL = """
## What was compared

* **deepspeech2** searches exactly: every symbol, no score threshold. Its time includes checking every row.
* **deepspeech2 fast** is `BeamOptions.fast`: look-ahead in context, recombination of language-model states, a score
  threshold.
* **deepspeech2 kenlm** asks the `kenlm` package for each probability instead of our own reader.
* **flashlight-text logadd** is its lexicon-free decoder with all symbols and no threshold: the same search.
* **flashlight lexicon** runs with all symbols, a threshold of 50 nats and maximum smearing.
* **flashlight lexicon logadd, our weights**, is the same with the alpha and beta of deepspeech2, at beam 500 alone.
* **pyctcdecode** and **ctc-beam-decoder**, its rewrite in C++, prune as they do by default (symbols below -5, beams
  below -10), so they search less; ctc-beam-decoder's alpha and beta are used for both.
* **fast-ctc-decode** has no language model.
* **original Python** is our port of the first DeepSpeech2 decoder: plain probabilities and dictionaries, any word
  allowed, the scorer P_LM^alpha * words^beta at each space.

Alpha and beta of each decoder were searched for each set alike, at beam 100, on these same sentences
(`benchmarks/decode/tune_decoders.py`): every decoder is at its best at that beam, not at every other, and the error
rates say nothing of new speech. Where a decoder was too slow for all sentences, the number in brackets says how many it
decoded; its error rate is then of these and not comparable.

Not there: the decoders of Coqui STT and PaddleSpeech, and `ctcdecode`, offer no build for this version of Python;
kaldi-decoder needs a compiled graph, another model.

## Do it again

```
make bench-decode                                                       # the small inputs that are shipped
benchmarks/decode/everything.sh --emissions FOLDER --language-model lm3.arpa.gz  # the figures above, and this page
```

The figures above come from the full inputs: float32 log-probabilities and a 3-gram of 60,000 words and 2.4 million
n-grams. Those that are shipped (`benchmarks/decode/inputs`) are the same sentences in float16 and the 3-gram pruned to
0.28 million n-grams; error rates are higher with it for every decoder alike. An interrupted run goes on where it was.
"""


def main() -> None:
    """Read, lay out, write."""
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    page = Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE
    content = json.loads(results.read_text())
    page.parent.mkdir(exist_ok=True)
    long_audio = json.loads(LONG.read_text())["rows"] if LONG.exists() else []
    options = json.loads(OPTIONS.read_text())["rows"] if OPTIONS.exists() else []
    threads = json.loads(THREADS.read_text()) if THREADS.exists() else {}
    wide = json.loads(WIDE.read_text()) if WIDE.exists() else {}
    page.write_text(lay_out(content, long_audio, options, threads, wide))


def lay_out(
    content: dict[str, Any],
    long_audio: Sequence[dict[str, Any]] = (),
    options: Sequence[dict[str, Any]] = (),
    threads: dict[str, Any] | None = None,
    wide: dict[str, Any] | None = None,
) -> str:
    """Return the page."""
    rows, inputs = content["rows"], content["inputs"]
    sets = sorted({row["set"] for row in rows})
    head = HEAD.format(
        frames=" and ".join(f"{inputs['frames'][name]:,} frames ({name})" for name in sets),
        sentences=max(row["sentences"] for row in rows),
        machine=processor(content["machine"]["processor"]),
        repeats=max(row["repeats"] for row in rows),
    )
    parts = [head]
    for setting, title in TITLES.items():
        here = [row for row in rows if row["setting"] == setting]
        if here:
            parts += [f"\n## {title}\n", time_table(here), ratio_table(here)]
    if long_audio:
        parts += [LONG_HEAD, long_table(long_audio), LONG_TAIL]
    if wide:
        load = f"The load of the machine before it began was {wide['load_before']:.1f}."
        parts += [WIDE_HEAD.format(kept=wide["kept"], load=load), wide_table(wide["rows"])]
    if options:
        parts += [OPTIONS_HEAD, options_table(options)]
    if threads:
        load = f"The load of the machine before it began was {threads['load_before']:.1f}."
        parts += [THREADS_HEAD.format(threads=threads["threads"], load=load), threads_table(threads["rows"])]
    parts += ["\n## Memory\n", memory_table(rows), "\n## Versions and weights\n", version_table(rows)]
    if content["not_run"]:
        parts += ["\nDid not run: " + "; ".join(f"{name} ({why})" for name, why in content["not_run"].items()) + "."]
    return "\n".join([*parts, TAIL])


def processor(found: Sequence[str]) -> str:
    """The processor's name, and its clock where the system told it."""
    name, *clock = found
    return f"{name} at {float(clock[0]):.0f} MHz" if clock else name


def order(rows: list[dict[str, Any]]) -> list[str]:
    """List decoders, ours first, then by their time at the middle beam."""
    beams = sorted({row["beam"] for row in rows})
    middle = beams[len(beams) // 2]
    times: dict[str, float] = {}
    for row in rows:
        if row["beam"] == middle:
            times[row["decoder"]] = max(times.get(row["decoder"], 0.0), row["microseconds_per_frame"])
    names = {row["decoder"] for row in rows}
    return sorted(names, key=lambda name: (not name.startswith("deepspeech2"), times.get(name, 1e9), name))


def table(header: list[str], lines: list[list[str]]) -> str:
    """Lay out Markdown, figures to the right."""
    marks = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, marks, *lines]) + "\n"


def time_table(rows: list[dict[str, Any]]) -> str:
    """Microseconds a frame and word error rate, at each beam, easy / hard."""
    found = {(row["decoder"], row["set"], row["beam"]): row for row in rows}
    sets, beams = sorted({row["set"] for row in rows}), sorted({row["beam"] for row in rows})
    most = max(row["sentences"] for row in rows)
    header = ["microseconds a frame (WER %)", *(f"{name}, beam {beam}" for name in sets for beam in beams)]
    lines = []
    for decoder in order(rows):
        line = [decoder]
        for name in sets:
            for beam in beams:
                row = found.get((decoder, name, beam))
                some = f" [{row['sentences']}]" if row and row["sentences"] < most else ""
                line.append(f"{figure(row['microseconds_per_frame'])} ({row['wer']:.2f}){some}" if row else "")
        lines.append(line)
    return table(header, lines)


def ratio_table(rows: list[dict[str, Any]]) -> str:
    """How many times faster ours are."""
    found = {(row["decoder"], row["set"], row["beam"]): row["microseconds_per_frame"] for row in rows}
    sets, beams = sorted({row["set"] for row in rows}), sorted({row["beam"] for row in rows})
    lines = []
    for ours in ("deepspeech2", "deepspeech2 fast"):
        for decoder in order(rows):
            cells = [(found.get((decoder, s, b)), found.get((ours, s, b))) for s in sets for b in beams]
            if not decoder.startswith("deepspeech2") and any(own for _, own in cells):
                ratios = [f"{figure(peer / own)}" if peer and own else "" for peer, own in cells]
                lines.append([f"{ours} against {decoder}", *ratios])
    header = ["times faster", *(f"{name}, beam {beam}" for name in sets for beam in beams)]
    return table(header, lines) if lines else ""


def memory_table(rows: list[dict[str, Any]]) -> str:
    """Peak resident memory of the process, MiB, with interpreter, inputs and model."""
    beams = sorted({row["beam"] for row in rows})
    lines = []
    for setting in TITLES:
        here = [row for row in rows if row["setting"] == setting]
        for decoder in order(here) if here else ():
            own = [row for row in here if row["decoder"] == decoder]
            peaks = [[row["peak_bytes"] for row in own if row["beam"] == beam] for beam in beams]
            load = max(row["load_seconds"] for row in own)
            cells = [f"{max(peak) / 2**20:.0f}" if peak else "" for peak in peaks]
            lines.append([decoder, "3-gram" if setting == "model" else "none", f"{load:.2f}", *cells])
    return table(["decoder", "model", "seconds to load", *(f"MiB, beam {beam}" for beam in beams)], lines)


def long_table(rows: Sequence[dict[str, Any]]) -> str:
    """Cost of a frame and memory, by length."""
    found = {(row["decoder"], row["setting"], row["frames"]): row for row in rows}
    lengths = sorted({row["frames"] for row in rows})
    lines = []
    for decoder, setting in dict.fromkeys((row["decoder"], row["setting"]) for row in rows):
        line = [decoder, "3-gram" if setting == "model" else "none"]
        for frames in lengths:
            row = found.get((decoder, setting, frames))
            text = f"{figure(row['microseconds_per_frame'])} ({row['peak_bytes'] / 2**20:.0f})" if row else ""
            line.append("failed" if row and row["failures"] else text)
        lines.append(line)
    return table(["microseconds a frame (MiB)", "model", *(f"{frames:,} frames" for frames in lengths)], lines)


def wide_table(rows: Sequence[dict[str, Any]]) -> str:
    """Cost of a frame by columns and beam, and the ratio of each peer to ours."""
    found = {(row["decoder"], row["columns"], row["beam"]): row["microseconds_per_frame"] for row in rows}
    cases = list(dict.fromkeys((row["columns"], row["beam"]) for row in rows))
    lines = []
    for decoder in dict.fromkeys(row["decoder"] for row in rows):
        line = [decoder]
        for case in cases:
            time, own = found[decoder, *case], found["deepspeech2", *case]
            peer = not decoder.startswith("deepspeech2")
            line.append(f"{figure(time)} ({figure(time / own)} times)" if peer else figure(time))
        lines.append(line)
    return table(["microseconds a frame", *(f"{c:,} columns, beam {b}" for c, b in cases)], lines)


def options_table(rows: Sequence[dict[str, Any]]) -> str:
    """Cost of each option against none."""
    lines = [
        [
            row["variant"],
            figure(row["microseconds_per_frame"]),
            f"{100 * (row['times_nothing'] - 1):+.0f}%",
            f"{row['wer']:.2f}",
        ]
        for row in rows
    ]
    return table(["option", "microseconds a frame", "against nothing", "WER %"], lines)


def threads_table(rows: Sequence[dict[str, Any]]) -> str:
    """How many times faster several threads are, at each beam."""
    beams = sorted({row["beam"] for row in rows})
    found = {(row["decoder"], row["beam"]): row for row in rows}
    lines = [
        [name, *(f"{found[name, b]['times_faster']:.2f} ({found[name, b]['processor_share']:.2f})" for b in beams)]
        for name in dict.fromkeys(row["decoder"] for row in rows)
    ]
    return table(["times faster (share)", *(f"beam {beam}" for beam in beams)], lines)


def version_table(rows: list[dict[str, Any]]) -> str:
    """Which version of what, with which alpha and beta."""
    lines = []
    for decoder in sorted({row["decoder"] for row in rows}):
        row = next(row for row in rows if row["decoder"] == decoder)
        tuned = {r["set"]: r for r in rows if r["decoder"] == decoder and r["setting"] == "model"}
        weights = "; ".join(f"{name} {r['alpha']:.3g}, {r['beta']:.3g}" for name, r in sorted(tuned.items()))
        lines.append([decoder, f"{row['package']} {row['version']}", weights])
    return table(["decoder", "package", "alpha, beta"], lines)


def figure(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
