"""Steps of the optimisers equal what torch.optim does, value by value, run on counting scalars."""

import math

import pytest
import torch

from deepspeech2.errors import OptionError
from deepspeech2.flops.formulas.optimisers import (
    OPTIMISERS,
    StepOptions,
    adam_step,
    clipping,
    optimiser_step,
    sgd_step,
)

DAMPENING = 0.25
RATE, MOMENTUM, BETA1, BETA2, EPSILON, DECAY = 0.1, 0.8, 0.9, 0.999, 1e-8, 0.05


def loop_sgd(scalars, p, gradients, velocity=None, *, options=None):
    """`options` is a StepOptions; a velocity that is given is there before the first step."""
    options = options or StepOptions()
    rate, momentum, decay = (scalars.constant(value) for value in (RATE, MOMENTUM, DECAY))
    for gradient in gradients:
        g = gradient
        if options.maximise:
            g = [-slope for slope in g]
        if options.decay:
            g = [slope + decay * value for slope, value in zip(g, p, strict=True)]
        if options.momentum:
            less = scalars.constant(1 - DAMPENING)
            added = [less * slope for slope in g] if options.dampened else g
            velocity = [momentum * v + slope for v, slope in zip(velocity, added, strict=True)]
            g = [slope + momentum * v for slope, v in zip(g, velocity, strict=True)] if options.nesterov else velocity
        p = [value - rate * slope for value, slope in zip(p, g, strict=True)]
    return p


def loop_adam(scalars, p, gradients, m, v, *, options=None):
    options = options or StepOptions()
    one_less, beta2, rest = (scalars.constant(value) for value in (1 - BETA1, BETA2, 1 - BETA2))
    epsilon, shrink, decay = (scalars.constant(value) for value in (EPSILON, 1 - RATE * DECAY, DECAY))
    largest = [scalars.constant(0) for _ in p]
    for step, g in enumerate(gradients, 1):
        size = scalars.constant(RATE / (1 - BETA1**step))
        root = scalars.constant(math.sqrt(1 - BETA2**step))
        values = []
        for j, value in enumerate(p):
            slope = -g[j] if options.maximise else g[j]
            if options.decay == "gradient":
                slope = slope + decay * value
            kept = value * shrink if options.decay == "weights" else value
            m[j] = m[j] + one_less * (slope - m[j])
            v[j] = beta2 * v[j] + rest * slope * slope
            moment = v[j]
            if options.amsgrad:
                moment = largest[j] = max(largest[j], v[j])
            values.append(kept - size * m[j] / (math.sqrt(moment) / root + epsilon))
        p = values
    return p


SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
# Options of a step, and the optimiser of torch that has them.
STEPS = {
    "sgd": (StepOptions(), SGD, {}),
    "sgd-momentum": (StepOptions(momentum=True), SGD, {"momentum": MOMENTUM}),
    "sgd-nesterov": (StepOptions(momentum=True, nesterov=True), SGD, {"momentum": MOMENTUM, "nesterov": True}),
    "sgd decay": (StepOptions(decay="gradient"), SGD, {"weight_decay": DECAY}),
    "sgd maximise": (StepOptions(maximise=True), SGD, {"maximize": True}),
    "sgd all": (
        StepOptions(momentum=True, nesterov=True, decay="gradient", maximise=True),
        SGD,
        {"momentum": MOMENTUM, "nesterov": True, "weight_decay": DECAY, "maximize": True},
    ),
    "adam": (StepOptions(), ADAM, {}),
    "adam decay": (StepOptions(decay="gradient"), ADAM, {"weight_decay": DECAY}),
    "adam amsgrad": (StepOptions(amsgrad=True), ADAM, {"amsgrad": True}),
    "adamw": (StepOptions(decay="weights"), ADAMW, {"weight_decay": DECAY}),
    "adamw without": (StepOptions(), ADAMW, {"weight_decay": 0.0}),
    "adamw all": (
        StepOptions(decay="weights", amsgrad=True, maximise=True),
        ADAMW,
        {"weight_decay": DECAY, "amsgrad": True, "maximize": True},
    ),
}


@pytest.mark.parametrize("variant", [{}, {"foreach": True}, {"fused": True}], ids=["loop", "foreach", "fused"])
@pytest.mark.parametrize("name", STEPS)
def test_optimiser_steps(proves, name, variant) -> None:
    options, kind, settings = STEPS[name]
    values, steps = 5, 3
    generator = torch.Generator().manual_seed(values)
    start = torch.randn(values, generator=generator, dtype=torch.float64)
    gradients = torch.randn(steps, values, generator=generator, dtype=torch.float64)
    parameter = start.clone().requires_grad_()
    optimiser = kind([parameter], RATE, **settings, **variant)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
    loop, formula = (loop_sgd, sgd_step) if kind is SGD else (loop_adam, adam_step)
    states = (1 if options.momentum else 0) if kind is SGD else 2
    arrays = (start, gradients, *[torch.zeros(values)] * states)
    # The loops count all steps; a first step of momentum from zero is counted like any other.
    proves(formula(options, values) * steps, loop, *arrays, options=options, equals=parameter.detach())
    if name in OPTIMISERS:
        assert optimiser_step(name, values) == formula(options, values)


def test_dampening_is_one_more_product(proves) -> None:
    start, velocity = torch.ones(3).double(), torch.full((3,), 0.5).double()
    gradients = torch.arange(6.0).double().reshape(2, 3)
    options = StepOptions(momentum=True, dampened=True)
    v, p = velocity, start
    for g in gradients:
        v = MOMENTUM * v + (1 - DAMPENING) * g
        p = p - RATE * v
    proves(sgd_step(options, 3) * 2, loop_sgd, start, gradients, velocity, options=options, equals=p)


def loop_clipping(scalars, *gradients, limit):
    norms = [math.sqrt(scalars.add_up([g * g for g in gradient])) for gradient in gradients]
    norm = math.sqrt(scalars.add_up([one * one for one in norms]))
    factor = min(scalars.constant(limit) / (norm + scalars.constant(1e-6)), scalars.constant(1))
    return tuple([g * factor for g in gradient] for gradient in gradients)


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping(proves, limit) -> None:
    tensors = [torch.randn(size, dtype=torch.float64).requires_grad_() for size in (3, 1, 5)]
    for tensor in tensors:
        tensor.grad = torch.randn_like(tensor)
    before = [tensor.grad.clone() for tensor in tensors]
    torch.nn.utils.clip_grad_norm_(tensors, limit)
    proves(clipping([3, 1, 5]), loop_clipping, *before, limit=limit, equals=tuple(tensor.grad for tensor in tensors))


def test_every_named_optimiser_is_proven_and_others_are_refused() -> None:
    assert set(OPTIMISERS) <= set(STEPS)
    with pytest.raises(OptionError, match="unknown optimiser 'adagrad'"):
        optimiser_step("adagrad", 3)
