"""`ds2 transcribe`: audio files and manifests to text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from deepspeech2.cli.cut_short import cut_short
from deepspeech2.cli.recognizer_settings import RecognizerArguments
from deepspeech2.cli.transcript_destination import Destination

if TYPE_CHECKING:
    from deepspeech2.speech.bulk import Engine, Outcome, RecognizerSettings
    from deepspeech2.speech.bulk_results import Results


def transcribe(
    files: Annotated[list[str], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    model: str = "small",
    format: Literal["txt", "json", "srt", "vtt", "tsv"] | None = None,  # noqa: A002
    output_dir: Path | None = None,
    output: Path | None = None,
    resume: bool = False,
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    recognizer: RecognizerArguments | None = None,
) -> int:
    """Recognise speech in audio files, or in all utterances of a manifest.

    Each transcript is written as soon as it is there. Audio that cannot be read is named on standard error and the
    rest goes on; the exit status is then 1.

    Examples:
    ```
    ds2 transcribe examples/clip_10s.flac
    ds2 transcribe talks/*.mp3 --format srt --output-dir subtitles
    sox talk.wav -r 16000 -c 1 -t wav - | ds2 transcribe - --format json
    ds2 transcribe archive.jsonl --output transcripts.jsonl --resume
    ds2 transcribe archive.jsonl --output transcripts.jsonl --engine ray --workers 64 --ray-address auto
    ```

    Parameters
    ----------
    files:
        Audio files (WAV, FLAC, OGG, MP3); manifests (JSON lines, Kaldi folders, folders of ds2 prepare); - reads audio
        from standard input.
    model:
        Model of the package, or a checkpoint.
    format:
        txt, json (one line an utterance), srt, vtt, or tsv (words with milliseconds); txt for audio files, json for
        manifests.
    output_dir:
        Write NAME.FORMAT there instead of printing.
    output:
        Write all transcripts there as JSON lines, in the order given; FILE.partial has them until all are there.
    resume:
        Do not transcribe again what --output or --output-dir has from an interrupted run.
    engine:
        local, or ray: processes on this machine or a cluster; one that dies is replaced and its work done again.
    workers:
        Utterances worked on at a time: threads (local, 1 by default) or processes (ray, one for each CPU by default).
    ray_address:
        Join this Ray cluster (auto, ray://HOST:10001) instead of starting one here.
    recognizer:
        How to recognise.
    """
    from deepspeech2.cli.audio_arguments import audio_arguments
    from deepspeech2.printing import printable

    given = audio_arguments(files, stdin_allowed=engine == "local")
    sources = given.sources
    to = Destination(format, output, output_dir, resume)
    kind = to.kind(of_manifest=given.holds_manifest)
    to.check(kind, len(sources))
    how = recognizer or RecognizerArguments()
    settings = how.settings(model)
    with to.opened(kind, sources, settings, [*given.files, *how.files(model)]) as results:
        waiting = [(index, source) for index, source in enumerate(sources) if not results.has(index)]
        chosen = _engine(engine, settings, workers, ray_address) if waiting else None
        outcomes = chosen.run(waiting) if chosen else iter(())
        if not to.kept:
            outcomes = _in_order(outcomes, len(sources))
        try:
            failed = _collect(outcomes, results, len(sources) - len(waiting), len(sources))
        except KeyboardInterrupt:
            if results.kept:
                print("ds2: interrupted; what is done is kept, the same command with --resume goes on", file=sys.stderr)
            raise
        results.finish()
    if failed:
        unwritten = f"; nothing is written to {printable(output)}" if output is not None and not results.kept else ""
        print(f"ds2: {failed} of {len(sources)} files could not be read{unwritten}", file=sys.stderr)
    return 1 if failed else 0


def _collect(outcomes: Iterator[Outcome], results: Results, done: int, total: int) -> int:
    """Hand every outcome on, with a progress bar where it does not run into the transcripts; returns the failures."""
    from rich.console import Console
    from rich.progress import Progress

    from deepspeech2.printing import printable
    from deepspeech2.speech.audio import SAMPLE_RATE
    from deepspeech2.speech.printed_results import PrintedResults

    console = Console(stderr=True)
    shown = console.is_terminal and total > 1 and not (isinstance(results, PrintedResults) and sys.stdout.isatty())
    failed = narrow = 0
    first = ""
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("transcribing", total=total, completed=done)
        for outcome in outcomes:
            if outcome.transcript is None:
                failed += 1
                print(f"ds2: {printable(outcome.reason)}", file=sys.stderr)
            else:
                results.add(outcome.index, outcome.transcript)
                found = outcome.transcript
                if found.announced_seconds is not None:
                    print(cut_short(found.source, found.announced_seconds, found.seconds), file=sys.stderr)
                if outcome.transcript.sample_rate < SAMPLE_RATE:
                    narrow += 1
                    first = first or f"{printable(outcome.transcript.source)} ({outcome.transcript.sample_rate} Hz)"
            bar.advance(task)
    if narrow:
        more = f" and {narrow - 1} more" if narrow > 1 else ""
        print(
            f"ds2: {first}{more}: recorded below the {SAMPLE_RATE} Hz the network learned from; expect more errors",
            file=sys.stderr,
        )
    return failed


def _in_order(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    early: dict[int, Outcome] = {}
    following = iter(range(total))
    wanted = next(following, None)
    for outcome in outcomes:
        early[outcome.index] = outcome
        while wanted in early:
            yield early.pop(wanted)
            wanted = next(following, None)


def _engine(kind: str, settings: RecognizerSettings, workers: int | None, address: str | None) -> Engine:
    from deepspeech2.errors import OptionError
    from deepspeech2.speech.bulk import LocalEngine
    from deepspeech2.speech.bulk_ray import RayEngine, RayOptions

    if kind == "ray":
        return RayEngine(settings, RayOptions(workers, address))
    if address is not None:
        raise OptionError("--ray-address belongs to --engine ray")
    return LocalEngine(settings.load(), 1 if workers is None else workers)
