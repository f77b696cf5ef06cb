"""Goes through a graph in order, node by node, and makes the rows of the tally."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import deepspeech2.flops.onnx_graphs.operators  # noqa: F401  (registers the formulas)
from deepspeech2.errors import CheckpointError
from deepspeech2.flops.onnx_graphs.inference import ShapeInference
from deepspeech2.flops.onnx_graphs.values import NOTHING_KNOWN, Value, constant_value, tensor_value
from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.registry import Call, find_rule
from deepspeech2.flops.tally import Layer, UnknownOperator

_MOST_VISITS = 500_000
_DEEPEST = 48
_MOST_SITES = 8
# Rows of these are left out: they change how numbers are looked at.
_VIEWS = frozenset(
    {"Constant", "Shape", "Size", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Dropout", "Cast"}
)
# Inputs that hold statistics or initial states, not parameters.
_NO_PARAMETERS = {"BatchNormalization": (3, 4), "RNN": (5,), "GRU": (5,), "LSTM": (5, 6)}

Scope = ChainMap[str, Value]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the model a graph stands.

    Attributes:
        path: names of the nodes around it, joined by slashes.
        depth: how many they are.
        declared: types the file declares for results, by name.
    """

    path: str = ""
    depth: int = 0
    declared: Mapping[str, Any] | None = None

    def inside(self, name: str, declared: Mapping[str, Any] | None = None) -> Place:
        """The place of a graph inside a node.

        Raises:
            CheckpointError: graphs or functions are nested too deeply.
        """
        if self.depth >= _DEEPEST:
            raise CheckpointError(f"node {name!r}: graphs and functions are nested more than {_DEEPEST} deep")
        return Place(name, self.depth + 1, declared)


class Walker:
    """Counts the nodes of one model.

    Args:
        model: the model.
        sizes: sizes of named axes, as the inputs give them; types declared in the file are read with these.
    """

    def __init__(self, model: Any, sizes: Mapping[str, int]) -> None:
        opsets = {"" if one.domain == "ai.onnx" else one.domain: one.version for one in model.opset_import}
        self.inference = ShapeInference(opsets, model.ir_version)
        self.functions = {(one.domain, one.name): one for one in model.functions}
        self.sizes = sizes
        self._visits = 0
        self._weights: dict[tuple[str, str, str], Value] = {}
        self._parameters_seen: set[int] = set()
        self._unknown: dict[tuple[str, str], tuple[int, dict[str, None]]] = {}
        self._unknown_at: Counter[str] = Counter()

    @property
    def unknown(self) -> tuple[UnknownOperator, ...]:
        """Operators that could not be counted; sites are the names of nodes."""
        return tuple(
            UnknownOperator(operator, calls, tuple(sites), reason)
            for (operator, reason), (calls, sites) in self._unknown.items()
        )

    def note_unknown(self, operator: str, reason: str, site: str) -> None:
        """Note a node that cannot be counted."""
        calls, sites = self._unknown.setdefault((operator, reason), (0, {}))
        if len(sites) < _MOST_SITES:
            sites[site] = None
        self._unknown[operator, reason] = (calls + 1, sites)
        self._unknown_at[site] += 1

    def walk_graph(self, graph: Any, scope: Scope, place: Place) -> list[Layer]:
        """Count a graph whose inputs are in the innermost dictionary of `scope`; results are added there.

        Raises:
            CheckpointError: a node reads what nothing gives, or there are too many nodes to visit.
            InputError: sizes do not fit a node.
        """
        for weight in graph.initializer:
            # One value for each weight, however often its graph runs: parameters count once.
            key = (place.path, graph.name, weight.name)
            if key not in self._weights:
                self._weights[key] = constant_value(weight, is_weight=True)
            scope[weight.name] = self._weights[key]
        for weight in graph.sparse_initializer:
            scope[weight.values.name] = tensor_value(
                weight.values.data_type, tuple(weight.dims), fixed=True, is_weight=True
            )
        declared = {one.name: one.type for one in [*graph.value_info, *graph.output]}
        return self.walk_nodes(graph.node, scope, replace(place, declared=declared))

    def walk_nodes(self, nodes: Sequence[Any], scope: Scope, place: Place) -> list[Layer]:
        """Count nodes in order; see `walk_graph`."""
        layers: list[Layer] = []
        for index, node in enumerate(nodes):
            self._visits += 1
            if self._visits > _MOST_VISITS:
                raise CheckpointError(
                    f"the model runs more than {_MOST_VISITS:,} nodes, functions and loops included; it is not counted"
                )
            name = node.name or next(iter(node.output), "") or f"{node.op_type}_{index}"
            name = f"{place.path}/{name}" if place.path else name
            inputs = [self._input(one, scope, name) for one in node.input]
            results, rows = self._visit(node, name, inputs, scope, place)
            for output, value in zip(node.output, results, strict=False):
                scope[output] = self._as_declared(output, value, place)
            layers += rows
        return layers

    def _input(self, name: str, scope: Scope, node: str) -> Value | None:
        if not name:
            return None
        if name not in scope:
            raise CheckpointError(f"node {node!r} reads {name!r}, which no node, input or weight before it gives")
        return scope[name]

    def _as_declared(self, name: str, value: Value, place: Place) -> Value:
        """The value, or what the file declares where inference found no shape."""
        declared = (place.declared or {}).get(name)
        if value.shape is not None or declared is None or not declared.HasField("tensor_type"):
            return value
        shape = declared.tensor_type.shape
        sizes = [one.dim_value if one.HasField("dim_value") else self.sizes.get(one.dim_param) for one in shape.dim]
        if not declared.tensor_type.HasField("shape") or any(size is None or size < 0 for size in sizes):
            return value
        return tensor_value(declared.tensor_type.elem_type, tuple(size for size in sizes if size is not None))

    def _visit(
        self, node: Any, name: str, inputs: list[Value | None], scope: Scope, place: Place
    ) -> tuple[list[Value], list[Layer]]:
        function = self.functions.get((node.domain, node.op_type))
        control = _control_rule(node)
        noted = self._unknown_at[name]
        if function is not None:
            return self._call_function(node, function, name, inputs, place)
        if control is not None:
            parameters = self._parameters(node, inputs)
            results, children = control(self, node, inputs, scope, place.inside(name))
            shape = next((one.shape for one in results if one.shape is not None), ())
            layer = Layer(name, node.op_type, "forward", shape, parameters, children=tuple(children))
            return results, [replace(layer, unknown_calls=self._unknown_at[name] - noted)]
        results = self.inference.results(node, inputs)
        if node.domain in ("", "ai.onnx") and find_rule(f"onnx::{node.op_type}") is None:
            body = self._definition(node, inputs)
            if body is not None:
                _, layers = self._call_function(node, body, name, inputs, place)
                return results, layers
        count, parameters = self._counted(node, name, inputs, results), self._parameters(node, inputs)
        unknown = self._unknown_at[name] - noted
        free = count is NOTHING and (node.op_type in _VIEWS or all(one.fixed for one in results))
        if free and not parameters and not unknown:
            return results, []
        sized = [one for one in inputs if one is not None and one.shape is not None]
        made = [one for one in results if one.shape is not None]
        layer = Layer(
            name,
            node.op_type,
            output_shape=made[0].shape or () if made else (),
            parameters=parameters,
            calls=1,
            own=count,
            bytes_read=sum(one.spec.bytes for one in sized),
            bytes_written=sum(one.spec.bytes for one in made),
            unknown_calls=unknown,
        )
        return results, [layer]

    def _parameters(self, node: Any, inputs: list[Value | None]) -> int:
        """Parameters among the inputs that no earlier node has used."""
        total = 0
        for index, value in enumerate(inputs):
            if value is None or id(value) in self._parameters_seen or index in _NO_PARAMETERS.get(node.op_type, ()):
                continue
            if value.is_weight:
                self._parameters_seen.add(id(value))
                total += value.parameters
        return total

    def _counted(self, node: Any, name: str, inputs: list[Value | None], results: list[Value]) -> OperationCount:
        domain = "onnx" if node.domain in ("", "ai.onnx") else node.domain
        operator = f"{domain}::{node.op_type}"
        rule = find_rule(operator)
        if rule is None:
            self.note_unknown(operator, "no formula", name)
            return NOTHING
        if results and all(one.fixed and one.data is not None for one in results):
            return NOTHING  # arithmetic on shapes and constants
        call = self._call(operator, node, inputs, results)
        try:
            return _of_kind(call, rule(call))
        except NotImplementedError as error:
            reason = str(error)
        except (
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            ZeroDivisionError,
            AttributeError,
            AssertionError,
        ) as error:
            missing = any(one is not None and one.shape is None for one in [*inputs, *results])
            reason = "a size it needs depends on values" if missing else f"unusual inputs or attributes ({error})"
        self.note_unknown(operator, reason, name)
        return NOTHING

    def _call(self, operator: str, node: Any, inputs: list[Value | None], results: list[Value]) -> Call:
        """A node as formulas see it: inputs by the names of the operator's definition, attributes, known values."""
        arguments = attributes_of(node)
        arguments["opset"] = self.inference.opsets.get("", 1)
        schema = self.inference.schema(node)
        names = [one.name for one in schema.inputs] if schema is not None else []
        known: dict[str, Any] = {}
        for index, value in enumerate(inputs):
            key = names[min(index, len(names) - 1)] if names else f"input{index}"
            spec = value.spec if value is not None and value.shape is not None else None
            if index >= len(names) - 1 and names and schema.inputs[-1].option == schema.inputs[-1].option.Variadic:
                arguments.setdefault(key, []).append(spec)
            elif value is not None:
                arguments[key] = spec
                known[key] = value.data
        arguments["values"] = {key: data for key, data in known.items() if data is not None}
        outputs = tuple(one.spec for one in results if one.shape is not None)
        return Call(operator, arguments, outputs)

    def _definition(self, node: Any, inputs: list[Value | None]) -> Any:
        """The function by which the standard defines an operator, or None."""
        from onnx import FunctionProto

        schema = self.inference.schema(node)
        if schema is None:
            return None
        version = self.inference.opsets.get("", 1)

        def newest(versions: Sequence[int]) -> int:
            return max((one for one in versions if one <= version), default=version)

        content: bytes | None = None
        if schema.has_function:
            content = schema.get_function_with_opset_version(newest(schema.function_opset_versions))
        elif schema.has_context_dependent_function and all(one is None or one.type is not None for one in inputs):
            types = [b"" if one is None else one.type.SerializeToString() for one in inputs]
            content = schema.get_context_dependent_function_with_opset_version(
                newest(schema.context_dependent_function_opset_versions), node.SerializeToString(), types
            )
        return FunctionProto.FromString(content) if content else None

    def _call_function(
        self, node: Any, function: Any, name: str, inputs: list[Value | None], place: Place
    ) -> tuple[list[Value], list[Layer]]:
        """Inline a function: its nodes see its inputs only."""
        inner = place.inside(name)
        given = [*inputs, *[None] * (len(function.input) - len(inputs))]
        # A name that is given nothing stands for an absent optional input.
        absent = {key for key, value in zip(function.input, given, strict=False) if value is None}
        scope: Scope = ChainMap(
            {key: value for key, value in zip(function.input, given, strict=False) if value is not None}
        )
        nodes = [bound_node(one, node, function, absent) for one in function.node]
        layers = self.walk_nodes(nodes, scope, inner)
        results = [scope.get(key, NOTHING_KNOWN) for key in function.output]
        shape = next((one.shape for one in results if one.shape is not None), ())
        return results, [Layer(name, node.op_type, "forward", shape, children=tuple(layers))] if layers else []


def _of_kind(call: Call, count: OperationCount) -> OperationCount:
    """The count, as integer operations where no tensor is floating-point.

    Raises:
        NotImplementedError: the tensors are complex.
    """
    if not count:
        return NOTHING
    tensors = [*call.tensors, *call.outputs]
    if any(one.dtype.is_complex for one in tensors):
        raise NotImplementedError("its formula counts real arithmetic, the tensors are complex")
    if not any(one.is_floating for one in tensors):
        whole = count.total + count.integer
        return OperationCount(integer=whole, macs=count.macs, padding_macs=count.padding_macs)
    return count


def attributes_of(node: Any) -> dict[str, Any]:
    """Attributes by name, texts decoded."""
    from onnx import helper

    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, list) and value and isinstance(value[0], bytes):
            value = [one.decode("utf-8", "replace") for one in value]
        found[attribute.name] = value
    return found


def bound_node(inner: Any, outer: Any, function: Any, absent: set[str]) -> Any:
    """A function's node with references to the call's attributes resolved and absent inputs empty."""
    from onnx import NodeProto

    node = NodeProto()
    node.CopyFrom(inner)
    given = {attribute.name: attribute for attribute in [*function.attribute_proto, *outer.attribute]}
    _bind_attributes(node, given, _DEEPEST)
    for index, name in enumerate(node.input):
        if name in absent:
            node.input[index] = ""
    return node


def _bind_attributes(node: Any, given: Mapping[str, Any], depth: int) -> None:
    attributes = list(node.attribute)
    del node.attribute[:]
    for attribute in attributes:
        if attribute.ref_attr_name:
            value = given.get(attribute.ref_attr_name)
            if value is None:
                continue
            name = attribute.name
            attribute.CopyFrom(value)
            attribute.name = name
        elif depth > 0:
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                for one in graph.node:
                    _bind_attributes(one, given, depth - 1)
        node.attribute.append(attribute)


ControlRule = Callable[[Walker, Any, "list[Value | None]", Scope, Place], "tuple[list[Value], list[Layer]]"]


def _control_rule(node: Any) -> ControlRule | None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("If", "Loop", "Scan"):
        return None
    from deepspeech2.flops.onnx_graphs import control_flow

    rules: dict[str, ControlRule] = {
        "If": control_flow.count_if,
        "Loop": control_flow.count_loop,
        "Scan": control_flow.count_scan,
    }
    return rules[node.op_type]
