"""Recompute by module and by layer: what is kept, and what runs again, by hand for small dimensions."""

import pytest

from roofline.config.settle import train_config
from roofline.counting.op import total
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.model.load import load_model, model_from_flat

from ..small import flat

T, D, H, KV, DH, F, E, K, FE, L = 16, 24, 6, 2, 4, 40, 4, 2, 20, 3  # tokens, widths, heads, experts, layers
FLAT = flat(n_layers=L, d_model=D, n_heads=H, n_kv_heads=KV, d_ff=F, vocab_size=70, norm="rms")
DENSE = model_from_flat(FLAT)
EXPERTS = model_from_flat({**FLAT, "n_experts": E, "experts_per_token": K, "d_ff_expert": FE})
# bf16, Megatron's fused kernels: per layer
INPUT, NORMED, STATISTICS = 2 * T * D, 2 * T * D, 4 * T
QKV, OUT = 2 * T * (H + 2 * KV) * DH, 2 * T * H * DH + 4 * T * H  # and the log-sum-exp of fused attention
GATED, PRODUCT = 2 * T * 2 * F, 2 * T * F
NONE = 2 * (INPUT + STATISTICS) + NORMED + QKV + OUT + NORMED + GATED + PRODUCT


def step_of(model=DENSE, **options):
    return build_step(model, train_config({"stack": "megatron", "seq_len": T, **options}))


def kept(model=DENSE, **options):
    return total(step_of(model, **options).ops, "saved_bytes", where=lambda op: op.part == "layer") / L


def again(model=DENSE, **options):
    """Names and counts of what runs again."""
    return {op.name: op.count for op in step_of(model, **options).ops if op.phase == "recompute"}


@pytest.mark.parametrize(
    ("recompute", "saved"),
    [
        ("none", NONE),
        ("core_attn", NONE),  # fused attention keeps no scores
        ("layernorm", NONE - 2 * (STATISTICS + NORMED)),  # the residual stream stays, the norms' results go
        ("mlp", NONE - GATED - PRODUCT),  # its input stays
        ("mlp,layernorm", NONE - GATED - PRODUCT - 2 * (STATISTICS + NORMED)),
        ("full", INPUT),
        ("full:1", NONE - (NONE - INPUT) / 3),  # one of three layers
        ("uniform:3", INPUT / 3),
        ("every:2", (NONE + INPUT) / 2),
        # results of four matmuls: q, k and v; out; gate and up; down; and of attention
        ("matmuls", INPUT + QKV + OUT + 2 * T * D + GATED + 2 * T * D),
        ("matmuls:2", INPUT + OUT + (QKV + 2 * T * D + GATED + 2 * T * D) / 2),
    ],
)
def test_what_a_dense_layer_keeps(recompute, saved):
    assert kept(recompute=recompute) == pytest.approx(saved)


@pytest.mark.parametrize(
    ("sequence_parallel", "every", "saved"),
    [
        # of two ranks: half of what attention and the feed-forward block hold, of their sums all, or both halves
        (False, 1, INPUT + (QKV + OUT + GATED) / 2 + 2 * 2 * T * D),
        (False, 2, INPUT + OUT / 2 + (QKV + GATED) / 4 + 2 * 2 * T * D),  # a sum whose terms are not kept is
        (True, 1, INPUT / 2 + (QKV + OUT + GATED) / 2 + 2 * 2 * T * D * (1 + 1 / 2)),
    ],
)
def test_sums_over_ranks_are_kept_once(sequence_parallel, every, saved):
    options = {"tp": 2, "num_devices": 2, "sequence_parallel": sequence_parallel}
    assert kept(recompute=f"matmuls:{every}", **options) == pytest.approx(saved)


def test_what_runs_again():
    assert again(recompute="mlp") == dict.fromkeys(("mlp.up", "mlp.activation", "mlp.down"), L)
    assert again(recompute="layernorm") == dict.fromkeys(("attention.norm", "mlp.norm"), L)
    assert set(again(recompute="core_attn").values()) == {L}
    assert set(again(recompute="full:1").values()) == {1}
    assert set(again(recompute="every:3").values()) == {1}
    matmuls = again(recompute="matmuls:2")
    assert (matmuls["mlp.up"], matmuls["mlp.norm"]) == (L / 2, L)
    assert "attention.core" not in matmuls
    assert "mlp.up" not in again(recompute="matmuls")


@pytest.mark.parametrize(
    ("stack", "ends_early"),
    [("fsdp", True), ("composer", True), ("composer@1.13.1", False), ("megatron", False), ("hf-trainer@4.57", False)],
)
def test_torchs_checkpoints_stop_where_all_that_was_saved_is_made_anew(stack, ends_early):
    """The down projection keeps its input, which is there before it runs: of a layer's matmuls all others run again."""
    attention = D * (H + 2 * KV) * DH + H * DH * D
    rest = 0 if ends_early else F * D
    expected = L * 2 * T * (attention + D * 2 * F + rest)
    ops = step_of(stack=stack, recompute="full", seq_len=T).ops
    assert total(ops, "flops", where=lambda op: (op.phase, op.kind) == ("recompute", "matmul")) == expected
    assert ("mlp.down" in {op.name for op in ops if op.phase == "recompute"}) is not ends_early


def test_what_follows_the_last_kept_tensor_does_not_run_again():
    """Dropout behind the down projection keeps its mask, and so runs again; of two layers the first is finished."""
    options = {"stack": "fsdp", "tp": 2, "recompute": "full"}
    assert not {"mlp.down", "mlp.all_reduce", "mlp.residual"} & again(**options).keys()
    assert again(**options, dropout=True)["mlp.down"] == L
    assert again(**{**options, "recompute": "uniform:3"})["mlp.down"] == pytest.approx(L * 2 / 3)


def test_what_experts_keep():
    rows = T * K
    none = kept(EXPERTS, recompute="none")
    assert none - kept(EXPERTS, recompute="moe_act") == 2 * rows * FE  # what the activation makes
    assert none - kept(EXPERTS, recompute="layernorm") == 2 * (STATISTICS + NORMED)
    router = 4 * T * E + (12 * K + 4) * T  # scores; ids and weights
    inside = router + 28 * rows + 2 * rows * D + 2 * rows * 3 * FE  # of the experts' own results nothing
    assert none - kept(EXPERTS, recompute="moe") == inside  # all but the router's input
    assert none - kept(EXPERTS, recompute="moe,moe_act") == inside
    assert "moe.permute" in again(EXPERTS, recompute="moe")
    assert again(EXPERTS, recompute="moe_act") == {"experts.activation": L}


def test_recompute_reads_what_is_stored_in_8_bits():
    rows = T * K
    stored = {"saved_dtype": "fp8", "recompute": "moe_act"}
    # gate and up of each row, a byte of two
    assert kept(EXPERTS, recompute="moe_act") - kept(EXPERTS, **stored) == rows * 2 * FE


def test_latent_attention_keeps_its_latents():
    # arXiv:2412.19437, section 3.2.3: norms and up-projections run again
    model, tokens = load_model("deepseek-v3"), 8
    options = {"seq_len": tokens, "ep": 8, "num_devices": 8}
    layers = model.n_layers
    none, less = (kept(model, recompute=how, **options) * L / layers for how in ("none", "mla_up_proj"))
    heads, query, value = 128, 192, 128
    qkv = 2 * tokens * heads * (2 * query + value)
    normed, statistics = 2 * tokens * (1536 + 512), 2 * 4 * tokens
    assert none - less == pytest.approx(qkv + normed + statistics)
    names = again(model, recompute="mla_up_proj", **options)
    assert {"attention.q_up", "attention.kv_up", "attention.rotary"} <= set(names)


@pytest.mark.parametrize(
    ("model", "recompute", "able"),
    [
        (DENSE, "moe", "core_attn, layernorm, mlp or full"),
        (DENSE, "mla_up_proj,moe_act", "core_attn, layernorm, mlp or full"),
        (EXPERTS, "mlp", "core_attn, layernorm, moe, moe_act or full"),
        (EXPERTS, "shared_experts", "core_attn, layernorm, moe, moe_act or full"),
    ],
)
def test_modules_that_a_model_has_not_name_those_it_has(model, recompute, able):
    with pytest.raises(RooflineError, match=f"^recompute {recompute}: .* has no such module: use {able}$"):
        step_of(model, recompute=recompute)


def test_a_list_for_several_models_needs_one_module_that_is_there():
    assert kept(recompute="mlp,moe,mla_up_proj") == kept(recompute="mlp")


def test_the_layer_in_hand_stands_beside_what_is_kept():
    # fullest at the last projection, or where the activation runs backward and the projection has freed the product
    plain = step_of().working_bytes
    down = 2 * T * D + PRODUCT  # gradients of the last projection's result and of its input
    activation = GATED + PRODUCT - PRODUCT  # of gate and up and of the product, which is freed
    assert plain == INPUT + max(down, activation)
    assert step_of(recompute="mlp").working_bytes - plain == GATED + PRODUCT
    assert step_of(recompute="full").working_bytes - plain == NONE - INPUT
    assert step_of(recompute="uniform:3").working_bytes - plain == pytest.approx(3 * NONE - INPUT / 3)
    assert step_of(recompute="full:1").working_bytes == plain  # the other layers' tensors are gone by then


def test_the_last_layer_in_hand_holds_the_same_whatever_runs_again():
    plain = step_of()
    assert plain.last_bytes == plain.working_bytes + NONE
    for how in ("full", "full:1", "selective", "mlp", "core_attn,layernorm"):
        assert step_of(recompute=how).last_bytes <= plain.last_bytes
    assert step_of(recompute="full").last_bytes == plain.last_bytes  # all is made anew, and its input is kept
    assert step_of(recompute="uniform:3").last_bytes == pytest.approx(plain.last_bytes + 2 * NONE)


def test_layers_by_number_are_those_of_a_stage():
    names = again(recompute="full:1", pp=3, num_devices=3)
    assert set(names.values()) == {L}  # one layer a stage: all of them


def test_low_precision_drops_the_copy_and_keeps_the_tensor():
    # fp8: projections keep their input in 8 bits; an mlp that runs again keeps it in 16
    none, less = kept(dtype="fp8"), kept(dtype="fp8", recompute="mlp")
    assert none - less == NORMED / 2 + GATED + PRODUCT / 2 - NORMED
