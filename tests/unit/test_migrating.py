"""docs/migrating.md: every new call it names is run, and compared with what the original framework computed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepspeech2.ctc import ReferenceDecoder, load_language_model
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.training_folder import STATE_FILE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "migrating.md"
GOLDEN = ROOT / "tests" / "golden" / "data" / "rnn_shared"
CLIP = ROOT / "examples" / "clip_10s.flac"
METHODS = [
    "DeepSpeech2Model(",
    "train(",
    "infer_batch_probs",
    "infer_loss_batch",
    "decode_batch_greedy",
    "init_ext_scorer",
    "decode_batch_beam_search",
    "init_from_pretrained_model",
    "save_checkpoint",
]


@pytest.fixture
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def page(
    golden: dict[str, np.ndarray], tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The names the page's code defines, run where its files are."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(GOLDEN / "params.tar.gz", tmp_path)
    shutil.copy(CLIP, tmp_path / "clip.flac")
    (tmp_path / "words.arpa").write_text(
        "\\data\\\nngram 1=6\n\n\\1-grams:\n-1.0\t<unk>\n-99\t<s>\n-1.0\t</s>\n"
        "-0.5\tis\n-0.7\tcab\n-0.9\tit\n\n\\end\\\n"
    )
    Normalizer.fit([spectrogram(load_audio(CLIP))]).save(tmp_path / "mean_std.npz")
    write_tones(["abcd", "dc ba", "aabb"], "train.jsonl")
    write_tones(["dcba"], "dev.jsonl")
    batch = ("features", "frames", "labels", "label_lengths")
    names: dict[str, Any] = {name: torch.from_numpy(golden[name]) for name in batch}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_every_method_has_its_row() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert [method for method in METHODS if not any(f"`{method}" in row for row in rows)] == []


def test_the_calls_do_what_the_original_did(
    page: dict[str, Any], golden: dict[str, np.ndarray], tmp_path: Path
) -> None:
    # init_from_pretrained_model, infer_batch_probs, infer_loss_batch
    assert [len(output) for output in page["outputs"]] == golden["output_frames"].tolist()
    np.testing.assert_allclose(np.exp(np.concatenate(page["outputs"])), golden["inference/probs"], rtol=0, atol=5e-6)
    np.testing.assert_allclose(page["losses"], golden["inference/ctc"][:, 0], rtol=1e-5)
    shapes = {name: value.shape for name, value in page["fresh"].state_dict().items()}
    assert shapes == {name: value.shape for name, value in page["model"].state_dict().items()}

    # decode_batch_greedy
    labels = [*page["model"].labels, ""]
    for output, text in zip(page["outputs"], page["greedy_texts"], strict=True):
        path = output.argmax(1).tolist()
        assert text == "".join(labels[best] for before, best in pairwise([-1, *path]) if best != before)

    # init_ext_scorer, decode_batch_beam_search
    reference = ReferenceDecoder(page["alphabet"], page["options"], load_language_model(tmp_path / "words.arpa"))
    assert page["beam_texts"] == [reference.decode(output)[0].text for output in page["outputs"]]
    assert page["beam_texts"] != page["greedy_texts"]
    assert (page["decoder"].options.alpha, page["decoder"].options.beta) == (1.4, 0.35)

    # from audio
    features = page["model"].normalizer(spectrogram(load_audio(CLIP)))
    with torch.inference_mode():
        expected = page["model"](torch.from_numpy(features)[None], torch.tensor([features.shape[1]]))[0][0]
    np.testing.assert_allclose(page["clip_log_probs"], expected, atol=1e-5)
    assert set(page["transcript"].text.split()) <= {"is", "cab", "it"}


def test_training_keeps_every_pass_and_the_latest(page: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    written = {path.stem for path in run.glob("*.safetensors")}
    assert written == {"epoch-001", "epoch-002", "latest", "best", "average", Path(STATE_FILE).stem}
    first, second, latest = (load_model(run / f"{name}.safetensors") for name in ("epoch-001", "epoch-002", "latest"))
    states = [model.state_dict() for model in (page["model"], first, second, latest)]
    assert all(torch.equal(value, states[3][name]) for name, value in states[2].items())
    assert not torch.equal(states[1]["output.weight"], states[2]["output.weight"])
    # It went on from the pretrained weights: two small steps away.
    moved = (states[1]["output.weight"] - states[0]["output.weight"]).abs().max()
    assert 0 < moved < 0.01
    assert [report.epoch for report in page["epochs"]] == [0, 1]
