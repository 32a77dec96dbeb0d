"""Records the ops of one micro batch on one device: each call writes a kernel's forward and backward cost.

Shapes are local: what one device sees after tensor, context and expert parallelism. A kernel's formula is the few
lines of its method; `layers.py` says which kernels a layer runs.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .arrays import Number, divide, where
from .model import Norm
from .op import Collective, Group, Kind, Op, Part, Phase
from .stacks import Stack
from .training import TrainConfig


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

    def __init__(self, train: TrainConfig, stack: Stack) -> None:
        self.train = train
        self.stack = stack
        self.ops: list[Op] = []
        self.weights: list[Weights] = []
        self.part: Part = "layer"
        self.count: Number = 1
        self.frozen = train.train == "lora"  # weights recorded now take no gradient (LoRA's base model)
        self.input_needs_grad = not self.frozen  # False below the first trainable weight
        self.es = train.activation_bytes
        self.compute_dtype = train.compute_dtype
        sequence_length = train.sequence_length
        self.batch = train.micro_batch
        self.seq_q: Number = divide(sequence_length, train.cp)  # queries of a sequence on this device
        self.seq_kv: Number = sequence_length
        self.tokens: Number = train.micro_batch * self.seq_q
        # Sequence parallelism shards norms, residuals and dropout over tp as well (arXiv:2205.05198, section 4.2.2).
        self.norm_tokens: Number = divide(self.tokens, train.tp) if train.sequence_parallel else self.tokens

    def fused(self, what: str) -> bool:
        """Whether the stack runs this chain as one kernel."""
        return what in self.stack.fused or what in self.train.fused

    def op(
        self, name: str, kind: Kind, phase: Phase, *, flops: Number, read: Number, written: Number, **extra: Any
    ) -> None:
        """Append one op; `extra` are further `Op` fields."""
        extra.setdefault("dtype", self.compute_dtype)
        extra.setdefault("part", self.part)
        extra.setdefault("count", self.count)
        self.ops.append(
            Op(name=name, kind=kind, phase=phase, flops=flops, bytes_read=read, bytes_written=written, **extra)
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
        parts: int = 1,
    ) -> None:
        """y[batch,m,n] = x[batch,m,k] . w[batch,k,n] (+ bias), with its two backward matmuls.

        Args:
            name: Op name.
            m: Rows: tokens.
            k: Input features.
            n: Output features.
            batch: Independent matmuls in one grouped kernel (experts).
            bias: Whether a bias is added (in the epilogue) and its gradient summed.
            saves: Bytes of input kept for backward that no earlier op keeps.
            low_precision: Whether fp8 or fp4 training runs this matmul in low precision.
            expert: Whether the weight is sharded over expert parallelism.
            parts: Projections joined in this one: each has a low-rank adapter of its own.
        """
        dtype = self.train.dtype if low_precision else self.compute_dtype
        es = {"fp8": 1, "fp4": 0.5}.get(dtype, self.es)  # bytes of an operand element
        x, w, y = batch * m * k, batch * k * n, batch * m * n
        flops = 2 * batch * m * k * n
        self.weight(name, w + (batch * n if bias else 0), expert=expert)
        if es < self.es:
            self.cast(name, "forward", x, es)
        trainable, adapted = not self.frozen, self.adapted(name)
        if self.stack.cast_weights and self.es < 4 and trainable:  # autocast: fp32 weight to 16 bits, once per forward pass
            self.op(f"{name}.autocast", "elementwise", "forward", flops=0, read=w * 4, written=w * self.es)
        self.op(
            name, "matmul", "forward", dtype=dtype, flops=flops, read=(x + w) * es, written=y * self.es,
            shape=(m, n, k, batch), saved_bytes=saves if trainable or adapted else 0,
        )  # fmt: skip
        if adapted:
            self._adapter(name, m, k, n, batch, parts, expert)
        if not (trainable or self.input_needs_grad):
            return
        if es < self.es:
            self.cast(name, "backward", y, es)
        if self.input_needs_grad:  # dx[m,k] = dy[m,n] . w^T[n,k]
            self.op(
                f"{name}.dgrad", "matmul", "backward", dtype=dtype, flops=flops, read=(y + w) * es,
                written=x * self.es, shape=(m, k, n, batch),
            )  # fmt: skip
        if trainable:  # dw[k,n] = x^T[k,m] . dy[m,n]
            self._weight_gradient(name, m, k, n, batch, dtype, es, flops)
            if bias:  # db[n] = sum over m of dy
                self.op(f"{name}.bias_grad", "elementwise", "backward", flops=y, read=y * self.es, written=n * 4)
            self.input_needs_grad = True

    def adapted(self, name: str) -> bool:
        """Whether a projection has a low-rank adapter: frozen, in a layer, of the modules asked for."""
        if not self.frozen or self.part != "layer" or name.startswith("router") or ".index." in name:
            return False  # a sparse-attention indexer takes no gradient, so no adapter either
        return self.train.lora_modules == "all" or name.startswith(("attention.", "cross_attention."))

    def _adapter(
        self, name: str, m: Number, k: Number, n: Number, batch: Number, parts: int, expert: bool
    ) -> None:
        """Low-rank adapter beside a frozen projection: y += (x . a) . b, a [k, r], b [r, n] (arXiv:2106.09685)."""
        rank = self.train.lora_rank or 0
        inner = batch * m * parts * rank
        self.frozen = False
        self.linear(
            f"{name}.lora_a", m, k, parts * rank, batch=batch, low_precision=False, expert=expert
        )
        self.linear(
            f"{name}.lora_b", m, rank, divide(n, parts), batch=batch * parts, low_precision=False, expert=expert,
            saves=inner * self.es,
        )  # fmt: skip
        self.frozen = True
        # scaled and added to y; backward scales dy, and adds the adapter's dx to that of the frozen weight
        self.elementwise(f"{name}.lora_add", batch * m * n, reads=2, writes=1, back_reads=1, back_writes=1, flops=2)
        self.op(
            f"{name}.lora_grad_add", "elementwise", "backward", flops=batch * m * k, read=2 * batch * m * k * self.es,
            written=batch * m * k * self.es,
        )  # fmt: skip

    def _weight_gradient(
        self, name: str, m: Number, k: Number, n: Number, batch: Number, dtype: str, es: float, flops: Number
    ) -> None:
        x, w, y = batch * m * k, batch * k * n, batch * m * n
        grad_bytes = self.stack.gradient_bytes(self.train.dtype, self.es)
        in_place = self.fused("wgrad_accumulation")
        # Fused accumulation reads and writes the fp32 gradient in the matmul's epilogue.
        self.op(
            f"{name}.wgrad", "matmul", "backward", dtype=dtype, flops=flops,
            read=(x + y) * es + (w * grad_bytes if in_place else 0), written=w * (grad_bytes if in_place else self.es),
            shape=(k, n, m, batch),
        )  # fmt: skip
        if not in_place:
            repeated = self.train.accumulation > 1  # the first micro batch's gradient is moved, not added
            once = 1 if grad_bytes != self.es else 0
            passes = repeated * 1 + (1 - repeated * 1) * once
            self.op(
                f"{name}.grad_accumulate", "elementwise", "backward", flops=w * passes,
                read=w * (self.es + grad_bytes) * passes, written=w * grad_bytes * passes, kernels=passes,
            )  # fmt: skip

    def cast(self, name: str, phase: Phase, elements: Number, es: float) -> None:
        """Quantise a matmul operand: both orientations are written, for the forward and the gradient matmul.

        Fused into the kernel before it, the operand in low precision is written instead of one in 16 bits.
        """
        if self.fused("cast") and self.train.dtype == "fp8" and not name.endswith("attention.out"):
            return
        self.op(
            f"{name}.cast", "elementwise", phase, flops=2 * elements, read=elements * self.es,
            written=2 * elements * es,
        )  # fmt: skip

    def batched_matmul(self, name: str, batch: Number, m: Number, k: Number, n: Number, *, saves: Number = 0) -> None:
        """y[batch,m,n] = a[batch,m,k] . b[batch,k,n]: no weights, both inputs take gradients."""
        a, b, y = batch * m * k, batch * k * n, batch * m * n
        flops, es = 2 * batch * m * k * n, self.es
        self.op(
            name, "matmul", "forward", flops=flops, read=(a + b) * es, written=y * es, shape=(m, n, k, batch),
            saved_bytes=saves,
        )  # fmt: skip
        if not self.input_needs_grad:
            return
        self.op(f"{name}.dgrad_a", "matmul", "backward", flops=flops, read=(y + b) * es, written=a * es, shape=(m, k, n, batch))
        self.op(f"{name}.dgrad_b", "matmul", "backward", flops=flops, read=(y + a) * es, written=b * es, shape=(k, n, m, batch))

    def elementwise(
        self,
        name: str,
        elements: Number,
        *,
        reads: float,
        writes: float,
        back_reads: float,
        back_writes: float,
        flops: float = 1,
        kernels: int = 1,
        back_kernels: int | None = None,
        saves: Number = 0,
        kind: Kind = "elementwise",
        es: float | None = None,
    ) -> None:
        """A chain of element-wise kernels: `reads` and `writes` count passes over `elements` in all."""
        es = self.es if es is None else es
        self.op(
            name, kind, "forward", flops=flops * elements, read=reads * elements * es, written=writes * elements * es,
            kernels=kernels, saved_bytes=saves,
        )  # fmt: skip
        if self.input_needs_grad and back_reads + back_writes > 0:
            self.op(
                f"{name}.backward", kind, "backward", flops=2 * flops * elements, read=back_reads * elements * es,
                written=back_writes * elements * es, kernels=kernels if back_kernels is None else back_kernels,
            )  # fmt: skip

    def norm(self, name: str, norm: Norm, rows: Number, width: Number, *, saves: Number = 0) -> None:
        """A norm over `width` features: fused, or the chain of kernels that an eager RMSNorm runs.

        Backward reads x and dy twice: once for dx, once for the weight's gradient. `saves` is the input; statistics
        (and what the eager chain keeps: an fp32 copy of the input and the normalised value) come on top.
        """
        elements = rows * width
        if norm.weight or norm.bias:
            self.weight(name, norm.params(width))
        flops = 5 if norm.kind == "rms" else 8
        if norm.kind == "layer" or self.fused("norm"):
            passes = {"reads": 1, "writes": 1, "back_reads": 4, "back_writes": 1, "kernels": 1, "back_kernels": 2}
            saves = saves + rows * (8 if norm.kind == "layer" else 4)
        else:  # cast up, square, mean, scale, cast down, weight: in 16-bit elements, fp32 counts twice
            passes = {"reads": 10, "writes": 8, "back_reads": 26, "back_writes": 18, "kernels": 6, "back_kernels": 14}
            if self.es == 4:
                passes |= {"reads": 5, "writes": 4, "back_reads": 14, "back_writes": 9}
            saves = elements * (4 + self.es) + rows * 4
        self.elementwise(name, elements, flops=flops, saves=saves, kind="normalization", **passes)

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
        """Communication over a group of ranks; `payload` in the convention of `collectives.py`."""
        self.op(
            name, "collective", phase, flops=0, read=0, written=0, bytes_sent=payload, collective=collective,
            group=group, copies=copies,
            kernels=where(getattr(self.train, group) > 1, 1, 0),  # in arrays of layouts, a degree of 1 launches nothing
        )  # fmt: skip
