"""Small models of the transformers library, built from a configuration on the meta device, and their products by hand.

Symbols of the derivations: B batch, T positions, d width, h heads of e = d / h, f width of the feed-forward part,
L layers, V vocabulary. A linear layer from n to m costs n m multiply-accumulates per position; attention over P
(query, key) pairs costs P d for the scores and P d for the mixing. P is T^2 where every pair is computed, as attention
spelled out does, and T (T + 1) / 2 where a fused causal attention leaves out what lies ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

B, T, D, H, F, L, V = 2, 16, 64, 4, 128, 2, 100
SIZES = {"hidden_size": D, "num_hidden_layers": L, "num_attention_heads": H, "intermediate_size": F}
SPEECH = {
    **SIZES,
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 3),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 30,
}
SEQ2SEQ = {
    "d_model": D,
    "encoder_layers": L,
    "decoder_layers": L,
    "encoder_attention_heads": H,
    "decoder_attention_heads": H,
    "encoder_ffn_dim": F,
    "decoder_ffn_dim": F,
    "vocab_size": V,
}
SAMPLES = 4000
# Frames behind the three strided convolutions of the speech models.
FRAMES = [799, 399, 199]


@dataclass(frozen=True)
class LibraryModel:
    """One model.

    Attributes:
        head: the class that builds it, `AutoModelForCausalLM` and so on.
        config: name of its configuration class.
        options: sizes.
        inputs: keyword inputs on the meta device.
        macs: multiply-accumulates by hand, of attention spelled out and of fused attention.
        fused: whether the library has a fused variant of it.
        symbolic: which axes may be symbols.
    """

    head: str
    config: str
    options: dict[str, Any]
    inputs: dict[str, torch.Tensor]
    macs: Callable[[bool], int]
    fused: bool = True
    symbolic: dict[str, Any] = field(default_factory=dict)

    def build(self, attention: str = "eager") -> torch.nn.Module:
        """The model without weights, in inference mode."""
        import transformers

        config = getattr(transformers, self.config)(**self.options)
        with torch.device("meta"):
            model = getattr(transformers, self.head).from_config(config, attn_implementation=attention)
        return model.eval()


MODELS: dict[str, LibraryModel] = {}


def _add(name: str, head: str, config: str, options: dict[str, Any], inputs: dict[str, Any], **more: Any) -> Any:
    def add(macs: Callable[[bool], int]) -> Callable[[bool], int]:
        MODELS[name] = LibraryModel(head, config, options, inputs, macs, **more)
        return macs

    return add


def ids(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.int64, device="meta")


def floats(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def triangle(size: int) -> int:
    return size * (size + 1) // 2


def encoder_layer(positions: int) -> int:
    """Four projections d d, attention over all pairs, two linear layers d f."""
    return positions * (4 * D * D + 2 * D * F) + 2 * positions**2 * D


def decoder_layer(positions: int, memory: int, fused: bool) -> int:
    """Causal self-attention, attention to a memory (query and output per position, key and value per memory), FFN."""
    own = 4 * positions * D * D + 2 * (triangle(positions) if fused else positions**2) * D
    cross = 2 * positions * D * D + 2 * memory * D * D + 2 * positions * memory * D
    return own + cross + 2 * positions * D * F


TOKENS = {"batch": 0, "time": 1}


@_add(
    "bert",
    "AutoModel",
    "BertConfig",
    {**SIZES, "vocab_size": V},
    {"input_ids": ids(B, T)},
    symbolic=TOKENS,
)
def bert(fused: bool) -> int:
    """L encoder layers, and the pooler, d d for the first position. Look-ups cost nothing."""
    return B * (L * encoder_layer(T) + D * D)


@_add(
    "bert for masked words",
    "AutoModelForMaskedLM",
    "BertConfig",
    {**SIZES, "vocab_size": V},
    {"input_ids": ids(B, T)},
)
def masked_words(fused: bool) -> int:
    """L encoder layers; the head transforms, d d, and projects on the vocabulary, d V."""
    return B * (L * encoder_layer(T) + T * D * D + T * D * V)


@_add(
    "distilbert",
    "AutoModel",
    "DistilBertConfig",
    {"dim": D, "n_layers": L, "n_heads": H, "hidden_dim": F, "vocab_size": V},
    {"input_ids": ids(B, T)},
)
def distilbert(fused: bool) -> int:
    """L encoder layers."""
    return B * L * encoder_layer(T)


def gated(fused: bool, keys: int = 2, pairs: int | None = None, experts: int = 1, routed: int = 0) -> int:
    """Llama's layer with `keys` key heads: q, output d d; k, v d keys e; three linear layers d f; the head d V."""
    allowed = (triangle(T) if pairs is None else pairs) if fused else T * T
    e = D // H
    attention = T * (2 * D * D + 2 * D * keys * e) + 2 * allowed * D
    return B * (L * (attention + 3 * experts * T * D * F + routed) + T * D * V)


GROUPED = {**SIZES, "num_key_value_heads": 2, "vocab_size": V}


@_add("llama", "AutoModelForCausalLM", "LlamaConfig", GROUPED, {"input_ids": ids(B, T)}, symbolic=TOKENS)
def llama(fused: bool) -> int:
    """Grouped-query attention: two key heads serve four query heads. Rotary positions are pointwise."""
    return gated(fused)


@_add("qwen2", "AutoModelForCausalLM", "Qwen2Config", GROUPED, {"input_ids": ids(B, T)})
def qwen2(fused: bool) -> int:
    """As Llama; biases of q, k and v are no products."""
    return gated(fused)


@_add(
    "mistral",
    "AutoModelForCausalLM",
    "MistralConfig",
    {**GROUPED, "sliding_window": 5},
    {"input_ids": ids(B, T)},
    symbolic=TOKENS,
)
def mistral(fused: bool) -> int:
    """A window of 5: position i sees min(i + 1, 5) keys, 5 T - 10 pairs in all."""
    return gated(fused, pairs=5 * T - 10)


@_add(
    "mixtral",
    "AutoModelForCausalLM",
    "MixtralConfig",
    {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    {"input_ids": ids(B, T)},
)
def mixtral(fused: bool) -> int:
    """Two of four experts for each position, whichever they are, and the router, d 4."""
    return gated(fused, experts=2, routed=T * D * 4)


@_add(
    "gpt2",
    "AutoModelForCausalLM",
    "GPT2Config",
    {"n_embd": D, "n_layer": L, "n_head": H, "vocab_size": V, "bos_token_id": 0, "eos_token_id": 0},
    {"input_ids": ids(B, T)},
    symbolic=TOKENS,
)
def gpt2(fused: bool) -> int:
    """qkv d 3d, output d d, two layers of 4d (the library's own Conv1D, an addmm), head d V."""
    pairs = triangle(T) if fused else T * T
    return B * (L * (T * 4 * D * D + 2 * pairs * D + T * 8 * D * D) + T * D * V)


@_add(
    "t5",
    "AutoModelForSeq2SeqLM",
    "T5Config",
    {"d_model": D, "d_kv": D // H, "d_ff": F, "num_layers": L, "num_heads": H, "vocab_size": V},
    {"input_ids": ids(B, T), "decoder_input_ids": ids(B, 7)},
)
def t5(fused: bool) -> int:
    """Encoder over T, decoder over 7. A learned bias is in every mask, so no pair is known to be left out."""
    return B * (L * (encoder_layer(T) + decoder_layer(7, T, fused=False)) + 7 * D * V)


@_add(
    "whisper",
    "AutoModelForSpeechSeq2Seq",
    "WhisperConfig",
    {**SEQ2SEQ, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2},
    {"input_features": floats(1, 80, 3000), "decoder_input_ids": ids(1, 7)},
    symbolic={"labels": [("decoder_input_ids", 1)]},
)
def whisper(fused: bool) -> int:
    """Convolutions of three taps, 80 to d at 3,000 frames and d to d at 1,500 (taps on padding included)."""
    convolutions = 3000 * 3 * 80 * D + 1500 * 3 * D * D
    return convolutions + L * (encoder_layer(1500) + decoder_layer(7, 1500, fused)) + 7 * D * V


@_add(
    "speech to text",
    "AutoModelForSpeechSeq2Seq",
    "Speech2TextConfig",
    {**SEQ2SEQ, "conv_channels": 64},
    {"input_features": floats(1, 100, 80), "decoder_input_ids": ids(1, 7)},
    fused=False,
)
def speech_to_text(fused: bool) -> int:
    """Convolutions of five taps and stride two, 80 to 64 halved by a gate, 32 to 2d halved: 50, then 25 frames."""
    convolutions = 50 * 5 * 80 * 64 + 25 * 5 * 32 * 2 * D
    return convolutions + L * (encoder_layer(25) + decoder_layer(7, 25, fused)) + 7 * D * V


def waveform() -> int:
    """Strided convolutions of one batch: 10 taps from one channel, then three taps of 32 channels twice."""
    first, second, third = FRAMES
    return first * 10 * 32 + second * 3 * 32 * 32 + third * 3 * 32 * 32


def speech(encoder: int, positional: bool = True) -> int:
    """Waveform, projection 32 d, grouped positional convolution (T + 1 places, 16 taps of d / 4), encoder, head."""
    frames = FRAMES[-1]
    position = (frames + 1) * D * (D // 4) * 16 if positional else 0
    return B * (waveform() + frames * 32 * D + position + encoder + frames * D * 30)


WAVES = {"input_values": floats(B, SAMPLES)}


@_add("wav2vec 2.0", "AutoModelForCTC", "Wav2Vec2Config", SPEECH, WAVES, symbolic=TOKENS)
def wav2vec2(fused: bool) -> int:
    """L encoder layers over 199 frames."""
    return speech(L * encoder_layer(FRAMES[-1]))


@_add(
    "wav2vec 2.0, stable norms",
    "AutoModelForCTC",
    "Wav2Vec2Config",
    {**SPEECH, "do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    WAVES,
)
def wav2vec2_stable(fused: bool) -> int:
    """Norms elsewhere, the same products."""
    return wav2vec2(fused)


@_add("hubert", "AutoModelForCTC", "HubertConfig", SPEECH, WAVES)
def hubert(fused: bool) -> int:
    """As wav2vec 2.0."""
    return wav2vec2(fused)


@_add("sew", "AutoModelForCTC", "SEWConfig", SPEECH, WAVES)
def sew(fused: bool) -> int:
    """The encoder runs at half the rate, 99 frames: a pooling, a positional convolution of stride two at 100 places.

    Behind it, a projection d 2d brings the rate back.
    """
    frames = FRAMES[-1]
    position = 100 * D * (D // 4) * 16
    encoder = L * encoder_layer(99) + 99 * D * 2 * D
    return B * (waveform() + frames * 32 * D + position + encoder + frames * D * 30)


@_add("wavlm", "AutoModelForCTC", "WavLMConfig", SPEECH, WAVES, fused=False)
def wavlm(fused: bool) -> int:
    """As wav2vec 2.0, and a gate of the position bias: e to 8 for each head and frame."""
    frames = FRAMES[-1]
    return speech(L * (encoder_layer(frames) + frames * H * (D // H) * 8))


def conformer(frames: int, positions: int, kernel: int = 31) -> int:
    """Two feed-forward parts, attention, convolution part: d 2d, depthwise of `kernel` taps, d d.

    `positions` is what attention spends on relative positions.
    """
    feed_forward = 2 * 2 * frames * D * F
    attention = 4 * frames * D * D + 2 * frames**2 * D
    convolution = frames * (2 * D * D + D * kernel + D * D)
    return feed_forward + attention + convolution + positions


CONFORMER = {**SPEECH, "conv_depthwise_kernel_size": 31}


@_add(
    "conformer, relative positions",
    "AutoModelForCTC",
    "Wav2Vec2ConformerConfig",
    {**CONFORMER, "position_embeddings_type": "relative"},
    WAVES,
    symbolic=TOKENS,
)
def conformer_relative(fused: bool) -> int:
    """2 T - 1 relative positions: projected once for the batch, d d; every query meets all of them, d."""
    frames = FRAMES[-1]
    relative = 2 * frames - 1
    shared = L * relative * D * D
    return speech(L * conformer(frames, frames * relative * D), positional=False) + shared


@_add(
    "conformer, rotary positions",
    "AutoModelForCTC",
    "Wav2Vec2ConformerConfig",
    {**CONFORMER, "position_embeddings_type": "rotary"},
    WAVES,
)
def conformer_rotary(fused: bool) -> int:
    """Rotations are pointwise."""
    return speech(L * conformer(FRAMES[-1], 0), positional=False)


@_add(
    "wav2vec-bert",
    "AutoModelForCTC",
    "Wav2Vec2BertConfig",
    {**SIZES, "feature_projection_input_dim": 80, "vocab_size": 30},
    {"input_features": floats(B, 100, 80)},
)
def wav2vec2_bert(fused: bool) -> int:
    """100 frames of 80 features; a key for each relative distance: T^2 d."""
    return B * (100 * 80 * D + L * conformer(100, 100**2 * D) + 100 * D * 30)


@_add(
    "vit",
    "AutoModelForImageClassification",
    "ViTConfig",
    {**SIZES, "image_size": 32, "patch_size": 8},
    {"pixel_values": floats(B, 3, 32, 32)},
    symbolic={"batch": 0},
)
def vit(fused: bool) -> int:
    """16 patches of 3 x 8 x 8, one position more for the class, two classes."""
    return B * (16 * 3 * 8 * 8 * D + L * encoder_layer(17) + D * 2)


@_add(
    "convnext",
    "AutoModel",
    "ConvNextConfig",
    {"hidden_sizes": [16, 32, 64], "depths": [1, 1, 2], "num_stages": 3},
    {"pixel_values": floats(B, 3, 64, 64)},
    fused=False,
    symbolic={"batch": 0},
)
def convnext(fused: bool) -> int:
    """Blocks: 7 x 7 depthwise, c to 4c, 4c to c. Stem 4 x 4 of 3 channels; 2 x 2 between the stages."""

    def block(side: int, width: int) -> int:
        return side * side * (49 * width + 8 * width * width)

    stem = 16 * 16 * 3 * 16 * 16
    between = 8 * 8 * 4 * 16 * 32 + 4 * 4 * 4 * 32 * 64
    return B * (stem + block(16, 16) + between + block(8, 32) + 2 * block(4, 64))


@_add(
    "clip",
    "AutoModel",
    "CLIPConfig",
    {
        "text_config": {**SIZES, "vocab_size": V, "eos_token_id": 99},
        "vision_config": {**SIZES, "image_size": 32, "patch_size": 8},
        "projection_dim": 20,
    },
    {"input_ids": ids(B, T), "pixel_values": floats(B, 3, 32, 32)},
)
def clip(fused: bool) -> int:
    """An image encoder, a causal text encoder, a projection of each, and every text with every image."""
    text = T * (4 * D * D + 2 * D * F) + 2 * (triangle(T) if fused else T * T) * D
    image = 16 * 3 * 8 * 8 * D + L * encoder_layer(17)
    return B * (image + L * text + 2 * D * 20) + B * B * 20


@_add(
    "mamba",
    "AutoModelForCausalLM",
    "MambaConfig",
    {"hidden_size": D, "num_hidden_layers": L, "vocab_size": V, "state_size": 8},
    {"input_ids": ids(B, T)},
    fused=False,
)
def mamba(fused: bool) -> int:
    """Inner width 2d, state 8, rank d / 16 of the steps.

    In d 4d; a depthwise convolution of 4 taps at T + 3 places, cut to T behind; x to rank and twice the state;
    rank to 2d; per step the state read out, 2d 8; out 2d d. The recurrence itself is pointwise.
    """
    inner, state, rank = 2 * D, 8, D // 16
    layer = T * D * 2 * inner + (T + 3) * 4 * inner + T * inner * (rank + 2 * state) + T * rank * inner
    return B * (L * (layer + T * inner * state + T * inner * D) + T * D * V)
