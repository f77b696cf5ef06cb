"""The layers of an exported program: its graph is flat, and each node remembers the modules it was written in."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.fx import Graph, GraphModule, Node

from deepspeech2.flops.expressions import SizeReader
from deepspeech2.flops.recorder import Recorder

# What torch calls the root inside of branches and bodies of loops.
_ROOTS = ("", "_export_root")
_SIZE_CHECK = "_guards_fn"
# Nodes that only read: of results that are several, of sizes, of the program itself.
_READING = (operator.getitem, torch.ops.aten.sym_size.int, torch.ops.aten.sym_stride.int)


class _Module(NamedTuple):
    """A module as a node remembers it: which call of it, its path, its class with the package it is from."""

    call: str
    path: str
    kind: str


_Stack = tuple[_Module, ...]


def restore_layers(program: torch.nn.Module, recorder: Recorder, read_size: SizeReader) -> frozenset[torch.nn.Module]:
    """Make exported graphs in a program tell the recorder when the modules begin and end that they were made from.

    Nothing else of what a graph does changes. Graphs that remember no modules, and those that still call theirs (of
    `torch.fx`), stay as they are. Modules of code that is not torch's show an operator a row, as they do unexported.

    Args:
        program: holds the graphs; their `forward` is replaced in the instance, where `fake_state` puts it back.
        recorder: what is told.
        read_size: reads the sizes of a module's result.

    Returns:
        Branches, bodies of loops and other regions within such graphs, and checks of sizes: modules, but no layers.
    """
    regions: set[torch.nn.Module] = set()
    for path, module in program.named_modules():
        if not isinstance(module, GraphModule) or module in regions or not _is_export(module.graph):
            continue
        place = _Place(recorder, read_size)
        recorder.describe(path, _root_kind(module.graph))
        for graph in (one for one in module.modules() if isinstance(one, GraphModule)):
            graph.__dict__["forward"] = _announcing(graph, path, place)
            regions.add(graph)
        regions.discard(module)
        regions.update(child for name, child in module.named_children() if name == _SIZE_CHECK)
    return frozenset(regions)


def _is_export(graph: Graph) -> bool:
    """Whether a graph remembers modules and calls none, but for the check of sizes that exports begin with."""
    called = any(node.op == "call_module" and node.target != _SIZE_CHECK for node in graph.nodes)
    return not called and any(_remembered(node) for node in graph.nodes)


def _remembered(node: Node) -> list[tuple[str, tuple[str, Any]]]:
    stack = node.meta.get("nn_module_stack") or {}
    # Nodes that torch adds itself have an entry that names no module: path and class are the same.
    return [(call, found) for call, found in stack.items() if found[0] != found[1]]


def _kind(found: Any) -> str:
    return found if isinstance(found, str) else f"{found.__module__}.{found.__qualname__}"


def _root_kind(graph: Graph) -> str:
    stacks = (_remembered(node) for node in graph.nodes)
    return next(_kind(stack[0][1][1]) for stack in stacks if stack)


def _stack(node: Node, prefix: str) -> _Stack:
    """The modules a node was written in, the root left out; `prefix` is where the export itself is."""
    stack = []
    for call, (path, kind) in _remembered(node):
        if path not in _ROOTS:
            inside = path.removeprefix("_export_root.")
            stack.append(_Module(call, f"{prefix}.{inside}" if prefix else inside, _kind(kind)))
    return tuple(stack)


class _Place:
    """Where in the modules an export was made from its program is."""

    def __init__(self, recorder: Recorder, read_size: SizeReader) -> None:
        self._recorder = recorder
        self._read_size = read_size
        self._around: _Stack = ()
        self._entered: list[_Module] = []

    def move(self, stack: _Stack, result: Any) -> None:
        """Leave the modules that are not in `stack`, with this result if it is a tensor, and enter the others."""
        inside = stack[_common(stack, self._around) :]
        shared = _common(inside, self._entered)
        shape = tuple(map(self._read_size, result.shape)) if isinstance(result, torch.Tensor) else None
        while len(self._entered) > shared:
            self._entered.pop()
            self._recorder.leave(shape)
        for module in inside[shared:]:
            self._entered.append(module)
            self._recorder.enter(module.path, module.kind)

    @contextmanager
    def graph(self) -> Iterator[None]:
        """A graph runs, perhaps as a region of another one, whose modules stay."""
        before = self._around, self._entered
        self._around, self._entered = (*self._around, *self._entered), []
        try:
            yield
        finally:
            self._around, self._entered = before


def _common(left: Sequence[_Module], right: Sequence[_Module]) -> int:
    """How many modules both begin with."""
    differs = (place for place, (one, other) in enumerate(zip(left, right, strict=False)) if one != other)
    return next(differs, min(len(left), len(right)))


def _announcing(module: GraphModule, prefix: str, place: _Place) -> Callable[..., Any]:
    """The forward of a graph, with a call of `place.move` wherever the module changes."""
    graph = Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    # How a call's arguments are taken apart.
    graph.set_codegen(module.graph._codegen)
    stacks: list[tuple[Node, _Stack]] = [
        (node, () if node.op == "output" else _stack(node, prefix)) for node in graph.nodes if _computes(node)
    ]
    moves = [here for before, here in zip([(None, ()), *stacks], stacks, strict=False) if before[1] != here[1]]

    def enter_modules(index: int, result: Any) -> None:
        place.move(moves[index][1], result)

    previous = None
    for index, (node, _) in enumerate(moves):
        result = _result(previous, node)
        previous = node
        with graph.inserting_before(node):
            graph.call_function(enter_modules, (index, result))
    forward = type(GraphModule(module, graph)).forward

    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        with place.graph():
            return forward(module, *args, **kwargs)

    return run


def _computes(node: Node) -> bool:
    return node.op == "output" or (node.op == "call_function" and node.target not in _READING)


def _result(first: Node | None, end: Node) -> Node | None:
    """What the nodes from `first` up to `end` compute for the rest of the graph: the last value, the first of several.

    Args:
        first: None for the beginning of a graph, where no module ends.
        end: the first node that is not part of it.
    """
    if first is None:
        return None
    inside: dict[Node, bool] = {}
    node = first
    while node is not end:
        inside[node] = True
        node = node.next
    outside = [node for node in inside if any(user not in inside for user in node.users)]
    if not outside:
        return None
    last = outside[-1]
    if last.target is operator.getitem:
        return next(node for node in outside if node.target is operator.getitem and node.args[0] is last.args[0])
    return last
