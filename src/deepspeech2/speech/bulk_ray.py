"""Recognising on a Ray cluster: every worker is a process with its own recogniser, and may die at any moment.

The driver keeps the list of what is done. A worker holds at most two pieces of audio; when it dies they go back to
the head of the queue and another worker takes its place. Audio is read by the workers: on several machines, the files
have to be under the same path on all of them.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deepspeech2.errors import OptionError
from deepspeech2.printing import printable, utf8
from deepspeech2.speech.bulk import Outcome, RecognizerSettings, identify, recognize
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.pretrained import choose_pretrained
from deepspeech2.speech.recognizer import Source

_HELD = 2  # one being worked on, one waiting, so that no worker idles while an answer travels
_LIVES = 3


@dataclass(frozen=True, slots=True)
class RayOptions:
    """Where to run.

    Attributes:
        workers: Recognisers; None for one per CPU of the cluster.
        address: A cluster to join, such as ``auto`` or ``ray://head:10001``; None starts one on this machine.
    """

    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"expected at least one worker, found {self.workers}")


class Worker:
    """A recogniser in a process of its own; becomes a Ray actor."""

    def __init__(self, settings: RecognizerSettings) -> None:
        import torch

        torch.set_num_threads(1)
        self._recognizer = settings.load()

    def begin(self) -> int:
        """Say that the recogniser is there: the number of this process."""
        return os.getpid()

    def recognize(self, index: int, source: Source) -> Outcome:
        """Recognise one source."""
        return recognize(self._recognizer, index, source)


@dataclass
class _Crew:
    """The workers that live, and what each of them holds.

    Attributes:
        make: Starts a worker.
        answers: What is waited for: the worker it comes from, and the index it has, None for its first sign of life.
        load: Pieces of audio each worker holds; only those are here that have shown a sign of life.
    """

    make: Callable[[], Any]
    answers: dict[Any, tuple[Any, int | None]] = field(default_factory=dict)
    load: dict[Any, int] = field(default_factory=dict)

    def hire(self) -> None:
        worker = self.make()
        self.answers[worker.begin.remote()] = worker, None

    def give(self, index: int, source: Source) -> bool:
        """Hand a source to the worker that holds least; False when all have enough."""
        worker = min(self.load, key=lambda item: self.load[item], default=None)
        if worker is None or self.load[worker] >= _HELD:
            return False
        self.answers[worker.recognize.remote(index, source)] = worker, index
        self.load[worker] += 1
        return True

    def finish(self, answer: Any) -> None:
        """Note that an answer is there."""
        worker, index = self.answers.pop(answer)
        self.load[worker] = 0 if index is None else self.load[worker] - 1

    def strike_off(self, worker: Any) -> list[int]:
        """Forget a dead worker; returns what it held, in the order it was given."""
        self.load.pop(worker, None)
        lost = {answer: index for answer, (holder, index) in self.answers.items() if holder == worker}
        for answer in lost:
            del self.answers[answer]
        return [index for index in lost.values() if index is not None]


class RayEngine:
    """Recognises with Ray actors.

    Args:
        settings: What the workers load; paths are made absolute.
        options: Where.

    Raises:
        OptionError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, settings: RecognizerSettings, options: RayOptions | None = None) -> None:
        _import_ray()
        model = settings.model if choose_pretrained(settings.model) else str(Path(settings.model).resolve())
        language_model = settings.language_model
        if language_model is not None:
            language_model = str(Path(language_model).resolve())
        self._settings = replace(settings, model=model, language_model=language_model)
        self._options = options or RayOptions()

    def run(self, sources: Sequence[tuple[int, Source]]) -> Iterator[Outcome]:
        """Recognise every source; outcomes come as they finish.

        A source whose worker died three times is given up, and named in its outcome.

        Raises:
            OptionError: The cluster cannot be reached, or its workers cannot start.
        """
        if not sources:
            return
        ray = _import_ray()
        ours = not ray.is_initialized()
        workers = _connect(ray, self._options)
        try:
            actor = ray.remote(num_cpus=1, max_restarts=0)(Worker)
            crew = _Crew(lambda: actor.remote(self._settings))
            for _ in range(min(workers, len(sources))):
                crew.hire()
            yield from _work(ray, crew, sources)
        finally:
            if ours:
                ray.shutdown()


def _work(ray: Any, crew: _Crew, sources: Sequence[tuple[int, Source]]) -> Iterator[Outcome]:
    given = dict(sources)
    queue = deque(given)
    deaths: Counter[int] = Counter()
    stillborn = 0
    while queue or any(index is not None for _, index in crew.answers.values()):
        while queue and crew.give(queue[0], _portable(given[queue[0]])):
            queue.popleft()
        answer = ray.wait(list(crew.answers), num_returns=1)[0][0]
        worker, index = crew.answers[answer]
        try:
            result = ray.get(answer)
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
            stillborn = stillborn + 1 if index is None else 0
            if stillborn >= _LIVES:
                raise OptionError(f"ray: {stillborn} workers could not start: {_last_line(error)}") from error
            # Work is done in order: only the first of what a worker held can have been what killed it.
            lost = crew.strike_off(worker)
            deaths.update(lost[:1])
            queue.extendleft(reversed([item for item in lost if deaths[item] < _LIVES]))
            for item in lost[:1]:
                if deaths[item] >= _LIVES:
                    reason = f"{identify(given[item])[0]}: {_LIVES} workers died one after the other while they had it"
                    yield Outcome(item, reason=reason)
            crew.hire()
            continue
        crew.finish(answer)
        if index is not None:
            yield _as_given(result, given[index])


def _connect(ray: Any, options: RayOptions) -> int:
    # Nothing about the machine is sent anywhere, and no web server started.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would run its workers at the lowest priority; they are what the user waits for.
    os.environ.setdefault("RAY_worker_niceness", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if options.address is not None:
            _knock(options.address)
            with _command_in_utf8():
                ray.init(address=options.address, ignore_reinit_error=True, **quiet)
        elif not ray.is_initialized():
            with _command_in_utf8():
                ray.init(address="local", num_cpus=options.workers, include_dashboard=False, **quiet)
    except Exception as error:  # Ray raises many kinds
        if isinstance(error, UnicodeEncodeError) and error.encoding == "utf-8":
            name = printable(error.object)
            raise OptionError(f"ray: {name} is not UTF-8, as its names have to be; use --engine local") from error
        where = options.address or "this machine"
        raise OptionError(f"ray: no cluster at {where} ({_last_line(error)}); ray start --head starts one") from error
    return options.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))


@contextmanager
def _command_in_utf8() -> Iterator[None]:
    """Spell the command of this process in UTF-8 while Ray notes it down: names of files on Linux may be other bytes.

    What is recognised keeps its name; only what Ray shows as the entry point of its job is spelled with escapes.
    """
    if all(utf8(part) == part for part in sys.orig_argv):
        yield
        return
    process = importlib.import_module("psutil").Process  # Ray's own copy, once Ray is imported
    as_given = process.cmdline
    process.cmdline = lambda this: [utf8(part) for part in as_given(this)]
    try:
        yield
    finally:
        process.cmdline = as_given


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise OptionError("Ray is not installed; pip install 'deepspeech2[ray]', or use --engine local") from error
    return ray


def _portable(source: Source) -> Source:
    """The same source for a process with another working directory."""
    if isinstance(source, Utterance):
        return replace(source, audio_path=source.audio_path.absolute())
    return Path(source).absolute() if isinstance(source, (str, os.PathLike)) else source


def _as_given(outcome: Outcome, source: Source) -> Outcome:
    """An outcome that names its source as the caller did."""
    name = identify(source)[0]
    if outcome.transcript is None:
        return replace(outcome, reason=outcome.reason.replace(printable(Path(name).absolute()), printable(name)))
    return replace(outcome, transcript=replace(outcome.transcript, source=name))


def _last_line(error: Exception) -> str:
    # Errors of a worker carry its traceback; the last line says what it was.
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:300] if lines else type(error).__name__
