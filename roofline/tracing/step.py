"""A traced PyTorch module as a model: what is known of it is its pass; and modules that a file or a config builds."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RooflineError
from ..model.spec import LayerGroup, ModelConfig, RecordedPass

if TYPE_CHECKING:
    from .recorder import Trace

LARGEST_KEPT = 8  # traces of files, so that a comparison runs each once


def model_of(trace: Trace, notes: tuple[str, ...] = ()) -> ModelConfig:
    """A traced module as a model: one "token" is one pass of its example inputs.

    Raises:
        RooflineError: Nothing ran.
    """
    if not trace.ops:
        raise RooflineError(f"the pass of {trace.name} ran no operator that costs anything: nothing to estimate")
    recorded = RecordedPass(ops=trace.ops, trainable=trace.trainable_parameters, peak_bytes=trace.peak_bytes)
    return recorded_model(trace.name, trace.parameters, recorded, notes)


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


def model_of_file(spec: str, dtype: str) -> ModelConfig:
    """The module that ``path/to/file.py:function`` builds, traced in `dtype`.

    Raises:
        RooflineError: As `trace.trace_file`.
    """
    path = Path(spec.rpartition(":")[0])
    return _traced_file(spec, dtype, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=LARGEST_KEPT)
def _traced_file(spec: str, dtype: str, _changed: int) -> ModelConfig:
    from .trace import trace_file

    return model_of(trace_file(spec, dtype=dtype))


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
    from .trace import trace

    config, where = architecture.read(path)

    def run(real: bool) -> ModelConfig:
        built = architecture.build(config, where, batch=batch, seq_len=seq_len, real=real)
        found = trace(built.module, keyword_inputs=built.inputs, dtype=None if real else dtype, real=real)
        kind = " (numbers in fp32: it looks at values)" if real else ""
        note = f"traced from {built.source} with {built.described}{kind}: a token stands for one pass of them"
        return model_of(found, (note,))

    try:
        return run(real=False)
    except RooflineError:
        if not architecture.small(config, where):
            raise
        return run(real=True)  # a value was asked for: with real tensors there is one
