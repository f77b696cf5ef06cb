"""Recurrent layers and cells of torch.

One step of one direction of a layer, per sample: gates * (inputs * size + size * size) multiply-accumulates, the first
step included since the initial state is an argument. Sizes: 7 steps, 2 samples, 5 inputs, hidden size 8, unless said.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.flops.cases.case import Program, case

X = (7, 2, 5)


@case(
    7 * 2 * (5 * 8 + 8 * 8),
    kinds={"multiply": 14 * 104, "add": 14 * (40 + 64 + 8), "tanh": 14 * 8},
)
def rnn_tanh() -> Program:
    """Per step and sample 5 * 8 + 8 * 8 products; a dot product of n with its bias has n additions, so 40 + 64, and 8
    more join both; 8 tanh.
    """
    return nn.RNN(5, 8), (torch.randn(X),)


@case(
    7 * 2 * (5 * 8 + 8 * 8),
    kinds={"multiply": 14 * 104, "add": 14 * (40 + 64 + 8), "compare": 14 * 8},
)
def rnn_relu() -> Program:
    """As with tanh, a comparison in its place."""
    return nn.RNN(5, 8, nonlinearity="relu"), (torch.randn(X),)


@case(
    7 * 2 * 3 * (5 * 8 + 8 * 8),
    kinds={
        "multiply": 14 * (3 * 104 + 2 * 8),
        "add": 14 * (3 * 104 + 2 * 8 * 2 + 5 * 8),
        "exp": 14 * 16,
        "divide": 14 * 16,
        "tanh": 14 * 8,
    },
)
def gru() -> Program:
    """3 gates. Besides products: two sigmoids per unit (negation, exponential, addition, division each), one tanh; r *
    h_n and z * (h - n) multiply; x + h three times, h - n, + n add.
    """
    return nn.GRU(5, 8), (torch.randn(X),)


@case(
    7 * 2 * 4 * (5 * 8 + 8 * 8),
    kinds={
        "multiply": 14 * (4 * 104 + 3 * 8),
        "add": 14 * (4 * 104 + 3 * 8 * 2 + 5 * 8),
        "exp": 14 * 24,
        "divide": 14 * 24,
        "tanh": 14 * 16,
    },
)
def lstm() -> Program:
    """4 gates. Besides products: three sigmoids and two tanh per unit; f * c, i * g, o * tanh(c) multiply; four sums
    x + h and f * c + i * g add.
    """
    return nn.LSTM(5, 8), (torch.randn(X),)


@case(2 * 7 * 2 * 4 * (5 * 8 + 8 * 8))
def lstm_bidirectional() -> Program:
    """Two directions of the LSTM."""
    return nn.LSTM(5, 8, bidirectional=True), (torch.randn(X),)


@case(7 * 2 * 3 * (5 * 8 + 8 * 8) + 2 * (7 * 2 * 3 * (8 * 8 + 8 * 8)))
def gru_stacked() -> Program:
    """Three layers; the second and third read 8 outputs of the layer below."""
    return nn.GRU(5, 8, num_layers=3), (torch.randn(X),)


@case(2 * (7 * 2 * 4 * (5 * 8 + 8 * 8)) + 2 * (7 * 2 * 4 * (16 * 8 + 8 * 8)))
def lstm_stacked_bidirectional() -> Program:
    """Two layers of two directions; the second reads 16."""
    return nn.LSTM(5, 8, num_layers=2, bidirectional=True), (torch.randn(X),)


@case(7 * 2 * (4 * (5 * 8 + 3 * 8) + 8 * 3))
def lstm_projected() -> Program:
    """The state is 3 wide: 3 * 8 recurrent products per gate, and 8 * 3 to project."""
    return nn.LSTM(5, 8, proj_size=3), (torch.randn(X),)


@case(2 * 7 * 2 * (4 * (5 * 8 + 3 * 8) + 8 * 3) + 2 * 7 * 2 * (4 * (6 * 8 + 3 * 8) + 8 * 3))
def lstm_projected_stacked_bidirectional() -> Program:
    """The second layer reads 2 * 3 projected outputs."""
    return nn.LSTM(5, 8, num_layers=2, bidirectional=True, proj_size=3), (torch.randn(X),)


@case(7 * 3 * (5 * 8 + 8 * 8))
def gru_unbatched() -> Program:
    """One sample without batch axis."""
    return nn.GRU(5, 8), (torch.randn(7, 5),)


@case(2 * 7 * 4 * (5 * 8 + 8 * 8))
def lstm_batch_first() -> Program:
    """(batch, steps, inputs): 2 samples of 7 steps."""
    return nn.LSTM(5, 8, batch_first=True), (torch.randn(2, 7, 5),)


@case(
    14 * 4 * 104,
    kinds={
        "multiply": 14 * (4 * 104 + 24),
        "add": 14 * (4 * (4 * 8 + 7 * 8) + 48 + 40),
        "exp": 14 * 24,
        "divide": 14 * 24,
        "tanh": 14 * 16,
    },
)
def lstm_without_bias() -> Program:
    """Without bias a dot product of n has n - 1 additions: 4 * 8 and 7 * 8 per gate."""
    return nn.LSTM(5, 8, bias=False), (torch.randn(X),)


@case(7 * 2 * 3 * 104)
def gru_initial_state() -> Program:
    """A state that is passed in changes nothing: the product with the initial state is computed in any case."""
    return nn.GRU(5, 8), (torch.randn(X), torch.randn(1, 2, 8))


class _Packed(nn.Module):
    def __init__(self, layer: nn.Module, lengths: list[int], unpack: bool = False) -> None:
        super().__init__()
        self.layer, self.lengths, self.unpack = layer, lengths, unpack

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(self.lengths), enforce_sorted=False)
        output = self.layer(packed)[0]
        return nn.utils.rnn.pad_packed_sequence(output)[0] if self.unpack else output.data


@case((7 + 3) * 4 * 104)
def lstm_packed() -> Program:
    """Samples of 7 and 3 steps: ten steps, not fourteen."""
    return _Packed(nn.LSTM(5, 8), [7, 3]), (torch.randn(X),)


@case(2 * (4 + 7) * 3 * 104)
def gru_packed_bidirectional_unpacked() -> Program:
    """Samples of 4 and 7 steps in both directions, unpacked again, which moves numbers only."""
    return _Packed(nn.GRU(5, 8, bidirectional=True), [4, 7], unpack=True), (torch.randn(X),)


@case((7 + 3) * (5 * 8 + 8 * 8) + (7 + 3) * (8 * 8 + 8 * 8))
def rnn_packed_stacked() -> Program:
    """Both layers take ten steps."""
    return _Packed(nn.RNN(5, 8, num_layers=2), [7, 3], unpack=True), (torch.randn(X),)


class _Loop(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = None
        for step in x:
            state = self.cell(step, state)
        return state


@case(7 * 2 * 104, kinds={"multiply": 14 * 104, "add": 14 * (40 + 64 + 8), "tanh": 14 * 8})
def rnn_cell_in_loop() -> Program:
    """nn.RNNCell, seven times: the same as nn.RNN."""
    return _Loop(nn.RNNCell(5, 8)), (torch.randn(X),)


@case(
    7 * 2 * 3 * 104,
    kinds={
        "multiply": 14 * (3 * 104 + 2 * 8),
        "add": 14 * (3 * 104 + 2 * 8 * 2 + 5 * 8),
        "exp": 14 * 16,
        "divide": 14 * 16,
        "tanh": 14 * 8,
    },
)
def gru_cell_in_loop() -> Program:
    """nn.GRUCell, seven times: the same as nn.GRU."""
    return _Loop(nn.GRUCell(5, 8)), (torch.randn(X),)


@case(
    7 * 2 * 4 * 104,
    kinds={
        "multiply": 14 * (4 * 104 + 3 * 8),
        "add": 14 * (4 * 104 + 3 * 8 * 2 + 5 * 8),
        "exp": 14 * 24,
        "divide": 14 * 24,
        "tanh": 14 * 16,
    },
)
def lstm_cell_in_loop() -> Program:
    """nn.LSTMCell, seven times: the same as nn.LSTM."""
    return _Loop(nn.LSTMCell(5, 8)), (torch.randn(X),)


class _HandWritten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(5, 8))
        self.u = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected = x @ self.w
        h = torch.tanh(projected[0])
        for step in range(1, x.shape[0]):
            h = torch.tanh(projected[step] + h @ self.u)
        return h


@case(7 * 2 * 5 * 8 + 6 * 2 * 8 * 8)
def recurrence_by_hand() -> Program:
    """Written with @: seven projections, but the first step has no recurrent product."""
    return _HandWritten(), (torch.randn(X),)


@case(3 * 6 * (4 + 6), kinds={"multiply": 180, "add": 3 * 6 * (4 + 6 + 1), "tanh": 18})
def rnn_cell() -> Program:
    """3 samples: W x + b and U h + b, their sum, tanh."""
    return nn.RNNCell(4, 6), (torch.randn(3, 4),)


@case(
    3 * 18 * (4 + 6),
    kinds={"multiply": 540 + 2 * 18, "add": 540 + 5 * 18 + 2 * 36, "divide": 36, "exp": 36, "tanh": 18},
)
def gru_cell() -> Program:
    """Three gates of 6; two sigmoids, r * h_n, three sums, h = n + z (h - n)."""
    return nn.GRUCell(4, 6), (torch.randn(3, 4),)


@case(
    3 * 24 * (4 + 6),
    kinds={"multiply": 720 + 3 * 18, "add": 720 + 5 * 18 + 2 * 54, "divide": 54, "exp": 54, "tanh": 36},
)
def lstm_cell() -> Program:
    """Four gates of 6; three sigmoids, two tanh, four sums, f c + i g, o tanh(c)."""
    return nn.LSTMCell(4, 6), (torch.randn(3, 4),)


@case(2 * 5 * 6 * (4 + 6))
def rnn_relu_unbatched_bidirectional() -> Program:
    """Two directions of five steps."""
    return nn.RNN(4, 6, nonlinearity="relu", bidirectional=True), (torch.randn(5, 4),)


@case(2 * 12 * 24 * (4 + 6))
def lstm_packed_in_any_order() -> Program:
    """Lengths 5, 3 and 4: twelve steps in each direction."""
    layer = nn.LSTM(4, 6, batch_first=True, bidirectional=True)

    def program(x: torch.Tensor) -> torch.Tensor:
        lengths = torch.tensor([5, 3, 4])
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)[0]

    return program, (torch.randn(3, 5, 4),)
