import math

import pytest

from deepspeech2.ctc.tuning import TuningOptions, TuningResult, best_of, grid, level_of, search
from deepspeech2.errors import OptionError

OPTIONS = TuningOptions(alpha=(1.0, 3.0), beta=(0.0, 1.0), alphas=3, betas=2, refinements=3)


def bowl(alpha_best: float, beta_best: float, calls: list[tuple[float, float]] | None = None):
    """A smooth error surface with one lowest point: the oracle knows it in closed form."""

    def evaluate(alpha: float, beta: float) -> TuningResult:
        if calls is not None:
            calls.append((alpha, beta))
        return TuningResult(alpha, beta, (alpha - alpha_best) ** 2 + (beta - beta_best) ** 2, 0.0)

    return evaluate


def test_grid_holds_both_ends_and_equal_steps() -> None:
    assert grid(OPTIONS) == [(1.0, 0.0), (1.0, 1.0), (2.0, 0.0), (2.0, 1.0), (3.0, 0.0), (3.0, 1.0)]
    assert OPTIONS.steps == (1.0, 1.0)


def test_defaults_span_the_published_grid() -> None:
    alphas = [alpha for alpha, _ in grid(TuningOptions())]
    betas = [beta for _, beta in grid(TuningOptions())]
    assert (min(alphas), max(alphas), min(betas), max(betas)) == (1.0, 3.2, 0.1, 0.45)


@pytest.mark.parametrize("target", [(2.0, 0.0), (1.3, 0.7), (2.9, 0.1), (4.6, 2.2), (0.2, -1.5)])
def test_refinement_ends_within_half_a_final_step_of_the_lowest_point(target: tuple[float, float]) -> None:
    best = best_of(search(bowl(*target), OPTIONS).values())
    final = 1.0 / 2**OPTIONS.refinements
    assert abs(best.alpha - target[0]) <= final / 2 + 1e-9
    assert abs(best.beta - target[1]) <= final / 2 + 1e-9


def test_the_walk_goes_on_as_long_as_a_neighbour_is_better() -> None:
    options = TuningOptions(alpha=(1.0, 3.0), beta=(0.0, 1.0), alphas=3, betas=2, refinements=1)
    best = best_of(search(bowl(9.0, -7.0), options).values())
    assert best.point == (9.0, -7.0)


def test_alpha_never_becomes_negative() -> None:
    tried = search(bowl(-3.0, 0.0), OPTIONS)
    assert min(alpha for alpha, _ in tried) == 0.0


def test_no_point_is_tried_twice() -> None:
    calls: list[tuple[float, float]] = []
    search(bowl(1.3, 0.7, calls), OPTIONS)
    assert len(calls) == len(set(calls))


@pytest.mark.parametrize("stop_after", [1, 5, 9, 20])
def test_an_interrupted_search_goes_on_to_the_same_result(stop_after: int) -> None:
    whole = search(bowl(1.3, 0.7), OPTIONS)
    saved: dict[tuple[float, float], TuningResult] = {}

    def interrupted(alpha: float, beta: float) -> TuningResult:
        if len(saved) == stop_after:
            raise KeyboardInterrupt
        result = bowl(1.3, 0.7)(alpha, beta)
        saved[result.point] = result
        return result

    with pytest.raises(KeyboardInterrupt):
        search(interrupted, OPTIONS)
    calls: list[tuple[float, float]] = []
    assert search(bowl(1.3, 0.7, calls), OPTIONS, saved) == whole
    assert len(calls) == len(whole) - stop_after


def test_most_points_is_a_hard_limit() -> None:
    calls: list[tuple[float, float]] = []
    options = TuningOptions(alpha=(1.0, 3.0), beta=(0.0, 1.0), alphas=3, betas=2, refinements=9, most_points=8)
    search(bowl(1.3, 0.7, calls), options)
    assert len(calls) == 8


def test_character_errors_decide_between_equal_word_errors() -> None:
    results = [TuningResult(1.0, 0.0, 0.1, 0.05), TuningResult(2.0, 0.0, 0.1, 0.04), TuningResult(3.0, 0.0, 0.2, 0.0)]
    assert best_of(results).alpha == 2.0


@pytest.mark.parametrize(
    ("point", "level"), [((1.0, 0.0), 0), ((1.5, 0.0), 1), ((2.25, 0.5), 2), ((4.0, 2.0), 0), ((1.125, 0.0), 3)]
)
def test_level_counts_the_halvings(point: tuple[float, float], level: int) -> None:
    assert level_of(point, OPTIONS) == level


def test_a_grid_of_one_point_still_refines() -> None:
    options = TuningOptions(alpha=(2.0, 2.0), beta=(1.0, 1.0), alphas=4, betas=4, refinements=4)
    assert grid(options) == [(2.0, 1.0)]
    best = best_of(search(bowl(2.3, 1.2), options).values())
    assert math.dist((best.alpha, best.beta), (2.3, 1.2)) < 0.05


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"alpha": (3.0, 1.0)}, "3.0 1.0"),
        ({"alpha": (-1.0, 1.0)}, "-1.0"),
        ({"beta": (0.0, math.nan)}, "nan"),
        ({"alphas": 0}, "alphas"),
        ({"most_points": 0}, "most_points"),
        ({"refinements": -1}, "-1"),
    ],
)
def test_a_wrong_grid_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        TuningOptions(**wrong)  # type: ignore[arg-type]
