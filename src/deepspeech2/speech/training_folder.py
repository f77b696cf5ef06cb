"""The folder of a training: what is in it, and whether a training may begin or go on there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

from deepspeech2.errors import OptionError
from deepspeech2.speech.single_writer import single_writer
from deepspeech2.speech.training_log import LOG_FILE, read_log

STATE_FILE = "training-state.safetensors"
_LOCK_FILE = ".training.lock"
_MODEL = re.compile(r"(latest|best|average|epoch-\d+)\.safetensors")
_MODELS_BEFORE_A_STATE = {"latest.safetensors", "best.safetensors", "epoch-001.safetensors"}


def model_path(folder: Path, name: str) -> Path:
    """Where a training keeps a model: ``latest``, ``best``, ``average`` or the name of an epoch."""
    return folder / f"{name}.safetensors"


def epoch_name(epoch: int) -> str:
    """The name of the model after an epoch that is counted from 0: ``epoch-001`` for the first."""
    return f"epoch-{epoch + 1:03d}"


class Standing(IntEnum):
    """What a folder has of a training; numbers, so that one process can tell the others."""

    EMPTY = 0
    """Nothing."""
    BEGUN = 1
    """One that ended before it had saved its first state: there is nothing to go on with, and nothing is lost."""
    SAVED = 2
    """A state to go on from."""
    STATELESS = 3
    """Models or finished epochs of one whose state is gone: it cannot go on, and another would write over them."""
    TAKEN = 4
    """Another training that is at work there now."""


@contextmanager
def entered(folder: Path) -> Iterator[Standing]:
    """Keep other trainings out of a folder while a block runs; the folder is made, and goes again if it stays empty.

    Yields:
        What it has of a training; if that is `Standing.TAKEN`, the block is the one to keep out.

    Raises:
        OptionError: The folder cannot be written, or the log in it cannot be read.
    """
    made = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "it is a link that leads nowhere" if folder.is_symlink() else error.strerror
        raise OptionError(f"{folder}: cannot be written: {what}") from error
    try:
        with single_writer(folder / _LOCK_FILE) as alone:
            yield standing_of(folder) if alone else Standing.TAKEN
    finally:
        for place in made:
            with suppress(OSError):  # there is something in it
                place.rmdir()


def standing_of(folder: Path) -> Standing:
    """What a folder has of a training.

    A training writes the models of its first epoch before the state that says so; its log names an epoch only after
    that state.

    Raises:
        OptionError: The log is there and cannot be read.
    """
    if (folder / STATE_FILE).exists():
        return Standing.SAVED
    models = {path.name for path in folder.glob("*.safetensors") if _MODEL.fullmatch(path.name)}
    logged = (folder / LOG_FILE).is_file()
    if not models and not logged:
        return Standing.EMPTY
    finished = any("kind" in line.record for line in read_log(folder / LOG_FILE).lines)
    return Standing.BEGUN if logged and not finished and models <= _MODELS_BEFORE_A_STATE else Standing.STATELESS


def refuse_overwriting(folder: Path, standing: Standing, *, resume: bool) -> None:
    """Refuse to train in a folder that has what would be written over.

    Args:
        folder: The folder.
        standing: What the leading process found in it.
        resume: Whether a training there may go on, or begin anew where it has saved no state yet.

    Raises:
        OptionError: Saying what is there and what to do.
    """
    if standing is Standing.TAKEN:
        raise OptionError(f"{folder}: another ds2 train is at work there; wait for it to end, or choose another folder")
    if standing is Standing.STATELESS:
        raise OptionError(
            f"{folder} holds models or a log of a training but not its {STATE_FILE}, so that it cannot go on and "
            "would be written over; choose another folder, or move them away"
        )
    if standing is Standing.SAVED and not resume:
        raise OptionError(f"{folder} holds a training; add --resume to go on with it, or choose another folder")
    if standing is Standing.BEGUN and not resume:
        raise OptionError(
            f"{folder} holds a training that ended before its first state; add --resume to begin it anew, or choose "
            "another folder"
        )
