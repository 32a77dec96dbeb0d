"""Model FLOPs utilization by every rule in use: FLOPs the model needs, over time x devices x dense peak.

MFU never counts recompute, and every rule takes the backward pass as twice the forward pass. The rules differ
in which parameters count as N and in how attention counts, which moves one and the same run from 50 to 59 %:
always name the rule. L is layers, d the width of all heads together, S the sequence length.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..arrays import Number, is_scalar
from ..errors import unknown
from ..model.parameters import count_parameters
from ..model.projections import layer_projections, model_projections
from ..model.spec import ModelConfig
from ..model.tensors import Projection
from .keys import all_compressed_keys, counted_keys, nearby_keys

Rule = Literal["6N+12LdS", "causal", "6N", "6N-without-embedding", "6N-all+12LdS"]
DEFAULT_RULE: Rule = "6N+12LdS"
RULES: dict[Rule, str] = {
    "6N+12LdS": "3 x the matmul FLOPs of the forward pass, full attention; N: weights that multiply a token",
    "causal": "6N+6LdS: the same with causal attention counted as half",
    "6N": "6 x all parameters a token passes through, look-up tables too; no attention",
    "6N-without-embedding": "6 x the weights that multiply a token; no attention",
    "6N-all+12LdS": "6 x all parameters, look-up tables too, plus full attention",
}


def rule_in_words(model: ModelConfig, seq_len: Number, rule: Rule = DEFAULT_RULE) -> str:
    """What `rule` counts of a model: where layers do not see all of a sequence, how many and how much of it."""
    words = RULES[rule]
    if rule in {"6N", "6N-without-embedding"} or not is_scalar(seq_len):
        return words
    seen = [(group.count, nearby_keys(group.attention, seq_len)) for group in model.groups if group.attention]
    bounded = [(count, keys) for count, keys in seen if keys < seq_len]
    if not bounded:
        return words
    layers, most = sum(count for count, _ in bounded), " or ".join(f"{n:,}" for n in sorted({n for _, n in bounded}))
    return f"{words}; {layers} of {model.n_layers} layers attend to {most} tokens at most"


def model_flops_per_token(model: ModelConfig, seq_len: Number, rule: Rule = DEFAULT_RULE) -> Number:
    """FLOPs of forward and backward that `rule` counts for one token.

    Source: arXiv:2204.02311, appendix B (6N + 12LHQT); arXiv:2001.08361, section 2.1 (6N).

    Raises:
        RooflineError: The rule is unknown.
    """
    if rule not in RULES:
        raise unknown("MFU rule", rule, RULES)
    if model.recorded is not None:  # no rule holds: its own matmuls, and one pass is its token
        from .recorded import recorded_flops

        return recorded_flops(model.recorded)
    all_parameters = rule in {"6N", "6N-all+12LdS"}
    weights = count_parameters(model).active if all_parameters else matmul_weights(model)
    if rule in {"6N", "6N-without-embedding"}:
        return 6 * weights
    return 6 * weights + 3 * attention_flops_per_token(model, seq_len, causal=rule == "causal")


def mfu(model_flops: Number, time_s: Number, num_devices: Number, peak_flops_per_s: Number) -> Number:
    """``model_flops / (time_s * num_devices * peak_flops_per_s)``, as a fraction.

    >>> mfu(312e12, 2.0, 1, 312e12)
    0.5
    """
    return model_flops / (time_s * num_devices * peak_flops_per_s)


def mfu_by_rule(
    model: ModelConfig, seq_len: Number, tokens_per_s: Number, num_devices: Number, peak_flops_per_s: Number
) -> dict[Rule, Number]:
    """MFU of one run by every rule.

    Args:
        model: The model.
        seq_len: Tokens per sequence.
        tokens_per_s: Tokens of all devices together, per second.
        num_devices: Devices that produced them.
        peak_flops_per_s: Dense peak of one device in the dtype of training.
    """
    return {
        rule: mfu(model_flops_per_token(model, seq_len, rule) * tokens_per_s, 1, num_devices, peak_flops_per_s)
        for rule in RULES
    }


def attention_flops_per_token(model: ModelConfig, seq_len: Number, *, causal: bool = False) -> Number:
    """Forward FLOPs of scores and weighted sum for one token, all layers.

    A sliding window is part of the model, so it bounds the keys by either rule; the causal mask halves them
    only where `causal` is asked for.
    """
    total: Number = 0
    for group in model.groups:
        for attention in (group.attention, group.cross_attention):
            if attention is None:
                continue
            keys = counted_keys(attention, seq_len, causal=causal)
            # q.k^T [1, d_qk] @ [d_qk, S] and p.v [1, S] @ [S, d_v] for each head
            width = attention.n_heads * (attention.head_dim + attention.value_head_dim)
            indexer = attention.index_heads * attention.index_head_dim  # scores every pair, window or not
            scored = all_compressed_keys(attention, seq_len) if attention.compress_ratio else seq_len
            total = total + group.count * 2 * (keys * width + scored * indexer)
    return total


def matmul_weights(model: ModelConfig) -> int:
    """Weights one token is multiplied with: no look-up tables, norms, biases or experts not visited.

    A tied head counts: it multiplies as an untied one does.
    """
    layers = sum(group.count * met_weights(layer_projections(group, model.d_model)) for group in model.groups)
    return layers + met_weights(model_projections(model))


def met_weights(projections: Iterable[Projection]) -> int:
    """Weights of some matrices that one token is multiplied with; an indexer takes no gradient and is not counted."""
    return sum(projection.met for projection in projections if projection.takes_gradient)
