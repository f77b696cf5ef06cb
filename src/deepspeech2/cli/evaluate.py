"""`ds2 evaluate`: error rates of a model on a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deepspeech2.cli.cut_short import cut_short
from deepspeech2.cli.recognizer_settings import RecognizerArguments
from deepspeech2.printing import printable, standard_output
from deepspeech2.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepspeech2.speech.data.manifest import Utterance
    from deepspeech2.speech.evaluation import Evaluation
    from deepspeech2.speech.predictions_file import PredictionsFile
    from deepspeech2.speech.recognizer import Recognizer

_SHOWN_CHARACTERS = 60
# Utterances shown unless --worst says how many.
_WORST = 5


def evaluate(
    manifest: Path,
    *,
    model: str = "small",
    format: Literal["table", "json"] = "table",  # noqa: A002
    output: Path | None = None,
    resume: bool = False,
    recognizer: RecognizerArguments | None = None,
    spelling: Literal["keep", "english"] = "keep",
    worst: int | None = None,
    threads: int = 1,
) -> int:
    """Measure word and character error rates of a model on a manifest.

    Examples:
    ```
    ds2 evaluate test.jsonl
    ds2 evaluate test.jsonl --decoder greedy --format json --output predictions.jsonl
    ds2 evaluate test.jsonl --decoder greedy --format json --output predictions.jsonl --resume
    ```

    Parameters
    ----------
    manifest:
        Utterances with transcripts.
    model:
        Model of the package, or a checkpoint.
    format:
        table, or json: {"wer", "cer", "utterances", ...}.
    output:
        Also write references beside hypotheses there, as JSON lines; FILE.partial has them until all are there.
    resume:
        Go on with what an interrupted run has written to --output.
    recognizer:
        How to recognise.
    spelling:
        keep: references as they are; english: in lower case and without punctuation, as ds2 prepare spells them.
    worst:
        How many of the worst utterances to show, 5 unless said; in JSON, when said, under "worst".
    threads:
        Threads that decode.
    """
    import sys
    from contextlib import ExitStack

    from deepspeech2.errors import OptionError
    from deepspeech2.speech.bulk_results import digest
    from deepspeech2.speech.evaluation import unwritable_references
    from deepspeech2.speech.predictions_file import PredictionsFile

    if worst is not None and worst < 0:
        raise OptionError(f"expected --worst as 0 or more utterances, found {worst}")
    if resume and output is None:
        raise OptionError("--resume goes on with what is in --output; give it")
    how = recognizer or RecognizerArguments()
    utterances = _utterances(manifest, spelling, output, how.files(model))
    settings = how.settings(model)
    loaded = settings.load()
    unwritable = unwritable_references(utterances, "".join(loaded.alphabet.labels))
    if unwritable:
        print(_unwritable_note(unwritable, len(utterances), spelling), file=sys.stderr)
    with ExitStack() as stack:
        file = PredictionsFile(output, utterances, digest(settings), resume=resume) if output else None
        if file:
            stack.enter_context(file)
        result = _evaluated(loaded, utterances, threads, file)
        if file:
            file.finish()
    shown = _as_json(result, worst, len(unwritable)) if format == "json" else error_table(result, worst)
    with standard_output():
        print(shown)
    for item in result.predictions:
        if item.announced_seconds is not None:
            print(cut_short(item.audio_filepath, item.announced_seconds, item.duration), file=sys.stderr)
    for path, reason in result.failures:
        print(f"ds2: left out {printable(path)}: {printable(' '.join(reason.split()))}", file=sys.stderr)
    return 1 if result.failures else 0


def _utterances(manifest: Path, spelling: str, output: Path | None, read: Sequence[Path]) -> list[Utterance]:
    """What a manifest holds, spelled as asked; refuses to write predictions over what is read."""
    from dataclasses import replace

    from deepspeech2.files import check_writable, refuse_same
    from deepspeech2.speech.data.manifest import manifest_of, read_manifest
    from deepspeech2.speech.data.spelling import spell_english

    if output is not None:
        check_writable(output)
    file = manifest_of(manifest)
    utterances = read_manifest(file)
    if output is not None:
        refuse_same(output, [file, *read, *(utterance.audio_path for utterance in utterances)])
    if spelling == "english":
        return [replace(utterance, text=spell_english(utterance.text)) for utterance in utterances]
    return utterances


def _evaluated(
    recognizer: Recognizer, utterances: Sequence[Utterance], threads: int, file: PredictionsFile | None
) -> Evaluation:
    """The evaluation, with a progress bar; predictions go to a file as they finish."""
    import sys

    from rich.console import Console
    from rich.progress import Progress

    from deepspeech2.speech.evaluation import evaluate_manifest

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("recognising", total=len(utterances))
        try:
            return evaluate_manifest(
                recognizer,
                utterances,
                threads=threads,
                earlier=file.earlier if file else (),
                progress=lambda done: bar.update(task, completed=done),
                finished=file.add if file else None,
            )
        except KeyboardInterrupt:
            if file and file.kept:
                print("ds2: interrupted; what is done is kept, the same command with --resume goes on", file=sys.stderr)
            raise


def _unwritable_note(unwritable: list[tuple[str, str]], total: int, spelling: str) -> str:
    text, unknown = unwritable[0]
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    way_out = "; --spelling english takes off case and punctuation" if spelling == "keep" else ""
    return (
        f"ds2: {len(unwritable)} of {total} references hold characters the model cannot write and count as errors, "
        f"such as {unknown[:10]!r} in {shown!r}{way_out}"
    )


def _as_json(result: Evaluation, worst: int | None, unwritable: int) -> str:
    import json

    from deepspeech2.speech.evaluation import prediction_record

    summary = result.summary() | {"unwritable_references": unwritable}
    if worst is not None:
        summary["worst"] = [prediction_record(item) for item in result.worst(worst)]
    return json.dumps(summary, ensure_ascii=False)


def error_table(result: Evaluation, worst: int | None) -> str:
    """Rates, kinds of errors, speed, and so many of the worst utterances (5 unless said), as lines of text."""
    words, characters = result.words, result.characters
    lines = [f"{'':12}{'rate':>8}{'errors':>9}{'substituted':>13}{'deleted':>9}{'inserted':>10}{'reference':>11}"]
    for name, count in (("words", words), ("characters", characters)):
        lines.append(
            f"{name:12}{count.rate:>8.2%}{count.errors:>9}{count.substitutions:>13}{count.deletions:>9}"
            f"{count.insertions:>10}{count.reference:>11}"
        )
    lines.append(
        f"{len(result.predictions)} utterances, {format_seconds(result.audio_seconds)} of audio{_speed(result)}"
    )
    for item in result.worst(_WORST if worst is None else worst):
        place = f" from {round(item.offset, 3)} s" if item.offset else ""
        lines += [
            f"{item.words.rate:.0%} {printable(item.audio_filepath)}{place}",
            f"  said  {printable(item.reference)}",
            f"  heard {item.hypothesis}",
        ]
    return "\n".join(lines)


def _speed(result: Evaluation) -> str:
    factor = result.real_time_factor
    before = result.earlier_audio_seconds
    parts = [f"{format_seconds(before)} of it by an earlier run"] if before else []
    if factor is not None:
        left = "the rest in " if before else "in "
        parts.append(f"{left}{format_seconds(result.seconds)} (real-time factor {factor:.3f})")
    return (", " if before else " ") + ", ".join(parts)
