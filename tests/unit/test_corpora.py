"""Corpora in the layouts they come in, and `prepare` on them."""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech2.cli.prepare import prepare as command
from deepspeech2.errors import ManifestError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data.corpora import scan_corpus
from deepspeech2.speech.data.manifest import read_manifest, write_manifest
from deepspeech2.speech.data.preflight import PreflightOptions, Reason
from deepspeech2.speech.data.prepare import PrepareOptions, fit_normalizer, prepare
from deepspeech2.speech.data.spelling import spell_english
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.options import ENGLISH_LABELS


@pytest.fixture
def clip(write_tones: Callable[..., Path]) -> Path:
    return write_tones(["abcd"], "clip.jsonl").parent / "clip" / "0.wav"


def put(clip: Path, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, place)


def librispeech(root: Path, clip: Path) -> None:
    put(clip, root / "19/198/19-198-0000.wav", root / "19/198/19-198-0001.wav")
    (root / "19/198/19-198.trans.txt").write_text("19-198-0000 A CAB\n19-198-0001 BAD\n")


def ljspeech(root: Path, clip: Path) -> None:
    put(clip, root / "wavs/LJ001-0001.wav", root / "wavs/LJ001-0002.wav")
    (root / "metadata.csv").write_text("LJ001-0001|A Cab, 1|A Cab\nLJ001-0002|Bad.|Bad\n")


def an4(root: Path, clip: Path) -> None:
    put(clip, root / "wav/train/anna/an1-anna-b.wav")
    samples, rate = soundfile.read(clip)
    soundfile.write(root / "wav/train/anna/an2-anna-b.sph", samples, rate, format="NIST")
    (root / "etc").mkdir()
    (root / "etc/an4_train.fileids").write_text("train/anna/an1-anna-b\ntrain/anna/an2-anna-b\n")
    (root / "etc/an4_train.transcription").write_text("<s> A CAB </s> (an1-anna-b)\nBAD (an2-anna-b)\n")


def commonvoice(root: Path, clip: Path) -> None:
    put(clip, root / "clips/1.wav", root / "clips/2.wav")
    (root / "validated.tsv").write_text('client_id\tpath\tsentence\nx\t1.wav\tA "cab\ny\t2.wav\tBad\n')


def plain(root: Path, clip: Path) -> None:
    put(clip, root / "x/1.wav", root / "2.wav", root / "3.wav")
    (root / "x/1.txt").write_text("A\ncab\n")
    (root / "2.txt").write_text("Bad")


@pytest.mark.parametrize("layout", [librispeech, ljspeech, an4, commonvoice, plain])
def test_finds_the_utterances_of_a_layout(tmp_path: Path, clip: Path, layout: Callable[[Path, Path], None]) -> None:
    root = tmp_path / "corpus"
    root.mkdir()
    layout(root, clip)
    found = scan_corpus(root)
    assert sorted(spell_english(item.text) for item in found) == ["a cab", "bad"]
    speakers = {"librispeech": {"19"}, "an4": {"anna"}, "commonvoice": {"x", "y"}}
    assert {item.speaker for item in found} == speakers.get(layout.__name__, {None})
    named = "folder" if layout is plain else layout.__name__
    assert scan_corpus(root, named) == found


def test_audio_that_is_not_there_is_left_out_by_name(tmp_path: Path, clip: Path) -> None:
    root = tmp_path / "corpus"
    for layout in (librispeech, ljspeech, an4, commonvoice):
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        layout(root, clip)
        lost = sorted(path for path in root.rglob("*") if path.suffix in (".wav", ".sph"))[0]
        lost.unlink()
        prepared = prepare(root, tmp_path / "out")
        assert len(prepared.report.usable) == 1
        (problem,) = prepared.report.problems
        assert problem.utterance.audio_path.stem == lost.stem
        assert problem.reason.value == "unreadable audio"
        assert "no such file" in problem.detail


def test_digits_are_named_and_no_labels(tmp_path: Path, clip: Path) -> None:
    root = tmp_path / "corpus"
    put(clip, root / "1.wav", root / "2.wav")
    (root / "1.txt").write_text("A cab")
    (root / "2.txt").write_text("Room 101")
    english = prepare(root, tmp_path / "out")
    assert english.labels == ENGLISH_LABELS
    assert [problem.reason.value for problem in english.report.problems] == ["characters outside the vocabulary"]
    kept = prepare(root, tmp_path / "out", PrepareOptions(spelling="keep"))
    assert kept.labels == tuple(" 01ARabcmo")
    assert not kept.report.problems


def test_one_table_of_common_voice(tmp_path: Path, clip: Path) -> None:
    root = tmp_path / "cv"
    root.mkdir()
    commonvoice(root, clip)
    (root / "train.tsv").write_text("client_id\tpath\tsentence\ny\t2.wav\tBad\n")
    assert [item.text for item in scan_corpus(root / "train.tsv")] == ["Bad"]
    prepared = prepare(root / "train.tsv", tmp_path / "out")
    assert [item.text for item in prepared.report.usable] == ["bad"]


@pytest.mark.parametrize(
    ("table", "line", "audio"),
    [
        ("1-2.trans.txt", "1-2-0000 {}", "1-2-0000"),
        ("metadata.csv", "1|x|{}", "wavs/1"),
        ("etc/a.transcription", "<s> {} </s> (1)", "wav/1"),
        ("train.tsv", "path\tsentence\n1\t{}", "clips/1"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_text_goes_to_the_end_of_its_line(tmp_path: Path, table: str, line: str, audio: str, end: str) -> None:
    for folder in ("etc", "wavs", "clips"):
        (tmp_path / folder).mkdir()
    for separator in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        text = f"HELLO{separator}WORLD AGAIN"
        for mark in (b"", codecs.BOM_UTF8):
            (tmp_path / table).write_bytes(mark + (line.format(text) + end).encode())
            found = [(item.audio_path, item.text) for item in scan_corpus(tmp_path)]
            assert found == [(tmp_path / audio, text)], repr(separator)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name\ttext\n1\ta\tb\n", "train.tsv: expected the columns path and sentence, found name, text"),
        (b"", "train.tsv: expected the columns path and sentence, found none"),
        (b"path\tsentence\n1.wav\tcaf\xe9\n", "train.tsv:2: cannot be read as UTF-8 text"),
        (b"path\tsentence\n1.wav\ta\n2.wav\tb\tc\n", "train.tsv:3: expected 2 columns, found 3"),
        (b"path\tsentence\n\n1.wav\n", "train.tsv:3: expected 2 columns, found 1"),
    ],
)
def test_a_bad_table_of_common_voice_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "train.tsv").write_bytes(content)
    with pytest.raises(ManifestError, match=re.escape(message)) as caught:
        scan_corpus(tmp_path / "train.tsv")
    assert "\n" not in str(caught.value)


def test_a_text_of_common_voice_may_be_long_and_columns_at_its_end_missing(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "train.tsv").write_text("path\tsentence\tage\n1.wav\t" + "ab " * 50_000 + "c\n")
    (item,) = scan_corpus(tmp_path / "train.tsv")
    assert item.text == "ab " * 50_000 + "c"


@pytest.mark.parametrize("suffix", [".transcription", ".fileids"])
def test_one_table_of_an4(tmp_path: Path, clip: Path, suffix: str) -> None:
    root = tmp_path / "an4"
    root.mkdir()
    an4(root, clip)
    put(clip, root / "wav/test/ben/an3-ben-b.wav")
    (root / "etc/an4_test.fileids").write_text("test/ben/an3-ben-b\n")
    (root / "etc/an4_test.transcription").write_text("<s> DAB </s> (an3-ben-b)\n")
    test = prepare((root / "etc/an4_test").with_suffix(suffix), tmp_path / "out")
    assert [(item.text, item.speaker) for item in test.report.usable] == [("dab", "ben")]
    assert test.tables == (root / "etc/an4_test.transcription",)
    both = prepare(root, tmp_path / "out")
    assert len(both.report.usable) == 3
    assert [table.name for table in both.tables] == ["an4_test.transcription", "an4_train.transcription"]


def test_the_tables_of_common_voice_are_told(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "cv"
    root.mkdir()
    commonvoice(root, clip)
    command(root, tmp_path / "out")
    assert f"tables read: {root / 'validated.tsv'}\n" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".raw", ".RAW"])
def test_samples_without_a_header_come_with_the_command_that_converts_them(
    tmp_path: Path, clip: Path, ending: str
) -> None:
    root = tmp_path / "an4"
    root.mkdir()
    an4(root, clip)
    for audio in [*root.rglob("*.wav"), *root.rglob("*.sph")]:
        audio.rename(audio.with_suffix(ending))
        audio.with_suffix(ending).write_bytes(bytes(1000))
    raw = root / f"wav/train/anna/an1-anna-b{ending}"
    line = f"sox -t raw -r 16000 -e signed -b 16 -B {raw} {raw.with_suffix('.wav')}"
    with pytest.raises(ManifestError) as caught:
        prepare(root, tmp_path / "out")
    assert "0 of 2 utterances usable" in str(caught.value)
    assert line in str(caught.value)
    assert line in (tmp_path / "out/left_out.jsonl").read_text()


def test_a_name_that_is_not_utf_8_is_left_out(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "corpus"
    odd = root / os.fsdecode(b"caf\xe9.wav")
    try:
        put(clip, root / "a.wav", odd)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    (root / "a.txt").write_text("a cab")
    odd.with_suffix(".txt").write_text("bad")
    command(root, tmp_path / "out")
    assert "caf\\xe9.wav: the name is not UTF-8" in capsys.readouterr().out
    assert [item.text for item in read_manifest(tmp_path / "out/manifest.jsonl")] == ["a cab"]
    (left_out,) = map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    assert (Path(left_out["audio_filepath"]).name, left_out["text"]) == ("caf\\xe9.wav", "bad")


def test_a_transcript_that_is_not_utf_8_is_left_out(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "corpus"
    put(clip, root / "a.wav", root / "b.wav", root / "c.wav")
    (root / "a.txt").write_text("a cab")
    (root / "b.txt").write_bytes("a dab\ncaf\u00e9".encode("latin-1"))
    (root / "c.txt").write_text("bad")
    command(root, tmp_path / "out")
    said = f"{root / 'b.txt'}:2: cannot be read as UTF-8 text"
    assert f"left out: {root / 'b.wav'}: empty transcript: {said}" in capsys.readouterr().out
    assert [item.text for item in read_manifest(tmp_path / "out/manifest.jsonl")] == ["a cab", "bad"]
    (left_out,) = map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    assert (left_out["audio_filepath"], left_out["text"]) == (str(root / "b.wav"), "")
    assert left_out["detail"].startswith(said)

    for name in "ac":
        (root / f"{name}.txt").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match=r"0 of 3 utterances usable.*a\.txt:1: cannot be read as UTF-8 text"):
        prepare(root, tmp_path / "out")


def test_linked_folders_are_looked_through_once(tmp_path: Path) -> None:
    root, disk = tmp_path / "corpus", tmp_path / "disk"
    for place in (root / "own/1.wav", disk / "19/198/2.wav", disk / "19/3.wav", tmp_path / "beside/4.wav"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    links = {
        root / "linked": disk / "19",
        root / "twice": disk / "19/198",  # what it leads to is in `linked` as well
        root / "again": root / "own",
        root / "own/loop": root,
        root / "up": tmp_path,  # and so to `beside`, which nobody has put into the corpus
        disk / "19/loop": root / "linked",
        root / "gone": tmp_path / "nowhere",
    }
    for link, target in links.items():
        link.symlink_to(target)
    with pytest.raises(ManifestError, match="no transcripts found: 3 audio files without"):
        scan_corpus(root)

    for audio in (root / "own/1.wav", disk / "19/198/2.wav", disk / "19/3.wav", tmp_path / "beside/4.wav"):
        audio.with_suffix(".txt").write_text(audio.stem)
    found = {str(item.audio_path.resolve()): item.text for item in scan_corpus(root)}
    assert found == {str(disk / "19/198/2.wav"): "2", str(disk / "19/3.wav"): "3", str(root / "own/1.wav"): "1"}
    paths = [item.audio_path for item in scan_corpus(root)]
    assert len(paths) == 3
    assert root / "own/1.wav" in paths  # not by the name that `again` gives it


def test_linked_chapters_of_librispeech_are_found(tmp_path: Path, clip: Path) -> None:
    root = tmp_path / "corpus"
    librispeech(tmp_path / "disk", clip)
    root.mkdir()
    (root / "19").symlink_to(tmp_path / "disk/19")
    names = ["19/198/19-198-0000.wav", "19/198/19-198-0001.wav"]
    assert [(item.audio_path, item.text, item.speaker) for item in scan_corpus(root)] == [
        (root / names[0], "A CAB", "19"),
        (root / names[1], "BAD", "19"),
    ]
    usable = prepare(root, tmp_path / "out").report.usable
    assert [item.where for item in usable] == names


@pytest.mark.parametrize("layout", [librispeech, ljspeech, an4, plain])
def test_endings_may_be_in_capitals(tmp_path: Path, clip: Path, layout: Callable[[Path, Path], None]) -> None:
    root = tmp_path / "corpus"
    root.mkdir()
    layout(root, clip)
    (root / "3.wav").unlink(missing_ok=True)
    own = [*root.rglob("*.wav"), *root.rglob("*.sph"), *(root.rglob("*.txt") if layout is plain else [])]
    for path in own:
        path.rename(path.with_suffix(path.suffix.upper()))
    found = scan_corpus(root)
    assert [item.audio_path for item in found] == sorted([*root.rglob("*.WAV"), *root.rglob("*.SPH")], key=str)
    assert sorted(spell_english(item.text) for item in found) == ["a cab", "bad"]


def test_a_link_to_itself_is_left_out(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    lines = [{"audio_filepath": name, "text": "a cab"} for name in ("loop.wav", str(clip))]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = prepare(tmp_path / "m.jsonl", tmp_path / "out").report
    assert [item.audio_path for item in report.usable] == [clip]
    assert [(item.utterance.where, item.reason) for item in report.problems] == [("m.jsonl:1", Reason.UNREADABLE)]


def test_a_folder_that_is_not_utf_8_is_named(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        put(clip, folder / "0.wav")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    lines = [{"audio_filepath": "0.wav", "text": "a cab"}, {"audio_filepath": str(clip), "text": "bad"}]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    command(folder / "m.jsonl", tmp_path / "out")
    assert "caf\\xe9/0.wav: the name is not UTF-8, as manifests have to be" in capsys.readouterr().out
    assert [item.text for item in read_manifest(tmp_path / "out/manifest.jsonl")] == ["bad"]
    (left_out,) = map(json.loads, (tmp_path / "out/left_out.jsonl").read_text().splitlines())
    assert left_out["audio_filepath"] == str(folder / "0.wav")

    command(folder / "m.jsonl", folder)  # from here on, its path is UTF-8
    records = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
    assert [(item["audio_filepath"], item["text"]) for item in records] == [("0.wav", "a cab"), (str(clip), "bad")]

    with pytest.raises(ManifestError, match=r"cannot name .*caf\\xe9/0\.wav, which is not UTF-8") as caught:
        write_manifest(tmp_path / "m.jsonl", read_manifest(folder / "m.jsonl"))
    assert str(caught.value).isascii()
    assert not (tmp_path / "m.jsonl").exists()


def test_nothing_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no speech found"):
        scan_corpus(tmp_path)
    with pytest.raises(ManifestError, match="no such folder"):
        scan_corpus(tmp_path / "nowhere")


def test_audio_without_transcripts_is_said_and_the_manifest_beside_it_named(tmp_path: Path) -> None:
    for name in ("a.mp3", "inner/b.WAV", "notes.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ManifestError) as caught:
        scan_corpus(tmp_path)
    said = f"{tmp_path}: no transcripts found: 2 audio files without a .txt of the same name"
    assert str(caught.value) == f"{said}; beside those, corpora may be librispeech, ljspeech, an4, commonvoice"
    (tmp_path / "manifest.jsonl").touch()
    with pytest.raises(ManifestError) as caught:
        scan_corpus(tmp_path)
    assert str(caught.value) == f"{said}; give {tmp_path / 'manifest.jsonl'} if it is their manifest"
    with pytest.raises(ManifestError, match=r"no speech found as layout an4; expected"):
        scan_corpus(tmp_path, "an4")


def test_prepare_writes_a_checked_data_set(tmp_path: Path, clip: Path) -> None:
    root = tmp_path / "corpus"
    put(clip, root / "1.wav", root / "2.wav")
    (root / "3.wav").write_text("not audio")
    for name, text in (("1", "A cab!"), ("2", "Room 101"), ("3", "bad")):
        (root / f"{name}.txt").write_text(text)
    (tmp_path / "letters").write_text("a\nb\nc\n \n")
    prepared = prepare(root, tmp_path / "out", PrepareOptions(vocabulary=tmp_path / "letters"))

    assert [u.text for u in read_manifest(tmp_path / "out/manifest.jsonl")] == ["a cab"]
    left_out = [json.loads(line) for line in (tmp_path / "out/left_out.jsonl").read_text().splitlines()]
    assert {Path(item["audio_filepath"]).name: item["reason"] for item in left_out} == {
        "2.wav": "characters outside the vocabulary",
        "3.wav": "unreadable audio",
    }
    assert (tmp_path / "out/vocabulary.txt").read_text() == "a\nb\nc\n \n"
    assert prepared.labels == ("a", "b", "c", " ")

    features = spectrogram(load_audio(root / "1.wav")).astype(np.float64)
    normalizer = Normalizer.load(tmp_path / "out/mean_std.npz")
    np.testing.assert_allclose(normalizer.mean[:, 0], features.mean(1), rtol=1e-5)
    np.testing.assert_allclose(normalizer.std[:, 0], features.std(1), rtol=1e-4)


def no_text_lines(clip: Path) -> Path:
    records: list[dict[str, object]] = [{"text": "a cab"}, {"text": None}, {}]
    lines = [json.dumps({"audio_filepath": str(clip), "duration": 0.48} | record) for record in records]
    (clip.parent / "m.jsonl").write_text("\n".join(lines))
    return clip.parent / "m.jsonl"


def no_text_kaldi(clip: Path) -> Path:
    (clip.parent / "wav.scp").write_text("u1 0.wav\nu2 0.wav\nu3 0.wav\n")
    (clip.parent / "text").write_text("u1 a cab\nu2\n")
    return clip.parent


def no_text_lhotse(clip: Path) -> Path:
    recording = {"sources": [{"type": "file", "channels": [0], "source": str(clip)}]}
    spoken: list[list[dict[str, object]]] = [[{"text": "a cab"}], [{"text": None}], []]
    cuts = [{"type": "MonoCut", "duration": 0.48, "recording": recording, "supervisions": item} for item in spoken]
    (clip.parent / "cuts.jsonl").write_text("\n".join(map(json.dumps, cuts)))
    return clip.parent / "cuts.jsonl"


@pytest.mark.parametrize("written", [no_text_lines, no_text_kaldi, no_text_lhotse])
def test_utterances_without_text_are_left_out(tmp_path: Path, clip: Path, written: Callable[[Path], Path]) -> None:
    source = written(clip)
    report = prepare(source, tmp_path / "out").report
    assert [item.text for item in report.usable] == ["a cab"]
    assert [problem.reason for problem in report.problems] == [Reason.EMPTY_TEXT] * 2
    with pytest.raises(ManifestError, match=r"text"):  # whoever needs every text, as `ds2 evaluate`, is told
        read_manifest(source)


@pytest.mark.parametrize("count", [2, 9])
def test_what_the_normalizer_cannot_hear_is_left_out(write_tones: Callable[..., Path], count: int) -> None:
    manifest = write_tones(["ab", "cd", "ad", "bc"])
    folder, out = manifest.with_suffix(""), manifest.parent / "out"
    soundfile.write(folder / "1.wav", np.zeros(8000), 16_000)
    soundfile.write(folder / "2.flac", soundfile.read(folder / "2.wav")[0], 16_000)
    content = (folder / "2.flac").read_bytes()
    (folder / "2.wav").write_bytes(content[: len(content) // 3])
    for seed in range(4):
        options = PrepareOptions(
            normalizer_utterances=count, seed=seed, preflight=PreflightOptions(decode=False, duration_tolerance=9)
        )
        report = prepare(manifest, out, options).report
        lost = {problem.utterance.audio_path.name: problem.reason for problem in report.problems}
        expected = {"1.wav": Reason.SILENT, "2.wav": Reason.UNREADABLE}
        assert lost.items() <= expected.items()
        assert lost == expected or count == 2
        assert len(read_manifest(out / "manifest.jsonl")) == 4 - len(lost) == len(report.usable)
        assert len((out / "left_out.jsonl").read_text().splitlines()) == len(lost)
        # As many are measured as were asked for: others are drawn instead.
        heard = [item for item in report.usable if item.audio_path.name in ("0.wav", "3.wav")]
        means = Normalizer.load(out / "mean_std.npz").mean
        if lost == expected:
            np.testing.assert_allclose(means, fit_normalizer(heard, 2).mean, rtol=1e-5)


def test_nothing_but_silence_is_refused(write_tones: Callable[..., Path]) -> None:
    manifest = write_tones(["ab"])
    soundfile.write(manifest.with_suffix("") / "0.wav", np.zeros(8000), 16_000)
    with pytest.raises(ManifestError, match="0 of 1 utterances usable; left out: 1 silent audio"):
        prepare(manifest, manifest.parent / "out", PrepareOptions(preflight=PreflightOptions(decode=False)))
    assert not (manifest.parent / "out/mean_std.npz").exists()


def test_the_normalizer_is_of_random_utterances(write_tones: Callable[..., Path]) -> None:
    utterances = read_manifest(write_tones(["ab", "cd", "ad", "bc", "dd a"]))
    spectrograms = [spectrogram(load_audio(utterance.audio_path)).astype(np.float64) for utterance in utterances]
    of_two = {pair: np.hstack([spectrograms[i] for i in pair]) for pair in combinations(range(5), 2)}
    chosen = []
    for seed in range(40):
        found = fit_normalizer(utterances, 2, seed)
        fits = [
            pair
            for pair, frames in of_two.items()
            if np.allclose(found.mean[:, 0], frames.mean(1), rtol=1e-4)
            and np.allclose(found.std[:, 0], frames.std(1), rtol=1e-3)
        ]
        assert len(fits) == 1, "of two utterances, and of no more than two"
        chosen += fits
        again = fit_normalizer(utterances, 2, seed)
        assert np.array_equal(found.mean, again.mean)
        assert np.array_equal(found.std, again.std)
    assert len(set(chosen)) >= 8, "nearly all of the ten pairs in 40 draws"
    everything = np.hstack(spectrograms)
    np.testing.assert_allclose(fit_normalizer(utterances, 9).mean[:, 0], everything.mean(1), rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“Don’t,” said Zoë — twice-over.", "don't said zoe twice over"),
        ("Straße  1\n2", "straße 1 2"),
        ("and/or", "and or"),
        ("'tis", "'tis"),
        ("wait…what", "wait what"),
        ("Hello,world", "hello world"),
        ("don´t don`t donʼt don‘t it′s", "don't don't don't don't it's"),
        ("`quoted´ ``twice''", "quoted twice"),
        ("'hello there'", "hello there"),
        ("‘Hello,’ she said. (‘Don’t!’)", "hello she said don't"),
        ("'He said 'no' and went'", "he said no and went"),
        ("the dogs' bowl", "the dogs' bowl"),
        ("the dogs’, all of them", "the dogs' all of them"),
        ("so '' and ' go", "so and go"),
        ("zero\u200bwidth soft\u00adhyphen \ufeffmark", "zerowidth softhyphen mark"),
        ("Q&A at 5 %", "q&a at 5 %"),
    ],
)
def test_english_spelling(text: str, expected: str) -> None:
    assert spell_english(text) == expected
    assert spell_english(expected) == expected
