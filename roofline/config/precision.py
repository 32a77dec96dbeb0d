"""The dtypes of what is kept: moments, masters, primary weights, saved activations; and what does not go together."""

from __future__ import annotations

from ..errors import RooflineError
from .optimizer import optimizer
from .profile import profile_of
from .run import TrainConfig


def check_precision(train: TrainConfig) -> None:
    """Refuse a dtype of what is kept that contradicts the rest.

    Raises:
        RooflineError: Which, and what goes together.
    """
    how, given = optimizer(train.optimizer), ",".join(train.moment_dtype)
    numbers = how.moments + how.rank_moments
    if given and how.number_bytes is not None:
        raise RooflineError(
            f"moment_dtype {given} with optimizer {train.optimizer}, whose moments have a format of their own: "
            f"use --optimizer {how.coarse or 'adamw'}, or leave --moment-dtype out"
        )
    if given and not how.keeps:
        raise RooflineError(f"moment_dtype {given} with {train.optimizer}, which keeps no moments: leave it out")
    if len(train.moment_dtype) > max(numbers, 1):
        raise RooflineError(
            f"moment_dtype {given} with {train.optimizer}, which keeps {numbers} moments: give one dtype"
        )
    if train.master_dtype is not None:
        _check_masters(train)
    for name in ("weight_dtype", "saved_dtype"):
        if getattr(train, name) not in {None, "fp8"}:
            raise RooflineError(
                f"{name} {getattr(train, name)} is not what {train.stack} keeps with dtype {train.dtype}: use fp8, or "
                "leave it out"
            )
    if train.weight_dtype is not None and (train.dtype not in {"fp8", "fp4"} or train.train != "full"):
        raise RooflineError(
            f"weight_dtype {train.weight_dtype} are primary weights of linear layers that train in low precision: "
            f"add --dtype fp8 and --train full (got {train.dtype}, {train.train})"
        )
    if train.saved_dtype is not None and train.activation_bytes == 4:
        raise RooflineError(f"saved_dtype {train.saved_dtype} is for 16-bit activations, and dtype is {train.dtype}")


def _check_masters(train: TrainConfig) -> None:
    """Copies of 16-bit weights are kept where there are such weights."""
    word = train.master_dtype
    if not train.keeps_masters:
        why = "training in fp32" if train.master_weights else "--no-master-weights"
        raise RooflineError(f"master_dtype {word}: {why} keeps no copies of 16-bit weights: leave it out")
    if profile_of(train).cast_weights:
        raise RooflineError(
            f"master_dtype {word}: {train.stack} keeps the weights themselves in fp32 and casts them: leave "
            "--master-dtype out, or use --stack nemo, fsdp or deepspeed"
        )
    if word == "split" and train.dtype == "fp16":
        raise RooflineError("master_dtype split completes bf16 weights, and dtype is fp16: use --master-dtype fp32")
