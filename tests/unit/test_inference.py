"""Networks made ready for inference: the same function, and weights stored in fewer bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepspeech2 import Recognizer, build_model, count, optimize_for_inference
from deepspeech2.cli.main import main
from deepspeech2.errors import InputError, OptionError
from deepspeech2.speech import recurrence_native
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recurrence_inference import gru_states, gru_states_of_both, simple_states
from deepspeech2.speech.stored_weights import StoredWeight, store_weight

CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"
ARCHITECTURES = {
    "shared": {"cell": "simple", "shared": True},
    "separate": {"cell": "simple", "shared": False},
    "gru": {"cell": "gru"},
}
FRAMES = torch.tensor([61, 13, 40])


def network(kind: str) -> DeepSpeech2:
    """A small network whose running statistics are not those it starts with."""
    convolutions = (ConvolutionOptions(4, (41, 11), (2, 3)), ConvolutionOptions(3, (21, 11), (2, 1)))
    options = NetworkOptions(convolutions=convolutions, recurrent_layers=2, recurrent_size=37, **ARCHITECTURES[kind])
    model = build_model(options, seed=3)
    generator = torch.Generator().manual_seed(4)
    for name, buffer in model.named_buffers():
        noise = torch.rand(buffer.shape, generator=generator)
        buffer.copy_(0.5 + noise if name.endswith("var") else noise - 0.5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def features() -> torch.Tensor:
    return torch.randn(3, 161, 61, generator=torch.Generator().manual_seed(5))


def valid(outputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    log_probs, frames = outputs
    return log_probs[torch.arange(log_probs.shape[1]) < frames[:, None]]


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("frames", [FRAMES, None], ids=["lengths", "whole"])
def test_folding_keeps_the_function(kind, frames) -> None:
    model = network(kind)
    with torch.inference_mode():
        expected, found = model(features(), frames), optimize_for_inference(model)(features(), frames)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(valid(found), valid(expected), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_stored_weights_are_the_only_thing_rounded(kind, weights) -> None:
    """The same network with its recurrent weights rounded beforehand."""
    model, rounded = network(kind), network(kind)
    with torch.no_grad():
        for name, parameter in rounded.named_parameters():
            if "recurrence" in name and name.endswith("weight"):
                parameter.copy_(store_weight(parameter, weights).restore())
    with torch.inference_mode():
        expected, found = rounded(features(), FRAMES), optimize_for_inference(model, weights)(features(), FRAMES)
        exact = model(features(), FRAMES)
    torch.testing.assert_close(valid(found), valid(expected), rtol=1e-5, atol=2e-5)
    assert 1e-4 < float((valid(found).exp() - valid(exact).exp()).abs().max()) < 0.05


def test_stored_weights_are_as_near_as_their_format_says() -> None:
    weight = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    weight[:, 7] = 0
    assert torch.equal(store_weight(weight, "float32").restore(), weight)
    assert ((store_weight(weight, "bfloat16").restore() - weight).abs() <= weight.abs() * 2**-8).all()
    stored = store_weight(weight, "int8")
    assert stored.values.dtype == torch.int8
    assert ((stored.restore() - weight).abs() <= 0.5001 * weight.abs().amax(0) / 127).all()


@pytest.mark.skipif(recurrence_native._recurrence is None, reason="the native recurrences are not compiled")
@pytest.mark.parametrize("batch", [1, 2, 3, 9])
@pytest.mark.parametrize("size", [5, 96, 530])
@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_native_kernels_multiply_by_what_is_stored(batch, size, form) -> None:
    generator = torch.Generator().manual_seed(size)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    lengths = torch.tensor([7, 3, 0, 7, 5, 1, 7, 6, 2][:batch])
    single = store_weight(normal(size, size) / size**0.5, form)
    gate = store_weight(normal(size, 2 * size) / size**0.5, form)

    def both(dtype):
        # In double precision the loops of torch do it, with the restored weights.
        x, bias = normal(batch, 7, 3 * size).to(dtype), normal(3 * size).to(dtype)
        part = x[..., :size], single.values, single.scales, bias[:size], lengths, True, 2.0
        return simple_states(*part), gru_states(
            x, gate.values, gate.scales, single.values, single.scales, bias, lengths, False
        )

    state = generator.get_state()
    found = both(torch.float32)
    generator.set_state(state)
    for ours, expected in zip(found, both(torch.float64), strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=2e-5)


def directions(size: int, form: str, dtype: torch.dtype = torch.float32) -> list[list[torch.Tensor | None]]:
    """Inputs and weights of a forward and a backward GRU of three utterances, in the order of the operators."""
    generator = torch.Generator().manual_seed(size)

    def one():
        x = torch.randn(3, 6, 3 * size, generator=generator).to(dtype)
        gate = store_weight(torch.randn(size, 2 * size, generator=generator) / size**0.5, form)
        candidate = store_weight(torch.randn(size, size, generator=generator) / size**0.5, form)
        bias = torch.randn(3 * size, generator=generator).to(dtype)
        return [x, gate.values, gate.scales, candidate.values, candidate.scales, bias]

    return [one(), one()]


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [5, 170, 730])
@pytest.mark.parametrize("form", ["float32", "int8"])
def test_two_directions_together_are_each_alone(form, size, threads, monkeypatch) -> None:
    """Bit for bit, whether side by side (small ones) or one after the other (730 states)."""
    lengths = torch.tensor([6, 2, 5])
    ahead, back = directions(size, form)
    alone = gru_states(*ahead, lengths, False), gru_states(*back, lengths, True)
    monkeypatch.setattr(recurrence_native, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(recurrence_native, "available_processors", lambda: threads)
    together = gru_states_of_both(*map(list, zip(ahead, back, strict=True)), lengths)
    assert all(torch.equal(found, expected) for found, expected in zip(together, alone, strict=True))


def test_two_directions_together_where_the_kernels_do_not_apply() -> None:
    lengths = torch.tensor([6, 2, 5])
    expected = gru_states_of_both(*map(list, zip(*directions(7, "int8"), strict=True)), lengths)
    found = gru_states_of_both(*map(list, zip(*directions(7, "int8", torch.float64), strict=True)), lengths)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float64
        torch.testing.assert_close(one, other.double(), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("wrong", [(3, 4), (2, 6), (3, 9)])
def test_two_directions_of_other_batch_or_time_are_refused(wrong, dtype) -> None:
    """The kernels would read past the shorter one: lengths hold for both."""
    ahead, back = directions(7, "float32", dtype)
    for one, other in ((ahead, back), (back, ahead)):
        shorter = [torch.zeros(*wrong, 21, dtype=dtype), *other[1:]]
        with pytest.raises(InputError, match="same batch and time, found shapes"):
            gru_states_of_both(*map(list, zip(one, shorter, strict=True)), torch.tensor([6, 2, 5]))


def test_two_directions_keep_the_contract_of_torch_library() -> None:
    arguments = (*map(list, zip(*directions(4, "int8"), strict=True)), torch.tensor([6, 2, 5]))
    assert set(torch.library.opcheck(gru_states_of_both, arguments).values()) == {"SUCCESS"}


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_operators_keep_the_contract_of_torch_library(form) -> None:
    weight, gate = store_weight(torch.randn(4, 4), form), store_weight(torch.randn(4, 8), form)
    lengths = torch.tensor([3, 2])
    simple = (torch.randn(2, 3, 4), weight.values, weight.scales, torch.randn(4), lengths, False, 2.0)
    assert set(torch.library.opcheck(simple_states, simple).values()) == {"SUCCESS"}
    gru = (
        torch.randn(2, 3, 12),
        gate.values,
        gate.scales,
        weight.values,
        weight.scales,
        torch.randn(12),
        lengths,
        True,
    )
    assert set(torch.library.opcheck(gru_states, gru).values()) == {"SUCCESS"}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_products_are_counted_as_in_the_network_it_was_made_from(kind) -> None:
    model = network(kind)
    inputs = (features(), FRAMES)
    tally = count(optimize_for_inference(model, "int8"), inputs, strict=True)
    expected = count(model, inputs, strict=True)
    assert tally.macs == expected.macs > 0
    assert tally.flops < expected.flops  # by the normalisations


def test_training_it_is_refused() -> None:
    ready = optimize_for_inference(network("gru"))
    with pytest.raises(OptionError, match="train the one it was made from"):
        ready.train()
    assert not list(ready.parameters())


def test_formats_and_lengths_that_do_not_fit_are_named() -> None:
    with pytest.raises(OptionError, match=r"float32, bfloat16, int8, found 'float16'"):
        optimize_for_inference(network("gru"), "float16")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="between 0 and 3 frames"):
        weight = StoredWeight(torch.eye(2))
        simple_states(torch.zeros(1, 3, 2), weight.values, None, torch.zeros(2), torch.tensor([4]), False, 1.0)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_the_recogniser_and_the_command_take_formats(weights, capsys: pytest.CaptureFixture[str]) -> None:
    recognizer = Recognizer.from_pretrained("small", decoder="greedy", weights=weights)
    exact = Recognizer.from_pretrained("small", decoder="greedy")
    change = abs(recognizer.log_probabilities(CLIP) - exact.log_probabilities(CLIP)).max()
    assert 0 < change < 0.5
    main(["transcribe", str(CLIP), "--decoder", "greedy", "--weights", weights])
    assert capsys.readouterr().out.strip() == recognizer.transcribe(CLIP).text


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_scales_of_any_strides_and_type(kind) -> None:
    weight, gate = store_weight(torch.randn(5, 5), "int8").values, store_weight(torch.randn(5, 10), "int8").values
    x, bias, lengths = torch.randn(2, 3, 15), torch.randn(15), torch.tensor([3, 2])
    wide = torch.rand(20, dtype=kind) / 100
    every_second, same = wide[::2], wide[:1].expand(5)  # neither is one number behind the other
    found = simple_states(x[..., :5], weight, same, bias[:5], lengths, False, 2.0)
    expected = simple_states(x[..., :5].double(), weight, same.double(), bias[:5].double(), lengths, False, 2.0)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    found = gru_states(x, gate, every_second, weight, same, bias, lengths, True)
    expected = gru_states(x.double(), gate, every_second, weight, same, bias.double(), lengths, True)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
