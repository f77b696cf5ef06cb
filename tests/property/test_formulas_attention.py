"""Attention: the formulas equal loops over the allowed pairs of positions, run on counting scalars."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepspeech2.flops.formulas.attention import Attention, attention, attention_gradient, mask_gradient

deterministic = settings(max_examples=40, deadline=None, derandomize=True)
sizes = st.integers(1, 4)


def allowed_keys(query, keys, causal):
    return range(min(query + 1, keys) if causal else keys)


def probabilities_of(scalars, q, k, bias, scale, causal):
    """Rows of the softmax, over the allowed keys of each query."""
    rows = []
    for i in range(len(q)):
        scores = []
        for j in allowed_keys(i, len(k), causal):
            score = scalars.accumulate(None, list(zip(q[i], k[j], strict=True))) * scale
            scores.append(score if bias is None else score + bias[i, j])
        largest = scalars.largest(scores)
        exponentials = [math.exp(score - largest) for score in scores]
        total = scalars.add_up(exponentials)
        rows.append([value / total for value in exponentials])
    return rows


def loop_attention(scalars, q, k, v, bias=None, *, causal):
    result = np.empty((*q.shape[:2], v.shape[2]), object)
    scale = scalars.constant(q.shape[2] ** -0.5)
    for head in range(len(q)):
        rows = probabilities_of(scalars, q[head], k[head], bias, scale, causal)
        for i, row in enumerate(rows):
            for column in range(v.shape[2]):
                pairs = [(p, v[head, j, column]) for j, p in enumerate(row)]
                result[head, i, column] = scalars.accumulate(None, pairs)
    return result


def loop_attention_gradient(scalars, q, k, v, grad, bias=None, *, causal):
    results = tuple(np.full(tensor.shape, 0.0, object) for tensor in (q, k, v))
    scale = scalars.constant(q.shape[2] ** -0.5)
    for head in range(len(q)):
        rows = probabilities_of(scalars, q[head], k[head], bias, scale, causal)
        columns = [[i for i, row in enumerate(rows) if j < len(row)] for j in range(k.shape[1])]
        of_scores = []
        for i, row in enumerate(rows):
            of_p = [
                scalars.accumulate(None, list(zip(grad[head, i], v[head, j], strict=True))) for j in range(len(row))
            ]
            total = scalars.add_up([g * p for g, p in zip(of_p, row, strict=True)])
            of_scores.append([p * (g - total) * scale for g, p in zip(of_p, row, strict=True)])
            for c in range(q.shape[2]):
                pairs = [(s, k[head, j, c]) for j, s in enumerate(of_scores[i])]
                results[0][head, i, c] = scalars.accumulate(None, pairs)
        for j, seen_by in enumerate(columns):
            if not seen_by:
                continue
            for c in range(k.shape[2]):
                pairs = [(of_scores[i][j], q[head, i, c]) for i in seen_by]
                results[1][head, j, c] = scalars.accumulate(None, pairs)
            for c in range(v.shape[2]):
                pairs = [(rows[i][j], grad[head, i, c]) for i in seen_by]
                results[2][head, j, c] = scalars.accumulate(None, pairs)
    return results


@deterministic
@given(heads=sizes, queries=sizes, keys=sizes, key_size=sizes, value_size=sizes, mask=st.sampled_from(" cb"))
def test_attention_and_its_gradient(proves, heads, queries, keys, key_size, value_size, mask) -> None:
    causal, biased = mask == "c", mask == "b"
    generator = np.random.default_rng(0)
    shapes = [(heads, queries, key_size), (heads, keys, key_size), (heads, keys, value_size)]
    q, k, v = (torch.from_numpy(generator.normal(size=shape)).requires_grad_() for shape in shapes)
    bias = torch.from_numpy(generator.normal(size=(queries, keys))) if biased else None
    grad = torch.from_numpy(generator.normal(size=(heads, queries, value_size)))
    y = functional.scaled_dot_product_attention(q, k, v, bias, is_causal=causal)
    gradients = torch.autograd.grad(y, (q, k, v), grad)
    plain = [tensor.detach() for tensor in (q, k, v)]
    extra = [bias] if biased else []
    specified = Attention(heads, queries, keys, key_size, value_size, causal=causal, bias=biased)
    proves(attention(specified), loop_attention, *plain, *extra, causal=causal, equals=y.detach())
    formula = attention_gradient(specified)
    proves(formula, loop_attention_gradient, *plain, grad, *extra, causal=causal, equals=gradients)


def loop_mask_gradient(scalars, of_scores):
    """Gradients of the scores of all heads, summed into the one mask they share."""
    _, queries, keys = of_scores.shape
    return [[scalars.add_up(list(of_scores[:, i, j])) for j in range(keys)] for i in range(queries)]


@deterministic
@given(heads=sizes, queries=sizes, keys=sizes)
def test_the_gradient_of_a_mask_shared_by_heads(proves, heads, queries, keys) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(heads, length, 3, generator=generator, dtype=torch.float64) for length in (queries, keys, keys)
    )
    mask = torch.zeros(queries, keys, dtype=torch.float64, requires_grad=True)
    each = torch.zeros(heads, queries, keys, dtype=torch.float64, requires_grad=True)
    (shared,) = torch.autograd.grad(functional.scaled_dot_product_attention(q, k, v, mask).sum(), mask)
    (separate,) = torch.autograd.grad(functional.scaled_dot_product_attention(q, k, v, each).sum(), each)
    formula = mask_gradient(Attention(heads, queries, keys, 3, 3, bias=True), queries * keys)
    proves(formula, loop_mask_gradient, separate, equals=shared)
