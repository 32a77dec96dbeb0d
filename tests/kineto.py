"""Writes traces in Kineto's form by hand: every time is chosen, so every sum is known."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from roofline.profiling.profile import assemble, read_ranks
from roofline.profiling.rank import Rank
from roofline.profiling.result import Profile

H100 = {"id": 0, "name": "NVIDIA H100 80GB HBM3", "numSms": 132, "totalGlobalMem": 85018279936}
BF16 = "c10::BFloat16"


class Kineto:
    """A trace while it is written; times in microseconds."""

    def __init__(self, *, rank: int | None = None, world_size: int = 1, device: dict[str, Any] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.keys: dict[str, Any] = {"schemaVersion": 1, "deviceProperties": [device or H100], "record_shapes": 1}
        if rank is not None:
            self.keys["distributedInfo"] = {"backend": "nccl", "rank": rank, "world_size": world_size}
        self.number = 0

    def _next(self) -> int:
        self.number += 1
        return self.number

    def add(self, category: str | None, name: str, start: float, time: float, tid: Any, **args: Any) -> dict[str, Any]:
        """One complete event."""
        event = {"ph": "X", "cat": category, "name": name, "pid": 7, "tid": tid, "ts": start, "dur": time, "args": args}
        self.events.append(event)
        return event

    def step(self, number: int, start: float, time: float) -> None:
        """A step of the host."""
        self.add("user_annotation", f"ProfilerStep#{number}", start, time, 1, **{"External id": self._next()})

    def range(
        self,
        name: str,
        start: float,
        time: float,
        *,
        tid: int = 1,
        dims: Any = None,
        types: Any = None,
        strides: Any = None,
        concrete: Any = None,
        sequence: int | None = None,
        forward_thread: int | None = None,
        category: str = "cpu_op",
        **args: Any,
    ) -> int:
        """An operator; returns its external id."""
        number = self._next()
        args |= {"External id": number}
        if dims is not None:
            args |= {"Input Dims": dims, "Input type": types or [BF16 if dim else "" for dim in dims]}
        for key, value in (("Input Strides", strides), ("Concrete Inputs", concrete), ("Sequence number", sequence)):
            if value is not None:
                args[key] = value
        if forward_thread is not None:
            args["Fwd thread id"] = forward_thread
        self.add(category, name, start, time, tid, **args)
        return number

    def kernel(
        self,
        name: str,
        launch: float | None,
        start: float,
        time: float,
        *,
        tid: int = 1,
        stream: int = 7,
        external: int | None = None,
        category: str = "kernel",
        call: str = "cudaLaunchKernel",
        **args: Any,
    ) -> None:
        """A kernel and its launch (None: not in the file)."""
        number = 1000 + self._next()
        link = {} if external is None else {"External id": external}
        if launch is not None:
            self.add("cuda_runtime", call, launch, 2, tid, correlation=number, **link)
        self.events.append(
            {
                "ph": "X",
                "cat": category,
                "name": name,
                "pid": 0,
                "tid": stream,
                "ts": start,
                "dur": time,
                "args": {"device": 0, "stream": stream, "correlation": number, **link, **args},
            }
        )

    def run(self, name: str, kernel: str, at: float, start: float, time: float, **given: Any) -> None:
        """An operator of 10 us on the host that launches one kernel."""
        tid = given.get("tid", 1)
        self.range(name, at, 10, **given)
        self.kernel(kernel, at + 5, start, time, tid=tid)

    def write(self, path: Path, *, indent: int | None = 2) -> Path:
        """Write it, gzipped where the name says so."""
        text = json.dumps({**self.keys, "traceEvents": self.events}, indent=indent).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        return path


def _two_steps(**given: Any) -> Kineto:
    """Two steps of 1000 us: matmul forward and backward, a collective half hidden, an optimizer, and gaps.

    On the device, from t = 1000 (step 1) and t = 2000 (step 2):
      0-100     aten::mm, forward: [4096, 1024] @ [1024, 2048]
      100-300   aten::mm, backward: data gradient
      200-400   all-reduce of 1 MiB in bf16 over 8 ranks, on stream 20: 200-300 hidden, 300-400 exposed
      400-450   optimizer
      450-460   copy
      460-1000  nothing: the next launch comes at 990
    """
    trace = Kineto(**given)
    for step in (1, 2):
        at = 1000.0 * step
        trace.step(step, at - 15, 990)
        dims = [[4096, 1024], [1024, 2048]]
        trace.run("aten::mm", "nvjet_forward", at - 10, at, 100, dims=dims, sequence=3)
        trace.range("autograd::engine::evaluate_function: MmBackward0", at, 40, tid=2, sequence=3, forward_thread=1)
        dims = [[4096, 2048], [2048, 1024]]
        trace.run("aten::mm", "nvjet_backward", at + 10, at + 100, 200, tid=2, dims=dims)
        trace.range("nccl:all_reduce", at + 50, 20, tid=2, category="user_annotation")
        trace.kernel(
            "ncclDevKernel_AllReduce_Sum_bf16_RING_LL",
            at + 55,
            at + 200,
            200,
            tid=2,
            stream=20,
            **{
                "Collective name": "allreduce",
                "In msg nelems": 2**19,
                "Out msg nelems": 2**19,
                "dtype": "BFloat16",
                "Group size": 8,
                "Process Group Name": "0",
                "Process Group Description": "default_pg",
                "Process Group Ranks": "[0, 1, 2, 3, 4, 5, 6, 7]",
            },
        )
        trace.range("Optimizer.step#AdamW.step", at + 80, 40, category="user_annotation")
        lists = [[[1000], [24]]] * 4
        trace.range("aten::_fused_adamw_", at + 85, 20, dims=lists, types=["TensorList"] * 4)
        trace.kernel("multi_tensor_apply_kernel<FusedAdamMathFunctor<float, 4>>", at + 90, at + 400, 50)
        trace.kernel("Memcpy DtoH", at + 125, at + 450, 10, category="gpu_memcpy", call="cudaMemcpyAsync", bytes=4)
    return trace


@pytest.fixture(scope="session")
def kineto() -> type[Kineto]:
    """Writes a trace by hand."""
    return Kineto


@pytest.fixture(scope="session")
def two_steps() -> Any:
    """Makes the trace of two steps that `_two_steps` describes."""
    return _two_steps


@pytest.fixture(scope="session")
def profiled(tmp_path_factory: pytest.TempPathFactory, two_steps: Any) -> tuple[list[Rank], Profile]:
    """What is read of the trace of two steps, as rank 0 of eight, and its profile."""
    ranks = read_ranks([two_steps(rank=0, world_size=8).write(tmp_path_factory.mktemp("trace") / "t.json.gz")])
    return ranks, assemble(ranks)
