"""What can be trained on: every machine looks at its own disk, and all processes go by what all of them found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepspeech2.processors import available_processors
from deepspeech2.speech.audio import SAMPLE_RATE, WINDOW_SAMPLES
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.feature_cache import FeatureCache
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.data.preflight import (
    Item,
    PreflightOptions,
    PreflightReport,
    Problem,
    Reason,
    check_decoded,
    check_utterance,
    find_problems,
)
from deepspeech2.speech.data.recordings import check_recording, recordings_of, without_recordings
from deepspeech2.speech.distributed import World
from deepspeech2.speech.features import HOP_SAMPLES


@dataclass(frozen=True)
class SpeechChecks:
    """Checks lists that all processes have alike; every process has to ask for the same, in the same order.

    Attributes:
        labels: The characters of the model.
        options: What is looked at.
        world: The processes: the first one of every machine checks, the others are told.
        notify: Called with what is being done, how much of it is done, and how much there is.
    """

    labels: tuple[str, ...]
    options: PreflightOptions
    world: World
    notify: Callable[[str, int, int], None]

    def utterances(self, listed: Sequence[Utterance], *, decode: bool) -> PreflightReport:
        """What of a list is usable on every machine, with decoding or by headers alone."""
        options = replace(self.options, decode=decode)
        mine = self._found(listed, lambda item: check_utterance(item, self.labels, options), "checking")
        return PreflightReport(tuple(listed), ()).without(found_by_all(mine, listed, self.world))

    def spectrograms(
        self, report: PreflightReport, speeds: Sequence[float], folder: Path
    ) -> tuple[PreflightReport, FeatureCache]:
        """Make the spectrograms of what is usable; what gives none, or fewer than promised, is usable no longer."""
        wanted = tuple(dict.fromkeys((1.0, *speeds)))
        cache = FeatureCache(folder, report.usable, wanted)
        total = len(report.usable) * len(wanted)
        # The leading process first; then the first one of every machine makes what its own disk still lacks.
        for mine in (self.world.leads, self.world.first_here):
            if mine:
                cache.build(
                    workers=available_processors(), progress=lambda done: self.notify("spectrograms", done, total)
                )
            self.world.wait()
        damaged = self._damaged(cache, report.usable) if self.world.first_here else {}
        problems = found_by_all(damaged, report.usable, self.world)
        return report.without(problems), cache.without(problems)

    def augmentation(self, options: AugmentationOptions) -> tuple[AugmentationOptions, tuple[Problem, ...]]:
        """The augmentation with the recordings that can be used on every machine, and what the others suffer from.

        Raises:
            ManifestError: A step has none left.
        """
        drawn = recordings_of(options)
        mine = self._found(drawn, check_recording, "noise and rooms")
        problems = found_by_all(mine, [recording for _, recording in drawn], self.world)
        left_out = {drawn[place]: problem for place, problem in problems.items()}
        return without_recordings(options, left_out), tuple(problems.values())

    def _found(self, items: Sequence[Item], check: Callable[[Item], Problem | None], what: str) -> dict[int, Problem]:
        if not self.world.first_here:
            return {}
        return find_problems(
            items,
            check,
            workers=available_processors(),
            progress=lambda done: self.notify(what, done, len(items)),
        )

    def _damaged(self, cache: FeatureCache, utterances: tuple[Utterance, ...]) -> dict[int, Problem]:
        """What only decoding shows: audio that gives no spectrogram, or less of it than was promised."""
        problems = {
            number: check_utterance(utterances[number], self.labels, replace(self.options, decode=True))
            or Problem(utterances[number], Reason.UNREADABLE, "no spectrogram at every speed")
            for number in cache.unreadable()
        }
        for number, utterance in enumerate(utterances):
            seconds = (cache.frames(number) * HOP_SAMPLES + WINDOW_SAMPLES) / SAMPLE_RATE
            short = check_decoded(utterance, seconds, utterance.duration, self.options)
            if number not in problems and short is not None:
                problems[number] = short
        return problems


def found_by_all(mine: Mapping[int, Problem], listed: Sequence[Utterance], world: World) -> dict[int, Problem]:
    """The problems that any process found, by their places in a list all of them have, in order.

    Of several that found one at the same place the first process is heard; others than the leading one, whose disk
    may be another, are named.
    """
    said = world.gathered(json.dumps([(place, item.reason, item.detail) for place, item in mine.items()]))
    problems: dict[int, Problem] = {}
    for rank, text in enumerate(said):
        for place, reason, detail in json.loads(text):
            named = f"{detail} (found by process {rank})" if rank else detail
            problems.setdefault(place, Problem(listed[place], Reason(reason), named))
    return dict(sorted(problems.items()))
