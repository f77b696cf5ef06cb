"""Attention: the formulas equal loops over the allowed pairs of positions, run on counting scalars."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import jvp
from torch.nn import functional

from deepspeech2.flops.formulas.attention import (
    Attention,
    attention,
    attention_gradient,
    attention_tangent,
    mask_gradient,
)

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


def loop_attention_tangent(scalars, p, q, k, v, *directions, given, causal):
    """dO = dP v + P dv with dP = P dS - P sum(P dS) and dS = (dq k + q dk) scale + dmask; P is there."""
    directions = dict(zip(given, directions, strict=True))
    result = np.empty((*q.shape[:2], v.shape[2]), object)
    scale = scalars.constant(q.shape[2] ** -0.5)

    def of_score(head, i, j):
        products = [(directions["q"][head, i], k[head, j])] if "q" in given else []
        products += [(q[head, i], directions["k"][head, j])] if "k" in given else []
        terms = [scalars.accumulate(None, list(zip(a, b, strict=True))) for a, b in products]
        terms = [scalars.add_up(terms) * scale] if terms else []
        return scalars.add_up([*terms, directions["m"][i, j]] if "m" in given else terms)

    for head in range(len(q)):
        for i in range(q.shape[1]):
            row = p[head, i, : len(allowed_keys(i, k.shape[1], causal))]
            of_row = []
            if set(given) - {"v"}:
                shares = [each * of_score(head, i, j) for j, each in enumerate(row)]
                total = scalars.add_up(shares)
                of_row = [share - each * total for share, each in zip(shares, row, strict=True)]
            for column in range(v.shape[2]):
                sums = [scalars.accumulate(None, [(d, v[head, j, column]) for j, d in enumerate(of_row)])]
                if "v" in given:
                    moved = directions["v"]
                    sums.append(
                        scalars.accumulate(None, [(each, moved[head, j, column]) for j, each in enumerate(row)])
                    )
                result[head, i, column] = scalars.add_up([one for one in sums if one is not None])
    return result


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@deterministic
@given(
    lengths=st.tuples(sizes, sizes, sizes, sizes, sizes),
    causal=st.booleans(),
    given=st.lists(st.sampled_from("qkvm"), min_size=1, unique=True),
)
def test_the_derivative_in_a_direction(proves, lengths, causal, given) -> None:
    heads, queries, keys, key_size, value_size = lengths
    given = [name for name in given if name != "m" or not causal] or ["v"]
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "q": (heads, queries, key_size),
        "k": (heads, keys, key_size),
        "v": (heads, keys, value_size),
        "m": (queries, keys),
    }
    at = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    directions = [torch.randn(shapes[name], generator=generator, dtype=torch.float64) for name in given]
    masked = "m" in given

    def attend(*moved):
        q, k, v, mask = {**at, **dict(zip(given, moved, strict=True))}.values()
        return functional.scaled_dot_product_attention(q, k, v, mask if masked else None, is_causal=causal)

    _, derivative = jvp(attend, tuple(at[name] for name in given), tuple(directions))
    scores = at["q"] @ at["k"].mT * key_size**-0.5 + (at["m"] if masked else 0)
    hidden = torch.ones(queries, keys, dtype=torch.bool).triu(1) & causal
    p = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    formula = attention_tangent(
        Attention(heads, queries, keys, key_size, value_size, causal=causal, bias=masked),
        ("q" in given, "k" in given, "v" in given),
        of_mask=masked,
    )
    arrays = (p, at["q"], at["k"], at["v"], *directions)
    proves(formula, loop_attention_tangent, *arrays, equals=derivative, given=given, causal=causal)


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
