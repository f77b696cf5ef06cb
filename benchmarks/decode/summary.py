"""From the answers of the decoders to figures: microseconds a frame, error rates, memory, ratios."""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

import jiwer

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.decode.inputs import Sentences

OURS = ("deepspeech2", "deepspeech2 fast")


def summarise(
    records: list[dict[str, Any]], data: dict[str, Sentences], inputs: dict[str, Any], missing: dict[str, str]
) -> dict[str, Any]:
    """Group the answers by decoder, setting, set and beam, and compare."""
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        key = record["key"]
        groups[key["decoder"], key["setting"], key["set"], key["beam"]].append(record)
    rows = [summarise_group(group, data[name[2]]) for name, group in sorted(groups.items())]
    return {
        "machine": machine(),
        "inputs": inputs,
        "not_run": missing,
        "rows": rows,
        "ratios": ratios(rows),
    }


def summarise_group(group: list[dict[str, Any]], sentences: Sentences) -> dict[str, Any]:
    """Summarise one decoder at one beam on one set."""
    cpu: dict[int, list[int]] = defaultdict(list)
    wall: dict[int, list[int]] = defaultdict(list)
    texts: dict[int, str] = {}
    for record in group:
        answer = record["answer"]
        columns = (record["key"]["sentences"], answer["cpu"], answer["wall"], answer["texts"])
        for index, processor, elapsed, text in zip(*columns, strict=True):
            cpu[index].append(processor)
            wall[index].append(elapsed)
            texts[index] = text
    order = sorted(texts)
    frames = sum(len(sentences.log_probs[index]) for index in order)
    said = [sentences.transcripts[index] for index in order]
    heard = [texts[index] for index in order]
    key, facts = group[0]["key"], group[0]["facts"]
    return {
        "decoder": key["decoder"],
        "setting": key["setting"],
        "set": key["set"],
        "beam": key["beam"],
        "package": facts["package"],
        "version": facts["version"],
        "alpha": key["setup"]["alpha"],
        "beta": key["setup"]["beta"],
        "sentences": len(order),
        "frames": frames,
        "repeats": min(map(len, cpu.values())),
        "microseconds_per_frame": round(sum(map(median, cpu.values())) / frames / 1e3, 4),
        "lowest_microseconds_per_frame": round(sum(map(min, cpu.values())) / frames / 1e3, 4),
        "wall_microseconds_per_frame": round(sum(map(median, wall.values())) / frames / 1e3, 4),
        "wer": round(100 * jiwer.wer(said, heard), 3),
        "cer": round(100 * jiwer.cer(said, heard), 3),
        "load_seconds": round(facts["load_seconds"], 2),
        "loaded_bytes": facts["loaded_bytes"],
        "peak_bytes": max(record["answer"]["peak_bytes"] for record in group),
        "failures": sorted({failure for record in group for failure in record["answer"]["failures"]}),
        "failed_sentences": sum(len(record["answer"]["failures"]) for record in group),
    }


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many times faster each of ours is than each peer, same setting, set and beam."""
    times = {(r["setting"], r["set"], r["beam"], r["decoder"]): r["microseconds_per_frame"] for r in rows}
    found = []
    for (setting, name, beam, peer), microseconds in times.items():
        for ours in OURS:
            own = times.get((setting, name, beam, ours))
            if own and not peer.startswith("deepspeech2"):
                ratio = round(microseconds / own, 2)
                found.append(
                    {"setting": setting, "set": name, "beam": beam, "ours": ours, "peer": peer, "times_faster": ratio}
                )
    return found


def machine() -> dict[str, Any]:
    """Describe the processor and the software, without names of hosts or users."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            found = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "cpu MHz"))]
    except OSError:
        found = [platform.processor()]
    return {"processor": found[:2], "system": platform.system(), "python": platform.python_version()}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)
