"""What training minimises and what it is judged by: CTC losses that stay finite, and greedy errors."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deepspeech2.ctc import Alphabet, GreedyDecoder
from deepspeech2.speech.ctc_loss import ctc_losses
from deepspeech2.speech.data.batching import plan_batches
from deepspeech2.speech.data.loading import Batch, BatchLoader, load_ahead
from deepspeech2.speech.devices import device_of
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.precision import forward_in
from deepspeech2.speech.scoring import ErrorCount, error_rates
from deepspeech2.speech.training_options import TrainingOptions


def feasible_losses(
    log_probs: Tensor, output_frames: Tensor, batch: Batch, norm_by_times: bool = False
) -> tuple[Tensor, int, int]:
    """CTC losses of the utterances whose text fits into their frames; infinite ones never enter the sum.

    Returns:
        Losses in nats, (feasible,), the number of characters they are of, and how many utterances were left out.
    """
    texts = batch.labels.split(batch.label_lengths.tolist())
    # One frame a character, and a blank between two that are equal.
    needed = torch.tensor([len(text) + int((text[1:] == text[:-1]).sum()) for text in texts])
    keep = (needed <= output_frames.cpu()).nonzero()[:, 0]
    kept = [texts[int(index)] for index in keep]
    if not kept:
        return log_probs.new_zeros(0), 0, len(texts)
    losses = ctc_losses(
        log_probs.index_select(0, keep.to(log_probs.device)).float(),
        output_frames[keep.to(output_frames.device)],
        torch.cat(kept),
        batch.label_lengths[keep],
        norm_by_times=norm_by_times,
    )
    return losses, sum(map(len, kept)), len(texts) - len(kept)


@torch.no_grad()
def evaluate_greedy(
    model: DeepSpeech2, loader: BatchLoader, alphabet: Alphabet, options: TrainingOptions
) -> tuple[float, ErrorCount, ErrorCount]:
    """Mean loss per character, word errors and character errors of greedy decoding; every process does all of it."""
    decoder = GreedyDecoder(alphabet)
    batching = replace(options.batching, sortagrad=True)  # its epoch 0 is in order of length, without random numbers
    plan = plan_batches([utterance.duration for utterance in loader.utterances], batching, 0)
    total, characters = 0.0, 0
    references, hypotheses = [], []
    model.eval()
    device = device_of(model)
    for batch in load_ahead(loader, plan, 0, workers=options.workers):
        with forward_in(options.precision, device):
            log_probs, frames = model(batch.features.to(device), batch.frames)
        losses, counted, _ = feasible_losses(log_probs, frames, batch)
        total, characters = total + float(losses.sum()), characters + counted
        for row, length, index in zip(log_probs.float().cpu(), frames.tolist(), batch.indices, strict=True):
            references.append(loader.utterances[index].text)
            hypotheses.append(decoder.decode(row[:length].numpy()).text)
    words, letters = error_rates(references, hypotheses)
    return total / max(1, characters), words, letters
