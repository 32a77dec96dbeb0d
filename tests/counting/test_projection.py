"""A frozen projection with what stands beside it: copies of quantised weights, adapters and what they keep."""

import pytest

import roofline
from roofline.config.settle import settle, train_config
from roofline.counting.op import total
from roofline.counting.step import build_step
from roofline.footprint.parts import memory_for

# one layer: q, o [64, 64]; k, v [64, 32]; gate, up [64, 96]; down [96, 64]; 2 x 16 = 32 tokens
FLAT = {"n_layers": 1, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "d_ff": 96, "vocab_size": 100, "name": "small"}
QKV, OUT, UP, DOWN = 64 * 128, 64 * 64, 64 * 192, 96 * 64
ALL = QKV + OUT + UP + DOWN
TOKENS = 32
NF4 = 0.5 + (8 + 32 / 256) / 64 / 8  # bytes of a weight, quantised twice


def model(**flat):
    return roofline.load_model("llama-3-8b", {**FLAT, "max_seq_len": 128, **flat})


def step(**options):
    options = {"train": "qlora", "lora_rank": 8, "micro_batch": 2, "seq_len": 16, "stack": "nemo", **options}
    return build_step(model(), settle(model(), None, options).train)


def ops(found, ending, phase=None):
    return [op for op in found.ops if op.name.endswith(ending) and phase in {None, op.phase}]


@pytest.mark.parametrize(("recompute", "phases"), [("none", ()), ("full", ("recompute",))])
def test_each_matmul_with_a_quantised_weight_makes_its_copy(recompute, phases):
    found = step(recompute=recompute)
    for phase in ("forward", *phases, "backward"):  # forward again under recompute, and dx = dy . w^T
        copies = ops(found, ".dequantise", phase)
        assert sum(op.bytes_read for op in copies) == pytest.approx(ALL * NF4)
        assert sum(op.bytes_written for op in copies) == 2 * ALL
    assert len(ops(found, ".dequantise")) == 4 * (2 + len(phases))
    assert not [op for op in found.ops if op.gradient == "weight" and ".lora_" not in op.name]


def test_the_matmuls_are_those_of_16_bits():
    quantised, plain = step(), step(train="lora")
    for phase in ("forward", "backward"):
        flops = [total(each.ops, where=lambda op, phase=phase: op.phase == phase) for each in (quantised, plain)]
        assert flops[0] == flops[1]


def test_bytes_of_the_weights_by_hand():
    found = step()
    quantised = [weight for weight in found.weights if weight.stored_bytes is not None]
    assert sum(weight.local for weight in quantised) == ALL
    assert [weight.stored_bytes for weight in quantised] == [pytest.approx(NF4)] * 4
    held = memory_for(found, 0).weights_bytes
    adapters = 8 * (3 * 64 + 128 + 64 + 64 + 2 * 64 + 192 + 96 + 64)  # r (k + n) for each of seven matrices
    tables, norms = 2 * 128 * 64, 3 * 64  # a vocabulary of 100 is padded to 128 (`Stack.vocab_multiple`)
    assert held == pytest.approx(ALL * NF4 + 2 * (tables + norms + adapters))


def test_the_copy_of_the_largest_matrix_is_there_while_it_is_used():
    assert step().working_bytes - step(train="lora").working_bytes == 2 * UP


def test_sharded_it_travels_as_it_is_stored():
    options = {"num_devices": 2, "sharding": "fsdp", "stack": "fsdp"}
    quantised, plain = (
        sum(op.bytes_sent * op.count for op in step(train=train, **options).ops if op.name == "parameters.all_gather")
        for train in ("qlora", "lora")
    )
    assert plain - quantised == pytest.approx(2 * ALL * (2 - NF4))  # gathered for forward and backward


def test_integers_multiply_forward_and_are_dequantised_backward():
    found = step(base_dtype="int8")
    (matmul,) = [op for op in found.ops if op.name == "attention.qkv" and op.phase == "forward"]
    assert (matmul.dtype, matmul.bytes_read, matmul.bytes_written) == ("int8", TOKENS * 64 + QKV, 4 * TOKENS * 128)
    assert not ops(found, ".dequantise", "forward")
    assert sum(op.bytes_read for op in ops(found, ".dequantise", "backward")) == ALL
    (cast,) = ops(found, "attention.qkv.cast")
    assert (cast.bytes_read, cast.bytes_written) == (2 * 2 * TOKENS * 64, TOKENS * 64)


def test_experts_are_quantised_and_have_adapters_of_their_own_and_the_router_is_not():
    small = roofline.load_model("mixtral-8x7b", {"n_layers": 1, "vocab_size": 100})
    found = build_step(small, train_config({"train": "qlora", "lora_rank": 4, "seq_len": 16, "micro_batch": 1}))
    experts = {w.name: w for w in found.weights if w.expert}
    each = 4096 * 14336
    assert sum(w.local for w in experts.values() if w.stored_bytes is not None) == 8 * 3 * each
    assert sum(w.local for w in experts.values() if w.trainable) == 8 * 3 * 4 * (4096 + 14336)
    assert next(w for w in found.weights if w.name == "router").stored_bytes is None


def test_dropout_keeps_a_mask_and_an_input_for_each_adapter():
    plain, dropped = (step(train="lora", stack="nemo", **more) for more in ({}, {"lora_dropout": 0.1}))
    # q, k, v, gate and up read 64 features, o 64, down 96; x [T, k] of 2 bytes and a mask of 1, where x itself was kept
    # once by each of the four kernels
    inputs = TOKENS * (3 * 64 + 64 + 2 * 64 + 96)
    once = TOKENS * (64 + 64 + 96)  # attention keeps its own output for its backward pass
    kept = [total(each.ops, "saved_bytes") for each in (plain, dropped)]
    assert kept[1] - kept[0] == 3 * inputs - 2 * once
    assert len(ops(dropped, ".lora_dropout", "forward")) == 4
    assert not ops(plain, ".lora_dropout")


def test_adapters_in_fp32_run_in_it_unless_autocast_casts_them():
    by_precision = {}
    for master in (True, False):
        found = step(train="lora", stack="hf-trainer", master_weights=master)
        (matmul,) = [op for op in found.ops if op.name == "attention.qkv.lora_a" and op.phase == "forward"]
        by_precision[master] = matmul.dtype, matmul.bytes_written
    assert by_precision == {True: ("bf16", 2 * TOKENS * 24), False: ("fp32", 4 * TOKENS * 24)}
    fused = step(train="lora", stack="hf-trainer", fused="adapter")
    assert not ops(fused, ".lora_cast")
    assert not ops(fused, ".lora_grad_add")


def test_what_no_kernel_fuses_is_read_and_written_by_its_own():
    # 3 adapters of 64 inputs: to fp32 (2 in, 4 out), and back under autocast (4 in, 2 out)
    found = step(train="lora", stack="hf-trainer")
    casts = ops(found, "attention.qkv.lora_cast", "forward")
    assert [(op.bytes_read, op.bytes_written) for op in casts] == [
        (2 * TOKENS * 192, 4 * TOKENS * 192),
        (4 * TOKENS * 192, 2 * TOKENS * 192),
    ]
    (add,) = ops(found, "attention.qkv.lora_add", "forward")  # scaled, then added
    assert (add.bytes_read, add.bytes_written, add.kernels) == (3 * 2 * TOKENS * 128, 2 * 2 * TOKENS * 128, 2)


@pytest.mark.parametrize(("base", "copies"), [("nf4", 1), ("int8", 0)])
def test_over_a_quantised_base_autocast_alone_casts_and_outputs_of_4_bits_are_copied(base, copies):
    found = step(stack="hf-trainer", base_dtype=base)
    assert not ops(found, ".lora_cast")
    (add,) = ops(found, "attention.qkv.lora_add", "forward")  # copied, scaled, added
    elements = 2 * TOKENS * 128
    expected = ((copies + 3) * elements, (copies + 2) * elements, copies + 2)
    assert (add.bytes_read, add.bytes_written, add.kernels) == expected


def test_fused_adapters_of_a_dropped_input_mask_their_gradient_by_kernels_of_their_own():
    found = step(stack="hf-trainer", fused="adapter", lora_dropout=0.1)
    # 3 inputs of 64 features: which are zero (2 bytes in, 1 out), product (2 + 1, 2) and sum (2 + 2, 2)
    (masked,) = ops(found, "attention.qkv.lora_grad_add")
    assert (masked.bytes_read, masked.bytes_written, masked.kernels) == (9 * TOKENS * 192, 5 * TOKENS * 192, 9)
    (add,) = ops(found, "attention.qkv.lora_add")
    assert (add.bytes_read, add.bytes_written, add.kernels) == (2 * 2 * TOKENS * 128, 2 * TOKENS * 128, 1)
    assert not ops(found, ".lora_dropout", "backward")


@pytest.mark.parametrize(
    ("options", "units"),
    [
        ({"sharding": "fsdp"}, 14),  # a and b of seven matrices
        ({"sharding": "fsdp", "lora_modules": "q_proj,v_proj"}, 4),
        ({"sharding": "fsdp", "fused": "adapter"}, 0),
        ({"sharding": "none"}, 0),
        ({"sharding": "fsdp", "stack": "fsdp"}, 0),
    ],
)
def test_peft_makes_each_matrix_of_an_adapter_an_fsdp_unit(options, units):
    found = step(train="lora", num_devices=2, recompute="full", **{"stack": "hf-trainer@4.57", **options})
    by_phase = {
        phase: total(found.ops, "units", where=lambda op, phase=phase: op.phase == phase)
        for phase in ("forward", "recompute", "backward", "optimizer")
    }
    assert by_phase == {"forward": units, "recompute": units, "backward": units, "optimizer": 0}


def test_rslora_costs_what_lora_does():
    one, other = (step(train="lora", lora_variant=name) for name in ("lora", "rslora"))
    assert one.ops == other.ops
    assert one.weights == other.weights


def test_dora_learns_a_magnitude_for_each_output_and_norms_the_sum():
    lora, dora = step(train="lora"), step(train="lora", lora_variant="dora")

    def trained(each):
        return sum(weight.local for weight in each.weights if weight.trainable)

    assert trained(dora) - trained(lora) == 128 + 64 + 192 + 64
    norms = ops(dora, ".dora_norm", "forward")
    assert sum(op.flops for op in norms) == ALL * (2 * 8 + 4)  # a . b [k, n] over rank 8; scale, add, square, sum
    assert sum(op.saved_bytes for op in ops(dora, ".dora_scale", "forward")) == 2 * 2 * TOKENS * (128 + 64 + 192 + 64)


def test_a_search_keeps_bases_apart():
    found = roofline.layouts("llama-3-8b", "h100-sxm-80gb", num_devices=2, global_batch=8, train="qlora", seq_len=1024)
    best = found.layouts[0]
    alone = roofline.memory(
        "llama-3-8b",
        "h100-sxm-80gb",
        **{
            name: getattr(best.train, name)
            for name in ("num_devices", "tp", "pp", "dp", "micro_batch", "global_batch", "seq_len", "sharding", "stack")
        },
        recompute=best.recompute,
        train="qlora",
        attention=best.train.attention,
        sequence_parallel=best.train.sequence_parallel,
    )
    assert best.memory_bytes == pytest.approx(alone.needed_bytes, rel=0.01)
