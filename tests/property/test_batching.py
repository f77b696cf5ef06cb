"""A batch gives each utterance what it gets alone."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2.speech.build import build_model
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions

CONVOLUTIONS = (ConvolutionOptions(4, (9, 5), (4, 3)), ConvolutionOptions(6, (5, 5), (2, 1)))


@settings(max_examples=30, deadline=None)
@given(
    cell=st.sampled_from(["simple", "gru"]),
    shared=st.booleans(),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
)
def test_a_batch_gives_each_utterance_what_it_gets_alone(cell, shared, lengths, seed) -> None:
    options = NetworkOptions(
        vocab_size=5, convolutions=CONVOLUTIONS, recurrent_layers=2, recurrent_size=7, cell=cell, shared=shared
    )
    model = build_model(options, seed=seed).double()
    features = torch.randn(len(lengths), 161, max(lengths), dtype=torch.float64)
    batched, frames = model(features, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, own_frames = model(features[row : row + 1, :, :length])
        assert frames[row] == own_frames[0] == alone.shape[1]
        torch.testing.assert_close(batched[row, : frames[row]], alone[0], rtol=1e-9, atol=1e-11)
