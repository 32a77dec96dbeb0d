"""From a kernel to its launch, its operators and its phase."""

import pytest

from roofline.profiling.profile import profile

from .only import only

US = 1e-6


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


def correlations(trace):
    """Take the correlations out of a trace: what each event had."""
    return [(event, event["args"].pop("correlation", None)) for event in trace.events]


def test_flows_link_where_no_kernel_says_its_launch(tmp_path, two_steps, result):
    trace = two_steps(rank=0, world_size=8)
    for event, number in correlations(trace):
        if number is not None:
            phase = "s" if event["cat"] == "cuda_runtime" else "f"
            place = {name: event[name] for name in ("pid", "tid", "ts")}
            trace.events.append({"ph": phase, "cat": "ac2g", "name": "ac2g", "id": number, "bp": "e", **place})
    found = profile([trace.write(tmp_path / "t.json")])
    assert (found.terms, found.ops, found.attributed_share) == (result.terms, result.ops, 1.0)


def test_external_ids_of_kernels_link_where_nothing_else_does(tmp_path, two_steps, result):
    trace = two_steps(rank=0, world_size=8)
    launches = {number: event for event, number in correlations(trace) if event["cat"] == "cuda_runtime"}
    trace = two_steps(rank=0, world_size=8)
    for event, number in correlations(trace):
        if event["cat"] == "kernel":
            launch = launches[number]
            around = [
                one
                for one in trace.events
                if (one["cat"], one["tid"]) == ("cpu_op", launch["tid"]) and 0 <= launch["ts"] - one["ts"] <= one["dur"]
            ]
            if around:
                event["args"]["External id"] = around[-1]["args"]["External id"]
    found = profile([trace.write(tmp_path / "t.json")])
    assert [op.name for op in found.ops] == [op.name for op in result.ops]
    assert [op.time_s for op in found.ops] == [op.time_s for op in result.ops]
