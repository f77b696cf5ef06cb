"""Structure of the network: sizes, padding, presets, initial weights, and what torch sees of it."""

import math

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from deepspeech2.errors import InputError, OptionError, VocabularyError
from deepspeech2.speech.build import build_model
from deepspeech2.speech.inference import optimize_for_inference
from deepspeech2.speech.options import ENGLISH_LABELS, ConvolutionOptions, NetworkOptions, published_convolutions

KINDS = {
    "shared": NetworkOptions(recurrent_size=8),
    "separate": NetworkOptions(recurrent_size=8, shared=False),
    "gru": NetworkOptions(recurrent_size=8, cell="gru"),
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())


@pytest.mark.parametrize(
    ("name", "parameters"), [("librispeech", 45_024_509), ("aishell", 61_287_886), ("baidu-en8k", 52_466_941)]
)
def test_published_models_have_their_published_size(name, parameters) -> None:
    assert sum(p.numel() for p in build_model(name, device="meta").parameters()) == parameters


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_frequencies_halve_with_every_convolution(convolutions) -> None:
    options = NetworkOptions(convolutions=published_convolutions(convolutions))
    assert options.sequence_size == 32 * (160 // 2**convolutions + 1)


@kinds
@pytest.mark.parametrize("time", [1, 2, 3, 4, 90, 91, 92])
def test_output_frames_are_every_third(options, time) -> None:
    log_probs, frames = build_model(options, device="meta")(torch.empty(2, 161, time, device="meta"))
    assert log_probs.shape == (2, (time - 1) // 3 + 1, 29)
    assert options.output_frames(time) == log_probs.shape[1]
    assert frames.shape == (2,)


@kinds
def test_rows_are_distributions_and_lengths_are_reported(options) -> None:
    log_probs, frames = build_model(options, seed=0)(torch.randn(2, 161, 40), torch.tensor([40, 7]))
    assert frames.tolist() == [14, 3]
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 14))


@kinds
def test_what_lies_past_the_frames_is_ignored(options) -> None:
    model, features, frames = build_model(options, seed=0), torch.randn(2, 161, 40), torch.tensor([40, 22])
    disturbed = features.clone()
    disturbed[1, :, 22:] = float("nan")
    for mode in (False, True):
        model.train(mode)
        torch.testing.assert_close(
            model(disturbed, frames)[0], model(features, frames)[0], rtol=0, atol=0, msg=f"training={mode}"
        )


@kinds
def test_leaving_frames_out_means_all_of_them(options) -> None:
    features = torch.randn(2, 161, 40)
    for mode in (False, True):
        one, two = (build_model(options, seed=0).train(mode) for _ in range(2))
        a, frames = one(features)
        b, _ = two(features, torch.tensor([40, 40]))
        assert frames.tolist() == [14, 14]
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        for key, value in one.state_dict().items():
            torch.testing.assert_close(value, two.state_dict()[key], rtol=1e-4, atol=1e-6)


@kinds
def test_export_sees_one_operator_for_each_layer_and_direction(options) -> None:
    model = build_model(options, seed=0)
    batch, time = torch.export.Dim("batch", min=1, max=512), torch.export.Dim("time", min=4, max=400_000)
    example = (torch.randn(3, 161, 91), torch.tensor([91, 40, 60]))
    program = torch.export.export(model, example, dynamic_shapes=({0: batch, 2: time}, {0: batch}))
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    name = "gru" if options.cell == "gru" else "simple"
    assert calls.count(f"deepspeech2.{name}_recurrence.default") == 2 * options.recurrent_layers
    other = (torch.randn(2, 161, 50), torch.tensor([50, 20]))
    torch.testing.assert_close(program.module()(*other), model(*other), rtol=0, atol=2e-4)


@kinds
def test_training_step_on_fake_tensors_has_the_shapes_of_a_real_one(options) -> None:
    with FakeTensorMode():
        model = build_model(options).train()
        log_probs, frames = model(torch.empty(2, 161, 999), torch.zeros(2, dtype=torch.int64))
        log_probs.sum().backward()
        assert log_probs.shape == (2, 333, 29)
        assert frames.shape == (2,)
        assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_presets_take_no_memory_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = build_model("aishell")
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    assert model.labels is None


def test_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = (build_model("default", seed=seed).state_dict() for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["output.weight"], other["output.weight"])


def test_initial_weights_are_the_published_ones() -> None:
    model = build_model(NetworkOptions(recurrent_size=200, cell="gru"), seed=0)
    expected = {
        "conv.0.convolution.weight": math.sqrt(2 / 121),
        "conv.1.convolution.weight": math.sqrt(2 / (121 * 32)),
        "recurrent.0.forward_projection.weight": 1312**-0.5,
        "recurrent.1.backward_projection.weight": 400**-0.5,
        "recurrent.0.forward_recurrence.gate_weight": 200**-0.5,
        "recurrent.0.forward_recurrence.candidate_weight": 200**-0.5,
        "output.weight": 400**-0.5,
    }
    state = model.state_dict()
    for name, deviation in expected.items():
        # 5 standard errors of a sample deviation.
        assert state[name].std().item() == pytest.approx(deviation, rel=5 / math.sqrt(2 * state[name].numel()))
    for name, value in state.items():
        if name.endswith(("bias", "running_mean")):
            assert not value.any(), name
        elif "norm" in name:
            assert (value == 1).all(), name


def test_labels_are_those_of_the_english_models() -> None:
    assert build_model("default", device="meta").labels == ENGLISH_LABELS == tuple("' abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("a", "b"), "expected 3 symbols"), (("a", "a", "b"), "must be unique"), (("a", "", "b"), "Label 1 is empty")],
)
def test_labels_that_do_not_fit_are_refused(labels, message) -> None:
    with pytest.raises(VocabularyError, match=message):
        build_model(NetworkOptions(vocab_size=3), labels=labels, device="meta")


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"unknown preset 'librispech'; did you mean 'librispeech'\?"):
        build_model("librispech")


@pytest.mark.parametrize(
    ("features", "frames", "message"),
    [
        (torch.zeros(161, 50), None, r"\(batch, 161, time\), found \(161, 50\)"),
        (torch.zeros(1, 80, 50), None, r"found \(1, 80, 50\)"),
        (torch.zeros(1, 161, 50, dtype=torch.int64), None, "torch.int64"),
        (torch.zeros(1, 161, 50), torch.tensor([0.5]), "one integer for each of the 1 utterances"),
        (torch.zeros(1, 161, 50), torch.tensor([50, 50]), "one integer for each of the 1 utterances"),
        (torch.zeros(1, 161, 50), torch.tensor([60]), "from 0 to the 50 of the features, found 60 to 60"),
        (torch.zeros(1, 161, 0), None, "at least one frame"),
        (torch.zeros(2, 161, 7), torch.tensor([7, 8]), r"frames from 0 to the 7 of the features, found 7 to 8"),
        (torch.zeros(2, 161, 7), torch.tensor([-2, 7]), r"found -2 to 7"),
        (torch.zeros(2, 161, 7), [7, 5], "frames as a torch tensor of 2 integers.* found list; wrap it with"),
        (torch.zeros(1, 161, 7), 7, "frames as a torch tensor of 1 integers.* found int"),
        (torch.zeros(2, 161, 7), np.array([7, 5]), "frames as a torch tensor of 2 integers.* found ndarray"),
        (torch.zeros(1, 161, 7), torch.tensor([True]), "one integer for each of the 1 utterances.* torch.bool"),
        (np.zeros((2, 161, 7), np.float32), None, r"features as a torch tensor .* found ndarray; wrap an array with"),
        (None, None, "features as a torch tensor .* found NoneType"),
        (
            torch.zeros(1, 161, 7).double(),
            None,
            r"of torch.float32, as the weights are, found torch.float64; give",
        ),
        (torch.zeros(1, 161, 7).half(), torch.tensor([7]), r"found torch.float16; give features.to\(torch.float32\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(features, frames, message) -> None:
    network = build_model(NetworkOptions(recurrent_size=4), seed=0)
    for each in (network, optimize_for_inference(network)):
        with pytest.raises(InputError, match=message):
            each(features, frames)


def test_features_of_other_types_go_with_weights_of_theirs_and_with_autocast() -> None:
    network, features = build_model(NetworkOptions(recurrent_size=4), seed=0), torch.randn(1, 161, 7)
    single = network(features)[0]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network(features.bfloat16())[0].float(), single, rtol=0, atol=0.1)
    torch.testing.assert_close(network.double()(features.double())[0].float(), single)
    with pytest.raises(InputError, match=r"features of torch\.float64, as the weights are"):
        network(features)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_frames_may_be_any_integers(dtype) -> None:
    network, features = build_model(NetworkOptions(recurrent_size=4), seed=0), torch.randn(2, 161, 7)
    expected = network(features, torch.tensor([7, 4]))
    found = network(features, torch.tensor([7, 4], dtype=dtype))
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0)
    assert found[1].tolist() == expected[1].tolist() == [3, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: NetworkOptions(recurrent_layers=0),
        lambda: NetworkOptions(vocab_size=True),
        lambda: NetworkOptions(convolutions=()),
        lambda: NetworkOptions(cell="lstm"),
        lambda: ConvolutionOptions(kernel=(4, 3)),
        lambda: ConvolutionOptions(kernel=5),
        lambda: ConvolutionOptions(stride=(2, 1, 1)),
        lambda: NetworkOptions(convolutions=((1, 2, 3),)),
        lambda: NetworkOptions(convolutions=None),
        lambda: build_model(None),
        lambda: ConvolutionOptions(stride=(0, 1)),
    ],
)
def test_impossible_options_are_refused(make) -> None:
    with pytest.raises(OptionError, match="expected"):
        make()


def test_a_gru_is_never_shared() -> None:
    assert not NetworkOptions(cell="gru", shared=True).shared
