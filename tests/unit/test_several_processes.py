"""Two processes, each with a disk of its own, train on the same or not at all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

SCRIPT = Path(__file__).parent.parent / "one_of_two_processes.py"
FILES = [f"{number}.wav" for number in range(8)]


@pytest.fixture(scope="module")
def found(eight_tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What two machines say of their trainings.

    The second has no 2.wav, a 5.wav that is silent, and no 1.wav of the noise; its `other.jsonl` has another text.
    """
    folder = tmp_path_factory.mktemp("machines")
    one, two = folder / "0", folder / "1"
    speech = eight_tones.read_text()
    shutil.copytree(eight_tones.parent / "tones", one / "tones")
    shutil.copytree(eight_tones.parent / "tones", one / "noise")
    (one / "tones.jsonl").write_text(speech)
    (one / "other.jsonl").write_text(speech)
    (one / "noise.jsonl").write_text(speech.replace("tones/", "noise/"))
    shutil.copytree(one, two)
    (two / "other.jsonl").write_text(speech.replace('"cad"', '"cab"'))
    (two / "tones" / "2.wav").unlink()
    samples, _ = soundfile.read(two / "tones" / "5.wav")
    soundfile.write(two / "tones" / "5.wav", np.zeros_like(samples), 16_000)
    (two / "noise" / "1.wav").unlink()
    run_two(folder)
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    return first, second


def run_two(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, folder],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": "0"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=600)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said


@pytest.mark.parametrize("way", ["cached", "decoded"])
def test_what_one_machine_lacks_is_left_out_on_all(found: tuple[dict[str, Any], ...], way: str) -> None:
    rest = [name for name in FILES if name not in ("2.wav", "5.wav")]
    for result in found:
        assert result[way]["usable"] == rest
        missing, silent, *recordings = result[way]["problems"]
        assert "no such file" in missing
        assert "silent" in silent
        assert ["no such file" in detail for detail in recordings] == [True] * (way == "decoded")
        assert all(detail.endswith(" (found by process 1)") for detail in result[way]["problems"])
    # Every utterance once an epoch, whichever process has it.
    for epochs in zip(*(result[way]["trained"] for result in found), strict=True):
        assert Counter(name for names in epochs for name in names) == Counter(rest)
        assert all(epochs)


def test_each_machine_decodes_once(found: tuple[dict[str, Any], ...]) -> None:
    first, second = found
    # The dev set has spectrograms on disk; only why there is none of the second machine's 5.wav is looked up.
    assert first["decoded"]["decoded"] == FILES
    assert second["decoded"]["decoded"] == sorted([*({*FILES} - {"2.wav"}), "5.wav"])
    assert first["one machine"] == FILES
    assert second["one machine"] == []


def test_processes_that_would_train_otherwise_are_refused(found: tuple[dict[str, Any], ...]) -> None:
    for result in found:
        assert "process 0 has manifest.train '" in result["other manifest"]
        assert ", process 1 has '" in result["other manifest"]
        assert result["other options"].endswith("process 0 has epochs 2, process 1 has 3")


def test_nothing_of_the_group_runs_on(found: tuple[dict[str, Any], ...]) -> None:
    # A thread of gloo's that still runs when the interpreter ends can abort the process after its work is done.
    for result in found:
        assert result["threads left"] == []
