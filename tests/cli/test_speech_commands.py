"""`ds2 prepare`, `ds2 transcribe` and `ds2 evaluate` as a user meets them."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile

from cli_runs import CLIP, run
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.recognizer import Recognizer


def expected_text(checkpoint: Path) -> str:
    return Recognizer(load_model(checkpoint)).transcribe(CLIP).text


def test_transcribe_goes_on_past_a_bad_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", checkpoint, "--decoder", "greedy")
    status = run("transcribe", tmp_path / "lost.wav", CLIP, *options, "--format", "json")
    output = capsys.readouterr()
    assert status == 1
    records = [json.loads(line) for line in output.out.splitlines()]
    assert [record["text"] for record in records] == [expected_text(checkpoint)]
    assert "lost.wav: no such file" in output.err
    assert "1 of 2 files" in output.err
    assert run("transcribe", CLIP, *options) == 0
    assert capsys.readouterr().out == expected_text(checkpoint) + "\n"


def test_telephone_speech_is_named(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = load_audio(CLIP, 8000, duration_seconds=2.0)
    for name in ("first.wav", "second.wav"):
        soundfile.write(tmp_path / name, samples, 8000)
    files = (tmp_path / "first.wav", CLIP, tmp_path / "second.wav")
    assert run("transcribe", *files, "--model", checkpoint, "--decoder", "greedy", "--format", "json") == 0
    output = capsys.readouterr()
    assert [json.loads(line)["sample_rate"] for line in output.out.splitlines()] == [8000, 16_000, 8000]
    (note,) = output.err.splitlines()
    assert f"{files[0]} (8000 Hz) and 1 more: recorded below the 16000 Hz" in note
    assert run("transcribe", CLIP, "--model", checkpoint, "--decoder", "greedy") == 0
    assert capsys.readouterr().err == ""


def test_transcribe_writes_files(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status = run(
        "transcribe", CLIP, "--model", checkpoint, "--decoder", "greedy", "--format", "tsv", "--output-dir", out
    )
    assert status == 0
    assert [path.name for path in out.iterdir()] == ["clip_10s.tsv"]
    rows = [line.split("\t") for line in (out / "clip_10s.tsv").read_text().splitlines()[1:]]
    assert " ".join(row[2] for row in rows) == expected_text(checkpoint)


def test_subtitles_of_one_file_are_printed_and_of_several_are_not(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", checkpoint, "--decoder", "greedy", "--format", "vtt")
    assert run("transcribe", CLIP, *options) == 0
    assert capsys.readouterr().out.startswith("WEBVTT\n")
    assert run("transcribe", CLIP, CLIP, *options) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "found 2 pieces; give --output-dir" in output.err


def test_subtitles_of_a_piece_have_the_times_of_its_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", checkpoint, "--decoder", "greedy")
    record = {"audio_filepath": str(CLIP), "offset": 2.125, "duration": 3.0}
    (tmp_path / "one.jsonl").write_text(json.dumps(record) + "\n")
    assert run("transcribe", tmp_path / "one.jsonl", *options, "--format", "json") == 0
    words = json.loads(capsys.readouterr().out)["words"]
    expected = [[f"{1000 * (word[edge] + 2.125):.0f}" for edge in ("start", "end")] for word in words]
    assert run("transcribe", tmp_path / "one.jsonl", *options, "--format", "tsv") == 0
    printed = capsys.readouterr().out
    assert [line.split("\t")[:2] for line in printed.splitlines()[1:]] == expected != []
    out = ("--format", "tsv", "--output-dir", tmp_path / "out")
    assert run("transcribe", tmp_path / "one.jsonl", *options, *out) == 0
    assert (tmp_path / "out" / "clip_10s-2.125.tsv").read_text() == printed


def test_transcribe_reads_standard_input(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(CLIP.read_bytes())))
    assert run("transcribe", "-", "--model", checkpoint, "--decoder", "greedy") == 0
    assert capsys.readouterr().out == expected_text(checkpoint) + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transcribe", CLIP, "--model", "smal"), "did you mean 'small'"),
        (("transcribe", CLIP, "--modle", "small"), "unknown option --modle"),
        (("transcribe", CLIP, "--decoder", "greedy", "--alpha", "2"), "--alpha belongs to the beam search"),
        (("transcribe", CLIP, CLIP, "--output-dir", "OUT"), "would both be written to"),
        (("evaluate", "lost.jsonl"), "no such manifest"),
        (("evaluate", "lost.jsonl", "--output", "/nowhere/p.jsonl"), "/nowhere/p.jsonl: cannot be written"),
        (("prepare", "lost", "OUT"), "no such manifest"),
        (("train", "lost.jsonl", "--dev", "lost.jsonl", "--output", "OUT"), "no such manifest"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], message: str
) -> None:
    placed = [tmp_path / "out" if argument == "OUT" else argument for argument in arguments]
    assert run(*placed) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_weights_of_a_language_model_need_one(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("transcribe", CLIP, "--model", checkpoint, "--alpha", "2", "--beta", "1") == 2
    assert "--alpha and --beta: they weigh a language model" in capsys.readouterr().err


def test_evaluate_prints_rates_and_writes_predictions(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.jsonl"
    text = expected_text(checkpoint)
    records = [{"audio_filepath": str(CLIP), "duration": 9.995, "text": text + tail} for tail in ("", " more words")]
    manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
    options = ("--model", checkpoint, "--decoder", "greedy")
    assert run("evaluate", manifest, *options, "--format", "json", "--output", tmp_path / "p.jsonl") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["utterances"] == 2
    assert result["wer"] == 2 / (2 * len(text.split()) + 2)
    assert result["words"]["deletions"] == 2
    assert [json.loads(line)["pred_text"] for line in (tmp_path / "p.jsonl").read_text().splitlines()] == [text] * 2
    assert run("evaluate", manifest, *options) == 0
    table = capsys.readouterr().out
    assert f"{result['wer']:.2%}" in table
    assert "real-time factor" in table


def test_evaluate_names_references_the_model_cannot_write(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = expected_text(checkpoint)
    texts = [heard, heard.upper() + ", 7."]
    lines = [json.dumps({"audio_filepath": str(CLIP), "duration": 9.995, "text": text}) + "\n" for text in texts]
    (tmp_path / "m.jsonl").write_text("".join(lines))
    options = ("--model", checkpoint, "--decoder", "greedy", "--format", "json")
    assert run("evaluate", tmp_path / "m.jsonl", *options) == 0
    output = capsys.readouterr()
    assert "1 of 2 references hold characters the model cannot write" in output.err
    assert "--spelling english" in output.err
    assert output.err.count("\n") == 1
    assert json.loads(output.out)["unwritable_references"] == 1
    assert run("evaluate", tmp_path / "m.jsonl", *options, "--spelling", "english") == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["words"]["deletions"] == result["characters"]["deletions"] - 1 == 1  # "7" and the space before it
    assert result["words"]["substitutions"] == 0
    assert "1 of 2 references hold characters the model cannot write and count as errors, such as '7'" in output.err


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """Three pieces of one file, and one of a file that is not there."""
    records: list[dict[str, object]] = [
        {"audio_filepath": str(CLIP), "offset": offset, "duration": 2.0, "text": "cab", "speaker": "x"}
        for offset in (0.0, 2.125, 4.5)
    ]
    records.insert(1, {"audio_filepath": "lost.wav", "offset": 7.5, "duration": 1.0, "text": "bad"})
    (tmp_path / "pieces.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path / "pieces.jsonl"


def test_predictions_tell_pieces_of_a_file_apart(
    checkpoint: Path, pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", checkpoint, "--decoder", "greedy", "--output", tmp_path / "p.jsonl")
    assert run("evaluate", pieces, *options, "--format", "json", "--worst", "1") == 1
    result = json.loads(capsys.readouterr().out)
    records = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [(record["offset"], record.get("speaker")) for record in records] == [
        (0.0, "x"),
        (7.5, None),
        (2.125, "x"),
        (4.5, "x"),
    ]
    assert "lost.wav: no such file" in records[1]["error"]
    assert [record["pred_text"] is None for record in records] == [False, True, False, False]
    (worst,) = result["worst"]
    assert any(worst.items() <= record.items() for record in records)
    assert worst["wer"] == max(record["wer"] for record in records if record["wer"] is not None)
    assert not (tmp_path / "p.jsonl.partial").exists()
    assert run("evaluate", pieces, *options) == 1
    assert f"{CLIP} from 2.125 s" in capsys.readouterr().out


def test_an_interrupted_evaluation_keeps_what_is_done(
    checkpoint: Path,
    pieces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes = Recognizer.outcomes

    def interrupted(*given: Any, **options: Any) -> Iterator[Any]:
        yield from itertools.islice(outcomes(*given, **options), 3)
        raise KeyboardInterrupt

    arguments = ("evaluate", pieces, "--model", checkpoint, "--decoder", "greedy", "--output", tmp_path / "p.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(Recognizer, "outcomes", interrupted)
        assert run(*arguments) == 130
    assert "what is done is kept, the same command with --resume goes on" in capsys.readouterr().err
    assert not (tmp_path / "p.jsonl").exists()
    kept = (tmp_path / "p.jsonl.partial").read_text().splitlines()
    assert [json.loads(line)["offset"] for line in kept] == [0.0, 7.5, 2.125]
    assert run(*arguments) == 2
    assert "p.jsonl.partial is of an interrupted run; add --resume" in capsys.readouterr().err
    assert (tmp_path / "p.jsonl.partial").read_text().splitlines() == kept


def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Offsets of the utterances that are recognised from now on."""
    outcomes, offsets = Recognizer.outcomes, []

    def seen(self: Recognizer, utterances: Any, **options: Any) -> Iterator[Any]:
        offsets.extend(utterance.offset for utterance in utterances)
        return outcomes(self, utterances, **options)

    monkeypatch.setattr(Recognizer, "outcomes", seen)
    return offsets


# A kill ends the file after some lines, after a part of one, or when all were there.
@pytest.mark.parametrize("kept", [0, 1, 2, 2.4, 3.9, 4])
def test_an_evaluation_that_goes_on_ends_as_if_nothing_had_been(
    checkpoint: Path,
    pieces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kept: float,
) -> None:
    predictions = tmp_path / "p.jsonl"
    arguments = ("evaluate", pieces, "--model", checkpoint, "--decoder", "greedy", "--output", predictions)
    assert run(*arguments, "--format", "json") == 1
    whole = json.loads(capsys.readouterr().out)
    lines = predictions.read_text().splitlines(keepends=True)
    predictions.unlink()
    part = lines[int(kept)][: int(kept % 1 * 100)] if kept < 4 else ""
    (tmp_path / "p.jsonl.partial").write_text("".join(lines[: int(kept)]) + part)
    offsets = asked_for(monkeypatch)
    assert run(*arguments, "--format", "json", "--resume") == 1
    output = capsys.readouterr()
    resumed = json.loads(output.out)
    done = [0.0, 2.125, 4.5][: max(1, int(kept) - 1) if kept >= 1 else 0]
    assert offsets == [offset for offset in (0.0, 7.5, 2.125, 4.5) if offset not in done]  # what failed, again
    assert predictions.read_text().splitlines(keepends=True) == lines
    assert not (tmp_path / "p.jsonl.partial").exists()
    changing = ("seconds", "real_time_factor")
    assert {key: resumed[key] for key in resumed if key not in changing} == {
        key: whole[key] for key in whole if key not in changing
    }
    recognised = 2.0 * sum(offset != 7.5 for offset in offsets)
    assert resumed["real_time_factor"] == (
        pytest.approx(resumed["seconds"] / recognised, abs=1e-3) if recognised else None
    )
    assert "lost.wav: no such file" in output.err


def test_an_evaluation_goes_on_with_its_own_results_only(
    checkpoint: Path, pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = tmp_path / "p.jsonl.partial"
    arguments = ("evaluate", pieces, "--model", checkpoint, "--output", tmp_path / "p.jsonl")
    assert run(*arguments, "--decoder", "greedy") == 1
    lines = (tmp_path / "p.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "p.jsonl").unlink()
    other_text = lines[0].replace("cab", "cad", 1)
    other_offset = lines[0].replace('"offset": 0.0', '"offset": 0.5', 1)
    for given, options, message in (
        (lines[:2], (), "partial:1 was made with another model or decoder"),
        ([other_text], ("--decoder", "greedy"), "clip_10s.flac, which is not asked for now; give the same audio"),
        ([*lines, other_offset], ("--decoder", "greedy"), "partial:5 is of "),
        (["{\n", lines[0]], ("--decoder", "greedy"), "partial:1: expected a line of ds2 evaluate --output"),
        (["[]\n", lines[0]], ("--decoder", "greedy"), "partial:1: expected a line of ds2 evaluate --output"),
        (['{"run": 1}\n'], ("--decoder", "greedy"), "partial:1: expected a line of ds2 evaluate --output"),
    ):
        partial.write_text("".join(given))
        capsys.readouterr()
        assert run(*arguments, *options, "--resume") == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert partial.read_text() == "".join(given)
    assert run("evaluate", pieces, "--model", checkpoint, "--resume") == 2
    assert "--resume goes on with what is in --output" in capsys.readouterr().err
    assert run(*arguments[:-1], "/dev/null", "--resume") == 2
    assert "found a device or a pipe" in capsys.readouterr().err


def test_a_finished_evaluation_is_read_again(
    checkpoint: Path, pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("evaluate", pieces, "--model", checkpoint, "--decoder", "greedy", "--output", tmp_path / "p.jsonl")
    assert run(*arguments) == 1
    table = capsys.readouterr().out.splitlines()
    offsets = asked_for(monkeypatch)
    assert run(*arguments, "--resume") == 1
    again = capsys.readouterr().out.splitlines()
    assert offsets == [7.5]  # what could not be read then may be there now
    assert again[:3] == table[:3]
    assert again[3] == "3 utterances, 6.0 s of audio, 6.0 s of it by an earlier run"
    assert again[4:] == table[4:]


def test_what_could_not_be_read_is_tried_again(
    checkpoint: Path, pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", checkpoint, "--decoder", "greedy", "--format", "json")
    assert run("evaluate", pieces, *options, "--output", tmp_path / "p.jsonl") == 1
    (tmp_path / "lost.wav").symlink_to(CLIP)
    offsets = asked_for(monkeypatch)
    capsys.readouterr()
    assert run("evaluate", pieces, *options, "--output", tmp_path / "p.jsonl", "--resume") == 0
    assert offsets == [7.5]
    resumed = json.loads(capsys.readouterr().out)
    assert (resumed["utterances"], resumed["failed"], resumed["audio_seconds"]) == (4, 0, 7.0)
    assert run("evaluate", pieces, *options, "--output", tmp_path / "whole.jsonl") == 0
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_prepare_reports_what_it_left_out(
    tmp_path: Path, write_tones: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_tones(["abcd", "dcba"])
    lines = manifest.read_text().splitlines()
    manifest.write_text(lines[0] + "\n" + lines[1].replace("dcba", "dcba" * 9) + "\n")
    assert run("prepare", manifest, tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert "1 of 2 utterances usable; left out: 1 too short for its text" in output
    assert "tones.jsonl:2 (1.wav): too short for its text: 0.48 s give 16 output frames, CTC needs 36" in output
    assert len((tmp_path / "out/manifest.jsonl").read_text().splitlines()) == 1


def test_transcribe_goes_on_past_a_name_the_system_refuses(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("transcribe", 300 * "a" + ".wav", CLIP, "--model", checkpoint, "--decoder", "greedy") == 1
    output = capsys.readouterr()
    assert output.out == f"{CLIP}\t{expected_text(checkpoint)}\n"
    assert "aaa.wav: cannot be opened: File name too long" in output.err


def test_standard_input_that_is_closed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run("transcribe", "-") == 2
    assert "standard input is closed" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Full())
    assert run("transcribe", CLIP, "--model", checkpoint, "--decoder", "greedy") == 2
    assert capsys.readouterr().err == ("ds2: error: standard output: cannot be written: No space left on device\n")


def test_evaluate_takes_a_duration_of_zero_for_the_whole_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"audio_filepath": str(CLIP), "duration": 0, "text": expected_text(checkpoint)}
    (tmp_path / "m.jsonl").write_text(json.dumps(record) + "\n")
    assert run("evaluate", tmp_path / "m.jsonl", "--model", checkpoint, "--decoder", "greedy") == 0
    assert "1 utterances, 10.0 s of audio" in capsys.readouterr().out


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("command", ["transcribe audio", "transcribe manifest", "evaluate manifest", "evaluate audio"])
def test_what_is_read_is_not_written_over(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, linked: bool
) -> None:
    audio, manifest = tmp_path / "a.flac", tmp_path / "m.jsonl"
    audio.write_bytes(CLIP.read_bytes())
    manifest.write_text(json.dumps({"audio_filepath": "a.flac", "duration": 9.9, "text": "a"}) + "\n")
    verb, kind = command.split()
    target = audio if kind == "audio" else manifest
    output = tmp_path / "link" if linked else target
    if linked:
        output.symlink_to(target)
    given = audio if command == "transcribe audio" else manifest
    before = target.read_bytes()
    assert run(verb, given, "--output", output, "--model", checkpoint, "--decoder", "greedy") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "would be written over; give another name to write" in error
    assert target.read_bytes() == before


WORDS = Path(__file__).parents[1] / "data" / "ctc" / "words.arpa"


@pytest.mark.parametrize("verb", ["transcribe", "evaluate"])
@pytest.mark.parametrize("read", ["model", "lm"])
def test_the_model_and_the_language_model_are_not_written_over(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, read: str
) -> None:
    files = {"model": tmp_path / "copy.safetensors", "lm": tmp_path / "words.arpa"}
    files["model"].write_bytes(checkpoint.read_bytes())
    files["lm"].write_bytes(WORDS.read_bytes())
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio_filepath": str(CLIP), "duration": 9.9, "text": "a"}) + "\n")
    before = files[read].read_bytes()
    given = ("--model", files["model"], "--lm", files["lm"], "--output", files[read])
    assert run(verb, tmp_path / "m.jsonl", *given) == 2
    error = capsys.readouterr().err
    assert f"{files[read]}: is read" in error
    assert error.count("\n") == 1
    assert files[read].read_bytes() == before


def test_a_folder_of_transcripts_takes_nothing_that_is_read(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, audio = tmp_path / "m.json", tmp_path / "m.txt"
    audio.write_bytes(CLIP.read_bytes())
    manifest.write_text(json.dumps({"audio_filepath": "m.txt", "duration": 9.9, "text": "a"}) + "\n")
    options = ("--model", checkpoint, "--decoder", "greedy", "--output-dir", tmp_path)
    for given, kind, read in ((manifest, "json", manifest), (manifest, "txt", audio), (audio, "txt", audio)):
        before = read.read_bytes()
        assert run("transcribe", given, "--format", kind, *options) == 2
        assert f"{read}: is read" in capsys.readouterr().err
        assert read.read_bytes() == before
    assert run("transcribe", audio, "--format", "srt", *options) == 0


def test_prepare_does_not_write_over_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "manifest.jsonl"
    line = json.dumps({"audio_filepath": str(CLIP), "duration": 9.9, "text": "Hello, WORLD"}) + "\n"
    manifest.write_text(line)
    assert run("prepare", manifest, tmp_path) == 2
    assert "would be written over" in capsys.readouterr().err
    assert manifest.read_text() == line


def test_the_speed_is_that_of_the_audio_and_not_of_the_manifest(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": str(CLIP), "duration": 2000.0, "text": "a"}) + "\n")
    run("evaluate", manifest, "--model", checkpoint, "--decoder", "greedy", "--format", "json")
    assert json.loads(capsys.readouterr().out)["audio_seconds"] == pytest.approx(9.995, abs=1e-3)


def test_a_manifest_may_begin_with_a_byte_order_mark(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": str(CLIP), "text": "a"}) + "\n", encoding="utf-8-sig")
    assert run("evaluate", manifest, "--model", checkpoint, "--decoder", "greedy") == 0
    assert "words" in capsys.readouterr().out


def test_a_folder_of_audio_is_answered_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.flac").write_bytes(CLIP.read_bytes())
    assert run("transcribe", tmp_path) == 2
    assert "a folder of audio becomes a manifest by ds2 prepare" in capsys.readouterr().err


def test_the_model_of_the_package_is_exported_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "small", tmp_path / "small.onnx") == 0
    assert run("export", "smal", tmp_path / "x.onnx") == 2
    assert "did you mean 'small'?" in capsys.readouterr().err
