"""Finding, before hours are spent, the utterances a CTC network cannot be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from deepspeech2.errors import AudioError, SilentAudioError
from deepspeech2.speech.audio import SAMPLE_RATE, WINDOW_SAMPLES, load_audio
from deepspeech2.speech.audio_reader import LEAST_MISSED_SECONDS
from deepspeech2.speech.data.labels import ctc_frames_needed, unknown_characters
from deepspeech2.speech.data.manifest import AudioHeader, Utterance, probe_audio
from deepspeech2.speech.features import HOP_SAMPLES

OUTPUT_STRIDE = 3
"""Input frames per output frame: the time stride of the published first convolution."""

# So many are handed to the threads at a time: an interruption waits for no more.
_AT_ONCE = 512

Item = TypeVar("Item")


class Reason(StrEnum):
    """Why an utterance cannot be used."""

    UNREADABLE = "unreadable audio"
    SILENT = "silent audio"
    LOW_RATE = "sampling rate below the model's"
    WRONG_DURATION = "duration differs from the audio"
    EMPTY_TEXT = "empty transcript"
    UNKNOWN_CHARACTERS = "characters outside the vocabulary"
    TOO_SHORT = "too short for its text"
    TOO_LONG = "longer than the longest allowed"


@dataclass(frozen=True, slots=True)
class Problem:
    """An utterance that cannot be used, and why.

    Attributes:
        utterance: The utterance.
        reason: The kind of problem.
        detail: One line with the values found and expected.
    """

    utterance: Utterance
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.utterance.name}: {self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class PreflightOptions:
    """What the check looks at.

    Attributes:
        decode: Decode the audio; without it only headers are read, and silence goes unseen.
        longest_seconds: Leave out longer utterances; None for no limit.
        duration_tolerance: Seconds by which a manifest's duration may exceed what the file holds.
        stride: Input frames per output frame of the network.
        lowest_rate: Recordings of fewer samples per second are left out, in Hz.
    """

    decode: bool = True
    longest_seconds: float | None = None
    duration_tolerance: float = 0.1
    stride: int = OUTPUT_STRIDE
    lowest_rate: int = SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """What the check found.

    Attributes:
        usable: The utterances to train on, in their order.
        problems: The others, each with its reason.
        recordings: The recordings of noise and rooms that a training cannot draw, each with its reason.
    """

    usable: tuple[Utterance, ...]
    problems: tuple[Problem, ...]
    recordings: tuple[Problem, ...] = ()

    def counts(self) -> dict[Reason, int]:
        """Number of utterances left out for each reason, most frequent first."""
        return dict(Counter(problem.reason for problem in self.problems).most_common())

    def without(self, problems: Mapping[int, Problem]) -> PreflightReport:
        """The report when these problems are known as well, by their places among the usable utterances."""
        kept = tuple(item for place, item in enumerate(self.usable) if place not in problems)
        return replace(self, usable=kept, problems=(*self.problems, *problems.values()))

    def summary(self) -> str:
        """One line: how many utterances are usable and why the others are not."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts().items())
        total = len(self.usable) + len(self.problems)
        return f"{len(self.usable)} of {total} utterances usable" + (f"; left out: {reasons}" if reasons else "")


def preflight(
    utterances: Sequence[Utterance],
    labels: Sequence[str],
    options: PreflightOptions | None = None,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> PreflightReport:
    """Check every utterance and go on without the ones that cannot be trained on.

    Audio above the model's rate is resampled when it is loaded and is no problem; audio below it lacks the upper
    frequencies the model listens to, and is, unless `lowest_rate` lets it pass.

    Args:
        utterances: What to check.
        labels: The characters of the model.
        options: What to look at.
        workers: Threads that check.
        progress: Called with the number of utterances checked so far.
    """
    looked_at = options or PreflightOptions()
    problems = find_problems(
        utterances, lambda item: check_utterance(item, labels, looked_at), workers=workers, progress=progress
    )
    return PreflightReport(tuple(utterances), ()).without(problems)


def find_problems(
    items: Sequence[Item],
    check: Callable[[Item], Problem | None],
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[int, Problem]:
    """What is wrong with some of a list, by their places in it, in order.

    Args:
        items: What to check.
        check: Gives the problem of one, None when it is usable; called in threads.
        workers: How many threads. Decoding and reading leave the interpreter lock.
        progress: Called with the number checked so far.
    """
    problems = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for first in range(0, len(items), _AT_ONCE):
            for place, problem in enumerate(pool.map(check, items[first : first + _AT_ONCE]), start=first):
                if problem is not None:
                    problems[place] = problem
                if progress:
                    progress(place + 1)
    return problems


def check_utterance(utterance: Utterance, labels: Sequence[str], options: PreflightOptions) -> Problem | None:
    """The first problem of one utterance, the cheapest checks first; None when it is usable."""
    return _check_text(utterance, labels) or _check_audio(utterance, options) or _check_length(utterance, options)


def audio_problem(utterance: Utterance, error: AudioError) -> Problem:
    """What reading an utterance came to, as the problem it is."""
    reason = Reason.SILENT if isinstance(error, SilentAudioError) else Reason.UNREADABLE
    return Problem(utterance, reason, str(error))


def output_frames(seconds: float, stride: int = OUTPUT_STRIDE) -> int:
    """Output frames of the network for so much audio: ``T = (N - 320) // 160 + 1``, then ``(T - 1) // stride + 1``."""
    frames = (round(seconds * SAMPLE_RATE) - WINDOW_SAMPLES) // HOP_SAMPLES + 1
    return (frames - 1) // stride + 1 if frames > 0 else 0


def _check_text(utterance: Utterance, labels: Sequence[str]) -> Problem | None:
    if not utterance.text.strip():
        return Problem(utterance, Reason.EMPTY_TEXT, "expected at least one character")
    unknown = unknown_characters(utterance.text, labels)
    if unknown:
        return Problem(utterance, Reason.UNKNOWN_CHARACTERS, f"{unknown!r} in '{_clip(utterance.text)}'")
    return None


def _check_length(utterance: Utterance, options: PreflightOptions) -> Problem | None:
    needed, found = ctc_frames_needed(utterance.text), output_frames(utterance.duration, options.stride)
    if found < needed:
        detail = f"{utterance.duration:.2f} s give {found} output frames, CTC needs {needed}: '{_clip(utterance.text)}'"
        return Problem(utterance, Reason.TOO_SHORT, detail)
    if options.longest_seconds is not None and utterance.duration > options.longest_seconds:
        detail = f"{utterance.duration:.2f} s, expected at most {options.longest_seconds:g} s"
        return Problem(utterance, Reason.TOO_LONG, detail)
    return None


def _check_audio(utterance: Utterance, options: PreflightOptions) -> Problem | None:
    try:
        header = probe_audio(utterance.audio_path, utterance.channel)
    except AudioError as error:
        return audio_problem(utterance, error)
    problem = _check_header(utterance, header, options)
    if problem is not None or not options.decode:
        return problem
    try:
        samples = load_audio(
            utterance.audio_path,
            offset_seconds=utterance.offset,
            duration_seconds=utterance.duration or None,
            channel=utterance.channel,
        )
    except AudioError as error:
        return audio_problem(utterance, error)
    expected = utterance.duration or header.seconds - utterance.offset
    return check_decoded(utterance, len(samples) / SAMPLE_RATE, expected, options)


def _check_header(utterance: Utterance, header: AudioHeader, options: PreflightOptions) -> Problem | None:
    if header.rate < options.lowest_rate:
        return Problem(utterance, Reason.LOW_RATE, f"{header.rate} Hz, expected at least {options.lowest_rate} Hz")
    end = utterance.offset + utterance.duration
    if end - header.end > options.duration_tolerance:
        detail = f"the manifest ends at {end:.2f} s, the file at {header.end:.2f} s"
        return Problem(utterance, Reason.WRONG_DURATION, detail)
    # A duration that was measured after the cut agrees with the file, and the transcript still goes on behind it.
    if header.is_cut_short and header.end - end < LEAST_MISSED_SECONDS:
        detail = f"the file was cut short and ends at {header.end:.2f} s, where the manifest ends"
        return Problem(utterance, Reason.WRONG_DURATION, detail)
    return None


def check_decoded(utterance: Utterance, found: float, expected: float, options: PreflightOptions) -> Problem | None:
    """Whether audio holds as many seconds as its header or manifest promised: a damaged file can end before.

    Args:
        utterance: What was decoded.
        found: Seconds that came out.
        expected: Seconds that were promised.
        options: What is tolerated; a fiftieth always is, which headers of compressed audio may be wrong by.
    """
    if expected - found <= max(options.duration_tolerance, expected / 50):
        return None
    return Problem(utterance, Reason.WRONG_DURATION, f"expected {expected:.2f} s, decoded {found:.2f} s")


def _clip(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
