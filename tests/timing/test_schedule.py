"""How op times become a step: bubble, overlap, launches, and where the time goes."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.config.settle import train_config
from roofline.config.stack import Overlap
from roofline.counting.op import Op
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.timing.collective import expected_time
from roofline.timing.ranks import PricedOp, price
from roofline.timing.schedule import (
    INTERFERENCE,
    LAUNCH_SHARPNESS,
    _exchange_overlap,
    _hide,
    exposed_times,
    launch_costs,
    launch_wait,
    schedule,
    stage_times,
    term_of,
)
from roofline.timing.terms import TERMS

H100 = load_device("h100-sxm-80gb")
LLAMA, MIXTRAL = load_model("llama-3-8b"), load_model("mixtral-8x7b")


def step_of(model=LLAMA, **options):
    return build_step(model, train_config({"stack": "megatron", "seq_len": 2048, **options}))


def times_of(step, overlap=None):
    if overlap is not None:
        step = msgspec.structs.replace(step, stack=msgspec.structs.replace(step.stack, overlap=Overlap(**overlap)))
    return schedule(step, H100, price(step, H100))


def test_every_op_goes_to_one_term():
    step = step_of(MIXTRAL, num_devices=16, tp=2, ep=4, cp=2, recompute="selective", attention="unfused", dropout=True)
    found = {}
    for item in price(step, H100):
        if item.op.part != "step":
            found.setdefault(term_of(item), set()).add(item.op.name)
    assert found["tensor_parallel"] >= {"attention.all_reduce", "mlp.all_reduce", "embedding.all_reduce"}
    assert {name.split("_")[0] for name in found["expert_parallel"]} == {"moe.dispatch", "moe.combine"}
    assert found["context_parallel"] == {"attention.kv_all_gather", "attention.kv_reduce_scatter_grad"}
    assert found["attention"] >= {"attention.scores", "attention.weighted", "attention.scores.dgrad_a"}
    assert found["recompute"] >= {"attention.scores", "attention.dropout"}
    assert found["matmul"] >= {"attention.qkv", "experts.up.wgrad", "head.logits"}
    assert found["memory_bound"] >= {"mlp.norm", "embedding", "loss.cross_entropy", "router.topk"}
    assert set(found) <= set(TERMS)


def test_one_device_does_each_op_once_per_micro_batch():
    step = step_of(global_batch=3)
    times = times_of(step)
    by_hand = sum(
        item.expected * item.op.count
        for item in price(step, H100)
        if item.op.part != "step" and term_of(item) == "matmul"
    )
    assert times.matmul == pytest.approx(3 * by_hand)
    idle = ("pipeline_bubble", "pipeline_transfer", "data_parallel", "tensor_parallel", "recompute")
    assert all(getattr(times, term) == 0 for term in idle)


@pytest.mark.parametrize(("pp", "micro_batches"), [(2, 4), (4, 8), (8, 8), (8, 64)])
def test_bubble_is_stages_less_one_over_micro_batches(pp, micro_batches):
    # arXiv:2104.04473, section 2.2: t_bubble / t_ideal = (p - 1) / m where stages are even
    model = msgspec.structs.replace(LLAMA, vocab_size=128)  # next to nothing at the ends
    times = times_of(step_of(model, num_devices=pp, pp=pp, global_batch=micro_batches))
    busy = times.matmul + times.attention + times.memory_bound + times.launch
    assert times.pipeline_bubble / busy == pytest.approx((pp - 1) / micro_batches, rel=0.03)


def test_virtual_stages_divide_the_bubble():
    options = {"num_devices": 4, "pp": 4, "global_batch": 8}
    plain, interleaved = (times_of(step_of(**options, vp=vp)) for vp in (1, 4))
    assert interleaved.pipeline_bubble == pytest.approx(plain.pipeline_bubble / 4)
    assert interleaved.pipeline_transfer > plain.pipeline_transfer


def test_uneven_stages_wait_for_the_fullest():
    model = msgspec.structs.replace(LLAMA, vocab_size=128)  # next to nothing at the ends
    even, uneven = (times_of(step_of(model, num_devices=pp, pp=pp, global_batch=8)) for pp in (4, 5))
    assert uneven.attention / even.attention == pytest.approx(7 / 8)  # 32 layers: 8 each, or 7 at most


def test_a_large_head_makes_the_last_stage_the_busiest():
    small, large = (
        times_of(step_of(msgspec.structs.replace(LLAMA, vocab_size=size), num_devices=4, pp=4, global_batch=8))
        for size in (1024, 256_000)
    )
    head = 8 * sum(
        item.expected * item.op.count
        for item in price(step_of(msgspec.structs.replace(LLAMA, vocab_size=256_000), pp=4, num_devices=4), H100)
        if item.op.part == "head" and item.op.kind == "matmul"
    )
    assert small.matmul + head > large.matmul > head
    # the other stages fill and drain with the same layers, the first with the gradient of a larger table
    assert small.pipeline_bubble < large.pipeline_bubble < 1.05 * small.pipeline_bubble


@pytest.mark.parametrize("sharding", ["none", "zero1", "fsdp"])
def test_overlap_hides_data_parallel_communication(sharding):
    step = step_of(num_devices=16, global_batch=16, sharding=sharding)
    exposed, hidden = times_of(step, {}), times_of(step, {"data": 1.0})
    layers = LLAMA.n_layers  # the last layer's gradients have nothing to run beside
    assert hidden.data_parallel < exposed.data_parallel
    least = exposed.data_parallel * (1 - (1 - 1 / layers) * (1 - INTERFERENCE))
    assert hidden.data_parallel >= least * (1 - 1e-12)


def test_gradients_reduced_in_every_pass_hide_in_every_pass():
    options = {"num_devices": 64, "global_batch": 64 * 16, "stack": "megatron"}
    zero2, fsdp = (times_of(step_of(**options, sharding=s), {"data": 1.0}) for s in ("zero2", "fsdp"))
    assert zero2.data_parallel <= fsdp.data_parallel


def test_the_last_gradients_of_a_stage_have_nothing_to_hide_behind():
    # a stage of a quarter of the layers exposes four times the share
    options = {"num_devices": 64, "pp": 4, "sharding": "zero1", "global_batch": 128}
    exposed, hidden = (times_of(step_of(**options), {"data": share}) for share in (0.0, 1.0))
    least = exposed.data_parallel * 4 / LLAMA.n_layers
    assert hidden.data_parallel > least


def test_communication_hides_behind_no_more_compute_than_there_is():
    slow = {"num_devices": 16, "tp": 16, "network_gbit_per_s": 0.01, "micro_batch": 1}
    step = step_of(**slow)
    exposed, hidden = times_of(step, {}), times_of(step, {"tensor": 1.0})
    compute = exposed.matmul + exposed.attention + exposed.memory_bound
    assert exposed.tensor_parallel - hidden.tensor_parallel <= compute
    both = times_of(step_of(**{**slow, "tp": 8}, sharding="fsdp"), {"tensor": 1.0, "data": 1.0})
    neither = times_of(step_of(**{**slow, "tp": 8}, sharding="fsdp"), {})
    assert neither.total - both.total <= neither.matmul + neither.attention + neither.memory_bound + neither.launch


@settings(max_examples=40)
@given(
    st.sampled_from(["tensor", "data", "pipeline", "expert", "context"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["none", "zero1", "fsdp"]),
    st.sampled_from([1, 2]),
)
def test_more_overlap_is_never_slower(kind, first, second, sharding, pp):
    low, high = sorted((first, second))
    step = step_of(MIXTRAL, num_devices=64, tp=2, cp=2, ep=8, pp=pp, global_batch=64, sharding=sharding)
    assert times_of(step, {kind: high}).total <= times_of(step, {kind: low}).total * (1 + 1e-12)


@pytest.mark.parametrize(
    ("dtype", "recipe", "beside"),
    [("fp8", "current", True), ("mxfp8", None, True), ("fp8", "blockwise", False), ("nvfp4", None, False)],
)
def test_some_recipes_leave_tensor_parallelism_nothing_to_hide_behind(dtype, recipe, beside):
    gb200 = load_device("gb200")
    step = step_of(dtype=dtype, low_precision_recipe=recipe, tp=2, num_devices=2, global_batch=4, stack="nemo")
    bare = msgspec.structs.replace(step, stack=msgspec.structs.replace(step.stack, overlap=Overlap()))
    exposed, whole = (schedule(each, gb200, price(each, gb200)).tensor_parallel for each in (step, bare))
    assert exposed == pytest.approx(whole * (1 - step.stack.overlap.tensor * (1 - INTERFERENCE) * beside))


def test_small_ops_are_bound_by_launches():
    tiny, large = (times_of(step_of(load_model("gpt2"), seq_len=1024, stack="eager", micro_batch=b)) for b in (1, 64))
    assert tiny.launch / tiny.total > 0.1
    assert large.launch / large.total < 0.02
    graph = times_of(step_of(load_model("gpt2"), seq_len=1024, stack="jax", micro_batch=1))
    assert graph.launch < tiny.launch


def test_the_update_is_paid_once_per_step():
    one, many = (times_of(step_of(global_batch=batch)) for batch in (1, 16))
    assert one.optimizer == many.optimizer > 0


def test_parts_of_the_model():
    step = step_of()
    priced = price(step, H100)
    total = sum(sum(times.values()) for times in stage_times(priced).values())
    assert total == pytest.approx(sum(i.expected * i.op.count for i in priced if i.op.part != "step"))


# --- what the host costs an expert layer


def test_experts_that_no_graph_captures_wait_for_the_host():
    options = {"num_devices": 8, "ep": 8, "stack": "nemo", "dtype": "fp8", "seq_len": 1024, "expert_balance": "forced"}
    model = load_model("qwen3-30b-a3b")
    none, partial, full = (
        times_of(build_step(model, train_config({**options, "cuda_graph": words})))
        for words in ("none", "partial", "full")
    )
    assert none.launch > partial.launch > full.launch
    # 16 experts here: per layer 6 matmuls and 4 casts of each at 24 us, and 4 ms of dispatch, is 7.8 ms at the least
    busy = none.total - none.launch
    assert none.total > 48 * 7.8e-3 > busy


def test_a_host_that_waits_in_each_layer_has_no_lead_from_backward():
    options = {"num_devices": 8, "ep": 8, "stack": "nemo", "seq_len": 4096}
    model = load_model("qwen3-30b-a3b")
    step = build_step(model, train_config({**options, "expert_balance": "forced"}))
    host, device = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}  # by whether it is forward
    eager = H100.measured.launch.eager_us
    for item in price(step, H100):
        op = item.op
        if op.part == "layer":  # 24 us a kernel of an expert, 4 ms a layer for dealing tokens out in forward
            forward = op.phase == "forward"
            dealt = 4e-3 if forward and op.role == "dispatch" else 0.0
            host[forward] += ((24 if op.routed else eager) * 1e-6 * op.kernels + dealt) * op.count
            device[forward] += item.expected * op.count
    assert host[True] > device[True]
    assert sum(host.values()) < sum(device.values())  # nothing to wait for, were the whole micro batch one
    assert times_of(step).launch > 0.9 * (host[True] - device[True])


def test_experts_launched_in_one_kernel_cost_the_host_little():
    model = load_model("qwen3-30b-a3b")
    each, grouped = (
        build_step(model, train_config({"num_devices": 8, "ep": 8, "stack": stack, "seq_len": 1024}))
        for stack in ("megatron", "torchtitan")
    )
    launches = [sum(op.kernels for op in step.ops if op.form == "grouped") for step in (each, grouped)]
    assert launches == [6 * 16, 6]


def test_kernels_that_a_library_launches_cost_the_host_what_those_of_compiled_code_do():
    launch = H100.measured.launch
    assert launch_costs(step_of(stack="eager"), H100).library == pytest.approx(launch.compiled_us * 1e-6)
    assert launch_costs(step_of(cuda_graph="full"), H100).library == pytest.approx(launch.graph_us * 1e-6)
    step = step_of(seq_len=128, stack="eager")
    inside = msgspec.structs.replace(step, ops=tuple(msgspec.structs.replace(op, library=True) for op in step.ops))
    assert times_of(inside).launch < times_of(step).launch / 2


def test_a_host_that_gathers_adapters_one_by_one_is_what_a_small_step_waits_for():
    options = {"train": "lora", "num_devices": 2, "sharding": "fsdp", "stack": "hf-trainer", "lora_rank": 8}
    step = build_step(LLAMA, train_config({**options, "lora_modules": "q_proj", "seq_len": 128, "recompute": "full"}))
    together = msgspec.structs.replace(step, stack=msgspec.structs.replace(step.stack, unit_us=0.0))
    # a and b of 32 layers in forward, recompute and backward: 192 times 1.7 ms
    assert times_of(step).launch - times_of(together).launch == pytest.approx(192 * 1.7e-3, rel=0.01)


# --- pipeline schedules


def test_gradients_of_weights_fill_the_bubble():
    options = {"num_devices": 8, "pp": 8, "global_batch": 16}
    names = ("gpipe", "1f1b", "zb-h1", "zb-h2", "zb-2p")
    bubbles = [times_of(step_of(**options, schedule=name)).pipeline_bubble for name in names]
    assert bubbles[0] == bubbles[1] > bubbles[2] > bubbles[3] >= bubbles[4] == 0
    assert times_of(step_of(**options)).pipeline_bubble == bubbles[1]  # 1f1b where nothing is said


def test_virtual_stages_are_those_of_the_schedule():
    with pytest.raises(RooflineError, match="schedule zb-v runs 2 chunks on each device: set --vp 2"):
        step_of(num_devices=8, pp=8, schedule="zb-v")
    with pytest.raises(RooflineError, match="schedule zb-h1 has one stage on each device"):
        step_of(num_devices=4, pp=4, vp=2, schedule="zb-h1")
    assert times_of(step_of(num_devices=4, pp=4, vp=2, schedule="zb-v")).pipeline_bubble >= 0


def test_dualpipe_hides_the_exchange():
    options = {"num_devices": 32, "pp": 4, "ep": 8, "global_batch": 512, "seq_len": 2048, "stack": "torchtitan"}
    plain, dual = (
        times_of(build_step(MIXTRAL, train_config({**options, "schedule": name}))) for name in ("1f1b", "dualpipe")
    )
    assert dual.expert_parallel < 0.5 * plain.expert_parallel
    assert dual.pipeline_bubble < plain.pipeline_bubble


@pytest.mark.parametrize(
    ("layout", "micro_batches", "alone"),
    [
        ({}, 1, 1),
        ({}, 8, 1),
        ({"pp": 4}, 16, 4),  # 1f1b: the first stage has four micro batches in flight
        ({"pp": 4, "vp": 2}, 16, 5.5),  # interleaved: 2 (p - 1) + (v - 1) p + 1 passes of half a micro batch each
        ({"pp": 4, "schedule": "gpipe"}, 16, 16),  # all forward passes, then all backward passes
    ],
)
def test_an_exchange_hides_where_another_micro_batch_is_on_its_way(layout, micro_batches, alone):
    options = {"ep": 8, "num_devices": 8 * layout.get("pp", 1), "global_batch": 8 * micro_batches, **layout}
    open_, beside = (times_of(step_of(MIXTRAL, **options, exchange_overlap=share)) for share in (False, True))
    hidden = (1 - alone / micro_batches) * (1 - INTERFERENCE)
    assert beside.expert_parallel == pytest.approx(open_.expert_parallel * (1 - hidden))


def test_transfers_between_stages_hide_where_stages_are_interleaved():
    options = {"num_devices": 4, "pp": 4, "global_batch": 64}
    for layout, hides in (({}, False), ({"vp": 2}, True), ({"schedule": "dualpipe"}, True)):
        open_, hidden = (times_of(step_of(**options, **layout), {"pipeline": share}) for share in (0.0, 0.7))
        assert (hidden.pipeline_transfer < open_.pipeline_transfer) is hides


# --- by hand: two passes of 6 s of compute in one layer of four, and what runs beside them --------------------------


def by_hand(*items, overlap, pp=1, global_batch=2, layers=4):
    """The schedule of a step with one matmul of 6 s, and these ops of so many seconds."""
    model = msgspec.structs.replace(LLAMA, groups=(msgspec.structs.replace(LLAMA.groups[0], count=layers),))
    step = step_of(model, num_devices=pp, pp=pp, global_batch=global_batch)
    step = msgspec.structs.replace(step, stack=msgspec.structs.replace(step.stack, overlap=Overlap(**overlap)))
    matmul = op_of(6.0, kind="matmul", part="layer", phase="forward")
    return schedule(step, H100, [matmul, *items])


def op_of(seconds, **fields):
    plain = {"name": "x", "phase": "optimizer", "part": "step", "dtype": "bf16", "kernels": 0}
    return PricedOp(Op(**{**plain, "flops": 0, "bytes_read": 0, "bytes_written": 0, **fields}), seconds)


def test_data_parallel_communication_by_hand():
    reduce = op_of(3.0, kind="collective", collective="all_reduce", group="dp", count=2, rounds=2)
    gather = op_of(4.0, kind="collective", collective="all_gather", group="dp")
    update = op_of(5.0, kind="collective", collective="all_gather", group="dp", role="update", rounds=7, count=3)
    shown = 1 - INTERFERENCE
    half = by_hand(reduce, gather, overlap={"data": 0.5})  # room: 1/2 x 6 s x (2 x 2 + 1) / 3 = 5 s of 10
    assert half.data_parallel == pytest.approx(10 - 5 * shown)
    alone = by_hand(reduce, overlap={"data": 0.5})  # 1/2 x 6 s x 4 / 3 = 4 s of 6, of which 4.5 can hide
    assert alone.data_parallel == pytest.approx(6 - 4 * shown)
    ample = by_hand(reduce, gather, overlap={"data": 1.0})  # 10 s of room: all but that of one layer in four
    assert ample.data_parallel == pytest.approx(10 - 7.5 * shown)
    assert by_hand(reduce, gather, update, overlap={"data": 1.0}).data_parallel == pytest.approx(25 - 7.5 * shown)
    gathered = by_hand(gather, overlap={"data": 0.5})  # 1/2 x 6 s x 1 / 3 = 1 s of 4
    assert gathered.data_parallel == pytest.approx(4 - shown)
    one = by_hand(reduce, overlap={"data": 1.0}, layers=1)  # the only layer's gradients come last
    assert one.data_parallel == pytest.approx(6)


def test_copies_to_the_host_by_hand():
    items = [
        op_of(5.0, kind="transfer"),
        op_of(2.0, kind="transfer", role="update"),
        op_of(2.5, kind="host", count=2),
        op_of(4.0, kind="nvme"),
        op_of(7.0, kind="transfer", part="layer", phase="forward"),  # twice, and nothing hides it
    ]
    times = by_hand(*items, overlap={"host": 0.125, "activations": 0.0})  # 1/8 x 12 s = 1.5 s hide
    assert times.offload == pytest.approx((5 - 1.5) + 2 + max(5, 4) + 2 * 7)
    assert times.optimizer == 0


def test_what_runs_once_a_step_by_hand():
    """Copies of the optimizer are bound by memory; its kernels and products are the update."""
    items = [op_of(2.0, kind="elementwise", count=3), op_of(1.5, kind="optimizer", count=2), op_of(4.0, kind="matmul")]
    times = by_hand(*items, overlap={})
    assert (times.memory_bound, times.optimizer, times.matmul) == pytest.approx((6, 3 + 4, 2 * 6))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_transfers_between_stages_by_hand(share):
    """Each micro batch passes on activations and gradients at every boundary; those that fill the pipe hide nowhere."""
    step = step_of(num_devices=4, pp=4, vp=2, global_batch=8)
    times = times_of(step, {"pipeline": share})
    message = 2048 * LLAMA.d_model * 2  # bytes
    once = expected_time("send_recv", message, 2, H100, ranks_per_domain=2, ranks_per_link=2)
    assert times.pipeline_transfer == pytest.approx(once * (2 * 2 * 8 * (1 - share) + 2 * 3))


def test_gradients_of_weights_count_as_a_share_of_the_passes():
    """zb-h1 waits for forward and gradients of data, less those of weights (arXiv:2401.10241, section 2.3)."""
    weights = [op_of(s, kind="matmul", part="layer", phase="backward", gradient="weight") for s in (2.0, 1.0)]
    data = op_of(3.0, kind="matmul", part="layer", phase="backward", gradient="data")
    later = op_of(50.0, kind="matmul", phase="backward")  # once a step: of no pass
    model = msgspec.structs.replace(LLAMA, groups=(msgspec.structs.replace(LLAMA.groups[0], count=4),))
    step = step_of(model, num_devices=4, pp=4, global_batch=8, schedule="zb-h1")
    found = schedule(step, H100, [op_of(6.0, kind="matmul", part="layer", phase="forward"), *weights, data, later])
    # three other stages of a quarter each wait as long as their forward and data passes, less their weight passes
    assert found.pipeline_bubble == pytest.approx(3 / 4 * (6 + 3 - 3))


@pytest.mark.parametrize(
    ("pp", "bubble"), [(2, 0.0), (4, 3 / 4 * (6 + 2 * 3 - 2) / 3), (8, 7 / 8 * (6 + 2 * 3 - 2) * 3 / 7)]
)
def test_micro_batches_from_both_ends_wait_for_half_the_stages(pp, bubble):
    """(p/2 - 1) of the p - 1 other stages, each for F + 2B - W: arXiv:2412.19437, table 2."""
    items = [
        op_of(6.0, kind="matmul", part="layer", phase="forward"),
        op_of(3.0, kind="matmul", part="layer", phase="backward", gradient="data"),
        op_of(0.5, kind="matmul", part="layer", phase="backward", gradient="weight", count=4),
    ]
    model = msgspec.structs.replace(LLAMA, groups=(msgspec.structs.replace(LLAMA.groups[0], count=8),))
    step = step_of(model, num_devices=pp, pp=pp, global_batch=16, schedule="dualpipe")
    assert schedule(step, H100, items).pipeline_bubble == pytest.approx(bubble)


def test_only_a_pipeline_has_transfers_between_stages():
    step = step_of(num_devices=np.array([1.0, 2.0]), pp=np.array([1.0, 2.0]), vp=1, global_batch=8)
    alone, pair = times_of(step).pipeline_transfer
    assert alone == 0
    assert 0 < pair == pytest.approx(times_of(step_of(num_devices=2, pp=2, global_batch=8)).pipeline_transfer)


def test_what_hides_takes_units_from_compute_but_for_copies():
    parts = {("layer", 0): {"matmul": 6.0, "tensor_parallel": 4.0, "offload": 5.0}}
    beside = _hide(parts, {"tensor_parallel": 0.5, "offload": 1.0})
    # 2 s of 4 hide in 6, at the price of interference; then 4 of the copies' 5 in what is left, for nothing
    assert parts["layer", 0]["tensor_parallel"] == pytest.approx(4 - 2 * (1 - INTERFERENCE))
    assert parts["layer", 0]["offload"] == pytest.approx(5 - 4)
    assert beside == {("layer", 0): pytest.approx(6.0)}


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ({"schedule": "dualpipe"}, 1 - 5 / 8),  # the first stage holds 4 + 1 of 8 micro batches
        ({"exchange_overlap": 0.25}, 0.25),
        ({"exchange_overlap": 0.75}, 1 - 4 / 8),
        ({"schedule": "gpipe", "exchange_overlap": 0.75}, 0),
    ],
)
def test_the_share_of_the_exchange_that_hides(words, share):
    assert _exchange_overlap(step_of(MIXTRAL, num_devices=32, pp=4, ep=8, global_batch=64, **words)) == share


def test_waiting_for_launches_by_hand():
    step = step_of(MIXTRAL, num_devices=8, ep=8)
    step = msgspec.structs.replace(step, stack=msgspec.structs.replace(step.stack, unit_us=50.0))
    cost = launch_costs(step, H100)
    us = 1e-6 * H100.measured.launch.slowdown
    assert (cost.routed, cost.unit, cost.dispatch) == pytest.approx((24 * us, 50 * us, 4000 * us))  # megatron's
    forward = op_of(3.0, kind="matmul", part="layer", phase="forward", kernels=10, count=2)
    backward = op_of(8.0, kind="matmul", part="layer", phase="backward", kernels=40, units=5, routed=True, count=3)
    first, second = 2 * 10 * cost.plain, 3 * (40 * cost.routed + 5 * cost.unit)

    def later(device, host):
        return (device**LAUNCH_SHARPNESS + host**LAUNCH_SHARPNESS) ** (1 / LAUNCH_SHARPNESS)

    for busy in (1e-4, 4e-3, 0.02):  # the host is behind, abreast and ahead
        waits = launch_wait(step, H100, [forward, backward], busy)
        assert waits == pytest.approx(later(busy, first + second) - busy)
        # where tokens are dealt out each waits for itself: 6 s of 30 in forward, 24 in backward
        deals = {"group": "ep", "part": "layer", "phase": "forward", "role": "dispatch", "kernels": 1, "count": 2}
        dealt = op_of(0.0, kind="collective", **deals)
        waits = launch_wait(step, H100, [forward, backward, dealt], busy)
        alone = later(busy / 5, first + 2 * (cost.plain + cost.dispatch)) + later(busy * 4 / 5, second) - busy
        assert waits == pytest.approx(alone)


@pytest.mark.parametrize(("recipe", "hides"), [("blockwise", False), ("delayed", True)])
def test_a_recipe_that_hides_nothing_of_tensor_parallelism_exposes_all(recipe, hides):
    """NeMo overlaps it with matmuls where these are scaled by tensors."""
    options = {"dtype": "fp8", "low_precision_recipe": recipe, "tp": 8, "num_devices": 8, "micro_batch": 1}
    step = build_step(load_model("llama-3-8b"), train_config({"stack": "nemo", **options}))
    ops = price(step, H100)
    parts, _ = exposed_times(step, H100, ops)
    exposed = sum(terms.get("tensor_parallel", 0) for terms in parts.values())
    whole = sum(item.expected * item.op.count for item in ops if item.op.group == "tp")
    assert step.stack.overlap.tensor > 0
    assert exposed < 0.99 * whole if hides else exposed == pytest.approx(whole)


def test_ranks_of_a_stage_send_their_part_of_its_activations():
    """tp 2 and cp 2: a quarter each, forward and back for eight micro batches, and once more to fill the pipe."""
    times = times_of(step_of(num_devices=8, pp=2, tp=2, cp=2, global_batch=8), {})
    once = expected_time("send_recv", 2048 * LLAMA.d_model * 2 / 4, 2, H100, ranks_per_domain=2, ranks_per_link=2)
    assert times.pipeline_transfer == pytest.approx(once * (2 * 8 + 2))


def test_a_host_that_sees_no_sizes_waits_for_none():
    """Neither under a graph of the whole step, nor where XLA has compiled it with its shapes."""
    waits = [
        launch_costs(step_of(**options), H100).dispatch for options in ({}, {"cuda_graph": "full"}, {"stack": "jax"})
    ]
    assert waits[0] is not None
    assert waits[1:] == [None, None]
