"""One counter in a process of its own: on the micro-cases, or on DeepSpeech2 at one duration. Prints JSON lines."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import sys
import time
import warnings
from typing import Any

# Seconds of processor time: what else the machine does takes nothing away.
CASE_SECONDS = 10
NETWORK_SECONDS = 40
REPEATS = 5
MEMORY_BYTES = 12 << 30


def main() -> None:
    """`worker cases COUNTER CASE...` or `worker network COUNTER PRESET SECONDS`."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    import torch

    torch.set_num_threads(1)
    from benchmarks.peers.flops_interface import COUNTERS

    counter = importlib.import_module(f"benchmarks.peers.{COUNTERS[sys.argv[2]][0]}")
    if sys.argv[1] == "cases":
        _cases(counter.macs, sys.argv[3:])
    else:
        _network(sys.argv[2], counter.macs, sys.argv[3], float(sys.argv[4]))


def _cases(macs: Any, names: list[str]) -> None:
    """The cases of these names; each is printed before its result, so that a dead process tells where it died."""
    from benchmarks.flops.cases import CASES

    signal.signal(signal.SIGPROF, _give_up)
    for case in [case for case in CASES if case.name in names]:
        print(json.dumps({"starts": case.name}), flush=True)
        if os.fork():
            # Counters patch torch and do not always undo it: each case has a process of its own.
            os.wait()
            continue
        signal.setitimer(signal.ITIMER_PROF, CASE_SECONDS)
        result = _attempt(case, macs)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"case": case.name, **result}), flush=True)
        os._exit(0)


def _give_up(*_: Any) -> None:
    raise TimeoutError("no result in the processor time it had")


def _attempt(case: Any, macs: Any) -> dict[str, Any]:
    import torch

    from benchmarks.peers.flops_interface import as_module

    torch.manual_seed(0)
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        try:
            program, inputs = case.build()
            return {"macs": macs(as_module(program), inputs)}
        except BaseException as error:
            return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"[:200]}


def _network(name: str, macs: Any, preset: str, seconds: float) -> None:
    import torch

    from benchmarks.flops.networks import with_loops, with_operators

    # Frames of 20 ms every 10 ms: ten seconds are 999.
    frames = round(seconds * 100) - 1
    inputs = (torch.zeros(1, 161, frames),)
    build = with_operators if name == "deepspeech2" else with_loops
    # A small count first: one-time set-up of the counter is part of importing it, and measured apart.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    signal.setitimer(signal.ITIMER_PROF, NETWORK_SECONDS)
    start = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            macs(build("default"), (torch.zeros(1, 161, 30),))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"[:200]}))
        return
    first = time.process_time() - start
    network = build(preset)
    before = _peak()
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < 1:
        start = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            counted = macs(network, inputs)
        times.append(time.process_time() - start)
    elapsed = min(times)
    print(json.dumps({"macs": counted, "seconds": elapsed, "first": first, "extra_bytes": _peak() - before}))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
