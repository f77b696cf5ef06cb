"""Steps of the optimisers equal what torch.optim does, value by value, run on counting scalars."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2.errors import OptionError
from deepspeech2.flops.formulas.optimisers import OPTIMISERS, optimiser_step

deterministic = settings(max_examples=15, deadline=None, derandomize=True)
RATE, MOMENTUM, BETA1, BETA2, EPSILON, DECAY = 0.1, 0.8, 0.9, 0.999, 1e-8, 0.05


def loop_sgd(scalars, p, gradients):
    rate = scalars.constant(RATE)
    for g in gradients:
        p = [value - rate * slope for value, slope in zip(p, g, strict=True)]
    return p


def loop_momentum(scalars, p, gradients, velocity):
    rate, momentum = scalars.constant(RATE), scalars.constant(MOMENTUM)
    for g in gradients:
        velocity = [momentum * v + slope for v, slope in zip(velocity, g, strict=True)]
        p = [value - rate * v for value, v in zip(p, velocity, strict=True)]
    return p


def loop_adam(scalars, p, gradients, m, v, *, decay=False):
    one_less, beta2, rest = (scalars.constant(value) for value in (1 - BETA1, BETA2, 1 - BETA2))
    epsilon, shrink = scalars.constant(EPSILON), scalars.constant(1 - RATE * DECAY)
    for step, g in enumerate(gradients, 1):
        size = scalars.constant(RATE / (1 - BETA1**step))
        root = scalars.constant(math.sqrt(1 - BETA2**step))
        values = []
        for j, value in enumerate(p):
            kept = value * shrink if decay else value
            m[j] = m[j] + one_less * (g[j] - m[j])
            v[j] = beta2 * v[j] + rest * g[j] * g[j]
            values.append(kept - size * m[j] / (math.sqrt(v[j]) / root + epsilon))
        p = values
    return p


LOOPS = {
    "sgd": (loop_sgd, 0, {}, lambda p: torch.optim.SGD(p, RATE)),
    "sgd-momentum": (loop_momentum, 1, {}, lambda p: torch.optim.SGD(p, RATE, momentum=MOMENTUM)),
    "adam": (loop_adam, 2, {}, lambda p: torch.optim.Adam(p, RATE)),
    "adamw": (loop_adam, 2, {"decay": True}, lambda p: torch.optim.AdamW(p, RATE, weight_decay=DECAY)),
}


@pytest.mark.parametrize("name", LOOPS)
@deterministic
@given(values=st.integers(1, 6), steps=st.integers(1, 3))
def test_optimiser_steps(proves, name, values, steps) -> None:
    loop, states, options, build = LOOPS[name]
    generator = torch.Generator().manual_seed(values)
    start = torch.randn(values, generator=generator, dtype=torch.float64)
    gradients = torch.randn(steps, values, generator=generator, dtype=torch.float64)
    parameter = start.clone().requires_grad_()
    optimiser = build([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
    arrays = (start, gradients, *[torch.zeros(values)] * states)
    # The loops count all steps; a first step of momentum from zero is counted like any other.
    proves(optimiser_step(name, values) * steps, loop, *arrays, **options, equals=parameter.detach())


def test_every_optimiser_is_proven_and_others_are_refused() -> None:
    assert set(LOOPS) == set(OPTIMISERS)
    with pytest.raises(OptionError, match="unknown optimiser 'adagrad'"):
        optimiser_step("adagrad", 3)
