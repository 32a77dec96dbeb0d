"""PyTorch's kernels, on the CPU or on one accelerator (CUDA, ROCm, MPS or XPU)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from .kernels import CPU_SHAPES, Kernel, Runner, bind, gemm, stream

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
# A run of a GPU kernel is repeated until it is long beside the wait that ends it, by these rough rates.
_RUN_S, _ROUGH_FLOPS, _ROUGH_BYTES = 2e-3, 1e14, 1e12
_MOST_INNER = 100


class TorchEngine:
    """PyTorch, on the CPU or on one accelerator.

    Attributes:
        device: PyTorch's word: cpu, cuda (ROCm answers to it too), mps or xpu.
        dtypes: What it multiplies on an engine: a CPU without bf16 instructions emulates bf16.
    """

    def __init__(
        self, device: str, threads: int, *, dtypes: Sequence[str] = ("fp32", "bf16"), torch: Any = None
    ) -> None:
        if torch is None:
            from importlib import import_module

            torch = import_module("torch")
        self.torch = torch
        torch.set_num_threads(threads)
        self.device = device
        self.dtypes = tuple(dtypes)
        self.gpu = device != "cpu"
        self.threads = torch.get_num_threads()
        runtime = f", CUDA {torch.version.cuda}" if device == "cuda" else f", {device}" if self.gpu else ""
        self.name = f"PyTorch {torch.__version__}{runtime}"

    def kernels(self) -> Iterator[Kernel]:
        """Products, their weight gradients, attention, and the memory-bound kernels of a training step."""
        usual = self.dtypes[-1] if self.gpu else "fp32"
        for kernel in self._first(usual):
            yield self._repeated(kernel)
        shapes = GPU_SHAPES if self.gpu else CPU_SHAPES
        for dtype in self.dtypes:
            size = {"fp32": 4, "bf16": 2, "fp16": 2}[dtype]
            for shape in shapes:
                yield self._repeated(gemm("gemm", dtype, shape, size, bind(self._gemm, *shape, dtype)))
            for shape in shapes[-4:]:
                yield self._repeated(gemm("wgrad", dtype, shape, size, bind(self._wgrad, *shape, dtype)))
        for batch, heads, sequence, dim in GPU_ATTENTION if self.gpu else CPU_ATTENTION:
            # 2 products of 2 * b * H * s * (s + 1) / 2 * d FLOPs under the causal mask; backward does 5
            forward = 2 * batch * heads * sequence * (sequence + 1) * dim
            for group, flops in (("attention", forward), ("attention_backward", 2.5 * forward)):
                yield self._repeated(
                    Kernel(
                        group=group,
                        name=f"{group} {batch} x {heads} x {sequence} x {dim}",
                        dtype=usual,
                        build=bind(self._attention, batch, heads, sequence, dim, usual, group != "attention"),
                        flops=flops,
                        shape=(batch, heads, sequence, dim),
                    )
                )
        for kernel in self._memory_bound(usual):
            yield self._repeated(kernel)

    def _repeated(self, kernel: Kernel) -> Kernel:
        """On a GPU, several launches for each wait, so that short kernels are not timed with it."""
        if not self.gpu or kernel.inner > 1:
            return kernel
        rough = kernel.flops / _ROUGH_FLOPS + kernel.bytes / _ROUGH_BYTES
        inner = min(max(round(_RUN_S / max(rough, 1e-9)), 1), _MOST_INNER)
        build = kernel.build

        def build_repeated() -> Runner:
            run = build()

            def repeated() -> None:
                for _ in range(inner):
                    run()
                self._wait()

            return repeated

        return msgspec.structs.replace(kernel, build=build_repeated, inner=inner)

    def _wait(self) -> None:
        """Wait for the accelerator."""
        getattr(self.torch, self.device).synchronize()

    def _first(self, dtype: str) -> Iterator[Kernel]:
        """What everything else is held against: the launch of a kernel, and the stream over memory."""
        yield Kernel(group="launch", name="add of one number", dtype=dtype, build=bind(self._tiny, dtype), inner=100)
        if self.gpu:
            yield Kernel(
                group="stream",
                name="multiply in place",
                dtype="fp32",
                build=bind(self._scale, 2**27),
                bytes=2.0 * 4 * 2**27,
                footprint=4.0 * 2**27,
            )
            if hasattr(self.torch.cuda, "CUDAGraph") and self.device == "cuda":
                graph = bind(self._graph, dtype)
                yield Kernel(group="graph", name="add of one number, recorded", dtype=dtype, build=graph, inner=100)
        else:
            yield stream(self.threads)

    def _memory_bound(self, dtype: str) -> Iterator[Kernel]:
        size = 4 if dtype == "fp32" else 2
        # On a CPU 28 MiB an operand: the C library hands 32 MiB and more back to the system at every release,
        # and clearing new pages would be most of what is measured.
        rows, width = (16384, 4096) if self.gpu else (7168, 1024)
        count = rows * width
        tokens, vocabulary = (4096, 32768) if self.gpu else (896, 8192)
        logits = tokens * vocabulary * 4
        tensors = GPU_TENSORS if self.gpu else CPU_TENSORS
        parameters = sum(number * length for number, length in tensors)
        # Passes over memory as the estimator counts them (operands read and written once per kernel), and the
        # operands that they go over.
        for group, name, build, moved, touched in (
            ("elementwise", "add", bind(self._add, rows, width, dtype), 3 * count * size, 3 * count * size),
            ("elementwise", "gelu", bind(self._gelu, rows, width, dtype, False), 2 * count * size, 2 * count * size),
            (
                "elementwise",
                "gelu and backward",
                bind(self._gelu, rows, width, dtype, True),
                5 * count * size,
                4 * count * size,
            ),
            (
                "normalization",
                "layer norm and backward",
                bind(self._norm, rows, width, dtype),
                7 * count * size,
                4 * count * size,
            ),
            ("softmax", "cross entropy and backward", bind(self._loss, tokens, vocabulary), 4 * logits, 3 * logits),
            ("embedding", "gather of rows", bind(self._gather, rows, width, dtype), 2 * count * size, 2 * count * size),
            # 21 passes over fp32 numbers: multiply, lerp, multiply, addcmul, sqrt, divide, add, addcdiv
            ("optimizer", "AdamW", bind(self._adamw, tensors), 84 * parameters, 16 * parameters),
        ):
            yield Kernel(group=group, name=name, dtype=dtype, build=build, bytes=float(moved), footprint=float(touched))

    def _random(self, *shape: int, dtype: str, grad: bool = False) -> Any:
        kind = getattr(self.torch, {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype])
        return self.torch.randn(*shape, device=self.device, dtype=kind, requires_grad=grad)

    def _gemm(self, m: int, n: int, k: int, dtype: str) -> Runner:
        a, b = self._random(m, k, dtype=dtype), self._random(n, k, dtype=dtype)
        linear = self.torch.nn.functional.linear  # weights are [n, k], as in every layer
        return lambda: linear(a, b)

    def _wgrad(self, m: int, n: int, k: int, dtype: str) -> Runner:
        # gradient of the weights: [n, m] x [m, k], both operands laid out by the forward pass
        gradient, a = self._random(m, n, dtype=dtype), self._random(m, k, dtype=dtype)
        return lambda: gradient.t() @ a

    def _attention(self, batch: int, heads: int, sequence: int, dim: int, dtype: str, backward: bool) -> Runner:
        shape = (batch, heads, sequence, dim)
        q, k, v = (self._random(*shape, dtype=dtype, grad=backward) for _ in range(3))
        attend = self.torch.nn.functional.scaled_dot_product_attention
        if not backward:
            return lambda: attend(q, k, v, is_causal=True)
        out = attend(q, k, v, is_causal=True)
        gradient = self.torch.randn_like(out)
        grad = self.torch.autograd.grad
        return lambda: grad(out, (q, k, v), gradient, retain_graph=True)

    def _add(self, rows: int, width: int, dtype: str) -> Runner:
        a, b = self._random(rows, width, dtype=dtype), self._random(rows, width, dtype=dtype)
        return lambda: a + b

    def _with_backward(self, function: Callable[[Any], Any], x: Any) -> Runner:
        gradient = self.torch.randn_like(function(x))

        def both() -> None:
            function(x).backward(gradient)
            x.grad = None

        return both

    def _gelu(self, rows: int, width: int, dtype: str, backward: bool) -> Runner:
        gelu = self.torch.nn.functional.gelu
        x = self._random(rows, width, dtype=dtype, grad=backward)
        return self._with_backward(gelu, x) if backward else lambda: gelu(x)

    def _norm(self, rows: int, width: int, dtype: str) -> Runner:
        weight, bias = (self._random(width, dtype=dtype, grad=True), self._random(width, dtype=dtype, grad=True))
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
        return lambda: self.torch.nn.functional.embedding(chosen, table)

    def _adamw(self, sizes: tuple[tuple[int, int], ...]) -> Runner:
        tensors = [self._random(length, dtype="fp32", grad=True) for number, length in sizes for _ in range(number)]
        for tensor in tensors:
            tensor.grad = self.torch.randn_like(tensor)
        optimizer = self.torch.optim.AdamW(tensors, lr=1e-4)
        return optimizer.step

    def _scale(self, count: int) -> Runner:
        x = self._random(count, dtype="fp32")
        return lambda: x.mul_(1.0)

    def _tiny(self, dtype: str) -> Runner:
        a, b = self._random(1, dtype=dtype), self._random(1, dtype=dtype)

        def hundred() -> None:
            for _ in range(100):
                self.torch.add(a, b)
            if self.gpu:
                self._wait()

        return hundred

    def _graph(self, dtype: str) -> Runner:
        """A hundred adds as one recorded graph: what an empty kernel costs the device."""
        a, b = self._random(1, dtype=dtype), self._random(1, dtype=dtype)
        self.torch.add(a, b)
        self._wait()
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            for _ in range(100):
                self.torch.add(a, b)

        def replay() -> None:
            graph.replay()
            self._wait()

        return replay
