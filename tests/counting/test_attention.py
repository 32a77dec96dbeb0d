"""Attention, fused and not, each with its product by hand."""

import pytest

from .tiny import PLAIN, TINY, op_of, step_of


def test_fused_attention_sees_half_under_a_causal_mask():
    forward, backward = op_of("attention.core"), op_of("attention.core.backward")
    full = 2 * (2 * 3 * 5 * 5 * 2) * 2  # two matmuls of [5, 2] x [2, 5] for 2 sequences and 3 heads
    assert (forward.model_flops, backward.model_flops) == (full, 2 * full)
    assert forward.flops == full * 3 / 5  # (5 + 1) / 2 of 5 keys
    assert backward.flops == forward.flops * 5 / 2  # five matmuls, the scores again among them
    q, kv, o = 10 * 6, 2 * 10 * 2, 10 * 6
    assert forward.bytes_read == 2 * (q + kv)
    assert forward.bytes_written == 2 * o + 4 * 30  # and the log-sum-exp of each query


def test_an_encoder_sees_every_key():
    core = op_of("attention.core", {**PLAIN, "kind": "encoder", "causal": False})
    assert core.flops == core.model_flops == 2 * (2 * 3 * 5 * 5 * 2) * 2


@pytest.mark.parametrize("attention", ["flash2", "unfused"])
@pytest.mark.parametrize("seq_len", [3, 5, 12])
def test_a_window_is_part_of_the_model(attention, seq_len):
    windowed = {**TINY, "window": 4}
    step = step_of(windowed, attention=attention, seq_len=seq_len)
    cores = [op for op in step.ops if op.name.startswith(("attention.core", "attention.scores", "attention.weighted"))]
    counted = sum(op.model_flops for op in cores if op.phase == "forward")
    # scores and weighted sum: 2 sequences, 3 heads, width 2, at most 4 keys
    assert counted == pytest.approx(2 * 2 * (2 * 3 * seq_len * min(seq_len, 4) * 2))
    if attention == "flash2":
        pairs = sum(min(i + 1, 4) for i in range(seq_len))  # query i sees itself and up to 3 before it
        assert cores[0].flops == pytest.approx(2 * 2 * 2 * 3 * pairs * 2)


def test_unfused_attention_computes_every_score():
    scores, weighted = (
        op_of("attention.scores", attention="unfused"),
        op_of("attention.weighted", attention="unfused"),
    )
    assert scores.flops == weighted.flops == 2 * (2 * 3) * 5 * 5 * 2
    assert (scores.shape, weighted.shape) == ((5, 5, 2, 6), (5, 2, 5, 6))
    softmax = op_of("attention.softmax", attention="unfused")
    assert softmax.bytes == 2 * (2 * 2 * 3 * 5 * 5)  # reads and writes 150 scores


@pytest.mark.parametrize(
    ("stack", "dtype", "each"),
    [
        ("hf-trainer", "fp32", 4),
        ("hf-trainer@4.17", "fp32", 4 + 4),  # what it is of, which PyTorch 1.10 keeps
        ("hf-trainer", "bf16", 4 + 2),  # autocast runs softmax in fp32: its result, and the copy that is multiplied
        ("hf-trainer@4.17", "bf16", 4 + 2 + 4),
    ],
)
def test_what_softmax_keeps(stack, dtype, each):
    softmax = op_of("attention.softmax", attention="unfused", stack=stack, dtype=dtype)
    assert softmax.saved_bytes == each * (2 * 3 * 5 * 5)


def test_context_parallelism_divides_queries_and_gathers_keys():
    one, two = (op_of("attention.core", seq_len=8, cp=cp, num_devices=cp) for cp in (1, 2))
    assert (one.shape, two.shape) == ((2, 3, 8, 8, 2), (2, 3, 4, 8, 2))
    assert one.flops == 2 * two.flops
    gathers = [op for op in step_of(seq_len=8, cp=2, num_devices=2).ops if op.group == "cp"]
    keys_and_values = 2 * 8 * (2 + 2) * 2  # of the whole sequence, one kv head
    assert {(op.collective, op.bytes_sent) for op in gathers} == {
        ("all_gather", keys_and_values),
        ("reduce_scatter", keys_and_values),
    }


def test_a_ring_merges_its_steps_in_fp32():
    found = step_of(seq_len=8, cp=2, num_devices=2, stack="torchtitan")
    sent = {(op.collective, op.phase): op.bytes_sent for op in found.ops if op.group == "cp"}
    keys_and_values = 2 * 8 * 3 * (2 + 2)  # of the whole sequence, repeated for each of three heads
    assert sent == {
        ("all_gather", "forward"): 2 * keys_and_values,
        ("all_gather", "backward"): 2 * keys_and_values,
        ("send_recv", "backward"): 4 * keys_and_values,
    }
    merge, back = (op for op in found.ops if op.name.startswith("attention.ring_merge"))
    elements = 2 * 4 * 3 * 2  # outputs of this rank
    # keys and values joined (4 in, 4 out), two casts (2, 4), out - sigmoid x (out - other) in three kernels (20, 12),
    # which one of two ranks does of half and joins (4, 4); to 16 bits (4, 2)
    assert merge.bytes_read == elements * (4 + 2 + (22 + 11 + 4) / 2 + 4)
    assert merge.bytes_written == elements * (4 + 4 + (16 + 8 + 4) / 2 + 2)
    # three gradients each added twice (6, 4), half and joined on one of two (3 + 4, 2 + 4); two put together twice
    assert back.bytes_read == elements * (2 * (3 * 6.5 + 8) + 4 + 12)
    assert back.bytes_written == elements * (2 * (3 * 5 + 8) + 4 + 12 + 6)
    assert not [op for op in step_of(seq_len=8, stack="torchtitan").ops if "ring" in op.name]


EAGER = {"stack": "eager", "dtype": "bf16", "master_weights": False}  # 2 bytes an element, 10 tokens of width 6


def saved(name, flat, **options):
    return op_of(name, flat, **EAGER, **options).saved_bytes


def test_values_that_are_views_keep_the_whole_product_of_queries_keys_and_values():
    rotary = {**PLAIN, "rotary": True}
    apart, joint = (saved("attention.core", {**rotary, "joint_qkv": flag}) for flag in (False, True))
    assert joint - apart == 10 * (6 + 6) * 2  # q and k stay beside what rotary makes of them
    assert saved("attention.core", {**PLAIN, "joint_qkv": True}) == saved("attention.core", PLAIN)


def test_a_gate_keeps_its_sigmoid_and_the_product():
    gate = op_of("attention.gate", {**PLAIN, "attention_gate": True}, **EAGER)
    assert gate.saved_bytes == 2 * 10 * 6 * 2
    assert (gate.bytes_read, gate.bytes_written) == (3 * 10 * 6 * 2, 2 * 10 * 6 * 2)


def test_heads_that_rotary_joins_are_copied_back():
    names = {op.name for op in step_of({**PLAIN, "rotary_joined": True}, **EAGER).ops}
    assert "attention.transpose" in names
    assert "attention.transpose" not in {op.name for op in step_of(PLAIN, **EAGER).ops}
    assert saved("attention.transpose", {**PLAIN, "rotary_joined": True}) == 10 * 6 * 2


def test_a_soft_cap_keeps_its_tanh():
    assert saved("attention.softcap", {**PLAIN, "softcap": True}, attention="unfused") == 2 * 3 * 5 * 5 * 2
    assert all(op.name != "attention.softcap" for op in step_of({**PLAIN, "softcap": True}).ops)


def test_an_indexer_scores_one_key_of_several_tokens():
    """2 sequences, 3 heads of 4, 8 queries: 8 keys, or one of each 4 tokens."""
    sparse = {**PLAIN, "index_heads": 3, "index_head_dim": 4, "top_keys": 8}
    each = [op_of("attention.index.scores", {**sparse, "index_pool": pool}, seq_len=8).flops for pool in (1, 4)]
    assert each == [2 * 2 * 3 * 8 * 4 * 8, 2 * 2 * 3 * 8 * 4 * 2]
