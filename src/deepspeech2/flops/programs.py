"""Programs that arrive as files: exported programs and TorchScript."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from deepspeech2.errors import CheckpointError


def is_torch_archive(path: Path) -> bool:
    """Whether a file is a zip archive of torch's: a `.pt2` export or TorchScript."""
    return zipfile.is_zipfile(path)


def load_program(path: Path) -> Callable[..., Any]:
    """Load a `.pt2` export or a TorchScript file as a callable, on the CPU.

    TorchScript and exported graphs are programs: they are run (on fake tensors) when they are counted. Neither needs
    pickled Python objects; a pickled module (`torch.save(model)`) is refused.

    Raises:
        CheckpointError: the file is neither, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: expected a .pt2 export or a TorchScript file, found a damaged archive"
        ) from error
    suffixes = {name.partition("/")[2] or name for name in names}
    try:
        if any("models/" in name or name.endswith("serialized_exported_program.json") for name in names):
            return torch.export.load(path).module()
        if "constants.pkl" in suffixes:
            with warnings.catch_warnings():
                # TorchScript is deprecated, and files of it exist all the same.
                warnings.simplefilter("ignore", DeprecationWarning)
                return torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-any-return]
    except Exception as error:  # torch raises many kinds on a damaged archive
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path}: cannot be loaded as an exported program or TorchScript ({reason})") from error
    raise CheckpointError(
        f"{path}: expected a .pt2 export or TorchScript, found another archive ({', '.join(sorted(suffixes)[:3])}); "
        "a module saved whole with torch.save is a pickle and is not opened: export it with torch.export.save"
    )
