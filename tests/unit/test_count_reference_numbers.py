"""Published and hand-derived figures that the counter must show."""

import pytest
import torch

from deepspeech2 import build_model, count
from deepspeech2.speech.options import NetworkOptions

TEN_SECONDS = 999  # frames of 10.000 s at 16 kHz
OUTPUT_FRAMES = 333


def tally_of(architecture, frames=TEN_SECONDS):
    model = build_model(architecture, device="meta")
    return count(model, torch.empty(1, 161, frames, device="meta"), strict=True)


def layer(tally, name):
    (found,) = [row for _, row in tally.walk() if row.name == name]
    return found


def first_steps(layers, directions, matrix):
    """Products of the first step of each recurrence, which the published recurrence does not take."""
    return layers * directions * matrix


UNSHARED = NetworkOptions(recurrent_size=2048, shared=False)

# Multiply-accumulates of convolutions and matrix products of 10 s, with a product in every recurrent step.
EVERY_STEP = {
    "default": ("default", 3_953_834_208, first_steps(3, 2, 256 * 256)),
    "librispeech": ("librispeech", 18_520_159_968, 25_165_824),
    "2048 unshared": (UNSHARED, 25_001_735_904, first_steps(3, 2, 2048 * 2048)),
    "baidu-en8k": ("baidu-en8k", 20_988_260_064, 18_874_368),
    "aishell": ("aishell", 23_924_201_184, first_steps(3, 2, 3 * 1024 * 1024)),
}


@pytest.mark.parametrize("name", EVERY_STEP)
def test_macs_of_ten_seconds(name) -> None:
    architecture, every_step, without_first = EVERY_STEP[name]
    tally = tally_of(architecture)
    assert tally.macs == every_step - without_first
    assert tally.total("mac") == tally.macs
    assert tally.total("gemm") == 2 * tally.macs
    assert tally.complete


def test_first_recurrent_steps_by_hand() -> None:
    assert first_steps(3, 2, 2048 * 2048) == 25_165_824
    assert first_steps(3, 2, 3 * 1024 * 1024) == 3 * 2 * 3 * 1024 * 1024 == 18_874_368


@pytest.mark.parametrize("name", ["default", "librispeech", "aishell", "baidu-en8k"])
def test_both_convolutions_of_ten_seconds(name) -> None:
    tally = tally_of(name)
    assert layer(tally, "conv.0.convolution").macs == 389_274_336
    assert layer(tally, "conv.0.convolution").macs == 32 * 41 * 11 * 81 * OUTPUT_FRAMES
    assert layer(tally, "conv.1.convolution").macs == 3_229_535_232
    assert layer(tally, "conv.1.convolution").macs == 32 * 32 * 21 * 11 * 41 * OUTPUT_FRAMES


def test_padding_of_the_256_unit_model() -> None:
    """Counted with a product in every recurrent step, as the figures were published; 334 output frames."""
    tally = tally_of("default", frames=1000)
    assert layer(tally, "output").output_shape[1] == 334
    every_step = tally.macs + first_steps(3, 2, 256 * 256)
    assert every_step == 3_965_707_584
    assert every_step - tally.padding_macs == 3_688_116_096
    assert tally.padding_macs / every_step == pytest.approx(0.07, abs=1e-3)


def test_deepbench_convolution() -> None:
    """DeepBench: W 700, H 161, C 1, N 4, K 32, kernel 20 x 5, stride 2 x 2: 689,638,400 FLOP."""
    convolution = torch.nn.Conv2d(1, 32, (5, 20), stride=2, bias=False, device="meta")
    tally = count(convolution, torch.empty(4, 1, 161, 700, device="meta"))
    assert tally.layers[0].output_shape == (4, 32, 79, 341)
    assert tally.total("gemm") == 689_638_400
    assert tally.padding_macs == 0


@pytest.mark.parametrize(("m", "n", "k"), [(1760, 128, 1760), (5124, 700, 2048)])
def test_deepbench_matrix_products(m, n, k) -> None:
    """DeepBench: 2MNK for a product of (M, K) and (K, N)."""
    tally = count(torch.mm, (torch.empty(m, k, device="meta"), torch.empty(k, n, device="meta")))
    assert tally.total("gemm") == 2 * m * n * k


def test_notebook_rules_on_the_default_model() -> None:
    """Each operator by the notebook's rule, summed by hand; see the `notebook` convention."""
    t = OUTPUT_FRAMES
    images = [(81 * t * 32, 1 * 41 * 11), (41 * t * 32, 32 * 21 * 11)]
    total = sum(elements * (2 * length - 1) + 4 * elements + elements for elements, length in images)
    for inputs in (1312, 512, 512):
        projection = (2 * inputs - 1) * 256 * t
        recurrence = ((2 * 256 - 1) * 256 + 256) * t
        total += projection + 4 * 256 * t + 2 * recurrence
    total += (2 * 512 - 1) * 29 * t + 29 * t  # output, with a bias
    total += (3 * 29 - 1) * t  # softmax
    assert tally_of("default").total("notebook") == total
