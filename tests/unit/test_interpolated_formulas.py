"""Closed formulas of programs that loop over time in Python."""

import pytest
import sympy
import torch

from deepspeech2 import count
from deepspeech2.errors import ClosedFormError, InputError
from deepspeech2.flops.expressions import dimension


class Loop(torch.nn.Module):
    """A strided convolution, then a recurrence written as a Python loop."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(4, 6, 5, stride, 2, bias=False)
        self.weight = torch.nn.Parameter(torch.zeros(6, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolution(x)
        state = x.new_zeros(x.shape[0], 6)
        for step in range(x.shape[2]):
            state = torch.tanh(x[:, :, step] + state @ self.weight)
        return state


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_loop_over_time_has_an_exact_formula(stride: int) -> None:
    formula = count(Loop(stride), torch.empty(2, 4, 120), symbolic={"batch": 0, "time": 2})
    assert formula.derivation == "interpolated"
    for batch, time in [(1, 120), (7, 240), (3, 36_000_000)]:
        steps = (time - 1) // stride + 1
        macs = batch * steps * (6 * 4 * 5 + 6 * 6)
        # A dot product has one addition less than multiplications; the sum with the input and the tanh follow.
        adds = macs - 2 * batch * steps * 6 + batch * steps * 6
        assert formula.at("mac", batch=batch, time=time) == macs
        assert formula.at(batch=batch, time=time) == macs + adds + batch * steps * 6


@pytest.mark.parametrize("stride", [2, 3])
def test_one_formula_holds_for_all_residue_classes_of_a_stride(stride: int) -> None:
    """As printed, `steps` of the derivation above with floor((time - 1) / stride) + 1."""
    formula = count(Loop(stride), torch.empty(1, 4, 120), symbolic={"time": 2})
    assert not any(condition.has(sympy.Mod) for condition in formula.conditions)
    for time in (119, 120, 121, 122, 36_000_001):
        steps = (time - 1) // stride + 1
        assert formula.at("mac", time=time) == steps * (6 * 4 * 5 + 6 * 6)
        assert formula.macs.subs(dimension("time"), time) == steps * (6 * 4 * 5 + 6 * 6)


def in_chunks(size: int, left: int = 0):
    """Attention of a piece of `size` frames to itself and `left` frames before it, the last piece shorter."""

    def program(x: torch.Tensor) -> torch.Tensor:
        outputs = []
        for start in range(0, x.shape[1], size):
            query, key = x[:, start : start + size], x[:, max(0, start - left) : start + size]
            outputs.append(torch.nn.functional.scaled_dot_product_attention(query, key, key))
        return torch.cat(outputs, 1)

    return program


def pairs(size: int, left: int, time: int) -> int:
    """Pairs of query and key."""
    total = 0
    for start in range(0, time, size):
        end = min(time, start + size)
        total += (end - start) * (end - max(0, start - left))
    return total


@pytest.mark.parametrize(("size", "left", "example"), [(7, 0, 60), (64, 0, 320), (40, 80, 400)])
def test_a_stream_of_chunks_has_a_formula_and_a_last_chunk(size, left, example) -> None:
    formula = count(in_chunks(size, left), torch.empty(2, example, 4), symbolic={"batch": 0, "time": 1})
    for batch, time in [(1, example), (2, 3 * example + 1), (3, size - 1), (1, 100_000 * size + size // 2)]:
        # Scores and values, vectors of 4.
        assert formula.at("mac", batch=batch, time=time) == batch * 2 * 4 * pairs(size, left, time)


def test_split_and_hops_have_formulas() -> None:
    def split(x):
        return torch.cat([piece @ piece.mT for piece in (x.split(10, 1)[:-1])], 1)

    def hops(x):
        return torch.cat([torch.tanh(x[:, i : i + 25]) for i in range(0, x.shape[1] - 24, 10)], 1)

    formula = count(split, torch.empty(2, 80, 4), symbolic={"batch": 0, "time": 1})
    for time in (80, 87, 90, 1009):
        assert formula.at("mac", batch=2, time=time) == 2 * ((time - 1) // 10) * 10 * 10 * 4
    formula = count(hops, torch.empty(2, 105, 4), symbolic={"batch": 0, "time": 1})
    for time in (105, 106, 114, 115, 12_345_678):
        assert formula.tally_at(batch=1, time=time).kinds["tanh"] == ((time - 25) // 10 + 1) * 25 * 4


def test_lengths_the_program_does_not_take_are_no_part_of_its_formula() -> None:
    def folds(x):
        return x.reshape(x.shape[0], x.shape[1] // 16, 16 * 4) @ torch.ones(64, 3)

    formula = count(folds, torch.empty(2, 160, 4), symbolic={"batch": 0, "time": 1})
    assert formula.at("mac", batch=1, time=16_000_000) == 1_000_000 * 64 * 3
    with pytest.raises((ClosedFormError, InputError)):
        formula.at("mac", batch=1, time=16_000_001)


def test_a_chunk_longer_than_the_lengths_counted_first_is_noticed() -> None:
    """One chunk of 300 looks like a polynomial up to its end."""
    formula = count(in_chunks(300), torch.empty(1, 900, 4), symbolic={"time": 1})
    assert formula.at("mac", time=900_000) == 2 * 4 * pairs(300, 0, 900_000)


def test_a_count_that_is_no_polynomial_is_refused() -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        y = x
        for _ in range(int(x.shape[1] ** 0.5)):
            y = y + x
        return y

    with pytest.raises(ClosedFormError, match="not a quasi-polynomial in n"):
        count(program, torch.empty(2, 100), symbolic={"n": 1})


class Streaming(torch.nn.Module):
    """Attention of chunks of 4 frames to themselves and at most `left` frames before, `depth` layers on each chunk."""

    def __init__(self, left: int, depth: int) -> None:
        super().__init__()
        self.left, self.depth = left, depth
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = []
        for start in range(0, x.shape[1], 4):
            query, key = x[:, start : start + 4], x[:, max(0, start - self.left) : start + 4]
            for _ in range(self.depth):
                query = self.layer(query)
            outputs.append(torch.nn.functional.scaled_dot_product_attention(query, key, key))
        return torch.cat(outputs, 1)

    def macs(self, time: int) -> int:
        return 2 * 4 * pairs(4, self.left, time) + self.depth * 16 * time


def test_a_limited_context_has_the_formula_of_an_example_beyond_it() -> None:
    program = Streaming(96, 1)
    formula = count(program, torch.empty(1, 160, 4), symbolic={"time": 1})
    for time in (60, 96, 160, 2000, 360_000):
        assert formula.at("mac", time=time) == program.macs(time)


def test_a_limited_context_is_noticed_from_an_example_within_it() -> None:
    """The limit of 400 frames shows at no length below it; a count of few operators far away finds it."""
    with pytest.raises(ClosedFormError, match="give an example well beyond it"):
        count(Streaming(400, 1), torch.empty(1, 64, 4), symbolic={"time": 1})


def test_an_example_is_compared_however_long_it_is() -> None:
    """Chunks of 100 frames, of which attention sees the last 2,100."""

    def limited(x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([chunk * 2 for chunk in x.split(100, 1)], 1)
        last = x[:, -2100:]
        return torch.nn.functional.scaled_dot_product_attention(x, last, last)

    formula = count(limited, torch.empty(1, 3000, 4), symbolic={"time": 1})
    for time in (1000, 2000, 3000, 100_000):
        assert formula.at("mac", time=time) == 2 * 4 * time * min(time, 2100)


def test_a_formula_says_how_far_it_was_compared_with_counts() -> None:
    """Twenty operators a chunk are too many to reach a limit of 1,500 frames; a longer example is counted itself."""
    program = Streaming(1500, 20)
    formula = count(program, torch.empty(1, 64, 4), symbolic={"time": 1})
    assert 64 <= formula.longest_checked["time"] < 1500
    assert formula.at("mac", time=formula.longest_checked["time"]) == program.macs(formula.longest_checked["time"])
    assert f"compared with counts up to time = {formula.longest_checked['time']:,}" in formula.python()


def test_values_of_lengths_are_no_part_of_a_formula_and_it_says_so() -> None:
    def padded(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        mask = torch.arange(x.shape[1])[None, :] < lengths[:, None]
        return torch.nn.functional.scaled_dot_product_attention(x, x, x, mask[:, None, :].expand(-1, x.shape[1], -1))

    symbolic = {"batch": [(0, 0), (1, 0)], "time": [(0, 1)]}
    inputs = (torch.empty(2, 10, 4), torch.tensor([10, 4]))
    formula = count(padded, inputs, symbolic=symbolic)
    assert formula.at("mac", batch=2, time=10) == 2 * 2 * 4 * 100
    assert count(padded, inputs).macs == 2 * 4 * (100 + 40)
    (note,) = formula.notes
    assert f"{count(padded, inputs).flops:,}" in note
    assert f"{formula.at(batch=2, time=10):,}" in note
    assert note in formula.python()
    full = count(padded, (inputs[0], torch.tensor([10, 10])), symbolic=symbolic)
    assert full.notes == ()


def test_values_of_a_float_mask_are_no_part_of_a_formula_either() -> None:
    def masked(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(x, x, x, mask)

    mask = torch.nn.Transformer.generate_square_subsequent_mask(10)
    formula = count(masked, (torch.empty(2, 10, 4), mask), symbolic={"time": [(0, 1), (1, 0), (1, 1)]})
    assert formula.at("mac", time=10) == 2 * 2 * 4 * 100
    assert count(masked, (torch.empty(2, 10, 4), mask)).macs == 2 * 2 * 4 * 55
    assert len(formula.notes) == 1
    empty = torch.zeros(10, 10)
    assert count(masked, (torch.empty(2, 10, 4), empty), symbolic={"time": [(0, 1), (1, 0), (1, 1)]}).notes == ()
