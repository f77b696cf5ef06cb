"""The native recurrences against loops in numpy, autograd in double precision, and themselves."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2.errors import InputError
from deepspeech2.speech import recurrence_loops, recurrence_native
from deepspeech2.speech.recurrence import gru_recurrence, simple_recurrence

LIMIT = 2.0

pytestmark = pytest.mark.skipif(recurrence_native._recurrence is None, reason="the native recurrences are not compiled")


@st.composite
def batches(draw):
    """Lengths, padded time, size (odd ones, several panels, one column), direction, seed."""
    time = draw(st.integers(1, 9))
    lengths = draw(st.lists(st.integers(0, time), min_size=1, max_size=7))
    size = draw(st.one_of(st.integers(1, 20), st.sampled_from([33, 79, 80, 81, 167])))
    return lengths, time, size, draw(st.booleans()), draw(st.integers(0, 2**31))


def tensors(batch, gates):
    lengths, time, size, _, seed = batch
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    x = normal(len(lengths), time, gates * size)
    weights = [normal(size, columns * size) / size**0.5 for columns in ((1,) if gates == 1 else (2, 1))]
    return x, *weights, 0.3 * normal(gates * size)


def numpy_simple(x, weight, bias, lengths, reverse):
    states = np.zeros_like(x)
    for row, length in enumerate(lengths):
        state = np.zeros(x.shape[2])
        for t in reversed(range(length)) if reverse else range(length):
            state = states[row, t] = np.clip(x[row, t] + bias + state @ weight, 0, LIMIT)
    return states


def numpy_gru(x, gate_weight, candidate_weight, bias, lengths, reverse):
    size = len(candidate_weight)
    states = np.zeros((*x.shape[:2], size))
    for row, length in enumerate(lengths):
        h = np.zeros(size)
        for t in reversed(range(length)) if reverse else range(length):
            total = x[row, t] + bias
            z, r = np.split(1 / (1 + np.exp(-(total[: 2 * size] + h @ gate_weight))), 2)
            c = np.maximum(0, total[2 * size :] + (r * h) @ candidate_weight)
            h = states[row, t] = (1 - z) * h + z * c
    return states


def run(batch, gates, reverse=None):
    lengths, _, _, own, _ = batch
    reverse = own if reverse is None else reverse
    inputs = tensors(batch, gates)
    if gates == 1:
        return simple_recurrence(*inputs, torch.tensor(lengths), reverse, LIMIT)
    return gru_recurrence(*inputs, torch.tensor(lengths), reverse)[0]


def assert_near(found, expected):
    expected = torch.as_tensor(expected)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@settings(deadline=None)
@given(batches())
def test_simple_states_equal_a_loop_over_scalars(batch) -> None:
    arrays = [tensor.double().numpy() for tensor in tensors(batch, 1)]
    assert_near(run(batch, 1), numpy_simple(*arrays, batch[0], batch[3]))


@settings(deadline=None)
@given(batches())
def test_gru_states_equal_a_loop_over_scalars(batch) -> None:
    arrays = [tensor.double().numpy() for tensor in tensors(batch, 3)]
    assert_near(run(batch, 3), numpy_gru(*arrays, batch[0], batch[3]))


@settings(deadline=None)
@given(batches(), st.sampled_from([1, 3]))
def test_gradients_equal_the_loops_of_torch_in_double_precision(batch, gates) -> None:
    lengths, _, _, reverse, seed = batch
    operator = simple_recurrence if gates == 1 else gru_recurrence
    rest = (torch.tensor(lengths), reverse, *([LIMIT] if gates == 1 else []))
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in tensors(batch, gates)]
        states = operator(*inputs, *rest)
        states = states if gates == 1 else states[0]
        direction = torch.randn(states.shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        results.append(torch.autograd.grad(states, inputs, direction))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(
            found.double(), expected, rtol=1e-4, atol=2e-5 * max(1.0, float(expected.abs().max()))
        )


@settings(deadline=None)
@given(batches(), st.sampled_from([1, 3]))
def test_a_state_depends_on_nothing_else_in_the_batch(batch, gates) -> None:
    together = run(batch, gates)
    inputs = tensors(batch, gates)
    for row, length in enumerate(batch[0]):
        alone = [inputs[0][row : row + 1], *inputs[1:]]
        rest = (torch.tensor([length]), batch[3], *([LIMIT] if gates == 1 else []))
        states = simple_recurrence(*alone, *rest) if gates == 1 else gru_recurrence(*alone, *rest)[0]
        assert torch.equal(states[0], together[row])


@pytest.mark.parametrize("gates", [1, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_threads_change_no_bit(gates, reverse, monkeypatch) -> None:
    monkeypatch.setattr(recurrence_native, "_WORTH_A_THREAD", 1)
    batch = ([40, 1, 33, 40, 0], 40, 170, reverse, 5)
    inputs = [tensor.requires_grad_() for tensor in tensors(batch, gates)]
    rest = (torch.tensor(batch[0]), reverse, *([LIMIT] if gates == 1 else []))
    found = []
    for threads in (1, 2, 3):
        # What the kernels are told; the matrix products of torch keep the threads they have.
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        monkeypatch.setattr(recurrence_native, "_processors", lambda threads=threads: threads)
        states = simple_recurrence(*inputs, *rest) if gates == 1 else gru_recurrence(*inputs, *rest)[0]
        found.append([states, *torch.autograd.grad(states.square().sum(), inputs)])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.mark.parametrize("size", [3, 79, 170])
@pytest.mark.parametrize("rows", range(1, 14))
def test_rows_without_zeros_are_multiplied_together(rows, size) -> None:
    """Any number of them, beside rows that are mostly zero."""
    x, weight, bias = tensors(([4] * (rows + 2), 4, size, False, rows), 1)
    x[:rows] += 1 - float(x.min())
    x[rows:] -= 1.5
    lengths = [4] * (rows + 2)
    states = simple_recurrence(x, 0.1 * weight, bias.abs(), torch.tensor(lengths), False, 100.0)
    assert (states[:rows] > 0).all()
    expected = np.zeros_like(x.double().numpy())
    for t in range(4):
        before = expected[:, t - 1] if t else np.zeros_like(expected[:, 0])
        product = before @ (0.1 * weight).double().numpy()
        expected[:, t] = np.maximum(0, (x[:, t] + bias.abs()).double().numpy() + product)
    assert_near(states, expected)


@pytest.mark.parametrize("gates", [1, 3])
def test_native_kernels_run_where_they_apply(gates, monkeypatch) -> None:
    """A batch of float32 on the CPU does not fall back without anyone noticing."""
    for name in ("simple_forward", "gru_forward"):
        monkeypatch.delattr(recurrence_loops, name)
    assert run(([3, 2], 3, 5, False, 0), gates).shape == (2, 3, 5)


@pytest.mark.parametrize("simd", ["portable", "avx2", "avx512"])
def test_every_instruction_set_gives_the_states(simd) -> None:
    program = (
        "import torch, numpy, sys\n"
        "from deepspeech2.speech import recurrence_native as native\n"
        "from deepspeech2.errors import OptionError\n"
        "try:\n    name = native.instruction_set()\n"
        "except OptionError:\n    sys.exit(7)\n"
        f"assert name == {simd!r}\n"
        "from tests.property import test_native_recurrences as cases\n"
        "for size in (1, 31, 170):\n"
        "    batch = ([5, 7, 0, 7], 7, size, True, size)\n"
        "    for gates, oracle in ((1, cases.numpy_simple), (3, cases.numpy_gru)):\n"
        "        arrays = [tensor.double().numpy() for tensor in cases.tensors(batch, gates)]\n"
        "        cases.assert_near(cases.run(batch, gates), oracle(*arrays, batch[0], batch[3]))\n"
    )
    environment = os.environ | {"DEEPSPEECH2_SIMD": simd, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode == 7:
        pytest.skip(f"this processor does not run {simd}")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("wrong", range(4))
@pytest.mark.parametrize("gates", [1, 3])
def test_shapes_that_do_not_fit_are_named(wrong, gates) -> None:
    """The kernels would read past the end."""
    inputs = [*tensors(([3, 2], 3, 5, False, 0), gates), torch.tensor([3, 2])]
    if wrong < len(inputs):
        inputs[wrong] = inputs[wrong][:-1] if wrong else inputs[wrong][..., :-1]
    rest = [False, *([LIMIT] if gates == 1 else [])]
    with pytest.raises(InputError, match=r"recurrence: expected .* of shape"):
        (simple_recurrence if gates == 1 else gru_recurrence)(*inputs, *rest)


def test_what_is_not_a_number_stays_one() -> None:
    x = torch.zeros(1, 2, 3)
    x[0, 0, 1] = torch.nan
    weight, bias = torch.eye(3), torch.zeros(3)
    states = simple_recurrence(x, weight, bias, torch.tensor([2]), False, LIMIT)
    assert states.isnan().any(dim=2).all()
    gated = gru_recurrence(x.repeat(1, 1, 3), weight.repeat(1, 2), weight, bias.repeat(3), torch.tensor([2]), False)[0]
    assert gated.isnan().any(dim=2).all()
