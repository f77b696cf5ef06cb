"""Batches hold every utterance once, within their bounds, in an order that can be made again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.batching import BatchingOptions, plan_batches, share_of

durations = st.lists(st.floats(0.1, 40.0), min_size=1, max_size=60)
options = st.builds(
    BatchingOptions,
    batch_seconds=st.floats(1.0, 100.0),
    batch_utterances=st.integers(1, 10),
    sortagrad=st.booleans(),
    length_jitter=st.floats(0.0, 0.5),
    seed=st.integers(0, 5),
)


@given(durations, options, st.integers(0, 3))
def test_every_utterance_once_and_within_the_bounds(seconds: list[float], how: BatchingOptions, epoch: int) -> None:
    plan = plan_batches(seconds, how, epoch)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(seconds)))
    for batch in plan:
        assert len(batch) <= how.batch_utterances
        padded = len(batch) * max(seconds[index] for index in batch)
        assert padded <= how.batch_seconds or len(batch) == 1


@given(durations, options, st.integers(0, 3))
def test_the_plan_depends_on_its_arguments_alone(seconds: list[float], how: BatchingOptions, epoch: int) -> None:
    first = [batch.tolist() for batch in plan_batches(seconds, how, epoch)]
    assert first == [batch.tolist() for batch in plan_batches(seconds, how, epoch)]


@given(durations, options)
def test_sortagrad_runs_from_short_to_long(seconds: list[float], how: BatchingOptions) -> None:
    if how.sortagrad:
        order = [seconds[index] for batch in plan_batches(seconds, how, 0) for index in batch]
        assert order == sorted(seconds)


@given(durations, options, st.integers(1, 5))
def test_shares_are_the_batch(seconds: list[float], how: BatchingOptions, processes: int) -> None:
    for batch in plan_batches(seconds, how, 1):
        shares = [share_of(batch, rank, processes) for rank in range(processes)]
        assert sorted(np.concatenate(shares).tolist()) == sorted(batch.tolist())


@given(durations, st.floats(0.0, 0.5), st.integers(0, 3))
def test_jitter_moves_an_utterance_by_no_more_than_its_share(seconds: list[float], jitter: float, epoch: int) -> None:
    # In one batch the order is that of the durations times numbers of 1 plus or minus the jitter.
    how = BatchingOptions(1e9, len(seconds), sortagrad=False, length_jitter=jitter)
    order = [seconds[index] for index in plan_batches(seconds, how, epoch)[0]]
    for place, shorter in enumerate(order[:-1]):
        assert shorter * (1 - jitter) <= min(order[place + 1 :]) * (1 + jitter) * (1 + 1e-9)


@pytest.mark.parametrize(("jitter", "same"), [(0.0, True), (0.07, False)])
def test_jitter_makes_other_groups_not_another_order_alone(jitter: float, same: bool) -> None:
    seconds = np.linspace(1, 10, 50).tolist()
    how = BatchingOptions(batch_seconds=30, length_jitter=jitter)
    groups = [{frozenset(batch.tolist()) for batch in plan_batches(seconds, how, epoch)} for epoch in (1, 2)]
    assert (groups[0] == groups[1]) is same


def test_later_epochs_differ() -> None:
    seconds = np.linspace(1, 10, 50).tolist()
    plans = [[b.tolist() for b in plan_batches(seconds, BatchingOptions(batch_seconds=30), e)] for e in (1, 2)]
    assert plans[0] != plans[1]


@pytest.mark.parametrize("bad", [{"batch_seconds": 0}, {"batch_utterances": 0}, {"length_jitter": 1.0}])
def test_impossible_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=f"batching: expected {next(iter(bad))} as a"):
        BatchingOptions(**bad)  # type: ignore[arg-type]
