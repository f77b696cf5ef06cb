"""The `ds2` command: registers the commands and turns errors into one line and an exit status."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError, Parameter

from deepspeech2.errors import DeepSpeech2Error
from deepspeech2.printing import printable, standard_output

# Name -> what the list of commands says of it. Each is the function of that name in the module of that name, and is
# imported when it is called, so that `ds2 --help` imports none of their dependencies.
COMMANDS = {
    "flops": "Count the operations a model spends on an utterance.",
    "convert": "Turn a checkpoint of Baidu's into one of this project.",
    "export": "Write a model as ONNX or as a torch.export program.",
    "decode": "Decode CTC posteriors into text.",
    "prepare": "Check speech and transcripts: manifest, vocabulary, normaliser.",
    "train": "Train a network on a manifest of speech.",
    "transcribe": "Recognise the speech in audio files.",
    "evaluate": "Measure word and character error rates on a manifest.",
    "tune": "Find the alpha and beta of a language model on a development set.",
}


def build_app(*, lists_commands: bool) -> App:
    """Register the commands.

    Args:
        lists_commands: Whether to give each its summary. A summary given here replaces the command's own help with
            its examples, so it is for the list only.
    """
    app = App(
        name="ds2",
        help="DeepSpeech2 in PyTorch, with every floating-point operation accounted for.",
        version=_version,
        help_format="markdown",
        # A file may be called [a].wav: lists are written as several arguments, never as JSON.
        default_parameter=Parameter(json_list=False),
    )
    for name, summary in COMMANDS.items():
        app.command(f"deepspeech2.cli.{name}:{name}", help=summary if lists_commands else None)
    return app


def _spelled_as_files(arguments: list[str]) -> list[str]:
    """Behind a -- everything is a name, and one that begins with a dash is no option: it gets a folder before it."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [f"./{text}" if at > end and text[:1] == "-" != text else text for at, text in enumerate(arguments)]


def _version() -> str:
    # Reading the metadata of packages takes longer than the rest of the help.
    from importlib.metadata import version

    return version("deepspeech2")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 (some files failed), 2 (wrong input) or 130 (interrupted)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if sys.stdout is None:  # closed: nobody wants what is printed
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    app = build_app(lists_commands=not arguments or arguments[0] in ("--help", "-h"))
    try:
        result = app(_spelled_as_files(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        with standard_output():  # what small outputs have left in the buffer
            pass
    except CycloptsError as error:
        _fail(" ".join(str(error).split()) + " See ds2 --help.")
    except DeepSpeech2Error as error:
        _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        # The system's own refusals (no permission, no space left), wherever they come up.
        _fail(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}.")
    if isinstance(result, int) and result:
        sys.exit(result)


def _fail(message: str) -> None:
    print(f"ds2: error: {printable(message)}", file=sys.stderr)
    sys.exit(2)
