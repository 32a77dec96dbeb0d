"""A trace in columns, written by hand."""

import json

import pytest

from roofline.errors import RooflineError
from roofline.profiling.events import COPY, KERNEL, read_trace


def test_what_ran_what_was_launched_and_what_was_open(tmp_path, two_steps):
    trace = read_trace(two_steps(rank=3, world_size=8).write(tmp_path / "t.json"))
    assert (trace.rank, trace.world_size) == (3, 8)
    assert len(trace.kernels.name) == 2 * 5  # forward, backward, all-reduce, optimizer, copy
    assert list(trace.kernels.sort).count(COPY) == 2
    assert list(trace.kernels.sort).count(KERNEL) == 8
    assert set(trace.launches.of) >= set(trace.kernels.correlation)
    moved = [each for each, sort in zip(trace.kernels.moved, trace.kernels.sort, strict=True) if sort == COPY]
    assert moved == [4.0, 4.0]


def test_equal_inputs_and_messages_are_kept_once(tmp_path, two_steps):
    trace = read_trace(two_steps().write(tmp_path / "t.json"))
    assert len(trace.inputs) == 1 + 3  # none; the forward and the backward matmul, the lists of the optimizer
    (message,) = trace.messages
    assert (message.collective, message.sent, message.size, message.ranks) == ("allreduce", 2**19, 8, tuple(range(8)))


def test_nothing_that_ran_on_a_device_is_one_line(tmp_path, kineto):
    trace = kineto()
    trace.range("aten::mm", 0, 10)
    with pytest.raises(RooflineError) as error:
        read_trace(trace.write(tmp_path / "t.json"))
    assert "\n" not in str(error.value)


def test_a_trace_of_another_profiler_is_one_line(tmp_path):
    path = tmp_path / "jax.json"
    named = {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "/device:GPU:0"}}
    ran = {"ph": "X", "name": "gemm_fusion", "pid": 1, "tid": 1, "ts": 1, "dur": 5, "args": {"hlo_op": "fusion"}}
    path.write_text(json.dumps({"traceEvents": [named, ran]}))
    with pytest.raises(RooflineError, match="traces of JAX, TensorFlow and rocprof are not read"):
        read_trace(path)
