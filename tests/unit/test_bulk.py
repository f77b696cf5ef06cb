"""Bulk transcription: what an interrupted run has done is kept and not done again, by any engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech2.ctc import BeamOptions
from deepspeech2.errors import OptionError
from deepspeech2.speech.build import build_model
from deepspeech2.speech.bulk import LocalEngine, RecognizerSettings, identify
from deepspeech2.speech.bulk_results import ResultsFile, ResultsFolder, digest
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.data.feature_cache import utterance_spectrogram
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.transcript import TimedWord, Transcript

TEXTS = ["abcd", "dc ba", "aa bb", "cd", "bad cab"]


@pytest.fixture
def utterances(write_tones: Callable[..., Path]) -> list[Utterance]:
    return read_manifest(write_tones(TEXTS))


@pytest.fixture
def settings(utterances: list[Utterance], tmp_path: Path) -> RecognizerSettings:
    network = NetworkOptions(
        convolutions=(ConvolutionOptions(2, (5, 5), (8, 3)),), recurrent_layers=1, recurrent_size=8
    )
    model = build_model(network, seed=3)
    model.normalizer = Normalizer.fit(map(utterance_spectrogram, utterances))
    save_model(model, tmp_path / "tiny.safetensors")
    return RecognizerSettings(str(tmp_path / "tiny.safetensors"), "greedy")


def said(text: str) -> Transcript:
    return Transcript(text, (TimedWord(text, 0.0, 0.5, 0.9),), 1.0, -1.0)


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("workers", [1, 3])
def test_local_outcomes_are_those_of_the_recogniser(
    utterances: list[Utterance], settings: RecognizerSettings, workers: int
) -> None:
    recognizer = settings.load()
    lost = replace(utterances[0], audio_path=Path("lost.wav"))
    outcomes = list(LocalEngine(recognizer, workers).run(list(enumerate([*utterances, lost]))))
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3, 4, 5]
    assert [outcome.transcript for outcome in outcomes[:5]] == [recognizer.transcribe(item) for item in utterances]
    assert outcomes[5].transcript is None
    assert "lost.wav: no such file" in outcomes[5].reason


def test_results_appear_at_the_end_in_the_order_asked_for(
    utterances: list[Utterance], settings: RecognizerSettings, tmp_path: Path
) -> None:
    out, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    with ResultsFile(out, utterances[:3], settings, resume=False) as results:
        for index in (2, 0, 1):
            results.add(index, said(f"text {index}"))
            assert not out.exists()
            assert texts(partial)[-1] == f"text {index}"  # on disk at once
        results.finish()
    assert texts(out) == ["text 0", "text 1", "text 2"]
    assert not partial.exists()
    record = json.loads(out.read_text().splitlines()[1])
    assert record["source"] == str(utterances[1].audio_path)
    assert (record["offset"], record["duration"]) == (0.0, utterances[1].duration)
    assert record["words"] == [{"text": "text 1", "start": 0.0, "end": 0.5, "confidence": 0.9}]


@pytest.fixture
def interrupted(utterances: list[Utterance], settings: RecognizerSettings, tmp_path: Path) -> Iterator[Path]:
    """A results file of a run that was killed in the middle of its third line."""
    with ResultsFile(tmp_path / "out.jsonl", utterances, settings, resume=False) as results:
        results.add(3, said("three"))
        results.add(0, said("zero"))
    with (tmp_path / "out.jsonl.partial").open("a") as file:
        file.write('{"text": "on')
    return tmp_path / "out.jsonl"


def test_what_is_done_is_not_done_again(
    interrupted: Path, utterances: list[Utterance], settings: RecognizerSettings
) -> None:
    with ResultsFile(interrupted, utterances, settings, resume=True) as results:
        assert [results.has(index) for index in range(5)] == [True, False, False, True, False]
        for index in (1, 2):
            results.add(index, said(f"text {index}"))
        results.finish()
    assert texts(interrupted) == ["zero", "text 1", "text 2", "three"]
    # The fifth had failed: a run that goes on tries it again, and only it.
    with ResultsFile(interrupted, utterances, settings, resume=True) as results:
        assert [results.has(index) for index in range(5)] == [True, True, True, True, False]


def test_runs_do_not_mix(interrupted: Path, utterances: list[Utterance], settings: RecognizerSettings) -> None:
    with pytest.raises(OptionError, match="add --resume to go on with it"):
        ResultsFile(interrupted, utterances, settings, resume=False)
    beam = replace(settings, decoder="beam")
    with pytest.raises(OptionError, match="another model or decoder"):
        ResultsFile(interrupted, utterances, beam, resume=True)
    partial = interrupted.with_name("out.jsonl.partial")
    partial.write_text("nonsense\n" + partial.read_text())
    with pytest.raises(OptionError, match="partial:1: expected a transcript"):
        ResultsFile(interrupted, utterances, settings, resume=True)


def test_a_run_that_has_nothing_leaves_nothing(
    utterances: list[Utterance], settings: RecognizerSettings, tmp_path: Path
) -> None:
    with ResultsFile(tmp_path / "out.jsonl", utterances, settings, resume=False):
        pass
    assert not list(tmp_path.glob("out*"))


def test_the_digest_is_of_what_decides_the_text(settings: RecognizerSettings, tmp_path: Path) -> None:
    beam = replace(settings, decoder="beam")
    language_model = tmp_path / "lm.arpa"
    language_model.write_text("one")
    seen = {digest(settings), digest(beam), digest(replace(beam, beam=BeamOptions(beam_size=7)))}
    seen.add(digest(with_lm := replace(beam, language_model=str(language_model))))
    language_model.write_text("two")
    seen |= {digest(with_lm), digest(RecognizerSettings()), digest(RecognizerSettings(decoder="greedy"))}
    seen.add(digest(replace(settings, weights="int8")))
    assert len(seen) == 8
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(settings.model).read_bytes())
    assert digest(replace(settings, model=str(copy))) == digest(settings)


def test_a_folder_has_a_file_for_each(utterances: list[Utterance], tmp_path: Path) -> None:
    pieces = [utterances[0], replace(utterances[0], offset=1.5), utterances[1]]
    folder = ResultsFolder(tmp_path / "out", pieces, "txt", resume=True)
    folder.add(1, said("piece"))
    again = ResultsFolder(tmp_path / "out", pieces, "txt", resume=True)
    assert [again.has(index) for index in range(3)] == [False, True, False]
    assert (tmp_path / "out" / "0-1.500.txt").read_text() == "piece\n"
    assert not ResultsFolder(tmp_path / "out", pieces, "txt", resume=False).has(1)
    with pytest.raises(OptionError, match="would both be written to"):
        ResultsFolder(tmp_path / "out", [*pieces, pieces[2]], "txt", resume=False)


def test_pieces_from_one_moment_on_are_named_by_their_lengths(utterances: list[Utterance], tmp_path: Path) -> None:
    piece = replace(utterances[0], offset=0.5, duration=1.0)
    pieces = [piece, replace(piece, duration=2.25), replace(piece, offset=1.5), replace(piece, channel=1)]
    folder = ResultsFolder(tmp_path, pieces, "txt", resume=False)
    for index in range(4):
        folder.add(index, said(str(index)))
    names = ["0-0.500-1.000s.txt", "0-0.500-2.250s.txt", "0-1.500.txt", "0-0.500-channel1.txt"]
    assert [(tmp_path / name).read_text() for name in names] == ["0\n", "1\n", "2\n", "3\n"]


def test_places_that_take_no_transcript_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OptionError, match=r"a\.txt: expected a file to write, found a folder"):
        ResultsFolder(tmp_path, [tmp_path / "a.wav"], "txt", resume=True)
    longest = tmp_path / f"{'x' * 251}.wav"
    ResultsFolder(tmp_path, [longest], "txt", resume=False).add(0, said("one"))
    assert longest.with_suffix(".txt").read_text() == "one\n"
    with pytest.raises(OptionError, match=r"xxx\.json: cannot be written: File name too long; transcribe .* apart"):
        ResultsFolder(tmp_path, [longest], "json", resume=False)


def test_a_piece_that_cannot_be_read_is_named_by_its_line(settings: RecognizerSettings, tmp_path: Path) -> None:
    samples = np.zeros(16_000, np.float32)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    records = [{"audio_filepath": "long.wav", "offset": offset, "duration": 1} for offset in (5, 7)]
    (tmp_path / "pieces.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pieces = read_manifest(tmp_path / "pieces.jsonl", texts=False)
    for workers in (1, 2):
        outcomes = list(LocalEngine(settings.load(), workers).run(list(enumerate(pieces))))
        for line, outcome in enumerate(outcomes, 1):
            assert outcome.reason.startswith(f"pieces.jsonl:{line} (long.wav): ")


def test_sources_are_told_apart(utterances: list[Utterance]) -> None:
    assert identify(Path("a/b.wav")) == identify("a/b.wav") == ("a/b.wav", 0.0, 0.0)
    assert identify(replace(utterances[0], offset=2.0)) != identify(utterances[0])


def test_two_channels_of_one_file_have_a_line_each(
    utterances: list[Utterance], settings: RecognizerSettings, tmp_path: Path
) -> None:
    both = [replace(utterances[0], channel=channel) for channel in (0, 1)]
    with ResultsFile(tmp_path / "out.jsonl", both, settings, resume=False) as results:
        results.add(0, said("left"))
    with ResultsFile(tmp_path / "out.jsonl", both, settings, resume=True) as results:
        assert [results.has(index) for index in range(2)] == [True, False]
        results.add(1, said("right"))
        results.finish()
    assert texts(tmp_path / "out.jsonl") == ["left", "right"]
    ResultsFolder(tmp_path / "out", both, "txt", resume=False).add(1, said("right"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0-channel1.txt"]


def test_a_kill_may_cut_a_character_in_two(
    interrupted: Path, utterances: list[Utterance], settings: RecognizerSettings
) -> None:
    with interrupted.with_name("out.jsonl.partial").open("ab") as file:
        file.write("é".encode()[:1])
    with ResultsFile(interrupted, utterances, settings, resume=True) as results:
        assert [results.has(index) for index in range(5)] == [True, False, False, True, False]


def test_a_file_of_another_encoding_is_no_results_file(
    utterances: list[Utterance], settings: RecognizerSettings, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    with pytest.raises(OptionError, match=r"out\.jsonl:1: expected a transcript"):
        ResultsFile(tmp_path / "out.jsonl", utterances, settings, resume=True)
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"text": "caf\xe9"}\n'


def test_what_is_no_longer_asked_for_is_not_thrown_away(
    interrupted: Path, utterances: list[Utterance], settings: RecognizerSettings
) -> None:
    partial = interrupted.with_name("out.jsonl.partial")
    before = partial.read_bytes()
    with pytest.raises(OptionError, match=r"partial:1 is of .*3\.wav, which is not asked for now"):
        ResultsFile(interrupted, utterances[:3], settings, resume=True)
    assert partial.read_bytes() == before
