"""Models of torchaudio: products by hand, or as torch's counter finds them where it sees every kernel.

Skipped where torchaudio is not installed: its wheels load CUDA's libraries, and beside a torch for the CPU alone they
break other libraries that ask for it. The models themselves are plain torch, and are loaded without the rest here:
`pip install --no-deps --target FOLDER torchaudio`, then `PYTHONPATH=FOLDER pytest` this file.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import types
import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deepspeech2 import count

SPEC = importlib.util.find_spec("torchaudio")
if SPEC is None:
    pytest.skip("torchaudio is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def models():
    """`torchaudio.models`, of a package whose own first lines are left out: they load compiled code for CUDA."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchaudio"}
    for name in before:
        del sys.modules[name]
    package = types.ModuleType("torchaudio")
    package.__path__ = list(SPEC.submodule_search_locations)
    package.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None, is_package=True)
    sys.modules["torchaudio"] = package
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("torchaudio.models")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules.update(before)


def lengths(*values, dtype=torch.int64):
    return torch.tensor(values, dtype=dtype)


def test_conformer(models) -> None:
    """Four linear layers d f, attention 4 d d and 2 d for each of T^2 pairs, gate 2 d d, 31 taps, d d."""
    program = models.Conformer(80, 4, 128, 2, 31).eval()
    tally = count(program, (torch.empty(2, 100, 80), lengths(100, 100)), strict=True)
    layer = 100 * (4 * 80 * 128 + 7 * 80 * 80 + 31 * 80) + 2 * 100**2 * 80
    assert tally.macs == 2 * 2 * layer
    # Keys behind the shorter one's end are hidden from all of its 100 queries.
    shorter = count(program, (torch.empty(2, 100, 80), lengths(100, 60)), strict=True)
    assert tally.macs - shorter.macs == 2 * 2 * 100 * 40 * 80


def test_deep_speech(models) -> None:
    """Four linear layers, a recurrence of two products both ways, an output."""
    tally = count(models.DeepSpeech(80, 64, 29).eval(), torch.empty(2, 1, 100, 80), strict=True)
    assert tally.macs == 200 * (80 * 64 + 3 * 64 * 64 + 2 * 2 * 64 * 64 + 64 * 29)


def test_wav2letter(models) -> None:
    """48 taps of stride two to 50 places, seven convolutions of 7 taps, 32 taps at 51 places, two linear layers."""
    tally = count(models.Wav2Letter(40, "mfcc", 40).eval(), torch.empty(2, 40, 100), strict=True)
    last = 51 * (250 * 2000 * 32 + 2000 * 2000 + 2000 * 40)
    assert tally.macs == 2 * (50 * 40 * 250 * 48 + 7 * 50 * 250 * 250 * 7 + last)


def cases(models):
    transducer = models.emformer_rnnt_model(
        input_dim=80,
        encoding_dim=64,
        num_symbols=30,
        segment_length=16,
        right_context_length=4,
        time_reduction_input_dim=16,
        time_reduction_stride=4,
        transformer_num_heads=4,
        transformer_ffn_dim=64,
        transformer_num_layers=2,
        transformer_dropout=0.1,
        transformer_activation="gelu",
        transformer_left_context_length=30,
        transformer_max_memory_size=0,
        transformer_weight_init_scale_strategy="depthwise",
        transformer_tanh_on_mem=True,
        symbol_embedding_dim=32,
        num_lstm_layers=2,
        lstm_layer_norm=True,
        lstm_layer_norm_epsilon=1e-3,
        lstm_dropout=0.1,
    )
    speaker = models.Tacotron2(
        n_mels=20,
        n_symbol=30,
        encoder_embedding_dim=32,
        symbol_embedding_dim=32,
        attention_hidden_dim=16,
        attention_rnn_dim=32,
        decoder_rnn_dim=32,
        postnet_embedding_dim=32,
        prenet_dim=16,
    )
    short = {"dtype": torch.int32}
    yield (
        models.Emformer(80, 4, 128, 2, segment_length=16, right_context_length=4),
        torch.randn(2, 100, 80),
        lengths(96, 96),
    )
    yield transducer, torch.randn(2, 104, 80), lengths(100, 100), torch.zeros(2, 7, **short), lengths(7, 7, **short)
    yield speaker, torch.zeros(2, 9).long(), lengths(9, 7), torch.randn(2, 20, 12), lengths(12, 12)
    yield models.WaveRNN([2, 2, 2], 16, 8, 2, 16, 16, 5, 10, 12, 8), torch.randn(2, 1, 16), torch.randn(2, 1, 10, 6)
    yield models.ConvTasNet(2, 16, 32, 3, 16, 3, 1), torch.randn(2, 1, 800)


@pytest.mark.parametrize("index", range(5), ids=["Emformer", "RNNT", "Tacotron2", "WaveRNN", "ConvTasNet"])
def test_what_torch_counts_while_they_run(models, index) -> None:
    """Without oneDNN, whose LSTM its counter does not see."""
    program, *inputs = list(cases(models))[index]
    program.eval()
    # Torch warns of what another processor could do.
    warnings.filterwarnings("ignore", message="TF32 acceleration")
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        program(*inputs)
    assert 2 * count(program, tuple(inputs), strict=True).macs == counter.get_total_flops()
