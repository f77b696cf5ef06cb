"""Gradients through packed sequences and through scan, map and while_loop: those of the same program written out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.map import map as mapped
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deepspeech2 import count, count_training
from deepspeech2.errors import ClosedFormError, InputError, OptionError

PHASES = ("forward", "backward", "optimiser")


class Packed(nn.Module):
    """A projection, a recurrent layer, an output; packed in between or not."""

    def __init__(self, kind: type[nn.RNNBase], packs: bool) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(5, 5, bias=False), nn.Linear(7, 2, bias=False)
        self.recurrent, self.packs = kind(5, 7, batch_first=True), packs

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x = self.before(x)
        if not self.packs:
            return self.after(self.recurrent(x)[0])
        packed = self.recurrent(pack_padded_sequence(x, lengths, batch_first=True))[0]
        return self.after(pad_packed_sequence(packed, batch_first=True)[0])


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_packing_equal_lengths_changes_no_gradient(kind: type[nn.RNNBase]) -> None:
    inputs = torch.randn(2, 6, 5), torch.tensor([6, 6])
    packed, padded = (count_training(Packed(kind, packs), inputs) for packs in (True, False))
    for phase in PHASES:
        assert packed.phase(phase) == padded.phase(phase), phase
    assert packed.complete


def test_the_gradient_of_packing_before_a_recurrence() -> None:
    """Lengths 9, 6 and 2: 17 steps of 147 MACs for each of weights of inputs, of states (14 of them), and inputs.

    The last 17 * 147 reach the projection's output; its weight's gradient is 27 frames of 5 * 7.
    """

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.recurrent = nn.Linear(5, 7, bias=False), nn.GRU(7, 7, batch_first=True, bias=False)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            return self.recurrent(pack_padded_sequence(self.before(x), lengths, batch_first=True))[1]

    found = count_training(Encoder(), (torch.randn(3, 9, 5), torch.tensor([9, 6, 2]))).phase("backward").macs
    assert found == 147 * (17 + 17 + 14) + 147 * 17 + 27 * 35


class Looped(nn.Module):
    """h = tanh(W h + x) over six steps, then an output, written as a scan or as a loop."""

    def __init__(self, scans: bool) -> None:
        super().__init__()
        self.inner, self.outer, self.scans = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False), scans

    def step(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.tanh(self.inner(state) + x)
        return state, state.clone()

    def forward(self, xs: Tensor) -> Tensor:
        state = torch.zeros(2, 4)
        if self.scans:
            return self.outer(scan(self.step, state, xs)[1])
        states = []
        for x in xs.unbind(0):
            state, _ = self.step(state, x)
            states.append(state)
        return self.outer(torch.stack(states))


def test_a_scan_is_trained_as_a_loop_is() -> None:
    scanned, looped = (count_training(Looped(scans), (torch.randn(6, 2, 4),)) for scans in (True, False))
    for phase in PHASES:
        assert scanned.phase(phase) == looped.phase(phase), phase
    # The output 2 * 12 * 12; of the inner weight six steps, of the state five.
    assert scanned.phase("backward").macs == 288 + 6 * 32 + 5 * 32
    assert scanned.complete


def test_map_and_while_loop_are_trained() -> None:
    inner, outer = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)

    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = inner, outer

        def forward(self, xs: Tensor) -> Tensor:
            return self.outer(mapped(self.inner, xs))

    class While(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            turn = lambda i, h: (i + 1, self.inner(h))  # noqa: E731
            return self.inner(while_loop(lambda i, _: i < 5, turn, (torch.tensor(0), x))[1])

    found = count_training(Mapped(), (torch.randn(6, 2, 4),))
    assert [found.phase(phase).macs for phase in PHASES[:2]] == [6 * 32 + 144, 288 + 6 * 32]
    # Six products; their weight's gradients, and the states' but the first.
    assert count_training(While(), (torch.randn(2, 4),)).phase("backward").macs == 6 * 32 + 5 * 32


WEIGHT = torch.randn(8, 8)


def twice_after_the_fourth(state: Tensor, step: Tensor) -> Tensor:
    return torch.cond(step > 3, lambda h: (h @ WEIGHT) @ WEIGHT, lambda h: h @ WEIGHT, (state,))


def by_index(x: Tensor) -> Tensor:
    def body(state: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        state = twice_after_the_fourth(state, step)
        return state, state.clone()

    return scan(body, x, torch.arange(10))[1]


def by_counter(x: Tensor) -> Tensor:
    def body(carried: tuple[Tensor, Tensor], _: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        state = twice_after_the_fourth(*carried)
        return (state, carried[1] + 1), state.clone()

    return scan(body, (x, torch.tensor(0)), torch.zeros(10, 1))[1]


@pytest.mark.parametrize("program", [by_index, by_counter])
def test_steps_of_a_scan_cost_what_their_values_say(program: Callable[[Tensor], Tensor]) -> None:
    found = count(program, torch.randn(2, 8))
    assert (found.macs, found.complete) == ((4 * 1 + 6 * 2) * 2 * 64, True)


def test_many_steps_without_values_are_counted_once() -> None:
    found = count(Looped(scans=True), torch.randn(50_000, 2, 4))
    assert (found.macs, found.complete) == (50_000 * (32 + 24), True)


def test_a_length_the_program_compares_with_its_own_number_has_no_formula() -> None:
    def clipped(x: Tensor) -> Tensor:
        for _ in range(min(x.size(0), 300)):
            x = x * 2
        return x

    with pytest.raises(ClosedFormError, match="not a quasi-polynomial in time"):
        count(clipped, torch.randn(50, 8), symbolic={"time": 0})


def test_phases_and_axes_that_do_not_exist_are_refused() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(OptionError, match="forward, backward or optimiser, found 'optimizer'"):
        count_training(layer, (torch.randn(1, 2),)).phase("optimizer")
    with pytest.raises(OptionError, match="symbolic: expected names with their axes"):
        count(layer, torch.randn(1, 2), symbolic=["time"])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [torch.int64, torch.float16])
def test_products_of_two_types_are_refused_as_torch_does(kind: torch.dtype) -> None:
    with pytest.raises(RuntimeError, match="same dtype"):
        nn.Linear(4, 5)(torch.ones(2, 4, dtype=kind))
    with pytest.raises(InputError, match="same dtype"):
        count(nn.Linear(4, 5), torch.ones(2, 4, dtype=kind))


def test_a_body_whose_steps_are_alike_runs_once() -> None:
    calls = []

    def program(xs: Tensor) -> Tensor:
        def body(state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            calls.append(1)
            return state @ WEIGHT + x, state.clone()

        return scan(body, torch.zeros(2, 8), xs)[1]

    assert count(program, torch.randn(1000, 2, 8)).macs == 1000 * 2 * 64
    before = len(calls)
    assert count(program, torch.randn(10, 2, 8)).macs == 10 * 2 * 64
    assert len(calls) - before == before  # as often for ten steps as for a thousand


def test_a_gradient_through_too_many_steps_is_named() -> None:
    found = count_training(Looped(scans=True), (torch.randn(2049, 2, 4),))
    assert not found.complete
    assert "2048 steps, whose gradient is not counted" in found.unknown[0].reason
