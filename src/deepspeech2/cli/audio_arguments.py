"""What the arguments of `ds2 transcribe` and `ds2 evaluate` stand for: audio files, manifests, standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepspeech2.speech.recognizer import Source

MANIFESTS = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")


@dataclass(frozen=True, slots=True)
class AudioArguments:
    """What is to be transcribed.

    Attributes:
        sources: Every piece of audio, in the order given.
        files: The files named, audio and manifests; not standard input.
        holds_manifest: Whether a manifest is among them.
    """

    sources: list[Source]
    files: list[Path]
    holds_manifest: bool


def audio_arguments(arguments: Sequence[str], *, stdin_allowed: bool) -> AudioArguments:
    """Find out what was named: standard input is ``-``; a file that begins with a dash has a folder before it.

    Args:
        arguments: As they were written: a `Path` would drop the ``./`` of ``./-a.wav``.
        stdin_allowed: Whether standard input can be read.

    Raises:
        OptionError: There is none, one is an option that is not known, or standard input cannot be read.
        ManifestError: A manifest cannot be read, or a folder is none.
    """
    from deepspeech2.errors import OptionError
    from deepspeech2.speech.data.manifest import manifest_of, read_manifest

    if not arguments:
        raise OptionError("expected audio files, a manifest, or - for standard input, found none")
    unknown = next((text for text in arguments if text.startswith("-") and text != "-"), None)
    if unknown is not None:
        raise OptionError(f"unknown option {unknown}; see ds2 transcribe --help (a file of that name is ./{unknown})")
    if not stdin_allowed and "-" in arguments:
        raise OptionError("standard input cannot be sent to Ray; write it to a file, or use --engine local")
    sources: list[Source] = []
    files = []
    holds_manifest = False
    for text in arguments:
        if text == "-":
            sources.append(_standard_input())
            continue
        path = manifest_of(Path(text))
        files.append(path)
        if _is_manifest(path):
            sources += read_manifest(path, texts=False)
            holds_manifest = True
        else:
            sources.append(path)
    return AudioArguments(sources, files, holds_manifest)


def _is_manifest(path: Path) -> bool:
    """Whether it is a folder, has a manifest's name, or begins as one, such as Baidu's manifest.test.

    No audio begins with a brace.
    """
    import codecs

    if path.name.endswith(MANIFESTS):
        return True
    try:
        if path.is_dir():
            return True
        if path.suffix.lower() in AUDIO or not path.is_file():  # looking into a pipe would take from it
            return False
        with path.open("rb") as file:
            return file.read(64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    except OSError:  # whoever opens it will say why it cannot be
        return False


def _standard_input() -> Source:
    # A pipe cannot seek, and audio headers are read with seeks.
    import io

    from deepspeech2.errors import OptionError

    if sys.stdin is None:
        raise OptionError("standard input is closed; pipe audio into it, or name a file")
    data = io.BytesIO(sys.stdin.buffer.read())
    data.name = "standard input"
    return data
