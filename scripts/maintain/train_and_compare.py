"""Train GPTs with PyTorch and print measured against predicted time per phase of a step, and peak memory.

On a CPU, calibrate first, with the same number of threads; then compare:

    roofline calibrate --threads 1 --output cpu.toml
    python scripts/maintain/train_and_compare.py --device cpu.toml --threads 1

On a GPU it trains GPT-2 in bf16, eager and compiled, and keeps the figures as rows that `roofline validate` reads:

    python scripts/maintain/train_and_compare.py --device h100-sxm-80gb --stack eager compiled --write runs.csv

With one thread a CPU step is timed by its CPU time, which other programs on the machine hardly lengthen; with several
by the wall clock; a GPU step by events of its stream. Needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime as dt
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

import roofline
from roofline.hardware.detect.detect import detect_gpus
from roofline.model.huggingface import model_from_config

PHASES = ("forward", "backward", "optimizer")
GPU_ACCUMULATION = 2  # micro batches per step: gradients stand beside activations, as in most training
WARM_UP = 4  # steps that are not counted: kernels compile, the allocator fills its pools


class Shape(msgspec.Struct, frozen=True):
    """A GPT-2 and its micro batch."""

    name: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    batch: int
    sequence: int


CPU_SHAPES = (
    Shape("wide and shallow", 2, 1024, 16, 8192, 2, 256),
    Shape("narrow and deep", 12, 256, 4, 4096, 4, 256),
    Shape("long context", 4, 512, 8, 8192, 1, 1024),
)
GPU_SHAPES = (
    Shape("gpt2", 12, 768, 12, 50257, 8, 1024),
    Shape("gpt2", 12, 768, 12, 50257, 32, 1024),
    Shape("gpt2-medium", 24, 1024, 16, 50257, 8, 1024),
    Shape("gpt2-medium", 24, 1024, 16, 50257, 16, 1024),
    Shape("gpt2-large", 36, 1280, 20, 50257, 8, 1024),
    Shape("gpt2-xl", 48, 1600, 25, 50257, 1, 1024),
    Shape("gpt2-xl", 48, 1600, 25, 50257, 4, 1024),
    Shape("gpt2-xl", 48, 1600, 25, 50257, 8, 1024),
)


class Block(nn.Module):
    """One GPT-2 layer: attention and feed-forward, each behind a norm and added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, sequence, width] to the same shape."""
        batch, sequence, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, sequence, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, sequence, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Head(nn.Module):
    """Final norm, the table of tokens as projection, and the loss."""

    def __init__(self, width: int, tokens: torch.Tensor) -> None:
        super().__init__()
        self.norm, self.weight = nn.LayerNorm(width), tokens

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Loss of predicting each token from those before it."""
        logits = nn.functional.linear(self.norm(x), self.weight)
        return nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())


class Gpt(nn.Module):
    """Embedding, blocks, norm, tied head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.sequence, shape.width)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads) for _ in range(shape.layers))
        # GPT-2's scale. Embeddings of PyTorch's scale (1.0) saturate the softmax: gradients vanish, the
        # second moments become denormal numbers, and their square roots slow the optimizer up to fivefold.
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)
        self.head = Head(shape.width, self.tokens.weight)

    def compile_parts(self) -> None:
        """Compile block by block: all blocks share one compilation."""
        for part in (*self.blocks, self.head):
            part.compile()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The loss."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return torch.as_tensor(self.head(x, ids))


class Measured(msgspec.Struct, frozen=True):
    """Seconds by phase, and the bytes that PyTorch and the driver had taken at the peak (0 on a CPU)."""

    seconds: dict[str, float]
    allocated: int = 0
    used: int = 0


Clock = Callable[[], Any]


def cpu_steps(clock: Callable[[], float], step: Callable[[Clock], list[Any]], steps: int) -> list[list[float]]:
    """Seconds of each phase in each step."""
    marks = [step(clock) for _ in range(steps + WARM_UP)][WARM_UP:]
    return [[after - before for before, after in itertools.pairwise(row)] for row in marks]


def gpu_steps(step: Callable[[Clock], list[Any]], steps: int, warm_s: float) -> list[list[float]]:
    """The same from events on the stream: nothing waits between phases, as in training.

    Steps run for `warm_s` seconds before any counts: at its power limit a GPU lowers its clocks within seconds.
    """

    def mark() -> Any:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    start = time.perf_counter()
    done = 0
    while done < WARM_UP or time.perf_counter() - start < warm_s:
        step(mark)
        torch.cuda.synchronize()
        done += 1
    torch.cuda.reset_peak_memory_stats()
    marks = [step(mark) for _ in range(steps)]
    torch.cuda.synchronize()
    return [[before.elapsed_time(after) / 1e3 for before, after in itertools.pairwise(row)] for row in marks]


def measure(shape: Shape, stack: str, steps: int, *, gpu: bool, threads: int, warm_s: float) -> Measured:
    """The lower quartile of `steps` on a CPU, their median on a GPU."""
    torch.manual_seed(0)
    device = torch.device("cuda" if gpu else "cpu")
    with device:
        model = Gpt(shape)
    fused = gpu and stack == "compiled"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused)
    if stack == "compiled":
        torch._dynamo.reset()  # noqa: SLF001  (what an earlier shape compiled must not make this one dynamic)
        model.compile_parts()
    accumulation = GPU_ACCUMULATION if gpu else 1
    ids = torch.randint(shape.vocabulary, (shape.batch, shape.sequence), device=device)

    def step(mark: Clock) -> list[Any]:
        marks = [mark()]
        for _ in range(accumulation):
            with torch.autocast("cuda", torch.bfloat16) if gpu else contextlib.nullcontext():
                loss = model(ids)
            marks.append(mark())
            loss.backward()
            marks.append(mark())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        marks.append(mark())
        return marks

    if not gpu:
        clock = time.process_time if threads == 1 else time.perf_counter
        quartile = lambda values: statistics.quantiles(values, n=4)[0]  # noqa: E731
        return Measured(by_phase(cpu_steps(clock, step, steps), quartile))
    rows = gpu_steps(step, steps, warm_s)
    free, total = torch.cuda.mem_get_info()
    return Measured(by_phase(rows, statistics.median), torch.cuda.max_memory_allocated(), total - free)


def by_phase(rows: list[list[float]], typical: Callable[[list[float]], float]) -> dict[str, float]:
    """Seconds per step by phase, from the intervals of each step: forward, backward, ..., optimizer."""
    forward, backward = [sum(row[:-1:2]) for row in rows], [sum(row[1:-1:2]) for row in rows]
    phases = (forward, backward, [row[-1] for row in rows])
    return dict(zip(PHASES, map(typical, phases), strict=True))


def predict(shape: Shape, device: Any, stack: str, dtype: str, accumulation: int) -> Any:
    """The estimate of the same step."""
    config = {
        "model_type": "gpt2",
        "n_layer": shape.layers,
        "n_embd": shape.width,
        "n_head": shape.heads,
        "n_positions": shape.sequence,
        "vocab_size": shape.vocabulary,
        "activation_function": "gelu",
    }
    return roofline.estimate(
        model_from_config(config),
        device,
        micro_batch=shape.batch,
        global_batch=shape.batch * accumulation,
        seq_len=shape.sequence,
        dtype=dtype,
        stack=stack,
    )


def main() -> None:
    """Measure, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="local", help="a catalog id or calibrated file (default: local)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads, as calibrated")
    parser.add_argument("--stack", nargs="+", default=["eager"], choices=("eager", "compiled"), help="(eager)")
    parser.add_argument("--steps", type=int, default=12, help="steps per model")
    parser.add_argument("--warm", type=float, default=6.0, metavar="S", help="seconds of GPU steps before (6)")
    parser.add_argument("--write", metavar="CSV", type=Path, help="write the measured GPU rows to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = roofline.load_device(args.device)
    gpu = device.kind != "cpu"
    dtype = "bf16" if gpu else "fp32"
    print(f"{device.name}, {dtype}, PyTorch {torch.__version__}; milliseconds: measured, predicted, error")
    rows = []
    for stack in args.stack:
        for shape in GPU_SHAPES if gpu else CPU_SHAPES:
            try:
                measured = measure(shape, stack, args.steps, gpu=gpu, threads=args.threads, warm_s=args.warm)
            except torch.OutOfMemoryError:
                print(f"{stack:8} {shape.name:16} x {shape.batch:<3} out of memory")
                continue
            finally:
                if gpu:
                    torch.cuda.empty_cache()
            estimate = predict(shape, device, stack, dtype, GPU_ACCUMULATION if gpu else 1)
            print(f"{stack:8} {shape.name:16} x {shape.batch:<3} {compared(measured, estimate)}", flush=True)
            if gpu:
                rows.append(as_row(shape, stack, measured, args.device))
    if args.write is not None:
        with args.write.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def compared(measured: Measured, estimate: Any) -> str:
    """One line: each phase and the step, and on a GPU the peak of memory."""
    predicted = dict.fromkeys(PHASES, 0.0)
    for op in estimate.ops:
        predicted[op.phase] += op.expected_s
    pairs = [(phase, measured.seconds[phase], predicted[phase]) for phase in PHASES]
    pairs.append(("step", sum(measured.seconds.values()), estimate.step_time_s))
    cells = [f"{name} {1e3 * m:.1f} {1e3 * p:.1f} {100 * (p / m - 1):+.0f} %" for name, m, p in pairs]
    if measured.used:
        used, total = measured.used / 2**30, estimate.memory.total_bytes / 2**30
        cells.append(
            f"memory {used:.1f} {total:.1f} GiB {100 * (total / used - 1):+.0f} % "
            f"({measured.allocated / 2**30:.1f} in tensors)"
        )
    return " | ".join(cells)


def as_row(shape: Shape, stack: str, measured: Measured, device: str) -> dict[str, object]:
    """The measurement in the columns of `roofline validate --data`, for step times and for memory."""
    seconds = sum(measured.seconds.values())
    return {
        "id": f"own-{device}-{stack}-{shape.name}-{shape.batch}",
        "source": f"scripts/maintain/train_and_compare.py, {dt.date.today().isoformat()}, {versions()}",
        "software": "PyTorch torch.compile" if stack == "compiled" else "PyTorch",
        "year": dt.date.today().year,
        "model": shape.name,
        "workload": "pretrain",
        "n_layers": shape.layers,
        "d_model": shape.width,
        "n_heads": shape.heads,
        "n_kv_heads": shape.heads,
        "d_ff": 4 * shape.width,
        "gated_mlp": 0,
        "vocab_size": shape.vocabulary,
        "tied_embeddings": 1,
        "seq_len": shape.sequence,
        "device": device,
        "hardware": device,
        "device_memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30),
        "n_devices": 1,
        "dtype": "bf16",
        "global_batch_sequences": shape.batch * GPU_ACCUMULATION,
        "micro_batch_sequences": shape.batch,
        "tp": 1,
        "pp": 1,
        "dp": 1,
        "cp": 1,
        "sharding": "none",
        "recompute": "none",
        "attention": "flash2",
        "attention_kernel": "flash_attention_2",
        "tokens_per_s_per_device": round(GPU_ACCUMULATION * shape.batch * shape.sequence / seconds, 1),
        "tier": "A",
        **{f"{phase}_s": round(measured.seconds[phase], 6) for phase in PHASES},
        "allocated_gib": round(measured.allocated / 2**30, 3),
        "peak_memory_gib": round(measured.used / 2**30, 3),
        "memory_kind": "used, as the driver lists",
        "fits": 1,
    }


def versions() -> str:
    """PyTorch, and the driver of the GPU."""
    return f"PyTorch {torch.__version__}, driver {detect_gpus().driver}"


if __name__ == "__main__":
    main()
