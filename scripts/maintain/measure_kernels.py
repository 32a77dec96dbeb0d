"""Measure the kernels of a training step on this machine's GPU with PyTorch and write them as a CSV.

    python scripts/maintain/measure_kernels.py --write h100-sxm-80gb.csv

Matmuls (forward and both gradients; also with ragged dimensions, in fp8, and grouped as experts are), fused attention,
kernels that stream memory, the optimizer, and how fast a large matmul runs after seconds at the power limit.
`hardware/measurements` holds what it wrote. Needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.nn import functional as F  # noqa: N812  (the name PyTorch's own documentation uses)
from torch.nn.attention import SDPBackend, sdpa_kernel

from roofline.hardware.detect.detect import detect_gpus
from roofline.hardware.lookup import by_driver_name

BF16, FP8 = torch.bfloat16, torch.float8_e4m3fn
TOKENS = 8192
# (n, k) of projections with 8,192 tokens: GPT-2 XL, Llama 7B and 70B, and cubes
DENSE = (
    (4800, 1600),
    (6400, 1600),
    (1600, 6400),
    (12288, 4096),
    (4096, 4096),
    (22016, 4096),
    (4096, 11008),
    (28672, 8192),
    (8192, 8192),
    (50304, 1600),
)
RAGGED = (50257, 50258, 50260, 50264)  # vocabularies: odd, even, multiples of 4 and of 8
LOW_PRECISION = ((12288, 4096), (4096, 4096), (22016, 4096), (28672, 8192), (8192, 28672))
# experts, tokens of each, n, k: up and down of Qwen3-30B-A3B, Mixtral 8x7B, DeepSeek-V3 over 8 ranks, DeepSeek-V2-Lite
EXPERTS = (
    (128, 512, 1536, 2048),
    (128, 512, 2048, 768),
    (8, 2048, 28672, 4096),
    (8, 2048, 4096, 14336),
    (32, 1024, 4096, 7168),
    (32, 1024, 7168, 2048),
    (64, 128, 2816, 2048),
)
# batch, heads, sequence, head dimension; causal
ATTENTION = (
    (8, 25, 1024, 64),
    (8, 12, 1024, 64),
    (4, 16, 2048, 64),
    (2, 16, 4096, 64),
    (4, 32, 2048, 128),
    (2, 32, 4096, 128),
    (1, 32, 8192, 128),
    (1, 64, 8192, 128),
)
KERNELS = ((SDPBackend.FLASH_ATTENTION, "flash2"), (SDPBackend.CUDNN_ATTENTION, "te"))
STREAMS = ((8192, 1600), (8192, 6400), (16384, 4096), (32768, 8192))  # rows, width
PARAMETERS = 2**29
SUSTAINED_S = 7.0


class Kernel(msgspec.Struct, frozen=True):
    """A kernel to time: its FLOPs, and the bytes that must cross memory (0 where they do not decide)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    run: Callable[[], Any]
    flops: float = 0.0
    bytes: float = 0.0
    note: str = ""
    repeats: int = 20


def seconds(kernel: Kernel) -> float:
    """Median of three averages over repeated launches, by events of the stream."""
    for _ in range(3):
        kernel.run()
    torch.cuda.synchronize()
    found = []
    for _ in range(3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        for _ in range(kernel.repeats):
            kernel.run()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) / 1e3 / kernel.repeats)
    return statistics.median(found)


def random(*shape: int, dtype: torch.dtype = BF16, grad: bool = False) -> torch.Tensor:
    """Standard normal numbers on the GPU: zeros would draw less power and run faster."""
    return torch.randn(*shape, device="cuda").to(dtype).requires_grad_(grad)


def matmuls() -> Iterator[Kernel]:
    """y[m, n] = x[m, k] . w[n, k]^T and its two gradients."""
    shapes = [(TOKENS, n, k, "") for n, k in DENSE]
    shapes += [(TOKENS, n, k, "ragged") for n in RAGGED for k in (1600, 4096)]
    for m, n, k, note in shapes:
        x, w, y = random(m, k), random(n, k), random(m, n)
        flops = 2.0 * m * n * k
        yield Kernel("matmul", "bf16", (m, n, k), partial(F.linear, x, w), flops, note=note)
        yield Kernel("matmul.dgrad", "bf16", (m, n, k), partial(torch.matmul, y, w), flops, note=note)
        yield Kernel("matmul.wgrad", "bf16", (m, n, k), partial(torch.matmul, y.t(), x), flops, note=note)


def fp8_matmuls() -> Iterator[Kernel]:
    """The same product of 8-bit operands with one scale each, in bf16 out."""
    one = torch.ones((), device="cuda")
    for n, k in LOW_PRECISION:
        x, w = random(TOKENS, k, dtype=FP8), random(n, k, dtype=FP8)

        def run(x: torch.Tensor = x, w: torch.Tensor = w) -> torch.Tensor:
            return torch._scaled_mm(x, w.t(), one, one, out_dtype=BF16, use_fast_accum=True)  # noqa: SLF001

        yield Kernel("matmul", "fp8", (TOKENS, n, k), run, 2.0 * TOKENS * n * k)


def grouped_matmuls() -> Iterator[Kernel]:
    """One product per expert in one kernel: [experts, m, n, k], and its two gradients."""
    grouped: Any = torch._grouped_mm  # noqa: SLF001
    for experts, m, n, k in EXPERTS:
        x, w, y = random(experts * m, k), random(experts, k, n), random(experts * m, n)
        ends = torch.arange(1, experts + 1, device="cuda", dtype=torch.int32) * m
        flops, shape = 2.0 * experts * m * n * k, (experts, m, n, k)
        yield Kernel("grouped", "bf16", shape, partial(grouped, x, w, offs=ends), flops)
        back = w.transpose(-2, -1)
        yield Kernel("grouped.dgrad", "bf16", shape, partial(grouped, y, back, offs=ends), flops)
        yield Kernel("grouped.wgrad", "bf16", shape, partial(grouped, x.t(), y, offs=ends), flops)


def attention() -> Iterator[Kernel]:
    """Causal attention by two libraries; half of the scores are executed, backward has 2.5 times the FLOPs."""
    for backend, name in KERNELS:
        for batch, heads, sequence, dim in ATTENTION:
            shape = (batch, heads, sequence, dim)
            q, k, v = (random(*shape, grad=True) for _ in range(3))
            flops = 2.0 * batch * heads * sequence * (sequence + 1) * dim

            def forward(q: Any = q, k: Any = k, v: Any = v, backend: Any = backend) -> torch.Tensor:
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True)

            out = forward()
            gradient = torch.randn_like(out)

            def backward(out: Any = out, of: Any = (q, k, v), gradient: Any = gradient) -> Any:
                return torch.autograd.grad(out, of, gradient, retain_graph=True)

            yield Kernel("attention", "bf16", shape, forward, flops, note=name)
            yield Kernel("attention.backward", "bf16", shape, backward, 2.5 * flops, note=name)


def streams() -> Iterator[Kernel]:
    """Kernels that memory decides, with the passes over memory that the estimator counts."""
    for rows, width in STREAMS:
        x, y, weight = random(rows, width), random(rows, width), random(width)
        shape, one = (rows, width), 2.0 * rows * width  # bytes of one pass
        yield Kernel("copy", "bf16", shape, partial(torch.clone, x), bytes=2 * one)
        yield Kernel("add", "bf16", shape, partial(torch.add, x, y), bytes=3 * one)
        yield Kernel("gelu", "bf16", shape, partial(F.gelu, x), bytes=2 * one)
        norm = partial(F.layer_norm, x, (width,), weight, weight)
        yield Kernel("layer norm", "bf16", shape, norm, bytes=2 * one)
    logits = random(TOKENS, 50257, dtype=torch.float32)
    target = torch.randint(50257, (TOKENS,), device="cuda")
    passes = 2 * 4.0 * TOKENS * 50257
    yield Kernel("cross entropy", "fp32", (TOKENS, 50257), partial(F.cross_entropy, logits, target), bytes=passes)
    for fused in (True, False):
        weights = [torch.nn.Parameter(random(4096, 4096, dtype=torch.float32)) for _ in range(PARAMETERS // 2**24)]
        for parameter in weights:
            parameter.grad = torch.randn_like(parameter)
        update = torch.optim.AdamW(weights, lr=1e-4, fused=fused)
        note = "fused" if fused else "foreach"
        yield Kernel("adamw", "fp32", (PARAMETERS,), update.step, bytes=28.0 * PARAMETERS, note=note, repeats=5)
    clip = partial(torch.nn.utils.clip_grad_norm_, weights, 1e9)
    yield Kernel("clip gradients", "fp32", (PARAMETERS,), clip, bytes=12.0 * PARAMETERS, repeats=5)
    number = torch.ones(1, device="cuda")
    yield Kernel(
        "launch",
        "fp32",
        (1,),
        partial(torch.add, number, number),
        note="one number, from Python",
        repeats=1000,
    )


def sustained() -> Iterator[tuple[Kernel, float]]:
    """A large matmul at once and after seconds, when the clocks have fallen to what the power limit allows."""
    x, w = random(TOKENS, TOKENS), random(TOKENS, TOKENS)
    kernel = Kernel("matmul", "bf16", (TOKENS,) * 3, partial(F.linear, x, w), 2.0 * TOKENS**3, note="cold")
    time.sleep(2)
    yield kernel, seconds(kernel)
    start = time.perf_counter()
    while time.perf_counter() - start < SUSTAINED_S:
        seconds(kernel)
    yield msgspec.structs.replace(kernel, note=f"after {SUSTAINED_S:g} s"), seconds(kernel)


def measured() -> Iterator[tuple[Kernel, float]]:
    """Every kernel with its time; one that this device or version does not run is named and left out."""
    for kernels in (matmuls, fp8_matmuls, grouped_matmuls, attention, streams):
        for kernel in kernels():
            try:
                yield kernel, seconds(kernel)
            except (RuntimeError, AttributeError) as error:
                print(f"{kernel.name} {kernel.dtype} {kernel.shape} {kernel.note}: {error}")
        torch.cuda.empty_cache()
    yield from sustained()


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="CSV", type=Path, help="write the rows to this file")
    args = parser.parse_args()
    found = by_driver_name(torch.cuda.get_device_name())
    about = {
        "device": found.id if found else torch.cuda.get_device_name(),
        "measured": dt.date.today().isoformat(),
        "driver": detect_gpus().driver,
        "library": f"PyTorch {torch.__version__}",
    }
    rows = []
    for kernel, took in measured():
        rate = (
            f"{kernel.flops / took / 1e12:6.0f} TFLOP/s" if kernel.flops else f"{kernel.bytes / took / 1e9:6.0f} GB/s"
        )
        print(f"{kernel.name:20} {kernel.dtype:5} {kernel.shape!s:24} {1e6 * took:10.1f} us {rate} {kernel.note}")
        shape = "x".join(map(str, kernel.shape))
        rows.append(
            {
                **about,
                "kernel": kernel.name,
                "dtype": kernel.dtype,
                "shape": shape,
                "note": kernel.note,
                "time_us": round(1e6 * took, 2),
                "flops": f"{kernel.flops:.0f}",
                "bytes": f"{kernel.bytes:.0f}",
            }
        )
    if args.write is not None:
        with args.write.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
