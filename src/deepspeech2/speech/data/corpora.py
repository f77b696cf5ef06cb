"""Finding the utterances of corpora in the layouts they are distributed in."""

from __future__ import annotations

import codecs
import os
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from deepspeech2.errors import AudioError, ManifestError
from deepspeech2.printing import utf8
from deepspeech2.speech.data.manifest import Utterance, probe_seconds

TABLE_SUFFIXES = (".tsv", ".transcription", ".fileids")
"""Tables of Common Voice and AN4, each of which can stand for the part of the corpus it lists."""

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of speech and its transcript as the corpus spells it, before durations are known.

    Attributes:
        audio_path: The audio file.
        text: The transcript; empty where it cannot be read.
        speaker: Who speaks, when the corpus says so.
        text_error: Why the transcript cannot be read, where it is a file of its own.
    """

    audio_path: Path
    text: str
    speaker: str | None = None
    text_error: ManifestError | None = None


def scan_corpus(folder: Path, layout: str = "auto") -> list[FoundFile]:
    """List the utterances of a corpus.

    | layout | recognised by | transcripts |
    |---|---|---|
    | librispeech | ``*.trans.txt`` anywhere below | beside the audio; the first part of a name is the speaker |
    | ljspeech | ``metadata.csv`` and ``wavs/`` | third column (numbers spelled out) |
    | an4 | ``etc/*.transcription`` and ``etc/*.fileids``, or one such table | of the CMU archive with SPHERE files |
    | commonvoice | ``validated.tsv`` or ``train.tsv`` and ``clips/``, or one such table | column ``sentence`` |
    | folder | audio files with ``.txt`` files of the same name | the whole text file |

    A file that has a transcript and is not there is listed all the same, for the check to name it; so is one whose
    ``.txt`` cannot be read. Links to folders are followed, and every folder is looked through once.

    Args:
        folder: The corpus; of Common Voice and AN4 also one of its tables, such as ``train.tsv``.
        layout: One of the names above, or ``auto`` for the first that fits.

    Raises:
        ManifestError: The folder does not exist, the layout is unknown or does not fit, or nothing is found.
    """
    found = sorted(_LAYOUTS[layout_of(folder, layout)][1](folder), key=lambda item: str(item.audio_path))
    if found:
        return found
    raise ManifestError(_nothing_found(folder, layout))


def _nothing_found(folder: Path, layout: str) -> str:
    audio = sum(path.suffix.lower() in AUDIO_SUFFIXES for path in _files_below(folder))
    if not audio or layout_of(folder, layout) != "folder":
        return (
            f"{folder}: no speech found as layout {layout}; expected the layout of {', '.join(_LAYOUTS)} "
            f"with audio in {', '.join(AUDIO_SUFFIXES)}"
        )
    files = "1 audio file" if audio == 1 else f"{audio} audio files"
    manifest = next(iter(sorted(folder.glob("*.jsonl"))), None)
    hint = f"give {manifest} if it is their manifest"
    others = f"beside those, corpora may be {', '.join(name for name in _LAYOUTS if name != 'folder')}"
    return f"{folder}: no transcripts found: {files} without a .txt of the same name; {hint if manifest else others}"


def layout_of(folder: Path, layout: str = "auto") -> str:
    """The layout of a corpus: the first that fits with ``auto``, else the one that is named.

    Raises:
        ManifestError: The folder does not exist or there is no such layout.
    """
    if not folder.is_dir() and folder.suffix not in TABLE_SUFFIXES:
        raise ManifestError(f"{folder}: no such folder; expected a corpus")
    if layout != "auto" and layout not in _LAYOUTS:
        raise ManifestError(f"expected a layout of auto, {', '.join(_LAYOUTS)}, found {layout!r}")
    return next(name for name, (fits, _) in _LAYOUTS.items() if name == layout or (layout == "auto" and fits(folder)))


def tables_of(folder: Path, layout: str = "auto") -> list[Path]:
    """The tables that `scan_corpus` reads where a corpus has one for each of its parts: AN4 and Common Voice.

    Raises:
        ManifestError: As `layout_of`.
    """
    tables = {"an4": _an4_tables, "commonvoice": _commonvoice_tables}.get(layout_of(folder, layout))
    return tables(folder) if tables else []


def with_durations(
    found: Iterable[FoundFile], root: Path
) -> Iterator[tuple[FoundFile, Utterance | AudioError | ManifestError]]:
    """Read the header of each file; an unreadable one comes with its error instead of an utterance.

    So does one whose name is not UTF-8, its path with escapes in place of the bytes that are not, and, with a
    `ManifestError`, one whose transcript cannot be read.
    """
    for item in found:
        where = item.audio_path.relative_to(root).as_posix() if item.audio_path.is_relative_to(root) else ""
        if (name := utf8(item.audio_path)) != str(item.audio_path):
            error = AudioError(f"{name}: the name is not UTF-8, as manifests have to be; rename the file or folder")
            yield replace(item, audio_path=Path(name)), error
            continue
        if item.text_error:
            yield item, item.text_error
            continue
        try:
            seconds = probe_seconds(item.audio_path)
        except AudioError as error:
            yield item, _headerless(item.audio_path) if item.audio_path.suffix.lower() == ".raw" else error
        else:
            yield item, Utterance(item.audio_path, seconds, item.text, speaker=item.speaker, where=where)


def _librispeech_tables(folder: Path) -> Iterator[Path]:
    return (path for path in _files_below(folder) if path.name.endswith(".trans.txt"))


def _librispeech(folder: Path) -> Iterator[FoundFile]:
    for table in _librispeech_tables(folder):
        for _, line in _lines(table):
            name, _, text = line.partition(" ")
            yield FoundFile(_audio_named(table.parent, name), text.strip(), name.split("-")[0])


def _ljspeech(folder: Path) -> Iterator[FoundFile]:
    for number, line in _lines(folder / "metadata.csv"):
        columns = line.split("|")
        if len(columns) < 2:
            raise ManifestError(f"{folder / 'metadata.csv'}:{number}: expected name|text|text, found '{line[:60]}'")
        yield FoundFile(_audio_named(folder / "wavs", columns[0]), columns[-1].strip())


def _headerless(path: Path) -> AudioError:
    source, target = shlex.quote(str(path)), shlex.quote(str(path.with_suffix(".wav")))
    return AudioError(
        f"{path}: samples without a header, of which neither rate nor format is known; convert AN4's with "
        f"sox -t raw -r 16000 -e signed -b 16 -B {source} {target} (-L for its little-endian archive)"
    )


def _an4_tables(folder: Path) -> list[Path]:
    if folder.is_dir():
        return sorted((folder / "etc").glob("*.transcription"))
    return [folder.with_suffix(".transcription")]


def _an4(folder: Path) -> Iterator[FoundFile]:
    for table in _an4_tables(folder):
        ids = table.with_suffix(".fileids")
        paths = {Path(line).name: line for _, line in _lines(ids)} if ids.is_file() else {}
        for number, line in _lines(table):
            if not (match := re.fullmatch(r"(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\((\S+)\)", line)):
                raise ManifestError(f"{table}:{number}: expected '<s> TEXT </s> (name)', found '{line[:60]}'")
            text, name = match.groups()
            place = table.parent.parent / "wav" / paths.get(name, name)
            audio = _audio_named(place.parent, place.name)
            if audio == place:
                audio = _file_named(place.parent, place.name, (".raw",)) or place
            yield FoundFile(audio, text, place.parent.name)


def _commonvoice_tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return [folder]
    tables = [folder / f"{name}.tsv" for name in ("validated", "train")]
    return [next((table for table in tables if table.is_file()), tables[0])]


def _commonvoice(folder: Path) -> Iterator[FoundFile]:
    (table,) = _commonvoice_tables(folder)
    if not table.is_file():
        raise ManifestError(f"{table}: no such table of Common Voice")
    lines = _lines(table)
    columns = next((line.split("\t") for _, line in lines), [])
    if not {"path", "sentence"} <= set(columns):
        raise ManifestError(f"{table}: expected the columns path and sentence, found {', '.join(columns) or 'none'}")
    for number, line in lines:
        fields = line.split("\t")
        row = dict(zip(columns, fields, strict=False))  # empty columns at the end may be missing
        # More fields than columns are a text that was torn at a tab.
        if len(fields) > len(columns) or not {"path", "sentence"} <= set(row):
            raise ManifestError(f"{table}:{number}: expected {len(columns)} columns, found {len(fields)}")
        yield FoundFile(table.parent / "clips" / row["path"], row["sentence"].strip(), row.get("client_id"))


def _plain(folder: Path) -> Iterator[FoundFile]:
    for audio in _files_below(folder):
        if audio.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        if text := _file_named(audio.parent, audio.stem, (".txt",)):
            try:
                words = [word for _, line in _lines(text) for word in line.split()]
            except ManifestError as error:  # one utterance is lost with it, not a table of them
                yield FoundFile(audio, "", text_error=error)
            else:
                yield FoundFile(audio, " ".join(words))


def _files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder, its subfolders and the folders it links to.

    No folder comes twice, whatever leads to it: its own place in the corpus goes before a link, and a link to a folder
    that the link lies in is not followed.
    """
    entered: set[str] = set()
    tops = deque([folder])
    while tops:
        for place, folders, files in os.walk(tops.popleft()):  # which lists linked folders, and leaves them alone
            real = os.path.realpath(place)
            if real in entered:
                folders.clear()
                continue
            entered.add(real)
            links = [path for name in sorted(folders) if (path := Path(place, name)).is_symlink()]
            tops.extend(path for path in links if not Path(real).is_relative_to(os.path.realpath(path)))
            yield from (Path(place, name) for name in files)


def _audio_named(folder: Path, name: str) -> Path:
    """The audio file of this name, whatever its format; a name without a format where there is none."""
    return _file_named(folder, name, AUDIO_SUFFIXES) or folder / name


def _file_named(folder: Path, name: str, suffixes: Iterable[str]) -> Path | None:
    """The first file of this name with one of these endings, in small letters or in capitals."""
    endings = (ending for suffix in suffixes for ending in (suffix, suffix.upper()))
    return next((path for ending in endings if (path := folder / f"{name}{ending}").is_file()), None)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a table that are not empty, with their numbers from 1."""
    try:
        with path.open("rb") as file:
            # Bytes end lines at a line feed alone; text would at other separators too, which transcripts may have.
            for number, line in enumerate(file, start=1):
                text = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode().rstrip("\r\n")
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}:{number}: cannot be read as UTF-8 text ({error})") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error})") from error


# Tried in this order; the plain folder fits everything and comes last.
_LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Iterator[FoundFile]]]] = {
    "librispeech": (lambda folder: any(True for _ in _librispeech_tables(folder)), _librispeech),
    "ljspeech": (lambda folder: (folder / "metadata.csv").is_file() and (folder / "wavs").is_dir(), _ljspeech),
    "an4": (
        lambda folder: bool(_an4_tables(folder)) and (folder.is_dir() or folder.suffix != ".tsv"),
        _an4,
    ),
    "commonvoice": (
        lambda folder: (
            (folder.suffix == ".tsv" and (folder.parent / "clips").is_dir())
            or ((folder / "clips").is_dir() and any((folder / f"{n}.tsv").is_file() for n in ("validated", "train")))
        ),
        _commonvoice,
    ),
    "folder": (lambda folder: True, _plain),
}
