"""Keys that a query sees: by hand on short sequences, counted query by query."""

import msgspec
import pytest

from roofline.counting.keys import counted_keys, visible_keys
from roofline.model.spec import Attention

PLAIN = Attention(n_heads=1, n_kv_heads=1, head_dim=2, value_head_dim=2)


def one_by_one(spec: Attention, seq_len: int) -> float:
    """The mean over all queries of what each sees."""
    nearby = min(bound for bound in (spec.window, spec.top_keys, seq_len) if bound is not None)
    total = 0
    for query in range(1, seq_len + 1):
        start = (query - 1) // nearby * nearby if spec.window_chunked else 0  # of its chunk
        total += min(query - start, nearby) if spec.causal else min(nearby, seq_len - start)
    mean = total / seq_len
    if spec.compress_ratio:  # of the blocks, as many as lie behind the middle query of each
        blocks = seq_len // spec.compress_ratio
        most = min(blocks, spec.compress_top_k or blocks)
        mean += sum(min(block, most) for block in range(1, blocks + 1)) / blocks if spec.causal else most
    return mean


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"causal": False},
        {"window": 4},
        {"window": 4, "causal": False},
        {"window": 4, "window_chunked": True},
        {"window": 6, "window_chunked": True},  # the last chunk has 4 of 16
        {"window": 6, "window_chunked": True, "causal": False},
        {"window": 20, "window_chunked": True},
        {"top_keys": 6},
        {"window": 4, "compress_ratio": 4},
        {"window": 4, "compress_ratio": 4, "compress_top_k": 2},
        {"window": 4, "compress_ratio": 4, "compress_top_k": 2, "causal": False},
    ],
)
def test_visible_keys_are_the_mean_over_the_queries(changes: dict[str, int]) -> None:
    spec = msgspec.structs.replace(PLAIN, **changes)
    assert visible_keys(spec, 16) == pytest.approx(one_by_one(spec, 16))


def test_counted_keys_are_bounded_by_the_model_and_halved_where_asked() -> None:
    spec = msgspec.structs.replace(PLAIN, window=128, compress_ratio=4, compress_top_k=512)
    assert counted_keys(PLAIN, 4096) == 4096
    assert counted_keys(PLAIN, 4096, causal=True) == 2048
    assert counted_keys(spec, 4096) == 128 + 512  # of 1,024 compressed keys
    assert counted_keys(spec, 1024) == 128 + 256
    assert counted_keys(spec, 4096, causal=True) == 128 - 2 + 512 - 128  # w - w^2/(2S), k - k^2/(2*1024)
    chosen = msgspec.structs.replace(PLAIN, top_keys=2048)
    assert (counted_keys(chosen, 1024), counted_keys(chosen, 8192)) == (1024, 2048)
