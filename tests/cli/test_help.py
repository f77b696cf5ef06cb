"""Help: a list with a summary of each command, and examples in each command's own."""

import pytest

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
