"""Activations, softmaxes, arithmetic, reductions, sorting: every kind by hand."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.flops.cases.case import Program, case


def _x() -> tuple[torch.Tensor]:
    return (torch.randn(4, 5),)


@case(kinds={"compare": 20})
def relu() -> Program:
    """max(x, 0)."""
    return nn.ReLU(), _x()


@case(kinds={"compare": 40})
def relu6() -> Program:
    """min(max(x, 0), 6)."""
    return nn.ReLU6(), _x()


@case(kinds={"compare": 40})
def hardtanh() -> Program:
    """Two limits: the clipped ReLU of DeepSpeech2."""
    return nn.Hardtanh(0, 24), _x()


@case(kinds={"compare": 20, "multiply": 20})
def leaky_relu() -> Program:
    """A comparison and the slope."""
    return nn.LeakyReLU(), _x()


@case(kinds={"compare": 20, "multiply": 20})
def prelu() -> Program:
    """The slope is learned."""
    return nn.PReLU(), _x()


@case(kinds={"add": 40, "exp": 20, "divide": 20})
def sigmoid() -> Program:
    """1 / (1 + exp(-x)): negation, exponential, addition, division."""
    return nn.Sigmoid(), _x()


@case(kinds={"tanh": 20})
def tanh() -> Program:
    """One."""
    return nn.Tanh(), _x()


@case(kinds={"add": 40, "exp": 20, "divide": 20, "multiply": 20})
def silu() -> Program:
    """X * sigmoid(x)."""
    return nn.SiLU(), _x()


@case(kinds={"add": 40, "exp": 20, "divide": 20, "multiply": 20})
def silu_by_hand() -> Program:
    """The same spelled out."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)

    return program, _x()


@case(kinds={"multiply": 60, "add": 20, "other": 20})
def gelu() -> Program:
    """0.5 * x * (1 + erf(x * k))."""
    return nn.GELU(), _x()


@case(kinds={"multiply": 120, "add": 40, "tanh": 20})
def gelu_tanh() -> Program:
    """0.5 * x * (1 + tanh(k * (x + c * x * x * x))): six products, two sums."""
    return nn.GELU(approximate="tanh"), _x()


@case(kinds={"add": 20, "compare": 40, "divide": 20, "multiply": 20})
def hardswish() -> Program:
    """X * clamp(x + 3, 0, 6) / 6."""
    return nn.Hardswish(), _x()


@case(kinds={"add": 20, "divide": 20, "other": 20})
def softsign() -> Program:
    """X / (1 + |x|), the absolute value being of another kind."""
    return nn.Softsign(), _x()


@case(kinds={"add": 2 * 10, "exp": 10, "divide": 10, "multiply": 10})
def glu() -> Program:
    """(2, 5) times the sigmoid of the other half."""
    return nn.GLU(0), _x()


@case(kinds={"compare": 4 * 4, "add": 20 + 16, "exp": 20, "divide": 20})
def softmax() -> Program:
    """4 rows of 5: 4 comparisons, 5 subtractions, 5 exponentials, 4 additions, 5 divisions."""
    return nn.Softmax(-1), _x()


@case(kinds={"compare": 5 * 3, "add": 20 + 15, "exp": 20, "divide": 20})
def softmax_over_first_axis() -> Program:
    """5 columns of 4."""
    return nn.Softmax(0), _x()


@case(kinds={"compare": 16, "add": 20 + 16 + 20, "exp": 20, "log": 4})
def log_softmax() -> Program:
    """D = x - max; d - log(sum(exp(d)))."""
    return nn.LogSoftmax(-1), _x()


@case(kinds={"compare": 16, "add": 16 + 20 + 4, "exp": 20, "log": 4})
def logsumexp() -> Program:
    """4 rows: maximum, differences, exponentials, sum, logarithm, plus the maximum."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(x, -1)

    return program, _x()


@case(kinds={"add": 20})
def residual() -> Program:
    """One addition per element."""
    return torch.add, (torch.randn(4, 5), torch.randn(4, 5))


@case(kinds={"add": 3 * 20})
def broadcast_add() -> Program:
    """(3, 1, 5) and (4, 5) give 60 sums."""
    return torch.add, (torch.randn(3, 1, 5), torch.randn(4, 5))


@case(kinds={"add": 20, "multiply": 20})
def scaled_add() -> Program:
    """X + 2 * y."""

    def program(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.add(x, y, alpha=2)

    return program, (torch.randn(4, 5), torch.randn(4, 5))


@case(kinds={"divide": 20, "sqrt": 20, "log": 20, "exp": 20, "multiply": 20})
def scalar_functions() -> Program:
    """A square, a root, a logarithm, an exponential, a reciprocal."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.square().sqrt().log().exp().reciprocal()

    return program, _x()


@case(kinds={"compare": 20})
def comparison_and_where() -> Program:
    """One comparison; choosing is a move."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.0)

    return program, _x()


@case(kinds={"add": 4 * 4, "divide": 4})
def mean() -> Program:
    """4 rows of 5."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)

    return program, _x()


@case(kinds={"add": 19})
def total() -> Program:
    """19 additions for 20 numbers."""
    return torch.sum, _x()


@case(kinds={"add": 2 * 16 + 20, "multiply": 20, "divide": 8, "sqrt": 4})
def standard_deviation() -> Program:
    """4 rows of 5: mean, deviations, squares, their mean, root."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.std(1)

    return program, _x()


@case(kinds={"multiply": 20, "add": 16, "sqrt": 4})
def norm() -> Program:
    """Squares, their sum, a root."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.vector_norm(x, dim=1)

    return program, _x()


@case(kinds={"add": 4 * 4})
def cumulative_sum() -> Program:
    """4 additions in a row of 5."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(1)

    return program, _x()


@case(kinds={"compare": 16})
def argmax() -> Program:
    """4 comparisons in a row of 5."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.argmax(1)

    return program, _x()


@case(kinds={"compare": 4 * 5 * 3}, modelled=60)
def sort() -> Program:
    """Modelled: 5 * ceil(log2 5) comparisons per row."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.sort(1).values

    return program, _x()


@case(kinds={"compare": 4 * 5 * 3}, modelled=60)
def topk() -> Program:
    """Modelled as a sort."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.topk(2, dim=1).values

    return program, _x()


@case(kinds={"add": 6})
def index_add() -> Program:
    """Six numbers are added where their index says."""

    def program(x: torch.Tensor, index: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return x.index_add(0, index, source)

    return program, (torch.randn(4), torch.tensor([0, 1, 2, 3, 0, 1]), torch.randn(6))


@case(kinds={}, integer=20)
def integer_arithmetic() -> Program:
    """Integers are added: no floating-point operation."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    return program, (torch.ones(4, 5, dtype=torch.int64),)


@case(kinds={"compare": 16, "add": 36, "exp": 20, "divide": 20})
def softmax_and_selection() -> Program:
    """Softmax of 4 rows of 5, of which two are kept."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, -1).index_select(0, torch.tensor([0, 2]))

    return program, _x()


@case(kinds={"compare": 20, "exp": 20, "add": 20, "multiply": 20})
def elu() -> Program:
    """X, or alpha (exp(x) - 1)."""
    return nn.ELU(), _x()


@case(kinds={"compare": 20, "exp": 20, "add": 20, "multiply": 40})
def selu() -> Program:
    """Scale x, or (scale alpha) (exp(x) - 1), constants folded."""
    return nn.SELU(), _x()


@case(kinds={"compare": 20, "exp": 20, "add": 20, "log": 20, "multiply": 20, "divide": 20})
def softplus() -> Program:
    """log(1 + exp(beta x)) / beta, or x where beta x is large."""
    return nn.Softplus(), _x()


@case(kinds={"exp": 20, "add": 20, "log": 20, "tanh": 20, "multiply": 20})
def mish() -> Program:
    """X tanh(log(1 + exp(x)))."""
    return nn.Mish(), _x()


@case(kinds={"add": 60, "exp": 20, "log": 20, "compare": 20, "other": 20})
def log_sigmoid() -> Program:
    """min(0, x) - log(1 + exp(-|x|))."""
    return nn.LogSigmoid(), _x()


@case(kinds={"add": 20, "compare": 40, "divide": 20})
def hardsigmoid() -> Program:
    """clamp(x + 3, 0, 6) / 6."""
    return nn.Hardsigmoid(), _x()


@case(kinds={"add": 20 + 36, "exp": 20, "divide": 20, "compare": 16})
def softmin() -> Program:
    """Softmax of -x."""
    return nn.Softmin(-1), _x()


@case(kinds={"multiply": 16})
def cumulative_product() -> Program:
    """4 products in a row of 5."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return x.cumprod(1)

    return program, _x()


@case(kinds={"multiply": 2 * 12, "add": 12})
def cross() -> Program:
    """4 vectors of 3: two products and a difference for each coordinate."""
    return torch.linalg.cross, (torch.randn(4, 3), torch.randn(4, 3))


@case(kinds={"compare": 20 * 3}, modelled=60)
def searchsorted() -> Program:
    """20 binary searches among 7: three comparisons each."""
    return torch.searchsorted, (torch.arange(7.0), torch.randn(20))


@case(kinds={"multiply": 4 * 12, "add": 2 * 12})
def complex_product() -> Program:
    """(a + ib)(c + id): four products, two sums."""
    return torch.mul, (torch.randn(3, 4, dtype=torch.complex64), torch.randn(3, 4, dtype=torch.complex64))


@case(kinds={"multiply": 24, "add": 12, "sqrt": 12})
def complex_modulus() -> Program:
    """The root of a a + b b."""
    return torch.abs, (torch.randn(3, 4, dtype=torch.complex64),)
