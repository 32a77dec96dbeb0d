"""Know your step time before you rent the GPUs: a hardware-aware roofline estimator for training.

>>> import roofline
>>> result = roofline.estimate("gpt2-xl", device="h100-sxm-80gb", micro_batch=8)
>>> result.fits, 0.2 < result.mfu < 0.7
(True, True)

Names are imported when they are first used, so ``import roofline`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answers.capacity import MemoryFit as MemoryFit
    from .answers.capacity import memory as memory
    from .answers.comparison import Comparison as Comparison
    from .answers.comparison import compare as compare
    from .answers.diagnosis import Diagnosis as Diagnosis
    from .answers.diagnosis import diagnose as diagnose
    from .answers.estimate import Estimate as Estimate
    from .answers.estimate import estimate as estimate
    from .answers.inference import Inference as Inference
    from .answers.inference import infer as infer
    from .config.run import TrainConfig as TrainConfig
    from .counting.count import Count as Count
    from .counting.count import count as count
    from .counting.op import Op as Op
    from .counting.textbook import accounting as accounting
    from .errors import RooflineError as RooflineError
    from .hardware import Device as Device
    from .hardware import HardwareError as HardwareError
    from .hardware import device_ids as device_ids
    from .hardware import load_device as load_device
    from .hardware.detect.detect import detect_gpus
    from .model.load import load_model as load_model
    from .model.load import model_ids as model_ids
    from .model.spec import ModelConfig as ModelConfig
    from .planning.cost import Plan as Plan
    from .planning.cost import Terms as Terms
    from .planning.plan import plan as plan
    from .search.search import layouts as layouts
    from .steptimer import StepTimer as StepTimer
    from .tracing.trace import trace as trace
    from .validation.runs import validate_runs as validate_runs

    detect, mfu = detect_gpus, diagnose

# exported name -> where it is, as module:name
_EXPORTS = {
    "Comparison": ".answers.comparison:Comparison",
    "Count": ".counting.count:Count",
    "Device": ".hardware:Device",
    "Diagnosis": ".answers.diagnosis:Diagnosis",
    "Estimate": ".answers.estimate:Estimate",
    "HardwareError": ".hardware:HardwareError",
    "Inference": ".answers.inference:Inference",
    "MemoryFit": ".answers.capacity:MemoryFit",
    "ModelConfig": ".model.spec:ModelConfig",
    "Op": ".counting.op:Op",
    "Plan": ".planning.cost:Plan",
    "RooflineError": ".errors:RooflineError",
    "StepTimer": ".steptimer:StepTimer",
    "Terms": ".planning.cost:Terms",
    "TrainConfig": ".config.run:TrainConfig",
    "accounting": ".counting.textbook:accounting",
    "compare": ".answers.comparison:compare",
    "count": ".counting.count:count",
    "detect": ".hardware.detect.detect:detect_gpus",
    "device_ids": ".hardware:device_ids",
    "diagnose": ".answers.diagnosis:diagnose",
    "estimate": ".answers.estimate:estimate",
    "infer": ".answers.inference:infer",
    "layouts": ".search.search:layouts",
    "load_device": ".hardware:load_device",
    "load_model": ".model.load:load_model",
    "memory": ".answers.capacity:memory",
    "mfu": ".answers.diagnosis:diagnose",
    "model_ids": ".model.load:model_ids",
    "plan": ".planning.plan:plan",
    "trace": ".tracing.trace:trace",
    "validate_runs": ".validation.runs:validate_runs",
}

__all__ = [*_EXPORTS, "__version__"]  # noqa: PLE0604  (all are strings)


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("roofline")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'roofline' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    value = getattr(import_module(module, __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
