"""Files whose names look like something else: options, JSON, control characters, bytes that are not UTF-8."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech2.cli.main import main
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions

CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = NetworkOptions(
        convolutions=(ConvolutionOptions(2, (41, 11), (4, 3)),), recurrent_layers=1, recurrent_size=8
    )
    model = build_model(options, seed=3)
    model.normalizer = Normalizer.fit([spectrogram(load_audio(CLIP))])
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(model, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def record(name: str | bytes, seconds: float) -> None:
    """So many seconds of the clip as a WAV file of that name."""
    soundfile.write("plain", load_audio(CLIP, duration_seconds=seconds), 16_000, format="WAV")
    os.rename("plain", name)  # noqa: PTH104


def heard(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, float]]:
    """Name and length of everything that was transcribed."""
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(item["source"], item["seconds"]) for item in records]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["[a].wav", "b.wav"], ["[a].wav", "b.wav"]),
        (['["a", "b.wav"]'], ['["a", "b.wav"]']),
        (["b.wav", "./-dash.wav"], ["b.wav", "-dash.wav"]),
        (["b.wav", "--", "-dash.wav", "--model"], ["b.wav", "-dash.wav", "--model"]),
    ],
)
def test_a_name_is_a_name(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], names: list[str]
) -> None:
    for number, name in enumerate(names, start=1):
        record(name, number / 2)
    options = ("--model", checkpoint, "--decoder", "greedy", "--format", "json")
    assert run("transcribe", *options, *arguments) == 0
    assert heard(capsys) == [(name, number / 2) for number, name in enumerate(names, start=1)]


def test_an_unknown_option_is_told_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record("-dash.wav", 0.5)
    assert run("transcribe", "-dash.wav") == 2
    error = capsys.readouterr().err
    assert "unknown option -dash.wav" in error
    assert "a file of that name is ./-dash.wav" in error


def test_other_lists_are_not_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uniform = np.log(np.full((4, 29), 1 / 29, np.float32))
    for name in ("[a].npy", '["b"]'):
        with Path(name).open("wb") as file:
            np.save(file, uniform)
    Path('["b"]').rename('["b"].npy')
    assert run("decode", "[a].npy", '["b"].npy', "--greedy", "--format", "json") == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["[a]", '["b"]']
    assert run("flops", "default", "--shape", '["1,161,50"]') == 2
    assert '["1,161,50"]' in capsys.readouterr().err
