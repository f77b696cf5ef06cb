"""The examples of the docstrings: each runs and gives what it says."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import deepspeech2
import deepspeech2.ctc
from deepspeech2.flops import registry

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "deepspeech2"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if ">>>" in path.read_text()
)
SHOWN = {
    deepspeech2: ["DeepSpeech2", "NetworkOptions", "OperationCount", "Tally", "build_model", "count", "load_model"],
    deepspeech2.ctc: ["Alphabet", "BeamDecoder", "BeamOptions", "BeamStream", "GreedyDecoder", "Hypothesis"],
}


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_say(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {name: import_module(name) for name in MODULES}  # which registers formulas, before the table is copied
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))  # what an example registers is gone after it
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for example in doctest.DocTestFinder(exclude_empty=True).find(loaded[module]):
        runner.run(example, out=said.append)
    assert "".join(said) == ""
    assert runner.summarize(verbose=False).attempted or module in {
        # Their examples need a file, or write one; the pages run such.
        "deepspeech2.ctc.language_model",
        "deepspeech2.speech.recognizer",
    }


@pytest.mark.parametrize("name", [f"{module.__name__}.{name}" for module, names in SHOWN.items() for name in names])
def test_what_is_met_first_has_an_example(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    thing = getattr(import_module(module), attribute)
    (example,) = [one for one in doctest.DocTestFinder(recurse=False).find(thing, attribute) if one.name == attribute]
    assert [one for one in example.examples if one.want]
