"""A timer for training loops: step times into MFU, tokens/s and time to finish. Needs no framework."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from .arrays import is_scalar
from .counting.mfu import DEFAULT_RULE, Rule, model_flops_per_token
from .errors import RooflineError, shown, unknown
from .gate import FUNCTION, gated
from .model.load import load_model
from .model.spec import ModelConfig
from .reading import packaged, read_packaged
from .units import format_share, format_time

if TYPE_CHECKING:
    from .answers.estimate import Estimate
    from .hardware import Device

MOST = 10**15  # steps, tokens, devices: more is a typing error


class Style(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The names of one framework: its keys, and the figure that each holds."""

    source: str
    keys: dict[str, str]


@cache
def styles() -> dict[str, Style]:
    """The frameworks whose names are known (``steptimer.toml``)."""
    return read_packaged(packaged(__name__, "steptimer.toml"), dict[str, Style])


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

    @gated(write=FUNCTION, clock=FUNCTION)
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
        expected: Estimate | None = None,
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
            expected: An estimate of the same run, to tell what to expect (see `of`).

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
        self.num_devices, self.expected = num_devices, expected
        self.total_steps, self.every, self.warmup, self.write = total_steps, every, warmup, write
        self.steps = 0
        self._clock = clock
        self._last: float | None = None
        self._times: deque[tuple[float, int]] = deque(maxlen=window)

    @classmethod
    def of(cls, expected: Estimate, **options: Any) -> StepTimer:
        """A timer of the run that was estimated, which tells what to expect of it as well.

        Args:
            expected: The estimate; model, device, tokens of a step, number of devices and dtype are its own.
            **options: The others of a StepTimer: total_steps, every, warmup, window, rule, write, clock.

        Raises:
            RooflineError: An estimate of several runs, or a number below 1.
        """
        train = expected.train
        if not is_scalar(expected.step_time_s):
            raise RooflineError("a StepTimer times one run, and this estimate is of several: estimate one")
        run: dict[str, Any] = {"num_devices": train.num_devices, "dtype": train.dtype, "seq_len": train.seq_len}
        run |= {"tokens_per_step": int(train.tokens_per_step), "expected": expected}
        return cls(expected.model, expected.device, **run, **options)

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

    @property
    def expected_mfu(self) -> tuple[float, float] | None:
        """The MFU that 80 of 100 such runs have, by this timer's rule; None where no estimate was given."""
        if self.expected is None:
            return None
        flops = self.tokens_per_step * self.flops_per_token / self.peak_flops_per_s
        return flops / float(self.expected.step_time_high_s), flops / float(self.expected.step_time_low_s)

    def metrics(self, style: str | None = None) -> dict[str, float]:
        """What to log, under the names that a framework gives it; empty before the first step that counts.

        Args:
            style: torchtitan, lightning, composer, maxtext or megatron: the keys and units of that framework. The MFU,
                what to expect of it and the seconds to finish are there in any case, as ``roofline/...``.

        Raises:
            RooflineError: An unknown style.
        """
        if style is not None and style not in styles():
            raise unknown("style of metrics", style, styles())
        if not self._times:
            return {}
        figures = self._figures()
        keys = {} if style is None else styles()[style].keys
        found = {key: figures[figure] for key, figure in keys.items()}
        own: dict[str, float | None] = {name: figures[name] for name in ("step_time_s", "tokens_per_s", "mfu")}
        own |= dict(zip(("expected_mfu_low", "expected_mfu_high"), self.expected_mfu or (), strict=False))
        own["remaining_s"] = self.remaining_s
        return {**found, **{f"roofline/{name}": value for name, value in own.items() if value is not None}}

    def _figures(self) -> dict[str, float]:
        """Every figure that a key of a style may hold."""
        seconds, tokens = self.step_time_s, self.tokens_per_s
        flops, number = tokens * self.flops_per_token, self.num_devices
        return {
            "step_time_s": seconds,
            "steps_per_s": 1 / seconds,
            "tokens_per_s": tokens,
            "device_tokens_per_s": tokens / number,
            "flops_per_s": flops,
            "device_flops_per_s": flops / number,
            "device_tflops_per_s": flops / number / 1e12,
            "device_tflops": flops / number / 1e12 * seconds,
            "mfu": self.mfu,
            "mfu_percent": 100 * self.mfu,
        }

    def verdict(self) -> str:
        """What to expect and what is: ``expected 42-51 %, yours 31 %``; empty before there is both."""
        if self.expected_mfu is None or not self._times:
            return ""
        low, high = self.expected_mfu
        digits = 0 if min(low, self.mfu) >= 0.1 else 1
        return f"expected {100 * low:.{digits}f}-{100 * high:.{digits}f} %, yours {100 * self.mfu:.{digits}f} %"

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
        elif self.verdict():
            parts[-1] = f"MFU {self.verdict()}"
        if self.remaining_s:
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
