"""How a model is trained: one configuration, and a complete one with what was said and what was assumed."""

from __future__ import annotations

import msgspec

from ..arrays import Number, divide
from ..constants import constant
from ..errors import RooflineError
from ..result import brief
from .recipes import Recipe, recipes, recipes_of
from .sharding import SHARDINGS

DTYPES = ("fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4")
ATTENTIONS = ("unfused", "flash1", "flash2", "flash3", "te")
TRAINS = ("full", "lora", "qlora")
VARIANTS = ("lora", "rslora", "dora")
UPCASTS = ("none", "norms", "all")  # `stack.Upcast`
FREEZES = ("embeddings", "positions", "towers")
PACKINGS = ("packed", "padded", "unpadded")
COUNTS = (
    "mean_len",
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
    "dp_shard",
)
# The fullest expert rank sets the pace; a router that is forced to balance, and one that drops what exceeds capacity
# factor 1, have none
IMBALANCE = {"forced": 1.0, "dropped": 1.0, "natural": constant("expert_imbalance")}
GRAPHS = ("none", "partial", "full")
OFFLOADS = ("optimizer", "parameters", "activations")
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1}  # of a number that is kept
MASTERS = {"fp32": 4, "fp16": 2, "bf16": 2, "split": 2}  # bytes beside a 16-bit weight
INCOMPLETE = "this configuration is incomplete: settle.resolve() fills what follows from the rest"
LARGEST = 10**12  # sequences, tokens or devices: more is a typing error


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One way to train a model. Every number may be an array: a batch of layouts is one configuration.

    None is what is not said. What `settle` gives back is complete: it says what each such field means, "none" or 0
    where there is none of it, and leaves to the device what is the device's (`complete.DEVICES_OWN`).

    Attributes:
        micro_batch: Sequences per device group and pass.
        global_batch: Sequences per optimizer step, all devices; None: one micro batch per data-parallel rank, or four
            per pipeline stage.
        seq_len: Tokens per sequence; None: the model's own (see `resolve`).
        mean_len: Tokens of a sample on average, where samples are shorter than the longest sequence, `seq_len`.
        packing: What becomes of them: packed (several share a sequence, and attend within themselves), padded (each
            fills a sequence, padding and all), or unpadded (each is computed at its own length); None: packed.
        images_per_sample: Images in a sample, on average, of a model that has an encoder of them; None: one.
        clips_per_sample: Clips of sound in a sample, likewise.
        image_size: Pixels of a side of an image; None: the encoder's usual.
        dtype: What the matmuls run in; fp8, mxfp8 and nvfp4 keep everything but the linear layers in bf16.
        low_precision_recipe: How fp8 operands are scaled: delayed, current, rowwise or blockwise (`recipes`); None: as
            the stack does.
        num_devices: Devices in all: tp * pp * cp * dp.
        devices_per_node: Devices that share a node; None: the device's usual.
        tp, pp, vp, cp, ep: Degrees of tensor, pipeline, virtual pipeline (stages per device), context and expert
            parallelism.
        dp: Data-parallel degree; None: num_devices / (tp * pp * cp).
        sharding: What data parallelism shards: none, zero1 (optimizer), zero2 (and gradients), zero3 or fsdp (and
            parameters); hzero1 and hsdp (zero1 and fsdp inside a group of ranks, replicated across groups).
        dp_shard: Ranks of data and context parallelism that share one copy with hzero1 or hsdp; None: those of a node.
        sync_each_batch: Whether FSDP reduces gradients in every micro batch, and keeps slices of them alone; else whole
            ones are summed and reduced in the last (`no_sync`); None: as the stack does.
        sequence_parallel: Whether norms and residuals are sharded over tp (Korthikanti et al., arXiv:2205.05198).
        recompute: none, selective (the stack's, or what `recompute_detail` says) or full (every layer's forward pass).
        recompute_detail: What runs again, where it is neither every layer nor the stack's selection: modules joined
            with commas, or a form with a number (`recompute.read_recompute`).
        attention: Kernel generation: unfused, flash1, flash2, flash3 or te (cuDNN through Transformer Engine). Where
            nothing is said, `estimate` and its like take the stack's (`Stack.attention`).
        optimizer: adamw, adamw-8bit, lion, muon, ... (`optimizer`).
        stack: The software profile: what is fused, what overlaps, what a launch costs.
        dropout: Whether dropout runs (masks are kept, and unfused dropout is a kernel of its own).
        train: full, lora (adapters only), or qlora (adapters over a base in 4 bits).
        lora_rank: Rank of the adapters.
        base_dtype: How the frozen base is stored under adapters: nf4, fp4, int8, gptq or awq (`base`), or bf16; None:
            in the dtype of the activations, with qlora nf4.
        double_quant: Whether the scales of nf4 and fp4 are quantised as well; None: they are.
        base_upcast: Which parameters of a quantised base are cast to fp32: none, norms (and the stream behind them), or
            all that are not quantised; None: as the stack does (`base.upcast_of`).
        lora_variant: lora, rslora (another factor, no other cost) or dora (a learned magnitude beside the direction).
        lora_dropout: Probability by which the input of each adapter is dropped; any above 0 costs the same.
        lora_modules: Which projections have adapters: all (default), attention, mlp (experts as well), or names such as
            ``q_proj,v_proj``.
        freeze: What takes no gradient: embeddings (the token look-up table, with a tied head's weight), positions
            (learned positions and token types), towers (encoders of images and sound, not what joins them).
        fused: Fusions on top of the stack's (see `stacks.Fusion`).
        network_gbit_per_s: Network of one device, one way; None: the device's usual.
        etp: Tensor-parallel degree of the experts; None: 1 under sequence parallelism, else tp (see `feedforward.moe`).
        schedule: The pipeline schedule (`schedules`); None: the usual one of the software.
        pp_layout: Layers of each stage (of each virtual stage, in order): ``7,8,8,7``, or Megatron's
            ``Et*7|t*8|t*8|t*7L`` (`stage_layout`); None: spread evenly (`stages.chunk_sizes`).
        dispatcher: How tokens travel to experts: alltoall, allgather, deepep, hybridep (`dispatch`); None: the stack's.
        expert_balance: forced, dropped, natural, or tokens of the fullest expert rank over the mean.
        exchange_overlap: Whether tokens travel to experts beside another micro batch's compute, or which share of them
            does; None: as far as the stack overlaps them.
        cuda_graph: What is captured in CUDA graphs: none, partial (all but the experts), or full (the iteration).
        master_weights: Whether 16-bit training keeps fp32 weights (mixed precision); False is pure bf16.
        moment_dtype: What the optimizer's moments are kept in, or the first and the second; empty: fp32, in pure 16-bit
            training the weights' dtype.
        gradient_dtype: What gradients are summed and kept in; None: the stack's.
        master_dtype: What the copies of 16-bit weights are kept in: fp32 (None), fp16, bf16, or split (the 16 bits that
            complete a bf16 weight).
        weight_dtype: fp8: the weights of linear layers are kept in 8 bits beside their master copy (primary weights).
        offload: What lives in host memory: optimizer (state and masters, and with sharded gradients these), parameters,
            activations.
        offload_layers: How many layers' activations; None: all.
        offload_to: cpu (host memory), or nvme (drives of the host).
        host_gb_per_s: Rate of one host's memory, for the update there; None: of the usual CPUs (`host_memory`).
        nvme_gb_per_s: Rate of one host's drives.
        saved_dtype: fp8: what activation functions keep for backward is kept in 8 bits.
    """

    micro_batch: Number = 1
    global_batch: Number | None = None
    seq_len: Number | None = None
    mean_len: Number | None = None
    packing: str | None = None
    images_per_sample: Number | None = None
    clips_per_sample: Number | None = None
    image_size: int | None = None
    dtype: str = "bf16"
    low_precision_recipe: str | None = None
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
    dp_shard: Number | None = None
    sync_each_batch: bool | None = None
    sequence_parallel: bool = False
    recompute: str = "none"
    recompute_detail: str | None = None
    attention: str = "flash2"
    optimizer: str = "adamw"
    stack: str = "compiled"
    dropout: bool = False
    train: str = "full"
    lora_rank: int | None = None
    lora_modules: str | None = None
    base_dtype: str | None = None
    double_quant: bool | None = None
    base_upcast: str | None = None
    lora_variant: str | None = None
    lora_dropout: float | None = None
    freeze: tuple[str, ...] = ()
    fused: tuple[str, ...] = ()
    network_gbit_per_s: Number | None = None
    master_weights: bool = True
    schedule: str | None = None
    pp_layout: str | None = None
    dispatcher: str | None = None
    expert_balance: str | float = "natural"
    cuda_graph: str = "none"
    exchange_overlap: bool | float | None = None
    moment_dtype: tuple[str, ...] = ()
    gradient_dtype: str | None = None
    master_dtype: str | None = None
    weight_dtype: str | None = None
    saved_dtype: str | None = None
    offload: tuple[str, ...] = ()
    offload_layers: int | None = None
    offload_to: str = "cpu"
    host_gb_per_s: Number | None = None
    nvme_gb_per_s: Number | None = None

    def __repr__(self) -> str:
        """What is not the default, in one line."""
        return brief(self)

    @property
    def adapts(self) -> bool:
        """Whether adapters alone are trained, beside a frozen base."""
        return self.train != "full"

    @property
    def expert_tensor_parallel(self) -> Number:
        """Devices that share each expert: whole ones where sequence parallelism deals tokens out to the tp ranks."""
        return self.etp if self.etp is not None else self.usual_etp

    def ranks_of(self, group: str) -> Number:
        """Devices of a group of tensor, context or expert parallelism that talk to each other."""
        degree: Number = self.expert_tensor_parallel if group == "etp" else getattr(self, group)
        return degree

    @property
    def usual_etp(self) -> Number:
        """The same where nothing is said."""
        return 1 if self.sequence_parallel else self.tp

    @property
    def imbalance(self) -> float:
        """Tokens of the fullest expert rank over the mean."""
        return IMBALANCE[self.expert_balance] if isinstance(self.expert_balance, str) else self.expert_balance

    @property
    def data_parallel(self) -> Number:
        """Data-parallel degree, known after `resolve`."""
        return known(self.dp)

    @property
    def sequence_length(self) -> Number:
        """Tokens per sequence, known after `resolve`."""
        return known(self.seq_len)

    @property
    def accumulation(self) -> Number:
        """Micro batches per device group and optimizer step."""
        steps: Number = divide(known(self.global_batch), self.micro_batch * self.data_parallel)
        return steps

    @property
    def tokens_per_step(self) -> Number:
        """Tokens per optimizer step that are trained on, all devices: no padding."""
        filled = self.sequence_length if self.packing in {None, "packed"} else self.sample_length
        return known(self.global_batch) * filled

    @property
    def sample_length(self) -> Number:
        """Tokens of a sample, which attend to each other, on average."""
        return self.sequence_length if self.mean_len is None else self.mean_len

    def taken_in(self, what: str) -> Number:
        """Images, or clips of sound, of one sequence, known after `resolve`: of all samples that share it."""
        each = known(self.images_per_sample if what == "image" else self.clips_per_sample)
        return each * divide(self.computed_length, self.attended_length)

    @property
    def computed_length(self) -> Number:
        """Tokens of a sequence that a step computes on average, padding included."""
        return self.sample_length if self.packing == "unpadded" else self.sequence_length

    @property
    def attended_length(self) -> Number:
        """Tokens of a sequence that are computed with each other in attention."""
        return self.sequence_length if self.packing == "padded" else self.sample_length

    @property
    def longest(self) -> Number:
        """The longest sequence, which decides memory, over what a step computes of one."""
        return 1 if self.packing != "unpadded" else self.sequence_length / self.computed_length

    @property
    def shards_parameters(self) -> bool:
        """Whether each device keeps only a slice of the parameters between uses."""
        return SHARDINGS[self.sharding].parameters

    @property
    def reduces_every_pass(self) -> bool:
        """Whether gradients are reduced, and only a slice of them kept, after every micro batch."""
        return SHARDINGS[self.sharding].gradients

    @property
    def activation_bytes(self) -> int:
        """Bytes of one activation element outside low-precision matmuls."""
        return 4 if self.dtype in {"fp32", "tf32"} else 2

    @property
    def kept_dtype(self) -> str:
        """Dtype of weights and activations outside low-precision matmuls."""
        return "fp32" if self.activation_bytes == 4 else "fp16" if self.dtype == "fp16" else "bf16"

    @property
    def moment_bytes(self) -> float:
        """Bytes of a number that an optimizer keeps, where it has no format of its own."""
        if self.moment_dtype:
            return sum(BYTES[word] for word in self.moment_dtype) / len(self.moment_dtype)
        return 4 if self.master_weights else self.activation_bytes

    def offloaded_share(self, layers: int) -> Number:
        """Share of the layers whose activations live on the host."""
        if "activations" not in self.offload:
            return 0.0
        return 1.0 if self.offload_layers is None else self.offload_layers / layers

    @property
    def keeps_masters(self) -> bool:
        """Whether copies of 16-bit weights are updated in their place."""
        return self.master_weights and self.activation_bytes == 2

    @property
    def master_bytes(self) -> float:
        """Bytes of the copies that 16-bit training updates: weights, and in fp16 the unscaled gradients in fp32."""
        unscaled = 4 if self.dtype == "fp16" else 0
        return MASTERS[self.master_dtype or "fp32"] + unscaled if self.keeps_masters else 0

    @property
    def updated_bytes(self) -> float:
        """Bytes of a weight as the optimizer reads and writes it: of its copy, with the weight where that is split."""
        if not self.keeps_masters:
            return self.activation_bytes
        return 4 if self.master_dtype == "split" else MASTERS[self.master_dtype or "fp32"]

    @property
    def compute_dtype(self) -> str:
        """The dtype of matmuls that stay out of low precision (attention, head, router)."""
        return "bf16" if recipes_of(self.dtype) else self.dtype

    @property
    def recipe(self) -> Recipe | None:
        """How operands of matmuls are scaled and cast, known after `resolve`; None in 16 bits and above."""
        found = recipes().get(self.low_precision_recipe or "")
        return None if found is None or self.dtype != found.dtype else found


def known(value: Number | None) -> Number:
    """A number that `resolve` has filled."""
    if value is None:
        raise RooflineError(INCOMPLETE)
    return value


def known_word(value: str | None) -> str:
    """A word that `resolve` has filled."""
    if value is None:
        raise RooflineError(INCOMPLETE)
    return value
