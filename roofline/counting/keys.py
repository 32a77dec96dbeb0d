"""How many keys a query sees: all, those of a window, those an indexer chose, and compressed ones beside them."""

from __future__ import annotations

from ..arrays import Number, divide, is_scalar, minimum
from ..model.spec import Attention


def nearby_keys(spec: Attention, seq_len: Number) -> Number:
    """The keys that a window or an indexer leaves a query, at most."""
    bounds = [bound for bound in (spec.window, spec.top_keys) if bound is not None]
    return minimum(seq_len, *bounds) if bounds else seq_len


def _chunked(window: int, seq_len: Number, *, causal: bool) -> Number:
    """Keys of an average query in its own chunk: of w, the last one shorter; the mean of 1 to w behind a causal mask.

    >>> _chunked(4, 10, causal=False), _chunked(4, 10, causal=True)  # (2*4*4 + 2*2) / 10, (2*(1+2+3+4) + 1+2) / 10
    (3.6, 2.3)
    """
    whole = seq_len // window
    rest = seq_len - whole * window
    if causal:
        return (whole * window * (window + 1) + rest * (rest + 1)) / (2 * seq_len)
    return (whole * window * window + rest * rest) / seq_len


def all_compressed_keys(spec: Attention, seq_len: Number) -> Number:
    """The compressed keys of a sequence: one for every so many tokens."""
    return divide(seq_len, spec.compress_ratio) if spec.compress_ratio else 0


def compressed_keys(spec: Attention, seq_len: Number) -> Number:
    """The compressed keys that a query sees beside those nearby, at most."""
    keys = all_compressed_keys(spec, seq_len)
    return keys if spec.compress_top_k is None else minimum(keys, spec.compress_top_k)


def visible_keys(spec: Attention, seq_len: Number) -> Number:
    """Keys an average query sees: S, (S+1)/2 under a causal mask, fewer with a sliding window w.

    With a causal window the first w queries see 1, 2, ... w keys and the rest w each: w - w*(w-1)/(2*S). Of the
    compressed keys, one for every r tokens, a query sees those behind it, in the same way.
    """
    if spec.window is not None and spec.window_chunked:
        return _chunked(spec.window, seq_len, causal=spec.causal)
    window, compressed = nearby_keys(spec, seq_len), compressed_keys(spec, seq_len)
    if not spec.causal:
        return window + compressed
    if spec.compress_ratio:
        compressed = compressed - compressed * (compressed - 1) / (2 * all_compressed_keys(spec, seq_len))
    if is_scalar(window, seq_len) and window == seq_len:
        return divide(seq_len + 1, 2) + compressed
    return window - window * (window - 1) / (2 * seq_len) + compressed


def counted_keys(spec: Attention, seq_len: Number, *, causal: bool = False) -> Number:
    """Keys that the MFU rule counts for each query: what bounds them is part of the model, the causal mask is not.

    Where `causal` is asked for they are the half: S/2; with a window w: w - w^2/(2S).
    """
    if spec.window is not None and spec.window_chunked:
        return _chunked(spec.window, seq_len, causal=False) / (2 if causal and spec.causal else 1)
    window, compressed = nearby_keys(spec, seq_len), compressed_keys(spec, seq_len)
    if not (causal and spec.causal):
        return window + compressed
    if spec.compress_ratio:
        compressed = compressed - compressed * compressed / (2 * all_compressed_keys(spec, seq_len))
    return window - window * window / (2 * seq_len) + compressed
