"""Programs that arrive as files: exported programs and TorchScript."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from deepspeech2.errors import CheckpointError

# Whoever loads an export logs through these: of file names, and of what went wrong with a traceback.
_EXPORT_LOGS = ("torch.export", "torch.export.pt2_archive._package")


def is_torch_archive(path: Path) -> bool:
    """Whether a file is a zip archive of torch's: a `.pt2` export or TorchScript."""
    return zipfile.is_zipfile(path)


def kind_of(names: Iterable[str]) -> Literal["export", "script", "other"]:
    """What an archive holds, by the members torch itself writes; code, weights and files beside it have any name.

    Args:
        names: all members, with their paths.
    """
    members = set(names)
    if "serialized_exported_program.json" in members:  # as torch wrote exports up to 2.7
        return "export"
    # Everything else of torch's lies in one folder, named after the file it was saved to.
    within = {name.partition("/")[2] for name in members}
    if "archive_format" in within and any(name.startswith("models/") and name.endswith(".json") for name in within):
        return "export"
    return "script" if "constants.pkl" in within else "other"


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
    kind = kind_of(names)
    causes: list[BaseException] = []
    try:
        if kind == "export":
            with _heard_export_logs(causes), path.open("rb") as file:
                return _tied(torch.export.load(file).module())
        if kind == "script":
            with warnings.catch_warnings():
                # TorchScript is deprecated, and files of it exist all the same.
                warnings.simplefilter("ignore", DeprecationWarning)
                return torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-any-return]
    except Exception as error:  # torch raises many kinds on a damaged archive
        reason = _first_line(causes[-1] if causes else error)
        raise CheckpointError(f"{path}: cannot be loaded as an exported program or TorchScript ({reason})") from error
    found = sorted({name.partition("/")[2] or name for name in names})
    raise CheckpointError(
        f"{path}: expected a .pt2 export or TorchScript, found another archive ({', '.join(found[:3])}); "
        "a module saved whole with torch.save is a pickle and is not opened: export it with torch.export.save"
    )


def _tied(program: torch.nn.Module) -> torch.nn.Module:
    """The program, with one parameter for each weight again: a file gives every name of a weight one of its own."""
    first: dict[Any, torch.nn.Parameter] = {}
    for module in program.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.numel():
                place = weight.data_ptr(), weight.dtype, weight.shape, weight.stride()
                setattr(module, name, first.setdefault(place, weight))
    return program


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _heard_export_logs(causes: list[BaseException]) -> Iterator[None]:
    """Keep what torch logs off the terminal, and keep the errors it logs in place of raising them."""

    def hear(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            causes.append(record.exc_info[1])
        return False

    logs = [logging.getLogger(name) for name in _EXPORT_LOGS]
    for log in logs:
        log.addFilter(hear)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(hear)
