"""A transducer, an attention decoder, a streaming encoder, and a selective state space."""

import torch
from torch import nn
from torch.nn import functional

from whole_models import add

H, JOINT, V, MELS, EMBEDDED = 12, 10, 9, 8, 6


# Transducer --------------------------------------------------------------------------------------------------------


class Transducer(nn.Module):
    """A GRU both ways over frames, an LSTM over labels, and a joint network over every pair of a frame and a label."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(MELS, H, 2, batch_first=True, bidirectional=True)
        self.embedding = nn.Embedding(V, EMBEDDED)
        self.prediction = nn.LSTM(EMBEDDED, H, batch_first=True)
        self.of_frames, self.of_labels = nn.Linear(2 * H, JOINT), nn.Linear(H, JOINT, bias=False)
        self.output = nn.Linear(JOINT, V)

    def forward(self, frames, labels):
        heard, _ = self.encoder(frames)
        said, _ = self.prediction(self.embedding(functional.pad(labels, (1, 0))))
        joint = self.of_frames(heard)[:, :, None] + self.of_labels(said)[:, None]
        return self.output(joint.tanh()).log_softmax(-1)


def transducer_macs(batch, time, labels):
    """GRU: two layers, two ways, 3 h (n + h) a frame, the second with n = 2 h. LSTM over U + 1 labels. The joint
    projects frames and labels on their own, and T (U + 1) pairs on the vocabulary.
    """
    encoder = time * 2 * (3 * H * (MELS + H) + 3 * H * (2 * H + H))
    steps = labels + 1
    prediction = steps * 4 * H * (EMBEDDED + H)
    joint = time * 2 * H * JOINT + steps * H * JOINT + time * steps * JOINT * V
    return batch * (encoder + prediction + joint)


def transducer_fixed(batch, time, labels):
    """The products of the first layer with frames; of every first step with an initial state that needs none."""
    return batch * (time * 2 * 3 * H * MELS + 2 * 2 * 3 * H * H + 4 * H * H)


add(
    "transducer",
    build=Transducer,
    inputs=lambda batch, time, labels: (torch.randn(batch, time, MELS), torch.zeros(batch, labels).long()),
    sizes={"batch": 2, "time": 11, "labels": 4},
    others={"batch": 3, "time": 40, "labels": 13},
    macs=transducer_macs,
    fixed=transducer_fixed,
    axes={"batch": [(0, 0), (1, 0)], "time": [(0, 1)], "labels": [(1, 1)]},
)


# Attention decoder -------------------------------------------------------------------------------------------------


class Speller(nn.Module):
    """A cell reads a label and a context, asks the memory by dot products, and spells."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, EMBEDDED)
        self.cell = nn.LSTMCell(EMBEDDED + H, H)
        self.query = nn.Linear(H, H, bias=False)
        self.output = nn.Linear(2 * H, V)

    def forward(self, memory, labels):
        h = c = context = torch.zeros_like(memory[:, 0])
        spelled = []
        embedded = self.embedding(labels)
        for place in range(labels.shape[1]):
            h, c = self.cell(torch.cat([embedded[:, place], context], 1), (h, c))
            scores = torch.bmm(memory, self.query(h).unsqueeze(2)).squeeze(2)
            context = torch.bmm(scores.softmax(1).unsqueeze(1), memory).squeeze(1)
            spelled.append(self.output(torch.cat([h, context], 1)))
        return torch.stack(spelled, 1)


def speller_macs(batch, time, labels):
    """Each label: the cell, a query h h, T scores and T weights of h, an output 2 h V."""
    return batch * labels * (4 * H * (EMBEDDED + H + H) + H * H + 2 * time * H + 2 * H * V)


def speller_fixed(batch, time, labels):
    """The memory is an input: scores and mixing have one gradient each; so has the first step's initial state."""
    return batch * (labels * 2 * time * H + 4 * H * H)


add(
    "attention decoder",
    build=Speller,
    inputs=lambda batch, time, labels: (torch.randn(batch, time, H), torch.zeros(batch, labels).long()),
    sizes={"batch": 2, "time": 7, "labels": 4},
    others={"batch": 3, "time": 30, "labels": 13},
    macs=speller_macs,
    fixed=speller_fixed,
    # The first step's product with a state of zeros is folded away.
    exported=lambda batch, time, labels: -batch * 4 * H * H,
    axes={"batch": [(0, 0), (1, 0)], "time": [(0, 1)], "labels": [(1, 1)]},
)


# Streaming ---------------------------------------------------------------------------------------------------------

CHUNK, TAPS = 4, 3


class Streaming(nn.Module):
    """Chunks of four frames: a causal convolution behind the two frames before, a GRU that keeps its state."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(MELS, H, TAPS)
        self.recurrence = nn.GRU(H, H)
        self.output = nn.Linear(H, V)
        self.chunk, self.before, self.size = CHUNK, TAPS - 1, H

    def forward(self, frames):
        before = torch.zeros_like(frames[:, :, : self.before])
        state = torch.zeros(1, frames.shape[0], self.size, device=frames.device)
        spelled = []
        for chunk in torch.split(frames, self.chunk, 2):
            seen = torch.cat([before, chunk], 2)
            before = seen[:, :, -self.before :]
            heard, state = self.recurrence(self.convolution(seen).relu().permute(2, 0, 1), state)
            spelled.append(self.output(heard))
        return torch.cat(spelled)


def streaming_macs(batch, time):
    """As the whole at once: each frame is convolved, heard and projected once."""
    return batch * time * (TAPS * MELS * H + 3 * H * (H + H) + H * V)


add(
    "streaming encoder",
    build=Streaming,
    inputs=lambda batch, time: (torch.randn(batch, MELS, time),),
    sizes={"batch": 2, "time": 12},
    others={"batch": 3, "time": 44},
    macs=streaming_macs,
    fixed=lambda batch, time: batch * (time * TAPS * MELS * H + 3 * H * H),
    axes={"batch": [(0, 0)], "time": [(0, 2)]},
)


# Selective state space ---------------------------------------------------------------------------------------------

INNER, STATE, RANK = 2 * H, 5, 3


class StateSpace(nn.Module):
    """A block as Mamba's: a gate, a causal depthwise convolution, a scan whose matrices depend on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(H, 2 * INNER, bias=False), nn.Linear(INNER, H, bias=False)
        self.convolution = nn.Conv1d(INNER, INNER, 4, padding=3, groups=INNER)
        self.select = nn.Linear(INNER, RANK + 2 * STATE, bias=False)
        self.step = nn.Linear(RANK, INNER)
        self.rates = nn.Parameter(torch.zeros(INNER, STATE))
        self.skip = nn.Parameter(torch.ones(INNER))
        self.parts = [RANK, STATE, STATE]

    def forward(self, x):
        time = x.shape[1]
        y, gate = self.into(x).chunk(2, -1)
        y = functional.silu(self.convolution(y.transpose(1, 2))[:, :, :time].transpose(1, 2))
        rank, inward, outward = self.select(y).split(self.parts, -1)
        step = functional.softplus(self.step(rank))
        kept = torch.exp(step.unsqueeze(3) * -self.rates.exp())
        added = step.unsqueeze(3) * inward.unsqueeze(2) * y.unsqueeze(3)
        state = torch.zeros_like(added[:, 0])
        read = []
        for place in range(time):
            state = kept[:, place] * state + added[:, place]
            read.append(torch.einsum("bds,bs->bd", state, outward[:, place]))
        return self.out((torch.stack(read, 1) + self.skip * y) * functional.silu(gate))


def state_space_macs(batch, time):
    """Linear layers; four taps at T + 3 places; the state is read by a product i s a step. Its update is pointwise."""
    linear = H * 2 * INNER + INNER * (RANK + 2 * STATE) + RANK * INNER + INNER * H
    return batch * (time * (linear + INNER * STATE) + (time + 3) * 4 * INNER)


add(
    "state space scan",
    build=StateSpace,
    inputs=lambda batch, time: (torch.randn(batch, time, H),),
    sizes={"batch": 2, "time": 6},
    others={"batch": 3, "time": 25},
    macs=state_space_macs,
    fixed=lambda batch, time: batch * time * H * 2 * INNER,
    axes={"batch": [(0, 0)], "time": [(0, 1)]},
)
