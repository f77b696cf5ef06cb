"""Sparse tensors made inside a program: products with their values count, all else computed with them is unknown."""

import pytest
import torch
from torch import nn

from deepspeech2 import OperationCount, count, count_training, register_formula
from deepspeech2.errors import UncountedOperatorError

# That their support is in beta, and that their indices are not checked.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse")
NODES, COLUMNS = 100, 8
EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])
WEIGHTS, FEATURES = torch.rand(3), torch.randn(NODES, COLUMNS)
GRAPH = (EDGES, WEIGHTS, FEATURES)


def adjacency(edges, weights):
    return torch.sparse_coo_tensor(edges, weights, (NODES, NODES))


# Three values times eight columns, each product added to its row.
@pytest.mark.parametrize(
    ("product", "multiplications", "macs"),
    [
        (lambda a, x: a @ x, 24, 24),
        (torch.sparse.mm, 24, 24),
        (lambda a, x: a @ x[:, 0], 3, 3),
        (lambda a, x: torch.addmm(x, a, x), 24, 24),
        # beta times all elements that are added to, alpha times all values
        (lambda a, x: torch.sparse.addmm(x, a, x, beta=0.5, alpha=2.0), 24 + NODES * COLUMNS + 3, 24),
    ],
)
def test_every_spelling_of_a_product_counts_the_values_it_holds(product, multiplications, macs) -> None:
    tally = count(lambda edges, weights, x: product(adjacency(edges, weights), x), GRAPH, strict=True)
    assert (tally.kinds["multiply"], tally.kinds["add"], tally.macs) == (multiplications, macs, macs)


def test_a_product_with_a_graph_has_a_formula_in_its_edges() -> None:
    sizes = {"edges": [(0, 1), (1, 0)], "columns": [(2, 1)]}
    formula = count(lambda edges, weights, x: adjacency(edges, weights) @ x, GRAPH, symbolic=sizes)
    assert formula.at(edges=3, columns=8) == 48
    assert formula.at(edges=70, columns=5) == 700


@pytest.mark.parametrize(
    "program",
    [
        lambda edges, weights, x: x.to_sparse() @ x.T,
        lambda edges, weights, x: x.to_sparse_csr() @ x.T,
        lambda edges, weights, x: adjacency(edges, weights).coalesce() * 2.0,
        lambda edges, weights, x: adjacency(edges, weights) * 2.0,
        lambda edges, weights, x: adjacency(edges, weights).relu(),
        lambda edges, weights, x: adjacency(edges, weights) + adjacency(edges, weights),
        lambda edges, weights, x: adjacency(edges, weights).to_dense(),
        lambda edges, weights, x: torch.sparse.sum(adjacency(edges, weights)),
        lambda edges, weights, x: adjacency(edges, weights).t() @ x,
        lambda edges, weights, x: x.T @ adjacency(edges, weights),
        lambda edges, weights, x: adjacency(edges, weights).clone()._values() * 2.0,
    ],
)
def test_what_its_values_decide_is_unknown_where_it_is_called(program) -> None:
    tally = count(program, GRAPH)
    assert (tally.flops, tally.macs) == (0, 0)
    assert not tally.complete
    assert all("test_sparse_tensors.py" in one.sites[0] for one in tally.unknown)
    with pytest.raises(UncountedOperatorError, match=r"sparse tensor.*test_sparse_tensors\.py"):
        count(program, GRAPH, strict=True)


def test_moves_of_a_sparse_tensor_are_free_and_its_values_are_computed_with() -> None:
    def program(edges, weights):
        made = adjacency(edges, weights)
        return made.t().clone().detach(), made._values() * 2.0

    assert count(program, (EDGES, WEIGHTS), strict=True).flops == 3


def test_bytes_are_those_of_the_values() -> None:
    tally = count(lambda edges, weights, x: adjacency(edges, weights) @ x, GRAPH)
    product = next(row for row in tally.rows() if row.macs)
    assert product.bytes_read == 4 * (3 + NODES * COLUMNS)


def test_the_gradient_through_a_graph_is_a_lower_bound() -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(COLUMNS, 4, bias=False)

        def forward(self, edges, weights, x):
            return adjacency(edges, weights) @ self.linear(x)

    tally = count_training(Graph(), GRAPH, optimiser=None)
    dense = NODES * COLUMNS * 4
    assert tally.phase("forward").macs == dense + 3 * 4
    # The gradient of the weight; that of the product, by the transposed graph, is unknown.
    assert tally.phase("backward").macs == dense
    assert [one.operator for one in tally.unknown] == ["aten::mm"]


def test_a_formula_of_ones_own_is_given_sparse_tensors() -> None:
    with torch.library._scoped_library("sparsetest", "DEF") as library:
        library.define("double(Tensor a) -> Tensor")
        library.impl("double", lambda a: a.clone(), "CompositeExplicitAutograd")

        @register_formula("sparsetest::double")
        def _double(call):
            return OperationCount(add=call["a"].stored)

        program = lambda edges, weights: torch.ops.sparsetest.double(adjacency(edges, weights))  # noqa: E731
        assert count(program, (EDGES, WEIGHTS), strict=True).kinds["add"] == 3
