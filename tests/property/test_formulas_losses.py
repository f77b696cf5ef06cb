"""The CTC loss and its gradient equal the recursions they name, run on counting scalars."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepspeech2.flops.formulas.losses import ctc_loss, ctc_loss_gradient

deterministic = settings(max_examples=25, deadline=None, derandomize=True)
MINUS_INFINITY = -1e30


def extended(labels, blank):
    """Blanks around every label."""
    states = [blank]
    for label in labels:
        states += [label, blank]
    return states


def next_values(scalars, before, states, log_probs, *, backward=False):
    """One step of the recursion: each state from itself, its neighbour, and the one behind it if it may skip."""
    nothing = scalars.constant(MINUS_INFINITY)
    side = 1 if backward else -1
    values = []
    for s, symbol in enumerate(states):
        a = before[s]
        one, two = s + side, s + 2 * side
        b = before[one] if 0 <= one < len(states) else nothing
        may_skip = 0 <= two < len(states) and symbol != states[0] and symbol != states[two]
        c = before[two] if may_skip else nothing
        m = scalars.largest([a, b, c])
        total = math.exp(a - m) + math.exp(b - m) + math.exp(c - m)
        values.append(math.log(total) + m + log_probs[symbol])
    return values


def forward_table(scalars, log_probs, states):
    nothing = scalars.constant(MINUS_INFINITY)
    first = [log_probs[0, symbol] if s < 2 else nothing for s, symbol in enumerate(states)]
    table = [first]
    for t in range(1, len(log_probs)):
        table.append(next_values(scalars, table[-1], states, log_probs[t]))
    return table


def sum_of_logs(scalars, a, b):
    m = scalars.largest([a, b])
    return math.log(math.exp(a - m) + math.exp(b - m)) + m


def loop_ctc_loss(scalars, log_probs, *, labels):
    """log_probs: (time, batch, vocabulary), the blank first; one list of labels per sample."""
    losses = []
    for n, sample in enumerate(labels):
        last = forward_table(scalars, log_probs[:, n], extended(sample, 0))[-1]
        losses.append(-sum_of_logs(scalars, last[-1], last[-2]))
    return losses


def loop_ctc_gradient(scalars, log_probs, forward, losses, grad, *, labels):
    steps, batch, vocabulary = log_probs.shape
    result = np.empty(log_probs.shape, object)
    nothing = scalars.constant(MINUS_INFINITY)
    for n in range(batch):
        states = extended(labels[n], 0)
        last = len(states) - 1
        values = [log_probs[-1, n, symbol] if s >= last - 1 else nothing for s, symbol in enumerate(states)]
        table = [values]
        for t in range(steps - 2, -1, -1):
            table.insert(0, next_values(scalars, table[0], states, log_probs[t, n], backward=True))
        for t in range(steps):
            accumulated = [nothing] * vocabulary
            for s, symbol in enumerate(states):
                both = forward[n, t, s] + table[t][s]
                accumulated[symbol] = sum_of_logs(scalars, accumulated[symbol], both)
            for k in range(vocabulary):
                probability = math.exp(log_probs[t, n, k])
                posterior = math.exp(accumulated[k] + losses[n] - log_probs[t, n, k])
                result[t, n, k] = (probability - posterior) * grad[n]
    return result


@deterministic
@given(batch=st.integers(1, 3), length=st.integers(1, 3), extra=st.integers(0, 3), seed=st.integers(0, 99))
def test_ctc_loss_and_its_gradient(proves, scalar_run, batch, length, extra, seed) -> None:
    generator = np.random.default_rng(seed)
    vocabulary = 4
    labels = generator.integers(1, vocabulary, (batch, length))
    steps = 2 * length + extra  # enough even when every label is repeated
    log_probs = torch.from_numpy(generator.normal(size=(steps, batch, vocabulary))).log_softmax(-1).requires_grad_()
    lengths = torch.full((batch,), steps), torch.full((batch,), length)
    losses = functional.ctc_loss(log_probs, torch.from_numpy(labels), *lengths, reduction="none")
    grad = torch.from_numpy(generator.normal(size=batch))
    (gradient,) = torch.autograd.grad(losses, log_probs, grad)
    plain = log_probs.detach()
    proves(ctc_loss(batch, steps, length), loop_ctc_loss, plain, labels=labels, equals=losses.detach())
    tables = scalar_run(
        lambda scalars, p: [forward_table(scalars, p[:, n], extended(labels[n], 0)) for n in range(batch)], plain
    )[1]
    formula = ctc_loss_gradient(batch, steps, length, vocabulary)
    arrays = (plain, np.array(tables, dtype=float), losses.detach(), grad)
    proves(formula, loop_ctc_gradient, *arrays, labels=labels, equals=gradient)
