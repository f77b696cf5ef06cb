"""Conformers, an encoder and decoder as Whisper's, and a mixture of experts."""

import torch
from torch import nn
from torch.nn import functional

from whole_models import add

D, H, F, L, K, V = 16, 4, 32, 2, 7, 20
MELS = 8


def triangle(size):
    return size * (size + 1) // 2


# Conformer ---------------------------------------------------------------------------------------------------------


class FeedForward(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.LayerNorm(D), nn.Linear(D, F), nn.SiLU(), nn.Dropout(0.1), nn.Linear(F, D))


class ConvolutionModule(nn.Module):
    """Pointwise to a gate, depthwise, batch norm, pointwise."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(D)
        self.layers = nn.Sequential(
            nn.Conv1d(D, 2 * D, 1),
            nn.GLU(1),
            nn.Conv1d(D, D, K, padding=K // 2, groups=D),
            nn.BatchNorm1d(D),
            nn.SiLU(),
            nn.Conv1d(D, D, 1),
        )

    def forward(self, x):
        return self.layers(self.norm(x).transpose(1, 2)).transpose(1, 2)


class PlainAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(D)
        self.attention = nn.MultiheadAttention(D, H, batch_first=True)

    def forward(self, x):
        y = self.norm(x)
        return self.attention(y, y, y, need_weights=False)[0]


class RelativeAttention(nn.Module):
    """Attention with relative positions of Transformer-XL: content and position scores, the latter shifted."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.heads, self.each = nn.LayerNorm(D), H, D // H
        self.query, self.key, self.value, self.output = (nn.Linear(D, D) for _ in range(4))
        self.position = nn.Linear(D, D, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(H, D // H))
        self.position_bias = nn.Parameter(torch.zeros(H, D // H))

    def forward(self, x):
        batch, time, width = x.shape
        y = self.norm(x)
        q = self.query(y).view(batch, time, self.heads, self.each)
        k = self.key(y).view(batch, time, self.heads, self.each).transpose(1, 2)
        v = self.value(y).view(batch, time, self.heads, self.each).transpose(1, 2)
        places = torch.arange(time - 1, -time, -1, device=x.device, dtype=x.dtype)
        waves = torch.arange(0, width, 2, device=x.device, dtype=x.dtype)
        angles = places[:, None] / 10000.0 ** (waves / width)
        table = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
        p = self.position(table).view(1, 2 * time - 1, self.heads, self.each).transpose(1, 2)
        content = (q + self.content_bias).transpose(1, 2) @ k.transpose(2, 3)
        relative = (q + self.position_bias).transpose(1, 2) @ p.transpose(2, 3)
        relative = functional.pad(relative, (1, 0)).view(batch, self.heads, 2 * time, time)[:, :, 1:]
        relative = relative.reshape(batch, self.heads, time, 2 * time - 1)[:, :, :, :time]
        weights = ((content + relative) / (self.each) ** 0.5).softmax(-1)
        return self.output((weights @ v).transpose(1, 2).reshape(batch, time, width))


class ConformerLayer(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.first, self.second = FeedForward(), FeedForward()
        self.attention, self.convolution = attention, ConvolutionModule()
        self.norm = nn.LayerNorm(D)

    def forward(self, x):
        x = x + 0.5 * self.first(x)
        x = x + self.attention(x)
        x = x + self.convolution(x)
        return self.norm(x + 0.5 * self.second(x))


class Conformer(nn.Module):
    """Two convolutions of stride two in time and frequency, a projection, the layers, a vocabulary."""

    def __init__(self, attention) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.ReLU())
        self.projection = nn.Linear(4, D)
        self.layers = nn.ModuleList([ConformerLayer(attention()) for _ in range(L)])
        self.output = nn.Linear(D, V)

    def forward(self, x):
        x = self.front(x.unsqueeze(1)).transpose(1, 2).flatten(2)
        x = self.projection(x)
        for layer in self.layers:
            x = layer(x)
        return self.output(x).log_softmax(-1)


def halved(frames):
    return (frames - 1) // 2


def conformer_macs(relative):
    """Front: 8 mels become 3, then 1. Each layer: four linear layers d f, four d d (and pairs 2 T^2 d), gates 2 d d,
    depthwise k d, d d. Relative positions: 2 T - 1 of them through d d, and so many scores a query more.
    """

    def macs(batch, time):
        once, frames = halved(time), halved(halved(time))
        front = once * 3 * 4 * 9 + frames * 1 * 4 * 4 * 9 + frames * 4 * D
        layer = frames * (4 * D * F + 4 * D * D + 3 * D * D + K * D) + 2 * frames**2 * D
        positions = 2 * frames - 1
        each = frames * positions * D if relative else 0
        shared = positions * D * D if relative else 0
        return batch * (front + L * (layer + each) + frames * D * V) + L * shared

    return macs


def conformer_table(time):
    """Positions through their linear layer, once for all of a batch."""
    return L * (2 * halved(halved(time)) - 1) * D * D


def conformer_fixed(relative):
    """The first convolution, on an input without gradient; positions are a table."""

    def fixed(batch, time):
        return batch * halved(time) * 3 * 4 * 9 + (conformer_table(time) if relative else 0)

    return fixed


for kind, attention, relative in (("plain", PlainAttention, False), ("relative", RelativeAttention, True)):
    add(
        f"conformer, {kind} attention",
        build=lambda attention=attention: Conformer(attention),
        inputs=lambda batch, time: (torch.randn(batch, time, MELS),),
        sizes={"batch": 2, "time": 43},
        others={"batch": 3, "time": 101},
        macs=conformer_macs(relative),
        fixed=conformer_fixed(relative),
        axes={"batch": [(0, 0)], "time": [(0, 1)]},
        # The positions of a given length are a constant.
        exported=lambda batch, time, relative=relative: -conformer_table(time) if relative else 0,
        # Fused attention does its scores again.
        recomputed=lambda batch, time, relative=relative: 0 if relative else L * batch * halved(halved(time)) ** 2 * D,
    )


# Whisper -----------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Fused attention of x to a memory, or to itself and what came before."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value, self.output = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)
        self.key = nn.Linear(D, D, bias=False)

    def heads(self, x):
        return x.view(x.shape[0], -1, H, D // H).transpose(1, 2)

    def keys(self, x):
        return self.heads(self.key(x)), self.heads(self.value(x))

    def attend(self, x, keys, values, causal: bool):
        y = functional.scaled_dot_product_attention(self.heads(self.query(x)), keys, values, is_causal=causal)
        return self.output(y.transpose(1, 2).flatten(2))


class WhisperLayer(nn.Module):
    def __init__(self, *, crossed: bool) -> None:
        super().__init__()
        self.norm, self.own = nn.LayerNorm(D), Attention()
        self.crossing_norm, self.crossing = (nn.LayerNorm(D), Attention()) if crossed else (None, None)
        self.last_norm, self.first, self.second = nn.LayerNorm(D), nn.Linear(D, F), nn.Linear(F, D)

    def behind(self, x, crossed):
        if self.crossing is not None:
            x = x + self.crossing.attend(self.crossing_norm(x), *crossed, False)
        return x + self.second(functional.gelu(self.first(self.last_norm(x))))

    def forward(self, x, crossed=None, causal: bool = False):
        y = self.norm(x)
        return self.behind(x + self.own.attend(y, *self.own.keys(y), causal), crossed)

    def step(self, x, crossed, cache):
        y = self.norm(x)
        cache = [torch.cat(pair, 2) for pair in zip(cache, self.own.keys(y), strict=True)]
        return self.behind(x + self.own.attend(y, *cache, False), crossed), cache


class Whisper(nn.Module):
    """An encoder of convolutions and a layer; a decoder layer, of all labels or of one at a time behind a cache."""

    def __init__(self, *, cached: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(MELS, D, 3, padding=1), nn.Conv1d(D, D, 3, 2, 1)
        self.encoder = nn.ModuleList([WhisperLayer(crossed=False)])
        self.embedding = nn.Embedding(V, D)
        self.decoder = nn.ModuleList([WhisperLayer(crossed=True)])
        self.norms = nn.ModuleList([nn.LayerNorm(D), nn.LayerNorm(D)])
        self.cached = cached

    def forward(self, mels, labels):
        x = functional.gelu(self.second(functional.gelu(self.first(mels)))).transpose(1, 2)
        for layer in self.encoder:
            x = layer(x)
        memory = self.norms[0](x)
        crossed = [layer.crossing.keys(memory) for layer in self.decoder]
        y = self.embedding(labels)
        if self.cached:
            y = self.one_by_one(y, crossed)
        else:
            for layer, pair in zip(self.decoder, crossed, strict=True):
                y = layer(y, pair, True)
        return self.norms[1](y) @ self.embedding.weight.T

    def one_by_one(self, labels, crossed):
        empty = labels.new_empty(labels.shape[0], H, 0, D // H)
        caches = [[empty, empty] for _ in self.decoder]
        steps = []
        for place in range(labels.shape[1]):
            y = labels[:, place : place + 1]
            for index, (layer, pair) in enumerate(zip(self.decoder, crossed, strict=True)):
                y, caches[index] = layer.step(y, pair, caches[index])
            steps.append(y)
        return torch.cat(steps, 1)


def whisper_macs(batch, time, labels):
    """Convolutions of three taps, T places and half of them; encoder; memory keys and values; causal pairs; shared
    embedding as the output. A cache computes the same triangle of pairs, row by row.
    """
    frames = (time + 1) // 2
    front = time * 3 * MELS * D + frames * 3 * D * D
    encoder = frames * (4 * D * D + 2 * D * F) + 2 * frames**2 * D
    own = labels * 4 * D * D + 2 * triangle(labels) * D
    crossing = 2 * labels * D * D + 2 * frames * D * D + 2 * labels * frames * D
    decoder = own + crossing + 2 * labels * D * F
    return batch * (front + encoder + decoder + labels * D * V)


WHISPER_AXES = {"batch": [(0, 0), (1, 0)], "time": [(0, 2)], "labels": [(1, 1)]}

for cached in (False, True):
    add(
        f"whisper, {'cached' if cached else 'all labels at once'}",
        build=lambda cached=cached: Whisper(cached=cached),
        inputs=lambda batch, time, labels: (torch.randn(batch, MELS, time), torch.zeros(batch, labels).long()),
        sizes={"batch": 2, "time": 30, "labels": 5},
        others={"batch": 3, "time": 30 if cached else 58, "labels": 9},
        macs=whisper_macs,
        fixed=lambda batch, time, labels: batch * time * 3 * MELS * D,
        # A loop over labels is counted at many lengths; one symbol less saves much of it.
        axes={name: places for name, places in WHISPER_AXES.items() if name != "time" or not cached},
        without={"scripted": "methods beside forward are called on a list of modules"},
        # Causal attention is spelled out: the pairs ahead of their query are computed, too.
        exported=lambda batch, time, labels, cached=cached: 0 if cached else batch * 2 * D * triangle(labels - 1),
        recomputed=lambda batch, time, labels: (
            batch * D * (((time + 1) // 2) ** 2 + triangle(labels) + labels * ((time + 1) // 2))
        ),
    )


# Mixture of experts ------------------------------------------------------------------------------------------------

EXPERTS, CHOSEN = 4, 2


class Experts(nn.Module):
    """Every expert computes every position, and gates of which all but two are zero weigh them."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts, self.chosen = nn.Linear(D, EXPERTS, bias=False), EXPERTS, CHOSEN
        self.up, self.down = nn.Parameter(torch.zeros(EXPERTS, D, F)), nn.Parameter(torch.zeros(EXPERTS, F, D))

    def gates(self, x):
        weights, chosen = self.router(x).softmax(-1).topk(self.chosen, -1)
        return weights / weights.sum(-1, keepdim=True), chosen

    def forward(self, x):
        weights, chosen = self.gates(x)
        gates = torch.zeros_like(x[..., : self.experts]).scatter(-1, chosen, weights)
        hidden = torch.einsum("btd,edf->betf", x, self.up).relu()
        results = torch.einsum("betf,efd->betd", hidden, self.down)
        return torch.einsum("betd,bte->btd", results, gates)


class RoutedExperts(Experts):
    """The positions of each expert are found by their values."""

    def forward(self, x):
        shape, x = x.shape, x.flatten(0, 1)
        weights, chosen = self.gates(x)
        y = torch.zeros_like(x)
        for expert in range(self.experts):
            rows, places = torch.where(chosen == expert)
            hidden = (x[rows] @ self.up[expert]).relu()
            y = y.index_add(0, rows, (hidden @ self.down[expert]) * weights[rows, places, None])
        return y.view(shape)


def experts_macs(batch, time):
    """Router d E; two layers d f of every expert; the weighted sum over experts E d."""
    return batch * time * (D * EXPERTS + EXPERTS * 2 * D * F + EXPERTS * D)


add(
    "mixture of experts, all computed",
    build=Experts,
    inputs=lambda batch, time: (torch.randn(batch, time, D),),
    sizes={"batch": 2, "time": 9},
    others={"batch": 3, "time": 31},
    macs=experts_macs,
    fixed=lambda batch, time: batch * time * (D * EXPERTS + EXPERTS * D * F),
    axes={"batch": [(0, 0)], "time": [(0, 1)]},
)
