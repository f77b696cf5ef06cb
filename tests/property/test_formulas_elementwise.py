"""Products, activations, softmaxes: each formula equals the algorithm it names, run on counting scalars."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepspeech2.flops.formulas.activations import (
    clipped_relu,
    dropout,
    dropout_gradient,
    log_softmax,
    log_softmax_gradient,
    relu,
    sigmoid,
    softmax,
    softmax_gradient,
)
from deepspeech2.flops.formulas.products import dot_products, fully_connected, matrix_product, sparse_product
from deepspeech2.flops.operations import OperationCount

deterministic = settings(max_examples=25, deadline=None, derandomize=True)
sizes = st.integers(1, 6)


def random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# Products --------------------------------------------------------------------------------------------------------


def loop_dot_products(scalars, left, right, bias=None):
    """Row i of `left` with row i of `right`, plus element i of the bias."""
    results = []
    for row, (a, b) in enumerate(zip(left, right, strict=True)):
        total = scalars.accumulate(None, list(zip(a, b, strict=True)))
        results.append(total if bias is None else total + bias[row])
    return results


@deterministic
@given(outputs=sizes, length=sizes, bias=st.booleans(), seed=st.integers(0, 99))
def test_dot_products(proves, outputs, length, bias, seed) -> None:
    left, right, shift = random(seed, outputs, length), random(seed + 1, outputs, length), random(seed, outputs)
    arrays = (left, right, shift) if bias else (left, right)
    expected = (left * right).sum(1) + (shift if bias else 0)
    proves(dot_products(outputs, length, bias=bias), loop_dot_products, *arrays, equals=expected)


def test_an_empty_sum_costs_nothing() -> None:
    for bias in (False, True):
        assert not dot_products(12, 0, bias=bias)


def loop_sparse_product(scalars, values, right, start, *, places):
    """Every stored value times a row of `right`, added to the row of the result that begins as one of `start`."""
    results = [list(row) for row in start]
    for value, (row, column) in zip(values, places, strict=True):
        for index, other in enumerate(right[column]):
            results[row][index] = scalars.accumulate(results[row][index], [(value, other)])
    return results


@deterministic
@given(stored=st.integers(0, 9), rows=sizes, inner=sizes, columns=sizes, seed=st.integers(0, 99))
def test_sparse_product(proves, stored, rows, inner, columns, seed) -> None:
    places = np.random.default_rng(seed).integers(0, (rows, inner), (stored, 2))
    values, right, start = random(seed, stored), random(seed + 1, inner, columns), random(seed + 2, rows, columns)
    indices = torch.from_numpy(places.T)
    matrix = torch.sparse_coo_tensor(indices, torch.from_numpy(values), (rows, inner), check_invariants=True)
    expected = torch.sparse.addmm(torch.from_numpy(start), matrix, torch.from_numpy(right)).numpy()
    arrays = (values, right, start)
    proves(sparse_product(stored, columns), loop_sparse_product, *arrays, equals=expected, places=places.tolist())


def loop_matrix_product(scalars, left, right):
    batch, rows, inner = left.shape
    result = np.empty((batch, rows, right.shape[2]), object)
    for n, i, j in np.ndindex(result.shape):
        result[n, i, j] = scalars.accumulate(None, [(left[n, i, k], right[n, k, j]) for k in range(inner)])
    return result


@deterministic
@given(batch=sizes, rows=sizes, inner=sizes, columns=sizes)
def test_matrix_product(proves, batch, rows, inner, columns) -> None:
    left, right = random(0, batch, rows, inner), random(1, batch, inner, columns)
    formula = matrix_product(rows, inner, columns, batch=batch)
    proves(formula, loop_matrix_product, left, right, equals=left @ right)


def loop_fully_connected(scalars, samples, weight, bias=None):
    result = np.empty((len(samples), len(weight)), object)
    for n, j in np.ndindex(result.shape):
        result[n, j] = scalars.accumulate(None, list(zip(samples[n], weight[j], strict=True)))
        if bias is not None:
            result[n, j] = result[n, j] + bias[j]
    return result


@deterministic
@given(samples=sizes, inputs=sizes, outputs=sizes, bias=st.booleans())
def test_fully_connected(proves, samples, inputs, outputs, bias) -> None:
    x, weight, shift = random(0, samples, inputs), random(1, outputs, inputs), random(2, outputs)
    arrays = (x, weight, shift) if bias else (x, weight)
    formula = fully_connected(samples, inputs, outputs, bias=bias)
    proves(formula, loop_fully_connected, *arrays, equals=x @ weight.T + (shift if bias else 0))
    # The notebook's rule, spelled as the notebook has it.
    assert formula.notebook == (2 * inputs - 1) * outputs * samples + (outputs * samples if bias else 0)


# Activations -----------------------------------------------------------------------------------------------------


def loop_relu(scalars, x):
    return [max(value, scalars.constant(0)) for value in x]


def loop_clipped_relu(scalars, x):
    return [min(max(value, scalars.constant(0)), scalars.constant(24)) for value in x]


def loop_sigmoid(scalars, x):
    return [scalars.constant(1) / (scalars.constant(1) + math.exp(-value)) for value in x]


@deterministic
@given(elements=sizes, seed=st.integers(0, 99))
def test_activations(proves, elements, seed) -> None:
    x = 20 * random(seed, elements)
    tensor = torch.from_numpy(x)
    proves(relu(elements), loop_relu, x, equals=tensor.relu())
    proves(clipped_relu(elements), loop_clipped_relu, x, equals=tensor.clamp(0, 24))
    proves(sigmoid(elements), loop_sigmoid, x, equals=tensor.sigmoid())
    assert relu(elements).notebook == clipped_relu(elements).notebook == elements


# Softmaxes -------------------------------------------------------------------------------------------------------


def loop_softmax(scalars, x):
    results = []
    for row in x:
        largest = scalars.largest(row)
        exponentials = [math.exp(value - largest) for value in row]
        total = scalars.add_up(exponentials)
        results.append([value / total for value in exponentials])
    return results


def loop_log_softmax(scalars, x):
    results = []
    for row in x:
        largest = scalars.largest(row)
        differences = [value - largest for value in row]
        logarithm = math.log(scalars.add_up([math.exp(value) for value in differences]))
        results.append([value - logarithm for value in differences])
    return results


def loop_softmax_gradient(scalars, y, grad):
    results = []
    for row, above in zip(y, grad, strict=True):
        mean = scalars.add_up([g * p for g, p in zip(above, row, strict=True)])
        results.append([p * (g - mean) for g, p in zip(above, row, strict=True)])
    return results


def loop_log_softmax_gradient(scalars, y, grad):
    results = []
    for row, above in zip(y, grad, strict=True):
        total = scalars.add_up(above)
        results.append([g - math.exp(p) * total for g, p in zip(above, row, strict=True)])
    return results


@deterministic
@given(rows=sizes, length=sizes, seed=st.integers(0, 99))
def test_softmaxes_and_their_gradients(proves, rows, length, seed) -> None:
    x = torch.from_numpy(random(seed, rows, length)).requires_grad_()
    grad = torch.from_numpy(random(seed + 1, rows, length))
    for function, forward, backward, loop, gradient_loop in (
        (functional.softmax, softmax, softmax_gradient, loop_softmax, loop_softmax_gradient),
        (functional.log_softmax, log_softmax, log_softmax_gradient, loop_log_softmax, loop_log_softmax_gradient),
    ):
        y = function(x, dim=-1)
        (gradient,) = torch.autograd.grad(y, x, grad)
        y = y.detach()
        proves(forward(rows, length), loop, x.detach(), equals=y)
        proves(backward(rows, length), gradient_loop, y, grad, equals=gradient)
        assert forward(rows, length).notebook == (3 * length - 1) * rows


def test_a_softmax_over_nothing_costs_nothing() -> None:
    for formula in (softmax, log_softmax, softmax_gradient, log_softmax_gradient):
        assert not formula(3, 0)


def loop_dropout(scalars, values, mask, *, keep):
    """The zeros and ones are drawn beforehand; a draw is one operation each, counted beside the loop."""
    return [x * (m / scalars.constant(keep)) for x, m in zip(values, mask, strict=True)]


def loop_dropout_gradient(scalars, gradients, mask, *, scale):
    return [g * m * scalars.constant(scale) for g, m in zip(gradients, mask, strict=True)]


@deterministic
@given(elements=sizes)
def test_dropout_and_its_gradient(scalar_run, same_count, proves, elements) -> None:
    values, mask = random(0, elements), (random(1, elements) > 0).astype(float)
    counted, results = scalar_run(loop_dropout, values, mask, keep=0.75)
    same_count(dropout(elements), counted + OperationCount(other=elements))
    np.testing.assert_allclose(np.asarray(results, dtype=float), values * mask / 0.75)
    scale = 1 / 0.75
    expected = torch.ops.aten.native_dropout_backward(torch.tensor(values), torch.tensor(mask > 0), scale)
    proves(dropout_gradient(elements), loop_dropout_gradient, values, mask, scale=scale, equals=expected)
