"""An exported program has the rows of the module it was made from: names, shapes, operations, weights."""

import io
import warnings

import pytest
import torch
from torch import nn

from deepspeech2 import build_model, count
from deepspeech2.cli.counted_models import find_model
from deepspeech2.speech.onnx_export import export_program

WIDTH, STEPS, ROWS = 4, 3, 2
LINEAR = ROWS * STEPS * WIDTH * WIDTH
LSTM = ROWS * STEPS * 4 * 2 * WIDTH * WIDTH


class Block(nn.Module):
    """A residual block; its products are those of a row of torch's, its addition a row of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + torch.relu(self.linear(self.norm(x)))


class Frozen(nn.Module):
    """A region without gradients, in which a module begins and ends that gives several tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)

    @torch.no_grad()
    def forward(self, x):
        steps, (_, cells) = self.lstm(x)
        return self.output(steps), cells


class Net(nn.Module):
    """Two blocks, one of which runs twice; a list that does not run itself; a layer that is called by turns."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = Frozen()
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.dropout = nn.Dropout(0.1)
        self.shared = nn.Linear(WIDTH, WIDTH)
        self.unused = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        x, cells = self.frozen(x)
        for block in (*self.blocks, self.blocks[0]):
            x = self.dropout(block(x))
        return self.shared(self.shared(x) * 2).transpose(0, 1), cells


class Either(nn.Module):
    """A layer, and one of two programs of the same cost, neither of which is known to run."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Block(), Block()

    def forward(self, x):
        x = self.first(x)
        return torch.cond(x.sum() > 0, lambda x: self.second(x) + 1, lambda x: self.second(x) - 1, (x,))


# Products by hand, of every layer that has some.
PRODUCTS = {
    "frozen.lstm": LSTM,
    "frozen.output": LINEAR,
    "blocks.0.linear": 2 * LINEAR,
    "blocks.1.linear": LINEAR,
    "shared": 2 * LINEAR,
}


def inputs():
    return (torch.zeros(STEPS, ROWS, WIDTH),)


def exported(module, example, *, how="export", **options):
    with warnings.catch_warnings():
        # torch says that an LSTM has a list of its weights, and uses what it deprecates.
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), example, **options)
        if how == "decomposed":
            return program.run_decompositions()
    if how == "file":
        stored = io.BytesIO()
        torch.export.save(program, stored)
        stored.seek(0)
        return torch.export.load(stored)
    return program


def described(tally):
    return [(row.name, row.operator, row.output_shape, row.parameters, row.own) for row in tally.rows()]


def products(tally):
    return {row.name: row.macs for row in tally.rows() if row.macs}


@pytest.mark.parametrize("how", ["export", "file"])
@pytest.mark.parametrize("strict", [False, True])
def test_products_are_those_of_each_layer_by_hand(how, strict) -> None:
    tally = count(exported(Net(), inputs(), how=how, strict=strict), inputs(), strict=True)
    assert products(tally) == PRODUCTS


@pytest.mark.parametrize("strict", [False, True])
def test_what_a_branch_computes_stays_within_the_module_that_chooses(strict) -> None:
    """Torch names no layers in a branch, or names them under another root; the products are there."""
    tally = count(exported(Either(), inputs(), strict=strict), inputs(), strict=True)
    found = products(tally)
    assert found.pop("first.linear") == LINEAR
    assert list(found.values()) == [LINEAR]
    assert next(iter(found)) in ("cond", "second.linear")


def test_decomposed_products_are_those_of_their_layers() -> None:
    """torch dissolves the region without gradients into the module that holds it, and an LSTM into its steps."""
    tally = count(exported(Net(), inputs(), how="decomposed"), inputs())
    found: dict[str, int] = {}
    for row in tally.rows():
        layer = row.name.partition("/")[0]
        found[layer] = found.get(layer, 0) + row.macs
    expected = {name: macs for name, macs in PRODUCTS.items() if not name.startswith("frozen")}
    assert {layer: macs for layer, macs in found.items() if macs} == {"frozen": LSTM + LINEAR, **expected}


def test_rows_have_the_shapes_that_the_modules_give_when_they_run() -> None:
    net, shapes = Net().eval(), {}

    def hook(name):
        def keep(_module, _inputs, output) -> None:
            shapes[name] = tuple((output[0] if isinstance(output, tuple) else output).shape)

        return keep

    for name, module in net.named_modules():
        module.register_forward_hook(hook(name))
    net(*inputs())
    found = {}
    for top in count(exported(Net(), inputs()), inputs()).layers:
        for _, layer in top.walk():
            found[layer.name] = layer.output_shape
    assert {name: found[name] for name in shapes if name} == {name: shape for name, shape in shapes.items() if name}
    assert found["frozen"] == (STEPS, ROWS, WIDTH)


def test_weights_belong_to_the_layers_that_hold_them() -> None:
    """Those of a layer that never ran to the program, which is called as the class it was made from."""
    net = Net()
    tally = count(exported(net, inputs()), inputs())
    for layer in (layer for top in tally.layers for _, layer in top.walk() if layer.parameters):
        module = net.unused if layer.operator == "Net" else net.get_submodule(layer.name)
        assert layer.parameters == sum(one.numel() for one in module.parameters(recurse=False)), layer.name
    assert sum(row.parameters for row in tally.rows()) == sum(one.numel() for one in net.parameters())


@pytest.mark.parametrize("module", [nn.Linear(WIDTH, WIDTH), Block(), Frozen(), nn.Sequential(Block(), nn.ReLU())])
def test_an_export_counts_row_by_row_like_its_module(module) -> None:
    """The module's rows come from its hooks, the export's from its graph.

    An exported LSTM makes its two initial states apart, of ROWS x WIDTH numbers each, where the module has one of them.
    """
    module.eval()
    ours, theirs = count(exported(module, inputs()), inputs()), count(module, inputs())
    assert described(ours) == described(theirs)
    more = 4 * ROWS * WIDTH if isinstance(module, Frozen) else 0
    assert ours.memory.peak == theirs.memory.peak + more
    assert (ours.memory.parameters, ours.memory.kept) == (theirs.memory.parameters, theirs.memory.kept)


def test_an_export_within_a_module_has_its_rows_below_its_own_name() -> None:
    net = nn.Module()
    net.encoder = exported(Block(), inputs()).module()
    net.output = nn.Linear(WIDTH, WIDTH)
    net.forward = lambda x: net.output(net.encoder(x))
    tally = count(net, inputs())
    assert products(tally) == {"encoder.linear": LINEAR, "output": LINEAR}
    assert next(layer for layer in tally.layers if layer.children).operator == "Block"


def test_a_formula_of_an_export_is_that_of_each_layer() -> None:
    steps = torch.export.Dim("steps", min=2, max=4096)
    program = exported(Block(), inputs(), dynamic_shapes=({0: steps},))
    formula = count(program, inputs(), symbolic={"steps": [(0, 0)]})
    rows = [row for row in formula.tally.rows() if row.name == "linear"]
    assert [str(row.macs) for row in rows] == [f"{ROWS * WIDTH * WIDTH}*steps"]


def test_an_export_is_given_back_as_it_was() -> None:
    program = exported(Net(), inputs()).module()
    before = [(module, dict(module.__dict__)) for module in program.modules()]
    nodes = [str(node) for node in program.graph.nodes]
    count(program, inputs())
    assert all(module.__dict__.keys() == kept.keys() for module, kept in before)
    assert "forward" not in program.__dict__
    assert [str(node) for node in program.graph.nodes] == nodes
    expected = Net().eval()
    expected.load_state_dict(program.state_dict(), strict=False)
    x = torch.randn(STEPS, ROWS, WIDTH)
    assert torch.equal(program(x)[1], expected(x)[1])


def test_a_graph_traced_by_fx_counts_its_layers_once() -> None:
    net = nn.Sequential(Block(), nn.Linear(WIDTH, WIDTH)).eval()
    assert products(count(torch.fx.symbolic_trace(net), inputs())) == {"0.linear": LINEAR, "1": LINEAR}


@pytest.mark.parametrize("preset", ["shared", "gru"])
def test_our_own_export_has_the_rows_of_its_network(preset, tmp_path) -> None:
    from deepspeech2.speech.options import NetworkOptions

    options = {"shared": NetworkOptions(recurrent_size=8), "gru": NetworkOptions(recurrent_size=8, cell="gru")}
    model = build_model(options[preset], seed=0).eval()
    export_program(model, tmp_path / "model.pt2")
    example = (torch.zeros(1, 161, 60), torch.tensor([60]))
    ours, theirs = count(find_model(str(tmp_path / "model.pt2")), example), count(model, example)
    assert products(ours) == products(theirs)
    assert len(products(ours)) >= 6
    for kind, number in theirs.kinds.items():
        assert ours.kinds[kind] == number
