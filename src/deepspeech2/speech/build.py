"""Making a network with fresh weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from deepspeech2.errors import OptionError
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.options import ENGLISH_LABELS, NetworkOptions, preset


def build_model(
    architecture: str | NetworkOptions = "default",
    *,
    seed: int | None = None,
    labels: tuple[str, ...] | None = None,
    device: torch.device | str | None = None,
) -> DeepSpeech2:
    """Build a DeepSpeech2 with the published initial weights.

    Inside ``with torch.device("meta")``, or with ``device="meta"``, no weight takes memory: enough to count
    operations and parameters.

    Args:
        architecture: A preset, `default`, `librispeech`, `aishell` or `baidu-en8k`, or options of one's own.
        seed: The same seed gives the same weights, and leaves torch's global generator alone; without one, the
            weights are drawn from the global generator.
        labels: The symbols of the output; by default those of the published English models when there are 28 of
            them, and otherwise none.
        device: Where the weights live; torch's default device when None.

    Returns:
        The network in evaluation mode: call ``train()`` before training it.

    Raises:
        OptionError: There is no such preset, or it is neither a name nor options.
        VocabularyError: The labels do not fit the options.

    Example:
        >>> sum(p.numel() for p in build_model("librispeech", device="meta").parameters())
        45024509
    """
    if not isinstance(architecture, (str, NetworkOptions)):
        raise OptionError(f"expected a preset's name or NetworkOptions, found {type(architecture).__name__}")
    options = preset(architecture) if isinstance(architecture, str) else architecture
    if labels is None and options.vocab_size == len(ENGLISH_LABELS):
        labels = ENGLISH_LABELS
    target = torch.get_default_device() if device is None else torch.device(device)
    # Weights are drawn on the CPU: the same seed gives the same network on every device.
    with torch.device("meta" if target.type == "meta" else "cpu"), torch.random.fork_rng([], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        model = DeepSpeech2(options, labels=labels)
    if target.type not in ("cpu", "meta"):
        model.to(target)
    return model.eval()


@torch.no_grad()
def with_labels(model: DeepSpeech2, labels: tuple[str, ...], *, seed: int | None = None) -> DeepSpeech2:
    """The same network for other labels: to go on training it for another language or another spelling.

    Every layer but the output is taken over, and of the output the rows of the blank and of the labels both have; the
    rows of new labels get fresh weights. A model that has as many outputs and no labels is taken to have these.

    Args:
        model: The network; it is not changed.
        labels: The new symbols, without the blank.
        seed: Of the fresh weights; see `build_model`.

    Returns:
        A network in evaluation mode, on the device of the model.

    Raises:
        VocabularyError: The labels cannot be a network's.
    """
    known = model.labels or (labels if model.options.vocab_size == len(labels) else ())
    changed = build_model(replace(model.options, vocab_size=len(labels)), seed=seed, labels=labels)
    changed.load_state_dict(
        {name: value for name, value in model.state_dict().items() if not name.startswith("output.")}, strict=False
    )
    rows = [(new, known.index(label)) for new, label in enumerate(labels) if label in known]
    for new, old in [*rows, (len(labels), model.options.vocab_size)]:
        changed.output.weight[new] = model.output.weight[old]
        changed.output.bias[new] = model.output.bias[old]
    changed.normalizer = model.normalizer
    return changed.to(model.output.weight.device)
