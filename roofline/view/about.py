"""How a JSON object names the model and the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..config.optimizer import coarse_word
from ..model.parameters import count_parameters

if TYPE_CHECKING:
    from ..config.run import TrainConfig
    from ..hardware import Device
    from ..model.spec import ModelConfig


def model_json(model: ModelConfig) -> dict[str, Any]:
    """What identifies a model: name, parameters, source, what was assumed."""
    parameters = count_parameters(model)
    return {
        "name": model.name,
        "params_total": parameters.total,
        "params_active": parameters.active,
        "source": model.source,
        "assumptions": model.assumptions,
    }


def train_json(train: TrainConfig) -> dict[str, Any]:
    """The configuration: coarse words as every framework has them, and beside them what they stand for."""
    fields = {name: getattr(train, name) for name in train.__struct_fields__}
    return {**fields, "optimizer": coarse_word(train.optimizer), "optimizer_detail": train.optimizer}


def device_json(device: Device, dtype: str) -> dict[str, Any]:
    """What identifies a device, and the figures an estimate divides by."""
    return {
        "id": device.id,
        "name": device.name,
        "dtype": dtype,
        "peak_flops_per_s": device.peak_flops_per_s(dtype),
        "memory_bytes": device.memory_bytes,
        "memory_bandwidth_bytes_per_s": device.memory_bandwidth_bytes_per_s,
        "confidence": device.confidence,
        "efficiencies_from": device.measured.gemm.origin,
    }
