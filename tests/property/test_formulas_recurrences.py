"""Recurrences: each formula equals the steps it names, run on counting scalars, and the steps are the right ones."""

import itertools
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import deepspeech2.speech.operation_counts  # noqa: F401  (the counter learns the operators)
from deepspeech2 import count
from deepspeech2.flops.formulas import recurrences
from deepspeech2.flops.formulas.recurrences import (
    cell_input_gradient,
    cell_state_gradient,
    cell_weight_gradient,
    clipped_recurrence,
    clipped_recurrence_gradient,
    gated_recurrence,
    gated_recurrence_gradient,
    needed_cell_gradient,
    recurrent_product,
    torch_cell,
    torch_cell_gradient,
)
from deepspeech2.speech.recurrence import (
    gru_recurrence,
    gru_recurrence_backward,
    simple_recurrence,
    simple_recurrence_backward,
)

deterministic = settings(max_examples=20, deadline=None, derandomize=True)
sizes = st.integers(1, 4)
LIMIT = 1.5


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def column(weight, j):
    return [row[j] for row in weight]


def add_product(scalars, total, vector, weight, j):
    """Total + (vector times column j of the weight)."""
    return scalars.accumulate(total, list(zip(vector, column(weight, j), strict=True)))


def sigmoid(scalars, value):
    return scalars.constant(1) / (scalars.constant(1) + math.exp(-value))


# Lengths of the utterances of a batch; the longest fills it, and one without a frame is nothing but padding.
lengths_of_batches = st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any)


# DeepSpeech2's recurrences ---------------------------------------------------------------------------------------


def valid_places(lengths, size):
    return [(n, t, j) for n, length in enumerate(lengths) for t in range(length) for j in range(size)]


def loop_clipped(scalars, x, weight, bias, *, lengths):
    states = np.full(x.shape, 0.0, object)
    for n, t, j in valid_places(lengths, x.shape[2]):
        total = x[n, t, j] + bias[j]
        if t:
            total = add_product(scalars, total, states[n, t - 1], weight, j)
        states[n, t, j] = min(max(total, scalars.constant(0)), scalars.constant(LIMIT))
    return states


def loop_clipped_gradient(scalars, states, grad, weight, *, lengths):
    size = states.shape[2]
    delta = np.full(states.shape, 0.0, object)
    for n, length in enumerate(lengths):
        for t in range(length - 1, -1, -1):
            for j in range(size):
                total = grad[n, t, j]
                if t + 1 < length:
                    total = scalars.accumulate(total, list(zip(delta[n, t + 1], weight[j], strict=True)))
                above, below = states[n, t, j] > scalars.constant(0), states[n, t, j] < scalars.constant(LIMIT)
                delta[n, t, j] = total if above and below else scalars.constant(0)
    of_weight = np.full((size, size), 0.0, object)
    later = [(n, t) for n, length in enumerate(lengths) for t in range(1, length)]
    for i, j in np.ndindex(size, size):
        if later:
            of_weight[i, j] = scalars.accumulate(None, [(states[n, t - 1, i], delta[n, t, j]) for n, t in later])
    return delta, of_weight, sums_of_frames(scalars, delta, lengths)


def sums_of_frames(scalars, delta, lengths):
    return [
        scalars.add_up([delta[n, t, j] for n, length in enumerate(lengths) for t in range(length)])
        for j in range(delta.shape[2])
    ]


@deterministic
@given(lengths=lengths_of_batches, size=sizes)
def test_clipped_recurrence_and_its_gradient(proves, lengths, size) -> None:
    batch, steps, frames = len(lengths), max(lengths), sum(lengths)
    x, weight, bias = (random(i, *shape).requires_grad_() for i, shape in enumerate(_simple(batch, steps, size)))
    states = simple_recurrence(x, weight, bias, torch.tensor(lengths), False, LIMIT)
    grad = random(9, *states.shape)
    gradients = torch.autograd.grad(states, (x, weight, bias), grad)
    plain = [tensor.detach() for tensor in (x, weight, bias, states)]
    utterances = sum(length > 0 for length in lengths)
    formula = clipped_recurrence(utterances, frames, size)
    proves(formula, partial(loop_clipped, lengths=lengths), *plain[:3], equals=plain[3])
    # The notebook: a fully connected layer with a bias at every step.
    assert formula.notebook == frames * ((2 * size - 1) * size + size)
    arrays, loop = (plain[3], grad, plain[1]), partial(loop_clipped_gradient, lengths=lengths)
    gradient = clipped_recurrence_gradient(utterances, frames, size)
    proves(gradient, loop, *arrays, equals=gradients)
    rest = (torch.tensor(lengths), False, LIMIT)
    assert count(simple_recurrence, (*plain[:3], *rest)).count == formula
    called = count(simple_recurrence_backward, (grad, plain[3], plain[1], *rest))
    assert called.count == gradient
    assert not called.notes


def _simple(batch, steps, size):
    return (batch, steps, size), (size, size), (size,)


def loop_recurrent_product(scalars, x, states, weight):
    result = np.array(x, object)
    for n, t, j in np.ndindex(x.shape):
        if t:
            result[n, t, j] = add_product(scalars, x[n, t, j], states[n, t - 1], weight, j)
    return result


@deterministic
@given(batch=sizes, steps=sizes, size=sizes, outputs=sizes)
def test_recurrent_product(proves, batch, steps, size, outputs) -> None:
    x, states, weight = random(0, batch, steps, outputs), random(1, batch, steps, size), random(2, size, outputs)
    expected = x.clone()
    expected[:, 1:] += states[:, :-1] @ weight
    formula = recurrent_product(batch * (steps - 1), size, outputs)
    proves(formula, loop_recurrent_product, x, states, weight, equals=expected)


def loop_gated(scalars, x, gate_weight, candidate_weight, bias, *, lengths):
    batch, steps, width = x.shape
    size = width // 3
    one = scalars.constant(1)
    states = np.full((batch, steps, size), 0.0, object)
    for n, length in enumerate(lengths):
        h = None
        for t in range(length):
            z, r, c = [], [], []
            for j in range(size):
                total = x[n, t, j] + bias[j]
                z.append(sigmoid(scalars, total if h is None else add_product(scalars, total, h, gate_weight, j)))
            if h is not None:
                for j in range(size):
                    total = add_product(scalars, x[n, t, size + j] + bias[size + j], h, gate_weight, size + j)
                    r.append(sigmoid(scalars, total))
                gated = [a * b for a, b in zip(r, h, strict=True)]
            for j in range(size):
                total = x[n, t, 2 * size + j] + bias[2 * size + j]
                if h is not None:
                    total = add_product(scalars, total, gated, candidate_weight, j)
                c.append(max(total, scalars.constant(0)))
            if h is None:
                h = [a * b for a, b in zip(z, c, strict=True)]
            else:
                h = [(one - z[j]) * h[j] + z[j] * c[j] for j in range(size)]
            states[n, t] = h
    return states


def loop_gated_gradient(scalars, states, gates, grad, gate_weight, candidate_weight, *, lengths):
    size = states.shape[2]
    zero, one = scalars.constant(0), scalars.constant(1)
    z, r, c = gates[..., :size], gates[..., size : 2 * size], gates[..., 2 * size :]
    before = scalars.array(np.zeros(states.shape))
    before[:, 1:] = states[:, :-1]
    slope_z, slope_r, slope_c = (np.empty(states.shape, object) for _ in range(3))
    for place in valid_places(lengths, size):
        slope_z[place] = (c[place] - before[place]) * z[place] * (one - z[place])
        slope_r[place] = before[place] * r[place] * (one - r[place])
        slope_c[place] = z[place] if c[place] > zero else zero
    delta = scalars.array(np.zeros(gates.shape))
    error = np.array(grad, object)
    for n, length in enumerate(lengths):
        for t in range(length - 1, -1, -1):
            for j in range(size):
                delta[n, t, j] = error[n, t, j] * slope_z[n, t, j]
                delta[n, t, 2 * size + j] = error[n, t, j] * slope_c[n, t, j]
            if t == 0:
                break
            q = [
                scalars.accumulate(None, list(zip(delta[n, t, 2 * size :], candidate_weight[j], strict=True)))
                for j in range(size)
            ]
            for j in range(size):
                delta[n, t, size + j] = q[j] * slope_r[n, t, j]
            for j in range(size):
                total = error[n, t - 1, j] + error[n, t, j] * (one - z[n, t, j]) + q[j] * r[n, t, j]
                pairs = list(zip(delta[n, t, : 2 * size], gate_weight[j], strict=True))
                error[n, t - 1, j] = scalars.accumulate(total, pairs)
    of_gates, of_candidate = np.full((size, 2 * size), 0.0, object), np.full((size, size), 0.0, object)
    later = [(n, t) for n, length in enumerate(lengths) for t in range(1, length)]
    gated = {(n, t, i): r[n, t, i] * before[n, t, i] for n, t in later for i in range(size)}
    for i, j in np.ndindex(size, 3 * size):
        if later and j < 2 * size:
            of_gates[i, j] = scalars.accumulate(None, [(before[n, t, i], delta[n, t, j]) for n, t in later])
        elif later:
            pairs = [(gated[n, t, i], delta[n, t, j]) for n, t in later]
            of_candidate[i, j - 2 * size] = scalars.accumulate(None, pairs)
    return delta, of_gates, of_candidate, sums_of_frames(scalars, delta, lengths)


@deterministic
@given(lengths=lengths_of_batches, size=sizes)
def test_gated_recurrence_and_its_gradient(proves, lengths, size) -> None:
    batch, steps, frames = len(lengths), max(lengths), sum(lengths)
    shapes = (batch, steps, 3 * size), (size, 2 * size), (size, size), (3 * size,)
    leaves = [random(i, *shape).requires_grad_() for i, shape in enumerate(shapes)]
    states, gates = gru_recurrence(*leaves, torch.tensor(lengths), False)
    grad = random(9, *states.shape)
    gradients = torch.autograd.grad(states, leaves, grad)
    plain = [tensor.detach() for tensor in leaves]
    utterances = sum(length > 0 for length in lengths)
    formula = gated_recurrence(utterances, frames, size)
    proves(formula, partial(loop_gated, lengths=lengths), *plain, equals=states.detach())
    # The notebook: 2n per output element of each recurrent product, the first step included.
    assert formula.notebook == frames * 3 * size * 2 * size
    arrays = (states.detach(), gates.detach(), grad, plain[1], plain[2])
    loop = partial(loop_gated_gradient, lengths=lengths)
    gradient = gated_recurrence_gradient(utterances, frames, size)
    proves(gradient, loop, *arrays, equals=gradients)
    rest = (torch.tensor(lengths), False)
    assert count(gru_recurrence, (*plain, *rest)).count == formula
    called = count(gru_recurrence_backward, (grad, *arrays[:2], *plain[1:3], *rest))
    assert called.count == gradient
    assert not called.notes


# torch's recurrent layers ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One direction of one torch layer, written out for one step of one sample."""

    kind: str
    w_ih: np.ndarray
    w_hh: np.ndarray
    b_ih: np.ndarray | None = None
    b_hh: np.ndarray | None = None
    w_hr: np.ndarray | None = None

    def sums(self, scalars, vector, weight, bias):
        found = [scalars.accumulate(None, list(zip(vector, row, strict=True))) for row in weight]
        return found if bias is None else [value + shift for value, shift in zip(found, bias, strict=True)]

    def step(self, scalars, x, h, c):
        """New state, new cell, and everything the backward pass reads."""
        from_x = self.sums(scalars, x, self.w_ih, self.b_ih)
        from_h = self.sums(scalars, h, self.w_hh, self.b_hh)
        if self.kind == "rnn_tanh":
            y = [math.tanh(a + b) for a, b in zip(from_x, from_h, strict=True)]
            return y, None, {"y": y}
        if self.kind == "rnn_relu":
            y = [max(a + b, scalars.constant(0)) for a, b in zip(from_x, from_h, strict=True)]
            return y, None, {"y": y}
        return (
            self.step_gru(scalars, from_x, from_h, h)
            if self.kind == "gru"
            else self.step_lstm(scalars, from_x, from_h, c)
        )

    @staticmethod
    def step_gru(scalars, from_x, from_h, h):
        size = len(h)
        r = [sigmoid(scalars, from_x[j] + from_h[j]) for j in range(size)]
        z = [sigmoid(scalars, from_x[size + j] + from_h[size + j]) for j in range(size)]
        h_n = from_h[2 * size :]
        n = [math.tanh(from_x[2 * size + j] + r[j] * h_n[j]) for j in range(size)]
        y = [n[j] + z[j] * (h[j] - n[j]) for j in range(size)]
        return y, None, {"r": r, "z": z, "n": n, "h_n": h_n, "before": h}

    def step_lstm(self, scalars, from_x, from_h, c):
        size = len(c)
        sums = [a + b for a, b in zip(from_x, from_h, strict=True)]
        i, f = ([sigmoid(scalars, value) for value in sums[k * size : (k + 1) * size]] for k in (0, 1))
        g = [math.tanh(value) for value in sums[2 * size : 3 * size]]
        o = [sigmoid(scalars, value) for value in sums[3 * size :]]
        cell = [f[j] * c[j] + i[j] * g[j] for j in range(size)]
        tanh_c = [math.tanh(value) for value in cell]
        y = [o[j] * tanh_c[j] for j in range(size)]
        kept = {"i": i, "f": f, "g": g, "o": o, "tanh_c": tanh_c, "before": c, "whole": y}
        if self.w_hr is not None:
            y = self.sums(scalars, y, self.w_hr, None)
        return y, cell, kept

    def run(self, scalars, x, h0, c0):
        """States (steps, batch, ...) and, per sample, what each step kept."""
        steps, batch, _ = x.shape
        states, kept = np.empty((steps, batch, h0.shape[1]), object), []
        for n in range(batch):
            h, c, own = list(h0[n]), list(c0[n]), []
            for t in range(steps):
                own.append({"x": x[t, n], "h": h})
                h, c, details = self.step(scalars, x[t, n], h, c)
                own[-1].update(details)
                states[t, n] = h
            kept.append(own)
        return states, kept


def by_sigmoid(scalars, y, g):
    return y * (scalars.constant(1) - y) * g


def by_tanh(scalars, y, g):
    return (scalars.constant(1) - y * y) * g


def gate_gradients(scalars, cell, kept, of_h, of_c, *, to_cell, to_product):
    """Gradients of the sums that come from x, of those from h, and what flows to the step before past the product."""
    if cell.kind == "rnn_tanh":
        d = [by_tanh(scalars, y, g) for y, g in zip(kept["y"], of_h, strict=True)]
        return d, d, None, None
    if cell.kind == "rnn_relu":
        d = [g if y > scalars.constant(0) else scalars.constant(0) for y, g in zip(kept["y"], of_h, strict=True)]
        return d, d, None, None
    return (
        gru_gradients(scalars, kept, of_h, to_product=to_product)
        if cell.kind == "gru"
        else lstm_gradients(scalars, kept, of_h, of_c, to_cell=to_cell)
    )


def gru_gradients(scalars, kept, of_h, *, to_product):
    d_r, d_z, d_n, d_hn, past = [], [], [], [], []
    for r, z, n, h_n, before, g in zip(*(kept[name] for name in ("r", "z", "n", "h_n", "before")), of_h, strict=True):
        d_z.append(by_sigmoid(scalars, z, g * (before - n)))
        past.append(g * z)
        d_n.append(by_tanh(scalars, n, g - past[-1]))
        d_r.append(by_sigmoid(scalars, r, d_n[-1] * h_n))
        # At the first step the product is for the initial state and the weights only.
        d_hn.append(d_n[-1] * r if to_product else None)
    return d_r + d_z + d_n, d_r + d_z + d_hn, past, None


def lstm_gradients(scalars, kept, of_h, of_c, *, to_cell):
    d_i, d_f, d_g, d_o, past = [], [], [], [], []
    names = ("i", "f", "g", "o", "tanh_c", "before")
    for i, f, g, o, tanh_c, before, above, cell in zip(*(kept[name] for name in names), of_h, of_c, strict=True):
        d_o.append(by_sigmoid(scalars, o, above * tanh_c))
        of_cell = cell + by_tanh(scalars, tanh_c, above * o)
        d_f.append(by_sigmoid(scalars, f, of_cell * before))
        past.append(of_cell * f if to_cell else of_cell)
        d_i.append(by_sigmoid(scalars, i, of_cell * g))
        d_g.append(by_tanh(scalars, g, of_cell * i))
    d = d_i + d_f + d_g + d_o
    return d, d, None, past


def loop_cell_gradient(scalars, grad, *, cell, kept, of_inputs=True, of_states=True, of_weights=True):
    """Backward through time; the gradients of the initial states start at zero and are accumulated into."""
    steps, batch, _ = grad.shape
    state = len(kept[0][0]["h"])
    of_x, rows = np.empty((steps, batch, cell.w_ih.shape[1]), object), []
    for n in range(batch):
        of_c = [scalars.constant(0)] * (len(kept[0][0].get("before", [])))
        carried = None
        for t in range(steps - 1, -1, -1):
            of_h = list(grad[t, n]) if carried is None else carried
            of_projection, of_whole = None, of_h
            if cell.w_hr is not None:
                of_projection = of_h
                of_whole = [scalars.accumulate(None, list(zip(of_h, w, strict=True))) for w in cell.w_hr.T]
            from_x, from_h, past, past_c = gate_gradients(
                scalars,
                cell,
                kept[n][t],
                of_whole,
                of_c,
                to_cell=t > 0 or of_states,
                to_product=t > 0 or of_states or of_weights,
            )
            of_c = of_c if past_c is None else past_c
            rows.append((kept[n][t], from_x, from_h, of_projection))
            for k in range(of_x.shape[2] if of_inputs else 0):
                of_x[t, n, k] = scalars.accumulate(None, list(zip(from_x, cell.w_ih[:, k], strict=True)))
            above = list(grad[t - 1, n]) if t else [scalars.constant(0)] * state
            carried = []
            for k in range(state if t or of_states else 0):
                total = above[k] if past is None else above[k] + past[k]
                carried.append(scalars.accumulate(total, list(zip(from_h, cell.w_hh[:, k], strict=True))))
    return (of_x, *(weight_gradients(scalars, cell, rows) if of_weights else ()))


def weight_gradients(scalars, cell, rows):
    def product_over_rows(shape, left, right):
        result = np.empty(shape, object)
        for i, j in np.ndindex(shape):
            result[i, j] = scalars.accumulate(None, [(left(row)[i], right(row)[j]) for row in rows])
        return result

    results = [
        product_over_rows(cell.w_ih.shape, lambda row: row[1], lambda row: row[0]["x"]),
        product_over_rows(cell.w_hh.shape, lambda row: row[2], lambda row: row[0]["h"]),
    ]
    if cell.b_ih is not None:
        results += [[scalars.add_up([row[k][j] for row in rows]) for j in range(len(cell.b_ih))] for k in (1, 2)]
    if cell.w_hr is not None:
        results.append(product_over_rows(cell.w_hr.shape, lambda row: row[3], lambda row: row[0]["whole"]))
    return results


def build(kind, inputs, size, bias, projection):
    if kind == "lstm":
        return torch.nn.LSTM(inputs, size, bias=bias, proj_size=projection)
    if kind == "gru":
        return torch.nn.GRU(inputs, size, bias=bias)
    return torch.nn.RNN(inputs, size, bias=bias, nonlinearity=kind.removeprefix("rnn_"))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["rnn_tanh", "rnn_relu", "gru", "lstm"]),
    batch=st.integers(1, 2),
    steps=st.integers(1, 3),
    inputs=st.integers(1, 3),
    size=st.integers(2, 4),
    bias=st.booleans(),
    projected=st.booleans(),
)
def test_torch_cells_and_their_gradients(
    proves, same_count, scalar_run, kind, batch, steps, inputs, size, bias, projected
) -> None:
    projection = size - 1 if projected and kind == "lstm" else 0
    torch.manual_seed(0)
    layer = build(kind, inputs, size, bias, projection).double()
    x = random(1, steps, batch, inputs).requires_grad_()
    h0, c0 = random(2, 1, batch, projection or size), random(3, 1, batch, size)
    y, _ = layer(x, (h0, c0) if kind == "lstm" else h0)
    grad = random(4, *y.shape)
    names = ["weight_ih_l0", "weight_hh_l0", *(["bias_ih_l0", "bias_hh_l0"] if bias else [])]
    names += ["weight_hr_l0"] if projection else []
    weights = [getattr(layer, name) for name in names]
    gradients = torch.autograd.grad(y, (x, *weights), grad)

    def cell_of(scalars):
        arrays = {name: scalars.array(weight.detach()) for name, weight in zip(names, weights, strict=True)}
        order = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_hr_l0")
        return Cell(kind, *(arrays.get(name) for name in order))

    counted, (states, kept) = scalar_run(
        lambda scalars, *arrays: cell_of(scalars).run(scalars, *arrays), x.detach(), h0[0], c0[0]
    )
    same_count(torch_cell(kind, batch * steps, inputs, size, bias=bias, projection=projection), counted)
    np.testing.assert_allclose(states.astype(float), y.detach(), 1e-9, 1e-12)
    formula = torch_cell_gradient(kind, batch * steps, inputs, size, bias=bias, projection=projection)
    cells = []

    def backward(scalars, grad):
        cells.append(cell_of(scalars))
        return loop_cell_gradient(scalars, grad, cell=cells[-1], kept=kept)

    proves(formula, backward, grad, equals=gradients)
    # Without a gradient of the input, of the initial states, of the weights.
    less = {
        "of_inputs": cell_input_gradient(kind, batch * steps, inputs, size),
        "of_states": cell_state_gradient(kind, batch, size, projection=projection),
        "of_weights": cell_weight_gradient(kind, batch * steps, inputs, size, bias=bias, projection=projection),
    }
    for name, saved in less.items():
        counted, _ = scalar_run(
            lambda scalars, grad, name=name: loop_cell_gradient(
                scalars, grad, cell=cell_of(scalars), kept=kept, **{name: False}
            ),
            grad,
        )
        same_count(formula + saved * -1, counted)
    # And without any two of them, or all.
    sizes_of = recurrences.Cell(kind, batch * steps, inputs, size, bias, projection)
    for needed in itertools.product([False, True], repeat=3):
        asked = dict(zip(less, needed, strict=True))
        counted, _ = scalar_run(
            lambda scalars, grad, asked=asked: loop_cell_gradient(
                scalars, grad, cell=cell_of(scalars), kept=kept, **asked
            ),
            grad,
        )
        same_count(needed_cell_gradient(sizes_of, batch, needed), counted)
