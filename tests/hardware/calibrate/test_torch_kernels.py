"""PyTorch's kernels: real ones on the CPU where it is installed, and a stand-in for an accelerator."""

from typing import Any
from unittest.mock import MagicMock

import pytest

from roofline.hardware.calibrate.torch_kernels import GPU_SHAPES, TorchEngine


def test_torch_kernels_run() -> None:
    pytest.importorskip("torch")
    groups = set()
    for kernel in TorchEngine("cpu", 1).kernels():
        if kernel.group not in groups:
            groups.add(kernel.group)
            kernel.build()()
    assert {"gemm", "wgrad", "attention", "attention_backward", "optimizer", "softmax", "launch", "stream"} <= groups


def fake_torch() -> Any:
    torch = MagicMock()
    torch.get_num_threads.return_value = 4
    torch.__version__, torch.version.cuda = "2.x", "12.x"
    return torch


def test_on_an_accelerator_short_kernels_are_launched_often_for_each_wait() -> None:
    torch = fake_torch()
    kernels = list(TorchEngine("cuda", 4, torch=torch).kernels())
    assert [kernel.group for kernel in kernels[:3]] == ["launch", "stream", "graph"]
    small, large = (next(k for k in kernels if k.group == "gemm" and k.shape == (n, n, n)) for n in (256, 8192))
    assert small.inner == 100
    assert large.inner == 1
    run = small.build()
    torch.cuda.synchronize.reset_mock()
    torch.nn.functional.linear.reset_mock()
    run()
    assert torch.nn.functional.linear.call_count == 100
    assert torch.cuda.synchronize.call_count == 1


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_every_kernel_builds_and_waits_on_every_backend(kind: str) -> None:
    torch = fake_torch()
    engine = TorchEngine(kind, 4, torch=torch)
    wait = getattr(torch, kind).synchronize
    for kernel in engine.kernels():
        run = kernel.build()
        wait.reset_mock()
        run()
        assert wait.call_count >= 1, kernel.name
    assert ("graph" in {kernel.group for kernel in engine.kernels()}) == (kind == "cuda")


def test_only_the_dtypes_that_have_an_engine_are_measured() -> None:
    kernels = list(TorchEngine("cuda", 4, dtypes=("fp32", "fp16"), torch=fake_torch()).kernels())
    assert {kernel.dtype for kernel in kernels if kernel.group == "gemm"} == {"fp32", "fp16"}
    assert {kernel.dtype for kernel in kernels if kernel.group == "attention"} == {"fp16"}
    assert sum(kernel.group == "gemm" for kernel in kernels) == 2 * len(GPU_SHAPES)
    cpu = list(TorchEngine("cpu", 4, dtypes=("fp32",), torch=fake_torch()).kernels())
    assert {kernel.dtype for kernel in cpu} == {"fp32"}
