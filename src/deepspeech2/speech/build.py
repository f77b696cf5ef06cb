"""Making a network with fresh weights."""

from __future__ import annotations

import torch

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
        OptionError: There is no such preset.
        VocabularyError: The labels do not fit the options.

    Example:
        >>> sum(p.numel() for p in build_model("librispeech", device="meta").parameters())
        45024509
    """
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
