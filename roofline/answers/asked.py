"""What is asked about: a model, by whatever describes it, with a device and options; settled into a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..config.settle import Run, settle
from ..errors import NotDescribedError, RooflineError, shown
from ..model.load import OnNumbers, load_model, names_function
from ..model.recorded import RecordedPass
from ..model.spec import ModelConfig
from .choice import fastest

if TYPE_CHECKING:
    from typing import TypeAlias, Unpack

    from ..config.typed import Options
    from ..hardware import Device
    from ..tracing.recorder import Trace

    Described: TypeAlias = str | os.PathLike[str] | ModelConfig | Trace  # what describes a model
    Named: TypeAlias = str | os.PathLike[str] | Device  # what names a device


def run_of(
    model: Described | None,
    device: Named | None,
    options: Mapping[str, Any],
    run: Run | None = None,
    *,
    needs_device: bool = True,
) -> Run:
    """The run that is asked about: one that was settled before, with some options changed, or a new one.

    With a device, a micro batch that nobody says is the fastest that fits.

    Raises:
        RooflineError: Neither or both are given, or as `settle.settle`.
    """
    if run is not None:
        return _settled(model, device, options, run, needs_device=needs_device)
    if model is None:
        raise RooflineError("no model given: name a preset ('roofline models' lists all), a .toml or a config.json")
    if device is None and needs_device:
        raise RooflineError("no device given: name one ('roofline devices' lists all), a .toml, or 'local'")
    from ..hardware import load_device

    found = None if device is None else load_device(device)
    described_as, left = described(model, found, options)
    settled = settle(described_as, found, left)
    return settled if found is None else fastest(settled)


def _settled(model: Any, device: Any, options: Mapping[str, Any], run: Run, *, needs_device: bool) -> Run:
    """`run`, with `options` changed."""
    if not isinstance(run, Run):
        raise RooflineError(f"run must be a settled run (roofline.settle makes one), got {shown(run)}")
    if model is not None or device is not None:
        raise RooflineError("run= names its model and its device: give it alone, with the options to change")
    if needs_device and run.device is None:
        raise RooflineError("this run names no device: give one to roofline.settle")
    return run.changed(**options) if options else run


def settle_run(model: Described, device: Named | None = None, **options: Unpack[Options]) -> Run:
    """Settle how a model is trained, once: what the options leave open is filled, and everything is checked.

    >>> run = settle_run("gpt2-xl", "h100-sxm-80gb", seq_len="1k", recompute="selective")
    >>> run.train.micro_batch > 1, run.changed(micro_batch=2).train.micro_batch
    (True, 2)

    Args:
        model: As for `estimate`.
        device: As for `estimate`; None: a GPU of no particular kind.
        **options: Fields of `TrainConfig` (see `estimate`).

    Returns:
        A run, which `estimate`, `memory`, `count` and `mfu` take as ``run=``, with options to change if any.

    Raises:
        RooflineError: An unknown option, a value outside its list or range, or options that contradict.
    """
    return run_of(model, device, options, needs_device=False)


def described(
    model: Described, device: Device | None, options: Mapping[str, Any]
) -> tuple[ModelConfig, Mapping[str, Any]]:
    """The model that something describes, and the options that are left for how it is trained.

    Args:
        model: A preset's id, a ``.toml``, a ``config.json`` or a folder with one (transformers build it, to be traced,
            where nothing here describes its type), ``path/to/file.py:function``, a `Trace`, or a `ModelConfig`.
        device: What it runs on, if that is known: it decides the dtype in which a file is traced.
        options: Fields of `TrainConfig` as people type them.

    Raises:
        RooflineError: It describes none.
    """
    if isinstance(model, ModelConfig):
        return model, options
    if names_function(model):
        from ..tracing.step import model_of_file

        return model_of_file(str(model), _dtype(device, options), real=isinstance(model, OnNumbers)), options
    if isinstance(model, (str, os.PathLike)):
        try:
            return load_model(model), options
        except NotDescribedError:
            from ..tracing import architecture

            if not architecture.available():
                raise
        return _built(os.fspath(model), device, options)
    from ..tracing.recorder import Trace
    from ..tracing.step import model_of

    if isinstance(model, Trace):
        return model_of(model), options
    if hasattr(model, "named_parameters"):
        raise RooflineError("a PyTorch module is traced first: roofline.trace(module, *example_inputs)")
    return load_model(model), options  # says what a model is


def _built(path: str, device: Device | None, options: Mapping[str, Any]) -> tuple[ModelConfig, Mapping[str, Any]]:
    """A ``config.json`` as transformers builds it: batch and length shape its example inputs."""
    from ..config.options import of_one_run
    from ..tracing.step import model_of_config

    left = dict(options)
    shape = of_one_run({name: left.pop(name) for name in ("micro_batch", "seq_len") if name in left})
    batch, seq_len = shape.get("micro_batch", 1), shape.get("seq_len")
    if hasattr(batch, "shape") or hasattr(seq_len, "shape"):
        raise RooflineError("micro_batch and seq_len shape the inputs that are traced: call once for each")
    return model_of_config(path, _dtype(device, left), batch=batch, seq_len=seq_len), left


def _dtype(device: Device | None, options: Mapping[str, Any]) -> str:
    """What the matmuls of a module run in that is yet to be traced."""
    from ..tracing.step import recorded_model

    nothing = recorded_model("a traced module", 0, RecordedPass(ops=(), trainable=0, peak_bytes=0))
    return settle(nothing, device, options).train.compute_dtype
