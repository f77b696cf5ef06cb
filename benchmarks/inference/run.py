"""How fast the network runs on this processor, beside others and beside what the processor could do.

    python -m benchmarks.inference.run [--rounds 5] [--threads 2] [--only recurrence,inference,training,memory,features]

One process; contenders take turns. Writes benchmarks/results/inference.json, from which docs/generators/speed.py
writes docs/speed.md. Ten seconds of audio are 999 frames of features.
"""

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.inference.contest import contest, summary
from benchmarks.inference.features import feature_times
from benchmarks.inference.memory import FORMATS, memory_rows, rate_memory
from benchmarks.inference.peers import LAYERS, onnx_runtime, with_torch_layers
from benchmarks.inference.plain import with_plain_loops
from benchmarks.inference.roofline import LARGEST_CACHE, Machine
from deepspeech2 import build_model, count, count_training, load_model, optimize_for_inference
from deepspeech2.speech.inference import InferenceNetwork
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.pretrained import find_pretrained

RESULTS = Path(__file__).parents[1] / "results" / "inference.json"
FRAMES, SECONDS = 999, 10.0
BATCHES = (1, 16)
TRAINING_BATCHES = {"small": 16, "librispeech": 4}
SAME = 1e-3
"""Log-probabilities of contenders that compute the same function in float32 agree this closely."""


def models() -> dict[str, DeepSpeech2]:
    """The two networks: trained, and with fresh weights."""
    return {"small": load_model(find_pretrained("small").model), "librispeech": build_model("librispeech", seed=0)}


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    """Features of ten seconds that look like normalised ones, and their frames."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 161, FRAMES, generator=generator), torch.full((batch,), FRAMES)


def inference_rows(name: str, model: DeepSpeech2, batch: int, rounds: int, machine: Machine) -> list[dict[str, Any]]:
    """The whole network, one forward pass."""
    features, frames = inputs(batch)
    networks: dict[str, Any] = {form: optimize_for_inference(model, form) for form in FORMATS}
    kinds = [kind for kind in LAYERS if (kind == "torch.nn.RNN") == (model.options.cell == "simple") or "LSTM" in kind]
    peers = {
        "plain loop": with_plain_loops(model),
        "plain loop, channels last": with_plain_loops(model, channels_last=True),
        "DeepSpeech2": model,
        **{kind: with_torch_layers(model, kind) for kind in sorted({*kinds, "torch.nn.GRU"})},
        "ONNX Runtime": onnx_runtime(model, torch.get_num_threads()),
    }

    def task(network: Callable[..., Any]) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with torch.inference_mode():
                result = network(features, frames)
            return result if isinstance(result, Tensor) else result[0]

        return run

    tasks = {label: task(network) for label, network in {**networks, **peers}.items()}
    outputs = {label: run() for label, run in tasks.items()}
    expected = outputs["plain loop"]
    for label in ("float32", "DeepSpeech2", "ONNX Runtime"):
        difference = float((outputs[label] - expected).abs().max())
        assert difference < SAME, f"{name}, batch {batch}: {label} differs from the plain loop by {difference}"
    errors = {form: float((outputs[form].exp() - expected.exp()).abs().max()) for form in FORMATS}
    times = contest(tasks, rounds, machine)
    flops = int(count(model, (features, frames)).flops)
    rows = []
    for label, seconds in times.items():
        peer = peers.get(label)
        own = peer if isinstance(peer, torch.nn.Module) and label in LAYERS else None
        operations = int(count(own, (features, frames)).flops) if own is not None else flops
        rows.append({"model": name, "batch": batch, "contender": label, "operations": operations} | summary(seconds))
        if label in errors:
            rows[-1]["largest_change_of_a_probability"] = errors[label]
    return rows


def rate(rows: list[dict[str, Any]], model: DeepSpeech2, machine: Machine) -> None:
    """Fill in what follows from the times and the machine's best rates."""
    flops = next(row["operations"] for row in rows if row["contender"] == "plain loop")
    bound = machine.bound(model.options, rows[0]["batch"], FRAMES, flops)
    plain = next(row["seconds"] for row in rows if row["contender"] == "plain loop")
    for row in rows:
        row["real_time_factor"] = round(row["seconds"] / (SECONDS * row["batch"]), 6)
        row["gflops"] = round(row["operations"] / row["seconds"] / 1e9, 2)
        row["plain_over_this"] = round(plain / row["seconds"], 3)
        if row["contender"] not in LAYERS:
            row["roofline_fraction"] = round(bound / row["seconds"], 3)


def recurrence_rows(name: str, model: DeepSpeech2, batch: int, rounds: int, machine: Machine) -> list[dict[str, Any]]:
    """The recurrences of one layer, both directions, on what the network gives them."""
    frames = torch.full((batch,), model.options.output_frames(FRAMES))
    networks: dict[str, InferenceNetwork] = {form: optimize_for_inference(model, form) for form in FORMATS}
    plain = with_plain_loops(model).recurrent[1]
    received: list[Tensor] = []
    hooks = [
        getattr(model.recurrent[1], f"{direction}_recurrence").register_forward_hook(
            lambda module, arguments, result: received.append(arguments[0])
        )
        for direction in ("forward", "backward")
    ]
    with torch.inference_mode():
        model(*inputs(batch))
    for hook in hooks:
        hook.remove()

    def loops(ahead: Tensor, back: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        return plain.forward_recurrence(ahead, frames), plain.backward_recurrence(back, frames)

    def task(states: Callable[..., tuple[Tensor, Tensor]]) -> Callable[[], tuple[Tensor, Tensor]]:
        def run() -> tuple[Tensor, Tensor]:
            with torch.inference_mode():
                return states(*received, frames)

        return run

    tasks = {"plain loop": task(loops)} | {form: task(net.recurrent[1].states) for form, net in networks.items()}
    outputs = {label: run() for label, run in tasks.items()}
    states = torch.stack(outputs["float32"])
    times = contest(tasks, 2 * rounds, machine)
    rows = [{"model": name, "batch": batch, "contender": label} | summary(seconds) for label, seconds in times.items()]
    for row in rows:
        row["nonzero_states"] = round(float((states != 0).float().mean()), 3)
    return rows


def rate_recurrence(rows: list[dict[str, Any]], model: DeepSpeech2, machine: Machine) -> None:
    """Fill in what follows from the times and the machine's best rates."""
    options, batch = model.options, rows[0]["batch"]
    weights = options.recurrent_size**2 * (3 if options.cell == "gru" else 1)
    steps = 2 * (options.output_frames(FRAMES) - 1)
    plain = next(row["seconds"] for row in rows if row["contender"] == "plain loop")
    for row in rows:
        row["gflops"] = round(2 * batch * weights * steps / row["seconds"] / 1e9, 2)
        row["plain_over_this"] = round(plain / row["seconds"], 3)
        row["roofline_fraction"] = round(steps * machine.step_bound(weights, batch) / row["seconds"], 3)
        if 4 * weights >= LARGEST_CACHE:
            row["memory_fraction"] = round(steps * machine.reading(weights) / row["seconds"], 3)


def training_rows(name: str, model: DeepSpeech2, rounds: int, machine: Machine) -> list[dict[str, Any]]:
    """One step without the optimiser: forward, CTC loss, backward."""
    batch = TRAINING_BATCHES[name]
    features, frames = inputs(batch)
    targets = torch.randint(0, model.options.vocab_size, (batch, 100), generator=torch.Generator().manual_seed(1))

    def loss(result: tuple[Tensor, Tensor]) -> Tensor:
        lengths = torch.full((batch,), 100)
        log_probs = result[0].transpose(0, 1)
        return torch.nn.functional.ctc_loss(log_probs, targets, result[1], lengths, blank=model.options.vocab_size)

    def task(network: DeepSpeech2) -> Callable[[], None]:
        network.train()

        def run() -> None:
            network.zero_grad()
            loss(network(features, frames)).backward()

        return run

    tasks = {
        "plain loop": task(with_plain_loops(model)),
        "plain loop, channels last": task(with_plain_loops(model, channels_last=True)),
        "DeepSpeech2": task(model),
    }
    for run in tasks.values():
        run()
    times = contest(tasks, rounds, machine)
    operations = int(count_training(model, (features, frames), loss=loss, optimiser=None).flops)
    best = min(times["plain loop"])
    return [
        {
            "model": name,
            "batch": batch,
            "contender": label,
            "operations": operations,
            **summary(seconds),
            "gflops": round(operations / min(seconds) / 1e9, 2),
            "plain_over_this": round(best / min(seconds), 3),
        }
        for label, seconds in times.items()
    ]


def main() -> None:
    """Run everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="recurrence,inference,training,memory,features")
    parser.add_argument("--models", default="small,librispeech")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = Machine()
    parts: dict[str, list[list[dict[str, Any]]]] = {"recurrence": [], "inference": [], "training": []}
    networks = {name: model for name, model in models().items() if name in options.models.split(",")}
    alone: dict[str, Any] = {}
    for part in options.only.split(","):
        if part == "memory":
            alone[part] = memory_rows(options.rounds, machine)
        elif part == "features":
            alone[part] = feature_times(SECONDS, 2 * options.rounds, machine)
        for name, model in networks.items() if part in parts else ():
            if part == "training":
                groups = [training_rows(name, model, options.rounds, machine)]
            else:
                measure = recurrence_rows if part == "recurrence" else inference_rows
                groups = [measure(name, model.eval(), batch, options.rounds, machine) for batch in options.batches]
            for rows in groups:
                report(rows)
            parts[part] += groups
            write(options.output, parts, alone, networks, machine)
    write(options.output, parts, alone, networks, machine)


def write(
    path: Path,
    parts: dict[str, list[list[dict[str, Any]]]],
    alone: dict[str, Any],
    networks: dict[str, DeepSpeech2],
    machine: Machine,
) -> None:
    """Write what there is so far; ratios to the machine's rates change as these get better."""
    for part, fill in (("inference", rate), ("recurrence", rate_recurrence)):
        for rows in parts[part]:
            fill(rows, networks[rows[0]["model"]], machine)
    rate_memory(alone.get("memory", []), machine)
    result = {
        "machine": {
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "gemm_gflops": round(machine.flops / 1e9, 1),
            "bandwidth_gbytes": round(machine.bandwidth / 1e9, 1),
        },
        "seconds_of_audio": SECONDS,
        **{part: [row for rows in groups for row in rows] for part, groups in parts.items()},
        **alone,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")


def report(rows: list[dict[str, Any]]) -> None:
    """Show progress."""
    for row in rows:
        print(f"{row['model']:12} batch {row['batch']:2} {row['contender']:14} {row['seconds']:9.4f} s", flush=True)


def processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
