"""A traced PyTorch module as a training step: its ops, its parameters and the update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..answers.estimate import Estimate, estimate_step
from ..config.optimizer import optimizer
from ..config.run import TrainConfig
from ..config.settle import settle
from ..config.stack import load_stack
from ..counting.step import Step, update_ops
from ..counting.weights import Weights
from ..errors import RooflineError
from ..model.spec import LayerGroup, ModelConfig

if TYPE_CHECKING:
    from ..hardware import Device
    from .recorder import Trace

# what shapes a transformer: a traced module has its shapes already
_FIXED = (
    "seq_len",
    "micro_batch",
    "tp",
    "pp",
    "vp",
    "cp",
    "ep",
    "recompute",
    "train",
    "lora_rank",
    "lora_modules",
    "freeze",
)


def estimate_file(spec: str, device: Device, **options: Any) -> Estimate:
    """Trace what ``path/to/file.py:function`` builds and estimate one training step of it.

    Raises:
        RooflineError: As `trace.trace_file`; or an option that only a transformer has.
    """
    from .trace import trace_file

    train = traced_config(options, device)
    return estimate_trace(trace_file(spec, dtype=train.compute_dtype), device, train)


def estimate_config(path: str, device: Device, **options: Any) -> Estimate:
    """Build the architecture of a ``config.json`` with transformers' classes, trace it, and estimate one step of it.

    Args:
        path: The file, or a folder with one.
        device: The device.
        **options: As `estimate_file`; ``micro_batch`` and ``seq_len`` shape the example inputs.

    Raises:
        RooflineError: torch or transformers is missing or cannot build it, or an option that only a transformer has.
    """
    from . import architecture
    from .trace import trace

    config, where = architecture.read(path)
    batch, seq_len = options.pop("micro_batch", 1), options.pop("seq_len", None)
    train = traced_config(options, device)

    def run(real: bool) -> Estimate:
        built = architecture.build(config, where, batch=batch, seq_len=seq_len, real=real)
        found = trace(built.module, keyword_inputs=built.inputs, dtype=None if real else train.compute_dtype, real=real)
        kind = " (numbers in fp32: it looks at values)" if real else ""
        note = f"traced from {built.source} with {built.described}{kind}: a token stands for one pass of them"
        return estimate_step(step_of_trace(found, train, (note,)), device)

    try:
        return run(real=False)
    except RooflineError:
        if not architecture.small(config, where):
            raise
        return run(real=True)  # a value was asked for: with real tensors there is one


def traced_config(options: dict[str, Any], device: Device | None = None) -> TrainConfig:
    """The configuration of a traced module: a step is a number of passes of the example inputs, run eagerly.

    Raises:
        RooflineError: An option that only a transformer has.
    """
    for name in _FIXED:
        if name in options:
            raise RooflineError(
                f"--{name.replace('_', '-')} does not apply to a traced module, which runs as it is built "
                "(change its inputs or the module there; --num-devices and --global-batch count passes)"
            )
    train = settle(_traced("a traced module", 0), device, {"stack": "eager", **options, "seq_len": 1}).train
    if optimizer(train.optimizer).takes != "all":
        raise RooflineError(
            f"optimizer {train.optimizer} updates matrices, and of a traced module the number of parameters is known "
            "alone: use --optimizer adamw, lion or sgd"
        )
    return train


def estimate_trace(trace: Trace, device: Device, train: TrainConfig) -> Estimate:
    """Estimate one training step of a traced module; one "token" is one pass of its example inputs."""
    return estimate_step(step_of_trace(trace, train), device)


def step_of_trace(trace: Trace, train: TrainConfig, notes: tuple[str, ...] = ()) -> Step:
    """The step of a traced module: the recorded pass, then the update of what is trainable."""
    frozen = trace.parameters - trace.trainable_parameters
    model = _traced(trace.name, trace.parameters, notes)
    stack = load_stack(train.stack)
    weights = tuple(
        Weights(name=name, part="layer", local=local, count=1, trainable=trainable, expert=False)
        for name, local, trainable in (
            ("trainable", trace.trainable_parameters, True),
            ("frozen", frozen, False),
        )
    )
    first, *rest = trace.ops
    # the peak of the pass is known as a whole: what it keeps for backward, and logits and operands in hand
    kept = [msgspec.structs.replace(first, part="layer", saved_bytes=trace.peak_bytes / first.count)]
    kept += [msgspec.structs.replace(op, part="layer", saved_bytes=0) for op in rest]
    step = Step(
        model=model,
        train=train,
        stack=stack,
        ops=tuple(kept),
        weights=weights,
        working_bytes=0,  # the peak holds it
        counted=True,
    )
    return msgspec.structs.replace(step, ops=(*kept, *update_ops(step)))


def _traced(name: str, parameters: int, notes: tuple[str, ...] = ()) -> ModelConfig:
    """A traced module as a model: its parameters alone, its ops are known."""
    return ModelConfig(
        name=name,
        d_model=0,
        vocab_size=0,
        groups=(LayerGroup(count=1, attention=None, mlp=None, norms=()),),
        has_head=False,
        extra_params=parameters,
        source="traced PyTorch module",
        assumptions=notes,
    )
