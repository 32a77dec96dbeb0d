"""A trace written by hand gives the sums that its times say."""

from __future__ import annotations

import json

import pytest

from roofline.errors import RooflineError
from roofline.profiling.profile import profile

US = 1e-6


def only(items, **wanted):
    found = [item for item in items if all(getattr(item, key) == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, items)
    return found[0]


@pytest.fixture(scope="module")
def result(tmp_path_factory, two_steps):
    return profile([two_steps(rank=0, world_size=8).write(tmp_path_factory.mktemp("t") / "t.json.gz")])


def test_steps_and_terms(result):
    # step 1: from its first kernel at 1000 to the next step's at 2000; step 2 to its last kernel's end
    assert [step.time_s for step in result.steps] == pytest.approx([1000 * US, 460 * US])
    assert [step.busy_s for step in result.steps] == pytest.approx([460 * US, 460 * US])
    assert result.step_time_s == pytest.approx(1000 * US)
    assert result.steps[0].terms == pytest.approx(
        {
            "matmul": 300 * US,
            "all_reduce_exposed": 100 * US,
            "optimizer": 50 * US,
            "copy": 10 * US,
            "launch": 540 * US,
        }
    )
    assert sum(result.terms.values()) == pytest.approx(1460 * US)


def test_totals(result):
    totals = result.totals
    assert (totals.kernels, totals.nccl_kernels, totals.leading_kernels) == (8, 2, 0)
    assert totals.kernel_time_s == pytest.approx(2 * 550 * US)
    assert totals.busy_s == pytest.approx(2 * 460 * US)
    assert totals.span_s == pytest.approx(1460 * US)
    assert totals.nccl_time_s == pytest.approx(400 * US)
    assert totals.nccl_exposed_s == pytest.approx(200 * US)


def test_ops_sum_to_the_attributed_time(result):
    assert result.attributed_share == 1.0
    assert sum(op.time_s for op in result.ops) == pytest.approx(result.attributed_share * result.kernel_time_s)


def test_a_matmul_has_its_flops_bytes_and_phase(result):
    forward = only(result.ops, name="aten::mm", phase="forward")
    assert (forward.count, forward.dtype, forward.matmul) == (2, "bf16", (4096, 2048, 1024, 1))
    assert forward.flops == 2 * 2 * 4096 * 1024 * 2048
    # operands and result once each, two bytes an element, two runs
    assert forward.bytes == 2 * 2 * (4096 * 1024 + 1024 * 2048 + 4096 * 2048)
    assert forward.time_s == pytest.approx(200 * US)
    assert 0 < forward.ideal_time_s < forward.expected_time_s < 200 * US
    backward = only(result.ops, name="aten::mm", phase="backward")
    assert backward.time_s == pytest.approx(400 * US)


def test_mfu_counts_matmuls_forward_and_backward(result):
    flops = 2 * 2 * 4096 * 1024 * 2048  # of a step: forward and data gradient
    assert result.model_flops_per_step == flops
    assert result.mfu == pytest.approx(flops / (1000 * US * 989.4e12), rel=1e-3)


def test_a_fused_optimizer_reads_four_lists_and_writes_three(result):
    adam = only(result.ops, kind="optimizer")
    assert (adam.phase, adam.count) == ("optimizer", 2)
    assert adam.bytes == 2 * (4 + 3) * 1024 * 4  # fp32 by the kernel's name: a list of tensors has no type in a trace


def test_a_collective_has_its_bus_bandwidth(result):
    reduce = only(result.collectives, collective="all_reduce")
    assert (reduce.payload_bytes, reduce.group_size, reduce.count) == (2**20, 8, 2)
    assert reduce.exposed_s == pytest.approx(200 * US)
    assert reduce.bus_bandwidth_bytes_per_s == pytest.approx(2**20 * 2 * 7 / 8 / (200 * US))
    assert reduce.expected_time_s > 0


def test_kernels_launched_before_the_window_are_left_out(tmp_path, two_steps):
    trace = two_steps()
    for start in (900, 950):
        trace.kernel("old", None, start, 40)
    result = profile([trace.write(tmp_path / "t.json")])
    assert result.totals.leading_kernels == 2
    assert result.totals.leading_time_s == pytest.approx(80 * US)
    assert result.attributed_share == 1.0
    assert any("2 kernels" in note for note in result.notes)


def test_kernels_of_a_cuda_graph_are_names(tmp_path, two_steps):
    trace = two_steps()
    trace.add("cuda_runtime", "cudaGraphLaunch", 1500, 5, 1, correlation=77)
    for start in (1510, 1520):
        trace.kernel("nvjet_in_graph", None, start, 10)
        trace.events[-1]["args"]["correlation"] = 77
    result = profile([trace.write(tmp_path / "t.json")])
    loose = only(result.unattributed, name="nvjet_in_graph")
    assert (loose.count, loose.why, loose.kind) == (2, "a CUDA graph", "matmul")
    assert result.attributed_share == pytest.approx(1100 / 1120)
    assert result.terms["matmul"] == pytest.approx(620 * US)


def test_kernels_between_without_a_launch_belong_to_the_step(tmp_path, two_steps):
    trace = two_steps()
    trace.kernel("mystery", None, 1600, 10)
    result = profile([trace.write(tmp_path / "t.json")])
    assert only(result.unattributed, name="mystery").why == "no launch in the file"
    assert result.steps[0].kernels == 5


def test_recompute_is_told_from_forward_and_backward(tmp_path, kineto):
    trace = kineto()
    trace.step(1, 0, 500)
    dims = [[64, 64], [64, 64]]
    trace.run("aten::mm", "nvjet", 10, 100, 10, dims=dims, sequence=5)
    trace.range(
        "autograd::engine::evaluate_function: CheckpointFunctionBackward", 30, 100, tid=2, sequence=6, forward_thread=1
    )
    trace.range("aten::linear", 35, 30, tid=2, dims=dims, sequence=9)  # recorded by autograd anew
    trace.run("aten::mm", "nvjet", 40, 120, 10, tid=2, dims=dims, sequence=10)
    trace.range("autograd::engine::evaluate_function: MmBackward0", 70, 40, tid=2, sequence=10, forward_thread=1)
    trace.run("aten::mm", "nvjet", 75, 140, 10, tid=2, dims=dims)
    result = profile([trace.write(tmp_path / "t.json")])
    assert sorted(op.phase for op in result.ops) == ["backward", "forward", "recompute"]
    assert result.terms["recompute"] == pytest.approx(10 * US)
    # recompute does not count as the model's: forward and one gradient
    assert result.model_flops_per_step == 2 * 2 * 64**3


def test_the_format_of_2021(tmp_path, kineto):
    """Other categories, other spellings; threads of launches without the name of an operator's: the id links."""
    trace = kineto()
    trace.keys.pop("record_shapes")
    trace.add("Operator", "ProfilerStep#3", 0, 200, "1", **{"External id": 1})
    dims = {"Input Dims": [[8, 32], [32, 16]], "Input type": ["float", "float"]}
    trace.add("Operator", "aten::mm", 10, 20, "1", **{"External id": 2}, **dims)
    trace.add("Runtime", "cudaLaunchKernel", 15, 5, "99", correlation=5, **{"external id": 2})
    event = trace.add("Kernel", "volta_sgemm_32x32", 40, 30, "stream 7", correlation=5, **{"external id": 2})
    event["args"]["stream"] = 7
    event["pid"] = 0
    result = profile([trace.write(tmp_path / "t.json")])
    op = only(result.ops, name="aten::mm")
    assert (op.flops, op.dtype) == (2 * 8 * 32 * 16, "fp32")
    assert result.steps[0].name == "ProfilerStep#3"


def test_ids_that_repeat_the_correlation_do_not_link(tmp_path, kineto):
    """torch 1.12: the launch's external id is its correlation, and may be another operator's id by accident."""
    trace = kineto()
    trace.step(1, 0, 500)
    wrong = trace.range("aten::bmm", 300, 10, dims=[[2, 3, 4], [2, 4, 5]])
    trace.range("aten::mm", 10, 20, dims=[[8, 32], [32, 16]])
    trace.kernel("sgemm", 15, 40, 30, external=wrong)
    result = profile([trace.write(tmp_path / "t.json")])
    assert [op.name for op in result.ops] == ["aten::mm"]


def test_generated_kernels_are_known_by_their_arguments(tmp_path, kineto):
    trace = kineto()
    name = "triton_poi_fused_mul_silu_2"
    trace.run(
        name, name, 0, 20, 10, dims=[[128, 64], [128, 64], []], types=["c10::BFloat16", "c10::BFloat16", "Scalar"]
    )
    op = only(profile([trace.write(tmp_path / "t.json")]).ops, name=name)
    assert op.bytes == 2 * 2 * 128 * 64
    assert op.flops == 2 * 128 * 64  # mul, silu


def test_custom_operators_are_attributed_without_an_expectation(tmp_path, two_steps):
    trace = two_steps()
    trace.run("mylib::attention_free", "kernel", 1500, 1600, 10, dims=[[8, 8]])
    op = only(profile([trace.write(tmp_path / "t.json")]).ops, name="mylib::attention_free")
    assert (op.flops, op.expected_time_s) == (None, None)


def test_a_synchronization_before_a_gap_is_said(tmp_path, two_steps):
    trace = two_steps()
    trace.add("cuda_runtime", "cudaStreamSynchronize", 1440, 60, 1)
    result = profile([trace.write(tmp_path / "t.json")])
    assert result.after_synchronization_s == pytest.approx(540 * US)


def test_without_shapes_everything_is_linked_and_nothing_attributed_but_collectives(tmp_path, two_steps):
    trace = two_steps()
    for event in trace.events:
        event["args"].pop("Input Dims", None)
    result = profile([trace.write(tmp_path / "t.json")])
    assert result.attributed_share == pytest.approx(400 / 1100)
    assert result.linked_share == 1.0


def test_an_unknown_device_is_not_guessed(tmp_path, two_steps):
    device = {"id": 0, "name": "Tesla V100-DGXS-32GB", "numSms": 80, "totalGlobalMem": 34084028416}
    path = two_steps(device=device).write(tmp_path / "t.json")
    result = profile([path])
    assert result.device is None
    assert result.mfu is None
    assert "v100-sxm2-32gb" in " ".join(result.notes)
    assert profile([path], "v100-sxm2-32gb").device.id == "v100-sxm2-32gb"


def test_json_can_be_written(result):
    data = result.to_dict()
    from roofline.view.table import plain

    json.dumps(plain(data), allow_nan=False)
    assert {"steps", "terms", "ops", "collectives", "attributed_share", "mfu"} <= set(data)
    assert len(result.to_frame()) == len(result.ops)


def test_two_ranks_show_who_waits(tmp_path, two_steps):
    for rank, late in ((0, 0), (1, 60)):
        trace = two_steps(rank=rank, world_size=8)
        for event in trace.events:
            if event["name"].startswith("nccl") and event["cat"] == "kernel":
                event["ts"] += late
                event["dur"] -= late
        trace.write(tmp_path / f"rank{rank}.json")
    result = profile([tmp_path])
    assert [rank.rank for rank in result.ranks] == [0, 1]
    assert [rank.waiting_s for rank in result.ranks] == pytest.approx([60 * US, 0.0])  # rank 1 came last


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({"rank": 0, "world_size": 8}, {"rank": 0, "world_size": 8}, "both rank 0"),
        ({"rank": 0, "world_size": 8}, {"rank": 1, "world_size": 4}, "do not belong together"),
        ({"rank": 0, "world_size": 8}, {}, "does not say which rank"),
    ],
)
def test_ranks_that_do_not_belong_together(tmp_path, first, second, says, two_steps):
    two_steps(**first).write(tmp_path / "a.json")
    two_steps(**second).write(tmp_path / "b.json")
    with pytest.raises(RooflineError, match=says):
        profile([tmp_path])


def test_a_trace_of_the_host_alone(tmp_path, two_steps):
    trace = two_steps()
    trace.events = [event for event in trace.events if event["cat"] == "cpu_op"]
    with pytest.raises(RooflineError, match="no GPU kernels"):
        profile([trace.write(tmp_path / "t.json")])


def test_an_empty_folder_and_a_file_given_twice(tmp_path, two_steps):
    with pytest.raises(RooflineError, match="holds no trace"):
        profile([tmp_path])
    path = two_steps().write(tmp_path / "t.json")
    with pytest.raises(RooflineError, match="given twice"):
        profile([path, path])
