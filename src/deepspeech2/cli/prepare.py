"""`ds2 prepare`: make a data set ready for training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from deepspeech2.printing import printable
from deepspeech2.units import format_seconds


def prepare(
    source: Path,
    output: Path,
    *,
    layout: Literal["auto", "librispeech", "ljspeech", "an4", "commonvoice", "folder"] = "auto",
    spelling: Literal["english", "keep"] = "english",
    vocabulary: Path | None = None,
    decode: bool = True,
    lowest_rate: int = 16_000,
    longest: float | None = None,
    normalizer_utterances: int = 2000,
) -> None:
    """Check speech and its transcripts, and write a manifest, a vocabulary and a normaliser.

    Utterances that cannot be trained on are left out and listed, with the reason, in OUTPUT/left_out.jsonl.

    Examples:
    ```
    ds2 prepare corpora/LibriSpeech/train-clean-100 data/train
    ds2 prepare recordings.jsonl data/mine --vocabulary data/train/vocabulary.txt
    ```

    Parameters
    ----------
    source:
        A corpus folder, a table of Common Voice or AN4, a Kaldi folder, or a manifest (JSON lines, Lhotse cuts).
    output:
        Folder for manifest.jsonl, vocabulary.txt, mean_std.npz and left_out.jsonl.
    layout:
        How a corpus folder is laid out.
    spelling:
        english: lower case, letters, apostrophes and spaces; keep: as it is.
    vocabulary:
        Spell with this file's characters instead of the 28 English ones or, with keep, those that occur.
    decode:
        Decode the audio; --no-decode looks at headers only and does not see silence.
    lowest_rate:
        Leave out recordings of fewer samples per second: 8000 lets telephone speech pass, for a model of its own.
    longest:
        Leave out utterances longer than this many seconds.
    normalizer_utterances:
        Utterances the normaliser is measured on.
    """
    from rich.console import Console
    from rich.progress import Progress

    from deepspeech2.speech.data.preflight import PreflightOptions
    from deepspeech2.speech.data.prepare import PrepareOptions
    from deepspeech2.speech.data.prepare import prepare as run

    options = PrepareOptions(
        layout=layout,
        spelling=spelling,
        vocabulary=vocabulary,
        normalizer_utterances=normalizer_utterances,
        preflight=PreflightOptions(decode=decode, longest_seconds=longest, lowest_rate=lowest_rate),
    )
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking", total=None)
        prepared = run(
            source, output, options, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    if prepared.tables:
        print(f"tables read: {', '.join(map(printable, prepared.tables))}")
    for problem in prepared.report.problems[:20]:
        # A path may hold bytes that are not UTF-8.
        print(printable(f"left out: {problem}"))
    if len(prepared.report.problems) > 20:
        print(f"... {len(prepared.report.problems) - 20} more in {printable(output / 'left_out.jsonl')}")
    print(f"{prepared.report.summary()}; {format_seconds(prepared.seconds)} of audio, {len(prepared.labels)} labels")
    print(f"written: {printable(output)}/manifest.jsonl, vocabulary.txt, mean_std.npz, left_out.jsonl")
