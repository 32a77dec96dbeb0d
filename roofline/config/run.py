"""How a model is trained: batch, dtype, parallel layout, recompute, kernels; checked for consistency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from ..arrays import Number, divide, first_where, is_scalar, some, where
from ..errors import RooflineError, unknown
from ..model.spec import Mlp, ModelConfig, Moe, default_seq_len
from .dispatch import dispatchers
from .lora import MODULES, module_words
from .schedules import pipeline_schedule
from .stack import Fusion, load_stack, stack_names

if TYPE_CHECKING:
    from ..hardware import Device

DTYPES = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4")
SHARDINGS = ("none", "zero1", "zero2", "zero3", "fsdp", "hsdp")
RECOMPUTES = ("none", "selective", "full")
ATTENTIONS = ("unfused", "flash1", "flash2", "flash3", "te")
OPTIMIZERS = ("adamw", "adamw-8bit", "sgd", "sgd-momentum")
TRAINS = ("full", "lora")
FREEZES = ("embeddings", "positions")
COUNTS = (
    "micro_batch",
    "global_batch",
    "seq_len",
    "num_devices",
    "devices_per_node",
    "tp",
    "pp",
    "vp",
    "dp",
    "cp",
    "ep",
    "etp",
)
# The fullest expert rank sets the pace. A router that is forced to balance, and one that drops what exceeds capacity
# factor 1, have none; a learned one is assumed to give it a quarter more (the capacity factor that arXiv:2101.03961,
# section 2.2, trains with).
IMBALANCE = {"forced": 1.0, "dropped": 1.0, "natural": 1.25}
GRAPHS = ("none", "partial", "full")
LARGEST = 10**12  # sequences, tokens or devices: more is a typing error
FILL = 4  # micro batches per pipeline stage where no global batch is given: a fifth of the step is bubble


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One way to train a model. Every number may be an array: a batch of layouts is one configuration.

    Attributes:
        micro_batch: Sequences per device group and pass.
        global_batch: Sequences per optimizer step, all devices; None: one micro batch per data-parallel rank, or four
            per pipeline stage.
        seq_len: Tokens per sequence; None: the model's own (see `resolve`).
        dtype: What the matmuls run in; fp8 and fp4 keep everything but the linear layers in bf16.
        num_devices: Devices in all: tp * pp * cp * dp.
        devices_per_node: Devices that share a node; None: the device's usual.
        tp, pp, vp, cp, ep: Degrees of tensor, pipeline, virtual pipeline (stages per device), context and expert
            parallelism.
        dp: Data-parallel degree; None: num_devices / (tp * pp * cp).
        sharding: What data parallelism shards: none, zero1 (optimizer), zero2 (and gradients), zero3 or fsdp (and
            parameters), hsdp (fsdp inside a node, replicated across nodes).
        sequence_parallel: Whether norms and residuals are sharded over tp (Korthikanti et al., arXiv:2205.05198).
        recompute: none, selective (attention core) or full (every layer's forward pass).
        attention: Kernel generation: unfused, flash1, flash2, flash3 or te (cuDNN through Transformer Engine). Where
            nothing is said, `estimate` and its like take the stack's (`Stack.attention`).
        optimizer: adamw, adamw-8bit, sgd or sgd-momentum.
        stack: The software profile: what is fused, what overlaps, what a launch costs.
        dropout: Whether dropout runs (masks are kept, and unfused dropout is a kernel of its own).
        train: full, or lora (adapters only).
        lora_rank: Rank of the adapters.
        lora_modules: Which projections have adapters: all (default), attention, mlp (experts as well), or names such as
            ``q_proj,v_proj``.
        freeze: What takes no gradient: embeddings (the token look-up table, with a tied head's weight), positions
            (learned positions and token types).
        fused: Fusions on top of the stack's (see `stacks.Fusion`).
        network_gbit_per_s: Network of one device, one way; None: the device's usual.
        etp: Tensor-parallel degree of the experts; None: 1 under sequence parallelism, else tp (see `feedforward.moe`).
        schedule: The pipeline schedule (`schedules`); None: 1f1b, interleaved with virtual stages.
        dispatcher: How tokens travel to experts: alltoall, allgather, deepep, hybridep (`dispatch`); None: the stack's.
        expert_balance: forced, dropped, natural, or tokens of the fullest expert rank over the mean.
        cuda_graph: What is captured in CUDA graphs: none, partial (all but the experts), or full (the iteration).
        master_weights: Whether 16-bit training keeps fp32 weights (mixed precision); False is pure bf16.
    """

    micro_batch: Number = 1
    global_batch: Number | None = None
    seq_len: Number | None = None
    dtype: str = "bf16"
    num_devices: Number = 1
    devices_per_node: Number | None = None
    tp: Number = 1
    pp: Number = 1
    vp: Number = 1
    dp: Number | None = None
    cp: Number = 1
    ep: Number = 1
    etp: Number | None = None
    sharding: str = "none"
    sequence_parallel: bool = False
    recompute: str = "none"
    attention: str = "flash2"
    optimizer: str = "adamw"
    stack: str = "compiled"
    dropout: bool = False
    train: str = "full"
    lora_rank: int | None = None
    lora_modules: str | None = None
    freeze: tuple[str, ...] = ()
    fused: tuple[str, ...] = ()
    network_gbit_per_s: Number | None = None
    master_weights: bool = True
    schedule: str | None = None
    dispatcher: str | None = None
    expert_balance: str | float = "natural"
    cuda_graph: str = "none"

    @property
    def expert_tensor_parallel(self) -> Number:
        """Devices that share each expert: whole ones where sequence parallelism deals tokens out to the tp ranks."""
        return self.etp if self.etp is not None else 1 if self.sequence_parallel else self.tp

    @property
    def imbalance(self) -> float:
        """Tokens of the fullest expert rank over the mean."""
        return IMBALANCE[self.expert_balance] if isinstance(self.expert_balance, str) else self.expert_balance

    @property
    def data_parallel(self) -> Number:
        """Data-parallel degree, known after `resolve`."""
        return _known(self.dp)

    @property
    def sequence_length(self) -> Number:
        """Tokens per sequence, known after `resolve`."""
        return _known(self.seq_len)

    @property
    def accumulation(self) -> Number:
        """Micro batches per device group and optimizer step."""
        steps: Number = divide(_known(self.global_batch), self.micro_batch * self.data_parallel)
        return steps

    @property
    def tokens_per_step(self) -> Number:
        """Tokens per optimizer step, all devices."""
        return _known(self.global_batch) * self.sequence_length

    @property
    def shards_parameters(self) -> bool:
        """Whether each device keeps only a slice of the parameters between uses."""
        return self.sharding in {"zero3", "fsdp", "hsdp"}

    @property
    def reduces_every_pass(self) -> bool:
        """Whether gradients are reduced, and only a slice of them kept, after every micro batch."""
        return self.shards_parameters or self.sharding == "zero2"

    @property
    def activation_bytes(self) -> int:
        """Bytes of one activation element outside low-precision matmuls."""
        return 4 if self.dtype in {"fp32", "tf32"} else 2

    @property
    def compute_dtype(self) -> str:
        """The dtype of matmuls that stay out of fp8/fp4 (attention, head, router)."""
        return "bf16" if self.dtype in {"fp8", "fp4"} else self.dtype


def _known(value: Number | None) -> Number:
    """A field that `resolve` has filled."""
    if value is None:
        raise RooflineError("this configuration is incomplete: training.resolve() fills what follows from the rest")
    return value


def train_config(options: Mapping[str, Any]) -> TrainConfig:
    """Build a TrainConfig from keyword options, naming an unknown one with its nearest.

    >>> train_config({"micro_batch": 4}).micro_batch
    4
    """
    fields = TrainConfig.__struct_fields__
    for key in options:
        if key not in fields:
            raise unknown("option", key, fields)
    given = _given(options)
    if isinstance(given.get("lora_modules"), (list, tuple)):
        given["lora_modules"] = ",".join(map(str, given["lora_modules"]))
    if isinstance(given.get("freeze"), (str, list)):
        words = given["freeze"]
        given["freeze"] = tuple(words.split(",") if isinstance(words, str) else words)
    degrees = [given.get(name, 1) for name in ("tp", "pp", "cp")]
    if not {"num_devices", "dp"} & set(given) and all(type(degree) is int and degree > 0 for degree in degrees):
        given["num_devices"] = degrees[0] * degrees[1] * degrees[2]  # as many as the degrees need
    return TrainConfig(**given)


def defaults(device: Device, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options`, with the dtype, the software profile and its attention kernel where they do not say."""
    given = {"dtype": default_dtype(device), "stack": default_stack(device, options), **_given(options)}
    if isinstance(given["stack"], str):
        check_trains(given["stack"])
        given = {"attention": default_attention(device, given["stack"]), **given}
    check_attention(device, given.get("attention"))
    return given


def default_dtype(device: Device) -> str:
    """What training runs in where nothing is said: bf16; fp16 on a GPU without it, fp32 on a CPU without it."""
    wanted = ("bf16", "fp32") if device.kind == "cpu" else ("bf16", "fp16", "fp32")
    return next((dtype for dtype in wanted if dtype in device.peaks), "bf16")


def default_attention(device: Device, stack: str) -> str:
    """The kernel of a software profile; unfused attention where that does not run on the device."""
    kernel = load_stack(stack).attention
    return kernel if kernel in device.family.attention else "unfused"


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


def check_trains(stack: str) -> None:
    """Refuse a software profile that cannot train.

    Raises:
        RooflineError: It is an inference engine; those that train are named.
    """
    if load_stack(stack).trains:
        return
    others = ", ".join(name for name in stack_names() if load_stack(name).trains)
    raise RooflineError(f"stack {stack!r} only serves: add --phase prefill or decode, or train with {others}")


def default_stack(device: Device, options: Mapping[str, Any]) -> str:
    """The software profile of `device` where nothing is said (see `usual_stack`)."""
    return usual_stack(device.kind, options)


def usual_stack(kind: str, options: Mapping[str, Any]) -> str:
    """The software profile where nothing is said: what such a layout is usually trained with.

    JAX on a TPU; Megatron-Core (nemo) for tensor, pipeline, context or expert parallelism; FSDP where parameters are
    sharded; else PyTorch with torch.compile.
    """
    if kind == "tpu":
        return "jax"
    if any(some(options.get(degree, 1) != 1) for degree in ("tp", "pp", "cp", "ep")):
        return "nemo"
    return "fsdp" if options.get("sharding") in {"zero3", "fsdp", "hsdp"} else "compiled"


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def resolve(train: TrainConfig, model: ModelConfig) -> TrainConfig:
    """Fill what follows from the rest (seq_len, dp, num_devices, global_batch) and check what can be checked.

    Of arrays every element is checked, but not whether ep fits the ranks: `layouts` counts ops on a grid of degrees
    before it deals them out to devices.

    Raises:
        RooflineError: A word outside its list, a number out of range, or degrees that do not divide.
    """
    _check_words(train)
    _check_numbers(train)
    seq_len = train.seq_len if train.seq_len is not None else default_seq_len(model)
    group = train.tp * train.pp * train.cp
    num_devices, dp = train.num_devices, train.dp
    if dp is None:
        bad = first_where(num_devices % group != 0, num_devices, group, train.tp, train.pp, train.cp)
        if bad is not None:
            devices, ranks, tp, pp, cp = bad
            raise RooflineError(
                f"num_devices {devices} is not a multiple of tp*pp*cp = {tp}*{pp}*{cp} = {ranks} "
                f"(remainder {devices % ranks}): use {-(-devices // ranks) * ranks} devices or smaller degrees"
            )
        dp = divide(num_devices, group)
    elif is_scalar(num_devices) and num_devices == 1:
        num_devices = group * dp
    else:
        bad = first_where(num_devices != group * dp, num_devices, group * dp, train.tp, train.pp, train.cp, dp)
        if bad is not None:
            devices, ranks, tp, pp, cp, data = bad
            raise RooflineError(
                f"num_devices {devices} differs from tp*pp*cp*dp = {tp}*{pp}*{cp}*{data} = {ranks}: "
                f"leave --dp out, or set --num-devices {ranks}"
            )
    global_batch = train.global_batch
    if global_batch is None:
        global_batch = train.micro_batch * dp * where(train.pp > 1, FILL * train.pp, 1)
    resolved = msgspec.structs.replace(
        train,
        seq_len=seq_len,
        dp=dp,
        num_devices=num_devices,
        global_batch=global_batch,
        lora_modules=train.lora_modules or ("all" if train.train == "lora" else None),
    )
    _check_against(resolved, model)
    return resolved


def _check_words(train: TrainConfig) -> None:
    for what, got, allowed in (
        ("dtype", train.dtype, DTYPES),
        ("sharding", train.sharding, SHARDINGS),
        ("recompute", train.recompute, RECOMPUTES),
        ("attention", train.attention, ATTENTIONS),
        ("optimizer", train.optimizer, OPTIMIZERS),
        ("train", train.train, TRAINS),
        ("CUDA graph", train.cuda_graph, GRAPHS),
        *([("expert balance", train.expert_balance, IMBALANCE)] if isinstance(train.expert_balance, str) else []),
        *(("lora module", word, MODULES) for word in module_words(train.lora_modules or "all")),
        *(("word in freeze:", word, FREEZES) for word in train.freeze),
    ):
        if not isinstance(got, str) or got not in allowed:
            raise unknown(what, str(got), allowed)
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
    needed = pipeline_schedule(name).chunks
    bad = first_where(train.vp != needed, train.vp) if needed else None
    if bad is not None:
        raise RooflineError(f"schedule {name} runs {needed} chunks on each device: set --vp {needed} (got {bad[0]})")
    if name != "interleaved" and not needed:
        bad = first_where(train.vp > 1, train.vp)
        if bad is not None:
            raise RooflineError(f"schedule {name} has one stage on each device: leave --vp out (got {bad[0]})")


def _check_numbers(train: TrainConfig) -> None:
    for name in COUNTS:
        value = getattr(train, name)
        if value is not None:
            _check_count(name, value)
    network = train.network_gbit_per_s
    if network is not None:
        bad = first_where(1 - ((network > 0) & (network < math.inf)), network)
        if bad is not None:
            raise RooflineError(f"network_gbit_per_s must be above 0, got {bad[0]!r}")


def _check_against(train: TrainConfig, model: ModelConfig) -> None:
    """Check the resolved configuration against the model."""
    seq_len = train.sequence_length
    longer = first_where(seq_len > model.learned_positions, seq_len) if model.learned_positions else None
    if longer is not None:
        raise RooflineError(
            f"seq_len {longer[0]} is longer than the {model.learned_positions} learned positions of "
            f"{model.name}: shorten it, or widen the model with --set learned_positions={longer[0]}"
        )
    _check_batch(train)
    _check_degrees(train, model)
    _check_lora(train, model)


def _check_count(name: str, value: Any) -> None:
    """A number of things, or an array of them: whole, at least 1, below anything that exists."""
    if hasattr(value, "dtype"):
        wrong = first_where(~((value >= 1) & (value <= LARGEST)) | (value != value // 1), value)
        value = 1 if wrong is None else wrong[0]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
        raise RooflineError(f"{name} must be a whole number from 1 to {LARGEST:,}, got {value!r}")


def _check_lora(train: TrainConfig, model: ModelConfig) -> None:
    rank = train.lora_rank
    if train.train == "full":
        if rank is not None:
            raise RooflineError(f"lora_rank {rank} without train 'lora': add --train lora, or leave --lora-rank out")
        if train.lora_modules is not None:
            raise RooflineError(
                f"lora_modules {train.lora_modules!r} without train 'lora': add --train lora, or leave "
                "--lora-modules out"
            )
        return
    if train.freeze:
        raise RooflineError(
            f"freeze {', '.join(train.freeze)} with train 'lora', which trains adapters alone: leave --freeze out"
        )
    if rank is None:
        raise RooflineError("train 'lora' needs --lora-rank (8 to 64 is common)")
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank < model.d_model:
        raise RooflineError(
            f"lora_rank must be a whole number from 1 to below d_model {model.d_model}, got {rank!r}: 8 to 64 is common"
        )
    if train.lora_modules == "attention" and all(group.attention is None for group in model.groups):
        raise RooflineError(f"lora_modules 'attention': {model.name} has no attention; use --lora-modules all")


def _check_batch(train: TrainConfig) -> None:
    global_batch, per_pass = _known(train.global_batch), train.micro_batch * train.data_parallel
    bad = first_where(global_batch % per_pass != 0, global_batch, per_pass, train.micro_batch, train.data_parallel)
    if bad is not None:
        total, each, micro_batch, dp = bad
        below = total // each * each
        raise RooflineError(
            f"global_batch {total} is not micro_batch {micro_batch} x dp {dp} x a whole "
            f"number of accumulation steps: use {' or '.join(str(v) for v in (below, below + each) if v)}"
        )


def _check_degrees(train: TrainConfig, model: ModelConfig) -> None:
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
            raise RooflineError(f"{degree_name} = {got} is more than the model's {of} layers: use at most {of}")
        raise RooflineError(
            f"{degree_name} {got} does not divide the {of} {what} (remainder {of % got}): use {_divisors(of, got)}"
        )
    bad = first_where((train.vp > 1) & (train.pp == 1), train.vp)
    if bad is not None:
        raise RooflineError(f"vp {bad[0]} splits pipeline stages, and there is one: add --pp, or leave --vp out")
    _check_expert_parallel(train, model)


def _check_expert_parallel(train: TrainConfig, model: ModelConfig) -> None:
    several = first_where(train.ep > 1, train.ep)
    if several is not None and not any(isinstance(group.mlp, Moe) for group in model.groups):
        raise RooflineError(f"ep {several[0]} needs a mixture of experts, and {model.name} has none: leave --ep out")
    if is_scalar(train.ep, train.data_parallel, train.cp, train.tp):
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
