"""The Python of the pages: every block runs, in the order of its page, and gives what the page says.

`migrating.md` and `export.md` have tests of their own; no block is passed over. What a page takes for granted (files of
these names, values it does not define) is made here.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch

from deepspeech2.flops import registry
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.training_reports import EpochReport
from tests.onnx_cases import model as onnx_model
from tests.onnx_cases import weight

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "data" / "rnn_shared"
CLIP = ROOT / "examples" / "clip_10s.flac"
ELSEWHERE = {"docs/migrating.md": "test_migrating.py", "docs/export.md": "test_export.py"}
HERE = {
    "README.md",
    "docs/checkpoints.md",
    "docs/counting.md",
    "docs/decode-command.md",
    "docs/decoding.md",
    "docs/features.md",
    "docs/network.md",
    "docs/training.md",
    "docs/transcribing.md",
}
ARPA = "\\data\\\nngram 1=4\n\n\\1-grams:\n-1.0\t<unk>\n-99\t<s>\n-1.0\t</s>\n-0.5\tab\n\n\\end\\\n"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a page in a folder that has the examples, and return the names it has defined."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")

    def page(name: str, **given: Any) -> dict[str, Any]:
        for block in BLOCK.findall((ROOT / name).read_text()):
            exec(compile(block, name, "exec"), given)
        return given

    return page


def macs_of_librispeech(batch: int, frames: int) -> int:
    """Multiplications of the published network, added up from its sizes."""
    steps = (frames - 1) // 3 + 1
    convolutions = 32 * 41 * 11 * 81 + 32 * 32 * 21 * 11 * 41
    recurrent = sum(inside * 2048 for inside in (32 * 41, 4096, 4096))  # one projection for both directions
    return batch * (steps * (convolutions + recurrent + 4096 * 29) + (steps - 1) * 3 * 2 * 2048 * 2048)


def macs_of_llama(tokens: int) -> int:
    """Multiplications of the page's Llama: 4 heads of 64 over 2 of keys, 136 pairs of 16 tokens that causality lets."""
    projections = 256 * 256 * 2 + 256 * 128 * 2 + 3 * 256 * 11_008
    attention = tokens * (tokens + 1) // 2 * 4 * 64 * 2
    return 2 * (tokens * projections + attention) + tokens * 256 * 32_000


def test_every_page_with_python_is_run_by_a_test() -> None:
    pages = {
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("*.md"), *ROOT.rglob("docs/**/*.md"), *ROOT.rglob("recipes/**/*.md")]
        if BLOCK.search(path.read_text())
    }
    assert pages == HERE | set(ELSEWHERE)
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / "tests" / "unit" / test).read_text()


def test_readme(run: Callable[..., dict[str, Any]]) -> None:
    names = run("README.md")
    assert names["count"](names["model"], names["inputs"]).macs == macs_of_librispeech(1, 999) == 18_494_994_144
    assert names["formula"].at("mac", batch=16, time=360_000) == macs_of_librispeech(16, 360_000)


def test_counting(run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))  # what the page registers is gone after the test
    matrix = onnx.helper.make_node("MatMul", ["w", "x"], ["y"])
    graph = onnx_model([matrix], {"x": ["batch", 80, "time"]}, weights=[weight("w", 256, 80)])
    onnx.save(graph, tmp_path / "encoder.onnx")
    names = run("docs/counting.md")
    tally = names["tally"]
    assert (tally.macs, tally.flops) == (macs_of_librispeech(1, 999), 37_008_289_040)
    assert str(tally.padding_macs) in (ROOT / "docs/counting.md").read_text()
    assert names["formula"].at("mac", batch=1, time=360_000) == macs_of_librispeech(1, 360_000)
    assert names["count"](names["llama"], {"input_ids": names["ids"]}).macs == macs_of_llama(16)
    assert names["run"].steps == 2
    steps = macs_of_librispeech(16, 1200) + macs_of_librispeech(12, 1531)
    assert names["run"].phases["forward"].macs == steps
    assert names["count_onnx"]("encoder.onnx", [(1, 80, 3000)]).macs == 256 * 80 * 3000
    assert registry._rules["mylibrary::scale_and_shift"] is names["scale_and_shift"]


def test_checkpoints_and_features(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "params.tar.gz", tmp_path)
    features = spectrogram(load_audio(CLIP))
    Normalizer.fit([features]).save(tmp_path / "mean_std.npz")
    model = run("docs/checkpoints.md")["model"]
    saved = load_model(tmp_path / "librispeech.safetensors")
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in model.state_dict().items())
    names = run("docs/features.md")
    assert (names["samples"].shape, names["features"].shape) == ((159_920,), (161, 998))
    deviation = features.std(1, keepdims=True)
    np.testing.assert_allclose(names["normalized"], (features - features.mean(1, keepdims=True)) / deviation, atol=1e-3)


def test_network(run: Callable[..., dict[str, Any]]) -> None:
    names = run("docs/network.md")
    assert names["log_probs"].shape == (1, 333, 29)
    features, frames = torch.randn(2, 161, 40), torch.tensor([40, 25])
    with torch.no_grad():
        found, expected = (program(features, frames)[0] for program in (names["program"].module(), names["model"]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_decoding(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n \n")
    (tmp_path / "lm.arpa.gz").write_bytes(gzip.compress(ARPA.encode()))
    path = [0, 0, 3, 1, 2, 3, 0, 1]  # "ab ab", 3 the blank
    log_probs = np.full((len(path), 4), 0.01)
    log_probs[np.arange(len(path)), path] = 0.97
    log_probs = np.log(log_probs)
    names = run("docs/decoding.md", log_probs=log_probs, list_of_log_probs=[log_probs] * 2, piece=log_probs[:4])
    assert [word.text for word in names["best"].words] == ["ab", "ab"]
    assert names["best"].text == "ab ab"
    assert names["hypotheses"].tally.frames == len(path)
    assert (names["decoder"].options.alpha, names["decoder"].options.beta) == (0.5, 2.0)


def test_the_file_of_posteriors(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    one = np.log(np.full((3, 5), 0.2))
    run("docs/decode-command.md", log_probs_of_first=one, log_probs_of_second=one[:2])
    with np.load(tmp_path / "dev.npz") as arrays:
        shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes == {"first": (3, 5), "second": (2, 5), "labels": (4,)}


def test_training(run: Callable[..., dict[str, Any]], tmp_path: Path, write_tones: Callable[..., Path]) -> None:
    write_tones(["ab cd", "dad cab"], "train.jsonl")
    write_tones(["dcba"], "dev.jsonl")
    folder = tmp_path / "recipes" / "small"
    folder.mkdir(parents=True)
    small = "convolutions = [{ channels = 2, kernel = [41, 11], stride = [4, 3] }]\nrecurrent_size = 4\n"
    (folder / "small.toml").write_text(f"[network]\n{small}[training]\nepochs = 2\n")
    names = run("docs/training.md")
    assert [report.epoch for report in names["epochs"]] == [0, 1]
    assert {"epoch", "step", "loss", "dev_loss", "wer", "cer"} <= {item.name for item in fields(EpochReport)}
    assert (tmp_path / "runs" / "small" / "average.safetensors").is_file()


def test_transcribing(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    samples = load_audio(CLIP)[: 3 * 16_000]
    soundfile.write(tmp_path / "talk.wav", samples, 16_000)
    names = run("docs/transcribing.md", samples=samples, paths=["talk.wav"])
    assert names["transcript"].text  # that of the last of `paths`
    assert names["transcript"].text == names["recognizer"].transcribe("talk.wav").text
    word = names["transcript"].words[0]
    assert 0 <= word.start < word.end <= 3
    assert 0 < word.confidence <= 1
