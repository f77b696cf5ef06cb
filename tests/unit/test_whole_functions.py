"""Functions counted whole: sizes are checked and broadcast as torch does, gradients reach masks, dropout counts."""

import threading

import pytest
import sympy
import torch
from torch import nn
from torch.nn import functional

from deepspeech2 import count, count_training
from deepspeech2.errors import InputError
from deepspeech2.flops.formulas.attention import Attention, attention, attention_gradient

attend = functional.scaled_dot_product_attention


class Attend(nn.Module):
    """Attention with a learned mask and options."""

    def __init__(self, mask=None, **options):
        super().__init__()
        self.mask = None if mask is None else nn.Parameter(torch.zeros(mask))
        self.options = options

    def forward(self, q, k, v):
        return attend(q, k, v, attn_mask=self.mask, **self.options)


def tensors(*shapes):
    return tuple(torch.empty(shape).requires_grad_() for shape in shapes)


@pytest.mark.parametrize(
    "shapes",
    [
        [(2, 3, 4), (2, 3, 5), (2, 3, 4)],
        [(2, 3, 4), (2, 5, 4), (2, 6, 4)],
        [(2, 3, 4), (3, 5, 4), (3, 5, 4)],
        [(4,), (4,), (4,)],
    ],
)
def test_attention_that_torch_refuses_is_refused(shapes) -> None:
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        attend(*map(torch.zeros, shapes))
    with pytest.raises(InputError, match="does not run on inputs"):
        count(attend, tensors(*shapes))


def test_attention_refuses_masks_that_torch_refuses() -> None:
    with pytest.raises(InputError):
        count(Attend((7, 7)), tensors(*[(2, 3, 4)] * 3))
    with pytest.raises(InputError, match="not both"):
        count(Attend((3, 3), is_causal=True), tensors(*[(2, 3, 4)] * 3))


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 8, 3, 4), (5, 8, 3, 4), (5, 8, 3, 4)],
        [(5, 8, 3, 4), (1, 8, 3, 4), (5, 1, 3, 4)],
        [(3, 4), (5, 8, 3, 4), (5, 8, 3, 4)],
    ],
)
def test_leading_axes_of_attention_broadcast(shapes) -> None:
    found = []

    def program(q, k, v):
        found.append(tuple(attend(q, k, v).shape))
        return attend(q, k, v)

    tally = count(program, tensors(*shapes))
    assert found == [tuple(attend(*map(torch.zeros, shapes)).shape)] == [(5, 8, 3, 4)]
    # Twice 40 heads of 9 pairs, 4 products for the score and 4 for the mixing.
    assert tally.macs == 2 * 2880


def test_grouped_heads_count_as_query_heads() -> None:
    shapes = [(2, 8, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4)]
    assert count(Attend(enable_gqa=True), tensors(*shapes)).macs == 2 * 8 * 9 * 8
    with pytest.raises(InputError):
        count(Attend(enable_gqa=True), tensors((2, 8, 3, 4), (2, 3, 3, 4), (2, 3, 3, 4)))


def test_a_learned_mask_has_a_gradient_and_its_sum_counts() -> None:
    shapes = [(2, 5, 3, 4)] * 3
    plain = count_training(Attend(), tensors(*shapes), optimiser=None).phase("backward")
    masked = Attend((5, 3, 3))
    learned = count_training(masked, tensors(*shapes), optimiser=None).phase("backward")
    # The bias is added again in the recomputation, and 90 gradients are summed into 45.
    assert learned.kinds["add"] - plain.kinds["add"] == 90 + 45


def test_a_mask_alone_can_be_trained() -> None:
    inputs = tuple(torch.empty(2, 3, 4) for _ in range(3))
    step = count_training(Attend((3, 3)), inputs, optimiser="sgd")
    assert step.phase("optimiser").total == 2 * 9


def test_a_causal_formula_of_unequal_symbolic_lengths_agrees_with_integers() -> None:
    queries, keys = sympy.symbols("q k", integer=True, positive=True)
    symbolic = Attention(2, queries, keys, 4, 6, causal=True)
    for values in [(3, 5), (5, 3), (4, 4), (1, 7)]:
        exact = Attention(2, *values, 4, 6, causal=True)
        for formula in (attention, attention_gradient):
            expected = formula(exact).to_dict()
            found = formula(symbolic).map(lambda n, v=values: sympy.sympify(n).subs({queries: v[0], keys: v[1]}))
            assert found.to_dict() == expected


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
@pytest.mark.parametrize("causal", [False, True])
def test_empty_attention_never_counts_negative(shape, causal) -> None:
    step = count_training(
        Attend(is_causal=causal),
        tensors((2, 3, shape[2])[:3], shape, shape) if shape[0] else tensors(*[shape] * 3),
        optimiser=None,
    )
    assert all(
        amount >= 0 for layer in (step.phase("forward"), step.phase("backward")) for amount in layer.kinds.values()
    )
    if shape[1] == 0:
        assert step.phase("forward").total == step.phase("backward").total == 0


def test_attention_dropout_counts_in_both_directions() -> None:
    shapes = [(2, 5, 3, 4)] * 3
    plain = count_training(Attend(), tensors(*shapes), optimiser=None)
    dropped = count_training(Attend(dropout_p=0.5), tensors(*shapes), optimiser=None)
    pairs = 90
    assert dropped.phase("forward").total - plain.phase("forward").total == 3 * pairs
    assert dropped.phase("backward").kinds["multiply"] - plain.phase("backward").kinds["multiply"] == 2 * pairs


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_between_recurrent_layers_counts(kind, bidirectional) -> None:
    data = torch.empty(7, 2, 4)
    plain, dropped = (
        count_training(kind(4, 5, num_layers=3, dropout=p, bidirectional=bidirectional), data, optimiser=None)
        for p in (0.0, 0.5)
    )
    elements = 2 * 7 * 2 * 5 * (2 if bidirectional else 1)
    for name in ("other", "divide", "multiply"):
        assert dropped.phase("forward").kinds[name] - plain.phase("forward").kinds[name] == elements
    assert dropped.phase("backward").total - plain.phase("backward").total == 2 * elements
    evaluated = kind(4, 5, num_layers=3, dropout=0.5, bidirectional=bidirectional).eval()
    assert count(evaluated, data).flops == plain.phase("forward").total


def test_other_threads_do_not_enter_the_count_of_multi_head_attention() -> None:
    layer = nn.MultiheadAttention(8, 2)
    data = torch.empty(5, 3, 8)
    alone = count(layer, (data, data, data)).flops
    original = functional.linear
    done = threading.Event()

    def work() -> None:
        weight, rows = torch.zeros(64, 64), torch.zeros(4, 64)
        while not done.is_set():
            functional.linear(rows, weight)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        counts = {count(layer, (data, data, data)).flops for _ in range(20)}
    finally:
        done.set()
        worker.join()
    assert counts == {alone}
    assert functional.linear is original


def test_vector_products_take_their_arguments_by_name() -> None:
    """Five dot products of three."""
    tally = count(lambda a, b: torch.linalg.vecdot(y=b, x=a), tensors((5, 3), (5, 3)))
    assert (tally.macs, tally.flops) == (15, 25)


@pytest.mark.parametrize(
    ("frames", "labels", "message"),
    [
        ([20, 21], [5, 4], "input_lengths from 0 to 20"),
        ([20, 18], [5, 6], "target_lengths from 0 to 5"),
        ([20, -3], [5, 4], "input_lengths from 0 to 20"),
        ([20], [5, 4], "input_lengths for 2 sequences"),
    ],
)
def test_ctc_lengths_that_torch_refuses_are_refused(frames, labels, message) -> None:
    targets = torch.ones(2, 5, dtype=torch.int64)

    def loss(log_probs):
        return functional.ctc_loss(log_probs, targets, torch.tensor(frames), torch.tensor(labels))

    with pytest.raises(RuntimeError):
        loss(torch.zeros(20, 2, 7))
    with pytest.raises(InputError, match=message):
        count(loss, torch.empty(20, 2, 7))


def test_packing_beyond_the_sequence_is_refused_where_torch_goes_on_and_its_layers_fail() -> None:
    def program(x):
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([9, 4]), batch_first=True)
        return nn.LSTM(3, 5)(packed)[0].data

    with pytest.raises(RuntimeError):
        program(torch.zeros(2, 7, 3))
    with pytest.raises(InputError, match=r"at most the 7 steps there are, found \[9, 4\]"):
        count(program, torch.empty(2, 7, 3))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 0], "lengths of at least 1"),
        ([3, 4], "longest sequence first"),
        ([7], "each of 2 sequences"),
    ],
)
def test_packing_that_torch_refuses_is_refused(lengths, message) -> None:
    def packed(x):
        return nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True).data.relu()

    with pytest.raises(RuntimeError):
        packed(torch.zeros(2, 7, 3))
    with pytest.raises(InputError, match=message):
        count(packed, torch.empty(2, 7, 3))


class Quantisable(nn.Module):
    """A recurrent layer, over a packed sequence where lengths are given."""

    def __init__(self, kind):
        super().__init__()
        self.layer = kind(8, 16, 2, bidirectional=True, batch_first=True)

    def forward(self, x, lengths=None):
        x = x if lengths is None else nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.layer(x)[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_quantised_layer_counts_a_packed_sequence_at_its_true_lengths(kind) -> None:
    """Of 2 x 7 steps 11 are there; two whole sequences cost what the tensor that holds them does."""
    model = torch.ao.quantization.quantize_dynamic(Quantisable(kind), {kind})
    x = torch.empty(2, 7, 8)
    padded, whole = count(model, x, strict=True), count(model, (x, torch.tensor([7, 7])), strict=True)
    assert whole.count == padded.count
    assert count(model, (x, torch.tensor([7, 4])), strict=True).macs * 14 == padded.macs * 11


class Buffered(nn.Module):
    """Attention behind a mask the module keeps for longer inputs."""

    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x):
        steps = x.shape[1]
        return attend(x, x, x, attn_mask=self.mask[:steps, :steps])


def test_a_mask_of_numbers_is_read_as_one_of_truth_values() -> None:
    """Of T x T pairs a causal mask allows T (T + 1) / 2, each of two products of 8."""
    steps = 32
    x, pairs = torch.zeros(1, steps, 8), steps * (steps + 1) // 2
    mask = nn.Transformer.generate_square_subsequent_mask(steps)
    assert count(lambda x, m: attend(x, x, x, attn_mask=m), (x, mask)).macs == 2 * 8 * pairs
    assert count(Buffered(nn.Transformer.generate_square_subsequent_mask(64)), x).macs == 2 * 8 * pairs
    # Any other number says nothing of what is allowed, and a weight is not read.
    biased = mask.masked_fill(mask == 0, 0.5)
    assert count(lambda x, m: attend(x, x, x, attn_mask=m), (x, biased)).macs == 2 * 8 * steps**2
    learned = Buffered(mask)
    del learned.mask
    learned.mask = nn.Parameter(mask)
    assert count(learned, x).macs == 2 * 8 * steps**2


def test_a_mask_that_is_written_is_known_no_longer() -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(8)
    before = mask.clone()

    def program(x, m):
        m.add_(x[0] @ x[0].T)
        return attend(x, x, x, attn_mask=m)

    assert count(program, (torch.zeros(1, 8, 4), mask)).macs == 8 * 8 * 4 + 2 * 4 * 64
    assert torch.equal(mask, before)


def _queries(layout: str, size: int = 4) -> torch.Tensor:
    if layout == "heads inside":
        return torch.randn(2, 5, 3, size).transpose(1, 2)
    if layout == "batch inside":
        return torch.randn(3, 2, 5, size).transpose(0, 1)
    return torch.randn(2, 3, 5, size)


@pytest.mark.parametrize("value_size", [4, 6])
@pytest.mark.parametrize("mask", [None, torch.ones(5, 5, dtype=torch.bool).tril(), torch.zeros(5, 5)])
@pytest.mark.parametrize("layout", ["contiguous", "heads inside", "batch inside"])
def test_results_of_attention_lie_in_memory_as_those_of_torch(layout, mask, value_size) -> None:
    query, key, value = _queries(layout), _queries("contiguous"), _queries("heads inside", value_size)
    found = []

    def program(query, key, value):
        result = attend(query, key, value, attn_mask=mask)
        found.append(result.stride())
        return result

    program(query, key, value)
    count(program, (query, key, value))
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")  # torch's, of its own
def test_what_views_a_result_of_attention_is_counted() -> None:
    x = torch.randn(3, 5, 8)

    def heads(x):
        q = x.view(3, 5, 2, 4).transpose(1, 2)
        return attend(q, q, q).transpose(1, 2).view(3, 5, 8)

    assert count(heads, x).macs == 2 * 3 * 2 * 5 * 5 * 4
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    spelled = torch.export.export(layer, (x,)).run_decompositions({}).module()
    assert count(spelled, x).macs == count(layer, x).macs == 3 * (5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 2 * 5 * 5 * 4)
