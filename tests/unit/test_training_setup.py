"""From manifests to a trainer: what cannot be used is left out and said, what was measured once stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from deepspeech2.errors import CheckpointError, ManifestError, VocabularyError
from deepspeech2.speech import training_setup
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.data.augment import ImpulseResponse, Noise, Sometimes
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.data.preflight import Reason
from deepspeech2.speech.data.prepare import PrepareOptions
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recipe import Recipe
from deepspeech2.speech.training_folder import STATE_FILE
from deepspeech2.speech.training_options import TrainingOptions
from deepspeech2.speech.training_setup import TrainingData, TrainingSetup, set_up_training

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


def set_up(data: TrainingData, folder: Path) -> tuple[TrainingSetup, list[str]]:
    """A training, and what was said of its vocabulary and its normaliser."""
    said: list[str] = []
    return set_up_training(data, RECIPE, folder, say=said.append), said


def test_what_lies_beside_the_manifest_is_taken(write_tones: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_tones(["ab cd", "dad", "cab ad"])
    manifest.write_text(manifest.read_text().replace('"dad"', '"d\\u00e9d"').replace('"cab ad"', '"cab ad\\n"'))
    data = TrainingData(manifest, manifest)
    words, numbers = tmp_path / "vocabulary.txt", tmp_path / "mean_std.npz"
    words.write_text("d\nc\nb\na\n \n")
    np.savez(numbers, mean=np.full((161, 1), 9.0), std=np.full((161, 1), 2.0))
    found, said = set_up(data, tmp_path / "run")
    assert said == [f"vocabulary: the 5 characters of {words}", f"normaliser: {numbers}"]
    assert found.trainer.model.labels == ("d", "c", "b", "a", " ")
    assert found.trainer.model.normalizer is not None
    assert set(found.trainer.model.normalizer.mean.ravel().tolist()) == {9.0}
    assert [item.text for item in found.train.usable] == ["ab cd", "cab ad"]
    assert [(item.reason, item.detail) for item in found.train.problems] == [
        (Reason.UNKNOWN_CHARACTERS, "'\u00e9' in 'd\u00e9d'")
    ]

    other_words, other_numbers = tmp_path / "other.txt", tmp_path / "other.npz"
    other_words.write_text("a\nb\nc\nd\n \n\u00e9\n")
    np.savez(other_numbers, mean=np.full((161, 1), 7.0), std=np.full((161, 1), 2.0))
    found, said = set_up(replace(data, vocabulary=other_words, normalizer=other_numbers), tmp_path / "run")
    assert said == [f"vocabulary: the 6 characters of {other_words}", f"normaliser: {other_numbers}"]
    assert found.trainer.model.labels == ("a", "b", "c", "d", " ", "\u00e9")
    assert found.trainer.model.normalizer is not None
    assert set(found.trainer.model.normalizer.mean.ravel().tolist()) == {7.0}

    model = build_model(replace(NETWORK, vocab_size=5), seed=3, labels=("d", "a", " ", "b", "c"))
    model.normalizer = Normalizer(np.zeros(161), np.ones(161))
    save_model(model, tmp_path / "model.safetensors")
    found, said = set_up(replace(data, initial_model=tmp_path / "model.safetensors"), tmp_path / "run")
    start = tmp_path / "model.safetensors"
    assert said == [f"vocabulary: the 5 characters of {start}", f"normaliser: that of {start}"]
    assert found.trainer.model.labels == ("d", "a", " ", "b", "c")

    np.savez(numbers, mean=np.zeros((80, 1)), std=np.ones((80, 1)))
    with pytest.raises(CheckpointError, match=r"mean_std\.npz: .* of 161 bins, found 80; .* --normalizer names"):
        set_up(data, tmp_path / "new")
    words.write_text("hello\n")
    with pytest.raises(VocabularyError, match=r"vocabulary\.txt:1: expected one character.*--vocabulary names another"):
        set_up(data, tmp_path / "run")


def test_rare_characters_are_named_where_nothing_says_which_there_are(
    write_tones: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = write_tones(["ab cd", "dad", "cab ad"])
    data = TrainingData(manifest, manifest)
    found, said = set_up(data, tmp_path / "run")
    assert said == [
        "vocabulary: the 28 English symbols, which spell every text",
        "normaliser: measured on 3 utterances",
    ]
    manifest.write_text(manifest.read_text().replace('"dad"', '"d9d\\n"').replace('"cab ad"', '"9 \\u00e9\\u00e9"'))
    found, said = set_up(data, tmp_path / "run")
    assert found.trainer.model.labels == tuple(" 9abcd\u00e9"), "the line break after a text is no character of it"
    assert said[0].startswith(
        "vocabulary: the 7 characters of 3 texts, those beyond English, rarest first: '\u00e9' in 1, '9' in 2; "
    )
    manifest.write_text(
        manifest.read_text().replace('"d9d\\n"', '"\u0431\u0432\u0433\u0434\u0435\u0436\u0437\u0438\u043a\u043b\u043c"')
    )
    _, said = set_up(data, tmp_path / "run")
    assert "'\u0438' in 1 and 3 more;" in said[0]


def test_a_training_goes_on_with_what_it_began_with_whatever_lies_beside_the_manifest_now(
    write_tones: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = write_tones(["ab cd", "dad", "cab ad"])
    data = TrainingData(manifest, manifest)
    set_up(data, tmp_path / "run")[0].trainer.run()
    np.savez(tmp_path / "mean_std.npz", mean=np.full((161, 1), 9.0), std=np.ones((161, 1)))
    (tmp_path / "vocabulary.txt").write_text("a\nb\nc\nd\n \n")
    again, said = set_up(data, tmp_path / "run")
    assert said == [
        "vocabulary: the 28 characters of the training gone on with",
        "normaliser: that of the training gone on with",
    ]
    again.trainer.resume()
    assert again.trainer.state.epoch == 1


def test_recordings_that_cannot_be_drawn_are_left_out_and_named(
    write_tones: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = write_tones(["ab cd", "dad", "cab ad"])
    hum = read_manifest(manifest)[0]
    silent, short, text = (tmp_path / name for name in ("silent.wav", "short.wav", "text.wav"))
    soundfile.write(silent, np.zeros(1600), 16_000)
    soundfile.write(short, np.hanning(201), 16_000)
    text.write_text("no audio")
    given = [hum, *(Utterance(path, 0.0) for path in (silent, short, text, tmp_path / "lost.wav"))]
    steps = (Sometimes(Noise(given, 5.0, 6.0)), Sometimes(ImpulseResponse(given), 0.5))
    recipe = replace(RECIPE, augmentation=AugmentationOptions(steps=steps))
    setup = set_up_training(TrainingData(manifest, manifest), recipe, tmp_path / "run")
    found = [(problem.utterance.audio_path.name, problem.reason) for problem in setup.train.recordings]
    lost = [("text.wav", Reason.UNREADABLE), ("lost.wav", Reason.UNREADABLE)]
    # Silent noise is none, and a silent room would leave nothing of the speech; a short room is one all the same.
    assert found == [("short.wav", Reason.UNREADABLE), *lost, ("silent.wav", Reason.SILENT), *lost]
    assert setup.train.problems == ()
    kept = setup.trainer._train.augmentation
    assert kept is not None
    noise, room = (step.augmentation for step in kept.steps)
    assert noise == Noise((hum, given[1]), 5.0, 6.0)
    assert room == ImpulseResponse((hum, given[2]))
    assert [step.probability for step in kept.steps] == [1.0, 0.5]
    assert len(setup.trainer.run()) == 1

    only = replace(recipe, augmentation=AugmentationOptions(steps=(Sometimes(ImpulseResponse(given[3:])),)))
    with pytest.raises(ManifestError, match=r"none of the 2 recordings for ImpulseResponse .*the first: .*text\.wav"):
        set_up_training(TrainingData(manifest, manifest), only, tmp_path / "other")


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
