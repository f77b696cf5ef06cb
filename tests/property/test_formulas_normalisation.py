"""Normalisations: each formula equals the algorithm it names, run on counting scalars."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepspeech2.flops.formulas.normalisation import (
    batch_norm_inference,
    batch_norm_inference_gradient,
    moments,
    normalised,
    normalised_gradient,
    rms_normalised,
    running_statistics,
)

deterministic = settings(max_examples=25, deadline=None, derandomize=True)
sizes = st.integers(1, 5)
EPSILON = 1e-5


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def loop_batch_norm_inference(scalars, x, mean, variance, gamma, beta):
    result = np.empty(x.shape, object)
    for c in range(x.shape[1]):
        scale = gamma[c] / math.sqrt(variance[c] + scalars.constant(EPSILON))
        shift = beta[c] - mean[c] * scale
        for n, i in np.ndindex(x.shape[0], x.shape[2]):
            result[n, c, i] = x[n, c, i] * scale + shift
    return result


def loop_batch_norm_inference_gradient(scalars, x, grad, mean, variance, gamma):
    grad_x, grad_gamma, grad_beta = np.empty(x.shape, object), [], []
    for c in range(x.shape[1]):
        r = scalars.constant(1) / math.sqrt(variance[c] + scalars.constant(EPSILON))
        scale = gamma[c] * r
        places = [(n, c, i) for n, i in np.ndindex(x.shape[0], x.shape[2])]
        for place in places:
            grad_x[place] = grad[place] * scale
        grad_beta.append(scalars.add_up([grad[place] for place in places]))
        grad_gamma.append(scalars.add_up([grad[place] * ((x[place] - mean[c]) * r) for place in places]))
    return grad_x, grad_gamma, grad_beta


@deterministic
@given(batch=sizes, channels=sizes, length=sizes)
def test_batch_norm_with_stored_statistics(proves, batch, channels, length) -> None:
    x = random(0, batch, channels, length).requires_grad_()
    mean, variance = random(1, channels), random(2, channels).abs() + 0.1
    gamma, beta = random(3, channels).requires_grad_(), random(4, channels).requires_grad_()
    y = functional.batch_norm(x, mean, variance, gamma, beta, eps=EPSILON)
    grad = random(5, *x.shape)
    gradients = torch.autograd.grad(y, (x, gamma, beta), grad)
    plain = [tensor.detach() for tensor in (x, mean, variance, gamma, beta)]
    elements = x.numel()
    formula = batch_norm_inference(elements, channels)
    proves(formula, loop_batch_norm_inference, *plain, equals=y.detach())
    assert formula.notebook == 4 * elements
    proves(
        batch_norm_inference_gradient(elements, channels),
        loop_batch_norm_inference_gradient,
        plain[0],
        grad,
        *plain[1:4],
        equals=gradients,
    )


def loop_moments(scalars, x):
    means, variances, differences = [], [], []
    for row in x:
        n = scalars.constant(len(row))
        mean = scalars.add_up(row) / n
        difference = [value - mean for value in row]
        means.append(mean)
        differences.append(difference)
        variances.append(scalars.add_up([d * d for d in difference]) / n)
    return means, variances, differences


def loop_normalised(scalars, x, gamma=None, beta=None):
    """Each row by its own statistics; scale and shift by position in the row."""
    _, variances, differences = loop_moments(scalars, x)
    results = []
    for variance, row in zip(variances, differences, strict=True):
        r = scalars.constant(1) / math.sqrt(variance + scalars.constant(EPSILON))
        values = [d * r for d in row]
        if gamma is not None:
            values = [value * scale for value, scale in zip(values, gamma, strict=True)]
        if beta is not None:
            values = [value + shift for value, shift in zip(values, beta, strict=True)]
        results.append(values)
    return results


@deterministic
@given(groups=sizes, length=sizes, affine=st.sampled_from(["neither", "scale", "both"]))
def test_normalisation_by_own_statistics(proves, groups, length, affine) -> None:
    x, gamma, beta = random(0, groups, length), random(1, length), random(2, length)
    given_gamma, given_beta = gamma if affine != "neither" else None, beta if affine == "both" else None
    expected = functional.layer_norm(x, (length,), given_gamma, given_beta, EPSILON)
    arrays = [array for array in (given_gamma, given_beta) if array is not None]
    formula = normalised(groups, length, scale=affine != "neither", shift=affine == "both")
    proves(formula, loop_normalised, x, *arrays, equals=expected)
    assert formula.notebook == 4 * groups * length
    mean, variance = x.mean(1), x.var(1, correction=0)
    proves(moments(groups, length), lambda *a: loop_moments(*a)[:2], x, equals=(mean, variance))


def loop_running_statistics(scalars, running_mean, running_variance, mean, variance):
    keep, take = scalars.constant(0.9), scalars.constant(0.1)
    pairs = [(running_mean, mean), (running_variance, variance)]
    return tuple([keep * old + take * new for old, new in zip(*pair, strict=True)] for pair in pairs)


@deterministic
@given(channels=sizes)
def test_running_statistics(proves, channels) -> None:
    arrays = [random(seed, channels) for seed in range(4)]
    expected = (arrays[0].lerp(arrays[2], 0.1), arrays[1].lerp(arrays[3], 0.1))
    proves(running_statistics(channels), loop_running_statistics, *arrays, equals=expected)


def loop_rms_normalised(scalars, x, gamma=None):
    results = []
    for row in x:
        mean_square = scalars.add_up([value * value for value in row]) / scalars.constant(len(row))
        r = scalars.constant(1) / math.sqrt(mean_square + scalars.constant(EPSILON))
        values = [value * r for value in row]
        if gamma is not None:
            values = [value * scale for value, scale in zip(values, gamma, strict=True)]
        results.append(values)
    return results


@deterministic
@given(groups=sizes, length=sizes, scale=st.booleans())
def test_rms_norm(proves, groups, length, scale) -> None:
    x, gamma = random(0, groups, length), random(1, length)
    expected = functional.rms_norm(x, (length,), gamma if scale else None, EPSILON)
    arrays = (x, gamma) if scale else (x,)
    proves(rms_normalised(groups, length, scale=scale), loop_rms_normalised, *arrays, equals=expected)


def loop_normalised_gradient(scalars, x, grad, mean, r, gamma=None):
    """Statistics of each row are given; scale and shift belong to positions in the row."""
    groups, length = x.shape
    grad_x, products = np.empty(x.shape, object), np.empty(x.shape, object)
    n = scalars.constant(length)
    for i in range(groups):
        y = [(x[i, k] - mean[i]) * r[i] for k in range(length)]
        g = [grad[i, k] if gamma is None else grad[i, k] * gamma[k] for k in range(length)]
        a = scalars.add_up(g) / n
        b = scalars.add_up([g[k] * y[k] for k in range(length)]) / n
        for k in range(length):
            grad_x[i, k] = (g[k] - a - y[k] * b) * r[i]
            if gamma is not None:
                products[i, k] = grad[i, k] * y[k]
    if gamma is None:
        return grad_x
    grad_gamma = [scalars.add_up(products[:, k]) for k in range(length)]
    grad_beta = [scalars.add_up(grad[:, k]) for k in range(length)]
    return grad_x, grad_gamma, grad_beta


@deterministic
@given(groups=sizes, length=sizes, scale=st.booleans())
def test_gradient_of_normalisation(proves, groups, length, scale) -> None:
    x = random(0, groups, length).requires_grad_()
    gamma, beta = random(1, length).requires_grad_(), random(2, length).requires_grad_()
    grad = random(3, groups, length)
    parameters = (gamma, beta) if scale else (None, None)
    y = functional.layer_norm(x, (length,), *parameters, EPSILON)
    gradients = torch.autograd.grad(y, (x, gamma, beta) if scale else (x,), grad)
    plain = x.detach()
    mean, r = plain.mean(1), (plain.var(1, correction=0) + EPSILON).rsqrt()
    arrays = (plain, grad, mean, r, gamma.detach()) if scale else (plain, grad, mean, r)
    formula = normalised_gradient(groups, length, length, scale=scale)
    proves(formula, loop_normalised_gradient, *arrays, equals=gradients)
