"""MFU, what to expect of it, and the time to finish, in the logs of Hugging Face's Trainer (and TRL's trainers)."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from ..answers.estimate import estimate
from ..errors import RooflineError
from ..model.huggingface import model_from_config_json
from ..steptimer import StepTimer


class RooflineCallback(TrainerCallback):
    """Adds `StepTimer.metrics` to every log: ``Trainer(..., callbacks=[RooflineCallback("h100-sxm-80gb", ...)])``.

    Args:
        device: As for `roofline.estimate`; ``"local"`` is this machine's. None is assumed.
        seq_len: Tokens of a sequence, as the collator pads or packs them.
        model: As for `roofline.estimate`; None: what the config of the trained model describes.
        **options: As for `roofline.estimate`, over what the Trainer's arguments say.

    Raises:
        RooflineError: When training begins: no sequence length, or whatever `roofline.estimate` refuses.
    """

    def __init__(self, device: Any, *, seq_len: int | None = None, model: Any = None, **options: Any) -> None:
        self.device, self.model, self.options = device, model, {"seq_len": seq_len, **options}
        self.timer: StepTimer | None = None

    def on_train_begin(self, args: Any, state: Any, _control: Any, model: Any = None, **_: Any) -> None:
        """Estimate the run that the arguments describe."""
        options = {**said(args, model), **{name: each for name, each in self.options.items() if each is not None}}
        if options.get("seq_len") is None:
            raise RooflineError("tokens of a sequence: RooflineCallback(device, seq_len=...) says how many")
        described = self.model or model_from_config_json(model.config.to_json_string())
        self.timer = StepTimer.of(estimate(described, self.device, **options), total_steps=state.max_steps)
        self.timer.step()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """An optimizer step has ended."""
        if self.timer is not None:
            self.timer.step()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        """Add ours to what is logged, and to the Trainer's own record of it."""
        if self.timer is None or logs is None or "loss" not in logs:
            return
        for record in (logs, *state.log_history[-1:]):
            record.update(self.timer.metrics())
        if self.timer.verdict() and state.is_world_process_zero:
            self.timer.write(self.timer.line())

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        """Evaluation is no training."""
        if self.timer is not None:
            self.timer.pause()

    on_save = on_evaluate


def said(args: Any, model: Any) -> dict[str, Any]:
    """What TrainingArguments (and the weights' dtype) say of a run, as options of an estimate."""
    micro_batch, world = args.per_device_train_batch_size, args.world_size
    pure = str(getattr(model, "dtype", "")).removeprefix("torch.")
    sixteen = {"bfloat16": "bf16", "float16": "fp16"}.get(pure)
    mixed = "bf16" if args.bf16 else "fp16" if args.fp16 else None
    found: dict[str, Any] = {
        "micro_batch": micro_batch,
        "global_batch": micro_batch * world * args.gradient_accumulation_steps,
        "num_devices": world,
        "dtype": mixed or sixteen or ("tf32" if getattr(args, "tf32", False) else "fp32"),
        "seq_len": getattr(args, "max_length", None),  # TRL's
    }
    if sixteen is not None:
        found["master_weights"] = False
    if args.gradient_checkpointing:
        found["recompute"] = "full"
    return found
