"""Know your step time before you rent the GPUs: a hardware-aware roofline estimator for training.

>>> import roofline
>>> result = roofline.estimate("gpt2-xl", device="h100-sxm-80gb", micro_batch=8)
>>> result.fits, 0.2 < result.mfu < 0.7
(True, True)

Names are imported when they are first used, so ``import roofline`` costs next to nothing; type checkers and editors
read them in ``__init__.pyi``.
"""

__version__ = "0.1.0"  # the one place that says so: pyproject.toml reads it here

_EXPORTS = {  # exported name -> where it is, as module:name
    "Comparison": ".answers.comparison:Comparison",
    "Count": ".counting.count:Count",
    "Device": ".hardware:Device",
    "Diagnosis": ".answers.diagnosis:Diagnosis",
    "Estimate": ".answers.estimate:Estimate",
    "HardwareError": ".hardware:HardwareError",
    "Inference": ".answers.inference:Inference",
    "Ladder": ".planning.ladder:Ladder",
    "MemoryFit": ".answers.capacity:MemoryFit",
    "ModelConfig": ".model.spec:ModelConfig",
    "Options": ".config.typed:Options",
    "Op": ".counting.op:Op",
    "Plan": ".planning.cost:Plan",
    "RooflineError": ".errors:RooflineError",
    "Run": ".config.settle:Run",
    "StepTimer": ".steptimer:StepTimer",
    "Terms": ".planning.cost:Terms",
    "RunFile": ".readers.result:RunFile",
    "Trace": ".tracing.recorder:Trace",
    "TrainConfig": ".config.run:TrainConfig",
    "accounting": ".counting.textbook:accounting",
    "compare": ".answers.comparison:compare",
    "count": ".answers.counts:count",
    "detect": ".hardware.detect.answer:detect",
    "device_ids": ".hardware:device_ids",
    "devices": ".hardware.frame:devices",
    "diagnose": ".answers.diagnosis:diagnose",
    "estimate": ".answers.estimate:estimate",
    "infer": ".answers.inference:infer",
    "ladder": ".planning.ladder:ladder",
    "layouts": ".search.answer:layouts",
    "load_device": ".hardware:load_device",
    "load_model": ".model.load:load_model",
    "memory": ".answers.capacity:memory",
    "mfu": ".answers.diagnosis:diagnose",
    "model_ids": ".model.presets:model_ids",
    "override": ".hardware.overrides:override",
    "plan": ".planning.plan:plan",
    "read_run": ".readers.read:read_run",
    "settle": ".answers.asked:settle_run",
    "sweep": ".sweeps.sweep:sweep",
    "trace": ".tracing.trace:trace",
    "validate_runs": ".validation.runs:validate_runs",
}

__all__ = [*_EXPORTS, "__version__"]  # noqa: PLE0604  (all are strings)


def __getattr__(name: str) -> object:
    """Import an exported name on first use (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'roofline' has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _EXPORTS[name].partition(":")
    value = getattr(import_module(module, __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
