"""Records the ops of one micro batch on one device: each call writes a kernel's forward and backward cost.

Shapes are local: what one device sees after tensor, context and expert parallelism. The recorder holds the context
(part, layers, what is frozen, whether tokens are routed); the formulas are those of `kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ..arrays import Number, ceil_div, divide, some, where
from ..config.base import upcast_of
from ..config.lora import module_words
from ..config.recompute import Module
from ..config.run import BYTES, TrainConfig, known_word
from ..config.stack import Stack
from ..model.spec import Norm, Quantization
from . import kernels, traffic
from .kernels import Kernel
from .op import NOTHING, Collective, Group, Kind, Op, Part, Phase, Role, Saved
from .traffic import Passes
from .weights import Matrices, Weights, autocasts, gradient_bytes


class Tape:
    """Collects `Op`s and `Weights` while the layers of a model are walked once."""

    def __init__(self, train: TrainConfig, stack: Stack, *, inference: bool = False, decoding: bool = False) -> None:
        self.train = train
        self.stack = stack
        self.ops: list[Op] = []
        self.weights: list[Weights] = []
        self.part: Part = "layer"
        self.prefix = ""  # of names: which encoder is recorded
        self.layer_kind = 0
        self.count: Number = 1
        self.module: Module | None = None
        self.routed = False  # what is recorded now runs on tokens that a router dealt out
        self.experts: Number = 1  # and as often, for one expert after the other
        self.decoding = decoding  # one query per sequence, against all cached keys
        self.repeats = False  # weights recorded now are those of an earlier layer
        self.frozen = inference or train.adapts  # weights recorded now take no gradient (LoRA's base model)
        self.input_needs_grad = not self.frozen  # False below the first trainable weight
        self.base: Quantization | None = None  # how frozen matrices of the layers are stored, where not in 16 bits
        self.leaves_experts = False  # whether experts are in 16 bits over it (see `base.leaves_experts`)
        self.upcast = upcast_of(train, stack)  # which frozen parameters are in fp32
        self.wide = False  # norms and quantised projections hand on fp32 (see `base.hands_out_fp32`)
        self.lora_words = module_words(known_word(train.lora_modules)) if train.adapts else ()
        self.lora_known: set[str] = set()  # the words of --lora-modules that name a projection of this model
        self.streams, self.sinkhorn_rounds = 1, 0  # copies of the residual stream, and how their mix is normalised
        self.streams_apart = False  # or whether they are not mixed
        self.es = train.activation_bytes
        self.recipe = train.recipe  # None as well while layers are recorded that stay in 16 bits
        self.compute_dtype = train.compute_dtype
        sequence_length = train.computed_length
        self.batch = train.micro_batch
        self.seq_q: Number = (
            1 if decoding else divide(sequence_length, train.cp)
        )  # queries of a sequence on this device
        self.seq_kv: Number = sequence_length
        self.attended: Number = train.attended_length  # of it, what a query may see
        self.longest = train.longest  # the sequence that decides memory, over the one that decides time
        self.tokens: Number = train.micro_batch * self.seq_q
        # Sequence parallelism shards norms, residuals and dropout over tp as well (arXiv:2205.05198, section 4.2.2).
        self.norm_tokens: Number = divide(self.tokens, train.tp) if train.sequence_parallel else self.tokens

    @property
    def stream_es(self) -> int:
        """Bytes of an element of the residual stream: autocast leaves embeddings, sums and norms in fp32."""
        return 4 if self.wide or (self.autocasts and self.train.train == "full") else self.es

    @property
    def inner_es(self) -> int:
        """Bytes of an element of what projections hand to the element-wise kernels between them."""
        return 4 if self.wide else self.es

    @property
    def autocasts(self) -> bool:
        """Whether weights are fp32 where they are used, and cast at each use."""
        return autocasts(self.train, self.stack)

    @property
    def upcasts(self) -> bool:
        """Whether matmuls whose code casts their operands up run in fp32: autocast would cast those down again."""
        return self.es < BYTES["fp32"] and not self.autocasts

    @property
    def gathered_bytes(self) -> float:
        """Bytes of an operand element as tensor parallelism gathers it: cast first where the stack does so."""
        cast = self.train.low_precision_recipe in self.stack.quantised_gathers
        return self.recipe.bytes if self.recipe is not None and cast else self.es

    @property
    def gradient_bytes(self) -> int:
        """Bytes of a gradient element as summed over micro batches."""
        return gradient_bytes(self.train)

    def fused(self, what: str) -> bool:
        """Whether the stack runs this chain as one kernel."""
        return what in self.stack.fused or what in self.train.fused

    @property
    def experts_in_one(self) -> bool:
        """Whether the experts' matmuls are one kernel that activates and quantises what it writes."""
        return self.fused("expert_epilogue") and self.train.cuda_graph == "full"

    @contextmanager
    def freezing(self, what: str) -> Iterator[bool]:
        """Weights recorded inside take no gradient where the configuration freezes `what`; yields whether it does."""
        before = self.frozen
        self.frozen = before or what in self.train.freeze
        yield self.frozen
        self.frozen = before

    @contextmanager
    def tiles(self, window: int) -> Iterator[None]:
        """Sequences are square images: what is recorded inside runs on tiles of them, of `window` tokens each.

        Tiles at the edges are padded.
        """
        sizes = ("batch", "seq_q", "seq_kv", "attended", "tokens", "norm_tokens")
        before = {name: getattr(self, name) for name in sizes}
        number = ceil_div(self.seq_kv**0.5, window**0.5) ** 2
        padded = number * window / self.seq_kv
        self.batch, self.tokens, self.norm_tokens = self.batch * number, self.tokens * padded, self.norm_tokens * padded
        self.seq_q = self.seq_kv = self.attended = window
        yield
        for name, size in before.items():
            setattr(self, name, size)

    @contextmanager
    def within(self, module: Module | None) -> Iterator[None]:
        """What is recorded inside belongs to a part of the layer that may run again on its own."""
        before, self.module = self.module, module
        yield
        self.module = before

    @contextmanager
    def repeating(self, repeats: bool) -> Iterator[None]:
        """Weights recorded inside are those of an earlier layer, where they are."""
        before, self.repeats = self.repeats, repeats
        yield
        self.repeats = before

    @contextmanager
    def routing(self, experts: Number = 1) -> Iterator[None]:
        """What is recorded inside runs on tokens that a router dealt out, for so many `experts` one after the other."""
        before, self.routed, self.experts = self.routed, True, experts
        yield
        self.routed, self.experts = before, 1

    def op(self, name: str, kind: Kind, phase: Phase, kernel: Kernel, **extra: Any) -> None:
        """Append the op of a kernel; `extra` are further `Op` fields."""
        extra.setdefault("dtype", self.compute_dtype)
        if extra.get("of"):
            extra["of"] = self.prefix + extra["of"]
        if "saved_bytes" in extra:
            extra["saved_bytes"] = extra["saved_bytes"] * self.longest
        if "saved" in extra:
            extra["saved"] = extra["saved"].times(self.longest)
        self.ops.append(
            Op(
                name=self.prefix + name,
                kind=kind,
                phase=phase,
                part=self.part,
                layer_kind=self.layer_kind,
                count=self.count,
                routed=self.routed,
                module=self.module,
                flops=kernel.flops,
                bytes_read=kernel.bytes_read,
                bytes_written=kernel.bytes_written,
                shape=kernel.shape,
                kernels=kernel.kernels * self.experts,
                model_flops=kernel.model_flops,
                **extra,
            )
        )

    def weight(
        self,
        name: str,
        local: Number,
        *,
        matrices: tuple[Matrices, ...] = (),
        upcast: tuple[str, ...] = ("all",),
        **extra: Any,
    ) -> None:
        """Record parameters this device holds, and which of them are matrices: of experts, while tokens are routed.

        Frozen ones that are not quantised are in fp32 where what is cast is one of the words `upcast`.
        `extra` are further `Weights` fields: whether they are the embedding's table again, or in low precision; bytes
        of each where a quantised base stores them.
        """
        if self.frozen and self.upcast in upcast:
            extra.setdefault("stored_bytes", 4)
        extra["tied"] = extra.get("tied", False) or self.repeats
        self.weights.append(
            Weights(
                name=self.prefix + name,
                part=self.part,
                local=local,
                count=self.count,
                trainable=not self.frozen,
                expert=self.routed,
                layer_kind=self.layer_kind,
                matrices=matrices,
                **extra,
            )
        )

    def accumulate(self, name: str, weights: Number, *, tied: bool = False) -> None:
        """Add a weight's gradient to the sum over micro batches; nothing where each pass reduces its own.

        That of a `tied` matrix is added to its table's in every pass, and so is that of a layer whose weights are an
        earlier one's, at the FLOPs of one that stands alone.
        """
        tied = tied or self.repeats
        grad, casts = self.gradient_bytes, self.autocasts
        kernel = kernels.grad_accumulate(weights, self.es, grad, self.train.accumulation, casts=casts)
        if tied:
            added = msgspec.structs.replace(kernels.gradient_sum(weights, self.es), flops=0)
            self.op(f"{name}.grad_sum", "elementwise", "backward", added)
            whole = kernels.grad_accumulate(weights, self.es, grad, math.inf, casts=casts)
            kernel = msgspec.structs.replace(kernels.beside(whole, added), flops=kernel.flops)
        if not self.train.reduces_every_pass:
            self.op(f"{name}.grad_accumulate", "elementwise", "backward", kernel, role="grad_accumulate")

    def batched_matmul(
        self,
        name: str,
        batch: Number,
        m: Number,
        k: Number,
        n: Number,
        *,
        saves: Number = 0,
        made_by: Module | None = None,
        counted: Number = 1,
        role: Role | None = None,
        own_dtype: str | None = None,
    ) -> None:
        """y[batch,m,n] = a[batch,m,k] . b[batch,k,n]: no weights, both inputs take gradients.

        `counted` is the share of its FLOPs that are the model's (less than 1 outside a sliding window); `own_dtype` is
        what it runs in, where that is not what the step does.
        """
        dtype = own_dtype or self.compute_dtype
        es = BYTES["fp32"] if dtype == "fp32" else self.es

        def record(name: str, phase: Phase, kernel: Kernel, **extra: Any) -> None:
            kernel = msgspec.structs.replace(kernel, model_flops=kernel.flops * counted)
            self.op(name, "matmul", phase, kernel, form="batched", role=role, dtype=dtype, **extra)

        saved = Saved(made_by=made_by, input=saves, whole=saves)
        record(name, "forward", kernels.matmul(m, n, k, batch, es, es), saved_bytes=saves, saved=saved)
        if self.input_needs_grad:
            back: dict[str, Any] = {"gradient": "data", "of": name}
            record(f"{name}.dgrad_a", "backward", kernels.data_gradient(m, n, k, batch, es, es), **back)
            kernel = kernels.weight_gradient(m, n, k, batch, es, es, adds=False)
            record(f"{name}.dgrad_b", "backward", kernel, **back)

    def elementwise(
        self,
        name: str,
        elements: Number,
        chain: Passes,
        *,
        flops: Number = 1,
        saves: Number = 0,
        kind: Kind = "elementwise",
        es: float | None = None,
        saved: Saved = NOTHING,
        **extra: Any,
    ) -> None:
        """A chain of element-wise kernels over `elements` of `es` bytes; `flops` per element.

        `saves` are bytes kept for backward, and `saved` says whose they are where that matters; `extra` are further
        `Op` fields of both passes.
        """
        es = self.es if es is None else es
        kernel = kernels.chain(elements, chain, es, flops)
        self.op(name, kind, "forward", kernel, saved_bytes=saves, saved=saved, **extra)
        if self.input_needs_grad and some(chain.back_reads + chain.back_writes > 0):
            kernel = kernels.chain_backward(elements, chain, es, flops)
            self.op(f"{name}.backward", kind, "backward", kernel, of=name, **extra)

    def repeated(self, name: str, elements: Number, chain: Passes, times: Number, **extra: Any) -> None:
        """A chain launched so many `times`, each on its part of the elements; `extra` as of `elementwise`."""
        kernels, back = chain.kernels * times, chain.back_kernels * times
        self.elementwise(name, elements, msgspec.structs.replace(chain, kernels=kernels, back_kernels=back), **extra)

    @property
    def mask(self) -> float:
        """Passes of a dropout mask: its elements are one byte each."""
        return 1.0 / self.es

    def norm(
        self,
        name: str,
        norm: Norm,
        rows: Number,
        width: Number,
        *,
        saves: Number = 0,
        made_by: Module | None = None,
        stream: bool = False,
        kept: bool = False,
    ) -> None:
        """A norm over `width` features: fused, or the chain of kernels that an eager RMSNorm runs.

        `saves` is the input, which `made_by` wrote, where no earlier op keeps it; of the residual `stream` it is
        kept here, unless an earlier norm of the same input has it `kept`. Statistics come on top, and what the eager
        chain keeps: an fp32 copy of the input, the normalised value.
        """
        elements = rows * width
        if norm.weight or norm.bias:
            self.weight(name, width * (norm.weight + norm.bias), upcast=("norms", "all"))
            self.input_needs_grad = self.input_needs_grad or not self.frozen
        fused, wide = self.fused("norm"), stream and self.inner_es < self.stream_es  # read in fp32, written in 16 bits
        es = self.stream_es if stream else self.inner_es
        whole = elements * es * (not kept) if stream else saves
        product = norm.weight and not self.frozen  # a frozen weight keeps no input
        saved: Number = 0
        written_out = norm.kind == "layer" and (norm.fp32 or norm.written_out) and not fused
        scaled = (4 if norm.fp32 else es) * product  # bytes of what a weight multiplies
        if written_out and not norm.weight:  # torch's kernel on a copy in fp32
            saves = elements * 4 + rows * 8
        elif written_out:  # twice what is left of the mean, and that scaled
            saves = elements * (2 * 4 + scaled) + rows * 4
        elif norm.kind == "layer" or fused:
            saved, saves = whole, whole + rows * (8 if norm.kind == "layer" else 4)
        else:
            saves = elements * (4 + scaled + es * norm.keeps_input) + rows * 4
        flops = 5 if norm.kind == "rms" else 8
        self.elementwise(
            name,
            elements,
            traffic.norm(norm, es, wide=wide, fused=fused),
            flops=flops,
            saves=saves,
            kind="normalization",
            es=self.inner_es,
            saved=Saved(made_by=made_by, input=saved, whole=whole),
        )

    def collective(
        self,
        name: str,
        collective: Collective,
        group: Group,
        payload: Number,
        phase: Phase = "forward",
        *,
        copies: int = 1,
        spread: float = 1.0,
        role: Role | None = None,
    ) -> None:
        """Communication over a group of ranks; `payload` in the convention of `timing/collective.py`."""
        # in arrays of layouts, a degree of 1 launches nothing
        kernel = Kernel(flops=0, bytes_read=0, bytes_written=0, kernels=where(self.train.ranks_of(group) > 1, 1, 0))
        extra: dict[str, Any] = {"bytes_sent": payload, "collective": collective, "group": group}
        self.op(name, "collective", phase, kernel, copies=copies, spread=spread, role=role, **extra)
