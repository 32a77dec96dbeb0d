"""Train small GPTs on the CPU with PyTorch and print measured against predicted time per phase of a step.

Calibrate first, with the same number of threads; then compare:

    roofline calibrate --threads 1 --output cpu.toml
    python scripts/train_and_compare.py --device cpu.toml --threads 1

With one thread a step is timed by its CPU time, which other programs on the machine hardly lengthen;
with several by the wall clock. Needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import roofline

# name: layers, width, heads, vocabulary, sequences, tokens per sequence
MODELS = {
    "wide and shallow": (2, 1024, 16, 8192, 2, 256),
    "narrow and deep": (12, 256, 4, 4096, 4, 256),
    "long context": (4, 512, 8, 8192, 1, 1024),
}


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


class Gpt(nn.Module):
    """Embedding, blocks, norm, tied head."""

    def __init__(self, layers: int, width: int, heads: int, vocabulary: int, sequence: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(sequence, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        # GPT-2's scale. Embeddings of PyTorch's scale (1.0) saturate the softmax: gradients vanish, the
        # second moments become denormal numbers, and their square roots slow the optimizer up to fivefold.
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Loss of predicting each token from those before it."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = nn.functional.linear(self.norm(x), self.tokens.weight)
        return nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())


def measure(shape: tuple[int, ...], steps: int, threads: int) -> dict[str, float]:
    """Seconds per phase: the lower quartile over `steps`, after two that are not counted."""
    layers, width, heads, vocabulary, batch, sequence = shape
    torch.manual_seed(0)
    model = Gpt(layers, width, heads, vocabulary, sequence)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    clock = time.process_time if threads == 1 else time.perf_counter
    rows: list[tuple[float, float, float]] = []
    for _ in range(steps + 2):
        ids = torch.randint(vocabulary, (batch, sequence))
        start = clock()
        loss = model(ids)
        forward = clock()
        loss.backward()
        backward = clock()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rows.append((forward - start, backward - forward, clock() - backward))
    columns = zip(*rows[2:], strict=True)
    quartiles = [statistics.quantiles(column, n=4)[0] for column in columns]
    return dict(zip(("forward", "backward", "optimizer"), quartiles, strict=True))


def predict(shape: tuple[int, ...], device: Any) -> dict[str, float]:
    """Expected seconds per phase of the same step."""
    layers, width, heads, vocabulary, batch, sequence = shape
    config = {
        "model_type": "gpt2",
        "n_layer": layers,
        "n_embd": width,
        "n_head": heads,
        "n_positions": sequence,
        "vocab_size": vocabulary,
        "activation_function": "gelu",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        estimate = roofline.estimate(
            str(path), device, micro_batch=batch, seq_len=sequence, dtype="fp32", stack="eager"
        )
    phases = dict.fromkeys(("forward", "backward", "optimizer"), 0.0)
    for op in estimate.ops:
        phases[op.phase] += op.expected_s
    return phases


def main() -> None:
    """Measure, predict, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="local", help="the calibrated device file (default: local)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads, as calibrated")
    parser.add_argument("--steps", type=int, default=12, help="steps per model")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = roofline.load_device(args.device)
    print(f"{device.name}, {args.threads} threads, fp32; milliseconds: measured, predicted, error")
    for name, shape in MODELS.items():
        measured, predicted = measure(shape, args.steps, args.threads), predict(shape, device)
        measured["step"], predicted["step"] = sum(measured.values()), sum(predicted.values())
        cells = (
            f"{phase} {1e3 * measured[phase]:.0f} {1e3 * predicted[phase]:.0f} "
            f"{100 * (predicted[phase] / measured[phase] - 1):+.0f} %"
            for phase in ("forward", "backward", "optimizer", "step")
        )
        print(f"{name:17}" + " | ".join(cells))


if __name__ == "__main__":
    main()
