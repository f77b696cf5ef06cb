"""The closed formula of a DeepSpeech2 equals the integer count at sizes that were never used to derive it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2 import build_model, count
from deepspeech2.flops.expressions import dimension, evaluate
from deepspeech2.flops.formulas.convolutions import Convolution, Window, convolution, transposed_convolution
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions

FREQUENCIES = 21
FIRST = ConvolutionOptions(2, (5, 11), (2, 3))
SECOND = ConvolutionOptions(3, (3, 7), (2, 1))
TINY = {
    "shared": NetworkOptions(4, (FIRST,), 2, 3, frequencies=FREQUENCIES),
    "unshared": NetworkOptions(4, (FIRST, SECOND), 1, 3, shared=False, frequencies=FREQUENCIES),
    "gru": NetworkOptions(4, (FIRST, SECOND), 2, 3, cell="gru", frequencies=FREQUENCIES),
    "two strides over time": NetworkOptions(
        4, (FIRST, ConvolutionOptions(2, (3, 9), (2, 2))), 1, 2, frequencies=FREQUENCIES
    ),
}
DERIVED_AT = (2, 47)


def example(options, batch, time):
    return torch.empty(batch, options.frequencies, time, device="meta")


@pytest.fixture(scope="module", params=TINY)
def tiny(request):
    model = build_model(TINY[request.param], device="meta")
    return model, count(model, example(model.options, *DERIVED_AT), symbolic={"batch": ..., "time": ...}, strict=True)


def assert_equal_everywhere(model, formula, batch, time) -> None:
    expected = count(model, example(model.options, batch, time))
    found = formula.tally_at(batch=batch, time=time)
    assert found.count == expected.count  # every kind, macs, padding_macs, notebook
    assert [(row.name, row.own, row.output_shape) for row in found.rows()] == [
        (row.name, row.own, row.output_shape) for row in expected.rows()
    ]
    for convention in ("standard", "gemm", "mac", "notebook"):
        assert formula.at(convention, batch=batch, time=time) == expected.total(convention)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(batch=st.integers(1, 9), time=st.one_of(st.integers(1, 12), st.integers(13, 400_000)))
def test_tiny_networks(tiny, batch, time) -> None:
    assert_equal_everywhere(*tiny, batch, time)


@pytest.mark.parametrize("time", range(1, 13))
def test_lengths_shorter_than_the_kernels(tiny, time) -> None:
    model, formula = tiny
    expected = count(model, example(model.options, 1, time))
    assert formula.tally_at(batch=1, time=time).count == expected.count
    assert 0 <= expected.padding_macs < expected.macs


@pytest.mark.parametrize("preset", ["default", "librispeech", "aishell", "baidu-en8k"])
def test_published_models(preset) -> None:
    model = build_model(preset, device="meta")
    formula = count(model, example(model.options, 2, 200), symbolic={"batch": ..., "time": ...}, strict=True)
    for batch, time in [(1, 1), (3, 5), (1, 12), (4, 998), (1, 360_000)]:
        assert_equal_everywhere(model, formula, batch, time)
    hour = formula.at("mac", batch=1, time=360_000)
    assert hour == count(model, example(model.options, 1, 360_000)).macs
    assert formula.at("mac", batch=7, time=999) == 7 * formula.at("mac", batch=1, time=999)


@pytest.mark.parametrize(("batch", "time"), [(2, 7), (3, 7), (2, FREQUENCIES)])
def test_time_is_the_last_axis_of_the_features_whatever_the_example(batch, time) -> None:
    """Shorter than the frequencies, as many output frames as utterances, as many frames as frequencies."""
    model = build_model(TINY["shared"], device="meta")
    features, frames = example(model.options, batch, time), torch.full((batch,), time)
    expected = count(model, example(model.options, 1, 999)).macs
    for inputs in (features, {"features": features}, (features, frames), {"features": features, "frames": frames}):
        assert count(model, inputs, symbolic={"batch": ..., "time": ...}).at("mac", batch=1, time=999) == expected


def test_the_formula_printed_as_python_computes_the_same(tiny) -> None:
    _, formula = tiny
    namespace: dict = {}
    exec(formula.python("mac"), namespace)
    for batch, time in [(1, 1), (2, 11), (3, 1234), (1, 10**15)]:
        assert namespace["operations"](batch, time) == formula.at("mac", batch=batch, time=time)
    assert isinstance(namespace["operations"](1, 10**15), int)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kernel=st.integers(1, 9),
    stride=st.integers(1, 4),
    padding=st.integers(0, 9),
    dilation=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 60), min_size=3, max_size=6),
)
def test_a_convolution_of_symbolic_length_equals_integers(kernel, stride, padding, dilation, sizes) -> None:
    def counted(size):
        windows = [Window(size, kernel, stride, padding, padding, dilation)]
        sizes = Convolution(2, 3, 5, windows)
        return convolution(sizes, bias=True) + transposed_convolution(sizes, bias=False)

    formula = counted(dimension("n"))
    for size in sizes:
        if size + 2 * padding > dilation * (kernel - 1):
            assert formula.map(lambda number, n=size: evaluate(number, {"n": n})) == counted(size)
