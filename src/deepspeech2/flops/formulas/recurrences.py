"""Recurrent layers: DeepSpeech2's two recurrences, and torch's RNN, GRU and LSTM.

A recurrence sees inputs that are already projected. Of DeepSpeech2's, `utterances` is the number of those that have a
frame at all, `frames` the sum of their lengths: padding is no part of it.
"""

from __future__ import annotations

from typing import NamedTuple

from deepspeech2.flops.formulas.activations import sigmoid
from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import Number, OperationCount, at_least_zero


def clipped_recurrence(utterances: Number, frames: Number, size: Number) -> OperationCount:
    """One direction of the simple recurrence with clipped ReLU.

    Algorithm: h = clip(x + b) at an utterance's first step, which has no product; h = clip((x + b) + h_previous W)
    afterwards. A clip is two comparisons. Notebook: a fully connected layer with bias at every step, also the first.
    """
    cells = frames * size
    count = recurrent_product(frames - utterances, size, size)
    clips = OperationCount(add=cells, compare=2 * cells)
    return count + clips + OperationCount(notebook=2 * size * cells)


def gated_recurrence(utterances: Number, frames: Number, size: Number) -> OperationCount:
    """One direction of DeepSpeech2's GRU (sigmoid gates, ReLU candidate, reset before the product).

    Algorithm: z = sigmoid((x_z + b_z) + h U_z), r = sigmoid((x_r + b_r) + h U_r),
    c = relu((x_c + b_c) + (r * h) U_c), h = (1 - z) * h + z * c. At an utterance's first step h is zero: r is not
    computed, no product is, and h = z * c. Notebook: 2 * size per output element of each recurrent product.
    """
    first = utterances * size
    later = (frames - utterances) * size
    count = recurrent_product(frames - utterances, size, 3 * size)
    # First step: two biases, one gate, one ReLU, z * c.
    count = count + OperationCount(add=2 * first, multiply=first, compare=first) + sigmoid(first)
    # Later steps: three biases, two gates, r * h, a ReLU, 1 - z, two products and their sum.
    count = count + OperationCount(add=(3 + 2) * later, multiply=3 * later, compare=later) + sigmoid(2 * later)
    return count + OperationCount(notebook=2 * size * 3 * size * frames)


def recurrent_product(steps: Number, size: Number, outputs: Number) -> OperationCount:
    """H W at so many steps, each added to what the step already has."""
    count = dot_products(steps * outputs, size, bias=True)
    return OperationCount(multiply=count.multiply, add=count.add, macs=count.macs)


def clipped_recurrence_gradient(utterances: Number, frames: Number, size: Number) -> OperationCount:
    """Gradient of one direction of the simple recurrence with respect to input, weight and bias.

    Algorithm, from an utterance's last step to its first: d = (g + d_next Wt) where 0 < h < 24, two comparisons an
    element, the last step without product; then dW as one product over all pairs of steps, of which a single step has
    none, and db as one sum over all steps of all utterances.
    """
    cells = frames * size
    pairs = frames - utterances
    count = recurrent_product(pairs, size, size) + OperationCount(compare=2 * cells)
    weight = OperationCount(
        multiply=pairs * size * size, add=at_least_zero(pairs - 1) * size * size, macs=pairs * size * size
    )
    return count + weight + OperationCount(add=(frames - 1) * size)


_GATES = {"gru": 3, "lstm": 4}


def torch_cell(
    kind: str, rows: Number, inputs: Number, size: Number, *, bias: bool, projection: int = 0
) -> OperationCount:
    """`rows` applications of one torch recurrent cell: one direction of one layer, over all samples and steps.

    Algorithm, with gates = 1 (`rnn_tanh`, `rnn_relu`), 3 (`gru`) or 4 (`lstm`): per gate x W_ih + b_ih and h W_hh +
    b_hh, every step included since the initial state is an argument; then

    - rnn: tanh or relu of their sum;
    - gru: r, z = sigmoid of their sums, n = tanh(x_n + r * h_n), h = n + z * (h - n);
    - lstm: i, f, o = sigmoid, g = tanh of their sums, c = f * c + i * g, h = o * tanh(c), then h W_hr if projected.

    Args:
        kind: `rnn_tanh`, `rnn_relu`, `gru` or `lstm`.
        rows: samples times steps (the true number for packed sequences).
        inputs: size of the input vectors.
        size: hidden size.
        bias: whether the layer has biases.
        projection: size an LSTM's output is projected to; 0 without.
    """
    gates = {"gru": 3, "lstm": 4}.get(kind, 1)
    cells = rows * size
    products = dot_products(gates * cells, inputs, bias=bias) + dot_products(
        gates * cells, projection or size, bias=bias
    )
    if kind == "lstm":
        tail = sigmoid(3 * cells) + OperationCount(add=(4 + 1) * cells, tanh=2 * cells, multiply=3 * cells)
        if projection:
            tail = tail + dot_products(rows * projection, size)
    elif kind == "gru":
        tail = sigmoid(2 * cells) + OperationCount(add=(3 + 2) * cells, tanh=cells, multiply=2 * cells)
    elif kind == "rnn_relu":
        tail = OperationCount(add=cells, compare=cells)
    else:
        tail = OperationCount(add=cells, tanh=cells)
    return products + tail


def cell_input_gradient(kind: str, rows: Number, inputs: Number, size: Number) -> OperationCount:
    """The part of `torch_cell_gradient` that an input without a gradient saves: dx = d W_ih."""
    count = dot_products(rows * inputs, _GATES.get(kind, 1) * size)
    return OperationCount(multiply=count.multiply, add=count.add, macs=count.macs)


def cell_state_gradient(kind: str, rows: Number, size: Number, *, projection: int = 0) -> OperationCount:
    """The part of `torch_cell_gradient` that initial states without a gradient save, at `rows` first steps.

    These are dh += d W_hh, for a GRU the sum with what flows past the product, for an LSTM dc = f * dc.
    """
    products = rows * _GATES.get(kind, 1) * size * (projection or size)
    past = {"gru": OperationCount(add=1), "lstm": OperationCount(multiply=1)}.get(kind, OperationCount())
    return OperationCount(multiply=products, add=products, macs=products) + past * (rows * size)


def cell_weight_gradient(
    kind: str, rows: Number, inputs: Number, size: Number, *, bias: bool, projection: int = 0
) -> OperationCount:
    """The part of `torch_cell_gradient` that frozen weights and biases save: products and sums over all rows."""
    outputs = _GATES.get(kind, 1) * size
    count = dot_products(outputs * (inputs + (projection or size)), rows)
    if projection:
        count = count + dot_products(projection * size, rows)
    sums = OperationCount(add=2 * outputs * (rows - 1) if bias else 0)
    return OperationCount(multiply=count.multiply, add=count.add, macs=count.macs) + sums


def torch_cell_gradient(
    kind: str, rows: Number, inputs: Number, size: Number, *, bias: bool, projection: int = 0
) -> OperationCount:
    """Backward of `torch_cell` through time, with the forward activations kept.

    Algorithm: per step the gate derivatives (sigmoid: y * (1 - y), tanh: 1 - y * y, each times the incoming
    gradient), dh += d W_hh, dx = d W_ih, the last cells of an LSTM with a gradient of their own; then dW_ih, dW_hh as
    one product over all rows, and one sum of d per bias.
    """
    gates = {"gru": 3, "lstm": 4}.get(kind, 1)
    cells = rows * size
    state = projection or size
    gate_rows = rows * gates * size
    macs = 2 * gate_rows * inputs + 2 * gate_rows * state
    weights = gates * size * (inputs + state)
    count = OperationCount(
        multiply=macs,
        # dx: dot products over the gates; dh: the same, each added to the gradient from above; dW: over all rows.
        add=(gate_rows * inputs - rows * inputs)
        + gate_rows * state
        + (gate_rows * inputs + gate_rows * state - weights)
        + (2 * gates * size * (rows - 1) if bias else 0),
        macs=macs,
    )
    sigmoid_gradient = OperationCount(multiply=2, add=1)
    tanh_gradient = OperationCount(multiply=2, add=1)
    if kind == "lstm":
        # h = o tanh(c): do, dc; c = f c' + i g: df, dc', di, dg.
        tail = sigmoid_gradient * (3 * cells) + tanh_gradient * (2 * cells)
        tail = tail + OperationCount(multiply=6 * cells, add=cells)
        if projection:
            products = 2 * rows * projection * size
            tail = tail + OperationCount(
                multiply=products, add=products - rows * size - projection * size, macs=products
            )
    elif kind == "gru":
        # h = n + z (h' - n): dz, dn, dh'; n = tanh(x_n + r h_n): dr, dh_n.
        tail = sigmoid_gradient * (2 * cells) + tanh_gradient * cells
        tail = tail + OperationCount(multiply=4 * cells, add=3 * cells)
    elif kind == "rnn_relu":
        tail = OperationCount(compare=cells)
    else:
        tail = tanh_gradient * cells
    return count + tail


class Cell(NamedTuple):
    """The arguments of `torch_cell`, in its order."""

    kind: str
    rows: Number
    inputs: Number
    size: Number
    bias: bool
    projection: int


def needed_cell_gradient(cell: Cell, batch: Number, needed: tuple[bool, bool, bool]) -> OperationCount:
    """`torch_cell_gradient` without what is not asked for.

    Args:
        cell: one direction of one layer.
        batch: samples, each with one initial state.
        needed: whether the input, the initial states and the weights need a gradient.
    """
    kind, rows, inputs, size, bias, projection = cell
    of_input, of_states, of_weights = needed
    count = torch_cell_gradient(kind, rows, inputs, size, bias=bias, projection=projection)
    if not of_input:
        count = count + cell_input_gradient(kind, rows, inputs, size) * -1
    if not of_states:
        count = count + cell_state_gradient(kind, batch, size, projection=projection) * -1
    if not of_weights:
        count = count + cell_weight_gradient(kind, rows, inputs, size, bias=bias, projection=projection) * -1
    if kind == "gru" and not of_states and not of_weights:
        # dh_n = r * d at the first step is for the state and the weights only.
        count = count + OperationCount(multiply=batch * size) * -1
    return count


def gated_recurrence_gradient(utterances: Number, frames: Number, size: Number) -> OperationCount:
    """Gradient of one direction of DeepSpeech2's GRU with respect to input, weights and bias.

    Algorithm, once per state, h being the state before: slopes (c - h) * z * (1 - z), h * r * (1 - r) and z where
    c > 0. From an utterance's last step to its first, with e the gradient of the state: d_z = e * slope_z,
    d_c = e * slope_c; except at the first step q = d_c U_c^t, d_r = q * slope_r, and the step before receives
    e * (1 - z) + q * r + [d_z d_r] [U_z U_r]^t. Then the weights as two products over all steps but the first, with
    r * h formed for the second, and the bias as a sum over all steps.
    """
    cells = frames * size
    later = frames - utterances
    products = later * 3 * size * size
    slopes = OperationCount(add=3 * cells, multiply=4 * cells, compare=cells)
    states = OperationCount(
        multiply=2 * cells + 3 * later * size + products,
        # 1 - z and three sums into the step before; the candidate's product has one addition less per element.
        add=3 * later * size + (later * size * size - later * size) + 2 * later * size * size,
        macs=products,
    )
    additions = at_least_zero(later - 1) * 3 * size * size
    weights = OperationCount(multiply=later * size + products, add=additions, macs=products)
    return slopes + states + weights + OperationCount(add=(frames - 1) * 3 * size)
