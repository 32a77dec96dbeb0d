"""What a configuration does not say of itself, filled with what that means: a complete one leaves nothing to guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..model.spec import ModelConfig
from .base import usual_upcast
from .defaults import doubles, usual_base
from .lora import LORA_RANK
from .profile import profile_of, usual_sync
from .run import TrainConfig
from .stack import load_stack
from .towers import image_patches, usual_intake

DEVICES_OWN: Mapping[str, str] = {  # None in a complete configuration: the device says it, and nobody says otherwise
    "devices_per_node": "as many as its nodes have",
    "dp_shard": "the ranks of one of its nodes",
    "network_gbit_per_s": "the network of its nodes",
    "host_gb_per_s": "the memory of its usual hosts",
    "nvme_gb_per_s": "nothing is on drives",
}


def _gradient_dtype(train: TrainConfig) -> str:
    size = profile_of(train).gradient_bytes(train.dtype, train.activation_bytes, master=train.master_weights)
    return "fp32" if size == 4 else train.kept_dtype


def _master_dtype(train: TrainConfig) -> str:
    return "fp32" if train.keeps_masters else "none"


def _weight_dtype(train: TrainConfig) -> str:
    return "fp32" if profile_of(train).cast_weights and train.master_weights else train.kept_dtype


# The dtype of what is kept, where nothing is said
KEPT: Mapping[str, Callable[[TrainConfig], str]] = {
    "gradient_dtype": _gradient_dtype,
    "master_dtype": _master_dtype,
    "weight_dtype": _weight_dtype,
    "saved_dtype": lambda train: train.kept_dtype,
}


def _usual_base_dtype(train: TrainConfig) -> str:
    return usual_base(train.train) or (train.kept_dtype if train.adapts else "none")


def _base_dtype(train: TrainConfig) -> str:
    return train.base_dtype or _usual_base_dtype(train)


def _image_size(model: ModelConfig) -> int:
    patches = image_patches(model)
    return 0 if patches is None else patches.size


# What every other field is, likewise
OF_TRAINING: Mapping[str, Callable[[TrainConfig], Any]] = {
    "mean_len": lambda train: train.seq_len,
    "packing": lambda _: "packed",
    "low_precision_recipe": lambda _: "none",
    "etp": lambda train: train.usual_etp,
    "sync_each_batch": lambda train: usual_sync(train, load_stack(train.stack)),
    "recompute_detail": lambda train: train.recompute,
    "lora_rank": lambda train: LORA_RANK if train.adapts else 0,
    "lora_modules": lambda train: "all" if train.adapts else "none",
    "lora_variant": lambda train: "lora" if train.adapts else "none",
    "lora_dropout": lambda _: 0.0,
    "base_dtype": _usual_base_dtype,
    "double_quant": lambda train: doubles(_base_dtype(train)),
    "base_upcast": lambda train: usual_upcast(_base_dtype(train), train, load_stack(train.stack)),
    "schedule": lambda train: load_stack(train.stack).usual_schedule(train.vp),
    "pp_layout": lambda _: "even",
    "dispatcher": lambda train: load_stack(train.stack).dispatcher,
    "exchange_overlap": lambda train: load_stack(train.stack).overlap.expert,
    **KEPT,
}
OF_MODEL: Mapping[str, Callable[[TrainConfig, ModelConfig], Any]] = {
    "images_per_sample": lambda train, model: usual_intake(train, model).get("images_per_sample", 0),
    "clips_per_sample": lambda train, model: usual_intake(train, model).get("clips_per_sample", 0),
    "image_size": lambda _, model: _image_size(model),
    "offload_layers": lambda train, model: model.n_layers if "activations" in train.offload else 0,
}
MEANT = (*OF_TRAINING, *OF_MODEL)


def meant(name: str, train: TrainConfig, model: ModelConfig) -> Any:
    """What a field of `MEANT` is where nothing is said of it, of a configuration whose sizes are known."""
    of_training = OF_TRAINING.get(name)
    return OF_MODEL[name](train, model) if of_training is None else of_training(train)


def complete(train: TrainConfig, model: ModelConfig) -> TrainConfig:
    """The configuration with every field that says nothing filled, but for those of `DEVICES_OWN`."""
    found = {name: of(train) for name, of in OF_TRAINING.items() if getattr(train, name) is None}
    found |= {name: of(train, model) for name, of in OF_MODEL.items() if getattr(train, name) is None}
    return msgspec.structs.replace(train, **found)


def opened(train: TrainConfig, model: ModelConfig) -> TrainConfig:
    """The configuration with every field open that says what is meant anyway: the inverse of `complete`."""
    stated = [name for name in MEANT if getattr(train, name) is not None]
    plain = [name for name in stated if _equal(getattr(train, name), meant(name, train, model))]
    return msgspec.structs.replace(train, **dict.fromkeys(plain)) if plain else train


def _equal(one: Any, other: Any) -> bool:
    same = one == other
    return bool(same.all() if hasattr(same, "all") else same)
