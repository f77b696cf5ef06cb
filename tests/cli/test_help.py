"""Help: a list with a summary of each command, and examples in each command's own."""

import re
from pathlib import Path

import pytest

import deepspeech2
from deepspeech2.cli.main import COMMANDS, main


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(list(arguments))
    return capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_list_sums_up_each_command(capsys, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = shown(capsys, *arguments)
    for name, summary in COMMANDS.items():
        assert f"{name} " in out
        assert summary in out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_an_example(capsys, name: str) -> None:
    usage, *rest = shown(capsys, name, "--help").splitlines()
    assert usage.startswith(f"Usage: ds2 {name}")
    assert any(line.strip().startswith(f"ds2 {name} ") for line in rest)


def test_the_version_is_that_of_the_project_in_python_as_on_the_command_line(capsys) -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.*)"$', project, flags=re.MULTILINE)
    assert deepspeech2.__version__ == shown(capsys, "--version").strip() == version
    assert "__version__" in dir(deepspeech2)
