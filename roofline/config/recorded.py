"""Options of a traced module: its shapes are those it was traced with, and only how often it runs is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..arrays import some
from ..errors import RooflineError
from .optimizer import optimizer
from .run import TrainConfig

# one pass of the example inputs stands for a micro batch of one sequence of one token
_ONE = ("seq_len", "micro_batch", "tp", "pp", "vp", "cp", "ep")
_FIXED: dict[str, Any] = {**dict.fromkeys(_ONE, 1), "recompute": "none", "train": "full"}
_ADAPTERS = ("lora_rank", "lora_modules", "lora_variant", "lora_dropout", "base_dtype", "double_quant", "base_upcast")
_IMAGES = ("images_per_sample", "clips_per_sample", "image_size")
_ABSENT: dict[str, Any] = {**dict.fromkeys((*_ADAPTERS, *_IMAGES, "mean_len", "packing")), "freeze": ()}


def as_recorded(options: Mapping[str, Any], *, compiled: bool = False) -> dict[str, Any]:
    """The options of a traced module: what shapes a transformer is as it was traced, and no stack but torch's own.

    >>> as_recorded({"num_devices": 8})["seq_len"]
    1
    """
    return {"stack": "compiled" if compiled else "eager", **_FIXED, **options}


def check_recorded(train: TrainConfig) -> None:
    """Refuse what only a transformer has.

    Raises:
        RooflineError: An option that a traced module cannot have.
    """
    for name, fixed in {**_FIXED, **_ABSENT}.items():
        if some(getattr(train, name) != fixed):
            raise RooflineError(
                f"--{name.replace('_', '-')} does not apply to a traced module, which runs as it is built "
                "(change its inputs or the module there; --num-devices and --global-batch count passes)"
            )
    if optimizer(train.optimizer).takes != "all":
        raise RooflineError(
            f"optimizer {train.optimizer} updates matrices, and of a traced module the number of parameters is known "
            "alone: use --optimizer adamw, lion or sgd"
        )
