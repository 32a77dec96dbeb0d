"""Know your step time before you rent the GPUs: a hardware-aware roofline estimator for training.

>>> import roofline
>>> result = roofline.estimate("gpt2-xl", device="h100-sxm-80gb", micro_batch=8)
>>> result.fits, 0.2 < result.mfu < 0.7
(True, True)

Names are imported when they are first used, so ``import roofline`` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardware import Device as Device
    from hardware import device_ids as device_ids
    from hardware import load_device as load_device

    from .counts import Count as Count
    from .counts import count as count
    from .errors import RooflineError as RooflineError
    from .estimate import Estimate as Estimate
    from .estimate import estimate as estimate
    from .fit import MemoryFit as MemoryFit
    from .fit import memory as memory
    from .model import ModelConfig as ModelConfig
    from .presets import load_model as load_model
    from .presets import model_ids as model_ids
    from .search import layouts as layouts
    from .steptimer import StepTimer as StepTimer
    from .trace import trace as trace
    from .budget import plan as plan
    from .diagnose import diagnose as diagnose
    from .training import TrainConfig as TrainConfig

_EXPORTS = {
    "Count": ".counts",
    "Device": "hardware",
    "Estimate": ".estimate",
    "MemoryFit": ".fit",
    "ModelConfig": ".model",
    "RooflineError": ".errors",
    "StepTimer": ".steptimer",
    "TrainConfig": ".training",
    "count": ".counts",
    "device_ids": "hardware",
    "diagnose": ".diagnose",
    "estimate": ".estimate",
    "layouts": ".search",
    "load_device": "hardware",
    "load_model": ".presets",
    "memory": ".fit",
    "model_ids": ".presets",
    "plan": ".budget",
    "trace": ".trace",
}

__all__ = [*_EXPORTS, "__version__"]  # noqa: PLE0604  (all are strings)


class _Package(ModuleType):
    """The package: a function keeps its name where a submodule has the same one (``roofline.estimate``)."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _EXPORTS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("roofline")
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'roofline' has no attribute {name!r}")
    if module == "hardware":
        from .packages import check_hardware

        check_hardware()
    value = getattr(import_module(module, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
