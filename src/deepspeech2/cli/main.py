"""The `ds2` command: registers the commands and turns errors into one line and an exit status."""

from __future__ import annotations

import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError

from deepspeech2.errors import DeepSpeech2Error

app = App(
    name="ds2",
    help="DeepSpeech2 in PyTorch, with every floating-point operation accounted for.",
    version=lambda: version("deepspeech2"),
    help_format="markdown",
)
# Commands are named by import path, so that `ds2 --help` imports none of their dependencies.
app.command("deepspeech2.cli.flops:flops", help="Count the operations a model spends on an utterance.")
app.command("deepspeech2.cli.convert:convert", help="Turn a checkpoint of Baidu's into one of this project.")
app.command("deepspeech2.cli.prepare:prepare", help="Check speech and transcripts: manifest, vocabulary, normaliser.")
app.command("deepspeech2.cli.train:train", help="Train a network on a manifest of speech.")
app.command("deepspeech2.cli.transcribe:transcribe", help="Recognise the speech in audio files.")
app.command("deepspeech2.cli.evaluate:evaluate", help="Measure word and character error rates on a manifest.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (some files failed), 2 (wrong input) or 130 (interrupted)."""
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _fail(" ".join(str(error).split()) + " See ds2 --help.")
    except DeepSpeech2Error as error:
        _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    if isinstance(result, int) and result:
        sys.exit(result)


def _fail(message: str) -> None:
    print(f"ds2: error: {message}", file=sys.stderr)
    sys.exit(2)
