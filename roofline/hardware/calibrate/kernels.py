"""The kernels that calibration measures, through NumPy or PyTorch, with the FLOPs and bytes of each."""

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
GPU_SHAPES = (
    *((n, n, n) for n in (256, 512, 1024, 2048, 4096, 8192)),
    *((4096, 12288, 4096), (8192, 11008, 4096), (8192, 4096, 11008), (2048, 6144, 2048)),
)
# (batch, heads, sequence, head dimension), causal.
CPU_ATTENTION = ((4, 8, 128, 64), (4, 8, 256, 64), (2, 8, 512, 64), (1, 8, 1024, 64))
GPU_ATTENTION = ((8, 16, 512, 64), (4, 16, 2048, 64), (2, 16, 4096, 128), (1, 32, 8192, 128))
# (tensors, elements of each) of a model: the optimizer's passes over a small tensor share the caches, those over a
# large one do not; all together are far beyond them, as in training.
CPU_TENSORS = ((2, 2**22), (8, 2**20), (16, 2**18))
GPU_TENSORS = ((16, 2**22),)


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel to measure: `build` allocates its operands and gives what runs it.

    Attributes:
        group: What it calibrates: gemm, wgrad, stream (memory bandwidth), elementwise, normalization,
            softmax, embedding, optimizer, attention, attention_backward, launch.
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


def _gemm(name: str, dtype: str, shape: tuple[int, int, int], size: int, build: Callable[[], Runner]) -> Kernel:
    m, n, k = shape
    moved = size * (m * k + k * n + m * n)
    label = f"{name} {m} x {n} x {k}"
    return Kernel(group=name, name=label, dtype=dtype, build=build, flops=2.0 * m * n * k, bytes=moved, shape=shape)


def stream_size() -> int:
    """Bytes far beyond the last-level cache, and at most 1 GiB."""
    from ..detect.cpu import read_cpu

    last = max((cache.count * cache.kib_each * 1024 for cache in read_cpu().caches), default=0)
    return int(min(max(4 * last, 2**27), 2**30))


def _stream(threads: int) -> Kernel:
    from ..detect.bench import stream_runner

    size = stream_size()
    return Kernel(
        group="stream",
        name="multiply in place",
        dtype="fp32",
        build=_bind(stream_runner, size, threads),
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

        for dtype, size in (("fp32", 4), ("fp64", 8)):
            for m, n, k in CPU_SHAPES if dtype == "fp32" else CPU_SHAPES[:5]:
                build = _bind(gemm_runner, m, n, k, dtype)
                yield _gemm("gemm", dtype, (m, n, k), size, build)
        yield _stream(self.threads)
        large = 2**24  # 64 MiB per operand
        yield Kernel(
            group="elementwise",
            name="add",
            dtype="fp32",
            build=_bind(_numpy_add, large),
            bytes=12.0 * large,
            footprint=12.0 * large,
        )
        yield Kernel(group="launch", name="add of one number", dtype="fp32", build=_bind(_numpy_add, 1))


def _bind(function: Callable[..., Runner], *args: Any) -> Callable[[], Runner]:
    return lambda: function(*args)


def _numpy_add(count: int) -> Runner:
    import numpy as np

    a, b = np.ones(count, np.float32), np.ones(count, np.float32)
    out = np.empty_like(a)
    return lambda: np.add(a, b, out=out)


class TorchEngine:
    """PyTorch, on the CPU or on one GPU."""

    def __init__(self, device: str, threads: int) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        self.device = device
        self.gpu = device != "cpu"
        self.threads = torch.get_num_threads()
        self.name = f"PyTorch {torch.__version__}" + (f", CUDA {torch.version.cuda}" if self.gpu else "")

    def kernels(self) -> Iterator[Kernel]:
        """Products, their weight gradients, attention, and the memory-bound kernels of a training step."""
        shapes = GPU_SHAPES if self.gpu else CPU_SHAPES
        for dtype, size in (("fp32", 4), ("bf16", 2)):
            for shape in shapes:
                yield _gemm("gemm", dtype, shape, size, _bind(self._gemm, *shape, dtype))
            for shape in shapes[-4:]:
                yield _gemm("wgrad", dtype, shape, size, _bind(self._wgrad, *shape, dtype))
        dtype = "bf16" if self.gpu else "fp32"
        for batch, heads, sequence, dim in GPU_ATTENTION if self.gpu else CPU_ATTENTION:
            # 2 products of 2 * b * H * s * (s + 1) / 2 * d FLOPs under the causal mask; backward does 5
            forward = 2 * batch * heads * sequence * (sequence + 1) * dim
            for group, flops in (("attention", forward), ("attention_backward", 2.5 * forward)):
                yield Kernel(
                    group=group,
                    name=f"{group} {batch} x {heads} x {sequence} x {dim}",
                    dtype=dtype,
                    build=_bind(self._attention, batch, heads, sequence, dim, dtype, group != "attention"),
                    flops=flops,
                    shape=(batch, heads, sequence, dim),
                )
        yield from self._memory_bound(dtype)

    def _memory_bound(self, dtype: str) -> Iterator[Kernel]:
        size = 2 if dtype == "bf16" else 4
        # On a CPU 28 MiB an operand: the C library hands 32 MiB and more back to the system at every release,
        # and clearing new pages would be most of what is measured.
        rows, width = (16384, 4096) if self.gpu else (7168, 1024)
        count = rows * width
        tokens, vocabulary = (4096, 32768) if self.gpu else (896, 8192)
        logits = tokens * vocabulary * 4
        tensors = GPU_TENSORS if self.gpu else CPU_TENSORS
        parameters = sum(number * length for number, length in tensors)
        if not self.gpu:
            yield _stream(self.threads)
        # Passes over memory as the estimator counts them (operands read and written once per kernel), and the
        # operands that they go over.
        for group, name, build, moved, touched in (
            ("elementwise", "add", _bind(self._add, rows, width, dtype), 3 * count * size, 3 * count * size),
            (
                "elementwise",
                "gelu",
                _bind(self._gelu, rows, width, dtype, False),
                2 * count * size,
                2 * count * size,
            ),
            (
                "elementwise",
                "gelu and backward",
                _bind(self._gelu, rows, width, dtype, True),
                5 * count * size,
                4 * count * size,
            ),
            (
                "normalization",
                "layer norm and backward",
                _bind(self._norm, rows, width, dtype),
                7 * count * size,
                4 * count * size,
            ),
            (
                "softmax",
                "cross entropy and backward",
                _bind(self._loss, tokens, vocabulary),
                4 * logits,
                3 * logits,
            ),
            (
                "embedding",
                "gather of rows",
                _bind(self._gather, rows, width, dtype),
                2 * count * size,
                2 * count * size,
            ),
            # 21 passes over fp32 numbers: multiply, lerp, multiply, addcmul, sqrt, divide, add, addcdiv
            ("optimizer", "AdamW", _bind(self._adamw, tensors), 84 * parameters, 16 * parameters),
        ):
            yield Kernel(group=group, name=name, dtype=dtype, build=build, bytes=float(moved), footprint=float(touched))
        yield Kernel(group="launch", name="add of one number", dtype=dtype, build=_bind(self._tiny, dtype), inner=100)

    def _random(self, *shape: int, dtype: str, grad: bool = False) -> Any:
        kind = {"fp32": self.torch.float32, "bf16": self.torch.bfloat16}[dtype]
        return self.torch.randn(*shape, device=self.device, dtype=kind, requires_grad=grad)

    def _synchronised(self, run: Runner) -> Runner:
        """`run`, and wait for the GPU."""
        if not self.gpu:
            return run

        def wait() -> None:
            run()
            self.torch.cuda.synchronize()

        return wait

    def _gemm(self, m: int, n: int, k: int, dtype: str) -> Runner:
        a, b = self._random(m, k, dtype=dtype), self._random(n, k, dtype=dtype)
        linear = self.torch.nn.functional.linear  # weights are [n, k], as in every layer
        return self._synchronised(lambda: linear(a, b))

    def _wgrad(self, m: int, n: int, k: int, dtype: str) -> Runner:
        # gradient of the weights: [n, m] x [m, k], both operands laid out by the forward pass
        gradient, a = self._random(m, n, dtype=dtype), self._random(m, k, dtype=dtype)
        return self._synchronised(lambda: gradient.t() @ a)

    def _attention(self, batch: int, heads: int, sequence: int, dim: int, dtype: str, backward: bool) -> Runner:
        shape = (batch, heads, sequence, dim)
        q, k, v = (self._random(*shape, dtype=dtype, grad=backward) for _ in range(3))
        attend = self.torch.nn.functional.scaled_dot_product_attention
        if not backward:
            return self._synchronised(lambda: attend(q, k, v, is_causal=True))
        out = attend(q, k, v, is_causal=True)
        gradient = self.torch.randn_like(out)
        grad = self.torch.autograd.grad
        return self._synchronised(lambda: grad(out, (q, k, v), gradient, retain_graph=True))

    def _add(self, rows: int, width: int, dtype: str) -> Runner:
        a, b = self._random(rows, width, dtype=dtype), self._random(rows, width, dtype=dtype)
        return self._synchronised(lambda: a + b)

    def _with_backward(self, function: Callable[[Any], Any], x: Any) -> Runner:
        gradient = self.torch.randn_like(function(x))

        def both() -> None:
            function(x).backward(gradient)
            x.grad = None

        return self._synchronised(both)

    def _gelu(self, rows: int, width: int, dtype: str, backward: bool) -> Runner:
        gelu = self.torch.nn.functional.gelu
        x = self._random(rows, width, dtype=dtype, grad=backward)
        return self._with_backward(gelu, x) if backward else self._synchronised(lambda: gelu(x))

    def _norm(self, rows: int, width: int, dtype: str) -> Runner:
        weight, bias = (
            self._random(width, dtype=dtype, grad=True),
            self._random(width, dtype=dtype, grad=True),
        )
        norm = self.torch.nn.functional.layer_norm
        x = self._random(rows, width, dtype=dtype, grad=True)
        return self._with_backward(lambda x: norm(x, (width,), weight, bias), x)

    def _loss(self, tokens: int, vocabulary: int) -> Runner:
        logits = self._random(tokens, vocabulary, dtype="fp32", grad=True)
        target = self.torch.randint(vocabulary, (tokens,), device=self.device)
        return self._with_backward(lambda x: self.torch.nn.functional.cross_entropy(x, target), logits)

    def _gather(self, rows: int, width: int, dtype: str) -> Runner:
        table = self._random(4 * rows, width, dtype=dtype)
        chosen = self.torch.randint(4 * rows, (rows,), device=self.device)
        return self._synchronised(lambda: self.torch.nn.functional.embedding(chosen, table))

    def _adamw(self, sizes: tuple[tuple[int, int], ...]) -> Runner:
        tensors = [self._random(length, dtype="fp32", grad=True) for number, length in sizes for _ in range(number)]
        for tensor in tensors:
            tensor.grad = self.torch.randn_like(tensor)
        optimizer = self.torch.optim.AdamW(tensors, lr=1e-4)
        return self._synchronised(optimizer.step)

    def _tiny(self, dtype: str) -> Runner:
        a, b = self._random(1, dtype=dtype), self._random(1, dtype=dtype)

        def hundred() -> None:
            for _ in range(100):
                self.torch.add(a, b)

        return self._synchronised(hundred)
