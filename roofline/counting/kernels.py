"""Records the ops of one micro batch on one device: each call writes a kernel's forward and backward cost.

Shapes are local: what one device sees after tensor, context and expert parallelism. A kernel's formula is the few
lines of its method; `layers.py` says which kernels a layer runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from ..arrays import Number, ceil_div, divide, where
from ..config.lora import MODULES, adapters, module_words
from ..config.run import TrainConfig
from ..config.stack import Stack
from ..model.spec import Norm
from . import traffic
from .op import Collective, Group, Kind, Op, Part, Phase
from .traffic import Passes


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that one device holds of one tensor (before any sharding over data parallelism)."""

    name: str
    part: Part
    local: Number  # parameters on this device, per layer for part="layer"
    count: Number  # layers of the whole model that have it
    trainable: bool
    expert: bool  # sharded over ep: its gradients are reduced over dp*cp*tp/ep ranks only


class Tape:
    """Collects `Op`s and `Weights` while the layers of a model are walked once."""

    def __init__(self, train: TrainConfig, stack: Stack, *, inference: bool = False, decoding: bool = False) -> None:
        self.train = train
        self.stack = stack
        self.ops: list[Op] = []
        self.weights: list[Weights] = []
        self.part: Part = "layer"
        self.count: Number = 1
        self.decoding = decoding  # one query per sequence, against all cached keys
        self.frozen = inference or train.train == "lora"  # weights recorded now take no gradient (LoRA's base model)
        self.input_needs_grad = not self.frozen  # False below the first trainable weight
        self.lora_words = module_words(train.lora_modules or "all") if train.lora_rank is not None else ()
        self.lora_known: set[str] = set()  # the words of --lora-modules that name a projection of this model
        self.es = train.activation_bytes
        self.compute_dtype = train.compute_dtype
        sequence_length = train.sequence_length
        self.batch = train.micro_batch
        self.seq_q: Number = (
            1 if decoding else divide(sequence_length, train.cp)
        )  # queries of a sequence on this device
        self.seq_kv: Number = sequence_length
        self.tokens: Number = train.micro_batch * self.seq_q
        # Sequence parallelism shards norms, residuals and dropout over tp as well (arXiv:2205.05198, section 4.2.2).
        self.norm_tokens: Number = divide(self.tokens, train.tp) if train.sequence_parallel else self.tokens

    @property
    def stream_es(self) -> int:
        """Bytes of an element of the residual stream: autocast leaves embeddings, sums and norms in fp32."""
        wide = self.stack.cast_weights and self.train.master_weights and self.train.train == "full"
        return 4 if wide else self.es

    def fused(self, what: str) -> bool:
        """Whether the stack runs this chain as one kernel."""
        return what in self.stack.fused or what in self.train.fused

    @contextmanager
    def freezing(self, what: str) -> Iterator[bool]:
        """Weights recorded inside take no gradient where the configuration freezes `what`; yields whether it does."""
        before = self.frozen
        self.frozen = before or what in self.train.freeze
        yield self.frozen
        self.frozen = before

    def op(
        self,
        name: str,
        kind: Kind,
        phase: Phase,
        *,
        flops: Number,
        read: Number,
        written: Number,
        **extra: Any,
    ) -> None:
        """Append one op; `extra` are further `Op` fields."""
        extra.setdefault("dtype", self.compute_dtype)
        extra.setdefault("part", self.part)
        extra.setdefault("count", self.count)
        self.ops.append(
            Op(
                name=name,
                kind=kind,
                phase=phase,
                flops=flops,
                bytes_read=read,
                bytes_written=written,
                **extra,
            )
        )

    def weight(self, name: str, local: Number, *, expert: bool = False) -> None:
        """Record parameters this device holds."""
        self.weights.append(
            Weights(
                name=name,
                part=self.part,
                local=local,
                count=self.count,
                trainable=not self.frozen,
                expert=expert,
            )
        )

    def linear(
        self,
        name: str,
        m: Number,
        k: Number,
        n: Number,
        *,
        batch: Number = 1,
        bias: bool = False,
        saves: Number = 0,
        low_precision: bool = True,
        expert: bool = False,
        parts: Mapping[str, Number] | None = None,
    ) -> None:
        """y[batch,m,n] = x[batch,m,k] . w[batch,k,n] (+ bias), with its two backward matmuls.

        Args:
            name: Op name.
            m: Rows: tokens.
            k: Input features.
            n: Output features.
            batch: Independent matmuls in one grouped kernel (experts).
            bias: Whether a bias is added (in the epilogue) and its gradient summed.
            saves: Bytes of input kept for backward that no earlier op keeps (its quantised copy in fp8 and fp4).
            low_precision: Whether fp8 or fp4 training runs this matmul in low precision.
            expert: Whether the weight is sharded over expert parallelism.
            parts: Projections joined in this one with the outputs of each: they have low-rank adapters of their own.
        """
        dtype = self.train.dtype if low_precision else self.compute_dtype
        es = {"fp8": 1, "fp4": 0.5}.get(dtype, self.es)  # bytes of an operand element
        x, w, y = batch * m * k, batch * k * n, batch * m * n
        flops = 2 * batch * m * k * n
        self.weight(name, w + (batch * n if bias else 0), expert=expert)
        if es < self.es:
            self.cast(name, "forward", x, es)
        trainable = not self.frozen
        own, outputs = self.adapters(name, parts or {name.partition(".")[2]: n})
        adapted = own > 0
        kept = saves if es == self.es else saves * es / self.es
        cast = trainable or self.train.train == "full"  # adapters: the base model is loaded in 16 bits
        if self.stack.cast_weights and self.train.master_weights and self.es < 4 and cast:
            # autocast: fp32 weight to 16 bits, once per forward pass
            self.op(f"{name}.autocast", "elementwise", "forward", flops=0, read=w * 4, written=w * self.es)
        self.op(
            name,
            "matmul",
            "forward",
            dtype=dtype,
            flops=flops,
            read=(x + w) * es,
            written=y * self.es,
            shape=self.run_as(m, n, k, batch),
            saved_bytes=kept if trainable or adapted else 0,
        )
        if adapted:
            self._adapter(name, m, k, outputs, batch, own, expert)
        if not (trainable or self.input_needs_grad):
            return
        if es < self.es:
            self.cast(name, "backward", y, es)
        if self.input_needs_grad:  # dx[m,k] = dy[m,n] . w^T[n,k]
            self.op(
                f"{name}.dgrad",
                "matmul",
                "backward",
                dtype=dtype,
                flops=flops,
                read=(y + w) * es,
                written=x * self.es,
                shape=self.run_as(m, k, n, batch),
            )
        if trainable:  # dw[k,n] = x^T[k,m] . dy[m,n]
            self._weight_gradient(name, m, k, n, batch, dtype, es, flops)
            if bias:  # db[n] = sum over m of dy
                self.op(f"{name}.bias_grad", "elementwise", "backward", flops=y, read=y * self.es, written=n * 4)
            self.input_needs_grad = True

    def run_as(self, m: Number, n: Number, k: Number, batch: Number) -> tuple[Number, Number, Number, Number]:
        """The shape a matmul runs in: rows of n and k in whole vectors of 16 bytes where the stack pads them."""
        if self.fused("padding"):
            n, k = ceil_div(n, 8) * 8, ceil_div(k, 8) * 8
        return m, n, k, batch

    def adapters(self, name: str, parts: Mapping[str, Number]) -> tuple[int, Number]:
        """Adapters of a projection and their outputs: frozen, in a layer, of the modules asked for."""
        if (
            not (self.lora_words and self.frozen)
            or self.part != "layer"
            or name.startswith("router")
            or ".index." in name
        ):
            return 0, 0  # a sparse-attention indexer takes no gradient, so no adapter either
        self.lora_known |= {word for word in MODULES if adapters((word,), name, parts)[0]}
        return adapters(self.lora_words, name, parts)

    def _adapter(self, name: str, m: Number, k: Number, n: Number, batch: Number, parts: int, expert: bool) -> None:
        """`parts` low-rank adapters beside a frozen projection: y += (x . a) . b, a [k, r], b [r, n / parts].

        arXiv:2106.09685, section 4.1.
        """
        rank = self.train.lora_rank or 0
        inner = batch * m * parts * rank
        self.frozen = False
        self.linear(f"{name}.lora_a", m, k, parts * rank, batch=batch, low_precision=False, expert=expert)
        self.linear(
            f"{name}.lora_b",
            m,
            rank,
            divide(n, parts),
            batch=batch * parts,
            low_precision=False,
            expert=expert,
            saves=inner * self.es,
        )
        self.frozen = True
        # scaled and added to y; backward scales dy, and adds the adapter's dx to that of the frozen weight
        added = Passes(reads=2, writes=1, back_reads=1, back_writes=1)
        self.elementwise(f"{name}.lora_add", batch * m * n, added, flops=2)
        self.op(
            f"{name}.lora_grad_add",
            "elementwise",
            "backward",
            flops=batch * m * k,
            read=2 * batch * m * k * self.es,
            written=batch * m * k * self.es,
        )

    def _weight_gradient(
        self, name: str, m: Number, k: Number, n: Number, batch: Number, dtype: str, es: float, flops: Number
    ) -> None:
        x, w, y = batch * m * k, batch * k * n, batch * m * n
        grad_bytes = self.stack.gradient_bytes(self.train.dtype, self.es)
        in_place = self.fused("wgrad_accumulation")
        # Fused accumulation reads and writes the fp32 gradient in the matmul's epilogue.
        self.op(
            f"{name}.wgrad",
            "matmul",
            "backward",
            dtype=dtype,
            flops=flops,
            read=(x + y) * es + (w * grad_bytes if in_place else 0),
            written=w * (grad_bytes if in_place else self.es),
            shape=self.run_as(k, n, m, batch),
        )
        if not in_place and not self.train.reduces_every_pass:
            repeated: Any = self.train.accumulation > 1  # the first micro batch's gradient is moved, not added
            once = 1 if grad_bytes != self.es else 0
            times = repeated * 1 + (1 - repeated * 1) * once
            self.op(
                f"{name}.grad_accumulate",
                "elementwise",
                "backward",
                flops=w * times,
                read=w * (self.es + grad_bytes) * times,
                written=w * grad_bytes * times,
                kernels=times,
            )

    def cast(self, name: str, phase: Phase, elements: Number, es: float) -> None:
        """Quantise a matmul operand: both orientations are written, for the forward and the gradient matmul.

        Where the kernel before it does so (see `stacks.Fusion`), it writes two copies of 8 bits instead of one of 16:
        a norm for every projection but the last of attention and of a feed-forward layer.
        """
        source = "activation_cast" if name.endswith(".down") else "cast"
        apart = phase == "backward" or name.endswith(".out") or name.startswith("experts.")
        if self.train.dtype == "fp8" and not apart and self.fused(source):
            return
        # fp4 reads it for the largest value, for its rows and for its columns, Hadamard-transformed (arXiv:2509.25149)
        kernels = 3 if self.train.dtype == "fp4" else 1
        self.op(
            f"{name}.cast",
            "elementwise",
            phase,
            flops=2 * elements,
            read=kernels * elements * self.es,
            written=2 * elements * es,
            kernels=kernels,
        )

    def batched_matmul(
        self,
        name: str,
        batch: Number,
        m: Number,
        k: Number,
        n: Number,
        *,
        saves: Number = 0,
        counted: Number = 1,
    ) -> None:
        """y[batch,m,n] = a[batch,m,k] . b[batch,k,n]: no weights, both inputs take gradients.

        `counted` is the share of its FLOPs that are the model's (less than 1 outside a sliding window).
        """
        a, b, y = batch * m * k, batch * k * n, batch * m * n
        flops, es = 2 * batch * m * k * n, self.es
        self.op(
            name,
            "matmul",
            "forward",
            flops=flops,
            read=(a + b) * es,
            written=y * es,
            shape=(m, n, k, batch),
            saved_bytes=saves,
            model_flops=flops * counted,
        )
        if not self.input_needs_grad:
            return
        for side, other, written, shape in (("a", b, a, (m, k, n, batch)), ("b", a, b, (k, n, m, batch))):
            self.op(
                f"{name}.dgrad_{side}",
                "matmul",
                "backward",
                flops=flops,
                read=(y + other) * es,
                written=written * es,
                shape=shape,
                model_flops=flops * counted,
            )

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
    ) -> None:
        """A chain of element-wise kernels over `elements` of `es` bytes; `flops` per element."""
        es = self.es if es is None else es
        self.op(
            name,
            kind,
            "forward",
            flops=flops * elements,
            read=chain.reads * elements * es,
            written=chain.writes * elements * es,
            kernels=chain.kernels,
            saved_bytes=saves,
        )
        if self.input_needs_grad and chain.back_reads + chain.back_writes > 0:
            self.op(
                f"{name}.backward",
                kind,
                "backward",
                flops=2 * flops * elements,
                read=chain.back_reads * elements * es,
                written=chain.back_writes * elements * es,
                kernels=chain.back_kernels,
            )

    @property
    def mask(self) -> float:
        """Passes of a dropout mask: its elements are one byte each."""
        return 1.0 / self.es

    def norm(
        self, name: str, norm: Norm, rows: Number, width: Number, *, saves: Number = 0, stream: bool = False
    ) -> None:
        """A norm over `width` features: fused, or the chain of kernels that an eager RMSNorm runs.

        `saves` is the input where no earlier op keeps it; of the residual `stream` it is kept here. Statistics come on
        top, and what the eager chain keeps: an fp32 copy of the input and the normalised value.
        """
        elements = rows * width
        if norm.weight or norm.bias:
            self.weight(name, width * (norm.weight + norm.bias))
            self.input_needs_grad = self.input_needs_grad or not self.frozen
        fused, wide = self.fused("norm"), stream and self.stream_es > self.es
        es = self.stream_es if stream else self.es
        if norm.kind == "layer" or fused:
            chain = (traffic.NORM_OF_FP32 if fused else traffic.NORM_OF_FP32_EAGER) if wide else traffic.NORM
            saves = (elements * es if stream else saves) + rows * (8 if norm.kind == "layer" else 4)
        else:
            chain = traffic.RMS_NORM_EAGER if es < 4 else traffic.RMS_NORM_EAGER_FP32
            chain = traffic.RMS_NORM_OF_FP32_EAGER if wide else chain
            saves = elements * (4 + (0 if self.frozen else es)) + rows * 4  # a frozen weight keeps no input
        flops = 5 if norm.kind == "rms" else 8
        self.elementwise(name, elements, chain, flops=flops, saves=saves, kind="normalization")

    def collective(
        self,
        name: str,
        collective: Collective,
        group: Group,
        payload: Number,
        phase: Phase = "forward",
        *,
        copies: int = 1,
    ) -> None:
        """Communication over a group of ranks; `payload` in the convention of `timing/collective.py`."""
        self.op(
            name,
            "collective",
            phase,
            flops=0,
            read=0,
            written=0,
            bytes_sent=payload,
            collective=collective,
            group=group,
            copies=copies,
            kernels=where(getattr(self.train, group) > 1, 1, 0),  # in arrays of layouts, a degree of 1 launches nothing
        )
