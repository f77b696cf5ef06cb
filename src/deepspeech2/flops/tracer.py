"""Runs a program on fake tensors and hands every operator call to a recorder; nothing is computed.

Two interceptions work together. Function level (`torch.nn.functional` and friends) names what the program asked for
and handles whole recurrent layers, attention and CTC, which the dispatcher would unroll or hide in fused kernels.
Dispatch level sees all the rest, the inside of TorchScript and exported programs included. What the function level
counts is silenced below, so each call is counted once.
"""

from __future__ import annotations

import inspect
import logging
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch._dynamo.config  # FakeTensorMode imports it on first use; here, so that no count pays for it
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten

import deepspeech2.flops.einsum
import deepspeech2.flops.operators
import deepspeech2.flops.recurrent_functions
import deepspeech2.flops.value_checks  # noqa: F401  (registers its rules)
from deepspeech2.flops.decompositions import DECOMPOSITIONS, reference_decomposition
from deepspeech2.flops.exported_layers import restore_layers
from deepspeech2.flops.expressions import SizeReader
from deepspeech2.flops.fakes import FakeWorld, fake_state
from deepspeech2.flops.functions import find_function_rule, multi_head_attention
from deepspeech2.flops.higher_order import HIGHER_ORDER, WITH_GRADIENT
from deepspeech2.flops.live_memory import LiveMemory
from deepspeech2.flops.met_modules import MetModules
from deepspeech2.flops.program_numbers import own_numbers
from deepspeech2.flops.quantised_tensors import stands_for_quantised
from deepspeech2.flops.recorder import Recorder, specification
from deepspeech2.flops.refusals import refuse_two_types
from deepspeech2.flops.registry import Call, find_rule, operator_name
from deepspeech2.flops.results import own_result
from deepspeech2.flops.training_step import Training, backward
from deepspeech2.flops.transforms import counted_below, is_mapped_attention, is_transformed, of_all_samples
from deepspeech2.flops.updates import plan_update, record_update

# One count at a time: while a module is counted, fakes stand in for its weights.
_COUNTING = threading.RLock()
_IS_QUANTISED = torch.Tensor.is_quantized.__get__  # type: ignore[attr-defined]
# Questions about a tensor, and the birth of constants, which fake tensors must see as real ones to keep their values.
_UNSEEN = {
    torch.ops.prim.device.default,
    torch.ops.aten.sym_size.int,
    torch.ops.aten.is_pinned.default,
    torch.ops.aten.lift_fresh.default,
    torch.ops.aten.lift_fresh_copy.default,
}


class _FunctionLevel(TorchFunctionMode):
    """Names what the program asks for; counts whole what the dispatcher would unroll."""

    def __init__(self, recorder: Recorder, world: FakeWorld) -> None:
        super().__init__()
        self.recorder = recorder
        self.world = world

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.world.quantised.met and func == _IS_QUANTISED:
            return stands_for_quantised(args[0])
        recorder = self.recorder
        outermost = recorder.label is None
        if outermost:
            recorder.begin_function(_function_label(func))
        try:
            return self._called(func, *args, **kwargs)
        finally:
            if outermost:
                recorder.label = None

    def _called(self, func: Any, /, *args: Any, **kwargs: Any) -> Any:
        recorder = self.recorder
        if not recorder.paused and is_mapped_attention(func):
            return of_all_samples(partial(self._called, func), args, kwargs)
        if not recorder.paused and func is torch.nn.functional.multi_head_attention_forward:
            with recorder.silence():
                args, kwargs = self.world.fake_tree((args, kwargs))
            return multi_head_attention(self._called, *args, **kwargs)
        transformed = is_transformed()
        whole = not (recorder.paused or transformed)
        rule = find_function_rule(func, transformed=transformed) if not recorder.paused else None
        if rule is not None and transformed:
            return counted_below(self.world, recorder, rule, func, args, kwargs)
        if whole and isinstance(func, torch._ops.HigherOrderOperator) and func in WITH_GRADIENT:
            with recorder.silence():
                args, kwargs = self.world.fake_tree((args, kwargs))
            return WITH_GRADIENT[func](recorder, *args, **kwargs)
        if rule is not None:
            with recorder.silence():
                args, kwargs = self.world.fake_tree((args, kwargs))
            return rule(recorder, self.world.read_size, args, kwargs)
        return func(*args, **kwargs)


def _function_label(func: Any) -> str | None:
    name = getattr(func, "__name__", "") or ""
    if isinstance(func, torch._ops.OpOverload):
        name = func._opname
    elif isinstance(func, torch._ops.OpOverloadPacket):
        name = func.__name__
    if name == "__get__":
        return None
    return name.strip("_") or None


class _DispatchLevel(TorchDispatchMode):
    """Counts every operator that reaches the dispatcher."""

    supports_higher_order_operators = True

    def __init__(self, recorder: Recorder, world: FakeWorld) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder
        self.world = world

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.world.mode.counted.add(threading.get_ident())
        if func in _UNSEEN:
            result = func(*args, **kwargs)
            if self.world.known is not None and isinstance(result, FakeTensor):
                self.world.known.learn_constant(result, args[0])
            self._follow(func, args, kwargs, result)
            return result
        if not isinstance(func, torch._ops.OpOverload):
            return self._higher_order(func, args, kwargs)
        numbers = own_numbers(func, args)
        if numbers is not None:
            with _disable_current_modes():
                return func(*numbers, **kwargs)
        with self.recorder.silence():
            args, kwargs = self.world.fake_tree((args, kwargs))
        if func in DECOMPOSITIONS:
            with self, self._one_kernel():
                result = DECOMPOSITIONS[func](*args, **kwargs)
            self._follow(func, args, kwargs, result)
            return result
        if find_rule(func) is None:
            result = self._spelled_out(func, args, kwargs)
            if result is not NotImplemented:
                return result
        outputs = self._outputs(func, args, kwargs)
        self._follow(func, args, kwargs, outputs)
        if not self.recorder.paused:
            call = self._call(func, args, kwargs, outputs)
            self.recorder.record(call, is_view=_is_view(func))
        return outputs

    def _outputs(self, func: Any, args: Any, kwargs: Any) -> Any:
        refuse_two_types(func, args)
        known = self.world.known
        own = own_result(func, symbolic=known is None)
        if own is not None:
            result = own(*args, **kwargs)
        else:
            result = func(*args, **kwargs) if known is None else known.run(func, args, kwargs)
            self.world.patterns.follow(func, args, kwargs, result)
        self.world.quantised.follow(func, args, kwargs, result)
        if self.world.pieces is not None:
            self.world.pieces.follow(func, args, kwargs, result)
        return result

    def _spelled_out(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operator without a rule as the operators it is made of, or NotImplemented."""
        if func._can_decompose():
            # Only reached in inference mode, where composite operators arrive undecomposed.
            with self:
                return func.decompose(*args, **kwargs)
        reference = reference_decomposition(func)
        if reference is None:
            return NotImplemented
        with self, self._one_kernel():
            result = reference(*args, **kwargs)
        if not func._schema.is_mutable or result is NotImplemented:
            self._follow(func, args, kwargs, result)
            return result
        # What was counted is the operator that returns a new tensor; the one that writes in place is still to run.
        return func(*args, **kwargs)

    def _one_kernel(self) -> Any:
        live = self.recorder.live
        return nullcontext() if live is None else live.suspend()

    def _follow(self, func: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        """Tell the live memory what an operator was given and what it made."""
        live = self.recorder.live
        if live is not None:
            live.borrowed(_fakes_in((args, kwargs)))
            live.made(_fakes_in(outputs), self.recorder.named(func._opname), self.recorder.place)

    def _call(self, func: Any, args: Any, kwargs: Any, outputs: Any) -> Call:
        arguments = {}
        for index, argument in enumerate(func._schema.arguments):
            if argument.is_out:
                # Where a result goes is nothing an operator reads.
                continue
            if index < len(args):
                arguments[argument.name] = args[index]
            elif argument.name in kwargs:
                arguments[argument.name] = kwargs[argument.name]
            elif argument.has_default_value():
                arguments[argument.name] = argument.default_value
        specified = {name: self._specify(value) for name, value in arguments.items()}
        results = tuple(
            specification(value, self.world.read_size)
            for value in tree_flatten(outputs)[0]
            if isinstance(value, torch.Tensor)
        )
        return Call(operator_name(func), specified, results)

    def _specify(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return specification(value, self.world.read_size)
        if isinstance(value, torch.SymInt):
            return self.world.read_size(value)
        if isinstance(value, list | tuple):
            return [self._specify(item) for item in value]
        return value

    def _higher_order(self, func: Any, args: Any, kwargs: Any) -> Any:
        handler = HIGHER_ORDER.get(func.name())
        if handler is None:
            self.recorder.record_unknown(func.name(), "higher-order operator")
            return func(*args, **kwargs)
        with self.recorder.silence():
            args, kwargs = self.world.fake_tree((args, kwargs))
        with self:
            return handler(self.recorder, *args, **kwargs)


def _fakes_in(values: Any) -> Iterator[FakeTensor]:
    """The fake tensors among arguments or results."""
    if isinstance(values, FakeTensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _fakes_in(value)
    elif isinstance(values, dict):
        yield from _fakes_in(list(values.values()))


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Keep torch from logging a traceback for shapes that do not fit, and from warning of our hooks on modules.

    The error itself says in one line what does not fit; a hook that runs twice for a compiled module costs nothing, nor
    does what torch does in place of a rule for a vmap: it runs on fakes, whose indices no check could read either.
    """
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using `torch.compile")
            warnings.filterwarnings("ignore", message="flex_attention called without")
            warnings.filterwarnings("ignore", message="There is a performance drop")
            warnings.filterwarnings("ignore", message="Sparse invariant checks")
            yield
    finally:
        log.disabled = before


def _is_view(func: Any) -> bool:
    """Whether the result only looks at its argument's memory."""
    if func._opname in ("_unsafe_view", "_reshape_alias", "lift_fresh", "detach"):
        return True
    return any(result.alias_info is not None and not result.alias_info.is_write for result in func._schema.returns)


@contextmanager
def _module_hooks(
    recorder: Recorder, modules: MetModules, regions: Collection[torch.nn.Module], read_size: SizeReader
) -> Iterator[None]:
    """Tell the recorder of modules that begin and end; `regions` are no layers, though they are modules."""
    thread = threading.get_ident()

    def before(module: torch.nn.Module, _: Any) -> None:
        if threading.get_ident() == thread and module not in regions:
            kind = type(module)
            recorder.enter(modules.name(module), f"{kind.__module__}.{kind.__name__}")

    def after(module: torch.nn.Module, _args: Any, output: Any) -> None:
        if threading.get_ident() == thread and module not in regions:
            results = [value for value in tree_flatten(output)[0] if isinstance(value, torch.Tensor)]
            recorder.leave(tuple(map(read_size, results[0].shape)) if results else None)

    handles = [
        register_module_forward_pre_hook(before),
        register_module_forward_hook(after, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def trace(
    program: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    world: FakeWorld,
    training: Training | None = None,
) -> Recorder:
    """Run a program on fakes and record its calls.

    Args:
        program: a module or any callable.
        args: positional arguments, fakes or real tensors.
        kwargs: keyword arguments.
        world: where the fakes live.
        training: run backward and step the optimiser too; forward only when None.
    """
    if isinstance(program, torch.export.ExportedProgram):
        program = program.module()
    # The bytes of a symbolic size are no number to compare.
    live = LiveMemory() if world.shapes is None else None
    recorder = Recorder(live, world.read_size)
    args, kwargs = world.lend((args, dict(kwargs)))
    update = None
    if training is not None and training.optimiser is not None and isinstance(program, torch.nn.Module):
        update = plan_update(program, training.optimiser)
    with ExitStack() as stack:
        stack.enter_context(_COUNTING)
        stack.enter_context(_quiet_torch())
        # What torch.compile wrapped runs as it was written; nothing is compiled.
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        # A script that has run is rewritten by its executor for the types it saw: it would count as another program.
        stack.enter_context(torch.jit.optimized_execution(False))  # type: ignore[attr-defined]
        stack.enter_context(torch.set_grad_enabled(training is not None))
        regions: frozenset[torch.nn.Module] = frozenset()
        if isinstance(program, torch.nn.Module):
            stack.enter_context(fake_state(program, world))
            regions = restore_layers(program, recorder, world.read_size)
        if live is not None:
            _give(live, world, program, (args, kwargs), training)
        modules = MetModules(program, stack)
        stack.enter_context(_module_hooks(recorder, modules, regions, world.read_size))
        stack.enter_context(world.mode)
        stack.enter_context(_DispatchLevel(recorder, world))
        stack.enter_context(_FunctionLevel(recorder, world))
        results = program(*args, **kwargs)
        if inspect.isgenerator(results):
            results = list(results)
        world.mode.refuse_what_was_lost()
        if training is not None:
            backward(recorder, results, training)
            recorder.end()
            if isinstance(program, torch.nn.Module):
                record_update(recorder, program, update, clip=training.clip)
        else:
            recorder.end()
        recorder.assign_parameters(modules.parameters())
    return recorder


def _give(live: LiveMemory, world: FakeWorld, program: Any, inputs: Any, training: Training | None) -> None:
    """What exists before the program runs."""
    if isinstance(program, torch.nn.Module):
        # TorchScript keeps its real tensors: its operators will be given these fakes of them.
        live.give("parameters", map(world.fake, program.parameters()))
        # Of quantised layers, `fake_state` has numbers in the place of some.
        live.give("buffers", (world.fake(one) for one in program.buffers() if isinstance(one, torch.Tensor)))
        if training is not None:
            live.watch_gradients(program.parameters())
    live.give("inputs", tree_flatten(inputs)[0])
