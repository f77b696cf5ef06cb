"""`ds2 flops`: what a model spends on an utterance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from deepspeech2.errors import OptionError
from deepspeech2.printing import standard_output

if TYPE_CHECKING:
    from deepspeech2.cli.flops_choices import TrainingChoice
    from deepspeech2.flops.closed_form import ClosedForm
    from deepspeech2.flops.tally import UnknownOperator
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
    manifest: Path | None = None,
    epochs: int | None = None,
    batch_seconds: float | None = None,
    teraflops: float | None = None,
    formula: Literal["text", "latex", "python"] | None = None,
    shape: Annotated[tuple[str, ...], Parameter(name="--shape", negative=(), show_default=False)] = (),
    peak: float | None = None,
    bandwidth: float | None = None,
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
    ds2 flops small --training --manifest train.jsonl --epochs 12 --teraflops 120
    ds2 flops conformer.pt2 --shape 1,80,3000 --shape 1:int64=3000
    ds2 flops "mypackage.models:Encoder(256, layers=12)" --shape 1,3000,80
    ds2 flops llama/config.json --shape input_ids=1,2048:int64 --depth 3
    ds2 flops librispeech --peak 150e9 --bandwidth 26e9
    ```

    Parameters
    ----------
    model:
        A preset (default, librispeech, aishell, baidu-en8k, small), a checkpoint of this project, a Baidu
        params.tar.gz, a fluid model folder, a .pt2 export, a TorchScript file, an .onnx file, a config.json of the
        transformers library, or module:function, your own code that makes a torch module.
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
        Count a training step: forward, CTC loss, backward and the optimiser. Other models than a DeepSpeech2 have no
        loss: their backward starts from given gradients of the results.
    optimiser:
        The optimiser of the training step; adam by default.
    label_length:
        Labels of an utterance in the training of a DeepSpeech2. An assumption of 14 a second by default; give your own
        data's. With --manifest, the characters of each transcript by default.
    manifest:
        With --training: the cost of a whole training on these utterances, batches and padding as the trainer
        makes them.
    epochs:
        Passes over the manifest; 1 by default.
    batch_seconds:
        With --manifest: most seconds of audio in a batch, padding included; the trainer's default without it. --batch
        is then the most utterances.
    teraflops:
        With --manifest: also the hours at this sustained rate, a device's peak times its utilisation.
    formula:
        Print the operations as a closed formula in batch and time (frames) instead.
    shape:
        Input of a model that is not a DeepSpeech2: sizes, and optionally a dtype and a name, as in 1,80,3000 or
        1,40:int64 or input_ids=1,40:int64. Repeat for each input. Lengths and masks that decide what is computed need
        a value, which all elements have: 4:int64=300 or 50,50:bool=0.
    peak:
        With --bandwidth: operations a second the device computes at best. Adds the least time of each row, and
        whether computing or memory bounds it.
    bandwidth:
        With --peak: bytes a second the device's memory reads and writes at best.
    strict:
        Fail instead of giving a lower bound when an operator has no formula.
    """
    from deepspeech2.cli.flops_choices import InputChoice, TrainingChoice, View, check_model_name, hardware_of

    plan = TrainingChoice(training, optimiser, label_length, manifest, epochs, batch_seconds, teraflops)
    if formula is not None:
        _check_formula(
            numbers=training or depth is not None or format != "table",
            times=peak is not None or bandwidth is not None,
        )
    hardware = hardware_of(peak, bandwidth)
    if output is not None:
        from deepspeech2.files import refuse_same

        refuse_same(output, [model, *(path for path in (audio, manifest) if path)])
    if manifest is not None:
        options = {"AUDIO": audio, "--seconds": seconds, "--frames": frames, "--shape": shape or None, "--depth": depth}
        plan.refuse_beside(options | {"--peak": peak})
        _emit(_training_cost(model, plan, batch, convention, format), output)
        return
    model, audio = _audio_alone(model, audio)
    choice = InputChoice(audio, seconds, frames, batch, shape)
    view = View(convention, depth, hardware)
    check_model_name(model)

    from deepspeech2.cli.counted_models import count_formula, count_model, make_request

    request = make_request(model, choice, strict=strict)
    if formula is not None:
        if sys.stderr.isatty():
            print("ds2: deriving the formula, which takes many counts", file=sys.stderr)
        found = count_formula(request)
        _emit(_formula_text(found, convention, formula), output)
        _tell_uncounted(found.unknown)
        return
    report = count_model(request, view, (optimiser or "adam", label_length) if training else None)
    _emit(_rendered(report, format, colour=output is None and sys.stdout.isatty()), output)
    _tell_uncounted(report.tally.unknown)


def _tell_uncounted(unknown: tuple[UnknownOperator, ...]) -> None:
    if unknown:
        names = ", ".join(one.operator for one in unknown)
        print(f"ds2: the totals are lower bounds, not counted: {names}", file=sys.stderr)


def _check_formula(*, numbers: bool, times: bool) -> None:
    if numbers:
        raise OptionError("--formula prints one formula of inference; leave out --training, --depth and --format")
    if times:
        raise OptionError("--peak and --bandwidth time numbers, and --formula prints symbols; leave out either")


def _training_cost(model: str, choice: TrainingChoice, batch: int | None, convention: str, form: str) -> str:
    from deepspeech2.cli.counted_models import find_model
    from deepspeech2.cli.training_cost import TrainingPlan, cost_of_training, render_cost
    from deepspeech2.flops.conventions import known_convention
    from deepspeech2.speech.data.batching import BatchingOptions
    from deepspeech2.speech.network import DeepSpeech2

    assert choice.manifest is not None
    known_convention(convention)
    if form not in ("table", "json"):
        raise OptionError(f"--manifest is shown as table or json, found --format {form}")
    given = {"batch_seconds": choice.batch_seconds, "batch_utterances": batch}
    batching = BatchingOptions(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    epochs = 1 if choice.epochs is None else choice.epochs
    optimiser = choice.optimiser or "adam"
    plan = TrainingPlan(model, choice.manifest, epochs, batching, optimiser, choice.label_length, choice.teraflops)
    network = find_model(model)
    if not isinstance(network, DeepSpeech2):
        raise OptionError(f"--manifest needs a DeepSpeech2, whose steps follow from durations; {model} is none")
    return render_cost(cost_of_training(network, plan), convention, form)


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
    from deepspeech2.report.table import render_report

    return render_report(report, colour=colour)


def _formula_text(formula: ClosedForm, convention: str, form: str) -> str:
    if form == "python":
        return formula.python(convention)
    if form == "latex":
        return formula.latex(convention) + "\n"
    lines = [f"{convention}: {formula.total(convention)}"]
    lines += [f"where {condition}" for condition in (*formula.conditions, *formula.least_sizes())]
    return "\n".join([*lines, *formula.remarks]) + "\n"


def _emit(text: str, output: Path | None) -> None:
    if output is None:
        with standard_output():
            print(text, end="")
        return
    from deepspeech2.files import replacing

    with replacing(output) as file:
        file.write(text)
