"""Time and memory of counting large models without their weights, ours beside torch's counter, interleaved.

Writes `benchmarks/results/large.json` and, from it, `docs/large-models.md`: `python -m benchmarks.flops.large`.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "large.json"
ROUNDS = 1
COUNTERS = ("deepspeech2", "torch")
LIMIT_SECONDS = 60


def _llama(layers: int, width: int, feed_forward: int, keys: int) -> tuple[Any, dict[str, Any]]:
    import torch
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64 if layers == 16 else width // 128,
        num_key_value_heads=keys,
        intermediate_size=feed_forward,
        vocab_size=128_256,
        tie_word_embeddings=layers == 16,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return model.eval(), {"input_ids": torch.empty(1, 2048, dtype=torch.int64, device="meta")}


def _whisper() -> tuple[Any, dict[str, Any]]:
    import torch
    import transformers

    config = transformers.WhisperConfig(
        d_model=1280,
        encoder_layers=32,
        decoder_layers=32,
        encoder_attention_heads=20,
        decoder_attention_heads=20,
        encoder_ffn_dim=5120,
        decoder_ffn_dim=5120,
        num_mel_bins=128,
        vocab_size=51_866,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForSpeechSeq2Seq.from_config(config, attn_implementation="sdpa")
    features = torch.empty(1, 128, 3000, device="meta")
    labels = torch.empty(1, 448, dtype=torch.int64, device="meta")
    return model.eval(), {"input_features": features, "decoder_input_ids": labels}


def _lstm(seconds: int) -> tuple[Any, dict[str, Any]]:
    import torch

    with torch.device("meta"):
        model = torch.nn.LSTM(80, 1024, 5, bidirectional=True, batch_first=True)
    return model.eval(), {"input": torch.empty(1, 100 * seconds, 80, device="meta")}


def _network(seconds: int) -> tuple[Any, dict[str, Any]]:
    import torch

    from deepspeech2 import build_model

    frames = 100 * seconds - 1
    inputs = {"features": torch.empty(1, 161, frames, device="meta"), "frames": torch.tensor([frames])}
    return build_model("librispeech", device="meta").eval(), inputs


PROGRAMS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "Llama 1B, 2,048 tokens": lambda: _llama(16, 2048, 8192, 8),
    "Llama 8B, 2,048 tokens": lambda: _llama(32, 4096, 14_336, 8),
    "Whisper large, 30 s": _whisper,
    "LSTM 5 x 1024 both ways, 10 s": lambda: _lstm(10),
    "LSTM 5 x 1024 both ways, one hour": lambda: _lstm(3600),
    "DeepSpeech2 librispeech, 10 s": lambda: _network(10),
    "DeepSpeech2 librispeech, one hour": lambda: _network(3600),
}
# Torch's counter does not know the recurrences of DeepSpeech2 and would answer without them; an hour through an LSTM
# it unrolls step by step.
OURS_ONLY = ("DeepSpeech2", "LSTM 5 x 1024 both ways, one hour")


def main() -> None:
    """Every program by every counter in processes of their own, round after round."""
    if len(sys.argv) > 1:
        print(json.dumps(_measure(sys.argv[1], sys.argv[2])))
        return
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for _ in range(ROUNDS):
        for program in PROGRAMS:
            for counter in COUNTERS if not program.startswith(OURS_ONLY) else COUNTERS[:1]:
                found = _in_a_process(program, counter)
                rows.setdefault(program, {}).setdefault(counter, []).append(found)
                print(program, counter, found, flush=True)
    machine = {"processor": _processor(), "threads": 1, "python": platform.python_version()}
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps({"machine": machine, "rounds": ROUNDS, "programs": rows}, indent=1) + "\n")
    partial.rename(RESULTS)
    subprocess.run([sys.executable, str(ROOT / "docs" / "generators" / "large_models.py")], check=True)


def _in_a_process(program: str, counter: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.flops.large", program, counter]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGXCPU:
        return {"error": f"no result in {LIMIT_SECONDS} s"}
    done.check_returncode()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(program: str, counter: str) -> dict[str, Any]:
    """Processor time (other work does not weigh) and memory of the first count, imports and building apart."""
    import torch

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_SECONDS, LIMIT_SECONDS + 5))
    count = _ours if counter == "deepspeech2" else _torchs
    # Imports and what a first count of anything sets up.
    count(torch.nn.Linear(2, 2), {"input": torch.empty(1, 2)})
    model, inputs = PROGRAMS[program]()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    macs = count(model, inputs)
    seconds = time.process_time() - started
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"macs": macs, "seconds": seconds, "extra_bytes": grown, "parameters": parameters}


def _ours(model: Any, inputs: Any) -> int:
    from deepspeech2 import count

    return int(count(model, inputs, strict=True).macs)


def _torchs(model: Any, inputs: Any) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as mode:
        model(**inputs)
    return mode.get_total_flops() // 2


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
