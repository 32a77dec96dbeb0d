"""A training step of a small model, timed: what an estimate with the calibrated device is held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

LAYERS, HEADS, WIDTH, VOCABULARY = 4, 8, 512, 8192
SEQUENCE = 256
_FIRST, _STEPS = 2, 5


class StepTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of each step, of `micro_batch` sequences of `SEQUENCE` tokens in `dtype`."""

    micro_batch: int
    dtype: str
    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The middle step."""
        return statistics.median(self.rounds)


def time_step(
    torch: Any, kind: str, dtype: str, *, budget_s: float, now: Callable[[], float] = time.perf_counter
) -> StepTime | None:
    """Seconds of eager steps (forward, backward, AdamW) of a GPT of `LAYERS` layers on a CPU or accelerator.

    16-bit dtypes run under autocast, as `TrainConfig` has them. None where the budget holds no step after the
    first two, which allocate and choose kernels.
    """
    start = now()
    on_gpu = kind != "cpu"
    micro_batch = 8 if on_gpu else 2
    model = _gpt(torch).to(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    tokens = torch.randint(VOCABULARY, (micro_batch, SEQUENCE + 1), device=kind)
    half = None if dtype == "fp32" else getattr(torch, {"bf16": "bfloat16", "fp16": "float16"}[dtype])
    rounds: list[float] = []
    last = 0.0
    for turn in range(_FIRST + _STEPS):
        begin = now()
        if begin + last > start + budget_s:
            break
        with torch.autocast(kind, dtype=half, enabled=half is not None):
            logits = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_gpu:
            getattr(torch, kind).synchronize()
        last = now() - begin
        if turn >= _FIRST:
            rounds.append(last)
    return StepTime(micro_batch=micro_batch, dtype=dtype, rounds=tuple(rounds)) if rounds else None


def _gpt(torch: Any) -> Any:
    """GPT-2's block (biases, learned positions, tied head, no dropout) at a small size."""
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            batch, sequence, _ = x.shape
            heads = (batch, sequence, HEADS, WIDTH // HEADS)
            q, k, v = (part.view(heads).transpose(1, 2) for part in self.qkv(self.ln_1(x)).split(WIDTH, dim=2))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).reshape(batch, sequence, WIDTH))
            return x + self.down(nn.functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))

    class Gpt(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(SEQUENCE, WIDTH)
            self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, ids: Any) -> Any:
            places = torch.arange(ids.shape[1], device=ids.device)
            x = self.norm(self.blocks(self.tokens(ids) + self.positions(places)))
            return x @ self.tokens.weight.t()

    return Gpt()
