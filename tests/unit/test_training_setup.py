"""From manifests to a trainer: what cannot be used is left out and said, what was measured once stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from deepspeech2.errors import CheckpointError, ManifestError
from deepspeech2.speech import training_setup
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.data.augment import Noise, Sometimes
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.data.preflight import Reason
from deepspeech2.speech.data.prepare import PrepareOptions
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recipe import Recipe
from deepspeech2.speech.training_folder import STATE_FILE
from deepspeech2.speech.training_options import TrainingOptions
from deepspeech2.speech.training_setup import TrainingData, set_up_training

NETWORK = NetworkOptions(
    convolutions=(ConvolutionOptions(2, (41, 11), (4, 3)),), recurrent_layers=1, recurrent_size=4, cell="gru"
)
TRAINING = TrainingOptions(epochs=1, batching=BatchingOptions(4.0), average_best=0, workers=0)
RECIPE = Recipe(NETWORK, TRAINING)


@pytest.fixture
def damaged(write_tones: Callable[..., Path]) -> Path:
    """Six utterances: the second silent, the fourth cut to a third, the last with too many letters."""
    manifest = write_tones(["ab cd", "dad", "cab ad", "bad cab", "dab", "cad"])
    manifest.write_text(manifest.read_text().replace('"cad"', f'"{20 * "cad"}"'))
    folder = manifest.with_suffix("")
    samples, _ = soundfile.read(folder / "1.wav")
    soundfile.write(folder / "1.wav", np.zeros_like(samples), 16_000)
    samples, _ = soundfile.read(folder / "3.wav")
    soundfile.write(folder / "3.flac", samples, 16_000)
    content = (folder / "3.flac").read_bytes()
    (folder / "3.wav").write_bytes(content[: len(content) // 3])
    return manifest


@pytest.mark.parametrize("decoded_on_the_way", [False, True])
def test_damaged_speech_is_left_out_and_named(damaged: Path, tmp_path: Path, decoded_on_the_way: bool) -> None:
    hum = read_manifest(damaged)[0]
    noisy = AugmentationOptions(steps=(Sometimes(Noise([hum]), 0.5),))
    quick = AugmentationOptions(speeds=(1.0, 1.1))
    recipe = replace(RECIPE, augmentation=noisy if decoded_on_the_way else quick)
    # The second time nothing is computed anew: what is left out is known from the cache.
    for _ in range(2):
        setup = set_up_training(TrainingData(damaged, damaged), recipe, tmp_path / "run")
        for report in (setup.train, setup.dev):
            assert [item.audio_path.name for item in report.usable] == ["0.wav", "2.wav", "4.wav"]
            found = {problem.utterance.audio_path.name: problem.reason for problem in report.problems}
            assert found == {
                "1.wav": Reason.SILENT,
                "3.wav": Reason.UNREADABLE,
                "5.wav": Reason.TOO_SHORT,
            }
    (report,) = setup.trainer.run()
    assert report.step > 0
    loader = setup.trainer._dev
    for index, text in enumerate(["ab cd", "cab ad", "dab"]):
        alone = replace(loader, cache=None).load([index])
        np.testing.assert_allclose(loader.load([index]).features, alone.features, atol=0.02)
        assert int(alone.label_lengths[0]) == len(text)


@pytest.mark.parametrize("decoded_on_the_way", [False, True])
def test_audio_that_ends_before_its_header_says_is_left_out(
    write_tones: Callable[..., Path], tmp_path: Path, decoded_on_the_way: bool
) -> None:
    manifest = write_tones(["ab cd", "dad cab ad dad cab", "cab ad"])
    folder = manifest.with_suffix("")
    samples, _ = soundfile.read(folder / "1.wav")
    soundfile.write(folder / "1.mp3", samples, 16_000)
    (folder / "1.wav").write_bytes((folder / "1.mp3").read_bytes())
    hum = AugmentationOptions(steps=(Sometimes(Noise(read_manifest(manifest)[:1])),))
    recipe = replace(RECIPE, augmentation=hum) if decoded_on_the_way else RECIPE
    setup = set_up_training(TrainingData(manifest, manifest), recipe, tmp_path / "whole")
    assert len(setup.train.usable) == 3
    content = (folder / "1.mp3").read_bytes()
    (folder / "1.wav").write_bytes(content[: len(content) // 2])
    setup = set_up_training(TrainingData(manifest, manifest), recipe, tmp_path / "cut")
    assert [item.audio_path.name for item in setup.train.usable] == ["0.wav", "2.wav"]
    (problem,) = setup.train.problems
    assert problem.reason is Reason.WRONG_DURATION
    assert "decoded" in problem.detail


def test_another_vocabulary_keeps_what_both_have(write_tones: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_tones(["ab cd", "dad"])
    model = build_model(replace(NETWORK, vocab_size=4), seed=3, labels=("d", "a", " ", "x"))
    model.normalizer = Normalizer(np.zeros(161), np.ones(161))
    save_model(model, tmp_path / "model.safetensors")
    words = tmp_path / "vocabulary.txt"
    words.write_text("a\nb\nc\nd\n \n")
    data = TrainingData(manifest, manifest, words, initial_model=tmp_path / "model.safetensors")
    found = set_up_training(data, RECIPE, tmp_path / "run").trainer.model
    assert found.labels == ("a", "b", "c", "d", " ")
    pairs = {0: 1, 3: 0, 4: 2, 5: 4}  # a, d, the space and the blank
    for new in range(6):
        same = torch.equal(found.output.weight[new], model.output.weight[pairs.get(new, 0)])
        assert same == (new in pairs)
    for name, value in model.state_dict().items():
        if not name.startswith("output."):
            assert torch.equal(found.state_dict()[name], value), name
    assert found.normalizer is not None
    np.testing.assert_array_equal(found.normalizer.std, np.ones((161, 1)))


def test_an_utterance_without_text_is_left_out(write_tones: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_tones(["ab cd", "dad"])
    manifest.write_text(manifest.read_text().replace('"dad"', "null"))
    setup = set_up_training(TrainingData(manifest, manifest), RECIPE, tmp_path / "run")
    for report in (setup.train, setup.dev):
        assert [item.text for item in report.usable] == ["ab cd"]
        assert [problem.reason for problem in report.problems] == [Reason.EMPTY_TEXT]


def test_a_set_with_nothing_usable_is_refused(damaged: Path, write_tones: Callable[..., Path], tmp_path: Path) -> None:
    sound = write_tones(["abcd"], "sound.jsonl")
    only_silence = damaged.with_name("silence.jsonl")
    only_silence.write_text(damaged.read_text().splitlines(keepends=True)[1])
    with pytest.raises(
        ManifestError, match=r"silence\.jsonl: 0 of 1 utterances usable; left out: 1 silent audio; the first: .*1\.wav"
    ):
        set_up_training(TrainingData(sound, only_silence), RECIPE, tmp_path / "run")


def test_the_normalizer_of_the_state_is_taken(
    write_tones: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_tones(["ab cd", "dad", "cab ad"])
    data, folder = TrainingData(manifest, manifest), tmp_path / "run"
    first = set_up_training(data, RECIPE, folder).trainer
    first.run()

    def measured(*_: object) -> Normalizer:
        raise AssertionError("measured again")

    monkeypatch.setattr(training_setup, "fit_normalizer", measured)
    again = set_up_training(data, replace(RECIPE, training=replace(TRAINING, epochs=2)), folder).trainer
    for name in ("mean", "std"):
        expected, found = (getattr(trainer.model.normalizer, name) for trainer in (first, again))
        np.testing.assert_array_equal(found, expected)
    again.resume()
    assert [report.epoch for report in again.run()] == [0, 1]

    other = tmp_path / "other.npz"
    np.savez(other, mean=np.full((161, 1), 9.0), std=np.ones((161, 1)))
    changed = set_up_training(replace(data, normalizer=other), RECIPE, folder).trainer
    with pytest.raises(CheckpointError, match="had normalizer"):
        changed.resume()
    (folder / STATE_FILE).write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(CheckpointError, match="expected a training state"):
        set_up_training(data, RECIPE, folder)


def test_a_training_with_noise_is_saved_and_gone_on_with(write_tones: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_tones(["ab cd", "dad", "cab ad"])
    hums = read_manifest(manifest)
    data, folder = TrainingData(manifest, manifest), tmp_path / "run"
    recipe = replace(RECIPE, augmentation=AugmentationOptions(steps=(Sometimes(Noise(hums[:1])),)))
    set_up_training(data, recipe, folder).trainer.run()
    longer = replace(recipe, training=replace(TRAINING, epochs=2))
    again = set_up_training(data, longer, folder).trainer
    again.resume()
    assert len(again.run()) == 2
    other = replace(recipe, augmentation=AugmentationOptions(steps=(Sometimes(Noise(hums[1:])),)))
    with pytest.raises(CheckpointError, match="had augmentation"):
        set_up_training(data, other, folder).trainer.resume()


@pytest.mark.parametrize("given", [None, 3])
def test_the_normaliser_is_measured_on_as_many_utterances_as_preparation_takes(
    write_tones: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int | None
) -> None:
    if given is not None:
        monkeypatch.setattr(training_setup, "NORMALIZER_UTTERANCES", given)
    assert PrepareOptions().normalizer_utterances == 2000
    manifest = write_tones(["ab cd", "dad cab", "aabb", "dcba", "cab"])
    seed = 4
    data = TrainingData(manifest, manifest)
    setup = set_up_training(data, Recipe(NETWORK, replace(TRAINING, seed=seed)), tmp_path / "run")
    drawn = np.random.default_rng(seed).permutation(5)[: given or 2000].tolist()
    paths = [read_manifest(manifest)[index].audio_path for index in drawn]
    frames = np.concatenate([spectrogram(load_audio(path)) for path in paths], axis=1)
    found = setup.trainer.model.normalizer
    assert found is not None
    np.testing.assert_allclose(found.mean, frames.mean(1, keepdims=True), atol=1e-4)
