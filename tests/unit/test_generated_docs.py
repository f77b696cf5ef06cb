"""Pages with figures are what their generators print."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from deepspeech2.cli.main import COMMANDS, main
from deepspeech2.speech.scoring import count_character_errors
from recipes.baseline import tabulate as baseline
from recipes.small import tabulate as small

DOCS = Path(__file__).parents[2] / "docs"


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"generator_{name}", DOCS / "generators" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def test_the_notebook_page_is_current() -> None:
    assert (DOCS / "notebook.md").read_text() == load("notebook").page()


def test_the_page_of_the_command_line_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "command-line.md").read_text()
    for variables in ({"COLUMNS": "40", "NO_COLOR": "1"}, {"COLUMNS": "300", "FORCE_COLOR": "1"}):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert load("command_line").page() == text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_the_command_line_has_every_option_of_the_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # each on a line of its own
    main([command, "--help"])
    (section,) = re.findall(
        rf"^## ds2 {command}$(.*?)(?=^## |\Z)", (DOCS / "command-line.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    rows = [row.replace(r"\|", "|") for row in re.findall(r"^\| `(.*) \|$", section, flags=re.MULTILINE)]
    shown = [line.strip("│ ") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    said = [re.sub(r"[ ,`*|]+", " ", line).strip() for line in shown]
    assert [re.sub(r"[ ,`*|]+", " ", row).strip() for row in rows] == said
    assert len(said) > 1


def test_the_page_of_large_models_is_current() -> None:
    assert (DOCS / "large-models.md").read_text() == load("large_models").page()


def test_the_figures_of_the_readme_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    text = (DOCS.parent / "README.md").read_text()
    generator = load("readme")
    said = re.findall(r"^\$ (ds2 transcribe .*)\n(.*)$", text, flags=re.MULTILINE)
    assert generator.page(text, dict(said)) == text
    assert "18,494,994,144" in text
    # Processors round differently, and where two letters are as likely as each other that can turn the scale.
    heard = generator.transcripts()
    assert list(heard) == [command for command, _ in said]
    for command, words in said:
        assert count_character_errors(words, heard[command]).rate < 0.1


def test_the_notebook_page_says_what_the_rules_say() -> None:
    """The rules, spelled out here once more for the examples of the page."""
    figures = {one.operator: one.exact.notebook for one in load("notebook").comparisons()}
    assert figures["convolution"] == (2 * 1 * 41 * 11 - 1) * 81 * 333 * 32
    assert figures["batch norm"] == 4 * 32 * 81 * 333
    assert figures["clipped ReLU"] == figures["ReLU"] == 32 * 81 * 333
    assert figures["fully connected"] == (2 * 1312 - 1) * 2048 * 333
    assert figures["simple recurrence"] == ((2 * 2048 - 1) * 2048 + 2048) * 333
    assert figures["GRU"] == 2 * 1024 * (3 * 1024) * 333
    assert figures["softmax"] == (3 * 29 - 1) * 333
    assert figures["block-expand"] == figures["CTC loss"] == figures["mixed layer, identity projection"] == 0


def test_the_figures_of_the_speed_page_are_current() -> None:
    text = (DOCS / "speed.md").read_text()
    assert load("speed").page(text) == text
    assert "| int8 |" in text


def test_the_pages_of_the_recipes_are_current() -> None:
    recipes = DOCS.parent / "recipes"
    text = (recipes / "baseline" / "README.md").read_text()
    assert baseline.filled(text) == text
    assert "| 4.5 | epoch 3 |" in text
    assert (
        f"<!-- results -->\n{small.results_table()}\n<!-- /results -->" in (recipes / "small" / "README.md").read_text()
    )
    assert small.curves() == (recipes / "small" / "curves.svg").read_text()
