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
    from hardware import HardwareError as HardwareError
    from hardware import device_ids as device_ids
    from hardware import load_device as load_device
    from hardware.detect import detect_gpus

    from .accounting import accounting as accounting
    from .budget import plan as plan
    from .compare import Comparison as Comparison
    from .compare import compare as compare
    from .counts import Count as Count
    from .counts import count as count
    from .diagnose import Diagnosis as Diagnosis
    from .diagnose import diagnose as diagnose
    from .errors import RooflineError as RooflineError
    from .estimate import Estimate as Estimate
    from .estimate import estimate as estimate
    from .fit import MemoryFit as MemoryFit
    from .fit import memory as memory
    from .inference import Inference as Inference
    from .inference import infer as infer
    from .model import ModelConfig as ModelConfig
    from .op import Op as Op
    from .presets import load_model as load_model
    from .presets import model_ids as model_ids
    from .runcost import Plan as Plan
    from .runcost import Terms as Terms
    from .search import layouts as layouts
    from .steptimer import StepTimer as StepTimer
    from .trace import trace as trace
    from .training import TrainConfig as TrainConfig
    from .validate import validate_runs as validate_runs

    detect, mfu = detect_gpus, diagnose

# exported name -> where it is, as module:name
_EXPORTS = {
    "Comparison": ".compare:Comparison",
    "Count": ".counts:Count",
    "Device": "hardware:Device",
    "Diagnosis": ".diagnose:Diagnosis",
    "Estimate": ".estimate:Estimate",
    "HardwareError": "hardware:HardwareError",
    "Inference": ".inference:Inference",
    "MemoryFit": ".fit:MemoryFit",
    "ModelConfig": ".model:ModelConfig",
    "Op": ".op:Op",
    "Plan": ".runcost:Plan",
    "RooflineError": ".errors:RooflineError",
    "StepTimer": ".steptimer:StepTimer",
    "Terms": ".runcost:Terms",
    "TrainConfig": ".training:TrainConfig",
    "accounting": ".accounting:accounting",
    "compare": ".compare:compare",
    "count": ".counts:count",
    "detect": "hardware.detect:detect_gpus",
    "device_ids": "hardware:device_ids",
    "diagnose": ".diagnose:diagnose",
    "estimate": ".estimate:estimate",
    "infer": ".inference:infer",
    "layouts": ".search:layouts",
    "load_device": "hardware:load_device",
    "load_model": ".presets:load_model",
    "memory": ".fit:memory",
    "mfu": ".diagnose:diagnose",
    "model_ids": ".presets:model_ids",
    "plan": ".budget:plan",
    "trace": ".trace:trace",
    "validate_runs": ".validate:validate_runs",
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
    if name not in _EXPORTS:
        raise AttributeError(f"module 'roofline' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    if module.startswith("hardware"):
        from .packages import check_hardware

        check_hardware()
    value = getattr(import_module(module, __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
