"""Peak of live tensors: equal to what the same program holds when it really runs, followed storage by storage."""

import gc
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.checkpoint import checkpoint

from deepspeech2 import Tally, build_model, count, count_training
from deepspeech2.flops.memory import Memory


class HeldBytes(TorchDispatchMode):
    """Bytes of the storages of a real run: counted when an operator returns one, until Python sees it die."""

    def __init__(self, given) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.references = {tensor.untyped_storage()._cdata: tensor for tensor in given}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        for result in tree_flatten(results)[0]:
            if isinstance(result, torch.Tensor):
                self.add(result.untyped_storage())
        self.peak = max(self.peak, self.live)
        return results

    def add(self, storage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self.references:
            return

        def died(_) -> None:
            del self.references[address]
            self.live -= size

        self.references[address] = weakref.ref(storage, died)
        self.live += size


def held(module, inputs, *, training):
    """Peak bytes, and bytes alive after the forward pass, of a real run."""
    gc.collect()
    module.train(training)
    mode = HeldBytes([*module.parameters(), *module.buffers(), *inputs])
    with torch.set_grad_enabled(training), mode:
        results = module(*inputs)
    kept = mode.live
    if training:
        first = results[0] if isinstance(results, tuple) else results
        seed = torch.empty_like(first)
        mode.references[seed.untyped_storage()._cdata] = seed
        with mode:
            first.backward(seed)
        module.zero_grad(set_to_none=True)
    return mode.peak, kept


class Residual(nn.Module):
    """Views, an in-place activation, a branch that keeps its input, a reduction."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.output = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu_(self.norm(self.first(x)))
        x = x + self.second(x)
        return self.output(x.flatten(2).mean(2)).log_softmax(-1)


class Attention(nn.Module):
    """Attention spelled out, with heads as views."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.output = nn.Linear(16, 16)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        shares = (q @ k.transpose(-2, -1) * 0.5).softmax(-1)
        return self.output((shares @ v).transpose(1, 2).reshape(x.shape)) + x


class Loop(nn.Module):
    """A recurrence in Python: old states die unless autograd keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 8)

    def forward(self, x):
        state = x.new_zeros(x.shape[0], 8)
        outputs = []
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
            outputs.append(state.tanh())
        return torch.stack(outputs, 1)


class Recomputed(nn.Module):
    """Activation checkpoints, as either implementation makes them."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 8)) for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return x


class Tied(nn.Module):
    """One parameter in two places, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.output = nn.Linear(4, 11, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x):
        return self.output(self.embedding(x) * self.scale)


PROGRAMS = {
    "perceptron": (
        nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 40), nn.GELU(), nn.Linear(40, 3)),
        (7, 10),
    ),
    "in place": (nn.Sequential(nn.Linear(10, 30), nn.ReLU(inplace=True), nn.Linear(30, 3), nn.Sigmoid()), (7, 10)),
    "residual": (Residual(), (2, 3, 16, 16)),
    "attention": (Attention(), (2, 9, 16)),
    "loop": (Loop(), (3, 12, 6)),
    "norms": (nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12), nn.SiLU(), nn.Dropout(0.1), nn.RMSNorm(12)), (5, 12)),
    "half": (nn.Sequential(nn.Linear(8, 8), nn.Tanh()).to(torch.bfloat16), (4, 8)),
}


def example(program, shape):
    dtype = next(program.parameters()).dtype
    return torch.randn(shape, dtype=dtype)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_the_peak_is_that_of_a_real_run(name, training) -> None:
    program, shape = PROGRAMS[name]
    x = example(program, shape)
    peak, kept = held(program, (x,), training=training)
    tally = count_training(program, x) if training else count(program.eval(), x)
    assert (tally.memory.peak, tally.memory.kept) == (peak, kept)
    assert tally.memory.parameters == sum(one.numel() * one.element_size() for one in program.parameters())
    assert tally.memory.inputs == x.numel() * x.element_size()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_lower_the_peak_as_in_a_real_run(reentrant) -> None:
    """Kept between passes: per block its input of 60 x 8 only (the first is given), and the result."""
    program, x = Recomputed(reentrant), torch.randn(60, 8, requires_grad=True)
    peak, kept = held(program, (x,), training=True)
    memory = count_training(program, x).memory
    assert (memory.peak, memory.kept) == (peak, kept)
    assert memory.kept == 3 * 60 * 8 * 4
    plain = count_training(nn.Sequential(*program.blocks), x).memory
    assert memory.peak < plain.peak


def test_given_tensors_are_apart_and_shared_ones_once() -> None:
    ids = torch.zeros(2, 5, dtype=torch.int64)
    memory = count(Tied(), ids).memory
    assert (memory.parameters, memory.buffers, memory.inputs) == (11 * 4 * 4, 4 * 4, 2 * 5 * 8)
    # Embedded, times the scale; the first dies when the product has been made, the result joins the second.
    assert memory.peak == max(2 * (2 * 5 * 4 * 4), 2 * 5 * 4 * 4 + 2 * 5 * 11 * 4)
    assert memory.total == memory.parameters + memory.buffers + memory.inputs + memory.peak


def as_script(module, x, how, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(module) if how == "script" else torch.jit.trace(module, x)
        if how == "file":
            script.save(folder / "program.pt")
            script = torch.jit.load(folder / "program.pt")
    return script


@pytest.mark.parametrize("how", ["script", "trace", "file"])
@pytest.mark.parametrize("name", ["perceptron", "residual"])
def test_a_script_holds_its_weights_once_and_no_more_than_its_module(name, how, tmp_path) -> None:
    program, shape = PROGRAMS[name]
    program.eval()
    x = example(program, shape)
    script = as_script(program, x, how, tmp_path)
    memory = count(script, x).memory
    assert memory.parameters == sum(one.numel() * one.element_size() for one in program.parameters())
    assert memory.buffers == sum(one.numel() * one.element_size() for one in program.buffers())
    assert memory.peak == held(script, (x,), training=False)[0]


def test_a_tied_parameter_of_a_script_is_there_once(tmp_path) -> None:
    ids = torch.zeros(2, 5, dtype=torch.int64)
    for how in ("script", "trace", "file"):
        memory = count(as_script(Tied(), ids, how, tmp_path), ids).memory
        assert (memory.parameters, memory.buffers, memory.inputs) == (11 * 4 * 4, 4 * 4, 2 * 5 * 8)


def test_a_script_in_training_holds_its_weights_and_their_gradients_once() -> None:
    x = torch.empty(4, 3)
    memory = count_training(as_script(nn.Linear(3, 2, bias=False), x, "script", None), x).memory
    assert (memory.parameters, memory.buffers, memory.gradients, memory.optimiser) == (24, 0, 24, 48)


def test_a_training_step_by_hand() -> None:
    """y = x w of (4 x 3) by (3 x 2), no bias: the result lives (32 bytes), then the gradient of w (24 bytes)."""
    program = nn.Linear(3, 2, bias=False)
    memory = count_training(program, torch.empty(4, 3)).memory
    assert (memory.kept, memory.peak, memory.gradients) == (32, 32 + 24, 24)
    assert (memory.peak_phase, memory.peak_gradients) == ("backward", 0)
    assert memory.optimiser == 2 * 24
    assert count_training(program, torch.empty(4, 3), optimiser="sgd").memory.optimiser == 0
    assert count_training(program, torch.empty(4, 3), optimiser="sgd-momentum").memory.optimiser == 24


def test_recurrent_layers_keep_their_gates_and_fused_attention_its_sums() -> None:
    """LSTM of 5 units, 7 x 2 steps: output, two states; for backward 4 gates and the cell per step and unit."""
    lstm = nn.LSTM(3, 5)
    x = torch.empty(7, 2, 3)
    results = 4 * (7 * 2 * 5 + 2 * 2 * 5)
    initial = 2 * 4 * (2 * 5)
    inference, training = count(lstm, x).memory, count_training(lstm, x).memory
    assert inference.peak == results + initial
    assert training.kept == results + initial + 4 * 7 * 2 * 5 * 5
    q = torch.empty(2, 3, 8, 4, requires_grad=True)
    attention = nn.Module()
    attention.forward = lambda q: nn.functional.scaled_dot_product_attention(q, q, q)
    assert count(attention, q).memory.peak == 4 * 2 * 3 * 8 * 4
    assert count_training(attention, q).memory.kept == 4 * 2 * 3 * 8 * 4 + 4 * 2 * 3 * 8


def allocations(module, inputs) -> int:
    """Peak of what the CPU allocator hands out during a real run, by torch's profiler."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        results = module(*inputs)
    del results
    events = sorted(
        (event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"),
        key=lambda event: event.start_ns(),
    )
    live = peak = 0
    for event in events:
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize("name", ["perceptron", "in place", "attention", "loop", "norms"])
def test_the_allocator_hands_out_no_less(name) -> None:
    """The allocator also serves kernels' workspace: never less than what the program holds, here hardly more."""
    program, shape = PROGRAMS[name]
    x = example(program, shape)
    program.eval()
    allocations(program, (x,))
    found = allocations(program, (x,))
    memory = count(program, x).memory
    assert memory.peak <= found <= 1.2 * memory.peak


def test_an_hour_holds_360_times_ten_seconds() -> None:
    model = build_model("default", device="meta")
    peaks = [
        count(model, (torch.empty(1, 161, frames, device="meta"), torch.tensor([frames]))).memory.peak
        for frames in (999, 999 * 360)
    ]
    assert peaks[1] == pytest.approx(360 * peaks[0], rel=0.01)


def test_memory_is_written_and_read_back() -> None:
    tally = count_training(nn.Linear(3, 2), torch.empty(4, 3))
    assert Tally.from_json(tally.to_json()).memory == tally.memory
    with pytest.raises(TypeError):
        Memory.from_dict({"peak": "much"})
    assert count(nn.Linear(3, 2), torch.empty(4, 3), symbolic={"batch": 0}).tally.memory is None
