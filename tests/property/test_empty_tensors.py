"""One axis of size zero, anywhere: what torch runs is counted, and no count is negative."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from deepspeech2 import count, count_training
from deepspeech2.errors import CountingError, InputError

deterministic = settings(max_examples=12, deadline=None, derandomize=True)

SHAPE = (2, 3, 4, 5)
ONE_TENSOR = {
    "gelu": functional.gelu,
    "dropout": functional.dropout,
    "sum": lambda x: x.sum(-1),
    "sum of all": torch.sum,
    "mean": lambda x: x.mean(1),
    "prod": lambda x: x.prod(-1),
    "amax": lambda x: x.amax(-1),
    "argmax": lambda x: x.argmax(-1),
    "var": lambda x: x.var(-1),
    "std": lambda x: x.std((0, 2)),
    "norm": lambda x: torch.linalg.vector_norm(x, 2, -1),
    "logsumexp": lambda x: x.logsumexp(-1),
    "cumsum": lambda x: x.cumsum(-1),
    "cummax": lambda x: x.cummax(1).values,
    "logcumsumexp": lambda x: x.logcumsumexp(2),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(1),
    "sort": lambda x: x.sort(-1).values,
    "square product": lambda x: x @ x.mT,
    "einsum": lambda x: torch.einsum("abcd,abed->ace", x, x),
    "linear": lambda x: functional.linear(x, x.new_ones(7, x.shape[-1]), x.new_ones(7)),
    "cdist": lambda x: torch.cdist(x, x),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[-2:]),
    "group_norm": lambda x: functional.group_norm(x, 1),
    "batch_norm": lambda x: functional.batch_norm(x, None, None, training=True),
    "mse_loss": lambda x: functional.mse_loss(x, x.detach()),
    "smooth_l1_loss": lambda x: functional.smooth_l1_loss(x, x.detach()),
    "bce": lambda x: functional.binary_cross_entropy_with_logits(x, x.detach()),
    "kl_div": lambda x: functional.kl_div(x, x.detach()),
    "max_pool2d": lambda x: functional.max_pool2d(x, 2),
    "avg_pool2d": lambda x: functional.avg_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: functional.adaptive_avg_pool2d(x, 3),
    "interpolate": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "conv2d": lambda x: functional.conv2d(x, x.new_ones(2, x.shape[1], 2, 2)),
    "attention": lambda x: functional.scaled_dot_product_attention(x, x, x),
    "attention to a longer sequence": lambda x: functional.scaled_dot_product_attention(
        x.new_ones(*x.shape[:-2], 6, x.shape[-1]), x, x, is_causal=True
    ),
    "unfold": lambda x: x.unfold(3, 2, 1) if x.shape[3] >= 2 else x,
    "gru": lambda x: nn.GRU(x.shape[-1], 3, num_layers=2, dropout=0.5)(x.flatten(0, 1))[0],
}
# torch's own shape computation of these gradients divides by the number of elements.
NOT_TRAINED_WHEN_EMPTY = {"group_norm", "mse_loss", "smooth_l1_loss"}


def all_layers(tree):
    for layer in getattr(tree, "layers", ()) or getattr(tree, "children", ()):
        yield layer
        yield from all_layers(layer)


class Program(nn.Module):
    """One call, made trainable."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ONE_TENSOR)
@deterministic
@given(axis=st.sampled_from([None, 0, 1, 2, 3]), training=st.booleans())
def test_no_count_of_an_empty_tensor_is_negative(name, axis, training) -> None:
    training = training and not (axis is not None and name in NOT_TRAINED_WHEN_EMPTY)
    shape = tuple(0 if index == axis else size for index, size in enumerate(SHAPE))
    program, data = Program(ONE_TENSOR[name]), torch.empty(shape).requires_grad_(training)
    try:
        tally = count_training(program, data, optimiser=None) if training else count(program, data)
    except (InputError, CountingError):
        # Torch refuses such a call too, or nothing can be trained.
        assert axis is not None or name == "argmax"
        return
    for layer in all_layers(tally):
        assert all(amount >= 0 for amount in layer.own), layer
    if axis is None:
        assert tally.flops > 0 or name == "unfold"
