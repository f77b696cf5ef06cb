"""Whole models however they arrive: the products of a derivation by hand, and of a training step."""

import contextlib
import io
import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deepspeech2 import count, count_onnx, count_training
from deepspeech2.errors import ClosedFormError, DataDependentError, InputError
from whole_models import all_models
from whole_models.attention import D, F, RoutedExperts
from whole_models.convolutional import MobileNetV2, ResNet18, UNet

MODELS = all_models()


@contextlib.contextmanager
def quiet():
    """TorchScript, its exporter and old hooks are deprecated, and used all the same."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def built(name):
    with quiet():
        return MODELS[name].build().eval()


def exported(program, inputs, folder):
    path = folder / "model.pt2"
    torch.export.save(torch.export.export(program, inputs), path)
    return torch.export.load(path).module()


WAYS = {
    "eager": lambda program, inputs, folder: program,
    "on meta": lambda program, inputs, folder: program.to("meta"),
    "compiled": lambda program, inputs, folder: torch.compile(program),
    "traced": lambda program, inputs, folder: torch.jit.trace(program, inputs, check_trace=False),
    "scripted": lambda program, inputs, folder: torch.jit.script(program),
    "exported": exported,
}


@pytest.mark.parametrize("name", MODELS)
def test_all_ways_of_torch_count_the_same(name, tmp_path) -> None:
    """The products of the derivation; and every kind of operation alike."""
    model, inputs = MODELS[name], MODELS[name].inputs(**MODELS[name].sizes)
    expected = count(built(name), inputs, strict=True)
    assert expected.macs == model.macs(**model.sizes), model.macs.__doc__
    for way, arrive in WAYS.items():
        with quiet():
            if way in model.without:
                with pytest.raises((RuntimeError, AttributeError, InputError)):
                    count(arrive(built(name), inputs, tmp_path), inputs)
                continue
            program = arrive(built(name), inputs, tmp_path)
        given = tuple(tensor.to("meta") for tensor in inputs) if way == "on meta" else inputs
        found = count(program, given, strict=True)
        assert (found.macs, found.padding_macs) == (expected.macs, expected.padding_macs), way
        assert found.kinds == expected.kinds, way


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if "ONNX" not in model.without])
def test_the_onnx_export_has_the_same_products(name, tmp_path) -> None:
    """But for what the exporter adds or folds away."""
    model, inputs = MODELS[name], MODELS[name].inputs(**MODELS[name].sizes)
    with quiet():
        torch.onnx.export(built(name), inputs, tmp_path / "model.onnx", dynamo=True, verbose=False)
    found = count_onnx(tmp_path / "model.onnx", list(inputs), strict=True)
    assert found.macs == model.macs(**model.sizes) + model.exported(**model.sizes)


@pytest.mark.parametrize("name", MODELS)
def test_the_formula_is_the_derivation(name) -> None:
    """At sizes it was not found from."""
    model = MODELS[name]
    formula = count(built(name), model.inputs(**model.sizes), symbolic=model.axes)
    assert formula.complete
    for sizes in (model.sizes, model.others):
        symbols = {symbol: sizes[symbol] for symbol in model.axes}
        assert formula.at("mac", **symbols) == model.macs(**sizes)
        assert formula.at(**symbols) == count(built(name), model.inputs(**sizes)).flops


# Those whose kernels torch's counter sees on a CPU, and counts right: no recurrent layers, no fused attention, no
# grouped convolutions in the backward pass.
SEEN_BY_TORCH = (
    "mixture of experts, all computed",
    "ResNet-18",
    "U-Net",
    "attention decoder",
    "streaming encoder",
)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_a_product_is_two(name) -> None:
    """One where an operand needs no gradient; and the scores of fused attention are computed again."""
    model, inputs = MODELS[name], MODELS[name].inputs(**MODELS[name].sizes)
    program = built(name)
    step = count_training(program, inputs, optimiser="sgd", strict=True)
    whole, fixed = model.macs(**model.sizes), model.fixed(**model.sizes)
    assert step.phase("forward").macs == whole
    assert step.phase("backward").macs == 2 * whole - fixed + model.recomputed(**model.sizes)
    updated = sum(parameter.numel() for parameter in program.parameters())
    assert step.phase("optimiser").kinds["multiply"] == step.phase("optimiser").kinds["add"] == updated
    if name in SEEN_BY_TORCH:
        with FlopCounterMode(display=False) as counter:
            program.train()(*inputs).sum().backward()
        assert counter.get_total_flops() == 2 * (step.phase("forward").macs + step.phase("backward").macs)


def test_published_figures() -> None:
    """At 224 pixels, batch 1: ResNet-18 1.8 G of He and others (2015), table 1; MobileNetV2 300 M of Sandler and others
    (2018), table 4; parameters 11,689,512 and 3,504,872 of the weights their authors and torchvision publish.
    """
    image = torch.empty(1, 3, 224, 224, device="meta")
    with torch.device("meta"):
        residual, mobile = ResNet18().eval(), MobileNetV2().eval()
    found = count(residual, image), count(mobile, image)
    assert [tally.macs for tally in found] == [1_814_073_344, 300_774_272]
    assert [tally.macs for tally in found] == [
        MODELS[name].macs(batch=1, time=224) for name in ("ResNet-18", "MobileNetV2")
    ]
    assert [tally.parameters for tally in found] == [11_689_512, 3_504_872]


def test_a_formula_of_multiples_refuses_other_sizes_with_the_models_own_words() -> None:
    """Two poolings take multiples of four."""
    formula = count(UNet().eval(), torch.empty(1, 3, 32, 32), symbolic=MODELS["U-Net"].axes)
    assert str(formula.macs) == "252*batch*time**2 + 18432*batch*floor(time/4)**2 + 864*batch*floor(time/2)**2"
    with pytest.raises(InputError, match="Sizes of tensors must match"):
        formula.at(batch=1, time=34)


def test_a_routed_mixture_names_the_value_it_needs() -> None:
    """Which rows an expert gets is the router's decision."""
    routed, x = RoutedExperts().eval(), torch.empty(2, 9, D)
    with pytest.raises(DataDependentError, match=r"the places where.*attention\.py:\d+ \(rows, places = torch.where"):
        count(routed, x)
    with pytest.raises((DataDependentError, ClosedFormError), match=r"needs the value"):
        count(routed, x, symbolic={"batch": 0, "time": 1})


def test_a_cache_computes_the_triangle_row_by_row() -> None:
    """The pairs of causal attention, whole or one label at a time."""
    sizes = {"batch": 1, "time": 10, "labels": 6}
    tallies = [
        count(built(f"whisper, {way}"), MODELS[f"whisper, {way}"].inputs(**sizes))
        for way in ("cached", "all labels at once")
    ]
    assert tallies[0].macs == tallies[1].macs
    longer = count(built("whisper, cached"), MODELS["whisper, cached"].inputs(**{**sizes, "labels": 7}))
    step = 4 * D * D + 2 * 7 * D + 2 * D * D + 2 * 5 * D + 2 * D * F
    assert longer.macs - tallies[0].macs == step + D * 20


def test_a_stream_costs_what_the_whole_does() -> None:
    """Four chunks of four frames, and sixteen frames at once (a convolution of the same frames, padded in front)."""
    stream = built("streaming encoder")
    x = torch.empty(1, 8, 16)

    def whole(frames):
        heard = stream.convolution(torch.nn.functional.pad(frames, (2, 0))).relu()
        return stream.output(stream.recurrence(heard.permute(2, 0, 1))[0])

    assert count(stream, x).macs == count(whole, x).macs
