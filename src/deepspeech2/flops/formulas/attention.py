"""Scaled dot-product attention."""

from __future__ import annotations

from dataclasses import dataclass

from deepspeech2.flops.formulas.activations import dropout
from deepspeech2.flops.operations import Number, OperationCount


@dataclass(frozen=True, slots=True)
class Attention:
    """Sizes of an attention.

    Attributes:
        heads: independent attentions, batch times heads.
        queries: query positions of one head.
        keys: key positions of one head.
        key_size: length of a query and of a key vector.
        value_size: length of a value vector.
        causal: position i sees keys 0 .. i only.
        bias: a mask is added to the scores.
        dropped: the probabilities go through dropout.
        allowed: where a mask's values are known, the (query, key) pairs it allows, over all heads.
        active: and the queries that see any key, over all heads.
        seen: and the keys that any query sees, over all heads.
    """

    heads: Number
    queries: Number
    keys: Number
    key_size: Number
    value_size: Number
    causal: bool = False
    bias: bool = False
    dropped: bool = False
    allowed: Number | None = None
    active: Number | None = None
    seen: Number | None = None

    @property
    def all_pairs(self) -> Number:
        """(query, key) pairs that are allowed to meet, over all heads."""
        return self.heads * self.pairs if self.allowed is None else self.allowed

    @property
    def rows(self) -> Number:
        """Queries, over all heads; those that may see no key cost nothing."""
        return self.heads * self.queries if self.active is None else self.active

    @property
    def columns(self) -> Number:
        """Keys that some query sees, over all heads."""
        return self.heads * self.keys_seen if self.seen is None else self.seen

    @property
    def pairs(self) -> Number:
        """(query, key) pairs that are allowed to meet in one head, by causality alone."""
        if not self.causal:
            return self.queries * self.keys
        if self.queries == self.keys:
            return _half(self.queries * (self.queries + 1))
        short = _smaller(self.queries, self.keys)
        return _half(short * (short + 1)) + (self.queries - short) * self.keys

    @property
    def keys_seen(self) -> Number:
        """Keys of one head that some query may see: a causal mask hides those behind the last query."""
        if not self.causal or self.queries == self.keys:
            return self.keys
        return _smaller(self.queries, self.keys)


def _half(even: Number) -> Number:
    return even // 2 if isinstance(even, int) else even / 2


def _smaller(first: Number, second: Number) -> Number:
    if isinstance(first, int) and isinstance(second, int):
        return min(first, second)
    from sympy import Min

    return Min(first, second)


def _merged(terms: Number, sums: Number) -> Number:
    """Additions (or comparisons) that fold so many terms into so many results; without terms there are none."""
    return terms - sums if terms != 0 else 0


def attention(sizes: Attention) -> OperationCount:
    """softmax(q k^T * scale + bias) v, over allowed pairs only.

    Algorithm: per allowed pair a dot product of `key_size`, a multiplication by the scale, an addition if there is
    a bias; per query a softmax over its allowed keys, then dropout if there is any; per query and value element a dot
    product over allowed keys.
    Masked pairs cost nothing: a kernel that computes and discards them does more work than this.
    """
    pairs = sizes.all_pairs
    rows = sizes.rows
    mixing = pairs * sizes.value_size
    count = _probabilities(sizes) + OperationCount(
        multiply=mixing, add=_merged(mixing, rows * sizes.value_size), macs=mixing
    )
    return count + dropout(pairs) if sizes.dropped else count


def _probabilities(sizes: Attention) -> OperationCount:
    """softmax(q k^T * scale + bias), over allowed pairs only."""
    pairs = sizes.all_pairs
    rows = sizes.rows
    scores = pairs * sizes.key_size
    return OperationCount(
        multiply=scores + pairs,
        # The products, the bias, the largest subtracted, and the sum of a row.
        add=_merged(scores, pairs) + (pairs if sizes.bias else 0) + pairs + _merged(pairs, rows),
        exp=pairs,
        divide=pairs,
        compare=_merged(pairs, rows),
        macs=scores,
    )


def attention_gradient(
    sizes: Attention, needed: tuple[bool, bool, bool] = (True, True, True), *, of_mask: bool = False
) -> OperationCount:
    """Gradient of `attention` with respect to query, key and value; probabilities are recomputed from q and k.

    Algorithm: scores and softmax again (as forward, without the mixing); for the values dV = P^T dO; for queries, keys
    and a mask dP = dO V^T and dS = P * (dP - rowsum(dP * P)); for queries and keys dS * scale, dQ = dS K and
    dK = dS^T Q. Five products over allowed pairs; a key that no query sees has a gradient of zero and costs nothing.
    With dropout, P in dV and dP are each multiplied by the scaled mask that the forward pass kept.

    Args:
        sizes: those of the forward pass.
        needed: whether queries, keys and values need a gradient; what is for others only is not computed.
        of_mask: whether a mask needs one, of which `mask_gradient` is the rest.
    """
    of_query, of_key, of_value = needed
    pairs = sizes.all_pairs
    rows = sizes.rows
    keys = sizes.columns
    scores = pairs * sizes.key_size
    mixing = pairs * sizes.value_size
    dropped = pairs if sizes.dropped else 0
    count = _probabilities(sizes) if any(needed) or of_mask else OperationCount()
    if of_value:
        sums = _merged(mixing, keys * sizes.value_size)
        count = count + OperationCount(multiply=mixing + dropped, add=sums, macs=mixing)
    if of_query or of_key or of_mask:
        sums = _merged(mixing, pairs) + _merged(pairs, rows) + pairs
        count = count + OperationCount(multiply=mixing + dropped + 2 * pairs, add=sums, macs=mixing)
    if of_query or of_key:
        count = count + OperationCount(multiply=pairs)
    if of_query:
        count = count + OperationCount(multiply=scores, add=_merged(scores, rows * sizes.key_size), macs=scores)
    if of_key:
        count = count + OperationCount(multiply=scores, add=_merged(scores, keys * sizes.key_size), macs=scores)
    return count


def attention_tangent(
    sizes: Attention, given: tuple[bool, bool, bool] = (True, True, True), *, of_mask: bool = False
) -> OperationCount:
    """Derivative of `attention` in the direction of dq, dk and dv, beside its result: probabilities P are there.

    Algorithm, over allowed pairs: dS = (dq k + q dk) * scale + dmask, dP = P * dS - P * rowsum(P * dS), then
    dO = dP V + P dV. With dropout, dP is multiplied by the scaled mask that the forward pass drew.

    Args:
        sizes: those of the attention.
        given: whether queries, keys and values have a direction; what only others would need is not computed.
        of_mask: whether a mask has one.
    """
    of_query, of_key, of_value = given
    pairs, rows = sizes.all_pairs, sizes.rows
    scores, mixing = pairs * sizes.key_size, pairs * sizes.value_size
    outputs = rows * sizes.value_size
    products = OperationCount(multiply=scores, add=_merged(scores, pairs), macs=scores)
    mixed = OperationCount(multiply=mixing, add=_merged(mixing, outputs), macs=mixing)
    count = products * (of_query + of_key)
    if of_query or of_key:
        # The two added to each other, the scale, the direction of a mask.
        count = count + OperationCount(add=pairs * (of_query and of_key) + pairs * of_mask, multiply=pairs)
    of_scores = of_query or of_key or of_mask
    if of_scores:
        dropped = pairs if sizes.dropped else 0
        softmax = OperationCount(multiply=2 * pairs + dropped, add=_merged(pairs, rows) + pairs)
        count = count + softmax + mixed
    if of_value:
        count = count + mixed + OperationCount(add=outputs if of_scores and pairs != 0 else 0)
    return count


def mask_gradient(sizes: Attention, mask_elements: Number) -> OperationCount:
    """Gradient of a learned mask: dS before the scale, summed over the axes along which the mask was repeated."""
    return OperationCount(add=_merged(sizes.all_pairs, mask_elements))
