"""What `count` must not do: leave fakes behind, mix threads, swallow inputs it cannot count, forget conditions."""

import functools
import gc
import gzip
import logging
import queue
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


class Slots:
    """An object whose attributes are in no dictionary."""

    __slots__ = ("last",)

    def __repr__(self) -> str:
        return f"Slots({getattr(self, 'last', None)})"


class Streaming(nn.Module):
    """Keeps what it computes in a cache of any kind, and gives back what is in it."""

    def __init__(self, cache: Any, keep: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.cache = cache
        self.keep = keep

    def forward(self, x: torch.Tensor) -> Any:
        self.keep(self.cache, self.linear(x))
        return self.cache


@pytest.mark.parametrize(
    ("make", "keep"),
    [
        (lambda: deque(maxlen=2), lambda cache, x: cache.append(x)),
        (OrderedDict, lambda cache, x: cache.update(last=x)),
        (lambda: defaultdict(list), lambda cache, x: cache["all"].append(x)),
        (set, lambda cache, x: cache.add(x)),
        (SimpleNamespace, lambda cache, x: setattr(cache, "last", x)),
        (lambda: SimpleNamespace(layers=[{}]), lambda cache, x: cache.layers[0].update(key=x)),
        (lambda: {"layer": {}}, lambda cache, x: cache["layer"].update(key=x)),
        (lambda: [[]], lambda cache, x: cache[0].append(x)),
        (lambda: ([], {}), lambda cache, x: cache[0].append(x)),
        (Slots, lambda cache, x: setattr(cache, "last", x)),
    ],
)
def test_caches_of_every_kind_and_depth_stay_as_they_were(
    make: Callable[[], Any], keep: Callable[[Any, torch.Tensor], Any]
) -> None:
    module = Streaming(make(), keep)
    assert count(module, torch.empty(2, 3)).macs == 18
    assert repr(module.cache) == repr(make())
    module(torch.ones(2, 3))
    assert "FakeTensor" not in repr(module.cache)


class Busy(nn.Module):
    """Refers to things that go on while it is counted."""

    def __init__(self, things: Any, use: Callable[[Any], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.things = things
        self.use = use

    def forward(self, x: torch.Tensor) -> Any:
        self.use(self.things)
        return self.linear(x)


def test_who_waits_for_a_module_is_still_woken_after_a_count() -> None:
    woken = threading.Semaphore(0)
    ready = threading.Condition()

    def wait() -> None:
        with ready:
            for _ in range(3):
                woken.release()
                ready.wait()
        woken.release()

    def wake(_: Any) -> None:
        with ready:
            ready.notify()
        assert woken.acquire(timeout=20)

    threading.Thread(target=wait, daemon=True).start()
    assert woken.acquire(timeout=20)
    module = Busy(ready, wake)
    count(module, torch.empty(2, 3))
    for _ in range(2):
        module(torch.ones(2, 3))


def test_what_a_module_shares_with_others_goes_on_while_it_is_counted(tmp_path: Path) -> None:
    def use(things: SimpleNamespace) -> None:
        things.file.write(b"line")
        things.shared.steps += 1
        things.jobs.put(things.shared.steps)
        logging.getLogger("made.while.counted").disabled = True

    things = SimpleNamespace(shared=SimpleNamespace(steps=0), jobs=queue.Queue(), log=logging.getLogger("of.a.module"))
    with gzip.open(tmp_path / "log.gz", "wb") as things.file:
        count(Busy(things, use), torch.empty(2, 3))
    with gzip.open(tmp_path / "log.gz") as file:
        assert file.read() == b"line"
    assert things.jobs.get_nowait() == things.shared.steps == 1
    assert logging.getLogger("made.while.counted").disabled


class Shut:
    """An object that shows its attributes to nobody, as one bound to a context outside of it."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        raise RuntimeError("outside of its context")


def test_objects_that_cannot_be_looked_into_are_passed_over() -> None:
    cached = functools.lru_cache(Shut)
    cached()
    table = functools.lru_cache(lambda size: torch.ones(size).cos())
    module = Busy(Shut(), lambda _: table(3))
    assert count(module, torch.empty(2, 3)).macs == 18
    assert table.cache_info().currsize == 0


def test_slots_of_a_module_stay_as_they_were() -> None:
    class Slotted(nn.Linear):
        __slots__ = ("last",)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = getattr(self, "last", 0) + super().forward(x)
            return self.last

    module = Slotted(3, 3)
    count(module, torch.empty(2, 3))
    assert not hasattr(module, "last")
    assert type(module(torch.ones(2, 3))) is torch.Tensor


@pytest.mark.parametrize("kind", [list, dict])
def test_tensors_in_a_large_container_of_a_module_stay_its_own(kind: type) -> None:
    first = torch.zeros(3)
    table = [first] * 20_000 if kind is list else dict.fromkeys(range(20_000), first)
    module = Busy(table, lambda things: things[0] + 1)
    count(module, torch.empty(2, 3))
    assert all(module.things[place] is first for place in range(20_000))


def test_what_caches_held_is_there_again_in_its_order() -> None:
    first, second = torch.zeros(2, 3), torch.ones(2, 3)

    def keep(cache: Any, x: torch.Tensor) -> None:
        cache["window"].append(x)
        cache["named"].move_to_end("first")
        cache["named"]["third"] = x
        cache["object"].last = x

    named = OrderedDict(first=first, second=second)
    cache = {"window": deque([first, second], maxlen=2), "named": named, "object": Slots()}
    cache["object"].last = first  # type: ignore[attr-defined]
    count(Streaming(cache, keep), torch.empty(2, 3))
    assert [id(one) for one in cache["window"]] == [id(first), id(second)]  # type: ignore[attr-defined]
    assert cache["named"] is named
    assert list(named) == list(reversed(list(reversed(named)))) == ["first", "second"]
    assert cache["object"].last is first  # type: ignore[attr-defined]


def test_objects_that_are_called_stay_as_they_were() -> None:
    class Decoder:
        def __init__(self) -> None:
            self.cache: list[list[torch.Tensor]] = [[]]

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            self.cache[0].append(x * 2)
            return torch.stack(self.cache[0])

    decoder = Decoder()
    for program in (decoder, decoder.__call__):
        assert count(program, torch.empty(5)).flops == 5
        assert decoder.cache == [[]]


def test_gradients_a_program_computes_are_not_left_in_its_weights() -> None:
    linear, deep = nn.Linear(3, 3), nn.Linear(3, 3)
    deep.hidden = {"layer": {"scale": nn.Parameter(torch.ones(3))}}  # type: ignore[assignment]

    def program(x: torch.Tensor) -> None:
        with torch.enable_grad():
            (deep(linear(x)) * deep.hidden["layer"]["scale"]).sum().backward()  # type: ignore[index]

    count(program, torch.empty(2, 3))
    assert [one.grad for one in (*linear.parameters(), *deep.parameters())] == [None] * 4
    assert deep.hidden["layer"]["scale"].grad is None  # type: ignore[index]


@dataclass
class Tables:
    """What a cached function may return instead of a tensor."""

    parts: dict[str, tuple[torch.Tensor, ...]]


def _as_module(table: torch.Tensor) -> nn.Module:
    module = nn.Module()
    module.register_buffer("table", table)
    return module


@pytest.mark.parametrize("cached", [functools.cache, functools.lru_cache, functools.lru_cache(maxsize=1)])
@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda table: table, lambda table: table),
        (lambda table: Tables({"cosines": (table,)}), lambda tables: tables.parts["cosines"][0]),
        (_as_module, lambda module: module.table),
    ],
)
def test_a_table_in_a_cache_of_functools_counts_every_time(
    cached: Callable[[Any], Any], wrap: Callable[[Any], Any], unwrap: Callable[[Any], Any]
) -> None:
    table = cached(lambda size: wrap(torch.ones(size).cos()))

    def program(x: torch.Tensor) -> torch.Tensor:
        x = x * unwrap(table(x.shape[-1]))
        return x + unwrap(table(x.shape[-1]))

    # 8 cosines once, 24 products, 24 sums.
    for _ in range(2):
        assert count(program, torch.empty(3, 8)).flops == 8 + 24 + 24
    assert table.cache_info().currsize == 0
    assert type(program(torch.ones(3, 8))) is torch.Tensor


def test_a_table_in_a_cache_of_functools_is_part_of_a_formula() -> None:
    @functools.lru_cache
    def table(size: int) -> torch.Tensor:
        return torch.ones(size).cos()

    formula = count(lambda x: x * table(x.shape[-1]), torch.empty(3, 8), symbolic={"time": 1})
    assert [formula.at(time=time_) for time_ in (1, 8, 1000)] == [4, 32, 4000]
    assert table.cache_info().currsize == 0


def test_a_formula_of_many_counts_seldom_searches_the_memory_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, searches = [], []
    everything = gc.get_objects
    monkeypatch.setattr(gc, "get_objects", lambda: searches.append(None) or everything())

    def folds(x: torch.Tensor) -> torch.Tensor:
        counts.append(x.shape)
        return x.reshape(x.shape[0], x.shape[1] // 16, 16 * 4) @ torch.ones(64, 3)

    # Fifteen of sixteen lengths do not fit: their errors hold fakes, which are no leftovers once they were caught.
    count(folds, torch.empty(2, 160, 4), symbolic={"batch": 0, "time": 1})
    assert len(counts) > 50
    assert len(searches) < 10


def test_caches_of_functools_without_fakes_are_left_alone() -> None:
    @functools.lru_cache
    def table(size: int) -> torch.Tensor:
        return torch.ones(size).cos()

    @functools.lru_cache
    def other(size: int) -> torch.Tensor:
        return torch.ones(size).sin()

    kept = table(8)
    # The table is there already, so that the program does not compute it.
    assert count(lambda x: x * table(8) * other(8), torch.empty(3, 8)).flops == 8 + 24 + 24
    assert table(8) is kept
    assert other.cache_info().currsize == 0


def test_a_cache_of_functools_is_emptied_where_the_count_fails() -> None:
    @functools.lru_cache
    def table(size: int) -> torch.Tensor:
        return torch.ones(size)

    with pytest.raises(InputError, match="Dimension out of range"):
        count(lambda x: (x * table(8)).sum(7), torch.empty(3, 8))
    assert type(table(8)) is torch.Tensor


def test_a_dictionary_of_the_program_itself_is_named_by_the_next_count() -> None:
    tables: dict[int, torch.Tensor] = {}

    def program(x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] not in tables:
            tables[x.shape[-1]] = torch.ones(x.shape[-1]).cos()
        return x * tables[x.shape[-1]]

    assert count(program, torch.empty(3, 8)).flops == 8 + 24
    with pytest.raises(InputError, match="kept a tensor of an earlier count"):
        count(program, torch.empty(3, 8))
    tables.clear()
    assert count(program, torch.empty(3, 8)).flops == 8 + 24


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
