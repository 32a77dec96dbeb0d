"""Kernels as operators with shapes, and those that stay names."""

import pytest

from roofline.profiling.profile import profile

from .only import only

US = 1e-6


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
