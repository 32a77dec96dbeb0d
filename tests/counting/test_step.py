"""A step's ops: recompute, pipeline stages, parameters and the update, sharding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.config.settle import resolve, train_config
from roofline.counting.ownership import expert_ranks, parameter_shares, shard_ranks
from roofline.counting.step import build_step, without_updates
from roofline.model.load import load_model, model_from_flat
from roofline.model.parameters import count_parameters
from roofline.model.presets import model_ids

from ..small import flat

FLAT = flat(n_layers=6, d_model=24, n_heads=6, d_ff=36, vocab_size=70, n_kv_heads=2)
SMALL = model_from_flat(FLAT)
TIED = model_from_flat({**FLAT, "tied_embeddings": True})
EXPERTS = model_from_flat({**FLAT, "n_experts": 4, "experts_per_token": 2})
MATMULS = ("matmul", "attention")


def step_of(model=SMALL, **options):
    return build_step(model, train_config({"stack": "compiled", **options}))


def flops(step, phase, *kinds):
    return sum(op.flops * op.count for op in step.ops if op.phase == phase and (not kinds or op.kind in kinds))


def sent(step, name):
    """(bytes of one collective, how many per step) for a name."""
    (op,) = [op for op in step.ops if op.name == name]
    return op.bytes_sent, op.count


@pytest.mark.parametrize("name", model_ids())
def test_weights_add_up_to_the_parameters(name):
    model = load_model(name)
    step = step_of(model)
    recorded = sum(weight.local * weight.count for weight in step.weights)
    if model.tied_embeddings:
        recorded -= model.vocab_size * (model.embedding_dim or model.d_model)
    assert recorded == count_parameters(model).total
    assert parameter_shares(model, step.train, step.weights).total == count_parameters(model).total


@pytest.mark.parametrize("name", model_ids())
def test_backward_matmuls_are_twice_the_forward(name):
    step = step_of(load_model(name))
    forward, backward = (flops(step, phase, "matmul") for phase in ("forward", "backward"))
    if name.startswith("vit-"):  # pixels take no gradient
        patches = next(op for op in step.ops if op.name == "embedding.patch")
        backward += patches.flops
    assert backward == 2 * forward


def test_a_tied_head_costs_the_same():
    tied, untied = step_of(TIED), step_of(SMALL)
    assert tied.ops[: len(tied.ops) // 2] == untied.ops[: len(tied.ops) // 2]
    for phase in ("forward", "backward"):
        assert flops(tied, phase) == flops(untied, phase)
    assert count_parameters(SMALL).total - count_parameters(TIED).total == 70 * 24


# --- recompute ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["unfused", "flash2"])
@pytest.mark.parametrize("model", [SMALL, EXPERTS])
def test_full_recompute_runs_the_layers_forward_once_more(model, attention):
    full = step_of(model, recompute="full", attention=attention, stack="megatron")
    none = step_of(model, attention=attention, stack="megatron")
    layers = [op for op in none.ops if op.phase == "forward" and op.part == "layer"]
    again = [op for op in full.ops if op.phase == "recompute"]
    assert [op.name for op in again] == [op.name for op in layers]
    for quantity in ("flops", "bytes", "kernels"):
        assert sum(getattr(op, quantity) * op.count for op in again) == sum(
            getattr(op, quantity) * op.count for op in layers
        )
    for phase in ("forward", "backward", "optimizer"):
        assert flops(full, phase) == flops(none, phase)


@pytest.mark.parametrize(("stack", "size"), [("megatron", 2), ("compiled", 4)])  # autocast: the stream is fp32
def test_full_recompute_keeps_each_layers_input(stack, size):
    full = step_of(recompute="full", micro_batch=2, seq_len=8, stack=stack)
    kept = sum(op.saved_bytes * op.count for op in full.ops if op.part == "layer")
    assert kept == 6 * 2 * 8 * 24 * size  # layers x sequences x tokens x width


def test_selective_recompute_is_the_attention_core_or_half_a_layer():
    core = step_of(recompute="selective", stack="megatron", attention="unfused")
    assert {op.name for op in core.ops if op.phase == "recompute"} == {
        "attention.scores",
        "attention.softmax",
        "attention.weighted",
    }
    half = step_of(recompute="selective", stack="compiled")
    assert flops(half, "recompute") * 2 == flops(step_of(recompute="full"), "recompute")


# --- pipeline stages ---------------------------------------------------------------------------------------------


def test_a_stage_holds_its_layers_and_its_end():
    step = step_of(pp=3, num_devices=3)
    parameters = count_parameters(SMALL)
    layer = parameters.layers[0].total
    shares = parameter_shares(SMALL, step.train, step.weights)
    assert shares.total == 2 * layer + 24 * 70 + 24  # two layers, the head, the final norm


def test_a_tied_head_is_a_copy_on_the_last_stage():
    shares = [
        parameter_shares(model, step.train, step.weights).total
        for model in (SMALL, TIED)
        for step in [step_of(model, pp=2, num_devices=2)]
    ]
    assert shares[0] == shares[1]


def test_tensor_parallelism_divides_all_but_norms():
    whole, halves = step_of(), step_of(tp=2, num_devices=2)
    counts = [parameter_shares(SMALL, step.train, step.weights).total for step in (whole, halves)]
    norms = 6 * 2 * 24 + 24
    assert counts[1] == (counts[0] - norms) / 2 + norms


# --- the update --------------------------------------------------------------------------------------------------


def test_ranks_that_share_gradients():
    options = {"tp": 2, "cp": 2, "ep": 4, "num_devices": 32}
    apart = resolve(train_config(options), EXPERTS)
    assert shard_ranks(apart) == 8 * 2
    assert expert_ranks(apart) == 8 * 2 / 4  # experts split over tp
    whole = resolve(train_config({**options, "sequence_parallel": True}), EXPERTS)
    assert expert_ranks(whole) == 8 * 2 * 2 / 4  # whole experts on each rank


@pytest.mark.parametrize("accumulation", [1, 3])
def test_what_data_parallelism_sends(accumulation):
    n = count_parameters(SMALL).total
    options = {"num_devices": 4, "global_batch": 4 * accumulation, "stack": "megatron", "dtype": "bf16"}
    vocabulary = 128 - 70  # padded rows, of the embedding and of the head
    n += 2 * 24 * vocabulary
    assert sent(step_of(**options), "gradients.all_reduce") == (4 * n, 1)
    zero1 = step_of(**options, sharding="zero1")
    assert sent(zero1, "gradients.reduce_scatter") == (4 * n, 1)
    assert sent(zero1, "parameters.all_gather") == (2 * n, 1)
    zero2 = step_of(**options, sharding="zero2")
    assert sent(zero2, "gradients.reduce_scatter") == (4 * n, accumulation)  # after every micro batch


@pytest.mark.parametrize("sharding", ["zero3", "fsdp", "hsdp"])
def test_sharded_parameters_are_gathered_layer_by_layer(sharding):
    n = count_parameters(SMALL).total
    step = step_of(num_devices=4, global_batch=12, sharding=sharding, stack="fsdp")
    size, runs = sent(step, "parameters.all_gather")
    assert runs == 3 * 2 * 6  # micro batches x (forward and backward) x layers
    assert size * 6 == pytest.approx(2 * n)
    size, runs = sent(step, "gradients.reduce_scatter")
    assert runs == 3 * 6
    assert size * 6 == pytest.approx((2 if sharding == "zero3" else 4) * n)  # DeepSpeed reduces in 16 bits


def test_buckets_divide_the_payload():
    big = load_model("gpt2-xl")
    size, runs = sent(step_of(big, num_devices=2), "gradients.all_reduce")
    assert size == pytest.approx(25e6)  # DistributedDataParallel's default
    assert size * runs == pytest.approx(4 * count_parameters(big).total)


def test_experts_reduce_among_their_copies():
    step = step_of(EXPERTS, num_devices=8, ep=4, stack="megatron")
    groups = {op.name: op.group for op in step.ops if op.part == "step" and op.kind == "collective"}
    assert groups == {"gradients.all_reduce": "dp", "gradients.expert_all_reduce": "expert_dp"}
    experts = 6 * 4 * 3 * 24 * 36 / 4  # layers x experts x three matrices, over ep
    assert sent(step, "gradients.expert_all_reduce") == (4 * experts, 1)


@pytest.mark.parametrize("sharding", ["zero1", "zero2", "zero3", "fsdp"])
def test_a_sharded_optimizer_updates_its_share(sharding):
    update = [
        next(op for op in step_of(**options).ops if op.name == "optimizer.adamw").bytes
        for options in ({"num_devices": 8}, {"num_devices": 8, "sharding": sharding})
    ]
    # Of float32 masters, moments (read and written) and gradients (read), 28 bytes; ZeRO-3 reads 16-bit gradients, and
    # also writes 16-bit weights.
    assert 8 * update[1] / update[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "per_parameter"),
    [
        # fp32 gradient 4, weight 4 and state 8 in; weight and state out
        ({}, 4 + 4 + 8 + 4 + 8),
        ({"stack": "megatron"}, 4 + 4 + 8 + 4 + 8 + 2),  # and the 16-bit copy, which autocast makes at each use
        ({"dtype": "fp32"}, 4 + 4 + 8 + 4 + 8),
        ({"optimizer": "sgd"}, 4 + 4 + 4),
        ({"optimizer": "sgd-momentum"}, 4 + 4 + 4 + 4 + 4),
        ({"optimizer": "adamw-8bit"}, 4 + 4 + 8 + 4 + 8),  # tensors of fewer than 4,096 elements stay in fp32
        ({"optimizer": "lion"}, 4 + 4 + 4 + 4 + 4),
        ({"master_weights": False}, 2 + 2 + 4 + 2 + 4),  # gradient and state in 16 bits too
    ],
)
def test_bytes_of_an_update(options, per_parameter):
    step = step_of(**options)
    (update,) = [op for op in step.ops if op.name == f"optimizer.{step.train.optimizer}"]
    padding = 24 * 58 * 2 if options.get("stack") == "megatron" else 0  # vocabulary of 70, to 128
    assert update.bytes == per_parameter * (count_parameters(SMALL).total + padding)


def test_an_unfused_optimizer_passes_three_times():
    fused, foreach = (
        next(op for op in step_of(stack=stack).ops if op.name == "optimizer.adamw") for stack in ("megatron", "eager")
    )
    assert foreach.kernels > fused.kernels
    n = [count_parameters(SMALL).total, count_parameters(SMALL).total + 2 * 24 * 58]
    assert foreach.bytes / n[0] > 2 * fused.bytes / n[1]


@settings(max_examples=30)
@given(
    st.sampled_from([SMALL, TIED, EXPERTS]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["none", "zero1", "fsdp"]),
    st.sampled_from(["none", "selective", "full"]),
    st.sampled_from(["eager", "megatron", "fsdp", "jax"]),
)
def test_every_op_is_sound(model, tp, pp, sharding, recompute, stack):
    step = step_of(
        model, tp=tp, pp=pp, num_devices=2 * tp * pp, sharding=sharding, recompute=recompute, stack=stack, seq_len=32
    )
    for op in step.ops:
        assert op.flops >= 0, op
        assert op.count > 0, op
        assert op.saved_bytes >= 0, op
        assert (op.kind == "collective") == (op.collective is not None) == (op.group is not None), op
        assert op.bytes_sent > 0 if op.kind == "collective" else op.bytes > 0 or op.kernels == 0, op
        assert op.shape is not None or op.kind not in MATMULS, op
        assert op.phase != "recompute" or op.saved_bytes == 0, op
        if op.kind == "matmul":
            m, n, k, batch = op.shape
            padded = "padding" in step.stack.fused  # the shape it runs in, then, is larger
            assert op.flops <= 2 * m * n * k * batch * (1 + 1e-9), op
            assert padded or op.flops == pytest.approx(2 * m * n * k * batch), op


@pytest.mark.parametrize(("tp", "ep", "sequence_parallel"), [(1, 4, False), (2, 2, False), (2, 4, True)])
def test_all_devices_together_hold_every_expert(tp, ep, sequence_parallel):
    step = step_of(EXPERTS, num_devices=4, tp=tp, ep=ep, sequence_parallel=sequence_parallel)
    held = parameter_shares(EXPERTS, step.train, step.weights).expert * 4 / expert_ranks(step.train)
    assert held == 6 * 4 * 3 * 24 * 36  # layers x experts x three matrices


def test_parallel_blocks_communicate_and_add_up_once():
    model = load_model("gpt-neox-20b")
    names = [op.name for op in step_of(model, num_devices=2, tp=2).ops if op.part == "layer"]
    assert [name for name in names if name.endswith(("all_reduce", "all_reduce_grad"))] == [
        "attention.all_reduce_grad",
        "mlp.all_reduce",
    ]
    assert [name for name in names if name.endswith("residual")] == ["mlp.residual"]


def test_sequence_parallelism_holds_at_the_ends_too():
    names = {op.name for op in step_of(num_devices=2, tp=2, sequence_parallel=True, stack="megatron").ops}
    assert {"embedding.reduce_scatter", "embedding.all_gather_grad", "head.all_gather"} <= names
    assert not {"embedding.all_reduce", "head.all_reduce_grad"} & names


def test_sharded_gradients_are_not_added_up_whole():
    whole, sharded = (
        {op.name for op in step_of(num_devices=4, global_batch=8, sharding=sharding).ops}
        for sharding in ("zero1", "fsdp")
    )
    assert "mlp.up.grad_accumulate" in whole
    assert "mlp.up.grad_accumulate" not in sharded
    assert {"gradients.copy_in", "gradients.accumulate"} <= sharded


@pytest.mark.parametrize("model", [SMALL, EXPERTS])
def test_steps_that_differ_in_recompute_are_the_ones_counted_alone_without_their_updates(model):
    words = ({}, {"recompute": "selective"}, {"recompute": "full"}, {"recompute": "layernorm"})
    trains = [resolve(train_config({"stack": "megatron", "tp": 2, "micro_batch": 3, **each}), model) for each in words]
    for train, step in zip(trains, without_updates(model, trains), strict=True):
        alone = build_step(model, train)
        assert step.ops == tuple(op for op in alone.ops if op.part != "step")
        assert (step.train, step.weights, step.working_bytes) == (train, alone.weights, alone.working_bytes)
