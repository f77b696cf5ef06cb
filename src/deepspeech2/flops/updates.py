"""Updates: what an optimiser's step costs each parameter, by its name or as one of torch.optim is set up.

SGD, Adam and AdamW have formulas, which hold for their loops, their multi-tensor and their fused variants. Any other
optimiser is run on fake gradients, its second step counted operator by operator.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from deepspeech2.errors import OptionError
from deepspeech2.flops.formulas.optimisers import (
    StepOptions,
    adam_step,
    clipping,
    optimiser_step,
    sgd_step,
)
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.recorder import Recorder

# Values kept for each value of a parameter.
_KEPT = {"sgd": 0, "sgd-momentum": 1, "sgd-nesterov": 1, "adam": 2, "adamw": 2}


@dataclass(frozen=True)
class Update:
    """How parameters are updated.

    Attributes:
        label: the optimiser, for rows of the tally.
        prices: operations per value of each parameter, by name.
        kept: values it keeps from step to step for each value of a parameter, by name.
        unpriced: an optimiser without a formula, to be run.
        names: names of the parameters it holds, by identity.
    """

    label: str
    prices: Mapping[str, OperationCount] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    unpriced: torch.optim.Optimizer | None = None
    names: Mapping[int, str] = field(default_factory=dict)


def plan_update(module: torch.nn.Module, optimiser: str | torch.optim.Optimizer) -> Update:
    """Find what a step costs, before fakes stand in for the module's parameters.

    Raises:
        OptionError: there is no such optimiser, or it holds no parameter of the module.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    if isinstance(optimiser, str):
        price = optimiser_step(optimiser, 1)
        return Update(optimiser, dict.fromkeys(names.values(), price), dict.fromkeys(names.values(), _KEPT[optimiser]))
    if not isinstance(optimiser, torch.optim.Optimizer):
        raise OptionError(f"expected the name of an optimiser or one of torch.optim, found {type(optimiser).__name__}")
    label = type(optimiser).__name__
    held = [(group, names[id(p)]) for group in optimiser.param_groups for p in group["params"] if id(p) in names]
    if not held and names:
        raise OptionError(f"this {label} updates other parameters than the module's; build it from module.parameters()")
    if isinstance(optimiser, torch.optim.LBFGS):
        raise OptionError("LBFGS evaluates the model as often as it needs to: its step has no count of its own")
    if type(optimiser) not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        return Update(label, unpriced=optimiser, names=names)
    prices = {name: _price(optimiser, group) for group, name in held}
    return Update(label, prices, {name: _kept(optimiser, group) for group, name in held})


def _price(optimiser: torch.optim.Optimizer, group: Mapping[str, Any]) -> OperationCount:
    decoupled = bool(group.get("decoupled_weight_decay")) or type(optimiser) is torch.optim.AdamW
    options = StepOptions(
        momentum=bool(group.get("momentum")),
        dampened=bool(group.get("dampening")),
        nesterov=bool(group.get("nesterov")),
        decay=("weights" if decoupled else "gradient") if group.get("weight_decay") else "",
        amsgrad=bool(group.get("amsgrad")),
        maximise=bool(group.get("maximize")),
    )
    return (sgd_step if type(optimiser) is torch.optim.SGD else adam_step)(options, 1)


def _kept(optimiser: torch.optim.Optimizer, group: Mapping[str, Any]) -> int:
    """Momentum; or Adam's two averages, and the largest second one if that is kept."""
    if isinstance(optimiser, torch.optim.SGD):
        return int(bool(group.get("momentum")))
    return 3 if group.get("amsgrad") else 2


def record_update(recorder: Recorder, module: torch.nn.Module, update: Update | None, *, clip: bool) -> None:
    """Count clipping, if there is any, and the step of every parameter that received a gradient."""
    recorder.phase = "optimiser"
    trained = []
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            recorder.record_unknown(
                "optimiser", f"the gradient of {name} is sparse: which rows change depends on values"
            )
        elif parameter.grad is not None:
            trained.append((name, parameter))
    if clip and trained:
        recorder.record_phase("", "clip_grad_norm", clipping([_values(parameter) for _, parameter in trained]))
    if update is None:
        return
    state = 0
    for name, parameter in trained:
        if name in update.prices:
            state += update.kept[name] * parameter.numel() * parameter.element_size()
            recorder.record_phase(name, update.label, update.prices[name] * _values(parameter))
    if update.unpriced is not None:
        state = _run(recorder, update.unpriced, dict(trained), update.names)
    recorder.hold_state(state)


def _values(parameter: torch.nn.Parameter) -> Number:
    """How many real numbers: optimisers step the two parts of a complex one, and a norm squares both."""
    return parameter.numel() * (2 if parameter.is_complex() else 1)


def _run(
    recorder: Recorder,
    optimiser: torch.optim.Optimizer,
    trained: Mapping[str, torch.nn.Parameter],
    names: Mapping[int, str],
) -> int:
    """Two steps of a copy that holds the fakes; the first one, which makes the state, is not counted.

    Returns the bytes of that state.
    """
    double = copy.copy(optimiser)
    double.param_groups = [
        {**group, "params": [trained[names[id(p)]] for p in group["params"] if names.get(id(p)) in trained]}
        for group in optimiser.param_groups
    ]
    double.state = defaultdict(dict)
    with recorder.silence():
        double.step()
    double.step()
    held = [value for state in double.state.values() for value in state.values()]
    return sum(
        value.numel() * value.element_size() for value in held if isinstance(value, torch.Tensor) and value.dim()
    )
