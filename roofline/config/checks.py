"""Whether a configuration can be: words, numbers, degrees and batch, against each other, the model and the device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

from ..arrays import first_where, is_scalar
from ..errors import RooflineError, shown, unknown
from ..model.spec import Mlp, ModelConfig, Moe
from .base import PLAIN, base_dtype, base_dtypes, base_words
from .dispatch import dispatchers
from .lora import LORA_RANK, MODULES, module_words
from .optimizer import optimizers
from .recipes import recipes
from .recompute import RECOMPUTES, read_recompute
from .run import (
    ATTENTIONS,
    BYTES,
    COUNTS,
    DTYPES,
    FREEZES,
    GRAPHS,
    IMBALANCE,
    LARGEST,
    MASTERS,
    PACKINGS,
    TRAINS,
    UPCASTS,
    VARIANTS,
    TrainConfig,
    known,
)
from .schedules import pipeline_schedule
from .sharding import SHARDINGS
from .stack import Fusion, load_stack, stack_names
from .towers import check_towers

if TYPE_CHECKING:
    from ..hardware import Device


def check_attention(device: Device, kernel: Any) -> None:
    """Refuse an attention kernel that does not run on a device.

    Raises:
        RooflineError: The kernel needs another architecture; those that run are named.
    """
    family = device.family
    if kernel in ATTENTIONS and kernel not in family.attention:
        raise RooflineError(
            f"attention {kernel!r} does not run on {device.id} ({family.name}): "
            f"use {', '.join(family.attention[:-1])} or {family.attention[-1]}"
        )


def check_engine(device: Device, dtype: str) -> None:
    """Refuse operands whose scales the matrix engines of a device do not read.

    Raises:
        RooflineError: What it can run instead.
    """
    if dtype == "mxfp8" and "fp4" not in device.peaks:  # engines that read scales per block came with 4-bit ones
        instead = "fp8" if "fp8" in device.peaks else "bf16"
        raise RooflineError(
            f"dtype mxfp8 needs matrix engines that read a scale per block, and those of {device.id} "
            f"({device.family.name}) do not: use {instead}"
        )


def check_trains(stack: str) -> None:
    """Refuse a software profile that cannot train.

    Raises:
        RooflineError: It is an inference engine; those that train are named.
    """
    if load_stack(stack).trains:
        return
    others = ", ".join(name for name in stack_names() if load_stack(name).trains)
    raise RooflineError(f"stack {stack!r} only serves: add --phase prefill or decode, or train with {others}")


def check_words(train: TrainConfig) -> None:
    """Refuse a word outside its list."""
    for what, got, allowed in (
        ("dtype", train.dtype, DTYPES),
        ("sharding", train.sharding, SHARDINGS),
        ("recompute", train.recompute, RECOMPUTES),
        ("attention", train.attention, ATTENTIONS),
        ("optimizer", train.optimizer, optimizers()),
        ("train", train.train, TRAINS),
        ("CUDA graph", train.cuda_graph, GRAPHS),
        ("packing", train.packing or PACKINGS[0], PACKINGS),
        ("upcast of a base", train.base_upcast or UPCASTS[0], UPCASTS),
        *(("base dtype", word, base_words()) for word in {train.base_dtype} - {None, *PLAIN}),
        ("adapter variant", train.lora_variant or VARIANTS[0], VARIANTS),
        *([("expert balance", train.expert_balance, IMBALANCE)] if isinstance(train.expert_balance, str) else []),
        *(("lora module", word, MODULES) for word in module_words(train.lora_modules or "all")),
        *(("word in freeze:", word, FREEZES) for word in train.freeze),
        *(("moment dtype", word, BYTES) for word in train.moment_dtype),
        *(("gradient dtype", word, BYTES) for word in filter(None, (train.gradient_dtype,))),
        *(("master dtype", word, MASTERS) for word in filter(None, (train.master_dtype,))),
    ):
        if not isinstance(got, str) or got not in allowed:
            raise unknown(what, str(got), allowed)
    detail = train.recompute_detail
    if detail is not None and detail != (ours := read_recompute(detail)):
        raise RooflineError(f"recompute_detail {detail!r}: write {ours!r}")
    if train.low_precision_recipe is not None and train.low_precision_recipe not in recipes():
        raise unknown("fp8 recipe", str(train.low_precision_recipe), recipes())
    if train.schedule is not None:
        _check_schedule(train)
    if train.dispatcher is not None and train.dispatcher not in dispatchers():
        raise unknown("dispatcher", str(train.dispatcher), dispatchers())
    for word in train.fused:
        if word not in get_args(Fusion):
            raise unknown("fusion", str(word), get_args(Fusion))
    if not isinstance(train.stack, str):
        raise RooflineError(f"stack must be the name of a software profile, got {train.stack!r}")
    for flag in ("sequence_parallel", "dropout", "master_weights"):
        if not isinstance(getattr(train, flag), bool):
            raise RooflineError(f"{flag} must be True or False, got {getattr(train, flag)!r}")


def _check_schedule(train: TrainConfig) -> None:
    """A schedule that exists, with the virtual stages it needs."""
    name = str(train.schedule)
    plan = pipeline_schedule(name)
    needed = plan.chunks
    bad = first_where(train.vp != needed, train.vp) if needed else None
    if bad is not None:
        raise RooflineError(f"schedule {name} runs {needed} chunks on each device: set --vp {needed} (got {bad[0]})")
    odd = first_where(train.pp % 2 != 0, train.pp) if plan.placement == "both_ends" else None
    if odd is not None:
        raise RooflineError(f"schedule {name} pairs the first stage with the last: set an even --pp (got {odd[0]})")
    if not plan.divided and not needed:
        bad = first_where(train.vp > 1, train.vp)
        if bad is not None:
            raise RooflineError(f"schedule {name} has one stage on each device: leave --vp out (got {bad[0]})")


def check_numbers(train: TrainConfig) -> None:
    """Refuse a number that is none, or out of range."""
    for name in COUNTS:
        value = getattr(train, name)
        if value is not None:
            _check_count(name, value)
    for name in ("lora_rank", "offload_layers", "image_size"):
        value = getattr(train, name)
        if is_scalar(value) and value == 0:
            raise RooflineError(f"{name} must be a whole number of at least 1, got 0")
    size = train.image_size
    if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
        raise RooflineError(f"image_size must be one whole number of pixels, got {shown(size)}")
    network = train.network_gbit_per_s
    if network is not None:
        bad = first_where(1 - ((network > 0) & (network < math.inf)), network)
        if bad is not None:
            raise RooflineError(f"network_gbit_per_s must be above 0, got {bad[0]!r}")


def check_against(train: TrainConfig, model: ModelConfig) -> None:
    """Check the resolved configuration against the model."""
    if model.recorded is not None:
        from .recorded import check_recorded

        check_recorded(train)
    seq_len, positions = train.sequence_length, 0 if train.image_size else model.learned_positions  # these are resized
    if positions and model.patches is not None:  # registers have none
        positions = max(positions, model.patches.number() + model.patches.beside)
    longer = first_where(seq_len > positions, seq_len) if positions else None
    if longer is not None:
        raise RooflineError(
            f"seq_len {longer[0]} is longer than the {model.learned_positions} learned positions of "
            f"{model.name}: shorten it, or widen the model with --set learned_positions={longer[0]}"
        )
    offloaded = train.offload_layers
    beyond = None if offloaded is None else first_where(offloaded > model.n_layers, offloaded)
    if beyond is not None:
        raise RooflineError(f"offload_layers {beyond[0]}: {model.name} has {model.n_layers} layers: use at most that")
    _check_lengths(train)
    check_towers(train, model)
    _check_batch(train)
    _check_degrees(train, model)
    _check_lora(train, model)
    _check_base(train)


def _check_count(name: str, value: Any) -> None:
    """A number of things, or an array of them: whole, at least 1, below anything that exists."""
    if hasattr(value, "dtype"):
        wrong = first_where(~((value >= 1) & (value <= LARGEST)) | (value != value.round()), value)
        value = 1 if wrong is None else wrong[0]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
        raise RooflineError(f"{name} must be a whole number from 1 to {LARGEST:,}, got {shown(value)}")


def _check_lora(train: TrainConfig, model: ModelConfig) -> None:
    rank = train.lora_rank
    if rank is not None and not is_scalar(rank):
        raise RooflineError(f"lora_rank must be one whole number, got {shown(rank)}")
    if not train.adapts:
        for name in ("lora_rank", "lora_modules", "lora_variant", "lora_dropout"):
            if (value := getattr(train, name)) is not None:
                option = name.replace("_", "-")
                raise RooflineError(f"{name} {value!r} without train 'lora': add --train lora, or leave --{option} out")
        return
    if train.freeze:
        raise RooflineError(
            f"freeze {', '.join(train.freeze)} with train {train.train!r}, which trains adapters alone: leave "
            "--freeze out"
        )
    rank = LORA_RANK if rank is None else rank
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank < model.d_model:
        raise RooflineError(
            f"lora_rank must be a whole number from 1 to below d_model {model.d_model}, got {rank!r}: 8 to 64 is common"
        )
    if train.lora_modules == "attention" and all(group.attention is None for group in model.groups):
        raise RooflineError(f"lora_modules 'attention': {model.name} has no attention; use --lora-modules all")


def _check_lengths(train: TrainConfig) -> None:
    """Samples no longer than the longest."""
    if train.mean_len is None:
        if train.packing is not None:
            raise RooflineError(f"packing {train.packing} is of samples shorter than seq_len: add --mean-len")
        return
    bad = first_where(train.mean_len > train.sequence_length, train.mean_len, train.sequence_length)
    if bad is not None:
        raise RooflineError(f"mean_len {bad[0]} is above seq_len {bad[1]}, the longest: use at most that")


def _check_base(train: TrainConfig) -> None:
    """A base that is quantised is frozen, and is dequantised to 16 bits or 32."""
    name, known = train.base_dtype, base_dtype(train.base_dtype)
    if train.double_quant and (known is None or not known.double_block):
        twice = ", ".join(other for other, kind in base_dtypes().items() if kind.double_block)
        raise RooflineError(
            f"double_quant is of scales in blocks: add --base-dtype with one of {twice}, or leave it out"
        )
    _check_upcast(train)
    if known is None:
        return
    if not train.adapts:
        raise RooflineError(
            f"base_dtype {name} with train 'full': quantised weights take no gradient: use --train qlora or lora "
            "(adapters over them), or leave --base-dtype out"
        )
    if train.dtype in {"fp8", "fp4"}:
        raise RooflineError(
            f"base_dtype {name} with dtype {train.dtype}: the weights are dequantised to 16 bits for each matmul: "
            "use --dtype bf16"
        )


def _check_upcast(train: TrainConfig) -> None:
    """Norms in fp32 beside 16-bit weights: of a base that layers of bitsandbytes hold."""
    word = train.base_upcast
    if word in {None, UPCASTS[0]}:
        return
    able = [name for name, kind in base_dtypes().items() if kind.returns_input_dtype]
    if train.base_dtype not in able:
        raise RooflineError(
            f"base_upcast {word} is of a base in {', '.join(able)}: add --base-dtype with one of these, or leave it out"
        )


def _check_batch(train: TrainConfig) -> None:
    global_batch, per_pass = known(train.global_batch), train.micro_batch * train.data_parallel
    bad = first_where(global_batch % per_pass != 0, global_batch, per_pass, train.micro_batch, train.data_parallel)
    if bad is not None:
        total, each, micro_batch, dp = bad
        below = total // each * each
        raise RooflineError(
            f"global_batch {total} is not micro_batch {micro_batch} x dp {dp} x a whole "
            f"number of accumulation steps: use {' or '.join(str(v) for v in (below, below + each) if v)}"
        )


def _check_degrees(train: TrainConfig, model: ModelConfig) -> None:
    shared = any(group.shares_weights for group in model.groups)
    several = first_where(train.pp > 1, train.pp) if shared else None
    if several is not None:
        raise RooflineError(
            f"pp {several[0]} would put layers of {model.name} that share weights on different stages: leave --pp out"
        )
    rules: list[tuple[str, Any, str, Any]] = [("pp*vp", train.pp * train.vp, "layers", model.n_layers)]
    for group in model.groups:
        if group.attention is not None:
            rules.append(("tp", train.tp, "attention heads", group.attention.n_heads))
        width = group.mlp.d_ff if isinstance(group.mlp, Mlp) else None
        if width is not None:
            rules.append(("tp", train.tp, "feed-forward width", width))
        if isinstance(group.mlp, Moe):
            rules.append(("ep", train.ep, "experts", group.mlp.n_experts))
    rules.append(("cp", train.cp, "seq_len", train.seq_len))
    for degree_name, degree, what, total in rules:
        # embedding and head may count as layers
        bad = first_where(degree > total + 2 if what == "layers" else total % degree != 0, degree, total)
        if bad is None:
            continue
        got, of = bad
        if what == "layers":
            raise RooflineError(
                f"{degree_name} = {got} is more than the model's {of} layers, embedding and head: use at most {of + 2}"
            )
        raise RooflineError(
            f"{degree_name} {got} does not divide the {of} {what} (remainder {of % got}): use {_divisors(of, got)}"
        )
    bad = first_where((train.vp > 1) & (train.pp == 1), train.vp)
    if bad is not None:
        raise RooflineError(f"vp {bad[0]} splits pipeline stages, and there is one: add --pp, or leave --vp out")
    if train.pp_layout is not None:
        _check_stages(train, model, train.pp_layout)
    _check_expert_parallel(train, model)


def check_sharding(train: TrainConfig) -> None:
    """Refuse replicas where all ranks share, or that they do not divide into, and syncs of what is not FSDP.

    Raises:
        RooflineError: Which sharding has them, or which sizes divide.
    """
    if train.sync_each_batch is not None and not SHARDINGS[train.sharding].wraps:
        word = "sync-each-batch" if train.sync_each_batch else "no-sync-each-batch"
        raise RooflineError(f"--{word} is of sharding fsdp and hsdp, not of {train.sharding}: leave it out")
    size = train.dp_shard
    if size is None:
        return
    if not SHARDINGS[train.sharding].node:
        raise RooflineError(
            f"dp_shard {size} with sharding {train.sharding}, which has no replicas: add --sharding hsdp (or hzero1), "
            "or leave --dp-shard out"
        )
    ranks = train.data_parallel * train.cp
    bad = first_where(ranks % size != 0, ranks, size)
    if bad is not None:
        total, group = bad
        raise RooflineError(f"dp_shard {group} does not divide dp*cp = {total}: use {_divisors(total, group)}")


def _check_stages(train: TrainConfig, model: ModelConfig, layout: str) -> None:
    """A layout of stages deals out the model's layers over pp * vp chunks."""
    from .stage_layout import chunk_layers

    chunks = len(chunk_layers(layout, model))
    bad = first_where(train.pp * train.vp != chunks, train.pp, train.vp)
    if bad is not None:
        pp, vp = bad
        what = f"pp*vp = {pp}*{vp} = {pp * vp}" if vp > 1 else f"pp is {pp}"
        raise RooflineError(f"pp_layout has {chunks} stages, and {what}: make them equal")


def _check_expert_parallel(train: TrainConfig, model: ModelConfig) -> None:
    expert = any(isinstance(group.mlp, Moe) for group in model.groups)
    several = None if expert else first_where(train.ep > 1, train.ep)
    if several is not None:
        raise RooflineError(f"ep {several[0]} needs a mixture of experts, and {model.name} has none: leave --ep out")
    if is_scalar(train.ep, train.data_parallel, train.cp, train.tp, train.expert_tensor_parallel):
        _check_expert_ranks(train)


def _check_expert_ranks(train: TrainConfig) -> None:
    """Expert groups lie in dp * cp * tp / etp ranks (parallel folding: arXiv:2504.14960)."""
    etp = train.expert_tensor_parallel
    if etp != train.tp and not train.sequence_parallel and train.tp > 1:
        raise RooflineError(
            f"etp {etp} differs from tp {train.tp}: without sequence parallelism every tp rank has every token, so "
            "experts are split as the other layers are; add --sequence-parallel, or leave --etp out"
        )
    total = train.data_parallel * train.cp * train.tp
    if total % etp:
        raise RooflineError(f"etp {etp} does not divide dp*cp*tp = {total}: use {_divisors(total, etp)}")
    ranks = total // etp
    what = "dp*cp" if etp == train.tp else "dp*cp*tp" if etp == 1 else "dp*cp*tp/etp"
    if ranks % train.ep:
        more = f", or {train.ep * -(-ranks // train.ep)} such ranks"
        alone = train.sequence_parallel or train.tp == 1
        more += "" if alone else ", or --sequence-parallel, which spreads experts over tp too"
        raise RooflineError(
            f"ep {train.ep} does not divide {what} = {ranks} (remainder {ranks % train.ep}): "
            f"use {_divisors(ranks, train.ep)}{more}"
        )


def _divisors(total: Any, near: Any) -> str:
    """The divisors of `total` next to `near`, in words.

    >>> _divisors(32, 12), _divisors(25, 64)
    ('8 or 16', '25')
    """
    near = min(near, total, 10**5)
    below = next(value for value in range(near, 0, -1) if total % value == 0)
    above = next((value for value in range(near + 1, min(total, 8 * near) + 1) if total % value == 0), None)
    return f"{below} or {above}" if above is not None else str(below)
