"""Bytes of one device: published formulas by hand, and who divides what."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.footprint.activations import GIB
from roofline.footprint.parts import PARTS, TENSORS, fullest_stage, memory_for, memory_of, peak_of
from roofline.footprint.phases import Phase
from roofline.footprint.spreads import ALONE, SPLIT_OUTCOME, fit_probability
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters

from ..small import small

H100 = load_device("h100-sxm-80gb")
# Megatron pads the vocabulary to a multiple of 128: 512 stays
GPT = small(name="gpt", n_layers=12, d_model=96, n_heads=4, d_ff=384, gated_mlp=False, vocab_size=512)
EXPERTS = small(
    name="experts", n_layers=4, d_model=64, n_heads=4, d_ff=128, vocab_size=512, n_experts=8, experts_per_token=2
)


def step_of(model=GPT, **options):
    return build_step(model, train_config({"stack": "megatron", "seq_len": 32, **options}))


def memory(model=GPT, **options):
    return memory_of(step_of(model, **options), H100)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize(("tp", "sequence_parallel"), [(1, False), (2, False), (4, False), (2, True), (4, True)])
def test_activations_of_a_layer_as_published(tp, sequence_parallel, recompute):
    # arXiv:2205.05198, table 2, in units of s*b*h bytes; we also count the norms' mean and deviation, fp32
    s, b, h, a = 32, 3, 96, 4
    shard = tp if sequence_parallel else 1
    per_token = {  # bytes over h
        "none": 10 / shard + 24 / tp + 5 * a * s / h / tp,
        "selective": 10 / shard + 24 / tp,
        "full": 2 / shard,
    }
    published = per_token[recompute] * s * b * h
    statistics = 0 if recompute == "full" else 2 * 8 * s * b / shard
    step = step_of(
        tp=tp,
        num_devices=tp,
        sequence_parallel=sequence_parallel,
        recompute=recompute,
        micro_batch=b,
        seq_len=s,
        attention="unfused",
        dropout=True,
    )
    kept = sum(op.saved_bytes * op.count for op in step.ops if op.part == "layer") / 12
    assert kept == pytest.approx(published + statistics, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "weights", "gradients", "optimizer"),
    [
        ({}, 2, 4, 12),  # 16-bit weights; fp32 gradients summed in place; fp32 weights and two moments
        ({"dtype": "fp32"}, 4, 4, 8),
        ({"dtype": "fp16"}, 2, 2, 16),  # 16-bit gradients, unscaled into fp32
        ({"master_weights": False}, 2, 2, 4),  # gradients follow the weights
        ({"optimizer": "sgd"}, 2, 4, 4),
        ({"optimizer": "lion"}, 2, 4, 8),
        ({"stack": "deepspeed"}, 2, 6, 12),  # fp32 sums stand beside 16-bit gradients
        ({"stack": "compiled"}, 6, 4, 8),  # fp32 weights, cast at each use
    ],
)
def test_bytes_per_parameter(options, weights, gradients, optimizer):
    found, n = memory(**options), count_parameters(GPT).total
    assert found.weights_bytes == pytest.approx(weights * n)
    assert found.gradients_bytes == pytest.approx(gradients * n)
    assert found.optimizer_bytes == pytest.approx(optimizer * n)


@pytest.mark.parametrize(
    ("sharding", "weights", "gradients", "optimizer"),
    [
        ("none", 1, 1, 1),
        ("zero1", 1, 1, 8),
        ("hzero1", 1, 1, 8),
        ("zero2", 1, 8, 8),
        ("zero3", 8, 16, 8),  # 16-bit gradients, where the stack sums in fp32
        ("fsdp", 8, 8, 8),
        ("hsdp", 8, 8, 8),
    ],
)
def test_zero_divides_by_its_stage(sharding, weights, gradients, optimizer):
    # arXiv:1910.02054, figure 1
    whole, sharded = memory(num_devices=8), memory(num_devices=8, sharding=sharding)
    assert whole.weights_bytes == pytest.approx(weights * sharded.weights_bytes)
    assert whole.gradients_bytes == pytest.approx(gradients * sharded.gradients_bytes)
    assert whole.optimizer_bytes == pytest.approx(optimizer * sharded.optimizer_bytes)
    assert whole.phases[0].activations == sharded.phases[0].activations


def test_a_hybrid_divides_by_the_ranks_of_one_replica():
    # 16 ranks in 4 replicas of 4
    whole, sharded = memory(num_devices=16), memory(num_devices=16, sharding="hsdp", dp_shard=4)
    for part in ("weights_bytes", "gradients_bytes", "optimizer_bytes"):
        assert getattr(whole, part) == pytest.approx(4 * getattr(sharded, part)), part


def test_experts_are_divided_over_ep():
    one, four = memory(EXPERTS, num_devices=8, ep=1), memory(EXPERTS, num_devices=8, ep=4)
    experts = 4 * 8 * 3 * 64 * 128
    assert one.weights_bytes - four.weights_bytes == pytest.approx(2 * experts * 3 / 4)


def test_stages_hold_as_much_as_one_device_when_the_pipeline_is_full():
    # each of p stages holds 1/p of the layers for p micro batches
    one, four = (
        sum(
            op.saved_bytes * op.count for op in step_of(pp=pp, num_devices=pp, global_batch=8).ops if op.part == "layer"
        )
        for pp in (1, 4)
    )
    assert one == four
    assert memory(pp=4, num_devices=4, global_batch=8).activations_bytes >= memory(global_batch=8).activations_bytes


@settings(max_examples=40)
@given(st.integers(1, 6), st.sampled_from(["none", "selective", "full"]), st.sampled_from([GPT, EXPERTS]))
def test_activations_grow_with_the_micro_batch(micro_batch, recompute, model):
    one, several = (memory(model, micro_batch=b, recompute=recompute) for b in (1, micro_batch))
    # only the tables that all sequences share (positions) do not grow
    for first, last in zip(one.phases, several.phases, strict=True):
        assert first.activations <= last.activations <= micro_batch * first.activations
        assert last.activations == pytest.approx(micro_batch * first.activations, rel=0.1)
    assert several.weights_bytes == one.weights_bytes


@pytest.mark.parametrize("attention", ["unfused", "flash2"])
def test_recompute_keeps_less(attention):
    none, selective, full = (
        memory(recompute=recompute, attention=attention, dropout=True).activations_bytes
        for recompute in ("none", "selective", "full")
    )
    assert none >= selective > full
    assert (none > selective) == (attention == "unfused")


def test_capacity_decides():
    step = step_of()
    needed = memory_of(step, H100).needed_bytes
    assert memory_for(step, needed).fits
    assert not memory_for(step, needed - 1).fits
    assert memory_of(step, H100).capacity_bytes == H100.memory_bytes > 79 * GIB


def test_llama_2_7b_in_mixed_precision_takes_more_than_one_card():
    found = memory(load_model("llama-2-7b"), seq_len=2048)
    assert not found.fits
    assert found.weights_bytes + found.gradients_bytes + found.optimizer_bytes == pytest.approx(18 * 6.74e9, rel=0.01)
    sharded = memory(load_model("llama-2-7b"), seq_len=2048, num_devices=8, sharding="zero1")
    assert sharded.fits


@pytest.mark.parametrize(
    ("model", "device", "options"),
    [
        (  # arXiv:2412.19437, sections 3.2 and 3.3: 2,048 H800, SwiGLU's input in fp8, its output made anew
            "deepseek-v3",
            "h800-sxm-80gb",
            {
                "num_devices": 2048,
                "pp": 16,
                "ep": 64,
                "schedule": "dualpipe",
                "dtype": "fp8",
                "recompute": "layernorm,mla_up_proj,moe_act",
                "moment_dtype": "bf16",
                "saved_dtype": "fp8",
                "global_batch": 15360,
            },
        ),
        (  # arXiv:2407.21783, section 3.3.2: gradients sharded, weights not sharded anew between the passes
            "llama-3.1-405b",
            "h100-sxm-80gb",
            {"num_devices": 8192, "tp": 8, "pp": 16, "sharding": "zero2", "seq_len": 8192, "global_batch": 2048},
        ),
    ],
)
def test_what_was_trained_as_published_fits(model, device, options):
    usual = {"stack": "megatron", "sharding": "zero1", "seq_len": 4096, "sequence_parallel": "tp" in options}
    step = build_step(load_model(model), train_config({**usual, **options}))
    found = memory_of(step, load_device(device))
    assert found.fits
    assert found.fit_probability > 0.5


def test_parts_are_all_there():
    found = memory()
    assert sum(getattr(found, name) for name in PARTS) == pytest.approx(found.total_bytes)
    assert found.allocated_bytes == pytest.approx(found.total_bytes - found.context_bytes)
    assert found.allocated_bytes <= found.reserved_bytes < found.driver_bytes == found.total_bytes
    assert max(phase.total for phase in found.phases) == found.allocated_bytes


def test_the_range_is_that_of_four_runs_in_five():
    found = memory()
    low, high = (found.total_bytes * np.exp(NormalDist(0, ALONE).inv_cdf(share)) for share in (0.1, 0.9))
    assert (found.total_low_bytes, found.total_high_bytes) == pytest.approx((low, high), rel=1e-5)


@pytest.mark.parametrize(
    ("vocabulary", "batch", "index"),
    [
        (128, 64, 0),  # four micro batches in flight on the first stage
        (2**17, 1, 3),  # 10 bytes of each logit on the last, whose tables are as large as the first's
    ],
)
def test_the_fullest_stage_is_where_activations_or_logits_pile_up(vocabulary, batch, index):
    model = small(n_layers=4, d_model=64, n_heads=4, d_ff=256, vocab_size=vocabulary)
    step = step_of(model, pp=4, num_devices=4, micro_batch=batch, global_batch=8 * batch)
    assert fullest_stage(step, 0)[0].index == index


def test_the_table_of_parts_names_what_holds_each():
    found = memory()
    peak = max(found.phases, key=lambda phase: phase.total)
    assert {part.tensors for part in TENSORS.values()} == set(Phase.__struct_fields__) - {
        "name",
        "host",
        "nvme",
        "paged",
    }
    assert [name for name in PARTS if name not in TENSORS] == ["context_bytes"]
    for name, part in TENSORS.items():
        assert getattr(found, name) == getattr(peak, part.tensors)
    assert found.kept_bytes == found.weights_bytes + found.gradients_bytes + found.optimizer_bytes


def test_one_allocation_loses_nothing_to_an_allocator():
    static, cached = memory(stack="llm-c"), memory(stack="compiled")
    assert static.context_bytes < cached.context_bytes


@pytest.mark.parametrize("optimizer", ["adamw", "adamw-paged"])
def test_the_peak_alone_is_what_is_needed(optimizer):
    """Of stages that differ, and of pages that leave a device that is full."""
    options = {"pp": np.array([1, 2, 4]), "num_devices": 4, "micro_batch": 2**16, "global_batch": 2**20}
    step = build_step(GPT, train_config({**options, "optimizer": optimizer}))
    needed = memory_of(step, H100).needed_bytes
    assert (needed > H100.memory_bytes).any()
    assert peak_of(step, H100).needed.tolist() == needed.tolist()


def test_pages_that_may_leave_do_not_make_a_run_unsure():
    step = build_step(GPT, train_config({"micro_batch": 1, "optimizer": "adamw-paged"}))
    whole = memory_for(step, 0)
    held = float(whole.needed_bytes - whole.optimizer_bytes)  # both moments and the fp32 copy may leave
    room = held + float(whole.optimizer_bytes) / 2
    full = memory_for(step, room)
    assert full.needed_bytes == room
    assert full.fit_probability == fit_probability(held, room) > 0.5


def test_of_the_fullest_stage_pages_may_leave():
    step = step_of(pp=2, num_devices=2, micro_batch=256, global_batch=4096, optimizer="adamw-paged")
    found, peak = memory_of(step, H100), peak_of(step, H100)
    assert peak.needed == found.needed_bytes
    assert peak.needed - peak.held == 4 * found.weights_bytes  # two fp32 moments of weights in 16 bits
    assert found.fit_probability == fit_probability(peak.held, H100.memory_bytes, SPLIT_OUTCOME)


def test_all_pages_leave_a_device_that_has_room_for_none():
    step = step_of(micro_batch=1, optimizer="adamw-paged")
    roomy, short = memory_for(step, 80 * GIB), memory_for(step, 1)
    assert short.host_bytes == 4 * short.weights_bytes  # two fp32 moments of weights in 16 bits
    assert roomy.optimizer_bytes - short.optimizer_bytes == short.host_bytes
    assert sum(getattr(short, name) for name in PARTS) == pytest.approx(short.total_bytes)


def test_pages_that_left_are_on_the_host_and_not_allocated():
    step = build_step(GPT, train_config({"micro_batch": 1, "optimizer": "adamw-paged"}))
    roomy = memory_for(step, 80 * GIB)
    short = memory_for(step, roomy.needed_bytes - 1000)
    assert roomy.host_bytes == 0
    assert short.host_bytes == pytest.approx(1000)
    assert roomy.allocated_bytes - short.allocated_bytes == pytest.approx(1000)
    assert roomy.optimizer_bytes - short.optimizer_bytes == pytest.approx(1000)


@pytest.mark.parametrize("stack", ["fsdp", "deepspeed"])
def test_zero_3_keeps_16_bits_and_sends_masters_to_the_host(stack):
    options = {"num_devices": 4, "sharding": "zero3", "stack": stack, "micro_batch": 1, "seq_len": 128}
    there, gone = (roofline.memory("gpt2-xl", "a100-sxm-80gb", **options, offload=word) for word in (None, "optimizer"))
    parameters = pytest.approx(1_557_611_200, rel=1e-3)  # a vocabulary may be padded
    assert there.weights_bytes * 4 / 2 == gone.weights_bytes * 4 / 2 == parameters
    assert there.phases[0].optimizer * 4 / 12 == parameters  # two moments and the fp32 copy
    assert gone.host_bytes / (12 + 4) == parameters  # those of all four ranks, and the gradients that update them there
    sharded = roofline.memory("gpt2-xl", "a100-sxm-80gb", **{**options, "sharding": "fsdp", "stack": "fsdp"})
    assert sharded.weights_bytes * 4 / 4 == parameters  # FSDP keeps fp32 alone
