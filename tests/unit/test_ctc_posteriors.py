"""Bad input to every decoder: a ValueError that names shape, row and value; every good kind of array is taken."""

from typing import Any

import numpy as np
import pytest

from deepspeech2.ctc import Alphabet, BeamDecoder, GreedyDecoder, ReferenceDecoder
from deepspeech2.errors import PosteriorsError

ALPHABET = Alphabet("ab ")
GOOD = np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]))
DECODERS = [GreedyDecoder(ALPHABET), BeamDecoder(ALPHABET), ReferenceDecoder(ALPHABET)]


def changed(row: int, column: int, value: float) -> np.ndarray:
    matrix = GOOD.copy()
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("columns", [2, 5])
def test_the_blank_is_blamed_for_one_column_too_few_alone(decoder: Any, columns: int) -> None:
    with pytest.raises(PosteriorsError, match=rf"4 columns.* is 3x{columns}\.$"):
        decoder.decode(np.zeros((3, columns)))


def all_minus_infinity() -> np.ndarray:
    matrix = GOOD.copy()
    matrix[2] = -np.inf
    return matrix


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (GOOD[:, :3], ["4 columns", "3x3"]),
        (GOOD[:, :3], ["If the blank is one of the labels, leave it out of them."]),
        (GOOD[:0], ["at least one frame", "0x4"]),
        (GOOD[None], ["1x3x4", "decode_batch"]),
        (GOOD[0], ["(time, 4)", "is 4"]),
        (np.zeros((3, 4), dtype=np.int64), ["float32 or float64", "3x4", "int64"]),
        (np.zeros((3, 4), dtype=bool), ["bool"]),
        (GOOD.astype(complex), ["complex128"]),
        (None, ["float32 or float64"]),
        ("nonsense", ["float32 or float64"]),
        ([[1.0], [1.0, 2.0]], ["(time, 4)"]),
        (changed(1, 2, np.nan), ["row 1", "3x4", "nan", "column 2"]),
        (changed(2, 0, np.inf), ["row 2", "inf", "column 0"]),
        (changed(1, 0, 1e308), ["row 1", "1e+308"]),
        (all_minus_infinity(), ["row 2", "-inf in every column"]),
        (np.exp(GOOD), ["row 0", "take their natural log"]),
        (GOOD + 1, ["row 0", "2.71828", "log_softmax"]),
        (np.full((3, 4), -1e30), ["row 0", "adds up to 0"]),
    ],
)
def test_bad_input_is_named(decoder: Any, matrix: Any, words: list[str]) -> None:
    with pytest.raises(PosteriorsError) as caught:
        decoder.decode(matrix)
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    # The decoder is none the worse for it.
    assert decoder.decode(GOOD)


class TorchLike:
    """What a tensor offers, without torch: detach, cpu, numpy."""

    dtype = "torch.float32"

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def detach(self) -> "TorchLike":
        return self

    def cpu(self) -> "TorchLike":
        return self

    def numpy(self) -> np.ndarray:
        return self.array


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize(
    "kind",
    [
        lambda m: m.astype(np.float32),
        lambda m: m.astype(np.float16),
        np.asfortranarray,
        lambda m: m.astype(">f8"),
        lambda m: np.repeat(m, 2, axis=0)[::2],
        lambda m: m.tolist(),
        TorchLike,
    ],
    ids=["float32", "float16", "fortran", "big-endian", "strided", "list", "tensor"],
)
def test_every_kind_of_array_gives_the_same_text(decoder: Any, kind: Any) -> None:
    expected, found = decoder.decode(GOOD), decoder.decode(kind(GOOD))
    if isinstance(expected, list):
        expected, found = expected[0], found[0]
    assert found.text == expected.text
    assert found.score == pytest.approx(expected.score, abs=5e-3)


def test_a_real_tensor_with_a_gradient() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(GOOD, requires_grad=True)
    assert BeamDecoder(ALPHABET).decode(tensor)[0] == BeamDecoder(ALPHABET).decode(GOOD)[0]
    assert BeamDecoder(ALPHABET).decode(tensor.bfloat16())[0].text == BeamDecoder(ALPHABET).decode(GOOD)[0].text


def test_importing_the_decoder_imports_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import deepspeech2.ctc, sys; print([m for m in ('torch', 'sympy', 'deepspeech2.speech') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["meta", "sparse", "float8"])
def test_a_tensor_without_numbers_for_numpy_is_refused(kind: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(GOOD)
    tensor = {
        "meta": lambda: tensor.to("meta"),
        "sparse": tensor.to_sparse,
        "float8": lambda: tensor.to(torch.float8_e4m3fn),
    }[kind]()
    with pytest.raises(
        PosteriorsError, match=r"^Posteriors must be an array of \(time, 4\) log-probabilities: [^\n]+$"
    ):
        DECODERS[1].decode(tensor)
