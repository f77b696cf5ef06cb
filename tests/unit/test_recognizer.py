"""Recognition: the network's own output decoded, long audio in windows, transcripts in every format."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from deepspeech2.ctc import BeamDecoder, BeamOptions, load_language_model
from deepspeech2.errors import AudioError, OptionError, SilentAudioError
from deepspeech2.speech import recognizer as recognizer_module
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.evaluation import Evaluation, Prediction, evaluate_manifest
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.long_audio import WindowOptions, log_probabilities, log_probabilities_of_all, plan_windows
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recognizer import Recognizer
from deepspeech2.speech.scoring import ErrorCount
from deepspeech2.speech.transcript import TimedWord, Transcript, format_transcript

CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"


@pytest.fixture
def model() -> DeepSpeech2:
    options = NetworkOptions(
        convolutions=(ConvolutionOptions(4, (41, 11), (2, 3)),), recurrent_layers=1, recurrent_size=16, cell="gru"
    )
    model = build_model(options, seed=0)
    model.normalizer = Normalizer.fit([spectrogram(load_audio(CLIP))])
    return model


def spell(model: DeepSpeech2, matrix: np.ndarray) -> str:
    labels = [*(model.labels or ()), ""]
    best = matrix.argmax(1)
    kept = [best[0], *[b for a, b in pairwise(best) if a != b]]
    return " ".join("".join(labels[index] for index in kept).split())


def test_greedy_text_is_the_best_path(model: DeepSpeech2) -> None:
    recognizer = Recognizer(model)
    features = model.normalizer(spectrogram(load_audio(CLIP)))  # type: ignore[misc]
    with torch.inference_mode():
        outputs, _ = model(torch.from_numpy(features)[None], torch.tensor([features.shape[1]]))
    np.testing.assert_allclose(recognizer.log_probabilities(CLIP), outputs[0], atol=1e-5)
    transcript = recognizer.transcribe(CLIP)
    assert transcript.text == spell(model, outputs[0].numpy()) != ""
    assert transcript.seconds == pytest.approx(9.995)
    assert " ".join(word.text for word in transcript.words) == transcript.text
    times = [(word.start, word.end) for word in transcript.words]
    assert all(0 <= start < end <= 9.995 for start, end in times)
    assert times == sorted(times)
    assert all(0 < word.confidence <= 1 for word in transcript.words)


def test_word_times_are_the_frames_of_its_characters(model: DeepSpeech2, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer(model)
    matrix = np.full((20, 29), -20.0, np.float32)
    # "a" in frames 2-3, "b" in frame 5, a space in frame 8, "c" in frames 12-14; blank elsewhere.
    path = [28] * 20
    for frame, label in {2: 2, 3: 2, 5: 3, 8: 1, 12: 4, 13: 4, 14: 4}.items():
        path[frame] = label
    matrix[range(20), path] = math.log(1 - 28 * math.exp(-20))
    monkeypatch.setattr(recognizer_module, "log_probabilities_of_all", lambda *_: [matrix])
    words = recognizer.transcribe(np.ones(16_000, np.float32)).words
    assert [(word.text, word.start, word.end) for word in words] == [
        ("ab", pytest.approx(0.06), pytest.approx(0.18)),
        ("c", pytest.approx(0.36), pytest.approx(0.45)),
    ]
    assert words[0].confidence == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("beam", [None, BeamOptions(beam_size=8)])
def test_silence_between_words_leaves_their_confidence(
    model: DeepSpeech2, monkeypatch: pytest.MonkeyPatch, beam: BeamOptions | None
) -> None:
    # "a" at 0.9, "b" at 0.4 in a frame where nothing else is above 0.03; then two seconds of blanks, a space, "c".
    matrix = np.full((90, 29), math.log(1e-6), np.float32)
    matrix[:, 28] = math.log(1 - 28e-6)
    for frame, label, probability in ((2, 2, 0.9), (4, 3, 0.4), (80, 1, 0.9), (85, 4, 0.7)):
        matrix[frame] = math.log((1 - probability) / 28)
        matrix[frame, label] = math.log(probability)
    monkeypatch.setattr(recognizer_module, "log_probabilities_of_all", lambda *_: [matrix])
    words = Recognizer(model, beam=beam).transcribe(np.ones(48_000, np.float32)).words
    assert [word.text for word in words] == ["ab", "c"]
    assert [word.confidence for word in words] == pytest.approx([0.6, 0.7], rel=1e-5)


def test_a_word_that_the_padding_of_its_last_frame_reaches_past_ends_with_the_audio(
    model: DeepSpeech2, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = np.full((20, 29), -20.0, np.float32)
    path = [28] * 18 + [2] * 2
    matrix[range(20), path] = math.log(1 - 28 * math.exp(-20))
    monkeypatch.setattr(recognizer_module, "log_probabilities_of_all", lambda *_: [matrix])
    seconds = 0.585  # the last of 20 frames of 30 ms ends at 0.6
    for beam in (None, BeamOptions(beam_size=4)):
        transcript = Recognizer(model, beam=beam).transcribe(np.ones(round(seconds * 16_000), np.float32))
        assert transcript.words[0].start == pytest.approx(0.54)
        assert transcript.words[0].end == transcript.seconds == seconds


def test_every_kind_of_source_gives_the_same(model: DeepSpeech2) -> None:
    recognizer = Recognizer(model)
    expected = recognizer.transcribe(CLIP).text
    assert recognizer.transcribe(str(CLIP)).text == expected
    assert recognizer.transcribe(io.BytesIO(CLIP.read_bytes())).text == expected
    assert recognizer.transcribe(load_audio(CLIP)).text == expected
    piece = Utterance(CLIP, 4.0, offset=2.0)
    assert recognizer.transcribe(piece).text == recognizer.transcribe(load_audio(CLIP)[32_000:96_000]).text
    found = list(recognizer.transcribe_all([CLIP, piece, CLIP], threads=1))
    assert [transcript.text for transcript in found] == [expected, recognizer.transcribe(piece).text, expected]


def test_arrays_of_any_rate_level_and_kind(model: DeepSpeech2) -> None:
    recognizer = Recognizer(model)
    mono = load_audio(CLIP)
    expected = recognizer.transcribe(mono).text
    sixteen = np.round(mono * 32_767).astype(np.int16)
    heard = recognizer.log_probabilities(sixteen)
    np.testing.assert_allclose(heard, recognizer.log_probabilities(sixteen / 32_768.0), atol=1e-4)
    wide = sixteen.astype(np.int32) * 65_536
    np.testing.assert_allclose(recognizer.log_probabilities(wide), heard, atol=1e-4)
    two = np.stack([mono * 1.5, mono * 0.5], axis=1)
    tensor = torch.from_numpy(mono).requires_grad_()
    for source in (two, two.astype(np.float64), tensor, mono.astype(np.float64)):
        assert recognizer.transcribe(source).text == expected


def test_the_rate_of_an_array_is_taken_as_it_is_given(model: DeepSpeech2, tmp_path: Path) -> None:
    recognizer = Recognizer(model)
    slow = load_audio(CLIP, 44_100)
    soundfile.write(tmp_path / "a.wav", slow, 44_100, subtype="FLOAT")
    transcript = recognizer.transcribe(slow, sample_rate=44_100)
    assert replace(transcript, source="") == replace(recognizer.transcribe(tmp_path / "a.wav"), source="")
    assert transcript.seconds == pytest.approx(9.995, abs=1e-3)
    assert transcript.sample_rate == 44_100
    with pytest.raises(OptionError, match=r"sample_rate is for arrays, found str"):
        recognizer.transcribe(str(tmp_path / "a.wav"), sample_rate=44_100)
    for rate in (0, -1, 8000.5, True, None):
        with pytest.raises(OptionError, match="expected sample_rate in whole Hz"):
            recognizer.transcribe(slow, sample_rate=rate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"RIFF" * 4000, r"found bytes; give io\.BytesIO"),
        ([0.5] * 16_000, r"found list; give numpy\.asarray"),
        (None, "found NoneType"),
        (7, "found int"),
        (torch.ones(16_000, device="meta"), "tensor on the CPU, found one on meta"),
        (np.full(16_000, 128, np.uint8), r"found uint8; take off its middle value"),
        (np.ones((2, 16_000)), r"found \(2, 16000\); give its transpose"),
        (np.ones((9, 9, 9)), r"found \(9, 9, 9\)"),
        (np.ones(16_000, complex), "real samples, found complex128"),
    ],
)
def test_what_is_no_audio_is_refused_by_its_kind(model: DeepSpeech2, source: object, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        Recognizer(model).transcribe(source)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("frames", [1, 7, 299, 300, 301, 1000, 3001])
@pytest.mark.parametrize("stride", [1, 3])
def test_windows_cover_every_output_once(frames: int, stride: int) -> None:
    covered: list[int] = []
    for window in plan_windows(frames, stride, WindowOptions(3.0, 0.5)):
        assert window.start % stride == 0
        assert 0 <= window.start < window.stop <= frames
        assert window.stop - window.start <= 300
        outputs = (window.stop - window.start - 1) // stride + 1
        assert window.skip + window.keep <= outputs
        first = window.start // stride + window.skip
        covered += range(first, first + window.keep)
    assert covered == list(range((frames - 1) // stride + 1))


def test_windows_hardly_change_the_probabilities(model: DeepSpeech2) -> None:
    features = model.normalizer(spectrogram(load_audio(CLIP)))  # type: ignore[misc]
    whole = log_probabilities(model, features)
    cut = log_probabilities(model, features, WindowOptions(4.0, 1.0, batch=2))
    assert cut.shape == whole.shape
    assert np.abs(np.exp(cut) - np.exp(whole)).max() < 0.02
    narrow = log_probabilities(model, features, WindowOptions(4.0, 0.0 + 1e-9, batch=2))
    assert np.abs(np.exp(narrow) - np.exp(whole)).max() > np.abs(np.exp(cut) - np.exp(whole)).max()


def test_together_utterances_are_what_each_is_alone(model: DeepSpeech2) -> None:
    whole = model.normalizer(spectrogram(load_audio(CLIP)))  # type: ignore[misc]
    features = [whole[:, :length] for length in (998, 30, 1, 95, 700, 33, 97, 410, 96, 31)]
    options = WindowOptions(4.0, 0.5, batch=3)
    found = log_probabilities_of_all(model, features, options)
    for together, utterance in zip(found, features, strict=True):
        np.testing.assert_allclose(together, log_probabilities(model, utterance, options), atol=1e-5)
    assert log_probabilities_of_all(model, [], options) == []


@pytest.mark.parametrize("beam", [None, BeamOptions(beam_size=4)])
def test_silence_is_an_empty_transcript(model: DeepSpeech2, tmp_path: Path, beam: BeamOptions | None) -> None:
    recognizer = Recognizer(model, beam=beam)
    path = tmp_path / "silent.flac"
    soundfile.write(path, np.zeros((12_000, 2)), 8000)
    stream = io.BytesIO(path.read_bytes())
    sources = [path, CLIP, stream, Utterance(path, 0.5, "a b", 0.25), Utterance(path, 9.0, offset=0.5), np.zeros(8000)]
    found = list(recognizer.transcribe_all([*sources, Utterance(path, 0.0, offset=0.5)]))
    assert found.pop(1) == recognizer.transcribe(CLIP)
    assert [transcript.seconds for transcript in found] == [1.5, 1.5, 0.5, 1.0, 0.5, 1.0]
    assert [transcript.sample_rate for transcript in found] == [8000] * 4 + [16_000, 8000]
    assert {(transcript.text, transcript.words, transcript.score) for transcript in found} == {("", (), 0.0)}
    assert found[0].source == found[2].source == str(path)
    assert recognizer.transcribe(np.zeros((4410, 2)), sample_rate=44_100).seconds == 0.1
    result = evaluate_manifest(recognizer, [sources[3]])  # type: ignore[list-item]
    assert (result.words.deletions, result.words.errors, result.failures) == (2, 2, ())
    with pytest.raises(SilentAudioError, match=r"silent\.flac"):
        recognizer.log_probabilities(path)


def test_channels_that_cancel_out_are_no_silence(model: DeepSpeech2, tmp_path: Path) -> None:
    mono = load_audio(CLIP)
    opposite = np.stack([mono, -mono], axis=1)
    soundfile.write(tmp_path / "opposite.wav", opposite, 16_000, subtype="FLOAT")
    for source in (opposite, tmp_path / "opposite.wav", Utterance(tmp_path / "opposite.wav", 2.0, offset=1.0)):
        with pytest.raises(AudioError, match="the channels cancel out"):
            Recognizer(model).transcribe(source)


def test_what_precedes_unreadable_audio_is_returned(model: DeepSpeech2, tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no audio")
    recognizer = Recognizer(model)
    found = recognizer.transcribe_all([CLIP, tmp_path / "noise.wav", CLIP])
    assert next(found).text == recognizer.transcribe(CLIP).text
    with pytest.raises(AudioError, match=r"noise\.wav"):
        next(found)


def test_a_beam_search_with_a_language_model(model: DeepSpeech2, tmp_path: Path) -> None:
    arpa = tmp_path / "lm.arpa"
    arpa.write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-1.0\t<unk>\n-99\t<s>\n-1.0\t</s>\n-0.3\tcab\n\n\\end\\\n", encoding="utf-8"
    )
    options = BeamOptions(beam_size=8, n_best=1, beta=12.0)  # a bonus that the random network's noise does not outweigh
    recognizer = Recognizer(model, beam=options, language_model=arpa)
    text = recognizer.transcribe(CLIP).text
    assert set(text.split()) == {"cab"}
    decoder = BeamDecoder(recognizer.alphabet, options, load_language_model(arpa))
    assert text == decoder.decode(recognizer.log_probabilities(CLIP))[0].text


def test_what_cannot_recognise_is_refused(model: DeepSpeech2, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="needs a beam search"):
        Recognizer(model, language_model=tmp_path / "x.arpa")
    with pytest.raises(OptionError, match="did you mean 'small'"):
        Recognizer.from_pretrained("smal")
    with pytest.raises(OptionError, match="beam or greedy"):
        Recognizer.from_pretrained("small", decoder="argmax")
    model.normalizer = None
    with pytest.raises(OptionError, match="no normaliser"):
        Recognizer(model)


def test_evaluation_adds_up(model: DeepSpeech2, tmp_path: Path, write_tones: Callable[..., Path]) -> None:
    utterances = [
        replace(u, text=text) for u, text in zip(read_manifest(write_tones(["abcd", "dc ba"])), "ab", strict=True)
    ]
    recognizer = Recognizer(model)
    heard = [recognizer.transcribe(u).text for u in utterances]
    utterances.insert(1, Utterance(tmp_path / "lost.wav", 1.0, "x"))
    utterances[0] = replace(utterances[0], text=heard[0] + " more")
    result = evaluate_manifest(recognizer, utterances)
    assert [name for name, _ in result.failures] == [str(tmp_path / "lost.wav")]
    assert [item.hypothesis for item in result.predictions] == heard
    assert result.predictions[0].words.deletions == 1
    assert result.predictions[0].words.errors == 1
    summary = result.summary()
    assert summary["utterances"] == 2
    assert summary["wer"] == result.words.errors / result.words.reference
    assert result.words.errors == sum(item.words.errors for item in result.predictions)
    assert result.worst(1) == [result.predictions[1]]


def test_the_longer_of_two_equally_bad_utterances_is_the_worse() -> None:
    def prediction(name: str, errors: int, words: int) -> Prediction:
        return Prediction(name, "", "", ErrorCount(substitutions=errors, reference=words), ErrorCount(), 1.0)

    said = [("short", 1, 2), ("good", 0, 9), ("long", 3, 6), ("middle", 2, 4), ("bad", 2, 2)]
    result = Evaluation(tuple(prediction(*item) for item in said), (), 1.0)
    assert [item.audio_filepath for item in result.worst(9)] == ["bad", "long", "middle", "short", "good"]
    assert [item.audio_filepath for item in result.worst(2)] == ["bad", "long"]


TRANSCRIPT = Transcript(
    "hello big world",
    (TimedWord("hello", 0.5, 0.9, 0.9), TimedWord("big", 1.0, 1.25, 0.8), TimedWord("world", 3661.5, 3662.0, 0.7)),
    3700.0,
    -1.25,
    "a.wav",
)


def test_text_is_no_markup_of_subtitles() -> None:
    words = tuple(TimedWord(text, n / 5, n / 5 + 0.1, 0.9) for n, text in enumerate(["a", "<b>", "&", "c-->d"]))
    text = format_transcript(Transcript("a <b> & c-->d", words, 5.0, 0.0), "vtt")
    assert text.endswith("\na &lt;b&gt; &amp; c--&gt;d\n")


def test_formats() -> None:
    assert format_transcript(TRANSCRIPT, "txt") == "hello big world\n"
    assert format_transcript(TRANSCRIPT, "srt") == (
        "1\n00:00:00,500 --> 00:00:01,250\nhello big\n\n2\n01:01:01,500 --> 01:01:02,000\nworld\n"
    )
    assert format_transcript(TRANSCRIPT, "vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\nhello big\n\n01:01:01.500 --> 01:01:02.000\nworld\n"
    )
    assert format_transcript(TRANSCRIPT, "tsv") == (
        "start\tend\ttext\n500\t900\thello\n1000\t1250\tbig\n3661500\t3662000\tworld\n"
    )
    record = json.loads(format_transcript(TRANSCRIPT, "json"))
    assert record["text"] == "hello big world"
    assert record["sample_rate"] == 16_000
    assert record["words"][1] == {"text": "big", "start": 1.0, "end": 1.25, "confidence": 0.8}
    with pytest.raises(OptionError, match="found 'doc'"):
        format_transcript(TRANSCRIPT, "doc")


def test_subtitle_lines_are_short() -> None:
    words = tuple(TimedWord("word" * 3, i * 0.5, i * 0.5 + 0.4, 1.0) for i in range(60))
    lines = list(Transcript("", words, 30.0, 0.0).lines())
    assert [word for line in lines for word in line] == list(words)
    for line in lines:
        assert len(" ".join(word.text for word in line)) <= 84
        assert line[-1].end - line[0].start <= 7.0


def test_a_missing_file_is_an_audio_error(model: DeepSpeech2, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.safetensors")
    recognizer = Recognizer.from_pretrained(tmp_path / "m.safetensors", decoder="greedy")
    soundfile.write(tmp_path / "short.wav", np.ones(16), 16_000)
    for name in ("short.wav", "lost.wav"):
        with pytest.raises(AudioError, match=name):
            recognizer.transcribe(tmp_path / name)


def test_subtitle_lines_break_at_pauses_length_and_time() -> None:
    def lines(*words: tuple[str, float, float]) -> list[str]:
        timed = tuple(TimedWord(*word, 1.0) for word in words)
        return [" ".join(word.text for word in line) for line in Transcript("", timed, 99.0, 0.0).lines()]

    assert lines(("one", 0.0, 0.5), ("two", 1.25, 1.5), ("three", 2.5, 3.0)) == ["one two", "three"]
    assert lines(("one", 0.0, 0.5), ("two", 1.5, 2.0), ("three", 2.0, 2.5)) == ["one", "two three"]
    assert lines(*((str(n), n, n + 0.5) for n in range(9))) == ["0 1 2 3 4 5 6", "7 8"]
    long = [(c * 41, n, n + 0.5) for n, c in enumerate("abc")]
    assert lines(*long) == ["a" * 41 + " " + "b" * 41, "c" * 41]
    assert lines() == []
