"""What `count` must not do: leave fakes behind, mix threads, swallow inputs it cannot count, forget conditions."""

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from deepspeech2 import count, count_training
from deepspeech2.errors import InputError
from deepspeech2.flops.tally import Tally


class Keeper(nn.Module):
    """Stores what it sees in every way a module can."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.state: torch.Tensor | None = None
        self.cache: dict[str, torch.Tensor] = {}
        self.history = [torch.zeros(1)]
        self.pause = pause

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x)
        time.sleep(self.pause)
        self.state = x if self.state is None else self.state + x
        self.cache["last"] = x
        self.history.append(x)
        self.register_buffer("late", x)
        return x


def test_what_a_forward_stores_goes_with_the_fakes() -> None:
    module = Keeper()
    before = dict(module.state_dict())
    count(module, torch.empty(2, 3))
    assert module.state is None
    assert module.cache == {}
    assert len(module.history) == 1
    assert list(module.state_dict()) == list(before)
    assert all(type(value) is torch.Tensor for value in module.state_dict().values())
    assert type(module(torch.ones(2, 3))) is torch.Tensor


def test_threads_count_one_after_the_other() -> None:
    module = Keeper(pause=0.05)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(count(module, torch.empty(2, 3)).macs)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [18, 18, 18]
    assert type(module.linear.weight) is nn.Parameter


@pytest.mark.parametrize(
    ("program", "inputs", "words"),
    [
        (nn.LazyLinear(4), torch.empty(2, 3), "LazyLinear has no sizes"),
        (lambda x: x + 1, np.zeros(3), "numpy ndarray"),
        (lambda x: x @ x, torch.eye(3).to_sparse(), "layout torch.sparse_coo"),
        (lambda x: {}[x.shape[0]], torch.empty(2), "KeyError"),
        (3, torch.empty(2), "found int"),
    ],
)
def test_what_cannot_be_counted_is_named(program: object, inputs: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        count(program, inputs)  # type: ignore[call-overload]


def test_only_modules_are_trained() -> None:
    with pytest.raises(InputError, match="expected a torch module to train, found function"):
        count_training(lambda x: x, torch.empty(2))  # type: ignore[arg-type]


def test_a_generator_is_run_to_its_end() -> None:
    def program(x: torch.Tensor):  # type: ignore[no-untyped-def]
        yield x * 2
        yield x * 3

    assert count(program, torch.empty(5)).flops == 10


@pytest.mark.parametrize(("time_", "expected"), [(100, 100), (51, 51), (50, 100), (20, 40), (1, 2)])
def test_a_decision_about_sizes_holds_at_every_size(time_: int, expected: int) -> None:
    formula = count(lambda x: x + 1 if x.shape[0] - 50 > 0 else x * x * x, torch.empty(100), symbolic={"time": 0})
    assert formula.at(time=time_) == expected


def test_numpy_integers_are_sizes() -> None:
    formula = count(nn.Linear(4, 2), torch.empty(3, 4), symbolic={"batch": 0})
    assert formula.at("mac", batch=np.int64(7)) == 56


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"multiply"', '"multipl"'),
        lambda text: text.replace('"parameters": 15', '"parameters": 1.5'),
        lambda text: text.replace('"macs": 24', '"macs": "1/0"'),
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_tally_is_refused(damage) -> None:  # type: ignore[no-untyped-def]
    text = count(nn.Linear(4, 3), torch.empty(2, 4)).to_json()
    assert damage(text) != text
    with pytest.raises(InputError):
        Tally.from_json(damage(text))
