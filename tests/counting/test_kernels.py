"""What a kernel computes and moves, against counts by hand. 1 multiply-add is 2 FLOPs."""

import pytest

from roofline.counting import kernels
from roofline.counting.kernels import AttentionShape
from roofline.counting.traffic import Passes

M, N, K, B = 3, 5, 7, 2
PRODUCT = 2 * B * M * N * K  # 420 FLOPs


def test_a_matmul_reads_both_operands_and_writes_its_result_once() -> None:
    found = kernels.matmul(M, N, K, B, es=2, out=4)
    assert found.flops == PRODUCT
    assert found.bytes_read == B * (M * K + K * N) * 2
    assert found.bytes_written == B * M * N * 4


def test_both_gradients_cost_as_much_as_the_product() -> None:
    data = kernels.data_gradient(M, N, K, B, es=2, out=2)
    weight = kernels.weight_gradient(M, N, K, B, es=2, out=4, adds=False)
    assert data.flops == weight.flops == PRODUCT
    assert data.bytes_read == B * (M * N + N * K) * 2  # dy, w
    assert data.bytes_written == B * M * K * 2  # dx
    assert weight.bytes_read == B * (K * M + M * N) * 2  # x, dy
    assert weight.bytes_written == B * K * N * 4  # dw in fp32
    adding = kernels.weight_gradient(M, N, K, B, es=2, out=4, adds=True)
    assert adding.bytes_read - weight.bytes_read == B * K * N * 4  # the sum so far


def test_padding_rounds_n_and_k_up_to_8_and_leaves_m() -> None:
    assert kernels.padded(kernels.matmul(M, N, 16, B, es=2, out=2)).shape == (M, 8, 16, B)


def test_a_bias_gradient_sums_over_rows_in_fp32() -> None:
    found = kernels.bias_gradient(10, 6, 2, es=2)
    assert (found.flops, found.bytes_read, found.bytes_written) == (120, 240, 48)


def test_a_gradient_in_its_own_sum_is_read_and_written_in_every_pass() -> None:
    found = kernels.grad_accumulate(100, 2, 4, 8, casts=False)
    assert (found.flops, found.bytes_read, found.bytes_written, found.kernels) == (100, 600, 400, 1)


def test_one_pass_of_one_dtype_adds_nothing() -> None:
    found = kernels.grad_accumulate(100, 4, 4, 1, casts=False)
    assert (found.flops, found.bytes_read, found.bytes_written, found.kernels) == (0, 0, 0, 0)


def test_autocast_casts_each_gradient_and_adds_from_the_second_on() -> None:
    # over 4 passes: 4 casts (2 read, 4 written), 3 sums (8 read, 4 written); the mean of one
    found = kernels.grad_accumulate(100, 2, 4, 4, casts=True)
    assert found.bytes_read == 100 * (4 * 2 + 3 * 8) / 4
    assert found.bytes_written == 100 * (4 * 4 + 3 * 4) / 4
    assert found.kernels == (4 + 3) / 4


def test_a_chain_moves_its_passes_and_computes_twice_backward() -> None:
    passes = Passes(reads=2, writes=1, back_reads=3, back_writes=2, kernels=1, back_kernels=4)
    forward, backward = kernels.chain(10, passes, 2, 5), kernels.chain_backward(10, passes, 2, 5)
    assert (forward.flops, forward.bytes_read, forward.bytes_written, forward.kernels) == (50, 40, 20, 1)
    assert (backward.flops, backward.bytes_read, backward.bytes_written, backward.kernels) == (100, 60, 40, 4)


@pytest.fixture
def shape() -> AttentionShape:
    """Two sequences, 4 query heads on 2 kv heads, 8 queries that see 4.5 of 8 keys on average (causal)."""
    return AttentionShape(
        batch=2, heads=4, kv_heads=2, seq_q=8, seq_kv=8, head_dim=16, value_head_dim=16, seen=4.5, counted=8, read=8
    )


def test_fused_attention_by_hand(shape: AttentionShape) -> None:
    forward = kernels.attention(shape, es=2)
    pairs = 2 * 4 * 8  # queries of all heads
    assert forward.flops == pairs * 4.5 * (2 * 16 + 2 * 16)  # q.k, p.v
    assert forward.model_flops == pairs * 8 * 64
    q, kv = pairs * 16, 2 * 8 * 2 * 16  # elements of q (and o), of k or v
    assert forward.bytes_read == (q + 2 * kv) * 2
    assert forward.bytes_written == q * 2 + pairs * 4  # o, log-sum-exp


def test_attention_backward_is_five_matmuls_for_two(shape: AttentionShape) -> None:
    forward, backward = kernels.attention(shape, es=2), kernels.attention_backward(shape, es=2)
    assert backward.flops == forward.flops * 5 / 2
    assert backward.model_flops == 2 * 2 * 4 * 8 * 8 * 64  # without the scores again: twice the forward


def test_latent_decode_reads_the_cache_once_for_all_heads(shape: AttentionShape) -> None:
    found = kernels.latent_decode(shape, es=2, rank=32, rope=8)
    assert found.flops == 2 * 4 * 8 * 4.5 * 2 * (32 + 8 + 32)  # scores over rank + rope, values over rank
    assert found.bytes_read == (2 * 4 * 8 * 16 + 2 * 4.5 * (32 + 8)) * 2
