"""What `ds2 flops` counts: finds the model and its input, and puts the report together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch

from deepspeech2.cli.configured_models import build_configured, configuration_of
from deepspeech2.cli.flops_choices import InputChoice, View, check_model_name
from deepspeech2.cli.model_factories import make_model
from deepspeech2.errors import CheckpointError, ClosedFormError, DataDependentError, InputError, OptionError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.counting import count, count_training
from deepspeech2.flops.onnx_graphs.counting import OnnxFile
from deepspeech2.flops.programs import is_torch_archive, load_program
from deepspeech2.flops.tally import Tally
from deepspeech2.report.document import CountedInput, Report
from deepspeech2.speech.audio import SAMPLE_RATE, WINDOW_SAMPLES
from deepspeech2.speech.features import HOP_SAMPLES
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.operation_counts import feature_operations
from deepspeech2.speech.options import PRESETS
from deepspeech2.speech.pretrained import PRETRAINED

_DEFAULT_SECONDS = 10.0
# Characters a second of read English, the default for the labels of a training step.
_LABELS_PER_SECOND = 14
_FORMULA_FRAMES = 999
# Sizes are 64-bit integers in torch, and the activations are some hundred times the input.
_MOST_ELEMENTS = 2**52
_SHAPE = re.compile(r"^(?:([A-Za-z_]\w*)=)?(\d+(?:,\d+)*)?(?::(\w+)(?:=(-?\d+))?)?$")
# Counting reads masks up to this size, and integers of fewer; with a value, a tensor takes memory.
_MOST_VALUES = 1 << 20
# What torch.full takes; quantised, sub-byte and bit dtypes have no such fill, whatever torch.iinfo says of them.
_VALUED = (
    *(torch.bool, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
_PROGRAM_SUFFIXES = (".pt2", ".pt", ".pth", ".ts", ".torchscript")
_OUTPUT_LAYERS = ("output", "log_softmax")


@dataclass(frozen=True)
class Request:
    """A model and what to count it for.

    Attributes:
        name: what the user typed.
        program: the model.
        samples: samples of audio, None for models with explicit shapes.
        inputs: example tensors, positional or by name; on the meta device, those with values on the CPU.
        input: the same for the report.
        strict: raise on operators without a formula.
    """

    name: str
    program: Callable[..., Any] | OnnxFile
    samples: int | None
    inputs: tuple[torch.Tensor, ...] | dict[str, torch.Tensor]
    input: CountedInput
    strict: bool


def make_request(model: str, choice: InputChoice, *, strict: bool) -> Request:
    """Load the model and make its inputs.

    Raises:
        InputError: naming the option, the file or the model that is wrong.
    """
    if choice.shapes:
        inputs = _inputs(choice.shapes)
        tensors = inputs if isinstance(inputs, tuple) else tuple(inputs.values())
        described = CountedInput(None, None, None, tuple(tuple(tensor.shape) for tensor in tensors))
        return Request(model, find_model(model), None, inputs, described, strict)
    program = find_model(model)
    if not choice.given and isinstance(program, OnnxFile) and program.fixed_inputs is not None:
        fixed = program.fixed_inputs
        tensors = tuple(torch.empty(sizes, device="meta") for sizes in fixed)
        return Request(model, program, None, tensors, CountedInput(None, None, None, fixed), strict)
    batch = choice.batch or 1
    samples, length, frames = _audio_length(choice)
    if batch * 161 * frames > _MOST_ELEMENTS:
        raise OptionError(f"{batch} x 161 x {frames} is more than a tensor can hold; give a shorter or smaller input")
    features = torch.empty((batch, 161, frames), device="meta")
    lengths = torch.full((batch,), frames, dtype=torch.int64)
    described = CountedInput(length, frames, batch, ((batch, 161, frames), (batch,)))
    return Request(model, program, samples, (features, lengths), described, strict)


def _audio_length(choice: InputChoice) -> tuple[int, float, int]:
    """Samples, seconds and frames of the utterance."""
    if choice.frames is not None:
        samples = WINDOW_SAMPLES + HOP_SAMPLES * (choice.frames - 1)
        return samples, samples / SAMPLE_RATE, choice.frames
    if choice.audio is not None:
        from deepspeech2.speech.audio import load_audio

        samples = load_audio(choice.audio).size
        length = samples / SAMPLE_RATE
    else:
        length = _DEFAULT_SECONDS if choice.seconds is None else choice.seconds
        samples = round(length * SAMPLE_RATE)
    if samples < WINDOW_SAMPLES:
        what = choice.audio or f"--seconds {length:g}"
        raise OptionError(
            f"{what}: {samples} samples are shorter than one window of {WINDOW_SAMPLES} samples "
            f"({1000 * WINDOW_SAMPLES / SAMPLE_RATE:g} ms); give longer audio"
        )
    return samples, length, (samples - WINDOW_SAMPLES) // HOP_SAMPLES + 1


def _inputs(shapes: tuple[str, ...]) -> tuple[torch.Tensor, ...] | dict[str, torch.Tensor]:
    """Positional tensors, or named ones where every shape has a name."""
    pairs = [_tensor(text) for text in shapes]
    names = [name for name, _ in pairs if name]
    if not names:
        return tuple(tensor for _, tensor in pairs)
    if len(set(names)) < len(pairs):
        raise OptionError(f"--shape: name every input once, or none; found {' '.join(shapes)}")
    return {name: tensor for name, tensor in pairs if name}


def _tensor(text: str) -> tuple[str | None, torch.Tensor]:
    """Name and tensor of `[name=]sizes[:dtype[=value]]`; on the CPU and of that value, or on the meta device."""
    match = _SHAPE.match(text.strip())
    dtype = getattr(torch, match[3] or "float32", None) if match else None
    if match is None or not isinstance(dtype, torch.dtype):
        raise OptionError(
            "--shape: expected sizes, with a dtype, a value and a name where needed, as in 1,80,3000 or 4:int64=300 or "
            f"input_ids=1,40:int64; found {text!r}"
        )
    sizes = [int(size) for size in match[2].split(",")] if match[2] else []
    if prod(sizes) > _MOST_ELEMENTS:
        raise OptionError(f"--shape: {text} is more than a tensor can hold")
    if match[4] is None:
        return match[1], torch.empty(sizes, dtype=dtype, device="meta")
    return match[1], _filled(text, sizes, dtype, int(match[4]))


def _filled(text: str, sizes: list[int], dtype: torch.dtype, value: int) -> torch.Tensor:
    """A tensor of one value: lengths, positions or a mask that decide what a program computes."""
    if dtype.is_floating_point or dtype.is_complex:
        raise OptionError(f"--shape: a value is for integers and bool, and that of {text} decides no count")
    if dtype not in _VALUED:
        names = ", ".join(_name_of(one) for one in _VALUED)
        raise OptionError(f"--shape: a value is for {names}; torch fills no {_name_of(dtype)}, found {text}")
    if prod(sizes) > _MOST_VALUES:
        raise OptionError(f"--shape: values of at most {_MOST_VALUES:,} elements are read; leave out that of {text}")
    least, most = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    if not least <= value <= most:
        raise OptionError(f"--shape: expected a value from {least} to {most} in {text}")
    return torch.full(sizes, value, dtype=dtype)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def find_model(name: str) -> Callable[..., Any] | OnnxFile:
    """A preset without weights in memory, a model from a file, or what a factory makes.

    Raises:
        OptionError: neither a preset nor a file; names the nearest preset.
        CheckpointError: the file is no model that can be counted.
    """
    check_model_name(name)
    path = Path(name)
    if name in PRESETS:
        from deepspeech2.speech.build import build_model

        return build_model(name, device="meta")
    if name in PRETRAINED:
        path = PRETRAINED[name].model
    if not path.exists():
        return make_model(name)
    configuration = configuration_of(path)
    if configuration is not None:
        return build_configured(configuration)
    if path.suffix == ".onnx":
        return OnnxFile.read(path)
    if path.is_file() and is_torch_archive(path):
        return load_program(path)
    if path.is_file() and path.suffix in _PROGRAM_SUFFIXES:
        raise CheckpointError(f"{path}: expected a .pt2 export or TorchScript, found {_found_instead(path)}")
    if path.suffix == ".py":
        raise CheckpointError(f"{path}: a Python file; name what makes the model in it, as in {path.stem}:make_model")
    from deepspeech2.speech.checkpoints import load_model

    return load_model(path)


def _found_instead(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        return "an empty file"
    if start == b"PK":
        return "a truncated or damaged archive"
    if start[:1] == b"\x80":
        return "a pickle, which is never opened; export the module with torch.export or torch.jit"
    return "no archive"


def count_model(request: Request, view: View, training: tuple[str, int | None] | None) -> Report:
    """Count a request; `training` is the optimiser and the number of labels of an utterance."""
    counting: Callable[..., Any] = partial(count, strict=request.strict)
    if isinstance(request.program, OnnxFile):
        if training is not None:
            raise OptionError(f"--training needs a torch module, and {request.name} is an ONNX graph of one pass")
        counting = partial(OnnxFile.count, strict=request.strict)
    if training is not None:
        counting = _training_counter(request, *training)
    with _values_explained(request):
        tally, shapes = _with_fitting_inputs(request, counting)
    is_speech = isinstance(request.program, DeepSpeech2)
    features = {}
    if is_speech and request.samples is not None:
        steps = feature_operations(request.samples)
        features = {name: operations * (request.input.batch or 1) for name, operations in steps.items()}
    return Report(
        model=request.name,
        input=replace(request.input, shapes=shapes),
        tally=tally,
        convention=view.convention,
        depth=view.depth,
        hardware=view.hardware,
        features=features,
        output_layers=_OUTPUT_LAYERS if is_speech else (),
    )


@contextmanager
def _values_explained(request: Request, *, in_formula: bool = False) -> Iterator[None]:
    """Say how an input gets a value at the command line, where a program asked for one and an input has none."""
    try:
        yield
    except DataDependentError as error:
        named = [*request.inputs.items()] if isinstance(request.inputs, dict) else [(None, x) for x in request.inputs]
        if in_formula and any(not tensor.is_meta for _, tensor in named):
            raise DataDependentError(
                f"{error}; a formula is of any batch, which has no values: count this program without --formula"
            ) from error
        for name, tensor in named:
            if tensor.is_meta and tensor.dtype in _VALUED:
                sizes = ",".join(map(str, tensor.shape))
                shape = f"{f'{name}=' if name else ''}{sizes}:{_name_of(tensor.dtype)}"
                raise DataDependentError(f"{error}; here, give the input a value: --shape {shape}=VALUE") from error
        raise


def _training_counter(request: Request, optimiser: str, label_length: int | None) -> Callable[..., Any]:
    if not isinstance(request.program, torch.nn.Module):
        raise OptionError(f"--training needs a module with parameters, and {request.name} has none")
    if not isinstance(request.program, DeepSpeech2):
        if label_length is not None:
            raise OptionError(
                f"--label-length is of the CTC loss of a DeepSpeech2, and {request.name} is counted without a loss; "
                "leave it out"
            )
        return partial(count_training, optimiser=optimiser, strict=request.strict)
    from deepspeech2.speech.ctc_loss import ctc_losses

    steps = request.program.options.output_frames(request.input.frames)
    labels = label_length
    if labels is None:
        labels = min(steps, max(1, round(_LABELS_PER_SECOND * (request.input.seconds or 1.0))))
    if not 1 <= labels <= steps:
        raise OptionError(f"--label-length must be from 1 to {steps}, the frames of the output; found {labels}")
    batch = request.input.batch or 1
    targets = torch.zeros((batch, labels), dtype=torch.int64)
    lengths = torch.full((batch,), labels)

    def loss(results: Any) -> torch.Tensor:
        log_probs, output_frames = results
        return ctc_losses(log_probs, output_frames, targets, lengths).sum()

    return partial(count_training, loss=loss, optimiser=optimiser, strict=request.strict)


def _with_fitting_inputs(request: Request, counting: Callable[..., Any]) -> tuple[Tally, tuple[tuple[int, ...], ...]]:
    """Count with features and frames, or with features alone for a program that takes only them; and the shapes."""
    try:
        return counting(request.program, request.inputs), request.input.shapes
    except InputError as error:
        if isinstance(request.program, DeepSpeech2) or request.samples is None or isinstance(request.inputs, dict):
            raise
        try:
            return counting(request.program, request.inputs[:1]), request.input.shapes[:1]
        except InputError:
            raise InputError(
                f"{request.name} does not take spectrograms of shape {request.input.shapes[0]}; "
                f"name its inputs with --shape ({error})"
            ) from error


def count_formula(request: Request) -> ClosedForm:
    """The closed formula of a request in batch and time."""
    if isinstance(request.program, OnnxFile):
        return request.program.formula(request.inputs if request.samples is None else None, strict=request.strict)
    inputs = request.inputs
    if request.samples is None:
        with _values_explained(request, in_formula=True):
            return _formula_of_shapes(request.program, request)
    if isinstance(request.program, DeepSpeech2):
        # The formula is the same whatever the example; one that is short would hide the time axis among small sizes.
        frames = max(_FORMULA_FRAMES, request.input.frames or 0)
        batch = request.input.batch or 1
        inputs = (torch.empty((batch, 161, frames), device="meta"), torch.full((batch,), frames))
    symbolic = {"batch": 0, "time": [(0, 2)]}
    return count(request.program, inputs, symbolic=symbolic, strict=request.strict)


def _formula_of_shapes(program: Callable[..., Any], request: Request) -> ClosedForm:
    """In the first axis, `batch`, and the longest other one that gives a formula, `time`; or in the first alone."""
    inputs = request.inputs
    first = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0]
    if first.dim() > 1:
        try:
            return count(program, inputs, symbolic={"batch": ..., "time": ...}, strict=request.strict)
        except (ClosedFormError, InputError) as error:
            try:
                return count(program, inputs, symbolic={"batch": ...}, strict=request.strict)
            except (ClosedFormError, InputError):
                raise error from None
    return count(program, inputs, symbolic={"batch": ...}, strict=request.strict)
