"""Where `ds2 transcribe` writes: one file, a folder, or standard output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepspeech2.speech.bulk import RecognizerSettings
    from deepspeech2.speech.bulk_results import Results
    from deepspeech2.speech.recognizer import Source


@dataclass(frozen=True)
class Destination:
    """What the options say of the transcripts' place and form.

    Attributes:
        format: txt, json, srt, vtt or tsv, as it was asked for.
        file: `--output`: JSON lines of all transcripts.
        folder: `--output-dir`: a file for each transcript.
        resume: Whether what an interrupted run has written there is taken over.
    """

    format: str | None
    file: Path | None
    folder: Path | None
    resume: bool

    @property
    def kept(self) -> bool:
        """Whether transcripts are written to files, and an interrupted run can be gone on with."""
        return self.file is not None or self.folder is not None

    def kind(self, *, of_manifest: bool) -> str:
        """The form of transcripts: what was asked for, else JSON for manifests and text for audio files."""
        return self.format or ("json" if of_manifest else "txt")

    def check(self, kind: str, pieces: int) -> None:
        """Refuse options that contradict each other.

        Args:
            kind: The form of transcripts.
            pieces: How many there will be.

        Raises:
            OptionError: They do.
        """
        from deepspeech2.errors import OptionError
        from deepspeech2.speech.transcript import TIMED_FORMATS

        if self.resume and not self.kept:
            raise OptionError("--resume goes on with what is in --output or --output-dir; give one of them")
        if self.file is not None and (self.folder is not None or self.format not in (None, "json")):
            other = "--output-dir" if self.folder is not None else f"--format {kind}"
            raise OptionError(f"--output writes JSON lines and goes without {other}")
        if kind in TIMED_FORMATS and not self.kept and pieces > 1:
            raise OptionError(
                f"--format {kind} is one file for each piece of audio, found {pieces} pieces; give --output-dir"
            )

    @contextmanager
    def opened(
        self, kind: str, sources: Sequence[Source], settings: RecognizerSettings, read: Sequence[Path]
    ) -> Iterator[Results]:
        """What takes the transcripts.

        Args:
            kind: Their form.
            sources: What is transcribed.
            settings: By which recogniser; what another one wrote is not gone on with.
            read: Files that are read; nothing is written over them, nor over the audio.

        Raises:
            OptionError: It would be, or the place cannot be written or gone on with.
        """
        from deepspeech2.files import refuse_same
        from deepspeech2.speech.bulk_results import ResultsFile, ResultsFolder
        from deepspeech2.speech.data.manifest import Utterance
        from deepspeech2.speech.printed_results import PrintedResults

        if self.file is not None:
            refuse_same(self.file, [*read, *(item.audio_path for item in sources if isinstance(item, Utterance))])
            with ResultsFile(self.file, sources, settings, resume=self.resume) as file:
                yield file
        elif self.folder is not None:
            folder = ResultsFolder(self.folder, sources, kind, resume=self.resume)
            audio = {source for source in sources if isinstance(source, Path)}
            folder.refuse_over([path for path in read if path not in audio])
            yield folder
        else:
            yield PrintedResults(sources, kind)
