"""Every utterance that cannot be trained on is named with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import soundfile
import torch

from deepspeech2.speech.build import build_model
from deepspeech2.speech.data import preflight as module
from deepspeech2.speech.data.labels import ctc_frames_needed
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.data.preflight import PreflightOptions, Reason, output_frames, preflight
from deepspeech2.speech.data.prepare import PrepareOptions, prepare

LABELS = (" ", "a", "b", "c", "d")


def test_each_problem_has_its_reason(tmp_path: Path, write_tones: Callable[..., Path]) -> None:
    good = read_manifest(write_tones(["abcd"]))[0]
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "narrow.wav", np.random.default_rng(0).normal(size=8000) * 0.1, 8_000)
    (tmp_path / "text.wav").write_text("not audio")
    cases = {
        Reason.UNREADABLE: replace(good, audio_path=tmp_path / "text.wav"),
        Reason.SILENT: Utterance(tmp_path / "silent.wav", 1.0, "ab"),
        Reason.LOW_RATE: Utterance(tmp_path / "narrow.wav", 1.0, "ab"),
        Reason.WRONG_DURATION: replace(good, duration=3.0),
        Reason.EMPTY_TEXT: replace(good, text="  "),
        Reason.UNKNOWN_CHARACTERS: replace(good, text="abz"),
        Reason.TOO_SHORT: replace(good, text="abcd" * 6),
        Reason.TOO_LONG: replace(good, text="ab", where="long"),
    }
    for reason, utterance in cases.items():
        options = PreflightOptions(longest_seconds=0.3 if reason is Reason.TOO_LONG else None)
        report = preflight([utterance], LABELS, options)
        assert [problem.reason for problem in report.problems] == [reason], str(report.problems)
        assert "\n" not in str(report.problems[0])
    everything = [good, *[utterance for reason, utterance in cases.items() if reason is not Reason.TOO_LONG]]
    report = preflight(everything, LABELS)
    assert report.usable == (good,)
    assert report.summary().startswith("1 of 8 utterances usable; left out: 1 ")


@pytest.fixture(params=["wav", "vorbis", "opus"])
def cut(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of a whole file and one cut in half, of ten seconds each, with their transcripts."""
    samples = np.random.default_rng(0).normal(size=160_000) * 0.1
    ending = "wav" if request.param == "wav" else "ogg"
    subtype = "PCM_16" if request.param == "wav" else request.param.upper()
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("cut", "whole"):
        soundfile.write(folder / f"{name}.{ending}", samples, 16_000, subtype=subtype)
        (folder / f"{name}.txt").write_text("a cab bad")
    path = folder / f"cut.{ending}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize("decode", [True, False])
def test_a_file_cut_short_is_left_out_of_a_corpus(tmp_path: Path, cut: Path, decode: bool) -> None:
    options = PrepareOptions(preflight=PreflightOptions(decode=decode))
    report = prepare(cut.parent, tmp_path / "out", options).report
    assert [item.audio_path.stem for item in report.usable] == ["whole"]
    assert [problem.reason for problem in report.problems] == [Reason.WRONG_DURATION]


@pytest.mark.parametrize("decode", [True, False])
def test_what_a_cut_took_is_left_out_of_a_manifest(tmp_path: Path, cut: Path, decode: bool) -> None:
    # Others measure what is there, so that the duration they write shows nothing of the cut.
    measured = soundfile.info(cut).duration
    pieces = [{}, {"duration": measured}, {"offset": 2.0}, {"offset": 2.0, "duration": 1.0}]
    records = [{"audio_filepath": str(cut), "text": "a cab bad", **item} for item in pieces]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    report = preflight(read_manifest(tmp_path / "a.jsonl"), LABELS, PreflightOptions(decode=decode))
    assert [item.where for item in report.usable] == ["a.jsonl:4"]
    assert [problem.reason for problem in report.problems] == [Reason.WRONG_DURATION] * 3
    assert f"the file at {measured:.2f} s" in report.problems[0].detail
    assert "the file was cut short" in report.problems[1].detail


def test_telephone_speech_passes_when_it_is_asked_for(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "narrow.wav", np.random.default_rng(0).normal(size=8000) * 0.1, 8_000)
    narrow = Utterance(tmp_path / "narrow.wav", 1.0, "ab")
    for lowest, usable in ((16_000, 0), (8001, 0), (8000, 1)):
        assert len(preflight([narrow], LABELS, PreflightOptions(lowest_rate=lowest)).usable) == usable


def test_threads_check_side_by_side(write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    # Each reading waits until another one is under way, which one thread could not bring about.
    both = Barrier(2, timeout=60)

    def met(*_: object, **__: object) -> np.ndarray:
        both.wait()
        return np.ones(16_000, np.float32)

    monkeypatch.setattr(module, "load_audio", met)
    utterances = [
        replace(item, text=item.text + 20 * "a") for item in read_manifest(write_tones(["ab", "cd", "a", "b"]))
    ]
    utterances[2] = replace(utterances[2], text="a")
    done: list[int] = []
    report = preflight(utterances, LABELS, workers=2, progress=done.append)
    assert report.usable == (utterances[2],)
    assert [problem.utterance for problem in report.problems] == [utterances[number] for number in (0, 1, 3)]
    assert done == [1, 2, 3, 4]


def test_the_reason_is_not_read_from_the_name_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "silent-films"
    folder.mkdir()
    soundfile.write(folder / "1.flac", np.random.default_rng(0).normal(size=16_000) * 0.1, 16_000)
    whole = (folder / "1.flac").read_bytes()
    (folder / "1.flac").write_bytes(whole[:9000] + bytes(len(whole) - 9000))  # the header stays as it was
    soundfile.write(folder / "2.flac", np.zeros(16_000), 16_000)
    report = preflight([Utterance(folder / f"{number}.flac", 1.0, "ab") for number in (1, 2)], LABELS)
    assert [problem.reason for problem in report.problems] == [Reason.UNREADABLE, Reason.SILENT]


def test_the_length_rule_is_the_one_of_the_loss(write_tones: Callable[..., Path]) -> None:
    # "aab" needs 4 frames: at 3 the loss is infinite.
    assert ctc_frames_needed("aab") == 4
    log_probs = torch.randn(5, 1, 6).log_softmax(2)
    for frames, finite in ((3, False), (4, True)):
        loss = torch.nn.functional.ctc_loss(
            log_probs, torch.tensor([[1, 1, 2]]), torch.tensor([frames]), torch.tensor([3]), blank=5
        )
        assert bool(torch.isfinite(loss)) is finite


@pytest.mark.parametrize("samples", [320, 479, 480, 1000, 16_000, 16_160, 54_321])
def test_output_frames_are_those_of_the_network(samples: int) -> None:
    from deepspeech2.speech.features import spectrogram

    features = spectrogram(np.random.default_rng(0).normal(size=samples))
    with torch.inference_mode():
        _, frames = build_model("default", seed=0)(torch.from_numpy(features)[None], torch.tensor([features.shape[1]]))
    assert output_frames(samples / 16_000) == int(frames[0])
