"""Whole training steps in plain Python on counting scalars: the operations, and torch's own new parameters.

Each network is written out by hand, forward, backward and update, in the order in which torch's autograd works; the
count of the module must agree in every kind, and the numbers with what torch computes.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deepspeech2 import count_training
from deepspeech2.flops.operations import KINDS

RATE, MOMENTUM, EPSILON = 0.1, 0.9, 1e-5


# Pieces ----------------------------------------------------------------------------------------------------------


def product(scalars, left, right):
    """Matrix product of nested lists: one dot product per element."""
    columns = list(zip(*right, strict=True))
    return [[scalars.accumulate(None, list(zip(row, column, strict=True))) for column in columns] for row in left]


def turned(matrix):
    return [list(row) for row in zip(*matrix, strict=True)]


def linear(scalars, x, weight, bias):
    """X W^T + b."""
    return [[value + b for value, b in zip(row, bias, strict=True)] for row in product(scalars, x, turned(weight))]


def linear_gradient(scalars, x, weight, above, *, to_input=True):
    """Gradients of the input (unless nothing below needs it), the weight and the bias."""
    below = product(scalars, above, weight) if to_input else None
    return below, product(scalars, turned(above), x), [scalars.add_up(column) for column in turned(above)]


def descend(scalars, parameters, gradients, velocities=None):
    """SGD, with momentum where velocities are given."""
    rate, momentum = scalars.constant(RATE), scalars.constant(MOMENTUM)
    updated = []
    for index, (values, slopes) in enumerate(zip(parameters, gradients, strict=True)):
        flat, slope = list(np.asarray(values, object).reshape(-1)), list(np.asarray(slopes, object).reshape(-1))
        if velocities is not None:
            before = list(np.asarray(velocities[index], object).reshape(-1))
            slope = [momentum * v + g for v, g in zip(before, slope, strict=True)]
        step = [p - rate * g for p, g in zip(flat, slope, strict=True)]
        updated.append(np.asarray(step, object).reshape(np.shape(np.asarray(values, object))))
    return tuple(updated)


def mean_squared_error(scalars, y, target):
    """The mean of squared differences, and its gradient 2 / n * (y - t) * g."""
    differences = [[a - b for a, b in zip(row, goal, strict=True)] for row, goal in zip(y, target, strict=True)]
    squares = [d * d for row in differences for d in row]
    loss = scalars.add_up(squares) / scalars.constant(len(squares))
    factor, g = scalars.constant(2 / len(squares)), scalars.constant(1)
    above = [
        [factor * (a - b) * g for a, b in zip(row, goal, strict=True)] for row, goal in zip(y, target, strict=True)
    ]
    return loss, above


# Networks --------------------------------------------------------------------------------------------------------


class Perceptron(nn.Module):
    """Two layers and a rectifier."""

    inputs = (3, 4)
    targets = torch.tensor([1, 0, 1])

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.second(self.first(x).relu())

    def loss(self, y):
        return functional.cross_entropy(y, self.targets)


def perceptron_step(scalars, x, *arrays):
    """Softmax cross entropy: as log-softmax and the mean of negated picks."""
    w1, b1, w2, b2, *velocities = arrays
    labels = Perceptron.targets.tolist()
    inner = linear(scalars, x, w1, b1)
    active = [[max(value, scalars.constant(0)) for value in row] for row in inner]
    y = linear(scalars, active, w2, b2)
    shares = []
    for row in y:
        largest = scalars.largest(row)
        differences = [value - largest for value in row]
        logarithm = math.log(scalars.add_up([math.exp(value) for value in differences]))
        shares.append([value - logarithm for value in differences])
    picked = [-row[label] for row, label in zip(shares, labels, strict=True)]
    scalars.add_up(picked) / scalars.constant(len(picked))

    slope = -(scalars.constant(1) / scalars.constant(len(labels)))
    zero = scalars.constant(0)
    above = []
    for row, label in zip(shares, labels, strict=True):
        given = [slope if index == label else zero for index in range(len(row))]
        total = scalars.add_up(given)
        above.append([g - math.exp(share) * total for g, share in zip(given, row, strict=True)])
    to_active, to_w2, to_b2 = linear_gradient(scalars, active, w2, above)
    to_inner = [
        [g if value > scalars.constant(0) else zero for g, value in zip(row, values, strict=True)]
        for row, values in zip(to_active, active, strict=True)
    ]
    _, to_w1, to_b1 = linear_gradient(scalars, x, w1, to_inner, to_input=False)
    return descend(scalars, (w1, b1, w2, b2), (to_w1, to_b1, to_w2, to_b2), velocities or None)


class Recurrent(nn.Module):
    """A simple recurrence through three steps, in a loop, with one output at the end."""

    inputs = (3, 2, 3)
    targets = torch.tensor([[0.5, -0.2], [0.1, 0.3]], dtype=torch.float64)

    def __init__(self) -> None:
        super().__init__()
        self.into, self.over, self.out = nn.Linear(3, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.tanh(self.into(x[0]))
        for step in range(1, x.shape[0]):
            h = torch.tanh(self.into(x[step]) + self.over(h))
        return self.out(h)

    def loss(self, y):
        return functional.mse_loss(y, self.targets)


def recurrent_step(scalars, x, *arrays):
    w, b, u, v, c = arrays[:5]
    states, steps = [], len(x)
    for step in range(steps):
        inner = linear(scalars, x[step], w, b)
        if step:
            back = product(scalars, states[-1], turned(u))
            inner = [[p + q for p, q in zip(*rows, strict=True)] for rows in zip(inner, back, strict=True)]
        states.append([[math.tanh(value) for value in row] for row in inner])
    y = linear(scalars, states[-1], v, c)
    _, above = mean_squared_error(scalars, y, scalars.array(Recurrent.targets))
    to_state, to_v, to_c = linear_gradient(scalars, states[-1], v, above)
    to_w = to_b = to_u = None
    for step in reversed(range(steps)):
        # g * (1 - h * h)
        one = scalars.constant(1)
        to_inner = [
            [g * (one - h * h) for g, h in zip(*rows, strict=True)] for rows in zip(to_state, states[step], strict=True)
        ]
        _, more_w, more_b = linear_gradient(scalars, x[step], w, to_inner, to_input=False)
        to_w, to_b = summed(to_w, more_w), summed(to_b, more_b)
        if step:
            more_u = product(scalars, turned(to_inner), states[step - 1])
            to_u = summed(to_u, more_u)
            to_state = product(scalars, to_inner, u)
    return descend(scalars, (w, b, u, v, c), (to_w, to_b, to_u, to_v, to_c), arrays[5:] or None)


def summed(total, more):
    more = np.asarray(more, object)
    return more if total is None else total + more


class Normalised(nn.Module):
    """A layer norm between two layers."""

    inputs = (3, 4)
    targets = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(4, 5), nn.LayerNorm(5, EPSILON), nn.Linear(5, 2)

    def forward(self, x):
        return self.second(self.norm(self.first(x)))

    def loss(self, y):
        return functional.mse_loss(y, self.targets)


def normalised_step(scalars, x, *arrays):
    w1, b1, gamma, beta, w2, b2, *velocities = arrays
    inner = linear(scalars, x, w1, b1)
    length, rows = scalars.constant(len(gamma)), []
    kept = []
    for row in inner:
        mean = scalars.add_up(row) / length
        deviations = [value - mean for value in row]
        variance = scalars.add_up([d * d for d in deviations]) / length
        r = scalars.constant(1) / math.sqrt(variance + scalars.constant(EPSILON))
        kept.append((mean, r))
        rows.append([d * r * g + s for d, g, s in zip(deviations, gamma, beta, strict=True)])
    y = linear(scalars, rows, w2, b2)
    _, above = mean_squared_error(scalars, y, scalars.array(Normalised.targets))
    to_rows, to_w2, to_b2 = linear_gradient(scalars, rows, w2, above)
    to_inner, normal = [], []
    for row, grads, (mean, r) in zip(inner, to_rows, kept, strict=True):
        # The deviations over their size are formed again from the mean and 1 / root that were kept.
        y_hat = [(value - mean) * r for value in row]
        normal.append(y_hat)
        g = [a * s for a, s in zip(grads, gamma, strict=True)]
        first = scalars.add_up(g) / length
        second = scalars.add_up([a * b for a, b in zip(g, y_hat, strict=True)]) / length
        to_inner.append([(a - first - b * second) * r for a, b in zip(g, y_hat, strict=True)])
    to_gamma = [
        scalars.add_up([a * b for a, b in zip(*pair, strict=True)])
        for pair in zip(turned(to_rows), turned(normal), strict=True)
    ]
    to_beta = [scalars.add_up(column) for column in turned(to_rows)]
    _, to_w1, to_b1 = linear_gradient(scalars, x, w1, to_inner, to_input=False)
    gradients = (to_w1, to_b1, to_gamma, to_beta, to_w2, to_b2)
    return descend(scalars, (w1, b1, gamma, beta, w2, b2), gradients, velocities or None)


class Convolutional(nn.Module):
    """A strided convolution in two groups, a rectifier, the mean over time, a layer."""

    inputs = (2, 4, 7)
    targets = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.out = nn.Conv1d(4, 6, 3, stride=2, groups=2), nn.Linear(6, 1)

    def forward(self, x):
        return self.out(self.convolution(x).relu().mean(2))

    def loss(self, y):
        return functional.mse_loss(y, self.targets)


def convolutional_step(scalars, x, *arrays):
    kernel, b, w, c, *velocities = arrays
    samples, channels, _ = x.shape
    outputs, each, taps = kernel.shape
    stride, per_group = 2, outputs * each // channels
    positions = (x.shape[2] - taps) // stride + 1
    inner = np.empty((samples, outputs, positions), object)
    for n, o, t in np.ndindex(inner.shape):
        group = o // per_group
        pairs = [(kernel[o, i, k], x[n, group * each + i, t * stride + k]) for i in range(each) for k in range(taps)]
        inner[n, o, t] = scalars.accumulate(None, pairs) + b[o]
    zero, length = scalars.constant(0), scalars.constant(positions)
    active = np.vectorize(lambda value: max(value, zero), otypes=[object])(inner)
    means = [[scalars.add_up(list(active[n, o])) / length for o in range(outputs)] for n in range(samples)]
    y = linear(scalars, means, w, c)
    _, above = mean_squared_error(scalars, y, scalars.array(Convolutional.targets))
    to_means, to_w, to_c = linear_gradient(scalars, means, w, above)
    # The gradient of a mean is repeated, then divided element by element.
    to_inner = np.empty(inner.shape, object)
    for n, o, t in np.ndindex(inner.shape):
        g = to_means[n][o] / length
        to_inner[n, o, t] = g if active[n, o, t] > zero else zero
    to_kernel = np.empty(kernel.shape, object)
    for o, i, k in np.ndindex(kernel.shape):
        group = o // per_group
        pairs = [
            (to_inner[n, o, t], x[n, group * each + i, t * stride + k])
            for n in range(samples)
            for t in range(positions)
        ]
        to_kernel[o, i, k] = scalars.accumulate(None, pairs)
    to_b = [scalars.add_up(list(to_inner[:, o].reshape(-1))) for o in range(outputs)]
    return descend(scalars, (kernel, b, w, c), (to_kernel, to_b, to_w, to_c), velocities or None)


NETWORKS = {
    Perceptron: perceptron_step,
    Recurrent: recurrent_step,
    Normalised: normalised_step,
    Convolutional: convolutional_step,
}


@pytest.mark.parametrize("optimiser", ["sgd", "sgd-momentum"])
@pytest.mark.parametrize("kind", NETWORKS, ids=lambda kind: kind.__name__)
def test_a_whole_training_step_costs_what_it_does_on_counting_scalars(scalar_run, kind, optimiser) -> None:
    torch.manual_seed(3)
    network = kind().double()
    x = torch.randn(kind.inputs, dtype=torch.float64)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    velocities = [torch.randn_like(parameter) for parameter in before] if "momentum" in optimiser else []
    tally = count_training(network, x, loss=network.loss, optimiser=optimiser, strict=True)

    counted, updated = scalar_run(NETWORKS[kind], x, *before, *velocities)

    found = {**tally.kinds, "macs": tally.macs}
    assert found == {**{name: getattr(counted, name) for name in KINDS}, "macs": counted.macs}
    network.loss(network(x)).backward()
    for index, parameter in enumerate(network.parameters()):
        slope = parameter.grad + (MOMENTUM * velocities[index] if velocities else 0)
        wanted = before[index] - RATE * slope
        np.testing.assert_allclose(np.asarray(updated[index], dtype=float), wanted, 1e-9, 1e-12)


def test_least_squares_are_differentiated_by_the_pseudo_inverse() -> None:
    """Right-hand side (5, 2), matrix (5, 3): P* G is 5 x 3 x 2 products, besides those of P itself and of its gradient.

    P = pinv(A): V S^-1 U* is 3 x 3 x 5 products. With m > n torch multiplies P (3, 5), its gradient's conjugate K'
    (5, 3), K = P K' (3, 3): 3*5*3; P* K: 5*3*3; K P: 3*3*5; K' - A K: 5*3*3; that times P: 5*3*5, times P*: 5*5*3;
    P* K P: 5*3*5; times A: 5*5*3. G B* before it: 3*2*5.
    """

    class Solves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.zeros(5, 3))

        def forward(self, right):
            return torch.linalg.lstsq(self.matrix, right).solution

    step = count_training(Solves(), torch.empty(5, 2, requires_grad=True), optimiser=None)
    assert step.complete
    assert step.phase("backward").macs == 5 * 3 * 2 + 45 + 30 + 4 * 45 + 4 * 75
