"""Making a data set ready for training: manifest, vocabulary, normaliser, and a report of what was left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepspeech2.errors import AudioError, InputError, ManifestError
from deepspeech2.files import refuse_same, replacing
from deepspeech2.printing import printable, utf8
from deepspeech2.speech.data.corpora import TABLE_SUFFIXES, scan_corpus, tables_of, with_durations
from deepspeech2.speech.data.feature_cache import utterance_spectrogram
from deepspeech2.speech.data.labels import build_labels, read_labels, write_labels
from deepspeech2.speech.data.manifest import Utterance, path_from, read_manifest, total_seconds, write_manifest
from deepspeech2.speech.data.preflight import (
    PreflightOptions,
    PreflightReport,
    Problem,
    Reason,
    audio_problem,
    preflight,
)
from deepspeech2.speech.data.spelling import spell_english, squeeze
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.options import ENGLISH_LABELS

NORMALIZER_UTTERANCES = 2000
"""So many random utterances give a normaliser where nothing else is asked for: hours of speech, minutes of work."""

VOCABULARY_FILE, NORMALIZER_FILE = "vocabulary.txt", "mean_std.npz"
"""What `prepare` writes beside ``manifest.jsonl``, and a training reads there."""


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a data set is made ready.

    Attributes:
        layout: Layout of a corpus folder; see `scan_corpus`.
        spelling: ``english`` lower-cases and keeps letters, apostrophes and single spaces; ``keep`` changes nothing
            but runs of white space.
        vocabulary: A vocabulary file to spell with; None for the 28 English symbols, with ``keep`` for the characters
            that occur.
        normalizer_utterances: Random utterances whose spectrograms give mean and deviation of each bin.
        seed: Which ones.
        preflight: What is checked.
    """

    layout: str = "auto"
    spelling: str = "english"
    vocabulary: Path | None = None
    normalizer_utterances: int = NORMALIZER_UTTERANCES
    seed: int = 0
    preflight: PreflightOptions = field(default_factory=PreflightOptions)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` found and wrote.

    Attributes:
        report: Usable utterances and the others.
        labels: The vocabulary.
        normalizer: Mean and deviation of each bin.
        tables: The tables that were read of a corpus that has one for each of its parts.
    """

    report: PreflightReport
    labels: tuple[str, ...]
    normalizer: Normalizer
    tables: tuple[Path, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of usable audio."""
        return total_seconds(self.report.usable)


def prepare(
    source: Path,
    output: Path,
    options: PrepareOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Turn a corpus folder, a manifest or a Kaldi folder into a checked data set.

    Written to the output folder: ``manifest.jsonl`` (usable utterances), ``vocabulary.txt``, ``mean_std.npz``, and
    ``left_out.jsonl`` with every utterance that was left out and why. The audio itself is neither copied nor changed.

    Args:
        source: A corpus folder, a table of Common Voice or AN4, a Kaldi folder or a manifest.
        output: Folder to write to; made when it does not exist.
        options: How.
        progress: Called with the number of utterances checked and their total.

    Raises:
        ManifestError: Nothing is found, or no utterance is usable.
    """
    options = options or PrepareOptions()
    for name in ("manifest.jsonl", "left_out.jsonl"):
        refuse_same(output / name, [source])
    listed = _is_list(source, options)
    tables = [] if listed else tables_of(source, options.layout)
    # The check names those without a text.
    found, unreadable = (read_manifest(source, texts=False), []) if listed else _scan(source, options)
    if options.spelling not in ("english", "keep"):
        raise ManifestError(f"expected a spelling of english or keep, found {options.spelling!r}")
    if listed:
        found, unreadable = _nameable(found, output)
    spell = spell_english if options.spelling == "english" else squeeze
    utterances = [replace(utterance, text=spell(utterance.text)) for utterance in found]
    labels = _labels(options, utterances)

    total = len(utterances)
    counting = (lambda done: progress(done, total)) if progress else None
    checked = preflight(utterances, labels, options.preflight, progress=counting)
    normalizer, lost = _measured(checked.usable, options)
    gone = {id(problem.utterance) for problem in lost}  # by identity: a manifest may name a piece twice
    usable = tuple(item for item in checked.usable if id(item) not in gone)
    report = PreflightReport(usable, (*unreadable, *checked.problems, *lost))
    output.mkdir(parents=True, exist_ok=True)
    write_problems(output / "left_out.jsonl", report.problems)
    if normalizer is None:
        raise ManifestError(
            f"{source}: {report.summary()}; see {output / 'left_out.jsonl'}; the first: {report.problems[0].detail}"
        )

    write_manifest(output / "manifest.jsonl", report.usable)
    write_labels(output / VOCABULARY_FILE, labels)
    normalizer.save(output / NORMALIZER_FILE)
    return Prepared(report, labels, normalizer, tuple(tables))


def prepared_beside(manifest: Path, name: str) -> Path | None:
    """The file of this name that `prepare` wrote with a manifest, which its folder may stand for; None without one."""
    path = (manifest if manifest.is_dir() else manifest.parent) / name
    return path if path.is_file() else None


def fit_normalizer(
    utterances: Sequence[Utterance],
    count: int,
    seed: int = 0,
    *,
    unusable: Callable[[Utterance, AudioError], None] | None = None,
) -> Normalizer:
    """Mean and deviation of each bin over the frames of at most `count` random utterances.

    Args:
        utterances: What to draw from.
        count: How many to measure.
        seed: Which ones.
        unusable: Called with an utterance whose audio cannot be used and the reason, and another is drawn instead.

    Raises:
        AudioError: Audio cannot be used, and `unusable` is not given.
        InputError: There is nothing to measure.
    """
    drawn = np.random.default_rng(seed).permutation(len(utterances)).tolist()
    return Normalizer.fit(_spectrograms([utterances[index] for index in drawn], drawn, count, unusable))


def _spectrograms(
    drawn: Sequence[Utterance],
    places: Sequence[int],
    count: int,
    unusable: Callable[[Utterance, AudioError], None] | None,
) -> Iterator[NDArray[np.float32]]:
    done = 0
    while count and done < len(drawn):
        # In the order of the list: files that lie together are read together.
        batch = sorted(range(done, min(done + count, len(drawn))), key=places.__getitem__)
        done, count = done + len(batch), 0
        for number in batch:
            try:
                features = utterance_spectrogram(drawn[number])
            except AudioError as error:
                if unusable is None:
                    raise
                unusable(drawn[number], error)
                count += 1  # another in its place
            else:
                yield features


def _measured(usable: Sequence[Utterance], options: PrepareOptions) -> tuple[Normalizer | None, list[Problem]]:
    """The normaliser, None where nothing can be measured, and the utterances found unusable on the way."""
    lost: list[Problem] = []
    try:
        normalizer = fit_normalizer(
            usable,
            options.normalizer_utterances,
            options.seed,
            unusable=lambda utterance, error: lost.append(audio_problem(utterance, error)),
        )
    except InputError:
        if len(lost) < len(usable):
            raise
        return None, lost
    return normalizer, lost


def _is_list(source: Path, options: PrepareOptions) -> bool:
    """Whether the source is a manifest or a Kaldi folder rather than a corpus."""
    listed = source.is_file() and source.suffix not in TABLE_SUFFIXES
    return listed or not source.exists() or (options.layout == "auto" and (source / "wav.scp").is_file())


def _scan(source: Path, options: PrepareOptions) -> tuple[list[Utterance], list[Problem]]:
    found, problems = [], []
    for item, result in with_durations(scan_corpus(source, options.layout), source):
        if isinstance(result, Utterance):
            found.append(result)
        else:
            lost = Utterance(item.audio_path, 0.0, item.text, speaker=item.speaker)
            reason = Reason.UNREADABLE if isinstance(result, AudioError) else Reason.EMPTY_TEXT
            problems.append(Problem(lost, reason, str(result)))
    return found, problems


def _nameable(found: Sequence[Utterance], output: Path) -> tuple[list[Utterance], list[Problem]]:
    """The utterances that a manifest in the output folder can name, which is UTF-8, and the others."""
    folder = output.resolve()
    nameable, problems = [], []
    for item in found:
        name = path_from(folder, item.audio_path)
        if utf8(name) == name:
            nameable.append(item)
        else:
            detail = f"{printable(name)}: the name is not UTF-8, as manifests have to be; rename the file or folder"
            problems.append(Problem(item, Reason.UNREADABLE, detail))
    return nameable, problems


def _labels(options: PrepareOptions, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    if options.vocabulary:
        return read_labels(options.vocabulary)
    # What English spelling cannot spell, digits above all, is to be named and not to become a label.
    return ENGLISH_LABELS if options.spelling == "english" else build_labels(item.text for item in utterances)


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write what is left out and why, one JSON object a line: audio_filepath, where, reason, detail, text."""
    lines = [
        json.dumps(
            {
                "audio_filepath": str(problem.utterance.audio_path),
                "where": problem.utterance.where,
                "reason": problem.reason.value,
                "detail": problem.detail,
                "text": problem.utterance.text,
            },
            ensure_ascii=False,
        )
        for problem in problems
    ]
    with replacing(path) as file:
        # JSON's own escapes for the bytes of a path that are not UTF-8.
        file.writelines(line.encode("utf-8", "backslashreplace").decode() + "\n" for line in lines)
