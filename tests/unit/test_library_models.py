"""Models of the transformers library, built from a configuration without weights: counted whole, equal to a derivation.

Skipped where the library is absent, unless DS2_REQUIRE_OPTIONAL_TOOLS=1.
"""

import importlib.util
import os

import pytest
import torch

from deepspeech2 import count, count_training
from library_models import MODELS, B, D, H, L, T, V, ids

if importlib.util.find_spec("transformers") is None and os.environ.get("DS2_REQUIRE_OPTIONAL_TOOLS") != "1":
    pytest.skip("the transformers package is not installed", allow_module_level=True)

BOTH = [(name, attention) for name, model in MODELS.items() for attention in ("eager", "sdpa")[: 1 + model.fused]]


@pytest.mark.parametrize(("name", "attention"), BOTH)
def test_products_are_those_of_the_derivation(name, attention) -> None:
    model = MODELS[name]
    tally = count(model.build(attention), model.inputs, strict=True)
    assert tally.macs == model.macs(attention == "sdpa"), model.macs.__doc__
    assert tally.memory.peak > 0


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.symbolic])
def test_the_formula_holds_at_other_sizes(name) -> None:
    """Sizes the formula was not checked at when it was derived, with the batch in it where it is a symbol."""
    model = MODELS[name]
    program = model.build("sdpa" if model.fused else "eager")
    formula = count(program, model.inputs, symbolic=model.symbolic)
    examples = {"batch": B, "time": 16 if "input_ids" in model.inputs else 4000, "labels": 7}
    sizes = {"batch": 3, "time": 77 if "input_ids" in model.inputs else 5003, "labels": 12}
    wanted = {key: sizes[key] for key in model.symbolic}
    assert formula.at("mac", **{key: examples[key] for key in model.symbolic}) == model.macs(model.fused)

    def resized(key, tensor):
        shape = list(tensor.shape)
        for dimension, axes in model.symbolic.items():
            pairs = axes if isinstance(axes, list) else [(key, axes)]
            for wanted_key, axis in pairs:
                if wanted_key == key:
                    shape[axis] = sizes[dimension]
        return torch.empty(shape, dtype=tensor.dtype, device="meta")

    direct = count(program, {key: resized(key, tensor) for key, tensor in model.inputs.items()})
    assert formula.at("mac", **wanted) == direct.macs
    assert formula.at(**wanted) == direct.flops


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "vit", "whisper", "conformer, relative positions"])
def test_a_step_of_training_costs_three_passes_of_every_linear_layer(name) -> None:
    """The gradient of a product is two products of the same size.

    Not so the first layer on an input that needs no gradient, one product: the embeddings of images and sound.
    """
    model = MODELS[name]
    program = model.build("eager")
    for child in program.modules():
        if hasattr(getattr(child, "config", None), "layerdrop"):
            child.config.layerdrop = 0.0
    step = count_training(program, model.inputs, optimiser=None, strict=True)
    first = {"vit": B * 16 * 3 * 64 * D, "whisper": 3000 * 3 * 80 * D}
    # The library asks for a gradient of the waveform. Positions are a table.
    fixed = L * 397 * D * D if name.startswith("conformer") else 0
    assert step.phase("forward").macs == model.macs(False)
    assert step.phase("backward").macs == 2 * model.macs(False) - first.get(name, 0) - fixed


def test_layers_that_are_dropped_at_random_are_named_with_the_line() -> None:
    from deepspeech2.errors import DataDependentError

    with pytest.raises(DataDependentError, match=r"modeling_wav2vec2\.py:\d+.*skip_the_layer"):
        count_training(MODELS["wav2vec 2.0"].build(), MODELS["wav2vec 2.0"].inputs)


def test_a_fused_kernel_and_a_spelled_out_one_differ_by_what_a_mask_leaves_out() -> None:
    """Llama: T (T - 1) / 2 pairs ahead of their query, 2 d products each, in every layer of every sequence."""
    eager, fused = (count(MODELS["llama"].build(kind), MODELS["llama"].inputs) for kind in ("eager", "sdpa"))
    assert eager.macs - fused.macs == B * L * 2 * D * (T * (T - 1) // 2)
    bert = [count(MODELS["bert"].build(kind), MODELS["bert"].inputs).macs for kind in ("eager", "sdpa")]
    assert bert[0] == bert[1]


def test_padding_that_is_known_costs_nothing_in_fused_attention() -> None:
    """Two sequences of 16 and 5 positions: the keys that padding hides are left out, the queries are not."""
    mask = torch.zeros(B, T, dtype=torch.int64)
    mask[0], mask[1, :5] = 1, 1
    model = MODELS["bert"]
    whole = count(model.build("sdpa"), model.inputs).macs
    masked = count(model.build("sdpa"), {**model.inputs, "attention_mask": mask}).macs
    assert whole - masked == L * 2 * D * T * (T - 5)


def test_inputs_in_the_ways_the_library_has_them() -> None:
    from transformers import BatchEncoding

    program = MODELS["llama"].build("sdpa")
    expected = count(program, {"input_ids": ids(B, T)}).macs
    assert count(program, BatchEncoding({"input_ids": ids(B, T)})).macs == expected
    assert count(program, ids(B, T)).macs == expected
    assert count(program, (ids(B, T),)).macs == expected
    assert count(program, program.dummy_inputs).complete


def test_one_token_behind_a_cache() -> None:
    """One query against T keys that are there, and itself: linear layers once per sequence, T + 1 pairs."""
    from transformers import DynamicCache

    program = MODELS["llama"].build("sdpa")
    e, keys = D // H, 2
    cache = DynamicCache(config=program.config)
    for layer in range(L):
        cache.update(torch.empty(B, keys, T, e), torch.empty(B, keys, T, e), layer)
    tally = count(program, {"input_ids": ids(B, 1), "cache": cache}, strict=True)
    layer = 2 * D * D + 2 * D * keys * e + 2 * (T + 1) * D + 3 * D * 128
    assert tally.macs == B * (L * layer + D * V)
    assert cache.get_seq_length() == T


def test_a_billion_parameters_take_no_memory() -> None:
    """Width 2048, 16 layers, 32 heads of 64 with 8 key heads, f 8192, 128,256 words, T = 2048."""
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=2048,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=8192,
        vocab_size=128_256,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        program = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    tally = count(program, {"input_ids": ids(1, 2048)})
    d, f, keys, t = 2048, 8192, 512, 2048
    layer = t * (2 * d * d + 2 * d * keys + 3 * d * f) + 2 * d * t * (t + 1) // 2
    assert tally.macs == 16 * layer + t * d * 128_256
    assert tally.parameters == 1_235_814_400
    assert tally.memory.parameters == 4 * tally.parameters


def test_a_codec_is_counted_where_its_paddings_have_values() -> None:
    """EnCodec, as torch counts while it runs; on the meta device its integer buffers are what is missing."""
    import warnings

    from torch.utils.flop_counter import FlopCounterMode
    from transformers import EncodecConfig, EncodecModel

    from deepspeech2.errors import DataDependentError

    sizes = {"num_filters": 4, "hidden_size": 16, "codebook_size": 32, "codebook_dim": 16, "num_lstm_layers": 1}
    config = EncodecConfig(**sizes, upsampling_ratios=[4, 2])
    wave = torch.randn(1, 1, 480)
    with warnings.catch_warnings():
        # Torch warns of what another processor could do, and the library uses the old weight norm.
        warnings.simplefilter("ignore")
        program = EncodecModel(config).eval()
        # Without oneDNN, whose LSTM torch's counter does not see.
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            program(wave)
        with torch.device("meta"):
            bare = EncodecModel(config).eval()
    assert 2 * count(program, wave, strict=True).macs == counter.get_total_flops()
    with pytest.raises(DataDependentError, match=r"modeling_encodec\.py:\d+.*make them on the CPU \(encoder\."):
        count(bare, wave)
