"""A whole DeepSpeech2, written out in plain loops from its published definition, run on counting scalars.

Its operations equal the count kind by kind, and its result equals the torch module's: it is the same function.
"""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2 import count
from deepspeech2.speech.build import build_model
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions

FREQUENCIES = 9
ONE = (ConvolutionOptions(2, (5, 3), (2, 3)),)
TWO = (*ONE, ConvolutionOptions(3, (3, 3), (2, 1)))


class ScalarNetwork:
    """Forward pass on counting scalars; `weights` are those of the torch module, by name."""

    def __init__(self, scalars, weights, options):
        self.scalars = scalars
        self.weights = {name: scalars.array(values) for name, values in weights.items()}
        self.options = options
        self.zero, self.one, self.limit = scalars.constant(0), scalars.constant(1), scalars.constant(24)

    def clip(self, value):
        return min(max(value, self.zero), self.limit)

    def sigmoid(self, value):
        return self.one / (self.one + math.exp(-value))

    def __call__(self, features):
        x = features[:, None]
        for number, convolution in enumerate(self.options.convolutions):
            x = self.convolve(x, f"conv.{number}.", convolution)
        batch, time = x.shape[0], x.shape[3]
        # One vector per frame: channel * frequencies + frequency.
        x = np.array([[x[n, :, :, t].reshape(-1) for t in range(time)] for n in range(batch)], object)
        for number in range(self.options.recurrent_layers):
            x = self.recurrent(x, f"recurrent.{number}.")
        return self.log_softmax(self.affine(x, "output.", bias=True))

    def convolve(self, x, name, convolution):
        weight = self.weights[name + "convolution.weight"]
        (kernel_f, kernel_t), (stride_f, stride_t) = convolution.kernel, convolution.stride
        batch, channels, frequencies, time = x.shape
        pad_f, pad_t = kernel_f // 2, kernel_t // 2
        shape = (batch, len(weight), (frequencies - 1) // stride_f + 1, (time - 1) // stride_t + 1)
        y = np.empty(shape, object)
        for n, c, f, t in np.ndindex(shape):
            pairs = []
            for i, j, k in product(range(channels), range(kernel_f), range(kernel_t)):
                row, column = f * stride_f + j - pad_f, t * stride_t + k - pad_t
                inside = 0 <= row < frequencies and 0 <= column < time
                self.scalars.padding_macs += not inside
                pairs.append((x[n, i, row, column] if inside else self.zero, weight[c, i, j, k]))
            y[n, c, f, t] = self.scalars.accumulate(None, pairs)
        y = self.batch_norm(y.reshape(batch, shape[1], -1), name + "norm.").reshape(shape)
        for place in np.ndindex(shape):
            y[place] = self.clip(y[place])
        return y

    def batch_norm(self, x, name):
        """(batch, channels, values): scale and shift once per channel, then applied to each value."""
        mean, variance, gamma, beta = (
            self.weights[name + key] for key in ("running_mean", "running_var", "weight", "bias")
        )
        y = np.empty(x.shape, object)
        for c in range(x.shape[1]):
            scale = gamma[c] / math.sqrt(variance[c] + self.scalars.constant(1e-5))
            shift = beta[c] - mean[c] * scale
            for n, i in np.ndindex(x.shape[0], x.shape[2]):
                y[n, c, i] = x[n, c, i] * scale + shift
        return y

    def affine(self, x, name, *, bias):
        weight = self.weights[name + "weight"]
        y = np.empty((*x.shape[:2], len(weight)), object)
        for n, t, j in np.ndindex(y.shape):
            y[n, t, j] = self.scalars.accumulate(None, list(zip(x[n, t], weight[j], strict=True)))
            if bias:
                y[n, t, j] = y[n, t, j] + self.weights[name + "bias"][j]
        return y

    def projected(self, x, name, direction):
        """Projection and batch norm over the features of all frames."""
        y = self.affine(x, f"{name}{direction}projection.", bias=False)
        swapped = self.batch_norm(y.transpose(0, 2, 1), f"{name}{direction}norm.")
        return swapped.transpose(0, 2, 1)

    def recurrent(self, x, name):
        run = self.gru if self.options.cell == "gru" else self.simple
        if self.options.shared:
            inputs = [self.projected(x, name, "")] * 2
        else:
            inputs = [self.projected(x, name, direction) for direction in ("forward_", "backward_")]
        ahead = run(inputs[0], name + "forward_recurrence.")
        back = run(inputs[1][:, ::-1], name + "backward_recurrence.")[:, ::-1]
        return np.concatenate([ahead, back], axis=2)

    def simple(self, x, name):
        weight, bias = self.weights[name + "weight"], self.weights[name + "bias"]
        states = np.empty(x.shape, object)
        for n, t, j in np.ndindex(x.shape):
            total = x[n, t, j] + bias[j]
            if t:
                total = self.scalars.accumulate(total, list(zip(states[n, t - 1], weight[:, j], strict=True)))
            states[n, t, j] = self.clip(total)
        return states

    def gru(self, x, name):
        bias = self.weights[name + "bias"]
        gates, candidate = self.weights[name + "gate_weight"], self.weights[name + "candidate_weight"]
        batch, time, width = x.shape
        size = width // 3
        states = np.empty((batch, time, size), object)
        for n, t in np.ndindex(batch, time):
            before = states[n, t - 1] if t else None
            update = [self.gate(x[n, t], bias, j, before, gates[:, j]) for j in range(size)]
            gated = None
            if before is not None:
                reset = [self.gate(x[n, t], bias, size + j, before, gates[:, size + j]) for j in range(size)]
                gated = [r * h for r, h in zip(reset, before, strict=True)]
            for j in range(size):
                total = self.gate_sum(x[n, t], bias, 2 * size + j, gated, candidate[:, j])
                new = max(total, self.zero)
                if before is None:
                    states[n, t, j] = update[j] * new
                else:
                    states[n, t, j] = (self.one - update[j]) * before[j] + update[j] * new
        return states

    def gate_sum(self, x, bias, index, vector, weight):
        total = x[index] + bias[index]
        return total if vector is None else self.scalars.accumulate(total, list(zip(vector, weight, strict=True)))

    def gate(self, *arguments):
        return self.sigmoid(self.gate_sum(*arguments))

    def log_softmax(self, x):
        y = np.empty(x.shape, object)
        for n, t in np.ndindex(x.shape[:2]):
            largest = self.scalars.largest(x[n, t])
            differences = [value - largest for value in x[n, t]]
            logarithm = math.log(self.scalars.add_up([math.exp(value) for value in differences]))
            y[n, t] = [value - logarithm for value in differences]
        return y


def build(cell, shared, convolutions, layers):
    options = NetworkOptions(
        vocab_size=4,
        convolutions=convolutions,
        recurrent_layers=layers,
        recurrent_size=3,
        cell=cell,
        shared=shared,
        frequencies=FREQUENCIES,
    )
    model = build_model(options, seed=1).double()
    generator = torch.Generator().manual_seed(2)
    for name, tensor in model.state_dict().items():
        # Away from the identity that norms and biases start as.
        if tensor.dim() == 1:
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5 * ("var" in name))
    return model, options


KINDS_OF_NETWORK = {"shared": ("simple", True), "unshared": ("simple", False), "gru": ("gru", False)}


@pytest.mark.parametrize("kind", KINDS_OF_NETWORK)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    convolutions=st.sampled_from([ONE, TWO]),
    layers=st.integers(1, 2),
    batch=st.integers(1, 2),
    time=st.integers(1, 11),
)
def test_whole_network(same_count, scalar_run, kind, convolutions, layers, batch, time) -> None:
    model, options = build(*KINDS_OF_NETWORK[kind], convolutions, layers)
    features = torch.from_numpy(np.random.default_rng(time).normal(size=(batch, FREQUENCIES, time)))
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    counted, result = scalar_run(lambda s, x: ScalarNetwork(s, weights, options)(x), features)
    with torch.no_grad():
        expected, frames = model(features, torch.full((batch,), time))
    assert result.shape == expected.shape
    assert frames.tolist() == [result.shape[1]] * batch
    np.testing.assert_allclose(result.astype(float), expected.numpy(), 1e-9, 1e-12)
    for inputs in (features, (features, torch.full((batch,), time))):
        tally = count(model, inputs, strict=True)
        same_count(tally.count, counted)
        assert tally.modelled == 0


def test_padding_macs_of_a_whole_network_are_some_of_its_macs(scalar_run) -> None:
    model, options = build("gru", False, TWO, 1)
    features = torch.zeros(1, FREQUENCIES, 7, dtype=torch.float64)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    counted, _ = scalar_run(lambda s, x: ScalarNetwork(s, weights, options)(x), features)
    assert 0 < counted.padding_macs < counted.macs
    assert count(model, features).padding_macs == counted.padding_macs
