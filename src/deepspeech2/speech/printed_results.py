"""Transcripts on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from deepspeech2.printing import printable, standard_output
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.recognizer import Source
from deepspeech2.speech.transcript import Transcript, format_transcript


class PrintedResults:
    """Prints transcripts in the order they are added, each at once.

    Of several pieces of audio, lines of text begin with the name of the file and a tab.

    Args:
        sources: What is transcribed.
        kind: The format, as of `format_transcript`.
    """

    def __init__(self, sources: Sequence[Source], kind: str) -> None:
        self._sources, self._kind = sources, kind

    @property
    def kept(self) -> bool:
        """Never: what an earlier run printed is not known."""
        return False

    def has(self, index: int) -> bool:
        """Never: what an earlier run printed is not known."""
        return False

    def add(self, index: int, transcript: Transcript) -> None:
        """Print a transcript.

        Raises:
            OptionError: Standard output cannot be written.
        """
        source = self._sources[index]
        offset = source.offset if isinstance(source, Utterance) else 0.0
        text = format_transcript(transcript, self._kind, offset=offset)
        if self._kind == "txt" and len(self._sources) > 1:
            text = f"{printable(transcript.source)}\t{text}"
        elif self._kind == "json" and isinstance(source, Utterance):
            record = json.loads(text) | {"offset": source.offset, "duration": source.duration}
            if source.channel is not None:
                record["channel"] = source.channel
            text = json.dumps(record, ensure_ascii=False) + "\n"
        with standard_output():
            sys.stdout.write(text)

    def finish(self) -> None:
        """Nothing is left to do."""
