"""Fake tensors: what stands for a program's tensors while it is counted, and how a module is lent them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
import torch._dynamo.config  # FakeTensorMode imports it on first use; here, so that no count pays for it
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map, tree_map_only

from deepspeech2.errors import CountingError, InputError
from deepspeech2.flops.expressions import SizeReader, dimension, plain_sympy
from deepspeech2.flops.held import held, same_state
from deepspeech2.flops.index_patterns import IndexPatterns
from deepspeech2.flops.known_values import KnownValues, is_read
from deepspeech2.flops.leftovers import Leftovers, empty_caches
from deepspeech2.flops.piece_sizes import PieceSizes
from deepspeech2.flops.quantised_tensors import QuantisedTensors, quantised
from deepspeech2.flops.refused_tensors import RefusedTensorError, why_refused

_OF_AN_EARLIER_COUNT = (
    "the program has kept a tensor of an earlier count, which holds no values, outside of its module (a dictionary of "
    "its own, say), or of an earlier run of this one, of which a formula takes several; keep it in the module, or "
    "empty that before the program is counted or run"
)
_QUANTISED_LAYERS = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
# Tensors of integers this small keep their values: a program may ask for them (lengths, table of positions).
_MAX_CONSTANT = 4096


class FakesOfCountedThreads(FakeTensorMode):
    """Fake tensors that refuse to be computed with on a thread where nothing counts.

    What intercepts a program belongs to its thread. On another one (a pool) fakes would still give results of the right
    shapes, and their operators would be lost without a word. Threads that inherit the interception are announced as
    they are met: those of `torch.jit.fork`, and of the backward pass on a device.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.counted = {threading.get_ident()}
        self.refused = ""
        self.leftovers = Leftovers()
        self.ended = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if threading.get_ident() not in self.counted:
            self.refused = (
                f"the program computes {func} on another thread ({threading.current_thread().name}), and only the "
                "thread that counts is followed; call it without the pool"
            )
            self.refuse_what_was_lost()
        results = super().__torch_dispatch__(func, types, args, kwargs or {})
        self.leftovers.note(results)
        return results

    def refuse_what_was_lost(self) -> None:
        """Raise CountingError if operators ran elsewhere, also where the program swallowed the refusal."""
        if self.refused:
            raise CountingError(self.refused)


@dataclass
class FakeWorld:
    """Fake tensors for one trace: what they stand for and how their sizes are read."""

    mode: FakesOfCountedThreads
    read_size: SizeReader
    shapes: ShapeEnv | None = None
    known: KnownValues | None = None
    patterns: IndexPatterns = field(init=False)
    quantised: QuantisedTensors = field(default_factory=QuantisedTensors)
    pieces: PieceSizes | None = None
    _fakes: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patterns = IndexPatterns(self.read_size)

    @classmethod
    def create(cls, symbolic: bool = False) -> FakeWorld:
        """A world of integer sizes, or one whose sizes may be symbols."""
        empty_caches()
        # Equal hints share one symbol (duck shaping): the batch of every input is the same batch.
        shapes = ShapeEnv(specialize_zero_one=False, duck_shape=True) if symbolic else None
        mode = FakesOfCountedThreads(allow_non_fake_inputs=True, shape_env=shapes)
        return cls(mode, SizeReader(), shapes, None if symbolic else KnownValues(mode))

    def fake(self, tensor: torch.Tensor) -> torch.Tensor:
        """The fake that stands for a tensor; the same one every time, without memory, on a device that computes."""
        if isinstance(tensor, FakeTensor):
            if tensor.fake_mode is self.mode:
                return tensor
            if isinstance(tensor.fake_mode, FakesOfCountedThreads) and tensor.fake_mode.ended:
                raise InputError(_OF_AN_EARLIER_COUNT)
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            # A transform's own: what it wraps is met below.
            return tensor
        known = self._fakes.get(id(tensor))
        if known is None:
            # A program under a transform (vmap, grad) may meet the tensor for the first time inside of it.
            with temporarily_clear_interpreter_stack():
                # The tensor itself is kept, so that its id stays taken.
                known = self._fakes[id(tensor)] = (tensor, self._make(tensor))
        return known[1]

    def _make(self, tensor: torch.Tensor) -> torch.Tensor:
        reason = why_refused(tensor)
        if reason:
            raise RefusedTensorError(reason)
        if tensor.is_quantized:
            self.quantised.met = True
            with self.mode:
                return quantised(torch.empty(tensor.shape, device=tensor.device), tensor.dtype)
        if self.known is not None and is_read(tensor):
            fake = self._make_fake(tensor)
            with _disable_current_modes():
                self.known.learn(fake, tensor.detach(), borrowed=True)
            return fake
        return self._make_fake(tensor)

    def _make_fake(self, tensor: torch.Tensor) -> torch.Tensor:
        small_integers = not tensor.is_floating_point() and not tensor.is_complex() and tensor.numel() <= _MAX_CONSTANT
        if small_integers and type(tensor) is torch.Tensor and tensor.device.type == "cpu":
            # A copy: an in-place operator computes on the constant itself (batch norm counts its batches).
            converter = self.mode.fake_tensor_converter
            with _disable_current_modes():
                constant = tensor.detach().clone()
            return converter.from_real_tensor(self.mode, constant, make_constant=True)
        device = "cpu" if tensor.device.type == "meta" else tensor.device
        with self.mode:
            fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
        if tensor.requires_grad:
            fake.requires_grad_()
        return fake

    def end(self) -> None:
        """Let go of the fakes; those that caches of functools took up are let go of before anything else runs."""
        self.mode.ended = True
        self._fakes.clear()
        self.mode.leftovers.wait()

    def fake_tree(self, tree: Any) -> Any:
        """Replace every tensor in nested containers."""
        return tree_map_only(torch.Tensor, self.fake, tree)

    def lend(self, tree: Any) -> Any:
        """Inputs as the program gets them: tensors replaced, and objects that hold tensors (a cache) copied.

        A program may change such an object; what it changes is the copy.
        """
        return tree_map(self._lent, tree)

    def _lent(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.fake(value)
        if callable(value) or not hasattr(value, "__dict__"):
            return value
        inside = list(held(value))
        if any(isinstance(one, torch.nn.Module) for one in inside):
            # A copy of a module would take memory, and be another module.
            return value
        memo = {id(one): self.fake(one) for one in inside if isinstance(one, torch.Tensor)}
        try:
            return copy.deepcopy(value, memo)
        except Exception:  # objects say in many ways that they cannot be copied; such a one goes as it is
            return value

    def symbolic_input(self, tensor: torch.Tensor, dimensions: Mapping[int, tuple[str, int]]) -> torch.Tensor:
        """A fake input whose named axes are symbols; `dimensions` maps an axis to its name and its hint."""
        shape = [dimensions[axis][1] if axis in dimensions else size for axis, size in enumerate(tensor.shape)]
        kinds = [DimDynamic.DUCK if axis in dimensions else DimDynamic.STATIC for axis in range(len(shape))]
        # The symbols are born on the meta device, which takes no memory, and move to one that computes.
        example = torch.empty(shape, dtype=tensor.dtype, device="meta")
        born = self.mode.from_tensor(example, symbolic_context=StatelessSymbolicContext(dynamic_sizes=kinds))
        with self.mode:
            fake = torch.empty(born.shape, dtype=tensor.dtype, device="cpu")
        for axis, (name, _) in dimensions.items():
            symbol = fake.shape[axis].node.expr  # type: ignore[attr-defined]
            self.read_size.names[symbol] = dimension(name)
        return fake.requires_grad_(tensor.requires_grad)

    def fixed_dimensions(self) -> dict[str, str]:
        """Dimensions whose value the program turned out to use (a Python loop over them does), and the equation."""
        if self.shapes is None:
            return {}
        names = self.read_size.names
        found = {
            names[symbol].name: f"{names[symbol].name} = {value}"
            for symbol, value in self.shapes.replacements.items()
            if symbol in names
        }
        for guard in self.shapes.guards:
            # The loop may run over a size that follows from the dimension.
            condition = plain_sympy(guard.expr).xreplace(names)
            if isinstance(condition, sympy.Eq) and any(side.is_Integer and side > 1 for side in condition.args):
                for symbol in condition.free_symbols:
                    found.setdefault(symbol.name, f"{condition.lhs} = {condition.rhs}")
        return found


@contextmanager
def fake_state(module: torch.nn.Module, world: FakeWorld) -> Iterator[None]:
    """Put fakes in place of all tensors a module and its children hold, and put everything back at the end."""
    with same_state(module):
        for child in module.modules():
            if type(child).__module__.startswith(_QUANTISED_LAYERS):
                _unwrap_scales(child)
        for store in list(_places(module)):
            _replace_tensors(store, world)
        yield


def _places(module: torch.nn.Module) -> Iterator[Any]:
    """Where fakes have to stand before the module runs; what lies deeper is replaced call by call."""
    for child in module.modules():
        if isinstance(child, torch.jit.ScriptModule):
            continue
        yield from (child.__dict__, child._parameters, child._buffers)
        # One level into what a module keeps in containers: recurrent states, caches, lists of weights.
        yield from (value for value in child.__dict__.values() if type(value) in (dict, list))


def _unwrap_scales(module: torch.nn.Module) -> None:
    """Scale and zero point as plain numbers: a quantised layer asks for their values, which decide no count."""
    for name in ("scale", "zero_point"):
        value = module._buffers.get(name)
        if value is not None and value.numel() == 1 and not value.is_meta:
            module._buffers[name] = value.item()  # type: ignore[assignment]


def _replace_tensors(store: Any, world: FakeWorld) -> None:
    places = enumerate(store) if isinstance(store, list) else list(store.items())
    for place, value in places:
        if _holds_tensors(value):
            store[place] = world.fake_tree(value)


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return True
    return isinstance(value, list | tuple) and any(isinstance(item, torch.Tensor) for item in value)
