"""Run our counter and its peers side by side: micro-cases, then DeepSpeech2 from ten seconds to an hour.

Writes `benchmarks/results/flops.json` and, from it, `docs/counters.md`. Run with `make bench-flops`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.flops.cases import CASES
from benchmarks.flops.page import write_page
from benchmarks.flops.worker import NETWORK_SECONDS
from benchmarks.peers.flops_interface import COUNTERS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "flops.json"
PAGE = ROOT / "docs" / "counters.md"
DURATIONS = (10, 60, 600, 3600)
PRESETS = ("default", "librispeech", "baidu-en8k")
WALL_CLOCK = 15  # times the limit of processor time, for a counter that waits for something


def main() -> None:
    """Run what is asked for and keep the rest of the earlier results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(COUNTERS), default=list(COUNTERS), help="counters to run")
    parser.add_argument("--missing", action="store_true", help="keep earlier results, run only what has none")
    parser.add_argument("--part", choices=["cases", "network", "page", "all"], default="all")
    options = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"counters": {}}
    results["machine"] = {"processor": _processor(), "threads": 1, "python": platform.python_version()}
    for name in options.only if options.part != "page" else ():
        entry = results["counters"].setdefault(name, {})
        entry["version"] = _version(COUNTERS[name][1])
        if options.part in ("cases", "all"):
            earlier = entry.get("cases", {}) if options.missing else {}
            entry["cases"] = _cases(name, earlier)
        if options.part in ("network", "all") and not (options.missing and entry.get("network")):
            entry["network"] = _network(name)
            entry["network_seconds"] = NETWORK_SECONDS
        print(name, len(entry.get("cases", {})), "cases;", entry.get("network", {}), flush=True)
        _save(results)
    write_page(results, PAGE)


def _cases(name: str, earlier: dict[str, Any]) -> dict[str, Any]:
    """Every case; one that kills the process is a result, and the next process goes on behind it."""
    wanted = [case.name for case in CASES if case.macs]
    rows: dict[str, Any] = {case: earlier[case] for case in wanted if case in earlier}
    while rest := [case for case in wanted if case not in rows]:
        lines = _lines(["cases", name, *rest], 900)
        rows.update({row.pop("case"): row for row in lines if "case" in row})
        started = [row["starts"] for row in lines if "starts" in row]
        if not started:
            break
        rows.update(
            {started_case: {"error": "the process died"} for started_case in started if started_case not in rows}
        )
    return rows


def _network(name: str) -> dict[str, Any]:
    """Every preset at ten seconds, and longer for as long as the counter answers within the limit."""
    measured: dict[str, Any] = {}
    for preset in PRESETS:
        rows = measured.setdefault(preset, {})
        durations = DURATIONS if preset == "default" or name == "deepspeech2" else DURATIONS[:1]
        for seconds in durations:
            lines = _lines(["network", name, preset, str(seconds)], WALL_CLOCK * NETWORK_SECONDS)
            rows[str(seconds)] = lines[0] if lines else {"error": f"no result within {NETWORK_SECONDS} s and 12 GiB"}
            if not lines or "error" in lines[0]:
                break
    return measured


def _lines(arguments: list[str], limit: float) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.flops.worker", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if arguments[1] != "deepspeech2":
        # Peers are spared compiling: what torch.compile wraps runs eagerly.
        environment["TORCHDYNAMO_DISABLE"] = "1"
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
        text = done.stdout
        if done.returncode and not text:
            print(done.stderr[-500:], file=sys.stderr)
    except subprocess.TimeoutExpired as expired:
        text = (expired.stdout or b"").decode()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "0.1.1.post2209072238" if package == "thop" else "?"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _save(results: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.rename(RESULTS)


if __name__ == "__main__":
    main()
