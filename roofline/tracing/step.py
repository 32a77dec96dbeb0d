"""A traced PyTorch module as a model: what is known of it is its pass; and modules that a file or a config builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RooflineError
from ..model.recorded import RecordedPass
from ..model.spec import LayerGroup, ModelConfig
from ..units import format_count

if TYPE_CHECKING:
    from .architecture import Built
    from .recorder import Trace

LARGEST_KEPT = 8  # traces of files, so that a comparison runs each once
_MODULES_NAMED = 3
_ON_NUMBERS = "traced on its own numbers: shapes that hang on values are those of this one pass"
_AS_IT_IS = "traced in the dtypes it has, since it does not run in {}"
_COMPILED = (
    "torch.compile holds a part of it: the compiled stack, unless one is named, fuses the whole pass as one graph"
)


def model_of(trace: Trace, notes: tuple[str, ...] = ()) -> ModelConfig:
    """A traced module as a model: one "token" is one pass of its example inputs.

    Raises:
        RooflineError: Nothing ran.
    """
    if not trace.ops:
        raise RooflineError(f"the pass of {trace.name} ran no operator that costs anything: nothing to estimate")
    trainable, fused = trace.trainable_parameters, trace.fused
    recorded = RecordedPass(
        ops=trace.ops,
        trainable=trainable,
        peak_bytes=trace.peak_bytes,
        fused=None if fused is None else RecordedPass(ops=fused.ops, trainable=trainable, peak_bytes=fused.peak_bytes),
        compiled=trace.compiled,
    )
    return recorded_model(trace.name, trace.parameters, recorded, (*notes, *([_COMPILED] if trace.compiled else [])))


def recorded_model(
    name: str, parameters: int, recorded: RecordedPass, assumptions: tuple[str, ...] = ()
) -> ModelConfig:
    """A model of which the pass and the number of parameters are known."""
    return ModelConfig(
        name=name,
        d_model=0,
        vocab_size=0,
        groups=(LayerGroup(count=1, attention=None, mlp=None, norms=()),),
        has_head=False,
        extra_params=parameters,
        recorded=recorded,
        source="traced PyTorch module",
        assumptions=assumptions,
    )


def model_of_file(spec: str, dtype: str, *, real: bool = False) -> ModelConfig:
    """The module that ``path/to/file.py:function`` builds, traced in `dtype`.

    Args:
        spec: The file and its function.
        dtype: What its matmuls run in.
        real: On its own numbers however large it is; else where it is small and asks for a value.

    Raises:
        RooflineError: As `trace.load_builder` and `trace.trace`.
    """
    path = Path(spec.rpartition(":")[0])
    return _traced_file(spec, dtype, real, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=LARGEST_KEPT)
def _traced_file(spec: str, dtype: str, real_alone: bool, _changed: int) -> ModelConfig:
    """On shapes in `dtype`; on numbers where a small module asks for a value; as it is where it fails in `dtype`."""
    from .trace import LARGEST_REAL, FailedPassError, load_builder, trace

    module, inputs, keyword_inputs = load_builder(spec)
    tensors = list(module.parameters())
    on_meta = any(tensor.is_meta for tensor in tensors)
    if real_alone and on_meta:
        raise RooflineError(
            f"{spec} builds its module on the meta device: without numbers it cannot run on them (--real)"
        )
    small = sum(tensor.numel() for tensor in tensors) <= LARGEST_REAL and not on_meta
    refusals: list[FailedPassError] = []
    for cast, real in ((dtype, False), (dtype, True), (None, False), (None, True)):
        asked = real_alone or (small and any(refusal.asks_value for refusal in refusals))
        if (real and not asked) or (real_alone and not real):
            continue
        try:
            found = trace(module, *inputs, keyword_inputs=keyword_inputs, dtype=cast, real=real)
        except FailedPassError as error:
            refusals.append(error)
        else:
            return model_of(found, (*([_ON_NUMBERS] if real else []), *([] if cast else [_AS_IT_IS.format(dtype)])))
    raise refusals[0]


def model_of_config(path: str, dtype: str, *, batch: int = 1, seq_len: int | None = None) -> ModelConfig:
    """The architecture of a ``config.json``, built with transformers' classes and traced.

    Args:
        path: The file, or a folder with one.
        dtype: What its matmuls run in.
        batch: Examples.
        seq_len: Tokens of each; None: the model's, at most 512.

    Raises:
        RooflineError: torch or transformers is missing or cannot build it.
    """
    from . import architecture

    config, where = architecture.read(path)
    trace, note = traced(config, where, dtype, batch=batch, seq_len=seq_len)
    return model_of(trace, (note, *_of_idle(trace)))


def traced(
    config: Mapping[str, Any], where: str, dtype: str, *, batch: int = 1, seq_len: int | None = None
) -> tuple[Trace, str]:
    """The pass of the architecture of a config, and in words what was traced: of the first inputs that it takes.

    Raises:
        RooflineError: transformers cannot build it, or it takes none of the inputs: what it says of the likeliest.
    """
    from .trace import trace

    refusals = []
    for built, inputs, real, cast in _attempts(config, where, batch, seq_len):
        try:
            found = trace(built.module, keyword_inputs=inputs, dtype=dtype if cast else None, real=real)
        except RooflineError as error:
            refusals.append(error)
            continue
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items() if hasattr(value, "shape"))
        kind = "" if cast else " (numbers in fp32: it looks at values)" if real else " (in fp32: it runs in no other)"
        return found, f"traced from {built.source} with {shapes}{kind}: a token stands for one pass of them"
    if refusals:
        raise refusals[0]
    raise RooflineError(f"{where}: no input that its class takes is known here: trace it from Python (roofline.trace)")


def _attempts(
    config: Mapping[str, Any], where: str, batch: int, seq_len: int | None
) -> Iterator[tuple[Built, dict[str, Any], bool, bool]]:
    """A module and inputs to try on it: on shapes alone; then with numbers, for a pass that asks for a value.

    Yields:
        The module, its inputs, whether they hold numbers, and whether it is cast to the dtype asked for.
    """
    from . import architecture

    built = architecture.build(config, where, batch=batch, seq_len=seq_len)
    yield from ((built, inputs, False, True) for inputs in built.choices)
    yield from ((built, inputs, False, False) for inputs in built.choices[:1])
    if built.small:
        built = architecture.build(config, where, batch=batch, seq_len=seq_len, real=True)
        yield from ((built, inputs, True, False) for inputs in built.choices)


def _of_idle(trace: Trace) -> tuple[str, ...]:
    """What the inputs leave out, where that is more than a hundredth of a model."""
    idle = sum(trace.idle.values())
    if idle <= trace.parameters / 100:
        return ()
    largest = sorted(trace.idle, key=trace.idle.__getitem__, reverse=True)[:_MODULES_NAMED]
    words = f"{format_count(idle)} of {format_count(trace.parameters)} parameters ({', '.join(largest)})"
    return (f"{words} take no part with these inputs: they cost memory, and no time",)
