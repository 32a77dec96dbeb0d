"""Compare the fused kernels that a trace predicts with those that TorchInductor makes, on small modules.

    python scripts/maintain/compare_fusion.py [--write] [NET ...]

Needs the `torch` extra. Inductor lowers and schedules forward and backward on the CPU; no code is compiled. Counted
are the bytes that its scheduler says its loops read and write, and its loops; library calls (matmuls, convolutions,
attention) are the same on both sides. ``--write`` records Inductor's figures for the tests.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from roofline.tracing.trace import trace

RECORD = Path(__file__).resolve().parents[2] / "tests" / "data" / "inductor_loops.csv"
WIDTH, LENGTH, BATCH = 64, 128, 4


class _Attention(nn.Module):
    """Self-attention with fused queries, keys and values."""

    def __init__(self, rotary: bool = False) -> None:
        super().__init__()
        self.entry, self.exit = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.rotary = rotary

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.entry(x).view(BATCH, LENGTH, 3, 4, WIDTH // 4).permute(2, 0, 3, 1, 4)
        if self.rotary:
            angles = torch.outer(torch.arange(LENGTH), 100.0 ** -torch.arange(0, 1, 4 / WIDTH)).to(x.dtype)
            q, k = (t * angles.cos() + torch.cat([-t[..., 8:], t[..., :8]], -1) * angles.sin() for t in (q, k))
        heads = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.exit(heads.transpose(1, 2).reshape(BATCH, LENGTH, WIDTH))


class _Block(nn.Module):
    """GPT: LayerNorms, GELU, a loss over 256 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norms = _Attention(), nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.up, self.down, self.head = nn.Linear(WIDTH, 256), nn.Linear(256, WIDTH), nn.Linear(WIDTH, 256, bias=False)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norms[0](x))
        x = x + self.down(functional.gelu(self.up(self.norms[1](x))))
        return functional.cross_entropy(self.head(self.norms[2](x)).flatten(0, 1), labels.flatten())


class _Llama(nn.Module):
    """RMS norms written out, rotary embedding, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.scales = _Attention(rotary=True), nn.Parameter(torch.ones(2, WIDTH))
        self.gate, self.up, self.down = nn.Linear(WIDTH, 256), nn.Linear(WIDTH, 256), nn.Linear(256, WIDTH)

    def norm(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm(x, self.scales[0]))
        y = self.norm(x, self.scales[1])
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class _Residual(nn.Module):
    """A ResNet block."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(32, 32, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(32) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(y)) + x)


class _Diffusion(nn.Module):
    """A block of a U-Net: group norms, SiLU, scale and shift by the time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(32, 32, 3, padding=1, bias=False) for _ in range(2))
        self.norms, self.time = nn.ModuleList(nn.GroupNorm(8, 32) for _ in range(2)), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.time(functional.silu(time))[:, :, None, None].chunk(2, 1)
        y = self.first(functional.silu(self.norms[0](x)))
        return x + self.second(functional.silu(self.norms[1](y) * (1 + scale) + shift))


class _Modulated(nn.Module):
    """A block of a diffusion transformer: norms without weights, scale, shift and gates by the condition."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.condition = _Attention(), nn.Linear(WIDTH, 3 * WIDTH)
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        scale, shift, gate = self.condition(functional.silu(c))[:, None].chunk(3, -1)
        return x + gate * self.attention(self.norm(x) * (1 + scale) + shift)


class _Adapted(nn.Module):
    """LoRA: a frozen matrix, dropout, two small ones."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.dropout = nn.Linear(WIDTH, WIDTH).requires_grad_(requires_grad=False), nn.Dropout(0.1)
        self.down, self.up = nn.Linear(WIDTH, 8, bias=False), nn.Linear(8, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.gelu(self.base(x) + self.up(self.down(self.dropout(x))) * 2)


class _Graph(nn.Module):
    """Messages along 512 edges, added up at their ends."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.linear(x))
        return torch.zeros_like(y).index_add(0, edges[1], y[edges[0]])


class _Contrastive(nn.Module):
    """CLIP's loss of two towers."""

    def __init__(self) -> None:
        super().__init__()
        self.towers, self.scale = nn.ModuleList(nn.Linear(WIDTH, 32) for _ in range(2)), nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x, y = (functional.normalize(tower(t), dim=-1) for tower, t in zip(self.towers, (x, y), strict=True))
        logits, labels = x @ y.T * self.scale.exp(), torch.arange(len(x))
        return functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)


def sequence() -> torch.Tensor:
    """[batch, length, width]."""
    return torch.randn(BATCH, LENGTH, WIDTH)


def image() -> torch.Tensor:
    """[batch, channels, height, width]."""
    return torch.randn(BATCH, 32, 16, 16)


NETS: dict[str, Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]] = {
    "gpt": lambda: (_Block(), (sequence(), torch.randint(0, 256, (BATCH, LENGTH)))),
    "llama": lambda: (_Llama(), (sequence(),)),
    "resnet": lambda: (_Residual(), (image(),)),
    "unet": lambda: (_Diffusion(), (image(), torch.randn(BATCH, WIDTH))),
    "dit": lambda: (_Modulated(), (sequence(), torch.randn(BATCH, WIDTH))),
    "lora": lambda: (_Adapted(), (sequence(),)),
    "graph": lambda: (_Graph(), (torch.randn(128, WIDTH), torch.randint(0, 128, (2, 512)))),
    "clip": lambda: (_Contrastive(), (torch.randn(128, WIDTH), torch.randn(128, WIDTH))),
}


def predicted(name: str) -> tuple[int, int, int]:
    """Loops of a net, their bytes when each operator is a kernel, and when they are fused."""
    module, inputs = NETS[name]()
    found = trace(module, *inputs)
    assert found.fused is not None
    loops = [[op for op in ops if op.kind not in {"matmul", "attention"}] for ops in (found.ops, found.fused.ops)]
    alone, fused = (int(sum(op.bytes * op.count for op in ops)) for ops in loops)
    return int(sum(op.kernels * op.count for op in loops[1])), alone, fused


def by_inductor(name: str) -> tuple[int, int]:
    """Loops that Inductor makes of a net, and the bytes that they read and write."""
    from torch._inductor import compile_fx, graph, scheduler
    from torch._inductor.debug import DebugContext
    from torch._inductor.virtualized import V

    loops: list[int] = []

    def lower(module: Any, inputs: Any, **options: Any) -> Any:
        mode = torch._dynamo.utils.detect_fake_mode(inputs)  # noqa: SLF001
        compile_fx.record_original_output_strides(module)
        with V.set_fake_mode(mode):
            compile_fx.view_to_reshape(module)
            compile_fx._recursive_post_grad_passes(module, is_inference=False)  # noqa: SLF001
            backward = bool(options.get("is_backward"))
            lowered = graph.GraphLowering(module, example_inputs=inputs, shape_env=mode.shape_env, is_backward=backward)
            with V.set_graph_handler(lowered), V.set_debug_handler(DebugContext()):
                lowered.run(*inputs)
                lowered._update_scheduler()  # noqa: SLF001
                library = (scheduler.ExternKernelSchedulerNode, scheduler.NopKernelSchedulerNode)
                nodes = [node for node in lowered.scheduler.nodes if not isinstance(node, library)]
                loops.extend(node.get_read_write_buffers_sizes() for node in nodes)

        def run(*args: Any) -> Any:
            return module.forward(*(args[0] if len(args) == 1 and isinstance(args[0], list) else args))

        run._boxed_call = True  # type: ignore[attr-defined]  # noqa: SLF001
        return run

    torch._dynamo.reset()  # noqa: SLF001
    module, inputs = NETS[name]()
    output = torch.compile(module, backend=lambda gm, args: compile_fx.compile_fx(gm, args, inner_compile=lower))(
        *inputs
    )
    output.backward(torch.ones_like(output))
    return len(loops), sum(loops)


def main() -> None:
    """Print both, and record Inductor's."""
    parser = argparse.ArgumentParser(description="compare fused kernels with TorchInductor's")
    parser.add_argument("nets", nargs="*", default=list(NETS), help="all of them where none is named")
    parser.add_argument("--write", action="store_true", help="record the figures for the tests")
    args = parser.parse_args()
    rows = []
    for name in args.nets:
        (loops, alone, fused), (theirs, size) = predicted(name), by_inductor(name)
        words = f"{loops} loops of {theirs}, bytes {fused / size:.2f} of Inductor's ({alone / size:.2f} one by one)"
        print(f"{name}: {words}", flush=True)
        rows.append((name, theirs, size))
    if args.write:
        with RECORD.open("w", encoding="utf-8", newline="") as file:
            file.write(f"# scripts/maintain/compare_fusion.py --write, torch {torch.__version__}, on the CPU\n")
            csv.writer(file, lineterminator="\n").writerows([("net", "loops", "bytes"), *rows])


if __name__ == "__main__":
    main()
