"""`ds2 transcribe`: audio files to text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from deepspeech2.speech.recognizer import Recognizer, Source


def transcribe(
    files: Annotated[list[Path], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    model: str = "small",
    format: Literal["txt", "json", "srt", "vtt", "tsv"] = "txt",  # noqa: A002
    output_dir: Path | None = None,
    decoder: Literal["beam", "greedy"] = "beam",
    lm: Path | None = None,
    beam_size: int | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
) -> int:
    """Recognise speech in audio files.

    Each transcript is written as soon as it is there. A file that cannot be read is named on standard error and the
    others go on; the exit status is then 1.

    Examples:
    ```
    ds2 transcribe examples/clip_10s.flac
    ds2 transcribe talks/*.mp3 --format srt --output-dir subtitles
    sox talk.wav -r 16000 -c 1 -t wav - | ds2 transcribe - --format json
    ```

    Parameters
    ----------
    files:
        Audio files (WAV, FLAC, OGG, MP3); - reads one from standard input.
    model:
        Model of the package, or a checkpoint.
    format:
        txt, json (one line a file), srt, vtt, or tsv (words with milliseconds).
    output_dir:
        Write NAME.FORMAT there instead of printing.
    decoder:
        beam or greedy.
    lm:
        Language model instead of the model's own (ARPA or KenLM).
    beam_size:
        Prefixes kept by the beam search.
    alpha:
        Weight of the language model.
    beta:
        Bonus for each word.
    weights:
        How recurrent weights are stored: float32, bfloat16 or int8; fewer bytes are faster for one file at a time.
    """
    from deepspeech2.errors import AudioError, OptionError
    from deepspeech2.files import replacing
    from deepspeech2.speech.transcript import format_transcript

    if not files:
        raise OptionError("expected audio files, or - for standard input, found none")
    unknown = next((str(path) for path in files if str(path).startswith("-") and str(path) != "-"), None)
    if unknown is not None:
        raise OptionError(f"unknown option {unknown}; see ds2 transcribe --help")
    targets = _targets(files, output_dir, format)
    recognizer = load_recognizer(model, decoder, lm, {"beam_size": beam_size, "alpha": alpha, "beta": beta}, weights)
    failed = 0
    for path, target in zip(files, targets, strict=True):
        try:
            transcript = recognizer.transcribe(_source(path))
        except AudioError as error:
            failed += 1
            print(f"ds2: {' '.join(str(error).split())}", file=sys.stderr)
            continue
        text = format_transcript(transcript, format)
        if target is not None:
            with replacing(target) as file:
                file.write(text)
        else:
            if format == "txt" and len(files) > 1:
                text = f"{path}\t{text}"
            sys.stdout.write(text)
            sys.stdout.flush()
    if failed:
        print(f"ds2: {failed} of {len(files)} files could not be read", file=sys.stderr)
    return 1 if failed else 0


def load_recognizer(
    model: str,
    decoder: Literal["beam", "greedy"],
    lm: Path | None,
    beam: dict[str, float | None],
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
) -> Recognizer:
    """A recogniser from what the command line says; options that are None keep the model's own values.

    Raises:
        OptionError: The options contradict each other.
    """
    from dataclasses import replace

    from deepspeech2.ctc import BeamOptions
    from deepspeech2.errors import OptionError
    from deepspeech2.speech.pretrained import PRETRAINED
    from deepspeech2.speech.recognizer import Recognizer

    given = {name: value for name, value in beam.items() if value is not None}
    if decoder == "greedy" and (given or lm):
        what = ", ".join(["--lm"] * bool(lm) + [f"--{name.replace('_', '-')}" for name in given])
        raise OptionError(f"{what} belongs to the beam search; leave --decoder greedy out")
    own = PRETRAINED[model].beam if model in PRETRAINED and not Path(model).exists() else BeamOptions()
    options = replace(own, **given) if given else None  # type: ignore[arg-type]
    return Recognizer.from_pretrained(model, decoder=decoder, beam=options, language_model=lm, weights=weights)


def _targets(files: list[Path], folder: Path | None, kind: str) -> list[Path | None]:
    from deepspeech2.errors import OptionError

    if folder is None:
        return [None] * len(files)
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{'stdin' if str(path) == '-' else path.stem}.{kind}" for path in files]
    seen: dict[Path, Path] = {}
    for path, target in zip(files, targets, strict=True):
        if target in seen:
            raise OptionError(f"{seen[target]} and {path} would both be written to {target}; transcribe them apart")
        seen[target] = path
    return list(targets)


def _source(path: Path) -> Source:
    if str(path) != "-":
        return path
    # A pipe cannot seek, and audio headers are read with seeks.
    import io

    data = io.BytesIO(sys.stdin.buffer.read())
    data.name = "standard input"
    return data
