from pathlib import Path

import numpy as np
import pytest

from deepspeech2.ctc.posteriors_file import read_posteriors
from deepspeech2.errors import PosteriorsError

ROWS = np.log(np.full((6, 3), 1 / 3, np.float32))


def test_npy_is_one_utterance_named_by_its_stem(tmp_path: Path) -> None:
    np.save(tmp_path / "hello.npy", ROWS)
    (utterance,) = read_posteriors(tmp_path / "hello.npy")
    assert utterance.name == "hello"
    np.testing.assert_array_equal(utterance.load(), ROWS)


def test_each_array_of_an_npz_is_an_utterance(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", first=ROWS, second=ROWS[:2], labels=np.array("ab"))
    file = read_posteriors(tmp_path / "set.npz")
    assert [utterance.name for utterance in file] == ["set/first", "set/second"]
    assert [len(utterance.load()) for utterance in file] == [6, 2]
    assert file.labels == ("a", "b")
    assert file.transcripts is None


def test_offsets_cut_the_stacked_rows(tmp_path: Path) -> None:
    rows = ROWS + np.arange(6, dtype=np.float32)[:, None]
    arrays = {"log_probs": rows, "offsets": np.array([0, 4, 6]), "transcripts": np.array(["a b", ""])}
    np.savez_compressed(tmp_path / "set.npz", **arrays, labels=np.array(["ab", "c"]))
    file = read_posteriors(tmp_path / "set.npz")
    assert [utterance.name for utterance in file] == ["set/0", "set/1"]
    np.testing.assert_array_equal(file.utterances[0].load(), rows[:4])
    np.testing.assert_array_equal(file.utterances[1].load(), rows[4:])
    assert file.transcripts == ("a b", "")
    assert file.labels == ("ab", "c")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"log_probs": ROWS, "offsets": np.array([0, 7])}, "6 rows"),
        ({"log_probs": ROWS, "offsets": np.array([0, 4, 3, 6])}, "rising"),
        ({"log_probs": ROWS, "offsets": np.array([1, 6])}, "from 0"),
        ({"log_probs": ROWS, "offsets": np.array([0.0, 6.0])}, "float64"),
        ({"log_probs": ROWS[None], "offsets": np.array([0, 1])}, "1x6x3"),
        ({"x": ROWS, "offsets": np.array([0, 6])}, "no log_probs"),
        ({"labels": np.array("ab")}, "no posteriors"),
        ({"x": ROWS, "labels": np.arange(3)}, "labels must be strings"),
        ({"x": ROWS, "transcripts": np.array(["a", "b"])}, "2 transcripts for 1"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "set.npz", allow_pickle=False, **arrays)
    with pytest.raises(PosteriorsError, match=said) as caught:
        read_posteriors(tmp_path / "set.npz")
    assert "set.npz" in str(caught.value)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=np.array([{}], dtype=object))
    (utterance,) = read_posteriors(tmp_path / "set.npz")
    with pytest.raises(PosteriorsError, match="'x' cannot be read"):
        utterance.load()
    np.save(tmp_path / "one.npy", np.array([{}], dtype=object))
    with pytest.raises(PosteriorsError, match=r"one\.npy"):
        read_posteriors(tmp_path / "one.npy")


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with pytest.raises(PosteriorsError, match="no such file"):
        read_posteriors(path)
    path.write_bytes(b"RIFF....WAVE")
    with pytest.raises(PosteriorsError, match=r"neither \.npy nor \.npz"):
        read_posteriors(path)
    path.write_bytes(b"")
    with pytest.raises(PosteriorsError, match=r"neither \.npy nor \.npz"):
        read_posteriors(path)
    with pytest.raises(PosteriorsError, match="cannot be read"):
        read_posteriors(tmp_path)


@pytest.mark.parametrize("name", ["set.npz", "one.npy"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, name: str, keep: float) -> None:
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, x=ROWS, y=ROWS)
    else:
        np.save(path, ROWS)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(PosteriorsError, match=name):
        for utterance in read_posteriors(path):
            utterance.load()


def test_a_damaged_array_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, x=ROWS)
    data = bytearray(path.read_bytes())
    place = data.find(ROWS.tobytes())
    data[place] ^= 0xFF
    path.write_bytes(data)
    (utterance,) = read_posteriors(path)
    with pytest.raises(PosteriorsError, match="'x' cannot be read"):
        utterance.load()
