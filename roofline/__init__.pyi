from .answers.asked import settle_run as settle
from .answers.capacity import MemoryFit, memory
from .answers.comparison import Comparison, compare
from .answers.counts import count
from .answers.diagnosis import Diagnosis, diagnose
from .answers.diagnosis import diagnose as mfu
from .answers.estimate import Estimate, estimate
from .answers.inference import Inference, infer
from .config.run import TrainConfig
from .config.settle import Run
from .config.typed import Options
from .counting.count import Count
from .counting.op import Op
from .counting.textbook import accounting
from .errors import RooflineError
from .hardware import Device, HardwareError, device_ids, load_device
from .hardware.detect.answer import detect
from .hardware.frame import devices
from .hardware.overrides import override
from .model.load import load_model
from .model.presets import model_ids
from .model.spec import ModelConfig
from .planning.cost import Plan, Terms
from .planning.ladder import Ladder, ladder
from .planning.plan import plan
from .readers.read import read_run
from .readers.result import RunFile
from .search.answer import layouts
from .steptimer import StepTimer
from .sweeps.sweep import sweep
from .tracing.recorder import Trace
from .tracing.trace import trace
from .validation.runs import validate_runs

__version__: str

__all__ = [
    "Comparison",
    "Count",
    "Device",
    "Diagnosis",
    "Estimate",
    "HardwareError",
    "Inference",
    "Ladder",
    "MemoryFit",
    "ModelConfig",
    "Op",
    "Options",
    "Plan",
    "RooflineError",
    "Run",
    "RunFile",
    "StepTimer",
    "Terms",
    "Trace",
    "TrainConfig",
    "__version__",
    "accounting",
    "compare",
    "count",
    "detect",
    "device_ids",
    "devices",
    "diagnose",
    "estimate",
    "infer",
    "ladder",
    "layouts",
    "load_device",
    "load_model",
    "memory",
    "mfu",
    "model_ids",
    "override",
    "plan",
    "read_run",
    "settle",
    "sweep",
    "trace",
    "validate_runs",
]
