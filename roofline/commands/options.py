"""Options that commands share: the model and the device; and what was typed as objects."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import units
from ..config.defaults import default_dtype
from ..config.run import DTYPES, TrainConfig
from ..config.values import Word
from ..errors import NotDescribedError, RooflineError, shown
from ..model.load import OnNumbers, load_model, names_function
from ..reading import parse_toml
from .training import Once

if TYPE_CHECKING:
    from ..hardware import Device
    from ..model.spec import ModelConfig

MOST_ABOVE = 1.3  # of the catalog's peak: boost clocks and later steppings of a card stay below


def add_model_arguments(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """Add MODEL, ``--set`` and ``--real``; `nargs` as argparse has it where a command takes several models."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs=nargs,
        help="a preset ('roofline models' lists all), a config.json, a folder with one, a .toml, "
        "the run file of a training framework (YAML, JSON, TOML, launch script), "
        "or a size such as 7B: a plain Llama-like decoder of about that many parameters",
    )
    add_model_options(parser)


def add_model_options(parser: Any) -> None:
    """Add ``--set`` and ``--real`` to a parser or one of its groups."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        type=override,
        default=[],
        help="change a figure of the model, such as n_layers=12 (repeatable)",
    )
    parser.add_argument(
        "--real",
        action="store_true",
        help="run the module of path/to/file.py:function on numbers of its own, as one that asks for values has to "
        "(small ones do by themselves)",
    )


def add_device_arguments(parser: argparse.ArgumentParser, *, repeatable: bool = False) -> None:
    """Add ``-d/--device`` (`repeatable` gives a list) and the figures that can be overridden."""
    group = parser.add_argument_group("device")
    where = "a catalog id ('roofline devices' lists all), a .toml, or 'local' for this machine"
    if repeatable:
        group.add_argument("-d", "--device", metavar="DEVICE", action="append", help=f"{where}; may be repeated")
    else:
        group.add_argument("-d", "--device", metavar="DEVICE", action=Once, help=where)
    group.add_argument(
        "--peak-tflops",
        metavar="[DTYPE=]N",
        action="append",
        type=peak_override,
        help="dense peak in TFLOP/s, of the training dtype unless one is named (repeatable)",
    )
    group.add_argument("--bandwidth", metavar="GB/s", type=units.positive, help="memory bandwidth in GB/s")
    group.add_argument("--memory", metavar="BYTES", type=units.byte_count, help="memory capacity, such as 80GiB")
    group.add_argument(
        "--link-bandwidth",
        metavar="GB/s",
        type=units.positive,
        help="link between devices of a node in GB/s, one way per device",
    )
    group.add_argument(
        "--topology",
        metavar="WHAT",
        help="what joins cards that have only PCIe: p2p-switch, p2p-root, staged-fast or staged (no peer-to-peer), "
        "with bridge+ before it where a bridge joins pairs; assumed, and said, where it is not given",
    )
    group.add_argument(
        "--power-limit",
        metavar="W",
        type=units.positive,
        help="power limit set on the device, where it is not the default",
    )


# --- readers of one value ---------------------------------------------------------------------------------


def override(text: str) -> tuple[str, object]:
    """Read ``KEY=VALUE``: a number, true, false, a list or a word.

    >>> override("n_layers=12"), override("gated_mlp=true"), override("activation=gelu")
    (('n_layers', 12), ('gated_mlp', True), ('activation', 'gelu'))
    """
    key, equals, value = text.partition("=")
    if not (equals and key.strip() and value.strip()):
        raise units.UnitError(f"{text!r} is not KEY=VALUE: write for example n_layers=12")
    key, value = key.strip(), value.strip()
    try:
        if "\n" not in value:
            return key, parse_toml(f"value = {value}", f"--set {key}")["value"]
    except RooflineError as error:
        if "not valid TOML" not in str(error):
            raise units.UnitError(str(error)) from None
    return key, value


def peak_override(text: str) -> tuple[str | None, float]:
    """Read ``989.5`` or ``bf16=989.5``.

    >>> peak_override("bf16=989.5"), peak_override("312")
    (('bf16', 989.5), (None, 312))
    """
    dtype, equals, figure = text.rpartition("=")
    return (Word("dtype", (*DTYPES, "int8", "fp64"))(dtype) if equals else None), units.positive(figure)


# --- what was typed, as objects ---------------------------------------------------------------------------


def train_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of TrainConfig that were given."""
    given = {name: getattr(args, name, None) for name in TrainConfig.__struct_fields__}
    return {name: value for name, value in given.items() if value is not None}


def model(args: argparse.Namespace) -> ModelConfig | str:
    """The model that was named, with its ``--set`` overrides; text where it is yet to be traced."""
    return one_model(args.model, args.overrides, real=args.real)


def one_model(name: str | ModelConfig, overrides: list[tuple[str, object]], *, real: bool) -> ModelConfig | str:
    """The model of one MODEL: text where it names a function, or a file that nothing here describes.

    Raises:
        RooflineError: There is no such model, or a figure is changed of one that is traced, or `real` where none is.
    """
    if names_function(name):
        if overrides:
            key, value = overrides[0]
            raise RooflineError(
                f"--set {key}={value} does not apply to a traced module: change it in {str(name).rpartition(':')[0]}"
            )
        return OnNumbers(name) if real else name
    if real:
        raise RooflineError(
            f"--real is for a module to be traced, path/to/file.py:function, and {shown(name, 200)} is none"
        )
    try:
        return load_model(name, dict(overrides))
    except NotDescribedError:
        if overrides or not isinstance(name, str):
            raise
        return name


def device(args: argparse.Namespace) -> Device:
    """The one device that was named, with the figures overridden.

    Raises:
        RooflineError: None was named, or several.
    """
    found = devices(args)
    if len(found) > 1:
        names = ", ".join(each.id for each in found)
        raise RooflineError(f"--device {names}: give one device; 'roofline compare' puts several side by side")
    return found[0]


def devices(args: argparse.Namespace) -> list[Device]:
    """The devices that were named (``-d`` repeated, or ids joined with commas), with the figures overridden.

    Raises:
        RooflineError: None was named, or a figure cannot be.
    """
    from ..hardware import load_device

    given = [args.device] if isinstance(args.device, str) else args.device or []
    named = [part.strip() for text in given for part in text.split(",") if part.strip()]
    if not named:
        raise RooflineError(
            "missing --device: name one ('roofline devices' lists all), a .toml, or 'local' for this machine"
        )
    return [_overridden(load_device(name), args) for name in named]


def _overridden(device: Device, args: argparse.Namespace) -> Device:
    """`device` with ``--peak-tflops``, ``--bandwidth``, ``--memory`` and ``--link-bandwidth`` applied."""
    dtype = getattr(args, "dtype", None)
    dtype = dtype if isinstance(dtype, str) else default_dtype(device)
    peaks: Mapping[str, float] = {name or dtype: figure for name, figure in args.peak_tflops or ()}
    figures: dict[str, Any] = {
        "peak_tflops": peaks or None,
        "bandwidth_gb_per_s": args.bandwidth,
        "memory_gib": None if args.memory is None else args.memory / 2**30,
        "link_gb_per_s": args.link_bandwidth,
        "topology": args.topology,
        "power_limit_w": args.power_limit,
    }
    figures = {name: value for name, value in figures.items() if value is not None}
    if not figures:
        return device
    from ..hardware import override

    changed = override(device, **figures)
    _check_peaks(device, peaks)
    return changed


def _check_peaks(device: Device, peaks: Mapping[str, float]) -> None:
    """Refuse peaks far above the catalog's; those of a CPU are measured, and may be low."""
    for name, figure in peaks.items():
        known = device.peaks.get(name, math.inf)
        if device.kind != "cpu" and figure * 1e12 > MOST_ABOVE * known:
            raise RooflineError(
                f"--peak-tflops {name}={figure:g} is {figure * 1e12 / known:.2g} x the dense peak of {device.id} "
                f"({known / 1e12:g} TFLOP/s): give its dense peak, or a .toml of a device that has more"
            )
