"""Options that commands share: the model, the device, how it is trained; and what was typed as objects."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import units
from ..config.base import base_words
from ..config.defaults import default_dtype
from ..config.lora import MODULES
from ..config.options import (
    WORDS,
    frozen,
    fusions,
    modules,
    moments,
    offloads,
    probability,
    recompute,
    stage_sizes,
    word,
)
from ..config.recompute import RECOMPUTES, recompute_modules
from ..config.run import (
    ATTENTIONS,
    BYTES,
    DTYPES,
    IMBALANCE,
    MASTERS,
    PACKINGS,
    TRAINS,
    VARIANTS,
    TrainConfig,
)
from ..config.sharding import SHARDINGS
from ..errors import NotDescribedError, RooflineError
from ..model.load import load_model, names_function
from ..reading import parse_toml
from .runfile import add_run_file_arguments

if TYPE_CHECKING:
    from ..hardware import Device
    from ..model.spec import ModelConfig

MOST_ABOVE = 1.3  # of the catalog's peak: boost clocks and later steppings of a card stay below
# option -> (reader of one value, help); the destination is the field of TrainConfig
_NUMBERS: dict[str, tuple[Callable[[str], int], str]] = {
    "--num-devices": (units.positive_int, "devices in all: tp x pp x cp x dp (default 1)"),
    "--devices-per-node": (
        units.positive_int,
        "devices that share a node (default the device's usual server)",
    ),
    "--micro-batch": (units.positive_int, "sequences per device and pass (default the fastest that fits)"),
    "--global-batch": (
        units.positive_int,
        "sequences per optimizer step, all devices (default one pass each; 4 per pipeline stage)",
    ),
    "--seq-len": (
        units.sequence_length,
        "tokens per sequence, 2k is 2048 (default the model's, at most 8192)",
    ),
    "--mean-len": (
        units.sequence_length,
        "tokens of a sample on average, where --seq-len is the longest: memory by that, time by the mean",
    ),
}
_DEGREES: dict[str, tuple[Callable[[str], int], str]] = {
    "--tp": (units.positive_int, "tensor-parallel degree"),
    "--pp": (units.positive_int, "pipeline stages"),
    "--vp": (units.positive_int, "virtual stages per device (interleaved pipeline)"),
    "--dp": (units.positive_int, "data-parallel degree (default what the rest leaves)"),
    "--cp": (units.positive_int, "context-parallel degree (splits the sequence)"),
    "--ep": (units.positive_int, "expert-parallel degree"),
    "--etp": (
        units.positive_int,
        "tensor-parallel degree of the experts (default 1 with sequence parallelism, or tp)",
    ),
}


def add_model_arguments(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """Add MODEL and ``--set``; `nargs` as argparse has it where a command takes several models."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs=nargs,
        help="a preset ('roofline models' lists all), a config.json, a folder with one, a .toml, "
        "the run file of a training framework (YAML, JSON, TOML, launch script), "
        "or a size such as 7B: a plain Llama-like decoder of about that many parameters",
    )
    add_set_argument(parser)


def add_set_argument(parser: Any) -> None:
    """Add ``--set`` to a parser or one of its groups."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        type=override,
        default=[],
        help="change a figure of the model, such as n_layers=12 (repeatable)",
    )


def add_device_arguments(parser: argparse.ArgumentParser, *, repeatable: bool = False) -> None:
    """Add ``-d/--device`` (`repeatable` gives a list) and the figures that can be overridden."""
    group = parser.add_argument_group("device")
    where = "a catalog id ('roofline devices' lists all), a .toml, or 'local' for this machine"
    if repeatable:
        group.add_argument("-d", "--device", metavar="DEVICE", action="append", help=f"{where}; may be repeated")
    else:
        group.add_argument("-d", "--device", metavar="DEVICE", action=_Once, help=where)
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


def add_training_arguments(parser: argparse.ArgumentParser, *, sweeps: bool = False) -> None:
    """Add everything that decides how the model is trained.

    With `sweeps`, numbers read lists (``1,2,4``) and ranges (``2k:64k``) into tuples, words lists.
    """

    def number(read: Callable[[str], int]) -> Callable[[str], Any]:
        return units.sweep(read) if sweeps else _single(read)

    def words(name: str, allowed: tuple[str, ...]) -> Callable[[str], Any]:
        one = word(name, allowed)
        return (lambda text: _several(text, one)) if sweeps else _single(one)

    add_run_file_arguments(parser)

    def known(name: str) -> Callable[[str], Any]:
        return (lambda text: _several(text, WORDS[name])) if sweeps else _single(WORDS[name])

    ranges = "any option but names takes a list (1,2,4), doublings (2k:64k) or steps (8:32:8): every combination is run"
    group = parser.add_argument_group("training", ranges if sweeps else None)
    for option, (read, text) in _NUMBERS.items():
        group.add_argument(option, metavar="N", type=number(read), help=text)
    _add_words(group, words, known)
    group.add_argument(
        "--recompute",
        metavar="HOW",
        type=_recomputes if sweeps else recompute,
        help="what runs again in backward: none (default), full (every layer), full:N (N layers of a stage), uniform:N "
        "(N layers from one input), every:N (every Nth layer), matmuls (all else), selective (the stack's), or modules "
        f"joined with {'+' if sweeps else 'commas'}: {', '.join(recompute_modules())}",
    )
    group.add_argument(
        "--fp8-recipe",
        dest="low_precision_recipe",
        metavar="HOW",
        type=known("low_precision_recipe"),
        help="how fp8 operands are scaled: delayed, current, rowwise or blockwise (default what the stack does)",
    )
    group.add_argument(
        "--stack",
        metavar="STACK",
        type=(lambda text: _several(text, str)) if sweeps else str,
        help="software profile: what is fused and overlapped ('roofline stacks' lists all; default nemo with tp, pp, "
        "cp or ep, fsdp where parameters are sharded, jax on a TPU, else compiled)",
    )
    _flag(group, "--dropout", "dropout runs")
    _flag(
        group,
        "--no-master-weights",
        "pure 16-bit: no fp32 copy of the weights",
        "master_weights",
        const=False,
    )
    _add_precision(group, words)
    _add_offload(group, words)
    group.add_argument(
        "--fused",
        metavar="WHAT",
        type=fusions,
        help="fusions on top of the stack's, such as cross_entropy ('roofline stacks' explains them)",
    )
    group.add_argument(
        "--train",
        metavar="WHAT",
        type=words("train", TRAINS),
        help="full (default), lora, or qlora: adapters over a base in 4 bits",
    )
    group.add_argument(
        "--base-dtype",
        metavar="DTYPE",
        type=known("base_dtype"),
        help=f"how the frozen base is stored: {', '.join(base_words())} (default 16 bits; nf4 with qlora)",
    )
    group.add_argument(
        "--double-quant",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="scales of an nf4 or fp4 base are quantised as well (default)",
    )
    group.add_argument(
        "--lora-variant", metavar="NAME", type=words("adapter variant", VARIANTS), help="lora (default), rslora or dora"
    )
    group.add_argument(
        "--lora-dropout", metavar="P", type=probability, help="dropout on the input of each adapter (default 0)"
    )
    group.add_argument(
        "--lora-rank", metavar="R", type=number(units.positive_int), help="rank of the adapters (default 16)"
    )
    group.add_argument(
        "--lora-modules",
        metavar="WHICH",
        type=(lambda text: _several(text, modules)) if sweeps else modules,
        help="projections with adapters: all (default), attention, mlp, or names joined with commas"
        f"{' (here with +)' if sweeps else ''}: {', '.join(MODULES[3:])}",
    )
    group.add_argument(
        "--freeze",
        metavar="WHAT",
        type=frozen,
        help="what takes no gradient, joined with commas: embeddings (the token table, with a tied head's weight), "
        "positions",
    )
    parallel = parser.add_argument_group("parallel layout")
    for option, (read, text) in _DEGREES.items():
        parallel.add_argument(option, metavar="N", type=number(read), help=text)
    parallel.add_argument(
        "--sharding",
        metavar="HOW",
        type=words("sharding", tuple(SHARDINGS)),
        help=f"what data parallelism shards: {', '.join(SHARDINGS)} (default the stack's; none on one rank)",
    )
    parallel.add_argument(
        "--sequence-parallel",
        action=argparse.BooleanOptionalAction,
        help="shard norms and residuals over tp as well (default wherever the stack does)",
    )
    parallel.add_argument(
        "--schedule",
        metavar="NAME",
        type=known("schedule"),
        help="pipeline schedule: gpipe, 1f1b, interleaved, zb-h1, ... (default 1f1b, interleaved with --vp)",
    )
    parallel.add_argument(
        "--pp-layout",
        metavar="LAYERS",
        type=stage_sizes,
        help="layers of each pipeline stage, such as 7,8,8,7 or Megatron's 'Et*7|t*8|t*8|t*7L' (default spread evenly)",
    )
    parallel.add_argument(
        "--dispatcher",
        metavar="NAME",
        type=known("dispatcher"),
        help="how tokens reach experts: alltoall, allgather, deepep or hybridep (default the stack's)",
    )
    parallel.add_argument(
        "--expert-balance",
        metavar="HOW",
        type=known("expert_balance"),
        help=f"{', '.join(IMBALANCE)} (default natural), or tokens of the fullest expert rank over the mean",
    )
    parallel.add_argument(
        "--exchange-overlap",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="tokens travel to experts beside another micro batch's compute (default as far as the stack does)",
    )
    parallel.add_argument(
        "--cuda-graph",
        metavar="WHAT",
        type=known("cuda_graph"),
        help="what is captured in CUDA graphs: none (default), partial (all but the experts) or full (the iteration)",
    )
    parallel.add_argument(
        "--network-gbit",
        "--network-bandwidth",
        dest="network_gbit_per_s",
        metavar="Gbit/s",
        type=units.positive,
        action="store" if sweeps else _Once,
        help="network per device, one way (default that of the device's usual server)",
    )


def _add_words(
    group: Any,
    words: Callable[[str, tuple[str, ...]], Callable[[str], Any]],
    known: Callable[[str], Callable[[str], Any]],
) -> None:
    """The options whose value is one of a few words."""
    group.add_argument(
        "--packing",
        metavar="HOW",
        type=words("packing", PACKINGS),
        help="of samples shorter than the sequence: packed (default with --mean-len), padded, or unpadded",
    )
    group.add_argument(
        "--dtype",
        metavar="DTYPE",
        type=words("dtype", DTYPES),
        help=f"{', '.join(DTYPES)} (default bf16; fp16 on a GPU without it)",
    )
    group.add_argument(
        "--attention",
        metavar="KERNEL",
        type=words("attention", ATTENTIONS),
        help=f"{', '.join(ATTENTIONS)} (default: what the stack runs, te with nemo, else flash2)",
    )
    group.add_argument(
        "--optimizer",
        metavar="NAME",
        type=known("optimizer"),
        help="adamw (default), adamw-8bit, adafactor, lion, muon, sgd, ... (a name that is none lists all)",
    )


def _add_precision(group: Any, words: Callable[[str, tuple[str, ...]], Callable[[str], Any]]) -> None:
    """What is kept in a dtype of its own, with Megatron-LM's names beside."""
    group.add_argument(
        "--moment-dtype",
        metavar="DTYPE",
        type=moments,
        help="the optimizer's moments: fp32 (default), bf16, fp16 or fp8, or first,second (--exp-avg-dtype, "
        "--exp-avg-sq-dtype)",
    )
    for option, names, text in (
        ("gradient", BYTES, "summed gradients (default the stack's; --main-grads-dtype, --grad-reduce-in-bf16)"),
        (
            "master",
            MASTERS,
            "copies of 16-bit weights (default fp32; --main-params-dtype; split: store_param_remainders)",
        ),
        ("weight", ("fp8",), "weights of linear layers that train in fp8 (default 16 bits; --fp8-param-gather)"),
        ("saved", ("fp8",), "what activation functions keep for backward (activation_func_fp8_input_store)"),
    ):
        allowed = f"{', '.join(names)}: {text}"
        group.add_argument(
            f"--{option}-dtype", metavar="DTYPE", type=words(f"{option} dtype", tuple(names)), help=allowed
        )


def _add_offload(group: Any, words: Callable[[str, tuple[str, ...]], Callable[[str], Any]]) -> None:
    """What lives on the host, with the frameworks' names beside."""
    group.add_argument(
        "--offload",
        metavar="WHAT",
        type=offloads,
        help="what lives on the host, joined with commas: optimizer, parameters, activations, or all (optimizer and "
        "parameters: offload_optimizer and offload_param of DeepSpeed, FSDP's cpu_offload, --optimizer-cpu-offload)",
    )
    group.add_argument(
        "--offload-layers",
        metavar="N",
        type=units.positive_int,
        help="layers whose activations go to the host (default all; Megatron's --cpu-offloading-num-layers)",
    )
    group.add_argument(
        "--offload-to",
        metavar="WHERE",
        type=words("place in offload_to:", ("cpu", "nvme")),
        help="cpu (default, its memory) or nvme (its drives)",
    )
    for option, dest, text in (
        ("--host-bandwidth", "host_gb_per_s", "memory of one host, for the update there (default of two EPYC 7742)"),
        ("--nvme-bandwidth", "nvme_gb_per_s", "drives of one host, reading and writing alike"),
    ):
        group.add_argument(option, dest=dest, metavar="GB/s", type=units.positive, help=text)


def _flag(group: Any, option: str, text: str, dest: str | None = None, *, const: bool = True) -> None:
    """A switch that is None where it is not given: the default is TrainConfig's."""
    group.add_argument(option, dest=dest, action="store_const", const=const, help=text)


class _Once(argparse.Action):
    """An option that cannot be given twice: the first value would be lost."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        """Store the value.

        Raises:
            ArgumentError: There is one already.
        """
        before = getattr(namespace, self.dest)
        if before is not None:
            raise argparse.ArgumentError(
                self, f"given twice ({before} and {values}): 'roofline compare' puts several side by side"
            )
        setattr(namespace, self.dest, values)


# --- readers of one value ---------------------------------------------------------------------------------


def _single(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """`read`, pointing to the command for lists and ranges where it is given one."""

    def read_one(text: str) -> Any:
        try:
            return read(text)
        except units.UnitError as error:
            if not re.search(r"[\w)][,:]\w", text):
                raise
            raise units.UnitError(f"{error}; for several values, 'roofline compare' takes lists and ranges") from None

    return read_one


def _several(text: str, read: Callable[[str], str]) -> str | tuple[str, ...]:
    """One word, or several joined with commas."""
    values = tuple(read(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def _recomputes(text: str) -> str | tuple[str, ...]:
    """One way to recompute, or several: commas between modules alone join them."""
    parts = text.split(",")
    several = any(part in RECOMPUTES or ":" in part or part == "matmuls" for part in parts)
    return _several(text, recompute) if several else recompute(text)


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
    return (word("dtype", (*DTYPES, "int8", "fp64"))(dtype) if equals else None), units.positive(figure)


# --- what was typed, as objects ---------------------------------------------------------------------------


def train_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of TrainConfig that were given."""
    given = {name: getattr(args, name, None) for name in TrainConfig.__struct_fields__}
    return {name: value for name, value in given.items() if value is not None}


def model(args: argparse.Namespace) -> ModelConfig | str:
    """The model that was named, with its ``--set`` overrides; text where it is yet to be traced."""
    return one_model(args.model, args.overrides)


def one_model(name: str | ModelConfig, overrides: list[tuple[str, object]]) -> ModelConfig | str:
    """The model of one MODEL: text where it names a function, or a file that nothing here describes.

    Raises:
        RooflineError: There is no such model, or a figure is changed of one that is traced.
    """
    if names_function(name):
        if overrides:
            key, value = overrides[0]
            raise RooflineError(
                f"--set {key}={value} does not apply to a traced module: change it in {str(name).rpartition(':')[0]}"
            )
        return name
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
    from ..hardware import override

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
    changed = override(device, **figures) if figures else device
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
