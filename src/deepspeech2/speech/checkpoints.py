"""Saving and loading networks: the package's own checkpoints, and a door to those Baidu published.

The own format is one `.safetensors` file: the weights under the names of the module's state dict, the normaliser as
`normalizer.mean` and `normalizer.std`, and one metadata entry `deepspeech2` with the configuration as JSON. Nothing in
it, nor in the older formats, is ever unpickled.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from deepspeech2.errors import CheckpointError, InputError, OptionError, VocabularyError
from deepspeech2.files import replacement
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.legacy_fluid import looks_like_fluid, read_fluid
from deepspeech2.speech.legacy_v2 import read_v2
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.options import ENGLISH_LABELS, NetworkOptions, check_labels
from deepspeech2.speech.pretrained import PRETRAINED, choose_pretrained

if TYPE_CHECKING:
    from collections.abc import Iterator

CheckpointKind = Literal["safetensors", "Baidu v2", "Baidu fluid"]

_METADATA_KEY = "deepspeech2"
_VERSION = 1
_HEADER_LIMIT = 4 << 20
_LARGEST_SIZE = 1 << 24
_FOLDER_FILES = ("params.pdparams", "params.tar.gz", "model.safetensors")
_PICKLE = 0x80
_NORMALIZER = "normalizer."
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


class _Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    options: NetworkOptions
    labels: tuple[str, ...] | None


def save_model(model: DeepSpeech2, path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
    """Write a network, its labels and its normaliser into one `.safetensors` file.

    The file appears complete or not at all. The same model gives the same bytes.

    Args:
        model: The network, on any device.
        path: Where to write; an existing file is replaced.
        dtype: How weights are stored: float32, or float16 or bfloat16 at half the size. Running statistics and
            the normaliser stay float32.

    Raises:
        CheckpointError: The file cannot be written, the model has no weights (it is on the meta device), or `dtype` is
            another type.

    Example:
        >>> from deepspeech2 import build_model
        >>> save_model(build_model(seed=0), "fresh.safetensors", dtype=torch.float16)  # doctest: +SKIP
    """
    if dtype not in _FLOATS:
        raise CheckpointError(f"expected weights stored as float32, float16 or bfloat16, found {dtype}")
    if any(value.is_meta for value in model.state_dict().values()):
        raise CheckpointError("expected a model with weights, found one on the meta device")
    weights = {name for name, _ in model.named_parameters()}
    tensors = {
        name: value.detach().to("cpu", dtype if name in weights else torch.float32).contiguous()
        for name, value in model.state_dict().items()
    }
    if model.normalizer is not None:
        tensors[_NORMALIZER + "mean"] = torch.from_numpy(model.normalizer.mean)
        tensors[_NORMALIZER + "std"] = torch.from_numpy(model.normalizer.std)
    configuration = msgspec.json.encode(_Configuration(_VERSION, model.options, model.labels)).decode()
    try:
        with replacement(path) as partial:
            save_file(tensors, partial, {_METADATA_KEY: configuration})
    except (OSError, OptionError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be written ({_one_line(error)})") from error


def load_model(
    path: str | os.PathLike[str],
    *,
    normalizer: Normalizer | str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
) -> DeepSpeech2:
    """Load a network from the package's own checkpoint, or from one of Baidu's; the content decides which it is.

    Architecture and sizes are read from the file: of Baidu's v2 `params.tar.gz` from the names and sizes inside, of
    the fluid release's `params.pdparams` (or the folder that holds it) from the shapes inside.

    Args:
        path: The file, or a folder with a `params.pdparams`, `params.tar.gz` or `model.safetensors`; or the name of
            a model of the package, ``small``, which comes before a file called so in the current folder.
        normalizer: Per-bin mean and deviation to carry along, or an ``.npz`` of them (`mean_std.npz`, which Baidu
            ships beside its files); replaces what the checkpoint holds.
        labels: Output symbols without the blank, replacing what the checkpoint holds. Baidu's files hold none:
            with 28 outputs they are taken to be those of the published English models.

    Returns:
        The network in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, of another kind, or holds values that are not finite.
        VocabularyError: The labels do not fit the network.

    Example:
        >>> model = load_model("small")
        >>> model.options.vocab_size, model.normalizer is not None
        (28, True)
    """
    file = _find_file(path)
    with _naming(file):
        kind = checkpoint_kind(file)
        if kind == "safetensors":
            options, state, own_labels, own_normalizer = _read_own(file)
        else:
            options, state = read_v2(file) if kind == "Baidu v2" else read_fluid(file)
            own_labels = ENGLISH_LABELS if options.vocab_size == len(ENGLISH_LABELS) else None
            own_normalizer = None
        model = _assemble(options, state)
    model.labels = own_labels if labels is None else tuple(labels)
    check_labels(model.labels, options.vocab_size)
    if isinstance(normalizer, (str, os.PathLike)):
        normalizer = Normalizer.load(normalizer)
    model.normalizer = own_normalizer if normalizer is None else normalizer
    _check_normalizer(model)
    return model.eval()


def checkpoint_kind(path: str | os.PathLike[str]) -> CheckpointKind:
    """Tell from its first bytes what kind of checkpoint a file is (or a folder, or a model of the package holds).

    Raises:
        CheckpointError: It is missing, or none that is known.
    """
    file = _find_file(path)
    try:
        with file.open("rb") as opened:
            start = opened.read(512)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({_one_line(error)})") from error
    if start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar" or start.startswith(b"___"):
        return "Baidu v2"
    if looks_like_fluid(start):
        return "Baidu fluid"
    if start[8:9] == b"{":
        return "safetensors"
    if not start:
        raise CheckpointError(f"{file}: the file is empty")
    hint = "; pickled files (.pt, .pth, .ckpt) are never opened" if start[:2] == b"PK" or start[0] == _PICKLE else ""
    raise CheckpointError(
        f"{file}: not a checkpoint: expected a .safetensors of this package, or Baidu's params.tar.gz or "
        f"params.pdparams{hint}"
    )


def _find_file(given: str | os.PathLike[str]) -> Path:
    try:
        shipped = choose_pretrained(given)
    except OptionError:
        models = ", ".join(PRETRAINED)
        raise CheckpointError(
            f"{given}: no such file; expected a checkpoint, or a model of the package: {models}"
        ) from None
    path = shipped.model if shipped else Path(given)
    if path.is_dir():
        for name in _FOLDER_FILES:
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"{path}: expected a folder with one of {', '.join(_FOLDER_FILES)}, found none of them")
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a checkpoint, found no regular file")
    return path


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except (CheckpointError, VocabularyError) as error:
        text = str(error)
        raise CheckpointError(text if text.startswith(str(file)) else f"{file}: {text}") from error


def _read_own(file: Path) -> tuple[NetworkOptions, dict[str, Tensor], tuple[str, ...] | None, Normalizer | None]:
    # The length of the header comes first: refuse a monstrous one before anything parses it.
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
    if length > min(_HEADER_LIMIT, file.stat().st_size - 8):
        raise CheckpointError(f"damaged or truncated: its header announces {length} bytes")
    try:
        with safe_open(file, "pt") as tensors:
            names = list(tensors.keys())
            configuration = _configuration((tensors.metadata() or {}).get(_METADATA_KEY), len(names))
            state = {name: tensors.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"damaged or truncated ({_one_line(error)})") from error
    for name, value in state.items():
        if value.dtype not in _FLOATS:
            raise CheckpointError(f"{name}: expected float32, float16 or bfloat16 values, found {value.dtype}")
        state[name] = value.float()
    labels = configuration.labels
    check_labels(labels, configuration.options.vocab_size)
    normalizer = None
    if _NORMALIZER + "mean" in state and _NORMALIZER + "std" in state:
        mean, std = (state.pop(_NORMALIZER + part).numpy() for part in ("mean", "std"))
        try:
            normalizer = Normalizer(mean, std)
        except InputError as error:
            raise CheckpointError(str(error)) from error
    return configuration.options, state, labels, normalizer


def _configuration(text: str | None, tensors: int) -> _Configuration:
    if text is None:
        raise CheckpointError("a .safetensors of another program: it has no deepspeech2 configuration")
    try:
        found = msgspec.json.decode(text, type=_Configuration)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CheckpointError(f"its configuration is damaged: {_one_line(error)}") from error
    if found.version != _VERSION:
        raise CheckpointError(
            f"expected configuration version {_VERSION}, found {found.version}; a newer release wrote it"
        )
    options = found.options
    sizes = [options.vocab_size, options.recurrent_size, options.frequencies]
    for convolution in options.convolutions:
        sizes += [convolution.channels, *convolution.kernel, *convolution.stride]
    if max(sizes) > _LARGEST_SIZE or max(options.recurrent_layers, len(options.convolutions)) > tensors:
        raise CheckpointError("its configuration announces an absurd network, larger than its tensors")
    return found


def _assemble(options: NetworkOptions, state: dict[str, Tensor]) -> DeepSpeech2:
    try:
        with torch.device("meta"):
            model = DeepSpeech2(options)
    except RuntimeError as error:  # sizes whose product no tensor can have
        raise CheckpointError(f"announces an impossible network ({_one_line(error)})") from error
    expected = {name: value.shape for name, value in model.state_dict().items()}
    for name in sorted(expected.keys() | state.keys()):
        wanted, found = expected.get(name), state[name].shape if name in state else None
        if wanted != found:
            describe = ["none" if shape is None else str(tuple(shape)) for shape in (wanted, found)]
            raise CheckpointError(f"{name}: expected a tensor of shape {describe[0]}, found {describe[1]}")
    for name, value in state.items():
        bad = value.numel() - int(torch.isfinite(value).sum())
        if bad:
            raise CheckpointError(f"{name}: {bad} of {value.numel()} values are not finite numbers")
        if name.endswith("running_var") and bool((value < 0).any()):
            raise CheckpointError(f"{name}: expected variances, found {float(value.min()):g}")
    model.load_state_dict(state, assign=True)
    return model


def _check_normalizer(model: DeepSpeech2) -> None:
    if model.normalizer is not None and len(model.normalizer.mean) != model.options.frequencies:
        raise CheckpointError(
            f"normalizer: expected {model.options.frequencies} frequency bins, found {len(model.normalizer.mean)}"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
