"""Work a program hands to other threads: followed where the interception goes with it, refused where it does not."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from deepspeech2 import count
from deepspeech2.errors import CountingError


class Ensemble(nn.Module):
    def __init__(self, workers: int) -> None:
        super().__init__()
        self.members = nn.ModuleList([nn.Linear(64, 64) for _ in range(4)])
        self.workers = workers

    def forward(self, x):
        if not self.workers:
            return sum(member(x) for member in self.members)
        with ThreadPoolExecutor(self.workers) as pool:
            return sum(pool.map(lambda member: member(x), self.members))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_ensemble_in_a_pool_is_never_counted_as_nothing(workers) -> None:
    module, x = Ensemble(workers), torch.zeros(2, 64)
    if not workers:
        assert count(module, x).macs == 2 * 4 * 64 * 64 == 32_768
        return
    with pytest.raises(CountingError, match=r"another thread \(ThreadPoolExecutor.*call it without the pool"):
        count(module, x)
    with pytest.raises(CountingError, match="another thread"):
        count(module, x, symbolic={"batch": ...})
    assert module(torch.ones(2, 64)).isfinite().all()


def test_a_refusal_the_program_never_looks_at_is_raised_all_the_same() -> None:
    def forgets(x):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: x @ x.T)
        return x + 1

    def stumbles(x):
        found: list[torch.Tensor] = []
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: found.append(x @ x.T))
        return found[0]

    for program in (forgets, stumbles):
        with pytest.raises(CountingError, match="another thread"):
            count(program, torch.zeros(2, 8))


def test_a_thread_that_only_reads_shapes_loses_nothing() -> None:
    def program(x):
        with ThreadPoolExecutor(1) as pool:
            rows = pool.submit(lambda: x.shape[0]).result()
        return x @ x.T * rows

    assert count(program, torch.zeros(3, 8)).macs == 3 * 8 * 3


def test_a_task_a_script_forks_is_counted() -> None:
    """Two products of 8 x 8 matrices, one of them in a task."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)

        @torch.jit.script
        def forked(x: torch.Tensor):
            task = torch.jit.fork(torch.matmul, x, x)
            return torch.jit.wait(task) + torch.matmul(x, x)

    assert count(forked, torch.zeros(8, 8), strict=True).macs == 2 * 8**3


def test_what_other_threads_compute_for_themselves_is_left_alone() -> None:
    """A thread serves another model while one is counted: its results are numbers, and not in the count."""
    served, stop, results = nn.Linear(4, 4), threading.Event(), []

    def serve() -> None:
        while not stop.is_set():
            results.append(served(torch.ones(1, 4)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert [count(nn.Linear(8, 3), torch.zeros(2, 8)).macs for _ in range(3)] == [48] * 3
    finally:
        stop.set()
        thread.join()
    assert all(type(result) is torch.Tensor and torch.equal(result, results[0]) for result in results)
