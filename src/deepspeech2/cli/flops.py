"""`ds2 flops`: what a model spends on an utterance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from deepspeech2.errors import OptionError

if TYPE_CHECKING:
    from deepspeech2.flops.closed_form import ClosedForm
    from deepspeech2.report.document import Report

_AUDIO_SUFFIXES = {".flac", ".wav", ".mp3", ".ogg", ".opus", ".oga", ".aiff", ".aif"}


def flops(
    model: str = "default",
    audio: Path | None = None,
    *,
    seconds: float | None = None,
    frames: int | None = None,
    batch: int | None = None,
    convention: str = "standard",
    depth: int | None = None,
    format: Literal["table", "json", "csv", "markdown"] = "table",  # noqa: A002
    output: Path | None = None,
    training: bool = False,
    optimiser: Literal["sgd", "sgd-momentum", "sgd-nesterov", "adam", "adamw"] | None = None,
    label_length: int | None = None,
    formula: Literal["text", "latex", "python"] | None = None,
    shape: Annotated[tuple[str, ...], Parameter(name="--shape", negative=())] = (),
    strict: bool = False,
) -> None:
    """Count the operations a model spends on an utterance, layer by layer.

    Nothing is computed: only shapes matter, so an hour costs no more than a second. The input is AUDIO, or --seconds,
    or --frames; ten seconds when none is given.

    Examples:
    ```
    ds2 flops librispeech examples/clip_10s.flac
    ds2 flops baidu-en8k --seconds 3600 --convention gemm --depth 1
    ds2 flops params.tar.gz --frames 999 --format json --output counts.json
    ds2 flops librispeech --formula python
    ds2 flops default --training --batch 16 --seconds 15
    ds2 flops conformer.pt2 --shape 1,80,3000 --shape 1:int64
    ```

    Parameters
    ----------
    model:
        A preset (default, librispeech, aishell, baidu-en8k, small), a checkpoint of this project, a Baidu
        params.tar.gz, a fluid model folder, a .pt2 export, a TorchScript file or an .onnx file.
    audio:
        The utterance: WAV, FLAC, OGG, Opus or MP3.
    seconds:
        Length of the audio, when there is no file.
    frames:
        Number of spectrogram frames (10 ms each) instead.
    batch:
        Utterances of this length at once; 1 by default.
    convention:
        How the headline is made: standard (every operation), gemm (2 per multiply-accumulate), mac, notebook.
    depth:
        Sum rows below this depth of the module tree into one.
    format:
        table for people; json, csv, markdown with exact numbers.
    output:
        Write there instead of to the terminal.
    training:
        Count a training step: forward, CTC loss, backward and the optimiser.
    optimiser:
        The optimiser of the training step; adam by default.
    label_length:
        Labels of an utterance in training. An assumption of 14 a second by default; give your own data's.
    formula:
        Print the operations as a closed formula in batch and time (frames) instead.
    shape:
        Input of a model that is not a DeepSpeech2: sizes, and optionally a dtype, as in 1,80,3000 or 1,40:int64.
        Repeat for each input.
    strict:
        Fail instead of giving a lower bound when an operator has no formula.
    """
    from deepspeech2.cli.counted_models import Request, count_formula, count_model, make_request

    if not training and (optimiser is not None or label_length is not None):
        raise OptionError("--optimiser and --label-length describe a training step; add --training")
    if formula is not None and (training or depth is not None or format != "table"):
        raise OptionError("--formula prints one formula of inference; leave out --training, --depth and --format")
    model, audio = _audio_alone(model, audio)
    request: Request = make_request(
        model, audio, seconds=seconds, frames=frames, batch=batch, shapes=shape, strict=strict
    )
    if formula is not None:
        _emit(_formula_text(count_formula(request), convention, formula), output)
        return
    steps = (optimiser or "adam", label_length) if training else None
    report = count_model(request, convention, depth, steps)
    _emit(_rendered(report, format, colour=output is None and sys.stdout.isatty()), output)
    if not report.tally.complete:
        names = ", ".join(one.operator for one in report.tally.unknown)
        print(f"ds2: the totals are lower bounds, not counted: {names}", file=sys.stderr)


def _audio_alone(model: str, audio: Path | None) -> tuple[str, Path | None]:
    """`ds2 flops clip.flac` means the default model on that clip."""
    if audio is None and Path(model).suffix.lower() in _AUDIO_SUFFIXES:
        return "default", Path(model)
    return model, audio


def _rendered(report: Report, format: str, *, colour: bool) -> str:  # noqa: A002
    if format == "json":
        from deepspeech2.report.json import render_json

        return render_json(report) + "\n"
    if format == "csv":
        from deepspeech2.report.csv import render_csv

        return render_csv(report)
    if format == "markdown":
        from deepspeech2.report.markdown import render_markdown

        return render_markdown(report)
    from deepspeech2.report.table import render_table

    return render_table(report, colour=colour)


def _formula_text(formula: ClosedForm, convention: str, form: str) -> str:
    if form == "python":
        return formula.python(convention)
    if form == "latex":
        return formula.latex(convention) + "\n"
    lines = [f"{convention}: {formula.total(convention)}"]
    lines += [f"where {condition}" for condition in formula.conditions]
    bound = "" if formula.complete else "lower bound; not counted: " + ", ".join(u.operator for u in formula.unknown)
    return "\n".join([*lines, *([bound] if bound else [])]) + "\n"


def _emit(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    from deepspeech2.files import replacing

    with replacing(output) as file:
        file.write(text)
