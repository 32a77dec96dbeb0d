"""The kernels that calibration measures, with the FLOPs and bytes of each, and NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

Runner = Callable[[], Any]

# Matrix products [m, k] x [k, n]: cubes, and the shapes of a small transformer layer with 1,024 tokens.
CPU_SHAPES = (
    *((n, n, n) for n in (128, 256, 512, 1024, 1536)),
    *((1024, 1536, 512), (1024, 2048, 512), (1024, 512, 2048), (1024, 3072, 768), (256, 2304, 768)),
)


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel to measure: `build` allocates its operands and gives what runs it.

    Attributes:
        group: What it calibrates: gemm, wgrad, stream (memory bandwidth), elementwise, normalization,
            softmax, embedding, optimizer, attention, attention_backward, launch (from the host), graph (recorded).
        flops: FLOPs of one run.
        bytes: Bytes of one run, by the counting rules of the estimator (each operand once per kernel).
        footprint: Distinct bytes that one run touches: what a cache would have to hold.
        shape: (m, n, k) of a product; (batch, heads, sequence, head dimension) of attention.
        inner: Kernel launches in one run of `build()`.
    """

    group: str
    name: str
    dtype: str
    build: Callable[[], Runner]
    flops: float = 0.0
    bytes: float = 0.0
    footprint: float = 0.0
    shape: tuple[int, ...] = ()
    inner: int = 1


class Engine(Protocol):
    """A library that runs kernels on one kind of device."""

    name: str  # with version
    threads: int

    def kernels(self) -> Iterator[Kernel]:
        """Everything to measure."""


def gemm(name: str, dtype: str, shape: tuple[int, int, int], size: int, build: Callable[[], Runner]) -> Kernel:
    """A matrix product of `shape` (m, n, k) of numbers of `size` bytes."""
    m, n, k = shape
    moved = size * (m * k + k * n + m * n)
    label = f"{name} {m} x {n} x {k}"
    return Kernel(group=name, name=label, dtype=dtype, build=build, flops=2.0 * m * n * k, bytes=moved, shape=shape)


def stream_size() -> int:
    """Bytes far beyond the last-level cache, and at most 1 GiB."""
    from ..detect.cpu import read_cpu

    last = max((cache.count * cache.kib_each * 1024 for cache in read_cpu().caches), default=0)
    return int(min(max(4 * last, 2**27), 2**30))


def stream(threads: int) -> Kernel:
    """The kernel that memory bandwidth is measured with, on `threads` of the CPU."""
    from ..detect.bench import stream_runner

    size = stream_size()
    return Kernel(
        group="stream",
        name="multiply in place",
        dtype="fp32",
        build=bind(stream_runner, size, threads),
        bytes=2.0 * size,
        footprint=float(size),
    )


class NumpyEngine:
    """NumPy and its BLAS, on the CPU: matrix products in fp32 and fp64, and copies."""

    def __init__(self, threads: int) -> None:
        import numpy as np

        self.name = f"NumPy {np.__version__}"
        self.threads = threads

    def kernels(self) -> Iterator[Kernel]:
        """Products of every CPU shape, one small copy (launch) and one large (elementwise)."""
        from ..detect.bench import gemm_runner

        yield Kernel(group="launch", name="add of one number", dtype="fp32", build=bind(_numpy_add, 1))
        yield stream(self.threads)
        for dtype, size in (("fp32", 4), ("fp64", 8)):
            for m, n, k in CPU_SHAPES if dtype == "fp32" else CPU_SHAPES[:5]:
                build = bind(gemm_runner, m, n, k, dtype)
                yield gemm("gemm", dtype, (m, n, k), size, build)
        large = 2**24  # 64 MiB per operand
        yield Kernel(
            group="elementwise",
            name="add",
            dtype="fp32",
            build=bind(_numpy_add, large),
            bytes=12.0 * large,
            footprint=12.0 * large,
        )


def bind(function: Callable[..., Runner], *args: Any) -> Callable[[], Runner]:
    """What builds a kernel's runner with these arguments."""
    return lambda: function(*args)


def _numpy_add(count: int) -> Runner:
    import numpy as np

    a, b = np.ones(count, np.float32), np.ones(count, np.float32)
    out = np.empty_like(a)
    return lambda: np.add(a, b, out=out)
