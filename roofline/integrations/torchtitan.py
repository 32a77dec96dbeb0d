"""What to expect, beside what torchtitan logs: a hook on its MetricsProcessor. Imports nothing of torchtitan."""

from __future__ import annotations

from functools import wraps
from typing import Any

from ..steptimer import StepTimer


def attach(processor: Any, timer: StepTimer) -> StepTimer:
    """Let a MetricsProcessor step `timer`, and log ``roofline/mfu``, what to expect of it and the time to finish.

    Call it between building the Trainer and ``trainer.train()``::

        expected = roofline.estimate("llama-3-8b", "h100-sxm-80gb", stack="torchtitan", ...)
        attach(trainer.metrics_processor, StepTimer.of(expected, total_steps=10_000))

    torchtitan's own keys stay its own; `StepTimer.metrics` has them too, divided by the right device's peak.

    Args:
        processor: ``trainer.metrics_processor``: its `should_log` is asked once a step, its `log` takes extra metrics
            (pytorch/torchtitan torchtitan/components/metrics.py).
        timer: A timer of the run.

    Returns:
        The timer.
    """
    should_log, log = processor.should_log, processor.log

    @wraps(should_log)
    def counting(step: int) -> Any:
        timer.step()
        return should_log(step)

    @wraps(log)
    def logging(*args: Any, extra_metrics: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        result = log(*args, extra_metrics={**(extra_metrics or {}), **timer.metrics()}, **kwargs)
        if timer.verdict():
            timer.write(timer.line())
        return result

    processor.should_log, processor.log = counting, logging
    timer.step()
    return timer
