"""Options of the command line that say how a model is trained: a row each; how values are read is `config.options`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from .. import units
from ..config.base import base_words
from ..config.lora import MODULES
from ..config.options import LISTS, NUMBERS, WORDS
from ..config.recompute import RECOMPUTES, recompute_modules
from ..config.run import ATTENTIONS, BYTES, DTYPES, IMBALANCE, MASTERS
from ..config.sharding import SHARDINGS
from .runfile import add_run_file_arguments

LONGEST_SWEEP = 1000  # values


class Option(msgspec.Struct, frozen=True):
    """One option.

    Attributes:
        flag: As it is typed.
        metavar: What stands for its value in the help; "yes or no": a pair of switches; "": one switch.
        text: The help; what is in braces is filled in.
        field: The field of `TrainConfig`, where the flag does not spell it.
        searched: What a search makes of several values, and of ``all``; empty where it takes none.
    """

    flag: str
    metavar: str
    text: str
    field: str = ""
    searched: str = ""

    @property
    def dest(self) -> str:
        """The field of `TrainConfig`."""
        return self.field or self.flag.removeprefix("--").replace("-", "_")


_SWITCHES = "yes or no"
_AMOUNTS = (
    Option("--num-devices", "N", "devices in all: tp x pp x cp x dp (default 1)"),
    Option("--devices-per-node", "N", "devices that share a node (default the device's usual server)"),
    Option(
        "--micro-batch",
        "N",
        "sequences per device and pass (default the fastest power of two that surely fits; without a device 1)",
    ),
    Option(
        "--global-batch",
        "N",
        "sequences per optimizer step, all devices (default one pass each, 4 per pipeline stage; layouts and plan say "
        "what they assume)",
    ),
    Option("--seq-len", "N", "tokens per sequence, 2k is 2048 (default the model's, at most 8192)"),
    Option(
        "--mean-len",
        "N",
        "tokens of a sample on average, where --seq-len is the longest: memory by that, time by the mean",
    ),
    Option("--images-per-sample", "N", "images in a sample, on average, of a model that sees (default 1)"),
    Option("--clips-per-sample", "N", "clips of sound in a sample, of a model that hears (default 1)"),
    Option("--image-size", "N", "pixels of a side of an image (default the encoder's usual)"),
    Option(
        "--packing",
        "HOW",
        "of samples shorter than the sequence: packed (default with --mean-len), padded, or unpadded",
    ),
)
_METHODS = (
    Option("--dtype", "DTYPE", f"{', '.join(DTYPES)} (default bf16; fp16 on a GPU without it)"),
    Option(
        "--attention", "KERNEL", f"{', '.join(ATTENTIONS)} (default: what the stack runs, te with nemo, else flash2)"
    ),
    Option(
        "--optimizer",
        "NAME",
        "adamw (default), adamw-8bit, adafactor, lion, muon, sgd, ... (an unknown name lists all)",
    ),
    Option(
        "--recompute",
        "HOW",
        "what runs again in backward: none (default), full (every layer), full:N (N layers of a stage), uniform:N "
        "(N layers from one input), every:N (every Nth layer), matmuls (all else), selective (the stack's), or modules "
        "joined with {joint}: {recompute_modules}",
    ),
    Option(
        "--fp8-recipe",
        "HOW",
        "how fp8 operands are scaled: delayed, current, rowwise or blockwise (default what the stack does)",
        "low_precision_recipe",
    ),
    Option(
        "--stack",
        "STACK",
        "software profile: what is fused and overlapped ('roofline stacks' lists all; default nemo with tp, pp, "
        "cp or ep, fsdp where parameters are sharded, jax on a TPU, else compiled)",
    ),
    Option("--dropout", "", "dropout runs"),
    Option("--no-master-weights", "", "pure 16-bit: no fp32 copy of the weights", "master_weights"),
)
_PRECISION = (  # with Megatron-LM's names beside
    Option(
        "--moment-dtype",
        "DTYPE",
        "the optimizer's moments: fp32 (default), bf16, fp16 or fp8, or first,second (--exp-avg-dtype, "
        "--exp-avg-sq-dtype)",
    ),
    Option(
        "--gradient-dtype",
        "DTYPE",
        f"{', '.join(BYTES)}: summed gradients (default the stack's; --main-grads-dtype, --grad-reduce-in-bf16)",
    ),
    Option(
        "--master-dtype",
        "DTYPE",
        f"{', '.join(MASTERS)}: copies of 16-bit weights (default fp32; --main-params-dtype; split: "
        "store_param_remainders)",
    ),
    Option(
        "--weight-dtype",
        "DTYPE",
        "fp8: weights of linear layers that train in fp8 (default 16 bits; --fp8-param-gather)",
    ),
    Option(
        "--saved-dtype", "DTYPE", "fp8: what activation functions keep for backward (activation_func_fp8_input_store)"
    ),
)
_OFFLOAD = (  # with the frameworks' names beside
    Option(
        "--offload",
        "WHAT",
        "what lives on the host, joined with commas: optimizer, parameters, activations, or all (optimizer and "
        "parameters: offload_optimizer and offload_param of DeepSpeed, FSDP's cpu_offload, --optimizer-cpu-offload)",
    ),
    Option(
        "--offload-layers",
        "N",
        "layers whose activations go to the host (default all; Megatron's --cpu-offloading-num-layers)",
    ),
    Option("--offload-to", "WHERE", "cpu (default, its memory) or nvme (its drives)"),
    Option(
        "--host-bandwidth",
        "GB/s",
        "memory of one host, for the update there (default of two EPYC 7742)",
        "host_gb_per_s",
    ),
    Option("--nvme-bandwidth", "GB/s", "drives of one host, reading and writing alike", "nvme_gb_per_s"),
)
_TRAINED = (
    Option("--fused", "WHAT", "fusions on top of the stack's, such as cross_entropy ('roofline stacks' explains them)"),
    Option("--train", "WHAT", "full (default), lora, or qlora: adapters over a base in 4 bits"),
    Option("--base-dtype", "DTYPE", "how the frozen base is stored: {base_words} (default 16 bits; nf4 with qlora)"),
    Option("--double-quant", _SWITCHES, "scales of an nf4 or fp4 base are quantised as well (default)"),
    Option(
        "--base-upcast",
        "WHAT",
        "what of a base that bitsandbytes quantised is cast to fp32 (PEFT's prepare_model_for_kbit_training): none, "
        "norms (TRL with bf16), or all that is not quantised (default the stack's)",
    ),
    Option("--lora-variant", "NAME", "lora (default), rslora or dora"),
    Option("--lora-dropout", "P", "dropout on the input of each adapter (default 0)"),
    Option("--lora-rank", "R", "rank of the adapters (default 16)"),
    Option(
        "--lora-modules",
        "WHICH",
        "projections with adapters: all (default), attention, mlp, or names joined with commas{here}: "
        f"{', '.join(MODULES[3:])}",
    ),
    Option(
        "--freeze",
        "WHAT",
        "what takes no gradient, joined with commas: embeddings (the token table, with a tied head's weight), "
        "positions, towers (encoders of images and sound, not what joins them to the language model)",
    ),
)
_PARALLEL = (
    Option("--tp", "N", "tensor-parallel degree"),
    Option("--pp", "N", "pipeline stages"),
    Option("--vp", "N", "virtual stages per device (interleaved pipeline)"),
    Option("--dp", "N", "data-parallel degree (default what the rest leaves)"),
    Option("--cp", "N", "context-parallel degree (splits the sequence)"),
    Option("--ep", "N", "expert-parallel degree"),
    Option(
        "--etp",
        "N",
        "tensor-parallel degree of the experts (default 1 with sequence parallelism, or tp)",
        searched="several, or all that divide the experts, are searched together",
    ),
    Option(
        "--sharding",
        "HOW",
        f"what data parallelism shards: {', '.join(SHARDINGS)} (default the stack's; none on one rank)",
    ),
    Option("--dp-shard", "N", "ranks that share one copy with hsdp or hzero1 (default those of a node)"),
    Option("--sync-each-batch", _SWITCHES, "reduce gradients of fsdp in every micro batch (default as the stack does)"),
    Option(
        "--sequence-parallel", _SWITCHES, "shard norms and residuals over tp as well (default wherever the stack does)"
    ),
    Option(
        "--schedule",
        "NAME",
        "pipeline schedule: gpipe, 1f1b, interleaved, zb-h1, ... (default the stack's; 1f1b, interleaved with --vp)",
        searched="several, or all that the stack has, are searched together",
    ),
    Option(
        "--pp-layout",
        "LAYERS",
        "layers of each pipeline stage, such as 7,8,8,7 or Megatron's 'Et*7|t*8|t*8|t*7L' (default spread evenly)",
    ),
    Option(
        "--dispatcher",
        "NAME",
        "how tokens reach experts: alltoall, allgather, deepep or hybridep (default the stack's)",
    ),
    Option(
        "--expert-balance",
        "HOW",
        f"{', '.join(IMBALANCE)} (default natural), or tokens of the fullest expert rank over the mean",
    ),
    Option(
        "--exchange-overlap",
        _SWITCHES,
        "tokens travel to experts beside another micro batch's compute (default as far as the stack does)",
    ),
    Option(
        "--cuda-graph",
        "WHAT",
        "what is captured in CUDA graphs: none (default), partial (all but the experts) or full (the iteration)",
    ),
)


def add_training_arguments(parser: argparse.ArgumentParser, *, sweeps: bool = False, searches: bool = False) -> None:
    """Add everything that decides how the model is trained.

    With `sweeps`, numbers read lists (``1,2,4``) and ranges (``2k:64k``) into tuples, words lists. With
    `searches`, options of which a search takes several or all read lists and ``all``.
    """
    add_run_file_arguments(parser)
    ranges = "any option but names takes a list (1,2,4), doublings (2k:64k) or steps (8:32:8): every combination is run"
    training = parser.add_argument_group("training", ranges if sweeps else None)
    parallel = parser.add_argument_group("parallel layout")
    for group, options in (
        (training, (*_AMOUNTS, *_METHODS, *_PRECISION, *_OFFLOAD, *_TRAINED)),
        (parallel, _PARALLEL),
    ):
        for option in options:
            _add(group, option, sweeps=sweeps, searches=searches)
    parallel.add_argument(
        "--network-gbit",
        "--network-bandwidth",
        dest="network_gbit_per_s",
        metavar="Gbit/s",
        type=_reader("network_gbit_per_s", sweeps=sweeps),
        action="store" if sweeps else Once,
        help="network per device, one way (default that of the device's usual server)",
    )


def _add(group: Any, option: Option, *, sweeps: bool, searches: bool) -> None:
    """Add one option; not given, it is None: the default is `TrainConfig`'s."""
    text = option.text
    if option.metavar == _SWITCHES:
        added = group.add_argument(option.flag, action=argparse.BooleanOptionalAction, default=None, help=text)
    elif not option.metavar:
        const = not option.flag.startswith("--no-")
        added = group.add_argument(option.flag, dest=option.dest, action="store_const", const=const, help=text)
    else:
        read = _reader(option.dest, sweeps=sweeps)
        if searches and option.searched:
            read, text = _or_all(_reader(option.dest, sweeps=True)), f"{text}; {option.searched}"
        added = group.add_argument(option.flag, dest=option.dest, metavar=option.metavar, type=read, help=text)
    if "{" in text:
        added.filled = partial(_filled, text, sweeps=sweeps)


def _filled(text: str, *, sweeps: bool) -> str:
    """The help of an option with the words that it lists, and how several values are joined."""
    return text.format(
        joint="+" if sweeps else "commas",
        here=" (here with +)" if sweeps else "",
        recompute_modules=", ".join(recompute_modules()),
        base_words=", ".join(base_words()),
    )


class Once(argparse.Action):
    """An option that cannot be given twice: the first value would be lost."""

    def __call__(
        self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, _option: str | None = None
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


def sweep(read: Callable[[str], int]) -> Callable[[str], int | tuple[int, ...]]:
    """Make a reader of one value also read lists (``1,2,4``), doublings (``2k:64k``) and steps (``8:32:8``).

    >>> [sweep(units.positive_int)(text) for text in ("4", "1,2,4,8", "8:32:8")]
    [4, (1, 2, 4, 8), (8, 16, 24, 32)]
    >>> sweep(units.sequence_length)("2k:16k")
    (2048, 4096, 8192, 16384)
    """

    def read_sweep(text: str) -> int | tuple[int, ...]:
        if ":" not in text and "," not in text:
            if written := re.fullmatch(r"\s*([\w.]*\w)\s*(?:-|\.\.)\s*(\w[\w.]*)\s*", text):
                first, last = written.groups()
                raise units.UnitError(
                    f"{text!r} is not a range: write {first}:{last} for doublings, {first}:{last}:1 for each"
                )
            return read(text)
        if ":" not in text:
            if re.search(r",0\d", text):
                raise units.UnitError(f"{text!r} reads as a list of values: write one value without commas")
            return tuple(read(part) for part in text.split(","))
        ends = text.split(":")
        if len(ends) > 3:
            raise units.UnitError(f"{text!r} is not a range: give first:last (doubling) or first:last:step")
        first, last, *step = (read(part) for part in ends)
        values = [first]
        while len(values) <= LONGEST_SWEEP and (following := values[-1] + (step or values[-1:])[0]) <= last:
            values.append(following)
        if first > last or len(values) > LONGEST_SWEEP:
            raise units.UnitError(f"{text!r} is out of range: from small to large, and at most {LONGEST_SWEEP} values")
        return tuple(values)

    return read_sweep


def _or_all(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a reader also take ``all``, of which a search tries every value."""
    return lambda text: text if text == "all" else read(text)


def _reader(field: str, *, sweeps: bool) -> Callable[[str], Any]:
    """The reader of a field's text: of lists and ranges as well with `sweeps`."""
    if field in LISTS:
        return LISTS[field]
    if field in NUMBERS:
        return sweep(NUMBERS[field]) if sweeps else _single(NUMBERS[field])
    read = WORDS[field]
    if field == "recompute":
        return _recomputes if sweeps else read
    if field == "lora_modules" and not sweeps:
        return read  # commas join what is one value
    return (lambda text: _several(text, read)) if sweeps else _single(read)


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


def _several(text: str, read: Callable[[str], Any]) -> Any:
    """One value, or several joined with commas."""
    values = tuple(read(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def _recomputes(text: str) -> str | tuple[str, ...]:
    """One way to recompute, or several: commas between modules alone join them."""
    parts = text.split(",")
    several = any(part in RECOMPUTES or ":" in part or part == "matmuls" for part in parts)
    read = WORDS["recompute"]
    found: str | tuple[str, ...] = _several(text, read) if several else read(text)
    return found
