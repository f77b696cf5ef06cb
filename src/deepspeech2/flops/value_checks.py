"""Functions that read values only to check them, or where shapes tell what they need: spelled out without the reading.

Torch refuses a negative variance or a window that vanishes, and asks for values to do so. A count knows no values, so
what such a function computes is written here once more, its check computed and not looked at.
"""

from __future__ import annotations

import inspect
from math import log, pi
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

from deepspeech2.errors import DataDependentError
from deepspeech2.flops.functions import register_function
from deepspeech2.flops.known_values import known_integers
from deepspeech2.flops.operators.linear_algebra import least_squares
from deepspeech2.flops.recorder import Recorder, call_site, specification
from deepspeech2.flops.registry import Call
from deepspeech2.flops.whole import SizeOf


def _named(example: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SimpleNamespace:
    """The arguments of a call by the names of a function with the same signature."""
    bound = inspect.signature(example).bind(*args, **kwargs)
    bound.apply_defaults()
    return SimpleNamespace(**bound.arguments)


@register_function(functional.gaussian_nll_loss)
def _gaussian_loss(_recorder: Recorder, _read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Half of log(variance) + (x - target)^2 / variance, the variance bounded from below."""
    call = _named(functional.gaussian_nll_loss, args, kwargs)
    variance = call.var if isinstance(call.var, torch.Tensor) else torch.full_like(call.input, call.var)
    if variance.dim() == call.input.dim() - 1 and variance.shape == call.input.shape[:-1]:
        variance = variance.unsqueeze(-1)
    torch.any(variance < 0)  # torch refuses these
    variance = variance.clone()
    with torch.no_grad():
        variance.clamp_(min=call.eps)
    loss = 0.5 * (torch.log(variance) + (call.input - call.target) ** 2 / variance)
    if call.full:
        loss = loss + 0.5 * log(2 * pi)
    if call.reduction == "none":
        return loss
    return loss.mean() if call.reduction == "mean" else loss.sum()


@register_function(torch.istft, torch.Tensor.istft, torch._C._VariableFunctions.istft)
def _inverse_stft(_recorder: Recorder, _read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Frames back to time, times the window, added where they overlap, over the sum of the squared windows."""
    schema = torch.ops.aten.istft.default._schema.arguments
    given = {argument.name: argument.default_value for argument in schema}
    given.update(zip(given, args, strict=False))
    call = SimpleNamespace(**{**given, **kwargs})
    spectra = given["self"] if given["self"] is not None else kwargs["input"]
    size, hop = call.n_fft, call.hop_length or call.n_fft // 4
    width = call.win_length or size
    window = call.window if call.window is not None else torch.ones(width)
    if width != size:
        before = (size - width) // 2
        window = functional.pad(window, (before, size - width - before))
    spectrum = spectra if spectra.dim() == 3 else spectra.unsqueeze(0)
    norm = "ortho" if call.normalized else None
    onesided = spectrum.shape[1] != size if call.onesided is None else call.onesided
    frames = spectrum.transpose(1, 2)
    if call.return_complex:
        frames = torch.fft.ifft(frames, norm=norm)
    else:
        frames = torch.fft.irfft(frames if onesided else frames[..., : size // 2 + 1], n=size, norm=norm)
    whole = size + hop * (frames.shape[1] - 1)
    signal = torch.ops.aten.unfold_backward(frames * window, [frames.shape[0], whole], 1, size, hop)
    squares = window.square().expand(1, frames.shape[1], size)
    envelope = torch.ops.aten.unfold_backward(squares, [1, whole], 1, size, hop)
    start = size // 2 if call.center else 0
    end = start + call.length if call.length is not None else whole - start
    signal, envelope = signal[:, start:end], envelope[:, start:end]
    envelope.abs().min() < 1e-11  # torch refuses these  # noqa: B015
    signal = signal / envelope
    if end > whole:
        signal = functional.pad(signal, (0, end - whole))
    return signal if spectra.dim() == 3 else signal.squeeze(0)


@register_function(torch.linalg.lstsq)
def _least_squares(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Full rank is taken for granted; the residuals, which exist or not by the rank, are left out."""
    call = _named(lambda A, B, rcond=None, *, driver=None, out=None: None, args, kwargs)
    matrix, right = call.A, call.B
    vector = right.dim() == 1 or (right.dim() == matrix.dim() - 1 and right.shape == matrix.shape[:-1])
    with recorder.silence():
        columns = () if vector else (right.shape[-1],)
        solution = right.new_empty((*matrix.shape[:-2], matrix.shape[-1], *columns))
        rank = torch.empty(matrix.shape[:-2], dtype=torch.int64)
        rest = [right.new_empty(0), rank, right.new_empty(0)]
    specified = {name: specification(value, read_size) for name, value in (("self", matrix), ("b", right))}
    outputs = (specification(solution, read_size),)
    recorder.record(Call("aten::linalg_lstsq", specified, outputs), rule=least_squares)
    if torch.is_grad_enabled() and (matrix.requires_grad or right.requires_grad):
        solution = _Solution.apply(matrix, right, solution, vector)  # type: ignore[no-untyped-call]
    return torch.return_types.linalg_lstsq((solution, *rest))  # type: ignore[attr-defined]


class _Solution(torch.autograd.Function):
    """The gradient of a least-squares solution X of A X = B, as torch has it: by the pseudo-inverse P of A."""

    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor, right: torch.Tensor, solution: torch.Tensor, vector: bool) -> Any:
        """The solution, counted before."""
        ctx.save_for_backward(matrix, right)
        ctx.vector = vector
        return solution.view_as(solution)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """P* G for B; for A the gradient G B* of P, through P."""
        matrix, right = ctx.saved_tensors
        wanted = gradients[0].unsqueeze(-1) if ctx.vector else gradients[0]
        right = right.unsqueeze(-1) if ctx.vector else right
        with torch.enable_grad():
            leaf = matrix.detach().requires_grad_(ctx.needs_input_grad[0])
            inverse = torch.linalg.pinv(leaf)
        of_right = inverse.detach().mH @ wanted if ctx.needs_input_grad[1] else None
        of_matrix = None
        if ctx.needs_input_grad[0]:
            (of_matrix,) = torch.autograd.grad(inverse, leaf, wanted @ right.mH)
        return of_matrix, of_right if of_right is None or not ctx.vector else of_right.squeeze(-1), None, None


@register_function(torch.tensor_split, torch.Tensor.tensor_split)
def _tensor_split(_recorder: Recorder, _read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Places given by a tensor, read where they are known."""
    tensor, places, *rest = args if len(args) > 1 else (*args, kwargs.pop("tensor_indices_or_sections", None))
    if not isinstance(places, torch.Tensor):
        return torch.tensor_split(*args, **kwargs)
    values = known_integers(places)
    if values is None:
        raise DataDependentError(f"splitting a tensor needs the places, and they are computed ({call_site()})")
    return torch.tensor_split(tensor, values if places.dim() else values[0], *rest, **kwargs)


@register_function(functional.linear_cross_entropy)
def _linear_cross_entropy(
    _recorder: Recorder, _read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """In one piece, which computes what several would."""
    return functional.linear_cross_entropy(*args, **{**kwargs, "options": None})
