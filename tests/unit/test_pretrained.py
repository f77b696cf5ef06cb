"""The model that comes with the package: it is there, it is small, and it hears speakers it was not trained on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deepspeech2.cli.main import main
from deepspeech2.errors import CheckpointError, OptionError
from deepspeech2.speech.checkpoints import checkpoint_kind, load_model
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.evaluation import evaluate_manifest
from deepspeech2.speech.pretrained import PRETRAINED, choose_pretrained
from deepspeech2.speech.recognizer import Recognizer

CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"

SPEECH = Path(__file__).parents[2] / "examples" / "speech" / "manifest.jsonl"


@pytest.mark.parametrize(("decoder", "words", "characters"), [("greedy", 0.80, 0.36), ("beam", 0.60, 0.33)])
def test_small_hears_new_speakers(decoder: str, words: float, characters: float) -> None:
    result = evaluate_manifest(Recognizer.from_pretrained("small", decoder=decoder), read_manifest(SPEECH))
    assert len(result.predictions) == 6
    assert result.words.rate < words
    assert result.characters.rate < characters


def test_the_files_are_small() -> None:
    small = PRETRAINED["small"]
    assert small.model.stat().st_size < 20_000_000
    assert small.language_model.stat().st_size < 8_000_000


def test_the_name_is_a_checkpoint_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored = load_file(PRETRAINED["small"].model)
    main(["convert", "small", "copy.safetensors"])
    for model in (load_model("small"), load_model(Path("small")), load_model("copy.safetensors")):
        assert torch.equal(model.output.weight, stored["output.weight"].float())
        assert model.labels is not None
        assert model.normalizer is not None
    assert checkpoint_kind("small") == "safetensors"
    with pytest.raises(CheckpointError, match=r"smal: no such file; expected a checkpoint, or a model of the package"):
        load_model("smal")


def test_a_name_comes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small").mkdir()
    assert choose_pretrained("small") is PRETRAINED["small"]
    assert choose_pretrained("./small") is choose_pretrained(Path("small")) is None
    with pytest.raises(OptionError, match="did you mean 'small'"):
        choose_pretrained("smal")


@pytest.mark.parametrize("nothing", [None, 3, b"small"])
def test_a_model_that_is_neither_a_name_nor_a_path_is_refused(nothing: object) -> None:
    with pytest.raises(OptionError, match=rf"^expected a name or a path as the model, found {nothing!r}$"):
        Recognizer.from_pretrained(nothing)
    with pytest.raises(CheckpointError, match=r"expected a checkpoint, or a model of the package: small$"):
        load_model(nothing)


def test_recognising_does_not_import_the_compiler() -> None:
    # torch._dynamo takes longer to import than ten seconds of speech to be recognised.
    code = (
        "import sys; from deepspeech2 import Recognizer\n"
        f"Recognizer.from_pretrained('small').transcribe({str(CLIP)!r})\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
