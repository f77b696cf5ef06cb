"""Windows of long audio, for any options: cut without gap or overlap, grouped within the bound on memory."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from deepspeech2 import Recognizer, build_model
from deepspeech2.errors import OptionError
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.long_audio import WindowOptions, log_probabilities_of_all, plan_windows
from deepspeech2.speech.options import NetworkOptions


@settings(deadline=None)
@given(
    st.integers(1, 4000),
    st.integers(1, 6),
    st.floats(0.01, 40.0),
    st.floats(0.001, 0.6, exclude_max=True),
)
@example(3000, 3, 6.0, 2.995 / 6.0)
@example(3000, 3, 0.05, 0.02 / 0.05)
def test_windows_of_any_options_join_into_the_whole_or_are_refused(
    frames: int, stride: int, seconds: float, share: float
) -> None:
    margin = share * seconds
    if 2 * margin >= seconds:
        with pytest.raises(OptionError, match="longer than two margins"):
            WindowOptions(seconds, margin)
        return
    options = WindowOptions(seconds, margin)
    size, edge = round(100 * seconds / stride), round(100 * margin / stride)
    if size <= 2 * edge:
        with pytest.raises(OptionError, match=rf"longer than two margins.*\({edge} output frames\)"):
            plan_windows(frames, stride, options)
        return
    windows = plan_windows(frames, stride, options)
    outputs = math.ceil(frames / stride)
    done = 0
    for window in windows:
        first = window.start // stride
        last = math.ceil(window.stop / stride)
        assert window.start % stride == 0
        assert last - first <= size
        assert first + window.skip == done
        assert window.keep > 0
        # A margin of context on both sides, except where the audio begins or ends.
        assert window.skip >= edge or first == 0
        assert last - (done + window.keep) >= edge or last == outputs
        done += window.keep
    assert done == outputs
    assert all(later.start > earlier.start for earlier, later in pairwise(windows))


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
def test_windows_without_a_length_are_refused(seconds: float) -> None:
    with pytest.raises(OptionError, match="longer than two margins"):
        WindowOptions(seconds, 1.0)


def test_a_recogniser_refuses_windows_that_are_all_margin_before_there_is_audio() -> None:
    model = build_model(NetworkOptions(recurrent_size=4, recurrent_layers=1), seed=0)
    model.normalizer = Normalizer(np.zeros((161, 1), np.float32), np.ones((161, 1), np.float32))
    with pytest.raises(OptionError, match="longer than two margins"):
        Recognizer(model, windows=WindowOptions(0.05, 0.02))


class Copier(nn.Module):
    """Gives of every third frame its first feature; writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.options = SimpleNamespace(convolutions=[SimpleNamespace(stride=(2, 3))])
        self.anywhere = nn.Parameter(torch.zeros(()))
        self.batches: list[list[int]] = []

    def forward(self, features: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.batches.append(frames.tolist())
        assert features.shape[2] == max(self.batches[-1])
        return features[:, :1, ::3].transpose(1, 2), (frames - 1) // 3 + 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 1500), min_size=1, max_size=12), st.integers(1, 5))
def test_windows_are_worked_on_in_groups_of_like_length_and_no_more_than_asked(lengths: list[int], batch: int) -> None:
    network = Copier()
    features = [np.tile(np.arange(length, dtype=np.float32) + 10_000 * n, (2, 1)) for n, length in enumerate(lengths)]
    found = log_probabilities_of_all(network, features, WindowOptions(3.0, 0.5, batch))
    for utterance, output in zip(features, found, strict=True):
        np.testing.assert_array_equal(output[:, 0], utterance[0, ::3])
    assert max(map(len, network.batches)) <= batch
    assert all(min(group) >= 0.9 * max(group) for group in network.batches)
    # Together where the bound allows it: of windows of one length no two groups could have been one.
    whole = [len(group) for group in network.batches if min(group) == max(group) == 300]
    assert sum(size < batch for size in whole) <= 1
