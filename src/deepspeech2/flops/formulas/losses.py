"""Losses."""

from __future__ import annotations

from deepspeech2.flops.operations import Number, OperationCount


def ctc_loss(batch: Number, steps: Number, label_length: Number) -> OperationCount:
    """CTC negative log-likelihood by the forward recursion over 2 * label_length + 1 states, in the log domain.

    Algorithm: from the second step on, each state takes m = the maximum of three predecessors (two comparisons;
    one that does not exist is minus infinity and is computed all the same), then
    log(exp(a - m) + exp(b - m) + exp(c - m)) + m + log p: three subtractions, two additions, two additions. The
    loss is minus the log of the sum of the last two states: one comparison, two subtractions, three additions
    (the negation included). Counts are for every sample having `steps` frames and `label_length` labels. Notebook:
    not counted.
    """
    states = batch * (steps - 1) * (2 * label_length + 1)
    return OperationCount(
        compare=2 * states + batch,
        add=7 * states + 5 * batch,
        exp=3 * states + 2 * batch,
        log=states + batch,
    )


def ctc_loss_gradient(batch: Number, steps: Number, label_length: Number, vocabulary: Number) -> OperationCount:
    """Gradient of the CTC loss with respect to log-probabilities.

    Algorithm: the backward recursion, as many operations per state as the forward one; per state and frame the
    logarithm of the sum of alpha + beta into its label's accumulator (one addition, one comparison, two
    subtractions, two exponentials, an addition, a logarithm, an addition); then per frame and label
    (exp(lp) - exp(accumulated + loss - lp)) * g: three additions, two exponentials, one multiplication.
    """
    states = batch * (steps - 1) * (2 * label_length + 1)
    all_states = batch * steps * (2 * label_length + 1)
    labels = batch * steps * vocabulary
    return OperationCount(
        compare=2 * states + all_states,
        add=7 * states + 5 * all_states + 3 * labels,
        exp=3 * states + 2 * all_states + 2 * labels,
        log=states + all_states,
        multiply=labels,
    )
