"""A timer for training loops: step times into MFU, tokens/s and time to finish. Needs no framework."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .counting.mfu import DEFAULT_RULE, Rule, model_flops_per_token
from .errors import RooflineError, shown
from .model.load import load_model
from .model.spec import ModelConfig
from .units import format_share, format_time

if TYPE_CHECKING:
    from .hardware import Device

MOST = 10**15  # steps, tokens, devices: more is a typing error


class StepTimer:
    """Call `step` once per optimizer step; it measures the time between calls.

    >>> clock = iter([0.0, 2.0, 4.0, 6.0])
    >>> timer = StepTimer(
    ...     "gpt2-xl", "a100-sxm-80gb", tokens_per_step=16_384, warmup=1, clock=lambda: next(clock)
    ... )
    >>> for _ in range(4):
    ...     timer.step()
    >>> timer.step_time_s, timer.tokens_per_s
    (2.0, 8192.0)
    >>> print(timer.line())
    step 3 | 2 s | 8,192 tokens/s | MFU 27.0 %

    Devices work asynchronously: where the loop never waits for them (``loss.item()`` does), single steps are
    meaningless, but the median over a window is right.
    """

    def __init__(
        self,
        model: str | Path | ModelConfig,
        device: str | Path | Device,
        *,
        tokens_per_step: int | None = None,
        global_batch: int | None = None,
        seq_len: int | None = None,
        num_devices: int = 1,
        dtype: str = "bf16",
        rule: Rule = DEFAULT_RULE,
        total_steps: int | None = None,
        every: int | None = None,
        warmup: int = 3,
        window: int = 50,
        write: Callable[[str], Any] = print,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Set the timer up.

        Args:
            model: As for `estimate`.
            device: As for `estimate`.
            tokens_per_step: Tokens of one optimizer step on all devices; or give `global_batch`.
            global_batch: Sequences of one optimizer step on all devices, accumulation included.
            seq_len: Tokens per sequence; default the model's own.
            num_devices: Devices that share the step.
            dtype: Whose dense peak MFU divides by.
            rule: How MFU counts (see `mfu.RULES`).
            total_steps: Steps of the whole run, for the time to finish.
            every: Write a line every so many steps; None writes none.
            warmup: First steps that do not count: compilation, allocation, tuning.
            window: Steps that the median is taken over.
            write: What lines are given to.
            clock: Seconds, for tests.

        Raises:
            RooflineError: The tokens of a step are not stated, or a number is below 1.
        """
        from .hardware import load_device
        from .model.spec import default_seq_len

        found, hardware = load_model(model), load_device(device)
        length = seq_len if seq_len is not None else default_seq_len(found)
        self.tokens_per_step = _tokens(tokens_per_step, global_batch, length)
        _check(every=every, total_steps=total_steps)
        for name, value in (("num_devices", num_devices), ("window", window)):
            _check(**{name: 0 if value is None else value})
        if isinstance(warmup, bool) or not isinstance(warmup, int) or warmup < 0:
            raise RooflineError(f"warmup must be at least 0 and whole, got {shown(warmup)}")
        self.flops_per_token = float(model_flops_per_token(found, length, rule))
        self.peak_flops_per_s = hardware.peak_flops_per_s(dtype) * num_devices
        self.total_steps, self.every, self.warmup, self.write = total_steps, every, warmup, write
        self.steps = 0
        self._clock = clock
        self._last: float | None = None
        self._times: deque[tuple[float, int]] = deque(maxlen=window)

    def step(self, tokens: int | None = None) -> None:
        """Mark the end of an optimizer step; the first call only starts the clock.

        Args:
            tokens: Tokens of this step where they vary (packed or padded batches count real tokens).
        """
        now = self._clock()
        if self._last is not None:
            self.steps += 1
            if self.steps >= self.warmup:
                self._times.append((now - self._last, self.tokens_per_step if tokens is None else tokens))
            if self.every and self.steps % self.every == 0 and self._times:
                self.write(self.line())
        self._last = now

    def pause(self) -> None:
        """Leave what follows out (evaluation, a checkpoint): the next `step` restarts the clock."""
        self._last = None

    @property
    def step_time_s(self) -> float:
        """Median seconds of a step; NaN before the first that counts."""
        return median(seconds for seconds, _ in self._times) if self._times else float("nan")

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second of all devices."""
        if not self._times:
            return float("nan")
        return median(tokens / max(seconds, 1e-12) for seconds, tokens in self._times)

    @property
    def mfu(self) -> float:
        """Model FLOPs utilization over the window, as a fraction."""
        return self.tokens_per_s * self.flops_per_token / self.peak_flops_per_s

    @property
    def remaining_s(self) -> float | None:
        """Seconds to finish at this pace; None without `total_steps`."""
        return None if self.total_steps is None else max(self.total_steps - self.steps, 0) * self.step_time_s

    def line(self) -> str:
        """One line: step, time, tokens per second, MFU, and time to finish; before the first that counts it says so."""
        of = f"/{self.total_steps}" if self.total_steps is not None else ""
        if not self._times:
            return f"step {self.steps}{of} | no step timed yet (the first {max(self.warmup, 1)} do not count)"
        parts = [
            f"step {self.steps}{of}",
            format_time(self.step_time_s),
            f"{self.tokens_per_s:,.0f} tokens/s",
            f"MFU {format_share(self.mfu)}",
        ]
        if self.mfu > 1:
            parts[-1] += " (impossible: check device, num_devices, dtype and tokens_per_step)"
        if self.remaining_s is not None:
            parts.append(f"{format_time(self.remaining_s)} left")
        return " | ".join(parts)


def _tokens(tokens_per_step: int | None, global_batch: int | None, seq_len: int) -> int:
    """Tokens of one step, from either way to state them."""
    if (tokens_per_step is None) == (global_batch is None):
        raise RooflineError(
            "a StepTimer needs either tokens_per_step or global_batch (sequences of one step on all devices)"
        )
    _check(tokens_per_step=tokens_per_step, global_batch=global_batch, seq_len=seq_len)
    return tokens_per_step if tokens_per_step is not None else (global_batch or 0) * seq_len


def _check(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST):
            raise RooflineError(f"{name} must be at least 1 and whole, got {shown(value)}")
