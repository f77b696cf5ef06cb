"""Ray: two workers give what one process gives, also when one of them is killed at work."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from deepspeech2.errors import OptionError
from deepspeech2.speech import bulk_ray
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.bulk import LocalEngine, Outcome, RecognizerSettings
from deepspeech2.speech.bulk_ray import RayEngine, RayOptions
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.data.feature_cache import utterance_spectrogram
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions

CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two CPUs on this machine."""
    if os.environ.get("DS2_REQUIRE_OPTIONAL_TOOLS") != "1":
        pytest.importorskip("ray", reason="Ray is not installed")
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture
def utterances(write_tones: Callable[..., Path], random_texts: Callable[[int], list[str]]) -> list[Utterance]:
    return read_manifest(write_tones(random_texts(24)))


@pytest.fixture
def settings(utterances: list[Utterance], tmp_path: Path) -> RecognizerSettings:
    network = NetworkOptions(
        convolutions=(ConvolutionOptions(2, (5, 5), (8, 3)),), recurrent_layers=1, recurrent_size=8
    )
    model = build_model(network, seed=3)
    model.normalizer = Normalizer.fit(map(utterance_spectrogram, utterances))
    save_model(model, tmp_path / "tiny.safetensors")
    return RecognizerSettings(str(tmp_path / "tiny.safetensors"), "greedy")


def busy_workers_below(process: int) -> list[int]:
    """Ray's recognisers among the descendants of a process that are at work: Ray puts the call into their title."""
    parents, found = {}, []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            title = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(entry.name)] = int(status[1])
        if title.startswith(b"ray::Worker.recognize"):
            found.append(int(entry.name))

    def descends(pid: int) -> bool:
        while pid not in (0, process):
            pid = parents.get(pid, 0)
        return pid == process

    return [pid for pid in found if descends(pid)]


def test_a_killed_worker_loses_nothing(
    cluster: Any, settings: RecognizerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long pieces, so that every worker is at work whenever it is killed.
    samples = np.tile(load_audio(CLIP), 9)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    sources = [(index, Utterance(tmp_path / "long.wav", 60.0, offset=1.7 * index)) for index in range(12)]
    expected = list(LocalEngine(settings.load()).run(sources))
    lost: list[int] = []
    strike_off = bulk_ray._Crew.strike_off
    monkeypatch.setattr(bulk_ray._Crew, "strike_off", lambda *given: lost.extend(strike_off(*given)) or list(lost))
    outcomes: list[Outcome] = []
    killed = 0
    for outcome in RayEngine(settings, RayOptions(workers=2)).run(sources):
        outcomes.append(outcome)
        if not killed and len(outcomes) >= 2 and (busy := busy_workers_below(os.getpid())):
            os.kill(killed := busy[0], signal.SIGKILL)
    assert killed
    assert 1 <= len(lost) <= 2
    assert sorted(outcomes, key=lambda outcome: outcome.index) == expected
    assert len({outcome.transcript.text for outcome in expected if outcome.transcript}) == 12


def test_bad_audio_is_an_outcome_and_names_stay(
    cluster: Any, utterances: list[Utterance], settings: RecognizerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(utterances[0].audio_path.parent)
    here = [replace(item, audio_path=Path(item.audio_path.name)) for item in utterances[:3]]
    sources = list(enumerate([*here, replace(here[0], audio_path=Path("lost.wav")), CLIP]))
    found = sorted(RayEngine(settings, RayOptions(workers=1)).run(sources), key=lambda outcome: outcome.index)
    assert found == list(LocalEngine(settings.load()).run(sources))
    assert found[3].reason.startswith("tones.jsonl:1 (lost.wav): lost.wav: no such file")


def test_workers_that_cannot_start_say_why(
    cluster: Any, utterances: list[Utterance], settings: RecognizerSettings, tmp_path: Path
) -> None:
    lost = Path(shutil.copy(settings.model, tmp_path / "lost.safetensors"))
    engine = RayEngine(replace(settings, model=str(lost)), RayOptions(workers=1))
    lost.unlink()
    with pytest.raises(OptionError, match=r"could not start: .*lost\.safetensors"):
        list(engine.run([(0, utterances[0])]))


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there(settings: RecognizerSettings, scheme: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(OptionError, match=rf"no cluster at {address} \(.*refused.*\); ray start --head starts one"):
            list(RayEngine(settings, RayOptions(address=address)).run([(0, CLIP)]))


def test_the_command_starts_a_cluster_of_its_own(
    cluster: Any, utterances: list[Utterance], settings: RecognizerSettings, tmp_path: Path
) -> None:
    # A name that Ray cannot keep, among the arguments: Ray reads the command it is started by.
    odd = shutil.copy(utterances[0].audio_path, tmp_path / os.fsdecode(b"\xff.wav"))

    def run(*options: str) -> Path:
        output = tmp_path / f"{len(options)}.jsonl"
        manifest = str(utterances[0].audio_path.parent) + ".jsonl"
        arguments = ["transcribe", manifest, odd, "--model", settings.model, "--decoder", "greedy"]
        arguments += ["--output", str(output)]
        command = [sys.executable, "-c", "from deepspeech2.cli.main import main; main()", *arguments, *options]
        subprocess.run(command, check=True, timeout=300)
        return output

    assert run("--engine", "ray", "--workers", "2").read_bytes() == run().read_bytes()


def test_arguments_that_are_not_utf8_reach_ray_with_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    import psutil
    from ray._private.utils import get_entrypoint_name

    command = ["ds2", "transcribe", os.fsdecode(b"bad\xff.flac")]
    monkeypatch.setattr(sys, "orig_argv", command)
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: list(command))
    noted: list[bytes] = []

    def init(**options: Any) -> None:
        noted.append(get_entrypoint_name().encode())  # as Ray does it

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    assert bulk_ray._connect(ray, RayOptions(workers=2)) == 2
    assert noted == [rb"ds2 transcribe bad\xff.flac"]
    assert psutil.Process().cmdline() == command


def test_a_folder_that_ray_cannot_keep_is_no_lack_of_a_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.job_config import JobConfig

    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    monkeypatch.chdir(folder)

    def init(**options: Any) -> None:
        settings = JobConfig()
        settings._py_driver_sys_path.append(str(Path.cwd()))  # as Ray does it
        settings._serialize()

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    with pytest.raises(OptionError, match=r"^ray: .*\\xff is not UTF-8, as its names have to be; use --engine local$"):
        bulk_ray._connect(ray, RayOptions())


class DeadWorkerError(Exception):
    """What a call of a dead worker ends with."""


class FakeWorker:
    """Answers at once, but dies of one source."""

    def __init__(self, poison: int) -> None:
        self.dead = False
        self.poison = poison
        self.begin = SimpleNamespace(remote=lambda: lambda: 1)
        self.recognize = SimpleNamespace(remote=lambda index, source: lambda: self.work(index))

    def work(self, index: int) -> Outcome:
        self.dead = self.dead or index == self.poison
        if self.dead:
            raise DeadWorkerError
        return Outcome(index, reason="done")


def test_a_source_that_kills_every_worker_is_given_up() -> None:
    ray = SimpleNamespace(
        exceptions=SimpleNamespace(RayActorError=DeadWorkerError, OutOfMemoryError=MemoryError),
        wait=lambda answers, num_returns: (answers[:num_returns], answers[num_returns:]),
        get=lambda answer: answer(),
    )
    made: list[FakeWorker] = []

    def make() -> FakeWorker:
        made.append(FakeWorker(poison=3))
        return made[-1]

    crew = bulk_ray._Crew(make)
    crew.hire()
    crew.hire()
    outcomes = list(bulk_ray._work(ray, crew, [(index, f"{index}.wav") for index in range(9)]))
    assert sorted(outcome.index for outcome in outcomes) == list(range(9))
    reasons = {outcome.index: outcome.reason for outcome in outcomes}
    assert reasons[3] == "3.wav: 3 workers died one after the other while they had it"
    assert {reason for index, reason in reasons.items() if index != 3} == {"done"}
    assert len(made) == 5  # two, and one for each death
