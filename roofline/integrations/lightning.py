"""MFU, what to expect of it, and the time to finish, in the loggers of Lightning's Trainer."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback

from ..answers.estimate import estimate
from ..steptimer import StepTimer


class RooflineCallback(Callback):
    """Logs `StepTimer.metrics` as ThroughputMonitor names them: ``Trainer(callbacks=[RooflineCallback(...)])``.

    Args:
        model: As for `roofline.estimate`.
        device: As for `roofline.estimate`; ``"local"`` is this machine's. None is assumed.
        micro_batch: Sequences of a batch on one device.
        seq_len: Tokens of a sequence.
        **options: As for `roofline.estimate`, over what the Trainer says.

    Raises:
        RooflineError: When training begins: whatever `roofline.estimate` refuses.
    """

    def __init__(self, model: Any, device: Any, *, micro_batch: int, seq_len: int, **options: Any) -> None:
        self.model, self.device = model, device
        self.options = {"micro_batch": micro_batch, "seq_len": seq_len, **options}
        self.timer: StepTimer | None = None
        self.steps = 0

    def on_train_start(self, trainer: Any, _module: Any) -> None:
        """Estimate the run that the Trainer describes."""
        world, accumulation = trainer.world_size, trainer.accumulate_grad_batches
        batch = self.options["micro_batch"] * world * accumulation
        options = {"num_devices": world, "global_batch": batch, **self.options}
        steps = trainer.estimated_stepping_batches
        total = int(steps) if 0 < steps < math.inf else None
        self.timer = StepTimer.of(estimate(self.model, self.device, **options), total_steps=total)
        self.steps = trainer.global_step
        self.timer.step()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Where an optimizer step has ended, mark it; log as often as the Trainer does."""
        if self.timer is None or trainer.global_step == self.steps:
            return
        self.steps = trainer.global_step
        self.timer.step()
        found = self.timer.metrics("lightning")
        found = {name if name.startswith("roofline/") else f"train/{name}": each for name, each in found.items()}
        if found and self.steps % trainer.log_every_n_steps == 0:
            for logger in trainer.loggers:
                logger.log_metrics(found, step=self.steps)
            if trainer.is_global_zero:
                self.timer.write(self.timer.line())

    def on_validation_start(self, *_: Any) -> None:
        """Validation is no training."""
        if self.timer is not None:
            self.timer.pause()
